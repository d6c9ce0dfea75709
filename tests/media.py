"""Media for tests: files that begin like the real thing, and assets that have them."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import urlsplit

from django.db import connections

from assets.media_urls import Variant, signed_url
from assets.models import Asset, new_asset_id
from assets.storage import media_key, store_file, thumbnail_key
from rls import acting_as

if TYPE_CHECKING:
    from tests.world import Inhabited

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 small picture"
SVG = (
    b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
)
HTML = b"<!doctype html><html><script>alert(1)</script></html>"


def add_media(
    place: Inhabited,
    content: bytes = PNG,
    *,
    file_name: str = "file",
    thumbnail: bytes | None = None,
    **values: Any,
) -> Asset:
    """Store `content` and return the new asset of the tenant that names it."""
    row = Asset(
        tenant=place.tenant,
        asset_id=new_asset_id(),
        **{"name": f"{place.marker} picture", "mimetype": "image", **values},
    )
    key = media_key(place.tenant.id, row.pk, file_name)
    row.media_path = store_file(key, BytesIO(content))
    row.md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    row.file_size = len(content)
    if thumbnail is not None:
        store_file(thumbnail_key(place.tenant.id, row.pk), BytesIO(thumbnail), replace=True)
        row.thumbnail_url = f"/media/{place.tenant.id}/{row.pk}/thumbnail"
    with acting_as(place.owner):
        row.save(force_insert=True)
    return row


def address(row: Asset, variant: Variant = Variant.ORIGINAL, **how: Any) -> str:
    """Return path and query of the signed address."""
    parts = urlsplit(signed_url(row, variant, **how))
    return f"{parts.path}?{parts.query}"


def body(response: Any) -> bytes:
    """Return all of an answer's bytes, streamed or not; it has ended then."""
    return b"".join(response) if response.streaming else response.content


def end(response: Any) -> None:
    """Close an answer, read or not, and leave the test its connection and transaction."""
    with mock.patch.object(connections["default"], "close_if_unusable_or_obsolete"):
        response.close()
