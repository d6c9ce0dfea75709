"""`manage.py set_plan`: what a tenant pays for, what it may have, what is switched on for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenancy.management.operating import OperatorCommand
from tenancy.models import Tier
from tenancy.operators import LIMITS, set_plan

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(OperatorCommand):
    """Change a tenant's plan; what is not named stays."""

    help = "Change the tier, the limits and the features of a tenant."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Tenant, reason, and what to change."""
        super().add_arguments(parser)
        parser.add_argument("--tier", choices=Tier.values, dest="subscription_tier")
        for name in LIMITS:
            parser.add_argument("--" + name.replace("_", "-"), type=int)
        parser.add_argument(
            "--feature", action="append", dest="features", help="replaces all; can be repeated"
        )

    def handle(self, *, tenant: str, reason: str, **options: Any) -> None:
        """Change it and print the plan."""
        names = ("subscription_tier", *LIMITS, "features")
        changes = {name: options[name] for name in names if options.get(name) is not None}
        with self.entered(tenant) as actor:
            row = set_plan(actor=actor, changes=changes, reason=reason)
        plan = ", ".join(f"{name} {getattr(row, name)}" for name in names)
        self.stdout.write(f"{tenant}: {plan}")
