"""What a child process may reach through its proxy."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from assets.fetch_proxy import MAX_CONNECTIONS
from assets.fetching import (
    FetchProxy,
    Network,
)
from tests.listeners import (
    Listener,
    always,
    listening,
    only,
    reply,
)
from tests.security.attempts import Attempts


def asked(proxy: FetchProxy, request: str, *, credential: str | None = None) -> bytes:
    """Return all that the proxy answers to a request, with its credential unless given another."""
    known, _, place = proxy.url.removeprefix("http://").rpartition("@")
    token = base64.b64encode((known if credential is None else credential).encode()).decode()
    field = f"Proxy-Authorization: Basic {token}\r\n" if credential != "" else ""
    with socket.socket() as connection:
        connection.settimeout(5)
        connection.connect(("127.0.0.1", int(place.rpartition(":")[2])))
        connection.sendall(f"{request} HTTP/1.1\r\n{field}\r\n".encode())
        return everything(connection)


def everything(connection: socket.socket) -> bytes:
    """Return what comes until the other end hangs up."""
    came = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            came += piece
    return came


@pytest.mark.parametrize("credential", ["", "signate:", "signate:wrong", ":", "admin:admin"])
def test_the_proxy_serves_nobody_but_the_child(credential: str) -> None:
    with listening(always(reply(b"x"))) as server:
        network = only(server)
        with FetchProxy(max_bytes=1000, timeout=5, network=network) as proxy:
            for request in (f"CONNECT 127.0.0.1:{server.port}", f"GET {server.url}/"):
                answer = asked(proxy, request, credential=credential)
                assert answer.startswith(b"HTTP/1.1 407 Proxy Authentication Required\r\n")

    assert server.connections == 0
    assert proxy.failure == ""


def test_the_credential_of_each_proxy_is_its_own() -> None:
    with FetchProxy(max_bytes=1, timeout=5) as one, FetchProxy(max_bytes=1, timeout=5) as other:
        credentials = {proxy.url.rpartition("@")[0] for proxy in (one, other)}

    assert len(credentials) == 2
    assert all(len(credential) > 50 for credential in credentials)


@pytest.mark.parametrize(
    "target",
    [
        *("127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "127.1:{port}", "0:{port}"),
        *("[::ffff:127.0.0.1]:{port}", "2130706433:{port}", "hidden.example.com:{port}"),
        *("10.0.0.1:443", "169.254.169.254:80", "redis:6379", "media.example.com:22"),
        *("a@127.0.0.1:{port}", "media.example.com@127.0.0.1:{port}", "/run/docker.sock", ""),
    ],
)
def test_the_proxy_leads_nowhere_inwards(target: str, hidden: Listener, attempts: Attempts) -> None:
    place = target.format(port=hidden.port)
    network = Network(resolve=lambda _: ["127.0.0.1"])
    with FetchProxy(max_bytes=1000, timeout=5, network=network) as proxy:
        attempts.connections.clear()
        for request in (f"CONNECT {place}", f"GET http://{place}/", f"GET {place}"):
            answer = asked(proxy, request)
            assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n"), request

        port = int(proxy.url.rpartition(":")[2])
        assert set(attempts.connections) == {("127.0.0.1", port)}
    assert proxy.failure.endswith(".")


class Tunnel:
    """A child's connection to a server, through CONNECT."""

    def __init__(self, proxy: FetchProxy, port: int) -> None:
        credential, _, place = proxy.url.removeprefix("http://").rpartition("@")
        token = base64.b64encode(credential.encode()).decode()
        self.socket = socket.create_connection(("127.0.0.1", int(place.rpartition(":")[2])))
        self.socket.settimeout(5)
        request = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nProxy-Authorization: Basic {token}\r\n\r\n"
        self.socket.sendall(request.encode())
        self.answer = self.socket.recv(65536)


@contextmanager
def tunnel(proxy: FetchProxy, port: int) -> Iterator[socket.socket]:
    """Return a connection to a server through the proxy."""
    through = Tunnel(proxy, port)
    with through.socket:
        assert through.answer == b"HTTP/1.1 200 Connection established\r\n\r\n"
        yield through.socket


REQUEST = b"GET / HTTP/1.1\r\n\r\n"


