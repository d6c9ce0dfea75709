"""Uploads: a file begun, sent in pieces, finished, or given up (MISSION A3).

Every face calls these. The whole size is held against the tenant's storage from the beginning, by
the row. `receive` is called outside of every door and opens short ones: none is open while bytes
flow. What becomes of a finished upload is assets.upload_media's to decide.
"""

from __future__ import annotations

import hmac
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from assets import staging
from assets.byte_sets import cut, is_whole, merged, missing, resume_at
from assets.models import Upload, new_asset_id
from assets.sniffing import TYPES
from assets.staging import PIECE_BYTES, Incoming, NotMedia, TooMuch, sole_writer
from rls import acting_as
from tenancy.audit import record, taken
from tenancy.errors import Conflict, InvalidInput, NotFound, QuotaExceeded, StorageFull
from tenancy.events import Event, publish
from tenancy.limits import BYTES_PER_GB, within_quota
from tenancy.models import Tenant, TenantUsage, violated
from tenancy.tenants import clean_text

if TYPE_CHECKING:
    from uuid import UUID

    from assets.sniffing import MediaType
    from tenancy.actors import Actor

MAX_OPEN = 50
MAX_RANGES = 1000
MAX_FILE_NAME = 255
# After its last byte.
LIFETIME = timedelta(hours=24)

_HANDLE = re.compile(r"[0-9a-f]{32}\Z")


