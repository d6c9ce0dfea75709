"""`manage.py suspend_tenant`: shut a tenant to everybody and everything; its data stays."""

from __future__ import annotations

from tenancy.management.operating import OperatorCommand
from tenancy.operators import suspend_tenant


class Command(OperatorCommand):
    """Suspend a tenant."""

    help = "Shut a tenant to everybody and everything; its data stays."

    def handle(self, *, tenant: str, reason: str, **_options: object) -> None:
        """Do it and say so."""
        with self.entered(tenant) as actor:
            suspend_tenant(actor=actor, reason=reason)
        self.stdout.write(
            f"{tenant} is suspended: requests are refused from now on, sockets end within a minute."
        )
