"""Pictures: checked to the end, converted where players cannot show them, made small.

Called by assets.media_child, inside its limits: Pillow opens what people send here and nowhere
else. Only the decoder of the recognised type is ever tried.
"""

from __future__ import annotations

import io
import struct
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from PIL import AvifImagePlugin, Image, ImageCms, ImageFile, ImageOps

from assets.media import MediaRefused, Understanding
from assets.media_work import CUT_OFF, PLACE_TROUBLES, size_in_words
from assets.sniffing import AVIF, BMP, GIF, HEIC, HEIF, JPEG, PNG, TIFF, WEBP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from assets.media_work import Work

THUMBNAIL_SIZE = (480, 270)
"""A thumbnail fits into this many pixels, and is never larger than the picture."""

CONVERTED_SIDE = 8192
"""Pixels of the longer side of a converted picture: no screen has more, and no texture may."""

_DECODERS = {
    PNG: "PNG",
    JPEG: "JPEG",
    GIF: "GIF",
    WEBP: "WEBP",
    BMP: "BMP",
    TIFF: "TIFF",
    HEIC: "HEIF",
    HEIF: "HEIF",
    AVIF: "AVIF",
}
# Anthias converts the same ones: browsers on players do not show them.
_CONVERTED = frozenset({HEIC, HEIF, AVIF, TIFF, BMP})
_QUALITY = 90
# Of 0 to 6. The default, 4, was measured to take twice the time and to save no bytes.
_EFFORT = 2
_THUMBNAIL_QUALITY = 80
# Shrinking these in their own mode costs a fraction of what converting them first does.
_SHRINKABLE = frozenset({"L", "RGB", "RGBA", "CMYK"})
_TURNED = frozenset({5, 6, 7, 8})
_ORIENTATION = 0x0112

_DAMAGED = "The picture is damaged and cannot be opened."
_BOMB_WORDS = ("decompressed data too large", "too much memory used in text")
_CUT_WORDS = ("truncated", "end of file", "unexpected eof", "premature")


def picture(work: Work) -> Understanding:
    """Return what the picture shows, with its thumbnail and its conversion; raises MediaRefused."""
    _prepare(work)
    with _damage_refused(work), work.path.open("rb") as file:
        frames = _frames(file, work)
        with _opened(file, work) as image:
            if work.media_type in _CONVERTED:
                shown = _converted(image)
                shown.save(work.converted, "WEBP", quality=_QUALITY, method=_EFFORT)
                size = shown.size
            else:
                size = _size_as_shown(image)
                if work.media_type == JPEG:
                    # The decoder makes it small by itself, and reads it to its end all the same.
                    image.draft("RGB", (2 * THUMBNAIL_SIZE[0], 2 * THUMBNAIL_SIZE[1]))
                image.load()
                shown = image
            save_thumbnail(shown, work.thumbnail)
    return Understanding(
        media_type=work.media_type,
        width=size[0],
        height=size[1],
        duration_s=None,
        is_animated=frames > 1,
        converted=work.converted if work.media_type in _CONVERTED else None,
        thumbnail=work.thumbnail,
        metadata={
            "original_ext": work.media_type.extension,
            "transcoded": work.media_type in _CONVERTED,
        },
    )


def save_thumbnail(image: Image.Image, path: Path) -> None:
    """Write a WebP that fits into THUMBNAIL_SIZE, turned upright and without metadata."""
    # A picture that lies on its side is turned when it is small.
    longer = max(THUMBNAIL_SIZE)
    small = _shrunk(image, (longer, longer))
    _turn_upright(small)
    small = _plain(small)
    small.thumbnail(THUMBNAIL_SIZE, Image.Resampling.LANCZOS)
    _without_metadata(small).save(path, "WEBP", quality=_THUMBNAIL_QUALITY)


def _prepare(work: Work) -> None:
    """Set the libraries' own limits, and keep them from starting threads."""
    # Pillow refuses twice this many. WebP has to be refused by it: its canvas is there once the
    # file is open. The others are refused below, in words that have their size in them.
    Image.MAX_IMAGE_PIXELS = work.limits.pixels // 2 if work.media_type == WEBP else None
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if _DECODERS[work.media_type] == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener(
            decode_threads=1, thumbnails=False, depth_images=False, aux_images=False
        )


@contextmanager
def _damage_refused(work: Work) -> Iterator[None]:
    """Turn whatever a decoder raises into a refusal: with a sound file it raises nothing."""
    try:
        yield
    except (MediaRefused, MemoryError):
        raise
    except OSError as error:
        if error.errno in PLACE_TROUBLES:
            raise
        raise MediaRefused(_what_is_wrong(error)) from error
    except Image.DecompressionBombError:
        raise MediaRefused(
            f"The picture has more than {work.limits.pixels:,} pixels. Make it smaller."
        ) from None
    except (EOFError, struct.error):
        raise MediaRefused(CUT_OFF) from None
    except Exception as error:
        raise MediaRefused(_what_is_wrong(error)) from error


