"""Files on their way in: `<tenant>/<upload>.part` below settings.UPLOAD_DIR.

Called by the modules of uploads only, and never given a name: paths are made of two UUIDs. Whoever
writes to such a file, or gives it away, holds its lock, which ends with the process at the latest.
Beside it `<upload>.key` says under which key the storage may have the file while the row that will
name it is not committed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings

from assets.sniffing import HEAD_BYTES, MediaType, refusal, sniff
from assets.storage import delete_media
from tenancy.errors import Conflict, InvalidInput, StorageFull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

# How much of a file is in memory at a time.
PIECE_BYTES = 65_536

_FOLDER_MODE = 0o750
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PART, _KEY = ".part", ".key"


class TooMuch(InvalidInput):
    """More bytes than were announced."""


class NotMedia(InvalidInput):
    """What arrives is no image and no video; the message says what it looks like."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A file in the staging folder, and what its name says that it is."""

    tenant_id: UUID
    upload_id: UUID
    path: Path
    size: int
    modified: float


def part_path(tenant_id: UUID, upload_id: UUID) -> Path:
    """Return where the bytes of an upload lie."""
    return Path(settings.UPLOAD_DIR, str(tenant_id), f"{upload_id}{_PART}")


def _key_path(tenant_id: UUID, upload_id: UUID) -> Path:
    return part_path(tenant_id, upload_id).with_suffix(_KEY)


@contextmanager
def full_storage_refused() -> Iterator[None]:
    """Turn the errors of a full disk into a refusal that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFull from error


@contextmanager
def sole_writer(tenant_id: UUID, upload_id: UUID) -> Iterator[int]:
    """Open the file of an upload, made when there is none, and yield its descriptor.

    Raises Conflict at once while somebody else has it open like this, StorageFull.
    """
    path = part_path(tenant_id, upload_id)
    with full_storage_refused():
        descriptor = _locked(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(path: Path) -> int:
    while True:
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(path, flags, settings.FILE_UPLOAD_PERMISSIONS)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever removed the file meanwhile has left us a lock on nothing.
            if _is_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            message = "Another connection is sending this upload. Wait until it has ended."
            raise Conflict(message) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def is_in_use(path: Path) -> bool:
    """Return whether somebody holds the lock of a staged file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def write(descriptor: int, data: bytes, at: int) -> int:
    """Write all of `data` at an offset and return how much fitted; raises OSError for nothing."""
    view = memoryview(data)
    while view:
        try:
            done = os.pwrite(descriptor, view, at)
        except OSError:
            if len(view) < len(data):
                break
            raise
        view, at = view[done:], at + done
    return len(data) - len(view)


def size_of(descriptor: int) -> int:
    """Return how long a file is."""
    return os.fstat(descriptor).st_size


def digest(descriptor: int, algorithm: str) -> str:
    """Return a checksum of the whole file in hexadecimal, reading it a piece at a time."""
    checksum = hashlib.new(algorithm, usedforsecurity=False)
    at = 0
    while piece := os.pread(descriptor, PIECE_BYTES * 4, at):
        checksum.update(piece)
        at += len(piece)
    return checksum.hexdigest()


