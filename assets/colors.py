"""A tenant's colour, made readable (WCAG 2.2, contrast of 4.5 to 1). Pure.

Colours are `#` and six hexadecimal digits.
"""

from __future__ import annotations

READABLE = 4.5
# From here on, black reads better on a colour than a darker one with white would look.
_BRIGHT = 0.4
_STEPS = 40


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    dark, bright = sorted((_luminance(one), _luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def readable_on(color: str, ground: str) -> str:
    """Return the colour, only so much darker or brighter that text of it reads on `ground`."""
    end = "#000000" if _luminance(ground) > 0.18 else "#ffffff"
    steps = (_mixed(color, end, step / _STEPS) for step in range(_STEPS + 1))
    return next(mixed for mixed in steps if contrast(mixed, ground) >= READABLE)


def surface(color: str) -> tuple[str, str]:
    """Return what to fill something with, near to `color`, and the colour of text on it."""
    if _luminance(color) > _BRIGHT:
        return color, "#000000"
    return readable_on(color, "#ffffff"), "#ffffff"


def _channels(color: str) -> list[int]:
    return [int(color[place : place + 2], 16) for place in (1, 3, 5)]


def _luminance(color: str) -> float:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in _channels(color))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _mixed(color: str, end: str, share: float) -> str:
    pairs = zip(_channels(color), _channels(end), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
