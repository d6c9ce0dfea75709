"""The one way in which Signate fetches what somebody else named: reachability and downloads.

Called by the worker, and by the REST shim for its short probe; never inside a transaction. Nothing
else in Signate opens an address that came from outside. What is refused and why is in
docs/decisions/fetching.md; how connections are made in assets.network.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from assets.addresses import WEB, parse_address, parse_redirect
from assets.fetch_errors import CannotFetch, FetchFailed, Refusal, UnsafeAddress, too_large
from assets.fetch_proxy import FetchProxy
from assets.http_messages import content_length, read_answer, read_body
from assets.network import INTERNET, Deadline, Network, open_stream, resolve_public

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from assets.addresses import WebAddress
    from assets.http_messages import Answer
    from assets.network import Stream

__all__ = [
    "CannotFetch",
    "Downloaded",
    "FetchFailed",
    "FetchProxy",
    "Network",
    "Refusal",
    "UnsafeAddress",
    "download",
    "probe",
    "resolve_public",
]

MAX_REDIRECTS = 5
USER_AGENT = "Mozilla/5.0 (compatible; Signate)"

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What says where the request goes, how it is framed, or that a part of the answer is enough.
_OURS = frozenset(
    {
        *("host", "content-length", "content-encoding", "transfer-encoding", "connection"),
        *("keep-alive", "te", "trailer", "upgrade", "http2-settings", "expect"),
        *("accept-encoding", "range", "if-range", "if-match", "if-none-match"),
        *("if-modified-since", "if-unmodified-since"),
    }
)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What came: bytes, their MD5 in hex, the media type the server claims, where they came from.

    `content_type` has no parameters, is lower-case, is empty without a claim, and proves nothing.
    """

    size: int
    md5: str
    content_type: str
    final_url: str


def probe(
    url: str,
    *,
    timeout: float = 10,
    verify_tls: bool = True,
    headers: Mapping[str, str] | None = None,
    network: Network = INTERNET,
) -> None:
    """Return when `url` answers with less than 400 to HEAD or else to GET (SPEC section 4).

    `timeout` is for everything together, in seconds. The body of an answer is not read. An rtsp
    address is asked for its OPTIONS: ffprobe, which Anthias uses, would look the name up a second
    time and go wherever that says.

    Raises UnsafeAddress without having connected when the address, or one that it redirects to,
    is not public; FetchFailed when it does not answer well.
    """
    address = parse_address(url, schemes={*WEB, "rtsp"})
    deadline = Deadline(timeout)
    if address.scheme == "rtsp":
        _probe_rtsp(address, network=network, deadline=deadline)
        return
    asking = _Asking(network=network, verify_tls=verify_tls, headers=headers or {})
    try:
        # A server that never answers HEAD must leave time for GET.
        with asking.answer("HEAD", address, Deadline(timeout / 2)) as (_, answer, _):
            _refuse_failure(answer)
    except FetchFailed:
        with asking.answer("GET", address, deadline) as (_, answer, _):
            _refuse_failure(answer)


def download(
    url: str,
    target_file: IO[bytes],
    *,
    max_bytes: int,
    timeout: float,
    verify_tls: bool = True,
    headers: Mapping[str, str] | None = None,
    on_chunk: Callable[[int], None] | None = None,
    network: Network = INTERNET,
) -> Downloaded:
    """Write what `url` answers into `target_file`, which stays open, and say what it was.

    `timeout` is for everything together, in seconds. `on_chunk` is called with the bytes so far
    after each piece of 64 KB at most; what it raises ends the download.

    Raises UnsafeAddress without having connected, FetchFailed for any answer but a whole 200 of
    `max_bytes` at most. What was written until then is the caller's to throw away; it is never
    more than `max_bytes`.
    """
    address = parse_address(url)
    deadline = Deadline(timeout, "The download did not end within {seconds} seconds.")
    asking = _Asking(network=network, verify_tls=verify_tls, headers=headers or {}, keep_tls=True)
    md5 = hashlib.md5(usedforsecurity=False)
    size = 0
    with asking.answer("GET", address, deadline) as (final, answer, stream):
        _refuse_failure(answer)
        if answer.status != 200:
            raise FetchFailed(f"The server answered {answer.status} instead of a file.")
        if (content_length(answer) or 0) > max_bytes:
            raise too_large(max_bytes)
        for piece in read_body(answer, stream.reader):
            size += len(piece)
            if size > max_bytes:
                raise too_large(max_bytes)
            md5.update(piece)
            target_file.write(piece)
            if on_chunk is not None:
                on_chunk(size)
    content_type = answer.get("content-type").partition(";")[0].strip().lower()
    return Downloaded(size, md5.hexdigest(), content_type, final.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """How every hop of one fetch is asked."""

    network: Network
    verify_tls: bool
    headers: Mapping[str, str]
    # A file that was asked for over TLS is not stored from a hop that anybody can change. A probe
    # stores nothing and goes where the players' browsers go.
    keep_tls: bool = False

    @contextmanager
    def answer(
        self, method: str, address: WebAddress, deadline: Deadline
    ) -> Iterator[tuple[WebAddress, Answer, Stream]]:
        """Follow redirects and open the answer at their end; every hop is judged anew."""
        headers = {
            name: value
            for name, value in self.headers.items()
            if _HEADER_NAME.fullmatch(name)
            and not _CONTROL.search(value)
            and name.lower() not in _OURS
            and not name.lower().startswith("proxy-")
        }
        for _ in range(MAX_REDIRECTS + 1):
            with open_stream(
                address, network=self.network, deadline=deadline, verify_tls=self.verify_tls
            ) as stream:
                stream.send(_request(method, address, headers))
                answer = read_answer(stream.reader)
                if answer.status not in _REDIRECTS or not answer.get("location"):
                    yield address, answer, stream
                    return
            following = parse_redirect(address, answer.get("location"))
            is_downgrade = (address.scheme, following.scheme) == ("https", "http")
            if is_downgrade and self.keep_tls and self.verify_tls:
                raise FetchFailed(
                    "It redirects from https to http, where anybody in between can change the file."
                )
            if following.origin != address.origin:
                headers = {}
            address = following
        raise FetchFailed(f"It redirects more than {MAX_REDIRECTS} times.")


def _request(method: str, address: WebAddress, headers: Mapping[str, str]) -> bytes:
    named = {"user-agent": ("User-Agent", USER_AGENT), "accept": ("Accept", "*/*")}
    named |= {name.lower(): (name, value) for name, value in headers.items()}
    lines = [
        f"{method} {address.target} HTTP/1.1",
        f"Host: {address.authority}",
        "Accept-Encoding: identity",
        "Connection: close",
        *(f"{name}: {value}" for name, value in named.values()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _refuse_failure(answer: Answer) -> None:
    if not 200 <= answer.status < 400:
        raise FetchFailed(f"The server answered {answer.status}.")


def _probe_rtsp(address: WebAddress, *, network: Network, deadline: Deadline) -> None:
    with open_stream(address, network=network, deadline=deadline) as stream:
        lines = f"OPTIONS {address.url} RTSP/1.0", "CSeq: 1", f"User-Agent: {USER_AGENT}"
        stream.send("\r\n".join([*lines, "", ""]).encode())
        _refuse_failure(read_answer(stream.reader, protocol="RTSP"))
