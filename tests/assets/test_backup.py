"""Backups in Anthias's layout: out of Signate, into Signate, and back."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from contextlib import closing
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from assets.backup import create_backup, delete_backup, open_backup
from assets.legacy.shapes import V1, V2, shown
from assets.models import Asset, AssetMigration, Backup, PlaybackDay, Restore, ShareLink
from assets.player_settings import settings_of, update_device_defaults
from assets.restoring import forget_restore, restore_archive, restore_backup, undo_restore
from assets.storage import backup_key, media_key
from assets.storage_audit import audit_tenant
from assets.upkeep import clean_up
from rls import acting_as
from tenancy.actors import worker
from tenancy.errors import Conflict, NotFound, PermissionDenied, QuotaExceeded
from tenancy.limits import BYTES_PER_GB
from tenancy.models import Tenant, TenantSettings, TenantUsage
from tests.assets.anthias_libraries import COLUMNS_OF_ERA, CURRENT, DATA, make_library
from tests.assets.archives import archive_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

    from tenancy.actors import Actor
    from tests.world import Inhabited

SAMPLE = DATA / "backup-current.tar.gz"
# When Anthias was asked for what it shows: `is_active` depends on it.
ASKED = datetime(2026, 11, 23, 4, 39, tzinfo=UTC)
PIXEL = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"


@pytest.fixture(autouse=True)
def media_root(tmp_path: Path, settings: Settings) -> Path:
    """Every test has a storage of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


def unpacked(actor: Actor, backup: Backup) -> tarfile.TarFile:
    _, stored = open_backup(actor=actor, name=backup.name)
    with closing(stored), closing(stored.body(0, stored.size)) as body:
        file = io.BytesIO(b"".join(body))
    return tarfile.open(fileobj=file, mode="r:gz")


