"""Files from legacy clients, whole or in pieces (SPEC section 5).

What a file is called decides whether it is taken, as in Anthias; what it is is found out when an
asset is made of it. The path in the answer is a handle, and never a path here. A whole file goes
to the staging folder as it is read; a piece goes to a file of its own first, since only its end
tells whether it is as long as it says. No transaction is open while bytes flow.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from django.core.files.uploadhandler import FileUploadHandler, SkipFile

from assets.legacy.docs import Doc, Given, Reply, body_of, object_of, ref, text_of
from assets.legacy.endpoint import Answer
from assets.legacy.errors import LegacyError, detail
from assets.legacy.negotiation import MULTIPART, data_of, settle_length
from assets.library import LOCAL_FOLDER
from assets.models import Upload
from assets.upload_streams import AROUND_FILES_BYTES, UploadHandler
from assets.uploads import begin_upload, find_by_handle, largest_file, receive, require_room
from rls import acting_as
from tenancy.errors import Conflict, InvalidInput, NotFound
from tenancy.models import Tenant

if TYPE_CHECKING:
    from uuid import UUID

    from assets.legacy.endpoint import Call
    from tenancy.actors import Actor

FIELD = "file_upload"
NO_FILE = "No file uploaded."
NOT_A_FILE = "The submitted data was not a file. Check the encoding type on the form."
BAD_TYPE = "Invalid file type. Expected image or video."
MALFORMED_RANGE = "Malformed Content-Range header."
BAD_BOUNDS = "Invalid Content-Range bounds."
BAD_LENGTH = "Chunk length does not match the declared range."
BAD_ID = "Malformed upload id."

_IMAGES = ("bmp", "gif", "heic", "heif", "ico", "jpg", "png", "svg", "tiff", "webp", "avif")
_VIDEOS = ("avi", "flv", "mov", "mp4", "mpeg", "mpv", "ogv", "webm", "wmv", "3gp")
_OTHERS = {
    "jpeg": "jpg",
    "jpe": "jpg",
    "jfif": "jpg",
    "tif": "tiff",
    "svgz": "svg",
    "m4v": "mp4",
    "mp4v": "mp4",
    "mpg4": "mp4",
    "qt": "mov",
    "mkv": "mpv",
    "mpg": "mpeg",
    "mpe": "mpeg",
    "m1v": "mpeg",
    "m2v": "mpeg",
    "3gpp": "3gp",
}
EXTENSIONS: Mapping[str, str] = {
    **{f".{name}": f".{name}" for name in (*_IMAGES, *_VIDEOS)},
    **{f".{name}": f".{told}" for name, told in _OTHERS.items()},
}
"""Which names are images or videos, and what `ext` each is told as: Anthias asks the operating
system's table instead, which is another one on each host."""

_RANGE = re.compile(r"bytes\s+(\d{1,15})-(\d{1,15})/(\d{1,15})", re.ASCII)
_ID = re.compile(r"[0-9a-f]{32}")
# How long a piece waits for another one of the same file, which clients may send at the same time.
_WAIT_S = 5.0
_PAUSE_S = 0.05


