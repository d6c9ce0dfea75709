"""Which player a legacy request is about, and which one is asking (DESIGN section 5).

`/d/<device>/api/…` names one, and so does a device's own credential; without either a request is
about all of the tenant's. The viewer's endpoints are for players only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db.models import F

from assets.legacy.errors import LegacyError, detail
from tenancy.actors import device as device_actor
from tenancy.devices import find_device
from tenancy.errors import TenantRefused
from tenancy.keys import read_key
from tenancy.logs import tenant_label
from tenancy.models import Device
from tenancy.resolution import choose

if TYPE_CHECKING:
    from assets.legacy.endpoint import Call
    from tenancy.actors import Actor
    from tenancy.middleware import SignateRequest

INTERNAL_TOKEN = "X-Anthias-Internal-Token"  # noqa: S105 -- the name of a header
# What the inventory says of endpoints that `player` admits to.
PLAYER = "a player's secret"
NO_DEVICE = "No Device matches the given query."


def addressed(call: Call) -> Device | None:
    """Return the one device that a request is about, None when it is about all of them.

    Raises LegacyError for one that is not there, PermissionDenied for a member who may not see it.
    """
    actor, text = call.actor, call.path.get("device", "")
    if text:
        try:
            key = UUID(text)
        except ValueError:
            raise detail(404, NO_DEVICE) from None
        if actor.device_id not in {None, key}:
            raise detail(404, NO_DEVICE)
        if actor.device_id is None:
            actor.require("devices.view")
    elif actor.device_id is not None:
        key = actor.device_id
    else:
        return None
    found = Device.objects.filter(
        tenant_id=actor.entered(), pk=key, revoked_at__isnull=True
    ).first()
    if found is None:
        raise detail(404, NO_DEVICE)
    return found


def devices_of(call: Call) -> list[Device]:
    """Return every device that a request is about, the one last heard of first."""
    device = addressed(call)
    if device is not None:
        return [device]
    rows = Device.objects.filter(tenant_id=call.actor.entered(), revoked_at__isnull=True)
    return list(rows.order_by(F("last_seen_at").desc(nulls_last=True), "pk"))


def anybody(request: SignateRequest) -> Actor:
    """Return whoever asks, signed in or not."""
    return request.actor


def player(request: SignateRequest) -> Actor:
    """Return the player that asks: by its secret in Anthias's internal header, or as itself.

    Raises LegacyError, 403 without a body, for everybody else, and for a tenant that is not this
    host's.
    """
    token = request.headers.get(INTERNAL_TOKEN, "")
    if not token and request.actor.device_id is not None:
        return request.actor
    key = read_key(token)
    found = find_device(key) if key else None
    if found is None:
        raise LegacyError(403, None)
    try:
        membership, _ = choose(
            request.host,
            (found,),
            header=request.headers.get("X-Tenant-ID", ""),
            parameter=request.GET.get("tenant", "") if settings.DEBUG else "",
        )
    except TenantRefused:
        membership = None
    if membership is None:
        raise LegacyError(403, None)
    tenant_label.set(str(membership.tenant_id))
    return device_actor(membership.id, membership.tenant_id)
