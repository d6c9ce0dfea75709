"""`manage.py delete_tenant`: have a tenant deleted once a grace period is over, or call it off."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from tenancy.management.operating import OperatorCommand
from tenancy.operators import schedule_deletion

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(OperatorCommand):
    """Schedule the deletion of a tenant; the worker does it."""

    help = "Have the worker delete a tenant with all that it has, after a grace period."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Tenant, reason, and when."""
        super().add_arguments(parser)
        when = parser.add_mutually_exclusive_group()
        when.add_argument(
            "--grace-days", type=int, help="days from now (default: SIGNATE_DELETION_GRACE_DAYS)"
        )
        when.add_argument("--cancel", action="store_true", help="it stays after all")

    def handle(
        self,
        *,
        tenant: str,
        reason: str,
        grace_days: int | None,
        cancel: bool,
        **_options: object,
    ) -> None:
        """Schedule it and say for when."""
        days = settings.DELETION_GRACE_DAYS if grace_days is None else max(0, grace_days)
        at = None if cancel else timezone.now() + timedelta(days=days)
        with self.entered(tenant) as actor:
            schedule_deletion(actor=actor, at=at, reason=reason)
        self.stdout.write(
            f"{tenant} stays."
            if at is None
            else f"{tenant} is deleted from {at:%Y-%m-%d %H:%M} on."
        )
