"""How the embedded PostgreSQL and Redis are made, started and found to answer.

Called by project/supervisor.py. Servers listen on sockets in a folder nobody else can enter,
never on a port (but fakeredis, on the loopback address, where a machine has no Redis at all);
as root they run as an account of less power. Development only: durability is off.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import psutil
import psycopg
import redis

from project.embedded import DATA, DATABASE, LOGS, SUPERUSER, database_url
from project.local import LOCAL, open_private
from project.place import CannotStartError, private_folder, program_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project.place import Place

# PostgreSQL's fast shutdown ends sessions and writes a checkpoint; Redis has nothing to save.
STOP_SIGNALS = {"redis": signal.SIGTERM, "postgres": signal.SIGINT}
START_SECONDS = 60


POSTGRES_SETTINGS = {
    # Development only: what a power cut may cost is a database that a command makes again.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}


DISPOSABLE = "It holds development data only: delete it and run this again."


def dying_with_parent() -> Callable[[], None] | None:
    """Return what makes a child stop when its parent is killed, where the system can do that.

    For `preexec_fn`. Elsewhere the next supervisor ends what it finds left over.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(1, signal.SIGINT)

    return ask


def _spawn(command: list[str | Path], log: str, place: Place) -> subprocess.Popen[bytes]:
    """Start one server with its output in .local/log."""
    path = LOGS / log
    if path.exists():
        path.replace(path.with_suffix(".previous.log"))
    output = open_private(path, os.O_WRONLY | os.O_TRUNC)
    try:
        return subprocess.Popen(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(),
            preexec_fn=dying_with_parent(),  # noqa: PLW1509 -- one thread, and it only calls prctl
            **place.run_as,
        )
    finally:
        os.close(output)


def _failure(server: str, log: str) -> str:
    """Return the sentence for a server that ended, with the last it said itself."""
    said = (LOGS / log).read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"{server} did not start. Its last words:", *said[-6:]])


def _environment() -> dict[str, str]:
    """Return the servers' environment: no PG* variable or locale of a person's shell."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/"}


def _make_data(place: Place, password: str) -> None:
    """Make the data folder, complete or not at all."""
    unfinished = DATA.with_suffix(".unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    private_folder(unfinished, place.account)
    with tempfile.NamedTemporaryFile("w", dir=unfinished.parent, prefix="initdb.") as file:
        file.write(password)
        file.flush()
        if place.account is not None:
            os.chown(file.name, place.account.uid, place.account.gid)
        made = subprocess.run(
            [
                *(place.postgres / "initdb", "--pgdata", unfinished, "--username", SUPERUSER),
                *("--pwfile", file.name, "--auth", "scram-sha-256", "--encoding", "UTF8"),
                *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
                *("--no-sync", "--no-instructions"),
            ],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=_environment(),
            check=False,
            **place.run_as,
        )
    if made.returncode:
        raise CannotStartError(f"initdb failed:\n{made.stdout}{made.stderr}")
    unfinished.rename(DATA)


def _working_in(folder: Path) -> list[psutil.Process]:
    """Return the processes whose working folder is `folder`, as PostgreSQL's is its data."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder):
                found.append(process)
        except (psutil.Error, OSError):
            # Another account's, or one that ended just now: not one of these servers.
            continue
    return found


def _end_strays() -> None:
    """Stop what still runs in our data folder, and remove the note of what does not.

    PostgreSQL believes its postmaster.pid when any process of this account has that number now.
    """
    strays = _working_in(DATA)
    for process in strays:
        process.send_signal(STOP_SIGNALS["postgres"])
    _gone, left = psutil.wait_procs(strays, START_SECONDS)
    if left:
        raise CannotStartError(f"Process {left[0].pid} works in {DATA} and does not end.")
    (DATA / "postmaster.pid").unlink(missing_ok=True)


def start_postgres(place: Place, password: str) -> subprocess.Popen[bytes]:
    """Start PostgreSQL, making its data folder first where there is none."""
    program = place.postgres / "postgres"
    if not DATA.exists():
        _make_data(place, password)
    version = (DATA / "PG_VERSION").read_text(encoding="utf-8").strip()
    if int(version) != program_version(program):
        raise CannotStartError(
            f"{DATA} was made by PostgreSQL {version}, another version than the one here. "
            f"{DISPOSABLE}"
        )
    _end_strays()
    quoted = '"' + str(place.sockets).replace('"', '""') + '"'
    settings = {**POSTGRES_SETTINGS, "unix_socket_directories": quoted}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return _spawn([program, "-D", DATA, *options], "postgres.log", place)


def await_postgres(process: subprocess.Popen[bytes], place: Place, secrets: dict[str, str]) -> None:
    """Return when PostgreSQL answers and has Signate's roles and database."""
    from rls.roles import create_roles

    superuser = database_url(SUPERUSER, secrets["superuser"], str(place.sockets), "postgres")
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(superuser, connect_timeout=5).close()
            break
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise CannotStartError(
                    f"{DATA} has other passwords than {LOCAL / 'secrets.json'}. {DISPOSABLE}"
                ) from error
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotStartError(_failure("PostgreSQL", "postgres.log")) from error
            time.sleep(0.02)
    roles = {name: word for name, word in secrets.items() if name.startswith("signage_")}
    create_roles(superuser, database=DATABASE, passwords=roles, createdb=True)


def start_redis(place: Place) -> tuple[subprocess.Popen[bytes] | None, str]:
    """Start a Redis and return its process and URL; no process for fakeredis, in this one."""
    if place.redis is None:
        return None, _start_fake_redis()
    path = place.sockets / "redis.sock"
    path.unlink(missing_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "maxmemory": "64mb",
        "maxmemory-policy": "allkeys-lru",
        "dir": str(place.sockets),
        "daemonize": "no",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    process = _spawn([place.redis, *words], "redis.log", place)
    return process, f"unix://{quote(str(path))}?db=0"


def _start_fake_redis() -> str:
    """Serve fakeredis on a free loopback port from a thread of this process."""
    from fakeredis import TcpFakeServer

    server = TcpFakeServer(("127.0.0.1", 0))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"redis://127.0.0.1:{server.server_address[1]}/0"


def await_redis(process: subprocess.Popen[bytes] | None, url: str) -> None:
    """Return when Redis answers."""
    deadline = time.monotonic() + START_SECONDS
    with redis.Redis.from_url(url, socket_timeout=5) as client:
        while True:
            try:
                client.ping()
            except redis.RedisError as error:
                over = process is not None and process.poll() is not None
                if over or time.monotonic() > deadline:
                    raise CannotStartError(_failure("Redis", "redis.log")) from error
                time.sleep(0.02)
            else:
                return
