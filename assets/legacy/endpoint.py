"""One address of the legacy API: which methods it has, who may call them, how they answer.

Every view of assets.legacy is an `Endpoint`. The stages are its methods, in order: what to answer
in, who asks, which method, and then the handler, inside the door.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse, StreamingHttpResponse

from assets.legacy.errors import LegacyError, detail, of_domain
from assets.legacy.negotiation import HTML, JSON, PARSES, RENDERS, wanted_type
from assets.legacy.retries import told
from rls import acting_as
from tenancy.credentials import csrf_refusal
from tenancy.errors import DomainError, NotSignedIn
from tenancy.idempotency import HEADER, AnsweredMeanwhile, Once

if TYPE_CHECKING:
    from assets.legacy.docs import Doc
    from tenancy.actors import Actor
    from tenancy.middleware import SignateRequest

logger = logging.getLogger("signate.legacy")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
NOT_SIGNED_IN = "Authentication credentials were not provided."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler gives back. `raw` is JSON text that is sent as it is; None is no body."""

    body: Any = None
    status: int = 200
    raw: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a handler: the request, who asks, which version, what the path names.

    `once` is there for a write under an Idempotency-Key.
    """

    request: SignateRequest
    actor: Actor
    version: str
    path: Mapping[str, str]
    once: Once | None = None

    def settle(self, answer: Answer) -> Answer:
        """Return the answer, kept in the open door where the write has a key.

        A handler that opens its own doors calls this last in the one that writes; what it raises
        has to undo the write. (Without a write it is called afterwards.) A refusal is not kept: it
        may be tried again.
        """
        if self.once is not None and answer.status < 400:
            text = answer.raw
            if text is None and answer.body is not None:
                text = _printed(answer.body)
            self.once.keep(answer.status, text)
        return answer


Response = HttpResponse | StreamingHttpResponse
Handler = Callable[[Call], Answer | Response]
Admission = Callable[["SignateRequest"], "Actor"]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of an endpoint: what it does, what it needs, what is told of it, what becomes of it.

    `kind` is for the inventory: kept, relayed (to a player) or refused; and so is `needs`, which
    says what a handler asks for by itself. A handler that `streams` opens its own doors; one that
    `takes_file` reads the body piece by piece.
    """

    handle: Handler
    permission: str
    doc: Doc
    kind: str = "kept"
    streams: bool = False
    needs: str = ""
    takes_file: bool = False


def tag_of(content: bytes) -> str:
    """Return the ETag of an answer."""
    return f'"{blake2b(content, digest_size=16).hexdigest()}"'


def _unless_known(request: SignateRequest, response: Response) -> Response:
    """Return 304 where the client has this answer already."""
    if not isinstance(response, HttpResponse) or not response.content:
        return response
    if response.has_header("ETag"):
        # The handler knows better what makes two answers the same.
        return response
    tag = tag_of(response.content)
    known = [one.strip() for one in request.headers.get("If-None-Match", "").split(",")]
    if tag in known or f"W/{tag}" in known:
        response = HttpResponse(status=304)
        del response["Content-Type"]
    response["ETag"] = tag
    return response


def _refuse_foreign_page(request: SignateRequest) -> None:
    """Refuse what a page of another site makes a browser do with a password it keeps."""
    if request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}:
        raise detail(403, "CSRF Failed: pages of other sites cannot do this.")


def _printed(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=str)


def _without_body(request: SignateRequest) -> Any:
    """Return a request whose CSRF token can come in a header only.

    Django would look for it in the body first, and read all of an upload into memory.
    """
    bodiless: Any = WSGIRequest({**request.META, "wsgi.input": BytesIO(), "CONTENT_LENGTH": "0"})
    bodiless._dont_enforce_csrf_checks = getattr(  # noqa: SLF001 -- Django's own test client sets it
        request, "_dont_enforce_csrf_checks", False
    )
    return bodiless


