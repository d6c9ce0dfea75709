"""A command on a database without the schema: brought up to date, or refused in a sentence."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from django.conf import settings
from psycopg.conninfo import make_conninfo

from project import upkeep
from tests import databases
from tests.project.clones import ROOT, bare_environment, make_clone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = ("manage.py", "requirements.lock", "project", "graph", "assets", "tenancy", "rls")


def run(root: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "manage.py", *words],
        env={**bare_environment(), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def empty_database() -> Iterator[dict[str, str]]:
    """The URLs of a database that nobody has migrated, on servers that are not embedded."""
    name = f"test_empty_{uuid4().hex[:12]}"
    databases.create(name)
    app = settings.DATABASES["default"]
    yield {
        "DATABASE_URL": make_conninfo(
            dbname=name, user=app["USER"], password=app["PASSWORD"], host=app["HOST"],
            port=app["PORT"] or None,
        ),
        "DATABASE_OWNER_URL": databases.owner_conninfo(name),
        "REDIS_URL": settings.REDIS_URL,
    }  # fmt: skip
    databases.drop(name)


def test_a_database_of_ones_own_is_not_touched(empty_database: dict[str, str]) -> None:
    ended = run(ROOT, "create_tenant", "lobby", **empty_database)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("The database is behind this code by ")
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.endswith("python3 manage.py migrate\n")


def test_a_database_that_is_not_there_is_a_sentence(empty_database: dict[str, str]) -> None:
    gone = {**empty_database, "DATABASE_URL": "dbname=none host=/nonexistent user=signage_app"}
    ended = run(ROOT, "create_tenant", "lobby", **gone)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("The database cannot be reached: ")
    assert "Traceback" not in ended.stderr


def test_the_embedded_database_is_brought_up_to_date(folder: Path) -> None:
    clone = make_clone(folder / "clone", *PARTS)
    first = run(clone, "create_tenant", "lobby", SIGNATE_PLATFORM_DOMAIN="signs.example")
    assert first.returncode == 0, first.stderr
    assert "Bringing the embedded database up to date…" in first.stderr
    assert first.stdout.rstrip().endswith("://lobby.signs.example")
    again = run(clone, "create_tenant", "lobby")
    assert again.returncode == 1
    assert "Bringing" not in again.stderr
    assert "CommandError: The slug 'lobby' is taken; choose another." in again.stderr


def test_commands_that_look_after_the_schema_are_left_to_it() -> None:
    upkeep.require_current_schema("migrate")
