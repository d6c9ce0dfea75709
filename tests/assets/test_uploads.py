"""Uploads below every face: ranges, checksums, what is refused and what is left behind."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
from datetime import timedelta
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from assets import byte_sets, staging
from assets.models import Asset, ProcessingStatus, Upload
from assets.storage import delete_media, media_storage
from assets.upload_media import create_asset_from_upload, replace_media
from assets.upload_upkeep import expire_uploads, remove_orphan, staged_orphans
from assets.uploads import (
    MAX_OPEN,
    MAX_RANGES,
    abandon_upload,
    begin_upload,
    find_by_handle,
    finish_upload,
)
from rls import acting_as
from tenancy.errors import (
    Conflict,
    Invalid,
    InvalidInput,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    StorageFull,
)
from tenancy.models import Tenant
from tests.media import HTML, PNG, WEBP, add_media
from tests.uploads import (
    GB,
    WORLD_BYTES,
    begin,
    files,
    limit,
    md5,
    new_assets,
    open_uploads,
    picture,
    put,
    stored,
    used,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

    from tests.world import Inhabited

MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(5000)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, settings: Settings) -> None:
    settings.UPLOAD_DIR = tmp_path / "uploads"
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def commits(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> Callable[[], Any]:
    """Do what is to be done on commit when the block ends."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def refresh(place: Inhabited, row: Asset | Upload) -> None:
    with acting_as(place.owner):
        row.refresh_from_db()


def create(place: Inhabited, row: Upload, **values: Any) -> Asset:
    with acting_as(place.owner):
        finish_upload(actor=place.owner, upload=row.pk)
        return create_asset_from_upload(actor=place.owner, upload=row.pk, values=values)


def jobs(place: Inhabited) -> list[dict[str, Any]]:
    with acting_as(place.owner), connection.cursor() as cursor:
        cursor.execute(
            "SELECT task_name, lock, args->>'asset' FROM procrastinate_jobs "
            "WHERE task_name <> 'nothing' ORDER BY id"
        )
        return [dict(zip(("task", "lock", "asset"), row, strict=True)) for row in cursor.fetchall()]


# --- sets of bytes ------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12), st.integers(1, 40))
def test_ranges_are_the_set_of_their_bytes(ranges: list[tuple[int, int]], size: int) -> None:
    pairs: list[list[int]] = []
    bytes_: set[int] = set()
    for start, end in ranges:
        pairs = byte_sets.merged(pairs, start, end)
        bytes_ |= set(range(start, end))
        assert {n for low, high in pairs for n in range(low, high)} == bytes_
        assert all(a[1] < b[0] for a, b in pairwise(pairs))
    inside = {n for n in bytes_ if n < size}
    kept = byte_sets.cut(pairs, size)
    assert {n for low, high in kept for n in range(low, high)} == inside
    gaps = {n for low, high in byte_sets.missing(kept, size) for n in range(low, high)}
    assert gaps == set(range(size)) - inside
    assert byte_sets.is_whole(kept, size) is (not gaps)
    assert byte_sets.resume_at(pairs) == next(n for n in range(99) if n not in bytes_)


# --- from the first byte to the asset -----------------------------------------------------------


