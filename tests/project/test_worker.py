"""`manage.py worker` as a process: killed, told to stop, started where it must not be."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from procrastinate import PsycopgConnector
from procrastinate.contrib.django.utils import connector_params
from procrastinate.periodic import PeriodicDeferrer
from procrastinate.worker import Worker

from assets import library
from assets.downloads import download_remote
from assets.models import Asset
from assets.storage import media_storage, thumbnail_key
from assets.workspaces import clear_workspaces, workspace
from rls import acting_as
from tenancy.jobs import ROUNDS
from tenancy.worker import CHORES, make_queue
from tests import databases
from tests.jobs import environment, put
from tests.listeners import listening, only, reply
from tests.world import create_world

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from pytest_django import Settings

    from tests.listeners import Listener
    from tests.world import World

ROOT = Path(django_settings.BASE_DIR)
SAMPLES = ROOT / "assets/samples/anthias-current/anthias_assets"
CLIP = (SAMPLES / "067f652f7d3cf3e0c8906078f1aa2233.mp4").read_bytes()


@pytest.fixture
def place(scratch_database: str, tmp_path: Path, settings: Settings) -> World:
    del scratch_database
    settings.MEDIA_ROOT, settings.UPLOAD_DIR = tmp_path / "media", tmp_path / "uploads"
    return create_world()


@pytest.fixture
def queue(place: World, scratch_database: str) -> Iterator[psycopg.Cursor[Any]]:
    """A cursor that sees every job, and none but those of the test."""
    del place
    conninfo = databases.owner_conninfo(scratch_database)
    with psycopg.connect(conninfo, autocommit=True) as owner:
        cursor = owner.cursor()
        cursor.execute("DELETE FROM procrastinate_jobs")
        yield cursor


class Halting:
    """Serves the clip; the first time only half of it, until it is released."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        del head
        answer = reply(CLIP)
        if not self.reached.is_set():
            connection.sendall(answer[: len(answer) // 2])
            self.reached.set()
            self.released.wait(30)
            return
        connection.sendall(answer)


@pytest.fixture
def halting() -> Iterator[tuple[Listener, Halting]]:
    serve = Halting()
    with listening(serve) as server:
        yield server, serve
        serve.released.set()


@contextmanager
def worker(database: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment(database),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def run_once(
    halting: tuple[Listener, Halting], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Run what is due to its end, in a worker that may fetch from the server too."""
    server, _ = halting
    monkeypatch.setattr(download_remote, "__kwdefaults__", {"network": only(server)})

    def run() -> None:
        call_command("worker", once=True)

    return run


def states(cursor: psycopg.Cursor[Any]) -> list[tuple[str, str, int]]:
    return cursor.execute(
        "SELECT task_name, status::text, attempts FROM procrastinate_jobs ORDER BY id"
    ).fetchall()


def await_line(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            return
    pytest.fail(f"{words!r} was not said: {''.join(said)}")


def downloading(place: World, url: str) -> Asset:
    with acting_as(place.acme.owner):
        values = {"name": "clip", "uri": f"{url}/clip.mp4"}
        return library.create_asset(actor=place.acme.owner, values=values, download=True)


def assert_done_once(place: World, row: Asset, work: Path) -> None:
    """Everything that was wanted is there, once, and nothing else."""
    with acting_as(place.acme.owner):
        after = Asset.objects.get(pk=row.pk)
    assert (after.processing_status, after.is_processing) == ("completed", False)
    assert after.file_size == len(CLIP)
    assert after.duration == 3
    stored = {one.key for one in media_storage().walk(f"t/{row.tenant_id}/")}
    assert after.media_path in stored
    assert stored <= {after.media_path, thumbnail_key(row.tenant_id, row.pk)}
    assert list(work.iterdir()) == []


def test_a_worker_killed_in_mid_job_loses_nothing_and_doubles_nothing(
    place: World,
    scratch_database: str,
    queue: psycopg.Cursor[Any],
    halting: tuple[Listener, Halting],
    run_once: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, serve = halting
    row = downloading(place, server.url)
    command = ("-m", "tests.project.loopback_worker", str(server.port))
    with worker(scratch_database, *command) as process:
        assert serve.reached.wait(30)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert states(queue) == [("assets.download_remote", "doing", 0)]
    # Half a minute later nobody has heard of it.
    queue.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s'")
    run_once()
    assert states(queue) == []
    assert "lost its worker and is queued again: attempt 1" in caplog.text
    assert server.connections == 2
    assert_done_once(place, row, Path(django_settings.UPLOAD_DIR) / "work")


def test_a_worker_told_to_stop_gives_back_what_it_cannot_end(
    place: World,
    scratch_database: str,
    queue: psycopg.Cursor[Any],
    halting: tuple[Listener, Halting],
    run_once: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, serve = halting
    row = downloading(place, server.url)
    command = ("-m", "tests.project.loopback_worker", str(server.port))
    with worker(scratch_database, *command) as process:
        assert serve.reached.wait(30)
        process.send_signal(signal.SIGTERM)
        await_line(process, "Told to stop")
        process.send_signal(signal.SIGTERM)
        await_line(process, "1 jobs have not ended in time and were given back")
        assert process.wait(10) == 0
    # Not an attempt that failed: it was not the job's fault.
    assert states(queue) == [("assets.download_remote", "todo", 0)]
    run_once()
    assert states(queue) == []
    assert_done_once(place, row, Path(django_settings.UPLOAD_DIR) / "work")
    assert not [line for line in caplog.messages if "lost its worker" in line]


def test_a_worker_told_to_stop_ends_what_it_can(
    place: World,
    queue: psycopg.Cursor[Any],
    halting: tuple[Listener, Halting],
    run_once: Callable[[], None],
) -> None:
    server, serve = halting
    downloading(place, server.url)
    del run_once  # only for the network that it lets downloads use

    def stop() -> None:
        serve.reached.wait(30)
        os.kill(os.getpid(), signal.SIGTERM)
        serve.released.set()  # the connection ends too early: the attempt fails, and is noted

    thread = threading.Thread(target=stop)
    thread.start()
    call_command("worker")
    thread.join()
    assert states(queue) == [("assets.download_remote", "todo", 1)]
    assert queue.execute("SELECT count(*) FROM procrastinate_workers").fetchone() == (0,)


def refusal() -> str:
    with pytest.raises(CommandError) as refused:
        call_command("worker", once=True)
    return str(refused.value)


def test_it_refuses_to_work_without_its_login_or_the_wall(
    scratch_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tenancy.worker.ALIAS", "nobody")
        assert refusal().startswith("Set DATABASE_WORKER_URL to the database as signage_worker")
    with monkeypatch.context() as patch:
        for name in ("USER", "PASSWORD"):
            owner = connections["owner"].settings_dict[name]
            patch.setitem(connections["worker"].settings_dict, name, owner)
        assert refusal().startswith(
            "DATABASE_WORKER_URL must name signage_worker, and signage_maintenance has BYPASSRLS"
        )
    with databases.maintenance(scratch_database) as owner:
        owner.execute("ALTER TABLE assets NO FORCE ROW LEVEL SECURITY")
    assert refusal().startswith("The wall is not as declared")
    with pytest.raises(CommandError, match="--concurrency is 1 or more"):
        call_command("worker", once=True, concurrency=0)


def test_each_round_queues_one_job_per_active_tenant(
    place: World, queue: psycopg.Cursor[Any]
) -> None:
    put(queue, "long ago", tenant="x")
    queue.execute("UPDATE procrastinate_jobs SET status = 'succeeded'")
    queue.execute("UPDATE procrastinate_events SET at = now() - interval '8 days'")
    # One that is suspended, and whose time is over.
    queue.execute("UPDATE tenants SET deletes_at = now() - interval '1 s' WHERE slug = 'initech'")

    async def go() -> list[str]:
        connector = PsycopgConnector(kwargs=connector_params("worker"))
        app = make_queue(connector, rounds=ROUNDS)
        async with app.open_async():
            tasks = app.periodic_registry.periodic_tasks.values()
            for timestamp in (60, 120):
                due = [(task, timestamp) for task in tasks]
                await PeriodicDeferrer(app.periodic_registry).defer_jobs(due)
                doing = Worker(
                    app, queues=[CHORES], wait=False, delete_jobs="always", listen_notify=False
                )
                await doing.run()  # type: ignore[no-untyped-call]
        return sorted(task.task.name for task in tasks)

    assert asyncio.run(go()) == [
        "audit.forget",
        "queue.forget",
        "queue.rescue",
        "round.assets.clean_up",
        "round.assets.purge_tenant",
        "round.assets.sweep_reachability",
        "round.tenancy.recheck_domain",
    ]
    over = str(place.initech.tenant.pk)
    tenants = sorted(str(one.tenant.pk) for one in (place.acme, place.globex))
    assert queue.execute(
        "SELECT task_name, args ->> 'tenant', lock, args - 'tenant' FROM procrastinate_jobs "
        "ORDER BY 1, 2"
    ).fetchall() == [
        (task, tenant, f"{tenant}:{task}", {})
        for task, of in (
            ("assets.clean_up", tenants),
            ("assets.purge_tenant", [over]),
            ("assets.sweep_reachability", tenants),
            ("tenancy.recheck_domain", tenants),
        )
        for tenant in of
    ]


def test_folders_of_processes_that_are_gone_are_removed(tmp_path: Path, settings: Settings) -> None:
    settings.UPLOAD_DIR = tmp_path
    clear_workspaces()
    with workspace() as held:
        left = tmp_path / "work" / "left"
        left.mkdir()
        (left / ".lock").touch()
        young = tmp_path / "work" / "new-young"
        young.mkdir()
        clear_workspaces()
        assert held.is_dir()
        assert not left.exists()
        assert young.is_dir()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["new-young"]
