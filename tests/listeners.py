"""Servers on 127.0.0.1 that count who connects and answer as they are told, right or wrong.

They end with their context. `connections` is exact after it, for whoever connected is counted
before the connection that ends the listener.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from assets.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Serve: TypeAlias = Callable[[socket.socket, bytes], None]
"""Answers the request whose head it is given, on the connection it is given."""


class Listener:
    """`requests` holds the head of each request; `ended` is set when its time is over."""

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None, greeting: bytes) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.ended = threading.Event()
        self._serve = serve
        self._tls = tls
        self._greeting = greeting
        self._last: tuple[str, int] | None = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def methods(self) -> list[str]:
        return [request.split(b" ", 1)[0].decode() for request in self.requests]

    def close(self) -> None:
        self.ended.set()
        with socket.socket() as last:
            last.bind(("127.0.0.1", 0))
            self._last = last.getsockname()
            last.connect(("127.0.0.1", self.port))
            for thread in self._threads:
                thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            connection, address = self._socket.accept()
            if address == self._last:
                connection.close()
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with suppress(OSError), connection:
            connection.sendall(self._greeting)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    head += piece
                self.requests.append(head)
                self._serve(connection, head)


@contextmanager
def listening(
    serve: Serve, *, tls: ssl.SSLContext | None = None, greeting: bytes = b""
) -> Iterator[Listener]:
    """Answer each connection's request with `serve(connection, head)`, then hang up.

    `greeting` is sent unasked.
    """
    listener = Listener(serve, tls, greeting)
    try:
        yield listener
    finally:
        listener.close()


def reply(
    body: bytes = b"", *fields: str, status: str = "200 OK", length: int | None = None
) -> bytes:
    """Return an HTTP answer; without a `length` it announces the body's own."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


def always(answer: bytes) -> Serve:
    """Serve the same bytes to every request."""
    return lambda connection, _: connection.sendall(answer)


def redirect(location: str, status: str = "302 Found") -> bytes:
    """Return an answer that leads elsewhere."""
    return reply(b"", f"Location: {location}", status=status)


def only(*listeners: Listener, names: dict[str, str] | None = None, trust: str = "") -> Network:
    """Return a network in which these listeners are the only ones that may be connected to.

    Names not among `names` do not exist.
    """
    known = names or {}

    def resolve(host: str) -> list[str]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [known[host]]

    allowed = frozenset(("127.0.0.1", listener.port) for listener in listeners)
    return Network(resolve=resolve, allow=allowed, authorities=trust)


class Certified(NamedTuple):
    """A server's TLS context, and its own certificate in PEM, which is nobody's but its own."""

    context: ssl.SSLContext
    pem: str


def self_signed(folder: Path, *, name: str = "media.example.com", days: int = 1) -> Certified:
    """Make a certificate for `name` and 127.0.0.1; with negative `days` one that has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    until = datetime.now(UTC) + timedelta(days=days)
    names = [x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=10))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / f"{name}.pem"
    file.write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return Certified(context, pem.decode())
