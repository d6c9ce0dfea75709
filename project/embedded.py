"""Embedded PostgreSQL and Redis for development, the demo and the tests: the users' side.

Called by manage.py before Django loads its settings. Finds running servers or has
project/supervisor.py start them, and names them in the environment; never in production, where
the environment names real ones. docs/decisions/embedded-servers.md says why it is built this way.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import signal
import subprocess
import sys
import time
from urllib.parse import quote

import psycopg
import redis

from project.local import (
    LOCAL,
    ROOT,
    ensure_folder,
    ensure_secrets,
    is_held,
    lock,
    locked,
    read_json,
    say,
    try_lock,
)

NAMED = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
# Set beside the URLs of embedded servers, so that nothing takes another server for one of them.
MARK = "SIGNATE_EMBEDDED"
DATABASE = "signate"
SUPERUSER = "postgres"

START_LOCK = LOCAL / "start.lock"
# Shared by every process that uses the servers; whoever has it alone may stop them.
IN_USE = LOCAL / "in-use"
SUPERVISOR_LOCK = LOCAL / "supervisor.lock"
STATE = LOCAL / "servers.json"
PROCESSES = LOCAL / "processes.json"
DATA = LOCAL / "postgres"
LOGS = LOCAL / "log"

START_SECONDS = 120
STOP_SECONDS = 60


def ensure_running() -> None:
    """Put the servers' URLs into the environment, starting embedded servers if it names none.

    They stay up while any process that called this lives, and are gone when the last has ended.
    Exits with a sentence when only one server is named, or when the servers cannot start.
    """
    missing = [name for name in NAMED if not os.environ.get(name, "").strip()]
    # A production process has no owner's login, and should have none; `migrate` asks for it.
    if missing in ([], ["DATABASE_OWNER_URL"]):
        return
    if len(missing) < len(NAMED):
        given = ", ".join(name for name in NAMED if name not in missing)
        sys.exit(
            f"Set: {given}. Not set: {', '.join(missing)}. Set all of {', '.join(NAMED)} to use "
            "servers of your own, or none of them to have some started."
        )
    ensure_folder()
    passwords = ensure_secrets()
    with locked(START_LOCK, "Waiting for another command that starts the servers…"):
        use = lock(IN_USE, fcntl.LOCK_SH, "Waiting for the servers to stop, to start them again…")
        if not _answer(passwords):
            _start()
        urls = _urls(passwords)
    atexit.register(_leave, use, os.getpid())
    os.environ.update({**urls, MARK: str(ROOT)})
    os.environ.setdefault("SIGNATE_SECRET_KEY", passwords["secret_key"])
    os.environ.setdefault("SIGNATE_MEDIA_ROOT", str(LOCAL / "media"))


def in_use() -> bool:
    """Return whether the environment names embedded servers, whose data may be thrown away."""
    return os.environ.get(MARK) == str(ROOT)


def database_url(user: str, password: str, folder: str, database: str = DATABASE) -> str:
    """Return the URL of a database behind the socket in `folder`."""
    return f"postgresql://{user}:{quote(password, safe='')}@/{database}?host={quote(folder)}"


def _urls(passwords: dict[str, str]) -> dict[str, str]:
    state = read_json(STATE)
    folder = str(state["sockets"])
    superuser = database_url(SUPERUSER, passwords["superuser"], folder, "postgres")
    roles = {
        "DATABASE_URL": "signage_app",
        "DATABASE_WORKER_URL": "signage_worker",
        "DATABASE_OWNER_URL": "signage_maintenance",
    }
    urls = {name: database_url(role, passwords[role], folder) for name, role in roles.items()}
    return {**urls, "DATABASE_SUPERUSER_URL": superuser, "REDIS_URL": str(state["redis_url"])}


def _answer(passwords: dict[str, str]) -> bool:
    """Return whether servers are up; wait for those on their way up, end those that do not answer.

    Called with both locks held, so that no supervisor can be stopping.
    """
    if not is_held(SUPERVISOR_LOCK):
        return False
    deadline = time.monotonic() + START_SECONDS
    while is_held(SUPERVISOR_LOCK) and time.monotonic() < deadline:
        if read_json(STATE).get("ready"):
            break
        time.sleep(0.05)
    for _attempt in range(20):
        try:
            urls = _urls(passwords)
            with psycopg.connect(urls["DATABASE_URL"], connect_timeout=5) as connection:
                connection.execute("SELECT 1")
            with redis.Redis.from_url(urls["REDIS_URL"], socket_timeout=5) as client:
                client.ping()
        except (KeyError, psycopg.Error, redis.RedisError):
            if not is_held(SUPERVISOR_LOCK):
                return False
            time.sleep(0.1)
        else:
            return True
    _end_supervisor()
    return False


def _end_supervisor() -> None:
    """End a supervisor whose servers do not answer: its lock proves that it is one."""
    say("The servers are running but do not answer; starting them again…")
    number = int(read_json(PROCESSES).get("supervisor", 0))
    deadline = time.monotonic() + STOP_SECONDS
    while number and is_held(SUPERVISOR_LOCK):
        os.kill(number, signal.SIGKILL if time.monotonic() > deadline else signal.SIGTERM)
        time.sleep(0.2)


def _start() -> None:
    """Start a supervisor and return when its servers are ready; exit with its last words if not."""
    STATE.unlink(missing_ok=True)
    LOGS.mkdir(mode=0o700, exist_ok=True)
    untold = "Starting PostgreSQL and Redis under .local…"
    if not DATA.exists():
        say("Starting PostgreSQL and Redis under .local, with a new database…")
        untold = ""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    # It detaches itself and returns at once; from then on its lock shows that it lives.
    command = [sys.executable, "-m", "project.supervisor"]
    made = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
    if made.returncode:
        sys.exit(made.returncode)
    began = time.monotonic()
    while is_held(SUPERVISOR_LOCK) and time.monotonic() - began < START_SECONDS:
        if read_json(STATE).get("ready"):
            return
        if untold and time.monotonic() - began > 1:
            say(untold)
            untold = ""
        time.sleep(0.02)
    sys.exit(_last_words())


def _last_words() -> str:
    """Return what is known about servers that did not start, for the person who waits for them."""
    log = LOGS / "supervisor.log"
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line for line in said.splitlines() if line.strip()]
    return "\n".join(
        [
            "PostgreSQL and Redis could not be started:",
            *(f"  {line}" for line in lines[-10:]),
            f"More is in {LOGS}. Deleting {LOCAL} starts over: it holds development data only.",
            f"To use servers of your own, set {', '.join(NAMED)}.",
        ]
    )


def _leave(use: int, process: int) -> None:
    """Stop using the servers, and if nobody else does, return when they have stopped.

    So a command that has ended leaves nothing running, and its folder can be removed.
    """
    if os.getpid() != process:
        return
    os.close(use)
    deadline = time.monotonic() + STOP_SECONDS
    alone = os.open(IN_USE, os.O_RDWR)
    try:
        while is_held(SUPERVISOR_LOCK) and time.monotonic() < deadline:
            if try_lock(alone, fcntl.LOCK_EX):
                # The supervisor has not noticed yet that it may stop.
                fcntl.flock(alone, fcntl.LOCK_UN)
            elif try_lock(alone, fcntl.LOCK_SH):
                return
            time.sleep(0.02)
    finally:
        os.close(alone)
