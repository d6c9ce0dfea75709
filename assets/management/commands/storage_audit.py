"""`manage.py storage_audit`: rows without their file and files without a row, or an upload."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from assets.storage_audit import (
    Finding,
    audit_staging,
    audit_strays,
    audit_tenant,
    registered_tenants,
    repair,
    tenants_with_files,
)
from tenancy.tenants import find_tenant

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

GRACE_HOURS = 24


class Command(BaseCommand):
    """Print every finding; exit 1 when there is one that was not repaired."""

    help = (
        "Compare assets with the media in the storage, in both directions. With --repair files "
        "that no asset names are deleted, and assets whose file is missing are marked as failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose, what to do about it, and how to say it."""
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--tenant", metavar="SLUG", help="the files of one tenant")
        whose.add_argument("--all-tenants", action="store_true", help="everything in the storage")
        parser.add_argument("--repair", action="store_true", help="put right what is found")
        parser.add_argument("--json", action="store_true", help="one JSON object for scripts")
        parser.add_argument(
            "--grace-hours",
            type=int,
            default=GRACE_HOURS,
            metavar="HOURS",
            help=f"leave files alone that are younger (default {GRACE_HOURS})",
        )

    def handle(
        self,
        *,
        tenant: str | None,
        grace_hours: int,
        **options: Any,
    ) -> None:
        """Audit, repair when asked to, and report."""
        if grace_hours < 0:
            raise CommandError("--grace-hours cannot be negative.")
        grace = timedelta(hours=grace_hours)
        notes: list[str] = []
        try:
            found = [
                self._treated(finding, repairing=options["repair"], notes=notes)
                for finding in self._findings(tenant, grace, notes)
            ]
        except OSError as error:
            raise CommandError(f"The storage cannot be read: {error}") from error
        self._report(found, notes, options)

    def _findings(self, slug: str | None, grace: timedelta, notes: list[str]) -> Iterator[Finding]:
        if slug is not None:
            tenant_id = find_tenant(slug)
            if tenant_id is None:
                raise CommandError(f"There is no tenant {slug!r}.")
            yield from audit_tenant(tenant_id, grace=grace)
            yield from audit_staging(tenant_id, grace=grace)
            return
        tenants = dict.fromkeys(tenants_with_files())
        if "owner" in settings.DATABASES:
            tenants |= dict.fromkeys(registered_tenants())
        else:
            notes.append(
                "Tenants without a single file were not looked at: only DATABASE_OWNER_URL can "
                "list them. Name them with --tenant."
            )
        for tenant_id in tenants:
            yield from audit_tenant(tenant_id, grace=grace)
        yield from audit_strays(grace=grace)
        yield from audit_staging(None, grace=grace)

    def _treated(self, finding: Finding, *, repairing: bool, notes: list[str]) -> Finding:
        if repairing:
            try:
                repair(finding)
            except OSError as error:
                notes.append(f"{finding.key} could not be removed: {error}")
        return finding

    def _report(self, found: list[Finding], notes: list[str], options: dict[str, Any]) -> None:
        left = sum(not finding.repaired for finding in found)
        if options["json"]:
            listed = [finding.as_json() for finding in found]
            self.stdout.write(json.dumps({"findings": listed, "notes": notes}, indent=2))
        else:
            for finding in found:
                state = "repaired" if finding.repaired else "found"
                asset = f" (asset {finding.asset})" if finding.asset else ""
                self.stdout.write(f"{state:8} {finding.kind.value:14} {finding.key}{asset}")
            for note in notes:
                self.stdout.write(note)
        if left:
            how = "" if options["repair"] else " Run with --repair to put it right."
            raise CommandError(f"{left} finding(s) left.{how}")
        if not options["json"]:
            self.stdout.write(
                f"{len(found)} finding(s), all repaired." if found else "Rows and files agree."
            )
