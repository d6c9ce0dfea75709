"""Serves sockets and nothing else: project.application on the `websockets` library.

Called by `manage.py sockets`. granian needs 150 KB for each open WebSocket, four times what all of
ours takes (docs/decisions/sockets.md); it also takes frames of 16 MB before anybody can refuse
them. Here a frame that is too large ends its connection when its length is known, and whoever is
gone without a word is noticed by pings.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import signal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from assets.legacy.socket import MAX_MESSAGE
from tenancy.sockets import RESTARTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request
    from websockets.typing import Subprotocol

    from project.application import Sockets

logger = logging.getLogger("signate.sockets")

# Headers that are of no use once it is open.
_HANDSHAKE = frozenset(
    {
        "connection",
        "upgrade",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
    }
)
OPEN_SECONDS = 10.0
PING_SECONDS = 20.0
# Messages that wait in a connection for a socket that is busy; those behind them wait with the
# client.
MOST_QUEUED = 2


class _Line:
    """One connection, as ASGI has it."""

    __slots__ = (
        "_has_connected",
        "_response",
        "answer",
        "connection",
        "is_open",
        "subprotocol",
        "task",
    )

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.subprotocol: str | None = None
        # What the application says to the handshake: the response, or None to open it.
        self.answer: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
        self.is_open = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._has_connected = False
        self._response: tuple[int, Any] = (500, ())

    async def receive(self) -> Mapping[str, Any]:
        """Return what the other side does next."""
        if not self._has_connected:
            self._has_connected = True
            return {"type": "websocket.connect"}
        try:
            message = await self.connection.recv()
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            return {"type": "websocket.disconnect", "code": code}
        key = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", key: message}

    async def send(self, message: dict[str, Any]) -> None:
        """Do what the application says; nothing when the other side is gone."""
        match message["type"]:
            case "websocket.accept":
                self.subprotocol = message.get("subprotocol")
                self._answer(None)
                await asyncio.wait_for(self.is_open.wait(), OPEN_SECONDS)
            case "websocket.http.response.start":
                self._response = (message["status"], message["headers"])
            case "websocket.http.response.body":
                self._answer(_response(*self._response, message["body"]))
            case "websocket.send":
                with contextlib.suppress(ConnectionClosed):
                    await self.connection.send(message["text"])
            case "websocket.close":
                await self.connection.close(message["code"], message.get("reason", ""))

    def _answer(self, response: Response | None) -> None:
        if not self.answer.done():
            self.answer.set_result(response)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Notice the end of the application's part."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a socket failed", exc_info=error)
        self._answer(_response(500, (), b""))


def _response(status: int, headers: Any, body: bytes) -> Response:
    sent = Headers(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if name.lower() not in {b"content-length", b"connection"}
    )
    sent["Content-Length"] = str(len(body))
    sent["Connection"] = "close"
    return Response(status, http.HTTPStatus(status).phrase, sent, body)


def _scope(connection: ServerConnection, request: Request) -> dict[str, Any]:
    path, _, query = request.path.partition("?")
    offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol"))
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in request.headers.raw_items()
            if name.lower() not in _HANDSHAKE
        ],
        "client": connection.remote_address,
        "server": connection.local_address,
        "subprotocols": [one for part in offered.split(",") if (one := part.strip())],
        "extensions": {"websocket.http.response": {}},
    }


class Server:
    """A server of `application` on one port."""

    def __init__(self, application: Sockets) -> None:
        """Serve nothing yet."""
        self._application = application
        self._lines: dict[ServerConnection, _Line] = {}

    async def run(self, host: str, port: int) -> None:
        """Serve until SIGTERM or SIGINT; then say so to everybody and return."""
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, over.set)
        await self._application.start()
        try:
            async with serve(
                self._handle,
                host,
                port,
                process_request=self._asked,
                process_response=self._answered,
                select_subprotocol=self._subprotocol,
                # Nothing here is long, and what compresses it takes more memory than all else.
                compression=None,
                server_header=None,
                open_timeout=OPEN_SECONDS,
                ping_interval=PING_SECONDS,
                ping_timeout=PING_SECONDS,
                max_size=max(MAX_MESSAGE, settings.GRAPHQL_MAX_BODY_BYTES),
                max_queue=MOST_QUEUED,
                logger=logging.getLogger("signate.sockets.server"),
            ) as server:
                await over.wait()
                server.close(code=RESTARTING)
        finally:
            await self._application.stop()

    async def _asked(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return how a request is answered that is not to become a socket."""
        if request.path == "/healthz":
            return _response(200, [(b"content-type", b"text/plain")], b"ok\n")
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            # The library says what is missing.
            return None
        line = self._lines[connection] = _Line(connection)
        scope = _scope(connection, request)
        line.task = asyncio.create_task(self._application(scope, line.receive, line.send))
        line.task.add_done_callback(line.ended)
        response = await line.answer
        if response is not None:
            del self._lines[connection]
        return response

    def _answered(
        self, connection: ServerConnection, _request: Request, response: Response
    ) -> None:
        """Forget whoever the library did not let in, whatever the application said."""
        if response.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS:
            line = self._lines.pop(connection, None)
            if line is not None and line.task is not None:
                line.task.cancel()

    def _subprotocol(self, connection: ServerConnection, _offered: Any) -> Subprotocol | None:
        line = self._lines.get(connection)
        return line.subprotocol if line else None  # type: ignore[return-value]

    async def _handle(self, connection: ServerConnection) -> None:
        line = self._lines.pop(connection)
        assert line.task is not None  # noqa: S101 -- it is made with its task
        line.is_open.set()
        try:
            await asyncio.wait([line.task])
        finally:
            line.task.cancel()
