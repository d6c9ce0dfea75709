import errno
import hashlib
import io
import socket
import ssl
import struct
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from assets.fetching import (
    Downloaded,
    FetchFailed,
    FetchProxy,
    Network,
    Refusal,
    UnsafeAddress,
    download,
    probe,
)
from assets.network import Pinned, look_up, own_address
from tests.listeners import Serve, always, listening, only, redirect, reply, self_signed

PICTURE = bytes(range(256)) * 1024  # 256 KB


def answering(answers: dict[str, bytes]) -> Serve:
    """Serve by method and path (`GET /file`), or by path alone; 404 for the rest."""

    def serve(connection: socket.socket, head: bytes) -> None:
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        known = answers.get(f"{method} {target}", answers.get(target))
        connection.sendall(known or reply(status="404 Not Found"))

    return serve


def field(request: bytes, name: str) -> list[str]:
    """Return the values of one header of a request."""
    lines = [line.partition(":") for line in request.decode().split("\r\n")[1:]]
    return [value.strip() for key, _, value in lines if key.lower() == name.lower()]


def fetched(url: str, network: Network, **options: object) -> tuple[bytes, Downloaded]:
    file = io.BytesIO()
    settings = {"max_bytes": 2**20, "timeout": 5, **options}
    downloaded = download(url, file, network=network, **settings)  # type: ignore[arg-type]
    return file.getvalue(), downloaded


# --- Reachability -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "399 Odd", "304 Not Modified"])
def test_an_address_that_answers_head_below_400_is_reachable(status: str) -> None:
    with listening(always(reply(status=status))) as server:
        probe(f"{server.url}/clip.mp4?size=4#start", network=only(server))

        assert server.methods == ["HEAD"]
        head = server.requests[0]
        assert head.startswith(b"HEAD /clip.mp4?size=4 HTTP/1.1\r\n")
        assert field(head, "Host") == [f"127.0.0.1:{server.port}"]
        assert field(head, "Accept-Encoding") == ["identity"]
        assert field(head, "User-Agent") == ["Mozilla/5.0 (compatible; Signate)"]


@pytest.mark.parametrize("status", ["400 Bad", "403 No", "405 Not Allowed", "501 What", "999 Odd"])
def test_get_is_asked_where_head_is_refused_and_its_body_is_left(status: str) -> None:
    answers = {"HEAD /": reply(status=status), "GET /": reply(b"some", length=10**12)}
    with listening(answering(answers)) as server:
        probe(server.url, network=only(server))

        assert server.methods == ["HEAD", "GET"]


def test_get_is_asked_where_head_is_never_answered() -> None:
    def serve(connection: socket.socket, head: bytes) -> None:
        if head.startswith(b"HEAD"):
            server.ended.wait(10)
        else:
            connection.sendall(reply())

    with listening(serve) as server:
        probe(server.url, network=only(server), timeout=2)

    assert server.methods == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_an_address_that_answers_neither_well_is_not_reachable(status: int) -> None:
    with (
        listening(always(reply(status=f"{status} No"))) as server,
        pytest.raises(FetchFailed) as failed,
    ):
        probe(server.url, network=only(server))

    assert failed.value.reason == f"The server answered {status}."
    assert server.methods == ["HEAD", "GET"]


@pytest.mark.parametrize("status", ["301 A", "302 A", "303 A", "307 A", "308 A"])
@pytest.mark.parametrize("location", ["/there?a=b c", "there?a=b%20c", "{url}/there?a=b%20c"])
def test_redirects_are_followed(status: str, location: str) -> None:
    def serve(connection: socket.socket, head: bytes) -> None:
        there = b" /there?a=b%20c HTTP/1.1" in head
        connection.sendall(reply() if there else redirect(location.format(url=server.url), status))

    with listening(serve) as server:
        probe(f"{server.url}/here", network=only(server))

    assert server.methods == ["HEAD", "HEAD"]


