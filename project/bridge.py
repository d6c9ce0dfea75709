"""The WSGI application inside an ASGI server, so that one address serves requests and sockets.

Called by project.asgi. Requests run as they do under a WSGI server: bodies are read as the
application asks for them and answers are sent as the client takes them, so that neither is ever
whole in memory. (Django's own ASGI handler keeps whole bodies before any view sees them; a2wsgi
blocks a thread for ever when a client hangs up on an answer.)
"""

from __future__ import annotations

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
    from wsgiref.types import StartResponse, WSGIApplication

    from tenancy.sockets import Receive, Scope, Send

logger = logging.getLogger("signate.server")


class ClientGone(OSError):
    """The client hung up; Django takes it for the failed read that it is."""


class _Body:
    """A request's body as WSGI reads it, from a thread."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._kept = bytearray()

    def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, fewer at the end; all of it for -1. Raises ClientGone."""
        while size < 0 or len(self._kept) < size:
            more = self._exchange.more_body()
            if not more:
                break
            self._kept += more
        return self._take(len(self._kept) if size < 0 else size)

    def readline(self, size: int = -1, /) -> bytes:
        """Return a line, or `size` bytes of it. Raises ClientGone."""
        start = 0
        while True:
            found = self._kept.find(b"\n", start) + 1
            if found or 0 <= size <= len(self._kept):
                length = found or size
                return self._take(length if size < 0 else min(length, size))
            start = len(self._kept)
            more = self._exchange.more_body()
            if not more:
                return self._take(start)
            self._kept += more

    def readlines(self, hint: int = -1, /) -> list[bytes]:
        """Return lines until they have `hint` bytes."""
        lines: list[bytes] = []
        for line in self:
            lines.append(line)
            if 0 < hint <= sum(map(len, lines)):
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        """Return the lines one by one."""
        return iter(self.readline, b"")

    def _take(self, length: int) -> bytes:
        taken = bytes(self._kept[:length])
        del self._kept[:length]
        return taken


def environ_of(scope: Scope, body: Any) -> dict[str, Any]:
    """Return the WSGI environment (PEP 3333) of a request."""
    path, _, _ = scope["raw_path"].partition(b"?")
    server, port = scope.get("server") or ("localhost", "80")
    address, remote_port = scope.get("client") or ("", "")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": address,
        "REMOTE_PORT": str(remote_port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        # It would read the same as one with hyphens, which a proxy may vouch for.
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        if key not in {"CONTENT_LENGTH", "CONTENT_TYPE"}:
            key = f"HTTP_{key}"
        separator = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{separator}{value}" if key in environ else value
    return environ


class _Exchange:
    """One request and its answer: what the thread asks of the event loop."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._send = send
        self._start: dict[str, Any] | None = None
        self._has_more = True
        self._is_gone = False
        self._watching: asyncio.Task[None] | None = None

    def _wait(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result()

    # --- in the thread ----------------------------------------------------------------------------

    def more_body(self) -> bytes:
        """Return what comes next of the body; nothing at its end. Raises ClientGone."""
        while self._has_more:
            message = self._wait(self._next())
            if message["type"] != "http.request":
                raise ClientGone("the client hung up before its request was whole")
            if message.get("body"):
                body: bytes = message["body"]
                return body
        return b""

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        """Remember how the answer begins; it is sent with its first bytes."""
        del exc_info
        self._start = {
            "type": "http.response.start",
            "status": int(status.partition(" ")[0]),
            "headers": [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers],
        }
        return self.write

    def write(self, body: bytes, *, more: bool = True) -> None:
        """Send bytes of the answer; return when the client can take more. Raises ClientGone."""
        self._wait(self._pass_on(body, more=more))

    def run(self, application: WSGIApplication, environ: dict[str, Any]) -> None:
        """Run the application and send what it answers."""
        start: StartResponse = self.start_response
        answer: Iterable[bytes] = application(environ, start)
        try:
            if getattr(answer, "streaming", True):
                for chunk in answer:
                    if chunk:
                        self.write(chunk)
                self.write(b"", more=False)
            else:
                self.write(b"".join(answer), more=False)
        finally:
            if hasattr(answer, "close"):
                answer.close()

    # --- in the event loop ------------------------------------------------------------------------

    async def _next(self) -> Mapping[str, Any]:
        message = await self._receive()
        self._has_more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def _pass_on(self, body: bytes, *, more: bool) -> None:
        if self._start is not None:
            start, self._start = self._start, None
            await self._send(start)
            if more and not self._has_more:
                # The server takes what nobody reads any more, as if it did.
                self._watching = self._loop.create_task(self._watch())
        if self._is_gone:
            raise ClientGone("the client hung up on the answer")
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True

    def end(self) -> None:
        """Watch the client no longer."""
        if self._watching is not None:
            self._watching.cancel()

    async def skip_body(self) -> None:
        """Take the message that says that there is no body."""
        await self._next()


class Bridge:
    """An ASGI application for HTTP that runs a WSGI one in threads."""

    def __init__(self, application: WSGIApplication, threads: int) -> None:
        """Run at most `threads` requests at once; others wait for one of them."""
        self._application = application
        self._threads = ThreadPoolExecutor(threads, "requests")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = _Exchange(receive, send)
        has_body = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in scope["headers"]
        )
        if not has_body:
            await exchange.skip_body()
        environ = environ_of(scope, _Body(exchange))
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads, exchange.run, self._application, environ)
        except ClientGone as error:
            logger.info("%s", error)
        except Exception:
            # Django answers what its views raise: this is the server's own.
            logger.exception("a request failed outside of Django")
            raise
        finally:
            exchange.end()
