"""Reads the assets of an Anthias (Screenly OSE) SQLite file of any era, 2012 to today.

Called by `assets.importing`. Pure: no Django. It works on a private copy taken under SQLite's own
read locks, so it never writes to the source or beside it, works from a read-only folder, honours
a `-wal` or `-journal` next to the file, and is not disturbed by a player that goes on writing.
Whatever makes the whole file unreadable is a NotAnAnthiasDatabase before the first row.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import sqlite3
import stat
import struct
import sys
import tempfile
import time as clock
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path

from assets import anthias_values as values
from assets.anthias_values import Json, Stored

# A value beyond this is no name, address or metadata that a player ever wrote.
MAX_VALUE_BYTES = 1024 * 1024
# The unique index on (tenant_id, asset_id) cannot hold more than about 2,700 bytes.
MAX_ASSET_ID_BYTES = 1024

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_PAGE_SIZES = frozenset(2**power for power in range(9, 17))
_CHUNK = 1024 * 1024
# Where SQLite keeps its locks: in the database file (rollback mode) and in the -shm file (WAL).
_PENDING_BYTE = 0x40000000
_SHARED_FIRST, _SHARED_SIZE = _PENDING_BYTE + 2, 510
_WAL_WRITE_LOCK = 120

# The newest of these columns that is there names the era (SPEC section 11).
_ERA_OF_COLUMN = (
    ("skip_ssl_verify", "2026-07-09 0007"),
    ("metadata", "2026-05-07 0006"),
    ("play_days", "2026-05-02 0004"),
    ("play_time_from", "2026-05-02 0004"),
    ("play_time_to", "2026-05-02 0004"),
    ("is_reachable", "2026-05-02 0003"),
    ("last_reachability_check", "2026-05-02 0003"),
    ("skip_asset_check", "2018-10"),
    ("is_processing", "2017-07"),
    ("play_order", "2013-03"),
    ("is_enabled", "2013-02"),
    ("nocache", "2013-02"),
)

# In the order in which `_row` takes them; the SQL stands in for a column the era does not have.
# Before 2013-02 there was no switch: an asset played when its dates said so, hence is_enabled 1.
_COLUMNS = {
    "asset_id": "NULL",
    "name": "NULL",
    "uri": "NULL",
    "md5": "NULL",
    "start_date": "NULL",
    "end_date": "NULL",
    "duration": "NULL",
    "mimetype": "NULL",
    "is_enabled": "1",
    "is_processing": "0",
    "nocache": "0",
    "play_order": "0",
    "skip_asset_check": "0",
    "skip_ssl_verify": "0",
    "play_days": "'[1, 2, 3, 4, 5, 6, 7]'",
    "play_time_from": "NULL",
    "play_time_to": "NULL",
    "is_reachable": "1",
    "last_reachability_check": "NULL",
    "metadata": "'{}'",
}
# Everything else is a number, a moment or a short list, or is taken for junk.
_UNBOUNDED = [
    (name, place)
    for place, name in enumerate(_COLUMNS)
    if name in {"name", "uri", "md5", "mimetype", "metadata"}
]

# Complaints of PRAGMA quick_check about values and indexes: odd, but every row can be read.
_HARMLESS = (
    "NULL value in",
    "CHECK constraint failed",
    "NUMERIC value in",
    "TEXT value in",
    "non-",
    "row ",
    "wrong # of entries",
)


class NotAnAnthiasDatabase(Exception):
    """The file cannot be imported at all; `reason` and str() are one line for a person."""

    def __init__(self, path: Path, reason: str) -> None:
        """Bring `reason` onto one line, wherever it came from."""
        self.path = path
        self.reason = " ".join(reason.split())
        super().__init__(f"{' '.join(str(path).split())}: {self.reason}")


@dataclass(frozen=True, slots=True)
class AnthiasRow:
    """One asset with sound values; `notes` has a sentence for each value that was not sound."""

    asset_id: str
    name: str | None
    uri: str | None
    md5: str | None
    start_date: datetime | None
    end_date: datetime | None
    duration: int | None
    mimetype: str | None
    is_enabled: bool
    is_processing: bool
    nocache: bool
    play_order: int
    skip_asset_check: bool
    skip_ssl_verify: bool
    play_days: tuple[int, ...]
    play_time_from: time | None
    play_time_to: time | None
    is_reachable: bool
    last_reachability_check: datetime | None
    metadata: dict[str, Json]
    legacy_metadata: Json
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot become an asset. `original_id` is '' where the row has none."""

    original_id: str
    reason: str