def test_a_file_in_three_pieces_becomes_an_asset(
    acme: Inhabited, commits: Callable[[], Any]
) -> None:
    content = picture(200_000)
    row = begin(acme, len(content), file_name="C:\\holiday\\../Grüße.png")
    assert used(acme) == WORLD_BYTES + 200_000
    for start, end in ((0, 70_000), (70_000, 70_001), (70_001, 200_000)):
        row = put(acme, row, content[start:end], start)
        assert row.received == [[0, end]]
        assert row.expires_at > timezone.now() + timedelta(hours=23)
    assert (row.md5, row.mimetype, row.file_name) == (md5(content), "image/png", "Grüße.png")
    [path] = files()
    assert path.parts[-2:] == (str(acme.tenant.pk), f"{row.pk}.part")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    with commits():
        asset = create(acme, row)
    [key] = stored()
    assert key.read_bytes() == content
    assert [*files(), *open_uploads(acme)] == []
    refresh(acme, asset)
    assert asset.media_path == f"t/{acme.tenant.pk}/{asset.pk}/{row.pk.hex}.png"
    assert {
        name: getattr(asset, name)
        for name in ("name", "uri", "mimetype", "md5", "file_size", "duration", "is_processing")
    } == {
        "name": "Grüße.png",
        "uri": f"/data/anthias_assets/{asset.asset_id}.png",
        "mimetype": "image",
        "md5": md5(content),
        "file_size": 200_000,
        "duration": 10,
        "is_processing": True,
    }
    assert asset.processing_status == ProcessingStatus.PENDING
    assert asset.created_by_id == acme.owner.user_id
    assert used(acme) == WORLD_BYTES + 200_000
    assert jobs(acme) == [
        {
            "task": "assets.understand_media",
            "lock": f"{acme.tenant.pk}:asset:{asset.pk}",
            "asset": str(asset.pk),
        }
    ]


def test_values_are_those_of_any_asset_and_a_video_has_its_own_length(acme: Inhabited) -> None:
    row = put(acme, begin(acme, len(MP4), file_name="x.png"), MP4)
    asset = create(acme, row, name=" Film ", tags=["a"], play_order=7)
    assert (asset.name, asset.tags, asset.play_order) == ("Film", ["a"], 7)
    assert (asset.mimetype, asset.duration) == ("video", 0)
    assert asset.uri == f"/data/anthias_assets/{asset.asset_id}.mp4"
    row = put(acme, begin(acme, len(MP4)), MP4)
    assert create(acme, row, duration=33).duration == 33


def test_a_bad_value_leaves_the_upload_as_it_was(acme: Inhabited) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)
    with acting_as(acme.owner):
        finish_upload(actor=acme.owner, upload=row.pk)
    with acting_as(acme.owner), pytest.raises(Invalid, match="between 0 and 31536000"):
        create_asset_from_upload(actor=acme.owner, upload=row.pk, values={"duration": -1})
    assert [*new_assets(acme), *stored(), *jobs(acme)] == []
    assert len(files()) == 1
    assert create(acme, row).md5 == md5(PNG)


def test_an_upload_is_used_once(acme: Inhabited) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)
    create(acme, row)
    with acting_as(acme.owner), pytest.raises(NotFound, match="no upload with this id"):
        create_asset_from_upload(actor=acme.owner, upload=row.pk, values={})
    assert len(new_assets(acme)) == 1


def test_a_new_file_replaces_the_old_one_and_its_thumbnail(
    acme: Inhabited, commits: Callable[[], Any]
) -> None:
    asset = add_media(acme, thumbnail=WEBP, duration=99, metadata={"error_message": "x", "y": 1})
    before = used(acme)
    assert len(stored()) == 2
    row = put(acme, begin(acme, len(MP4)), MP4)
    with commits(), acting_as(acme.owner):
        finish_upload(actor=acme.owner, upload=row.pk)
        replaced = replace_media(actor=acme.owner, asset=asset.pk, upload=row.pk)
    [path] = stored()
    assert path.read_bytes() == MP4
    assert files() == []
    refresh(acme, replaced)
    assert path.match(replaced.media_path)
    assert (replaced.pk, replaced.asset_id, replaced.name) == (asset.pk, asset.asset_id, asset.name)
    assert (replaced.md5, replaced.file_size, replaced.mimetype) == (md5(MP4), len(MP4), "video")
    assert (replaced.thumbnail_url, replaced.duration, replaced.metadata) == ("", 0, {"y": 1})
    assert used(acme) == before - len(PNG) + len(MP4)
    assert [job["asset"] for job in jobs(acme)] == [str(asset.pk)]


