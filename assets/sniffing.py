"""Decides from its first bytes what a file is; a name or a declared type never has a say.

Called by whatever takes files in, and by assets.media. Pure: no Django, no file, no decoder. It
only recognises: whether the rest of the file is sound is assets.media's to find out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_BYTES = 4096
"""How much of a file `sniff` looks at."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """What a file is: `MediaType("image", "image/png", ".png")`.

    `is_active` marks what may carry scripts (SVG): it is kept, and served inert.
    """

    kind: Literal["image", "video"]
    mimetype: str
    extension: str
    is_active: bool = False


PNG = MediaType("image", "image/png", ".png")
JPEG = MediaType("image", "image/jpeg", ".jpg")
GIF = MediaType("image", "image/gif", ".gif")
WEBP = MediaType("image", "image/webp", ".webp")
BMP = MediaType("image", "image/bmp", ".bmp")
TIFF = MediaType("image", "image/tiff", ".tiff")
HEIC = MediaType("image", "image/heic", ".heic")
HEIF = MediaType("image", "image/heif", ".heif")
AVIF = MediaType("image", "image/avif", ".avif")
SVG = MediaType("image", "image/svg+xml", ".svg", is_active=True)
MP4 = MediaType("video", "video/mp4", ".mp4")
M4V = MediaType("video", "video/x-m4v", ".m4v")
MOV = MediaType("video", "video/quicktime", ".mov")
THREE_GP = MediaType("video", "video/3gpp", ".3gp")
WEBM = MediaType("video", "video/webm", ".webm")
MATROSKA = MediaType("video", "video/x-matroska", ".mkv")
MPEG_TS = MediaType("video", "video/mp2t", ".ts")
MPEG_PS = MediaType("video", "video/mpeg", ".mpg")
AVI = MediaType("video", "video/x-msvideo", ".avi")
FLV = MediaType("video", "video/x-flv", ".flv")
OGG = MediaType("video", "video/ogg", ".ogv")
WMV = MediaType("video", "video/x-ms-wmv", ".wmv")

TYPES = (
    *(PNG, JPEG, GIF, WEBP, BMP, TIFF, HEIC, HEIF, AVIF, SVG),
    *(MP4, M4V, MOV, THREE_GP, WEBM, MATROSKA, MPEG_TS, MPEG_PS, AVI, FLV, OGG, WMV),
)
"""Everything that `sniff` can answer with."""

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0\x08\0\0\0", TIFF),  # BigTIFF
    (b"MM\0+\0\x08\0\0", TIFF),
    (b"\0\0\x01\xba", MPEG_PS),
    (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), WMV),
)
_RIFF = {b"WEBP": WEBP, b"AVI ": AVI}
# The header sizes that a Windows or OS/2 bitmap may have; "BM" alone begins many a word.
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
# ISO 14496-12 section 4.3 and the register at mp4ra.org: the major brand says what a file is for.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), HEIC),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    **dict.fromkeys((b"M4V ", b"M4VH", b"M4VP"), M4V),
    b"qt  ": MOV,
}
_IMAGE_CONTAINERS = frozenset({b"mif1", b"mif2", b"msf1", b"miaf"})
_MP4_BRANDS = frozenset(
    {b"isom", b"mp41", b"mp42", b"mp71", b"avc1", b"hvc1", b"av01", b"dash", b"cmfc", b"cmf2"}
    | {b"mmp4", b"MSNV", b"f4v ", b"F4V ", b"XAVC", b"NDSC", b"NDXC", b"CAEP", b"nvr1", b"MP4 "}
    | {b"iso%d" % number for number in range(2, 10)}
)
_SOUND_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "})
# QuickTime before 2005 has no ftyp; these are the boxes such a file may begin with.
_BOXES_OF_OLD_MOVIES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_OGG_PICTURES = (b"\x80theora", b"OVP80\x01", b"BBCD\0", b"\x01video\0")
_TS_PACKET = 188
_EBML = b"\x1a\x45\xdf\xa3"
_EBML_DOCTYPE = 0x4282
_DOCTYPES = {b"webm": WEBM, b"matroska": MATROSKA}

_NEITHER = "not an image or a video."
_SOUND = "This is sound without a picture. Signate shows images and videos."
_LOOKS_LIKE = (
    (b"%PDF-", f"This looks like a PDF document, {_NEITHER} Export its pages as PNG."),
    (b"PK\x03\x04", f"This looks like a ZIP archive or an office document, {_NEITHER}"),
    (b"PK\x05\x06", f"This looks like a ZIP archive, {_NEITHER}"),
    (b"Rar!\x1a\x07", f"This looks like an archive, {_NEITHER}"),
    (b"7z\xbc\xaf\x27\x1c", f"This looks like an archive, {_NEITHER}"),
    (b"\x1f\x8b", f"This looks like a compressed file, {_NEITHER} Unpack it first."),
    (b"BZh", f"This looks like a compressed file, {_NEITHER} Unpack it first."),
    (b"\xfd7zXZ\0", f"This looks like a compressed file, {_NEITHER} Unpack it first."),
    (b"\x28\xb5\x2f\xfd", f"This looks like a compressed file, {_NEITHER} Unpack it first."),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"This looks like an office document, {_NEITHER}"),
    (b"{\\rtf", f"This looks like a text document, {_NEITHER}"),
    (b"%!PS", f"This looks like a PostScript document, {_NEITHER} Export it as PNG."),
    (b"8BPS", "This looks like a Photoshop document. Export it as PNG or JPEG."),
    (b"\0\0\x01\0", "This looks like an icon. Save it as PNG."),
    (b"\xff\x0a", "JPEG XL is not supported. Save it as JPEG, PNG or WebP."),
    (b"\0\0\0\x0cJXL ", "JPEG XL is not supported. Save it as JPEG, PNG or WebP."),
    (b"\0\0\0\x0cjP  ", "JPEG 2000 is not supported. Save it as JPEG, PNG or WebP."),
    (b"#EXTM3U", f"This looks like a playlist, {_NEITHER} Add its address as an asset instead."),
    (b"[playlist]", f"This looks like a playlist, {_NEITHER}"),
    (b"ffconcat version", f"This looks like a playlist, {_NEITHER}"),
    (b"ID3", _SOUND),
    (b"fLaC", _SOUND),
    (b"OggS", _SOUND),
    (b"\xff\xfb", _SOUND),
    (b"\xff\xf3", _SOUND),
    (b"\xff\xf1", _SOUND),
    (b"\0\x01\0\0\0", f"This looks like a font, {_NEITHER}"),
    (b"OTTO", f"This looks like a font, {_NEITHER}"),
    (b"ttcf", f"This looks like a font, {_NEITHER}"),
    (b"wOFF", f"This looks like a font, {_NEITHER}"),
    (b"wOF2", f"This looks like a font, {_NEITHER}"),
    (b"MZ", f"This looks like a program, {_NEITHER}"),
    (b"\x7fELF", f"This looks like a program, {_NEITHER}"),
    (b"#!", f"This looks like a script, {_NEITHER}"),
    (b"<?php", f"This looks like a script, {_NEITHER}"),
    (b"SQLite format 3\0", f"This looks like a database, {_NEITHER}"),
)
# What no text has, and no XML may have.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_WEB_PAGE_TAGS = ("html", "head", "body", "script", "iframe", "title", "style", "div", "p", "a")


def sniff(head: bytes) -> MediaType | None:
    """Return what the file that begins with `head` is, None when no image and no video.

    `head` is the first HEAD_BYTES of it, or all of it. What follows a signature does not matter: a
    PNG with a web page behind it is a PNG, and is served as nothing else.
    """
    head = head[:HEAD_BYTES]
    for beginning, media_type in _BEGINNINGS:
        if head.startswith(beginning):
            return media_type
    recognise = (_riff, _bmp, _boxes, _ebml, _flv, _ogg, _mpeg_ts, _svg)
    return next(filter(None, (look(head) for look in recognise)), None)


def refusal(head: bytes) -> str:
    """Return a sentence that says what a file `sniff` does not know looks like."""
    head = head[:HEAD_BYTES]
    if not head:
        return "The file is empty."
    for beginning, sentence in _LOOKS_LIKE:
        if head.startswith(beginning):
            return sentence
    if _is_sound(head):
        return _SOUND
    text = _text(head)
    return f"This is {_NEITHER}" if text is None else f"This looks like {_genre(text)}, {_NEITHER}"


def _riff(head: bytes) -> MediaType | None:
    return _RIFF.get(head[8:12]) if head.startswith(b"RIFF") else None


def _bmp(head: bytes) -> MediaType | None:
    if not head.startswith(b"BM") or len(head) < 26:
        return None
    return BMP if int.from_bytes(head[14:18], "little") in _BMP_HEADERS else None


def _brands(head: bytes) -> tuple[bytes, ...]:
    """Return the major brand and the compatible ones of a file that begins with a ftyp box."""
    if head[4:8] != b"ftyp" or len(head) < 12:
        return ()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    # Between the two lies a version of four bytes.
    return tuple(head[at : at + 4] for at in (8, *range(16, end - 3, 4)))


def _boxes(head: bytes) -> MediaType | None:
    brands = _brands(head)
    if not brands:
        is_old = head[:1] == b"\0" and head[4:8] in _BOXES_OF_OLD_MOVIES
        return MOV if is_old else None
    return _of_brands(*brands)


def _of_brands(major: bytes, *compatible: bytes) -> MediaType | None:
    if major in _IMAGE_CONTAINERS:
        # The container only says "a picture": the compatible brands say how it is coded.
        coded = (_BRANDS.get(brand) for brand in compatible)
        return next((known for known in coded if known in {HEIC, AVIF}), HEIF)
    if major in _BRANDS:
        return _BRANDS[major]
    if major[:3] in {b"3gp", b"3g2", b"3ge"}:
        return THREE_GP
    is_video = not _MP4_BRANDS.isdisjoint((major, *compatible)) and major not in _SOUND_BRANDS
    return MP4 if is_video else None


def _ebml(head: bytes) -> MediaType | None:
    if not head.startswith(_EBML):
        return None
    return next(
        (
            _DOCTYPES.get(value.rstrip(b"\0"))
            for key, value in _ebml_header(head)
            if key == _EBML_DOCTYPE
        ),
        None,
    )


def _ebml_header(head: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the ids and values inside the EBML header (RFC 8794), as far as they are there."""
    size, at = _ebml_number(head, 4)
    end = min(at + size, len(head))
    while at + 2 < end:
        width = 9 - head[at].bit_length()
        key = int.from_bytes(head[at : at + width], "big")
        size, start = _ebml_number(head, at + width)
        yield key, head[start : min(start + size, end)]
        at = start + size


