"""The media of an Anthias library on its way into the storage.

Called by assets.importing. Reads only regular files that lie directly in the given folder; the
path that a row names is never opened, its last part is looked up in that folder (SPEC section 6).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.storage import delete_media, media_key, store_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class Media:
    """What a row's file became; all empty when the row has none or it is not there."""

    key: str = ""
    size: int | None = None
    md5: str | None = None
    notes: tuple[str, ...] = ()


_NONE = Media()


class MediaFolder:
    """A folder of media. With `copying` off (a dry run) files are looked at and not copied."""

    def __init__(
        self, folder: Path | None, *, copying: bool, files: Mapping[str, Path] | None = None
    ) -> None:
        """List the folder once; None means that no media came along.

        `files` are given instead of a folder: where each file lies, by its name.
        """
        self.came_along = folder is not None or files is not None
        self.copying = copying
        self.copied = 0
        self._files: Mapping[str, Path] = files or {}
        self._keys: list[str] = []
        if folder is not None:
            with os.scandir(folder) as entries:
                self._files = {
                    entry.name: folder / entry.name
                    for entry in entries
                    if entry.is_file(follow_symlinks=False)
                }

    def of(self, uri: str | None, *, tenant_id: UUID, asset_id: UUID) -> Media:
        """Copy the file that `uri` names, if it names one, and say what came of it.

        Raises OSError when the storage does not take it; a file that cannot be read is a note.
        """
        name = uri.rsplit("/", 1)[-1] if uri and uri.startswith("/") else ""
        if not name:
            return _NONE
        if not self.came_along:
            return Media(notes=("media: no folder was given, the file was not copied",))
        path = self._files.get(name)
        if path is None:
            return Media(notes=(f"media: there is no file {name} in the folder",))
        try:
            with path.open("rb") as file:
                md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
                size = file.tell()
        except OSError as error:
            return Media(notes=(f"media: {name} cannot be read: {error.strerror}",))
        key = media_key(tenant_id, asset_id, name)
        if self.copying:
            self._keys.append(key)
            key = self._keys[-1] = store_file(key, path)
        self.copied += 1
        return Media(key, size, md5.hexdigest())

    def discard(self, key: str) -> None:
        """Remove the copy of a row that was refused after all."""
        if key:
            self.copied -= 1
        if key in self._keys:
            self._keys.remove(key)
            delete_media([key])

    def take_back(self) -> None:
        """Remove every copy: the transaction that was to know them did not commit."""
        delete_media(self._keys)
        self._keys.clear()
        self.copied = 0
