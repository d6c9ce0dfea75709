"""Understanding an asset's file: what it is, how long, a small picture, a form players can show.

Called by the worker (assets.tasks) and by whatever finds that an asset's file cannot be had. The
file is looked into by assets.media, outside of every transaction; the row is written in a short
door, and only when it still names the file that was understood. Whatever is stored on the way has
a name that follows from the file, so that doing it twice leaves what doing it once does.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from assets.media import MediaRefused, understand
from assets.media_urls import Variant, media_url_path
from assets.models import Asset, ProcessingStatus
from assets.storage import (
    delete_media,
    media_key,
    media_keys,
    media_storage,
    store_file,
    tenant_prefix,
    thumbnail_key,
)
from assets.workspaces import workspace
from rls import acting_as
from tenancy.errors import QuotaExceeded
from tenancy.events import Event, publish
from tenancy.jobs import WorkerLost
from tenancy.limits import within_quota

if TYPE_CHECKING:
    from uuid import UUID

    from assets.media import Understanding
    from tenancy.actors import Actor

MISSING = "The file is missing from the storage. Upload it again."
KILLS = (
    "The file could not be processed: each time, whatever opened it was ended. Convert it to "
    "another format and upload it again."
)
AWAY = (
    "The file could not be processed because of a fault of this server, not of the file. Upload it "
    "again later; if that fails too, tell the server's operator, who finds the reason in its log."
)


@dataclass(frozen=True, slots=True)
class Work:
    """A file to understand, as its row named it when work on it began.

    With `thumbnail_only` the asset is complete as it is (Anthias had processed it): it gets a small
    picture if it can have one, and nothing else of it is touched.
    """

    tenant_id: UUID
    asset: UUID
    media_path: str
    thumbnail_only: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """What of the understanding the storage has: key, MD5 and bytes of a converted file."""

    has_thumbnail: bool
    key: str = ""
    md5: str = ""
    size: int = 0


def understand_media(*, actor: Actor, asset: UUID) -> None:
    """Understand the file of an asset and write down what it is, or why it cannot be used.

    Does nothing for an asset that is gone, has no file or is understood already. Raises OSError
    when the storage is away: then it is to be tried again.
    """
    work = _begin(actor, asset)
    if work is None:
        return
    with workspace() as folder:
        made = folder / "made"
        made.mkdir()
        try:
            found = understand(_local(work.media_path, folder), workspace=made)
        except FileNotFoundError:
            fail(actor, work, MISSING)
            return
        except MediaRefused as refused:
            fail(actor, work, refused.reason)
            return
        stored = _store(work, found)
    try:
        named = _finish(actor, work, found, stored)
    except QuotaExceeded as error:
        named = fail(actor, work, error.message)
    delete_media(key for key in _keys(work, stored) if key not in named)


def give_up(*, actor: Actor, asset: UUID, error: Exception) -> None:
    """Write down that an asset's file could not be processed, after the last attempt."""
    with acting_as(actor):
        row = _locked(asset)
        if row is not None and row.media_path and not _is_complete(row):
            mark_failed(actor, row, KILLS if isinstance(error, WorkerLost) else AWAY)


def fail(actor: Actor, work: Work, reason: str) -> list[str]:
    """Write down why the file of `work` cannot be used, if the asset still has that file.

    Return the keys of the files that the row names.
    """
    with acting_as(actor):
        row = _locked(work.asset)
        if row is None:
            return []
        if row.media_path == work.media_path and not work.thumbnail_only:
            mark_failed(actor, row, reason)
        return _named(row)


def mark_failed(actor: Actor, row: Asset, reason: str) -> None:
    """Save a locked row as failed, with the reason where Anthias keeps it."""
    row.processing_status = ProcessingStatus.FAILED
    row.is_processing = False
    row.metadata = _without_progress(row.metadata) | {"error_message": reason}
    row.updated_at = timezone.now()
    row.save(update_fields=["processing_status", "is_processing", "metadata", "updated_at"])
    publish(Event.ASSETS_CHANGED, [row.pk], actor=actor)


def _begin(actor: Actor, asset: UUID) -> Work | None:
    """Mark the asset as being processed; None when there is nothing to do, tidied up then."""
    with acting_as(actor):
        row = _locked(asset)
        if row is None:
            left = [one.key for one in media_storage().walk(_folder(actor, asset))]
        elif not row.media_path:
            return None
        elif _is_complete(row) and row.thumbnail_url:
            # Done by a worker that was killed before it could say so, or remove the original.
            left = [key for key in [_original_of(row.media_path)] if key]
        else:
            work = Work(row.tenant_id, row.pk, row.media_path, thumbnail_only=_is_complete(row))
            if row.processing_status in {ProcessingStatus.PENDING, ProcessingStatus.FAILED}:
                # What an old client made keeps saying what it said until it is done.
                row.is_processing |= row.processing_status == ProcessingStatus.FAILED
                row.processing_status = ProcessingStatus.PROCESSING
                row.updated_at = timezone.now()
                row.save(update_fields=["processing_status", "is_processing", "updated_at"])
                publish(Event.ASSETS_CHANGED, [row.pk], actor=actor)
            return work
    delete_media(left)
    return None


