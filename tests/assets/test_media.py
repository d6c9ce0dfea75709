"""What media files turn out to be. The child process is always a real one."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from assets import media
from assets.media import MediaRefused, Understanding, understand
from assets.sniffing import (
    AVIF,
    BMP,
    GIF,
    HEIC,
    JPEG,
    MOV,
    MP4,
    PNG,
    SVG,
    TIFF,
    WEBM,
    WEBP,
    MediaType,
)
from tests.assets import media_library as library
from tests.assets.media_library import refused, understood

FIXTURES = Path(__file__).resolve().parent.parent / "data" / "anthias" / "fixtures"


@pytest.fixture
def without_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.media.shutil.which", lambda _name: None)


def pixel(image: Image.Image, at: tuple[int, int]) -> tuple[int, ...]:
    colour = image.convert("RGB").getpixel(at)
    assert isinstance(colour, tuple)
    return colour


def colours(path: Path | None) -> list[str]:
    """The four corners of a picture, row by row: r, b or another letter."""
    assert path is not None
    with Image.open(path, formats=["WEBP"]) as image:
        shown = image.convert("RGB")
        right, low = shown.width - 2, shown.height - 2
        corners = [pixel(shown, at) for at in ((1, 1), (right, 1), (1, low), (right, low))]
    return ["r" if red > 200 else "b" if blue > 200 else "?" for red, _, blue in corners]


def size_of(path: Path | None) -> tuple[int, int]:
    assert path is not None
    with Image.open(path, formats=["WEBP"]) as image:
        return image.size


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "workspace").iterdir())


# --- pictures -----------------------------------------------------------------------------------

KEPT = [(PNG, "PNG"), (JPEG, "JPEG"), (GIF, "GIF"), (WEBP, "WEBP")]
CONVERTED = [(BMP, "BMP"), (TIFF, "TIFF"), (HEIC, "HEIF"), (AVIF, "AVIF")]


@pytest.mark.parametrize(
    ("media_type", "kind"), KEPT, ids=lambda each: getattr(each, "mimetype", "as")
)
def test_a_picture_that_players_show_is_kept(
    tmp_path: Path, media_type: MediaType, kind: str
) -> None:
    found = understood(tmp_path, library.picture(kind, (960, 540)))
    assert found == Understanding(
        media_type=media_type,
        width=960,
        height=540,
        duration_s=None,
        is_animated=False,
        converted=None,
        thumbnail=tmp_path / "workspace" / "thumbnail.webp",
        metadata={"original_ext": media_type.extension, "transcoded": False},
    )
    assert size_of(found.thumbnail) == (480, 270)
    assert colours(found.thumbnail) == ["r", "b", "b", "b"]
    assert files_in(tmp_path) == ["thumbnail.webp"]


@pytest.mark.parametrize(
    ("media_type", "kind"), CONVERTED, ids=lambda each: getattr(each, "mimetype", "as")
)
def test_a_picture_that_players_do_not_show_is_converted(
    tmp_path: Path, media_type: MediaType, kind: str
) -> None:
    found = understood(tmp_path, library.picture(kind, (640, 200)))
    assert (found.media_type, found.width, found.height) == (media_type, 640, 200)
    assert found.metadata == {"original_ext": media_type.extension, "transcoded": True}
    assert found.converted == tmp_path / "workspace" / "converted.webp"
    assert size_of(found.converted) == (640, 200)
    assert size_of(found.thumbnail) == (480, 150)
    assert colours(found.converted) == colours(found.thumbnail) == ["r", "b", "b", "b"]


# Where the red corner is shown, with each of the eight orientations of EXIF.
SHOWN = {
    1: "rbbb",
    2: "brbb",
    3: "bbbr",
    4: "bbrb",
    5: "rbbb",
    6: "brbb",
    7: "bbbr",
    8: "bbrb",
}


@pytest.mark.parametrize("orientation", SHOWN)
def test_an_orientation_turns_what_is_made(tmp_path: Path, orientation: int) -> None:
    size = (80, 60) if orientation < 5 else (60, 80)
    exif = library.exif(orientation)
    kept = understood(tmp_path, library.picture("JPEG", (80, 60), quality=95, exif=exif))
    assert (kept.width, kept.height) == size == size_of(kept.thumbnail)
    assert colours(kept.thumbnail) == list(SHOWN[orientation])
    turned = understood(tmp_path, library.picture("TIFF", (80, 60), exif=exif))
    assert (turned.width, turned.height) == size == size_of(turned.converted)
    assert colours(turned.converted) == colours(turned.thumbnail) == list(SHOWN[orientation])


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "TIFF"])
def test_what_is_made_says_nothing_of_place_and_camera(tmp_path: Path, kind: str) -> None:
    content = library.picture(kind, (80, 60), exif=library.exif(6))
    if kind == "HEIF":
        content = library.turned_heic(6)
    assert b"Camera of a private person" in content
    found = understood(tmp_path, content)
    for path in (found.converted, found.thumbnail):
        assert path is not None
        assert b"private" not in path.read_bytes()
        with Image.open(path) as image:
            assert not image.getexif()
            assert not {"exif", "xmp", "icc_profile"} & image.info.keys()
    assert size_of(found.converted) == (60, 80)


def test_a_thumbnail_of_a_jpeg_says_nothing_of_place_either(tmp_path: Path) -> None:
    found = understood(tmp_path, library.picture("JPEG", exif=library.exif()))
    assert found.thumbnail is not None
    assert b"private" not in found.thumbnail.read_bytes()


def test_small_pictures_are_not_made_larger(tmp_path: Path) -> None:
    assert size_of(understood(tmp_path, library.picture("PNG", (7, 3))).thumbnail) == (7, 3)


def test_a_picture_can_be_much_taller_than_wide(tmp_path: Path) -> None:
    found = understood(tmp_path, library.picture("BMP", (4, 9000)))
    assert (found.width, found.height) == (4, 8192)
    assert size_of(found.converted) == (4, 8192)
    assert size_of(found.thumbnail) == (1, 270)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_kept_and_its_first_frame_is_its_thumbnail(
    tmp_path: Path, kind: str
) -> None:
    found = understood(tmp_path, library.animation(kind))
    assert (found.is_animated, found.converted) == (True, None)
    assert found.thumbnail is not None
    with Image.open(found.thumbnail) as image:
        assert not getattr(image, "is_animated", False)
        assert pixel(image, (5, 5)) == (0, 0, 0)


def test_transparency_is_kept(tmp_path: Path) -> None:
    picture = library.image(mode="RGBA")
    picture.putalpha(0)
    found = understood(tmp_path, library.saved(picture, "TIFF"))
    for path in (found.converted, found.thumbnail):
        assert path is not None
        with Image.open(path) as image:
            assert image.convert("RGBA").getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
def test_every_way_to_keep_colours_is_shown(tmp_path: Path, mode: str) -> None:
    grey = Image.new("L", (64, 48), 128)
    picture = Image.new("I;16", (64, 48), 128 * 256) if mode == "I;16" else grey.convert(mode)
    found = understood(tmp_path, library.saved(picture, "TIFF"))
    assert found.converted is not None
    with Image.open(found.converted) as image:
        middle = image.convert("L").reduce(8).getpixel((4, 3))
    assert isinstance(middle, int | float)
    assert 120 <= middle <= 136


def test_colours_in_fractions_are_refused(tmp_path: Path) -> None:
    reason = refused(tmp_path, library.saved(Image.new("F", (9, 9), 0.5), "TIFF"))
    assert reason == ("The picture has fractions for colours. Save it with 8 or 16 bits for each.")


def test_a_profile_of_colours_is_applied(tmp_path: Path) -> None:
    # A profile in which what is called green is shown as a very different colour.
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = lab.replace(b"rXYZ", b"qXYZ").replace(b"gXYZ", b"rXYZ").replace(b"qXYZ", b"gXYZ")
    picture = Image.new("RGB", (40, 40), (255, 0, 0))
    found = understood(tmp_path, library.saved(picture, "TIFF", icc_profile=swapped))
    for path in (found.converted, found.thumbnail):
        assert path is not None
        with Image.open(path) as image:
            red, green, _ = pixel(image, (20, 20))
            assert green > 240
            assert red < 16


def test_a_profile_that_makes_no_sense_changes_nothing(tmp_path: Path) -> None:
    found = understood(tmp_path, library.picture("TIFF", icc_profile=b"\xff" * 5_000))
    assert colours(found.converted) == ["r", "b", "b", "b"]


# --- drawings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="120" height="80"', (120, 80)),
        ('width="1in" height="2.54cm"', (96, 96)),
        ('width="30pt" height="25.4mm"', (40, 96)),
        ('width="0.2" height="9px"', (1, 9)),
        ('viewBox="0 0 300 150"', (300, 150)),
        ('viewBox="0,0,300,150" width="600"', (600, 300)),
        ('viewBox="0 0 300 150" height="50"', (100, 50)),
        ('width="100%" height="100%" viewBox="-5 -5 32 16"', (32, 16)),
        ('width="100%" height="100%"', (None, None)),
        ('width="50"', (50, None)),
        ('width="-4" height="1e9"', (None, None)),
        ('width="999999999" height="4"', (None, 4)),
        ('viewBox="0 0 0 5"', (None, None)),
        ('viewBox="0 0 nan inf"', (None, None)),
        ('viewBox="0 0 5"', (None, None)),
    ],
)
def test_a_drawing_says_its_size(
    tmp_path: Path, attributes: str, size: tuple[int | None, int | None]
) -> None:
    content = f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}/>'.encode()
    assert understood(tmp_path, content) == Understanding(
        media_type=SVG,
        width=size[0],
        height=size[1],
        duration_s=None,
        is_animated=False,
        converted=None,
        thumbnail=None,
        metadata={"original_ext": ".svg", "transcoded": False},
    )
    assert files_in(tmp_path) == []


# --- videos -------------------------------------------------------------------------------------

SEEN: dict[str, Any] = {"original_ext": ".mp4", "transcoded": False, "container": "mp4"}


@pytest.mark.ffmpeg
def test_a_video_is_known_as_anthias_knows_it(tmp_path: Path) -> None:
    found = understood(tmp_path, (FIXTURES / "tiny.mp4").read_bytes())
    assert found == Understanding(
        media_type=MP4,
        width=64,
        height=48,
        duration_s=3,
        is_animated=False,
        converted=None,
        thumbnail=tmp_path / "workspace" / "thumbnail.webp",
        metadata={**SEEN, "width": 64, "height": 48, "fps": 5.0, "video_codec": "h264"},
    )
    assert size_of(found.thumbnail) == (64, 48)
    assert files_in(tmp_path) == ["thumbnail.webp"]


@pytest.mark.ffmpeg
def test_a_webm_is_known(tmp_path: Path) -> None:
    found = understood(tmp_path, (FIXTURES / "tiny.webm").read_bytes())
    assert (found.media_type, found.width, found.height, found.duration_s) == (WEBM, 64, 48, 2)
    assert found.metadata["video_codec"] == "vp8"
    assert size_of(found.thumbnail) == (64, 48)


def made(folder: Path, extension: str, *words: str, source: str = "testsrc=size=320x240") -> bytes:
    """A video by ffmpeg, of something that changes."""
    path = folder / f"made.{extension}"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *words, path],  # noqa: S607 -- the one that was found
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path.read_bytes()


@pytest.mark.ffmpeg
@pytest.mark.parametrize(
    ("extension", "words", "codec"),
    [
        ("mkv", ("-c:v", "mpeg4"), "mpeg4"),
        ("ts", ("-c:v", "mpeg2video"), "mpeg2video"),
        ("mpg", ("-c:v", "mpeg1video"), "mpeg1video"),
        ("avi", ("-c:v", "mjpeg"), "mjpeg"),
        ("flv", ("-c:v", "flv"), "flv1"),
        ("wmv", ("-c:v", "wmv2"), "wmv2"),
        ("ogv", ("-c:v", "libtheora"), "theora"),
        ("mov", ("-c:v", "mpeg4"), "mpeg4"),
    ],
)
def test_every_container_is_opened(
    tmp_path: Path, extension: str, words: tuple[str, ...], codec: str
) -> None:
    found = understood(tmp_path, made(tmp_path, extension, "-t", "1.6", "-r", "25", *words))
    assert found.media_type.extension == f".{extension}"
    assert (found.width, found.height, found.duration_s) == (320, 240, 2)
    assert found.metadata == {
        "original_ext": f".{extension}",
        "transcoded": False,
        "container": extension,
        "width": 320,
        "height": 240,
        "fps": 25.0,
        "video_codec": codec,
    }
    assert size_of(found.thumbnail) == (320, 240)


@pytest.mark.ffmpeg
def test_sound_is_named_and_a_turned_video_is_upright(tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-i", "sine", "-t", "2", "-c:v", "mpeg4", "-c:a", "aac")
    made(tmp_path, "mp4", *sound)
    turned = ("-c", "copy", "-metadata:s:v", "rotate=90")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", "made.mp4", *turned, "turned.mp4"],  # noqa: S607 -- as above
        check=True,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
    )
    found = understood(tmp_path, (tmp_path / "turned.mp4").read_bytes())
    assert (found.width, found.height) == (240, 320)
    assert found.metadata["audio_codec"] == "aac"
    assert size_of(found.thumbnail) == (203, 270)


@pytest.mark.ffmpeg
def test_a_video_is_pictured_where_it_has_begun(tmp_path: Path) -> None:
    # Black for its first tenth of a second, then red.
    words = ("-vf", "drawbox=t=fill:c=black:enable='lt(t,0.1)'", "-t", "4", "-c:v", "mpeg4")
    found = understood(tmp_path, made(tmp_path, "mp4", *words, source="color=red:size=64x48"))
    assert colours(found.thumbnail) == ["r", "r", "r", "r"]


@pytest.mark.ffmpeg
@pytest.mark.parametrize("extension", ["wmv", "mp4", "mkv"])
def test_sound_alone_is_refused(tmp_path: Path, extension: str) -> None:
    sound = made(tmp_path, extension, "-t", "1", "-vn", source="sine")
    if extension == "mkv":
        cover = library.picture("JPEG")
        (tmp_path / "cover.jpg").write_bytes(cover)
        words = ("-attach", str(tmp_path / "cover.jpg"), "-metadata:s:t", "mimetype=image/jpeg")
        sound = made(tmp_path, extension, "-t", "1", "-vn", *words, source="sine")
    assert refused(tmp_path, sound) == (
        "It has no picture: this file is sound only. Signate shows images and videos."
    )


@pytest.mark.ffmpeg
def test_what_is_no_video_after_its_first_bytes_is_refused(tmp_path: Path) -> None:
    for content in (library.mp4(), library.ebml(b"webm") + library.PAGE):
        assert refused(tmp_path, content) == (
            "The video is damaged, or not what it begins as: it cannot be read."
        )
    assert files_in(tmp_path) == []


# --- videos, where ffprobe is missing -----------------------------------------------------------


@pytest.mark.usefixtures("without_ffmpeg")
def test_an_mp4_is_known_from_inside(tmp_path: Path) -> None:
    found = understood(tmp_path, (FIXTURES / "tiny.mp4").read_bytes())
    assert found == Understanding(
        media_type=MP4,
        width=64,
        height=48,
        duration_s=3,
        is_animated=False,
        converted=None,
        thumbnail=None,
        metadata={**SEEN, "width": 64, "height": 48, "video_codec": "h264"},
    )


@pytest.mark.usefixtures("without_ffmpeg")
@pytest.mark.parametrize(
    ("boxes", "size", "seconds", "known"),
    [
        (library.mp4(), (64, 48), 7, {"video_codec": "h264"}),
        (library.mp4(library.track(is_long=True)), (64, 48), 7, {"video_codec": "h264"}),
        (
            library.mp4(library.track(b"soun", (0, 0), b"mp4a"), library.track(codec=b"hvc1")),
            *((64, 48), 7, {"video_codec": "hevc", "audio_codec": "aac"}),
        ),
        (
            library.mp4(library.track(matrix=library.ON_ITS_SIDE, codec=b"zzzz")),
            *((48, 64), 7, {}),
        ),
        (library.mp4(library.track(size=(0, 0))), (None, None), 7, {"video_codec": "h264"}),
        (library.mp4(seconds=7.5), (64, 48), 8, {"video_codec": "h264"}),
        (library.mp4(seconds=0.04), (64, 48), 1, {"video_codec": "h264"}),
        (library.mp4(seconds=0), (64, 48), None, {"video_codec": "h264"}),
        (library.mp4(seconds=4_294_967.295), (64, 48), None, {"video_codec": "h264"}),
    ],
)
def test_boxes_tell_size_duration_and_codecs(
    tmp_path: Path,
    boxes: bytes,
    size: tuple[int | None, int | None],
    seconds: int | None,
    known: dict[str, Any],
) -> None:
    found = understood(tmp_path, boxes)
    assert (found.width, found.height, found.duration_s) == (*size, seconds)
    sides = {"width": size[0], "height": size[1]} if size[0] else {}
    assert found.metadata == {**SEEN, **sides, **known}


@pytest.mark.usefixtures("without_ffmpeg")
def test_boxes_of_every_shape_are_walked(tmp_path: Path) -> None:
    moov = library.box(b"moov", library.mvhd(90_000, is_long=True), library.track())
    wide = b"\0\0\0\1mdat" + (24).to_bytes(8, "big") + bytes(8)
    rest = library.box(b"mdat", bytes(9), size=0)
    assert understood(tmp_path, library.FTYP + wide + moov + rest).duration_s == 90_000
    fragments = library.box(b"mvex", library.box(b"mehd", bytes(4), (5000).to_bytes(4, "big")))
    moov = library.box(b"moov", library.mvhd(0), library.track(), fragments)
    assert understood(tmp_path, library.FTYP + moov).duration_s == 5


@pytest.mark.usefixtures("without_ffmpeg")
def test_of_other_videos_nothing_is_said_that_is_not_known(tmp_path: Path) -> None:
    found = understood(tmp_path, (FIXTURES / "tiny.webm").read_bytes())
    assert (found.media_type, found.width, found.height, found.duration_s) == (WEBM, *(None,) * 3)
    assert (found.thumbnail, found.converted) == (None, None)
    assert found.metadata == {"original_ext": ".webm", "transcoded": False, "container": "webm"}
    old = library.box(b"wide") + library.box(b"moov", library.mvhd(2), library.track())
    assert understood(tmp_path, old).media_type == MOV


# --- the process it happens in ------------------------------------------------------------------


def test_a_place_that_takes_nothing_is_not_the_files_fault(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(library.picture("PNG"))
    with pytest.raises(FileNotFoundError):
        understand(tmp_path / "nothing.png", workspace=tmp_path)
    with pytest.raises(MediaRefused, match=r"^This is not a file\.$"):
        understand(Path("/dev/null"), workspace=tmp_path)
    full = Path("/dev/full")
    if full.exists():
        workspace = tmp_path / "full"
        workspace.mkdir()
        (workspace / "thumbnail.webp").symlink_to(full)
        with pytest.raises(OSError, match="No space left on device"):
            understand(file, workspace=workspace)


def test_what_is_made_has_a_limit(tmp_path: Path) -> None:
    assert refused(tmp_path, library.noisy("BMP"), file_bytes=1_000) == (
        "What is made of the file takes more than 0 MB."
    )


def test_the_child_has_an_empty_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNATE_SECRET_KEY", "not for a child")
    monkeypatch.setattr(media, "ENVIRONMENT", {})
    monkeypatch.setattr(media, "COMMAND", ("/usr/bin/env",))
    with pytest.raises(MediaRefused, match=r"^The file could not be understood\.$"):
        understood(tmp_path, library.SVG)
    ended = media._run(b"{}", media.DEFAULT_LIMITS)
    assert replace(ended, seconds=0.0, peak_bytes=0) == media._Ended(
        reply=b"", code=0, is_late=False, seconds=0.0, peak_bytes=0
    )
