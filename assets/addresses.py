"""What an address says and whether it may be connected to (docs/decisions/fetching.md).

Called by assets.network and assets.fetching before any look-up and any connection. Pure: no
Django, no socket. An address has exactly one spelling here: what browsers, resolvers and C
libraries read differently from each other is refused, not interpreted.
"""

from __future__ import annotations

import re
import string
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, urljoin

from assets.fetch_errors import Refusal, UnsafeAddress

if TYPE_CHECKING:
    from collections.abc import Collection

IPAddress: TypeAlias = IPv4Address | IPv6Address

WEB = frozenset({"http", "https"})
DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554}
LONGEST_ADDRESS = 8192

# RFC 3986 appendix B, with an authority that is required.
_URL = re.compile(
    r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.ASCII | re.IGNORECASE
)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([1-9][0-9]{0,4})?)?", re.ASCII)
# Underscores are in no host name, and in the names of hosts that exist.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LONGEST_NAME = 253
# Browsers take a host whose last label is a number for an IPv4 address, however it is spelt.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# What IDNA 2003 and 2008 read differently, and the dots that only IDNA knows.
_AMBIGUOUS = frozenset("\u00df\u03c2\u200c\u200d\u3002\uff0e\uff61")
# What browsers take for another host and RFC 3986 for a path of the same one.
_TWO_READINGS = re.compile(r"(?:https?:)?///|https?:(?!//)", re.IGNORECASE)
_SAFE = string.ascii_letters + string.digits + string.punctuation

_SELF_NAMES = frozenset({"localhost", "localdomain", "ip6-localhost", "ip6-loopback"})
# RFC 6761, 6762, 8375, and what networks of organisations are called.
_LAN_NAMES = re.compile(
    r".*\.(?:local|internal|intranet|private|corp|home|lan|home\.arpa)|[^.]+", re.DOTALL
)

# The "bad ports" of the Fetch standard, which no player's browser opens, and databases.
_PORTS_OF_OTHERS = frozenset(
    {
        *(1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95),
        *(101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161),
        *(179, 389, 427, 445, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556),
        *(563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190),
        *(5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080),
        *(1433, 1521, 2375, 2376, 2379, 2380, 3306, 3389, 5432, 5900, 6379, 9042, 11211, 27017),
    }
)

# The registries of RFC 6890 as of 2025; the first network that holds an address decides. Addresses
# at which clouds answer for the machine itself stand before the networks they are in.
_NOT_PUBLIC_V4 = tuple(
    (ip_network(network), refusal)
    for refusal, networks in (
        (Refusal.RESERVED, ("100.100.100.200/32", "168.63.129.16/32")),
        (Refusal.LOOPBACK, ("0.0.0.0/8", "127.0.0.0/8")),
        (Refusal.LAN, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")),
        (
            Refusal.RESERVED,
            (
                *("169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24"),
                *("192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24", "198.18.0.0/15"),
                *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            ),
        ),
    )
    for network in networks
)
# Of IPv6 only global unicast is public: whatever embeds IPv4 (mapped, compatible, NAT64) and every
# local, multicast or unassigned address lies outside of it, apart from what follows.
_GLOBAL_UNICAST = ip_network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    (ip_network(network), refusal)
    for network, refusal in (
        ("::/127", Refusal.LOOPBACK),
        ("fd00:ec2::/32", Refusal.RESERVED),
        ("fd20:ce::/32", Refusal.RESERVED),
        ("fc00::/7", Refusal.LAN),
        ("2001::/23", Refusal.RESERVED),  # Teredo, ORCHID, benchmarking
        ("2001:db8::/32", Refusal.RESERVED),
        ("2002::/16", Refusal.RESERVED),  # 6to4
        ("2620:4f:8000::/48", Refusal.RESERVED),
        ("3ffe::/16", Refusal.RESERVED),
        ("3fff::/20", Refusal.RESERVED),
    )
)
# RFC 5214: the last 64 bits of an ISATAP address are one of these and an IPv4 address.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An address taken apart. `host` is a lower-case name or an IP, IPv6 without brackets.

    `target` is what a request asks for, percent-encoded: the path and the query.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What a Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address, without a fragment."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Who is asked; custom headers go to nobody else."""
        return self.scheme, self.host, self.port


def parse_address(url: str, *, schemes: Collection[str] = WEB) -> WebAddress:
    """Return the address taken apart; raises UnsafeAddress for any that has two readings.

    Refuses credentials, backslashes, white space, control characters, ports of other services,
    names of private networks and odd spellings of IP addresses. An IP address in its usual
    spelling is let through here: `refusal_of` judges it.
    """
    if len(url) > LONGEST_ADDRESS:
        raise _malformed(f"The address has more than {LONGEST_ADDRESS} characters.")
    if any(c.isspace() or c == "\\" or unicodedata.category(c) in {"Cc", "Cs"} for c in url):
        raise _malformed(
            "The address contains a space, a backslash or a control character. Write %20 for a "
            "space."
        )
    parts = _URL.fullmatch(url)
    if parts is None or parts[1].lower() not in schemes:
        raise _malformed(f"The address must start with {' or '.join(_starts(schemes))}.")
    scheme = parts[1].lower()
    host, port = parse_authority(parts[2], scheme=scheme)
    target = quote(f"{parts[3] or '/'}{parts[4] or ''}", safe=_SAFE)
    return WebAddress(scheme, host, port, target)


