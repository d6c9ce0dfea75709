"""Restores from archives that lie: nothing but what belongs is read, nobody else is touched."""

from __future__ import annotations

import gzip
import io
import sqlite3
import tarfile
import threading
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.db import connection

from assets import import_media, storage
from assets.archives import Limits
from assets.models import Asset, Restore
from assets.restoring import InvalidBackup, restore_archive, undo_restore
from rls import acting_as
from tests import databases
from tests.assets.anthias_libraries import CURRENT, DATA, make_library
from tests.assets.archives import archive_of, header, packed, special
from tests.conftest import unchanged
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Cursor
    from pytest_django import Settings

    from tenancy.actors import Actor
    from tests.world import Inhabited

SAMPLE = DATA / "backup-current.tar.gz"
SECRET = b"a secret of the server"


@pytest.fixture(autouse=True)
def media_root(tmp_path: Path, settings: Settings) -> Path:
    """Every test has a storage and a place for work of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.UPLOAD_DIR = tmp_path / "uploads"
    return tmp_path / "media"


@pytest.fixture
def database(tmp_path: Path) -> bytes:
    """A library whose one row means the file `a.gif`."""
    row = {"asset_id": "a", "name": "restored", "uri": "/data/anthias_assets/a.gif"}
    return make_library(tmp_path / "library.db", [row]).read_bytes()


@pytest.fixture
def honest(database: bytes) -> dict[str, bytes | None]:
    return {".anthias": None, ".anthias/anthias.db": database, "anthias_assets": None}


def restored(actor: Actor, file: io.BytesIO, **options: Any) -> list[dict[str, Any]]:
    restore_archive(file, actor=actor, source="x.tar.gz", **options)
    with acting_as(actor):
        rows = Asset.objects.order_by("pk").values("asset_id", "file_size", "media_path")
        return [dict(row) for row in rows]


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- members that do not belong -----------------------------------------------------------------


def test_only_regular_files_directly_in_the_two_folders_are_read(
    acme: Inhabited, honest: dict[str, bytes | None], tmp_path: Path, media_root: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    elsewhere = tmp_path / "elsewhere"
    honest |= {
        "anthias_assets/../a.gif": b"up",
        "/anthias_assets/a.gif": b"absolute",
        f"{elsewhere}": b"absolute",
        "../../../../../../../../../../tmp/signate-escape": b"up",
        "anthias_assets/deep/a.gif": b"nested",
        "anthias_assets//a.gif": b"empty part",
        "other/a.gif": b"elsewhere",
        "a.gif": b"at the top",
        ".anthias/../anthias_assets/a.gif": b"up",
        ".ssh/authorized_keys": b"key",
    }
    links = [
        special("anthias_assets/a.gif", tarfile.SYMTYPE, str(secret)),
        special("anthias_assets/a.gif", tarfile.LNKTYPE, "../secret"),
        special(".anthias/anthias.db", tarfile.SYMTYPE, str(secret)),
        special("anthias_assets/a.gif", tarfile.CHRTYPE),
        special("anthias_assets/a.gif", tarfile.FIFOTYPE),
        special("anthias_assets", tarfile.SYMTYPE, str(tmp_path)),
    ]
    found = restored(acme.owner, archive_of(honest, *links))
    assert found == [{"asset_id": "a", "file_size": None, "media_path": ""}]
    assert files_in(tmp_path) == {"secret", "library.db"}
    assert files_in(media_root) == set()
    assert not Path("/tmp/signate-escape").exists()


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[1]",
        b"null",
        b'{"asset_id": "a"}',
        b'{"asset_id": 1, "tags": [], "description": ""}',
        b'{"asset_id": "a", "tags": "lobby", "description": 5}',
        b'{"asset_id": "a", "tags": [{}], "description": ""}',
        b'{"asset_id": "a", "tags": ["\\u0000"], "description": ""}',
        b'{"asset_id": "a", "tags": ["\\ud800"], "description": ""}',
        b'{"asset_id": "a", "tags": ["x"], "description": "' + b"x" * 10_001 + b'"}',
        b"[" * 90_000,
        b"\xff\xfe",
    ],
)
def test_tags_and_descriptions_are_judged_like_anybodys(
    acme: Inhabited, globex: Inhabited, honest: dict[str, bytes | None], line: bytes
) -> None:
    good = b'{"asset_id": "a", "tags": ["lobby"], "description": "kept"}\n'
    foreign = b'{"asset_id": "only-globex", "tags": ["taken"], "description": "taken"}\n'
    honest[".anthias/signate.jsonl"] = good + foreign + line + b"\n"
    restore = restore_archive(archive_of(honest), actor=acme.owner, source="x.tgz")
    assert ".anthias/signate.jsonl: a line that cannot be used was left out" in restore.notes
    with acting_as(acme.owner):
        assert list(Asset.objects.values_list("tags", "description")) == [(["lobby"], "kept")]
    with acting_as(globex.owner):
        assert not Asset.objects.filter(description="taken").exists()


def test_what_was_passed_over_is_told(acme: Inhabited, honest: dict[str, bytes | None]) -> None:
    honest |= {"../up": b"x", "anthias_assets/stray.gif": b"x", "anthias_assets/a.gif": b"GIF89a"}
    file = archive_of(honest, special("anthias_assets/link", tarfile.SYMTYPE, "/etc/passwd"))
    restore = restore_archive(file, actor=acme.owner, source="x.tgz")
    assert restore.notes == [
        "../up: passed over, it is not a file of a backup",
        "anthias_assets/link: passed over, it is a link or a device",
        "anthias_assets/stray.gif: no asset names this file",
    ]


@pytest.mark.parametrize(
    "name", ["a\\..\\b.gif", "con\x01trol.gif", "ä" * 100 + ".gif", "-rf", "%2e%2e"]
)
def test_no_name_of_a_member_becomes_a_path(
    acme: Inhabited, tmp_path: Path, media_root: Path, name: str
) -> None:
    row = {"asset_id": "../../x", "uri": f"/data/anthias_assets/{name}"}
    content = make_library(tmp_path / "library.db", [row]).read_bytes()
    file = archive_of(
        {
            ".anthias": None,
            ".anthias/anthias.db": content,
            "anthias_assets": None,
            f"anthias_assets/{name}": b"GIF89a",
        }
    )
    [found] = restored(acme.owner, file)
    assert found["file_size"] == 6
    with acting_as(acme.owner):
        key = Asset.objects.get().pk
    assert found["media_path"].startswith(f"t/{acme.tenant.pk}/{key}/")
    [stored] = files_in(media_root)
    assert stored == found["media_path"]
    assert stored.count("/") == 3


# --- archives that are none, or too much --------------------------------------------------------


def tricky(name: str, honest: dict[str, bytes | None]) -> Iterator[tuple[bytes, Limits]]:
    good = archive_of(honest).getvalue()
    tar = gzip.decompress(good)
    end = b"\0" * 1024
    free = Limits(free_bytes=1 << 20, ratio=1)
    told: dict[str, tuple[bytes | io.BytesIO, Limits]] = {
        "empty": (b"", Limits()),
        "text": (b"not a tar", Limits()),
        "not compressed": (tar, Limits()),
        "gzip of text": (gzip.compress(b"hello " * 1000), Limits()),
        "cut short": (good[: len(good) // 2], Limits()),
        "no end of gzip": (good[:-4], Limits()),
        "a bit turned": (good[:-20] + bytes([good[-20] ^ 1]) + good[-19:], Limits()),
        "rubbish behind": (good + b"rubbish", Limits()),
        "tar cut short": (gzip.compress(tar[:1500]), Limits()),
        "no folder of media": (
            archive_of({k: v for k, v in honest.items() if k != "anthias_assets"}).getvalue(),
            Limits(),
        ),
        "no folder of settings": (
            archive_of({k: v for k, v in honest.items() if k != ".anthias"}).getvalue(),
            Limits(),
        ),
        "a link for a folder": (
            archive_of(
                {k: v for k, v in honest.items() if k != "anthias_assets"},
                special("anthias_assets", tarfile.SYMTYPE, "/etc"),
            ).getvalue(),
            Limits(),
        ),
        "no database": (archive_of({".anthias": None, "anthias_assets": None}).getvalue(), Limits()),
        "two layouts mixed": (
            archive_of({".anthias": None, ".anthias/anthias.db": b"", "screenly_assets": None}),
            Limits(),
        ),
        "a database that is none": (
            archive_of({**honest, ".anthias/anthias.db": b"SQLite format 3\0" + b"x" * 99}),
            Limits(),
        ),
        "a bomb": (gzip.compress(header(b"x", b"77777777777\0") + b"\0" * (8 << 20)), free),
        "a bomb in a bomb": (archive_of({**honest, "other/x": b"\0" * (2 << 20)}), free),
        "many members": (
            packed([*(header(b"other/x", b"0\0") for _ in range(300)), end]),
            Limits(members=200),
        ),
        "no time": (good, Limits(seconds=-1.0)),
        "a name without end": (packed([header(b"x", b"77777777777\0", b"L"), end]), Limits()),
        "pax without end": (packed([header(b"x", b"77777777777\0", b"x"), end]), Limits()),
        "headers of headers": (
            packed([header(b"x", b"0\0", b"x"), header(b"x", b"0\0", b"g")] * 50 + [end]),
            Limits(),
        ),
        "a negative size": (packed([header(b"x", b"\xff" * 12), end]), Limits()),
        "a size of 2 to the 88": (packed([header(b"x", b"\x80" + b"\xff" * 11), end]), Limits()),
        "a size in words": (packed([header(b"x", b"9z\0"), end]), Limits()),
        "holes": (packed([header(b"x", b"0\0", b"S"), end]), Limits()),
        "a pax record of length 0": (
            packed([header(b"x", b"14\0", b"x"), b"0 path=x\n".ljust(512, b"\0"), end]),
            Limits(),
        ),
        "a pax size below zero": (
            packed([header(b"x", b"14\0", b"x"), b"12 size=-10\n".ljust(512, b"\0"), end]),
            Limits(),
        ),
        "a wrong checksum": (packed([b"x" + header(b"x", b"0\0")[1:].replace(b"0", b"1"), end]), Limits()),
    }  # fmt: skip
    content, limits = told[name]
    yield content if isinstance(content, bytes) else content.getvalue(), limits


TRICKS = (
    *("empty", "text", "not compressed", "gzip of text", "cut short", "no end of gzip"),
    *("a bit turned", "rubbish behind", "tar cut short", "no folder of media"),
    *("no folder of settings", "a link for a folder", "no database", "two layouts mixed"),
    *("a database that is none", "a bomb", "a bomb in a bomb", "many members", "no time"),
    *("a name without end", "pax without end", "headers of headers", "a negative size"),
    *("a size of 2 to the 88", "a size in words", "holes", "a pax record of length 0"),
    *("a pax size below zero", "a wrong checksum"),
)


@pytest.mark.parametrize("name", TRICKS)
def test_an_archive_that_lies_changes_nothing(
    acme: Inhabited,
    honest: dict[str, bytes | None],
    tmp_path: Path,
    owner_cursor: Cursor[Any],
    name: str,
) -> None:
    [(content, limits)] = tricky(name, honest)
    before = len(files_in(tmp_path))
    with (
        unchanged(owner_cursor, "assets", "restores", "replaced_rows", "import_runs"),
        pytest.raises(InvalidBackup),
    ):
        restore_archive(io.BytesIO(content), actor=acme.owner, source="x.tgz", limits=limits)
    with acting_as(acme.owner):
        assert Asset.objects.count() == 3
    assert len(files_in(tmp_path)) == before


def test_a_large_skipped_member_costs_no_memory(
    acme: Inhabited, honest: dict[str, bytes | None]
) -> None:
    file = archive_of({**honest, "other/x": b"\0" * (64 << 20)})
    tracemalloc.start()
    try:
        restored(acme.owner, file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_a_view_and_a_trigger_in_the_database_run_nothing(acme: Inhabited, tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    with closing(sqlite3.connect(path)) as hostile:
        hostile.execute("CREATE TABLE other (asset_id TEXT)")
        hostile.execute(
            "CREATE VIEW assets AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) "
            "SELECT x AS asset_id FROM n"
        )
    members = {".anthias": None, ".anthias/anthias.db": path.read_bytes(), "anthias_assets": None}
    with pytest.raises(InvalidBackup, match="has no assets table"):
        restored(acme.owner, archive_of(members))


# --- accounts and other tenants -----------------------------------------------------------------


def test_no_account_and_no_other_tenant_is_touched(scratch_database: str, tmp_path: Path) -> None:
    world = create_world()
    path = tmp_path / "library.db"
    path.write_bytes(CURRENT.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as hostile:
        hostile.execute(
            "INSERT INTO auth_user (password, is_superuser, username, last_name, email, is_staff, "
            "is_active, date_joined, first_name) VALUES ('x', 1, 'acme-owner', '', '', 1, 1, "
            "'2024-01-01', '')"
        )
    conf = (
        b"[main]\nauth_backend = auth_basic\nuser = mallory\npassword = x\ntimezone = Asia/Tokyo\n"
    )
    members = {
        ".anthias": None,
        ".anthias/anthias.conf": conf,
        ".anthias/anthias.db": path.read_bytes(),
        "anthias_assets": None,
    }
    others = (
        "SELECT t::text FROM {} t WHERE tenant_id <> %s ORDER BY 1",
        (
            *("assets", "share_links", "playback_days", "asset_migrations", "import_runs"),
            *("uploads", "tenant_settings"),
        ),
    )
    everybody = (
        "users",
        "user_credentials",
        "tenant_users",
        "tenants",
        "devices",
    )
    with psycopg.connect(databases.owner_conninfo(scratch_database), autocommit=True) as owner:

        def state() -> list[Any]:
            found = [
                owner.execute(f"SELECT t::text FROM {t} t ORDER BY 1").fetchall() for t in everybody
            ]
            acme = [world.acme.tenant.pk]
            return found + [
                owner.execute(others[0].format(table), acme).fetchall() for table in others[1]
            ]

        before = state()
        restore = restore_archive(archive_of(members), actor=world.acme.owner, source="x.tgz")
        assert state() == before
        assert restore.settings == {"timezone": "Asia/Tokyo"}
        undo_restore(restore.pk, actor=world.acme.owner)
        assert state() == before


# --- two at once, and one that dies -------------------------------------------------------------


@pytest.fixture
def place_of_its_own(scratch_database: str) -> Actor:
    """Acme's owner in a database where things are committed."""
    del scratch_database
    return create_world().acme.owner