def test_replacing_needs_an_asset_and_a_finished_upload(acme: Inhabited, globex: Inhabited) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)
    asset = add_media(acme)
    with acting_as(acme.owner):
        with pytest.raises(Conflict, match="not finished"):
            replace_media(actor=acme.owner, asset=asset.pk, upload=row.pk)
        finish_upload(actor=acme.owner, upload=row.pk)
        for foreign in (globex.assets[0].pk, uuid4()):
            with pytest.raises(NotFound, match="no asset"):
                replace_media(actor=acme.owner, asset=foreign, upload=row.pk)
    with acting_as(acme.viewer), pytest.raises(PermissionDenied):
        replace_media(actor=acme.viewer, asset=asset.pk, upload=row.pk)
    assert len(stored()) == 1
    assert len(files()) == 1


# --- in any order, as the REST shim sends --------------------------------------------------------


def test_pieces_in_any_order_and_twice_make_the_right_file(acme: Inhabited) -> None:
    content = picture(50_000)
    pieces = [(at, content[at : at + 3_000]) for at in range(0, 50_000, 3_000)]
    pieces += pieces[::4]
    random.Random(5).shuffle(pieces)  # noqa: S311 -- an order, not a secret
    row = begin(acme, 50_000, handle="ab" * 16)
    for at, piece in pieces:
        found = find_by_handle_as(acme, "ab" * 16)
        row = put(acme, found, piece, at, total=50_000, in_order=False)
    assert (row.received, row.md5) == ([[0, 50_000]], md5(content))
    assert create(acme, row).md5 == md5(content)


def find_by_handle_as(place: Inhabited, handle: str) -> Upload:
    with acting_as(place.owner):
        return find_by_handle(actor=place.owner, handle=handle)


def test_the_piece_that_ends_the_file_says_how_long_it_is(acme: Inhabited) -> None:
    content = picture(100)
    row = begin(acme, 200)
    row = put(acme, row, bytes(50), 150, total=None, in_order=False)
    row = put(acme, row, content[40:], 40, total=100, in_order=False)
    assert (row.size, row.received) == (100, [[40, 100]])
    assert used(acme) == WORLD_BYTES + 100
    row = put(acme, row, content[:40], 0, total=100, in_order=False)
    assert (row.md5, files()[0].read_bytes()) == (md5(content), content)
    row = put(acme, row, content[50:] + b"longer", 50, total=106, in_order=False)
    assert (row.size, row.md5) == (106, md5(content + b"longer"))
    assert used(acme) == WORLD_BYTES + 106


def test_a_longer_file_than_there_is_room_for_is_refused(acme: Inhabited) -> None:
    limit(acme, 200)
    row = begin(acme, 200)
    with pytest.raises(QuotaExceeded):
        put(acme, row, bytes(10), 191, total=201, in_order=False)
    refresh(acme, row)
    assert (row.size, row.received) == (200, [])


def test_what_arrives_out_of_order_is_looked_at_when_its_beginning_is_there(
    acme: Inhabited,
) -> None:
    row = begin(acme, len(HTML))
    put(acme, row, HTML[20:], 20, in_order=False)
    with pytest.raises(InvalidInput, match="looks like a web page"):
        put(acme, row, HTML[:20], 0, in_order=False)
    assert [*files(), *open_uploads(acme)] == []
    assert used(acme) == WORLD_BYTES