def _ebml_number(head: bytes, at: int) -> tuple[int, int]:
    """Return the number of variable length at `at`, and where the next thing begins."""
    first = head[at] if at < len(head) else 0
    width = 9 - first.bit_length()
    digits = bytes([first & (0xFF >> width)]) + head[at + 1 : at + width]
    return int.from_bytes(digits, "big"), at + width


def _flv(head: bytes) -> MediaType | None:
    # The flags are 4 for sound, 1 for pictures; some writers set none.
    return FLV if head.startswith(b"FLV\x01") and head[4:5] != b"\x04" else None


def _ogg(head: bytes) -> MediaType | None:
    has_pictures = any(codec in head for codec in _OGG_PICTURES)
    return OGG if head.startswith(b"OggS") and has_pictures else None


def _mpeg_ts(head: bytes) -> MediaType | None:
    """Five packets in their places, each with a G in front and saying that it holds something."""
    packets = [head[at : at + 4] for at in range(0, 5 * _TS_PACKET, _TS_PACKET)]
    is_sound = all(len(each) == 4 and each[0] == 0x47 and each[3] & 0x30 for each in packets)
    return MPEG_TS if is_sound else None


def _svg(head: bytes) -> MediaType | None:
    text = _text(head)
    if text is None:
        return None
    return SVG if _root_element(text) == "svg" else None


