"""GraphQL requests with files in them (the GraphQL multipart request specification).

Called by graph.view. Files go to the staging folder as they are read, under row and limit, before
any door is opened; what the operation made no asset of is gone when the request ends. Such a
request needs no preflight in a browser, so it proves in another way that no foreign page sent it.
"""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.core.handlers.wsgi import WSGIRequest
from django.http import UnreadablePostError
from django.http.multipartparser import MultiPartParserError

from assets.upload_streams import AROUND_FILES_BYTES, MAX_FILES, UploadHandler
from assets.uploads import require_room
from graph.requests import (
    BadRequest,
    Parameters,
    is_preflighted,
    json_of,
    parameters_of,
    require_plain,
)
from rls import acting_as
from tenancy.credentials import csrf_refusal
from tenancy.errors import DomainError, ErrorCode, StorageFull

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.upload_streams import StreamedFile
    from tenancy.middleware import SignateRequest

MULTIPART_TYPE = "multipart/form-data"
MAX_PATHS = 100
_STATUSES = {
    ErrorCode.QUOTA_EXCEEDED: 413,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.TENANT_REQUIRED: 400,
    ErrorCode.STORAGE_FULL: 507,
}


def is_multipart(request: SignateRequest) -> bool:
    """Return whether the body is made of parts."""
    return request.method == "POST" and request.content_type == MULTIPART_TYPE


def forgery(request: SignateRequest) -> str | None:
    """Return why a multipart request may be the doing of a foreign page; None when it is not.

    Nothing of the body is read for it.
    """
    if request.credential == "session":
        # Django would look for its token in the body first, and read all of it.
        headers = {**request.META, "wsgi.input": BytesIO(), "CONTENT_LENGTH": "0"}
        bodiless: Any = WSGIRequest(headers)
        bodiless._dont_enforce_csrf_checks = getattr(  # noqa: SLF001 -- Django's own test client sets it
            request, "_dont_enforce_csrf_checks", False
        )
        reason = csrf_refusal(bodiless)
        return reason and f"CSRF: {reason}"
    if is_preflighted(request):
        return None
    # A browser adds a password that it knows to requests of any page.
    is_browser = "Origin" in request.headers or request.headers.get(
        "Sec-Fetch-Site", "none"
    ) not in {"none", "same-origin"}
    if is_browser or "Authorization" not in request.headers:
        return (
            "Multipart requests need a header that makes browsers ask first: send "
            "`GraphQL-Preflight: 1`."
        )
    return None


@contextmanager
def received(request: SignateRequest) -> Iterator[Parameters]:
    """Read the body and yield what is asked, with files in the place of nulls.

    Raises BadRequest for what is no such request, and for one that is too large for the tenant,
    before anything of it is read. Files that nobody used are removed afterwards.
    """
    require_plain(request)
    length = _length(request)
    try:
        with acting_as(request.actor, read_only=True):
            require_room(actor=request.actor, size=max(0, length - AROUND_FILES_BYTES))
    except DomainError as error:
        raise _refused(error) from error
    handler = UploadHandler(request, actor=request.actor, length=length)
    request.upload_handlers = [handler]
    try:
        _read(request)
        files = handler.files
        for file in files.values():
            if isinstance(file.refusal, StorageFull):
                raise _refused(file.refusal)
        yield _parameters(request, files)
    except DomainError as error:
        raise _refused(error) from error
    finally:
        handler.give_up()


def _refused(error: DomainError) -> BadRequest:
    return BadRequest(error.message, _STATUSES.get(error.code, 400), code=error.code)


def _length(request: SignateRequest) -> int:
    announced = str(request.META.get("CONTENT_LENGTH") or "")
    if not announced.isdecimal() or len(announced) > 15:
        raise BadRequest("Send a Content-Length with a multipart request.", 411)
    return int(announced)


def _read(request: SignateRequest) -> None:
    try:
        _ = request.POST
    except RequestDataTooBig:
        raise BadRequest("`operations` and `map` are too large.", 413) from None
    except UnreadablePostError:
        raise BadRequest("The request ended before its end.") from None
    except (MultiPartParserError, TooManyFieldsSent) as error:
        # Django answers all of these with 400, too.
        raise BadRequest(f"The body cannot be read: {type(error).__name__}.") from None


def _parameters(request: SignateRequest, files: dict[str, StreamedFile]) -> Parameters:
    operations, places = (_field(request, name) for name in ("operations", "map"))
    if isinstance(operations, list):
        raise BadRequest("Send one operation per request; batches are not supported.")
    if not isinstance(operations, dict):
        raise BadRequest("`operations` must be a JSON object.")
    if not isinstance(places, dict) or len(places) > MAX_FILES:
        raise BadRequest(f"`map` must be a JSON object that names {MAX_FILES} files at most.")
    count = 0
    for name, paths in places.items():
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise BadRequest("`map` must give a list of paths for each file.")
        count += len(paths)
        if count > MAX_PATHS:
            raise BadRequest(f"`map` can have {MAX_PATHS} paths at most.")
        if name not in files:
            raise BadRequest(f"There is no whole file {name[:50]!r}, which `map` names.")
        for path in paths:
            _put(operations, path, files[name])
    return parameters_of(operations)


def _field(request: SignateRequest, name: str) -> Any:
    text = request.POST.get(name)
    if text is None:
        raise BadRequest(f"The field `{name}` is missing.")
    if len(text) > settings.GRAPHQL_MAX_BODY_BYTES:
        raise BadRequest(f"`{name}` is too large.", 413, code=ErrorCode.LIMIT_EXCEEDED)
    return json_of(text.encode(errors="surrogatepass"), f"`{name}`")


def _put(operations: dict[str, Any], path: str, file: StreamedFile) -> None:
    """Replace the null at a path such as `variables.files.0`; raises BadRequest."""
    *way, last = path.split(".")
    here: Any = operations
    try:
        for step in way:
            here = here[_step(here, step)]
        key = _step(here, last)
        is_null = here[key] is None
    except (KeyError, IndexError, TypeError, ValueError):
        is_null = False
    else:
        if is_null and way[:1] == ["variables"]:
            here[key] = file
            return
    raise BadRequest(f"`map` names {path[:80]!r}, where `operations` has no null in its variables.")


def _step(here: Any, step: str) -> Any:
    if isinstance(here, list):
        if not step.isascii() or not step.isdecimal() or len(step) > 9:
            raise ValueError(step)
        return int(step)
    if not isinstance(here, dict):
        raise TypeError(step)
    return step
