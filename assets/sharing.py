"""Share links: making, changing and revoking them, and opening them (MISSION A4).

A link's token is not kept: it follows from the link's key and SECRET_KEY, so that its address can
be shown again and a dump of the database opens nothing. The writes are for both faces; opening is
for assets.share_views, which holds the door. Whether a link is open is decided by PostgreSQL, by
its own clock.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from uuid_utils.compat import uuid7

from assets.library import clean_date
from assets.models import Asset, ShareLink
from tenancy.audit import record, taken
from tenancy.errors import Conflict, InvalidInput, NotFound
from tenancy.events import Event, publish
from tenancy.tenants import clean_all, clean_text, is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from django.db.models import QuerySet

    from tenancy.actors import Actor

LIFETIME = timedelta(days=30)
SHORTEST = timedelta(minutes=1)
LONGEST = timedelta(days=366)
MAX_VIEWS = 1_000_000
MIN_PASSWORD, MAX_PASSWORD = 8, 128

_SALT = "assets.sharing"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def clean_expiry(value: datetime) -> datetime:
    """Return the instant in UTC, a minute to a year from now; raises InvalidInput."""
    value, now = clean_date(value), timezone.now()
    if not now + SHORTEST <= value <= now + LONGEST:
        raise InvalidInput("A link ends between one minute and one year from now.")
    return value


def clean_max_views(value: int) -> int:
    """Return how often a link may be opened, 1 to 1,000,000; raises InvalidInput."""
    if not 1 <= value <= MAX_VIEWS:
        raise InvalidInput(f"A limit is between 1 and {MAX_VIEWS} views; null is for no limit.")
    return value


def clean_share_password(value: str) -> str:
    """Return a password of 8 to 128 characters as it was given; raises InvalidInput."""
    if not MIN_PASSWORD <= len(clean_text(value)) <= MAX_PASSWORD:
        raise InvalidInput(
            f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters; null is for none."
        )
    return value


SHARE_CLEANERS: Mapping[str, Callable[[Any], Any]] = {
    "expires_at": clean_expiry,
    "max_views": clean_max_views,
    "password": clean_share_password,
}
# Null takes these away.
_NULLABLE = frozenset({"max_views", "password"})


def _cleaned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return column values; raises Invalid with every bad value."""
    given = {n: v for n, v in values.items() if v is not None or n not in _NULLABLE}
    cleaned = {n: None for n in values if n not in given} | clean_all(given, SHARE_CLEANERS)
    if "password" in cleaned:
        password = cleaned["password"]
        cleaned["password"] = "" if password is None else make_password(password)
    return cleaned


def open_q() -> Q:
    """Return the condition "can be opened": not revoked, expired or used up, by the database."""
    unspent = Q(max_views=None) | Q(access_count__lt=F("max_views"))
    return Q(revoked_at=None, expires_at__gt=Now()) & unspent


def current_links() -> QuerySet[ShareLink]:
    """Return the links that are not revoked, one of an asset at most, with what is told of them.

    Each knows whether it `is_open` and whether it `has_password`, and not which.
    """
    return (
        ShareLink.objects.filter(revoked_at=None)
        .defer("password")
        .annotate(
            is_open=Case(When(open_q(), then=True), default=False),
            has_password=Case(When(password="", then=False), default=True),
        )
    )


def _locked_asset(asset: UUID) -> Asset:
    """Return the asset, locked against everybody else who shares it; raises NotFound."""
    row = Asset.objects.select_for_update(no_key=True).only("id", "name").filter(pk=asset).first()
    if row is None:
        raise NotFound("There is no asset with this id.", field=("id",))
    return row


def _locked_link(asset: UUID) -> tuple[Asset, ShareLink | None]:
    shared = _locked_asset(asset)
    rows = ShareLink.objects.select_for_update().filter(asset_id=asset, revoked_at=None)
    return shared, rows.first()


def _record(actor: Actor, action: str, asset: Asset, **values: Any) -> None:
    name = asset.name or ""
    record(actor, action, subject="Asset", subject_id=asset.pk, label=name, **values)


def _told(row: ShareLink) -> dict[str, Any]:
    """Return what the audit log says of a link; of its password only whether there is one."""
    told = taken(row, ("expires_at", "max_views"))
    return {"link": row.pk, **told, "has_password": bool(row.password)}


