"""Statements that are asked all the time: compiled by Django once, and prepared by PostgreSQL.

Called by the old API's lists and playlists. A statement is compiled with values that stand for the
real ones, so that what it says has one author, the queryset, and not two. Where it was prepared
already on a connection PostgreSQL neither parses nor plans it again, which took longer than most
answers (docs/performance.md).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from assets.schedule import WallClock, wall_clock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from django.db.models import QuerySet


# No real value: a tenant, an asset, tags, an instant, and weekdays that no week has.
TENANT = UUID("00000000-0000-4000-8000-5749676e6174")
ASSET_ID = "\N{REPLACEMENT CHARACTER} an asset"
TAGS = ["\N{REPLACEMENT CHARACTER} a tag"]
NOW = datetime(2001, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)
CLOCK = WallClock(today=31_001, yesterday=31_002, time=NOW.time())
MOMENT = frozenset({"now", *CLOCK._fields})
_PLACEHOLDER = re.compile(r"%([s%])")
_PLACES: Mapping[str, Any] = {
    "tenant_id": TENANT,
    "asset_id": ASSET_ID,
    "tags": TAGS,
    "now": NOW,
    **CLOCK._asdict(),
}


def moment(now: datetime, zone: tzinfo) -> dict[str, Any]:
    """Return the values of the places MOMENT; raises what `schedule.wall_clock` raises."""
    return {"now": now.astimezone(UTC), **wall_clock(now, zone)._asdict()}


class Statement:
    """A SELECT with places for values."""

    def __init__(self, sql: str, parameters: Sequence[Any], places: Collection[str]) -> None:
        """Take SQL and its parameters, those of which that stand for `places` to be replaced.

        Raises ValueError when one of them does not occur: Django says it in another way by now.
        """
        self.sql = sql
        self._numbered = _numbered(sql)
        self._parameters = [(_place_of(value, places), value) for value in parameters]
        missing = set(places) - {name for name, _ in self._parameters}
        if missing:
            raise ValueError(f"There is no place for {', '.join(sorted(missing))}.")

    def rows(self, values: Mapping[str, Any], *more: Any) -> list[tuple[Any, ...]]:
        """Return the rows for these values by place; `more` are parameters behind the others."""
        filled = self._filled(values)
        with connection.cursor() as cursor, _prepared():
            cursor.execute(self.sql, [*filled, *more])
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def bound(self, values: Mapping[str, Any], *more: Any) -> tuple[bytes, list[Any]]:
        """Return the same as text with $1, $2, … and its parameters, for `rls.fetch_judged`."""
        return self._numbered, [*self._filled(values), *more]

    def _filled(self, values: Mapping[str, Any]) -> list[Any]:
        return [_like(value, values[name]) if name else value for name, value in self._parameters]


def compiled(
    rows: QuerySet[Any, Any], around: str = "{}", *, places: Collection[str] = ()
) -> Statement:
    """Return `rows` as a statement, in the place of {} in what is `around` it."""
    sql, parameters = rows.query.sql_with_params()
    return Statement(around.replace("{}", sql, 1), parameters, places)


def _numbered(sql: str) -> bytes:
    numbers = count(1)
    return _PLACEHOLDER.sub(
        lambda found: "%" if found[1] == "%" else f"${next(numbers)}", sql
    ).encode()


def _place_of(value: Any, places: Collection[str]) -> str:
    """Return which place a parameter is, "" for a value that stays."""
    for name in places:
        if isinstance(value, type(_PLACES[name])) and value == _PLACES[name]:
            return name
    return ""


def _like(stand_in: Any, value: Any) -> Any:
    """Return a value as Django has its stand-in: numbers say how wide their column is."""
    return type(stand_in)(value) if isinstance(stand_in, int) else value


@contextmanager
def _prepared() -> Iterator[None]:
    """Have what is executed inside prepared, where the way to PostgreSQL allows it."""
    raw: Any = connection.connection
    before = raw.prepare_threshold
    if settings.PREPARED_STATEMENTS:
        raw.prepare_threshold = 0
    try:
        yield
    finally:
        raw.prepare_threshold = before