class AnthiasDatabase:
    """An opened library: `era`, `columns` as declared, `digest` (SHA-256 of the main file)."""

    def __init__(self, path: Path, digest: str, connection: sqlite3.Connection) -> None:
        """Check the copy behind `connection`; `open_database` is what makes these."""
        self.path = path
        self.digest = digest
        self._connection = connection
        with _translated(path):
            self._check_structure()
            declared = {
                str(_plain(row[1])).lower(): str(_plain(row[2])).lower()
                for row in connection.execute("PRAGMA table_xinfo(assets)")
            }
        self.columns = tuple(declared)
        if "asset_id" not in declared:
            raise NotAnAnthiasDatabase(path, "its assets table has no asset_id column")
        self.era = _era(declared)

    def count(self) -> int:
        """Return how many rows `rows` will yield."""
        with _translated(self.path):
            (count,) = self._connection.execute("SELECT count(*) FROM assets").fetchone()
        return int(count)

    def rows(self) -> Iterator[AnthiasRow | RejectedRow]:
        """Yield every row in the order of insertion, one at a time."""
        selected = ", ".join(
            f'"{name}"' if name in self.columns else missing for name, missing in _COLUMNS.items()
        )
        switchless = "is_enabled" not in self.columns
        seen: set[str] = set()
        with _translated(self.path):
            # Without ORDER BY a plain scan runs in rowid order, and it is also right for a
            # table WITHOUT ROWID, which has no such column to order by.
            cursor = self._connection.execute(f"SELECT {selected} FROM assets NOT INDEXED")  # noqa: S608 -- constants
            for position, stored in enumerate(cursor, start=1):
                notes: list[str] = []
                if switchless:
                    notes.append("is_enabled: this era had no switch, dates alone decided: true")
                yield _accepted(stored, position, notes, seen)

    def _check_structure(self) -> None:
        """Raise unless there is an ordinary table `assets` whose every page can be read."""
        connection = self._connection
        connection.execute("PRAGMA query_only = ON")
        tables = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND lower(name) = 'assets'"
        ).fetchall()
        # A view or a virtual table of that name could run anything; Anthias never made one.
        if not tables or not tables[0][0]:
            raise NotAnAnthiasDatabase(self.path, "has no assets table")
        for (complaint,) in connection.execute("PRAGMA quick_check(assets)"):
            verdict = str(_plain(complaint))
            if verdict != "ok" and not verdict.startswith(_HARMLESS):
                first = verdict.removeprefix("*** in database main ***").strip().splitlines()[0]
                raise NotAnAnthiasDatabase(self.path, f"is damaged or truncated ({first})")


@contextmanager
def open_database(path: Path | str, *, lock_timeout_s: float = 2.0) -> Iterator[AnthiasDatabase]:
    """Open the library at `path` for reading within the block.

    Raises NotAnAnthiasDatabase when it is missing, no regular file, unreadable, empty, not SQLite
    (or encrypted), truncated or damaged, locked for longer than `lock_timeout_s`, or without an
    assets table that has an asset_id.
    """
    source = Path(path)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="signate-import-"))
        copy = Path(folder) / "library.db"
        try:
            digest = _copy(source, copy, lock_timeout_s)
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            raise NotAnAnthiasDatabase(source, reason) from error
        with _translated(source):
            connection = stack.enter_context(closing(sqlite3.connect(copy, isolation_level=None)))
        connection.text_factory = bytes
        yield AnthiasDatabase(source, digest, connection)


def _accepted(
    stored: tuple[Stored, ...], position: int, notes: list[str], seen: set[str]
) -> AnthiasRow | RejectedRow:
    """Return the row, rejected if its id is missing, too long or in `seen`, or a value huge."""
    asset_id = values.text(stored[0], notes, "asset_id")
    if asset_id is None or not asset_id.strip():
        return RejectedRow("", f"row {position} has no asset_id")
    if len(asset_id.encode()) > MAX_ASSET_ID_BYTES:
        reason = f"row {position} has an asset_id longer than {MAX_ASSET_ID_BYTES} bytes"
        return RejectedRow(asset_id[:100], reason)
    if asset_id in seen:
        return RejectedRow(asset_id, f"row {position} has an asset_id that came before")
    for name, place in _UNBOUNDED:
        value = stored[place]
        if isinstance(value, bytes) and len(value) > MAX_VALUE_BYTES:
            reason = f"the value of {name} is longer than {MAX_VALUE_BYTES // 1024} KiB"
            return RejectedRow(asset_id, reason)
    seen.add(asset_id)
    return _row(asset_id, stored, notes)


