"""Where an asset's file lies: Django's default storage, under a key that starts with the tenant.

Called by whatever writes, reads or removes media. Never given a path of the server or a name from
outside: `media_key` makes every key, and only the last part of a file's name goes into it. The two
storages there are (folder_storage.py, bucket_storage.py) do what `MediaStorage` says.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from django.core.files import File
from django.core.files.storage import default_storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from uuid import UUID

logger = logging.getLogger(__name__)

ROOT = "t"
# How much of a file is in memory at a time while it is read.
CHUNK_BYTES = 262_144
# How much of its beginning tells what it is.
HEAD_BYTES = 4096

_LONGEST_NAME = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Body(Protocol):
    """Bytes on their way, chunk by chunk; closed by whoever sends them, read to the end or not."""

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""

    def __next__(self) -> bytes:
        """Return the next chunk."""

    def close(self) -> None:
        """Let go of what it reads from."""


class StoredFile(Protocol):
    """A file as it was when it was opened; replaced or removed meanwhile, it is still that one."""

    size: int
    modified: datetime
    # Another one whenever the content is another.
    version: str
    # The first HEAD_BYTES at most.
    head: bytes

    def body(self, start: int, length: int) -> Body:
        """Return these bytes of it; closing them closes the file."""

    def close(self) -> None:
        """Let go of it."""


class Listed(Protocol):
    """A file in a listing."""

    key: str
    size: int
    modified: datetime


class MediaStorage(Protocol):
    """What media asks of a storage beyond Django's own methods. What fails is an OSError."""

    def replace(self, name: str, content: File[Any]) -> None:
        """Store under exactly this name: readers see the old file, then the new one, whole."""

    def adopt(self, name: str, source: Path) -> None:
        """Store `source` under exactly this name, without a copy where that is possible."""

    def read(self, name: str) -> StoredFile:
        """Open a file; raises FileNotFoundError when there is none."""

    def walk(self, prefix: str) -> Iterator[Listed]:
        """List every file whose name starts with `prefix`, a folder's name and its slash."""


def media_storage() -> MediaStorage:
    """Return the default storage as what settings.STORAGES says it is."""
    return cast("MediaStorage", default_storage)


def tenant_prefix(tenant_id: UUID) -> str:
    """Return what every key of the tenant starts with."""
    return f"{ROOT}/{tenant_id}/"


def media_key(tenant_id: UUID, asset_id: UUID, file_name: str) -> str:
    """Return `t/<tenant>/<asset>/<name>`, with a name that is safe in every file system.

    `asset_id` is the asset's primary key. What is not a letter, digit, dot, hyphen or underscore
    becomes an underscore; the end of a long name, which has the extension, is what is kept.
    """
    last = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    safe = _UNSAFE.sub("_", last)[-_LONGEST_NAME:].lstrip(".") or "file"
    return f"{tenant_prefix(tenant_id)}{asset_id}/{safe}"


def thumbnail_key(tenant_id: UUID, asset_id: UUID) -> str:
    """Return where the asset's small picture lies, when it has one."""
    return f"{tenant_prefix(tenant_id)}{asset_id}/thumbnail/thumbnail.webp"


def backup_key(tenant_id: UUID, backup_id: UUID) -> str:
    """Return where a backup's archive lies; no asset has a folder of that name."""
    return f"{tenant_prefix(tenant_id)}backups/{backup_id}.tar.gz"


def media_keys(
    tenant_id: UUID, asset_id: UUID, media_path: str, thumbnail_url: str
) -> tuple[str, ...]:
    """Return the keys of every file that a row with these values names."""
    original = (media_path,) if media_path else ()
    return (*original, thumbnail_key(tenant_id, asset_id)) if thumbnail_url else original


def is_key_of(key: str, tenant_id: UUID, asset_id: UUID) -> bool:
    """Return whether `key` lies in the asset's own folder: nothing else is ever served for it."""
    return key.startswith(f"{tenant_prefix(tenant_id)}{asset_id}/")


def store_file(key: str, source: Path | IO[bytes], *, replace: bool = False) -> str:
    """Store a copy of `source` and return its key; no reader ever sees half of it.

    A key that is taken gets another ending, unless `replace` says that the file there is to be
    replaced. Raises OSError, with nothing stored, when the storage does not take it; a process
    that dies meanwhile leaves what `storage_audit` removes.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return store_file(key, file, replace=replace)
    if not replace:
        return default_storage.save(key, File(source))
    media_storage().replace(key, File(source))
    return key


def adopt_file(key: str, source: Path) -> None:
    """Store `source`, a file of ours that nobody will write to again; it stays where it is, too.

    No reader ever sees half of it; what there was under the key is replaced. Raises OSError, with
    nothing stored, when the storage does not take it.
    """
    media_storage().adopt(key, source)


def delete_media(keys: Iterable[str]) -> None:
    """Remove files and the folders they leave empty; a file that resists is logged and left.

    Call it after the transaction that forgot the keys has committed, never inside.
    """
    for key in keys:
        try:
            default_storage.delete(key)
        except OSError as error:
            logger.warning("The file %s could not be removed: %s", key, error)
