"""`manage.py reset_second_factor`: for somebody who lost their phone and their recovery codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandError

from tenancy.people import find_user
from tenancy.second_factor import reset_second_factor

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Take a person's second factor away; they set up another one when they sign in again."""

    help = "Take somebody's second factor away and sign them out everywhere; says why in the logs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Username and reason."""
        parser.add_argument("username")
        parser.add_argument(
            "--reason", required=True, help="why, and how you know that it is them who asks"
        )

    def handle(self, *, username: str, reason: str, **_options: object) -> None:
        """Take it away."""
        if not reason.strip():
            message = "Say why: --reason."
            raise CommandError(message)
        user_id = find_user(username)
        if user_id is None:
            message = f"There is no active person called {username!r}."
            raise CommandError(message)
        if not reset_second_factor(user_id, reason=reason.strip()):
            message = f"{username} has no second factor."
            raise CommandError(message)
        self.stdout.write(f"{username} has no second factor any more and is signed out everywhere.")
