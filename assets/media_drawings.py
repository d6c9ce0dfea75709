"""SVG: read as XML within bounds, never drawn. Called by assets.media_child.

A drawing may carry scripts and references: it is kept as it is and served inert, so that here
only its size matters, and that no reader of it can be made to expand entities.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from assets.media import MediaRefused, Understanding

if TYPE_CHECKING:
    from assets.media_work import Work

_PIECE = 65_536
_DEEPEST = 1_000
_LARGEST = 1_000_000
_LENGTH = re.compile(
    r"\s*\+?(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})(px|pt|pc|mm|cm|in|q)?\s*\Z", re.ASCII | re.IGNORECASE
)
# CSS Values 3 section 5.2: pixels of an absolute unit.
_PIXELS = {
    "": 1.0,
    "px": 1.0,
    "in": 96.0,
    "cm": 96 / 2.54,
    "mm": 9.6 / 2.54,
    "q": 2.4 / 2.54,
    "pt": 4 / 3,
    "pc": 16.0,
}


def drawing(work: Work) -> Understanding:
    """Return what an SVG says of itself; raises MediaRefused."""
    root = _root(work)
    width, height = _size(root)
    return Understanding(
        media_type=work.media_type,
        width=width,
        height=height,
        duration_s=None,
        is_animated=False,
        converted=None,
        thumbnail=None,
        metadata={"original_ext": work.media_type.extension, "transcoded": False},
    )


def _root(work: Work) -> dict[str, str]:
    """Read it all, and return the attributes of its root."""
    if work.path.stat().st_size > work.limits.drawing_bytes:
        raise MediaRefused(
            f"A drawing has {work.limits.drawing_bytes // 2**20} MB at most. Save it as PNG."
        )
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.EntityDeclHandler = reader.entity
    try:
        with work.path.open("rb") as file:
            while piece := file.read(_PIECE):
                parser.Parse(piece, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise MediaRefused(
            f"The drawing is not well-formed XML: {expat.ErrorString(error.code)} in line "
            f"{error.lineno}."
        ) from None
    except (LookupError, ValueError):
        raise MediaRefused("The drawing is in an encoding that is not known. Use UTF-8.") from None
    return reader.root


class _Reader:
    """What expat tells of; raises MediaRefused for what no reader should be given."""

    def __init__(self) -> None:
        self.root: dict[str, str] = {}
        self.depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth == 1:
            if name.rpartition(" ")[2] != "svg":
                raise MediaRefused("This XML document is not a drawing.")
            self.root = attributes
        if self.depth > _DEEPEST:
            raise MediaRefused(f"The drawing is nested deeper than {_DEEPEST:,} elements.")

    def end(self, _name: str) -> None:
        self.depth -= 1

    def entity(self, *_declaration: Any) -> None:
        raise MediaRefused("The drawing declares entities. Save it again as plain SVG.")


def _size(root: dict[str, str]) -> tuple[int | None, int | None]:
    """Return pixels from width and height; what one of them lacks follows from the viewBox."""
    width, height = _length(root.get("width", "")), _length(root.get("height", ""))
    box = _box(root.get("viewBox", ""))
    if box and not width:
        width = height * box[0] / box[1] if height else box[0]
        height = height or box[1]
    elif box and not height:
        height = (width or 0.0) * box[1] / box[0]
    return _pixels(width), _pixels(height)


def _length(text: str) -> float | None:
    """Return pixels; None for percentages, which are of a page that is not known."""
    match = _LENGTH.match(text)
    return float(match[1]) * _PIXELS[(match[2] or "").lower()] if match else None


def _box(text: str) -> tuple[float, float] | None:
    parts = text.replace(",", " ").split()
    try:
        _, _, width, height = map(float, parts)
    except ValueError:
        return None
    is_sound = math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0
    return (width, height) if is_sound else None


def _pixels(value: float | None) -> int | None:
    return max(1, round(value)) if value and 0 < value <= _LARGEST else None