def parse_redirect(address: WebAddress, location: str) -> WebAddress:
    """Return where a Location header of `address` leads; raises as `parse_address` does.

    `location` holds the header's bytes as Latin-1, as HTTP headers are read.
    """
    location = location.strip(" ")
    # Browsers drop tabs and line ends without a word: what is a path here is a host to them.
    if any(ord(c) < 0x20 or c in "\\\x7f" for c in location):
        raise _malformed("It redirects to an address with a backslash or a control character.")
    if _TWO_READINGS.match(location):
        raise _malformed("It redirects to an address with too many slashes, or too few.")
    try:
        url = urljoin(address.url, quote(location.encode("latin-1"), safe=_SAFE))
    except ValueError:
        raise _malformed("It redirects to something that is not an address.") from None
    return parse_address(url)


def parse_authority(authority: str, *, scheme: str) -> tuple[str, int]:
    """Return the host as `parse_host` does and the port; raises UnsafeAddress."""
    if "@" in authority:
        raise UnsafeAddress(Refusal.CREDENTIALS)
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise _malformed("The address has no usable host and port.")
    port = int(parts[2] or DEFAULT_PORTS[scheme])
    check_port(port, scheme=scheme)
    return parse_host(parts[1]), port


def check_port(port: int, *, scheme: str = "http") -> None:
    """Raise UnsafeAddress for a port that is none, or that belongs to another service."""
    if not 0 < port < 2**16:
        raise _malformed("A port is a number from 1 to 65535.")
    if port in _PORTS_OF_OTHERS and port != DEFAULT_PORTS[scheme]:
        raise UnsafeAddress(Refusal.PORT)


def parse_host(host: str) -> str:
    """Return the one spelling of a host: a lower-case ASCII name, or an IP without brackets.

    Raises UnsafeAddress for names of this machine and of private networks, and for what is
    neither a name nor an IP address as it is usually written.
    """
    if ":" in host or host.startswith("["):
        return _parse_ipv6(host.removeprefix("[").removesuffix("]"))
    name = _in_ascii(host)
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return _parse_ipv4(name)
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise _malformed("The address has no usable host name.")
    if name in _SELF_NAMES or name.endswith((".localhost", ".localdomain")):
        raise UnsafeAddress(Refusal.LOOPBACK)
    if _LAN_NAMES.fullmatch(name):
        raise UnsafeAddress(Refusal.LAN)
    return name


def ip_literal(host: str) -> IPAddress | None:
    """Return the IP address that a host from `parse_host` is, or None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def refusal_of(ip: IPAddress) -> Refusal | None:
    """Return why nothing may be fetched from `ip`, or None for a public unicast address."""
    if isinstance(ip, IPv4Address):
        return next((refusal for network, refusal in _NOT_PUBLIC_V4 if ip in network), None)
    for network, refusal in _NOT_PUBLIC_V6:
        if ip in network:
            return refusal
    is_tunnel = (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP
    return Refusal.RESERVED if ip not in _GLOBAL_UNICAST or is_tunnel or ip.scope_id else None


def _in_ascii(host: str) -> str:
    """Return a lower-case name as it is looked up: international labels in their xn-- spelling."""
    if host.isascii():
        return host.lower()
    odd = unicodedata.normalize("NFKC", host) != host or not _AMBIGUOUS.isdisjoint(host)
    labels = []
    for label in host.lower().split("."):
        if not label.isascii():
            odd = odd or label.isdecimal()
            try:
                label = label.encode("idna").decode()  # noqa: PLW2901 -- as it is looked up
            except UnicodeError:
                odd = True
            # A label that loses its odd characters on the way was written to hide something.
            odd = odd or not label.startswith("xn--")
        labels.append(label)
    if odd:
        raise _malformed("The host name is spelt oddly. Write it in its xn-- form.")
    return ".".join(labels)


def _parse_ipv4(host: str) -> str:
    try:
        return str(IPv4Address(host))
    except ValueError:
        message = "Write an IPv4 address as four decimal numbers, such as 93.184.215.14."
        raise _malformed(message) from None


def _parse_ipv6(host: str) -> str:
    try:
        ip = IPv6Address(host)
    except ValueError:
        raise _malformed("The address has no usable host.") from None
    if ip.scope_id is not None:
        raise UnsafeAddress(Refusal.LAN)
    return str(ip)


def _starts(schemes: Collection[str]) -> list[str]:
    return [f"{scheme}://" for scheme in DEFAULT_PORTS if scheme in schemes]


def _malformed(reason: str) -> UnsafeAddress:
    return UnsafeAddress(Refusal.MALFORMED, reason)
