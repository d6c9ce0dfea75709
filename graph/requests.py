"""GraphQL over HTTP: from a request to the parameters of an operation, and back to a response.

Called by graph.view. Follows the GraphQL-over-HTTP specification (2025): which methods and content
types, what a malformed request is, which media type and status an answer has.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse, HttpResponseNotModified, UnreadablePostError

from tenancy.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest

JSON_TYPE = "application/json"
RESPONSE_TYPE = "application/graphql-response+json"

# JSON escapes of NUL and of halves of surrogate pairs: what no database text can hold, spelt the
# one way it gets past UTF-8. Whole pairs match too and are sorted out afterwards.
_UNSTORABLE = re.compile(rb"\\u(0000|[dD][89a-fA-F])")


class BadRequest(Exception):
    """A request that is no GraphQL request; `status` and `headers` are the response's."""

    def __init__(
        self,
        message: str,
        status: int = 400,
        *,
        code: str = ErrorCode.INVALID,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep the sentence and the status."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one request (section "Request Parameters").

    The document is `query`, or is known here under `document_id` or the hash in
    `extensions.persistedQuery`; then `query` may be missing.
    """

    query: str | None
    operation_name: str | None = None
    variables: dict[str, Any] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)
    document_id: str | None = None


def of_post(request: HttpRequest) -> Parameters:
    """Return the parameters in a body of JSON; raises BadRequest."""
    if request.content_type != JSON_TYPE:
        raise BadRequest(f"Send the request as {JSON_TYPE}.", 415)
    require_plain(request)
    charset = (request.content_params or {}).get("charset", "utf-8").strip('"').lower()
    if charset not in {"utf-8", "utf8"}:
        raise BadRequest("Send the request in UTF-8.", 415)
    most = settings.GRAPHQL_MAX_BODY_BYTES
    if _announced(request) > most:
        raise _too_large()
    try:
        body = request.body
    except RequestDataTooBig:
        raise _too_large() from None
    except UnreadablePostError:
        raise BadRequest("The request ended before its end.") from None
    if len(body) > most:
        raise _too_large()
    return of_body(body)


def of_body(body: bytes) -> Parameters:
    """Return the parameters in JSON; raises BadRequest."""
    data = json_of(body, "The body")
    if isinstance(data, list):
        raise BadRequest("Send one operation per request; batches are not supported.")
    if not isinstance(data, dict):
        raise BadRequest("The body must be a JSON object.")
    return parameters_of(data)


def require_plain(request: HttpRequest) -> None:
    """Raise BadRequest for a body that is compressed: a small one can be of any size inside."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise BadRequest(
            "Send the request without compression.", 415, headers={"Accept-Encoding": "identity"}
        )


def _announced(request: HttpRequest) -> int:
    length = str(request.META.get("CONTENT_LENGTH") or "0")
    return int(length) if length.isdecimal() and len(length) < 16 else 0


def _too_large() -> BadRequest:
    return BadRequest(
        f"A request has {settings.GRAPHQL_MAX_BODY_BYTES} bytes at most, files aside.",
        413,
        code=ErrorCode.LIMIT_EXCEEDED,
    )


def of_get(request: HttpRequest) -> Parameters:
    """Return the parameters in the query string; raises BadRequest."""
    if len(request.META.get("QUERY_STRING", "")) > settings.GRAPHQL_MAX_BODY_BYTES:
        raise _too_large()
    data: dict[str, Any] = {}
    for name in ("query", "operationName", "variables", "extensions", "documentId", "doc_id"):
        value = request.GET.get(name)
        if value is None or (value == "" and name != "query"):
            continue
        if name in {"variables", "extensions"}:
            data[name] = json_of(value.encode(errors="surrogatepass"), f"`{name}`")
        else:
            data[name] = value
    return parameters_of(data)


