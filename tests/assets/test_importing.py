import json
import os
import threading
from datetime import UTC, datetime
from hashlib import md5, sha256
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection
from django.test.utils import CaptureQueriesContext
from psycopg import Cursor
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from assets import importing
from assets.import_media import MediaFolder
from assets.import_rows import insert_batch
from assets.importing import import_library, rollback_import
from assets.models import Asset, AssetMigration, ImportRun, MigrationStatus
from assets.storage import delete_media, media_key
from rls import acting_as
from tenancy.actors import Actor, ActorKind, operator
from tenancy.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from tenancy.models import Membership, Tenant
from tenancy.tenants import create_tenant, find_tenant
from tests.assets.anthias_libraries import (
    CURRENT,
    CURRENT_MEDIA,
    DATA,
    SCREENLY_2016,
    SCREENLY_2016_MEDIA,
    make_library,
)
from tests.conftest import unchanged
from tests.world import Inhabited, World


@pytest.fixture(autouse=True)
def media_root(tmp_path: Path, settings: Settings) -> Path:
    """Every test has a storage of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


def stored_files(media_root: Path) -> set[str]:
    return {str(path.relative_to(media_root)) for path in media_root.rglob("*") if path.is_file()}


def imported(actor: Actor) -> list[Asset]:
    with acting_as(actor):
        return list(Asset.objects.filter(tags__contains=["migrated"]).order_by("id"))


def state(actor: Actor) -> dict[str, list[Any]]:
    """Everything of a tenant that an import could touch."""
    with acting_as(actor):
        return {
            "assets": list(Asset.objects.order_by("pk").values()),
            "asset_migrations": list(AssetMigration.objects.order_by("pk").values()),
            "import_runs": list(ImportRun.objects.order_by("pk").values()),
        }


def numbered(count: int, **values: Any) -> list[dict[str, Any]]:
    return [{"asset_id": f"row-{n}", "name": f"Asset {n}", **values} for n in range(count)]


# --- what arrives -------------------------------------------------------------------------------


def shown(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def as_anthias_v2(asset: Asset) -> dict[str, Any]:
    added = ("migrated_from_sqlite", "original_asset_id")
    metadata = {key: value for key, value in asset.metadata.items() if key not in added}
    fields = [
        "asset_id",
        "name",
        "uri",
        "duration",
        "mimetype",
        "is_enabled",
        "nocache",
        "play_order",
        "skip_asset_check",
        "skip_ssl_verify",
        "is_processing",
        "play_days",
        "is_reachable",
    ]
    moments = [
        "start_date",
        "end_date",
        "play_time_from",
        "play_time_to",
        "last_reachability_check",
    ]
    return {
        **{name: getattr(asset, name) for name in fields},
        **{name: shown(getattr(asset, name)) for name in moments},
        "metadata": metadata,
        "refresh_interval_s": metadata.get("refresh_interval_s", 0),
        "custom_headers": metadata.get("headers", {}),
    }


def test_the_current_library_arrives_as_anthias_v2_shows_it(acme: Inhabited) -> None:
    expected = json.loads((DATA / "expected_v2_assets.json").read_text())
    for asset in expected:
        del asset["is_active"]

    report = import_library(CURRENT, actor=acme.owner, preserve_ids=True)

    assert [as_anthias_v2(asset) for asset in imported(acme.owner)] == expected
    assert (report.total, report.migrated, report.failed, report.skipped) == (43, 43, 0, 0)
    assert report.success_rate == 100.0


def test_imported_assets_carry_their_marks(acme: Inhabited) -> None:
    before = datetime.now(UTC)
    import_library(CURRENT, actor=acme.owner)

    assets = imported(acme.owner)

    assert len(assets) == 43
    for asset in assets:
        assert asset.tags == ["migrated", "legacy"]
        assert asset.metadata["migrated_from_sqlite"] is True
        assert asset.tenant_id == acme.tenant.pk
        assert asset.created_by_id == asset.updated_by_id == acme.owner.user_id
        assert asset.created_at == asset.updated_at >= before
        assert (asset.view_count, asset.description, asset.thumbnail_url) == (0, "", "")
        assert int(asset.asset_id, 16) >= 0
        assert len(asset.asset_id) == 32
    originals = [asset.metadata["original_asset_id"] for asset in assets]
    assert originals[0] == "9a79e2fee965907e2b9df462c0d65c0b"
    assert "short-id" in originals
    assert not set(originals) & {asset.asset_id for asset in assets}


def test_raw_metadata_is_kept_where_it_was_cleaned(acme: Inhabited) -> None:
    import_library(CURRENT, actor=acme.owner)

    kept = {a.name: a.legacy_metadata for a in imported(acme.owner) if a.legacy_metadata}

    assert kept == {
        "junk: metadata refresh+headers": {
            "refresh_interval_s": 999999,
            "headers": {"Bad Name": "x", "Ok": "v", "N": 5},
        }
    }


def test_processing_status_follows_what_anthias_knew(acme: Inhabited) -> None:
    import_library(CURRENT, actor=acme.owner)

    status = {asset.name: asset.processing_status for asset in imported(acme.owner)}

    assert status["Still downloading"] == "pending"
    assert status["Failed upload.heic"] == "failed"
    assert status["Lobby welcome.png"] == "completed"


@pytest.mark.parametrize("era", ["2012-07", "2013-02", "2018-10"])
def test_old_libraries_arrive(globex: Inhabited, era: str) -> None:
    report = import_library(DATA / f"screenly-{era}.db", actor=globex.owner)

    assert (report.era, report.migrated, report.failed) == (era, 11, 0)
    durations = [asset.duration for asset in imported(globex.owner)]
    assert durations == [10, 3, 30, 5, 10, 300, None, None, 12, None, None]


def test_notes_are_in_the_report_and_in_the_database(acme: Inhabited) -> None:
    report = import_library(SCREENLY_2016, actor=acme.owner)

    with acting_as(acme.owner):
        recorded = {
            row.original_asset_id: row.migration_notes.split("\n")
            for row in AssetMigration.objects.filter(run_id=report.run).exclude(migration_notes="")
        }
    assert recorded == {row.original_asset_id: list(row.notes) for row in report.rows}
    assert recorded["9f91185edb95981d079f882e8f6073dc"] == [
        "duration: '12.5' cut to 12 whole seconds"
    ]
    assert recorded["c454dfbc49497b4069d313314cdab20f"] == [
        "duration: 'N/A' is not a number of seconds, left empty",
        "media: no folder was given, the file was not copied",
    ]


def test_the_run_is_recorded(acme: Inhabited) -> None:
    progress: list[tuple[int, int]] = []

    report = import_library(
        CURRENT, actor=acme.owner, batch_size=20, on_progress=lambda *step: progress.append(step)
    )

    assert progress == [(20, 43), (40, 43), (43, 43)]
    assert report.run is not None
    with acting_as(acme.owner):
        run = ImportRun.objects.get(pk=report.run)
        rows = list(AssetMigration.objects.filter(run=run).select_related("asset").order_by("id"))
    assert (run.source, run.era) == ("anthias.db", "2026-07-09 0007")
    assert run.source_digest == sha256(CURRENT.read_bytes()).hexdigest()
    assert run.finished_at is not None
    assert run.started_at <= run.finished_at
    assert run.rolled_back_at is None
    assert run.report == report.counts()
    assert len(rows) == 43
    for row in rows:
        assert row.asset is not None
        assert row.migration_status == MigrationStatus.MIGRATED
        assert row.new_asset_id == row.asset.asset_id
        assert row.original_asset_id == row.asset.metadata["original_asset_id"]


def test_a_file_name_that_is_not_text_is_recorded_readably(acme: Inhabited, tmp_path: Path) -> None:
    library = Path(os.fsdecode(os.fsencode(tmp_path / "caf") + b"\xe9.db"))
    library.write_bytes(SCREENLY_2016.read_bytes())

    assert import_library(library, actor=acme.owner).source == "caf?.db"


def test_an_empty_library_is_imported(acme: Inhabited, tmp_path: Path) -> None:
    report = import_library(make_library(tmp_path / "empty.db", []), actor=acme.owner)

    assert (report.total, report.migrated, report.success_rate) == (0, 0, 100.0)
    assert report.rows == []


# --- media --------------------------------------------------------------------------------------


def test_media_is_copied_into_the_tenants_storage(acme: Inhabited, media_root: Path) -> None:
    report = import_library(CURRENT, actor=acme.owner, assets_dir=CURRENT_MEDIA, preserve_ids=True)

    with_file = [asset for asset in imported(acme.owner) if asset.media_path]
    assert report.media_copied == len(with_file) == 7
    assert stored_files(media_root) == {asset.media_path for asset in with_file}
    for asset in with_file:
        assert asset.uri is not None
        source = CURRENT_MEDIA / asset.uri.rsplit("/", 1)[-1]
        assert asset.media_path == f"t/{acme.tenant.pk}/{asset.pk}/{source.name}"
        with default_storage.open(asset.media_path) as copy:
            assert copy.read() == source.read_bytes()
        assert asset.file_size == source.stat().st_size
        assert asset.md5 == md5(source.read_bytes(), usedforsecurity=False).hexdigest()
        assert asset.uri.startswith("/data/anthias_assets/")
    missing = {row.original_asset_id for row in report.rows if "there is no file" in row.notes[0]}
    assert missing == {
        "500eb2f2f6aeeb3eb34e1df228245a65",
        "1fbd0551465c99516920faf81dc68484",
        "3922f2a418a44956fba9fb067abfca22",
    }


def test_no_other_account_of_the_machine_sees_the_media(acme: Inhabited, media_root: Path) -> None:
    before = os.umask(0o022)
    try:
        import_library(CURRENT, actor=acme.owner, assets_dir=CURRENT_MEDIA)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (media_root, *media_root.rglob("*"))}
    assert modes == {0o750, 0o640}


def test_old_media_without_extension_under_another_path_is_found(
    globex: Inhabited, media_root: Path
) -> None:
    import_library(SCREENLY_2016, actor=globex.owner, assets_dir=SCREENLY_2016_MEDIA)

    assert sorted(Path(name).name for name in stored_files(media_root)) == [
        "6819f972185b2d7594fbe336da5ea99a",
        "c8b7020c85a525ced6d63986be1127dc",
    ]


def test_a_path_in_a_row_is_never_opened(acme: Inhabited, tmp_path: Path, media_root: Path) -> None:
    folder = tmp_path / "anthias_assets"
    folder.mkdir()
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (folder / "link.txt").symlink_to(secret)
    (folder / "folder.png").mkdir()
    (folder / "ok name?.PNG").write_bytes(b"image")
    uris = [
        str(secret),
        f"/data/anthias_assets/../{secret.name}",
        "/data/anthias_assets/..",
        "/data/anthias_assets/link.txt",
        "/data/anthias_assets/folder.png",
        "/",
        "relative/ok name?.PNG",
        f"file://{secret}",
        "/elsewhere/ok name?.PNG",
    ]
    rows = [{"asset_id": str(n), "uri": uri} for n, uri in enumerate(uris)]

    report = import_library(
        make_library(tmp_path / "paths.db", rows), actor=acme.owner, assets_dir=folder
    )

    (asset,) = [asset for asset in imported(acme.owner) if asset.media_path]
    assert asset.uri == "/elsewhere/ok name?.PNG"
    assert asset.media_path == f"t/{acme.tenant.pk}/{asset.pk}/ok_name_.PNG"
    assert stored_files(media_root) == {asset.media_path}
    assert [asset.uri for asset in imported(acme.owner)] == uris
    assert [row.notes for row in report.rows] == [
        (f"media: there is no file {name} in the folder",)
        for name in ("secret.txt", "secret.txt", "..", "link.txt", "folder.png")
    ]


def test_a_checksum_of_the_source_is_kept_and_compared(acme: Inhabited, tmp_path: Path) -> None:
    folder = tmp_path / "anthias_assets"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"image")
    right = md5(b"image", usedforsecurity=False).hexdigest()
    sums = [None, "", right.upper(), "0" * 32]
    rows = [{"asset_id": str(n), "uri": "/x/a.png", "md5": one} for n, one in enumerate(sums)]

    report = import_library(
        make_library(tmp_path / "sums.db", rows), actor=acme.owner, assets_dir=folder
    )

    assert [a.md5 for a in imported(acme.owner)] == [right, right, right.upper(), "0" * 32]
    assert [(row.original_asset_id, row.notes) for row in report.rows] == [
        ("3", ("md5: the stored one is not that of the file",))
    ]


def test_a_file_that_cannot_be_read_is_noted(acme: Inhabited, tmp_path: Path) -> None:
    (tmp_path / "gone.png").touch()
    media = MediaFolder(tmp_path, copying=True)
    (tmp_path / "gone.png").unlink()

    found = media.of("/data/gone.png", tenant_id=acme.tenant.pk, asset_id=uuid4())

    assert (found.key, found.size, found.md5) == ("", None, None)
    assert found.notes == ("media: gone.png cannot be read: No such file or directory",)


@pytest.mark.parametrize(
    ("file_name", "last"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        (".htaccess", "htaccess"),
        ("..", "file"),
        ("", "file"),
        ("größe 5 €.jpg", "gr_e_5_.jpg"),
        ("x" * 300 + ".webm", "x" * 95 + ".webm"),
    ],
)
def test_media_keys_start_with_the_tenant_and_are_safe(file_name: str, last: str) -> None:
    tenant, asset = uuid4(), uuid4()
    assert media_key(tenant, asset, file_name) == f"t/{tenant}/{asset}/{last}"


def test_a_file_that_resists_deletion_is_logged_and_stops_no_other(
    media_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one/a.png", "two/b.png", "two/c.png"):
        default_storage.save(name, ContentFile(b"image"))
    (media_root / "locked").mkdir()
    (media_root / "locked" / "in").touch()

    delete_media(["locked", "one/a.png", "two/b.png", "gone/d.png"])

    assert stored_files(media_root) == {"locked/in", "two/c.png"}
    assert not (media_root / "one").exists()
    assert "The file locked could not be removed" in caplog.text


def test_a_full_storage_ends_the_import_and_leaves_nothing(
    acme: Inhabited, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(acme.owner)
    save = default_storage.save
    saved: list[str] = []

    def save_three(name: str, content: Any) -> str:
        if len(saved) == 3:
            raise OSError(28, "No space left on device")
        saved.append(name)
        return save(name, content)

    monkeypatch.setattr(default_storage, "save", save_three)

    with pytest.raises(OSError, match="No space left"):
        import_library(CURRENT, actor=acme.owner, assets_dir=CURRENT_MEDIA)

    assert len(saved) == 3
    assert stored_files(media_root) == set()
    assert state(acme.owner) == before


# --- rows that cannot be imported ---------------------------------------------------------------


@pytest.fixture
def a_picky_database(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have PostgreSQL refuse rows named `bad…`; returns the sizes of the batches it was given."""
    sizes: list[int] = []

    def insert_or_refuse(rows: Any, **how: Any) -> None:
        sizes.append(len(rows))
        insert_batch(rows, **how)
        if any((row.name or "").startswith("bad") for row in rows):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")

    monkeypatch.setattr(importing, "insert_batch", insert_or_refuse)
    return sizes


