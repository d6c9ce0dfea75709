"""A stored file as an HTTP response: what it is, how much of it, and what it must not do.

Called by assets.views once it has decided that the file may be had. Nothing here reads a row or
opens a transaction: bytes flow for as long as the other side takes.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from django.conf import settings
from django.core.files.storage import default_storage
from django.http import HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, http_date, parse_http_date_safe

from assets.byte_ranges import Unsatisfiable, wanted_range
from assets.folder_storage import FolderStorage
from assets.sniffing import sniff

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from assets.storage import StoredFile

# What browsers show and cannot be made to run. Everything else is handed over to be saved.
INERT = frozenset(
    {
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/heic",
        "image/heif",
        "image/jpeg",
        "image/png",
        "image/tiff",
        "image/webp",
        "video/3gpp",
        "video/mp2t",
        "video/mp4",
        "video/mpeg",
        "video/ogg",
        "video/quicktime",
        "video/webm",
        "video/x-flv",
        "video/x-m4v",
        "video/x-matroska",
        "video/x-ms-wmv",
        "video/x-msvideo",
    }
)
SVG = "image/svg+xml"
UNKNOWN = "application/octet-stream"
SVG_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
UNKNOWN_POLICY = "sandbox; default-src 'none'"
# How long an address that the object storage was sent somebody to is good for.
REDIRECT_SECONDS = 300

_LONGEST_NAME = 150
_PATH_SIGNS = re.compile(r'[/\\:*?"<>|]')


@dataclass(frozen=True, slots=True)
class Serving:
    """A file that may be had: its key, what people call it, and for how long it may be kept.

    `seconds_left` is that of a signed address; None for somebody who is signed in.
    """

    key: str
    name: str
    seconds_left: int | None

    @property
    def cache_control(self) -> str:
        """For how long the answer may be used without asking again."""
        if self.seconds_left is None:
            return "private, no-cache"
        return f"private, max-age={self.seconds_left}, immutable"


def serve(request: HttpRequest, file: StoredFile, serving: Serving) -> HttpResponseBase:
    """Return the response to a GET or HEAD for `file`, which it closes when it ends."""
    try:
        response = _response(request, file, serving)
    except BaseException:
        file.close()
        raise
    if not response.streaming:
        file.close()
    return response


def _response(request: HttpRequest, file: StoredFile, serving: Serving) -> HttpResponseBase:
    headers = headers_of(file, serving)
    if settings.ACCEL_REDIRECT and is_in_folder():
        # The proxy knows ranges and what the client has already.
        headers["X-Accel-Redirect"] = settings.ACCEL_REDIRECT + quote(serving.key)
        return HttpResponse(headers=headers)
    whole = HttpResponse(headers={**headers, "Content-Length": str(file.size)})
    modified = int(file.modified.timestamp())
    answer = get_conditional_response(request, headers["ETag"], modified, whole) or whole
    if answer is not whole or request.method == "HEAD":
        return answer
    if settings.S3_REDIRECT and headers["Content-Type"] in INERT and not is_in_folder():
        return _redirect(serving, headers)
    try:
        part = _part(request, file, headers)
    except Unsatisfiable:
        headers["Content-Range"] = f"bytes */{file.size}"
        return HttpResponse(status=416, headers=headers)
    start, length = part or (0, file.size)
    headers["Content-Length"] = str(length)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{file.size}"
    return StreamingHttpResponse(
        file.body(start, length), status=206 if part else 200, headers=headers
    )


def is_in_folder() -> bool:
    """Return whether media lies in a folder that a proxy could read too."""
    storage: object = default_storage  # a proxy, whose class is that of what it stands for
    return isinstance(storage, FolderStorage)


def headers_of(file: StoredFile, serving: Serving) -> dict[str, str]:
    """Return what is said about the file, whatever part of it is sent."""
    kind = sniff(file.head)
    content_type = kind.mimetype if kind else UNKNOWN
    if content_type not in INERT and content_type != SVG:
        content_type = UNKNOWN
    name = _file_name(serving.name, kind.extension if kind else "")
    disposition = content_disposition_header(content_type == UNKNOWN, name)
    signed = serving.seconds_left is not None
    headers = {
        "Content-Type": content_type,
        "Content-Disposition": disposition or "attachment",
        "ETag": _etag(file, serving.key),
        "Last-Modified": http_date(int(file.modified.timestamp())),
        "Accept-Ranges": "bytes",
        "Cache-Control": serving.cache_control,
        "X-Content-Type-Options": "nosniff",
        # A player's page comes from elsewhere, and its address is all the permission it needs.
        "Cross-Origin-Resource-Policy": "cross-origin" if signed else "same-origin",
    }
    if signed:
        headers["Referrer-Policy"] = "no-referrer"
    if content_type == SVG:
        headers["Content-Security-Policy"] = SVG_POLICY
    elif content_type == UNKNOWN:
        headers["Content-Security-Policy"] = UNKNOWN_POLICY
    return headers


def _part(
    request: HttpRequest, file: StoredFile, headers: dict[str, str]
) -> tuple[int, int] | None:
    asked = request.headers.get("Range", "")
    only_if = request.headers.get("If-Range", "").strip()
    if only_if and only_if != headers["ETag"]:
        # A date holds when it is exactly the one we gave out (RFC 9110 section 13.1.5).
        date = parse_http_date_safe(only_if)
        if date is None or date != int(file.modified.timestamp()):
            return None
    return wanted_range(asked, file.size)


def _redirect(serving: Serving, headers: dict[str, str]) -> HttpResponse:
    """Send the client to the object storage, which is told what to say."""
    pinned = {
        name: headers[name] for name in ("Content-Type", "Content-Disposition", "Cache-Control")
    }
    seconds = min(REDIRECT_SECONDS, serving.seconds_left or REDIRECT_SECONDS)
    response = HttpResponseRedirect(
        default_storage.address(serving.key, seconds=seconds, headers=pinned)  # type: ignore[attr-defined]
    )
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


def _etag(file: StoredFile, key: str) -> str:
    digest = hashlib.sha256(f"{key}:{file.version}".encode()).digest()
    return f'"{urlsafe_b64encode(digest[:18]).decode()}"'


def _file_name(name: str, extension: str) -> str:
    """Return a name to save the file under: no path, no control character, the right ending."""
    printable = "".join(sign for sign in name if unicodedata.category(sign)[0] != "C")
    stem = _PATH_SIGNS.sub("_", printable).strip(". ")[:_LONGEST_NAME].rstrip(". ") or "file"
    return stem if stem.lower().endswith(extension) else f"{stem}{extension}"