def content_of(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None
    return member.read()


def database_in(archive: tarfile.TarFile, folder: Path) -> sqlite3.Connection:
    path = folder / f"{len(list(folder.iterdir()))}.db"
    path.write_bytes(content_of(archive, ".anthias/anthias.db"))
    return sqlite3.connect(path)


def listed(actor: Actor, version: str = V2) -> list[dict[str, Any]]:
    with acting_as(actor):
        rows = shown(version, Asset.objects.order_by("id"), ASKED, ZoneInfo("UTC"))
    found: list[dict[str, Any]] = json.loads(f"[{rows}]")
    return found


def state(actor: Actor) -> dict[str, list[dict[str, Any]]]:
    """Every row that a restore could touch."""
    with acting_as(actor):
        return {
            "assets": [dict(row) for row in Asset.objects.order_by("pk").values()],
            "share_links": [dict(row) for row in ShareLink.objects.order_by("pk").values()],
            "playback_days": [dict(row) for row in PlaybackDay.objects.order_by("pk").values()],
            "asset_migrations": [
                dict(row) for row in AssetMigration.objects.order_by("pk").values()
            ],
        }


def usage(actor: Actor) -> tuple[int, int]:
    with acting_as(actor):
        row = TenantUsage.objects.get(tenant_id=actor.entered())
    return row.assets, row.bytes


def with_media(actor: Actor, file_name: str, content: bytes, **values: Any) -> Asset:
    with acting_as(actor):
        asset = Asset(tenant_id=actor.entered(), asset_id=file_name.partition(".")[0], **values)
        asset.uri = f"/data/anthias_assets/{file_name}"
        asset.media_path = media_key(asset.tenant_id, asset.pk, file_name)
        asset.file_size = len(content)
        default_storage.save(asset.media_path, io.BytesIO(content))
        asset.save(force_insert=True)
    return asset


# --- what comes in ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V1, V2])
def test_anthias_own_backup_shows_what_anthias_shows(acme: Inhabited, version: str) -> None:
    with SAMPLE.open("rb") as file:
        restore = restore_archive(file, actor=acme.owner, source="backup-current.tar.gz")
    expected = json.loads((DATA / f"expected_{version}_assets.json").read_text("utf-8"))
    assert listed(acme.owner, version) == expected
    assert (restore.assets, restore.replaced) == (43, 3)
    assert restore.run.era == "2026-07-09 0007"
    assert restore.settings == {
        "audio_output": "hdmi",
        "date_format": "mm/dd/yyyy",
        "debug_logging": False,
        "default_assets": False,
        "default_duration": 10,
        "default_streaming_duration": 300,
        "display_power_days": "0,1,2,3,4,5,6",
        "display_power_off_time": "18:00",
        "display_power_on_time": "08:00",
        "display_power_schedule_enabled": False,
        "prefer_dark_mode": False,
        "resolution": "1920x1080",
        "screen_rotation": 0,
        "show_splash": True,
        "shuffle_playlist": False,
        "use_24_hour_clock": False,
        "verify_ssl": True,
    }
    with acting_as(acme.owner):
        first = Asset.objects.get(asset_id="9a79e2fee965907e2b9df462c0d65c0b")
        assert (first.file_size, first.tags) == (101, [])
        with default_storage.open(first.media_path) as media:
            assert len(media.read()) == 101


@pytest.mark.parametrize("name", ["backup.tar.gz", "backup_legacy_names.tar.gz"])
def test_archives_of_before_the_renaming_take_effect_at_once(acme: Inhabited, name: str) -> None:
    with (DATA / "fixtures" / name).open("rb") as file:
        restore_archive(file, actor=acme.owner, source=name)
    assert [(row["name"], row["duration"]) for row in listed(acme.owner)] == [
        ("restored.png", 12),
        ("restored site", 13),
    ]
    with acting_as(acme.owner):
        assert Asset.objects.get(name="restored.png").file_size == 101


@pytest.mark.parametrize("era", COLUMNS_OF_ERA)
def test_every_era_restores(acme: Inhabited, tmp_path: Path, era: str) -> None:
    path = make_library(
        tmp_path / "x.db",
        [{"asset_id": "b" * 32, "name": "Old"}],
        columns=COLUMNS_OF_ERA[era],
    )
    members = {
        ".screenly": None,
        ".screenly/screenly.db": path.read_bytes(),
        "screenly_assets": None,
    }
    restore = restore_archive(archive_of(members), actor=acme.owner, source="old.tgz")
    assert restore.run.era == era
    assert [row["asset_id"] for row in listed(acme.owner)] == ["b" * 32]


def test_a_database_that_sqlite_was_still_writing_restores(acme: Inhabited, tmp_path: Path) -> None:
    path = make_library(
        tmp_path / "x.db", [{"asset_id": "first"}], columns=COLUMNS_OF_ERA["2018-10"]
    )
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("INSERT INTO assets (asset_id, name) VALUES ('second', 'In the log')")
        members = {
            ".anthias/": None,
            ".anthias/anthias.db-wal": (tmp_path / "x.db-wal").read_bytes(),
            ".anthias/anthias.db-shm": (tmp_path / "x.db-shm").read_bytes(),
            ".anthias/anthias.db": path.read_bytes(),
            "./anthias_assets/": None,
        }
    restore = restore_archive(archive_of(members), actor=acme.owner, source="x.tgz")
    assert [row["asset_id"] for row in listed(acme.owner)] == ["first", "second"]
    assert [note for note in restore.notes if "passed over" in note] == []


# --- what goes out ------------------------------------------------------------------------------


def test_a_backup_is_what_anthias_itself_makes(acme: Inhabited, tmp_path: Path) -> None:
    with SAMPLE.open("rb") as file:
        restore_archive(file, actor=acme.owner, source="backup-current.tar.gz")
    backup = create_backup(actor=acme.owner, settings={"player_name": "Lobby / TV"})
    stamp = backup.created_at.strftime("%Y-%m-%dT%H-%M-%S")
    assert backup.name == f"Lobby _ TV-{stamp}.tar.gz"
    assert (backup.assets, backup.files, backup.missing) == (43, 7, [])
    with unpacked(acme.owner, backup) as ours, tarfile.open(SAMPLE) as theirs:
        assert ours.getnames() == theirs.getnames()
        assert [member.type for member in ours] == [member.type for member in theirs]
        for name in theirs.getnames():
            if name.startswith("anthias_assets/") or name.endswith(".yml"):
                assert content_of(ours, name) == content_of(theirs, name)
        conf = content_of(ours, ".anthias/anthias.conf").decode()
        keys = [line.partition(" = ")[0] for line in conf.splitlines()]
        original = content_of(theirs, ".anthias/anthias.conf").decode()
        missing = {line.partition(" = ")[0] for line in original.splitlines()} - set(keys)
        # Of the vendor's own pages, which Signate knows nothing of.
        assert missing == {"splash_logo_url", "review_cta_dismissed", "review_cta_snooze_until"}
        assert "player_name = Lobby / TV" in conf.splitlines()
        assert "django_secret_key =" in [line.strip() for line in conf.splitlines()]
        with (
            closing(database_in(ours, tmp_path)) as made,
            closing(database_in(theirs, tmp_path)) as original_db,
        ):
            for query in (
                "SELECT type, name, sql FROM sqlite_master ORDER BY type, name",
                "SELECT * FROM django_migrations ORDER BY id",
                "SELECT * FROM auth_permission ORDER BY id",
                "SELECT * FROM auth_user",
            ):
                assert made.execute(query).fetchall() == original_db.execute(query).fetchall()
            query = (
                "SELECT asset_id, name, start_date, end_date, mimetype, is_enabled, is_processing, "
                "nocache, play_order, skip_asset_check, is_reachable, last_reachability_check, "
                "play_time_from, play_time_to, skip_ssl_verify, uri FROM assets ORDER BY rowid"
            )
            assert made.execute(query).fetchall() == original_db.execute(query).fetchall()
            assert made.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert made.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_round_trip_changes_nothing_that_anthias_knows(acme: Inhabited) -> None:
    with_media(acme.owner, "deadbeef.gif", PIXEL, name="Ünïcode", mimetype="image", md5="x")
    with acting_as(acme.owner):
        Asset.objects.filter(pk=acme.assets[0].pk).update(
            start_date=datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=UTC),
            end_date=datetime(2034, 1, 1, tzinfo=UTC),
            play_days=[1, 7],
            play_time_from=time(22, 30),
            play_time_to=time(6, 0, 0, 500),
            metadata={"headers": {"X-A": "ä"}, "refresh_interval_s": 60},
        )
        Asset.objects.filter(pk=acme.assets[1].pk).update(description='Two\nlines, "ü"')
    before = {version: listed(acme.owner, version) for version in (V1, V2)}
    backup = create_backup(actor=acme.owner)
    with acting_as(acme.owner):
        Asset.objects.all().delete()
    restore_backup(backup.pk, actor=acme.owner)
    assert {version: listed(acme.owner, version) for version in (V1, V2)} == before
    with acting_as(acme.owner):
        own = list(Asset.objects.order_by("pk").values_list("tags", "description"))
    mark = [acme.marker]
    assert own == [(mark, ""), (mark, 'Two\nlines, "ü"'), (mark, ""), ([], "")]
    assert usage(acme.owner) == (4, len(PIXEL) + 1000 + backup.size)


