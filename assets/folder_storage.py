"""Media in a folder of this machine (or one that several machines mount): the default storage.

Named in settings.STORAGES; used through assets.storage. Files are written under a name that no row
can have and then moved into place, so that no reader sees half of one.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from django.core.files import File
from django.core.files.storage import FileSystemStorage
from django.utils._os import safe_makedirs

from assets.storage import CHUNK_BYTES, HEAD_BYTES, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

# Somebody who removes the folder's last file may remove the folder just before we write into it.
_ATTEMPTS = 5
# A file of another file system, or one that knows no hard links, or too many of this one.
_NO_LINKS = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
)


class FolderBody:
    """Part of an open file, which it closes."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        """Go to where it starts."""
        file.seek(start)
        self._file = file
        self._left = length

    def __iter__(self) -> FolderBody:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return the next chunk; end early when somebody cut the file."""
        chunk = self._file.read(min(CHUNK_BYTES, self._left))
        if not chunk:
            raise StopIteration
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FolderFile:
    """An open file of the folder (assets.storage.StoredFile)."""

    def __init__(self, file: IO[bytes]) -> None:
        """Note what the file is at this moment."""
        state = os.fstat(file.fileno())
        self._file = file
        self.size = state.st_size
        self.modified = datetime.fromtimestamp(state.st_mtime, UTC)
        self.version = f"{state.st_size}:{state.st_mtime_ns}"
        self.head = file.read(HEAD_BYTES)

    def body(self, start: int, length: int) -> FolderBody:
        """Return these bytes."""
        return FolderBody(self._file, start, length)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A file in a listing (assets.storage.Listed)."""

    key: str
    size: int
    modified: datetime


class FolderStorage(FileSystemStorage):
    """Django's storage in MEDIA_ROOT, with files that appear whole and folders that disappear."""

    def replace(self, name: str, content: File[Any]) -> None:
        """Store under exactly this name, over what is there."""
        temporary = self._written(name, content)
        try:
            temporary.replace(self.path(name))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def adopt(self, name: str, source: Path) -> None:
        """Give a file of this file system a second name, over what is there; copy any other."""
        path = Path(self.path(name))
        temporary = path.parent / f".{uuid4().hex}.part"
        try:
            self._linked(source, temporary)
            temporary.replace(path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with source.open("rb") as file:
                self.replace(name, File(file))
        finally:
            # When both names are of one file already, a rename does nothing and leaves the first.
            temporary.unlink(missing_ok=True)

    def _linked(self, source: Path, path: Path) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            mode = self.directory_permissions_mode
            safe_makedirs(path.parent, 0o777 if mode is None else mode, exist_ok=True)
            try:
                path.hardlink_to(source)
            except FileNotFoundError:
                if attempt == _ATTEMPTS or not source.exists():
                    raise
            else:
                return

    def read(self, name: str) -> FolderFile:
        """Open a regular file; raises FileNotFoundError when there is none."""
        path = Path(self.path(name))
        try:
            file = path.open("rb")
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(name) from error
        try:
            return FolderFile(file)
        except BaseException:
            file.close()
            raise

    def walk(self, prefix: str) -> Iterator[FolderEntry]:
        """List every file below the folder `prefix`; a link is a file and is not followed."""
        with suppress(FileNotFoundError), os.scandir(self.path(prefix)) as entries:
            for entry in entries:
                key = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield from self.walk(key + "/")
                    continue
                with suppress(FileNotFoundError):  # removed since the folder was read
                    state = entry.stat(follow_symlinks=False)
                    modified = datetime.fromtimestamp(state.st_mtime, UTC)
                    yield FolderEntry(key, state.st_size, modified)

    def delete(self, name: str) -> None:
        """Remove a file and the folders above it that are empty then, up to the tenant's."""
        super().delete(name)
        for folder in PurePosixPath(name).parents[:-1]:
            if folder.parts[0] == ROOT and len(folder.parts) <= 2:
                break
            try:
                Path(self.path(str(folder))).rmdir()
            except OSError:
                break

    def _save(self, name: str, content: File[Any]) -> str:
        """Store under this name, or another one when it is taken (Django's hook)."""
        temporary = self._written(name, content)
        try:
            while True:
                try:
                    self._place(temporary, Path(self.path(name)))
                except FileExistsError:
                    name = self.get_available_name(name)
                else:
                    return name
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _place(self, temporary: Path, path: Path) -> None:
        """Give a file its name; raises FileExistsError when another has it."""
        try:
            # Unlike a rename it never replaces what somebody else put there just now.
            path.hardlink_to(temporary)
        except FileExistsError:
            raise
        except OSError:
            # A file system without hard links.
            if os.path.lexists(path):
                raise FileExistsError(path) from None
            temporary.replace(path)
        else:
            temporary.unlink()

    def _written(self, name: str, content: File[Any]) -> Path:
        """Write a file beside where `name` will be and return its path."""
        folder = Path(self.path(name)).parent
        temporary = folder / f".{uuid4().hex}.part"
        descriptor = self._created(temporary)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in content.chunks(CHUNK_BYTES):
                    file.write(chunk)
            if self.file_permissions_mode is not None:
                temporary.chmod(self.file_permissions_mode)
            # Django's own: a storage whose folder has a group of its own keeps it.
            self._ensure_location_group_id(str(temporary))  # type: ignore[attr-defined]
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _created(self, path: Path) -> int:
        for attempt in range(1, _ATTEMPTS + 1):
            mode = self.directory_permissions_mode
            safe_makedirs(path.parent, 0o777 if mode is None else mode, exist_ok=True)
            try:
                return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileNotFoundError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError
