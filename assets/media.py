"""Understands media files: what they show, how big, how long, and a small picture of them.

Called by the worker, and by the old API where v1 answers how long a video is. Never decodes a file
itself: a child process under hard limits does (assets.media_child), so a hostile file can neither
exhaust its caller nor crash it.
What the child says is not believed further than its shape: it has read the file.

The limits are those of setrlimit(2). macOS does not enforce RLIMIT_AS: there a file that asks for
too much memory is stopped by the other limits only. Run the worker on Linux.
"""

from __future__ import annotations

import json
import logging
import math
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from assets.sniffing import HEAD_BYTES, MediaType, refusal, sniff

if TYPE_CHECKING:
    import resource

logger = logging.getLogger(__name__)

_CODE = Path(__file__).resolve().parent.parent
_REPLY_BYTES = 65_536
_LONGEST_REASON = 300
# getrusage(2) counts in kilobytes, and where it counts in bytes on macOS. It counts what the worker
# had when it started the child, too: a peak is never said to be lower than that.
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024

COMMAND = (sys.executable, "-s", "-m", "assets.media_child")
"""What is started for each file."""

ENVIRONMENT: dict[str, str] = {}
"""What the child finds in its environment: no path to search, no home, no secret."""

CONVERTED = "converted.webp"
THUMBNAIL = "thumbnail.webp"

NOT_UNDERSTOOD = "The file could not be understood."


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """What understanding one file may take; each is reached by nothing that a player could show.

    `memory_bytes` is of address space, `cpu_s` of processor time and `file_bytes` of each file
    written: they bound the child, and ffprobe and ffmpeg each again. `wall_s` bounds all together,
    `program_s` one run of ffprobe or ffmpeg. `pixels` are those of one picture, `frames` those of
    one animation.
    """

    memory_bytes: int = 1_073_741_824
    cpu_s: int = 90
    wall_s: int = 150
    program_s: int = 45
    file_bytes: int = 268_435_456
    open_files: int = 64
    pixels: int = 100_000_000
    frames: int = 5_000
    drawing_bytes: int = 16_777_216


DEFAULT_LIMITS = MediaLimits()


class MediaRefused(Exception):
    """The file cannot be used; `reason` says why, for the person who uploaded it."""

    def __init__(self, reason: str) -> None:
        """Keep the sentence."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Understanding:
    """What a media file is.

    `media_type` is the file's own, also where `converted` takes its place. `width` and `height` are
    pixels as shown, turned as the file says; of the converted picture where there is one; None
    where nothing tells (a drawing without a size, a video that ffprobe was not there to read).
    `duration_s` is whole seconds, to the nearest and at least 1 (Anthias stores whole seconds);
    None for pictures and where the file does not say. `converted` and `thumbnail` are new files in
    the workspace, always WebP and without any metadata of the original. `metadata` has the keys
    that Anthias uses: `original_ext`, `transcoded`, for videos `width`, `height`, `fps`,
    `video_codec`; and `audio_codec` and `container` beside them. What is not known has no key.
    """

    media_type: MediaType
    width: int | None
    height: int | None
    duration_s: int | None
    is_animated: bool
    converted: Path | None
    thumbnail: Path | None
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a child ended: what it wrote, its exit code (negative: the signal) and what it took."""

    reply: bytes
    code: int
    is_late: bool
    seconds: float
    peak_bytes: int


