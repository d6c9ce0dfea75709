"""`manage.py benchmark`: GraphQL beside PostGraphile and pgbench, on a library of a million assets.

Workloads a to e; figures are in docs/performance.md.
"""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandError

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

    from tests.performance.comparison import Plan


class Command(BaseCommand):
    """Measure on servers and databases of its own, which are gone afterwards."""

    help = "Measure GraphQL beside PostGraphile and pgbench; ten minutes, two with --quick."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say how much, and of what."""
        parser.add_argument("--scale", type=int, help="assets in all (default: 1,000,000)")
        parser.add_argument("--quick", action="store_true", help="less of everything, and rougher")
        parser.add_argument("--keep", action="store_true", help="leave the databases, or use them")
        parser.add_argument("--workloads", default="abcde")
        parser.add_argument("--connections", default="1,16,64", help="16 is what bars are for")
        parser.add_argument("--rounds", type=int)
        parser.add_argument("--seconds", type=float, help="of each window")
        parser.add_argument("--alone", action="store_true", help="without PostGraphile")

    def handle(
        self,
        *,
        scale: int | None,
        quick: bool,
        keep: bool,
        workloads: str,
        connections: str,
        rounds: int | None,
        seconds: float | None,
        alone: bool,
        **_options: object,
    ) -> None:
        """Run it; CommandError when answers differ, or are not what they should be."""
        from tests.performance.comparison import Plan
        from tests.performance.workloads import OURS

        try:
            counts = tuple(int(one) for one in connections.split(","))
        except ValueError:
            counts = ()
        if not counts or min(counts) < 1 or not set(workloads) <= set(OURS):
            raise CommandError("Connections are numbers with commas between; workloads are abcde.")
        plan = Plan(
            assets=scale or (50_000 if quick else 1_000_000),
            workloads=tuple(sorted(set(workloads))),
            connections=counts,
            rounds=rounds or (1 if quick else 5),
            seconds=seconds or (0.7 if quick else 1.2),
            keep=keep,
            with_postgraphile=not alone,
        )
        with _stoppable():
            self._report(plan)

    def _report(self, plan: Plan) -> None:
        from tests.performance import bars
        from tests.performance.comparison import Results, compare, machine

        began, results = time.monotonic(), Results()
        self._say(machine())
        for line in compare(plan, results):
            self._say(line)
        for line in ("", *bars.details(plan, results), "", *bars.verdicts(plan, results), ""):
            self._say(line)
        for line in bars.ELSEWHERE:
            self._say(line)
        self._say(f"{machine()}; {time.monotonic() - began:.0f} s in all")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that databases and servers go with it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError("Stopped.") from None
    finally:
        signal.signal(signal.SIGTERM, before)
