"""What an operation selects, as GraphQL's execution would collect it, and what its arguments are.

Called by graph.compiled.objects for one object type at a time. Nothing here knows SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphql import (
    ArgumentNode,
    BooleanValueNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    InlineFragmentNode,
    ListValueNode,
    NameNode,
    ObjectValueNode,
    VariableNode,
    is_abstract_type,
    parse_value,
    print_ast,
)
from graphql.execution.values import VariableValues, get_argument_values
from strawberry.types.arguments import convert_arguments

from graph.compiled.shapes import Uncompilable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from graphql import (
        FragmentDefinitionNode,
        GraphQLField,
        GraphQLObjectType,
        GraphQLSchema,
        Node,
        SelectionNode,
        SelectionSetNode,
    )
    from strawberry import Schema

# Their values are bound when a plan runs; of these only whether they are given shapes it.
BOUND_ARGUMENTS = frozenset({"after", "assetId", "before", "filter", "id", "ids"})
# Of these also the types that they name: what is selected of a node depends on its type.
ID_ARGUMENTS = frozenset({"id", "ids"})


def variables_in(node: Node) -> Iterator[str]:
    """Yield the names of the variables inside a value."""
    if isinstance(node, VariableNode):
        yield node.name.value
    elif isinstance(node, ListValueNode):
        for item in node.values:
            yield from variables_in(item)
    elif isinstance(node, ObjectValueNode):
        for field in node.fields:
            yield from variables_in(field.value)


def detached(node: FieldNode) -> FieldNode:
    """Return a field with its arguments alone, for who keeps it.

    A node of a document knows its place there, and so keeps all of the document.
    """
    arguments = tuple(
        ArgumentNode(
            name=NameNode(value=argument.name.value),
            value=parse_value(print_ast(argument.value), no_location=True),
        )
        for argument in node.arguments or ()
    )
    return FieldNode(name=NameNode(value=node.name.value), arguments=arguments)


def is_included(node: SelectionNode, variables: Mapping[str, Any]) -> bool:
    """Return what @skip and @include say; raises Uncompilable for any other directive."""
    for directive in node.directives or ():
        name = directive.name.value
        if name not in {"skip", "include"}:
            raise Uncompilable(f"@{name}")
        [argument] = directive.arguments or ()
        value = argument.value
        if isinstance(value, VariableNode):
            answer = bool(variables[value.name.value])
        else:
            answer = isinstance(value, BooleanValueNode) and value.value
        if answer is (name == "skip"):
            return False
    return True


class Selecting:
    """One document, its variables and the schema: collects fields, reads arguments."""

    def __init__(
        self,
        schema: Schema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
        steering: frozenset[str],
    ) -> None:
        """Take the variables of one operation; `steering` are those whose values shape it."""
        self.strawberry = schema
        self.schema: GraphQLSchema = schema._schema  # noqa: SLF001 -- strawberry has no other way
        self.fragments = fragments
        self.variables = variables
        self.steering = steering

    def forget(self) -> None:
        """Let go of the operation that it was made for: what a plan keeps keeps this too."""
        self.fragments, self.variables = {}, VariableValues({}, {})

    def fields(
        self, type_: GraphQLObjectType, nodes: Sequence[FieldNode]
    ) -> dict[str, list[FieldNode]]:
        """Return the fields of an object below `nodes` by response key, in response order."""
        found: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        for node in nodes:
            if node.selection_set:
                self._collect(type_, node.selection_set, found, visited)
        return found

    def _collect(
        self,
        type_: GraphQLObjectType,
        selections: SelectionSetNode,
        found: dict[str, list[FieldNode]],
        visited: set[str],
    ) -> None:
        for node in selections.selections:
            if node.directives and not is_included(node, self.variables.coerced):
                continue
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                found.setdefault(key, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                if condition is None or self._applies(condition.name.value, type_):
                    self._collect(type_, node.selection_set, found, visited)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in visited:
                visited.add(node.name.value)
                fragment = self.fragments[node.name.value]
                if self._applies(fragment.type_condition.name.value, type_):
                    self._collect(type_, fragment.selection_set, found, visited)

    def _applies(self, name: str, type_: GraphQLObjectType) -> bool:
        if name == type_.name:
            return True
        condition = self.schema.type_map[name]
        return is_abstract_type(condition) and self._is_possible(condition, type_)

    def _is_possible(self, abstract: GraphQLAbstractType, type_: GraphQLObjectType) -> bool:
        return self.schema.is_sub_type(abstract, type_)

    def arguments(
        self, field: GraphQLField, node: FieldNode, variables: VariableValues
    ) -> dict[str, Any]:
        """Return the arguments of a field as its resolver would be given them."""
        definition = field.extensions["strawberry-definition"]
        return convert_arguments(
            get_argument_values(field, node, variables),
            definition.arguments,
            scalar_registry=self.strawberry.schema_converter.scalar_registry,
            config=self.strawberry.config,
        )

    def open_arguments(self, node: FieldNode) -> frozenset[str]:
        """Return the arguments, by their names in the schema, whose values no plan may keep."""
        return frozenset(
            argument.name.value
            for argument in node.arguments or ()
            if not self.steering.issuperset(variables_in(argument.value))
        )
