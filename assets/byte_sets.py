"""Which bytes of a file have arrived: sorted pairs [start, end) that do not touch. Pure.

Called by assets.uploads, which keeps them in a row (`Upload.received`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Pairs = Sequence[Sequence[int]]


def merged(pairs: Pairs, start: int, end: int) -> list[list[int]]:
    """Return `pairs` with the bytes from `start` to before `end`, which may be none."""
    if start >= end:
        return [list(pair) for pair in pairs]
    found: list[list[int]] = []
    for low, high in sorted((*map(tuple, pairs), (start, end))):
        if found and low <= found[-1][1]:
            found[-1][1] = max(found[-1][1], high)
        else:
            found.append([low, high])
    return found


def cut(pairs: Pairs, size: int) -> list[list[int]]:
    """Return what of `pairs` lies in a file of `size` bytes."""
    return [[low, min(high, size)] for low, high in pairs if low < size]


def resume_at(pairs: Pairs) -> int:
    """Return how many bytes are there from the beginning without a gap."""
    return pairs[0][1] if pairs and pairs[0][0] == 0 else 0


def is_whole(pairs: Pairs, size: int) -> bool:
    """Return whether every byte of a file of `size` bytes is there."""
    return resume_at(pairs) >= size


def missing(pairs: Pairs, size: int) -> Iterable[tuple[int, int]]:
    """Yield the pairs [start, end) that are not there, in order."""
    at = 0
    for low, high in pairs:
        if low > at:
            yield at, low
        at = high
    if at < size:
        yield at, size
