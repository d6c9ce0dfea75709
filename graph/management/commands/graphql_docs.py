"""`manage.py graphql_docs`: write the reference in docs/graphql.md, or check that it is current."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from graph.reference import MARK, reference
from graph.schema import schema

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

FILE = Path(settings.BASE_DIR) / "docs" / "graphql.md"


class Command(BaseCommand):
    """Renews what is printed of docs/graphql.md, and leaves what people wrote."""

    help = "Writes the reference in docs/graphql.md from the schema, or checks it"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to do."""
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--write", action="store_true", help=f"renew {FILE.name}")
        what.add_argument("--check", action="store_true", help="fail unless it is current")

    def handle(self, *_: Any, **options: Any) -> None:
        """Write or compare."""
        text = FILE.read_text(encoding="utf-8")
        written, mark, _printed = text.partition(MARK)
        if not mark:
            raise CommandError(f"docs/{FILE.name} has lost the line {MARK.strip()}")
        renewed = written + mark + reference(schema._schema)  # noqa: SLF001 -- as its own tools have it
        if options["write"]:
            FILE.write_text(renewed, encoding="utf-8")
        elif renewed != text:
            raise CommandError(
                f"docs/{FILE.name} is not what the schema says. If the change is meant, write it "
                "down and commit it: python3 manage.py graphql_docs --write"
            )
