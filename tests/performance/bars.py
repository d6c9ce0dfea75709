"""What is asked of GraphQL, beside what was measured: the tables that the benchmark prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.performance.comparison import DEEPEST, FIRST, LESS_DATA, LIMIT, MAIN, PAGE, SMALL
from tests.performance.workloads import POSTGRAPHILE, SIGNATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.performance.comparison import Figure, Plan, Results

    By = Callable[[Figure, Figure], float]

ABSENT = "not measured"
# Rows that other commands measure, and the tests that assert what is no time.
ELSEWHERE = (
    "f: manage.py listing_benchmark",
    "g, h: manage.py player_benchmark",
    "i: manage.py import_benchmark",
    "statements per read: one, in one round trip with its context (tests/graph/test_compiled.py)",
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: values by workload, what they have to reach, and what is hoped for."""

    what: str
    values: dict[str, float | None]
    bar: float
    goal: float
    unit: str = "x"
    is_floor: bool = True

    def cells(self) -> list[str]:
        """Return the row's cells; the verdict is that of the worst value."""
        sign = "≥" if self.is_floor else "≤"
        asked = [f"{sign} {one:g}{self.unit}" for one in (self.bar, self.goal)]
        known = {name: one for name, one in self.values.items() if one is not None}
        if not known:
            return [self.what, ABSENT, *asked, ""]
        shown = ", ".join(f"{name} {one:.2f}{self.unit}".strip() for name, one in known.items())
        worst = min(known.values()) if self.is_floor else max(known.values())

        def reached(wanted: float) -> bool:
            return worst >= wanted if self.is_floor else worst <= wanted

        verdict = "goal" if reached(self.goal) else "bar" if reached(self.bar) else "no"
        return [self.what, shown, *asked, verdict]


def details(plan: Plan, results: Results) -> Iterator[str]:
    """Yield a table of every workload at every number of connections."""
    yield row("", "conn.", "who", "requests/s", "CPU ms", "p50 ms", "p99 ms")
    yield row(*["---"] * 7)
    for workload in plan.workloads:
        for connections in plan.connections:
            for name in (SIGNATE.name, POSTGRAPHILE.name):
                found = results.of(workload, name, connections)
                if found is None:
                    continue
                cells = [
                    f"{found.rate:,.0f}",
                    *(f"{x:.2f}" for x in (found.cpu, found.p50, found.p99)),
                ]
                yield row(workload, str(connections), name, *cells)
            ratios = [
                results.ratio(workload, SIGNATE.name, POSTGRAPHILE.name, by, connections)
                for by in (_rate, _cpu, _p50, _p99)
            ]
            if None not in ratios:
                yield row("", "", "ratio", *(f"{one:.2f}x" for one in ratios))
    for workload in plan.workloads:
        found = results.of(workload, LIMIT)
        if found is not None:
            yield row(workload, str(MAIN), LIMIT, f"{found.rate:,.0f}", "", "", "")
    yield ""
    for name, memory in results.memory.items():
        yield f"Memory of a process of {name}: {memory.pss:.0f} MB (RSS {memory.rss:.0f} MB)"


def verdicts(plan: Plan, results: Results) -> Iterator[str]:
    """Yield the table of bars and goals."""
    yield row("", "measured", "bar", "goal", "reached")
    yield row(*["---"] * 5)
    for bar in bars(plan, results):
        yield row(*bar.cells())


def bars(plan: Plan, results: Results) -> list[Bar]:
    """Return what is asked, with what was measured."""

    def each(names: str, other: str, by: By) -> dict[str, float | None]:
        return {
            name: results.ratio(name, SIGNATE.name, other, by)
            for name in names
            if name in plan.workloads
        }

    its = POSTGRAPHILE.name
    rows = []
    for names, bar, goal in (("ab", 2, 4), ("cd", 1.5, 3), ("e", 1.2, 2)):
        for what, by in (("requests/s", _rate), ("CPU per request", _cpu)):
            title = f"{', '.join(names)} against PostGraphile, {what}"
            rows.append(Bar(title, each(names, its, by), bar, goal))
    memory = results.memory.get(SIGNATE.name)
    return [
        *rows,
        Bar(
            f"p99 at {MAIN} connections against PostGraphile's",
            each("abcde", its, _p99_share),
            0.5,
            0.25,
            is_floor=False,
        ),
        Bar(
            "share of pgbench running the same transaction",
            each("b", LIMIT, _rate),
            0.35,
            0.6,
            "",
        ),
        Bar(
            f"growth from {SMALL:,} to {plan.assets:,} assets in total, CPU per request",
            each("abcd", LESS_DATA, _cpu_share),
            1.6,
            1.2,
            is_floor=False,
        ),
        Bar(
            f"page {results.pages} of a listing against page 1 ({PAGE} assets), CPU",
            {"": results.ratio("b", DEEPEST, FIRST, _cpu_share)},
            1.1,
            1.0,
            is_floor=False,
        ),
        Bar(
            "memory of one web process (PSS)",
            {"": memory.pss if memory else None},
            150,
            100,
            " MB",
            is_floor=False,
        ),
    ]


def row(*cells: str) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def _rate(one: Figure, other: Figure) -> float:
    return one.rate / other.rate


def _cpu(one: Figure, other: Figure) -> float:
    return other.cpu / one.cpu


def _p50(one: Figure, other: Figure) -> float:
    return other.p50 / one.p50


def _p99(one: Figure, other: Figure) -> float:
    return other.p99 / one.p99


def _cpu_share(one: Figure, other: Figure) -> float:
    return one.cpu / other.cpu


def _p99_share(one: Figure, other: Figure) -> float:
    return one.p99 / other.p99
