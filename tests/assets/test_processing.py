"""Understanding an asset's file: what the row becomes, and that nothing is left over, however often."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.forms.models import model_to_dict
from PIL import Image

from assets import processing
from assets.media import understand
from assets.models import Asset, ProcessingStatus
from assets.processing import AWAY, KILLS, MISSING, give_up, understand_media
from assets.storage import media_key, media_storage, thumbnail_key
from rls import acting_as
from tenancy.actors import worker
from tenancy.jobs import WorkerLost
from tenancy.models import Tenant

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

    from tenancy.actors import Actor
    from tests.world import Inhabited

SAMPLES = Path(django_settings.BASE_DIR) / "assets/samples/anthias-current/anthias_assets"
CLIP = SAMPLES / "067f652f7d3cf3e0c8906078f1aa2233.mp4"


def picture(kind: str = "PNG", size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(file, kind)
    return file.getvalue()


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, settings: Settings) -> Path:
    settings.UPLOAD_DIR = tmp_path / "uploads"
    return tmp_path / "uploads" / "work"


@pytest.fixture
def actor(acme: Inhabited) -> Actor:
    return worker(acme.tenant.pk)


@pytest.fixture
def run(
    actor: Actor, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> Callable[[Asset], Asset]:
    """Do the job, with what happens on commit, and return the row as it is then."""

    def do(row: Asset) -> Asset:
        with django_capture_on_commit_callbacks(execute=True):
            understand_media(actor=actor, asset=row.pk)
        return read(actor, row)

    return do


def read(actor: Actor, row: Asset) -> Asset:
    with acting_as(actor):
        return Asset.objects.get(pk=row.pk)


def uploaded(actor: Actor, content: bytes, name: str, **values: Any) -> Asset:
    """Make an asset as an upload leaves it behind."""
    row = Asset(
        tenant_id=actor.entered(),
        asset_id="a1b2",
        name=name,
        uri=f"/data/anthias_assets/{name}",
        mimetype="image",
        duration=10,
        file_size=len(content),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        processing_status=ProcessingStatus.PENDING,
        is_processing=True,
    )
    for field, value in values.items():
        setattr(row, field, value)
    row.media_path = default_storage.save(
        media_key(row.tenant_id, row.pk, name), ContentFile(content)
    )
    with acting_as(actor):
        row.save(force_insert=True)
    return row


def files(row: Asset) -> set[str]:
    """Return the keys of everything that is stored for an asset."""
    return {one.key for one in media_storage().walk(f"t/{row.tenant_id}/{row.pk}/")}


@pytest.mark.usefixtures("folder")
def test_a_picture_gets_a_thumbnail_and_stays_as_it_is(
    actor: Actor, run: Callable[[Asset], Asset], work_folder: Path
) -> None:
    row = uploaded(actor, picture(), "lobby.png", metadata={"headers": {"X": "1"}})
    after = run(row)
    assert (after.processing_status, after.is_processing) == ("completed", False)
    assert after.thumbnail_url == f"/media/{row.tenant_id}/{row.pk}/thumbnail"
    assert after.metadata == {"headers": {"X": "1"}, "original_ext": ".png", "transcoded": False}
    kept = ("media_path", "md5", "file_size", "uri", "duration", "mimetype", "updated_by_id")
    assert [getattr(after, name) for name in kept] == [getattr(row, name) for name in kept]
    assert files(row) == {row.media_path, thumbnail_key(row.tenant_id, row.pk)}
    with default_storage.open(thumbnail_key(row.tenant_id, row.pk)) as file:
        assert Image.open(file).size == (64, 48)
    assert list(work_folder.iterdir()) == []


@pytest.mark.parametrize("storage", ["folder", "bucket"])
def test_what_players_cannot_show_is_converted_and_replaces_the_original(
    storage: str, request: pytest.FixtureRequest, actor: Actor, run: Callable[[Asset], Asset]
) -> None:
    request.getfixturevalue(storage)
    row = uploaded(actor, picture("BMP"), "lobby.bmp", mimetype="webpage")
    after = run(row)
    assert (after.processing_status, after.mimetype) == ("completed", "image")
    assert after.metadata == {"original_ext": ".bmp", "transcoded": True}
    assert after.uri == "/data/anthias_assets/lobby.webp"
    assert files(row) == {after.media_path, thumbnail_key(row.tenant_id, row.pk)}
    with default_storage.open(after.media_path) as file:
        content = file.read()
    assert Image.open(io.BytesIO(content)).format == "WEBP"
    assert after.file_size == len(content)
    assert after.md5 == hashlib.md5(content, usedforsecurity=False).hexdigest()
    # Delivered once more: it is not converted from the conversion.
    assert model_to_dict(run(row)) == model_to_dict(after)
    assert files(row) == {after.media_path, thumbnail_key(row.tenant_id, row.pk)}


@pytest.mark.usefixtures("folder")
def test_a_worker_killed_before_its_commit_leaves_nothing_when_it_is_done_again(
    actor: Actor, run: Callable[[Asset], Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = uploaded(actor, picture("BMP"), "lobby.bmp")
    with monkeypatch.context() as patch:
        patch.setattr(processing, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run(row)
    assert len(files(row)) == 3
    assert read(actor, row).processing_status == "processing"
    after = run(row)
    assert after.processing_status == "completed"
    assert files(row) == {after.media_path, thumbnail_key(row.tenant_id, row.pk)}


@pytest.mark.usefixtures("folder")
def test_a_worker_killed_after_its_commit_leaves_nothing_when_it_is_done_again(
    actor: Actor, run: Callable[[Asset], Asset]
) -> None:
    row = uploaded(actor, picture("BMP"), "lobby.bmp")
    understand_media(actor=actor, asset=row.pk)  # what follows the commit does not come
    after = read(actor, row)
    assert files(row) > {row.media_path, after.media_path}
    run(row)
    assert files(row) == {after.media_path, thumbnail_key(row.tenant_id, row.pk)}


def killed(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><script>alert(1)</script>", "This looks like a web page"),
        (picture()[:60], "The file ends too early"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    actor: Actor, run: Callable[[Asset], Asset], content: bytes, reason: str
) -> None:
    row = uploaded(actor, content, "lobby.png", metadata={"processing_started_at": "x"})
    after = run(row)
    assert (after.processing_status, after.is_processing) == ("failed", False)
    assert after.metadata["error_message"].startswith(reason)
    assert set(after.metadata) == {"error_message"}
    assert (after.thumbnail_url, after.media_path) == ("", row.media_path)
    assert files(row) == {row.media_path}


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_gone_is_to_be_uploaded_again(
    actor: Actor, run: Callable[[Asset], Asset]
) -> None:
    row = uploaded(actor, picture(), "lobby.png")
    default_storage.delete(row.media_path)
    assert run(row).metadata == {"error_message": MISSING}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("error", "reason"), [(OSError("away"), AWAY), (WorkerLost("killed"), KILLS)]
)
def test_a_storage_that_is_away_is_tried_again_and_given_up_with_a_reason(
    actor: Actor,
    run: Callable[[Asset], Asset],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    row = uploaded(actor, picture(), "lobby.png")

    def away(*_: Any, **__: Any) -> str:
        raise OSError("away")

    monkeypatch.setattr(processing, "store_file", away)
    with pytest.raises(OSError, match="away"):
        run(row)
    during = read(actor, row)
    assert (during.processing_status, during.is_processing) == ("processing", True)
    give_up(actor=actor, asset=row.pk, error=error)
    after = read(actor, row)
    assert (after.processing_status, after.is_processing) == ("failed", False)
    assert after.metadata == {"error_message": reason}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("given", "known"), [(0, 3), (None, 3), (7, 7)])
def test_a_video_without_a_duration_gets_its_own(
    actor: Actor, run: Callable[[Asset], Asset], given: int | None, known: int
) -> None:
    row = uploaded(actor, CLIP.read_bytes(), "clip.mp4", mimetype="video", duration=given)
    after = run(row)
    assert (after.duration, after.processing_status) == (known, "completed")
    assert (after.metadata["width"], after.metadata["height"]) == (64, 48)


@pytest.mark.usefixtures("folder")
def test_a_conversion_that_the_plan_has_no_room_for_is_refused_and_removed(
    actor: Actor, run: Callable[[Asset], Asset]
) -> None:
    row = uploaded(actor, picture("BMP"), "lobby.bmp", file_size=1)
    with acting_as(actor):
        Tenant.objects.filter(pk=row.tenant_id).update(storage_quota_gb=0)
    after = run(row)
    assert after.processing_status == "failed"
    assert "bytes of storage left" in after.metadata["error_message"]
    assert (after.media_path, after.file_size, after.uri) == (row.media_path, 1, row.uri)
    assert after.thumbnail_url == ""
    assert files(row) == {row.media_path}


@pytest.mark.usefixtures("folder")
def test_what_was_replaced_meanwhile_is_not_written_over(
    actor: Actor, run: Callable[[Asset], Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = uploaded(actor, picture("BMP"), "lobby.bmp")
    other = default_storage.save(
        media_key(row.tenant_id, row.pk, "other.png"), ContentFile(picture())
    )

    def slow(*args: Any, **options: Any) -> Any:
        with acting_as(actor):
            Asset.objects.filter(pk=row.pk).update(media_path=other, processing_status="pending")
        return understand(*args, **options)

    monkeypatch.setattr(processing, "understand", slow)
    after = run(row)
    assert (after.media_path, after.processing_status, after.thumbnail_url) == (
        other,
        "pending",
        "",
    )
    assert files(row) == {row.media_path, other}


@pytest.mark.usefixtures("folder")
def test_of_what_was_deleted_meanwhile_nothing_is_left(
    actor: Actor, run: Callable[[Asset], Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = uploaded(actor, picture("BMP"), "lobby.bmp")

    def slow(*args: Any, **options: Any) -> Any:
        found = understand(*args, **options)
        with acting_as(actor):
            Asset.objects.filter(pk=row.pk).delete()
        default_storage.delete(row.media_path)
        return found

    monkeypatch.setattr(processing, "understand", slow)
    with pytest.raises(Asset.DoesNotExist):
        run(row)
    assert files(row) == set()
    # What a worker that was killed had stored by then goes when the job comes again.
    default_storage.save(thumbnail_key(row.tenant_id, row.pk), ContentFile(b"x"))
    with pytest.raises(Asset.DoesNotExist):
        run(row)
    assert files(row) == set()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("content", [picture(), picture("BMP"), b"no picture"])
def test_what_anthias_had_processed_gets_a_thumbnail_and_nothing_else(
    actor: Actor, run: Callable[[Asset], Asset], content: bytes
) -> None:
    row = uploaded(
        actor, content, "old", processing_status="completed", is_processing=False, duration=0
    )
    before = model_to_dict(read(actor, row))
    after = run(row)
    has_thumbnail = content != b"no picture"
    assert bool(after.thumbnail_url) is has_thumbnail
    assert {**model_to_dict(after), "thumbnail_url": ""} == before
    assert after.updated_at == row.updated_at
    assert len(files(row)) == 1 + has_thumbnail


@pytest.mark.usefixtures("folder")
def test_another_tenants_asset_is_not_there(
    actor: Actor, run: Callable[[Asset], Asset], globex: Inhabited
) -> None:
    row = uploaded(worker(globex.tenant.pk), picture(), "theirs.png")
    understand_media(actor=actor, asset=row.pk)
    understand_media(actor=actor, asset=UUID(int=1))
    assert read(worker(globex.tenant.pk), row).processing_status == "pending"
    assert files(row) == {row.media_path}
    del run
