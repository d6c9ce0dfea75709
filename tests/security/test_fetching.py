"""Servers and addresses that mean harm to the one place that connects to what others named."""

import io
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.addresses import parse_address, parse_host, refusal_of
from assets.fetching import (
    FetchFailed,
    Network,
    Refusal,
    UnsafeAddress,
    download,
    probe,
    resolve_public,
)
from assets.network import Deadline
from tests.listeners import (
    Listener,
    always,
    listening,
    only,
    redirect,
    reply,
)
from tests.security.attempts import Attempts

PUBLIC_V4 = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


def refused(url: str, **options: Any) -> Refusal:
    """Try every way to fetch `url`, and return why all of them refuse it, writing nothing."""
    file = io.BytesIO()
    with pytest.raises(UnsafeAddress) as probed:
        probe(url, timeout=5, **options)
    if not url.lower().startswith("rtsp"):
        with pytest.raises(UnsafeAddress) as downloaded:
            download(url, file, max_bytes=1000, timeout=5, **options)
        assert downloaded.value.refusal is probed.value.refusal
        assert file.getvalue() == b""
    assert probed.value.reason.endswith(".")
    return probed.value.refusal


# --- Spellings ----------------------------------------------------------------------------------

# What stands for 127.0.0.1 or another address of ours, to somebody, in a way nobody needs.
ODD_HOSTS = [
    *("127.1", "127.0.1", "0", "1", "2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.1", "0x7f.0x1"),
    *(
        "017700000001",
        "0177.0.0.1",
        "0177.1",
        "127.0.0.01",
        "127.0.0.001",
        "0127.0.0.1",
        "00.0.0.0",
    ),
    *(
        "127.0.0.0x1",
        "127.0.0.1.",
        "127.0.0.1..",
        "127..0.1",
        ".127.0.0.1",
        "256.0.0.1",
        "1.2.3.4.5",
    ),
    *(
        "127.0.0.1%00",
        "127.0.0.1%2f",
        "%31%32%37.0.0.1",
        "127%2e0%2e0%2e1",
        "4294967295",
        "0x",
        "0x.1",
    ),
    *(
        "-1",
        "127.0.0.-1",
        "0.0x7f000001",
        "425.510.425.510",
        "3232235521",
        "0xa9fea9fe",
        "2852039166",
    ),
    "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
    "127\u30020\u30020\u30021",
    "127\uff0e0\uff0e0\uff0e1",
    "127\uff610\uff610\uff611",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
    "\u0661\u0662\u0667.\u0660.\u0660.\u0661",
    "\u0967\u0968\u096d.0.0.1",
    "127.0.0.1\u00ad",
    "loc\u00adalhost",
    "\uff4cocalhost",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "loca\u217chost",
    "\u212aiosk.example.com",
    "stra\u00dfe.example.com",
    "a\u200db.example.com",
    "media.example.com.",
    "media..example.com",
    "-media.example.com",
    "media-.example.com",
    "media.example.com%00.evil.example",
    "media.example.com;127.0.0.1",
    "media.example.com,127.0.0.1",
    "media example.com",
    "<media>.example.com",
    "a" * 64 + ".example.com",
    "a." * 127 + "com",
    "\u00fc" * 70 + ".example.com",
    "",
    "..",
    "[]",
    "[::1",
    "::1]",
    "[::1]x",
    "[[::1]]",
    "[127.0.0.1]",
    "[::127.1]",
    "[::0x7f000001]",
    "[1:2:3:4:5:6:7:8:9]",
    "[:::1]",
    "[v1.::1]",
    "[::\uff11]",
]


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_odd_spellings_are_refused_unheard(host: str, attempts: Attempts, hidden: Listener) -> None:
    for scheme in ("http", "https", "rtsp"):
        assert refused(f"{scheme}://{host}:{hidden.port}/") is Refusal.MALFORMED
        assert refused(f"{scheme}://{host}/") is Refusal.MALFORMED
    assert attempts == ([], [])


