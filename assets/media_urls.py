"""Addresses of media: who may fetch which file until when, signed (SECURITY: media).

Made for players and frontends that have no credential at hand; checked by assets.views. An address
is good for one file: when the file is replaced, or another key signs, it is void.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

if TYPE_CHECKING:
    from uuid import UUID

    from assets.models import Asset

LIFETIME = timedelta(hours=1)
# What of an asset the addresses of its files are made from.
SIGNED_COLUMNS = ("tenant", "media_path", "md5")

_SALT = "assets.media_urls"
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}\Z")
# Addresses made within this part of their lifetime are the same.
_WINDOWS = 4


class Variant(StrEnum):
    """Which of an asset's files."""

    ORIGINAL = "original"
    THUMBNAIL = "thumbnail"


def media_url_path(tenant_id: UUID, asset_id: UUID, variant: Variant) -> str:
    """Return the path of an asset's file, which by itself opens nothing."""
    return f"/media/{tenant_id}/{asset_id}/{variant}"


def signed_url(
    asset: Asset,
    variant: Variant,
    *,
    lifetime: timedelta = LIFETIME,
    now: datetime | None = None,
) -> str:
    """Return an address on the tenant's own host that opens the file to whoever holds it.

    It ends after `lifetime`, or up to a quarter earlier: within each quarter the address is the
    same, so that what was fetched once is found in a cache. Call it where the asset's tenant is
    at hand: inside a door.
    """
    seconds = max(int(lifetime.total_seconds()), 1)
    window = max(seconds // _WINDOWS, 1)
    latest = int((now or timezone.now()).timestamp()) + seconds
    expires = str(latest - latest % window)
    query = urlencode({"expires": expires, "signature": _signature(asset, variant, expires)})
    path = media_url_path(asset.tenant_id, asset.pk, variant)
    return f"{asset.tenant.url}{path}?{query}"


def seconds_left(expires: str, *, now: datetime | None = None) -> int:
    """Return for how many seconds an address is still good; 0 when it is not, or no moment."""
    if not _EXPIRES.match(expires):
        return 0
    return max(int(expires) - int((now or timezone.now()).timestamp()), 0)


def is_signed_for(
    asset: Asset,
    variant: Variant,
    *,
    expires: str,
    signature: str,
    now: datetime | None = None,
) -> bool:
    """Return whether the signature opens this file of this asset, as it is now."""
    is_good = constant_time_compare(signature, _signature(asset, variant, expires))
    return is_good and seconds_left(expires, now=now) > 0


def _signature(asset: Asset, variant: Variant, expires: str) -> str:
    # The thumbnail always has the same key: what it shows is the original.
    signed = [str(asset.tenant_id), str(asset.pk), variant, expires, asset.media_path, asset.md5]
    digest = salted_hmac(_SALT, json.dumps(signed), algorithm="sha256").digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")
