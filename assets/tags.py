"""The tags of a tenant's assets, counted (MISSION A7). Reads only.

Called by graph.tags, inside its door. A tag is no row of its own: it is there as long as an asset
has it, and its count is made when somebody asks, in one pass over the tags of the tenant's assets;
under a prefix, of those assets only that the index of the search names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection

from assets.search import candidates

if TYPE_CHECKING:
    from uuid import UUID

# `lower` first, so that tags are in the order of a dictionary; "C", because every server has it.
_BY_NAME = '(lower({}) COLLATE "C", {} COLLATE "C")'
_BY_COUNT = '({}, {} COLLATE "C")'


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag and how many assets have it."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class TagList:
    """A tenant's tags that begin with `prefix`, sorted by name or by count."""

    tenant_id: UUID
    prefix: str = ""
    by_count: bool = False

    def page(
        self, *, start: Tag | None, end: Tag | None, descending: bool, limit: int
    ) -> list[Tag]:
        """Return `limit` tags at most from `start` on until `end`, both included, in that order."""
        here = self._sorted_by("name", "count")
        later, earlier, direction = ("<=", ">=", "DESC") if descending else (">=", "<=", "ASC")
        conditions = []
        parameters: list[Any] = []
        for bound, operator in ((start, later), (end, earlier)):
            if bound is not None:
                conditions.append(f"{here} {operator} {self._sorted_by('%s::text', '%s::bigint')}")
                parameters += [bound.count if self.by_count else bound.name, bound.name]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        order = ", ".join(f"{part} {direction}" for part in self._order())
        rows = self._select(
            f"SELECT name, count FROM counted {where} ORDER BY {order} LIMIT %s",  # noqa: S608 -- ours
            *parameters,
            limit,
        )
        return [Tag(*row) for row in rows]

    def total(self) -> int:
        """Return how many tags there are."""
        [(total,)] = self._select("SELECT count(*) FROM counted")
        return int(total)

    def _sorted_by(self, name: str, count: str) -> str:
        return _BY_COUNT.format(count, name) if self.by_count else _BY_NAME.format(name, name)

    def _order(self) -> tuple[str, str]:
        first = "count" if self.by_count else 'lower(name) COLLATE "C"'
        return first, 'name COLLATE "C"'

    def _select(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        conditions, values = ["tenant_id = %s"], [self.tenant_id, *parameters]
        if self.prefix:
            among = candidates("search_assets", [], [self.prefix], [])
            conditions.append("starts_with(lower(tag), lower(%s::text))")
            values.insert(1, self.prefix)
            if among is not None:
                conditions.append("assets.id = ANY((SELECT %s::uuid[])::uuid[])")
                values.insert(2, among)
        with connection.cursor() as cursor:
            cursor.execute(
                "WITH counted AS MATERIALIZED (SELECT tag AS name, count(*) AS count "  # noqa: S608 -- ours
                f"FROM assets, unnest(tags) AS tag WHERE {' AND '.join(conditions)} GROUP BY tag) "
                f"{query}",
                values,
            )
            return list(cursor.fetchall())
