"""Media made for one test each: sound ones, broken ones, and ones that mean harm.

Every function but the last two returns the bytes of a file. None was taken from anywhere.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pillow_heif
import pytest
from PIL import Image

from assets.media import MediaLimits, MediaRefused, Understanding, understand

if TYPE_CHECKING:
    from pathlib import Path

PAGE = b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="120" height="80"><rect width="9"/></svg>'


# --- pictures -----------------------------------------------------------------------------------


def image(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """A picture whose upper left quarter is red and whose rest is blue."""
    picture = Image.new("RGB", size, "blue")
    picture.paste("red", (0, 0, size[0] // 2, size[1] // 2))
    return picture.convert(mode)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    if kind == "HEIF":
        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def picture(kind: str, size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    return saved(image(size), kind, **options)


def noisy(kind: str, size: tuple[int, int] = (300, 200), **options: Any) -> bytes:
    """A picture that does not compress to nothing, so that a part of it can be cut off."""
    return saved(Image.effect_noise(size, 60).convert("RGB"), kind, **options)


def turned_heic(orientation: int) -> bytes:
    """A HEIC whose container says how it lies (irot, imir), as telephones write it."""
    picture = image((80, 60))
    picture.info["exif"] = exif(orientation).tobytes()
    return saved(picture, "HEIF")


def exif(orientation: int = 1) -> Image.Exif:
    """Metadata of a camera: a maker, an orientation and a place."""
    data = Image.Exif()
    data[0x010F] = "Camera of a private person"
    data[0x0112] = orientation
    data.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return data


def animation(kind: str, frames: int = 3) -> bytes:
    pictures = [Image.new("RGB", (32, 24), (80 * number, 0, 0)) for number in range(frames)]
    return saved(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=100)


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png_with(*chunks: bytes, size: tuple[int, int] = (8, 8)) -> bytes:
    """A PNG with these chunks before its pixels; its size is only said."""
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(3 * 8) for _ in range(8)))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *chunks,
            chunk(b"IDAT", pixels),
            chunk(b"IEND", b""),
        )
    )


def png_bomb(side: int = 9_900) -> bytes:
    """Less than a megabyte that is 98 million pixels, as declared."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(1)
    pixels = packer.compress(bytes((1 + side) * side)) + packer.flush()
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", pixels),
            chunk(b"IEND", b""),
        )
    )


def zlib_bomb(megabytes: int = 64) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


def gif_of(frames: int) -> bytes:
    """A GIF with a great many frames of one pixel."""
    header = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return header + frame * frames + b";"


def tiff_in_a_circle() -> bytes:
    """A TIFF whose first directory says that it is followed by itself."""
    tags = ((256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 200), (278, 8), (279, 64))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 8)
    return (b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0") + bytes(64)


def webp_declaring(side: int) -> bytes:
    """A WebP that is only a header, with a canvas of that many pixels each way."""
    canvas = bytes(4) + (side - 1).to_bytes(3, "little") * 2
    content = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(content)) + content


def gif_declaring(side: int) -> bytes:
    header = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    return header + b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x44\x01\x00;"


def bmp_declaring(side: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


# --- drawings -----------------------------------------------------------------------------------


def laughing_svg() -> bytes:
    """Ten entities, each of ten of the one before."""
    lines = ['<!ENTITY a0 "ha">']
    lines += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)]
    return f"<!DOCTYPE svg [{''.join(lines)}]><svg><text>&a9;</text></svg>".encode()


def nested_svg(depth: int) -> bytes:
    return b"<svg>" + b"<g>" * depth + b"</g>" * depth + b"</svg>"


# --- videos -------------------------------------------------------------------------------------


def box(kind: bytes, *content: bytes, size: int | None = None) -> bytes:
    inside = b"".join(content)
    return struct.pack(">I4s", len(inside) + 8 if size is None else size, kind) + inside


FTYP = box(b"ftyp", b"isom", bytes(4), b"isommp42")
UPRIGHT = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
ON_ITS_SIDE = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)


def mvhd(seconds: float, *, scale: int = 1000, is_long: bool = False) -> bytes:
    ticks = round(seconds * scale)
    if is_long:
        return box(b"mvhd", b"\1\0\0\0", struct.pack(">QQIQ", 0, 0, scale, ticks), bytes(80))
    return box(b"mvhd", bytes(4), struct.pack(">IIII", 0, 0, scale, ticks), bytes(80))


def track(
    handler: bytes = b"vide",
    size: tuple[int, int] = (64, 48),
    codec: bytes = b"avc1",
    matrix: bytes = UPRIGHT,
    *,
    is_long: bool = False,
) -> bytes:
    times = bytes(32 if is_long else 20)
    sides = struct.pack(">II", size[0] << 16, size[1] << 16)
    head = box(b"tkhd", bytes([is_long, 0, 0, 3]), times, bytes(16), matrix, sides)
    described = box(b"stsd", bytes(4), struct.pack(">I", 1), box(codec, bytes(78)))
    kind = box(b"hdlr", bytes(8), handler, bytes(13))
    return box(b"trak", head, box(b"mdia", kind, box(b"minf", box(b"stbl", described))))


def mp4(*tracks: bytes, seconds: float = 7.0) -> bytes:
    """The boxes of a video without a single frame: enough to know it by, not to play it."""
    return FTYP + box(b"moov", mvhd(seconds), *(tracks or (track(),))) + box(b"mdat", bytes(64))


def ebml(doctype: bytes, *, padding: int = 0) -> bytes:
    """The header of a Matroska file (RFC 8794), with elements before its document type."""
    elements = b"\x42\x86\x81\x01" + b"\xec" + bytes([0x80 | padding]) + bytes(padding)
    elements += b"\x42\x82" + bytes([0x80 | len(doctype)]) + doctype
    return b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(elements)]) + elements


# --- what becomes of them -----------------------------------------------------------------------


def understood(folder: Path, content: bytes, **limits: int) -> Understanding:
    """Understand one file, whose name lies; it must be as it was afterwards."""
    file, workspace = folder / "holiday.png", folder / "workspace"
    file.write_bytes(content)
    workspace.mkdir(exist_ok=True)
    try:
        return understand(file, workspace=workspace, limits=MediaLimits(**limits))
    finally:
        assert file.read_bytes() == content


def refused(folder: Path, content: bytes, **limits: int) -> str:
    """Return the reason for which a file is refused."""
    with pytest.raises(MediaRefused) as refusal:
        understood(folder, content, **limits)
    assert str(refusal.value) == refusal.value.reason
    return refusal.value.reason