def _row(asset_id: str, stored: tuple[Stored, ...], notes: list[str]) -> AnthiasRow:
    (
        _,
        name,
        uri,
        md5,
        start_date,
        end_date,
        duration,
        mimetype,
        is_enabled,
        is_processing,
        nocache,
        play_order,
        skip_asset_check,
        skip_ssl_verify,
        play_days,
        play_time_from,
        play_time_to,
        is_reachable,
        last_reachability_check,
        metadata,
    ) = stored
    switch_default = is_enabled == b"is_enabled"
    sound, legacy = values.metadata(metadata, notes)
    return AnthiasRow(
        asset_id=asset_id,
        name=values.text(name, notes, "name"),
        uri=values.text(uri, notes, "uri"),
        md5=values.text(md5, notes, "md5"),
        start_date=values.instant(start_date, notes, "start_date"),
        end_date=values.instant(end_date, notes, "end_date"),
        duration=values.duration(duration, notes),
        mimetype=values.text(mimetype, notes, "mimetype"),
        is_enabled=values.flag(is_enabled, notes, "is_enabled", default=switch_default),
        is_processing=values.flag(is_processing, notes, "is_processing", default=False),
        nocache=values.flag(nocache, notes, "nocache", default=False),
        play_order=values.play_order(play_order, notes),
        skip_asset_check=values.flag(skip_asset_check, notes, "skip_asset_check", default=False),
        skip_ssl_verify=values.flag(skip_ssl_verify, notes, "skip_ssl_verify", default=False),
        play_days=values.play_days(play_days, notes),
        play_time_from=values.clock(play_time_from, notes, "play_time_from"),
        play_time_to=values.clock(play_time_to, notes, "play_time_to"),
        is_reachable=values.flag(is_reachable, notes, "is_reachable", default=True),
        last_reachability_check=values.instant(
            last_reachability_check, notes, "last_reachability_check"
        ),
        metadata=sound,
        legacy_metadata=legacy,
        notes=tuple(notes),
    )


def _era(declared: dict[str, str]) -> str:
    for column, era in _ERA_OF_COLUMN:
        if column in declared:
            # Django's first migration kept the columns of 2018-10 and changed their types.
            if era == "2018-10" and declared.get("duration") == "bigint":
                return "2024-10"
            return era
    return "2012-07"


def _copy(source: Path, copy: Path, lock_timeout_s: float) -> str:
    """Copy the database and what belongs to it; return the SHA-256 of the main file.

    Holds the locks an SQLite reader would hold, so the copy is of one moment. Raises OSError,
    or NotAnAnthiasDatabase for what can be told without opening the copy.
    """
    with open(source, "rb", opener=_open_without_waiting) as file, ExitStack() as locks:
        descriptor = file.fileno()
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotAnAnthiasDatabase(source, "is not a regular file")
        if not status.st_size:
            raise NotAnAnthiasDatabase(source, "is empty")
        header = file.read(_HEADER_BYTES)
        if not header.startswith(_MAGIC):
            raise NotAnAnthiasDatabase(source, "is not an SQLite database, or is encrypted")
        deadline = clock.monotonic() + lock_timeout_s
        _hold(source, descriptor, _PENDING_BYTE, 1, deadline)
        _hold(source, descriptor, _SHARED_FIRST, _SHARED_SIZE, deadline)
        try:
            shared_memory = locks.enter_context(Path(f"{source}-shm").open("rb"))
        except FileNotFoundError:
            pass
        else:
            _hold(source, shared_memory.fileno(), _WAL_WRITE_LOCK, 2, deadline)
        file.seek(0)
        digest = hashlib.sha256()
        with copy.open("wb") as target:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                target.write(chunk)
        recoverable = [_copy_companion(source, copy, suffix) for suffix in ("-wal", "-journal")]
        # With a log beside it a short file is only unfinished, and SQLite completes the copy.
        if not any(recoverable) and file.tell() < _declared_size(header, file.tell()):
            raise NotAnAnthiasDatabase(source, "is damaged or truncated (its end is missing)")
    return digest.hexdigest()


def _copy_companion(source: Path, copy: Path, suffix: str) -> bool:
    target = Path(f"{copy}{suffix}")
    try:
        shutil.copyfile(f"{source}{suffix}", target)
    except FileNotFoundError:
        return False
    return target.stat().st_size > 0


def _declared_size(header: bytes, size: int) -> int:
    """Return how long the file should be. SQLite reads the missing part of a last page as zeros."""
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    if page not in _PAGE_SIZES:
        return 0  # nonsense, which SQLite will name
    count_is_valid = header[24:28] == header[92:96]
    pages = int.from_bytes(header[28:32], "big") if count_is_valid else 0
    return page * (pages or -(-size // page))


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO in the file's place cannot hang us


def _hold(source: Path, descriptor: int, start: int, length: int, deadline: float) -> None:
    """Take a read lock, as SQLite does; released when the descriptor is closed."""
    while True:
        try:
            if sys.platform == "linux":
                # Belongs to this descriptor, so it also meets locks of this very process.
                wish = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wish)
            else:
                fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, length, start)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EAGAIN}:
                return  # A file system without locks: nobody else can hold one either.
            if clock.monotonic() >= deadline:
                raise NotAnAnthiasDatabase(source, "is locked by another process") from error
            clock.sleep(0.05)
        else:
            return


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        message = str(error)
        if "not a database" in message:
            reason = "is not an SQLite database, or is encrypted"
        elif "malformed" in message or "disk I/O error" in message:
            reason = f"is damaged or truncated (SQLite: {message})"
        else:
            reason = f"cannot be read (SQLite: {message})"
        raise NotAnAnthiasDatabase(path, reason) from error


def _plain(value: object) -> object:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
