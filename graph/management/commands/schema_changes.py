"""`manage.py schema_changes`: fail when the schema breaks clients of the released one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from graphql import build_schema

from graph.changes import allowed, breaking
from graph.schema import schema

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

RELEASED = Path(settings.BASE_DIR) / "graph" / "schema.released.graphql"
CURRENT = Path(settings.BASE_DIR) / "schema.graphql"
ALLOWED = Path(settings.BASE_DIR) / "docs" / "schema-changes.md"

_HINT = (
    "Clients of the released schema would fail. Deprecate first and remove it a release later, or "
    "allow it, with a reason, in docs/schema-changes.md."
)


class Command(BaseCommand):
    """Compares the schema with the released one."""

    help = "Fails when the schema breaks clients of the released one, which --release renews"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Offer to release."""
        parser.add_argument(
            "--release", action="store_true", help=f"write {RELEASED.name} from {CURRENT.name}"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Compare; CommandError names what breaks, or what is allowed for nothing."""
        meant = allowed(ALLOWED.read_text(encoding="utf-8"))
        released = build_schema(RELEASED.read_text(encoding="utf-8"))
        found = list(breaking(released, schema._schema))  # noqa: SLF001 -- as its own tools have it
        broken = [one for one in found if one not in meant]
        if broken:
            raise CommandError("\n".join((*broken, _HINT)))
        if options["release"]:
            if meant:
                self.stdout.write("Now empty the list in docs/schema-changes.md.")
            RELEASED.write_text(CURRENT.read_text(encoding="utf-8"), encoding="utf-8")
            return
        stale = [one for one in meant if one not in found]
        if stale:
            message = f"docs/schema-changes.md allows what does not break: {'; '.join(stale)}"
            raise CommandError(message)
        self.stdout.write(f"Nothing breaks that is not allowed; {len(found)} allowed.")