@transaction.atomic
def share_asset(*, actor: Actor, asset: UUID, values: Mapping[str, Any] | None = None) -> ShareLink:
    """Return a new link to the asset with that key; the one it had opens nothing any more.

    `values` may hold expires_at (30 days from now when left out or null), max_views and password
    (null: none). Raises PermissionDenied without assets.share, NotFound, Invalid with every bad
    value.
    """
    tenant_id = actor.require("assets.share")
    now = timezone.now()
    given = {n: v for n, v in (values or {}).items() if v is not None}
    cleaned = {"expires_at": now + LIFETIME, **_cleaned(given)}
    shared, old = _locked_link(asset)
    if old is not None:
        old.revoked_at = now
        old.save(update_fields=["revoked_at"])
    key = uuid7()
    row = ShareLink.objects.create(
        id=key,
        tenant_id=tenant_id,
        asset_id=asset,
        token_digest=_digest(_token(key)),
        created_by_id=actor.user_id,
        **cleaned,
    )
    publish(Event.SHARES_CHANGED, [asset], actor=actor)
    before = {"before": _told(old)} if old is not None else {}
    _record(actor, "share.created", shared, after=_told(row), **before)
    return row


@transaction.atomic
def update_share(*, actor: Actor, asset: UUID, changes: Mapping[str, Any]) -> ShareLink:
    """Return the asset's link after `changes` (as in share_asset); its address stays the same.

    A link that has expired or is used up opens again when the change allows it. Raises
    PermissionDenied without assets.share, NotFound, Invalid with every bad value, Conflict for an
    asset that is not shared.
    """
    actor.require("assets.share")
    cleaned = _cleaned(changes)
    shared, row = _locked_link(asset)
    if row is None:
        raise Conflict("This asset is not shared, or no longer: share it first.", field=("id",))
    before = _told(row)
    changed = [name for name, value in cleaned.items() if not is_same(getattr(row, name), value)]
    for name in changed:
        setattr(row, name, cleaned[name])
    if changed:
        row.save(update_fields=changed)
        publish(Event.SHARES_CHANGED, [asset], actor=actor)
        after = {**_told(row), "password_changed": "password" in changed}
        _record(actor, "share.updated", shared, before=before, after=after)
    return row


@transaction.atomic
def revoke_share(*, actor: Actor, asset: UUID) -> ShareLink | None:
    """Return the link that from now on opens nothing; None when the asset had none.

    Raises PermissionDenied without assets.share, NotFound.
    """
    actor.require("assets.share")
    shared, row = _locked_link(asset)
    if row is not None:
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        publish(Event.SHARES_CHANGED, [asset], actor=actor)
        _record(actor, "share.revoked", shared, before=_told(row))
    return row


def share_url(link: ShareLink) -> str | None:
    """Return the address that opens the link, on its tenant's own host.

    None when SECRET_KEY is another one since the link was made: the address that was given out
    then still opens it, and nobody can tell it again. Call it where the tenant is at hand.
    """
    token = _token(link.pk)
    if not constant_time_compare(_digest(token), link.token_digest):
        return None
    return f"{link.tenant.url}/share/{token}"


def find_share(token: str) -> tuple[UUID, UUID] | None:
    """Return (link, tenant) of a token, None when it opens nothing in any active tenant.

    Across tenants, outside of every door. Whether the link is open is not said.
    """
    if not _TOKEN.fullmatch(token):
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT share_id, tenant_id FROM share_by_digest(%s)", [_digest(token)])
        row: tuple[UUID, UUID] | None = cursor.fetchone()
    return row


def open_share(key: UUID) -> ShareLink | None:
    """Return the link with its asset and tenant while it can be opened; counts nothing."""
    row = ShareLink.objects.filter(open_q(), pk=key).select_related("asset", "tenant").first()
    if row is not None:
        row.asset.tenant = row.tenant
    return row


def count_view(link: ShareLink) -> bool:
    """Count one view, and return whether there was one left.

    One statement decides and counts, so that views at once cannot pass the limit together. A
    password that was changed since the link was read is a link that closed.
    """
    rows = ShareLink.objects.filter(open_q(), pk=link.pk, password=link.password)
    return rows.update(access_count=F("access_count") + 1, last_accessed_at=Now()) == 1


def _token(key: UUID) -> str:
    """Return the 43 characters (256 bits) that open the link with that key."""
    digest = salted_hmac(_SALT, str(key), algorithm="sha256").digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