class _Piece(FileUploadHandler):
    """Keeps the one file of a request in a temporary file."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.named: str | None = None
        self.kept: IO[bytes] | None = None

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        if field_name != FIELD or self.named is not None:
            raise SkipFile
        self.named = file_name
        if _extension(file_name) is None:
            raise SkipFile
        self.kept = TemporaryFile()  # noqa: SIM115 -- closed by whoever asked for it

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        del start
        if self.kept is not None:
            self.kept.write(raw_data)

    def file_complete(self, file_size: int) -> None:
        """Leave it out of `request.FILES`, with which it would be closed."""
        del file_size


class _Whole(UploadHandler):
    """Stores the one file of a request, when its name is that of an image or a video."""

    def __init__(self, request: Any, *, actor: Actor, length: int) -> None:
        super().__init__(request, actor=actor, length=length, is_judged=False)
        self.named: str | None = None

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        if field_name != FIELD or self.named is not None:
            raise SkipFile
        self.named = file_name
        if _extension(file_name) is None:
            raise SkipFile
        super().new_file(field_name, file_name, *args, **kwargs)


def receive_file(call: Call) -> Answer:
    """Take a file, or a piece of one, and answer the handle to make an asset of it."""
    request = call.request
    if request.content_type != MULTIPART:
        _require_file(None, data_of(request))
    length = _room(call)
    told = request.headers.get("Content-Range")
    return _whole(call, length) if told is None else _piece(call, told.strip())


def _room(call: Call) -> int:
    """Return how long the body is; raises QuotaExceeded for more than the tenant can store."""
    with acting_as(call.actor, read_only=True) as actor:
        most = largest_file(Tenant.objects.get(pk=actor.entered())) + AROUND_FILES_BYTES
    length = settle_length(call.request, most)
    with acting_as(call.actor, read_only=True) as actor:
        require_room(actor=actor, size=max(0, length - AROUND_FILES_BYTES))
    return length


def _require_file(named: str | None, form: Any) -> str:
    """Return the `ext` of the file that came.

    Raises LegacyError when none did, or one whose name is not that of an image or a video.
    """
    if named is None:
        given = form.get(FIELD) if isinstance(form, Mapping) else None
        raise LegacyError(400, {FIELD: NO_FILE if given is None else NOT_A_FILE})
    extension = _extension(named)
    if extension is None:
        raise LegacyError(400, {FIELD: BAD_TYPE})
    return extension


def _extension(name: str) -> str | None:
    return EXTENSIONS.get(PurePosixPath(name).suffix.lower())


def _answer(handle: str, extension: str) -> Answer:
    uri = f"{LOCAL_FOLDER}/{handle}.tmp"
    return Answer({"uri": uri, "ext": extension, "upload_id": handle})


def _whole(call: Call, length: int) -> Answer:
    handler = _Whole(call.request, actor=call.actor, length=length)
    try:
        form = data_of(call.request, files=handler)
        extension = _require_file(handler.named, form)
        file = handler.files.get(FIELD)
        if file is None:
            raise detail(400, "The request ended before its end.")
        if file.refusal is not None:
            raise file.refusal
        assert file.upload_id is not None  # noqa: S101 -- without a refusal there is one
        with acting_as(call.actor):
            handle = Upload.objects.values_list("handle", flat=True).get(pk=file.upload_id)
            return call.settle(_answer(handle, extension))
    except BaseException:
        handler.give_up()
        raise


def _piece(call: Call, told: str) -> Answer:
    handler = _Piece(call.request)
    try:
        form = data_of(call.request, files=handler)
        extension = _require_file(handler.named, form)
        start, end, total = _range(told)
        handle = _handle(call.request.headers.get("X-Upload-Id"))
        assert handler.kept is not None  # noqa: S101 -- there is a file
        if handler.kept.tell() != end - start:
            raise LegacyError(400, {"Content-Range": BAD_LENGTH})
        row = _begun(call.actor, handle, handler.named or "", total)
        try:
            _keep(call.actor, row.pk, handler.kept, start=start, length=end - start, total=total)
        except InvalidInput as error:
            raise LegacyError(400, {"Content-Range": error.message}) from error
    finally:
        if handler.kept is not None:
            handler.kept.close()
    return _answer(row.handle, extension)


def _range(told: str) -> tuple[int, int, int]:
    """Return start, end (exclusive) and total of a Content-Range header; raises LegacyError."""
    found = _RANGE.fullmatch(told)
    if found is None:
        raise LegacyError(400, {"Content-Range": MALFORMED_RANGE})
    start, last, total = (int(number) for number in found.groups())
    if last < start or last >= total:
        raise LegacyError(400, {"Content-Range": BAD_BOUNDS})
    return start, last + 1, total


def _handle(given: str | None) -> str | None:
    if given is None:
        return None
    handle = given.strip().lower()
    if not _ID.fullmatch(handle):
        raise LegacyError(400, {"X-Upload-Id": BAD_ID})
    return handle


def _begun(actor: Actor, handle: str | None, name: str, total: int) -> Upload:
    """Return the upload that a client calls `handle`, begun now if nobody did."""
    if handle is not None:
        with suppress(NotFound), acting_as(actor):
            return find_by_handle(actor=actor, handle=handle)
    try:
        with acting_as(actor):
            return begin_upload(actor=actor, file_name=name, size=total, handle=handle)
    except Conflict:
        # Begun by another piece, a moment ago.
        with acting_as(actor):
            return find_by_handle(actor=actor, handle=handle or "")


def _keep(
    actor: Actor, upload: UUID, file: IO[bytes], *, start: int, length: int, total: int
) -> None:
    """Write a piece; raises InvalidInput, Conflict for a file of which an asset is being made."""
    until = time.monotonic() + _WAIT_S
    while True:
        file.seek(0)
        try:
            receive(
                upload,
                actor=actor,
                start=start,
                stream=file,
                length=length,
                total=total,
                in_order=False,
                is_judged=False,
            )
        except Conflict:
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


DOC = Doc(
    "Uploads",
    "Upload a file, or a piece of one",
    {
        200: Reply("The handle to make an asset of; the same for every piece.", ref("Handle")),
        400: Reply(
            "No file came, or one whose name is not that of an image or a video, or a piece that "
            "is not what its headers say.",
            ref("Refusal"),
        ),
        409: Reply(
            "An asset is being made of this file, or a request with this `Idempotency-Key` is "
            "under way.",
            ref("Detail"),
        ),
        507: Reply("The plan has no room for it.", ref("Detail")),
    },
    "A file that is large can come in pieces, in any order, each with `Content-Range` and all but "
    "the first with `X-Upload-Id`. A piece may be sent again.",
    body_of(
        "The file, with its name.",
        {
            "type": "object",
            "properties": {
                FIELD: {
                    "type": "string",
                    "contentMediaType": "application/octet-stream",
                    "description": "An image or a video; its name has to end as one's does.",
                }
            },
            "required": [FIELD],
        },
        media=(MULTIPART,),
    ),
    (
        Given(
            "Content-Range",
            "Which bytes of how many this piece is. Without it the file is whole.",
            text_of("", "bytes 0-5242879/7340032", pattern="^bytes [0-9]+-[0-9]+/[0-9]+$"),
        ),
        Given(
            "X-Upload-Id",
            "The `upload_id` of the first piece's answer. Without `Content-Range` it is ignored.",
            text_of("", pattern="^[0-9a-f]{32}$"),
        ),
    ),
)
SHAPES = {
    "Handle": object_of(
        uri=text_of("What to send as the `uri` of a new asset; no path on the server."),
        ext=text_of("What to send as its `ext`.", ".png"),
        upload_id=text_of("What to send with further pieces.", pattern="^[0-9a-f]{32}$"),
    )
}
