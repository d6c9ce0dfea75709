"""Videos on YouTube: fetched by yt-dlp where it is installed, and only through our own proxy.

Called by assets.downloads. yt-dlp is a program of its own that opens addresses it finds; it gets an
environment with nothing in it, a folder to write to, and a proxy that leads nowhere inwards.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from assets.fetching import FetchFailed, FetchProxy
from assets.network import INTERNET

if TYPE_CHECKING:
    from assets.network import Network

HOSTS = frozenset(
    {"youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com", "youtu.be"}
)
MISSING = (
    "YouTube videos need yt-dlp, which this server does not have; ask its operator, or upload the "
    "file."
)
TOO_LARGE = "The video is larger than what may be stored. Delete some assets, or choose another."

_LONGEST_REASON = 300


class NoYoutube(Exception):
    """yt-dlp is not installed."""


def is_youtube(url: str) -> bool:
    """Return whether `url` is an address on YouTube (SPEC section 4)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and (parts.hostname or "") in HOSTS


def download_youtube(
    url: str, folder: Path, *, max_bytes: int, timeout: float, network: Network = INTERNET
) -> Path:
    """Return the video at `url` as a file in `folder`.

    Raises NoYoutube where there is no yt-dlp, FetchFailed with what it says, or with what the
    proxy refused.
    """
    spec = importlib.util.find_spec("yt_dlp")
    if spec is None or spec.origin is None:
        raise NoYoutube(MISSING)
    home = folder / "home"
    home.mkdir()
    # Twice: what it asks and hears besides the video counts too.
    with FetchProxy(max_bytes=2 * max_bytes, timeout=timeout, network=network) as proxy:
        command = [
            *(sys.executable, "-m", "yt_dlp", "--no-config", "--no-playlist", "--no-cache-dir"),
            *("--no-progress", "--no-part", "--no-exec", "--no-plugin-dirs", "--no-update"),
            *("--proxy", proxy.url, "--max-filesize", str(max_bytes)),
            *("--format", "best[ext=mp4]/best"),
            *("--output", str(folder / "video.%(ext)s"), "--", url),
        ]
        said, code = _run(command, home, Path(spec.origin).parent.parent, timeout)
        failure = proxy.failure
    files = [path for path in folder.glob("video.*") if path.is_file() and not path.is_symlink()]
    if code or not files:
        raise FetchFailed(failure or _reason(said) or TOO_LARGE)
    if len(files) > 1 or files[0].stat().st_size > max_bytes:
        raise FetchFailed(TOO_LARGE)
    return files[0]


def _run(command: list[str], home: Path, packages: Path, timeout: float) -> tuple[str, int]:
    """Run yt-dlp to its end and return what it complained of and its exit code."""
    # ffmpeg, where there is one, puts picture and sound together.
    ffmpeg = shutil.which("ffmpeg")
    environment = {
        "HOME": str(home),
        "PATH": str(Path(ffmpeg).parent) if ffmpeg else "",
        "PYTHONPATH": str(packages),
    }
    log = home / "errors"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        finally:
            # The whole group: what it started must not outlive it.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with log.open("rb") as errors:
        errors.seek(max(0, log.stat().st_size - 65_536))
        return errors.read().decode(errors="replace"), code


def _reason(said: str) -> str:
    """Return the last error of yt-dlp's, without its mark; empty when it gave none."""
    errors = [line for line in said.splitlines() if line.startswith("ERROR:")]
    if not errors:
        return ""
    reason = "".join(c if c.isprintable() else " " for c in errors[-1].removeprefix("ERROR:"))
    return f"yt-dlp says: {reason.strip()}"[:_LONGEST_REASON]
