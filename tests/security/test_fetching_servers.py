"""Servers that lie, drip, flood and never end."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import compress
from pathlib import Path
from typing import Any

import pytest

from assets.fetching import (
    FetchFailed,
    Network,
    download,
    probe,
)
from tests.listeners import (
    Serve,
    always,
    listening,
    only,
    redirect,
    reply,
    self_signed,
)


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """Fail when it takes much longer than `seconds`; a server that holds it does so for ever."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + 5


def failure(serve: Serve, file: io.BytesIO | None = None, **options: Any) -> str:
    """Return why a download from such a server fails."""
    settings = {"max_bytes": 100_000, "timeout": 5, **options}
    target = io.BytesIO() if file is None else file
    with listening(serve) as server, pytest.raises(FetchFailed) as failed:
        try:
            download(server.url, target, network=only(server), **settings)
        finally:
            server.ended.set()
    return failed.value.reason


def endlessly(first: bytes, again: bytes, *, pause: float = 0) -> Serve:
    """Serve `first` and then `again` until nobody listens any more."""

    def serve(connection: socket.socket, _: bytes) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(again)
            if pause:
                time.sleep(pause)

    return serve


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\n\r\n"
LARGE = "The download is larger than 97.66 KB."


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (TO_THE_END, b"x" * 50_000),
        (CHUNKED, b"c350\r\n" + b"x" * 50_000 + b"\r\n"),
        (CHUNKED + b"FFFFFFFFFFFF\r\n", b"x" * 50_000),
        (reply(length=100_000) + b"x" * 100_000 + b"more", b"x"),
    ],
)
def test_bodies_without_end_are_cut_at_the_limit(first: bytes, again: bytes) -> None:
    file = io.BytesIO()
    if first.startswith(reply(length=100_000)):
        # This one has an end of which the server knows nothing.
        with listening(endlessly(first, again)) as server:
            settings: Any = {"max_bytes": 100_000, "timeout": 5, "network": only(server)}
            assert download(server.url, file, **settings).size == 100_000
    else:
        assert failure(endlessly(first, again), file) == LARGE
    assert len(file.getvalue()) <= 100_000


@pytest.mark.parametrize("length", [100_001, 10**12, 10**17])
def test_an_announced_size_above_the_limit_is_refused_before_the_body(length: int) -> None:
    file = io.BytesIO()

    assert failure(always(reply(b"x", length=length)), file) == LARGE
    assert file.getvalue() == b""


SHORT = "The connection ended before the whole file had arrived."
BROKEN = "The connection ended, or went wrong, before the whole file arrived."
NO_SIZE = "The server announces a size that is not a number."
NO_HTTP = "The server does not speak HTTP."
NO_ANSWER = "The connection ended before the server had answered."
NO_END = "The headers are longer than any sensible server's."
CODING = "The server sends it in an encoding that is not known here."


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(b"short", length=6), SHORT),
        (reply(b"", length=1), SHORT),
        (reply(b"x" * 70_000, length=99_999), SHORT),
        (CHUNKED, BROKEN),
        (CHUNKED + b"5\r\nHel", SHORT),
        (CHUNKED + b"5\r\nHello\r\n", BROKEN),
        (CHUNKED + b"5\r\nHello\r\n0", BROKEN),
        (CHUNKED + b"5\r\nHello and more\r\n0\r\n\r\n", "The server sends more than it announces."),
        (CHUNKED + b"-1\r\n" + b"x" * 1000, BROKEN),
        (CHUNKED + b"-5\r\nHello\r\n0\r\n\r\n", BROKEN),
        (CHUNKED + b"0x5\r\nHello\r\n0\r\n\r\n", BROKEN),
        (CHUNKED + b"1_0\r\nHello\r\n0\r\n\r\n", BROKEN),
        (CHUNKED + b" 5\r\nHello\r\n0\r\n\r\n", BROKEN),
        (CHUNKED + b"\r\n", BROKEN),
        (CHUNKED + b"f" * 5000 + b"\r\n", BROKEN),
        (CHUNKED + b"5;" + b"a" * 5000 + b"\r\nHello\r\n0\r\n\r\n", BROKEN),
        (CHUNKED + b"Hello", BROKEN),
        (reply(b"x", "Content-Length: 2"), NO_SIZE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx", NO_SIZE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", NO_SIZE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx", NO_SIZE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nx", NO_SIZE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nx", NO_SIZE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx", NO_SIZE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", CODING),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nx", CODING),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n",
            CODING,
        ),
        (b"", NO_ANSWER),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", NO_ANSWER),
        (b"HTTP/1.1 200 OK", NO_ANSWER),
        (b"\r\n\r\n", NO_HTTP),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", NO_HTTP),
        (b"ICY 200 OK\r\n\r\n", NO_HTTP),
        (b"RTSP/1.0 200 OK\r\n\r\n", NO_HTTP),
        (b"HTTP/2 200\r\n\r\n", NO_HTTP),
        (b"HTTP/0.9 200 OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 2000 OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 -20 OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 020 OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "The server answered 101."),
        (TO_THE_END[:-2] + b"A: b\r\n" * 250 + b"\r\n", NO_END),
        (TO_THE_END[:-2] + b"A: " + b"b" * 200_000 + b"\r\n\r\n", NO_END),
        (TO_THE_END[:-2] + (b"A: " + b"b" * 2000 + b"\r\n") * 100 + b"\r\n", NO_END),
        (
            b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
            "The server announces an answer again and again and does not give one.",
        ),
    ],
)
def test_answers_that_lie_are_not_believed(answer: bytes, reason: str) -> None:
    file = io.BytesIO()

    assert failure(always(answer), file) == reason
    assert len(file.getvalue()) < 100_000


