"""Media that mean harm: each ends completed or refused for its reason, and the worker lives.

All of it happens in half the memory that a file is allowed, and nothing takes more.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from assets import media
from tests.assets import media_library as library
from tests.assets.media_library import refused, understood

if TYPE_CHECKING:
    from collections.abc import Callable

FIXTURES = Path(__file__).resolve().parent.parent / "data" / "anthias" / "fixtures"
HALF_MEMORY = 512 * 2**20

CUT_OFF = "The file ends too early: it was cut off on its way. Upload it again."
DAMAGED = "The picture is damaged and cannot be opened."
BOMB = (
    "Text or a colour profile inside the picture unpacks to more than it may. Save it again "
    "without metadata."
)
PARTS = "The video is damaged: its parts do not fit together."
SOUND = "It has no picture: this file is sound only. Signate shows images and videos."
ENTITIES = "The drawing declares entities. Save it again as plain SVG."
PLAYLIST = (
    "This looks like a playlist, not an image or a video. Add its address as an asset instead."
)


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def too_large(width: int, height: int) -> str:
    return (
        f"The picture has {width} × {height} pixels; there can be 100,000,000 at most. Make it "  # noqa: RUF001 -- how a size is written
        "smaller."
    )


def text_chunk(content: bytes) -> bytes:
    return library.chunk(b"zTXt", b"Comment\0\0" + content)


# None: it is what it says, and completes.
HOSTILE: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "half a JPEG": (lambda: half(library.noisy("JPEG")), CUT_OFF),
    "half a progressive JPEG": (lambda: half(library.noisy("JPEG", progressive=True)), CUT_OFF),
    "head of a JPEG": (lambda: library.noisy("JPEG")[:200], CUT_OFF),
    "half a PNG": (lambda: half(library.noisy("PNG")), CUT_OFF),
    "half a GIF": (lambda: half(library.noisy("GIF")), CUT_OFF),
    "half a WebP": (lambda: half(library.noisy("WEBP")), CUT_OFF),
    "half a HEIC": (lambda: half(library.noisy("HEIF")), CUT_OFF),
    "half an AVIF": (lambda: half(library.noisy("AVIF")), DAMAGED),
    "half a TIFF": (lambda: half(library.noisy("TIFF")), CUT_OFF),
    "half a BMP": (lambda: half(library.noisy("BMP")), CUT_OFF),
    "half an MP4": (lambda: half((FIXTURES / "tiny.mp4").read_bytes()), CUT_OFF),
    "signature of a PNG": (lambda: b"\x89PNG\r\n\x1a\n", DAMAGED),
    "signature of a HEIC": (lambda: library.box(b"ftyp", b"heic", bytes(4)) + b"x" * 99, DAMAGED),
    "flipped bit in a PNG": (
        lambda: library.noisy("PNG").replace(b"IDAT", b"IDAT\x01", 1),
        DAMAGED,
    ),
    "PNG that says 400 million": (
        lambda: library.png_with(size=(20_000, 20_000)),
        too_large(20_000, 20_000),
    ),
    "PNG that says the most": (
        lambda: library.png_with(size=(2**31 - 1, 2**31 - 1)),
        too_large(2**31 - 1, 2**31 - 1),
    ),
    "PNG that says nothing": (lambda: library.png_with(size=(0, 8)), DAMAGED),
    "GIF that says the most": (lambda: library.gif_declaring(65_535), too_large(65_535, 65_535)),
    "BMP that says much": (lambda: library.bmp_declaring(30_000), too_large(30_000, 30_000)),
    "WebP that says the most": (
        lambda: library.webp_declaring(16_383),
        "The picture has more than 100,000,000 pixels. Make it smaller.",
    ),
    "PNG that is 98 million of nothing": (library.png_bomb, None),
    "colour profile that unpacks": (
        lambda: library.png_with(library.chunk(b"iCCP", b"x\0\0" + library.zlib_bomb())),
        BOMB,
    ),
    "text that unpacks": (lambda: library.png_with(text_chunk(library.zlib_bomb())), BOMB),
    "international text that unpacks": (
        lambda: library.png_with(
            library.chunk(b"iTXt", b"x\0\1\0\0\0" + library.zlib_bomb()),
        ),
        BOMB,
    ),
    "many texts": (
        lambda: library.png_with(*[text_chunk(zlib.compress(bytes(1_000_000)))] * 100),
        BOMB,
    ),
    "colour profile of junk": (lambda: library.picture("JPEG", icc_profile=b"\xff" * 5_000), None),
    "metadata of junk": (
        lambda: library.picture("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + b"\xff" * 99),
        None,
    ),
    "100,000 frames": (
        lambda: library.gif_of(100_000),
        "The animation has more than 5,000 frames. Make a video of it.",
    ),
    "5,000 frames": (lambda: library.gif_of(5_000), None),
    "TIFF in a circle": (library.tiff_in_a_circle, None),
    "PNG with a page": (lambda: library.picture("PNG") + library.PAGE, None),
    "PNG that tells a page": (
        lambda: library.png_with(library.chunk(b"tEXt", b"x\0" + library.PAGE)),
        None,
    ),
    "JPEG with an archive": (lambda: library.picture("JPEG") + b"PK\x03\x04" + bytes(99), None),
    "GIF that is a script": (lambda: b"GIF89a=1;/*" + bytes(20) + b"*/alert(1)", DAMAGED),
    "drawing with a script": (lambda: b"<svg><script>alert(1)</script></svg>", None),
    "drawing with a bomb": (library.laughing_svg, ENTITIES),
    "drawing with a file": (
        lambda: b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        ENTITIES,
    ),
    "drawing with a parameter": (
        lambda: b'<!DOCTYPE svg [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><svg/>',
        ENTITIES,
    ),
    "drawing with a foreign document type": (
        lambda: b'<!DOCTYPE svg SYSTEM "http://127.0.0.1/x.dtd"><svg>&x;</svg>',
        None,
    ),
    "deep drawing": (
        lambda: library.nested_svg(100_000),
        "The drawing is nested deeper than 1,000 elements.",
    ),
    "large drawing": (
        lambda: library.SVG.ljust(17 * 2**20),
        "A drawing has 16 MB at most. Save it as PNG.",
    ),
    "drawing that does not close": (
        lambda: b"<svg>\n<g></svg>",
        "The drawing is not well-formed XML: mismatched tag in line 2.",
    ),
    "drawing in no encoding": (
        lambda: b'<?xml version="1.0" encoding="nonsense"?><svg/>',
        "The drawing is in an encoding that is not known. Use UTF-8.",
    ),
    "drawing of a prefix": (
        lambda: b'<svg:g xmlns:svg="urn:x"/>',
        "This looks like an XML document, not an image or a video.",
    ),
    "nothing": (lambda: b"", "The file is empty."),
    "page": (lambda: library.PAGE, "This looks like a web page, not an image or a video."),
    "PDF": (
        lambda: b"%PDF-1.7\n",
        "This looks like a PDF document, not an image or a video. Export its pages as PNG.",
    ),
    "font": (lambda: b"OTTO\0\x0b", "This looks like a font, not an image or a video."),
    "playlist": (lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", PLAYLIST),
    "concat script": (
        lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "This looks like a playlist, not an image or a video.",
    ),
    "playlist behind a signature": (
        lambda: library.FTYP + b"#EXTM3U\nfile:///etc/passwd\n",
        CUT_OFF,
    ),
    "MP4 that was not finished": (lambda: library.FTYP + library.box(b"mdat", bytes(9)), CUT_OFF),
    "MP4 of a signature": (lambda: library.FTYP, PARTS),
    "box of four gigabytes": (lambda: library.FTYP + library.box(b"moov", size=2**32 - 1), CUT_OFF),
    "box of 2**63 bytes": (lambda: library.FTYP + struct.pack(">I4sQ", 1, b"moov", 2**63), CUT_OFF),
    "box smaller than its head": (lambda: library.FTYP + library.box(b"free", size=4), PARTS),
    "large box smaller than its head": (
        lambda: library.FTYP + struct.pack(">I4sQ", 1, b"moov", 3),
        PARTS,
    ),
    "200,000 boxes": (lambda: library.FTYP + library.box(b"free") * 200_000, PARTS),
    "box that leaves the one it is in": (
        lambda: library.FTYP + library.box(b"moov", library.box(b"trak", size=9_999)),
        PARTS,
    ),
    "boxes in each other": (lambda: library.FTYP + nested(5_000), SOUND),
    "MP4 of sound": (lambda: library.mp4(library.track(b"soun", codec=b"mp4a")), SOUND),
}


def nested(depth: int) -> bytes:
    boxes = b""
    for level in range(depth):
        boxes = library.box((b"moov", b"trak")[level % 2], boxes)
    return library.box(b"moov", boxes)


@pytest.mark.parametrize("name", HOSTILE)
def test_it_ends_for_its_reason_and_within_its_memory(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, reason = HOSTILE[name]
    with caplog.at_level("INFO", logger="assets.media"):
        if reason is None:
            understood(tmp_path, make(), memory_bytes=HALF_MEMORY)
        else:
            assert refused(tmp_path, make(), memory_bytes=HALF_MEMORY) == reason
    assert not [record for record in caplog.records if record.levelname != "INFO"]
    # What this process has is counted as the child's, up to the moment it is another program.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for record in caplog.records:
        assert vars(record)["peak_bytes"] <= max(own, HALF_MEMORY)


@pytest.mark.ffmpeg
@pytest.mark.parametrize(
    "content",
    [
        b"RIFF\0\0\0\0AVI LIST",
        b"\x47\x40\x11\x10".ljust(188, b"\xff") * 50,
        bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(99),
        b"OggS\0\x02" + bytes(22) + b"\x80theora",
        b"FLV\x01\x05\0\0\0\x09",
        library.ebml(b"webm") + b"#EXTM3U\nfile:///etc/passwd\n",
        b"\0\0\x01\xba\x44#EXTM3U\nfile:///etc/passwd\n",
    ],
    ids=["avi", "ts", "asf", "ogg", "flv", "webm", "ps"],
)
def test_a_signature_of_a_video_is_not_a_video(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, content, memory_bytes=HALF_MEMORY) == (
        "The video is damaged, or not what it begins as: it cannot be read."
    )


# --- when the child does its worst --------------------------------------------------------------


def doing(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have another program be the child: what it does, the real one might be made to do."""
    monkeypatch.setattr(media, "COMMAND", (sys.executable, "-c", code))


