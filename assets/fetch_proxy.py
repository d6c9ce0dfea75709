"""A proxy for a child process that fetches by itself (yt-dlp), so that it cannot reach inwards.

Made by the worker for one download and gone with it. Every connection that the child asks for is
judged and pinned as our own are; who has not the credential in `url` is not served.
"""

from __future__ import annotations

import base64
import hmac
import io
import secrets
import selectors
import socket
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from assets.addresses import parse_address, parse_authority
from assets.fetch_errors import CannotFetch, FetchFailed, UnsafeAddress, too_large
from assets.http_messages import MAX_HEAD, read_head
from assets.network import INTERNET, Deadline, Network, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from assets.http_messages import Head

MAX_CONNECTIONS = 32
CONNECT_SECONDS = 15.0

_PIECE = 64 * 1024
_POLL_SECONDS = 0.2
_HOP_BY_HOP = frozenset({"connection", "host", "keep-alive", "te", "trailer", "upgrade"})


class FetchProxy:
    """A context: `with FetchProxy(max_bytes=…, timeout=…) as proxy`, then `--proxy proxy.url`.

    Serves CONNECT and absolute http:// addresses on 127.0.0.1. `max_bytes` counts every byte of
    every connection in both directions; beyond it, or after `timeout` seconds, all connections
    end. `failure` then says so, or else what was refused first, for the child itself only knows
    that something did not work.

    The child needs an environment of its own: a NO_PROXY in it would lead it around this.
    """

    def __init__(self, *, max_bytes: int, timeout: float, network: Network = INTERNET) -> None:
        """Begin to count the time; nothing listens before the context is entered."""
        self.failure = ""
        self._left = max_bytes
        self._too_large = too_large(max_bytes)
        self._deadline = Deadline(timeout, "The download did not end within {seconds} seconds.")
        self._network = network
        self._credential = f"signate:{secrets.token_urlsafe(32)}"
        self._port = 0
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)

    @property
    def url(self) -> str:
        """The address of this proxy with the credential in it, which is a secret."""
        return f"http://{self._credential}@127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0))
        self._port = listener.getsockname()[1]
        self._start(self._accept, listener)
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()
        # One in the middle of a look-up cannot be woken; it ends by itself, and opens nothing.
        for thread in self._threads:
            thread.join(timeout=1)

    def _start(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(connection,), name="fetch-proxy", daemon=True)
        self._threads = [*(old for old in self._threads if old.is_alive()), thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with closing(listener):
            listener.settimeout(_POLL_SECONDS)
            while not self._is_over.is_set():
                try:
                    self._remaining()
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                except FetchFailed:
                    return
                except OSError as error:
                    self._end(f"The proxy could not go on: {error.strerror}.")
                    return
                if self._slots.acquire(blocking=False):
                    self._start(self._serve, connection)
                else:
                    connection.close()

    def _serve(self, client: socket.socket) -> None:
        """Serve one connection; whatever goes wrong with it ends it and nothing else."""
        try:
            with suppress(CannotFetch, OSError), self._kept(client):
                self._answer(client)
        finally:
            self._slots.release()

    def _answer(self, client: socket.socket) -> None:
        head, rest = _read_request(client, self._soon())
        client.settimeout(CONNECT_SECONDS)
        if not self._is_ours(head):
            _refuse(client, "407 Proxy Authentication Required", "This proxy is not for you.")
            return
        try:
            host, port, first = _destination(head)
            upstream = connect(host, port, network=self._network, deadline=self._soon())
        except CannotFetch as error:
            self.failure = self.failure or error.reason
            is_refused = isinstance(error, UnsafeAddress)
            _refuse(client, "403 Forbidden" if is_refused else "502 Bad Gateway", error.reason)
            return
        with self._kept(upstream):
            if first:
                self._pass_on(first, upstream)
            else:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._pass_on(rest, upstream)
            self._relay(client, upstream)

    def _relay(self, client: socket.socket, upstream: socket.socket) -> None:
        """Pass bytes on in both directions until the server has no more."""
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, upstream)
            selector.register(upstream, selectors.EVENT_READ, client)
            while not self._is_over.is_set():
                for key, _ in selector.select(_POLL_SECONDS):
                    sink: socket.socket = key.data
                    source = client if sink is upstream else upstream
                    piece = source.recv(_PIECE)
                    self._pass_on(piece, sink)
                    if not piece and source is upstream:
                        return
                    if not piece:
                        selector.unregister(client)
                        upstream.shutdown(socket.SHUT_WR)

    def _pass_on(self, piece: bytes, sink: socket.socket) -> None:
        with self._lock:
            self._left -= len(piece)
            is_too_much = self._left < 0
        if is_too_much:
            self._end(self._too_large.reason)
            raise self._too_large
        sink.settimeout(self._remaining())
        sink.sendall(piece)

    def _is_ours(self, head: Head) -> bool:
        expected = b"Basic " + base64.b64encode(self._credential.encode())
        return hmac.compare_digest(head.get("proxy-authorization").encode("latin-1"), expected)

    def _soon(self) -> Deadline:
        return Deadline(min(CONNECT_SECONDS, self._remaining()))

    def _remaining(self) -> float:
        """Return the seconds that are left; without any, end everything and raise FetchFailed."""
        try:
            return self._deadline.remaining()
        except FetchFailed as error:
            self._end(error.reason)
            raise

    @contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[None]:
        """Hold a connection where `_hang_up` finds it, and close it after use."""
        with closing(connection):
            with self._lock:
                self._connections.add(connection)
            try:
                if self._is_over.is_set():
                    raise FetchFailed("The proxy is gone.")
                yield
            finally:
                with self._lock:
                    self._connections.discard(connection)

    def _end(self, reason: str) -> None:
        self.failure = reason
        self._hang_up()

    def _hang_up(self) -> None:
        """End every connection, whichever thread is waiting on it."""
        self._is_over.set()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _read_request(client: socket.socket, deadline: Deadline) -> tuple[Head, bytes]:
    """Return the head of a request, and what came after it already."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < MAX_HEAD:
        client.settimeout(deadline.remaining())
        piece = client.recv(_PIECE)
        if not piece:
            break
        data += piece
    head, end, rest = data.partition(b"\r\n\r\n")
    return read_head(io.BytesIO(head + end)), rest


def _destination(head: Head) -> tuple[str, int, bytes]:
    """Return where a request goes and with which bytes it begins there: none for a tunnel."""
    method, _, rest = head.start.decode("latin-1").partition(" ")
    target = rest.partition(" ")[0]
    if method == "CONNECT":
        return *parse_authority(target, scheme="https"), b""
    address = parse_address(target, schemes={"http"})
    lines = [f"{method} {address.target} HTTP/1.1", f"Host: {address.authority}"]
    lines += [
        f"{name}: {value}"
        for name, values in head.fields.items()
        for value in values
        if name not in _HOP_BY_HOP and not name.startswith("proxy-")
    ]
    lines += ["Connection: close", "", ""]
    return address.host, address.port, "\r\n".join(lines).encode("latin-1")


def _refuse(client: socket.socket, status: str, reason: str) -> None:
    body = reason.encode()
    lines = [
        f"HTTP/1.1 {status}",
        'Proxy-Authenticate: Basic realm="Signate"',
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
