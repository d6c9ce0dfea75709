"""Uploads as tests make and look at them: pieces, multipart bodies, and what lies in the folders."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.conf import settings
from django.db import connection

from assets.models import Asset, Upload
from assets.uploads import begin_upload, receive
from rls import acting_as
from tenancy.models import Tenant, TenantUsage
from tests.media import PNG

if TYPE_CHECKING:
    from django.test import Client

    from tests.world import Inhabited

GB = 10**9
# What `size` the world's one upload has.
WORLD_BYTES = 1000
UPLOAD = "mutation($file: Upload!) { uploadAsset(input: {file: $file}) { asset { id } errors { message code field } } }"


def picture(size: int, seed: int = 0) -> bytes:
    """Return `size` bytes that begin as a PNG does, others for each seed."""
    block = hashlib.sha256(str(seed).encode()).digest()
    return (PNG[:8] + block * (size // 32 + 1))[:size]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def begin(place: Inhabited, size: int, **how: Any) -> Upload:
    """Begin an upload as the tenant's owner."""
    with acting_as(place.owner):
        return begin_upload(actor=place.owner, **{"file_name": "a.png", **how}, size=size)


def put(place: Inhabited, row: Upload, content: bytes, start: int = 0, **how: Any) -> Upload:
    """Send bytes to an upload as the tenant's owner."""
    return receive(
        row.pk,
        actor=place.owner,
        start=start,
        **{"stream": BytesIO(content), "length": len(content), **how},
    )


def limit(place: Inhabited, left: int) -> None:
    """Leave the tenant exactly `left` bytes of storage: an asset has all the others."""
    with acting_as(place.owner):
        Tenant.objects.filter(pk=place.tenant.pk).update(storage_quota_gb=1)
        size = GB - TenantUsage.objects.get().bytes - left
        Asset.objects.filter(pk=place.assets[1].pk).update(file_size=size)


def used(place: Inhabited) -> int:
    """Return the bytes that the tenant's uploads and assets have, as they are counted."""
    with acting_as(place.owner), connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT COALESCE(sum(file_size), 0) FROM assets)"
            " + (SELECT COALESCE(sum(size), 0) FROM uploads)"
        )
        counted = int(cursor.fetchone()[0])
        assert TenantUsage.objects.get().bytes == counted
    return counted


def open_uploads(place: Inhabited) -> list[Upload]:
    """Return the tenant's uploads but the world's own."""
    with acting_as(place.owner):
        return list(Upload.objects.exclude(handle=f"{1:032x}").order_by("pk"))


def new_assets(place: Inhabited) -> list[Asset]:
    """Return the tenant's assets but the world's own."""
    with acting_as(place.owner):
        known = [asset.pk for asset in place.assets]
        return list(Asset.objects.exclude(pk__in=known).order_by("pk"))


def files(root: Path | None = None) -> list[Path]:
    """Return every file in the staging folder, or another."""
    return sorted(path for path in Path(root or settings.UPLOAD_DIR).rglob("*") if path.is_file())


def stored() -> list[Path]:
    """Return every file in the storage."""
    return files(settings.MEDIA_ROOT)


def multipart(
    fields: dict[str, Any], parts: dict[str, tuple[str, bytes]], *, first: bool = False
) -> tuple[bytes, str]:
    """Return a multipart body and its content type; `first` puts the files in front."""
    boundary = uuid4().hex
    texts, contents = b"", b""
    for name, value in fields.items():
        text = value if isinstance(value, str) else json.dumps(value)
        texts += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        texts += text.encode() + b"\r\n"
    for name, (file_name, content) in parts.items():
        contents += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; '
            f'filename="{file_name}"\r\nContent-Type: image/png\r\n\r\n'
        ).encode()
        contents += content + b"\r\n"
    body = contents + texts if first else texts + contents
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def send(
    client: Client,
    content: bytes = PNG,
    *,
    query: str = UPLOAD,
    file_name: str = "a.png",
    headers: dict[str, str] | None = None,
    **variables: Any,
) -> Any:
    """Post one file with an operation that takes `$file`."""
    body, kind = multipart(
        {
            "operations": {"query": query, "variables": {"file": None, **variables}},
            "map": {"0": ["variables.file"]},
        },
        {"0": (file_name, content)},
    )
    return client.post("/graphql", body, content_type=kind, headers=headers)
