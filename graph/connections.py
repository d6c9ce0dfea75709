"""Relay connections over keyset cursors: one page of a list, in any order that has an index.

Called by every list of the schema. An ordering is declared once, as a column and how its values
are written in cursors, so that whatever compiles reads to SQL pages exactly like this.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar
from uuid import UUID

import strawberry
from django.db.models import (
    BigIntegerField,
    BooleanField,
    F,
    Func,
    Model,
    OrderBy,
    QuerySet,
    Value,
)
from graphql import GraphQLError

from assets.querysets import DateOrNever, Most, Never, NumberOrMost
from graph.columns import resolved
from graph.enums import OrderDirection
from graph.inputs import is_given
from graph.scalars import parse_date, parse_instant, print_instant
from graph.selections import Selection
from tenancy.errors import InvalidInput
from tenancy.tenants import clean_text

DEFAULT_PAGE = 50
MAX_PAGE = 500
_INT64 = range(-(2**63), 2**63)

NodeT = TypeVar("NodeT")
ModelT = TypeVar("ModelT", bound=Model)

First = Annotated[
    int | None,
    strawberry.argument(
        description="How many items to return from the start, 500 at most. Without `first` and "
        "`last`: 50."
    ),
]
After = Annotated[
    str | None,
    strawberry.argument(description="Only items after this cursor of the same list and order."),
]
Last = Annotated[
    int | None,
    strawberry.argument(
        description="How many items to return from the end, 500 at most. Not together with `first`."
    ),
]
Before = Annotated[
    str | None,
    strawberry.argument(description="Only items before this cursor of the same list and order."),
]


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    """Relay's PageInfo, right in both directions."""

    has_next_page: bool = strawberry.field(description="Whether the list goes on after this page.")
    has_previous_page: bool = strawberry.field(
        description="Whether the list has something before this page."
    )
    start_cursor: str | None = strawberry.field(
        description="The cursor of the first item, for `before`; null on an empty page."
    )
    end_cursor: str | None = strawberry.field(
        description="The cursor of the last item, for `after`; null on an empty page."
    )