def understand(
    path: Path, *, workspace: Path, limits: MediaLimits = DEFAULT_LIMITS
) -> Understanding:
    """Return what the file at `path` is; raises MediaRefused with a sentence for its owner.

    `workspace` is an existing folder for this one file: what is made lies there, and whoever made
    the folder removes it. Raises OSError when the file cannot be read or the folder takes no more:
    that is not the file's fault, and may go better another time.
    """
    with path.open("rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise MediaRefused("This is not a file.")
        head = file.read(HEAD_BYTES)
    media_type = sniff(head)
    if media_type is None:
        raise MediaRefused(refusal(head))
    request = {
        "path": str(path.resolve()),
        "workspace": str(workspace.resolve()),
        "mimetype": media_type.mimetype,
        "limits": asdict(limits),
        "ffprobe": shutil.which("ffprobe"),
        "ffmpeg": shutil.which("ffmpeg"),
    }
    ended = _run(json.dumps(request).encode(), limits)
    logger.info(
        "Looked into a file of type %s: %.1f s, %.0f MB at most, ended with %s",
        media_type.mimetype,
        ended.seconds,
        ended.peak_bytes / 2**20,
        ended.code,
        extra={"peak_bytes": ended.peak_bytes},
    )
    return _understanding(_answer(ended, limits), media_type, workspace)


def _run(request: bytes, limits: MediaLimits) -> _Ended:
    """Run one child to its end, or to the end of its time, and leave nothing of it behind."""
    began = time.monotonic()
    deadline = began + limits.wall_s
    process = subprocess.Popen(
        COMMAND,
        cwd=_CODE,
        env=dict(ENVIRONMENT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    reply, ended = b"", None
    try:
        reply = _talk(process, request, deadline)
        ended = _await(process.pid, deadline)
    finally:
        # The whole group: what the child started must not outlive it either.
        _kill_group(process.pid)
        code, usage = ended or _await(process.pid, math.inf) or (0, None)
        process.returncode = code  # Popen would wait for it once more
    peak = usage.ru_maxrss * _MAXRSS_UNIT if usage else 0
    return _Ended(reply, code, ended is None, time.monotonic() - began, peak)


def _talk(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes:
    """Return what the child answers, and a little more than it may when it does not stop."""
    to_child, from_child = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    reply = b""
    with to_child, from_child:
        # One write is enough, and does not wait: a request is smaller than a pipe.
        with suppress(BrokenPipeError):
            os.write(to_child.fileno(), request)
        to_child.close()
        pipe = from_child.fileno()
        while len(reply) <= _REPLY_BYTES:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([pipe], [], [], left)[0]:
                break
            piece = os.read(pipe, _REPLY_BYTES)
            if not piece:
                break
            reply += piece
    return reply


def _await(pid: int, deadline: float) -> tuple[int, resource.struct_rusage] | None:
    """Return the exit code and what was used, of the child and its own; None when it is late."""
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.005)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _answer(ended: _Ended, limits: MediaLimits) -> dict[str, Any]:
    """Return what the child found; raises MediaRefused for what it refuses and how it failed."""
    if ended.is_late:
        raise MediaRefused(f"Opening the file takes longer than {limits.wall_s} seconds.")
    if ended.code == -signal.SIGKILL:
        # Nobody here did: a system that runs out of memory does, and a container that does.
        raise MediaRefused("Opening the file was stopped, most likely for the memory it takes.")
    if ended.code == -signal.SIGXCPU:
        raise MediaRefused(f"Opening the file takes more than {limits.cpu_s} seconds of computing.")
    if ended.code < 0:
        raise MediaRefused("The file is damaged in a way that makes programs crash.")
    number = 0
    try:
        answer = json.loads(ended.reply, parse_constant=_no_constant)
        if "refused" in answer:
            if "error" in answer:
                logger.error("Media could not be understood: %.500s", answer["error"])
            raise MediaRefused(str(answer["refused"])[:_LONGEST_REASON])
        number = int(answer.get("errno", 0))
        found: dict[str, Any] = {} if number else dict(answer["found"])
    except (AttributeError, KeyError, TypeError, ValueError):
        logger.error("The media child ended with %s and said %.200r", ended.code, ended.reply)  # noqa: TRY400 -- where it went wrong is the child's stack, not ours
        raise MediaRefused(NOT_UNDERSTOOD) from None
    if number:
        raise OSError(number, os.strerror(number))
    return found


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _understanding(found: dict[str, Any], media_type: MediaType, workspace: Path) -> Understanding:
    """Return what the child found, once every value has its shape; raises MediaRefused."""
    try:
        return Understanding(
            media_type=media_type,
            width=_positive(found["width"]),
            height=_positive(found["height"]),
            duration_s=_positive(found["duration_s"]),
            is_animated=found["is_animated"] is True,
            converted=_made(workspace / CONVERTED) if found["converted"] else None,
            thumbnail=_made(workspace / THUMBNAIL) if found["thumbnail"] else None,
            metadata={str(key): _plain(value) for key, value in found["metadata"].items()},
        )
    except (AttributeError, KeyError, OSError, ValueError) as error:
        logger.exception("The media child gave no proper answer")
        raise MediaRefused(NOT_UNDERSTOOD) from error


def _positive(value: Any) -> int | None:
    if value is None or (type(value) is int and 0 < value < 2**31):
        return value
    raise ValueError(value)


def _plain(value: Any) -> str | int | float | bool:
    if isinstance(value, str | int | float):
        return value
    raise ValueError(value)


def _made(path: Path) -> Path:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError(path)
    return path
