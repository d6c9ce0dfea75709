"""Capability addresses: `/k/<key>/api/…` opens the legacy API to whoever has the address.

For clients that cannot authenticate at all; a tenant has none unless somebody makes one. The key
is shown once, can be revoked, and is good for so many requests a minute.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from tenancy.audit import record, taken
from tenancy.credentials import MembershipState
from tenancy.errors import InvalidInput, NotFound, PermissionDenied, RateLimited
from tenancy.keys import Key, KeyKind, make_key
from tenancy.limits import FailureLimit
from tenancy.models import CapabilityKey, Tenant
from tenancy.permissions import PERMISSIONS
from tenancy.tenants import clean_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tenancy.actors import Actor

# What such clients do: they manage the playlist. What else a tenant wants to allow it has to say.
DEFAULT_PERMISSIONS = ("assets.view", "assets.create", "assets.edit", "assets.delete")
_PATH = re.compile(r"/k/([^/]+)(/api/.*)\Z", re.DOTALL)

requests_per_key = FailureLimit("capability", settings.CAPABILITY_REQUESTS_PER_MINUTE, 60)


def split_path(path: str) -> tuple[str, str] | None:
    """Return the key in a capability address and the path behind it; None for other paths."""
    match = _PATH.match(path)
    return (match[1], match[2]) if match else None


@transaction.atomic
def create_capability(
    *, actor: Actor, name: str, permissions: Sequence[str] = DEFAULT_PERMISSIONS
) -> tuple[CapabilityKey, str]:
    """Return a new capability of the actor's tenant and its address, which is not told again.

    Raises PermissionDenied without tenant.settings and for a permission that the actor does not
    hold, InvalidInput for a bad name and a permission there is none of.
    """
    tenant_id = actor.require("tenant.settings")
    try:
        name = clean_name(name)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=("name",)) from None
    wanted = sorted(set(permissions))
    unknown = [one for one in wanted if one not in PERMISSIONS]
    if unknown or not wanted:
        message = f"There is no permission {unknown[0]!r:.80}." if unknown else "Allow something."
        raise InvalidInput(message, field=("permissions",))
    if not actor.permissions.issuperset(wanted):
        message = "You cannot give permissions that you do not hold."
        raise PermissionDenied(message, field=("permissions",))
    secret, key = make_key(KeyKind.CAPABILITY)
    row = CapabilityKey.objects.create(
        tenant_id=tenant_id,
        name=name,
        prefix=key.prefix,
        digest=key.digest,
        permissions=wanted,
        created_by_id=actor.user_id,
    )
    record(
        actor,
        "capability.created",
        subject="Capability",
        subject_id=row.pk,
        label=name,
        after=taken(row, ("name", "permissions")),
    )
    return row, f"{Tenant.objects.get(pk=tenant_id).url}/k/{secret}/api"


@transaction.atomic
def revoke_capability(*, actor: Actor, capability: UUID) -> CapabilityKey:
    """Return the capability, whose address opens nothing from the commit on.

    Raises PermissionDenied without tenant.settings, NotFound.
    """
    actor.require("tenant.settings")
    row = CapabilityKey.objects.select_for_update().filter(pk=capability).first()
    if row is None:
        message = "There is no capability with this id."
        raise NotFound(message, field=("id",))
    if row.revoked_at is None:
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        record(
            actor,
            "capability.revoked",
            subject="Capability",
            subject_id=row.pk,
            label=row.name,
            before=taken(row, ("name", "permissions")),
        )
    return row


def find_capability(key: Key) -> MembershipState | None:
    """Return what a key is of, as the one thing it may enter; None for a wrong one.

    One statement, whether there is such a key or not. Raises RateLimited for one that is used too
    often.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT capability_id, digest, permissions, tenant_id, slug, domain, tenant_is_active "
            "FROM capability_by_prefix(%s)",
            [key.prefix],
        )
        rows = cursor.fetchall()
    for capability_id, digest, permissions, tenant_id, slug, domain, tenant_is_active in rows:
        if hmac.compare_digest(digest, key.digest):
            seconds = requests_per_key.take(str(capability_id))
            if seconds:
                raise RateLimited(seconds, "requests")
            return MembershipState(
                capability_id,
                *(tenant_id, slug, domain, tenant_is_active),
                role="",
                permissions=tuple(permissions),
            )
    return None
