"""`manage.py restore_tenant`: an archive in the place of a tenant's library, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from assets.restoring import forget_restore, restore_archive, undo_restore
from tenancy.actors import operator
from tenancy.errors import DomainError
from tenancy.tenants import find_tenant

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from tenancy.actors import Actor


class Command(BaseCommand):
    """Restore, undo a restore, or forget what one replaced."""

    help = (
        "Put the library of a backup (of Signate, Anthias or Screenly OSE, of any version) in the "
        "place of the tenant's. Accounts, members and other tenants are not touched. What is "
        "replaced stays for a week, counts against the tenant's storage, and comes back with "
        "--undo."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say whose, and what to do."""
        parser.add_argument("--tenant", required=True, metavar="SLUG", help="whose library")
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--file", type=Path, metavar="ARCHIVE", help="the backup: a .tar.gz")
        what.add_argument("--undo", type=UUID, metavar="RESTORE", help="put back what it replaced")
        what.add_argument(
            "--forget", type=UUID, metavar="RESTORE", help="remove for good what it replaced"
        )
        parser.add_argument(
            "--no-keep",
            action="store_true",
            help="with --file: remove at once what is replaced; there is no way back",
        )

    def handle(
        self,
        *,
        tenant: str,
        file: Path | None,
        undo: UUID | None,
        forget: UUID | None,
        no_keep: bool,
        **options: object,
    ) -> None:
        """Do it; every refusal is one line and exit code 1."""
        del options
        tenant_id = find_tenant(tenant)
        if tenant_id is None:
            raise CommandError(f"There is no tenant {tenant!r}.")
        actor = operator(tenant_id)
        try:
            if file is not None:
                self._restore(file, tenant, actor, keep=not no_keep)
            elif undo is not None:
                row = undo_restore(undo, actor=actor)
                self.stdout.write(f"{row.replaced} assets are back as they were.")
            elif forget is not None:
                forget_restore(forget, actor=actor)
                self.stdout.write("What it replaced is removed.")
        except DomainError as error:
            raise CommandError(error.message) from error
        except OSError as error:
            raise CommandError(f"Nothing was changed: {error}") from error

    def _restore(self, path: Path, tenant: str, actor: Actor, *, keep: bool) -> None:
        with path.open("rb") as file:
            source = path.name.encode(errors="replace").decode()
            row = restore_archive(file, actor=actor, source=source, keep=keep)
        for note in row.notes:
            self.stderr.write(f"  {note}")
        self.stdout.write(
            f"{row.assets} assets of {row.source} (schema of {row.run.era}) have taken the place "
            f"of {row.replaced}."
        )
        if keep:
            self.stdout.write(
                f"Undo with: manage.py restore_tenant --tenant {tenant} --undo {row.pk}"
            )
