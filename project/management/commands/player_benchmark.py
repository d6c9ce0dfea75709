"""`manage.py player_benchmark`: what polls of players cost, and what a thousand of them leave idle.

Workloads g and h; figures are in docs/performance.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Measure on a server of its own, with tenants of its own that are removed again."""

    help = "Measure polls of players: processor time for each, and the share of two cores left."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say how many, and for how long."""
        parser.add_argument("--devices", type=int, default=1000)
        parser.add_argument("--tenants", type=int, default=10)
        parser.add_argument("--assets", type=int, default=100, help="that play, of each tenant")
        parser.add_argument("--seconds", type=int, default=30)
        parser.add_argument("--workers", type=int, default=1, help="processes of the server")

    def handle(
        self,
        *,
        devices: int,
        tenants: int,
        assets: int,
        seconds: int,
        workers: int,
        **_options: object,
    ) -> None:
        """Run it; CommandError when an answer is not what it should be."""
        from tests.performance.polls import measure

        for line in measure(
            devices=devices, tenants=tenants, assets=assets, seconds=seconds, workers=workers
        ):
            self.stdout.write(line)
            self.stdout.flush()
