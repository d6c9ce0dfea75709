"""Brings the dependencies: makes .venv from requirements.lock and runs the command again in it.

Called by manage.py before anything else, on a bare Python, so it imports the standard library
only. Knows no package index: pip asks whichever its own configuration names. Never changes a
Python that is not .venv's.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from project.local import LOCAL, ROOT, ensure_folder, locked, say

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = ROOT / "requirements.lock"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "signate-lock"
UNFINISHED = LOCAL / "venv-unfinished"
LOG = LOCAL / "log" / "pip.log"

# A Python whose packages somebody else looks after (a container image) says so with "0".
SWITCH = "SIGNATE_BOOTSTRAP"
# Counts the runs of one command, so that a .venv that does not come up to the lock cannot loop.
RUNS = "SIGNATE_BOOTSTRAP_RUNS"
# pip settings of a person's environment that contradict installing a lock into a venv.
CONTRADICTING = (
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_CONSTRAINT",
    "PYTHONHOME",
    "PYTHONPATH",
    "__PYVENV_LAUNCHER__",
)


def ensure_dependencies() -> None:
    """Return when this Python has what the lock pins; otherwise go on in .venv's Python instead.

    Exits with a sentence when the dependencies cannot be installed.
    """
    if os.environ.get(SWITCH) == "0":
        return
    runs = int(os.environ.pop(RUNS, "0"))
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    if _is_usable(inside=inside) if inside else _is_complete():
        return
    if runs > 1:
        sys.exit(f"{VENV} does not come up to {LOCK.name}; delete it and run this again.")
    ensure_folder()
    with locked(LOCAL / "bootstrap.lock", "Another command is installing the dependencies…"):
        if not (_is_usable(inside=inside) or _adopt()):
            _install()
    environment = {**os.environ, RUNS: str(runs + 1)}
    environment.pop("__PYVENV_LAUNCHER__", None)
    os.execve(PYTHON, [str(PYTHON), *sys.orig_argv[1:]], environment)  # noqa: S606 -- our own .venv


def _digest() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _is_usable(*, inside: bool) -> bool:
    """Return whether .venv was finished for this lock and, seen from inside, for this Python."""
    try:
        digest, version = STAMP.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return False
    return digest == _digest() and PYTHON.exists() and (not inside or version == _version())


def _adopt() -> bool:
    """Stamp a .venv that somebody else made (by hand, with another tool) if it has everything."""
    if STAMP.exists() or UNFINISHED.exists() or not PYTHON.exists():
        return False
    ask = "from project import bootstrap as b; b.stamp() if b._is_complete() else exit(1)"
    return _tell_venv(ask) == 0


def _tell_venv(code: str) -> int:
    """Run `code` in .venv's Python, with this clone's modules, and return its exit code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # `-c` puts the working folder before PYTHONPATH, and that may be another clone.
    done = subprocess.run([PYTHON, "-c", code], cwd=ROOT, env=environment, check=False)
    return done.returncode


def stamp() -> None:
    """Note in .venv, from its own Python, that it has what the lock pins."""
    STAMP.write_text(f"{_digest()} {_version()}\n", encoding="utf-8")


def _pins() -> Iterator[str]:
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():
            yield line.rstrip(" \\")


def _is_complete() -> bool:
    """Return whether this Python has exactly what the lock pins, whoever installed it."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return False
    for pin in _pins():
        requirement = Requirement(pin)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if not requirement.specifier.contains(installed, prereleases=True):
            return False
    return True


def _install() -> None:
    why = "they are not installed yet"
    if VENV.exists():
        why = "requirements.lock or Python changed" if STAMP.exists() else "it was left unfinished"
    say(f"Installing the dependencies into {VENV}: {why}.")
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        sys.exit(
            f"{sys.executable} cannot make virtual environments: it has no ensurepip.\n"
            "On Debian and Ubuntu that is the package python3-venv "
            "(apt-get install python3-venv); then run this again."
        )
    LOG.parent.mkdir(mode=0o700, exist_ok=True)
    UNFINISHED.touch()
    # Whatever is there is no use, and half of an installed package would pass for all of it.
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    for _attempt in range(20):
        # The pip of a killed command may still write into it for a moment.
        shutil.rmtree(VENV, ignore_errors=True)
        if not VENV.exists():
            break
        time.sleep(0.1)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    with LOG.open("w", encoding="utf-8") as log:
        # The base Python makes it: this one may be the .venv that was just removed.
        base = getattr(sys, "_base_executable", None) or sys.executable
        _follow([base, "-m", "venv", str(VENV)], log, "making the virtual environment")
        # Compiling everything ahead takes a third of the time, and most of it is never imported.
        wanted = ["--no-compile", "--no-deps", "--require-hashes", "-r", str(LOCK)]
        _follow([*pip, "install", *wanted], log, "installing")
    if _tell_venv("from project import bootstrap; bootstrap.stamp()"):
        sys.exit(f"{VENV} was made, but its Python does not run.")
    UNFINISHED.unlink()
    say("The dependencies are installed.")
    # The browser's part comes from npm packages; without npm it comes from the network later.
    subprocess.run([PYTHON, "-m", "project.vendor"], cwd=ROOT, check=False)


def _follow(command: list[str], log: IO[str], what: str) -> None:
    """Run `command`, show how far it is in a line or two, exit with its last words if it fails."""
    environment = {k: v for k, v in os.environ.items() if k not in CONTRADICTING}
    progress = _Progress(sum(1 for _ in _pins()))
    tail: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None  # noqa: S101 -- narrows for mypy
        for line in process.stdout:
            log.write(line)
            tail = [*tail[-11:], line.rstrip()]
            progress.see(line)
    progress.end()
    if process.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit("\n".join([*tail, f"That was {what}; it failed. All of it: {LOG}"]))


class _Progress:
    """pip's many lines as one that moves; as a few where nothing moves (a log, CI)."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.seen = 0
        self.moves = sys.stderr.isatty()

    def see(self, line: str) -> None:
        found = re.match(r"(?:Collecting|Processing) (?:\S*/)?([^\s=]+?)(?:==|-\d|\s|$)", line)
        if found:
            self.seen += 1
            text = f"  {self.seen} of {self.total}: {found[1]}"
            self._show(text, important=self.seen % 20 == 0)
        elif line.startswith("Ignoring "):
            self.total -= 1
        elif line.startswith("Installing collected packages"):
            self._show("  unpacking", important=True)

    def _show(self, text: str, *, important: bool) -> None:
        if self.moves:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif important:
            say(text)

    def end(self) -> None:
        if self.moves and self.seen:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