def test_the_proxy_cuts_everything_at_its_limit() -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        while True:
            connection.sendall(b"x" * 10_000)

    with listening(serve) as server:
        network = only(server)
        with FetchProxy(max_bytes=100_000, timeout=5, network=network) as proxy:
            with tunnel(proxy, server.port) as idle, tunnel(proxy, server.port) as busy:
                busy.sendall(REQUEST)
                assert len(everything(busy)) <= 100_000 - len(REQUEST)
                assert everything(idle) == b""
            # It is still listening, or it is not: nobody is served any more.
            with suppress(ConnectionError):
                assert asked(proxy, f"CONNECT 127.0.0.1:{server.port}") == b""

    assert proxy.failure == "The download is larger than 97.66 KB."
    assert server.connections == 2


def test_what_a_child_sends_counts_too() -> None:
    with (
        listening(always(b"")) as server,
        FetchProxy(max_bytes=1000, timeout=5, network=only(server)) as proxy,
        tunnel(proxy, server.port) as child,
    ):
        child.sendall(b"x" * 1001)
        assert everything(child) == b""

    assert server.requests == []
    assert proxy.failure == "The download is larger than 1000 bytes."


def test_the_proxy_ends_at_its_deadline_however_busy_the_child_is() -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        while not server.ended.wait(0.02):
            connection.sendall(b"x")

    with (
        listening(serve) as server,
        FetchProxy(max_bytes=10_000, timeout=1, network=only(server)) as proxy,
        tunnel(proxy, server.port) as child,
    ):
        child.sendall(REQUEST)
        assert 0 < len(everything(child)) < 100

    assert proxy.failure == "The download did not end within 1 seconds."


def test_the_proxy_is_gone_with_its_context() -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"begun")
        server.ended.wait(10)

    with listening(serve) as server:
        with FetchProxy(max_bytes=1000, timeout=60, network=only(server)) as proxy:
            through = Tunnel(proxy, server.port)
            through.socket.sendall(REQUEST)
            assert through.socket.recv(5) == b"begun"
        with through.socket:
            assert everything(through.socket) == b""
        with pytest.raises(ConnectionRefusedError):
            asked(proxy, f"CONNECT 127.0.0.1:{server.port}")

    assert "fetch-proxy" not in {thread.name for thread in threading.enumerate()}
    assert proxy.failure == ""


def test_a_child_that_reads_nothing_does_not_hold_the_proxy() -> None:
    is_stuck = threading.Event()

    def serve(connection: socket.socket, _: bytes) -> None:
        connection.settimeout(0.3)
        with suppress(TimeoutError):
            while True:
                connection.sendall(b"x" * 2**20)
        is_stuck.set()
        server.ended.wait(10)

    with listening(serve) as server:
        with FetchProxy(max_bytes=2**30, timeout=60, network=only(server)) as proxy:
            through = Tunnel(proxy, server.port)
            through.socket.sendall(REQUEST)
            assert is_stuck.wait(10)
        through.socket.close()

    assert "fetch-proxy" not in {thread.name for thread in threading.enumerate()}


def test_a_child_may_stop_sending_before_it_has_read() -> None:
    with (
        listening(always(reply(b"x" * 1000))) as server,
        FetchProxy(max_bytes=10_000, timeout=5, network=only(server)) as proxy,
        tunnel(proxy, server.port) as child,
    ):
        child.sendall(REQUEST)
        child.shutdown(socket.SHUT_WR)
        assert everything(child) == reply(b"x" * 1000)

    assert proxy.failure == ""


def test_the_proxy_listens_on_this_machine_only() -> None:
    with FetchProxy(max_bytes=1, timeout=5) as proxy:
        assert proxy.url.rpartition("@")[2].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\r\n\r\n",
        b"\0" * 1000,
        b"CONNECT\r\n\r\n",
        b"x" * 200_000,
        b"A: b\r\n" * 300 + b"\r\n",
    ],
)
def test_the_proxy_outlives_requests_that_are_none(request_: bytes) -> None:
    with (
        listening(always(reply(b"x"))) as server,
        FetchProxy(max_bytes=1000, timeout=5, network=only(server)) as proxy,
    ):
        port = int(proxy.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(5)
            with suppress(OSError):
                connection.sendall(request_)
                connection.shutdown(socket.SHUT_WR)
            assert b" 200 " not in everything(connection)
        assert asked(proxy, f"GET {server.url}/").endswith(b"\r\n\r\nx")

    assert server.connections == 1


def test_more_connections_than_a_download_needs_are_not_held() -> None:
    with FetchProxy(max_bytes=1000, timeout=5) as proxy, ExitStack() as stack:
        place = ("127.0.0.1", int(proxy.url.rpartition(":")[2]))
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(socket.create_connection(place))
        with socket.create_connection(place) as another:
            another.settimeout(5)
            assert everything(another) == b""
