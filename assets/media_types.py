"""What a file is, by its first bytes: as little as is needed to serve it rightly. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Atomic: no comment may be tried as part of another.
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+(?:<\?xml[^>]*+>\s*+)?"
    rb"(?>(?><!--.*?-->|<!DOCTYPE[^>\[]*+>)\s*+)*+<svg[\s>/]",
    re.DOTALL,
)
_BRANDS = {
    b"avif": ("image/avif", "avif"),
    b"avis": ("image/avif", "avif"),
    b"heic": ("image/heic", "heic"),
    b"heix": ("image/heic", "heic"),
    b"mif1": ("image/heif", "heif"),
    b"qt  ": ("video/quicktime", "mov"),
}
_BEGINNINGS = (
    (b"\xff\xd8\xff", "image/jpeg", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (b"GIF87a", "image/gif", "gif"),
    (b"GIF89a", "image/gif", "gif"),
)


@dataclass(frozen=True, slots=True)
class MediaType:
    """A kind of file; `is_active` when opening it could run something."""

    mimetype: str
    extension: str
    is_active: bool = False


def sniff(head: bytes) -> MediaType | None:
    """Return what begins like this; None for everything that is not known."""
    for beginning, mimetype, extension in _BEGINNINGS:
        if head.startswith(beginning):
            return MediaType(mimetype, extension)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return MediaType("image/webp", "webp")
    if head[4:8] == b"ftyp":
        return MediaType(*_BRANDS.get(head[8:12], ("video/mp4", "mp4")))
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        is_webm = b"webm" in head[:64]
        return MediaType(*(("video/webm", "webm") if is_webm else ("video/x-matroska", "mkv")))
    if _SVG.match(head):
        return MediaType("image/svg+xml", "svg", is_active=True)
    return None