def _what_is_wrong(error: Exception) -> str:
    said = str(error).lower()
    if any(words in said for words in _BOMB_WORDS):
        return (
            "Text or a colour profile inside the picture unpacks to more than it may. Save it "
            "again without metadata."
        )
    return CUT_OFF if any(words in said for words in _CUT_WORDS) else _DAMAGED


def _opened(file: IO[bytes], work: Work) -> ImageFile.ImageFile:
    """Return the picture, checked as far as that goes without decoding it."""
    file.seek(0)
    image = Image.open(file, formats=[_DECODERS[work.media_type]])
    width, height = image.size
    if width * height > work.limits.pixels:
        raise MediaRefused(
            f"The picture has {size_in_words(width, height)}; there can be "
            f"{work.limits.pixels:,} at most. Make it smaller."
        )
    if work.media_type == PNG:
        # Reads every checksum, and cannot be used afterwards.
        image.verify()
        file.seek(0)
        image = Image.open(file, formats=["PNG"])
    return image


def _frames(file: IO[bytes], work: Work) -> int:
    """Return how many frames an animation has, without decoding one; 1 for still pictures."""
    count = {GIF: _frames_of_gif, PNG: _frames_of_png, WEBP: _frames_of_webp}.get(work.media_type)
    frames = count(file, work.limits.frames) if count else 1
    if frames > work.limits.frames:
        raise MediaRefused(
            f"The animation has more than {work.limits.frames:,} frames. Make a video of it."
        )
    return frames


def _frames_of_gif(file: IO[bytes], at_most: int) -> int:
    """Count image descriptors (GIF89a section 20), to one more than `at_most`."""
    _skip_colours(file, _exactly(file, 13)[10])
    frames = 0
    while frames <= at_most:
        mark = file.read(1)
        if mark == b"!":
            _exactly(file, 1)
        elif mark == b",":
            frames += 1
            _skip_colours(file, _exactly(file, 9)[8])
            _exactly(file, 1)
        else:
            break
        while size := _exactly(file, 1)[0]:
            _exactly(file, size)
    return frames


def _skip_colours(file: IO[bytes], flags: int) -> None:
    if flags & 0x80:
        _exactly(file, 3 * 2 ** ((flags & 7) + 1))


def _frames_of_png(file: IO[bytes], at_most: int) -> int:
    """Count the frames that an APNG has (its fcTL chunks), to one more than `at_most`."""
    frames = 0
    file.seek(8)
    while frames <= at_most and len(head := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        frames += name == b"fcTL"
        file.seek(size + 4, io.SEEK_CUR)
    return max(1, frames)


def _frames_of_webp(file: IO[bytes], at_most: int) -> int:
    """Count ANMF chunks, to one more than `at_most`; raises EOFError when the file is cut."""
    end = int.from_bytes(_exactly(file, 12)[4:8], "little") + 8
    if file.seek(0, io.SEEK_END) < end:
        raise EOFError
    frames = 0
    file.seek(12)
    while frames <= at_most and file.tell() < end and len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        frames += name == b"ANMF"
        file.seek(size + size % 2, io.SEEK_CUR)
    return max(1, frames)


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _size_as_shown(image: Image.Image) -> tuple[int, int]:
    turned = False
    with _oddities_ignored():
        turned = image.getexif().get(_ORIENTATION) in _TURNED
    return (image.height, image.width) if turned else image.size


def _turn_upright(image: Image.Image) -> None:
    with _oddities_ignored():
        ImageOps.exif_transpose(image, in_place=True)


@contextmanager
def _oddities_ignored() -> Iterator[None]:
    """Go on with a picture whose metadata make no sense: they say nothing, then."""
    try:
        yield
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001, S110 -- whatever a parser of metadata raises
        pass


def _converted(image: Image.Image) -> Image.Image:
    """Return the picture upright, in sRGB, not larger than a player can show, and nothing else."""
    image.load()
    _turn_upright(image)
    return _without_metadata(_plain(_shrunk(image, (CONVERTED_SIDE, CONVERTED_SIDE))))


def _shrunk(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the picture not larger than `size`, in its own mode if that can be done well."""
    if image.mode not in _SHRINKABLE:
        image = _plain(image)
    if image.width > size[0] or image.height > size[1]:
        image.thumbnail(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def _plain(image: Image.Image) -> Image.Image:
    """Return the picture in sRGB, 8 bits a colour, transparent only where it was."""
    if image.mode == "F":
        raise MediaRefused(
            "The picture has fractions for colours. Save it with 8 or 16 bits for each."
        )
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    is_transparent = image.has_transparency_data
    mode = "RGBA" if is_transparent else "RGB"
    profile = image.info.get("icc_profile")
    if profile and image.mode in {"RGB", "RGBA", "CMYK", "L"}:
        with _oddities_ignored():
            image = _in_srgb(image, profile, mode)
    return image if image.mode == mode else image.convert(mode)


def _in_srgb(image: Image.Image, profile: bytes, mode: str) -> Image.Image:
    turned = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        outputMode=mode,
    )
    return turned or image


def _without_metadata(image: Image.Image) -> Image.Image:
    """Return it without place, camera and comments: what is saved is the picture alone."""
    image.info = {}
    return image
