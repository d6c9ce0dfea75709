"""Turns a request into an actor, before any view, and refuses what cannot be one.

Sets `request.actor` and `request.credential`. Opens no tenant transaction: doors do. The bodies
of its refusals are fixed by MISSION T5.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse

from tenancy.actors import ANONYMOUS, Actor, capability, device, member, person
from tenancy.capabilities import find_capability, split_path
from tenancy.credentials import (
    Identity,
    MembershipState,
    basic_identity,
    basic_parts,
    client_address,
    require_second_factor,
)
from tenancy.devices import find_device
from tenancy.entrances import ENTRANCE, Entrance
from tenancy.errors import (
    DomainError,
    ErrorCode,
    NotSignedIn,
    RateLimited,
    SecondFactorRequired,
    TenantRefused,
    TenantRequired,
)
from tenancy.keys import Key, KeyKind, read_key
from tenancy.logs import logged_path, request_id, tenant_label
from tenancy.resolution import Host, MalformedHost, choose, parse_host
from tenancy.sessions import session_identity
from tenancy.tokens import find_token, note_used
from tenancy.visits import note_visit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    GetResponse = Callable[[HttpRequest], HttpResponse]

logger = logging.getLogger("signate.request")
# Pages about people themselves. They work on every host: whoever is on one that they may not enter
# can still sign out, or in as somebody else, or do what would let them in.
ACCOUNT_PATHS = ("/login/", "/logout/", "/account/", "/reset/", "/sign-up/", "/invitations/")
GRAPHQL_PATH = "/graphql"
LEGACY_PATHS = "/api/"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")


class SignateRequest(HttpRequest):
    """What views see: a request that knows who asks. A type only: Django makes the object.

    `refusal` is there below LEGACY_PATHS only, when the credential or the tenant was refused.
    `confined` is why the person may do nothing but set up a second factor, on GRAPHQL_PATH only.
    """

    actor: Actor
    credential: str
    host: Host
    id: str
    session_id: UUID | None
    refusal: DomainError
    confined: SecondFactorRequired | None


def refusal(error: DomainError, request: HttpRequest | None = None) -> JsonResponse:
    """Return the response of a refusal before any view."""
    if isinstance(error, TenantRequired):
        return JsonResponse({"error": error.message, "code": error.code}, status=400)
    titles = {
        ErrorCode.TENANT_ERROR: ("Tenant access refused", 403),
        ErrorCode.UNAUTHENTICATED: ("Authentication failed", 401),
        ErrorCode.RATE_LIMITED: ("Too many attempts", 429),
        ErrorCode.FORBIDDEN: ("Forbidden", 403),
        ErrorCode.SECOND_FACTOR_REQUIRED: ("Second factor required", 403),
    }
    title, status = titles.get(error.code, ("Bad request", 400))
    response = JsonResponse(
        {"error": title, "message": error.message, "code": error.code}, status=status
    )
    if isinstance(error, NotSignedIn):
        # A browser would answer a Basic challenge to its own scripts with a dialog of its own.
        from_browser = request is not None and "Sec-Fetch-Mode" in request.headers
        response["WWW-Authenticate"] = 'Bearer realm="api"' if from_browser else 'Basic realm="api"'
    if isinstance(error, RateLimited):
        response["Retry-After"] = str(error.retry_after)
    return response


def is_link(request: HttpRequest) -> bool:
    """Return whether the address is the credential: then no other one is looked at.

    Whoever opens it may have a stale session here, or send a password that is for somebody else.
    """
    return request.path.startswith("/share/") or (
        request.path.startswith("/media/") and "signature" in request.GET
    )


def _take_capability(request: HttpRequest) -> None:
    """Take the key out of a capability address, so that no log and no view ever sees it there."""
    request.capability = ""  # type: ignore[attr-defined]
    found = split_path(request.path_info)
    if found is not None:
        request.capability, request.path_info = found  # type: ignore[attr-defined]
        request.path = request.path_info


def request_id_for(environ: Mapping[str, Any]) -> str:
    """Return the id that a request is to have: the one it brings, or a new one."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if _REQUEST_ID.match(given) else uuid4().hex


def log_answer(
    method: str,
    path: str,
    status: int,
    chosen_by: str,
    seconds: float,
    *,
    level: int = logging.INFO,
) -> None:
    """Write the line that every request has; `path` is without what opens something."""
    logger.log(
        level,
        "%s %s %s via=%s %.0fms",
        method,
        path,
        status,
        chosen_by or "-",
        seconds * 1000,
    )