def json_of(text: bytes, what: str) -> Any:
    """Return the JSON that a client calls `what`; raises BadRequest."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        data = json.loads(text.decode(), parse_constant=refuse)
    except UnicodeDecodeError:
        raise BadRequest(f"{what} is not UTF-8.") from None
    except RecursionError:
        raise BadRequest(f"{what} is nested too deeply.") from None
    except ValueError:
        raise BadRequest(f"{what} is not JSON.") from None
    if _UNSTORABLE.search(text) and not _is_storable(data):
        raise BadRequest(f"{what} contains a NUL character or half of a surrogate pair.")
    return data


def _is_storable(data: Any) -> bool:
    try:
        text = json.dumps(data, ensure_ascii=False)
        text.encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    # json.dumps spells NUL as an escape, and a backslash as two.
    return not re.search(r"(?<!\\)(\\\\)*\\u0000", text)


def parameters_of(data: dict[str, Any]) -> Parameters:
    """Return the parameters in a JSON object; raises BadRequest."""
    query, name = data.get("query"), data.get("operationName")
    variables, extensions = data.get("variables"), data.get("extensions")
    document_id = data.get("documentId", data.get("doc_id"))
    if document_id is not None and not isinstance(document_id, str):
        raise BadRequest("`documentId` must be a string or null.")
    is_persisted = isinstance(extensions, dict) and bool(extensions.get("persistedQuery"))
    # Some clients write the document they leave out as an empty one.
    query = query or None if is_persisted or document_id else query
    if not isinstance(query, str) and (query is not None or not (is_persisted or document_id)):
        raise BadRequest("`query` must be a string: the GraphQL document.")
    if name is not None and not isinstance(name, str):
        raise BadRequest("`operationName` must be a string or null.")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest("`variables` must be an object or null.")
    if extensions is not None and not isinstance(extensions, dict):
        raise BadRequest("`extensions` must be an object or null.")
    return Parameters(query, name or None, variables or {}, extensions or {}, document_id or None)


def media_type(accept: str) -> str:
    """Return the media type to answer in: the newer one only for who names it.

    Who asks for neither gets JSON all the same: refusing would help nobody.
    """
    best, best_quality = JSON_TYPE, 0.0
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name not in {JSON_TYPE, RESPONSE_TYPE}:
            continue
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if quality > best_quality or (quality == best_quality and name == RESPONSE_TYPE):
            best, best_quality = name, quality
    return best


def is_navigation(request: HttpRequest) -> bool:
    """Return whether a browser opens the address as a page."""
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


# A page of another origin can send these only after asking us, which we allow to the origins that
# the operator named (settings.CORS_ALLOWED_ORIGINS) and to no other.
PREFLIGHT_HEADERS = (
    "X-Requested-With",
    "Apollo-Require-Preflight",
    "GraphQL-Preflight",
    "X-Tenant-ID",
)


def is_preflighted(request: HttpRequest) -> bool:
    """Return whether a browser would have had to ask before it sent this for a foreign page."""
    return any(name in request.headers for name in PREFLIGHT_HEADERS)


def is_same_origin(request: HttpRequest) -> bool:
    """Return whether a page of the same origin sent this, as far as the browser says so."""
    site = request.headers.get("Sec-Fetch-Site")
    return site == "same-origin" if site else is_preflighted(request)


def respond(request: HttpRequest, body: Mapping[str, Any]) -> HttpResponse:
    """Return the response to a well-formed request.

    JSON is always 200; the newer media type says 400 when nothing was executed (no `data`). What
    was read by GET may be kept by the client, which asks each time whether it is still so.
    """
    kind = media_type(request.headers.get("Accept", ""))
    status = 400 if kind == RESPONSE_TYPE and "data" not in body else 200
    response = _response(kind, _text(body), status)
    if request.method != "GET" or "data" not in body or "errors" in body:
        return response
    return _kept(request, response, kind, _text(body["data"]))


def respond_data(request: HttpRequest, data: bytes, extensions: Mapping[str, Any]) -> HttpResponse:
    """Return the response to an operation without errors whose `data` is JSON text already."""
    kind = media_type(request.headers.get("Accept", ""))
    response = _response(kind, data_body(data, extensions), 200)
    return _kept(request, response, kind, data) if request.method == "GET" else response


def data_body(data: bytes, extensions: Mapping[str, Any]) -> bytes:
    """Return the body of an answer without errors whose `data` is JSON text already."""
    return b'{"data":' + data + b',"extensions":' + _text(extensions) + b"}"


def _kept(request: HttpRequest, response: HttpResponse, kind: str, data: bytes) -> HttpResponse:
    response["Cache-Control"] = "private, no-cache"
    # Of the data alone: what it cost and what is left is another each time.
    response["ETag"] = f'W/"{sha256(kind.encode() + b" " + data).hexdigest()[:32]}"'
    known = request.headers.get("If-None-Match", "")
    if response["ETag"] in [tag.strip() for tag in known.split(",")]:
        return _not_modified(response)
    return response


def _not_modified(response: HttpResponse) -> HttpResponse:
    kept = {name: response[name] for name in ("ETag", "Cache-Control", "Vary")}
    return HttpResponseNotModified(headers=kept)


def refuse(request: HttpRequest, error: BadRequest) -> HttpResponse:
    """Return the response to what is no GraphQL request, in the shape of one."""
    body = errors_body([{"message": error.message, "extensions": {"code": str(error.code)}}])
    response = _response(media_type(request.headers.get("Accept", "")), _text(body), error.status)
    for name, value in error.headers.items():
        response[name] = value
    return response


def errors_body(errors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the body of an answer without data."""
    return {"errors": list(errors)}


def _text(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _response(kind: str, body: bytes, status: int) -> HttpResponse:
    response = HttpResponse(body, content_type=f"{kind}; charset=utf-8", status=status)
    response["Cache-Control"] = "no-store"
    response["Vary"] = "Accept, Authorization, Cookie, X-Tenant-ID"
    return response