def test_a_thousand_gaps_are_enough(acme: Inhabited) -> None:
    row = begin(acme, 10_000)
    with acting_as(acme.owner):
        pairs = [[at, at + 1] for at in range(1, 2 * MAX_RANGES, 2)]
        Upload.objects.filter(pk=row.pk).update(received=pairs)
    path = staging.part_path(acme.tenant.pk, row.pk)
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(10_000))
    with pytest.raises(Conflict, match="in 1000 pieces"):
        put(acme, row, b"x", 5000, in_order=False)
    assert put(acme, row, b"x", 2, in_order=False).received[0] == [1, 4]


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "refusal", "message"),
    [
        ({"size": 0}, InvalidInput, "The file is empty"),
        ({"size": -1}, InvalidInput, "The file is empty"),
        ({"file_name": " "}, InvalidInput, "1 to 255 characters"),
        ({"file_name": "a/"}, InvalidInput, "1 to 255 characters"),
        ({"file_name": "a\x00b"}, InvalidInput, "NUL"),
        ({"file_name": "a" * 256}, InvalidInput, "1 to 255 characters"),
        ({"handle": "../../etc/passwd"}, InvalidInput, "32 hexadecimal digits"),
        ({"handle": "AB" * 16}, InvalidInput, "32 hexadecimal digits"),
        ({"handle": f"{1:032x}"}, Conflict, "an upload with this handle"),
        ({"size": 4 * GB + 1}, QuotaExceeded, "4000000000 bytes at most on the basic plan"),
    ],
)
def test_what_cannot_be_begun(
    acme: Inhabited, values: dict[str, Any], refusal: type[Exception], message: str
) -> None:
    with acting_as(acme.owner), pytest.raises(refusal, match=message):
        begin_upload(actor=acme.owner, **{"file_name": "a.png", "size": 5, **values})
    assert [*files(), *open_uploads(acme)] == []
    assert used(acme) == WORLD_BYTES


def test_a_larger_tier_may_have_larger_files(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(subscription_tier="professional")
    assert begin(acme, 20 * GB).size == 20 * GB
    with pytest.raises(QuotaExceeded, match="20000000000 bytes"):
        begin(acme, 20 * GB + 1)


def test_who_may_not_create_assets_may_not_upload(acme: Inhabited) -> None:
    row = begin(acme, 10)
    with acting_as(acme.viewer):
        for attempt in (
            lambda: begin_upload(actor=acme.viewer, file_name="a", size=1),
            lambda: finish_upload(actor=acme.viewer, upload=row.pk),
            lambda: abandon_upload(actor=acme.viewer, upload=row.pk),
            lambda: create_asset_from_upload(actor=acme.viewer, upload=row.pk, values={}),
        ):
            with pytest.raises(PermissionDenied, match=r"assets\.create"):
                attempt()
    assert [one.pk for one in open_uploads(acme)] == [row.pk]


def test_too_many_uploads_at_once(acme: Inhabited) -> None:
    # The world has one of its own.
    for _ in range(MAX_OPEN - 1):
        begin(acme, 1)
    with pytest.raises(QuotaExceeded, match="50 uploads"):
        begin(acme, 1)
    assert used(acme) == WORLD_BYTES + MAX_OPEN - 1
    with acting_as(acme.owner):
        abandon_upload(actor=acme.owner, upload=open_uploads(acme)[0].pk)
    begin(acme, 1)


@pytest.mark.parametrize(
    ("start", "size", "how", "refusal", "message"),
    [
        (11, 5, {}, Conflict, "Go on from offset 10"),
        (9, 5, {}, Conflict, "Go on from offset 10"),
        (0, 10, {}, Conflict, "Go on from offset 10"),
        (10, 5, {"total": 101}, InvalidInput, "begun with 100 bytes, not 101"),
        (10, 91, {}, InvalidInput, "has 100 bytes; nothing lies beyond"),
        (101, 1, {"in_order": False}, InvalidInput, "has 100 bytes; nothing lies beyond"),
        (10, 91, {"length": None}, InvalidInput, "more bytes than announced"),
        (10, 6, {"length": 7}, InvalidInput, "ended after 6 of 7 bytes"),
    ],
)
def test_what_does_not_fit_is_refused(
    acme: Inhabited,
    start: int,
    size: int,
    how: dict[str, Any],
    refusal: type[Exception],
    message: str,
) -> None:
    content = picture(100)
    row = put(acme, begin(acme, 100), content[:10])
    with pytest.raises(refusal, match=message):
        put(acme, row, content[start : start + size].ljust(size, b"x"), start, **how)
    refresh(acme, row)
    arrived = 16 if how.get("length") == 7 else 10
    assert row.received == [[0, arrived]]
    row = put(acme, row, content[arrived:], arrived, total=100)
    assert row.md5 == md5(content)


def test_a_finished_upload_takes_nothing_more(acme: Inhabited) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)
    with acting_as(acme.owner):
        finish_upload(actor=acme.owner, upload=row.pk)
        finish_upload(actor=acme.owner, upload=row.pk)
    with pytest.raises(Conflict, match="finished"):
        put(acme, row, b"x", 0, in_order=False)
    assert files()[0].read_bytes() == PNG