def test_an_early_hint_is_not_the_answer() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    with (
        listening(always(hint + reply(status="404 Not Found"))) as server,
        pytest.raises(FetchFailed) as failed,
    ):
        probe(server.url, network=only(server))

    assert failed.value.reason == "The server answered 404."


def test_a_name_that_does_not_exist_and_a_port_that_is_closed_are_said_to_be() -> None:
    with listening(always(reply())) as server:
        gone = only(server, names={"media.example.com": "127.0.0.1"})
        with pytest.raises(FetchFailed) as unknown:
            probe("http://gone.example.com/", network=gone)
    with pytest.raises(FetchFailed) as closed:
        probe(f"http://media.example.com:{server.port}/", network=gone)

    assert unknown.value.reason == "There is no host named gone.example.com."
    assert closed.value.reason == "Nothing answers at this address and port."
    assert server.connections == 0


def test_a_resolver_that_is_busy_is_no_proof_that_a_host_is_not_there() -> None:
    def resolve(_: str) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    with pytest.raises(FetchFailed) as failed:
        probe("http://media.example.com/", network=Network(resolve=resolve))

    assert failed.value.reason == (
        "The name media.example.com cannot be looked up now. Try again later."
    )


def test_the_next_address_of_a_host_is_tried_when_one_does_not_answer() -> None:
    with listening(always(reply())) as server:
        allow = frozenset({("127.0.0.1", server.port), ("::1", server.port)})
        network = Network(resolve=lambda _: ["::1", "127.0.0.1"], allow=allow)
        probe(f"http://media.example.com:{server.port}/", network=network)

        assert server.connections == 1
        assert field(server.requests[0], "Host") == [f"media.example.com:{server.port}"]


@pytest.mark.parametrize(
    "host", ["b\u00fccher.example", "B\u00dcCHER.example", "xn--bcher-kva.example"]
)
def test_international_names_are_asked_for_as_they_are_looked_up(host: str) -> None:
    with listening(always(reply())) as server:
        network = only(server, names={"xn--bcher-kva.example": "127.0.0.1"})
        probe(f"http://{host}:{server.port}/stra\u00dfe?q=\u00fc", network=network)

        assert field(server.requests[0], "Host") == [f"xn--bcher-kva.example:{server.port}"]
        assert server.requests[0].startswith(b"HEAD /stra%C3%9Fe?q=%C3%BC HTTP/1.1\r\n")


def test_a_server_that_hangs_up_is_said_to_have() -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        # Closing without lingering is a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with listening(serve) as server, pytest.raises(FetchFailed) as failed:
        probe(server.url, network=only(server))

    assert failed.value.reason == "The server closed the connection."


def test_a_network_that_leads_nowhere_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(FetchFailed) as failed:
        probe("http://93.184.215.14:8080/")

    assert failed.value.reason == "The server cannot be reached: Network is unreachable."


def test_look_ups_return_every_address_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:2800::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    assert look_up("media.example.com") == ["2606:2800::1", "93.184.215.14"]


def test_the_address_a_connection_would_come_from_is_known_without_connecting() -> None:
    assert own_address(Pinned(socket.AF_INET, ("127.0.0.1", 9))) == "127.0.0.1"


# --- Streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["rtsp", "RTSP"])
def test_a_stream_is_reachable_when_it_answers_to_options(scheme: str) -> None:
    answer = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"
    with listening(always(answer)) as server:
        network = only(server, names={"media.example.com": "127.0.0.1"})
        probe(f"{scheme}://media.example.com:{server.port}/live", network=network)

        [request] = server.requests
        url = f"rtsp://media.example.com:{server.port}/live"
        assert request.startswith(f"OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\n".encode())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n", "The server answered 401."),
        (b"HTTP/1.1 200 OK\r\n\r\n", "The server does not speak RTSP."),
        (b"", "The connection ended before the server had answered."),
    ],
)
def test_a_stream_that_answers_otherwise_is_not_reachable(answer: bytes, reason: str) -> None:
    with listening(always(answer)) as server, pytest.raises(FetchFailed) as failed:
        probe(f"rtsp://127.0.0.1:{server.port}/live", network=only(server))

    assert failed.value.reason == reason
    assert server.connections == 1


