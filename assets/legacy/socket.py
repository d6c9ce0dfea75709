"""`/ws`, as Anthias has it: lines for players, and for everybody else what its web pages listen to.

A player (by its own secret) is told what it is to do as `viewer <command>[&<parameter>]`, and to
look again at its playlist when that may have changed. A member is sent `*` after any change of the
assets (SPEC section 10). What comes from a player may be a heartbeat; everything else is ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from assets.legacy.addressing import INTERNAL_TOKEN, player
from assets.legacy.errors import LegacyError
from rls import acting_as
from tenancy.commands import RELOAD, command_text, commands_channel, put_back, take_waiting
from tenancy.credentials import client_address
from tenancy.errors import DomainError, NotSignedIn
from tenancy.events import PLAYLIST_EVENTS, Event, channel
from tenancy.heartbeats import note_seen, record_heartbeat
from tenancy.sockets import (
    TRY_LATER,
    Gone,
    Refused,
    Socket,
    decoded,
    request_of,
    require_own_page,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tenancy.actors import Actor
    from tenancy.middleware import SignateRequest
    from tenancy.sockets import Admission, Gate, Receive, Scope, Send

logger = logging.getLogger("signate.sockets")

MAX_MESSAGE = 70_000
ANYTHING = "*"
# Many changes at once are one; and a thousand players do not all ask in the same moment.
SOONEST, LATEST = 0.05, 0.4
# What may wait for a socket that is slow to take it.
MOST_PENDING = 200
# A player that says more than this often is slowed down to it.
HEARTBEAT_SECONDS = 1.0


def listener(request: SignateRequest) -> Actor:
    """Return who listens: a player as itself, or a member who may see assets.

    Raises NotSignedIn, TenantRequired, PermissionDenied.
    """
    if INTERNAL_TOKEN in request.headers:
        try:
            actor = player(request)
        except LegacyError:
            message = "This is no player's secret."
            raise NotSignedIn(message) from None
    else:
        require_own_page(request)
        actor = request.actor
    if actor.device_id is None:
        actor.require("assets.view")
    else:
        note_seen(actor=actor, address=client_address(request))
    return actor


class _Listening:
    """One open socket: what is to be sent to it, and when."""

    def __init__(self, gate: Gate, admission: Admission, socket: Socket) -> None:
        self.gate = gate
        self.admission = admission
        self.socket = socket
        self.tenant_id: UUID = admission.actor.entered()
        self.device: UUID | None = admission.actor.device_id
        self._pending: asyncio.Queue[str] = asyncio.Queue()
        self._soon: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Open the socket, and listen until it is over."""
        hub = self.gate.hub
        heard = {channel(self.tenant_id): self._changed}
        if self.device is not None:
            heard[commands_channel(self.tenant_id, self.device)] = self._told
        try:
            for name, hear in heard.items():
                await hub.listen(name, hear)
            await self._take_waiting()
            if self.device is not None:
                # What changed while it was away it was not told.
                self._changes()
            # Whoever is let in hears everything from then on.
            await self.socket.accept()
            await self.socket.serve(self._read(), self._write())
        finally:
            if self._soon is not None:
                self._soon.cancel()
            for name, hear in heard.items():
                await hub.leave(name, hear)
            await self._give_back()

    async def _take_waiting(self) -> None:
        if self.device is None:
            return
        device = self.device
        for text in await self.gate.in_thread(lambda: take_waiting(self.tenant_id, device)):
            self._put(text)

    async def _give_back(self) -> None:
        left = [self._pending.get_nowait() for _ in range(self._pending.qsize())]
        device = self.device
        if left and device is not None:
            await self.gate.in_thread(lambda: put_back(self.tenant_id, device, left))

    # --- to the other side ------------------------------------------------------------------------

    def _put(self, text: str) -> None:
        if self._pending.qsize() >= MOST_PENDING:
            self.socket.close(TRY_LATER, "This socket is too slow.")
        else:
            self._pending.put_nowait(text)

    def _later(self, doing: Any) -> None:
        task = asyncio.ensure_future(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _told(self, text: str | None) -> None:
        if text is None:
            self._later(self._take_waiting())
        elif text == command_text(RELOAD):
            self._changes()
        else:
            self._put(text)

    def _changed(self, text: str | None) -> None:
        """Hear what has changed in the tenant."""
        if text is None:
            self._changes()
            return
        event = decoded(text)
        self.admission.hear(event)
        is_another = (
            event["event"] == Event.DEVICES_CHANGED
            and self.device is not None
            and not event.get("all")
            and str(self.device) not in event["ids"]
        )
        if event["event"] in PLAYLIST_EVENTS and not is_another:
            self._changes()

    def _changes(self) -> None:
        if self._soon is None:
            loop = asyncio.get_running_loop()
            seconds = random.uniform(SOONEST, LATEST)  # noqa: S311 -- no secret
            self._soon = loop.call_later(seconds, self._say_so)

    def _say_so(self) -> None:
        self._soon = None
        self._put(ANYTHING if self.device is None else command_text(RELOAD))

    async def _write(self) -> None:
        while True:
            text = await self._pending.get()
            await self.socket.send(text)

    # --- from the other side ----------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            text = await self.socket.read()
            said = _heartbeat(text) if self.device is not None else None
            if said:
                await self.gate.in_thread(partial(self._record, said))
                await asyncio.sleep(HEARTBEAT_SECONDS)

    def _record(self, said: dict[str, Any]) -> None:
        address = client_address(request_of(self.socket.scope))
        try:
            with acting_as(self.admission.actor) as actor:
                record_heartbeat(actor=actor, address=address, values=said)
        except DomainError as error:
            logger.info("ignored what a player said: %s", error)


def _heartbeat(text: str | None) -> dict[str, Any]:
    """Return what a message says of a player; nothing for what says nothing.

    `current_asset_id` is what Anthias's viewer answers when it is asked what it shows.
    """
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(text or "")
        if isinstance(said, dict):
            if "current_asset_id" in said:
                said.setdefault("playing", said["current_asset_id"])
            return {k: v for k, v in said.items() if k in {"version", "playing", "telemetry"}}
    return {}


class LegacySocket:
    """The endpoint: an ASGI application for WebSockets at `/ws`."""

    def __init__(self, gate: Gate) -> None:
        """Admit through `gate`."""
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket until it ends."""
        socket = Socket(scope, receive, send, most=MAX_MESSAGE)
        try:
            with self.gate.room(socket):
                admission = await self.gate.admit(scope, listener)
                with self.gate.seat(admission, socket) as admission:
                    await _Listening(self.gate, admission, socket).run()
        except Refused as refused:
            await socket.refuse(refused.response)
        except Gone:
            return
