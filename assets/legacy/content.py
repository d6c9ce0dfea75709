"""What an asset shows: its file in base64, or where it is (SPEC section 4, "content").

A file is read and sent piece by piece, so that its size does not matter.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from typing import TYPE_CHECKING

from django.http import HttpResponse, StreamingHttpResponse

from assets.legacy.endpoint import Answer
from assets.legacy.errors import detail, no_asset
from assets.legacy.fields import is_storable
from assets.legacy.negotiation import JSON
from assets.models import Asset
from assets.storage import media_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.legacy.endpoint import Call
    from assets.storage import Body, StoredFile

# Python's own table and not the machine's, so that it is the same everywhere.
_TYPES = mimetypes.MimeTypes()


def read(call: Call) -> Answer | HttpResponse | StreamingHttpResponse:
    """Answer the file of an asset, or its uri when there is none here."""
    row = None
    if is_storable(call.path["asset_id"]):
        rows = Asset.objects.filter(tenant_id=call.actor.entered())
        row = rows.filter(asset_id=call.path["asset_id"]).first()
    if row is None:
        raise no_asset()
    if not row.uri:
        raise detail(404, "Asset has no content URI.")
    stored = _stored(row)
    if stored is None:
        return Answer({"type": "url", "url": row.uri})
    name = row.name or ""
    kind = _TYPES.guess_type(name)[0] or "application/octet-stream"
    start = f'{{"type":"file","filename":{json.dumps(name, ensure_ascii=False)},"content":"'
    end = f'","mimetype":{json.dumps(kind)}}}'
    length = len(start.encode()) + (stored.size + 2) // 3 * 4 + len(end)
    if call.request.method == "HEAD":
        stored.close()
        return HttpResponse(content_type=JSON, headers={"Content-Length": str(length)})
    pieces = _pieces(start.encode(), stored.body(0, stored.size), end.encode())
    return StreamingHttpResponse(pieces, content_type=JSON, headers={"Content-Length": str(length)})


def _stored(row: Asset) -> StoredFile | None:
    if not row.media_path:
        return None
    try:
        return media_storage().read(row.media_path)
    except FileNotFoundError:
        return None


def _pieces(start: bytes, body: Body, end: bytes) -> Iterator[bytes]:
    """Yield the answer; base64 takes three bytes at a time, so what is left over waits."""
    try:
        yield start
        left = b""
        for chunk in body:
            data = left + chunk
            whole = len(data) - len(data) % 3
            left = data[whole:]
            yield base64.b64encode(data[:whole])
        yield base64.b64encode(left)
        yield end
    finally:
        body.close()