def test_one_bad_row_stops_no_other(
    acme: Inhabited, tmp_path: Path, media_root: Path, a_picky_database: list[int]
) -> None:
    folder = tmp_path / "anthias_assets"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"image")
    rows = numbered(20, uri="/data/anthias_assets/a.png")
    rows[7]["name"] = "bad one"
    rows[12]["asset_id"] = None
    rows[15]["asset_id"] = rows[3]["asset_id"]

    report = import_library(
        make_library(tmp_path / "bad.db", rows),
        actor=acme.owner,
        assets_dir=folder,
        preserve_ids=True,
    )

    good = [row["asset_id"] for n, row in enumerate(rows) if n not in {7, 12, 15}]
    assert [asset.asset_id for asset in imported(acme.owner)] == good
    assert (report.migrated, report.failed, report.skipped) == (17, 3, 0)
    assert report.success_rate == 85.0
    reasons = {row.original_asset_id: row.notes for row in report.rows}
    assert reasons == {
        rows[7]["asset_id"]: ("division by zero",),
        "": ("row 13 has no asset_id",),
        rows[3]["asset_id"]: ("row 16 has an asset_id that came before",),
    }
    assert report.media_copied == 17
    assert len(stored_files(media_root)) == 17
    # 18 rows were tried, halved down to the bad one, and no row was tried alone without need.
    assert a_picky_database == [18, 9, 4, 5, 2, 3, 1, 2, 1, 1, 9]
    with acting_as(acme.owner):
        failed = AssetMigration.objects.filter(
            run_id=report.run, migration_status=MigrationStatus.FAILED
        )
        assert {row.original_asset_id: row.migration_notes for row in failed} == {
            original: notes[0] for original, notes in reasons.items()
        }
        assert {row.asset_id for row in failed} == {None}


