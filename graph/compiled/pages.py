"""Connections as SQL: the page that `graph.connections.Listing.page` returns, in one sub-select.

Called by graph.compiled.objects. Rows, conditions, sort keys and what cursors hold are those of the
listing; only how a page is cut and flagged is said again here, in terms that need no look at rows:
a list goes on behind a page when there is one row more than fits, or anything from the cursor on.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from django.db.models import (
    BigIntegerField,
    BooleanField,
    DateField,
    DateTimeField,
    F,
    Func,
    TextField,
    UUIDField,
)
from graphql import get_named_type
from psycopg.types.numeric import Int8

from graph.compiled import leaves
from graph.compiled.shapes import Bound, Later, Raw, Uncompilable
from graph.compiled.statements import Nothing, Source, with_condition
from graph.connections import Window
from graph.inputs import is_given

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Field, QuerySet
    from graphql import FieldNode, GraphQLField, GraphQLObjectType

    from graph.columns import Listed
    from graph.compiled.objects import Compiling
    from graph.compiled.running import Execution
    from graph.connections import Cursor, Ordering, RowComparison, SortKey

_WINDOW = ("first", "after", "last", "before")
_MOST = 2**63 - 1
# How the values of cursors are bound, by the kind of the sort key.
_PLACES: dict[type, tuple[Field[Any, Any], str]] = {
    str: (TextField(), ""),
    int: (BigIntegerField(), ""),
    date: (DateField(), "date"),
    datetime: (DateTimeField(), "timestamptz"),
}


class _Place:
    """A cursor that each operation gives: the two halves of a comparison with it."""

    def __init__(self, ordering: Ordering, name: str, read: Callable[[Execution], Any]) -> None:
        self.ordering = ordering
        self._name = name
        self._read = read

    def cursor(self, execution: Execution) -> Cursor:
        """Return the cursor of one operation; raises InvalidInput."""
        text = self._read(execution)[self._name]
        cursor: Cursor = execution.once(self, lambda: self.ordering.load(text, self._name))
        return cursor

    def value(self, execution: Execution) -> Any:
        """Return the value that the list is sorted by there, what is missing as it sorts."""
        value = self.cursor(execution).value
        if self.ordering.key.kind is int:
            return Int8(_MOST if value is None else value)
        return "infinity" if value is None else value

    def expressions(self, key: SortKey) -> list[Any]:
        """Return the place as parameters, as `Cursor.expressions` returns it as values."""
        field, cast = _PLACES[key.kind]
        return [
            Bound(self.value, field, cast),
            Bound(lambda one: self.cursor(one).key, UUIDField()),
        ]


class _IsAmong(Func):
    """Whether a key is one of an array of the statement around."""

    template = "(%(expressions)s = ANY(%(among)s))"
    arity = 1
    output_field = BooleanField()


class _Page:
    """One connection field on its way to SQL."""

    def __init__(
        self,
        compiling: Compiling,
        field: GraphQLField,
        nodes: list[FieldNode],
        listed: Listed,
        around: Source | None,
        among: str = "",
    ) -> None:
        self.compiling = compiling
        self.making = compiling.making
        self.type: GraphQLObjectType = get_named_type(field.type)  # type: ignore[assignment]
        self.nodes = nodes
        given = compiling.later(field, nodes[0])
        window = {name: given.pop(name, None) for name in _WINDOW}
        if any(isinstance(window[name], Later) for name in ("first", "last")):
            raise Uncompilable("an open page size")
        self.window = Window.of(**window)
        settled = {name: value for name, value in given.items() if not isinstance(value, Later)}
        self.is_open = len(settled) < len(given)
        self.listing = listed.listing(compiling.shape, **settled)

        def rows(shape: Any, **arguments: Any) -> QuerySet[Any]:
            return listed.listing(shape, **arguments).rows

        # `sought` is the SQL of keys that may be looked up first, `among` names those that were.
        self.rows, self.sought = compiling.narrowed(rows, field, nodes[0], given, *_WINDOW)
        if among:
            self.rows = self.rows.filter(_IsAmong(F("pk"), among=among))
        if listed.of:
            if around is None:
                raise Uncompilable("a list of a row where there is none")
            self.rows = self.rows.filter(**{listed.of: Raw(around.key(), UUIDField())})
        self.ordering = self.listing.ordering
        self.after, self.before = (
            _Place(self.ordering, name, compiling.arguments(field, nodes[0]))
            if is_given(window[name])
            else None
            for name in ("after", "before")
        )

    # --- texts ------------------------------------------------------------------------------------

    def text(self) -> str:
        """Return the SQL of the page's text."""
        selected = self.compiling.selecting.fields(self.type, self.nodes)
        by_name: dict[str, list[FieldNode]] = {}
        for group in selected.values():
            by_name.setdefault(group[0].name.value, []).extend(group)
        if not {"edges", "pageInfo"} & by_name.keys():
            if self.after or self.before or (self.is_open and "totalCount" not in by_name):
                # Nothing would look at them, and tell that they are none.
                raise Uncompilable("a page of which nothing is read")
            return f"(SELECT {self.compiling.fields(self.type, self.nodes, self._field)})"
        info = self._names_below("pageInfo", by_name)
        self.source = Source(self.making, self.rows)
        self.columns: list[str] = []
        backward, size = self.window.backward, self.window.size
        # One row more tells whether the list goes on; without any, nothing is looked at.
        self.limit = max(1, size + (("hasPreviousPage" if backward else "hasNextPage") in info))
        text = self.compiling.fields(self.type, self.nodes, self._field)
        columns = [f"{text} AS e{number}" for number, text in enumerate(self.columns)]
        listed = ", ".join([*columns, "row_number() OVER () AS i"])
        ordered = self._narrowed(self.source.rows).order_by(
            *self.ordering.order_by(backward=backward)
        )
        self.source.rows = ordered[: self.limit]
        try:
            rows = self.source.text()
        except Nothing:
            self.source.rows = with_condition(ordered, "false")[: self.limit or 1]
            rows = self.source.text()
        # HAVING: one row, also where nothing that is selected is an aggregate.
        page = f"(SELECT {listed} FROM {rows}) AS {self.source.name}p"
        return f"(SELECT {text} FROM {page} HAVING true)"

    def _names_below(self, name: str, by_name: dict[str, list[FieldNode]]) -> set[str]:
        type_ = get_named_type(self.type.fields[name].type)
        below = self.compiling.selecting.fields(type_, by_name.get(name, ()))
        return {group[0].name.value for group in below.values()}

    def _narrowed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        for place, after in ((self.after, True), (self.before, False)):
            if place is not None:
                rows = rows.filter(self._beside(place, after=after, including=False))
        return rows

    def _beside(self, place: _Place, *, after: bool, including: bool) -> RowComparison:
        return self.ordering.compare(place, after=after, including=including)

    def _field(self, field: GraphQLField, nodes: list[FieldNode]) -> str:
        name = nodes[0].name.value
        if name == "totalCount":
            return self._count()
        below: Any = get_named_type(field.type)
        if name == "edges":
            edge = self.compiling.fields(below, nodes, self._edge_field)
            return self._edges(self._column(edge))
        if name == "pageInfo":
            return self.compiling.fields(below, nodes, self._info_field)
        raise Uncompilable(f"{self.type.name}.{name}")

    def _column(self, text: str) -> str:
        if text not in self.columns:
            self.columns.append(text)
        return f"e{self.columns.index(text)}"

    def _shown(self) -> str:
        size = self.window.size
        return f" FILTER (WHERE i <= {size})" if self.limit > size else ""

    def _edges(self, column: str) -> str:
        order = " ORDER BY i DESC" if self.window.backward else ""
        return f"concat('[', string_agg({column}, ','{order}){self._shown()}, ']')"

    def _edge_field(self, field: GraphQLField, nodes: list[FieldNode]) -> str:
        name = nodes[0].name.value
        if name == "cursor":
            return self._cursor()
        if name == "node":
            return self.compiling.row(get_named_type(field.type), nodes, self.source)  # type: ignore[arg-type]
        raise Uncompilable(f"an edge's {name}")

    def _info_field(self, _field: GraphQLField, nodes: list[FieldNode]) -> str:
        name, backward = nodes[0].name.value, self.window.backward
        if name in {"startCursor", "endCursor"}:
            column = self._column(self._cursor())
            size = self.window.size
            if (name == "startCursor") is not backward:
                return f"coalesce(max({column}) FILTER (WHERE i = 1 AND i <= {size}), 'null')"
            if not backward:
                return f"coalesce((array_agg({column}))[least(count(*), {size})], 'null')"
            farthest = f"array_agg({column} ORDER BY i DESC) FILTER (WHERE i <= {size})"
            return f"coalesce(({farthest})[1], 'null')"
        is_next = name == "hasNextPage"
        place = self.before if is_next else self.after
        answers = [] if place is None else [self._exists(place, after=is_next)]
        if is_next is not backward:
            answers.append(f"count(*) > {self.window.size}")
        return f"({' OR '.join(answers)})::text" if answers else "'false'"

    def _exists(self, place: _Place, *, after: bool) -> str:
        """Return whether there is anything from a place on.

        By the first row in order, which one step into the index finds; for EXISTS the planner may
        rather look through the table, whoever's rows come first there.
        """
        rows = self.rows.filter(self._beside(place, after=after, including=True))
        ordered = rows.order_by(*self.ordering.order_by(backward=not after))
        source = Source(self.making, ordered[:1])
        try:
            return f"(SELECT true FROM {source.text()}) IS NOT NULL"
        except Nothing:
            return "false"

    def _count(self) -> str:
        source = Source(self.making, self.rows.order_by())
        try:
            return f"(SELECT count(*) FROM {source.text()})::text"
        except Nothing:
            return "'0'"

    def _cursor(self) -> str:
        """Return the SQL of the JSON text of the cursor of a row, as `Ordering.dump` writes it."""
        ordering, key = self.ordering, self.source.key()
        value, column = self.source.column(ordering.key.column)
        spelt = leaves.sort_value(column, value)
        direction = "DESC" if ordering.descending else "ASC"
        head = leaves.text(f'["{ordering.name}","{direction}",')
        parts = f"""concat({head}, {spelt}, ',"', replace({key}::text, '-', ''), '"]')"""
        encoded = f"encode(convert_to({parts}, 'UTF8'), 'base64')"
        return f"""'"' || translate({encoded}, E'+/\\n', '-_') || '"'"""


def page(
    compiling: Compiling,
    field: GraphQLField,
    nodes: list[FieldNode],
    listed: Listed,
    around: Source | None,
) -> str:
    """Return the SQL of the text of a connection, of the row that `around` is at.

    Where keys are looked up first, it is two connections, and PostgreSQL takes one of them: of a
    few keys their rows are read, and of too many, for which it is given none, the list is walked.
    """
    whole = _Page(compiling, field, nodes, listed, around)
    if not whole.sought:
        return whole.text()
    keys = compiling.making.source()
    few = _Page(compiling, field, nodes, listed, around, f"{keys}.ids")
    return (
        f"(SELECT CASE WHEN {keys}.ids IS NULL THEN {whole.text()} ELSE {few.text()} END "
        f"FROM (SELECT {whole.sought} AS ids OFFSET 0) AS {keys})"
    )
