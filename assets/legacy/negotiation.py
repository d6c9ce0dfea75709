"""What a legacy request asks to be answered in, and what its body says (SPEC section 1).

Pure but for Django's parsers of forms. Bodies are read only when a handler asks: a GET may carry
one, and is not refused for it.
"""

from __future__ import annotations

import json
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import QueryDict, UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from assets.legacy.errors import LegacyError, detail

if TYPE_CHECKING:
    from django.http import HttpRequest

JSON = "application/json"
HTML = "text/html"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
PARSES = (JSON, FORM, MULTIPART)
RENDERS = (JSON, HTML)


def wanted_type(request: HttpRequest) -> str:
    """Return `application/json` or `text/html`, whichever is asked for; raises LegacyError."""
    named = request.GET.get("format", "")
    if named:
        if named not in {"json", "api"}:
            raise detail(404, "Not found.")
        return JSON if named == "json" else HTML
    accepted = request.headers.get("Accept", "") or "*/*"
    ranked: list[tuple[int, int, str]] = []
    for place, part in enumerate(accepted.split(",")):
        name = part.split(";")[0].strip().lower()
        for offered in RENDERS:
            kind = offered.partition("/")[0]
            precision = {offered: 2, f"{kind}/*": 1, "*/*": 0, "*": 0}.get(name)
            if precision is not None:
                # More precise wins, then what was named first, then JSON.
                ranked.append((-precision, place, offered))
    if not ranked:
        raise detail(406, "Could not satisfy the request Accept header.")
    ranked.sort(key=lambda one: (one[0], RENDERS.index(one[2]) if one[0] == 0 else one[1]))
    return ranked[0][2]


class SkippedFiles(FileUploadHandler):
    """Reads past the files of a form: nothing here takes any."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Skip the file."""
        del args, kwargs
        raise SkipFile

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Never called: every file is skipped."""

    def file_complete(self, file_size: int) -> None:
        """Never called: every file is skipped."""


def settle_length(request: HttpRequest, most: int) -> int:
    """Return how many bytes the body has; one that comes in chunks is read for it, to a file.

    Raises LegacyError for one of more than `most`.
    """
    told = str(request.META.get("CONTENT_LENGTH") or "")
    if told.isdecimal() and len(told) <= 15:
        return int(told)
    if "chunked" not in request.headers.get("Transfer-Encoding", "").lower():
        return 0
    source, size = request.META["wsgi.input"], 0
    body = SpooledTemporaryFile(max_size=1_048_576)  # noqa: SIM115 -- the endpoint closes it
    request.spooled = body  # type: ignore[attr-defined]
    while piece := source.read(65_536):
        size += len(piece)
        if size > most:
            raise detail(413, "The request is too large.")
        body.write(piece)
    body.seek(0)
    request.META["CONTENT_LENGTH"] = str(size)
    request._stream = cast("BinaryIO", body)  # noqa: SLF001 -- where Django reads
    return size


def data_of(request: HttpRequest, *, files: FileUploadHandler | None = None) -> Any:
    """Return what the body says: decoded JSON, a form, or an empty object for no body at all.

    Files of a form go to `files`, and nowhere without it. To be called once per request. Raises
    LegacyError for a body that cannot be read, or of a type that nobody reads.
    """
    kind = request.content_type or ""
    settle_length(request, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    try:
        if kind == MULTIPART:
            # Not `request.POST`, which is empty for PUT and PATCH.
            handlers = [files or SkippedFiles(request)]
            return MultiPartParser(request.META, request, handlers, "utf-8").parse()[0]
        body = request.body
    except MultiPartParserError as error:
        raise detail(400, f"Multipart form parse error - {error}") from None
    except (RequestDataTooBig, TooManyFieldsSent):
        raise detail(413, "The request is too large.") from None
    except UnreadablePostError:
        raise detail(400, "The request ended before its end.") from None
    if not body.strip():
        return QueryDict("") if kind == FORM else {}
    if kind == FORM:
        return _form(body)
    if kind == JSON or (not kind and body.lstrip()[:1] in b'{["'):
        return decoded(body)
    told = request.headers.get("Content-Type", "")
    raise detail(415, f'Unsupported media type "{told}" in request.')


def _form(body: bytes) -> QueryDict:
    """Return a form; one of old clients, `model={…}` with nothing quoted, as they mean it."""
    if body.startswith((b"model={", b'model="')) and b"%" not in body:
        data = QueryDict(mutable=True)
        data["model"] = body.removeprefix(b"model=").decode(errors="replace")
        return data
    try:
        return QueryDict(body)
    except (TooManyFieldsSent, UnicodeDecodeError):
        raise detail(400, "The form cannot be read.") from None


def decoded(body: bytes | str) -> Any:
    """Return JSON decoded; raises LegacyError in Anthias's words."""

    def refuse(name: str) -> None:
        raise ValueError(f"Out of range float values are not JSON compliant: {name}")

    try:
        text = body if isinstance(body, str) else body.decode()
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise detail(400, f"JSON parse error - {error}") from None


def model_of(request: HttpRequest) -> Any:
    """Return what the `model` of a v1 body says (SPEC section 4); raises LegacyError.

    It is JSON as text: a form's field, a JSON string that is the body, or a member of an object.
    """
    data = data_of(request)
    if isinstance(data, str):
        return decoded(data)
    model = data.get("model") if hasattr(data, "get") else None
    if not isinstance(model, str):
        raise LegacyError(
            400, {"error": "Send the asset as JSON text in the field `model` of a form."}
        )
    return decoded(model)
