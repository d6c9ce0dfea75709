"""The rules that turn what an Anthias SQLite file holds into values an asset may have.

Called by `assets.anthias_database` for every stored value. Pure: no Django, no file, no
database. A bad value never raises here: the nearest sound one is returned and a sentence saying
so is appended to `notes`.
"""

import json
import math
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TypeAlias, TypeGuard

# What sqlite3 hands out when its text_factory is bytes: TEXT and BLOB both arrive as bytes.
Stored: TypeAlias = int | float | bytes | None
# JSON has no shape that a type could promise; every use narrows it.
Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
Notes: TypeAlias = list[str]

EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
MAX_REFRESH_INTERVAL_S = 86_400
MAX_HEADERS = 20
MAX_HEADER_NAME = 256
MAX_HEADER_VALUE_BYTES = 4_096
# PostgreSQL and Python both recurse over nested JSON; no player ever wrote more than three levels.
MAX_JSON_DEPTH = 64

_LONGEST_SCALAR = 64  # bytes: no number, moment or list of weekdays takes more
_LONGEST_SHOWN = 40
_MINUTES = range(60)
_BIGINT = range(-(2**63), 2**63)
_INT = range(-(2**31), 2**31)
_TRUE = frozenset({b"1", b"true", b"t", b"yes", b"y", b"on", b"1.0"})
_FALSE = frozenset({b"0", b"false", b"f", b"no", b"n", b"off", b"0.0"})
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_INSTANT = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:[T ]+(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.,](\d{1,9}))?)?\s*(Z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII | re.IGNORECASE,
)
_CLOCK = re.compile(r"(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.,](\d{1,9}))?)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)


def text(value: Stored, notes: Notes, field: str) -> str | None:
    """Return what is stored as text PostgreSQL can hold: no NUL, no bytes beyond UTF-8."""
    if value is None:
        return None
    if not isinstance(value, bytes):
        return str(value)
    try:
        decoded = value.decode()
    except UnicodeDecodeError:
        decoded = value.decode(errors="ignore")
        notes.append(f"{field}: bytes that are not UTF-8 were removed")
    if "\0" in decoded:
        decoded = decoded.replace("\0", "")
        notes.append(f"{field}: NUL characters were removed")
    return decoded


def flag(value: Stored, notes: Notes, field: str, *, default: bool) -> bool:
    """Return a boolean of any spelling; `default` for nothing, junk and the column's own name.

    The own name is what SQLite stored for a missing column when upstream's Django upgrade ran
    over a schema older than 2013-03 (SPEC section 11).
    """
    if value == 1:
        return True
    if value == 0:
        return False
    if isinstance(value, bytes):
        spelling = value.strip().lower()
        if spelling in _TRUE:
            return True
        if spelling in _FALSE:
            return False
    elif value is not None:
        notes.append(f"{field}: {_shown(value)} taken as true")
        return True
    notes.append(f"{field}: {_junk(value, field)}, {str(default).lower()} used")
    return default


def play_order(value: Stored, notes: Notes, field: str = "play_order") -> int:
    """Return the place in the list; 0 for junk, the nearest 32-bit integer if out of range."""
    if isinstance(value, int) and value in _INT:
        return value
    number = _number(value)
    if number is None:
        notes.append(f"{field}: {_junk(value, field)}, 0 used")
        return 0
    nearest = int(min(max(number, Decimal(_INT.start)), Decimal(_INT.stop - 1)))
    if nearest != number:
        notes.append(f"{field}: {_shown(value)} brought to {nearest}")
    return nearest


def duration(value: Stored, notes: Notes, field: str = "duration") -> int | None:
    """Return whole seconds, unbounded as Anthias has them; None where no number is stored.

    12.5 becomes 12, as Anthias's v2 shows it.
    """
    if value is None or (isinstance(value, int) and value in _BIGINT):
        return value
    number = _number(value)
    if number is None:
        notes.append(f"{field}: {_shown(value)} is not a number of seconds, left empty")
        return None
    if not Decimal(_BIGINT.start) <= number < Decimal(_BIGINT.stop):
        notes.append(f"{field}: {_shown(value)} is out of range, left empty")
        return None
    seconds = int(number)
    if seconds != number:
        notes.append(f"{field}: {_shown(value)} cut to {seconds} whole seconds")
    return seconds


def instant(value: Stored, notes: Notes, field: str) -> datetime | None:
    """Return an aware UTC datetime; without an offset it is UTC in every era (SPEC section 11)."""
    if value is None:
        return None
    moment = _parse_instant(value) if _is_short(value) else None
    if moment is None:
        notes.append(f"{field}: {_shown(value)} is not a date, left empty")
    return moment


def clock(value: Stored, notes: Notes, field: str) -> time | None:
    """Return a naive time of day; None for junk."""
    if value is None:
        return None
    moment = _parse_clock(value) if _is_short(value) else None
    if moment is None:
        notes.append(f"{field}: {_shown(value)} is not a time of day, left empty")
    return moment


def play_days(value: Stored, notes: Notes, field: str = "play_days") -> tuple[int, ...]:
    """Return weekdays 1 (Monday) to 7, sorted and unique; all seven where none is sound."""
    days, problem = _parse_days(value) if _is_short(value) else (EVERY_DAY, "is not a list")
    if problem:
        used = "every day" if days == EVERY_DAY else list(days)
        notes.append(f"{field}: {_shown(value)} {problem}, {used} used")
    return days


def metadata(value: Stored, notes: Notes, field: str = "metadata") -> tuple[dict[str, Json], Json]:
    """Return the sound form of the stored JSON, and what was stored if that differs (else None).

    Sound is what Anthias's v2 shows: an object, `refresh_interval_s` within 0..86400, `headers`
    with valid entries only. Both forms are free of what jsonb refuses (NUL, lone surrogates, NaN,
    infinities).
    """
    if value == b"{}":
        return {}, None
    try:
        parsed: Json = json.loads(text(value, notes, field) or "")
        depth = _depth(parsed)
    except (ValueError, RecursionError):
        notes.append(f"{field}: {_shown(value)} is not JSON, an empty object used")
        return {}, None
    if depth > MAX_JSON_DEPTH:
        notes.append(f"{field}: nested deeper than {MAX_JSON_DEPTH}, an empty object used")
        return {}, None
    stored = _storable(parsed, notes, field)
    if not isinstance(parsed, dict):
        notes.append(f"{field}: {_shown(value)} is not an object, an empty one used")
        return {}, stored
    before = len(notes)
    sound = dict(parsed)
    if "refresh_interval_s" in sound:
        _bound_refresh_interval(sound, notes, field)
    if "headers" in sound:
        sound["headers"] = sound_headers(sound["headers"], notes, f"{field}.headers")
    if len(notes) == before and sound == parsed:
        return _as_object(stored), None
    return _as_object(_storable(sound, [], field)), stored


def sound_headers(value: Json, notes: Notes, field: str) -> dict[str, Json]:
    """Return the entries a player may send: token names, one-line values, at most 20 of them."""
    if not isinstance(value, dict):
        notes.append(f"{field}: not an object, an empty one used")
        return {}
    kept: dict[str, Json] = {}
    for name, content in value.items():
        problem = _header_problem(name, content, kept)
        if problem:
            notes.append(f"{field}: {_shown(name)} dropped, {problem}")
        else:
            kept[name.strip()] = content
    return kept


def _header_problem(name: str, content: Json, kept: Collection[str]) -> str | None:
    token = name.strip()
    if len(token) > MAX_HEADER_NAME or not _HEADER_NAME.fullmatch(token):
        return "not a header name"
    if not isinstance(content, str):
        return "its value is not text"
    if any(character in content for character in "\r\n\0"):
        return "its value has more than one line"
    if len(content.encode(errors="replace")) > MAX_HEADER_VALUE_BYTES:
        return f"its value is longer than {MAX_HEADER_VALUE_BYTES} bytes"
    if len(kept) >= MAX_HEADERS:
        return f"more than {MAX_HEADERS} headers"
    return None


def _bound_refresh_interval(target: dict[str, Json], notes: Notes, field: str) -> None:
    stored = target["refresh_interval_s"]
    place = f"{field}.refresh_interval_s"
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not math.isfinite(stored):
        del target["refresh_interval_s"]
        notes.append(f"{place}: {_shown(stored)} is not a number of seconds, dropped")
        return
    bounded = min(max(int(stored), 0), MAX_REFRESH_INTERVAL_S)
    if isinstance(stored, float) or bounded != stored:
        target["refresh_interval_s"] = bounded
        notes.append(f"{place}: {_shown(stored)} brought to {bounded}")


def _storable(value: Json, notes: Notes, field: str) -> Json:
    """Return the same JSON without what jsonb refuses; one note per kind, however often."""
    found: set[str] = set()
    clean = _scrub(value, found.add)
    notes.extend(f"{field}: {what}" for what in sorted(found))
    return clean


def _scrub(value: Json, found: Callable[[str], None]) -> Json:
    if isinstance(value, str):
        if "\0" in value:
            found("NUL characters were removed")
            value = value.replace("\0", "")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            found("halves of surrogate pairs were removed")
            value = value.encode(errors="ignore").decode()
        return value
    if isinstance(value, float) and not math.isfinite(value):
        found("a number that is none (NaN or infinity) became null")
        return None
    if isinstance(value, dict):
        return {str(_scrub(key, found)): _scrub(item, found) for key, item in value.items()}
    if isinstance(value, list):
        return [_scrub(item, found) for item in value]
    return value


def _depth(value: Json) -> int:
    """Count levels of nesting without recursion: the input may be built to exhaust a stack."""
    level: list[Json] = [value]
    depth = 0
    while level and depth <= MAX_JSON_DEPTH:
        depth += 1
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


def _as_object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _is_short(value: Stored) -> TypeGuard[bytes]:
    """Tell whether this can be a number, a moment or a list of days; keeps what is cached small."""
    return isinstance(value, bytes) and len(value) <= _LONGEST_SCALAR


def _number(value: Stored) -> Decimal | None:
    if _is_short(value):
        spelling = value.decode(errors="replace").strip()
        if not _NUMBER.fullmatch(spelling):
            return None
    else:
        spelling = str(value)
    try:
        number = Decimal(spelling)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


@lru_cache(maxsize=4096)
def _parse_instant(value: bytes) -> datetime | None:
    match = _INSTANT.fullmatch(value.decode(errors="replace").strip())
    if not match:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        moment = datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            _microseconds(fraction),
            tzinfo=UTC,
        )
        return moment - _offset(offset)
    except (ValueError, OverflowError):
        return None


