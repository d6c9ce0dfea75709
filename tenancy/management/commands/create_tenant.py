"""`manage.py create_tenant`: a tenant and, unless told otherwise, its first owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandError

from tenancy.actors import Actor, ActorKind
from tenancy.errors import DomainError
from tenancy.models import Tier
from tenancy.people import find_user
from tenancy.tenants import Plan, create_tenant

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Create a tenant; the owner must be somebody there already (see add_member)."""

    help = "Create a tenant with its settings, and make a person its owner."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Name, slug, owner, tier."""
        parser.add_argument("slug", help="becomes https://<slug>.<platform domain>")
        parser.add_argument("--name", help="display name (default: the slug)")
        parser.add_argument("--owner", metavar="USERNAME", help="an existing person")
        parser.add_argument("--tier", choices=Tier.values, default=Tier.BASIC)

    def handle(
        self, *, slug: str, name: str | None, owner: str | None, tier: str, **_options: object
    ) -> None:
        """Create it and print its id and address."""
        owner_id = None
        if owner is not None:
            owner_id = find_user(owner)
            if owner_id is None:
                message = f"There is no active person called {owner!r}."
                raise CommandError(message)
        try:
            tenant = create_tenant(
                actor=Actor(kind=ActorKind.OPERATOR, credential="command"),
                name=name or slug,
                slug=slug,
                plan=Plan(tier=Tier(tier)),
                owner_id=owner_id,
            )
        except DomainError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{tenant.id} {tenant.url}")