@pytest.mark.parametrize(
    ("first", "again", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"A: " + b"b" * 1000 + b"\r\n", NO_END),
        (b"HTTP/1.1 200 OK\r\nA: ", b"b" * 1000, NO_END),
        (b"", b"x" * 1000, NO_END),
        (
            CHUNKED,
            b"1;" + b"a" * 4000 + b"\r\nx\r\n",
            "The server sends more wrapping than content.",
        ),
    ],
)
def test_floods_are_cut_off(first: bytes, again: bytes, reason: str) -> None:
    assert failure(endlessly(first, again)) == reason


@pytest.mark.parametrize(
    "encoding", ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "gzip, gzip"]
)
def test_compressed_bodies_are_refused_unopened(encoding: str) -> None:
    file = io.BytesIO()
    bomb = compress(compress(b"\0" * 10_000_000))

    reason = failure(always(reply(bomb, f"Content-Encoding: {encoding}")), file)

    assert reason == (
        f"The server sends it compressed ({encoding.lower()}), which it was told not to."
    )
    assert file.getvalue() == b""


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 100 Continue\r\n",
        TO_THE_END,
        reply(length=99_999),
        CHUNKED + b"FFFF\r\n",
        CHUNKED + b"1;",
    ],
)
def test_servers_that_drip_are_left_at_the_deadline(first: bytes) -> None:
    file = io.BytesIO()
    with ends_within(0.3):
        reason = failure(endlessly(first, b"1", pause=0.02), file, timeout=0.3)
    assert reason == "The download did not end within 0.3 seconds."
    assert len(file.getvalue()) < 100


def test_a_probe_of_a_server_that_drips_ends_at_its_deadline() -> None:
    drip = endlessly(b"HTTP/1.1 200 OK\r\n", b"X", pause=0.02)
    with listening(drip) as server, ends_within(0.4), pytest.raises(FetchFailed) as failed:
        probe(server.url, timeout=0.4, network=only(server))

    assert failed.value.reason == "It did not answer within 0.4 seconds."
    assert server.methods == ["HEAD", "GET"]


def test_a_stream_that_drips_ends_at_the_deadline() -> None:
    drip = endlessly(b"RTSP/1.0 ", b"2", pause=0.02)
    with listening(drip) as server, ends_within(0.3), pytest.raises(FetchFailed) as failed:
        probe(f"rtsp://127.0.0.1:{server.port}/", timeout=0.3, network=only(server))

    assert failed.value.reason == "It did not answer within 0.3 seconds."


def test_all_hops_share_one_deadline() -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        server.ended.wait(0.15)
        connection.sendall(redirect("/again"))

    with listening(serve) as server, ends_within(0.4), pytest.raises(FetchFailed) as failed:
        settings: Any = {"max_bytes": 10, "timeout": 0.4, "network": only(server)}
        download(server.url, io.BytesIO(), **settings)

    assert failed.value.reason == "The download did not end within 0.4 seconds."
    assert server.connections <= 3


