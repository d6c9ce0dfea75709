"""`manage.py migrate_to_postgresql`: an Anthias library into a tenant, or an import back out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.utils.text import slugify
from tqdm import tqdm

from assets.anthias_database import NotAnAnthiasDatabase
from assets.importing import (
    BATCH_SIZE,
    ImportOptions,
    import_into_new_tenant,
    import_library,
    rollback_import,
)
from tenancy.actors import operator
from tenancy.errors import DomainError
from tenancy.people import find_user
from tenancy.tenants import find_tenant

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from assets.import_report import ImportReport

# A person reads these; the report file has them all.
_SHOWN_ROWS = 20


class Command(BaseCommand):
    """Import an Anthias library, or roll an import back."""

    help = (
        "Import the assets of an Anthias or Screenly OSE database (any version since 2012) into a "
        "tenant. The tenant is created on the legacy plan when there is none with that slug. "
        "Running it again imports what is new and skips the rest; the source is never written to."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what comes in, where it goes, and how."""
        parser.add_argument(
            "--sqlite-db", type=Path, metavar="FILE", help="anthias.db or screenly.db"
        )
        parser.add_argument("--tenant-slug", help="the tenant (default: made from --tenant-name)")
        parser.add_argument("--tenant-name", help="display name of a tenant to be created")
        parser.add_argument(
            "--assets-dir", type=Path, metavar="DIR", help="the media: anthias_assets"
        )
        parser.add_argument(
            "--preserve-ids", action="store_true", help="keep each asset_id (default: new ones)"
        )
        parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, metavar="ROWS")
        parser.add_argument(
            "--dry-run", action="store_true", help="change nothing, say what would happen"
        )
        parser.add_argument("--report", type=Path, metavar="FILE", help="write a JSON report")
        parser.add_argument(
            "--user", metavar="USERNAME", help="recorded as creator; owns a tenant made here"
        )
        parser.add_argument(
            "--rollback", type=UUID, metavar="RUN", help="delete what this run imported"
        )

    def handle(self, **options: Any) -> None:
        """Import or roll back; every refusal is one line and exit code 1."""
        slug = options["tenant_slug"] or slugify(options["tenant_name"] or "")
        if not slug:
            raise CommandError("Give --tenant-slug (or --tenant-name).")
        try:
            if options["rollback"]:
                self._roll_back(slug, options["rollback"])
            else:
                self._import(slug, options)
        except DomainError as error:
            raise CommandError(error.message) from error
        except NotAnAnthiasDatabase as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"The import was taken back: {error}") from error

    def _import(self, slug: str, options: dict[str, Any]) -> None:
        if options["sqlite_db"] is None:
            raise CommandError("Give --sqlite-db FILE (or --rollback RUN).")
        report_path: Path | None = options["report"]
        if report_path and (report_path.is_dir() or not report_path.parent.is_dir()):
            raise CommandError(f"The report cannot be written to {report_path}.")
        user_id = None
        if options["user"]:
            user_id = find_user(options["user"])
            if user_id is None:
                raise CommandError(f"There is no active person called {options['user']!r}.")
        tenant_id = find_tenant(slug)
        with tqdm(unit=" rows", disable=not sys.stderr.isatty(), leave=False) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            how = ImportOptions(
                assets_dir=options["assets_dir"],
                preserve_ids=options["preserve_ids"],
                batch_size=options["batch_size"],
                dry_run=options["dry_run"],
                on_progress=show,
            )
            if tenant_id is None:
                report = import_into_new_tenant(
                    options["sqlite_db"],
                    slug=slug,
                    name=options["tenant_name"] or slug,
                    user_id=user_id,
                    **how,
                )
            else:
                report = import_library(
                    options["sqlite_db"], actor=operator(tenant_id, user_id), **how
                )
        self._show(report, created=tenant_id is None)
        if report_path:
            text = json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n"
            try:
                report_path.write_text(text, encoding="utf-8")
            except OSError as error:
                message = f"The import is done, but its report could not be written: {error}"
                raise CommandError(message) from error

    def _roll_back(self, slug: str, run_id: UUID) -> None:
        tenant_id = find_tenant(slug)
        if tenant_id is None:
            raise CommandError(f"There is no tenant {slug!r}.")
        report = rollback_import(run_id, actor=operator(tenant_id))
        self.stdout.write(
            f"Rolled back the import of {report.source}: {report.deleted} assets and "
            f"{report.media_deleted} files deleted."
        )

    def _show(self, report: ImportReport, *, created: bool) -> None:
        would = "would be " if report.dry_run else ""
        if created:
            self.stdout.write(f"The tenant {report.tenant} {would or 'was '}created.")
        self.stdout.write(
            f"{report.source} (schema of {report.era}) into {report.tenant}: {report.total} rows, "
            f"{report.migrated} {would}migrated, {report.failed} failed, {report.skipped} skipped; "
            f"{report.media_copied} files {would}copied; success rate {report.success_rate} %."
        )
        for row in report.rows[:_SHOWN_ROWS]:
            name = row.original_asset_id or "(no id)"
            self.stdout.write(f"  {row.status.value:8} {name}: {'; '.join(row.notes)}")
        if len(report.rows) > _SHOWN_ROWS:
            rest = len(report.rows) - _SHOWN_ROWS
            self.stdout.write(f"  … and {rest} more rows with notes (see --report).")
        if report.run and report.migrated:
            self.stdout.write(
                "Undo with: manage.py migrate_to_postgresql "
                f"--tenant-slug {report.tenant} --rollback {report.run}"
            )