def test_each_file_has_a_safe_name_of_its_own(
    acme: Inhabited, media_root: Path, tmp_path: Path
) -> None:
    first = with_media(acme.owner, "same.gif", PIXEL, name="first")
    second = with_media(acme.owner, "second.gif", PIXEL + b"!", name="second")
    third = with_media(acme.owner, "third.gif", PIXEL + b"?", name="third")
    gone = with_media(acme.owner, "gone.gif", PIXEL, name="gone")
    with acting_as(acme.owner):
        Asset.objects.filter(pk=second.pk).update(uri="/home/pi/screenly_assets/same.gif")
        Asset.objects.filter(pk=third.pk).update(uri="/x/..", asset_id="../../etc/passwd")
    (media_root / gone.media_path).unlink()
    backup = create_backup(actor=acme.owner)
    assert backup.missing == ["gone.gif"]
    with (
        unpacked(acme.owner, backup) as archive,
        closing(database_in(archive, tmp_path)) as database,
    ):
        found = dict(database.execute("SELECT name, uri FROM assets WHERE uri LIKE '/%'"))
        assert found == {
            "first": "/data/anthias_assets/same.gif",
            "second": "/data/anthias_assets/second.gif",
            "third": f"/data/anthias_assets/{third.pk.hex}.gif",
            "gone": "/data/anthias_assets/gone.gif",
        }
        assert content_of(archive, "anthias_assets/second.gif") == PIXEL + b"!"
    assert first.pk < second.pk


def test_backups_of_one_second_have_names_of_their_own(acme: Inhabited) -> None:
    names = {create_backup(actor=acme.owner).name for _ in range(3)}
    assert len(names) == 3