class Endpoint:
    """A callable view. `admit` says who is asking where it is not a member or a device."""

    def __init__(
        self, name: str, methods: Mapping[str, Method], *, admit: Admission | None = None
    ) -> None:
        """Declare the endpoint; HEAD comes with GET, and OPTIONS with everything."""
        self.name = name
        self.methods = dict(methods)
        self.admit = admit
        # What Django's CSRF middleware asks; sessions are judged here, in JSON.
        self.csrf_exempt = True

    @property
    def allow(self) -> str:
        """The `Allow` header."""
        names = {*self.methods, "OPTIONS", *(["HEAD"] if "GET" in self.methods else [])}
        return ", ".join(name for name in METHODS if name in names)

    def __call__(self, request: SignateRequest, version: str, **path: str) -> Response:
        """Answer one request."""
        if request.method not in METHODS:
            return HttpResponse(
                "Invalid HTTP request received.",
                status=400,
                content_type="text/plain; charset=utf-8",
            )
        kind = JSON
        try:
            kind = wanted_type(request)
            answer = self.answer(request, version, path)
        except LegacyError as error:
            answer = Answer(error.body, error.status, headers=error.headers)
        except DomainError as error:
            refused = of_domain(error)
            answer = Answer(refused.body, refused.status, headers=refused.headers)
        finally:
            spooled = getattr(request, "spooled", None)
            if spooled is not None:
                spooled.close()
        response = self.render(answer, kind) if isinstance(answer, Answer) else answer
        if request.method in {"GET", "HEAD"} and response.status_code == 200:
            response = _unless_known(request, response)
        response["Allow"] = self.allow
        response["Vary"] = "Accept, Authorization, Cookie, X-Tenant-ID"
        return response

    def answer(
        self, request: SignateRequest, version: str, path: Mapping[str, str]
    ) -> Answer | Response:
        """Return what the handler says; raises LegacyError or DomainError."""
        refusal = getattr(request, "refusal", None)
        if refusal is not None:
            raise refusal
        if request.method == "OPTIONS":
            return Answer(
                {
                    "name": self.name,
                    "description": "",
                    "renders": list(RENDERS),
                    "parses": list(PARSES),
                }
            )
        method = self.methods.get("GET" if request.method == "HEAD" else str(request.method))
        if method is None:
            raise detail(405, f'Method "{request.method}" not allowed.')
        writes = method.kind == "relayed" or request.method not in SAFE
        if writes:
            _refuse_foreign_page(request)
        actor = self.admit(request) if self.admit else self.member(request)
        if method.permission:
            actor.require(method.permission)
        once = None
        key = request.headers.get(HEADER)
        if key is not None and actor.tenant_id is not None and writes:
            once = Once(actor, key, told(request, takes_file=method.takes_file))
        call = Call(request, actor, version, path, once)
        try:
            return self.handled(method, call)
        except AnsweredMeanwhile:
            # What was done here is undone; the answer is the other one's.
            return self.handled(method, call)

    def handled(self, method: Method, call: Call) -> Answer | Response:
        """Return what the handler says, inside its door, or what it said to the same request.

        Raises LegacyError or DomainError.
        """
        once = call.once
        if method.streams:
            if once is not None:
                with acting_as(call.actor, read_only=True):
                    kept = once.answered()
                if kept is not None:
                    return Answer(status=kept.status, raw=kept.text)
            answer = method.handle(call)
            if once is not None and not once.is_kept and isinstance(answer, Answer):
                with acting_as(call.actor):
                    call.settle(answer)
            return answer
        # What is relayed to players is written down, by GET too.
        writes = method.kind == "relayed" or call.request.method not in SAFE
        with acting_as(call.actor, read_only=not writes and once is None):
            if once is not None:
                kept = once.answered()
                if kept is not None:
                    return Answer(status=kept.status, raw=kept.text)
            answer = method.handle(call)
            return call.settle(answer) if isinstance(answer, Answer) else answer

    def member(self, request: SignateRequest) -> Actor:
        """Return who asks, in the tenant they entered; raises NotSignedIn, LegacyError."""
        actor = request.actor
        if not actor.is_signed_in:
            raise NotSignedIn(NOT_SIGNED_IN)
        actor.entered()
        if request.credential == "session" and request.method not in SAFE:
            reason = csrf_refusal(_without_body(request))
            if reason is not None:
                raise detail(403, f"CSRF Failed: {reason}")
        return actor

    def render(self, answer: Answer, kind: str) -> HttpResponse:
        """Return an answer as JSON, or as a page around it for a browser."""
        if answer.raw is not None:
            text = answer.raw
        elif answer.body is None:
            # Old clients choke on an empty body that says it is JSON.
            response = HttpResponse(status=answer.status, headers=dict(answer.headers))
            del response["Content-Type"]
            return response
        else:
            text = _printed(answer.body)
        content_type = JSON
        if kind == HTML:
            content_type = f"{HTML}; charset=utf-8"
            text = (
                f"<!doctype html><html lang=en><title>{escape(self.name)}</title>"
                f"<h1>{escape(self.name)}</h1><pre>{escape(text)}</pre></html>"
            )
        return HttpResponse(
            text.encode(),
            status=answer.status,
            content_type=content_type,
            headers=dict(answer.headers),
        )