def test_a_server_that_accepts_and_is_silent_in_tls_is_left_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        network = Network(allow=frozenset({("127.0.0.1", port)}))
        with ends_within(0.3), pytest.raises(FetchFailed) as failed:
            probe(f"https://127.0.0.1:{port}/", timeout=0.3, network=network)

    assert failed.value.reason == "It did not answer within 0.3 seconds."


def test_a_resolver_that_is_silent_is_left_at_the_deadline() -> None:
    with listening(always(reply())) as waiting:

        def resolve(_: str) -> list[str]:
            waiting.ended.wait(10)
            return []

        network = Network(resolve=resolve)
        with ends_within(0.3), pytest.raises(FetchFailed) as failed:
            probe("http://media.example.com/", timeout=0.3, network=network)

    assert failed.value.reason == "It did not answer within 0.3 seconds."


def test_look_ups_that_linger_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    look_ups = threading.BoundedSemaphore(1)
    monkeypatch.setattr("assets.network._LOOK_UPS", look_ups)
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return []

    with look_ups, ends_within(0.2), pytest.raises(FetchFailed) as failed:
        probe("http://media.example.com/", timeout=0.2, network=Network(resolve=resolve))

    assert failed.value.reason == "It did not answer within 0.2 seconds."
    assert asked == []


# --- TLS ----------------------------------------------------------------------------------------


def test_certificates_are_verified_unless_asked_otherwise(tmp_path: Path) -> None:
    certified = self_signed(tmp_path)
    with listening(always(reply(b"x")), tls=certified.context) as server:
        for trust, host, reason in (
            ("", "media.example.com", "self-signed certificate"),
            ("", "127.0.0.1", "self-signed certificate"),
            (
                certified.pem,
                "other.example.com",
                "Hostname mismatch, certificate is not valid for 'other.example.com'",
            ),
        ):
            names = {host: "127.0.0.1"}
            network = only(server, names=names, trust=trust)
            url = f"https://{host}:{server.port}/"
            with pytest.raises(FetchFailed) as failed:
                probe(url, network=network)
            assert failed.value.reason == f"The certificate is not valid: {reason}."
            assert server.requests == []
            probe(url, network=network, verify_tls=False)
            settings: Any = {"max_bytes": 10, "timeout": 5, "network": network}
            download(url, io.BytesIO(), verify_tls=False, **settings)
            assert server.methods == ["HEAD", "GET"]
            server.requests.clear()

        network = only(server, names={"media.example.com": "127.0.0.1"}, trust=certified.pem)
        probe(f"https://media.example.com:{server.port}/", network=network)
        probe(f"https://127.0.0.1:{server.port}/", network=network)


def test_an_expired_certificate_is_said_to_be(tmp_path: Path) -> None:
    certified = self_signed(tmp_path, days=-1)
    with (
        listening(always(reply()), tls=certified.context) as server,
        pytest.raises(FetchFailed) as failed,
    ):
        probe(server.url, network=only(server, trust=certified.pem))

    assert failed.value.reason == "The certificate is not valid: certificate has expired."


def test_what_speaks_no_tls_is_said_not_to() -> None:
    with (
        listening(always(b""), greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as server,
        pytest.raises(FetchFailed) as failed,
    ):
        probe(f"https://127.0.0.1:{server.port}/", network=only(server))

    assert failed.value.reason == "No secure connection could be made: wrong version number."


def test_a_file_asked_for_over_tls_does_not_come_without(tmp_path: Path) -> None:
    certified = self_signed(tmp_path)
    with (
        listening(always(reply(b"x"))) as plain,
        listening(always(redirect(plain.url)), tls=certified.context) as server,
    ):
        network = only(server, plain, trust=certified.pem)
        settings: Any = {"max_bytes": 10, "timeout": 5, "network": network}
        with pytest.raises(FetchFailed) as failed:
            download(server.url, io.BytesIO(), **settings)
        assert failed.value.reason == (
            "It redirects from https to http, where anybody in between can change the file."
        )
        assert (server.connections, plain.connections) == (1, 0)

        # A player goes there, so it is reachable; and who verifies nothing is promised nothing.
        probe(server.url, network=network)
        download(server.url, io.BytesIO(), verify_tls=False, **settings)
    assert plain.methods == ["HEAD", "GET"]
