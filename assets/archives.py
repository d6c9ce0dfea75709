"""Reads a gzipped tar archive that may lie, member by member, in bounded memory and time.

Called by assets.restoring. Pure: no Django, and nothing is ever written under a member's name.
Python's own tarfile reads headers of any length into memory and recurses through them, so headers
are read here (POSIX.1-2001 pax, ustar, GNU long names and the format of before).
"""

from __future__ import annotations

import gzip
import time
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
CHUNK_BYTES = 262_144
# A name in a file system has 255 bytes, and a path 4096.
MAX_HEADER_BYTES = 65_536
# A name of each kind, a record of each kind: no archive has more in front of one member.
MAX_HEADERS_IN_A_ROW = 8

_NO_DATA = frozenset(b"123456")
_FILES = frozenset(b"0\x007")


class InvalidArchive(Exception):
    """It cannot be read, or goes beyond a limit; str() is one sentence without a full stop."""


class Kind(Enum):
    """What a member is."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"  # links, devices, pipes, files with holes, what nobody knows


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the archive: its name as it says, and how many bytes follow."""

    name: str
    kind: Kind
    size: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may cost. `ratio` counts from `free_bytes` on, which any may unpack to."""

    members: int = 200_000
    free_bytes: int = 1 << 30
    ratio: int = 100
    seconds: float = 1800.0


class Archive:
    """An archive that is read once, from its beginning.

    The bytes of a member are read while it is the current one, or skipped. Iterating and reading
    raise InvalidArchive.
    """

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        """Read the gzipped archive in `file`, which can be sought in, from where it begins."""
        packed = file.seek(0, 2)
        file.seek(0)
        self._most = max(limits.free_bytes, packed * limits.ratio)
        self._members = limits.members
        self._ends = time.monotonic() + limits.seconds
        self._gzip = gzip.GzipFile(fileobj=file, mode="rb")
        self._taken = 0
        # What is unread of the current member, and of the block that its last byte lies in.
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """Yield every member in turn; the archive is known to be whole when this ends."""
        for _ in range(self._members):
            for _chunk in self.chunks():
                pass
            self._exactly(self._padding)
            self._padding = 0
            member = self._next()
            if member is None:
                while self._some(CHUNK_BYTES):  # its checksum comes last
                    pass
                return
            yield member
        raise InvalidArchive(f"It has more than {self._members} members")

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the current member that have not been read."""
        while self._left:
            chunk = self._some(min(CHUNK_BYTES, self._left))
            if not chunk:
                raise InvalidArchive("It is cut short")
            self._left -= len(chunk)
            yield chunk

    def _next(self) -> Member | None:
        name: bytes | None = None
        size: int | None = None
        holes = False
        for _ in range(MAX_HEADERS_IN_A_ROW):
            block = self._header()
            if block is None:
                return None
            kind = block[156]
            declared = _number(block[124:136])
            if kind in b"LKxg":
                content = self._extension(declared)
                if kind == ord("L"):
                    name = content.rstrip(b"\0")
                elif kind == ord("x"):
                    records = dict(_records(content))
                    name = records.get(b"path", name)
                    if b"size" in records:
                        size = _decimal(records[b"size"])
                    holes = holes or any(key.startswith(b"GNU.sparse") for key in records)
                continue
            return self._member(block, name, declared if size is None else size, holes=holes)
        raise InvalidArchive("It has headers of headers")

    def _member(self, block: bytes, name: bytes | None, size: int, *, holes: bool) -> Member:
        kind = block[156]
        if kind == ord("S"):
            raise InvalidArchive("It has files with holes")
        if name is None:
            name = block[:100].split(b"\0", 1)[0]
            prefix = block[345:500].split(b"\0", 1)[0]
            if prefix and block[257:263] == b"ustar\0":
                name = prefix + b"/" + name
        text = name.decode(errors="surrogateescape")
        what = Kind.OTHER
        if kind == ord("5") or (kind in _FILES and text.endswith("/")):
            what = Kind.FOLDER
        elif kind in _FILES and not holes:
            what = Kind.FILE
        self._left = 0 if kind in _NO_DATA else size
        self._padding = -self._left % BLOCK
        return Member(text, what, self._left)

    def _header(self) -> bytes | None:
        """Return a header; None at the end, which is two empty blocks or simply the end."""
        block = self._some(BLOCK)
        if not block:
            return None
        block += self._exactly(BLOCK - len(block))
        if not any(block):
            return None
        told = _number(block[148:156])
        if told != sum(block[:148]) + 8 * ord(" ") + sum(block[156:]):
            raise InvalidArchive("It is no tar archive, or is damaged")
        return block

    def _extension(self, size: int) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise InvalidArchive(f"It has a name of more than {MAX_HEADER_BYTES} bytes")
        content = self._exactly(size)
        self._exactly(-size % BLOCK)
        return content

    def _exactly(self, size: int) -> bytes:
        """Return `size` bytes, which are few."""
        found = self._some(size)
        if len(found) < size:
            raise InvalidArchive("It is cut short")
        return found

    def _some(self, size: int) -> bytes:
        if time.monotonic() > self._ends:
            raise InvalidArchive("It takes too long to read")
        try:
            found = self._gzip.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidArchive("It is no gzip file, or is damaged") from error
        self._taken += len(found)
        if self._taken > self._most:
            raise InvalidArchive(f"It unpacks to more than {self._most} bytes")
        return found


def _number(stored: bytes) -> int:
    """Return a number of a header: octal digits, or binary where the first bit is set."""
    if stored[0] & 0x80:
        if stored[0] != 0x80:
            raise InvalidArchive("It has a negative size")
        return int.from_bytes(stored[1:], "big")
    digits = stored.strip(b" \0").split(b"\0", 1)[0]
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise InvalidArchive("It is no tar archive, or is damaged") from None


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise InvalidArchive("It has a size that is no number")
    return int(text)


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield what a pax header says: records of `length key=value` and a line's end."""
    while content and content != b"\0" * len(content):
        told, _, _ = content.partition(b" ")
        length = _decimal(told)
        record = content[:length]
        key, equals, value = record[len(told) + 1 : -1].partition(b"=")
        if length <= len(told) or record[-1:] != b"\n" or not equals:
            raise InvalidArchive("It is no tar archive, or is damaged")
        yield key, value
        content = content[length:]
