"""Objects of the schema as SQL: their fields, and the rows that their fields lead to.

Called by graph.compiled.plans for the root of an operation. What a field is, its declaration says
(graph.columns); a field that says nothing makes the whole operation uncompilable.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from graphql import (
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_object_type,
)
from strawberry import UNSET
from strawberry.types.base import get_object_definition

from graph.columns import (
    Column,
    Every,
    Found,
    Itself,
    Keyed,
    Listed,
    Refetched,
    Related,
    Summed,
    Told,
)
from graph.compiled import leaves, pages, refetching
from graph.compiled.selecting import BOUND_ARGUMENTS, detached
from graph.compiled.shapes import Later, Raw, Uncompilable
from graph.compiled.statements import Condition, LookUp, Nothing, Source, looked_up, with_condition
from graph.inputs import is_given

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.db.models import QuerySet
    from graphql import FieldNode, GraphQLField

    from graph.columns import Reads
    from graph.compiled.running import Execution
    from graph.compiled.selecting import Selecting
    from graph.compiled.shapes import Shape
    from graph.compiled.statements import Making
    from graph.permissions import Needs

# An operation that expands to more is somebody's experiment.
MAX_FIELDS = 3_000
# PostgreSQL's functions take a hundred arguments.
_WIDTH = 90


def concatenated(parts: Sequence[str]) -> str:
    """Return the SQL of texts one after the other."""
    joined: list[str] = list(parts)
    while len(joined) > _WIDTH:
        joined = [
            f"concat({', '.join(joined[at : at + _WIDTH])})" for at in range(0, len(joined), _WIDTH)
        ]
    return f"concat({', '.join(joined)})"


def json_object(fields: Mapping[str, str]) -> str:
    """Return the SQL of a JSON object's text, from the SQL of its fields' texts."""
    parts: list[str] = []
    before = "{"
    for key, value in fields.items():
        parts += [leaves.text(before + leaves.key(key)), value]
        before = ","
    return concatenated([*parts, leaves.text("}" if fields else "{}")])


class Compiling:
    """One operation's way to SQL."""

    def __init__(self, selecting: Selecting, shape: Shape, making: Making) -> None:
        """Take what is selected, what stands for the context, and where parameters go."""
        self.selecting = selecting
        self.shape = shape
        self.making = making
        self._fields = 0
        self._detached: dict[int, FieldNode] = {}

    def fields(
        self,
        type_: GraphQLObjectType,
        nodes: Sequence[FieldNode],
        value: Callable[[GraphQLField, list[FieldNode]], str],
    ) -> str:
        """Return the SQL of an object's text; `value` gives that of a field, __typename aside."""
        found = {}
        for key, group in self.selecting.fields(type_, nodes).items():
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise Uncompilable("too many fields")
            name = group[0].name.value
            if name == "__typename":
                found[key] = leaves.text(f'"{type_.name}"')
            elif name.startswith("__"):
                raise Uncompilable("introspection")
            else:
                found[key] = value(type_.fields[name], group)
        return json_object(found)

    # --- rows -----------------------------------------------------------------------------------

    def row(self, type_: GraphQLObjectType, nodes: Sequence[FieldNode], source: Source) -> str:
        """Return the SQL of the text of the row that `source` is at."""
        return self.fields(type_, nodes, partial(self._field, type_, source))

    def _field(
        self, type_: GraphQLObjectType, source: Source, field: GraphQLField, nodes: list[FieldNode]
    ) -> str:
        definition = field.extensions["strawberry-definition"]
        name, said = definition.python_name, definition.metadata
        self._require(said.get("needs"))
        expression = said.get("expression") or said.get("sql")
        if expression is not None:
            known_as = f"{type_.name}.{name}"
            value, column = source.expression(known_as, expression(self.shape))
            return leaves.leaf(field.type, column, value, nullable=True)
        if (reads := said.get("reads")) is not None:
            return self._read(reads, field, nodes, source)
        if isinstance(definition, Column) and definition.base_resolver is None:
            value, column = source.column(definition.django_name or name)
            if column.is_relation:
                raise Uncompilable(f"{type_.name}.{name} is a relation that reads nothing")
            return leaves.leaf(field.type, column, value, nullable=column.null)
        if nodes[0].name.value == "id" and issubclass(_origin(type_), Keyed):
            return leaves.global_id(type_.name, source.key())
        raise Uncompilable(f"{type_.name}.{nodes[0].name.value} is made by a resolver")

    def _require(self, needs: Needs | None) -> None:
        """Refuse what is declared to be refused; the resolver refuses it in its own words."""
        if needs is not None and not needs.hides:
            for permission in needs.permissions:
                self.shape.actor.require(permission)

    def _read(
        self, reads: Reads, field: GraphQLField, nodes: list[FieldNode], source: Source | None
    ) -> str:
        text = self._text(reads, field, nodes, source)
        if source is None or not getattr(reads, "inside", False):
            return text
        tenant = self.making.value(self.shape.actor.entered())
        return f"CASE WHEN {source.key()} = {tenant} THEN {text} ELSE {leaves.UNFIT_SQL} END"

    def _text(
        self, reads: Reads, field: GraphQLField, nodes: list[FieldNode], source: Source | None
    ) -> str:
        """Return the SQL of what a field reads, in whatever tenant."""
        match reads:
            case Found():
                rows = reads.rows(self.shape, **self.later(field, nodes[0]))
                text = self.found(field, nodes, rows)
            case Listed():
                text = pages.page(self, field, nodes, reads, source)
            case Every():
                text = self._every(field, nodes, reads.rows(self.shape))
            case Refetched():
                text = refetching.refetched(self, field, nodes, reads)
            case Told():
                text = self._told(reads, field, nodes)
            case Related() if source is not None:
                column, known = source.column(reads.column)
                rows = reads.rows().filter(**{reads.by: Raw(column, _key_field(known))})
                text = self.found(field, nodes, rows)
            case Itself() if source is not None:
                if reads.with_ is not None:
                    source.rows = source.rows.annotate(**reads.with_(self.shape))
                text = self.row(_object(field), nodes, source)
            case Summed():
                text = self._summed(reads, field, nodes)
            case _:
                raise Uncompilable(f"{reads!r} here")
        return text

    def found(self, field: GraphQLField, nodes: list[FieldNode], rows: Any) -> str:
        """Return the SQL of the text of the one row there may be."""
        return self.one(_object(field), nodes, rows, leaves.missing(field.type))

    def one(
        self, type_: GraphQLObjectType, nodes: Sequence[FieldNode], rows: Any, missing: str
    ) -> str:
        """Return the SQL of the text of the one row there may be; else it is `missing`."""
        source = Source(self.making, rows)
        text = self.row(type_, nodes, source)
        try:
            return f"coalesce((SELECT {text} FROM {source.text()}), {missing})"
        except Nothing:
            return missing

    def _every(self, field: GraphQLField, nodes: list[FieldNode], rows: Any) -> str:
        type_ = get_named_type(field.type)
        if not is_object_type(type_) or not is_list_type(get_nullable_type(field.type)):
            raise Uncompilable(f"{field.type} is no list of objects")
        source = Source(self.making, rows)
        # They may come from a look-up, which sorts as it is written.
        self.making.is_selective = True
        text = self.row(type_, nodes, source)
        try:
            return f"(SELECT concat('[', string_agg({text}, ','), ']') FROM {source.text()})"
        except Nothing:
            return leaves.text("[]")

    def _summed(self, reads: Summed, field: GraphQLField, nodes: list[FieldNode]) -> str:
        given = self.later(field, nodes[0])
        rows, _ = self.narrowed(reads.rows, field, nodes[0], given)
        # All that there are, and nothing stops early.
        self.making.is_selective = True
        source = Source(self.making, rows, is_summed=True)
        text = self.row(_object(field), nodes, source)
        try:
            return f"(SELECT {text} FROM {source.text()})"
        except Nothing:
            raise Uncompilable("sums over nothing") from None

    def narrowed(
        self,
        rows: Callable[..., QuerySet[Any]],
        field: GraphQLField,
        node: FieldNode,
        given: Mapping[str, Any],
        *without: str,
    ) -> tuple[QuerySet[Any], str]:
        """Return the rows that arguments ask for; what is open among them makes a condition.

        `without` are arguments that have no say in it. With the rows comes the SQL of the keys
        that are looked up beforehand, empty where there are none.
        """
        settled = {name: value for name, value in given.items() if not isinstance(value, Later)}
        self.shape.sought.clear()
        found = rows(self.shape, **settled)
        # A filter's values decide which index is best; and what is no tenant's and no person's has
        # no index that begins with whose it is.
        is_filtered = any(is_given(value) for name, value in given.items() if name != "order")
        is_somebodys = hasattr(found.model, "tenant_id") or hasattr(found.model, "user_id")
        if is_filtered or not is_somebodys:
            self.making.is_selective = True
        if len(settled) == len(given):
            sought = self.shape.sought
            return found, self.making.placed(*looked_up(self.shape)) if sought else ""
        read = self.arguments(field, node)

        def arguments(execution: Execution) -> dict[str, Any]:
            return {n: v for n, v in read(execution).items() if n not in without}

        is_looking = self.shape.is_looking
        condition = Condition(arguments, rows, is_looking=is_looking)
        keys = LookUp(arguments, rows, is_looking=True) if is_looking else None
        return (
            with_condition(found, self.making.slot(condition)),
            self.making.slot(keys) if keys is not None else "",
        )

    def _told(self, reads: Told, field: GraphQLField, nodes: list[FieldNode]) -> str:
        given = self.later(field, nodes[0])
        if any(isinstance(value, Later) for value in given.values()):
            raise Uncompilable("something told of an open argument")
        value = json.dumps(
            reads.value(self.shape, **given), ensure_ascii=False, separators=(",", ":")
        )
        try:
            return leaves.text(value)
        except ValueError:
            raise Uncompilable("something told in strange characters") from None

    # --- the root and its arguments ---------------------------------------------------------------

    def root(self, type_: GraphQLObjectType, nodes: Sequence[FieldNode]) -> str:
        """Return the SQL of the text of `data`."""
        return self.fields(type_, nodes, self._root_field)

    def _root_field(self, field: GraphQLField, nodes: list[FieldNode]) -> str:
        said = field.extensions["strawberry-definition"].metadata
        self._require(said.get("needs"))
        reads = said.get("reads")
        if reads is None:
            raise Uncompilable(f"Query.{nodes[0].name.value} is made by a resolver")
        return self._read(reads, field, nodes, None)

    def arguments(self, field: GraphQLField, node: FieldNode) -> Callable[[Execution], Any]:
        """Return what gives the arguments of a field in one operation, read once in each."""
        if id(node) not in self._detached:
            self._detached[id(node)] = detached(node)
        kept, read = self._detached[id(node)], self.selecting.arguments
        return lambda one: one.once(kept, lambda: read(field, kept, one.variables))

    def later(self, field: GraphQLField, node: FieldNode) -> dict[str, Any]:
        """Return the arguments of a field, those with values of their own per operation Later."""
        given = self.selecting.arguments(field, node, self.selecting.variables)
        still_open = self.selecting.open_arguments(node)
        names = {
            argument.python_name: self.name_of(argument)
            for argument in field.extensions["strawberry-definition"].arguments
        }
        found: dict[str, Any] = {}
        for name, value in given.items():
            if names[name] in still_open and names[name] not in BOUND_ARGUMENTS:
                raise Uncompilable(f"the argument {names[name]} is open")
            if is_given(value) and names[name] in still_open:
                found[name] = Later(partial(_argument, self.arguments(field, node), name))
            elif value is not UNSET:
                found[name] = value
        return found

    def name_of(self, argument: Any) -> str:
        """Return an argument's name in the schema."""
        name: str = self.selecting.strawberry.config.name_converter.from_argument(argument)
        return name


def _origin(type_: GraphQLObjectType) -> type:
    return get_object_definition(
        type_.extensions["strawberry-definition"].origin, strict=True
    ).origin


def _object(field: GraphQLField) -> GraphQLObjectType:
    type_ = get_nullable_type(field.type)
    if not is_object_type(type_):
        raise Uncompilable(f"{field.type} is no object")
    return type_


def _argument(read: Callable[[Execution], Any], name: str, execution: Execution) -> Any:
    return read(execution)[name]


def _key_field(field: Any) -> Any:
    return field.target_field if field.is_relation else field