@strawberry.type(description="An item of a list and its place there.")
class Edge(Generic[NodeT]):
    """Relay's edge."""

    cursor: str = strawberry.field(
        description="The item's place: opaque, valid as `after` and `before` in the same order."
    )
    node: NodeT = strawberry.field(description="The item itself.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[NodeT]):
    """Relay's connection; counts only when it is asked to."""

    edges: list[Edge[NodeT]] = strawberry.field(description="The items of this page, in order.")
    page_info: PageInfo = strawberry.field(description="Where this page lies in the list.")
    count: strawberry.Private[Callable[[], int]]

    @resolved("How many items the whole list has under its filter. Counted only when asked.")
    def total_count(self) -> int:
        """Count the list in a statement of its own."""
        return self.count()


@dataclass(frozen=True, slots=True)
class SortKey:
    """What a list is sorted by before its key, which breaks ties."""

    column: str
    kind: type[str | int | date]
    nullable: bool = False

    def expressions(self) -> list[F | Func | Value]:
        """Return what ORDER BY and the comparison with a cursor use, the key last.

        A missing date sorts as the end of time, a missing number as the largest there can be:
        last when ascending.
        """
        if not self.nullable:
            return [F(self.column), F("id")]
        return [(DateOrNever if self.kind is datetime else NumberOrMost)(self.column), F("id")]

    def missing(self) -> Func:
        """Return as SQL what a missing value sorts as."""
        return Never() if self.kind is datetime else Most()

    def dump(self, value: Any) -> Any:
        """Return a value as JSON."""
        if isinstance(value, datetime):
            return print_instant(value)
        return value.isoformat() if isinstance(value, date) else value

    def load(self, value: Any) -> Any:
        """Return what `dump` was given; raises ValueError for what it never made."""
        if value is None and self.nullable:
            return None
        if self.kind is datetime:
            return parse_instant(value)
        if self.kind is date:
            return parse_date(value)
        if type(value) is not self.kind or (
            isinstance(value, int) and not -(2**63) <= value < 2**63
        ):
            raise ValueError(value)
        return clean_text(value) if isinstance(value, str) else value


class Place(Protocol):
    """A place in a list, told or still to be told."""

    def expressions(self, sorted_by: SortKey, /) -> Sequence[Any]:
        """Return the place as SQL values, in the order of `SortKey.expressions`."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: the value it is sorted by there, and the key."""

    value: Any
    key: UUID

    def expressions(self, sorted_by: SortKey) -> list[F | Func | Value]:
        """Return the place as SQL values, in the order of `SortKey.expressions`."""
        if self.value is None:
            return [sorted_by.missing(), Value(self.key)]
        # Django takes a bare number for one of 32 bits, and the driver cuts it to them.
        field = BigIntegerField() if sorted_by.kind is int else None
        return [Value(self.value, output_field=field), Value(self.key)]


class RowComparison(Func):
    """`(a, b) >= (x, y)`, which one range of an index answers."""

    output_field = BooleanField()

    def __init__(
        self, left: Sequence[F | Func | Value], operator: str, right: Sequence[F | Func | Value]
    ) -> None:
        """Compare two rows of the same width."""
        super().__init__(*left, *right)
        self.operator = operator
        self.width = len(left)

    def as_sql(self, compiler: Any, connection: Any, **_extra: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        """Return the comparison and its parameters."""
        del connection
        parts = [compiler.compile(part) for part in self.get_source_expressions()]
        texts = [text for text, _ in parts]
        left, right = ", ".join(texts[: self.width]), ", ".join(texts[self.width :])
        parameters = [value for _, values in parts for value in values]
        return f"({left}) {self.operator} ({right})", parameters


@dataclass(frozen=True, slots=True)
class Ordering:
    """A sort key, the name of list and order in cursors (`Asset.NAME`), and the direction."""

    name: str
    key: SortKey
    descending: bool

    @classmethod
    def of(cls, keys: Mapping[Any, SortKey], field: Any, direction: OrderDirection) -> Self:
        """Return the ordering that an `order` argument names."""
        name = f"{type(field).__name__.removesuffix('OrderField')}.{field.name}"
        return cls(name, keys[field], direction is OrderDirection.DESC)

    def order_by(self, *, backward: bool) -> list[OrderBy]:
        """Return the ORDER BY, reversed when the page is read from the end."""
        descending = self.descending is not backward
        return [OrderBy(part, descending=descending) for part in self.key.expressions()]

    def compare(self, cursor: Place, *, after: bool, including: bool) -> RowComparison:
        """Return the condition "lies after (or before) the cursor", or at it with `including`."""
        operator = ">" if after is not self.descending else "<"
        return RowComparison(
            self.key.expressions(),
            operator + ("=" if including else ""),
            cursor.expressions(self.key),
        )

    def cursor_of(self, row: Model) -> Cursor:
        """Return the place of a row."""
        return Cursor(getattr(row, self.key.column), row.pk)

    def dump(self, cursor: Cursor) -> str:
        """Return a cursor as clients see it."""
        direction = "DESC" if self.descending else "ASC"
        parts = [self.name, direction, self.key.dump(cursor.value), cursor.key.hex]
        return base64.urlsafe_b64encode(
            json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()
        ).decode()

    def load(self, text: str, field: str) -> Cursor:
        """Return the place a client names; raises InvalidInput when it is none of this order."""
        try:
            name, direction, value, key = json.loads(base64.b64decode(text, b"-_", validate=True))
            if (name, direction) != (self.name, "DESC" if self.descending else "ASC"):
                raise InvalidInput(
                    "This cursor belongs to another list or another order; start again without it.",
                    field=(field,),
                )
            return Cursor(self.key.load(value), UUID(hex=key))
        except InvalidInput as error:
            raise InvalidInput(error.message, field=(field,)) from None
        except (ValueError, TypeError, AttributeError, RecursionError, GraphQLError) as error:
            raise InvalidInput("This is not a cursor of this list.", field=(field,)) from error


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list is asked for, checked."""

    size: int
    backward: bool
    after: str | None
    before: str | None

    @classmethod
    def of(cls, first: int | None, after: str | None, last: int | None, before: str | None) -> Self:
        """Return the window that four arguments ask for; raises InvalidInput."""
        if is_given(first) and is_given(last):
            raise InvalidInput("Give `first` or `last`, not both.", field=("last",))
        name, size = ("last", last) if is_given(last) else ("first", first)
        if not is_given(size):
            size = DEFAULT_PAGE
        if not 0 <= size <= MAX_PAGE:
            raise InvalidInput(f"`{name}` is between 0 and {MAX_PAGE}.", field=(name,))
        return cls(
            size,
            is_given(last),
            after if is_given(after) else None,
            before if is_given(before) else None,
        )


@dataclass(frozen=True, slots=True)
class Listing(Generic[ModelT]):
    """A list to page through: its rows under their filter, and how they are sorted.

    `read` narrows rows to what is selected below `node` and the given column; `meet` is shown the
    rows of the page before anybody asks them for anything.
    """

    rows: QuerySet[ModelT]
    ordering: Ordering
    read: Callable[[QuerySet[ModelT], Selection, str], QuerySet[ModelT]]
    meet: Callable[[Sequence[ModelT]], None]

    def page(self, window: Window, selection: Selection) -> Connection[Any]:
        """Return one page in one statement; a second one only when a cursor's item has gone.

        Rows at the cursors are read too and then left out: being there, they tell for free that
        the list goes on in their direction.
        """
        ordering, backward = self.ordering, window.backward
        after = ordering.load(window.after, "after") if window.after is not None else None
        before = ordering.load(window.before, "before") if window.before is not None else None
        count = self.rows.count
        if "edges" not in selection and "pageInfo" not in selection:
            nowhere = PageInfo(
                has_next_page=False, has_previous_page=False, start_cursor=None, end_cursor=None
            )
            return Connection(edges=[], page_info=nowhere, count=count)
        rows = self.read(self.rows, selection.below("edges", "node"), ordering.key.column)
        if after is not None:
            rows = rows.filter(ordering.compare(after, after=True, including=True))
        if before is not None:
            rows = rows.filter(ordering.compare(before, after=False, including=True))
        near, far = (before, after) if backward else (after, before)
        limit = window.size + (1 if near is None else 2)
        items = list(rows.order_by(*ordering.order_by(backward=backward))[:limit])
        is_behind = near is not None and bool(items) and ordering.cursor_of(items[0]) == near
        items = items[1:] if is_behind else items
        is_beyond = far is not None and bool(items) and ordering.cursor_of(items[-1]) == far
        items = items[:-1] if is_beyond else items
        is_beyond = is_beyond or len(items) > window.size
        items = items[: window.size]
        if backward:
            items.reverse()
        self.meet(items)
        info = selection.below("pageInfo")
        has_next, has_previous = (is_behind, is_beyond) if backward else (is_beyond, is_behind)
        if not has_previous and after is not None and "hasPreviousPage" in info:
            has_previous = self.rows.filter(
                ordering.compare(after, after=False, including=True)
            ).exists()
        if not has_next and before is not None and "hasNextPage" in info:
            has_next = self.rows.filter(
                ordering.compare(before, after=True, including=True)
            ).exists()
        edges: list[Edge[Any]] = [
            Edge(cursor=ordering.dump(ordering.cursor_of(item)), node=item) for item in items
        ]
        return Connection(
            edges=edges,
            page_info=PageInfo(
                has_next_page=has_next,
                has_previous_page=has_previous,
                start_cursor=edges[0].cursor if edges else None,
                end_cursor=edges[-1].cursor if edges else None,
            ),
            count=count,
        )
