"""The .local folder: what one clone keeps on its machine, and the locks its processes share.

Used by bootstrap, embedded and supervisor, before any dependency is there, so it imports the
standard library only. Never holds anything that another account than the clone's may read.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import secrets
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
SECRETS = LOCAL / "secrets.json"

GENERATED = (
    "superuser",
    "signage_maintenance",
    "signage_app",
    "signage_worker",
    "signage_backup",
    "secret_key",
)


def say(line: str) -> None:
    """Tell the person at the terminal what happens; stdout belongs to the command's output."""
    print(line, file=sys.stderr, flush=True)


def account_name(uid: int) -> str:
    """Return the account's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"number {uid}"


def ensure_folder() -> Path:
    """Make .local, or exit with one sentence when it is another account's.

    Root's is 0711, because its servers run as an account of less power that has to pass through.
    """
    me = os.geteuid()
    try:
        LOCAL.mkdir(mode=0o700, exist_ok=True)
        owner = LOCAL.stat().st_uid
        if me not in {0, owner}:
            sys.exit(
                f"{LOCAL} belongs to the account {account_name(owner)}, and this is "
                f"{account_name(me)}: a clone is used by one account. Run this as "
                f"{account_name(owner)}, or make a clone of your own."
            )
        LOCAL.chmod(0o711 if owner == 0 else 0o700)
    except OSError as error:
        sys.exit(
            f"Signate keeps its data in {LOCAL}, which the account {account_name(me)} cannot "
            f"make or change ({error.strerror}). Use a clone that this account may write to."
        )
    return LOCAL


def give_to_owner(path: Path) -> None:
    """Leave what root makes in an ordinary account's .local to that account."""
    if os.geteuid() == 0:
        there = LOCAL.stat()
        os.chown(path, there.st_uid, there.st_gid)


def open_private(path: Path, flags: int) -> int:
    """Open `path` (made with mode 0600 where it is missing) and return the descriptor."""
    descriptor = os.open(path, flags | os.O_CREAT, 0o600)
    give_to_owner(path)
    return descriptor


def lock(path: Path, mode: int, waiting: str = "") -> int:
    """Take a flock of `mode` on `path`, and return the descriptor that holds it.

    Says `waiting` when that takes more than a second. The lock ends with the descriptor, so with
    its process, however that ends.
    """
    descriptor = open_private(path, os.O_RDWR)
    deadline = time.monotonic() + 1
    while waiting and time.monotonic() < deadline:
        if try_lock(descriptor, mode):
            return descriptor
        time.sleep(0.02)
    if waiting:
        say(waiting)
    fcntl.flock(descriptor, mode)
    return descriptor


def try_lock(descriptor: int, mode: int) -> bool:
    """Take a flock of `mode` on an open file if nobody is in the way; return whether it did."""
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the exclusive lock on `path` for the block."""
    descriptor = lock(path, fcntl.LOCK_EX, waiting)
    try:
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether some process holds the exclusive lock on `path`."""
    descriptor = open_private(path, os.O_RDWR)
    try:
        return not try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by a file of mode 0600 with this text; a reader sees the old or the new."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    give_to_owner(Path(name))
    Path(name).replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return what `write_private` stored as JSON; nothing where there is no file or half of one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def ensure_secrets() -> dict[str, str]:
    """Return the passwords and the key of this clone, generated once and kept in mode 0600."""
    found = read_json(SECRETS)
    missing = [name for name in GENERATED if not found.get(name)]
    if missing:
        found |= {name: secrets.token_urlsafe(32) for name in missing}
        write_private(SECRETS, json.dumps(found, indent=1) + "\n")
    return {name: str(found[name]) for name in GENERATED}
