"""Background jobs that mean harm, or meet it: none leaves its tenant, none is lost, none goes on for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, connections

from assets import processing
from assets.models import Asset
from assets.processing import AWAY, KILLS
from assets.storage import media_key
from assets.tasks import queue_understanding
from rls import ContextError, acting_as
from tenancy.actors import operator
from tests import databases
from tests.jobs import put
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import Settings

    from tests.world import Inhabited, World

SAMPLES = Path(processing.__file__).parent / "samples/anthias-current/anthias_assets"
PICTURE = (SAMPLES / "9a79e2fee965907e2b9df462c0d65c0b.png").read_bytes()


@pytest.fixture
def place(scratch_database: str, tmp_path: Path, settings: Settings) -> World:
    """A world that workers can see, since it is committed."""
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


def work() -> None:
    call_command("worker", once=True, concurrency=2)


def states(cursor: psycopg.Cursor[Any]) -> list[tuple[str, int]]:
    return cursor.execute(
        "SELECT status::text, attempts FROM procrastinate_jobs ORDER BY id"
    ).fetchall()


def with_file(place: Inhabited, **values: Any) -> Asset:
    """Give the first asset of a tenant a file that waits to be understood."""
    row = place.assets[0]
    row.media_path = default_storage.save(
        media_key(row.tenant_id, row.pk, "lobby.png"), ContentFile(PICTURE)
    )
    row.processing_status, row.is_processing = "pending", True
    for name, value in values.items():
        setattr(row, name, value)
    with acting_as(operator(row.tenant_id)):
        row.save()
    return row


def read(row: Asset) -> Asset:
    with acting_as(operator(row.tenant_id)):
        return Asset.objects.get(pk=row.pk)


def test_a_job_of_nobodys_tenant_is_not_queued_and_not_run(
    place: World, queue: psycopg.Cursor[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = with_file(place.acme)
    with pytest.raises(ContextError):
        queue_understanding(actor=place.acme.owner, assets=[row.pk])
    with acting_as(place.globex.owner), pytest.raises(ContextError):
        queue_understanding(actor=place.acme.owner, assets=[row.pk])
    for arguments in ("{}", f'{{"tenant": "{row.tenant_id}"}}'):
        with acting_as(place.globex.owner), connection.cursor() as cursor:
            with pytest.raises(Exception, match="row-level security"):
                cursor.execute(
                    "INSERT INTO procrastinate_jobs (queue_name, task_name, args) "
                    "VALUES ('default', 'assets.understand_media', %s)",
                    [arguments],
                )
            connection.set_rollback(True)
    assert states(queue) == []
    monkeypatch.setattr(processing, "understand_media", lambda **_: pytest.fail("it was run"))
    put(queue, "assets.understand_media", asset=str(row.pk))
    put(queue, "assets.understand_media", asset=str(row.pk), tenant="nobody")
    work()
    # Not tried again: the next time it has no tenant either.
    assert states(queue) == [("failed", 1), ("failed", 1)]


def test_a_job_does_nothing_in_a_suspended_tenant(place: World, queue: psycopg.Cursor[Any]) -> None:
    row = with_file(place.initech)
    put(queue, "assets.understand_media", asset=str(row.pk), tenant=str(row.tenant_id))
    work()
    assert states(queue) == []
    assert read(row).processing_status == "pending"


def test_a_job_that_names_another_tenants_asset_does_nothing(
    place: World, queue: psycopg.Cursor[Any]
) -> None:
    row = with_file(place.globex)
    before = queue.execute("SELECT a::text FROM assets a ORDER BY id").fetchall()
    for task in ("understand_media", "download_remote", "check_reachability"):
        put(queue, f"assets.{task}", asset=str(row.pk), tenant=str(place.acme.tenant.pk))
    work()
    assert states(queue) == []
    assert queue.execute("SELECT a::text FROM assets a ORDER BY id").fetchall() == before
    assert default_storage.exists(row.media_path)


def test_a_poison_job_is_tried_five_times_and_becomes_a_dead_letter(
    place: World, queue: psycopg.Cursor[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = with_file(place.acme)
    with acting_as(place.acme.owner):
        queue_understanding(actor=place.acme.owner, assets=[row.pk])

    def poison(*_: Any, **__: Any) -> Any:
        raise RuntimeError("poison")

    with monkeypatch.context() as patch:
        patch.setattr(processing, "understand", poison)
        waits = []
        for attempt in range(1, 5):
            began = datetime.now(UTC)
            work()
            assert states(queue) == [("todo", attempt)]
            assert read(row).processing_status == "processing"
            [(due,)] = queue.execute("SELECT scheduled_at FROM procrastinate_jobs").fetchall()
            waits.append((due - began).total_seconds())
            work()  # not before its time
            assert states(queue) == [("todo", attempt)]
            queue.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")
        for wait, expected in zip(waits, (5, 20, 80, 320), strict=True):
            assert expected <= wait < expected + 4
        work()
        assert states(queue) == [("failed", 5)]
        dead = read(row)
        assert (dead.processing_status, dead.is_processing) == ("failed", False)
        assert dead.metadata["error_message"] == AWAY
        work()
        assert states(queue) == [("failed", 5)]
    [(number,)] = queue.execute("SELECT id FROM procrastinate_jobs").fetchall()
    said = StringIO()
    call_command("jobs", failed=True, stdout=said)
    [_, line] = said.getvalue().splitlines()
    assert line.split()[:5] == [
        str(number),
        "failed",
        "assets.understand_media",
        str(row.tenant_id),
        "5",
    ]
    with pytest.raises(CommandError, match="No job 1000000 has failed for good"):
        call_command("jobs", retry=1_000_000)
    call_command("jobs", retry=number, stdout=StringIO())
    assert states(queue) == [("todo", 0)]
    work()
    assert states(queue) == []
    assert read(row).processing_status == "completed"
    call_command("jobs", stdout=(said := StringIO()))
    assert said.getvalue() == "There are none.\n"


def test_a_job_that_kills_its_worker_each_time_becomes_a_dead_letter(
    place: World, queue: psycopg.Cursor[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = with_file(place.acme)
    put(queue, "assets.understand_media", asset=str(row.pk), tenant=str(row.tenant_id))
    queue.execute("UPDATE procrastinate_jobs SET status = 'doing', attempts = 4")
    monkeypatch.setattr(processing, "understand", lambda *_, **__: pytest.fail("it was run"))
    work()
    assert states(queue) == [("failed", 6)]
    assert read(row).metadata["error_message"] == KILLS


def test_jobs_of_workers_that_live_are_not_taken_from_them(
    place: World, queue: psycopg.Cursor[Any]
) -> None:
    row = with_file(place.acme)
    put(queue, "assets.understand_media", asset=str(row.pk), tenant=str(row.tenant_id))
    queue.execute(
        "WITH alive AS (INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id) "
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = alive.id FROM alive"
    )
    work()
    assert states(queue) == [("doing", 0)]
    queue.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s'")
    work()
    assert states(queue) == []
    assert read(row).processing_status == "completed"


def test_the_queues_login_reaches_no_tenants_rows(place: World) -> None:
    del place
    for table in ("assets", "tenants", "users", "share_links"):
        with (
            connections["worker"].cursor() as cursor,
            pytest.raises(Exception, match="permission denied"),
        ):
            cursor.execute(f"SELECT * FROM {table}")
        connections["worker"].close()
