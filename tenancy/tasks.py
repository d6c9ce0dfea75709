"""Declares the background jobs of tenancy. Declarations only, as assets.tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from tenancy.jobs import tenant_task

if TYPE_CHECKING:
    from tenancy.actors import Actor


@tenant_task("tenancy.mail_invitation")
def mail_invitation(*, actor: Actor, invitation: str, serial: int) -> None:
    """Mail the link of an invitation (tenancy.invitations)."""
    from tenancy import invitations

    invitations.send_invitation(actor=actor, invitation=UUID(invitation), serial=serial)
