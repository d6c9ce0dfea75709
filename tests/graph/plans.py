"""What PostgreSQL does to answer a request: its statements run again under EXPLAIN, and judged.

Used by the tests of plans. A plan passes when every node that reads a tenant's table does so by a
key or by an index that begins with the tenant, under a condition on it, and meets no more rows than
it is allowed to. Never a time.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from psycopg import sql
from psycopg.adapt import PyFormat, Transformer

from graph.compiled import running
from rls import acting_as, fetch_one
from tests.graph.conftest import sent_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from pytest_django import Settings

    from tests.graph.crowd import Place

# A descent into an index, and the row it leads to.
BLOCKS_PER_ROW = 6
# What planning, small tables and the tuple behind a setting cost.
BLOCKS_BESIDES = 150
# The type of a parameter that PostgreSQL is to find out about by itself.
_UNKNOWN = 705
_BY_INDEX = {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
_PARTS = {"Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"}


def indexes() -> dict[str, list[str]]:
    """Return the columns of every index by its name; an expression is an empty one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.relname, array(SELECT COALESCE(a.attname::text, '') FROM "
            "unnest(x.indkey::int2[]) WITH ORDINALITY u (n, place) LEFT JOIN pg_attribute a "
            "ON a.attrelid = x.indrelid AND a.attnum = u.n ORDER BY place) "
            "FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
        )
        return dict(cursor.fetchall())


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Go through a plan, each node before those below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes_of(below)


