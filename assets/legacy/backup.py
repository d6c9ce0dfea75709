"""Backups as Anthias's clients make them, fetch them and restore them (SPEC section 6).

The archive of a restore goes to a file as it is read, and no transaction is open while it comes.
Players are told to stop before and to play after, whatever became of it.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header

from assets.backup import PERMISSION, create_backup, open_backup
from assets.legacy import commands
from assets.legacy.docs import Doc, Reply, body_of, ref, text_of
from assets.legacy.endpoint import Answer, Call, Endpoint, Method
from assets.legacy.errors import DISK_FULL, LegacyError, detail
from assets.legacy.fields import is_storable
from assets.legacy.negotiation import MULTIPART, data_of, settle_length
from assets.restoring import InvalidBackup, restore_archive
from assets.workspaces import workspace
from rls import acting_as
from tenancy.errors import NotFound
from tenancy.limits import BYTES_PER_GB
from tenancy.models import Tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.legacy.endpoint import Response
    from assets.models import Backup

FIELD = "backup_upload"
NO_FILE = "No backup file uploaded."
NOT_A_FILE = "The submitted data was not a file. Check the encoding type on the form."
BAD_NAME = "Incorrect file extension."
BAD_ARCHIVE = "Invalid backup archive."
DONE = "Recovery successful."
# What Anthias takes for the name of a tar archive. Its content has to be gzip whatever it says.
NAMES = (
    *(".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.z", ".tar.br"),
    *(".tgz", ".taz", ".tz", ".tbz2", ".txz"),
)
MIMETYPE = "application/x-tgz"
# What a body may have beside the files that a plan has room for: the database, the settings.
_AROUND_BYTES = 512 * 1024 * 1024


class _Archive(FileUploadHandler):
    """Writes the one file of a request to a file of ours, when it has the name of an archive."""

    def __init__(self, request: Any, target: IO[bytes]) -> None:
        super().__init__(request)
        self.named: str | None = None
        self._target = target

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        if field_name != FIELD or self.named is not None:
            raise SkipFile
        self.named = file_name
        if not file_name.lower().endswith(NAMES):
            raise SkipFile

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Keep a piece; nothing is left for other handlers."""
        del start
        self._target.write(raw_data)

    def file_complete(self, file_size: int) -> None:
        """Leave it out of the form's files."""
        del file_size


def backup(call: Call) -> Answer:
    """Make a backup and answer what its file is called."""

    def answer(made: Backup) -> Answer:
        return Answer(made.name, status=201)

    with _disk_full_told():
        return answer(create_backup(actor=call.actor, then=lambda made: call.settle(answer(made))))


def recover(call: Call) -> Answer:
    """Restore the archive in the body."""
    call.actor.require("assets.delete")
    with acting_as(call.actor, read_only=True) as actor:
        quota = Tenant.objects.values_list("storage_quota_gb", flat=True).get(pk=actor.entered())
    settle_length(call.request, quota * BYTES_PER_GB + _AROUND_BYTES)
    with _disk_full_told(), workspace() as folder, (folder / "archive").open("w+b") as file:
        handler = _Archive(call.request, file)
        form = data_of(call.request, files=handler)
        if handler.named is None:
            given = form.get(FIELD) if isinstance(form, Mapping) else None
            raise LegacyError(400, {FIELD: NO_FILE if given is None else NOT_A_FILE})
        if not handler.named.lower().endswith(NAMES):
            raise LegacyError(400, {FIELD: BAD_NAME})
        source = handler.named.encode(errors="replace").decode().replace("\0", "")[-255:]
        _tell(call, "stop")
        try:
            restore_archive(
                file,
                actor=call.actor,
                source=source,
                then=lambda _restore: call.settle(Answer(DONE)),
            )
        except InvalidBackup:
            raise LegacyError(400, {FIELD: BAD_ARCHIVE}) from None
        finally:
            _tell(call, "play")
    return Answer(DONE)


def fetch(call: Call) -> Response:
    """Answer the file of a backup; the type that the address asks for is the one that it has."""
    name = call.path["name"]
    try:
        if not is_storable(name):
            raise NotFound("No backup has such a name.")
        row, stored = open_backup(actor=call.actor, name=name)
    except NotFound:
        raise detail(404, "Not found.") from None
    headers = {
        "Content-Disposition": content_disposition_header(as_attachment=True, filename=row.name)
        or "attachment",
        "Content-Length": str(stored.size),
        "Cache-Control": "private, no-store",
    }
    if call.request.method == "HEAD":
        stored.close()
        return HttpResponse(content_type=MIMETYPE, headers=headers)
    body = stored.body(0, stored.size)
    return StreamingHttpResponse(body, content_type=MIMETYPE, headers=headers)


def _tell(call: Call, command: str) -> None:
    """Tell the tenant's players, where the caller may tell them anything."""
    if call.actor.can("devices.control"):
        with acting_as(call.actor) as actor:
            commands.send(actor=actor, command=command)


@contextmanager
def _disk_full_told() -> Iterator[None]:
    """Answer as Anthias does when the disk is full; any other failure stays what it is."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise detail(507, DISK_FULL) from error


_FULL = Reply("There is no room for it.", ref("Detail"))

BACKUP = Endpoint(
    "Backup",
    {
        "POST": Method(
            backup,
            PERMISSION,
            Doc(
                "Backups",
                "Make a backup",
                {
                    201: Reply(
                        "What its file is called: fetch it at `/static_with_mime/<name>`.",
                        text_of("A file name.", "lobby-2026-03-01T10-00-00.tar.gz"),
                    ),
                    507: _FULL,
                },
                "The tenant's assets, files and settings, laid out as Anthias lays out its own.",
            ),
            streams=True,
        )
    },
)
RECOVER = Endpoint(
    "Recover",
    {
        "POST": Method(
            recover,
            PERMISSION,
            Doc(
                "Backups",
                "Restore a backup",
                {
                    200: Reply("It was restored.", {"type": "string", "const": DONE}),
                    400: Reply("No archive came, or one that is none.", ref("Refusal")),
                    507: _FULL,
                },
                "Takes the place of the tenant's assets; what was there can be had back. Needs "
                "`assets.delete` too. Players are told to stop before and to play after.",
                body_of(
                    "The archive, with its name.",
                    {
                        "type": "object",
                        "properties": {
                            FIELD: {
                                "type": "string",
                                "contentMediaType": MIMETYPE,
                                "description": "A `.tar.gz` of this service or of Anthias.",
                            }
                        },
                        "required": [FIELD],
                    },
                    media=(MULTIPART,),
                ),
            ),
            streams=True,
            takes_file=True,
        )
    },
)
BACKUP_FILE = Endpoint(
    "Backup File",
    {
        "GET": Method(
            fetch,
            PERMISSION,
            Doc(
                "Backups",
                "Fetch a backup",
                {
                    200: Reply(
                        "The archive.",
                        {"type": "string", "contentMediaType": MIMETYPE},
                        MIMETYPE,
                        {"Content-Disposition": text_of("Its name.")},
                    ),
                    404: Reply("There is no such backup in this tenant.", ref("Detail")),
                },
            ),
            streams=True,
        )
    },
)