@pytest.mark.address_space
def test_more_memory_than_allowed_is_refused(tmp_path: Path) -> None:
    reason = refused(tmp_path, library.png_bomb(), memory_bytes=128 * 2**20)
    assert reason == "Opening the file takes more than 128 MB of memory."


def test_more_computing_than_allowed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    confine = "from assets.media_child import confine; from assets.media import MediaLimits as L\n"
    doing(monkeypatch, f"{confine}confine(L(cpu_s=1))\nwhile True: pass")
    began = time.monotonic()
    reason = refused(tmp_path, library.SVG, cpu_s=1, wall_s=30)
    assert reason == "Opening the file takes more than 1 seconds of computing."
    assert time.monotonic() - began < 15


def test_more_time_than_allowed_is_refused_and_nothing_is_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "pid"
    doing(
        monkeypatch,
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)",
    )
    reason = refused(tmp_path, library.SVG, wall_s=1)
    assert reason == "Opening the file takes longer than 1 seconds."
    assert is_gone(int(note.read_text()))


def is_gone(pid: int) -> bool:
    """Wait for the end of a process that was killed: it is somebody else's to wait for."""
    for _ in range(1_000):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_a_system_that_runs_out_of_memory_ends_the_child_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doing(monkeypatch, f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})")
    assert refused(tmp_path, library.SVG) == (
        "Opening the file was stopped, most likely for the memory it takes."
    )


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    doing(monkeypatch, f"import os; os.kill(os.getpid(), {int(number)})")
    assert refused(tmp_path, library.SVG) == (
        "The file is damaged in a way that makes programs crash."
    )


