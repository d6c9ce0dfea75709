"""What a file is, told from its first bytes alone."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.sniffing import (
    AVI,
    AVIF,
    BMP,
    FLV,
    GIF,
    HEAD_BYTES,
    HEIC,
    HEIF,
    JPEG,
    M4V,
    MATROSKA,
    MOV,
    MP4,
    MPEG_PS,
    MPEG_TS,
    OGG,
    PNG,
    SVG,
    THREE_GP,
    TIFF,
    TYPES,
    WEBM,
    WEBP,
    WMV,
    MediaType,
    refusal,
    sniff,
)
from tests.assets import media_library as library

FIXTURES = Path(__file__).resolve().parent.parent / "data" / "anthias" / "fixtures"
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")

LATE_SVG = (
    b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- <html> -->\n<?style x?>'
    b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/" [\n'
    b'<!ENTITY a "b">]>\n<svg>'
)


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    return library.box(b"ftyp", major, bytes(4), *compatible)


KNOWN: dict[str, tuple[bytes, MediaType]] = {
    "png": (library.picture("PNG"), PNG),
    "jpeg": (library.picture("JPEG"), JPEG),
    "gif": (library.picture("GIF"), GIF),
    "gif of 1987": (b"GIF87a" + bytes(9), GIF),
    "webp": (library.picture("WEBP"), WEBP),
    "bmp": (library.picture("BMP"), BMP),
    "bmp of OS/2": (b"BM" + bytes(12) + struct.pack("<I", 12) + bytes(8), BMP),
    "tiff, little end first": (library.picture("TIFF"), TIFF),
    "tiff, big end first": (library.saved(library.image(), "TIFF", big_tiff=False), TIFF),
    "tiff of Motorola": (b"MM\0*\0\0\0\x08", TIFF),
    "BigTIFF": (library.picture("TIFF", big_tiff=True), TIFF),
    "BigTIFF of Motorola": (b"MM\0+\0\x08\0\0" + bytes(8), TIFF),
    "heic": (library.picture("HEIF"), HEIC),
    "heic in a general container": (ftyp(b"mif1", b"mif1", b"heic"), HEIC),
    "heif of another coding": (ftyp(b"mif1", b"mif1", b"miaf"), HEIF),
    "avif": (library.picture("AVIF"), AVIF),
    "avif in a general container": (ftyp(b"mif1", b"miaf", b"avif"), AVIF),
    "avif sequence": (ftyp(b"avis", b"msf1"), AVIF),
    "svg": (library.SVG, SVG),
    "svg with everything before": (LATE_SVG, SVG),
    "svg with a prefix": (b'<s:svg xmlns:s="http://www.w3.org/2000/svg">', SVG),
    "svg in UTF-16": ('\ufeff<?xml version="1.0"?><svg/>'.encode("utf-16-le"), SVG),
    "svg in UTF-16, big end first": ("\ufeff<svg width='1'>".encode("utf-16-be"), SVG),
    "svg with an empty root": (b"<svg/>", SVG),
    "svg whose content has a bracket": (b"<!DOCTYPE svg><svg><text>[a]&gt;</text></svg>", SVG),
    "mp4": (library.mp4(), MP4),
    "mp4 of Anthias": ((FIXTURES / "tiny.mp4").read_bytes(), MP4),
    "mp4 with a brand of its own": (ftyp(b"abcd", b"isom"), MP4),
    "m4v": (ftyp(b"M4V ", b"isom"), M4V),
    "mov": (ftyp(b"qt  ", b"qt  "), MOV),
    "mov before ftyp": (library.box(b"wide") + library.box(b"mdat", bytes(9)), MOV),
    "3gp": (ftyp(b"3gp5", b"isom"), THREE_GP),
    "webm": ((FIXTURES / "tiny.webm").read_bytes(), WEBM),
    "webm with a late document type": (library.ebml(b"webm", padding=70), WEBM),
    "matroska": (library.ebml(b"matroska\0"), MATROSKA),
    "mpeg-ts": (b"\x47\x40\x11\x10".ljust(188, b"\xff") * 5, MPEG_TS),
    "mpeg-ps": (b"\0\0\x01\xba\x44", MPEG_PS),
    "avi": (b"RIFF\0\0\0\0AVI LIST", AVI),
    "flv": (b"FLV\x01\x05\0\0\0\x09", FLV),
    "ogg with theora": (b"OggS\0\x02" + bytes(22) + b"\x80theora", OGG),
    "wmv": (ASF + bytes(14), WMV),
    # What follows a signature does not make it something else.
    "png with a page": (library.picture("PNG") + library.PAGE, PNG),
    "gif that is a script": (b"GIF89a=1;/*" + bytes(20) + b"*/alert(1)", GIF),
    "jpeg with an archive": (library.picture("JPEG") + b"PK\x03\x04", JPEG),
}

PICTURE_OR_VIDEO = "not an image or a video."
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "The file is empty."),
    "page": (library.PAGE, f"This looks like a web page, {PICTURE_OR_VIDEO}"),
    "page in capitals": (b"\n <HTML><BODY>", f"This looks like a web page, {PICTURE_OR_VIDEO}"),
    "page without a root": (b"<script>alert(1)", f"This looks like a web page, {PICTURE_OR_VIDEO}"),
    "page with a drawing": (
        b"<html><svg/></html>",
        f"This looks like a web page, {PICTURE_OR_VIDEO}",
    ),
    "page declared, drawing inside": (
        b"<!DOCTYPE html><svg></svg>",
        f"This looks like a web page, {PICTURE_OR_VIDEO}",
    ),
    "xhtml": (
        b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>',
        f"This looks like a web page, {PICTURE_OR_VIDEO}",
    ),
    "comment that hides a drawing": (
        b"<!-- " + bytes(b"x" * HEAD_BYTES) + b"--><svg/>",
        f"This looks like text, {PICTURE_OR_VIDEO}",
    ),
    "xml": (b"<?xml version='1.0'?><rss/>", f"This looks like an XML document, {PICTURE_OR_VIDEO}"),
    "svg in capitals": (b"<SVG/>", f"This looks like an XML document, {PICTURE_OR_VIDEO}"),
    "svgz": (
        b"\x1f\x8b\x08",
        f"This looks like a compressed file, {PICTURE_OR_VIDEO} Unpack it first.",
    ),
    "pdf": (
        b"%PDF-1.7\n",
        f"This looks like a PDF document, {PICTURE_OR_VIDEO} Export its pages as PNG.",
    ),
    "zip": (
        b"PK\x03\x04\x14\0",
        f"This looks like a ZIP archive or an office document, {PICTURE_OR_VIDEO}",
    ),
    "playlist": (
        b"#EXTM3U\nfile:///etc/passwd\n",
        f"This looks like a playlist, {PICTURE_OR_VIDEO} Add its address as an asset instead.",
    ),
    "concat script": (
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        f"This looks like a playlist, {PICTURE_OR_VIDEO}",
    ),
    "concat script without its first line": (
        b"file '/etc/passwd'\n",
        f"This looks like text, {PICTURE_OR_VIDEO}",
    ),
    "shell script": (b"#!/bin/sh\nid\n", f"This looks like a script, {PICTURE_OR_VIDEO}"),
    "program": (b"\x7fELF\x02", f"This looks like a program, {PICTURE_OR_VIDEO}"),
    "font": (b"\0\x01\0\0\0\x0c", f"This looks like a font, {PICTURE_OR_VIDEO}"),
    "web font": (b"wOF2\0\x01", f"This looks like a font, {PICTURE_OR_VIDEO}"),
    "icon": (b"\0\0\x01\0\x01\0", "This looks like an icon. Save it as PNG."),
    "photoshop": (b"8BPS\0\x01", "This looks like a Photoshop document. Export it as PNG or JPEG."),
    "mp3": (
        b"ID3\x03",
        "This is sound without a picture. Signate shows images and videos.",
    ),
    "wave": (
        b"RIFF\0\0\0\0WAVEfmt ",
        "This is sound without a picture. Signate shows images and videos.",
    ),
    "m4a": (
        ftyp(b"M4A ", b"isom"),
        "This is sound without a picture. Signate shows images and videos.",
    ),
    "flv of sound": (
        b"FLV\x01\x04\0\0\0\x09",
        "This is sound without a picture. Signate shows images and videos.",
    ),
    "ogg of sound": (
        b"OggS\0\x02" + bytes(22) + b"\x01vorbis",
        "This is sound without a picture. Signate shows images and videos.",
    ),
    "jpeg xl": (b"\xff\x0a\xfa", "JPEG XL is not supported. Save it as JPEG, PNG or WebP."),
    "raw of Canon": (ftyp(b"crx ", b"crx "), f"This is {PICTURE_OR_VIDEO}"),
    "ebml of neither": (library.ebml(b"other"), f"This is {PICTURE_OR_VIDEO}"),
    "ebml that ends": (b"\x1a\x45\xdf\xa3", f"This is {PICTURE_OR_VIDEO}"),
    "word that begins with BM": (
        b"BMW makes cars, and more.",
        f"This looks like text, {PICTURE_OR_VIDEO}",
    ),
    "text full of G": (b"G" * 900, f"This looks like text, {PICTURE_OR_VIDEO}"),
    "noise": (bytes(range(256)), f"This is {PICTURE_OR_VIDEO}"),
    "part of a signature": (b"\x89PNG\r\n", f"This looks like text, {PICTURE_OR_VIDEO}"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_it_is_known_by_its_content(name: str) -> None:
    content, media_type = KNOWN[name]
    assert sniff(content[:HEAD_BYTES]) == media_type


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_neither_is_told_in_a_sentence(name: str) -> None:
    content, sentence = REFUSED[name]
    assert sniff(content[:HEAD_BYTES]) is None
    assert refusal(content[:HEAD_BYTES]) == sentence


def test_every_type_is_reached_and_only_drawings_are_active() -> None:
    assert {media_type for _, media_type in KNOWN.values()} == set(TYPES)
    assert [each.mimetype for each in TYPES if each.is_active] == ["image/svg+xml"]
    assert (
        len({each.mimetype for each in TYPES})
        == len({each.extension for each in TYPES})
        == len(TYPES)
    )
    assert all(each.mimetype.startswith(f"{each.kind}/") for each in TYPES)


def test_nothing_beyond_the_head_is_looked_at() -> None:
    assert sniff(b" " * HEAD_BYTES + library.SVG) is None


BEGINNINGS = [content[:64] for content, _ in (*KNOWN.values(), *REFUSED.values())]


@given(st.sampled_from([b"", *BEGINNINGS]), st.binary(max_size=300), st.integers(0, 64))
def test_no_bytes_break_it(beginning: bytes, rest: bytes, kept: int) -> None:
    head = beginning[:kept] + rest
    assert sniff(head) is None or sniff(head) in TYPES
    assert refusal(head).endswith((".", "instead."))
