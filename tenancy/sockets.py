"""Open sockets: who may have one, and how it ends when they may no longer.

Called by the endpoints of WebSockets (the players' and GraphQL's). A socket is admitted by the same
middleware that judges requests, and judged again for as long as it is open. Each judgement borrows
a thread and a database connection for its moment, so that an idle socket holds neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db import InterfaceError, OperationalError, connections
from django.http import HttpResponse

from tenancy.credentials import client_address, limited_network
from tenancy.errors import DomainError, PermissionDenied, RateLimited
from tenancy.events import Event, hub_channel
from tenancy.hub import Hub
from tenancy.middleware import refusal, unavailable
from tenancy.resolution import parse_host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from typing import TypeAlias

    from tenancy.actors import Actor
    from tenancy.middleware import SignateRequest

    Scope: TypeAlias = Mapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
    Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
    Admit: TypeAlias = Callable[[SignateRequest], Actor]

logger = logging.getLogger("signate.sockets")
ResultT = TypeVar("ResultT")

THREADS = 4
# Everybody with a socket is judged again after this long, and sent away when nobody could say for
# so long whether they may stay. Together they keep the promise of 60 seconds.
JUDGED_SECONDS = 35.0
UNSURE_SECONDS = 55.0
SWEEP_SECONDS = 1.0
# Sockets from one address whose other side has not said who it is.
STRANGERS_PER_ADDRESS = 50
# How long everybody is given to hear that this process ends.
FAREWELL_SECONDS = 2.0
# A judgement is good for this long where many ask for one at once.
FRESH_SECONDS = 1.0

# RFC 6455 section 7.4.1, and the private codes of graphql-transport-ws.
TOO_BIG, FAILED, RESTARTING, TRY_LATER = 1009, 1011, 1012, 1013
BAD_REQUEST, UNAUTHORIZED, FORBIDDEN = 4400, 4401, 4403
_CODES = {400: BAD_REQUEST, 401: UNAUTHORIZED, 403: FORBIDDEN}
# Events after which a credential may be void: where they say whose, and what that is of an actor.
_ABOUT = {
    Event.DEVICES_CHANGED: ("ids", "device_id"),
    Event.MEMBERSHIPS_CHANGED: ("users", "user_id"),
    Event.TOKENS_CHANGED: ("ids", "token_id"),
}
# What a browser sends whoever wrote the page.
AMBIENT = frozenset({"session", "basic"})


class Refused(Exception):
    """A credential that gets no socket; `response` is what a request would have been answered."""

    def __init__(self, response: HttpResponse) -> None:
        """Keep the response."""
        super().__init__(response.status_code)
        self.response = response

    @property
    def code(self) -> int:
        """The close code that says the same; TRY_LATER where nothing is said of the credential."""
        return _CODES.get(self.response.status_code, TRY_LATER)


class Gone(Exception):
    """The other side has hung up, or was hung up on."""


def is_from_elsewhere(request: SignateRequest) -> bool:
    """Return whether a page of somebody else may have opened a socket with a browser's credential.

    A browser adds cookies, and passwords that it keeps, to whatever socket a page opens, and says
    whose page that is. Scripts say nothing, and have no cookies.
    """
    if request.credential not in AMBIENT:
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return request.credential == "session"
    own = f"{request.scheme}://{request.META.get('HTTP_HOST', '')}"
    return origin.lower() != own.lower()


def require_own_page(request: SignateRequest) -> None:
    """Raise PermissionDenied for a socket that a page of somebody else may have opened."""
    if is_from_elsewhere(request):
        message = "The Origin of this WebSocket is not this host."
        raise PermissionDenied(message)


class _Judge(BaseHandler):
    """The middleware that requests go through, with the admission of a socket in a view's place."""

    def _get_response(self, request: Any) -> HttpResponse:
        try:
            request.admitted = request.admit(request)
        except DomainError as error:
            return refusal(error, request)
        except (OperationalError, InterfaceError):
            return unavailable(request)
        return HttpResponse(status=101)

    def __call__(self, request: Any) -> Actor:
        """Return who asks; raises Refused."""
        response: Any = self.get_response(request)
        response.close()
        admitted: Actor | None = getattr(request, "admitted", None)
        if admitted is None:
            raise Refused(response)
        return admitted


