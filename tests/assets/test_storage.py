"""The storages of media: whole files or none, names that stay, and folders that do not."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.core.files.storage import default_storage

from assets import library
from assets.bucket_storage import BucketStorage
from assets.folder_storage import FolderStorage
from assets.importing import rollback_import
from assets.models import Asset, AssetMigration, ImportRun, MigrationStatus
from assets.storage import (
    CHUNK_BYTES,
    HEAD_BYTES,
    delete_media,
    is_key_of,
    media_key,
    media_keys,
    media_storage,
    store_file,
    thumbnail_key,
)
from rls import acting_as
from tests.media import PNG, WEBP, add_media

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

    from tests.world import Inhabited

TENANT = UUID("00000000-0000-0000-0000-00000000000a")
ASSET = UUID("00000000-0000-0000-0000-00000000000b")
KEY = f"t/{TENANT}/{ASSET}/clip.mp4"
BIG = os.urandom(CHUNK_BYTES * 2 + 17)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def stored(key: str) -> bytes:
    file = media_storage().read(key)
    body = file.body(0, file.size)
    try:
        return b"".join(body)
    finally:
        body.close()


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each storage there is, empty."""
    request.getfixturevalue(request.param)
    yield request.param
    if request.param == "bucket":
        default_storage.connection.meta.client.close()  # type: ignore[attr-defined]


# --- keys -----------------------------------------------------------------------------------------


def test_keys_lie_in_the_folder_of_their_asset() -> None:
    thumbnail = f"t/{TENANT}/{ASSET}/thumbnail/thumbnail.webp"
    assert thumbnail_key(TENANT, ASSET) == thumbnail
    assert media_keys(TENANT, ASSET, "", "") == ()
    assert media_keys(TENANT, ASSET, KEY, "") == (KEY,)
    assert media_keys(TENANT, ASSET, "", "/media/x") == (thumbnail,)
    assert media_keys(TENANT, ASSET, KEY, "/media/x") == (KEY, thumbnail)
    assert is_key_of(KEY, TENANT, ASSET)
    assert is_key_of(media_key(TENANT, ASSET, "../../x"), TENANT, ASSET)
    for key in ("", KEY[1:], f"t/{ASSET}/{TENANT}/x", f"t/{TENANT}/{uuid4()}/x", f"t/{TENANT}"):
        assert not is_key_of(key, TENANT, ASSET)


# --- both storages --------------------------------------------------------------------------------


def test_what_was_stored_is_read(storage: str, tmp_path: Path) -> None:
    del storage
    path = tmp_path / "source"
    path.write_bytes(BIG)
    before = datetime.now(UTC) - timedelta(seconds=2)
    assert store_file(KEY, path) == KEY
    assert path.read_bytes() == BIG
    assert default_storage.exists(KEY)

    file = media_storage().read(KEY)
    assert (file.size, file.head) == (len(BIG), BIG[:HEAD_BYTES])
    assert before <= file.modified <= datetime.now(UTC) + timedelta(seconds=2)
    body = file.body(CHUNK_BYTES - 1, CHUNK_BYTES + 3)
    chunks = list(body)
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, 3]
    assert b"".join(chunks) == BIG[CHUNK_BYTES - 1 : 2 * CHUNK_BYTES + 2]
    body.close()
    assert stored(KEY) == BIG


@pytest.mark.parametrize(("start", "length"), [(0, 0), (0, 3), (2, 1), (0, 5)])
def test_parts_of_a_small_file(storage: str, start: int, length: int) -> None:
    del storage
    store_file(KEY, BytesIO(b"abcde"))
    body = media_storage().read(KEY).body(start, length)
    assert b"".join(body) == b"abcde"[start : start + length]
    body.close()


def test_a_file_of_no_bytes(storage: str) -> None:
    del storage
    store_file(KEY, BytesIO())
    file = media_storage().read(KEY)
    assert (file.size, file.head) == (0, b"")
    file.close()
    assert stored(KEY) == b""


def test_a_key_that_is_taken_gets_another_ending(storage: str) -> None:
    del storage
    assert store_file(KEY, BytesIO(b"one")) == KEY
    other = store_file(KEY, BytesIO(b"two"))
    assert other != KEY
    assert is_key_of(other, TENANT, ASSET)
    assert (stored(KEY), stored(other)) == (b"one", b"two")


def test_a_replaced_file_has_its_key_and_another_version(storage: str) -> None:
    del storage
    store_file(KEY, BytesIO(b"one"), replace=True)
    first = media_storage().read(KEY)
    first.close()
    assert store_file(KEY, BytesIO(b"other"), replace=True) == KEY
    second = media_storage().read(KEY)
    second.close()
    assert first.version != second.version
    assert stored(KEY) == b"other"
    assert [one.key for one in media_storage().walk("t/")] == [KEY]


