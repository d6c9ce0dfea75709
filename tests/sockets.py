"""WebSockets from the client's side, without a server between: an ASGI application and a line to it.

Tests write a scene as a coroutine and `play` it. What touches the database runs in a thread
(`act`), as it does behind the application.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections

from project.application import Sockets
from tests.conftest import PLATFORM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

ResultT = TypeVar("ResultT")
# Longer than anything takes here; what is told does not come later than that.
PATIENCE = 10
# What is not told would have come within this time.
SILENCE = 0.6


class Refusal(Exception):
    """A handshake that was answered otherwise."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(f"{status} {body!r}")
        self.status = status
        self.headers = headers
        self.body = body


class Ended(Exception):
    """A socket that the server has closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


async def act(do: Callable[[], ResultT]) -> ResultT:
    """Return what `do` gives, done in a thread and committed."""

    def alone() -> ResultT:
        try:
            return do()
        finally:
            connections.close_all()

    return await asyncio.to_thread(alone)


class Line:
    """One WebSocket."""

    def __init__(self, subprotocol: str | None = None) -> None:
        self.subprotocol = subprotocol
        self.to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.from_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task: asyncio.Task[None]

    def say(self, text: str) -> None:
        self.to_server.put_nowait({"type": "websocket.receive", "text": text})

    def say_bytes(self, data: bytes) -> None:
        self.to_server.put_nowait({"type": "websocket.receive", "bytes": data})

    def hang_up(self) -> None:
        self.to_server.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def hear(self) -> str:
        """Return the next message; raises Ended."""
        message = await asyncio.wait_for(self.from_server.get(), PATIENCE)
        if message["type"] == "websocket.close":
            raise Ended(message["code"], message.get("reason", ""))
        text: str = message["text"]
        return text

    async def end(self) -> Ended:
        """Return how the server ends it, whatever it says before."""
        while True:
            try:
                await self.hear()
            except Ended as ended:
                await asyncio.wait_for(self.task, PATIENCE)
                return ended

    async def silence(self) -> None:
        """Fail when anything is said for a while."""
        await asyncio.sleep(SILENCE)
        assert self.from_server.empty(), self.from_server.get_nowait()


class House:
    """An application that serves, and the lines to it."""

    def __init__(self, application: Sockets) -> None:
        self.application = application

    @asynccontextmanager
    async def open(
        self,
        slug: str = "acme",
        path: str = "/ws",
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        host: str = "",
        scheme: str = "ws",
    ) -> AsyncIterator[Line]:
        """Yield an open line to a tenant's host; raises Refusal."""
        sent = {"host": host or f"{slug}.{PLATFORM}", **(headers or {})}
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": scheme,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(k.lower().encode("latin-1"), v.encode()) for k, v in sent.items()],
            "client": ("192.0.2.7", 40000),
            "server": ("192.0.2.1", 80),
            "subprotocols": list(subprotocols),
            "extensions": {"websocket.http.response": {}},
        }
        line = Line()

        async def send(message: dict[str, Any]) -> None:
            line.from_server.put_nowait(message)

        line.to_server.put_nowait({"type": "websocket.connect"})
        line.task = asyncio.create_task(self.application(scope, line.to_server.get, send))
        try:
            first = await asyncio.wait_for(line.from_server.get(), PATIENCE)
            if first["type"] == "websocket.http.response.start":
                body = await asyncio.wait_for(line.from_server.get(), PATIENCE)
                headers = {k.decode(): v.decode() for k, v in first["headers"]}
                raise Refusal(first["status"], headers, body["body"])
            assert first["type"] == "websocket.accept", first
            line.subprotocol = first["subprotocol"]
            yield line
        finally:
            line.hang_up()
            await asyncio.wait_for(line.task, PATIENCE)

    async def refusal(self, *args: Any, **kwargs: Any) -> Refusal:
        """Return how a handshake is refused; fails when it is not."""
        try:
            async with self.open(*args, **kwargs):
                pass
        except Refusal as refusal:
            return refusal
        message = "the socket was opened"
        raise AssertionError(message)


def play(scene: Callable[[House], Coroutine[Any, Any, ResultT]]) -> ResultT:
    """Run a scene in front of an application that is up, and return what it returns."""

    async def whole() -> ResultT:
        sockets = Sockets()
        await sockets.start()
        try:
            return await scene(House(sockets))
        finally:
            await asyncio.wait_for(sockets.stop(), PATIENCE)

    return asyncio.run(whole())
