"""`manage.py migrate`: Django's, as the maintenance role, for the owner role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as MigrateCommand

from rls.roles import hand_over_ownership

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(MigrateCommand):
    """The application role may not change the schema, so the default alias is the owner's."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Change the default of --database."""
        super().add_arguments(parser)
        parser.set_defaults(database="owner")

    def handle(self, *args: object, **options: object) -> None:
        """Migrate, then give the owner role what was made; CommandError without its login."""
        if "owner" not in settings.DATABASES:
            message = "Migrations run as the owner: set DATABASE_OWNER_URL."
            raise CommandError(message)
        super().handle(*args, **options)
        hand_over_ownership(str(options["database"]))
