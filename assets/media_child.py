"""The process in which a file is opened: `python -m assets.media_child`, one file each.

Started by assets.media and nobody else, with nothing in its environment; reads one request as JSON
from its standard input and answers on its standard output. Gives itself limits that it cannot take
back before it touches the file. Must never import Django or anything that knows a secret.
"""

from __future__ import annotations

import errno
import json
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assets.media import NOT_UNDERSTOOD, MediaLimits, MediaRefused, Understanding
from assets.media_work import Work
from assets.sniffing import SVG, TYPES

_LATE_S = 5


def main() -> None:
    """Answer the one request: `{"found": {…}}`, or `{"refused": "A sentence."}`."""
    request = json.loads(sys.stdin.buffer.read())
    sys.stdin.close()
    work = Work(
        path=Path(request["path"]),
        workspace=Path(request["workspace"]),
        media_type=next(each for each in TYPES if each.mimetype == request["mimetype"]),
        limits=MediaLimits(**request["limits"]),
        ffprobe=request["ffprobe"],
        ffmpeg=request["ffmpeg"],
    )
    confine(work.limits)
    sys.stdout.write(json.dumps(answer(work)))


def confine(limits: MediaLimits) -> None:
    """Limit this process, and those it starts, for good."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1)
    _limit(resource.RLIMIT_FSIZE, limits.file_bytes)
    _limit(resource.RLIMIT_NOFILE, limits.open_files)
    # macOS refuses this one, or takes it and does not keep to it.
    with suppress(ValueError, OSError):
        _limit(resource.RLIMIT_AS, limits.memory_bytes)
    # Should nobody be left to end this: a worker that was killed ends no child.
    signal.alarm(limits.wall_s + _LATE_S)


def _limit(what: int, soft: int, hard: int | None = None) -> None:
    """Set a limit; one that is lower already stays."""
    present = resource.getrlimit(what)[1]
    ceiling = soft if hard is None else hard
    if present != resource.RLIM_INFINITY:
        soft, ceiling = min(soft, present), min(ceiling, present)
    resource.setrlimit(what, (soft, ceiling))


def answer(work: Work) -> dict[str, Any]:
    """Return what is to be said about the file."""
    try:
        found = look(work)
    except MediaRefused as refused:
        return {"refused": refused.reason}
    except MemoryError:
        megabytes = work.limits.memory_bytes // 2**20
        return {"refused": f"Opening the file takes more than {megabytes} MB of memory."}
    except OSError as error:
        if error.errno == errno.EFBIG:
            megabytes = work.limits.file_bytes // 2**20
            return {"refused": f"What is made of the file takes more than {megabytes} MB."}
        return {"errno": error.errno or errno.EIO}
    except Exception as error:  # noqa: BLE001 -- it may be our own mistake: the worker logs it
        return {"refused": NOT_UNDERSTOOD, "error": f"{type(error).__name__}: {error}"}
    described = asdict(found)
    del described["media_type"]
    described |= {"converted": bool(found.converted), "thumbnail": bool(found.thumbnail)}
    return {"found": described}


def look(work: Work) -> Understanding:
    """Return what the file is, by whoever knows its kind; raises MediaRefused."""
    # Each brings a library that the others do without.
    if work.media_type == SVG:
        from assets.media_drawings import drawing

        return drawing(work)
    if work.media_type.kind == "image":
        from assets.media_pictures import picture

        return picture(work)
    from assets.media_videos import video

    return video(work)


if __name__ == "__main__":
    main()