def test_a_batch_of_bad_rows_only_is_reported(
    acme: Inhabited, tmp_path: Path, a_picky_database: list[int]
) -> None:
    library = make_library(tmp_path / "bad.db", numbered(3, name="bad"))

    report = import_library(library, actor=acme.owner)

    assert (report.migrated, report.failed, report.success_rate) == (0, 3, 0.0)
    assert imported(acme.owner) == []
    assert a_picky_database == [3, 1, 2, 1, 1]


def test_a_kept_id_that_the_tenant_has_already_fails(acme: Inhabited, tmp_path: Path) -> None:
    rows = [{"asset_id": acme.assets[1].asset_id, "name": "Mine"}, {"asset_id": "free"}]
    library = make_library(tmp_path / "clash.db", rows)

    report = import_library(library, actor=acme.owner, preserve_ids=True)

    assert [asset.asset_id for asset in imported(acme.owner)] == ["free"]
    (row,) = report.rows
    assert row.status is MigrationStatus.FAILED
    assert row.notes == ("another asset of the tenant has this asset_id",)
    with acting_as(acme.owner):
        assert Asset.objects.get(asset_id=acme.assets[1].asset_id).name == acme.assets[1].name


def test_an_error_that_no_row_can_cause_ends_the_import(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(acme.owner)

    def insert_and_fail(rows: Any, **how: Any) -> None:
        insert_batch(rows, **how)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM no_such_table")

    monkeypatch.setattr(importing, "insert_batch", insert_and_fail)

    with pytest.raises(ProgrammingError, match="no_such_table"):
        import_library(CURRENT, actor=acme.owner)

    assert state(acme.owner) == before


def test_a_value_that_postgresql_refuses_fails_its_row(
    acme: Inhabited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reader never lets a NUL through; put one in behind its back.
    def insert_with_nul(rows: Any, **how: Any) -> None:
        insert_batch(
            [row._replace(uri="\0") if row.name == "Asset 1" else row for row in rows], **how
        )

    monkeypatch.setattr(importing, "insert_batch", insert_with_nul)
    library = make_library(tmp_path / "nul.db", numbered(3))

    report = import_library(library, actor=acme.owner)

    assert [asset.name for asset in imported(acme.owner)] == ["Asset 0", "Asset 2"]
    (row,) = report.rows
    assert row.original_asset_id == "row-1"
    assert row.notes == ('invalid byte sequence for encoding "UTF8": 0x00',)


def test_a_crash_in_the_middle_leaves_nothing(acme: Inhabited, media_root: Path) -> None:
    before = state(acme.owner)

    def crash(done: int, _total: int) -> None:
        if done >= 20:
            assert stored_files(media_root)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_library(
            CURRENT, actor=acme.owner, assets_dir=CURRENT_MEDIA, batch_size=10, on_progress=crash
        )

    assert state(acme.owner) == before
    assert stored_files(media_root) == set()


# --- again, dry, back ---------------------------------------------------------------------------


def test_a_second_run_skips_what_is_there(acme: Inhabited, media_root: Path) -> None:
    first = import_library(CURRENT, actor=acme.owner, assets_dir=CURRENT_MEDIA)
    assets, files = imported(acme.owner), stored_files(media_root)

    second = import_library(CURRENT, actor=acme.owner, assets_dir=CURRENT_MEDIA)

    assert (second.migrated, second.failed, second.skipped) == (0, 0, 43)
    assert second.success_rate == 100.0
    assert {row.notes for row in second.rows} == {(f"already migrated by run {first.run}",)}
    assert [row.new_asset_id for row in second.rows] == [asset.asset_id for asset in assets]
    assert imported(acme.owner) == assets
    assert stored_files(media_root) == files


def test_a_second_run_brings_what_is_new_or_was_deleted(acme: Inhabited, tmp_path: Path) -> None:
    import_library(make_library(tmp_path / "one.db", numbered(3)), actor=acme.owner)
    with acting_as(acme.owner):
        Asset.objects.filter(name="Asset 1").delete()

    report = import_library(make_library(tmp_path / "two.db", numbered(5)), actor=acme.owner)

    assert (report.migrated, report.skipped) == (3, 2)
    names = [asset.name for asset in imported(acme.owner)]
    assert names == ["Asset 0", "Asset 2", "Asset 1", "Asset 3", "Asset 4"]


def test_a_dry_run_changes_nothing_and_tells_what_would_happen(
    acme: Inhabited, media_root: Path
) -> None:
    before = state(acme.owner)

    dry = import_library(
        CURRENT, actor=acme.owner, assets_dir=CURRENT_MEDIA, preserve_ids=True, dry_run=True
    )

    assert state(acme.owner) == before
    assert stored_files(media_root) == set()
    assert dry.run is None
    real = import_library(CURRENT, actor=acme.owner, assets_dir=CURRENT_MEDIA, preserve_ids=True)
    differing = {"timestamp", "run", "dry_run"}
    assert {k: v for k, v in dry.as_json().items() if k not in differing} == {
        k: v for k, v in real.as_json().items() if k not in differing
    }


def test_a_rollback_deletes_exactly_what_its_run_made(
    acme: Inhabited,
    tmp_path: Path,
    media_root: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    before = state(acme.owner)["assets"]
    first = import_library(make_library(tmp_path / "one.db", numbered(2)), actor=acme.owner)
    uri = "/data/anthias_assets/9a79e2fee965907e2b9df462c0d65c0b.png"
    rows = [*numbered(2), {"asset_id": "x", "uri": uri}]
    second = import_library(
        make_library(tmp_path / "two.db", rows), actor=acme.owner, assets_dir=CURRENT_MEDIA
    )
    assert second.run is not None
    assert first.run is not None

    with django_capture_on_commit_callbacks() as on_commit:
        report = rollback_import(second.run, actor=acme.owner)

    assert (report.deleted, report.media_deleted, report.source) == (1, 1, "two.db")
    assert [asset.name for asset in imported(acme.owner)] == ["Asset 0", "Asset 1"]
    assert len(stored_files(media_root)) == 1  # until the transaction commits
    for callback in on_commit:
        callback()
    assert stored_files(media_root) == set()
    assert list((media_root / "t" / str(acme.tenant.pk)).iterdir()) == []
    with acting_as(acme.owner):
        assert ImportRun.objects.get(pk=second.run).rolled_back_at is not None
        assert ImportRun.objects.get(pk=first.run).rolled_back_at is None

    rollback_import(first.run, actor=acme.owner)
    assert state(acme.owner)["assets"] == before


def test_a_run_is_rolled_back_once_and_can_then_be_run_again(acme: Inhabited) -> None:
    first = import_library(CURRENT, actor=acme.owner, preserve_ids=True)
    assert first.run is not None
    rollback_import(first.run, actor=acme.owner)

    with pytest.raises(Conflict, match="was rolled back at"):
        rollback_import(first.run, actor=acme.owner)

    again = import_library(CURRENT, actor=acme.owner, preserve_ids=True)
    assert (again.migrated, again.skipped) == (43, 0)
    with pytest.raises(Conflict):
        rollback_import(first.run, actor=acme.owner)
    assert len(imported(acme.owner)) == 43


# --- who may, and whose -------------------------------------------------------------------------


def test_an_import_stays_in_its_tenant(acme: Inhabited, globex: Inhabited) -> None:
    before = state(globex.owner)
    report = import_library(CURRENT, actor=acme.owner, preserve_ids=True)
    assert report.run is not None

    assert state(globex.owner) == before
    with pytest.raises(NotFound, match=f"There is no import run {report.run}"):
        rollback_import(report.run, actor=globex.owner)
    assert len(imported(acme.owner)) == 43

    same = import_library(CURRENT, actor=globex.owner, preserve_ids=True)
    assert (same.migrated, same.failed, same.skipped) == (43, 0, 0)
    assert same.run is not None
    rollback_import(same.run, actor=globex.owner)
    assert imported(globex.owner) == []
    assert len(imported(acme.owner)) == 43


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_import_and_rollback_need_the_permission(acme: Inhabited, role: str) -> None:
    actor = acme.actors[role]
    before = state(acme.owner)

    with pytest.raises(PermissionDenied):
        import_library(CURRENT, actor=actor)
    with pytest.raises(PermissionDenied):
        rollback_import(uuid4(), actor=actor)

    assert state(acme.owner) == before


def test_an_unknown_run_is_not_found(acme: Inhabited) -> None:
    with pytest.raises(NotFound):
        rollback_import(uuid4(), actor=acme.owner)


@pytest.mark.parametrize(
    ("options", "field"),
    [({"batch_size": 0}, "batch_size"), ({"assets_dir": CURRENT}, "assets_dir")],
)
def test_options_that_will_not_do(acme: Inhabited, options: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        import_library(CURRENT, actor=acme.owner, **options)
    assert refused.value.field == (field,)


def test_the_number_of_statements_does_not_depend_on_the_number_of_rows(
    acme: Inhabited, tmp_path: Path
) -> None:
    def statements(name: str, count: int) -> int:
        rows = [{"asset_id": f"{name}-{n}"} for n in range(count)]
        library = make_library(tmp_path / f"{name}.db", rows)
        with CaptureQueriesContext(connection) as captured:
            import_library(library, actor=acme.owner)
        return len(captured)

    assert statements("few", 2) == statements("many", 900)


@pytest.fixture
def tenant_of_its_own(scratch_database: str) -> Actor:
    """An operator in a tenant whose transactions really commit."""
    del scratch_database
    tenant = create_tenant(actor=Actor(kind=ActorKind.OPERATOR), name="Initrode", slug="initrode")
    return operator(tenant.pk)


def test_two_imports_at_once_make_each_asset_once(
    tenant_of_its_own: Actor, media_root: Path
) -> None:
    outcomes: list[tuple[int, int]] = []
    together = threading.Barrier(2)

    def work() -> None:
        try:
            together.wait(timeout=30)
            report = import_library(
                CURRENT, actor=tenant_of_its_own, assets_dir=CURRENT_MEDIA, batch_size=10
            )
            outcomes.append((report.migrated, report.skipped))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [(0, 43), (43, 0)]
    assert len(imported(tenant_of_its_own)) == 43
    assert len(stored_files(media_root)) == 7


def test_the_benchmark_leaves_nothing(world: World, owner_cursor: Cursor[Any]) -> None:
    del world
    out = StringIO()
    with unchanged(owner_cursor, "tenants", "assets", "asset_migrations", "import_runs"):
        call_command("import_benchmark", rows=60, batch_size=25, stdout=out)

    assert out.getvalue().startswith("60 of 60 rows in ")


# --- the command --------------------------------------------------------------------------------


def command(*arguments: object) -> str:
    out = StringIO()
    call_command("migrate_to_postgresql", *map(str, arguments), stdout=out, stderr=out)
    return out.getvalue()


def refused_command(*arguments: object) -> str:
    with pytest.raises(CommandError) as refused:
        command(*arguments)
    assert refused.value.returncode == 1
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.usefixtures("world")
def test_the_command_makes_the_tenant_it_imports_into(tmp_path: Path, media_root: Path) -> None:
    report_file = tmp_path / "report.json"

    said = command(
        *("--sqlite-db", CURRENT, "--assets-dir", CURRENT_MEDIA, "--tenant-slug", "lobby"),
        *("--tenant-name", "Lobby screens", "--report", report_file, "--batch-size", 10),
        *("--user", "acme-owner"),
    )

    tenant_id = find_tenant("lobby")
    assert tenant_id is not None
    actor = operator(tenant_id)
    with acting_as(actor):
        tenant = Tenant.objects.get(pk=tenant_id)
        (owner,) = Membership.objects.all()
    assert (tenant.name, tenant.subscription_tier) == ("Lobby screens", "legacy")
    limits = (tenant.max_devices, tenant.max_users, tenant.storage_quota_gb, tenant.max_assets)
    assert limits == (9999, 100, 1000, 10000)
    assert tenant.features == ["legacy_migration"]
    assert owner.role == "owner"
    assert {asset.created_by_id for asset in imported(actor)} == {owner.user_id}
    assert len(stored_files(media_root)) == 7
    report = json.loads(report_file.read_text())
    run = UUID(report["run"])
    rows = report.pop("rows")
    del report["timestamp"]
    assert report == {
        "tenant": "lobby",
        "tenant_id": str(tenant_id),
        "source": "anthias.db",
        "era": "2026-07-09 0007",
        "run": str(run),
        "dry_run": False,
        "total": 43,
        "migrated": 43,
        "failed": 0,
        "skipped": 0,
        "success_rate": 100.0,
        "media_copied": 7,
    }
    assert rows[0] == {
        "original_asset_id": "500eb2f2f6aeeb3eb34e1df228245a65",
        "new_asset_id": rows[0]["new_asset_id"],
        "status": "migrated",
        "notes": ["media: there is no file 500eb2f2f6aeeb3eb34e1df228245a65.mp4 in the folder"],
    }
    assert said.startswith("The tenant lobby was created.\nanthias.db (schema of 2026-07-09 0007)")
    assert "43 rows, 43 migrated, 0 failed, 0 skipped; 7 files copied" in said
    assert f"--tenant-slug lobby --rollback {run}" in said

    again = command("--sqlite-db", CURRENT, "--tenant-slug", "lobby")
    assert "43 rows, 0 migrated, 0 failed, 43 skipped" in again
    assert "created" not in again
    assert "and 23 more rows" in again

    back = command("--tenant-slug", "lobby", "--rollback", run)
    assert back == "Rolled back the import of anthias.db: 43 assets and 7 files deleted.\n"
    assert imported(actor) == []
    assert "was rolled back at" in refused_command("--tenant-slug", "lobby", "--rollback", run)


@pytest.mark.usefixtures("world")
def test_a_dry_run_of_the_command_makes_no_tenant(tmp_path: Path, media_root: Path) -> None:
    report_file = tmp_path / "report.json"

    said = command(
        *("--sqlite-db", CURRENT, "--assets-dir", CURRENT_MEDIA, "--tenant-name", "Lobby screens"),
        *("--dry-run", "--report", report_file),
    )

    assert find_tenant("lobby-screens") is None
    assert stored_files(media_root) == set()
    assert said.startswith("The tenant lobby-screens would be created.\n")
    assert "43 would be migrated" in said
    assert "Undo" not in said
    report = json.loads(report_file.read_text())
    assert (report["dry_run"], report["run"], report["migrated"]) == (True, None, 43)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("content", [b"", b"junk", CURRENT.read_bytes()[:50_000]])
def test_a_file_that_is_no_library_changes_nothing(tmp_path: Path, content: bytes) -> None:
    library = tmp_path / "anthias.db"
    library.write_bytes(content)

    message = refused_command("--sqlite-db", library, "--tenant-slug", "lobby")

    assert message.startswith(f"{library}: is ")
    assert find_tenant("lobby") is None


def test_a_full_storage_is_one_line(monkeypatch: pytest.MonkeyPatch, acme: Inhabited) -> None:
    before = state(acme.owner)

    def full(name: str, content: Any) -> str:
        del name, content
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(default_storage, "save", full)

    message = refused_command(
        *("--sqlite-db", CURRENT, "--assets-dir", CURRENT_MEDIA, "--tenant-slug", "acme")
    )

    assert message == "The import was taken back: [Errno 28] No space left on device"
    assert state(acme.owner) == before


def test_a_report_that_cannot_be_written_is_said_and_the_import_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, acme: Inhabited
) -> None:
    def full(*_args: object, **_options: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)

    message = refused_command(
        *("--sqlite-db", CURRENT, "--tenant-slug", "acme", "--report", tmp_path / "report.json")
    )

    assert message == (
        "The import is done, but its report could not be written: "
        "[Errno 28] No space left on device"
    )
    assert len(imported(acme.owner)) == 43


def test_the_command_into_a_tenant_that_is_there(acme: Inhabited) -> None:
    before = state(acme.owner)

    command("--sqlite-db", SCREENLY_2016, "--tenant-slug", "acme", "--preserve-ids", "--dry-run")
    assert state(acme.owner) == before

    command("--sqlite-db", SCREENLY_2016, "--tenant-slug", "acme", "--preserve-ids")
    ids = [asset.asset_id for asset in imported(acme.owner)]
    assert ids[0] == "6819f972185b2d7594fbe336da5ea99a"
    assert {asset.created_by_id for asset in imported(acme.owner)} == {None}
    with acting_as(acme.owner):
        assert Tenant.objects.get(pk=acme.tenant.pk).subscription_tier == "basic"


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sqlite-db", CURRENT), "Give --tenant-slug (or --tenant-name)."),
        (("--tenant-slug", "lobby"), "Give --sqlite-db FILE (or --rollback RUN)."),
        (
            ("--sqlite-db", CURRENT, "--tenant-slug", "lobby", "--user", "nobody"),
            "There is no active person called 'nobody'.",
        ),
        (
            ("--sqlite-db", CURRENT, "--tenant-slug", "lobby", "--batch-size", "0"),
            "The batch size must be at least 1.",
        ),
        (
            ("--sqlite-db", CURRENT, "--tenant-slug", "lobby", "--assets-dir", "/nowhere"),
            "/nowhere is not a folder; give the one that holds the media.",
        ),
        (
            ("--sqlite-db", CURRENT, "--tenant-slug", "lobby", "--report", "/nowhere/report.json"),
            "The report cannot be written to /nowhere/report.json.",
        ),
        (
            ("--tenant-slug", "lobby", "--rollback", "01a2071c-e677-75a4-9860-a6a5924daa44"),
            "There is no tenant 'lobby'.",
        ),
        (
            ("--tenant-slug", "acme", "--rollback", "01a2071c-e677-75a4-9860-a6a5924daa44"),
            "There is no import run 01a2071c-e677-75a4-9860-a6a5924daa44 in this tenant.",
        ),
        (
            ("--sqlite-db", CURRENT, "--tenant-slug", "admin"),
            "The slug 'admin' is reserved; choose another.",
        ),
    ],
)
def test_refusals_of_the_command(arguments: tuple[object, ...], message: str) -> None:
    assert refused_command(*arguments) == message
    assert find_tenant("lobby") is None