class RequestLogMiddleware:
    """Gives every request an id, logs how it ended, and turns a lost database into a 503."""

    def __init__(self, get_response: GetResponse) -> None:
        """Keep the rest of the chain."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and log a line: method, path (no query, no token), status, milliseconds."""
        request.id = request_id_for(request.META)  # type: ignore[attr-defined]
        tokens = request_id.set(request.id), tenant_label.set("-")  # type: ignore[attr-defined]
        started = time.perf_counter()
        _take_capability(request)
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = request.id  # type: ignore[attr-defined]
            level = logging.WARNING if 400 <= response.status_code < 500 else logging.INFO
            if response.status_code >= 500:
                level = logging.ERROR
            if level == logging.INFO and getattr(request, "is_again", False):
                level = logging.DEBUG
            log_answer(
                str(request.method),
                logged_path(request.path),
                response.status_code,
                getattr(request, "chosen_by", ""),
                time.perf_counter() - started,
                level=level,
            )
            return response
        finally:
            request_id.reset(tokens[0])
            tenant_label.reset(tokens[1])

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 503 with Retry-After while the database cannot be reached."""
        if isinstance(error, (OperationalError, InterfaceError)):
            logger.error("the database is away: %s", type(error).__name__)
            return unavailable(request)
        return None


def unavailable(request: HttpRequest) -> HttpResponse:
    """Return the 503 of a database that cannot be reached."""
    response = JsonResponse(
        {
            "error": "Service unavailable",
            "message": "The database cannot be reached. Try again in a few seconds.",
            "code": "UNAVAILABLE",
            "request_id": getattr(request, "id", "-"),
        },
        status=503,
    )
    response["Retry-After"] = "3"
    return response


class HostMiddleware:
    """Reads the host; what is not one is refused before any query."""

    def __init__(self, get_response: GetResponse) -> None:
        """Keep the rest of the chain."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Set `request.host` or answer 400."""
        # Only HTTP/1.0 may leave the header out; an empty one is malformed.
        raw = request.META.get("HTTP_HOST", settings.PLATFORM_DOMAIN)
        try:
            request.host = parse_host(raw, settings.PLATFORM_DOMAIN)  # type: ignore[attr-defined]
        except MalformedHost:
            logger.warning("refused: malformed host")
            return JsonResponse(
                {
                    "error": "Malformed host",
                    "message": "The Host header is not a host name.",
                    "code": "INVALID",
                },
                status=400,
            )
        return self.get_response(request)


def _authorization(request: HttpRequest) -> tuple[str, tuple[str, str]]:
    """Return the scheme of the Authorization header, and username and secret under it.

    A Bearer has no username. Raises NotSignedIn for a Basic that is none.
    """
    header = request.headers.get("Authorization", "")
    scheme, rest = [*header.split(maxsplit=1), "", ""][:2]
    match scheme.lower():
        case "basic":
            return "basic", basic_parts(header)
        case "bearer":
            return "bearer", ("", rest.strip())
        case _:
            return "", ("", "")


def _remember(request: Any, identity: Identity | None) -> None:
    """Leave word of who was let in by a Basic credential or an API token."""
    token = getattr(request, "token", None)
    standing = token.standing if token else identity.standing if identity else None
    if standing is not None and request.confined is None:
        request.META[ENTRANCE] = Entrance(
            request.actor, request.credential, getattr(request, "chosen_by", ""), standing
        )