def met(node: dict[str, Any]) -> int:
    """Return how many rows a node looked at, in all of its loops together."""
    rows: float = sum(node.get(part, 0) for part in _PARTS) * node["Actual Loops"]
    return math.ceil(rows)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as it was sent; with its parameters apart where it was prepared."""

    text: str
    template: str = ""
    parameters: tuple[Any, ...] = ()
    planned_once: bool = False


@dataclass
class Plan:
    """What one statement did."""

    root: dict[str, Any]
    columns: dict[str, list[str]]
    statement: str = field(repr=False)

    @cached_property
    def nodes(self) -> list[dict[str, Any]]:
        """Every node."""
        return list(nodes_of(self.root))

    @property
    def scans(self) -> list[dict[str, Any]]:
        """The nodes that read tables."""
        return [node for node in self.nodes if "Relation Name" in node]

    @property
    def used(self) -> set[str]:
        """The indexes that were read."""
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def rows(self) -> int:
        """How many rows of tables it looked at."""
        return sum(map(met, self.scans))

    @property
    def sorts(self) -> list[int]:
        """How many rows each sort was given."""
        return [
            max(met(below) for below in node["Plans"])
            for node in self.nodes
            if "Sort" in node["Node Type"]
        ]

    def check(self, most: int, *, sorts: int, where: object) -> None:
        """Fail unless no node looked at more than `most` rows, nor sorted more than `sorts`."""
        told = f"{where}\n{self.statement}\n{json.dumps(self._brief(self.root), indent=1)}"
        for node in self.nodes:
            if "Relation Name" in node:
                assert node["Node Type"] in _BY_INDEX, told
                assert met(node) <= most, f"{met(node)} rows, not {most}: {told}"
            if "Index Name" in node:
                assert self._is_narrowed(node), f"{node['Index Name']} is not narrowed: {told}"
                # Of a bitmap: entries, which the rows are found by.
                assert met(node) <= most, f"{met(node)} entries, not {most}: {told}"
        assert all(size <= sorts for size in self.sorts), f"sorts {self.sorts}: {told}"
        blocks = self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"]
        reads = sum(met(node) for node in self.nodes if "Index Name" in node)
        allowed = BLOCKS_PER_ROW * reads + BLOCKS_BESIDES
        assert blocks <= allowed, f"{blocks} blocks, not {allowed}: {told}"

    def _is_narrowed(self, node: dict[str, Any]) -> bool:
        """Whether an index is read for its own tenant, or person, or for a key."""
        name = node["Index Name"]
        first = self.columns[name][0]
        # Sessions are a person's; an index of memberships by person leads into other tenants.
        begins = {"tenant_id", "id"} | ({"user_id"} if name.startswith("user_sessions") else set())
        return first in begins and f"({first} = " in node.get("Index Cond", "")

    def _brief(self, node: dict[str, Any]) -> dict[str, Any]:
        kept = (
            *("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Sort Key"),
            *("Plan Rows", *_PARTS, "Actual Loops", "Shared Hit Blocks"),
        )
        brief = {name: node[name] for name in kept if node.get(name)}
        return brief | {"Plans": [self._brief(below) for below in node.get("Plans", ())]}


@dataclass
class Explainer:
    """Asks as a tenant's owner on one road or the other, and explains what was sent."""

    settings: Settings
    monkeypatch: pytest.MonkeyPatch
    columns: dict[str, list[str]] = field(default_factory=indexes)
    # The indexes that were read.
    used: set[str] = field(default_factory=set)

    def sent(self, ask: Callable[[], object], *, is_compiled: bool = True) -> list[Statement]:
        """Return the statements that answer a request, without those of who asks."""
        self.settings.COMPILED_READS = is_compiled
        apart: dict[str, Statement] = {}

        def noted(actor: Any, text: bytes, parameters: Any, *, planned_once: bool) -> Any:
            with CaptureQueriesContext(connection) as captured:
                row = fetch_one(actor, text, parameters, planned_once=planned_once)
            whole = captured.captured_queries[-1]["sql"]
            apart[whole] = Statement(whole, text.decode(), tuple(parameters), planned_once)
            return row

        with self.monkeypatch.context() as patch, CaptureQueriesContext(connection) as captured:
            patch.setattr(running, "fetch_one", noted)
            ask()
        return [apart.get(text, Statement(text)) for text in sent_inside(captured)]

    def plan(self, place: Place, statement: Statement, *, is_generic: bool = False) -> Plan:
        """Run a statement under EXPLAIN, as the tenant's owner.

        `is_generic`: as PostgreSQL plans it once for all tenants, after it was prepared.
        """
        with acting_as(place.owner, read_only=True), connection.cursor() as cursor:
            text = self._prepare(cursor, statement) if is_generic else statement.text
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}")
            explained = cursor.fetchone()[0]
            if is_generic:
                cursor.execute("DEALLOCATE looked_at")
        plan = explained if isinstance(explained, list) else json.loads(explained)
        found = Plan(plan[0]["Plan"], self.columns, statement.text)
        self.used |= found.used
        return found

    def check(
        self,
        place: Place,
        asked: str | Callable[[], object],
        most: int,
        *,
        sorts: int | None = None,
        is_compiled: bool = False,
        loosely: int | None = None,
    ) -> int:
        """Check every statement of a query as `Plan.check` does; return the most rows read.

        What was prepared is checked as it would be planned for all tenants too, with `loosely` in
        the place of `most`: a filter's value is not known then.
        """
        sorts = most if sorts is None else sorts
        read = 0
        where = (place.slug, asked, is_compiled)
        ask = asked if callable(asked) else partial(place.graph.data, asked)
        for statement in self.sent(ask, is_compiled=is_compiled):
            plan = self.plan(place, statement)
            plan.check(most, sorts=sorts, where=where)
            read = max(read, plan.rows)
            if statement.template:
                plan = self.plan(place, statement, is_generic=True)
                told = (where, "for all tenants")
                plan.check(loosely or most, sorts=loosely or sorts, where=told)
        return read

    def _prepare(self, cursor: Any, statement: Statement) -> str:
        raw: Any = connection.connection
        adapted = Transformer(raw)
        adapted.dump_sequence(statement.parameters, [PyFormat.AUTO] * len(statement.parameters))
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        if statement.planned_once:
            cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(
            "SELECT format_type(oid, NULL) FROM unnest(%s::oid[]) WITH ORDINALITY u (oid, place) "
            "ORDER BY place",
            [[oid or _UNKNOWN for oid in adapted.types or ()]],
        )
        types = ", ".join(name for (name,) in cursor.fetchall())
        values = ", ".join(sql.Literal(value).as_string(raw) for value in statement.parameters)
        around = ("(", ")") if statement.parameters else ("", "")
        cursor.execute(f"PREPARE looked_at{types.join(around)} AS {statement.template}")
        return f"EXECUTE looked_at{values.join(around)}"
