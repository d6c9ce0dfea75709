"""The process that is parent of the embedded servers: starts them, stops them when unused.

Started by project/embedded.py as `python -m project.supervisor`; detaches itself, and ends when
nobody holds .local/in-use any more, however its users died. Never listens on a port of the network
for PostgreSQL, and never signals a process that it has not identified as one of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil

from project import place, servers
from project.embedded import IN_USE, LOGS, PROCESSES, STATE, STOP_SECONDS, SUPERVISOR_LOCK
from project.local import ensure_secrets, open_private, read_json, try_lock, write_private

if TYPE_CHECKING:
    from types import FrameType


class Stopped(Exception):
    """SIGTERM or SIGINT came."""


def main() -> None:
    """Run until the servers are not used any more; exit code 1 when they could not be started."""
    os.umask(0o077)
    alive = open_private(SUPERVISOR_LOCK, os.O_RDWR)
    if not try_lock(alive, fcntl.LOCK_EX):
        sys.exit("Another supervisor is running.")
    try:
        here = place.prepare()
    except (place.CannotStartError, OSError) as error:
        sys.exit(f"PostgreSQL and Redis cannot be started here: {error}")
    _detach()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    _end_leftovers()
    running: dict[str, subprocess.Popen[bytes]] = {}
    use = open_private(IN_USE, os.O_RDWR)
    try:
        _start(here, running)
        while not try_lock(use, fcntl.LOCK_EX):
            for name, process in running.items():
                if process.poll() is not None:
                    print(f"{name} ended by itself with {process.returncode}.", flush=True)
                    return
            time.sleep(0.1)
    except Stopped:
        pass
    except place.CannotStartError as error:
        print(error, flush=True)
        sys.exit(1)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        STATE.unlink(missing_ok=True)
        for name, process in reversed(running.items()):
            _end(process, servers.STOP_SIGNALS[name])
        place.tidy(here)
        PROCESSES.unlink(missing_ok=True)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


def _detach() -> None:
    """Leave the terminal, its signals and its parent; from here on, output goes to the log.

    The lock on SUPERVISOR_LOCK goes along: it belongs to the open file, which both share.
    """
    LOGS.mkdir(mode=0o700, exist_ok=True)
    log = open_private(LOGS / "supervisor.log", os.O_WRONLY | os.O_TRUNC)
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _start(here: place.Place, running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Start both servers, make roles and database, and say in STATE that users may come."""
    secrets = ensure_secrets()
    running["postgres"] = servers.start_postgres(here, secrets["superuser"])
    _record(running)
    redis, redis_url = servers.start_redis(here)
    if redis is not None:
        running["redis"] = redis
        _record(running)
    servers.await_postgres(running["postgres"], here, secrets)
    servers.await_redis(redis, redis_url)
    state = {"ready": True, "sockets": str(here.sockets), "redis_url": redis_url}
    write_private(STATE, json.dumps(state, indent=1) + "\n")


def _record(running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Note which processes are ours, with their birth, for the supervisor after a killed one."""
    found: dict[str, object] = {"supervisor": os.getpid()}
    for name, process in running.items():
        found[name] = [process.pid, psutil.Process(process.pid).create_time()]
    write_private(PROCESSES, json.dumps(found) + "\n")


def _end_leftovers() -> None:
    """End the servers of a supervisor that was killed before it could."""
    for name, stop_signal in servers.STOP_SIGNALS.items():
        number, birth = read_json(PROCESSES).get(name, (0, 0))
        try:
            process = psutil.Process(number) if number else None
            if process is not None and abs(process.create_time() - birth) < 1:
                print(f"Ending {name}, left over as process {number}.", flush=True)
                process.send_signal(stop_signal)
                process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            psutil.Process(number).kill()
        except psutil.NoSuchProcess:
            continue


def _end(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    """Ask one server to stop, and make it after STOP_SECONDS."""
    if process.poll() is None:
        process.send_signal(stop_signal)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    main()
