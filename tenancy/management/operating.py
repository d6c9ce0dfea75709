"""What the commands of operators have in common: one tenant, entered by name, and a reason."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandError

from rls import acting_as
from tenancy.actors import Actor, operator
from tenancy.errors import DomainError
from tenancy.tenants import find_tenant

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator


class OperatorCommand(BaseCommand):
    """A command that enters one tenant and writes down why."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Tenant and reason; a command adds its own."""
        parser.add_argument("--tenant", required=True, metavar="SLUG")
        parser.add_argument("--reason", required=True, help="why; the tenant's audit log keeps it")

    @contextmanager
    def entered(self, slug: str) -> Iterator[Actor]:
        """Yield the operator in that tenant; what the domain refuses is a sentence and exit 1."""
        tenant_id = find_tenant(slug)
        if tenant_id is None:
            message = f"There is no tenant {slug!r}."
            raise CommandError(message)
        try:
            with acting_as(operator(tenant_id)) as actor:
                yield actor
        except DomainError as error:
            raise CommandError(error.message) from error
