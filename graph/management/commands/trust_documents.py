"""`manage.py trust_documents`: makes a manifest all that is trusted of one client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from graph.trusted import read_manifest, require_client, trust
from tenancy.errors import DomainError

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Load a manifest, or forget one; as the maintenance role, which alone may write there."""

    help = (
        "Trust the GraphQL documents of a manifest (Apollo's or Relay's format), in the place of "
        "those of the same client before. Running processes know within a minute. What trust "
        "means is SIGNATE_TRUSTED_DOCUMENTS."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the client, and its manifest or nothing."""
        parser.add_argument("client", help="whose documents they are, such as web-2.4")
        parser.add_argument("manifest", nargs="?", help="a JSON file")
        parser.add_argument("--remove", action="store_true", help="trust none of the client's")

    def handle(
        self, *, client: str, manifest: str | None, remove: bool, **_options: object
    ) -> None:
        """Load or forget; print how many documents the client has now."""
        if remove is (manifest is not None):
            message = "Name a manifest, or say --remove."
            raise CommandError(message)
        if "owner" not in settings.DATABASES:
            message = "Set DATABASE_OWNER_URL: the application itself may not change these."
            raise CommandError(message)
        try:
            require_client(client)
            entries = read_manifest(self._json(manifest)) if manifest else []
            trust(client, entries, using="owner")
        except DomainError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{client}: {len(entries)} documents")

    def _json(self, manifest: str) -> object:
        try:
            return json.loads(Path(manifest).read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            message = f"{manifest} cannot be read as JSON: {error}"
            raise CommandError(message) from error