def _local(key: str, folder: Path) -> Path:
    """Return the stored file as one of this machine; raises FileNotFoundError, OSError."""
    try:
        path = Path(default_storage.path(key))
    except NotImplementedError:
        path = folder / "original"
        stored = media_storage().read(key)
        with path.open("wb") as file, closing(stored.body(0, stored.size)) as body:
            for chunk in body:
                file.write(chunk)
    return path


def _store(work: Work, found: Understanding) -> Stored:
    """Store what was made of the file, under names that are the same each time."""
    if found.thumbnail is not None:
        store_file(thumbnail_key(work.tenant_id, work.asset), found.thumbnail, replace=True)
    has_thumbnail = found.thumbnail is not None
    if found.converted is None or work.thumbnail_only:
        return Stored(has_thumbnail)
    with found.converted.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        size = file.tell()
    name = f"{PurePosixPath(work.media_path).name}.{md5[:8]}.webp"
    key = media_key(work.tenant_id, work.asset, name)
    return Stored(has_thumbnail, store_file(key, found.converted, replace=True), md5, size)


def _original_of(key: str) -> str:
    """Return the key of the file that was converted into the one at `key`; empty for others."""
    name, dot, digest = key.removesuffix(".webp").rpartition(".")
    is_converted = key.endswith(".webp") and dot and len(digest) == 8
    return name if is_converted and not name.endswith("/") else ""


def _keys(work: Work, stored: Stored) -> list[str]:
    """Return the keys that this work may leave behind without a row to name them."""
    thumbnail = thumbnail_key(work.tenant_id, work.asset) if stored.has_thumbnail else ""
    return [key for key in (stored.key, thumbnail) if key]


def _finish(actor: Actor, work: Work, found: Understanding, stored: Stored) -> list[str]:
    """Write down what was found, if the asset still has that file.

    Return which of the stored files the row names. Raises QuotaExceeded, with nothing written.
    """
    with acting_as(actor):
        row = _locked(work.asset)
        if row is None:
            return []
        if row.media_path != work.media_path:
            # Its new file is understood after this, and makes a picture of its own.
            return _named(row)
        changes: dict[str, Any] = {}
        if stored.has_thumbnail:
            path = media_url_path(row.tenant_id, row.pk, Variant.THUMBNAIL)
            changes["thumbnail_url"] = path
        if not work.thumbnail_only:
            changes |= _understood(row, found, stored)
        for name, value in changes.items():
            setattr(row, name, value)
        if changes:
            with within_quota():
                row.save(update_fields=list(changes))
            publish(Event.ASSETS_CHANGED, [row.pk], actor=actor)
        if stored.key:
            transaction.on_commit(lambda: delete_media([work.media_path]))
        return _named(row)


def _understood(row: Asset, found: Understanding, stored: Stored) -> dict[str, Any]:
    """Return what the row becomes (SPEC section 3): an explicit duration of a video is kept."""
    changes: dict[str, Any] = {
        "mimetype": found.media_type.kind,
        "metadata": _without_progress(row.metadata) | found.metadata,
        "processing_status": ProcessingStatus.COMPLETED,
        "is_processing": False,
        "updated_at": timezone.now(),
    }
    if found.media_type.kind == "video" and not row.duration and found.duration_s is not None:
        changes["duration"] = found.duration_s
    if stored.key:
        changes |= {"media_path": stored.key, "md5": stored.md5, "file_size": stored.size}
        if row.uri and row.uri.startswith("/"):
            changes["uri"] = str(PurePosixPath(row.uri).with_suffix(".webp"))
    return changes


def _named(row: Asset) -> list[str]:
    return list(media_keys(row.tenant_id, row.pk, row.media_path, row.thumbnail_url))


def _locked(asset: UUID) -> Asset | None:
    return Asset.objects.select_for_update().filter(pk=asset).first()


def _is_complete(row: Asset) -> bool:
    return row.processing_status == ProcessingStatus.COMPLETED


def _without_progress(metadata: dict[str, Any]) -> dict[str, Any]:
    gone = {"error_message", "processing_started_at"}
    return {name: value for name, value in metadata.items() if name not in gone}


def _folder(actor: Actor, asset: UUID) -> str:
    return f"{tenant_prefix(actor.entered())}{asset}/"
