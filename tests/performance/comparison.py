"""`manage.py benchmark`: workloads a to e beside PostGraphile, pgbench and ourselves with less data.

Whatever is compared takes turns, and medians over the rounds are shown: what else runs on the
machine then meets all of them. Processor time is that of the server, PostgreSQL and Redis, and not
of the load.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING

import psutil
from django.core.management.base import CommandError
from django.db import connections

from tests import databases
from tests.performance import limit
from tests.performance.equality import check_equality, data
from tests.performance.load import drive, post
from tests.performance.meter import Meter
from tests.performance.postgraphile import Absent, postgraphile
from tests.performance.seed import seeded
from tests.performance.server import running
from tests.performance.workloads import DEEP, OURS, POSTGRAPHILE, READS, SIGNATE, is_right

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.performance.seed import Asked, Library
    from tests.performance.workloads import Side

PROCESSES = 2
# What growth is measured from, and how many connections whatever is not said with a number has.
SMALL, MAIN = 10_000, 16
PAGE = 50
WARM_UP_SHARE = 0.15
# What a kept request or plan costs the first time is paid before anything is measured.
WARM_UP_SECONDS = 1.5
FIRST, DEEPEST, LESS_DATA, LIMIT = "page 1", "last page", "less data", "pgbench"
# An actor may spend all of it: limits count, and none refuses what no person would ask for.
ENVIRONMENT = {"SIGNATE_GRAPHQL_BUDGET": str(10**15)}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how long."""

    assets: int = 1_000_000
    workloads: tuple[str, ...] = tuple(OURS)
    connections: tuple[int, ...] = (1, MAIN, 64)
    rounds: int = 3
    seconds: float = 2.0
    keep: bool = False
    with_postgraphile: bool = True


@dataclass(frozen=True, slots=True)
class Figure:
    """One window: requests per second, and milliseconds."""

    rate: float
    cpu: float = 0.0
    p50: float = 0.0
    p99: float = 0.0


@dataclass(slots=True)
class Results:
    """Every window by workload, who answered, and connections; bytes of a process by who."""

    figures: dict[tuple[str, str, int], list[Figure]] = field(
        default_factory=lambda: defaultdict(list)
    )
    memory: dict[str, int] = field(default_factory=dict)
    pages: int = 0

    def of(self, workload: str, name: str, connections: int = MAIN) -> Figure | None:
        """Return the medians; None where that was not measured."""
        found = self.figures.get((workload, name, connections))
        if not found:
            return None
        each = zip(*((one.rate, one.cpu, one.p50, one.p99) for one in found), strict=True)
        return Figure(*map(median, each))


@dataclass(slots=True)
class Contender:
    """A server to ask, and the meter of what that costs."""

    name: str
    side: Side
    library: Library
    port: int
    process: int
    meter: Meter

    def run(self, workload: str, connections: int, seconds: float) -> Figure:
        """Ask for `seconds`, after a moment in which nothing is measured."""
        requests = self.side.requests(workload, self.library.asked)
        return self.driven(workload, requests, connections, seconds)

    def driven(
        self, workload: str, requests: Iterator[bytes], connections: int, seconds: float
    ) -> Figure:
        """Ask these requests, which are answered as the workload is."""

        def right(body: bytes) -> bool:
            return is_right(workload, body)

        ask = partial(drive, self.port, requests, connections=connections, is_right=right)
        ask(seconds=seconds * WARM_UP_SHARE)
        before = self.meter.spent()
        answered = ask(seconds=seconds)
        spent = self.meter.spent() - before
        count = len(answered.latencies)
        return Figure(
            count / answered.wall,
            1000 * spent.total / count,
            1000 * answered.quantile(0.5),
            1000 * answered.quantile(0.99),
        )

    def memory(self) -> int:
        """Return the bytes of its largest process, what it shares with others counted in parts."""
        processes = psutil.Process(self.process).children(recursive=True)
        return max(one.memory_full_info().pss for one in processes)


