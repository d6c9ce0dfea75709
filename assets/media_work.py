"""One file to understand, as the media child hands it to whoever knows its kind."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.media import CONVERTED, THUMBNAIL

if TYPE_CHECKING:
    from pathlib import Path

    from assets.media import MediaLimits
    from assets.sniffing import MediaType

# What is wrong with the place, not with the file: who tries again may have more luck.
PLACE_TROUBLES = frozenset({errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
CUT_OFF = "The file ends too early: it was cut off on its way. Upload it again."


@dataclass(frozen=True, slots=True)
class Work:
    """The file, what it was recognised as, where to make new files, and what there is to help."""

    path: Path
    workspace: Path
    media_type: MediaType
    limits: MediaLimits
    ffprobe: str | None = None
    ffmpeg: str | None = None

    @property
    def converted(self) -> Path:
        """Where a converted picture goes."""
        return self.workspace / CONVERTED

    @property
    def thumbnail(self) -> Path:
        """Where the small picture goes."""
        return self.workspace / THUMBNAIL


def size_in_words(width: int, height: int) -> str:
    """Return `640 × 480 pixels`."""  # noqa: RUF002 -- how a size is written
    return f"{width} × {height} pixels"  # noqa: RUF001 -- as above