class Readable(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes at most; none at the end. Raises OSError when they stop coming."""


def clean_file_name(value: str) -> str:
    """Return what a client calls a file, without the folders it lay in; raises InvalidInput.

    A name for people: no path is ever made of it.
    """
    name = clean_text(value).replace("\\", "/").rpartition("/")[2].strip()
    if not name or len(name) > MAX_FILE_NAME:
        raise InvalidInput(
            f"A file name has 1 to {MAX_FILE_NAME} characters.", field=("file_name",)
        )
    return name


def largest_file(tenant: Tenant) -> int:
    """Return how many bytes a file of this tenant may have, by its tier."""
    return settings.MAX_UPLOAD_GB[tenant.subscription_tier] * BYTES_PER_GB


def require_room(*, actor: Actor, size: int) -> None:
    """Raise QuotaExceeded when a file of `size` bytes could not be begun now.

    Nothing is held for it: ask this before anything of a file is read.
    """
    tenant = _tenant(actor)
    _require_size(tenant, size)
    used = TenantUsage.objects.filter(tenant_id=tenant.pk).first()
    left = tenant.storage_quota_gb * BYTES_PER_GB - (used.bytes if used else 0)
    if size > left:
        raise QuotaExceeded(
            f"This tenant has {max(0, left)} bytes of storage left. Delete some assets, or ask for "
            "a larger plan.",
            field=("size",),
        )


@transaction.atomic
def begin_upload(
    *,
    actor: Actor,
    file_name: str,
    size: int,
    handle: str | None = None,
    lifetime: timedelta = LIFETIME,
) -> Upload:
    """Return a new upload of the actor's tenant, whose `size` bytes of storage it holds.

    `handle` is 32 hexadecimal digits that a client has chosen. Raises PermissionDenied without
    assets.create, InvalidInput, Conflict for a handle that is taken, QuotaExceeded for a file that
    is larger than the tier or the storage allows and for one upload too many at once.
    """
    tenant_id = actor.require("assets.create")
    name = clean_file_name(file_name)
    if size < 1:
        raise InvalidInput("The file is empty.", field=("size",))
    if handle is not None and not _HANDLE.match(handle):
        raise InvalidInput("A handle has 32 hexadecimal digits.", field=("handle",))
    _require_size(_tenant(actor), size)
    row = Upload(
        tenant_id=tenant_id,
        handle=handle or new_asset_id(),
        file_name=name,
        size=size,
        created_by_id=actor.user_id,
        expires_at=timezone.now() + lifetime,
    )
    row.updated_at = row.created_at
    try:
        with within_quota("size"):
            row.save(force_insert=True)
    except IntegrityError as error:
        if violated(error) != "uploads_tenant_handle":
            raise
        raise Conflict("There is an upload with this handle.", field=("handle",)) from error
    # Counted after the insert, which queues at the tenant's row of usage: no two pass together.
    if Upload.objects.filter(tenant_id=tenant_id, finished_at=None).count() > MAX_OPEN:
        raise QuotaExceeded(
            f"{MAX_OPEN} uploads of this tenant are under way already. Finish or abandon one."
        )
    publish(Event.UPLOADS_CHANGED, [row.pk], actor=actor)
    return row


def find_upload(*, actor: Actor, upload: UUID) -> Upload:
    """Return an upload; raises PermissionDenied without assets.create, NotFound."""
    return _found(actor, pk=upload)


def find_by_handle(*, actor: Actor, handle: str) -> Upload:
    """Return the upload that clients call `handle`; raises as `find_upload` does."""
    return _found(actor, handle=handle)


def receive(
    upload: UUID,
    *,
    actor: Actor,
    start: int,
    stream: Readable,
    length: int | None,
    total: int | None = None,
    in_order: bool = True,
    is_judged: bool = True,
) -> Upload:
    """Keep `length` bytes of `stream` from the offset `start` on; return the upload as it is then.

    Call it outside of every door. Without a `length` the stream's end is the end. `total` is what
    the client says that the whole file has.

    In order, `start` must be where the bytes so far end. Otherwise ranges come in any order and
    more than once (SPEC section 5), and the one that ends the file says how long it is. What is
    not `is_judged` may be anything until an asset is made of it.

    What arrives before a connection breaks, or the disk is full, stays. Raises PermissionDenied
    without assets.create; NotFound; Conflict for a finished upload, a wrong offset, or while
    somebody else is sending; InvalidInput for a wrong total or an early end; TooMuch; NotMedia,
    with the upload gone; StorageFull; QuotaExceeded for a file that is longer than it was.
    """
    wanted = _Wanted(start, None if length is None else start + length, total, in_order=in_order)
    with acting_as(actor):
        wanted.check(_found(actor, pk=upload))
    tenant_id = actor.entered()
    with sole_writer(tenant_id, upload) as descriptor:
        try:
            with acting_as(actor):
                row = _found(actor, pk=upload, locked=True)
                wanted.check(row)
                require_bytes(row, descriptor)
                wanted.apply(row)
        except NotFound:
            staging.remove(tenant_id, upload, is_stored=False)
            raise
        release_connection()
        incoming = Incoming(
            descriptor,
            start=start,
            limit=row.size if wanted.end is None else wanted.end,
            size=row.size,
            there=resume_at(row.received),
            media_type=media_type_of(row),
            is_judged=is_judged,
        )
        try:
            full = _pour(stream, length, incoming)
            received = merged(row.received, start, incoming.at)
            incoming.extend(resume_at(received))
        except NotMedia:
            with acting_as(actor):
                forget(actor, row.pk)
            staging.remove(tenant_id, upload, is_stored=False)
            raise
        row = _record(actor, row, received, incoming)
    if full is not None:
        raise full
    if wanted.end is not None and incoming.at < wanted.end:
        raise InvalidInput(
            f"The request ended after {incoming.at - start} of {length} bytes. Send the rest from "
            f"{incoming.at} on."
        )
    return row


@transaction.atomic
def finish_upload(
    *, actor: Actor, upload: UUID, md5: str | None = None, sha256: str | None = None
) -> Upload:
    """Return the upload, of which nothing can be changed any more.

    Raises PermissionDenied without assets.create; NotFound; Conflict, saying what is missing, and
    while somebody is sending; InvalidInput for a file with another checksum than given.
    """
    row = _found(actor, pk=upload, locked=True)
    if not is_whole(row.received, row.size):
        gaps = [f"{low} to {high - 1}" for low, high in missing(row.received, row.size)]
        more = f" and {len(gaps) - 3} more ranges" if len(gaps) > 3 else ""
        raise Conflict(
            f"Of {row.size} bytes these are missing: {', '.join(gaps[:3])}{more}. Send them first."
        )
    with sole_writer(row.tenant_id, row.pk) as descriptor:
        require_bytes(row, descriptor)
        known = {"md5": row.md5}
        if sha256 is not None:
            known["sha256"] = staging.digest(descriptor, "sha256")
        for name, expected in (("md5", md5), ("sha256", sha256)):
            if expected is not None and not _is_same(known[name], expected):
                raise InvalidInput(
                    f"What arrived has the {name.upper()} {known[name]}: it is not the file you "
                    "sent. Abandon this upload and send it again.",
                    field=(name,),
                )
    if row.finished_at is None:
        row.finished_at = row.updated_at = timezone.now()
        row.save(update_fields=["finished_at", "updated_at"])
        publish(Event.UPLOADS_CHANGED, [row.pk], actor=actor)
        record_upload(actor, "upload.finished", row)
    return row


@transaction.atomic
def abandon_upload(*, actor: Actor, upload: UUID) -> None:
    """Forget an upload and give back the storage it holds; its bytes go after the commit.

    Raises PermissionDenied without assets.create, NotFound.
    """
    row = _found(actor, pk=upload, locked=True)
    forget(actor, row.pk)
    record_upload(actor, "upload.abandoned", row)
    tenant_id, key = row.tenant_id, row.pk
    transaction.on_commit(lambda: staging.remove(tenant_id, key, is_stored=False))


def record_upload(actor: Actor, action: str, row: Upload) -> None:
    """Write down what `actor` did to an upload."""
    record(
        actor,
        action,
        subject="UploadSession",
        subject_id=row.pk,
        label=row.file_name,
        after=taken(row, ("size", "mimetype", "md5")),
    )


def require_bytes(row: Upload, descriptor: int) -> None:
    """Raise Conflict when the folder has lost what the row says has arrived."""
    if row.received and row.received[-1][1] > staging.size_of(descriptor):
        raise Conflict("The bytes of this upload are lost. Abandon it and begin another one.")


def media_type_of(row: Upload) -> MediaType | None:
    """Return what the file of an upload is; None while its beginning is not there."""
    return next((one for one in TYPES if one.mimetype == row.mimetype), None)


def release_connection() -> None:
    """Give the connection back while bytes flow: others may need it."""
    if not connection.in_atomic_block:
        connection.close()


class _Wanted:
    """What a client says that it is about to send."""

    def __init__(self, start: int, end: int | None, total: int | None, *, in_order: bool) -> None:
        self.start = start
        self.end = end
        self.total = total
        self.in_order = in_order

    def check(self, row: Upload) -> None:
        """Raise what is wrong with it for an upload as it is."""
        if row.finished_at is not None:
            raise Conflict("This upload is finished: nothing can be added to it.")
        ends_it = not self.in_order and self.end is not None and self.end == self.total
        size = self.total if ends_it and self.total is not None else row.size
        if self.total not in {None, size}:
            raise InvalidInput(
                f"This upload was begun with {row.size} bytes, not {self.total}. Begin another one."
            )
        if self.start > size or (self.end is not None and self.end > size):
            raise TooMuch(f"This upload has {size} bytes; nothing lies beyond them.")
        there = resume_at(row.received)
        if self.in_order and self.start != there:
            raise Conflict(f"{there} bytes are here. Go on from offset {there}.")
        if self.end is not None:
            after = merged(row.received, self.start, self.end)
            if len(after) > MAX_RANGES:
                raise Conflict(
                    f"This upload is in {MAX_RANGES} pieces. Fill the gaps between them first; "
                    f"the first one begins at {there}."
                )

    def apply(self, row: Upload) -> None:
        """Make the upload as long as the range that ends it says; raises QuotaExceeded."""
        if self.total is None or self.total == row.size:
            return
        _require_size(Tenant.objects.get(pk=row.tenant_id), self.total)
        row.size, row.received = self.total, cut(row.received, self.total)
        row.md5 = ""
        with within_quota("size"):
            row.save(update_fields=["size", "received", "md5"])


def _pour(stream: Readable, length: int | None, incoming: Incoming) -> StorageFull | None:
    """Take `length` bytes, or all there are; fewer when they stop coming or find no room."""
    left = length
    while left != 0:
        try:
            piece = stream.read(PIECE_BYTES if left is None else min(PIECE_BYTES, left))
        except OSError:
            return None
        if not piece:
            return None
        try:
            incoming.take(piece)
        except StorageFull as full:
            return full
        if left is not None:
            left -= len(piece)
    return None


def _record(actor: Actor, row: Upload, received: list[list[int]], incoming: Incoming) -> Upload:
    """Write down what has arrived; the caller has the lock of its file.

    Raises NotFound, and removes it, when the upload was abandoned meanwhile.
    """
    incoming.settle()
    md5 = incoming.checksum(row.size) if is_whole(received, row.size) else ""
    mimetype = incoming.media_type.mimetype if incoming.media_type else ""
    tenant_id, key = row.tenant_id, row.pk
    try:
        with acting_as(actor):
            row = _found(actor, pk=key, locked=True)
            row.received, row.md5, row.mimetype = received, md5, mimetype
            row.updated_at = timezone.now()
            row.expires_at = row.updated_at + LIFETIME
            row.save(update_fields=["received", "md5", "mimetype", "updated_at", "expires_at"])
            publish(Event.UPLOADS_CHANGED, [key], actor=actor)
    except NotFound:
        staging.remove(tenant_id, key, is_stored=False)
        raise
    return row


def forget(actor: Actor, *uploads: UUID) -> list[UUID]:
    """Delete the rows of uploads; return the keys of those that there were. Their files stay."""
    rows = Upload.objects.select_for_update().filter(pk__in=uploads).order_by("pk")
    keys = list(rows.values_list("pk", flat=True))
    Upload.objects.filter(pk__in=keys).delete()
    publish(Event.UPLOADS_CHANGED, keys, actor=actor)
    return keys


def _tenant(actor: Actor) -> Tenant:
    return Tenant.objects.get(pk=actor.require("assets.create"))


def _require_size(tenant: Tenant, size: int) -> None:
    largest = largest_file(tenant)
    if size > largest:
        raise QuotaExceeded(
            f"A file may have {largest} bytes at most on the {tenant.subscription_tier} plan. Make "
            "it smaller, or ask for a larger plan.",
            field=("size",),
        )


def _is_same(checksum: str, expected: str) -> bool:
    return hmac.compare_digest(checksum.encode(), expected.strip().lower().encode())


def _found(actor: Actor, *, locked: bool = False, **key: object) -> Upload:
    tenant_id = actor.require("assets.create")
    rows = Upload.objects.select_for_update() if locked else Upload.objects.all()
    row = rows.filter(tenant_id=tenant_id, **key).first()
    if row is None:
        raise NotFound("There is no upload with this id.", field=("id",))
    return row
