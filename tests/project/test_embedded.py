"""The life of the embedded servers, each test in a clone of its own, as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
import redis
from psycopg.conninfo import conninfo_to_dict

from tests.project.clones import bare_environment, make_clone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Uses the servers until its standard input ends, and says what it found.
USER = """
import json, os, sys
from project import embedded, local
embedded.ensure_running()
found = {k: os.environ[k] for k in (*embedded.NAMED, "DATABASE_SUPERUSER_URL")}
print(json.dumps(found | local.read_json(embedded.PROCESSES)), flush=True)
sys.stdin.read()
"""


class Clone:
    """A copy of what the servers need, and the processes that use it."""

    def __init__(self, root: Path) -> None:
        self.root = make_clone(root, "project", "rls")

    @contextmanager
    def used(self) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
        """Yield a process that uses the servers, and what it found; end it afterwards."""
        process = subprocess.Popen(
            [sys.executable, "-c", USER],
            cwd=self.root,
            env=bare_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        try:
            assert line, process.stderr.read()
            yield process, json.loads(line)
        finally:
            process.communicate()

    def fails(self, **variables: str) -> str:
        """Return what a user says that cannot have servers."""
        done = subprocess.run(
            [sys.executable, "-c", USER],
            cwd=self.root,
            env={**bare_environment(), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture
def clone(folder: Path) -> Clone:
    return Clone(folder / "clone")


def role_of(found: dict[str, Any], name: str = "DATABASE_URL") -> str:
    with psycopg.connect(found[name]) as connection:
        row = connection.execute("SELECT current_user").fetchone()
        assert row is not None
        return str(row[0])


def server_numbers(found: dict[str, Any]) -> list[int]:
    """Return the servers' process numbers; fakeredis has none of its own."""
    return [found[name][0] for name in ("postgres", "redis") if name in found]


def sockets_of(found: dict[str, Any]) -> Path:
    return Path(str(conninfo_to_dict(found["DATABASE_URL"])["host"]))


def pong(found: dict[str, Any]) -> bool:
    with redis.Redis.from_url(found["REDIS_URL"]) as client:
        return bool(client.ping())


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Wait for what another process does, no longer than it takes."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def gone(found: dict[str, Any]) -> bool:
    """Return whether none of the processes that a user found is alive."""
    return not any(map(_running, [found["supervisor"], *server_numbers(found)]))


def _running(number: int) -> bool:
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_servers_start_are_shared_and_stop_with_their_last_user(clone: Clone) -> None:
    with clone.used() as (_, first):
        assert role_of(first) == "signage_app"
        assert role_of(first, "DATABASE_OWNER_URL") == "signage_maintenance"
        assert role_of(first, "DATABASE_SUPERUSER_URL") == "postgres"
        assert pong(first)
        with clone.used() as (_, second):
            assert second == first
        # The one that left last is not the one that came first.
        assert role_of(first) == "signage_app"
    assert gone(first)
    # The data, the passwords and the roles are still there for the next time.
    with clone.used() as (_, again):
        assert again["DATABASE_URL"] == first["DATABASE_URL"]
        assert again["postgres"] != first["postgres"]
        assert role_of(again) == "signage_app"
    assert gone(again)


def test_what_the_servers_keep_is_private_and_nothing_listens_on_a_port(clone: Clone) -> None:
    with clone.used() as (_, found):
        local = clone.root / ".local"
        assert local.stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)
        for private in (local / "postgres", local / "log", sockets_of(found)):
            assert private.stat().st_mode & 0o777 == 0o700
        for secret in ("secrets.json", "servers.json", "processes.json"):
            assert (local / secret).stat().st_mode & 0o777 == 0o600
        for number in server_numbers(found):
            connections = psutil.Process(number).net_connections("inet")
            assert [c for c in connections if c.status == psutil.CONN_LISTEN] == []
            assert psutil.Process(number).uids().real != 0
        with psycopg.connect(found["DATABASE_SUPERUSER_URL"]) as connection:
            rules = connection.execute(
                "SELECT DISTINCT auth_method FROM pg_hba_file_rules"
            ).fetchall()
        assert rules == [("scram-sha-256",)]
        wrong = found["DATABASE_URL"].replace("signage_app:", "signage_app:x")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