def found(**changes: Any) -> str:
    sound = {
        "width": 1,
        "height": 1,
        "duration_s": 1,
        "is_animated": False,
        "converted": False,
        "thumbnail": False,
        "metadata": {},
    }
    return json.dumps({"found": {**sound, **changes}})


def test_an_answer_of_the_right_shape_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doing(monkeypatch, f"print({found()!r})")
    assert understood(tmp_path, library.SVG).duration_s == 1


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[]",
        "nonsense",
        "null",
        '{"found": {}}',
        '{"found": [1]}',
        '{"found": NaN}',
        '{"errno": "x"}',
        found(width=-1),
        found(height="1"),
        found(duration_s=True),
        found(converted=True),
        found(metadata={"a": []}),
        found(metadata=[]),
    ],
)
def test_an_answer_of_another_shape_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    doing(monkeypatch, f"print({said!r})")
    assert refused(tmp_path, library.SVG) == "The file could not be understood."


def test_a_link_in_the_place_of_what_was_made_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = found(converted=True)
    doing(
        monkeypatch,
        f"import os; os.symlink('/etc/hostname', {str(tmp_path)!r} + '/workspace/converted.webp')\n"
        f"print({answer!r})",
    )
    assert refused(tmp_path, library.SVG) == "The file could not be understood."


def test_an_endless_answer_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doing(monkeypatch, "import sys\nwhile True: sys.stdout.write('x' * 100_000)")
    began = time.monotonic()
    assert refused(tmp_path, library.SVG) == "The file could not be understood."
    assert time.monotonic() - began < 30


@pytest.mark.address_space
def test_the_limits_cannot_be_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("AS", "CPU", "FSIZE", "NOFILE", "CORE")
    doing(
        monkeypatch,
        "import json, resource\n"
        "from assets.media_child import confine; from assets.media import MediaLimits\n"
        "confine(MediaLimits())\n"
        f"hard = {{n: resource.getrlimit(getattr(resource, 'RLIMIT_' + n))[1] for n in {names}}}\n"
        "print(json.dumps({'refused': json.dumps(hard)}))",
    )
    assert refused(tmp_path, library.SVG) == (
        '{"AS": 1073741824, "CPU": 91, "FSIZE": 268435456, "NOFILE": 64, "CORE": 0}'
    )