def test_who_may_not_makes_no_backup_and_sees_none(acme: Inhabited, globex: Inhabited) -> None:
    backup = create_backup(actor=acme.manager)
    for actor in (acme.viewer, acme.operator):
        with pytest.raises(PermissionDenied):
            create_backup(actor=actor)
        with pytest.raises(PermissionDenied):
            open_backup(actor=actor, name=backup.name)
        with pytest.raises(PermissionDenied):
            restore_backup(backup.pk, actor=actor)
    with pytest.raises(NotFound):
        open_backup(actor=globex.owner, name=backup.name)
    with pytest.raises(NotFound):
        restore_backup(backup.pk, actor=globex.owner)
    with acting_as(globex.owner), pytest.raises(NotFound):
        delete_backup(actor=globex.owner, backup=backup.pk)
    found, stored = open_backup(actor=acme.owner, name=backup.name)
    stored.close()
    assert found.pk == backup.pk


def test_a_backup_counts_and_is_not_made_without_room(acme: Inhabited, media_root: Path) -> None:
    before = usage(acme.owner)
    backup = create_backup(actor=acme.owner)
    assert usage(acme.owner) == (before[0], before[1] + backup.size)
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(storage_quota_gb=0)
    files = {path for path in media_root.rglob("*") if path.is_file()}
    with pytest.raises(QuotaExceeded):
        create_backup(actor=acme.owner)
    assert {path for path in media_root.rglob("*") if path.is_file()} == files
    assert usage(acme.owner) == (before[0], before[1] + backup.size)


# --- settings -----------------------------------------------------------------------------------


def archive_with(conf: str) -> io.BytesIO:
    """Return Anthias's own backup with other settings in it."""
    members: dict[str, bytes | None] = {}
    with tarfile.open(SAMPLE) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            members[member.name] = file.read() if file else None
    members[".anthias/anthias.conf"] = conf.encode()
    return archive_of(members)


def wanted(actor: Actor) -> dict[str, Any]:
    with acting_as(actor):
        return settings_of(TenantSettings.objects.get(), None)


SETTINGS = """[main]
timezone = Asia/Tokyo
display_power_days = 0,1
[viewer]
player_name = Lobby 100%%
default_duration = 25
shuffle_playlist = on
default_assets = on
"""


