"""`manage.py restore_benchmark`: what backing a large library up and restoring it costs.

Figures are in docs/performance.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Measure with a tenant of its own that is removed again."""

    help = "Measure a backup, its restore and the undoing: processor seconds, assets per second."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say how many."""
        parser.add_argument("--assets", type=int, default=20_000)

    def handle(self, *, assets: int, **_options: object) -> None:
        """Run it."""
        from tests.performance.restores import measure

        for line in measure(assets=assets):
            self.stdout.write(line)
            self.stdout.flush()
