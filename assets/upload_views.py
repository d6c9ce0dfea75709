"""The door of bytes: `/uploads/<id>`, where what GraphQL has begun is sent, range by range.

HEAD says where to go on, PATCH or PUT sends from there on, DELETE gives up. A body is read as it
comes, by assets.uploads, and no transaction is open meanwhile. Foreign and unknown uploads have
one answer.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from django.http import HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from assets.byte_sets import is_whole, resume_at
from assets.staging import TooMuch
from assets.uploads import abandon_upload, find_upload, receive
from rls import acting_as
from tenancy.credentials import csrf_refusal
from tenancy.errors import (
    Conflict,
    DomainError,
    ErrorCode,
    InvalidInput,
    NotFound,
    NotSignedIn,
    PermissionDenied,
    TenantRequired,
)
from tenancy.middleware import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.http import HttpRequest

    from assets.models import Upload
    from assets.uploads import Readable
    from tenancy.middleware import SignateRequest

METHODS = ("HEAD", "PATCH", "PUT", "DELETE")
OFFSET, LENGTH = "Upload-Offset", "Upload-Length"

# RFC 9110 section 14.4, with a total or without.
_RANGE = re.compile(r"\s*bytes\s+(\d{1,15})-(\d{1,15})/(\d{1,15}|\*)\s*\Z", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}\Z", re.ASCII)
_TITLES = {
    ErrorCode.INVALID: ("Bad request", 400),
    ErrorCode.NOT_FOUND: ("Not found", 404),
    ErrorCode.CONFLICT: ("Conflict", 409),
    ErrorCode.QUOTA_EXCEEDED: ("Too large", 413),
    ErrorCode.STORAGE_FULL: ("Insufficient storage", 507),
}


@csrf_exempt
def upload(request: HttpRequest, upload: UUID) -> HttpResponse:
    """Answer one request about one upload."""
    asked = cast("SignateRequest", request)
    if request.method not in METHODS:
        return _wrong_method()
    try:
        asked.actor.require("assets.create")
        if asked.credential == "session" and request.method != "HEAD":
            reason = csrf_refusal(request)
            if reason is not None:
                raise PermissionDenied(f"CSRF: {reason}")
        if request.method == "HEAD":
            with acting_as(asked.actor, read_only=True):
                row = find_upload(actor=asked.actor, upload=upload)
            return _progress(row)
        if request.method == "DELETE":
            with acting_as(asked.actor):
                abandon_upload(actor=asked.actor, upload=upload)
            return _answer(None, 204)
        return _progress(_receive(asked, upload))
    except DomainError as error:
        return _refused(asked, upload, error)


@csrf_exempt
def no_upload(request: HttpRequest) -> HttpResponse:
    """Answer an address that cannot be one of an upload."""
    del request
    return _refusal(NotFound("There is no upload with this id."))


def _receive(request: SignateRequest, upload: UUID) -> Upload:
    length = _length(request)
    start, end, total = _place(request)
    if end is not None:
        if length not in {None, end - start}:
            raise InvalidInput("Content-Range and Content-Length do not agree.")
        length = end - start
    return receive(
        upload,
        actor=request.actor,
        start=start,
        # Django reads no more of a body than Content-Length says, which a chunked one has none of.
        stream=cast("Readable", request if _announced(request) else request.META["wsgi.input"]),
        length=length,
        total=total,
    )


def _announced(request: HttpRequest) -> str:
    return str(request.META.get("CONTENT_LENGTH") or "")


def _length(request: HttpRequest) -> int | None:
    """Return how long the body says it is; None when it will end somewhere (chunked)."""
    announced = _announced(request)
    if not announced:
        return None if "Transfer-Encoding" in request.headers else 0
    if not _NUMBER.match(announced):
        raise InvalidInput("Content-Length is not a number.")
    return int(announced)


def _place(request: HttpRequest) -> tuple[int, int | None, int | None]:
    """Return where the body begins, before which offset it ends, and the length of the file."""
    text, offset = request.headers.get("Content-Range"), request.headers.get(OFFSET)
    if text is not None:
        match = _RANGE.match(text)
        if match is None or int(match[2]) < int(match[1]):
            raise InvalidInput("Give a Content-Range such as: bytes 0-65535/1000000.")
        total = None if match[3] == "*" else int(match[3])
        if total is not None and int(match[2]) >= total:
            raise InvalidInput("Content-Range ends beyond the total that it names.")
        return int(match[1]), int(match[2]) + 1, total
    if offset is None or not _NUMBER.match(offset.strip()):
        raise InvalidInput(
            f"Say where the bytes belong: {OFFSET}: 0, or Content-Range: bytes 0-65535/1000000."
        )
    return int(offset), None, None


def _progress(row: Upload) -> HttpResponse:
    received = resume_at(row.received)
    body = {
        "received": received,
        "size": row.size,
        "complete": is_whole(row.received, row.size),
    }
    return _answer(body, 200, {OFFSET: str(received), LENGTH: str(row.size)})


def _refused(request: SignateRequest, upload: UUID, error: DomainError) -> HttpResponse:
    if isinstance(error, NotSignedIn | PermissionDenied | TenantRequired):
        response = refusal(error, request)
        response["Cache-Control"] = "no-store"
        return response
    headers = {}
    # (It may have gone by now.)
    with suppress(DomainError):
        if isinstance(error, Conflict):
            with acting_as(request.actor, read_only=True):
                row = find_upload(actor=request.actor, upload=upload)
            headers = {OFFSET: str(resume_at(row.received)), LENGTH: str(row.size)}
    return _refusal(error, headers)


def _refusal(error: DomainError, headers: Mapping[str, str] | None = None) -> HttpResponse:
    title, status = _TITLES[error.code]
    if isinstance(error, TooMuch):
        title, status = _TITLES[ErrorCode.QUOTA_EXCEEDED]
    body = {"error": title, "message": error.message, "code": error.code}
    return _answer(body, status, headers)


def _wrong_method() -> HttpResponse:
    body = {
        "error": "Method not allowed",
        "message": "Use HEAD, PATCH, PUT or DELETE.",
        "code": ErrorCode.INVALID,
    }
    return _answer(body, 405, {"Allow": ", ".join(METHODS)})


def _answer(
    body: Mapping[str, object] | None, status: int, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    response = HttpResponse(status=status) if body is None else JsonResponse(body, status=status)
    for name, value in {**(headers or {}), "Cache-Control": "no-store"}.items():
        response[name] = value
    return response
