"""HTTP/1.1 messages from servers that may lie: heads with limits, bodies in pieces.

Called by assets.fetching and assets.fetch_proxy with a reader whose every read ends at a deadline.
http.client is not used for this: it believes a chunk size of -1, which reads an endless body into
memory, calls a truncated body complete, and takes an early hint (103) for the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.fetch_errors import FetchFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedIOBase

CHUNK = 64 * 1024
MAX_HEAD = 128 * 1024
MAX_FIELDS = 200
MAX_INTERIM = 10

_STATUS = re.compile(rb"(HTTP|RTSP)/1\.[01] ([1-9][0-9]{2})(?: .*)?", re.DOTALL)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_LONGEST_CHUNK_LINE = 4096
_FRAMING_FREE = 2**20
_FRAMING_PER_BYTE = 8


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a message, and its fields by lower-case name, as they came."""

    start: bytes
    fields: dict[str, list[str]]

    def get(self, name: str) -> str:
        """Return the first value of a field, empty without one."""
        return self.fields.get(name, [""])[0]


@dataclass(frozen=True, slots=True)
class Answer(Head):
    """The head of a server's answer."""

    status: int


def read_answer(reader: BufferedIOBase, *, protocol: str = "HTTP") -> Answer:
    """Return the head of the final answer, past any interim ones (1xx).

    Raises FetchFailed for what is not `protocol`, more than 200 fields and more than 128 KB.
    """
    for _ in range(MAX_INTERIM):
        head = read_head(reader)
        line = _STATUS.fullmatch(head.start)
        if line is None or line[1].decode() != protocol:
            raise FetchFailed(f"The server does not speak {protocol}.")
        status = int(line[2])
        if status >= 200 or status == 101:
            return Answer(head.start, head.fields, status)
    raise FetchFailed("The server announces an answer again and again and does not give one.")


def read_head(reader: BufferedIOBase) -> Head:
    """Return the lines of a message up to the empty one; raises FetchFailed beyond the limits."""
    lines: list[bytes] = []
    left = MAX_HEAD
    while True:
        line = reader.readline(left)
        left -= len(line)
        if left <= 0 or len(lines) > MAX_FIELDS:
            raise FetchFailed("The headers are longer than any sensible server's.")
        if not line.endswith(b"\n"):
            raise FetchFailed("The connection ended before the server had answered.")
        line = line.rstrip(b"\r\n")
        if not line:
            break
        lines.append(line)
    fields: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, colon, value = line.decode("latin-1").partition(":")
        # What is no field (a folded line, a stray sentence) says nothing that is needed here.
        if colon and not name[:1].isspace():
            fields.setdefault(name.strip().lower(), []).append(value.strip(" \t\r"))
    return Head(lines[0] if lines else b"", fields)


def content_length(answer: Answer) -> int | None:
    """Return the size a body is announced with, None without one; raises FetchFailed for a lie."""
    given = answer.fields.get("content-length")
    if given is None or "transfer-encoding" in answer.fields:
        return None
    if len(set(given)) != 1 or not _LENGTH.fullmatch(given[0]):
        raise FetchFailed("The server announces a size that is not a number.")
    return int(given[0])


def read_body(answer: Answer, reader: BufferedIOBase) -> Iterator[bytes]:
    """Yield the body in pieces of 64 KB at most.

    Raises FetchFailed when it is encoded in any way but in chunks, or ends before its end. A body
    with neither a size nor chunks ends where the connection does.
    """
    encoding = answer.get("content-encoding").lower()
    if encoding not in {"", "identity"}:
        raise FetchFailed(
            f"The server sends it compressed ({encoding:.20}), which it was told not to."
        )
    coding = answer.fields.get("transfer-encoding")
    if coding is not None:
        if [value.lower() for value in coding] != ["chunked"]:
            raise FetchFailed("The server sends it in an encoding that is not known here.")
        return _read_chunked(reader)
    length = content_length(answer)
    return _read_to_the_end(reader) if length is None else _read_exactly(reader, length)


def _read_to_the_end(reader: BufferedIOBase) -> Iterator[bytes]:
    while piece := reader.read(CHUNK):
        yield piece


def _read_exactly(reader: BufferedIOBase, length: int) -> Iterator[bytes]:
    while length:
        piece = reader.read(min(CHUNK, length))
        if not piece:
            raise FetchFailed("The connection ended before the whole file had arrived.")
        length -= len(piece)
        yield piece


def _read_chunked(reader: BufferedIOBase) -> Iterator[bytes]:
    sent, framing = 0, 0
    while True:
        line = reader.readline(_LONGEST_CHUNK_LINE)
        size = _CHUNK_SIZE.fullmatch(line.rstrip(b"\r\n")) if line.endswith(b"\n") else None
        if size is None:
            raise FetchFailed("The connection ended, or went wrong, before the whole file arrived.")
        length = int(size[1], 16)
        if not length:
            # What may follow (trailers) is of no interest: the connection is not used again.
            return
        yield from _read_exactly(reader, length)
        if reader.readline(2) not in {b"\r\n", b"\n"}:
            raise FetchFailed("The server sends more than it announces.")
        sent, framing = sent + length, framing + len(line)
        if framing > _FRAMING_FREE + _FRAMING_PER_BYTE * sent:
            raise FetchFailed("The server sends more wrapping than content.")