ODD_URLS = [
    *("", "/", "//127.0.0.1/", "http:", "http:/127.0.0.1/", "http:///127.0.0.1/", "http:127.0.0.1"),
    *("file:///etc/passwd", "ftp://media.example.com/", "gopher://127.0.0.1:6379/_FLUSHALL"),
    *(
        "data:text/plain,x",
        "javascript:alert(1)",
        "dict://media.example.com/",
        "ws://media.example.com/",
    ),
    *("unix:///run/docker.sock", "jar:http://media.example.com!/", "url:http://media.example.com/"),
    *(
        "media.example.com",
        "HTTP//media.example.com",
        " http://media.example.com/",
        "\thttp://a.example/",
    ),
    "h\u0165tp://media.example.com/",
    "http\u017f://media.example.com/",
    "http://media.example.com/\r\nHost: 127.0.0.1",
    "http://media.example.com/ HTTP/1.1\r\nX: y",
    "http://media.example.com/a\tb",
    "http://media.example.com/a b",
    "http://media.example.com/\x00",
    "http://media.example.com/\x7f",
    "http://media.example.com/\x85",
    "http://media.example.com/\u2028",
    "http://media.example.com/\ud800",
    "http://media.example.com/\u00a0",
    "http://media.example.com\\@127.0.0.1/",
    "http:\\\\media.example.com/",
    "http://media.example.com/..\\a",
    "http://media.exa\nmple.com/",
    "http://media.example.com:port/",
    "http://media.example.com:0/",
    "http://media.example.com:00/",
    "http://media.example.com:080/",
    "http://media.example.com:-1/",
    "http://media.example.com:+80/",
    "http://media.example.com:65536/",
    "http://media.example.com:99999/",
    "http://media.example.com:80:80/",
    "http://media.example.com:\uff18\uff10/",
    "http://media.example.com:8\u0660/",
    "http://media.example.com/" + "a" * 8192,
]


@pytest.mark.parametrize("url", ODD_URLS)
def test_what_is_no_plain_address_is_refused_unheard(url: str, attempts: Attempts) -> None:
    assert refused(url) is Refusal.MALFORMED
    assert attempts == ([], [])


@pytest.mark.parametrize(
    "authority",
    [
        "a:b@127.0.0.1",
        "a@media.example.com",
        "@media.example.com",
        ":@media.example.com",
        "media.example.com@127.0.0.1",
        "media.example.com:80@127.0.0.1:80",
        "127.0.0.1@media.example.com",
        "a@b@media.example.com",
        "media.example.com:80%20@127.0.0.1",
        "a:b@[::1]",
        "\u00fc:b@media.example.com",
    ],
)
def test_credentials_in_an_address_are_refused_unheard(authority: str, attempts: Attempts) -> None:
    for scheme in ("http", "https", "rtsp"):
        assert refused(f"{scheme}://{authority}/") is Refusal.CREDENTIALS
    assert attempts == ([], [])


@pytest.mark.parametrize(
    "port", [1, 22, 23, 25, 110, 445, 465, 3306, 5432, 6000, 6379, 11211, 27017]
)
def test_ports_of_other_services_are_refused_unheard(port: int, attempts: Attempts) -> None:
    for scheme in ("http", "https", "rtsp"):
        assert refused(f"{scheme}://media.example.com:{port}/") is Refusal.PORT
    assert refused("http://media.example.com:554/") is Refusal.PORT
    with pytest.raises(UnsafeAddress):
        resolve_public("media.example.com", port, deadline=Deadline(1))
    assert attempts == ([], [])


