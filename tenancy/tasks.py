"""Declares the background jobs of tenancy. Declarations only, as assets.tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from tenancy.jobs import for_every_tenant, tenant_task

if TYPE_CHECKING:
    from tenancy.actors import Actor


@tenant_task("tenancy.mail_invitation")
def mail_invitation(*, actor: Actor, invitation: str, serial: int) -> None:
    """Mail the link of an invitation (tenancy.invitations)."""
    from tenancy import invitations

    invitations.send_invitation(actor=actor, invitation=UUID(invitation), serial=serial)


@tenant_task("tenancy.recheck_domain")
def recheck_domain(*, actor: Actor) -> None:
    """Look whether the tenant still holds its domain (tenancy.domains)."""
    from tenancy import domains

    domains.recheck_domain(actor=actor)


for_every_tenant(recheck_domain, cron="23 4 * * *")
