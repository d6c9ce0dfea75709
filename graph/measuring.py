"""What an operation asks for, counted before anything of it runs: depth, names, lists, values.

Called by graph.limits. One pass that looks at every selection of the operation once, whatever
refers to it how often: a fragment is counted where it is written and added where it is spread. It
runs before validation, which is the dearer of the two, and so takes documents that make no sense.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SchemaMetaFieldDef,
    TypeMetaFieldDef,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
)

from graph.connections import DEFAULT_PAGE, MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from graphql import (
        DocumentNode,
        GraphQLField,
        GraphQLNamedType,
        GraphQLSchema,
        Node,
        SelectionSetNode,
    )

# Numbers past this are all the same: too many. (2**80 of them would be no smaller a document.)
MANY = 10**9
# Nothing that anybody means goes this deep, fragments in fragments included; and Python's stack
# holds it many times.
MAX_NESTING = 100
# A write takes about as long as it takes to read so many values.
MUTATION_COST = 50
# How long a list is that nobody pages through. What is missing here has LIST_LENGTH items.
LIST_LENGTH = 20
LIST_LENGTHS = {"UserError": 1, "Node": 100}
# The same for lists of the schema's own description, by field. (Not as many as there are: a growing
# schema must not make the questions about it too dear one day.)
DESCRIPTION_LENGTHS = {
    "types": 100,
    "fields": 10,
    "args": 3,
    "inputFields": 5,
    "enumValues": 5,
    "possibleTypes": 5,
    "interfaces": 1,
    "directives": 5,
}
# Inputs with one of these fields try something that only its owner knows.
SECRETS = frozenset({"currentPassword", "code"})
_ABOUT_THE_SCHEMA = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}


class NestedTooDeeply(Exception):
    """Selections inside each other past MAX_NESTING; nothing more is counted."""


class FragmentInItself(Exception):
    """A fragment that contains itself; `name` says which."""

    def __init__(self, name: str) -> None:
        """Keep the name."""
        super().__init__(name)
        self.name = name


class Weight(NamedTuple):
    """What a set of selections comes to, with all fragments in their places.

    `values` is how many values it can have for one object, lists multiplied; `per_item` what of
    them there is for each item of a connection that the object may be; `width` the fields of the
    object itself. `description` and `description_depth` are the same for what is asked about the
    schema. `guesses` are fields that are given a password or a code to try.
    """

    values: int = 0
    per_item: int = 0
    depth: int = 0
    description: int = 0
    description_depth: int = 0
    fields: int = 0
    width: int = 0
    aliases: int = 0
    directives: int = 0
    guesses: int = 0

    def and_(self, other: Weight) -> Weight:
        """Return what both come to beside each other."""
        return Weight(
            values=min(MANY, self.values + other.values),
            per_item=min(MANY, self.per_item + other.per_item),
            depth=max(self.depth, other.depth),
            description=min(MANY, self.description + other.description),
            description_depth=max(self.description_depth, other.description_depth),
            fields=min(MANY, self.fields + other.fields),
            width=min(MANY, self.width + other.width),
            aliases=min(MANY, self.aliases + other.aliases),
            directives=min(MANY, self.directives + other.directives),
            guesses=min(MANY, self.guesses + other.guesses),
        )


NOTHING = Weight()


@dataclass(frozen=True, slots=True)
class Measured:
    """What one operation asks for; `steps` is how many nodes were looked at to know it.

    `repeated` counts fields that are written again beside themselves, `longest_literal` is in
    characters. `values` depends on the variables of `sized_by`, and on no others.
    """

    weight: Weight
    values: int
    repeated: int
    longest_literal: int
    variables: int
    steps: int
    sized_by: tuple[str, ...]


def measure(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> Measured:
    """Return what an operation asks for under `variables`, which nobody has looked at yet.

    The document need not be valid. Raises NestedTooDeeply and FragmentInItself.
    """
    return _Pass(schema, document, operation, variables).run(operation)


def sizes(names: Iterable[str], variables: Mapping[str, Any]) -> tuple[object, ...]:
    """Return of variables what `measure` makes of them: the same sizes measure the same."""
    return tuple(
        len(value) if isinstance(value, list) else value if _is_size(value) else None
        for value in (variables.get(name, "left out") for name in names)
    )


def _is_size(value: object) -> bool:
    return value == "left out" or (isinstance(value, (int, float)) and not isinstance(value, bool))


class _Pass:
    """One walk over one operation."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
    ) -> None:
        self.schema = schema
        self.fragments = {
            part.name.value: part
            for part in document.definitions
            if isinstance(part, FragmentDefinitionNode)
        }
        self.defaults = {
            definition.variable.name.value: definition.default_value
            for definition in operation.variable_definitions or ()
        }
        self.variables = variables
        self.known: dict[str, Weight | None] = {}
        self.steps = 0
        self.repeated = 0
        self.longest_literal = 0
        self.sized_by: set[str] = set()

    def run(self, operation: OperationDefinitionNode) -> Measured:
        """Return what the operation asks for."""
        for definition in operation.variable_definitions or ():
            self._literals((definition.default_value,) if definition.default_value else ())
        on_operation = self._directives(operation)
        for definition in operation.variable_definitions or ():
            on_operation += self._directives(definition)
        root = self.schema.get_root_type(operation.operation)
        weight = self._selections(operation.selection_set, root, 1)
        values = weight.values
        if operation.operation is OperationType.MUTATION:
            values = min(MANY, values + MUTATION_COST * weight.width)
        return Measured(
            weight=weight._replace(directives=min(MANY, weight.directives + on_operation)),
            values=values,
            repeated=self.repeated,
            longest_literal=self.longest_literal,
            variables=len(self.defaults),
            steps=self.steps,
            sized_by=tuple(sorted(self.sized_by)),
        )

    def _selections(
        self, selections: SelectionSetNode, parent: GraphQLNamedType | None, level: int
    ) -> Weight:
        if level > MAX_NESTING:
            raise NestedTooDeeply
        total, names = NOTHING, set()
        for node in selections.selections:
            self.steps += 1
            directives = self._directives(node)
            if isinstance(node, FieldNode):
                name = (node.alias or node.name).value
                self.repeated += name in names
                names.add(name)
                weight = self._field(node, parent, level)
            elif isinstance(node, FragmentSpreadNode):
                weight = self._fragment(node.name.value, level)
            else:
                assert isinstance(node, InlineFragmentNode)  # noqa: S101 -- there is no fourth kind
                condition = node.type_condition
                inside = self.schema.get_type(condition.name.value) if condition else parent
                weight = self._selections(node.selection_set, inside, level + 1)
            if directives:
                weight = weight._replace(directives=min(MANY, weight.directives + directives))
            total = total.and_(weight)
        return total

    def _fragment(self, name: str, level: int) -> Weight:
        if name in self.known:
            weight = self.known[name]
            if weight is None:
                raise FragmentInItself(name)
            return weight
        fragment = self.fragments.get(name)
        if fragment is None:
            return NOTHING
        self.known[name] = None
        directives = self._directives(fragment)
        inside = self.schema.get_type(fragment.type_condition.name.value)
        weight = self._selections(fragment.selection_set, inside, level + 1)
        weight = weight._replace(directives=min(MANY, weight.directives + directives))
        self.known[name] = weight
        return weight

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None, level: int) -> Weight:
        self._literals(argument.value for argument in node.arguments or ())
        field = _field_of(self.schema, parent, node.name.value)
        type_ = get_named_type(field.type) if field else None
        inside = (
            self._selections(node.selection_set, type_, level + 1)
            if node.selection_set
            else NOTHING
        )
        one = Weight(
            fields=min(MANY, 1 + inside.fields),
            width=1,
            aliases=min(MANY, inside.aliases + (node.alias is not None)),
            directives=inside.directives,
            guesses=inside.guesses + (field is not None and _tries_a_secret(field)),
        )
        if parent is not None and parent.name.startswith("__"):
            length = self._description_length(node, field)
            return one._replace(
                description=min(MANY, 1 + length * inside.description),
                description_depth=1 + inside.description_depth,
            )
        is_list = field is not None and is_list_type(get_nullable_type(field.type))
        values, per_item = inside.values, 0
        if type_ is not None and _is_connection(type_):
            values += self._page(node) * inside.per_item
        elif is_list and is_composite_type(type_):
            if parent is not None and _is_connection(parent):
                values, per_item = 0, inside.values
            else:
                values *= self._length(node, type_)
        return one._replace(
            values=min(MANY, 1 + values),
            per_item=min(MANY, per_item),
            depth=1 + inside.depth,
            description=inside.description,
            description_depth=inside.description_depth,
        )

    def _page(self, node: FieldNode) -> int:
        """Return how many items a connection can have; nonsense is told when it runs."""
        sizes = [
            self._size(argument.value)
            for argument in node.arguments or ()
            if argument.name.value in {"first", "last"}
        ]
        return max((size for size in sizes if size is not None), default=DEFAULT_PAGE)

    def _size(self, node: Node) -> int | None:
        value = self._value(node)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        return min(max(value, 0), MAX_PAGE)

    def _value(self, node: Node | None) -> Any:
        """Return a number of a literal or of a variable; a list as it is; None for all else."""
        if isinstance(node, VariableNode):
            name = node.name.value
            self.sized_by.add(name)
            return self.variables.get(name, self._value(self.defaults.get(name)))
        if isinstance(node, IntValueNode):
            # No page is as large as a number of many digits, and Python does not read all.
            return int(node.value) if len(node.value) < 10 else MANY
        if isinstance(node, ListValueNode):
            return node.values
        return None

    def _length(self, node: FieldNode, type_: GraphQLNamedType | None) -> int:
        for argument in node.arguments or ():
            if argument.name.value == "ids":
                value = self._value(argument.value)
                return len(value) if isinstance(value, (list, tuple)) else 1
        return LIST_LENGTHS.get(type_.name if type_ else "", LIST_LENGTH)

    def _description_length(self, node: FieldNode, field: GraphQLField | None) -> int:
        if field is None or not is_list_type(get_nullable_type(field.type)):
            return 1
        return DESCRIPTION_LENGTHS.get(node.name.value, LIST_LENGTH)

    def _directives(self, node: Any) -> int:
        """Return how many directives stand at a node, and look at what they are given."""
        directives = node.directives or ()
        self.steps += len(directives)
        for directive in directives:
            self._literals(argument.value for argument in directive.arguments or ())
        return len(directives)

    def _literals(self, values: Iterable[Node]) -> None:
        left = list(values)
        while left:
            node: Any = left.pop()
            self.steps += 1
            if isinstance(node, ListValueNode):
                left.extend(node.values)
            elif isinstance(node, ObjectValueNode):
                left.extend(field.value for field in node.fields)
            elif isinstance(text := getattr(node, "value", None), str):
                self.longest_literal = max(self.longest_literal, len(text))


def _is_connection(type_: GraphQLNamedType) -> bool:
    return type_.name.endswith("Connection")


def _tries_a_secret(field: GraphQLField) -> bool:
    return any(
        not SECRETS.isdisjoint(getattr(get_named_type(argument.type), "fields", ()))
        for argument in field.args.values()
    )


def _field_of(
    schema: GraphQLSchema, parent: GraphQLNamedType | None, name: str
) -> GraphQLField | None:
    """Return a field of a type, those about the schema included at the root of queries."""
    if parent is not None and parent is schema.query_type and name in _ABOUT_THE_SCHEMA:
        return _ABOUT_THE_SCHEMA[name]
    fields: Mapping[str, GraphQLField] = getattr(parent, "fields", None) or {}
    return fields.get(name)
