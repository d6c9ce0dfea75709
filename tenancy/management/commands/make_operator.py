"""`manage.py make_operator`: let a person look at the registry in the admin site, or no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandError

from rls import acting_as
from tenancy.account_log import note_for_all_tenants
from tenancy.actors import person
from tenancy.models import User
from tenancy.people import find_user

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Make somebody a member of staff, or none any more."""

    help = "Let a person look at the registry at /admin/ on the platform's host."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Username, reason, and the way back."""
        parser.add_argument("username")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--revoke", action="store_true", help="take it away")

    def handle(self, *, username: str, reason: str, revoke: bool, **_options: object) -> None:
        """Write it down and do it."""
        if not reason.strip():
            message = "Say why: --reason."
            raise CommandError(message)
        user_id = find_user(username)
        if user_id is None:
            message = f"There is no active person called {username!r}."
            raise CommandError(message)
        with acting_as(person(user_id)):
            User.objects.filter(pk=user_id).update(is_staff=not revoke)
        action = "account.operator_revoked" if revoke else "account.operator_made"
        note_for_all_tenants(user_id, action, reason=reason.strip())
        self.stdout.write(f"{username} is {'no operator any more' if revoke else 'an operator'}.")
