"""`manage.py add_member`: a person in a tenant, made on the way when there is none."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from rls import acting_as
from tenancy.actors import operator
from tenancy.errors import DomainError
from tenancy.members import add_member
from tenancy.people import create_user, find_user
from tenancy.permissions import Role
from tenancy.tenants import find_tenant

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from uuid import UUID


class Command(BaseCommand):
    """Add a member; the password of a new person is asked for or read from standard input."""

    help = "Make a person a member of a tenant, creating the person when there is none."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Tenant, username, role, extra permissions, e-mail."""
        parser.add_argument("tenant", help="slug of the tenant")
        parser.add_argument("username")
        parser.add_argument("--role", choices=[r.value for r in Role], default=Role.VIEWER.value)
        parser.add_argument("--permission", action="append", default=[], dest="permissions")
        parser.add_argument("--email", default="", help="of a new person")

    def handle(
        self,
        *,
        tenant: str,
        username: str,
        role: str,
        permissions: list[str],
        email: str,
        **_options: object,
    ) -> None:
        """Add the member and print the membership's id."""
        tenant_id = find_tenant(tenant)
        if tenant_id is None:
            message = f"There is no tenant {tenant!r}."
            raise CommandError(message)
        try:
            # One transaction: a refused membership leaves no new person behind.
            with transaction.atomic():
                user_id = find_user(username) or self._create(username, email)
                with acting_as(operator(tenant_id)) as actor:
                    membership = add_member(
                        actor=actor, user_id=user_id, role=Role(role), permissions=permissions
                    )
        except DomainError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{membership.id} {username} is {role} of {tenant}")

    def _create(self, username: str, email: str) -> UUID:
        if sys.stdin.isatty():
            password = getpass.getpass("Password of the new person: ")
        else:
            password = sys.stdin.readline().rstrip("\r\n")
        return create_user(username, password, email=email).pk
