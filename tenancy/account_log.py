"""What happens to accounts, written down: a line of the log, and an entry of the tenant entered.

An account belongs to no tenant. What somebody does to theirs while they are in one is in its audit
log; what an operator does to it is in that of every tenant they belong to, who have to know.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rls import acting_as
from tenancy.actors import operator
from tenancy.audit import record
from tenancy.credentials import identify

if TYPE_CHECKING:
    from uuid import UUID

    from tenancy.actors import Actor

logger = logging.getLogger("signate.accounts")


def note(actor: Actor, action: str) -> None:
    """Write down what a person did to their own account, inside their door."""
    user_id = actor.oneself()
    logger.info("%s: user=%s from %s", action, user_id, actor.address or "-")
    record(actor, action, subject="User", subject_id=user_id)


def note_for_all_tenants(user_id: UUID, action: str, *, reason: str) -> None:
    """Write down what an operator did to somebody's account, and why, in no tenant's door."""
    logger.warning("%s: user=%s by an operator: %s", action, user_id, reason)
    identity = identify(user_id)
    for membership in identity.memberships if identity else ():
        with acting_as(operator(membership.tenant_id)) as actor:
            record(
                actor,
                action,
                subject="User",
                subject_id=user_id,
                label=identity.username if identity else "",
                reason=reason,
            )
