"""`manage.py read_benchmark`: what GraphQL reads cost, compiled and by the ordinary executor.

Workloads a to d; figures are in docs/performance.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Measure on servers of its own, with a tenant of its own that is removed again."""

    help = "Measure GraphQL reads on both roads: processor time for each request."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say how many."""
        parser.add_argument("--requests", type=int, default=600, help="of each, at most")
        parser.add_argument("--rounds", type=int, default=3)
        parser.add_argument(
            "--first", action="store_true", help="with a document that is new in each request"
        )

    def handle(self, *, requests: int, rounds: int, first: bool, **_options: object) -> None:
        """Run it; CommandError when the roads do not agree."""
        from tests.performance.reads import measure

        for line in measure(requests=requests, rounds=rounds, first=first):
            self.stdout.write(line)
            self.stdout.flush()
