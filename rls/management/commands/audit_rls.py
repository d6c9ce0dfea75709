"""`manage.py audit_rls`: compare the catalogue with the declared walls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from rls.audit import audit

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Print every finding; exit 1 when there is one."""

    help = "Check that every tenant-owned table stands behind the wall, and nothing else is open."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Offer another alias, to audit a database as its owner."""
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, choices=list(connections))

    def handle(self, *, database: str, **_options: object) -> None:
        """Audit `database`."""
        findings = audit(connections[database])
        for finding in findings:
            self.stdout.write(str(finding))
        if findings:
            message = f"{len(findings)} finding(s): the wall is not as declared."
            raise CommandError(message)
        self.stdout.write("The wall stands: every table, policy, grant, key and role as declared.")
