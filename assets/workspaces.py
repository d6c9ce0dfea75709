"""Folders in which files are worked on before the storage has them, below settings.UPLOAD_DIR.

Used by the worker's tasks, each with a folder of its own, which goes with it. The folder of a
process that was killed is found by the lock that nobody holds any more, and removed by the next.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

_LOCK = ".lock"
# What a folder is called before somebody holds its lock, and how long that may take.
_NEW = "new-"
_NEW_S = 60.0


def _root() -> Path:
    return Path(settings.UPLOAD_DIR) / "work"


@contextmanager
def workspace() -> Iterator[Path]:
    """Make an empty folder for one piece of work, and remove it with whatever is in it."""
    root = _root()
    root.mkdir(mode=0o750, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=root, prefix=_NEW))
    try:
        with (folder / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder = folder.rename(root / folder.name.removeprefix(_NEW))
            (folder / "files").mkdir()
            yield folder / "files"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_workspaces() -> None:
    """Remove the folders of processes that are gone."""
    try:
        found = list(os.scandir(_root()))
    except FileNotFoundError:
        return
    for entry in found:
        if entry.name.startswith(_NEW) and _is_young(entry):
            continue
        try:
            with Path(entry.path, _LOCK).open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        except FileNotFoundError:
            pass  # its process had no time to make one, or has just removed it
        logger.info("Removing %s, whose process is gone", entry.path)
        shutil.rmtree(entry.path, ignore_errors=True)


def _is_young(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.stat().st_mtime > time.time() - _NEW_S
    except FileNotFoundError:  # it has its name by now
        return True
