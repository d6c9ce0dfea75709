"""`manage.py resume_tenant`: open a suspended tenant again."""

from __future__ import annotations

from tenancy.management.operating import OperatorCommand
from tenancy.operators import resume_tenant


class Command(OperatorCommand):
    """Resume a tenant."""

    help = "Open a suspended tenant again."

    def handle(self, *, tenant: str, reason: str, **_options: object) -> None:
        """Do it and say so."""
        with self.entered(tenant) as actor:
            resume_tenant(actor=actor, reason=reason)
        self.stdout.write(f"{tenant} is open again.")
