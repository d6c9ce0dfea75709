"""graphql-transport-ws at `/graphql`: subscriptions, and queries for clients that send them so.

As its PROTOCOL.md says (enisdenjo/graphql-ws), on tenancy.sockets. One coroutine reads; each
operation has a task of its own, which waits in the event loop and works in a thread (graph.live).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import Counter
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from django.conf import settings

from graph.limits import owner_of
from graph.live import Away, Failed, Subscribed, begin, failed
from graph.requests import BadRequest, json_of, parameters_of
from graph.subscriptions import MISSED, Change
from tenancy.errors import DomainError, NotSignedIn, RateLimited
from tenancy.events import channel
from tenancy.sockets import (
    BAD_REQUEST,
    TRY_LATER,
    UNAUTHORIZED,
    Gone,
    Refused,
    Socket,
    decoded,
    require_own_page,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from graph.requests import Parameters
    from tenancy.actors import Actor
    from tenancy.middleware import SignateRequest
    from tenancy.sockets import Admission, Gate, Receive, Scope, Send

logger = logging.getLogger("signate.graphql")

PROTOCOL = "graphql-transport-ws"
WRONG_PROTOCOL, TIMED_OUT, ALREADY_EXISTS, TOO_MANY = 4406, 4408, 4409, 4429
INIT_SECONDS = 10.0
# The other side is asked whether it is there, and has answered three times or is gone.
PING_SECONDS = 25.0
# What a subscription is told together when it takes its messages slowly; of more it is told "all".
MOST_PENDING = 50
# Until the database or the budget is asked again.
RETRY_SECONDS = 1.0
LONGEST_ID = 128


def by_handshake(request: SignateRequest) -> Actor:
    """Return who opened a socket with the credential of its request; raises DomainError."""
    require_own_page(request)
    return by_parameters(request)


def by_parameters(request: SignateRequest) -> Actor:
    """Return whose credential came in connection_init: a page's own doing, whoever's page it is.

    Raises NotSignedIn, and SecondFactorRequired for who has to set one up first.
    """
    if not request.actor.is_signed_in:
        message = "Sign in to use GraphQL."
        raise NotSignedIn(message)
    if request.confined is not None:
        # A second factor is set up over HTTP.
        raise request.confined
    return request.actor


def credential_of(payload: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that connection_init brings; raises BadRequest.

    With a credential of its own nothing counts that a browser added by itself.
    """
    given = {}
    for name, value in payload.items():
        if name.lower() in {"authorization", "x-tenant-id"}:
            if not isinstance(value, str) or len(value) > 4_000:
                raise BadRequest(f"{name} must be a string.")
            given[name.lower()] = value
    if "authorization" in given:
        given |= {"cookie": "", "x-anthias-internal-token": ""}
    return given


@lru_cache(maxsize=64)
def _change_of(text: str) -> Change:
    return Change.of(decoded(text))


class _Operation:
    """One operation of a socket: what it is still to be told, and the task that tells it."""

    __slots__ = ("id", "pending", "subscribed", "task", "wake")

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.subscribed: Subscribed | None = None
        self.pending: dict[object, Change] = {}
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def add(self, change: Change) -> None:
        """Have a change told, together with what it belongs to."""
        assert self.subscribed is not None  # noqa: S101 -- others are told nothing
        apart = self.subscribed.feed.apart
        key = (change.kind, change.ids if apart else None)
        known = self.pending.get(key)
        self.pending[key] = change if known is None or apart else known.and_(change)
        if change.kind is None or len(self.pending) > MOST_PENDING:
            self.pending = {None: MISSED}
        self.wake.set()


