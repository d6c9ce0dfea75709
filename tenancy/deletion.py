"""The end of a tenant: asked for by an owner, put off by a grace period, done by the worker.

Until its time is over a tenant goes on as ever, and an owner can think again. What lies outside of
the database (media, uploads) is assets.purging's; the rows go here, in one transaction, and the
database lets no tenant go before its time.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from rls import acting_as
from rls.declared import declared
from rls.policies import quote
from tenancy.actors import Actor, ActorKind
from tenancy.audit import record
from tenancy.device_memory import forget_devices
from tenancy.errors import InvalidInput, PermissionDenied
from tenancy.events import tenant_key
from tenancy.limits import redis_client
from tenancy.models import Membership, Tenant
from tenancy.permissions import Role

if TYPE_CHECKING:
    from uuid import UUID

logger = logging.getLogger("signate.tenants")

# Counted into by the triggers of the others, so that it goes after them.
_LAST = "tenant_usage"


def _require_owner(actor: Actor, slug: str) -> Tenant:
    """Return the actor's tenant, locked, to an owner in person who named it."""
    tenant_id = actor.entered()
    is_owner = (
        actor.kind is ActorKind.MEMBER
        and actor.membership_id is not None
        and actor.role is Role.OWNER
        and Membership.objects.filter(
            pk=actor.membership_id, role=Role.OWNER, is_active=True
        ).exists()
    )
    if not is_owner:
        message = "Only an owner, in person, can decide on the end of a tenant."
        raise PermissionDenied(message)
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    if slug != tenant.slug:
        message = "Confirm with the slug of the tenant you are in."
        raise InvalidInput(message, field=("slug",))
    return tenant


@transaction.atomic
def request_deletion(*, actor: Actor, slug: str) -> Tenant:
    """Return the tenant, which is deleted once the grace period is over; asking again changes none.

    Raises PermissionDenied for everybody but an owner in person, InvalidInput for another slug.
    """
    tenant = _require_owner(actor, slug)
    if tenant.deletes_at is None:
        grace = timedelta(days=settings.DELETION_GRACE_DAYS)
        set_deletion(tenant, actor, timezone.now() + grace)
    return tenant


@transaction.atomic
def cancel_deletion(*, actor: Actor, slug: str) -> Tenant:
    """Return the tenant, which stays.

    Raises PermissionDenied for everybody but an owner in person, InvalidInput for another slug.
    """
    tenant = _require_owner(actor, slug)
    if tenant.deletes_at is not None:
        set_deletion(tenant, actor, None)
    return tenant


def set_deletion(tenant: Tenant, actor: Actor, at: datetime | None, *, reason: str = "") -> None:
    """Have a tenant deleted from `at` on, or not at all; whoever calls has found that right."""
    before = {"deletes_at": tenant.deletes_at}
    tenant.deletes_at = at
    tenant.save(update_fields=["deletes_at", "updated_at"])
    record(
        actor,
        "tenant.deletion_requested" if at else "tenant.deletion_cancelled",
        subject="Tenant",
        subject_id=tenant.pk,
        label=tenant.slug,
        before=before,
        after={"deletes_at": at},
        reason=reason,
    )


def shut(*, actor: Actor) -> bool:
    """Shut a tenant whose time is over, for good; return whether it is over.

    From then on nobody enters it, so that nothing is written while it is taken apart.
    """
    with acting_as(actor):
        due = Tenant.objects.filter(pk=actor.entered(), deletes_at__lte=timezone.now())
        is_over = bool(due.update(is_active=False))
        if is_over:
            forget_devices(actor.entered())
        return is_over


def purge_rows(*, actor: Actor) -> None:
    """Delete a shut tenant and every row it has, in one transaction.

    Raises RuntimeError, with nothing done, for a tenant that is not to be deleted yet. The audit
    log goes by the database's own cascade: what is left is a line in the service's log.
    """
    tenant_id = actor.entered()
    with acting_as(actor), connection.cursor() as cursor:
        for table in _children_first():
            statement = f"DELETE FROM {quote(table)} WHERE tenant_id = %s"  # noqa: S608 -- our names
            cursor.execute(statement, [tenant_id])
        cursor.execute("DELETE FROM tenants WHERE id = %s", [tenant_id])
        if cursor.rowcount != 1:
            message = "This tenant is not to be deleted yet."
            raise RuntimeError(message)
    logger.warning("tenant %s was deleted with all that it had", tenant_id)


def _children_first() -> list[str]:
    """Return the tables whose rows the application may delete, referring ones before the others."""
    known = declared()
    left = {table for table, privileges in known.walls.items() if "DELETE" in privileges}
    edges = {(table, target) for table, _column, target in known.foreign_keys if table != target}
    ordered: list[str] = []
    while left:
        free = {
            table
            for table in left
            if not any(child in left for child, target in edges if target == table)
        }
        ordered += sorted(free - {_LAST})
        left -= free or left
    return [*ordered, _LAST]


def forget_keys(tenant_id: UUID) -> None:
    """Remove what Redis holds of a tenant; what is cached ends by itself."""
    client = redis_client()
    if client is None:
        return
    for key in client.scan_iter(match=tenant_key(tenant_id, "*"), count=1000):
        client.delete(key)