def test_a_killed_user_leaves_nothing_running(clone: Clone) -> None:
    with clone.used() as (process, found):
        process.send_signal(signal.SIGKILL)
        assert eventually(lambda: gone(found))
    assert not (clone.root / ".local" / "servers.json").exists()


def test_a_killed_supervisor_is_followed_by_another(clone: Clone) -> None:
    with clone.used() as (_, found):
        os.kill(found["supervisor"], signal.SIGKILL)
        with clone.used() as (_, again):
            assert again["supervisor"] != found["supervisor"]
            assert role_of(again) == "signage_app"
            assert pong(again)
            assert eventually(lambda: gone(found))
    assert gone(again)


def test_killed_servers_and_a_stale_pid_file_are_recovered(clone: Clone) -> None:
    with clone.used() as (_, found):
        os.kill(found["postgres"][0], signal.SIGKILL)
        assert eventually(lambda: gone(found))
    data = clone.root / ".local" / "postgres"
    assert (data / "postmaster.pid").exists()
    # A number that belongs to somebody else by now, who must not be touched.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        lines = (data / "postmaster.pid").read_text().splitlines()
        (data / "postmaster.pid").write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        birth = psutil.Process(bystander.pid).create_time() - 60
        processes = {"supervisor": bystander.pid, "redis": [bystander.pid, birth]}
        (clone.root / ".local" / "processes.json").write_text(json.dumps(processes))
        with clone.used() as (_, again):
            assert role_of(again) == "signage_app"
        assert bystander.poll() is None
        bystander.communicate(b"\n")


def test_an_unfinished_data_folder_is_made_again(clone: Clone) -> None:
    half = clone.root / ".local" / "postgres.unfinished"
    (half / "base").mkdir(parents=True)
    with clone.used() as (_, found):
        assert role_of(found) == "signage_app"
    assert not half.exists()


def test_clones_side_by_side_with_awkward_paths(folder: Path) -> None:
    paths = [folder / "a b, 'c' é%20?", folder / ("long" * 25) / "clone"]
    with ExitStack() as stack:
        found = [stack.enter_context(Clone(path).used())[1] for path in paths]
        assert len({one["DATABASE_URL"] for one in found}) == 2
        for one in found:
            assert role_of(one) == "signage_app"
            assert pong(one)
        # A comma means another host to libpq, and a socket's path has to be short.
        elsewhere = {sockets_of(one) for one in found}
        assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in elsewhere)
    assert all(map(gone, found))
    assert not any(folder.exists() for folder in elsewhere)


def test_urls_of_ones_own_are_all_or_none(clone: Clone) -> None:
    said = clone.fails(DATABASE_URL="postgresql://somewhere/signate", REDIS_URL=" ")
    assert said == (
        "Set: DATABASE_URL. Not set: DATABASE_OWNER_URL, REDIS_URL. Set all of DATABASE_URL, "
        "DATABASE_OWNER_URL, REDIS_URL to use servers of your own, or none of them to have some "
        "started.\n"
    )
    assert not (clone.root / ".local").exists()


def test_data_without_its_passwords_is_explained(clone: Clone) -> None:
    with clone.used():
        pass
    (clone.root / ".local" / "secrets.json").unlink()
    said = clone.fails()
    assert "has other passwords than" in said
    assert "delete it and run this again" in said


def test_servers_that_cannot_start_say_why(clone: Clone) -> None:
    with clone.used():
        pass
    data = clone.root / ".local" / "postgres"
    (data / "global" / "pg_control").unlink()
    said = clone.fails()
    assert "PostgreSQL did not start. Its last words:" in said
    assert "pg_control" in said
    (data / "PG_VERSION").write_text("12\n")
    assert "was made by PostgreSQL 12, another version than the one here" in clone.fails()
