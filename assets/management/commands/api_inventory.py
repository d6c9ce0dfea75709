"""`manage.py api_inventory`: print docs/api_inventory.md, write it, or check that it is current."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from assets.legacy.inventory import inventory

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

FILE = Path(settings.BASE_DIR) / "docs" / "api_inventory.md"


class Command(BaseCommand):
    """Lists every address of the Anthias API, from the URL configuration."""

    help = "Lists every address of the Anthias API, from the URL configuration"

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to do with the list."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--write", action="store_true", help=f"write {FILE.name}")
        what.add_argument("--check", action="store_true", help=f"fail unless {FILE.name} is this")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print, write or compare."""
        text = inventory()
        if options["write"]:
            FILE.write_text(text, encoding="utf-8")
        elif not options["check"]:
            self.stdout.write(text)
        elif not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
            raise CommandError(
                f"docs/{FILE.name} is not what the code says. If the change is meant, write it "
                "down and commit it: python3 manage.py api_inventory --write"
            )
