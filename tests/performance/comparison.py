"""`manage.py benchmark`: workloads a to e beside PostGraphile, pgbench and ourselves with less data.

Whatever is compared takes turns, and medians over the rounds are shown, ratios those of each round:
what else runs on the machine then meets all of them. Processor time is that of the server, PostgreSQL and Redis, and not
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
from typing import TYPE_CHECKING, NamedTuple

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
    from collections.abc import Callable, Iterator, Sequence

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


# Workload, who answers, connections.
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how long."""

    assets: int = 1_000_000
    workloads: tuple[str, ...] = tuple(OURS)
    connections: tuple[int, ...] = (1, MAIN, 64)
    rounds: int = 5
    seconds: float = 1.2
    keep: bool = False
    with_postgraphile: bool = True


@dataclass(frozen=True, slots=True)
class Figure:
    """One window: requests per second, and milliseconds."""

    rate: float
    cpu: float = 0.0
    p50: float = 0.0
    p99: float = 0.0


class Memory(NamedTuple):
    """Megabytes of a process: with its part of what others have too, and with all of that."""

    pss: float
    rss: float


@dataclass(slots=True)
class Results:
    """Every window by workload, who answered, and connections; memory by who has it."""

    figures: dict[Key, list[Figure]] = field(default_factory=lambda: defaultdict(list))
    memory: dict[str, Memory] = field(default_factory=dict)
    pages: int = 0

    def ratio(
        self,
        workload: str,
        name: str,
        other: str,
        by: Callable[[Figure, Figure], float],
        connections: int = MAIN,
    ) -> float | None:
        """Return the median of what `by` makes of both in each round; None without either."""
        ones = self.figures.get((workload, name, connections), [])
        its = self.figures.get((workload, other, connections), [])
        pairs = list(zip(ones, its, strict=False))
        return median(by(*pair) for pair in pairs) if pairs else None

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

    def memory(self) -> Memory:
        """Return what its largest process has; the one that started them answers nobody."""
        processes = psutil.Process(self.process).children(recursive=True)
        each = [one.memory_full_info() for one in processes]
        # Only Linux tells the parts.
        return max(Memory(getattr(one, "pss", one.rss) / 10**6, one.rss / 10**6) for one in each)


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
        if plan.with_postgraphile:
            try:
                contenders.append(stack.enter_context(_its(library)))
            except Absent as reason:
                yield f"Without PostGraphile: {reason}."
        check_equality(
            [(one.side, one.port) for one in contenders], plan.workloads, library.asked[::5]
        )
        yield f"Equal data from {' and '.join(one.name for one in contenders)}: yes"
        _warm_up(plan, [*contenders, *others])
        races = list(_races(plan, library, contenders, others))
        for turn in range(plan.rounds):
            for race in races:
                for key, run in race[:: -1 if turn % 2 else 1]:
                    results.figures[key].append(run())
        results.pages = _largest(library) // PAGE
        for one in contenders:
            results.memory[one.name] = one.memory()


def _warm_up(plan: Plan, everybody: Sequence[Contender]) -> None:
    for one in everybody:
        for workload in plan.workloads:
            one.run(workload, MAIN, min(WARM_UP_SECONDS, plan.seconds))


def _races(
    plan: Plan, library: Library, contenders: Sequence[Contender], others: Sequence[Contender]
) -> Iterator[list[tuple[Key, Callable[[], Figure]]]]:
    """Yield what takes turns: whatever is compared is measured one right after the other."""
    pgbench = limit.program()
    for workload in plan.workloads:
        for count in plan.connections:
            is_main = count == MAIN and workload in READS
            race: list[tuple[Key, Callable[[], Figure]]] = [
                ((workload, one.name, count), partial(one.run, workload, count, plan.seconds))
                for one in (*contenders, *(others if is_main else ()))
            ]
            if is_main and pgbench is not None:
                statements = [(one, limit.emitted(workload, one)) for one in library.asked]
                key = (workload, LIMIT, count)
                race.append((key, partial(_at_the_limit, pgbench, library, statements, plan)))
            yield race
    if "b" in plan.workloads:
        yield [
            (("b", name, MAIN), partial(_page, contenders[0], pages, plan.seconds))
            for name, pages in ((FIRST, 1), (DEEPEST, _largest(library) // PAGE))
        ]


def _at_the_limit(
    pgbench: str, library: Library, statements: Sequence[tuple[Asked, str]], plan: Plan
) -> Figure:
    return Figure(
        limit.transactions_per_second(
            pgbench, library, statements, connections=MAIN, seconds=plan.seconds
        )
    )


def _largest(library: Library) -> int:
    return max(len(one.assets) for one in library.asked)


def _page(ours: Contender, page: int, seconds: float) -> Figure:
    """Measure that page of the tenants that have most assets."""
    requests = []
    for asked in ours.library.asked:
        if len(asked.assets) == _largest(ours.library):
            headers = SIGNATE.headers(asked)
            after = _cursor(ours.port, headers, (page - 1) * PAGE)
            body = json.dumps({"query": DEEP, "variables": {"after": after}}).encode()
            requests.append(post(headers, body))
    return ours.driven("b", cycle(requests), MAIN, seconds)


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