@pytest.mark.parametrize(
    ("host", "refusal"),
    [
        ("localhost", Refusal.LOOPBACK),
        ("LocalHost", Refusal.LOOPBACK),
        ("a.localhost", Refusal.LOOPBACK),
        ("localhost.localdomain", Refusal.LOOPBACK),
        ("ip6-localhost", Refusal.LOOPBACK),
        ("printer.local", Refusal.LAN),
        ("metadata.google.internal", Refusal.LAN),
        ("METADATA.google.INTERNAL", Refusal.LAN),
        ("redis.default.svc.cluster.local", Refusal.LAN),
        ("router.home.arpa", Refusal.LAN),
        ("fritz.lan", Refusal.LAN),
        ("wiki.corp", Refusal.LAN),
        ("redis", Refusal.LAN),
        ("metadata", Refusal.LAN),
        ("xn--bcher-kva", Refusal.LAN),
        ("b\u00fccher", Refusal.LAN),
    ],
)
def test_names_of_private_networks_are_refused_unheard(
    host: str, refusal: Refusal, attempts: Attempts, hidden: Listener
) -> None:
    for scheme in ("http", "https", "rtsp"):
        assert refused(f"{scheme}://{host}:{hidden.port}/") is refusal
    assert attempts == ([], [])


# --- Addresses ----------------------------------------------------------------------------------