class _Session:
    """One open socket."""

    __slots__ = (
        "_channel",
        "_seat",
        "_tasks",
        "_timer",
        "admission",
        "endpoint",
        "gate",
        "has_begun",
        "heard",
        "known",
        "operations",
        "scope",
        "socket",
    )

    def __init__(self, endpoint: GraphSocket, socket: Socket, scope: Scope, known: Any) -> None:
        self.endpoint = endpoint
        self.gate = endpoint.gate
        self.socket = socket
        self.scope = scope
        self.known = known
        self.operations: dict[str, _Operation] = {}
        self.has_begun = False
        self.admission: Admission | None = None
        self.heard = time.monotonic()
        self._seat = contextlib.ExitStack()
        self._channel = ""
        self._tasks: set[asyncio.Future[Any]] = set()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(INIT_SECONDS, self._too_late)

    async def run(self) -> None:
        """Serve until the socket is over."""
        try:
            await self.socket.serve(self._read())
        finally:
            self._timer.cancel()
            for operation in list(self.operations.values()):
                self._drop(operation)
            if self._tasks:
                await asyncio.wait(self._tasks)
            if self._channel:
                await self.gate.hub.leave(self._channel, self._hear)
            self._seat.close()

    async def _read(self) -> None:
        while not self.socket.is_closed:
            text = await self.socket.read()
            self.heard = time.monotonic()
            try:
                await self._take(text)
            except BadRequest as error:
                self.socket.close(BAD_REQUEST, error.message[:100])

    async def _take(self, text: str | None) -> None:
        """Do what a message says; raises BadRequest for one that is none."""
        if text is None:
            raise BadRequest("Messages are text.")
        message = json_of(text.encode(errors="surrogatepass"), "The message")
        if not isinstance(message, dict):
            raise BadRequest("A message is a JSON object.")
        payload = message.get("payload")
        if payload is not None and not isinstance(payload, dict):
            raise BadRequest("`payload` must be an object.")
        match message.get("type"):
            case "connection_init":
                await self._init(payload or {})
            case "ping":
                await self._say("pong")
            case "pong":
                pass
            case "subscribe":
                self._subscribe(_id(message), payload)
            case "complete":
                operation = self.operations.get(_id(message))
                if operation is not None:
                    self._drop(operation)
            case _:
                raise BadRequest("There is no message of this type.")

    async def _say(self, kind: str, **values: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **values}, separators=(",", ":")))

    def _later(self, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- who is there -----------------------------------------------------------------------------

    def _too_late(self) -> None:
        self.socket.close(TIMED_OUT, "Connection initialisation timeout")

    async def _init(self, payload: Mapping[str, Any]) -> None:
        if self.has_begun:
            self.socket.close(TOO_MANY, "Too many initialisation requests")
            return
        self.has_begun = True
        self._timer.cancel()
        headers = credential_of(payload)
        admit = by_parameters if "authorization" in headers else by_handshake
        try:
            admission = await self.gate.admit(self.scope, admit, headers)
            admission = self._seat.enter_context(self.gate.seat(admission, self.socket))
        except Refused as refused:
            code = refused.code
            is_unknown = code == UNAUTHORIZED
            self.socket.close(code, "Unauthorized" if is_unknown else "Not admitted")
            return
        self.admission = admission
        self.known()
        if admission.actor.tenant_id is not None:
            self._channel = channel(admission.actor.tenant_id)
            await self.gate.hub.listen(self._channel, self._hear)
        await self._say("connection_ack")
        self._beat()

    def _beat(self) -> None:
        """Ask whether the other side is there, for as long as it is."""
        if time.monotonic() - self.heard > 3 * PING_SECONDS:
            self.socket.close(TIMED_OUT, "Nothing was heard")
            return
        if self.heard < time.monotonic() - PING_SECONDS / 2:
            self._later(self._say("ping"))
        self._timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._beat)

    def _hear(self, text: str | None) -> None:
        """Hear what has changed in the tenant."""
        admission = self.admission
        assert admission is not None  # noqa: S101 -- nobody listens before
        if text is not None:
            admission.hear(decoded(text))
        change = MISSED if text is None else _change_of(text)
        for operation in self.operations.values():
            subscribed = operation.subscribed
            if subscribed is None:
                continue
            feed = subscribed.feed
            if change.kind is None or (
                change.kind in feed.events and feed.concerns(admission.actor, change)
            ):
                operation.add(change)

    # --- operations -------------------------------------------------------------------------------

    def _subscribe(self, id_: str, payload: dict[str, Any] | None) -> None:
        if self.admission is None:
            self.socket.close(UNAUTHORIZED, "Unauthorized")
            return
        if payload is None:
            raise BadRequest("`payload` must be an object.")
        asked = parameters_of(payload)
        if id_ in self.operations:
            self.socket.close(ALREADY_EXISTS, f"Subscriber for {id_[:50]} already exists")
            return
        owner = owner_of(self.admission.actor)
        if (
            len(self.operations) >= settings.GRAPHQL_SUBSCRIPTIONS_PER_SOCKET
            or self.endpoint.counts[owner] >= settings.GRAPHQL_SUBSCRIPTIONS_PER_ACTOR
        ):
            self.socket.close(TOO_MANY, "Too many subscriptions")
            return
        self.endpoint.counts[owner] += 1
        operation = self.operations[id_] = _Operation(id_)
        operation.task = self._later(self._run(self.admission, operation, asked))
        operation.task.add_done_callback(partial(self._forget, operation, owner))

    def _forget(self, operation: _Operation, owner: str, task: asyncio.Task[None]) -> None:
        self.endpoint.counts[owner] -= 1
        if not self.endpoint.counts[owner]:
            del self.endpoint.counts[owner]
        if self.operations.get(operation.id) is operation:
            del self.operations[operation.id]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("an operation failed", exc_info=error)

    def _drop(self, operation: _Operation) -> None:
        """End an operation; its id is free again."""
        del self.operations[operation.id]
        assert operation.task is not None  # noqa: S101 -- it is made with its task
        operation.task.cancel()

    async def _run(self, admission: Admission, operation: _Operation, asked: Parameters) -> None:
        """Answer an operation, or tell it what happens until it is dropped."""
        try:
            if not await self._admitted(admission):
                return
            doing = partial(begin, admission.request, asked)
            found = await self.gate.in_thread(doing)
            if isinstance(found, dict):
                await self._say("next", id=operation.id, payload=found)
                self._end(operation)
                await self._say("complete", id=operation.id)
                return
            operation.subscribed = found
            while True:
                await operation.wake.wait()
                operation.wake.clear()
                while operation.pending:
                    await self._tell(admission, operation, found)
        except Failed as error:
            self._end(operation)
            await self._say("error", id=operation.id, payload=error.errors)
        except Away:
            self._end(operation)
            away = failed("The database cannot be reached. Try again.", "UNAVAILABLE")
            await self._say("error", id=operation.id, payload=away.errors)
        except Gone:
            return

    def _end(self, operation: _Operation) -> None:
        """Let the id be used again, by whoever reads the last message."""
        if self.operations.get(operation.id) is operation:
            del self.operations[operation.id]

    async def _admitted(self, admission: Admission) -> bool:
        """Return whether somebody may still have this socket; hang up on them when not."""
        while True:
            try:
                await admission.settled()
            except Refused as refused:
                if refused.code == TRY_LATER:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                self.socket.close(refused.code, "This credential opens nothing any more.")
                return False
            return True

    async def _tell(
        self, admission: Admission, operation: _Operation, subscribed: Subscribed
    ) -> None:
        """Tell one thing of what is pending; raises Failed for whoever may not hear it."""
        # Ids alone tell nothing to whoever was somebody a moment ago, and what ends a credential
        # is heard of at once; what is read, is read by somebody who is judged for it.
        is_to_be_judged = subscribed.reads or admission.is_in_doubt
        if is_to_be_judged and not await self._admitted(admission):
            raise Gone
        change = operation.pending.pop(next(iter(operation.pending)))
        doing = partial(subscribed.tell, admission.request, change)
        try:
            body = await self.gate.in_thread(doing) if subscribed.reads else doing()
        except RateLimited as error:
            operation.add(change)
            await asyncio.sleep(error.retry_after)
        except Away:
            operation.add(change)
            await asyncio.sleep(RETRY_SECONDS)
        except DomainError as error:
            raise failed(error.message, error.code) from error
        else:
            await self._say("next", id=operation.id, payload=body)


def _id(message: Mapping[str, Any]) -> str:
    """Return the id of a message; raises BadRequest."""
    found = message.get("id")
    if not isinstance(found, str) or not 0 < len(found) <= LONGEST_ID:
        raise BadRequest(f"`id` must be a string of 1 to {LONGEST_ID} characters.")
    return found


class GraphSocket:
    """The endpoint: an ASGI application for WebSockets at `/graphql`."""

    def __init__(self, gate: Gate) -> None:
        """Admit through `gate`."""
        self.gate = gate
        # Operations that are under way, by whose they are.
        self.counts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket until it ends."""
        socket = Socket(scope, receive, send, most=settings.GRAPHQL_MAX_BODY_BYTES)
        try:
            with self.gate.room(socket), self.gate.waiting(scope) as known:
                if PROTOCOL not in scope["subprotocols"]:
                    await socket.accept()
                    socket.close(WRONG_PROTOCOL, f"Use the subprotocol {PROTOCOL}.")
                    await socket.serve()
                    return
                await socket.accept(PROTOCOL)
                await _Session(self, socket, scope, known).run()
        except Refused as refused:
            await socket.refuse(refused.response)
        except Gone:
            return