def test_finishing_says_what_is_missing(acme: Inhabited) -> None:
    row = begin(acme, 100)
    for at in range(10, 90, 20):
        put(acme, row, bytes(5), at, in_order=False)
    with (
        acting_as(acme.owner),
        pytest.raises(Conflict, match=r"missing: 0 to 9, 15 to 29, 35 to 49 and 2 more ranges"),
    ):
        finish_upload(actor=acme.owner, upload=row.pk)


@pytest.mark.parametrize("name", ["md5", "sha256"])
def test_a_checksum_of_the_clients_is_compared(acme: Inhabited, name: str) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)
    right = hashlib.new(name, PNG, usedforsecurity=False).hexdigest()
    with acting_as(acme.owner):
        for wrong in ("", "é", "0" * len(right)):
            with pytest.raises(InvalidInput, match="not the file you sent") as caught:
                finish_upload(actor=acme.owner, upload=row.pk, **{name: wrong})
            assert caught.value.field == (name,)
        assert finish_upload(actor=acme.owner, upload=row.pk, **{name: right.upper()}).finished_at


@pytest.mark.parametrize("content", [HTML, b"%PDF-1.7" + bytes(9000), b"MZ" + bytes(9000)])
def test_what_is_no_media_is_gone_as_soon_as_its_beginning_is_there(
    acme: Inhabited, content: bytes
) -> None:
    row = begin(acme, len(content))

    class Counting(BytesIO):
        """Counts what was asked for."""

        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(min(4096, size or 0))
            self.taken += len(data)
            return data

    stream = Counting(content)
    with pytest.raises(InvalidInput, match="This looks like"):
        put(acme, row, content, stream=stream)
    assert stream.taken == min(4096, len(content))
    assert [*files(), *open_uploads(acme)] == []
    assert used(acme) == WORLD_BYTES


def test_a_second_writer_is_refused_and_the_first_goes_on(acme: Inhabited) -> None:
    content = picture(300_000)
    row = begin(acme, len(content))
    refused: list[str] = []

    class Intruded(BytesIO):
        """Lets somebody else in while its bytes are read."""

        def read(self, size: int | None = -1, /) -> bytes:
            with pytest.raises(Conflict) as caught:
                put(acme, row, bytes(5), 0)
            refused.append(caught.value.message)
            return super().read(size)

    row = put(acme, row, content, stream=Intruded(content))
    assert row.md5 == md5(content)
    assert set(refused) == {"Another connection is sending this upload. Wait until it has ended."}


def test_an_upload_abandoned_while_it_is_sent_leaves_nothing(
    acme: Inhabited, commits: Callable[[], Any]
) -> None:
    row = begin(acme, len(PNG))

    class Abandoned(BytesIO):
        """Is given up while its bytes are read."""

        def read(self, size: int | None = -1, /) -> bytes:
            if open_uploads(acme):
                with commits(), acting_as(acme.owner):
                    abandon_upload(actor=acme.owner, upload=row.pk)
            return super().read(size)

    with pytest.raises(NotFound):
        put(acme, row, PNG, stream=Abandoned(PNG))
    assert [*files(), *open_uploads(acme)] == []
    assert used(acme) == WORLD_BYTES


def test_a_connection_that_breaks_keeps_what_arrived(acme: Inhabited) -> None:
    content = picture(200_000)
    row = begin(acme, len(content))

    class Broken(BytesIO):
        """Breaks after the second piece."""

        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 131_072:
                raise OSError(errno.ECONNRESET, "gone")
            return super().read(size)

    with pytest.raises(InvalidInput, match="ended after 131072 of 200000 bytes"):
        put(acme, row, content, stream=Broken(content))
    refresh(acme, row)
    assert row.received == [[0, 131_072]]
    assert put(acme, row, content[131_072:], 131_072).md5 == md5(content)


