"""Connections to public addresses only, each to the very address that was judged.

Called by assets.fetching and assets.fetch_proxy, which see host names and streams and never a
socket of their own. What counts as public is a value that is passed along (`Network`), strict by
default; no setting and no environment variable changes it.
"""

from __future__ import annotations

import io
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from assets.addresses import check_port, ip_literal, parse_host, refusal_of
from assets.fetch_errors import CannotLookUp, FetchFailed, Refusal, UnsafeAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

    from assets.addresses import IPAddress, WebAddress

MAX_TRIED = 4
"""How many addresses of a host are tried; all of them are judged."""

_WEB_PORTS = frozenset({80, 443})
# A look-up cannot be interrupted: the C library ends it after its own time. So many may linger.
_LOOK_UPS = threading.BoundedSemaphore(64)


class Pinned(NamedTuple):
    """An address that was judged, as socket.connect takes it."""

    family: socket.AddressFamily
    sockaddr: tuple[str, int] | tuple[str, int, int, int]


def look_up(host: str) -> list[str]:
    """Return every address of a name, in the order of preference; raises OSError.

    The name is looked up as it is: the dot at its end keeps the search domains of this machine out
    of it, which would find, and so tell of, hosts of the network it runs in.
    """
    found = socket.getaddrinfo(f"{host}.", None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


def own_address(pinned: Pinned) -> str:
    """Return which address of this machine it would connect from; empty without a way there.

    Connecting a datagram socket chooses the way and sends nothing.
    """
    with socket.socket(pinned.family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(pinned.sockaddr)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


Resolve: TypeAlias = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Network:
    """How names are looked up and what may be connected to; tests make their own.

    `allow` holds addresses and ports that need not be public; `authorities` certificates in PEM
    that are trusted besides the usual ones.
    """

    resolve: Resolve = look_up
    source: Callable[[Pinned], str] = own_address
    allow: frozenset[tuple[str, int]] = frozenset()
    authorities: str = ""


INTERNET = Network()


class Deadline:
    """An instant at which everything ends, however busy; `sentence` says so to a person."""

    def __init__(
        self, seconds: float, sentence: str = "It did not answer within {seconds} seconds."
    ) -> None:
        """Begin to count."""
        self._end = time.monotonic() + seconds
        self._sentence = sentence.format(seconds=f"{round(seconds, 1):g}")

    def remaining(self) -> float:
        """Return the seconds that are left, more than 0; raises FetchFailed without any."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> FetchFailed:
        """Return the error that says it has passed."""
        return FetchFailed(self._sentence)


def resolve_public(
    host: str, port: int, *, network: Network = INTERNET, deadline: Deadline
) -> list[Pinned]:
    """Return the addresses of a host, looked up once, to connect to and to nothing else.

    Raises UnsafeAddress when one of them is not public, or is this machine's own (but for the
    ports of the web): a firewall that keeps strangers out does not stand before ourselves. Raises
    FetchFailed when there is no such host.
    """
    check_port(port)
    return _judged(parse_host(host), port, network=network, deadline=deadline)


def _judged(host: str, port: int, *, network: Network, deadline: Deadline) -> list[Pinned]:
    literal = ip_literal(host)
    found = [literal] if literal else _looked_up(host, network, deadline)
    judged = []
    for ip in dict.fromkeys(found):
        pinned = _pinned(ip, port)
        if (str(ip), port) not in network.allow:
            if refusal := refusal_of(ip):
                raise UnsafeAddress(refusal)
            if port not in _WEB_PORTS and network.source(pinned) == str(ip):
                raise UnsafeAddress(Refusal.LOOPBACK)
        judged.append(pinned)
    return judged


def _looked_up(host: str, network: Network, deadline: Deadline) -> list[IPAddress]:
    """Return the addresses of a name by the deadline, on a thread that may end later."""
    answers: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

    def look() -> None:
        try:
            answers.put(network.resolve(host))
        except (OSError, ValueError) as error:
            answers.put(error)
        finally:
            _LOOK_UPS.release()

    if not _LOOK_UPS.acquire(timeout=deadline.remaining()):
        raise deadline.passed()
    threading.Thread(target=look, name="look-up", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.remaining())
    except queue.Empty:
        raise CannotLookUp(deadline.passed().reason) from None
    if isinstance(answer, socket.gaierror) and answer.errno == socket.EAI_AGAIN:
        raise CannotLookUp(f"The name {host} cannot be looked up now. Try again later.")
    addresses = [] if isinstance(answer, Exception) else [ip_literal(text) for text in answer]
    if not addresses:
        raise FetchFailed(f"There is no host named {host}.")
    if None in addresses:
        raise UnsafeAddress(Refusal.RESERVED)
    return [ip for ip in addresses if ip is not None]


def _pinned(ip: IPAddress, port: int) -> Pinned:
    if isinstance(ip, IPv4Address):
        return Pinned(socket.AF_INET, (str(ip), port))
    return Pinned(socket.AF_INET6, (str(ip), port, 0, 0))


class Stream(io.RawIOBase):
    """A connection whose every read and write ends at the deadline, in words (FetchFailed)."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        """Take the connection over."""
        self._connection = connection
        self._deadline = deadline
        self.reader = io.BufferedReader(self, 64 * 1024)

    def readable(self) -> bool:
        """Say yes, as io.BufferedReader asks."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what has come, or wait for something; 0 at the end."""
        with explained(self._deadline):
            self._connection.settimeout(self._deadline.remaining())
            return self._connection.recv_into(buffer)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        rest = memoryview(data)
        with explained(self._deadline):
            while rest:
                self._connection.settimeout(self._deadline.remaining())
                rest = rest[self._connection.send(rest) :]

    def close(self) -> None:
        """Hang up, without a farewell that a server could keep waiting for."""
        self._connection.close()
        super().close()


@contextmanager
def open_stream(
    address: WebAddress, *, network: Network, deadline: Deadline, verify_tls: bool = True
) -> Iterator[Stream]:
    """Open a connection to where `address` is now, secured for https; raises CannotFetch."""
    connection = connect(address.host, address.port, network=network, deadline=deadline)
    try:
        if address.scheme == "https":
            context = _tls(network.authorities, verify=verify_tls)
            with explained(deadline):
                connection.settimeout(deadline.remaining())
                connection = context.wrap_socket(connection, server_hostname=address.host)
        stream = Stream(connection, deadline)
    except BaseException:
        connection.close()
        raise
    with closing(stream):
        yield stream


def connect(host: str, port: int, *, network: Network, deadline: Deadline) -> socket.socket:
    """Return a connection to a host of assets.addresses, which was judged a moment ago.

    Raises UnsafeAddress before any connection, FetchFailed when none of the addresses answers.
    """
    tried = _judged(host, port, network=network, deadline=deadline)[:MAX_TRIED]
    while True:
        pinned = tried.pop(0)
        connection = socket.socket(pinned.family, socket.SOCK_STREAM)
        try:
            with explained(deadline):
                # An address that is silent leaves the others their share of the time.
                connection.settimeout(deadline.remaining() / (len(tried) + 1))
                connection.connect(pinned.sockaddr)
        except FetchFailed:
            connection.close()
            if not tried:
                raise
        except BaseException:
            connection.close()
            raise
        else:
            return connection


@contextmanager
def explained(deadline: Deadline) -> Iterator[None]:
    """Turn what sockets and TLS raise into sentences (FetchFailed)."""
    try:
        yield
    except TimeoutError:
        raise deadline.passed() from None
    except ssl.SSLCertVerificationError as error:
        message = error.verify_message.rstrip(".")
        raise FetchFailed(f"The certificate is not valid: {message}.") from None
    except ssl.SSLError as error:
        reason = (error.reason or "TLS failed").replace("_", " ").lower()
        raise FetchFailed(f"No secure connection could be made: {reason}.") from None
    except ConnectionRefusedError:
        raise FetchFailed("Nothing answers at this address and port.") from None
    except ConnectionError:
        raise FetchFailed("The server closed the connection.") from None
    except OSError as error:
        raise FetchFailed(f"The server cannot be reached: {error.strerror}.") from None


@lru_cache(maxsize=8)
def _tls(authorities: str, *, verify: bool) -> ssl.SSLContext:
    """Return how TLS is spoken: the machine's authorities, 1.2 or later."""
    context = ssl.create_default_context()
    if authorities:
        context.load_verify_locations(cadata=authorities)
    if not verify:
        # Asked for by the asset (`skip_ssl_verify`), for screens that show self-signed servers.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
