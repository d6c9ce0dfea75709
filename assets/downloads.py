"""Remote files that become a tenant's own: fetched by the worker, stored, then understood.

`library.start_download` marks an asset and queues the job. Everything is fetched by
assets.fetching, or through its proxy; outside of every transaction, into a folder that goes with
the job. The stored file's name follows from the asset, so that fetching it twice leaves one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from assets import processing
from assets.fetching import CannotFetch, UnsafeAddress, download
from assets.http_messages import CHUNK
from assets.models import Asset, ProcessingStatus
from assets.network import INTERNET
from assets.reachability import request_headers
from assets.storage import delete_media, media_key, store_file
from assets.tasks import queue_understanding
from assets.workspaces import workspace
from assets.youtube import NoYoutube, download_youtube, is_youtube
from rls import acting_as
from tenancy.errors import QuotaExceeded
from tenancy.events import Event, publish
from tenancy.jobs import WorkerLost
from tenancy.limits import storage_left, within_quota

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from assets.network import Network
    from tenancy.actors import Actor

MAX_BYTES = 4_000_000_000
TIMEOUT_S = 3600
LOST = "The download was interrupted again and again. Try again later, or upload the file."
FULL = "This tenant has no storage left. Delete some assets, or ask for a larger plan."


class _Final(Exception):
    """The download cannot succeed, however often it is tried; says why."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be fetched, and how."""

    tenant_id: UUID
    asset: UUID
    url: str
    key: str
    max_bytes: int
    verify_tls: bool
    headers: dict[str, str]


def download_remote(*, actor: Actor, asset: UUID, network: Network = INTERNET) -> None:
    """Fetch what `metadata.source_url` of an asset names, make it its file, queue what follows.

    Does nothing for an asset that is gone or does not wait for a file. Raises FetchFailed, OSError
    when it is worth trying again.
    """
    wanted = _begin(actor, asset)
    if wanted is None:
        return
    with workspace() as folder:
        try:
            path = _fetch(wanted, folder, network)
        except (UnsafeAddress, NoYoutube, _Final) as error:
            _fail(actor, wanted, str(error))
            return
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            size = file.tell()
        store_file(wanted.key, path, replace=True)
    try:
        is_named = _finish(actor, wanted, md5=md5, size=size)
    except QuotaExceeded as error:
        delete_media([wanted.key])
        _fail(actor, wanted, error.message)
    else:
        if not is_named:
            delete_media([wanted.key])


def give_up(*, actor: Actor, asset: UUID, error: Exception) -> None:
    """Write down that an asset could not be downloaded, after the last attempt."""
    reason = processing.AWAY
    if isinstance(error, CannotFetch):
        reason = error.reason
    elif isinstance(error, WorkerLost):
        reason = LOST
    with acting_as(actor):
        row = _waiting(asset)
        if row is not None:
            processing.mark_failed(actor, row, reason)


def _begin(actor: Actor, asset: UUID) -> _Wanted | None:
    with acting_as(actor):
        row = _waiting(asset)
        if row is None:
            return None
        if row.processing_status != ProcessingStatus.PROCESSING:
            row.processing_status = ProcessingStatus.PROCESSING
            row.save(update_fields=["processing_status"])
            publish(Event.ASSETS_CHANGED, [row.pk], actor=actor)
        left = storage_left(row.tenant_id)
        return _Wanted(
            tenant_id=row.tenant_id,
            asset=row.pk,
            url=row.metadata["source_url"],
            key=media_key(row.tenant_id, row.pk, PurePosixPath(row.uri or "").name),
            max_bytes=min(MAX_BYTES, left),
            verify_tls=not row.skip_ssl_verify,
            headers=request_headers(row.metadata),
        )


def _fetch(wanted: _Wanted, folder: Path, network: Network) -> Path:
    """Return the fetched file; raises FetchFailed, UnsafeAddress, NoYoutube, _Final."""
    if not wanted.max_bytes:
        raise _Final(FULL)
    if is_youtube(wanted.url):
        return download_youtube(
            wanted.url, folder, max_bytes=wanted.max_bytes, timeout=TIMEOUT_S, network=network
        )
    path = folder / "download"
    with path.open("wb") as file:
        try:
            download(
                wanted.url,
                file,
                max_bytes=wanted.max_bytes,
                timeout=TIMEOUT_S,
                verify_tls=wanted.verify_tls,
                headers=wanted.headers,
                network=network,
            )
        except CannotFetch as error:
            # Too large, and found out by fetching it: four more times would be no smaller.
            if file.tell() > wanted.max_bytes - CHUNK:
                raise _Final(error.reason) from error
            raise
    return path


def _finish(actor: Actor, wanted: _Wanted, *, md5: str, size: int) -> bool:
    """Give the asset its file; return whether it names it, which it may have done before."""
    with acting_as(actor):
        row = _waiting(wanted.asset)
        if row is None or row.metadata["source_url"] != wanted.url:
            return Asset.objects.filter(pk=wanted.asset, media_path=wanted.key).exists()
        changes: dict[str, Any] = {"media_path": wanted.key, "md5": md5, "file_size": size}
        changes["processing_status"] = ProcessingStatus.PENDING
        for name, value in changes.items():
            setattr(row, name, value)
        with within_quota():
            row.save(update_fields=list(changes))
        queue_understanding(actor=actor, assets=[row.pk])
        publish(Event.ASSETS_CHANGED, [row.pk], actor=actor)
        return True


def _fail(actor: Actor, wanted: _Wanted, reason: str) -> None:
    with acting_as(actor):
        row = _waiting(wanted.asset)
        if row is not None and row.metadata["source_url"] == wanted.url:
            processing.mark_failed(actor, row, reason)


def _waiting(asset: UUID) -> Asset | None:
    """Return the locked row of an asset that waits for its file."""
    row = Asset.objects.select_for_update().filter(pk=asset, media_path="").first()
    is_waiting = row is not None and row.is_processing and row.metadata.get("source_url")
    return row if is_waiting else None
