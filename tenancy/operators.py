"""What operators do to tenants: suspend, resume, plan, delete; each with a reason, written down.

Called by management commands, as `tenancy.actors.operator` in the one tenant it is about. The entry
is in that tenant's own audit log: its owners can read what was done to them, and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from tenancy.actors import Actor, ActorKind
from tenancy.audit import record
from tenancy.deletion import set_deletion
from tenancy.device_memory import forget_devices
from tenancy.errors import InvalidInput, PermissionDenied
from tenancy.models import Tenant, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

LIMITS = ("max_devices", "max_users", "storage_quota_gb", "max_assets")
# What a column of PostgreSQL's `integer` holds.
MOST = 2**31 - 1


def _locked(actor: Actor, reason: str) -> Tenant:
    if actor.kind is not ActorKind.OPERATOR:
        message = "Only an operator can do this."
        raise PermissionDenied(message)
    if not reason.strip():
        message = "Say why: it is written down."
        raise InvalidInput(message, field=("reason",))
    return Tenant.objects.select_for_update(no_key=True).get(pk=actor.entered())


def _save(tenant: Tenant, actor: Actor, action: str, before: Mapping[str, Any], why: str) -> None:
    tenant.save(update_fields=[*before, "updated_at"])
    if "is_active" in before:
        forget_devices(tenant.pk)
    record(
        actor,
        f"tenant.{action}",
        subject="Tenant",
        subject_id=tenant.pk,
        label=tenant.slug,
        before=before,
        after={name: getattr(tenant, name) for name in before},
        reason=why,
    )


@transaction.atomic
def suspend_tenant(*, actor: Actor, reason: str) -> Tenant:
    """Return the tenant, which nobody and nothing enters from the commit on; its data stays.

    Raises PermissionDenied for everybody but an operator, InvalidInput without a reason.
    """
    tenant = _locked(actor, reason)
    if tenant.is_active:
        tenant.is_active = False
        _save(tenant, actor, "suspended", {"is_active": True}, reason)
    return tenant


@transaction.atomic
def resume_tenant(*, actor: Actor, reason: str) -> Tenant:
    """Return the tenant, open again as it was.

    Raises PermissionDenied for everybody but an operator, InvalidInput without a reason.
    """
    tenant = _locked(actor, reason)
    if not tenant.is_active:
        tenant.is_active = True
        _save(tenant, actor, "resumed", {"is_active": False}, reason)
    return tenant


@transaction.atomic
def set_plan(*, actor: Actor, changes: Mapping[str, Any], reason: str) -> Tenant:
    """Return the tenant with `changes` to its tier, limits and features.

    Below what a tenant has already a limit takes nothing away: it only lets nothing in. Raises
    PermissionDenied for everybody but an operator, InvalidInput without a reason or for a value
    that cannot be.
    """
    tenant = _locked(actor, reason)
    for name, value in changes.items():
        if name in LIMITS and not 0 <= value <= MOST:
            message = f"A limit is between 0 and {MOST}."
            raise InvalidInput(message, field=(name,))
        if name == "subscription_tier" and value not in Tier.values:
            message = f"There is no tier {value!r:.80}."
            raise InvalidInput(message, field=(name,))
    before = {
        name: getattr(tenant, name)
        for name, value in changes.items()
        if getattr(tenant, name) != value
    }
    for name in before:
        setattr(tenant, name, changes[name])
    if before:
        _save(tenant, actor, "plan_changed", before, reason)
    return tenant


@transaction.atomic
def schedule_deletion(*, actor: Actor, at: datetime | None, reason: str) -> Tenant:
    """Return the tenant, which is deleted from `at` on, or stays when that is None.

    Raises PermissionDenied for everybody but an operator, InvalidInput without a reason.
    """
    tenant = _locked(actor, reason)
    if tenant.deletes_at != at:
        set_deletion(tenant, actor, at, reason=reason)
    return tenant