def test_a_staging_folder_that_lost_the_bytes_is_noticed(acme: Inhabited) -> None:
    row = put(acme, begin(acme, 20_000), picture(10_000))
    files()[0].unlink()
    with pytest.raises(Conflict, match="are lost"):
        put(acme, row, bytes(10_000), 10_000)
    row = put(acme, begin(acme, len(PNG)), PNG)
    staging.part_path(acme.tenant.pk, row.pk).write_bytes(b"")
    with acting_as(acme.owner), pytest.raises(Conflict, match="are lost"):
        finish_upload(actor=acme.owner, upload=row.pk)


# --- a full disk -----------------------------------------------------------------------------------


def test_a_full_disk_keeps_what_fitted_and_goes_on_when_there_is_room(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = picture(200_000)
    row = begin(acme, len(content))
    room = 100_000
    write = os.pwrite

    def pwrite(descriptor: int, data: Any, at: int) -> int:
        if at >= room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, bytes(data)[: room - at], at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(StorageFull, match="no room left"):
        put(acme, row, content)
    refresh(acme, row)
    assert row.received == [[0, 100_000]]
    with pytest.raises(StorageFull):
        put(acme, row, content[room:], room)
    monkeypatch.undo()
    assert put(acme, row, content[room:], room).md5 == md5(content)


def test_a_storage_without_room_leaves_the_upload_to_be_tried_again(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)

    def adopt(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(media_storage(), "adopt", adopt)
        with pytest.raises(StorageFull):
            create(acme, row)
    assert [*new_assets(acme), *stored()] == []
    assert used(acme) == WORLD_BYTES + len(PNG)
    assert create(acme, row).md5 == md5(PNG)


def test_other_failures_of_a_disk_are_failures(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = begin(acme, len(PNG))

    def pwrite(*_: Any) -> int:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="broken"):
        put(acme, row, PNG)


# --- what was rolled back, forgotten or crashed ------------------------------------------------------


def test_an_attempt_that_was_rolled_back_is_taken_back_by_the_next(
    acme: Inhabited, commits: Callable[[], Any]
) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)
    with pytest.raises(ZeroDivisionError), acting_as(acme.owner):
        create(acme, row)
        raise ZeroDivisionError
    assert new_assets(acme) == []
    [lost] = stored()
    with commits():
        asset = create(acme, row)
    [kept] = stored()
    assert kept != lost
    assert kept.match(asset.media_path)
    assert files() == []


@pytest.mark.parametrize("ending", ["abandoned", "expired"])
def test_an_attempt_that_was_rolled_back_goes_with_the_upload(
    acme: Inhabited, commits: Callable[[], Any], ending: str
) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)
    with pytest.raises(ZeroDivisionError), acting_as(acme.owner):
        create(acme, row)
        raise ZeroDivisionError
    assert len(stored()) == 1
    if ending == "abandoned":
        with commits(), acting_as(acme.owner):
            abandon_upload(actor=acme.owner, upload=row.pk)
    else:
        expire(acme, row)
        assert expire_uploads(actor=acme.owner) == 1
    assert [*stored(), *files(), *open_uploads(acme)] == []
    assert used(acme) == WORLD_BYTES