def compare(plan: Plan, results: Results) -> Iterator[str]:
    """Fill `results`; yield lines for people on the way."""
    if "owner" not in connections:
        raise CommandError("This makes databases: it needs DATABASE_OWNER_URL.")
    with ExitStack() as stack:
        stack.enter_context(_without_pool())
        template = stack.enter_context(databases.migrated_template())
        began = time.monotonic()
        library = stack.enter_context(seeded(plan.assets, template=template, keep=plan.keep))
        yield (
            f"{library.assets:,} assets of {library.tenants:,} tenants, "
            f"there after {time.monotonic() - began:.0f} s"
        )
        stack.enter_context(databases.pointed_at(library.database))
        contenders = [stack.enter_context(_ours(SIGNATE.name, library))]
        others = []
        if plan.assets > SMALL:
            small = stack.enter_context(seeded(SMALL, template=template, keep=plan.keep))
            others.append(stack.enter_context(_ours(LESS_DATA, small)))
        try:
            if plan.with_postgraphile:
                contenders.append(stack.enter_context(_its(library)))
        except Absent as reason:
            yield f"Without PostGraphile: {reason}."
        check_equality(
            [(one.side, one.port) for one in contenders], plan.workloads, library.asked[::5]
        )
        yield f"Equal data from {' and '.join(one.name for one in contenders)}: yes"
        for one in (*contenders, *others):
            for workload in plan.workloads:
                one.run(workload, MAIN, min(WARM_UP_SECONDS, plan.seconds))
        statements = {
            name: [(asked, limit.emitted(name, asked)) for asked in library.asked]
            for name in sorted(READS.keys() & plan.workloads)
        }
        for turn in range(plan.rounds):
            _compete(plan, results, contenders[:: -1 if turn % 2 else 1])
            for one in others:
                _grow(plan, results, one)
            _page(plan, results, contenders[0])
            _meet_the_limit(plan, results, library, statements)
        for one in contenders:
            results.memory[one.name] = one.memory()


def _compete(plan: Plan, results: Results, contenders: Sequence[Contender]) -> None:
    for workload in plan.workloads:
        for count in plan.connections:
            for one in contenders:
                results.figures[workload, one.name, count].append(
                    one.run(workload, count, plan.seconds)
                )


def _grow(plan: Plan, results: Results, other: Contender) -> None:
    for workload in sorted(READS.keys() & plan.workloads):
        results.figures[workload, LESS_DATA, MAIN].append(other.run(workload, MAIN, plan.seconds))


def _page(plan: Plan, results: Results, ours: Contender) -> None:
    """Measure the first page and the last whole one, of the tenants that have most assets."""
    largest = max(len(one.assets) for one in ours.library.asked)
    results.pages = largest // PAGE
    tenants = [one for one in ours.library.asked if len(one.assets) == largest]
    for name, pages in ((FIRST, 1), (DEEPEST, results.pages)):
        requests = []
        for asked in tenants:
            headers = SIGNATE.headers(asked)
            after = _cursor(ours.port, headers, (pages - 1) * PAGE)
            body = json.dumps({"query": DEEP, "variables": {"after": after}}).encode()
            requests.append(post(headers, body))
        figure = ours.driven("b", cycle(requests), MAIN, plan.seconds)
        results.figures["b", name, MAIN].append(figure)


def _cursor(port: int, headers: dict[str, str], behind: int) -> str | None:
    """Return the cursor of the row that so many come to."""
    after, query = (
        None,
        (
            "query($first: Int!, $after: String) { assets(first: $first, after: $after, "
            "order: {field: PLAY_ORDER}) { pageInfo { endCursor } } }"
        ),
    )
    while behind:
        first = min(behind, 500)
        body = json.dumps({"query": query, "variables": {"first": first, "after": after}})
        after = data(port, headers, body.encode())["assets"]["pageInfo"]["endCursor"]
        behind -= first
    return after


def _meet_the_limit(
    plan: Plan,
    results: Results,
    library: Library,
    statements: Mapping[str, Sequence[tuple[Asked, str]]],
) -> None:
    pgbench = limit.program()
    if pgbench is None:
        return
    for workload, each in statements.items():
        rate = limit.transactions_per_second(
            pgbench, library, each, connections=MAIN, seconds=plan.seconds
        )
        results.figures[workload, LIMIT, MAIN].append(Figure(rate))


@contextmanager
def _ours(name: str, library: Library) -> Iterator[Contender]:
    environment = {"DATABASE_URL": library.url, **ENVIRONMENT}
    with running(PROCESSES, environment) as (port, process):
        yield Contender(name, SIGNATE, library, port, process, Meter(process))


@contextmanager
def _its(library: Library) -> Iterator[Contender]:
    with postgraphile(library) as (port, process):
        name = POSTGRAPHILE.name
        yield Contender(name, POSTGRAPHILE, library, port, process, Meter(process))


@contextmanager
def _without_pool() -> Iterator[None]:
    """Have this process use one connection: a pool would stay with the database it was made for."""
    options = connections["default"].settings_dict["OPTIONS"]
    connections.close_all()
    pool = options.pop("pool", None)
    try:
        yield
    finally:
        connections.close_all()
        if pool is not None:
            options["pool"] = pool


def machine() -> str:
    """Return when, on how many cores, and how busy they are with something else."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, load {load}"