def _text(head: bytes) -> str | None:
    """Return the head as text, without its byte order mark and outer space; None for binary."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", errors="replace").strip()
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")
    return None if _CONTROL.search(text) else text.strip()


def _root_element(text: str) -> str:
    """Return the local name of an XML document's root, "" where there is none in sight.

    Skips what may stand before a root: declarations, comments and a document type. A document
    type of another name than the root's is no document at all.
    """
    declared = ""
    while text.startswith(("<?", "<!")):
        if text.startswith("<!--"):
            text = text.partition("-->")[2]
        elif text.startswith("<?"):
            text = text.partition("?>")[2]
        elif text.startswith("<!DOCTYPE"):
            declared = _name(text[len("<!DOCTYPE") :].lstrip())
            before, bracket, inside = text.partition("[")
            # A bracket behind the end of the document type belongs to the content.
            if bracket and ">" not in before:
                text = inside.partition("]")[2]
            text = text.partition(">")[2]
        else:
            return ""
        text = text.lstrip()
    if not text.startswith("<"):
        return ""
    root = _name(text[1:])
    return root.rpartition(":")[2] if declared in {"", root} else ""


def _name(text: str) -> str:
    end = next((at for at, mark in enumerate(text) if mark.isspace() or mark in "/>[<"), len(text))
    return text[:end]


def _genre(text: str) -> str:
    root = _root_element(text)
    if _is_web_page(text, root):
        return "a web page"
    return "an XML document" if root or text.startswith("<?xml") else "text"


def _is_web_page(text: str, root: str) -> bool:
    low = text.lower()
    if root.lower() in _WEB_PAGE_TAGS or low.startswith("<!doctype html"):
        return True
    return "<html" in low or "<script" in low


def _is_sound(head: bytes) -> bool:
    brands = _brands(head)
    is_wave = head.startswith(b"RIFF") and head[8:12] == b"WAVE"
    is_flv = head.startswith(b"FLV\x01")
    return is_wave or is_flv or bool(brands and brands[0] in _SOUND_BRANDS)