def test_a_failing_insert_takes_the_stored_file_back(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(max_assets=3)
    row = put(acme, begin(acme, len(PNG)), PNG)
    with pytest.raises(QuotaExceeded, match="3 assets"):
        create(acme, row)
    assert [*stored(), *new_assets(acme), *jobs(acme)] == []
    assert [one.pk for one in open_uploads(acme)] == [row.pk]
    assert used(acme) == WORLD_BYTES + len(PNG)


def expire(place: Inhabited, row: Upload) -> None:
    with acting_as(place.owner):
        Upload.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def age(path: Path) -> None:
    """Make a file older than any request."""
    os.utime(path, (1, 1))


def test_uploads_expire_unless_somebody_is_sending(acme: Inhabited, globex: Inhabited) -> None:
    late, used_now, young = (begin(acme, 100) for _ in range(3))
    foreign = put(globex, begin(globex, 100), picture(10))
    expire(globex, foreign)
    for row in (late, used_now):
        put(acme, row, picture(10))
        expire(acme, row)
    with staging.sole_writer(acme.tenant.pk, used_now.pk):
        assert expire_uploads(actor=acme.owner) == 1
    assert [one.pk for one in open_uploads(acme)] == [used_now.pk, young.pk]
    assert {path.stem for path in files()} == {str(used_now.pk), str(foreign.pk)}
    assert used(acme) == WORLD_BYTES + 200
    assert expire_uploads(actor=acme.owner) == 1
    assert expire_uploads(actor=acme.owner) == 0


def test_files_without_an_upload_are_found_and_removed(acme: Inhabited, tmp_path: Path) -> None:
    kept = put(acme, begin(acme, 100), picture(10))
    strange = uuid4()
    root = tmp_path / "uploads"
    orphans = [
        root / str(acme.tenant.pk) / f"{uuid4()}.part",
        root / str(strange) / f"{uuid4()}.part",
    ]
    others = [root / "work" / "x", root / str(acme.tenant.pk) / "name.part"]
    for path in (*orphans, *others):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        age(path)
    age(staging.part_path(acme.tenant.pk, kept.pk))
    young = root / str(acme.tenant.pk) / f"{uuid4()}.part"
    young.write_bytes(b"x")
    assert {one.path for one in staged_orphans()} == set(orphans)
    assert [one.path for one in staged_orphans(tenant_id=strange)] == orphans[1:]
    assert expire_uploads(actor=acme.owner) == 0
    assert not orphans[0].exists()
    for orphan in staged_orphans():
        remove_orphan(orphan)
    assert set(files()) == {young, *others, staging.part_path(acme.tenant.pk, kept.pk)}


def test_a_crash_between_commit_and_cleaning_keeps_the_assets_file(acme: Inhabited) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)
    # (What is to be done on commit is never done in this test.)
    asset = create(acme, row)
    assert len(files()) == 2
    for path in files():
        age(path)
    expire_uploads(actor=acme.owner)
    assert files() == []
    [kept] = stored()
    assert kept.match(asset.media_path)


def test_a_crash_after_the_upload_was_forgotten_leaves_nothing(acme: Inhabited) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)
    with pytest.raises(ZeroDivisionError), acting_as(acme.owner):
        create(acme, row)
        raise ZeroDivisionError
    with acting_as(acme.owner):
        abandon_upload(actor=acme.owner, upload=row.pk)
    assert (len(files()), len(stored())) == (2, 1)
    for path in files():
        age(path)
    expire_uploads(actor=acme.owner)
    assert [*files(), *stored()] == []


# --- the storages ---------------------------------------------------------------------------------


def test_the_folder_gets_the_file_without_a_copy(acme: Inhabited) -> None:
    row = put(acme, begin(acme, len(PNG)), PNG)
    create(acme, row)
    assert files()[1].samefile(stored()[0])


def test_a_folder_on_another_file_system_gets_a_copy(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path as AnyPath

    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    row = put(acme, begin(acme, len(PNG)), PNG)
    monkeypatch.setattr(AnyPath, "hardlink_to", refuse)
    create(acme, row)
    [path] = stored()
    assert path.read_bytes() == PNG
    assert not any(path.samefile(one) for one in files())


def test_a_bucket_gets_the_file(acme: Inhabited, bucket: str, commits: Callable[[], Any]) -> None:
    del bucket
    row = put(acme, begin(acme, len(PNG)), PNG)
    with commits():
        asset = create(acme, row)
    assert files() == []
    file = media_storage().read(asset.media_path)
    assert (file.size, file.head) == (len(PNG), PNG[:4096])
    delete_media([asset.media_path])