def _offset(spelling: str | None) -> timedelta:
    if not spelling or spelling in {"Z", "z"}:
        return timedelta()
    digits = spelling[1:].replace(":", "")
    minutes = int(digits[2:] or 0)
    if minutes not in _MINUTES:
        raise ValueError("an offset has at most 59 minutes")
    ahead = timedelta(hours=int(digits[:2]), minutes=minutes)
    return -ahead if spelling[0] == "-" else ahead


@lru_cache(maxsize=1024)
def _parse_clock(value: bytes) -> time | None:
    match = _CLOCK.fullmatch(value.decode(errors="replace").strip())
    if not match:
        return None
    hour, minute, second, fraction = match.groups()
    try:
        return time(int(hour), int(minute), int(second or 0), _microseconds(fraction))
    except ValueError:
        return None


def _microseconds(fraction: str | None) -> int:
    return int((fraction or "")[:6].ljust(6, "0"))


@lru_cache(maxsize=1024)
def _parse_days(value: bytes) -> tuple[tuple[int, ...], str]:
    """Return the sound weekdays, and what was wrong with the rest ('' when nothing was)."""
    try:
        stored = json.loads(value)
    except (ValueError, RecursionError):
        return EVERY_DAY, "is not JSON"
    if not isinstance(stored, list):
        return EVERY_DAY, "is not a list"
    # True counts as an int in Python, and as no weekday here.
    sound = [day for day in stored if type(day) is int and day in EVERY_DAY]
    if not sound:
        return EVERY_DAY, "has no day from 1 to 7"
    dropped = len(stored) - len(sound)
    return tuple(sorted(set(sound))), "has more than days from 1 to 7" if dropped else ""


def _junk(value: Stored, field: str) -> str:
    if value is None:
        return "nothing stored"
    if value == field.encode():
        return "its own column name stored (left by an upgrade that skipped a step)"
    return f"{_shown(value)} is not understood"


def _shown(value: object) -> str:
    """Spell a stored value for a note: one line, text quoted, at most 40 characters of it."""
    if value is None:
        return "nothing"
    if isinstance(value, bytes):
        value = value[:_LONGEST_SCALAR].decode(errors="replace")
    shown = str(value)
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}..."
    if not isinstance(value, str):
        return shown
    return repr(shown) if shown.isprintable() else ascii(shown)