NOT_PUBLIC = {
    Refusal.LOOPBACK: [
        "0.0.0.0",  # noqa: S104 -- nothing is bound to it, and nothing may be fetched from it
        *("0.1.2.3", "127.0.0.1", "127.255.255.254", "127.0.0.53", "[::]", "[::1]"),
        "[0:0:0:0:0:0:0:1]",
        "[0000:0000:0000:0000:0000:0000:0000:0001]",
    ],
    Refusal.LAN: [
        *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
        *("192.168.255.255", "100.64.0.1", "100.127.255.254", "[fc00::1]", "[fd12:3456::1]"),
        "[FD12:3456:0:0::1]",
        "[fe80::1%25eth0]",
        "[fe80::1%1]",
        "[2606:2800::1%25eth0]",
        "[::1%lo]",
    ],
    Refusal.RESERVED: [
        *("169.254.169.254", "169.254.0.1", "169.254.170.2", "100.100.100.200", "168.63.129.16"),
        *("192.0.0.1", "192.0.0.170", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.19.255.255"),
        *("198.51.100.1", "203.0.113.255", "192.88.99.1", "192.31.196.1", "192.175.48.1"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("[fe80::1]", "[febf::1]", "[fec0::1]", "[ff02::1]", "[ff0e::1]", "[fd00:ec2::254]"),
        *("[fd20:ce::254]", "[100::1]", "[5f00::1]", "[4000::1]", "[2001:db8::1]", "[3fff::1]"),
        *("[2001:2::1]", "[2001:10::1]", "[2001:20::1]", "[2001::1]", "[2001:0:7f00:1::]"),
        *("[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:5db8:d70e::1]", "[3ffe::1]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[::FFFF:169.254.169.254]"),
        *("[::ffff:93.184.215.14]", "[::ffff:0:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]"),
        *("[::10.0.0.1]", "[::93.184.215.14]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a00:1]"),
        *("[64:ff9b:1::7f00:1]", "[64:ff9b::93.184.215.14]", "[2606:2800::5efe:127.0.0.1]"),
        *("[2606:2800::200:5efe:10.0.0.1]", "[fe80::5efe:10.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]"),
    ],
}
LISTED = [(host, refusal) for refusal, hosts in NOT_PUBLIC.items() for host in hosts]


@pytest.mark.parametrize(("host", "refusal"), LISTED)
def test_addresses_that_are_not_public_are_refused_without_a_connection(
    host: str, refusal: Refusal, attempts: Attempts, hidden: Listener
) -> None:
    for scheme in ("http", "https", "rtsp"):
        for port in (f":{hidden.port}", ":8080", ""):
            assert refused(f"{scheme}://{host}{port}/latest/meta-data") is refusal
    with pytest.raises(UnsafeAddress):
        resolve_public(host, hidden.port, deadline=Deadline(1))
    assert attempts == ([], [])


@pytest.mark.parametrize(("host", "refusal"), [row for row in LISTED if "%" not in row[0]])
def test_names_of_addresses_that_are_not_public_are_refused_without_a_connection(
    host: str, refusal: Refusal, attempts: Attempts
) -> None:
    ip = host.strip("[]")
    for found in ([ip], [PUBLIC_V4, ip], [ip, PUBLIC_V6], [PUBLIC_V6, PUBLIC_V4, ip, PUBLIC_V4]):
        network = Network(resolve=lambda _, found=found: found)  # type: ignore[misc]
        for scheme in ("http", "https", "rtsp"):
            assert refused(f"{scheme}://media.example.com/", network=network) is refusal
    assert attempts.connections == []


@pytest.mark.parametrize("junk", ["", "fe80::1%eth0", "127.1", "0x7f000001", "localhost", "/run/a"])
def test_a_resolver_that_answers_junk_is_not_believed(junk: str, attempts: Attempts) -> None:
    network = Network(resolve=lambda _: [PUBLIC_V4, junk])

    assert refused("http://media.example.com/", network=network) is Refusal.RESERVED
    assert attempts == ([], [])


def test_names_are_looked_up_without_the_search_domains_of_this_machine(attempts: Attempts) -> None:
    with pytest.raises(FetchFailed) as failed:
        download("http://redis.default/", io.BytesIO(), max_bytes=1, timeout=5)

    assert failed.value.reason == "There is no host named redis.default."
    assert attempts == ([], ["redis.default."])


def test_this_machine_is_not_reached_through_its_public_address(attempts: Attempts) -> None:
    network = Network(resolve=lambda _: [PUBLIC_V4], source=lambda pinned: pinned.sockaddr[0])

    assert refused("http://media.example.com:9090/", network=network) is Refusal.LOOPBACK
    assert refused(f"http://{PUBLIC_V4}:9090/", network=network) is Refusal.LOOPBACK
    assert attempts.connections == []
    # Its web server is there for everybody.
    [pinned] = resolve_public("media.example.com", 443, network=network, deadline=Deadline(1))
    assert pinned == (socket.AF_INET, (PUBLIC_V4, 443))


def test_a_host_is_pinned_to_every_public_address_once(attempts: Attempts) -> None:
    network = Network(resolve=lambda _: [PUBLIC_V6, PUBLIC_V4, PUBLIC_V6], source=lambda _: "")

    pinned = resolve_public("Media.Example.com", 8443, network=network, deadline=Deadline(1))

    assert pinned == [
        (socket.AF_INET6, (PUBLIC_V6, 8443, 0, 0)),
        (socket.AF_INET, (PUBLIC_V4, 8443)),
    ]
    assert attempts.connections == []


_V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
_V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
_UNICAST = st.integers(2**125, 2**126 - 1).map(IPv6Address)


@settings(deadline=None)
@given(st.one_of(_V4, _V6, _UNICAST))
def test_what_python_knows_to_be_local_is_never_public(ip: IPv4Address | IPv6Address) -> None:
    if not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_link_local:
        assert refusal_of(ip) is not None


@settings(deadline=None)
@given(_V4, st.integers(0, 2**32 - 1))
@example(IPv4Address(PUBLIC_V4), 0)
def test_no_ipv6_address_carries_an_ipv4_address_inside(ip: IPv4Address, noise: int) -> None:
    inner = int(ip)
    for embedding in (
        inner,
        (0xFFFF << 32) | inner,
        (0xFFFF << 48) | inner,
        (0x64FF9B << 96) | inner,
        (0x64FF9B0001 << 80) | inner,
        (0x2002 << 112) | (inner << 80) | noise,
        (0x20010000 << 96) | (noise << 64) | inner,
        (0x26062800 << 96) | (noise << 64) | (0x5EFE << 32) | inner,
        (0x26062800 << 96) | (noise << 64) | (0x02005EFE << 32) | inner,
    ):
        assert refusal_of(IPv6Address(embedding)) is not None


@settings(deadline=None)
@given(_V4)
def test_one_ipv4_address_has_one_spelling(ip: IPv4Address) -> None:
    a, b, c, d = ip.packed
    assert parse_host(str(ip)) == str(ip)
    for odd in (str(int(ip)), hex(int(ip)), f"0{int(ip):o}", f"{a}.{b}.{c * 256 + d}", f"{ip}.",
                f"0x{a:x}.{b}.{c}.{d}", f"{a}.{b}.{c}.{d:04}", f"{a}.{int(ip) % 2**24}"):  # fmt: skip
        with pytest.raises(UnsafeAddress):
            parse_host(odd)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_plain_host_or_refused(text: str) -> None:
    try:
        host = parse_host(text)
    except UnsafeAddress:
        return
    assert host.isascii()
    assert host == host.lower()
    assert not set(host) & set(" /\\@?#%[]")
    assert parse_host(host) == host


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_address_is_taken_apart_in_one_way_or_refused(rest: str) -> None:
    try:
        address = parse_address(f"http://{rest}")
    except UnsafeAddress:
        return
    assert address.url.isascii()
    assert address.url.isprintable()
    assert parse_address(address.url) == address


# --- Redirects and rebinding --------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "HTTP://127.1:{port}/",
        "http://localhost:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://hidden.example.com:{port}/",
        "https://hidden.example.com:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://media.example.com@127.0.0.1:{port}/",
        "http://media.example.com\\@127.0.0.1:{port}/",
        "\\\\127.0.0.1:{port}/",
        "///127.0.0.1:{port}/",
        "http:///127.0.0.1:{port}/",
        "http:127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}\t/",
        "/\t/127.0.0.1:{port}/",
        "http://127.0.0.1 :{port}/",
        "http://127.0.0.1\xa0:{port}/",
        "http://127\xe3\x80\x820\xe3\x80\x820\xe3\x80\x821:{port}/",
        "http://[::1/",
        "file:///etc/passwd",
        "ftp://media.example.com/",
        "rtsp://127.0.0.1:{port}/",
        "javascript:alert(1)",
        "http://media.example.com:6379/",
    ],
)
def test_redirects_inwards_are_not_followed(
    location: str, attempts: Attempts, hidden: Listener
) -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        status = (301, 302, 303, 307, 308)[server.connections % 5]
        head = f"HTTP/1.1 {status} A\r\nLocation: {location.format(port=hidden.port)}\r\n\r\n"
        connection.sendall(head.encode("latin-1"))

    with listening(serve) as server:
        network = only(server, names={"hidden.example.com": "127.0.0.1"})
        file = io.BytesIO()
        with pytest.raises(UnsafeAddress):
            probe(server.url, network=network)
        with pytest.raises(UnsafeAddress):
            download(server.url, file, max_bytes=1000, timeout=5, network=network)

        assert attempts.connections == [("127.0.0.1", server.port)] * 2
        assert file.getvalue() == b""


