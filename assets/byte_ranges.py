"""Which part of a file is asked for (RFC 9110 section 14). Pure."""

from __future__ import annotations

import re

_RANGE = re.compile(r"([0-9]*)-([0-9]*)\Z")
# No file has as many bytes; Python refuses to read numbers of thousands of digits.
_DIGITS = 18


class Unsatisfiable(ValueError):
    """The file has none of the bytes that are asked for."""


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and how many; None when the whole file is the answer.

    That is so without a header, for one that cannot be understood and for several ranges at once.
    Raises Unsatisfiable.
    """
    unit, _, listed = header.partition("=")
    ranges = [part for part in (one.strip(" \t") for one in listed.split(",")) if part]
    if unit.strip(" \t").lower() != "bytes" or len(ranges) != 1:
        return None
    asked = _RANGE.match(ranges[0])
    if asked is None or asked[0] == "-":
        return None
    first, last = asked[1], asked[2]
    if not first:
        return _ending(_number(last), size)
    start = _number(first)
    end = _number(last) if last else size
    if last and end < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, min(end + 1, size) - start


def _ending(length: int, size: int) -> tuple[int, int] | None:
    if length == 0:
        raise Unsatisfiable
    # All of nothing is a whole file: Content-Range has no way to say it.
    return (max(size - length, 0), min(length, size)) if size else None


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _DIGITS else 10**_DIGITS
