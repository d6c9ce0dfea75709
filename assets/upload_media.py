"""What becomes of a finished upload: the file of a new asset, or the new file of an old one.

The file is in the storage before the row that names it commits, and until then in the staging
folder too: whoever rolls back can try again. What an attempt that did not commit has stored is
removed by the next one, by whoever abandons the upload, or by assets.upload_upkeep.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from assets import staging
from assets.auditing import AUDITED, record_asset
from assets.library import LOCAL_FOLDER, fill_in, note_progress
from assets.models import Asset, ProcessingStatus, Upload, new_asset_id
from assets.sniffing import HEAD_BYTES, MediaType, refusal, sniff
from assets.staging import NotMedia
from assets.storage import adopt_file, delete_media, media_key, media_keys
from assets.tasks import queue_understanding, queue_understanding_later
from assets.uploads import forget, media_type_of
from tenancy.audit import taken
from tenancy.errors import Conflict, NotFound
from tenancy.events import Event, publish
from tenancy.limits import within_quota
from tenancy.models import TenantSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from tenancy.actors import Actor

# What the old API takes without looking: the worker does, and says of such a file that it failed.
_UNKNOWN = MediaType("video", "application/octet-stream", ".bin")


# What the audit log says of a file.
_FILE = ("md5", "file_size")


@dataclass(frozen=True, slots=True)
class Presented:
    """How an old client presents a file: what it takes it for, and under which name it is known.

    Without a `stem` that is the asset's legacy id. `is_processing` shows it as not ready yet, as
    Anthias does with videos and what it converts; the file is understood in any case.
    """

    mimetype: str
    is_processing: bool
    extension: str = ""
    stem: str = ""


@transaction.atomic
def create_asset_from_upload(
    *, actor: Actor, upload: UUID, values: Mapping[str, Any], presented: Presented | None = None
) -> Asset:
    """Return a new asset whose file is a finished upload, which is gone then.

    `values` are what `library.create_asset` takes, without uri and mimetype; the name is the
    file's where none is given, the duration of a video is found out later. Raises PermissionDenied
    without assets.create, NotFound, Conflict for an upload that is not finished, Invalid,
    QuotaExceeded, StorageFull.
    """
    tenant_id = actor.require("assets.create")
    row = _finished(actor, upload)
    media_type = _type_of(row) if presented is None else media_type_of(row) or _UNKNOWN
    asset = Asset(
        tenant_id=tenant_id,
        asset_id=new_asset_id(),
        created_by_id=actor.user_id,
        updated_by_id=actor.user_id,
    )
    asset.updated_at = asset.created_at
    fill_in(asset, {"name": row.file_name, **values})
    _take_over(asset, row, media_type)
    if presented is not None:
        _present(asset, presented)
    if "duration" not in values:
        asset.duration = _duration(actor, media_type)
    with _stored(asset, row), within_quota():
        forget(actor, row.pk)
        asset.save(force_insert=True)
    if presented is None:
        queue_understanding(actor=actor, assets=[asset.pk])
    else:
        queue_understanding_later(actor=actor, asset=asset.pk)
    publish(Event.ASSETS_CREATED, [asset.pk], actor=actor)
    record_asset(actor, "asset.created", asset, after=taken(asset, (*AUDITED, *_FILE)))
    return asset


def _present(asset: Asset, presented: Presented) -> None:
    asset.uri = f"{LOCAL_FOLDER}/{presented.stem or asset.asset_id}{presented.extension}"
    asset.mimetype, asset.is_processing = presented.mimetype, presented.is_processing
    if presented.is_processing:
        note_progress(asset)


@transaction.atomic
def replace_media(*, actor: Actor, asset: UUID, upload: UUID) -> Asset:
    """Give an asset the file of a finished upload, which is gone then; return the asset.

    The old file and its thumbnail are removed after the commit. Raises PermissionDenied without
    assets.edit and assets.create, NotFound, Conflict for an upload that is not finished,
    QuotaExceeded, StorageFull.
    """
    actor.require("assets.edit")
    row = Asset.objects.select_for_update().filter(pk=asset).first()
    if row is None:
        raise NotFound("There is no asset with this id.", field=("id",))
    source = _finished(actor, upload)
    media_type = _type_of(source)
    old = media_keys(row.tenant_id, row.pk, row.media_path, row.thumbnail_url)
    before = taken(row, ("uri", "mimetype", "duration", *_FILE))
    _take_over(row, source, media_type)
    row.metadata = {name: value for name, value in row.metadata.items() if name != "error_message"}
    if media_type.kind == "video" or not row.duration:
        # That of another film says nothing about this one.
        row.duration = _duration(actor, media_type)
    row.updated_by_id, row.updated_at = actor.user_id, timezone.now()
    with _stored(row, source), within_quota():
        forget(actor, source.pk)
        row.save()
    # The thumbnail first: the worker is about to make another one under the same key.
    transaction.on_commit(lambda: delete_media(reversed(old)))
    queue_understanding(actor=actor, assets=[row.pk])
    publish(Event.ASSETS_CHANGED, [row.pk], actor=actor)
    record_asset(actor, "asset.file_replaced", row, before=before, after=taken(row, before))
    return row


def _finished(actor: Actor, upload: UUID) -> Upload:
    """Lock an upload that nobody writes to any more; raises NotFound, Conflict."""
    tenant_id = actor.require("assets.create")
    row = Upload.objects.select_for_update().filter(tenant_id=tenant_id, pk=upload).first()
    if row is None:
        raise NotFound("There is no upload with this id.", field=("upload",))
    if row.finished_at is None:
        raise Conflict("This upload is not finished yet.", field=("upload",))
    return row


def _type_of(row: Upload) -> MediaType:
    """Return what a whole file is; raises NotMedia, which only what old clients sent can be."""
    media_type = media_type_of(row)
    if media_type is None:
        with staging.part_path(row.tenant_id, row.pk).open("rb") as file:
            head = file.read(HEAD_BYTES)
        media_type = sniff(head)
        if media_type is None:
            raise NotMedia(refusal(head) if head else "The file is empty.", field=("upload",))
    return media_type


def _duration(actor: Actor, media_type: MediaType) -> int:
    """Return how long something is shown unless it is said: 0 for a video, as long as it runs."""
    if media_type.kind == "video":
        return 0
    return TenantSettings.objects.values_list("default_asset_duration", flat=True).get(
        tenant_id=actor.entered()
    )


def _take_over(asset: Asset, row: Upload, media_type: MediaType) -> None:
    """Make an asset one whose file is the upload's and has not been understood yet."""
    asset.uri = f"{LOCAL_FOLDER}/{asset.asset_id}{media_type.extension}"
    asset.mimetype = media_type.kind
    asset.md5, asset.file_size = row.md5, row.size
    # Not the file's name: the upload's key, so that no two files ever have the same.
    asset.media_path = media_key(row.tenant_id, asset.pk, f"{row.pk.hex}{media_type.extension}")
    asset.thumbnail_url = ""
    asset.processing_status, asset.is_processing = ProcessingStatus.PENDING, True


@contextmanager
def _stored(asset: Asset, row: Upload) -> Iterator[None]:
    """Store the file of an upload as the asset's; take it back when the block fails."""
    tenant_id, upload_id, key = row.tenant_id, row.pk, asset.media_path
    stale = staging.noted_key(tenant_id, upload_id)
    if stale:
        # The upload is still there, so what took it before was rolled back.
        delete_media([stale])
    staging.note_key(tenant_id, upload_id, key)
    try:
        with staging.full_storage_refused():
            adopt_file(key, staging.part_path(tenant_id, upload_id))
        yield
    except BaseException:
        delete_media([key])
        raise
    transaction.on_commit(lambda: staging.remove(tenant_id, upload_id, is_stored=True))