def test_what_is_not_there_is_not_found(storage: str) -> None:
    del storage
    store_file(KEY, BytesIO(b"one"))
    for key in (f"{KEY}.gone", f"t/{TENANT}/{ASSET}", f"{KEY}/below"):
        with pytest.raises(FileNotFoundError):
            media_storage().read(key)
    delete_media([f"{KEY}.gone"])
    assert stored(KEY) == b"one"


def test_a_walk_lists_what_lies_below(storage: str) -> None:
    del storage
    assert list(media_storage().walk("t/")) == []
    other = f"t/{ASSET}/{TENANT}/x"
    thumbnail = thumbnail_key(TENANT, ASSET)
    for key, content in ((KEY, b"12345"), (thumbnail, b"1"), (other, b"")):
        store_file(key, BytesIO(content))
    listed = {one.key: one.size for one in media_storage().walk(f"t/{TENANT}/")}
    assert listed == {KEY: 5, thumbnail: 1}
    assert {one.key for one in media_storage().walk("t/")} == {KEY, thumbnail, other}
    assert all(
        abs(datetime.now(UTC) - one.modified) < timedelta(minutes=1)
        for one in media_storage().walk("t/")
    )


def test_a_source_that_fails_leaves_nothing(storage: str) -> None:
    del storage

    class Broken(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > CHUNK_BYTES:
                raise OSError(5, "Input/output error")
            return super().read(size)

    store_file(KEY, BytesIO(b"old"))
    for replace in (False, True):
        with pytest.raises(OSError, match="Input/output error"):
            store_file(KEY, Broken(BIG), replace=replace)
    assert [one.key for one in media_storage().walk("t/")] == [KEY]
    assert stored(KEY) == b"old"


# --- the folder -----------------------------------------------------------------------------------


def test_a_folder_is_the_default(settings: Settings) -> None:
    assert settings.STORAGES["default"]["BACKEND"] == "assets.folder_storage.FolderStorage"
    storage: object = default_storage
    assert isinstance(storage, FolderStorage)


def test_no_reader_sees_half_a_file(folder: Path) -> None:
    seen: list[dict[str, bytes]] = []

    class Slow(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            seen.append({name: content for name, content in files(folder).items() if name == KEY})
            return super().read(size)

    store_file(KEY, Slow(BIG))
    assert len(seen) > 2
    assert seen == [{}] * len(seen)
    seen.clear()
    store_file(KEY, Slow(b"new"), replace=True)
    assert seen == [{KEY: BIG}] * len(seen)
    assert files(folder) == {KEY: b"new"}


def test_a_reader_keeps_the_file_it_opened(folder: Path) -> None:
    store_file(KEY, BytesIO(BIG))
    body = media_storage().read(KEY).body(0, len(BIG))
    first = next(body)
    store_file(KEY, BytesIO(b"new"), replace=True)
    default_storage.delete(KEY)
    assert first + b"".join(body) == BIG
    body.close()
    assert files(folder) == {}


def test_only_the_service_may_read_what_lies_there(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "open"
    source.touch(0o666)
    store_file(KEY, source)
    store_file(thumbnail_key(TENANT, ASSET), BytesIO(), replace=True)
    paths = [folder / "t", *(folder / "t").rglob("*")]
    modes = {oct(path.stat().st_mode & 0o777) for path in paths if path.is_dir()}
    assert modes == {"0o750"}
    assert {oct(p.stat().st_mode & 0o777) for p in paths if p.is_file()} == {"0o640"}


def test_many_writers_of_one_key_each_keep_theirs(folder: Path) -> None:
    start = threading.Barrier(8)
    keys: list[str] = []

    def write(number: int) -> None:
        start.wait()
        keys.append(store_file(KEY, BytesIO(b"%d" % number)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 8
    assert sorted(files(folder).values()) == [b"%d" % number for number in range(8)]
    assert set(files(folder)) == set(keys)


def test_a_file_system_without_hard_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert store_file(KEY, BytesIO(b"one")) == KEY
    other = store_file(KEY, BytesIO(b"two"))
    assert files(folder) == {KEY: b"one", other: b"two"}


def test_a_folder_that_goes_while_it_is_written_into_comes_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = os.open
    removed: list[Path] = []

    def remove_first(path: Any, flags: int, mode: int = 0o777, **how: Any) -> int:
        if str(path).endswith(".part") and not removed:
            removed.append(Path(path).parent)
            removed[0].rmdir()
        return created(path, flags, mode, **how)

    monkeypatch.setattr(os, "open", remove_first)
    assert store_file(KEY, BytesIO(b"one")) == KEY
    assert removed == [folder / "t" / str(TENANT) / str(ASSET)]
    assert files(folder) == {KEY: b"one"}


def test_a_file_that_cannot_take_its_name_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    for replace in (False, True):
        with pytest.raises(OSError, match="Read-only"):
            store_file(KEY, BytesIO(b"one"), replace=replace)
    assert files(folder) == {}


def test_empty_folders_go_up_to_the_tenants(folder: Path) -> None:
    thumbnail = thumbnail_key(TENANT, ASSET)
    for key in (KEY, thumbnail):
        store_file(key, BytesIO(b"x"))
    delete_media([thumbnail])
    assert files(folder) == {KEY: b"x"}
    assert not (folder / thumbnail).parent.exists()
    delete_media([KEY])
    assert list((folder / "t").rglob("*")) == [folder / "t" / str(TENANT)]


def test_links_are_files_and_lead_nowhere(folder: Path, tmp_path: Path) -> None:
    store_file(KEY, BytesIO(b"x"))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (folder / "t" / "link").symlink_to(tmp_path / "outside")
    assert {one.key for one in media_storage().walk("t/")} == {KEY, "t/link"}


# --- the bucket -----------------------------------------------------------------------------------


def test_objects_are_private_and_what_fails_is_an_os_error(bucket: str) -> None:
    store_file(KEY, BytesIO(PNG))
    storage: Any = default_storage
    assert isinstance(storage, BucketStorage)
    client = storage.connection.meta.client
    [grant] = client.get_object_acl(Bucket=bucket, Key=KEY)["Grants"]
    assert grant["Grantee"]["Type"] == "CanonicalUser"

    storage.bucket_name = storage._bucket = None
    settings_of = {"Bucket": bucket}
    client.delete_object(**settings_of, Key=KEY)
    client.delete_bucket(**settings_of)
    storage.bucket_name = bucket
    with pytest.raises(OSError, match="The object storage refused: NoSuchBucket") as raised:
        store_file(KEY, BytesIO(PNG))
    assert not isinstance(raised.value, FileNotFoundError)
    delete_media([KEY])


def test_a_bucket_that_is_away_is_an_os_error(bucket: str, settings: Settings) -> None:
    del bucket
    default_storage.connection.meta.client.close()  # type: ignore[attr-defined]
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
    settings.STORAGES = dict(settings.STORAGES)
    calls = (
        lambda: store_file(KEY, BytesIO(PNG)),
        lambda: media_storage().read(KEY),
        lambda: default_storage.exists(KEY),
        lambda: default_storage.delete(KEY),
        lambda: list(media_storage().walk("t/")),
    )
    for call in calls:
        with pytest.raises(OSError, match="The object storage cannot be used") as raised:
            call()
        assert not isinstance(raised.value, FileNotFoundError)


def test_an_object_replaced_between_two_looks_is_not_mixed(bucket: str) -> None:
    del bucket
    store_file(KEY, BytesIO(BIG))
    file = media_storage().read(KEY)
    store_file(KEY, BytesIO(BIG[::-1]), replace=True)
    with pytest.raises(FileNotFoundError):
        file.body(0, len(BIG))


# --- whoever forgets an asset forgets all of its files --------------------------------------------


def test_deleted_assets_take_their_thumbnails_along(
    acme: Inhabited,
    folder: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    gone = [add_media(acme, thumbnail=WEBP), add_media(acme)]
    kept = add_media(acme, thumbnail=WEBP)
    assert len(files(folder)) == 5
    with django_capture_on_commit_callbacks(execute=True), acting_as(acme.owner):
        library.delete_assets(actor=acme.owner, ids=[row.pk for row in gone])
        assert len(files(folder)) == 5
    assert set(files(folder)) == {kept.media_path, thumbnail_key(acme.tenant.id, kept.pk)}


def test_a_rolled_back_import_takes_thumbnails_along(
    acme: Inhabited,
    folder: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    row, kept = add_media(acme, thumbnail=WEBP), add_media(acme)
    with acting_as(acme.owner):
        run = ImportRun.objects.create(tenant=acme.tenant, source="x.db", era="now")
        AssetMigration.objects.create(
            tenant=acme.tenant,
            run=run,
            asset=row,
            original_asset_id="x",
            new_asset_id=row.asset_id,
            migration_status=MigrationStatus.MIGRATED,
        )
    with django_capture_on_commit_callbacks(execute=True):
        report = rollback_import(run.pk, actor=acme.owner)
    assert (report.deleted, report.media_deleted) == (1, 2)
    assert set(files(folder)) == {kept.media_path}
    with acting_as(acme.owner):
        assert not Asset.objects.filter(pk=row.pk).exists()
