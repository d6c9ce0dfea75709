"""A file that comes in one request: pushed in piece by piece, its length known at the end only.

Called by the faces that take multipart bodies: Django's parser pushes (`UploadHandler`), and what
it gets is an upload that is finished, or a refusal. No transaction is open while bytes flow.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.files.uploadhandler import FileUploadHandler
from django.utils import timezone

from assets import staging
from assets.models import Upload
from assets.staging import PIECE_BYTES, Incoming, TooMuch, sole_writer
from assets.uploads import (
    LIFETIME,
    begin_upload,
    clean_file_name,
    forget,
    largest_file,
    record_upload,
    release_connection,
)
from rls import acting_as
from tenancy.errors import DomainError, InvalidInput, NotFound, QuotaExceeded
from tenancy.events import Event, publish
from tenancy.limits import BYTES_PER_GB
from tenancy.models import Tenant, TenantUsage

if TYPE_CHECKING:
    from uuid import UUID

    from tenancy.actors import Actor

logger = logging.getLogger("signate.uploads")

# What a multipart body may have beside its files. (One that is that much larger than what is left
# may still have a file that fits.)
AROUND_FILES_BYTES = 1_048_576
MAX_FILES = 20
# Nobody goes on with such an upload; while it lasts, its file is locked.
_LIFETIME = timedelta(hours=1)


class StreamedFile:
    """One file on its way in, and afterwards: `upload_id` is finished, or `refusal` says why not.

    It holds as much of the tenant's storage as it may become, until it is known how much it is.
    """

    def __init__(
        self, *, actor: Actor, file_name: str, at_most: int, is_judged: bool = True
    ) -> None:
        """Begin; a refusal is kept and not raised.

        What is not `is_judged` may be anything, or nothing, until an asset is made of it.
        """
        self.file_name = file_name
        self.upload_id: UUID | None = None
        self.size = 0
        self.md5 = ""
        self.refusal: DomainError | None = None
        self._actor = actor
        self._at_most = at_most
        self._is_judged = is_judged
        self._open = ExitStack()
        self._incoming: Incoming | None = None
        self._try(self._begin)

    def take(self, data: bytes) -> None:
        """Keep the next bytes, unless the file is refused already."""
        incoming = self._incoming
        if self.refusal is None and incoming is not None:
            self._try(lambda: incoming.take(data))

    def finish(self) -> None:
        """Learn that this was all of it."""
        if self.refusal is None:
            self._try(self._finish)
        self._open.close()

    def give_up(self) -> None:
        """Forget the file, unless an asset has it."""
        self._open.close()
        if self.upload_id is None:
            return
        with acting_as(self._actor):
            gone = forget(self._actor, self.upload_id)
        for key in gone:
            staging.remove(self._actor.entered(), key, is_stored=False)

    def close(self) -> None:
        """Do nothing: Django closes what its parser was given, and the face gives it up."""

    def _try(self, step: Any) -> None:
        try:
            step()
        except TooMuch:
            self.refusal = QuotaExceeded(
                "The file is larger than what this tenant may still store. Delete some assets, or "
                "ask for a larger plan."
            )
        except DomainError as error:
            self.refusal = error
        if self.refusal is not None:
            # Whatever it is that cannot be used, to the client it is the file.
            self.refusal.field = ("file",)
            self.give_up()

    def _begin(self) -> None:
        with acting_as(self._actor):
            clean_file_name(self.file_name)
            size = self._room()
            row = begin_upload(
                actor=self._actor, file_name=self.file_name, size=size, lifetime=_LIFETIME
            )
        self.upload_id = row.pk
        descriptor = self._open.enter_context(sole_writer(row.tenant_id, row.pk))
        release_connection()
        self._incoming = Incoming(
            descriptor, start=0, limit=size, size=size, is_judged=self._is_judged
        )

    def _room(self) -> int:
        """Return how much to hold: what the file may become, or nearly that if no more is left.

        The row of usage is locked, so that what is left is still left when it is taken.
        """
        tenant_id = self._actor.require("assets.create")
        tenant = Tenant.objects.get(pk=tenant_id)
        used = TenantUsage.objects.select_for_update().filter(tenant_id=tenant_id).first()
        left = tenant.storage_quota_gb * BYTES_PER_GB - (used.bytes if used else 0)
        allowed = min(left, largest_file(tenant))
        is_near = 0 < allowed < self._at_most <= allowed + AROUND_FILES_BYTES
        return allowed if is_near else self._at_most

    def _finish(self) -> None:
        incoming, key = self._incoming, self.upload_id
        assert incoming is not None  # noqa: S101 -- without one it was refused
        assert key is not None  # noqa: S101 -- as above
        mimetype = ""
        if self._is_judged:
            if incoming.at == 0:
                raise InvalidInput("The file is empty.", field=("file",))
            mimetype = incoming.look().mimetype
        incoming.settle()
        self.size = incoming.at
        with acting_as(self._actor) as actor:
            row = Upload.objects.select_for_update().filter(pk=key).first()
            if row is None:
                raise NotFound("This upload was abandoned meanwhile.", field=("file",))
            row.size, row.received = self.size, [[0, self.size]] if self.size else []
            row.md5 = self.md5 = incoming.checksum(self.size)
            row.mimetype = mimetype
            row.finished_at = row.updated_at = timezone.now()
            if not self._is_judged:
                # Its asset is made by another request.
                row.expires_at = row.updated_at + LIFETIME
            row.save()
            publish(Event.UPLOADS_CHANGED, [row.pk], actor=actor)
            if not self._is_judged:
                record_upload(actor, "upload.finished", row)


class UploadHandler(FileUploadHandler):
    """Django's multipart parser writes the files of a body through this; `files` has them.

    Only whole ones are there. What no asset got is to be given up when the request ends.
    """

    chunk_size = PIECE_BYTES

    def __init__(self, request: Any, *, actor: Actor, length: int, is_judged: bool = True) -> None:
        """Take files of a body of `length` bytes, whatever is in them unless `is_judged`."""
        super().__init__(request)
        self._is_judged = is_judged
        self.files: dict[str, StreamedFile] = {}
        self._actor = actor
        self._left = length
        self._begun: list[StreamedFile] = []
        self._name = ""

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        """Begin a file; raises InvalidInput for one too many."""
        del args, kwargs
        if len(self._begun) == MAX_FILES:
            raise InvalidInput(f"Send {MAX_FILES} files at once at most.")
        self._name = field_name
        self._begun.append(
            StreamedFile(
                actor=self._actor,
                file_name=file_name,
                at_most=max(self._left, 1),
                is_judged=self._is_judged,
            )
        )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write the next bytes."""
        del start
        self._begun[-1].take(raw_data)

    def file_complete(self, file_size: int) -> Any:
        """Return the file."""
        self._left -= file_size
        file = self._begun[-1]
        file.finish()
        self.files[self._name] = file
        return file

    def give_up(self) -> None:
        """Forget every file that no asset has."""
        for file in self._begun:
            try:
                file.give_up()
            except Exception:
                logger.exception("an upload could not be given up; it will expire")