@lru_cache(maxsize=64)
def decoded(text: str) -> Mapping[str, Any]:
    """Return an event, decoded once however many listen."""
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def _judge() -> _Judge:
    judge = _Judge()
    judge.load_middleware()
    return judge


def request_of(scope: Scope, headers: Mapping[str, str] | None = None) -> ASGIRequest:
    """Return the request that opened a socket; `headers` stand in for its own of these names."""
    given = {name.lower().encode("latin-1"): value for name, value in (headers or {}).items()}
    kept = [(name, value) for name, value in scope["headers"] if name not in given]
    added = [(name, value.encode("utf-8", "replace")) for name, value in given.items()]
    return ASGIRequest(
        {
            **scope,
            "type": "http",
            "method": "GET",
            "scheme": {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"]),
            # Bytes that are no text would fail only here.
            "query_string": scope.get("query_string", b"").decode("latin-1"),
            "headers": kept + added,
        },
        io.BytesIO(),
    )


class Admission:
    """One credential at one address, and the sockets that it has open."""

    __slots__ = (
        "_actor",
        "_admit",
        "_credential",
        "_gate",
        "_headers",
        "_judging",
        "_reviewing",
        "_scope",
        "confirmed",
        "due",
        "key",
        "sockets",
    )

    def __init__(
        self, gate: Gate, scope: Scope, headers: Mapping[str, str], admit: Admit, key: object
    ) -> None:
        """Admit nobody yet."""
        self.key = key
        self.sockets: set[Socket] = set()
        self.confirmed = 0.0
        self.due = 0.0
        self._gate = gate
        self._scope = scope
        self._headers = headers
        self._admit = admit
        self._judging: asyncio.Task[Actor] | None = None
        self._reviewing: asyncio.Future[None] | None = None
        self._actor: Actor | None = None
        self._credential = ""

    @property
    def request(self) -> SignateRequest:
        """What its sockets were opened with, for who that is by now; made anew each time.

        Keeping it would take more memory than all else that an idle socket needs.
        """
        request: Any = request_of(self._scope, self._headers)
        request.host = parse_host(
            request.META.get("HTTP_HOST", settings.PLATFORM_DOMAIN), settings.PLATFORM_DOMAIN
        )
        request.actor, request.credential = self.actor, self._credential
        request.id = uuid4().hex
        return cast("SignateRequest", request)

    @property
    def is_in_doubt(self) -> bool:
        """Whether something was said about whoever this is that nobody has judged yet."""
        return self._reviewing is not None

    def hear(self, event: Mapping[str, Any]) -> None:
        """Judge anew when an event says something about whoever this is."""
        named = _ABOUT.get(event["event"])
        if named is None:
            return
        field, whose = named
        key = getattr(self.actor, whose)
        if key is None or not (event.get("all") or str(key) in event.get(field, ())):
            return
        if self._reviewing is None:
            self._reviewing = asyncio.ensure_future(self.review(0))
            self._reviewing.add_done_callback(self._reviewed)

    def _reviewed(self, _reviewing: object) -> None:
        self._reviewing = None

    @property
    def actor(self) -> Actor:
        """Who that is, as it was last judged."""
        assert self._actor is not None  # noqa: S101 -- nobody has an admission before it is judged
        return self._actor

    async def judged(self, seconds: float | None = None) -> Actor:
        """Return who that is by a judgement no older than `seconds`, or as fresh as is usual.

        Raises Refused.
        """
        seconds = FRESH_SECONDS if seconds is None else seconds
        if self._actor is not None and time.monotonic() - self.confirmed < seconds:
            return self._actor
        if self._judging is None:
            self._judging = asyncio.create_task(self._judge())
            self._judging.add_done_callback(self._conclude)
        # One that gives up waiting does not end it for the others.
        return await asyncio.shield(self._judging)

    async def settled(self) -> Actor:
        """Return who that is after everything that is known by now; raises Refused."""
        if self._reviewing is not None:
            await asyncio.shield(self._reviewing)
        return await self.judged()

    def _conclude(self, judging: asyncio.Task[Actor]) -> None:
        self._judging = None
        if not judging.cancelled():
            judging.exception()

    async def _judge(self) -> Actor:
        # Not all of those that came at once in the same second again.
        share = random.uniform(0.8, 1.0)  # noqa: S311 -- no secret
        self.due = time.monotonic() + JUDGED_SECONDS * share
        self._actor = await self._gate.in_thread(self._ask)
        self.confirmed = time.monotonic()
        return self._actor

    def _ask(self) -> Actor:
        request: Any = request_of(self._scope, self._headers)
        request.admit = self._admit
        # Once in the log is enough.
        request.is_again = self._actor is not None
        actor = _judge()(request)
        self._credential = request.credential
        return actor

    async def review(self, seconds: float | None = None) -> None:
        """Judge anew, and hang up on every socket where that ends it.

        0 seconds where something was said after which no earlier judgement is good.
        """
        try:
            if seconds == 0 and self._judging is not None:
                with contextlib.suppress(Refused):
                    await asyncio.shield(self._judging)
            await self.judged(seconds)
        except Refused as refused:
            code = refused.code
            if code == TRY_LATER and time.monotonic() - self.confirmed < UNSURE_SECONDS:
                return
            for socket in list(self.sockets):
                socket.close(code, "This credential opens nothing any more.")


class Gate:
    """Admits sockets, and ends those of whoever may no longer have one. One for each event loop."""

    def __init__(self) -> None:
        """Nobody is here yet."""
        self.hub = Hub(settings.REDIS_URL, hub_channel())
        self._threads = ThreadPoolExecutor(THREADS, "sockets")
        self._admissions: dict[object, Admission] = {}
        self._seats: Counter[object] = Counter()
        self._strangers: Counter[str] = Counter()
        self._sockets: set[Socket] = set()
        self._sweeping: asyncio.Task[None] | None = None

    async def in_thread(self, do: Callable[[], ResultT]) -> ResultT:
        """Return what `do` gives in a thread, which has no database connection afterwards."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _alone, do)

    async def admit(
        self, scope: Scope, admit: Admit, headers: Mapping[str, str] | None = None
    ) -> Admission:
        """Return the admission of whoever opened a socket; raises Refused.

        `admit` is called with the request that the middleware has judged, now and again, and
        returns the actor or raises a DomainError; no tenant is entered yet. `headers` are what came
        later than the request's own.
        """
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep())
        added = dict(headers or {})
        wanted = {b"host", b"authorization", b"cookie", b"origin", b"x-tenant-id"}
        said = [
            (name, value)
            for name, value in scope["headers"]
            if name in wanted or name.startswith(b"x-")
        ]
        client = (scope.get("client") or ("",))[0]
        key = (admit, scope["path"], client, *sorted(said), *sorted(added.items()))
        known = self._admissions.get(key) or Admission(self, scope, added, admit, key)
        await known.judged()
        return known

    @contextlib.contextmanager
    def seat(self, admission: Admission, socket: Socket) -> Iterator[Admission]:
        """Keep a socket while it is open, under the admission that is its own from now on.

        Raises Refused when its actor has too many already.
        """
        actor = admission.actor
        whose = (actor.tenant_id, actor.user_id, actor.device_id)
        if self._seats[whose] >= settings.SOCKETS_PER_ACTOR:
            raise Refused(refusal(RateLimited(60)))
        # Somebody with the same credential may have sat down meanwhile.
        admission = self._admissions.setdefault(admission.key, admission)
        self._seats[whose] += 1
        admission.sockets.add(socket)
        try:
            yield admission
        finally:
            admission.sockets.discard(socket)
            if not admission.sockets:
                self._admissions.pop(admission.key, None)
            self._seats[whose] -= 1
            if not self._seats[whose]:
                del self._seats[whose]

    @contextlib.contextmanager
    def waiting(self, scope: Scope) -> Iterator[Callable[[], None]]:
        """Count a socket of whoever has not said yet who that is; yield what ends that.

        Raises Refused when too many from one address have not.
        """
        address = limited_network(client_address(request_of(scope)))
        if self._strangers[address] >= STRANGERS_PER_ADDRESS:
            raise Refused(refusal(RateLimited(10)))
        self._strangers[address] += 1
        left = [address]

        def known() -> None:
            for one in left:
                self._strangers[one] -= 1
                if not self._strangers[one]:
                    del self._strangers[one]
            left.clear()

        try:
            yield known
        finally:
            known()

    @contextlib.contextmanager
    def room(self, socket: Socket) -> Iterator[None]:
        """Count a socket, whoever has it; raises Refused when this process has too many."""
        if len(self._sockets) >= settings.SOCKETS:
            raise Refused(HttpResponse(status=503, headers={"Retry-After": "10"}))
        self._sockets.add(socket)
        try:
            yield
        finally:
            self._sockets.discard(socket)

    async def close(self) -> None:
        """Hang up on everybody."""
        for socket in list(self._sockets):
            socket.close(RESTARTING)
        for _ in range(round(FAREWELL_SECONDS / 0.05)):
            if not self._sockets:
                break
            await asyncio.sleep(0.05)
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
            self._sweeping = None
        await self.hub.close()
        self._threads.shutdown(wait=False)

    async def _sweep(self) -> None:
        """Judge everybody again in their turn."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            due = [one for one in self._admissions.values() if one.due <= now]
            for start in range(0, len(due), THREADS):
                # As many at once as there are threads: who knocks meanwhile waits for one of them.
                reviews = (one.review() for one in due[start : start + THREADS])
                for failure in await asyncio.gather(*reviews, return_exceptions=True):
                    if isinstance(failure, Exception):
                        logger.error("a socket could not be judged", exc_info=failure)


def _alone(do: Callable[[], ResultT]) -> ResultT:
    try:
        return do()
    finally:
        connections.close_all()


class Socket:
    """One WebSocket, as ASGI has it."""

    __slots__ = ("_ended", "_farewell", "_most", "_receive", "_send", "is_closed", "scope")

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, most: int) -> None:
        """Accept nothing yet; `most` is how many characters or bytes a message may have."""
        self.scope = scope
        self.is_closed = False
        self._receive = receive
        self._send = send
        self._most = most
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._farewell: dict[str, Any] | None = None

    async def accept(self, subprotocol: str | None = None) -> None:
        """Open it."""
        await self._receive()
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def refuse(self, response: HttpResponse) -> None:
        """Answer with `response` and open nothing."""
        self.is_closed = True
        await self._receive()
        if "websocket.http.response" not in self.scope.get("extensions", {}):
            code = Refused(response).code
            await self._send({"type": "websocket.close", "code": code})
            return
        headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in response.items()]
        status = response.status_code
        start = {"type": "websocket.http.response.start", "status": status, "headers": headers}
        await self._send(start)
        await self._send({"type": "websocket.http.response.body", "body": response.content})

    async def read(self) -> str | None:
        """Return the next message; None for one of bytes. Raises Gone.

        Hangs up on whoever sends one that is too large.
        """
        if self.is_closed:
            raise Gone
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.is_closed = True
            raise Gone
        text: str | None = message.get("text")
        if len(text if text is not None else message.get("bytes") or b"") > self._most:
            self.close(TOO_BIG, f"A message may have {self._most} characters.")
            raise Gone
        return text

    async def send(self, text: str) -> None:
        """Send a message; nothing when it is over."""
        if not self.is_closed:
            await self._send({"type": "websocket.send", "text": text})

    def close(self, code: int, reason: str = "") -> None:
        """Hang up, once: `serve` says so and returns."""
        if self.is_closed:
            return
        self.is_closed = True
        logger.info("closed a socket: %d %s", code, reason)
        self._farewell = {"type": "websocket.close", "code": code, "reason": reason}
        if not self._ended.done():
            self._ended.set_result(None)

    async def serve(self, *tasks: Awaitable[None]) -> None:
        """Return when the first of `tasks`, or the socket, has ended; none goes on after that."""
        running = [asyncio.ensure_future(task) for task in tasks]
        try:
            await asyncio.wait([*running, self._ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in running:
                task.cancel()
            ended = await asyncio.gather(*running, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, Gone):
                logger.error("a socket failed", exc_info=error)
                self.close(FAILED)
        if self._farewell is not None:
            # Only now: the server says nothing of the end while somebody waits for a message.
            await self._send(self._farewell)