# --- Downloads ----------------------------------------------------------------------------------


def test_a_download_says_what_it_was() -> None:
    sizes: list[int] = []
    answers = {
        "/old": redirect("/new.png"),
        "/new.png": reply(PICTURE, "Content-Type: Image/PNG; charset=binary"),
    }
    with listening(answering(answers)) as server:
        body, downloaded = fetched(
            f"{server.url}/old#top", only(server), on_chunk=sizes.append, max_bytes=len(PICTURE)
        )

    assert body == PICTURE
    md5 = hashlib.md5(PICTURE, usedforsecurity=False).hexdigest()
    assert downloaded == Downloaded(len(PICTURE), md5, "image/png", f"{server.url}/new.png")
    assert sizes == [65536, 131072, 196608, 262144]
    assert server.methods == ["GET", "GET"]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3000000\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            CHUNKED + b'5\r\nHello\r\n00c;note="a b"\r\n to everyone\r\n0\r\nA: b\r\n\r\n',
            b"Hello to everyone",
        ),
        (CHUNKED + b"0\r\n\r\n", b""),
        (CHUNKED + b"A\nHello Anna\n0\n\n", b"Hello Anna"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200\r\nContent-Encoding: identity\r\n\r\n", b""),
        (
            b"HTTP/1.1 200 OK\r\nA: folded\r\n  over\r\nnonsense\r\nContent-length : 2\r\n\r\nab",
            b"ab",
        ),
        (reply(b"twice", "Content-Length: 5"), b"twice"),
        (reply(b"not all of it", length=3), b"not"),
        (reply(), b""),
    ],
)
def test_bodies_come_whole_however_they_are_framed(answer: bytes, expected: bytes) -> None:
    with listening(always(answer)) as server:
        body, downloaded = fetched(server.url, only(server))

    assert body == expected
    assert (downloaded.size, downloaded.content_type) == (len(expected), "")


@pytest.mark.parametrize("status", [204, 206, 304, 302])
def test_what_is_no_whole_file_is_not_downloaded(status: int) -> None:
    file = io.BytesIO()
    with (
        listening(always(reply(b"part", status=f"{status} Other"))) as server,
        pytest.raises(FetchFailed) as failed,
    ):
        download(server.url, file, max_bytes=10, timeout=5, network=only(server))

    assert failed.value.reason == f"The server answered {status} instead of a file."
    assert file.getvalue() == b""


def test_a_download_ends_when_its_listener_raises() -> None:
    class Enough(Exception):
        pass

    def on_chunk(size: int) -> None:
        raise Enough(size)

    with listening(always(reply(PICTURE))) as server, pytest.raises(Enough) as enough:
        fetched(server.url, only(server), on_chunk=on_chunk)

    assert enough.value.args == (65536,)


def test_a_full_disk_is_not_blamed_on_the_server() -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    with listening(always(reply(PICTURE))) as server, pytest.raises(OSError, match="No space"):
        download(server.url, Full(), max_bytes=2**20, timeout=5, network=only(server))


def test_custom_headers_are_sent_to_the_host_they_are_for() -> None:
    headers = {"X-Screen": "lobby", "user-agent": "Kiosk", "Authorization": "Bearer \u00e9"}
    with listening(always(reply(b"x"))) as elsewhere:
        answers = {"/a": redirect("/b"), "/b": redirect(f"{elsewhere.url}/c")}
        with listening(answering(answers)) as server:
            fetched(f"{server.url}/a", only(server, elsewhere), headers=headers)

            assert len(server.requests) == 2
            for request in server.requests:
                assert field(request, "X-Screen") == ["lobby"]
                assert field(request, "User-Agent") == ["Kiosk"]
                assert field(request, "Authorization") == ["Bearer \u00e9"]
        [request] = elsewhere.requests
        assert field(request, "X-Screen") == field(request, "Authorization") == []
        assert field(request, "User-Agent") == ["Mozilla/5.0 (compatible; Signate)"]


