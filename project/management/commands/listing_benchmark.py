"""`manage.py listing_benchmark`: what the old API's list of assets costs, against Anthias itself.

Workload f; figures are in docs/performance.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Measure on a server of its own, with a tenant of its own that is removed again."""

    help = "Measure GET /api/v2/assets: processor time for each request and for each asset."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say how many."""
        parser.add_argument("--assets", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
        parser.add_argument("--requests", type=int, default=500, help="of each, at most")

    def handle(self, *, assets: list[int], requests: int, **_options: object) -> None:
        """Run it; CommandError when an answer is not what it should be."""
        from tests.performance.listings import measure

        for line in measure(sizes=assets, requests=requests):
            self.stdout.write(line)
            self.stdout.flush()