class Incoming:
    """Bytes as they arrive, in order, from `start` on: written, hashed, and looked at.

    `at` is where the next one goes, `limit` where there must be none. `there` says how many bytes
    of the file's beginning there were before; as soon as its first HEAD_BYTES, or all of its
    `size`, are there, `media_type` is what it is, if it `is_judged` at all.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        start: int,
        limit: int,
        size: int,
        there: int = 0,
        media_type: MediaType | None = None,
        is_judged: bool = True,
    ) -> None:
        """Take nothing yet."""
        self.at = start
        self.media_type = media_type
        self._is_judged = is_judged
        self._descriptor = descriptor
        self._start = start
        self._limit = limit
        self._size = size
        self._there = there
        self._md5 = hashlib.md5(usedforsecurity=False)

    @property
    def _reach(self) -> int:
        """How many bytes of the file's beginning are there now."""
        return max(self._there, self.at) if self._start <= self._there else self._there

    def take(self, data: bytes) -> None:
        """Keep the next bytes.

        Raises TooMuch (they are not kept), NotMedia, and StorageFull (what fitted is kept).
        """
        if self.at + len(data) > self._limit:
            raise TooMuch(f"There are more bytes than announced: at most {self._limit}.")
        with full_storage_refused():
            done = write(self._descriptor, data, self.at)
        self._md5.update(memoryview(data)[:done])
        self.at += done
        if done < len(data):
            raise StorageFull
        self._look_when_possible()

    def extend(self, there: int) -> None:
        """Learn that `there` bytes of the file's beginning are here by now; raises NotMedia."""
        self._there = max(self._there, there)
        self._look_when_possible()

    def _look_when_possible(self) -> None:
        if (
            self._is_judged
            and self.media_type is None
            and self._reach >= min(HEAD_BYTES, self._size)
        ):
            self.look()

    def look(self) -> MediaType:
        """Return what the file is by what of its beginning is there; raises NotMedia."""
        if self.media_type is None:
            head = os.pread(self._descriptor, min(HEAD_BYTES, self._reach), 0)
            self.media_type = sniff(head)
            if self.media_type is None:
                raise NotMedia(refusal(head))
        return self.media_type

    def settle(self) -> None:
        """Return when what was taken is on the disk; raises StorageFull."""
        with full_storage_refused():
            os.fdatasync(self._descriptor)

    def checksum(self, size: int) -> str:
        """Return the MD5 of the whole file, of which all `size` bytes are there."""
        if self._start == 0 and self.at == size:
            return self._md5.hexdigest()
        os.ftruncate(self._descriptor, size)
        return digest(self._descriptor, "md5")


def note_key(tenant_id: UUID, upload_id: UUID, key: str) -> None:
    """Write down that the storage is about to get the file under `key`; raises StorageFull."""
    with full_storage_refused():
        _key_path(tenant_id, upload_id).write_text(key)


def noted_key(tenant_id: UUID, upload_id: UUID) -> str:
    """Return the key that was written down last; empty when none was."""
    try:
        return _key_path(tenant_id, upload_id).read_text()
    except FileNotFoundError:
        return ""


def remove(tenant_id: UUID, upload_id: UUID, *, is_stored: bool) -> None:
    """Remove what the folder has of an upload.

    Unless a row names it (`is_stored`), what the storage has of it goes too.
    """
    key = noted_key(tenant_id, upload_id)
    if key and not is_stored:
        delete_media([key])
    for path in (part_path(tenant_id, upload_id), _key_path(tenant_id, upload_id)):
        path.unlink(missing_ok=True)


def staged(*, tenant_id: UUID | None = None) -> Iterator[Staged]:
    """Yield every file of uploads that there is, or those of one tenant."""
    folders = [str(tenant_id)] if tenant_id else []
    if tenant_id is None:
        with suppress(FileNotFoundError):
            folders = sorted(one.name for one in Path(settings.UPLOAD_DIR).iterdir())
    for folder in folders:
        owner = _as_id(folder)
        if owner is not None:
            yield from _of_tenant(owner)


def _of_tenant(tenant_id: UUID) -> Iterator[Staged]:
    with suppress(FileNotFoundError), os.scandir(Path(settings.UPLOAD_DIR, str(tenant_id))) as here:
        for entry in here:
            name = Path(entry.name)
            upload_id = _as_id(name.stem)
            if upload_id is None or name.suffix not in {_PART, _KEY}:
                continue
            with suppress(FileNotFoundError):  # removed since the folder was read
                state = entry.stat(follow_symlinks=False)
                path = Path(entry.path)
                yield Staged(tenant_id, upload_id, path, state.st_size, state.st_mtime)


def _as_id(name: str) -> UUID | None:
    try:
        found = UUID(name)
    except ValueError:
        return None
    return found if str(found) == name else None


def is_younger(file: Staged, moment: datetime) -> bool:
    """Return whether a file was last written after `moment`."""
    return file.modified > moment.timestamp()
