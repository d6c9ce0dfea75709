"""Generated queries over the part of the schema that is compiled, with values that mean something.

hypothesis-graphql knows types and not meanings: its page sizes, ids and cursors are put into the
range of what there is here, so that most of what it makes is answered and not refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zlib import crc32

from graphql import (
    ArgumentNode,
    DirectiveNode,
    FieldNode,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NameNode,
    NullValueNode,
    ObjectTypeDefinitionNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    build_ast_schema,
    is_object_type,
    parse,
    parse_type,
    print_ast,
    print_schema,
    value_from_ast_untyped,
    visit,
)
from hypothesis import strategies as st
from hypothesis_graphql import nodes, queries

from graph.columns import Column, Keyed
from graph.permissions import needs_of
from graph.schema import schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from graphql import DocumentNode, Node

    from tenancy.actors import Actor

# definitions, 0, selection_set, selections, n
ROOT = 5
_PAGES = ("Connection", "Edge", "PageInfo")


def is_declared(type_: Any, name: str) -> bool:
    """Return whether a field says how it is read."""
    definition = type_.fields[name].extensions.get("strawberry-definition")
    if definition is None:
        return False
    if any(definition.metadata.get(key) for key in ("reads", "sql", "expression")):
        return True
    origin = type_.extensions["strawberry-definition"].origin
    if isinstance(definition, Column):
        return definition.base_resolver is None
    return name == "id" and issubclass(origin, Keyed)


def is_open_to(type_: Any, name: str, actor: Actor) -> bool:
    """Return whether a field answers somebody, as far as it says."""
    needs = needs_of(type_.fields[name])
    return needs is None or needs.refusal(actor) is None


def compiled_schema(actor: Actor) -> GraphQLSchema:  # noqa: C901 -- three visitors, each of a kind
    """Return the schema without what only resolvers can answer, and what is refused to `actor`."""
    core: Any = schema._schema
    kept = {
        name: {
            field
            for field in type_.fields
            if name.endswith(_PAGES)
            or (is_declared(type_, field) and is_open_to(type_, field, actor))
        }
        for name, type_ in core.type_map.items()
        if is_object_type(type_) and not name.startswith("__")
    }
    document = parse(print_schema(core))

    class Pruning(Visitor):
        def leave_object_type_definition(self, node: ObjectTypeDefinitionNode, *_args: Any) -> Any:
            if node.name.value in {"Mutation", "Subscription"}:
                return self.REMOVE
            return node

        def enter_field_definition(self, node: Any, *args: Any) -> Any:
            owner = args[-1][-1]
            if isinstance(owner, ObjectTypeDefinitionNode):
                names = kept.get(owner.name.value)
                if names is not None and node.name.value not in names:
                    return self.REMOVE
            return None

        def enter_schema_definition(self, *_args: Any) -> Any:
            return self.REMOVE

    pruned = visit(document, Pruning())
    empty = {
        part.name.value
        for part in pruned.definitions
        if isinstance(part, ObjectTypeDefinitionNode) and not part.fields
    }
    assert not empty & {"Asset", "Tenant", "User", "Membership", "Query"}

    class Emptying(Visitor):
        def enter_object_type_definition(self, node: Any, *_args: Any) -> Any:
            return self.REMOVE if node.name.value in empty else None

        def enter_field_definition(self, node: Any, *_args: Any) -> Any:
            named = node.type
            while not hasattr(named, "name"):
                named = named.type
            return self.REMOVE if named.name.value in empty else None

        def enter_union_type_definition(self, *_args: Any) -> Any:
            return self.REMOVE

    return build_ast_schema(visit(pruned, Emptying()), assume_valid=True)


class Meaning(Visitor):
    """Replaces values by ones that there are; the same document always in the same way."""

    def __init__(
        self, values: Mapping[str, Sequence[str]], cursors: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__()
        self._values = values
        self._cursors = cursors

    def enter_field(self, node: FieldNode, _key: Any, _parent: Any, path: Any, *_: Any) -> Any:
        is_root = len(path) == ROOT
        arguments = {argument.name.value: argument for argument in node.arguments or ()}
        given = {n: a for n, a in arguments.items() if not isinstance(a.value, NullValueNode)}
        if "first" in given and "last" in given:
            del arguments["last"]
        if "id" in given and "assetId" in given:
            del arguments["assetId"]
        elif is_root and node.name.value == "asset" and not {"id", "assetId"} & given.keys():
            arguments["id"] = ArgumentNode(
                name=NameNode(value="id"), value=StringValueNode(value=self._values["id"][0])
            )
        order = " ".join(print_ast(arguments["order"].value).split()) if "order" in given else ""
        for name in ("after", "before"):
            if name in given:
                known = self._cursors.get(f"{node.name.value} {order}")
                value = given[name].value
                if known:
                    value = StringValueNode(value=self._one(known, value))
                    arguments[name] = replace(given[name], value=value)
                else:
                    del arguments[name]
        meant = [
            replace(argument, value=self._meant(name, argument.value, within=node.name.value))
            for name, argument in arguments.items()
        ]
        return replace(node, arguments=tuple(meant))

    def _meant(self, name: str, value: Node, *, within: str = "") -> Any:
        if isinstance(value, IntValueNode) and name in {"first", "last"}:
            return IntValueNode(value=str(abs(int(value.value)) % 6))
        known = self._values.get(f"{within}.{name}") or self._values.get(name)
        if known and isinstance(value, StringValueNode | IntValueNode):
            return StringValueNode(value=self._one(known, value))
        if known and isinstance(value, ListValueNode):
            items = [
                StringValueNode(value=self._one(known, item))
                for item in value.values
                if isinstance(item, StringValueNode | IntValueNode)
            ]
            return ListValueNode(values=tuple(items))
        return value

    def enter_object_field(self, node: Any, *_args: Any) -> Any:
        return replace(node, value=self._meant(node.name.value, node.value))

    @staticmethod
    def _one(known: Sequence[str], value: Node) -> str:
        return known[crc32(print_ast(value).encode()) % len(known)]


class Varying(Visitor):
    """Says the same in other ways: by variables, aliases, fragments and directives.

    Which, is decided by what stands there: the same document always becomes the same.
    """

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self.values: dict[str, Any] = {}
        self._types = types
        self._definitions: list[VariableDefinitionNode] = []

    def _variable(self, type_: str, value: Any) -> VariableNode:
        name = f"v{len(self.values)}"
        self.values[name] = value
        variable = VariableNode(name=NameNode(value=name))
        self._definitions.append(
            VariableDefinitionNode(variable=variable, type=parse_type(type_), directives=())
        )
        return variable

    def enter_argument(self, node: ArgumentNode, *_args: Any) -> Any:
        type_ = self._types.get_input_type()
        if _draw(node, 2):
            return None
        value = self._variable(str(type_), value_from_ast_untyped(node.value))
        return replace(node, value=value)

    def leave_field(self, node: FieldNode, *_args: Any) -> Any:
        if _draw(node, 9) == 1:
            node = replace(node, alias=NameNode(value=f"a{crc32(print_ast(node).encode())}"))
        if _draw(node, 9) == 2:
            name, value = ("include", True) if _draw(node, 5) else ("skip", _draw(node, 3) == 0)
            told = ArgumentNode(name=NameNode(value="if"), value=self._variable("Boolean!", value))
            return replace(
                node, directives=(DirectiveNode(name=NameNode(value=name), arguments=(told,)),)
            )
        return node

    def leave_selection_set(self, node: SelectionSetNode, *_args: Any) -> Any:
        parts = node.selections
        if len(parts) < 2 or _draw(node, 4):
            return None
        rest = SelectionSetNode(selections=parts[1:])
        return SelectionSetNode(
            selections=(parts[0], InlineFragmentNode(selection_set=rest, directives=()))
        )

    def leave_operation_definition(self, node: OperationDefinitionNode, *_args: Any) -> Any:
        return replace(node, variable_definitions=tuple(self._definitions))


def _draw(node: Node, faces: int) -> int:
    return crc32(print_ast(node).encode()) // 7 % faces


def varied(document: str) -> tuple[str, dict[str, Any]]:
    """Return a generated query said in another way, and its variables."""
    types = TypeInfo(schema._schema)
    varying = Varying(types)
    text = print_ast(visit(parse(document), TypeInfoVisitor(types, varying)))
    return text, varying.values


_INSTANTS = ["1970-01-01T00:00:00Z", "2026-03-01T00:00:00.000120Z", "2099-12-31T23:59:59+02:00"]
_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "DateTime": st.sampled_from(_INSTANTS).map(nodes.String),
    "Date": st.just("2026-03-01").map(nodes.String),
    "Time": st.just("08:30:00").map(nodes.String),
    "BigInt": st.sampled_from([0, 1, 10, 2**40, -1]).map(nodes.Int),
    "UUID": st.uuids().map(str).map(nodes.String),
    "JSON": st.just({}).map(lambda _: nodes.Object([])),
    "Upload": st.nothing(),
}


def documents(
    actor: Actor, values: Mapping[str, Sequence[str]], cursors: Mapping[str, Sequence[str]]
) -> st.SearchStrategy[str]:
    """Return queries for `actor` in which arguments called as in `values` have one of those values.

    `cursors` are those of each list and order: `assets {field: NAME, direction: ASC}`.
    """

    def printed(document: DocumentNode) -> str:
        return print_ast(visit(document, Meaning(values, cursors)))

    return queries(
        compiled_schema(actor), custom_scalars=_SCALARS, print_ast=printed, allow_x00=False
    )
