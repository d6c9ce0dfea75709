"""`manage.py backup_tenant`: a tenant's library as an archive that Anthias accepts."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandError

from assets.backup import write_backup
from assets.workspaces import workspace
from tenancy.actors import operator
from tenancy.errors import DomainError
from tenancy.tenants import find_tenant

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Write an archive to a file or to the standard output."""

    help = (
        "Write the assets of a tenant, their files and its settings into a gzipped tar archive in "
        "the layout of Anthias's own backups. It has no secret and no account. Nothing is kept in "
        "the storage, and a file that is there already is not touched."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say whose, and where to."""
        parser.add_argument("--tenant", required=True, metavar="SLUG", help="whose library")
        parser.add_argument(
            "--output", required=True, metavar="FILE", help="a new file, or - for standard output"
        )

    def handle(self, *, tenant: str, output: str, **options: object) -> None:
        """Write it; every refusal is one line and exit code 1."""
        del options
        tenant_id = find_tenant(tenant)
        if tenant_id is None:
            raise CommandError(f"There is no tenant {tenant!r}.")
        actor = operator(tenant_id)
        try:
            with workspace() as folder:
                if output == "-":
                    write_backup(sys.stdout.buffer, actor=actor, folder=folder)
                    return
                path = Path(output)
                with path.open("xb") as file:
                    try:
                        made = write_backup(file, actor=actor, folder=folder)
                    except BaseException:
                        with suppress(OSError):
                            path.unlink()
                        raise
        except DomainError as error:
            raise CommandError(error.message) from error
        except OSError as error:
            raise CommandError(f"The backup cannot be written: {error}") from error
        for name in made.missing:
            self.stderr.write(f"The file {name} is not in the storage and was left out.")
        self.stdout.write(f"{made.assets} assets and {made.files} files are in {output}.")