class Rebinding:
    """A resolver that answers with the next address each time, and with the last for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = [*answers]
        self.asked = 0

    def __call__(self, _: str) -> list[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_a_name_is_looked_up_once_and_its_address_is_what_is_connected_to(
    attempts: Attempts,
) -> None:
    with listening(always(reply(b"public"))) as server:
        rebinding = Rebinding(["127.0.0.1"], ["10.0.0.1"])
        network = Network(resolve=rebinding, allow=frozenset({("127.0.0.1", server.port)}))
        file = io.BytesIO()
        url = f"http://media.example.com:{server.port}/"
        download(url, file, max_bytes=1000, timeout=5, network=network)

        assert file.getvalue() == b"public"
        assert rebinding.asked == 1
        assert attempts == ([("127.0.0.1", server.port)], [])


def test_a_name_that_moves_inwards_between_two_hops_is_refused(attempts: Attempts) -> None:
    answer = redirect("/again")
    for inwards in (["10.0.0.1"], ["127.0.0.2"], ["127.0.0.1", "::1"], ["169.254.169.254"]):
        with listening(always(answer)) as server:
            network = Network(
                resolve=Rebinding(["127.0.0.1"], inwards),
                allow=frozenset({("127.0.0.1", server.port)}),
            )
            url = f"http://media.example.com:{server.port}/"
            attempts.connections.clear()
            with pytest.raises(UnsafeAddress):
                download(url, io.BytesIO(), max_bytes=1000, timeout=5, network=network)

            assert attempts.connections == [("127.0.0.1", server.port)]


def test_a_name_that_moves_inwards_between_head_and_get_is_refused(attempts: Attempts) -> None:
    with listening(always(reply(status="405 No"))) as server:
        network = Network(
            resolve=Rebinding(["127.0.0.1"], ["10.0.0.1"]),
            allow=frozenset({("127.0.0.1", server.port)}),
        )
        with pytest.raises(UnsafeAddress):
            probe(f"http://media.example.com:{server.port}/", network=network)

        assert attempts.connections == [("127.0.0.1", server.port)]


@pytest.mark.parametrize("location", ["/", "/{n}", "{url}/{n}", "?{n}"])
def test_redirects_without_end_end(location: str) -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        connection.sendall(redirect(location.format(n=server.connections, url=server.url)))

    with listening(serve) as server, pytest.raises(FetchFailed) as failed:
        download(server.url, io.BytesIO(), max_bytes=1000, timeout=5, network=only(server))

    assert failed.value.reason == "It redirects more than 5 times."
    assert server.connections == 6


@pytest.mark.parametrize(
    "name", ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
)
def test_proxies_of_the_environment_are_not_used(
    name: str, monkeypatch: pytest.MonkeyPatch, hidden: Listener
) -> None:
    monkeypatch.setenv(name, hidden.url)
    monkeypatch.setenv("NO_PROXY", "")
    with listening(always(reply(b"x"))) as server:
        probe(server.url, network=only(server))
        download(server.url, io.BytesIO(), max_bytes=10, timeout=5, network=only(server))

        assert server.connections == 2


# --- Headers of the request ---------------------------------------------------------------------


def test_custom_headers_change_neither_where_a_request_goes_nor_its_frame() -> None:
    headers = {
        **dict.fromkeys(("Host", "hOST", "Content-Length", "Transfer-Encoding"), "127.0.0.1"),
        **dict.fromkeys(("Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Expect"), "x"),
        **dict.fromkeys(("Accept-Encoding", "Proxy-Authorization", "Proxy-Connection"), "gzip"),
        **dict.fromkeys(("Range", "If-Range", "If-None-Match"), "bytes=1-"),
        "A\r\nB": "c",
        "B ": "c",
        "": "c",
        "C:": "d",
        "D": "e\r\nHost: f",
        "E": "\0",
        "F": "\n",
        "X-Kept": "a\tb",
    }
    with listening(always(reply(b"whole"))) as server:
        file = io.BytesIO()
        download(server.url, file, max_bytes=10, timeout=5, headers=headers, network=only(server))

        assert server.requests == [
            (
                f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAccept-Encoding: identity\r\n"
                "Connection: close\r\nUser-Agent: Mozilla/5.0 (compatible; Signate)\r\n"
                "Accept: */*\r\nX-Kept: a\tb\r\n\r\n"
            ).encode()
        ]
        assert file.getvalue() == b"whole"


def test_custom_headers_do_not_come_back_after_another_host_was_asked() -> None:
    def serve(connection: socket.socket, head: bytes) -> None:
        is_back = head.startswith(b"GET /back")
        connection.sendall(reply(b"x") if is_back else redirect(f"{other.url}/"))

    with listening(serve) as server:
        with listening(always(redirect(f"{server.url}/back"))) as other:
            network = only(server, other)
            limits: Any = {"max_bytes": 10, "timeout": 5, "network": network}
            download(server.url, io.BytesIO(), headers={"X-Key": "k"}, **limits)

        assert [b"X-Key" in request for request in server.requests] == [True, False]
        assert [b"X-Key" in request for request in other.requests] == [False]
