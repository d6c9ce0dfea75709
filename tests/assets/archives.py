"""Archives for tests of restores: honest ones, and such as Python's tarfile would not write."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Members = dict[str, bytes | None]


def archive_of(members: Members, *more: tarfile.TarInfo) -> io.BytesIO:
    """Pack members, a folder where there is no content, and headers without any."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
        for member in more:
            archive.addfile(member)
    file.seek(0)
    return file


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Return the header of a link or a device."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """Return a header as its parts say, with a right checksum."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def packed(blocks: Iterable[bytes]) -> io.BytesIO:
    """Compress what is given and nothing else."""
    return io.BytesIO(gzip.compress(b"".join(blocks)))