def test_a_restore_takes_the_settings_over_and_undoing_gives_them_back(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        update_device_defaults(
            actor=acme.owner, changes={"timezone": "Europe/Paris", "verify_ssl": False}
        )
    before = wanted(acme.owner)
    restore = restore_archive(archive_with(SETTINGS), actor=acme.owner, source="x")
    assert wanted(acme.owner) == {
        **before,
        "timezone": "Asia/Tokyo",
        "display_power_days": "0,1",
        "player_name": "Lobby 100%",
        "default_duration": 25,
        "shuffle_playlist": True,
    }
    # Its pages are no setting: no asset comes beside those of the archive.
    with acting_as(acme.owner):
        assert Asset.objects.count() == restore.assets == 43
    assert not [note for note in restore.notes if note.startswith("Settings")]
    undone = undo_restore(restore.pk, actor=acme.owner)
    assert wanted(acme.owner) == before
    assert not [note for note in undone.notes if note.startswith("Settings")]


def test_a_setting_that_cannot_be_used_is_noted_and_the_others_are_taken(acme: Inhabited) -> None:
    before = wanted(acme.owner)
    conf = (
        "[main]\ntimezone = Atlantis/Centre\n[viewer]\ndefault_duration = long\n"
        "screen_rotation = 45\nshow_splash = maybe\naudio_output = local\n"
    )
    restore = restore_archive(archive_with(conf), actor=acme.owner, source="x")
    assert wanted(acme.owner) == {**before, "audio_output": "local"}
    assert [note for note in restore.notes if note.startswith("Settings")] == [
        "Settings: timezone: left as it was. Unknown or unavailable timezone: Atlantis/Centre.",
        "Settings: default_duration: left as it was, 'long' cannot be used",
        'Settings: screen_rotation: left as it was. "45" is not a valid choice.',
        "Settings: show_splash: left as it was, 'maybe' cannot be used",
    ]


def test_settings_are_for_who_may_change_them(acme: Inhabited) -> None:
    """A manager imports and deletes assets, and changes no setting."""
    before = wanted(acme.owner)
    restore = restore_archive(archive_with(SETTINGS), actor=acme.manager, source="x")
    assert wanted(acme.owner) == before
    told = "Settings: left as they were, to change them needs tenant.settings"
    assert [note for note in restore.notes if note.startswith("Settings")] == [told]
    undo_restore(restore.pk, actor=acme.owner)
    assert wanted(acme.owner) == before
    restore = restore_archive(archive_with(SETTINGS), actor=acme.owner, source="x")
    after = wanted(acme.owner)
    assert after["timezone"] == "Asia/Tokyo"
    undone = undo_restore(restore.pk, actor=acme.manager)
    assert wanted(acme.owner) == after
    told = "Settings: not put back, to change them needs tenant.settings"
    assert [note for note in undone.notes if note.startswith("Settings")] == [told]


# --- undone, forgotten, expired -----------------------------------------------------------------


def test_undoing_puts_everything_back_byte_for_byte(
    acme: Inhabited,
    globex: Inhabited,
    media_root: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    asset = with_media(acme.owner, "mine.gif", PIXEL, name="mine", metadata={"a": [None, 1.5]})
    with acting_as(acme.owner):
        # JSON's null is not SQL's.
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE assets SET legacy_metadata = 'null'::jsonb WHERE id = %s", [asset.pk]
            )
        ShareLink.objects.create(
            tenant=acme.tenant,
            asset=asset,
            token_digest="revoked",
            expires_at=ASKED,
            revoked_at=ASKED,
        )
    before, others, counted = state(acme.owner), state(globex.owner), usage(acme.owner)
    files = {path for path in media_root.rglob("*") if path.is_file()}
    with django_capture_on_commit_callbacks(execute=True), SAMPLE.open("rb") as file:
        restore = restore_archive(file, actor=acme.owner, source="b.tar.gz")
    assert len(state(acme.owner)["assets"]) == 43
    assert state(acme.owner)["share_links"] == []
    restored = usage(acme.owner)
    assert restored[1] == counted[1] + 11_763
    assert (media_root / asset.media_path).read_bytes() == PIXEL
    assert list(audit_tenant(acme.tenant.pk, grace=timedelta(0))) == []
    with django_capture_on_commit_callbacks(execute=True):
        undo_restore(restore.pk, actor=acme.owner)
    after = state(acme.owner)
    after["asset_migrations"] = [
        row for row in after["asset_migrations"] if row["run_id"] != restore.run_id
    ]
    assert after == before
    with acting_as(acme.owner), connection.cursor() as cursor:
        cursor.execute("SELECT legacy_metadata::text FROM assets WHERE id = %s", [asset.pk])
        assert cursor.fetchone() == ("null",)
    assert usage(acme.owner) == counted
    assert {path for path in media_root.rglob("*") if path.is_file()} == files
    assert state(globex.owner) == others
    with pytest.raises(Conflict, match="was undone"):
        undo_restore(restore.pk, actor=acme.owner)


def test_restores_are_undone_in_turn(acme: Inhabited) -> None:
    before = state(acme.owner)["assets"]
    with SAMPLE.open("rb") as file:
        first = restore_archive(file, actor=acme.owner, source="first")
    after_first = state(acme.owner)["assets"]
    with (DATA / "fixtures" / "backup.tar.gz").open("rb") as file:
        second = restore_archive(file, actor=acme.owner, source="second")
    with pytest.raises(Conflict, match="Undo that one first"):
        undo_restore(first.pk, actor=acme.owner)
    undo_restore(second.pk, actor=acme.owner)
    assert state(acme.owner)["assets"] == after_first
    undo_restore(first.pk, actor=acme.owner)
    assert state(acme.owner)["assets"] == before


def test_what_was_made_since_stays_and_a_place_that_is_taken_is_told(acme: Inhabited) -> None:
    with SAMPLE.open("rb") as file:
        restore = restore_archive(file, actor=acme.owner, source="b.tar.gz")
    with acting_as(acme.owner):
        since = Asset.objects.create(tenant=acme.tenant, asset_id=f"{0:032x}", name="since")
    before = state(acme.owner)
    with pytest.raises(Conflict, match="asset_id"):
        undo_restore(restore.pk, actor=acme.owner)
    assert state(acme.owner) == before
    with acting_as(acme.owner):
        Asset.objects.filter(pk=since.pk).update(asset_id="another")
    undo_restore(restore.pk, actor=acme.owner)
    assert {row["asset_id"] for row in state(acme.owner)["assets"]} == {
        *(asset.asset_id for asset in acme.assets),
        "another",
    }


def test_forgetting_removes_the_files_and_gives_back_their_room(
    acme: Inhabited,
    media_root: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    asset = with_media(acme.owner, "mine.gif", PIXEL, name="mine")
    with SAMPLE.open("rb") as file:
        restore = restore_archive(file, actor=acme.owner, source="b.tar.gz")
    kept = usage(acme.owner)
    with pytest.raises(PermissionDenied):
        forget_restore(restore.pk, actor=acme.operator)
    with django_capture_on_commit_callbacks(execute=True):
        forget_restore(restore.pk, actor=acme.owner)
    assert usage(acme.owner) == (kept[0], kept[1] - len(PIXEL))
    assert not (media_root / asset.media_path).exists()
    with pytest.raises(Conflict, match="forgotten"):
        undo_restore(restore.pk, actor=acme.owner)
    assert len(listed(acme.owner)) == 43


def test_without_keeping_nothing_of_before_stays(
    acme: Inhabited,
    media_root: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    asset = with_media(acme.owner, "mine.gif", PIXEL, name="mine")
    with django_capture_on_commit_callbacks(execute=True), SAMPLE.open("rb") as file:
        restore = restore_archive(file, actor=acme.owner, source="b", keep=False)
    assert restore.forgotten_at is not None
    assert not (media_root / asset.media_path).exists()
    assert usage(acme.owner) == (43, 11_763 + 1000)


@pytest.mark.parametrize("days", [6, 8])
def test_the_worker_removes_what_is_a_week_old(
    acme: Inhabited,
    media_root: Path,
    days: int,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    asset = with_media(acme.owner, "mine.gif", PIXEL, name="mine")
    backup = create_backup(actor=acme.owner)
    with SAMPLE.open("rb") as file:
        restore = restore_archive(file, actor=acme.owner, source="b.tar.gz")
    with acting_as(acme.owner):
        for model in (Backup, Restore):
            for row in model.objects.filter(pk__in=[backup.pk, restore.pk]):
                row.expires_at -= timedelta(days=days)
                row.save()
    with django_capture_on_commit_callbacks(execute=True):
        clean_up(actor=worker(acme.tenant.pk))
    stays = days < 7
    assert default_storage.exists(backup_key(acme.tenant.pk, backup.pk)) is stays
    assert (media_root / asset.media_path).exists() is stays
    with acting_as(acme.owner):
        assert Backup.objects.filter(pk=backup.pk).exists() is stays
        assert (Restore.objects.get(pk=restore.pk).forgotten_at is None) is stays


def test_a_restore_keeps_to_the_plan_and_changes_nothing_where_it_cannot(
    acme: Inhabited, media_root: Path
) -> None:
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(max_assets=42)
    before, counted = state(acme.owner), usage(acme.owner)
    for limits in ({"max_assets": 42}, {"max_assets": 100, "storage_quota_gb": 0}):
        with acting_as(acme.owner):
            Tenant.objects.filter(pk=acme.tenant.pk).update(**limits)
        with pytest.raises(QuotaExceeded), SAMPLE.open("rb") as file:
            restore_archive(file, actor=acme.owner, source="b.tar.gz")
        assert state(acme.owner) == before
        assert usage(acme.owner) == counted
        assert [path for path in media_root.rglob("*") if path.is_file()] == []
    # To the byte: what is there, and what comes.
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(max_assets=43, storage_quota_gb=1)
        filler = Asset.objects.get(pk=acme.assets[2].pk)
        filler.file_size = BYTES_PER_GB - 1000 - 11_762
        filler.save()
    with pytest.raises(QuotaExceeded), SAMPLE.open("rb") as file:
        restore_archive(file, actor=acme.owner, source="b.tar.gz")
    with acting_as(acme.owner):
        Asset.objects.filter(pk=filler.pk).update(file_size=filler.file_size - 1)
    with SAMPLE.open("rb") as file:
        restore_archive(file, actor=acme.owner, source="b.tar.gz")
    assert usage(acme.owner) == (43, BYTES_PER_GB)


def test_the_sample_is_the_database_that_backups_are_made_from() -> None:
    with closing(sqlite3.connect(f"{CURRENT.as_uri()}?mode=ro", uri=True)) as database:
        assert database.execute("SELECT count(*) FROM auth_user").fetchone() == (0,)