class ActorMiddleware:
    """Credentials, then tenant: sets `request.actor`, or refuses."""

    def __init__(self, get_response: GetResponse) -> None:
        """Keep the rest of the chain."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Resolve who asks for which tenant; answer 401, 403, 429 or 503 when that fails.

        Below LEGACY_PATHS a refusal is left to the endpoint.
        """
        request.actor, request.credential = ANONYMOUS, ""  # type: ignore[attr-defined]
        request.session_id, request.confined = None, None  # type: ignore[attr-defined]
        if is_link(request):
            return self.get_response(request)
        identity = None
        try:
            scheme, words = _authorization(request)
            key = read_key(words[1])
            if request.capability:  # type: ignore[attr-defined]
                request.actor = self._capability(request)  # type: ignore[attr-defined]
                request.credential = "capability"  # type: ignore[attr-defined]
            elif key is not None and key.kind is not KeyKind.CAPABILITY:
                enter = self._device if key.kind is KeyKind.DEVICE else self._token
                request.actor = enter(request, scheme, words[0], key)  # type: ignore[attr-defined]
                request.credential = key.kind.name.lower()  # type: ignore[attr-defined]
            else:
                identity, request.credential = self._identity(request, scheme, words)  # type: ignore[attr-defined]
            if identity is not None:
                request.actor = self._actor(request, identity)  # type: ignore[attr-defined]
            if request.actor.is_signed_in:  # type: ignore[attr-defined]
                request.actor = request.actor.seen(  # type: ignore[attr-defined]
                    credential="" if identity is None else request.credential,  # type: ignore[attr-defined]
                    address=client_address(request),
                )
                _remember(request, identity)
        except DomainError as error:
            logger.warning(
                "refused: %s user=%s host=%s asked=%.80r",
                error.code,
                identity.user_id if identity else "-",
                request.host.name,  # type: ignore[attr-defined]
                request.headers.get("X-Tenant-ID", ""),
            )
            if request.path.startswith(LEGACY_PATHS):
                # Its endpoints refuse in words of their own, and say which methods they have.
                request.actor, request.credential = ANONYMOUS, ""  # type: ignore[attr-defined]
                request.refusal = error  # type: ignore[attr-defined]
                return self.get_response(request)
            return refusal(error, request)
        except (OperationalError, InterfaceError) as error:
            logger.error("the database is away: %s", type(error).__name__)  # noqa: TRY400 -- expected
            return unavailable(request)
        response = self.get_response(request)
        note_used(getattr(request, "token", None))
        note_visit(request.actor)  # type: ignore[attr-defined]
        return response

    def _identity(
        self, request: HttpRequest, scheme: str, words: tuple[str, str]
    ) -> tuple[Identity | None, str]:
        if scheme == "basic":
            return basic_identity(*words, client_address(request)), "basic"
        identity = session_identity(request)
        if identity is None:
            return None, ""
        request.session_id = identity.session_id  # type: ignore[attr-defined]
        return identity, "session"

    def _device(self, request: Any, scheme: str, username: str, key: Key) -> Actor:
        del scheme
        found = find_device(key)
        # As Basic it comes with the device's id, as Bearer alone.
        if found is None or username not in {"", str(found.id)}:
            message = "Invalid username/password."
            raise NotSignedIn(message)
        membership, request.chosen_by = self._chosen(request, (found,))
        if membership is None:
            raise TenantRefused
        tenant_label.set(str(membership.tenant_id))
        return device(membership.id, membership.tenant_id)

    def _token(self, request: Any, scheme: str, username: str, key: Key) -> Actor:
        del username
        # As a password it would get into the places where people keep passwords.
        found = find_token(key) if scheme == "bearer" else None
        if found is None:
            message = "This API token opens nothing: it is wrong, expired or revoked."
            raise NotSignedIn(message)
        membership, request.chosen_by = self._chosen(request, (found.membership,))
        if membership is None:
            raise TenantRefused
        require_second_factor(membership, "token")
        tenant_label.set(str(membership.tenant_id))
        request.token = found
        return found.actor()

    def _capability(self, request: Any) -> Actor:
        key = read_key(request.capability)
        found = find_capability(key) if key and key.kind is KeyKind.CAPABILITY else None
        if found is None:
            message = "This address opens nothing."
            raise NotSignedIn(message)
        membership, request.chosen_by = self._chosen(request, (found,))
        if membership is None:
            raise TenantRefused
        tenant_label.set(str(membership.tenant_id))
        return capability(membership.id, membership.tenant_id, membership.permissions)

    def _chosen(
        self, request: Any, memberships: Sequence[MembershipState]
    ) -> tuple[MembershipState | None, str]:
        return choose(
            request.host,
            memberships,
            header=request.headers.get("X-Tenant-ID", ""),
            parameter=request.GET.get("tenant", "") if settings.DEBUG else "",
        )

    def _actor(self, request: Any, identity: Identity) -> Actor:
        try:
            membership, chosen_by = self._chosen(request, identity.memberships)
        except TenantRefused:
            if request.path.startswith(ACCOUNT_PATHS):
                return person(identity.user_id)
            raise
        if membership is None:
            return person(identity.user_id)
        try:
            require_second_factor(membership, request.credential)
        except SecondFactorRequired as error:
            if request.path.startswith(ACCOUNT_PATHS):
                return person(identity.user_id)
            if error.may_enrol and request.path == GRAPHQL_PATH:
                request.confined = error
                return person(identity.user_id)
            raise
        request.chosen_by = chosen_by
        tenant_label.set(str(membership.tenant_id))
        return member(identity.user_id, membership)
