"""Videos: what ffprobe says of them and a picture of one moment, where those programs are there.

Called by assets.media_child, inside its limits, which ffprobe and ffmpeg inherit. Both are told
which container to read and may open that one file: what a playlist inside it names is not opened.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from assets.media import MediaRefused, Understanding
from assets.media_boxes import Movie, read_boxes
from assets.media_work import size_in_words
from assets.sniffing import (
    AVI,
    FLV,
    M4V,
    MATROSKA,
    MOV,
    MP4,
    MPEG_PS,
    MPEG_TS,
    OGG,
    THREE_GP,
    WEBM,
    WMV,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from assets.media_work import Work

LONGEST_S = 31_536_000
"""Seconds; a video that says it lasts longer than a year says nothing."""

_BOXED = frozenset({MP4, M4V, MOV, THREE_GP})
_DEMUXERS = {
    **dict.fromkeys(_BOXED, "mov"),
    **dict.fromkeys((WEBM, MATROSKA), "matroska"),
    MPEG_TS: "mpegts",
    MPEG_PS: "mpeg",
    AVI: "avi",
    FLV: "flv",
    OGG: "ogg",
    WMV: "asf",
}
# Their names as ffmpeg's own lists have them: it compares with all that a demuxer is called.
_WHITELIST = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,ogg,asf"
_ASKED = (
    "format=duration:stream=codec_type,codec_name,width,height,avg_frame_rate,r_frame_rate,duration"
    ":stream_disposition=attached_pic:stream_tags=rotate:stream_side_data=rotation"
)
_SCALE = (
    "scale=w='min(480,iw)':h='min(270,ih)':force_original_aspect_ratio=decrease"
    ":force_divisible_by=1,setsar=1"
)
_LONGEST_WORD = 40
# A tenth of the way in, where few films are still black, and not far into a long one.
_POSTER_PART = 0.1
_POSTER_LATEST_S = 10.0

NO_PICTURE = "It has no picture: this file is sound only. Signate shows images and videos."
UNREADABLE = "The video is damaged, or not what it begins as: it cannot be read."


def video(work: Work) -> Understanding:
    """Return what the video is; raises MediaRefused.

    Where ffprobe is missing only MP4 and QuickTime files are known from inside; of others nothing
    is said that is not known.
    """
    movie = None
    if work.media_type in _BOXED:
        with work.path.open("rb") as file:
            movie = read_boxes(file)
        if movie.first(b"vide") is None:
            raise MediaRefused(NO_PICTURE)
    if work.ffprobe:
        width, height, duration, known = _probed(work, work.ffprobe)
    else:
        width, height, duration, known = _from_boxes(movie or Movie())
    if duration is None and movie is not None:
        duration = _sound_seconds(movie.duration)
    if width and height:
        _check_pixels(work, width, height)
    return Understanding(
        media_type=work.media_type,
        width=width,
        height=height,
        duration_s=None if duration is None else max(1, math.floor(duration + 0.5)),
        is_animated=False,
        converted=None,
        thumbnail=work.thumbnail if _make_thumbnail(work, duration) else None,
        metadata={
            "original_ext": work.media_type.extension,
            "transcoded": False,
            "container": work.media_type.extension.removeprefix("."),
            **known,
        },
    )


_Known = tuple[int | None, int | None, float | None, dict[str, Any]]


def _from_boxes(movie: Movie) -> _Known:
    shown, heard = movie.first(b"vide"), movie.first(b"soun")
    known: dict[str, Any] = {}
    if shown and shown.width and shown.height:
        known |= {"width": shown.width, "height": shown.height}
    if shown and shown.codec:
        known["video_codec"] = shown.codec
    if heard and heard.codec:
        known["audio_codec"] = heard.codec
    return known.get("width"), known.get("height"), None, known


def _probed(work: Work, ffprobe: str) -> _Known:
    words = ("-print_format", "json", "-show_entries", _ASKED)
    output = _run([ffprobe, *words, *_reading(work)], work)
    try:
        said = json.loads(output or b"")
        streams = [each for each in said.get("streams", ()) if isinstance(each, dict)]
        stated = said.get("format", {}).get("duration")
    except (ValueError, AttributeError):
        raise MediaRefused(UNREADABLE) from None
    shown = next((each for each in streams if _is_picture(each)), None)
    heard = next((each for each in streams if each.get("codec_type") == "audio"), None)
    if shown is None:
        raise MediaRefused(NO_PICTURE if streams else UNREADABLE)
    known: dict[str, Any] = {}
    width, height = _whole(shown.get("width")), _whole(shown.get("height"))
    if width and height:
        if _is_on_its_side(shown):
            width, height = height, width
        known |= {"width": width, "height": height}
    else:
        raise MediaRefused(UNREADABLE)
    if fps := _rate(shown.get("avg_frame_rate")) or _rate(shown.get("r_frame_rate")):
        known["fps"] = fps
    for key, stream in (("video_codec", shown), ("audio_codec", heard)):
        name = stream and stream.get("codec_name")
        if name and name != "unknown":
            known[key] = str(name)[:_LONGEST_WORD]
    duration = _sound_seconds(stated) or _sound_seconds(shown.get("duration"))
    return known.get("width"), known.get("height"), duration, known


def _is_picture(stream: dict[str, Any]) -> bool:
    """Tell whether it moves: the cover of a record is a video stream too."""
    is_cover = stream.get("disposition", {}).get("attached_pic")
    return stream.get("codec_type") == "video" and not is_cover


def _is_on_its_side(stream: dict[str, Any]) -> bool:
    turns = [each.get("rotation") for each in stream.get("side_data_list", ())]
    turns.append(stream.get("tags", {}).get("rotate"))
    with suppress(TypeError, ValueError, OverflowError):
        return any(round(float(turn)) % 180 == 90 for turn in turns if turn is not None)
    return False


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _sound_seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds <= LONGEST_S else None


def _rate(value: Any) -> float | None:
    """Return frames per second from a fraction such as 30000/1001, to three places."""
    above, _, below = str(value).partition("/")
    try:
        rate = round(int(above) / int(below), 3)
    except (ValueError, ZeroDivisionError):
        return None
    return rate if 0 < rate <= 1000 else None


def _check_pixels(work: Work, width: int, height: int) -> None:
    if width * height > work.limits.pixels:
        raise MediaRefused(
            f"The video has {size_in_words(width, height)}; there can be "
            f"{work.limits.pixels:,} at most. Make it smaller."
        )


def _make_thumbnail(work: Work, duration: float | None) -> bool:
    """Make a small picture of one moment, if that can be done; a video without one is fine."""
    if not work.ffmpeg:
        return False
    frame = work.workspace / "frame.png"
    moment = min((duration or 0.0) * _POSTER_PART, _POSTER_LATEST_S)
    for at in dict.fromkeys((moment, 0.0)):
        _save_frame(work, work.ffmpeg, at, frame)
        if frame.exists():
            break
    if not frame.exists():
        return False
    # Pillow only where it is needed: without ffmpeg it never is.
    from PIL import Image

    from assets.media_pictures import save_thumbnail

    with Image.open(frame, formats=["PNG"]) as image:
        save_thumbnail(image, work.thumbnail)
    frame.unlink()
    return True


def _save_frame(work: Work, ffmpeg: str, at: float, frame: Path) -> None:
    _run(
        [
            *(ffmpeg, "-nostdin", "-y", "-ss", f"{at:.3f}", *_reading(work)),
            *("-map", "0:V:0", "-frames:v", "1", "-vf", _SCALE, "-threads", "1"),
            *("-c:v", "png", "-f", "image2", "-update", "1", f"file:{frame}"),
        ],
        work,
    )


def _reading(work: Work) -> Sequence[str]:
    """Return the words that name the input, and forbid every other."""
    return (
        *("-v", "error", "-hide_banner", "-threads", "1", "-max_pixels", str(work.limits.pixels)),
        *("-protocol_whitelist", "file", "-format_whitelist", _WHITELIST),
        *("-f", _DEMUXERS[work.media_type], "-i", f"file:{work.path}"),
    )


def _run(words: Sequence[str], work: Work) -> bytes | None:
    """Return what the program wrote, None when it failed; raises MediaRefused when it is late."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=work.limits.program_s,
            env={},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MediaRefused(
            f"Reading the video takes longer than {work.limits.program_s} seconds."
        ) from None
    if done.returncode == -signal.SIGXCPU:
        raise MediaRefused(
            f"Reading the video takes more than {work.limits.cpu_s} seconds of computing."
        )
    return done.stdout if done.returncode == 0 else None