@pytest.mark.parametrize(
    ("size", "shown"),
    [(2**31, "2 GB"), (3 * 2**19, "1.5 MB"), (2048, "2 KB"), (1000, "1000 bytes")],
)
def test_the_limit_is_told_in_a_unit_people_use(size: int, shown: str) -> None:
    with listening(always(reply(length=size + 1))) as server, pytest.raises(FetchFailed) as failed:
        fetched(server.url, only(server), max_bytes=size)

    assert failed.value.reason == f"The download is larger than {shown}."


# --- The proxy ----------------------------------------------------------------------------------


def opener(
    proxy: FetchProxy, *handlers: urllib.request.BaseHandler
) -> urllib.request.OpenerDirector:
    """Return a client that knows nothing but the proxy, as yt-dlp does."""
    through = urllib.request.ProxyHandler({"http": proxy.url, "https": proxy.url})
    return urllib.request.build_opener(through, *handlers)


def test_the_proxy_fetches_http_for_a_child() -> None:
    answers = {"GET /a?b=c": reply(PICTURE), "POST /a": reply(b"thanks")}
    with listening(answering(answers)) as server:
        network = only(server, names={"media.example.com": "127.0.0.1"})
        url = f"http://media.example.com:{server.port}/a"
        with FetchProxy(max_bytes=2**20, timeout=5, network=network) as proxy:
            client = opener(proxy)
            assert client.open(f"{url}?b=c", timeout=5).read() == PICTURE
            assert client.open(url, data=b"body", timeout=5).read() == b"thanks"

        first = server.requests[0]
        assert first.startswith(b"GET /a?b=c HTTP/1.1\r\n")
        assert field(first, "Host") == [f"media.example.com:{server.port}"]
        assert field(first, "Connection") == ["close"]
        assert field(first, "Proxy-Authorization") == []
    assert proxy.failure == ""


def test_the_proxy_tunnels_https_for_a_child(tmp_path: Path) -> None:
    certified = self_signed(tmp_path)
    trusting = ssl.create_default_context(cadata=certified.pem)
    with listening(always(reply(PICTURE)), tls=certified.context) as server:
        network = only(server, names={"media.example.com": "127.0.0.1"})
        with FetchProxy(max_bytes=2**20, timeout=5, network=network) as proxy:
            client = opener(proxy, urllib.request.HTTPSHandler(context=trusting))
            url = f"https://media.example.com:{server.port}/"
            assert client.open(url, timeout=5).read() == PICTURE

    assert server.connections == 1


def test_the_proxy_says_why_something_did_not_work() -> None:
    with (
        listening(always(reply())) as server,
        FetchProxy(max_bytes=100, timeout=5, network=only(server)) as proxy,
    ):
        with pytest.raises(HTTPError) as failed:
            opener(proxy).open("http://gone.example.com/", timeout=5)
        with failed.value as answer:
            assert answer.code == 502
            assert answer.read().decode() == "There is no host named gone.example.com."
        with pytest.raises(HTTPError) as refused:
            opener(proxy).open("http://10.0.0.1/", timeout=5)
        with refused.value as answer:
            assert answer.code == 403
            assert answer.read().decode() == Refusal.LAN

    assert proxy.failure == "There is no host named gone.example.com."


def test_reasons_tell_refusals_apart() -> None:
    with pytest.raises(UnsafeAddress) as refused:
        probe("http://192.168.1.20/camera")

    assert refused.value.refusal is Refusal.LAN
    assert refused.value.reason == "The address points into a private network."
