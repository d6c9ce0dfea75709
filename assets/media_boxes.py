"""The boxes of MP4 and QuickTime files (ISO 14496-12), as far as one needs to know a video.

Called by assets.media_videos for every such file: it tells a file that was cut off from one that is
whole, which decoders do not mind until they get there, and it knows sizes and durations where
ffprobe is not installed. Reads headers only, and never the same byte twice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from assets.media import MediaRefused
from assets.media_work import CUT_OFF

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAMAGED = "The video is damaged: its parts do not fit together."
_MOST_BOXES = 100_000
# What is looked into, and where: nothing can be in itself, so five levels are all there are.
_INSIDE = {
    b"moov": frozenset({b"trak", b"mvex"}),
    b"trak": frozenset({b"mdia"}),
    b"mdia": frozenset({b"minf"}),
    b"minf": frozenset({b"stbl"}),
}
_UNKNOWN = frozenset({0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF})
# The names that ffprobe and Anthias have for sample entries (mp4ra.org).
_CODECS = {
    **dict.fromkeys((b"avc1", b"avc2", b"avc3", b"avc4"), "h264"),
    **dict.fromkeys((b"hvc1", b"hev1", b"dvh1", b"dvhe"), "hevc"),
    b"av01": "av1",
    b"vp08": "vp8",
    b"vp09": "vp9",
    b"mp4v": "mpeg4",
    b"s263": "h263",
    b"jpeg": "mjpeg",
    b"mp4a": "aac",
    b"Opus": "opus",
    b"ac-3": "ac3",
    b"ec-3": "eac3",
}


@dataclass(slots=True)
class Track:
    """One track: what it is for (`b"vide"`, `b"soun"`), its pixels as shown, its codec."""

    handler: bytes = b""
    width: int = 0
    height: int = 0
    codec: str = ""


@dataclass(slots=True)
class Movie:
    """What the boxes say; `duration` is in seconds, None where they do not say."""

    duration: float | None = None
    timescale: int = 0
    tracks: list[Track] = field(default_factory=list)

    def first(self, handler: bytes) -> Track | None:
        """Return the first track for this purpose."""
        return next((track for track in self.tracks if track.handler == handler), None)


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    end: int


def read_boxes(file: IO[bytes]) -> Movie:
    """Return what the boxes say; raises MediaRefused when they are cut off or do not fit."""
    movie = Movie()
    left = [_MOST_BOXES]
    length = os.fstat(file.fileno()).st_size
    found = set()
    for box in _boxes(file, 0, length, left):
        found.add(box.kind)
        if box.kind == b"moov":
            _read_folder(file, box, movie, left)
    if b"moov" not in found:
        # Many writers put it last: what was cut off lacks it.
        raise MediaRefused(CUT_OFF if b"mdat" in found else _DAMAGED)
    return movie


def _boxes(file: IO[bytes], start: int, end: int, left: list[int]) -> Iterator[_Box]:
    """Yield the boxes between two places; each begins where the one before it ends."""
    is_outermost = start == 0
    while start + 8 <= end:
        left[0] -= 1
        if left[0] < 0:
            raise MediaRefused(_DAMAGED)
        file.seek(start)
        head = file.read(16)
        size, kind, content = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if size == 1:
            size, content = int.from_bytes(head[8:16], "big"), start + 16
        elif size == 0:
            # Up to the end: said of the last box of a file, or, in old movies, of a list.
            size = end - start
        if start + size < content:
            raise MediaRefused(_DAMAGED)
        if start + size > end:
            raise MediaRefused(CUT_OFF if is_outermost else _DAMAGED)
        yield _Box(kind, content, start + size)
        start += size


def _read_folder(file: IO[bytes], folder: _Box, movie: Movie, left: list[int]) -> None:
    for box in _boxes(file, folder.start, folder.end, left):
        if box.kind == b"trak":
            movie.tracks.append(Track())
        if box.kind in _INSIDE.get(folder.kind, ()):
            _read_folder(file, box, movie, left)
            continue
        file.seek(box.start)
        content = file.read(min(box.end - box.start, 128))
        if box.kind in {b"mvhd", b"mehd"}:
            _read_duration(box.kind, content, movie)
        elif movie.tracks:
            _read_track(box.kind, content, movie.tracks[-1])


def _read_duration(kind: bytes, content: bytes, movie: Movie) -> None:
    """Take the duration of the movie (section 8.2.2), or of its fragments (section 8.8.2)."""
    width = 8 if content[:1] == b"\x01" else 4
    at = 4
    if kind == b"mvhd":
        movie.timescale = int.from_bytes(content[4 + 2 * width :][:4], "big")
        at = 8 + 2 * width
    ticks = int.from_bytes(content[at : at + width], "big")
    if movie.timescale and ticks and ticks not in _UNKNOWN:
        movie.duration = ticks / movie.timescale


def _read_track(kind: bytes, content: bytes, track: Track) -> None:
    """Take what one box inside a track says of it (sections 8.3.2, 8.4.3 and 8.5.2)."""
    if kind == b"hdlr" and not track.handler:
        track.handler = content[8:12]
    elif kind == b"tkhd":
        matrix = 52 if content[:1] == b"\x01" else 40
        across, down = content[matrix : matrix + 4], content[matrix + 36 : matrix + 44]
        track.width, track.height = _fixed(down[:4]), _fixed(down[4:])
        if across == bytes(4):
            # Turned by a quarter: what was across is down.
            track.width, track.height = track.height, track.width
    elif kind == b"stsd":
        track.codec = _CODECS.get(content[12:16], "")


def _fixed(number: bytes) -> int:
    """Return a fixed-point number (16.16) to the nearest whole one."""
    return round(int.from_bytes(number, "big") / 65_536)