def test_restores_at_once_come_one_after_the_other(place_of_its_own: Actor) -> None:
    errors: list[Exception] = []

    def work() -> None:
        try:
            with SAMPLE.open("rb") as file:
                restore_archive(file, actor=place_of_its_own, source="x.tgz")
        except Exception as error:  # noqa: BLE001 -- told below
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with acting_as(place_of_its_own):
        assert Asset.objects.count() == 43
        made = list(Restore.objects.exclude(replaced=0).order_by("created_at"))
    assert [row.replaced for row in made] == [3, 43, 43]
    for row in reversed(made):
        undo_restore(row.pk, actor=place_of_its_own)
    with acting_as(place_of_its_own):
        assert Asset.objects.filter(asset_id="only-acme").exists()
        assert Asset.objects.count() == 3


def test_a_restore_that_dies_half_way_leaves_nothing(
    place_of_its_own: Actor, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows() -> list[Any]:
        with acting_as(place_of_its_own):
            return list(Asset.objects.order_by("pk").values())

    before, calls = rows(), []
    store = storage.store_file

    def failing(key: str, source: Path) -> str:
        calls.append(key)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return store(key, source)

    monkeypatch.setattr(import_media, "store_file", failing)
    with pytest.raises(OSError, match="No space left"), SAMPLE.open("rb") as file:
        restore_archive(file, actor=place_of_its_own, source="x.tgz")
    assert rows() == before
    assert files_in(media_root) == set()
    monkeypatch.undo()
    with SAMPLE.open("rb") as file:
        restore_archive(file, actor=place_of_its_own, source="x.tgz")
    assert len(rows()) == 43
