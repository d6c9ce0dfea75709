"""Devices: the players of a tenant, and the secrets they come with (MISSION T8).

Every write is one function: atomic, `*, actor`, permission first. A secret is returned by the
function that makes it, and by nothing afterwards.
"""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from tenancy.audit import record, taken
from tenancy.credentials import MembershipState
from tenancy.device_memory import forget_devices, recall_device, remember_device
from tenancy.errors import Conflict, NotFound
from tenancy.events import Event, publish
from tenancy.keys import Key, KeyKind, make_key
from tenancy.limits import within_quota
from tenancy.models import Device
from tenancy.tags import clean_tags
from tenancy.tenants import clean_all, clean_name, is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from tenancy.actors import Actor

# Heard of within this time, a device is online.
ONLINE_SECONDS = 120


def online_since(now: datetime) -> datetime:
    """Return since when a device has to have been heard of to be online at `now`."""
    return now - timedelta(seconds=ONLINE_SECONDS)


def heard_of_since(moment: Any) -> Q:
    """Return the condition "heard of later than `moment`"; false for a device that never was."""
    return Q(last_seen_at__isnull=False, last_seen_at__gt=moment)


DEVICE_CLEANERS: Mapping[str, Callable[[Any], Any]] = {
    "name": clean_name,
    "tags": clean_tags,
    "only_tagged": bool,
}


@transaction.atomic
def register_device(*, actor: Actor, values: Mapping[str, Any]) -> tuple[Device, str]:
    """Return a new device of the actor's tenant and its secret; `name` is required.

    Raises PermissionDenied without devices.edit, Invalid with every bad value, QuotaExceeded.
    """
    tenant_id = actor.require("devices.edit")
    cleaned = clean_all({"name": None, **values}, DEVICE_CLEANERS)
    secret, key = make_key(KeyKind.DEVICE)
    device = Device(
        tenant_id=tenant_id,
        secret_prefix=key.prefix,
        secret_digest=key.digest,
        created_by_id=actor.user_id,
        **cleaned,
    )
    with within_quota():
        device.save(force_insert=True)
    publish(Event.DEVICES_CHANGED, [device.pk], actor=actor)
    _record(actor, "device.registered", device, after=taken(device, DEVICE_CLEANERS))
    return device, secret


@transaction.atomic
def update_device(*, actor: Actor, device: UUID, changes: Mapping[str, Any]) -> Device:
    """Return the device with that key after `changes`; without a difference nothing is written.

    Raises PermissionDenied without devices.edit, NotFound, Invalid with every bad value.
    """
    actor.require("devices.edit")
    row = locked_device(device)
    cleaned = clean_all(changes, DEVICE_CLEANERS)
    old = taken(row, cleaned)
    fields = [name for name, value in cleaned.items() if not is_same(old[name], value)]
    for name in fields:
        setattr(row, name, cleaned[name])
    if fields:
        _save(row, actor, *fields)
        before = {name: old[name] for name in fields}
        _record(actor, "device.updated", row, before=before, after=taken(row, fields))
    return row


@transaction.atomic
def rotate_device_secret(*, actor: Actor, device: UUID) -> tuple[Device, str]:
    """Return the device and its new secret; the old one is void from the commit on.

    Raises PermissionDenied without devices.edit, NotFound, Conflict for a revoked device.
    """
    actor.require("devices.edit")
    row = locked_device(device)
    if row.revoked_at is not None:
        message = "This device is revoked; register it anew."
        raise Conflict(message, field=("id",))
    secret, key = make_key(KeyKind.DEVICE)
    row.secret_prefix, row.secret_digest = key.prefix, key.digest
    _save(row, actor, "secret_prefix", "secret_digest")
    _record(actor, "device.secret_rotated", row)
    forget_devices(row.tenant_id)
    return row, secret


@transaction.atomic
def revoke_device(*, actor: Actor, device: UUID) -> Device:
    """Return the device, which opens nothing from the commit on; revoking twice is once.

    Raises PermissionDenied without devices.edit, NotFound.
    """
    actor.require("devices.edit")
    row = locked_device(device)
    if row.revoked_at is None:
        row.revoked_at = timezone.now()
        _save(row, actor, "revoked_at")
        _record(actor, "device.revoked", row, before=taken(row, DEVICE_CLEANERS))
        forget_devices(row.tenant_id)
    return row


def locked_device(device: UUID) -> Device:
    """Return the device with that key, locked; raises NotFound."""
    row = Device.objects.select_for_update().filter(pk=device).first()
    if row is None:
        message = "There is no device with this id."
        raise NotFound(message, field=("id",))
    return row


def _save(row: Device, actor: Actor, *fields: str) -> None:
    row.updated_at = timezone.now()
    row.save(update_fields=[*fields, "updated_at"])
    publish(Event.DEVICES_CHANGED, [row.pk], actor=actor)


def _record(actor: Actor, action: str, row: Device, **values: Any) -> None:
    record(actor, action, subject="Device", subject_id=row.pk, label=row.name, **values)


def find_device(key: Key) -> MembershipState | None:
    """Return the device that a secret is of, as the one thing it may enter; None for a wrong one.

    Where it is remembered no statement; else one, whether there is such a device or not.
    """
    known = recall_device(key.digest)
    if known is not None:
        return known
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT device_id, secret_digest, tenant_id, slug, domain, tenant_is_active, version "
            "FROM device_credential(%s)",
            [key.prefix],
        )
        rows = cursor.fetchall()
    for device_id, digest, tenant_id, slug, domain, tenant_is_active, version in rows:
        if hmac.compare_digest(digest, key.digest):
            found = MembershipState(
                device_id, tenant_id, slug, domain, tenant_is_active, role="", permissions=()
            )
            remember_device(key.digest, found, version)
            return found
    return None
