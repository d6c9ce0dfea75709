"""Anthias SQLite files of every era, made for a test under the table definitions of those times."""

import sqlite3
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CURRENT = ROOT / "assets/samples/anthias-current/anthias.db"
CURRENT_MEDIA = CURRENT.parent / "anthias_assets"
SCREENLY_2016 = ROOT / "assets/samples/screenly-2016-03/screenly.db"
SCREENLY_2016_MEDIA = SCREENLY_2016.parent / "screenly_assets"
DATA = ROOT / "tests/data/anthias"

_FIRST = (
    "asset_id TEXT, name TEXT, {filename}uri TEXT, md5 TEXT, start_date TIMESTAMP, "
    "end_date TIMESTAMP, duration TEXT, mimetype TEXT"
)
_2013_02 = _FIRST.format(filename="") + ", is_enabled INTEGER default 0, nocache INTEGER default 0"
_2013_03 = (
    _2013_02.replace("asset_id TEXT", "asset_id text primary key")
    + ", play_order integer default 0"
)
_2017_07 = _2013_03 + ", is_processing integer default 0"
_2018_10 = _2017_07 + ", skip_asset_check integer default 0"
_2024_10 = (
    '"asset_id" text NOT NULL PRIMARY KEY, "name" text NULL, "uri" text NULL, "md5" text NULL, '
    '"start_date" datetime NULL, "end_date" datetime NULL, "duration" bigint NULL, '
    '"mimetype" text NULL, "is_enabled" bool NOT NULL, "is_processing" bool NOT NULL, '
    '"nocache" bool NOT NULL, "play_order" integer NOT NULL, "skip_asset_check" bool NOT NULL'
)
_0003 = _2024_10 + ', "is_reachable" bool NOT NULL, "last_reachability_check" datetime NULL'
_0004 = _0003 + ', "play_days" text NOT NULL, "play_time_from" time NULL, "play_time_to" time NULL'
_0006 = _0004 + ', "metadata" text NOT NULL CHECK ((JSON_VALID("metadata") OR "metadata" IS NULL))'
_0007 = _0006 + ', "skip_ssl_verify" bool NOT NULL'

COLUMNS_OF_ERA = {
    "2012-07": _FIRST.format(filename="filename TEXT, "),
    "2013-02": _2013_02,
    "2013-03": _2013_03,
    "2017-07": _2017_07,
    "2018-10": _2018_10,
    "2024-10": _2024_10,
    "2026-05-02 0003": _0003,
    "2026-05-02 0004": _0004,
    "2026-05-07 0006": _0006,
    "2026-07-09 0007": _0007,
}

PLAIN: dict[str, Any] = {
    "asset_id": "a" * 32,
    "name": "Lobby",
    "filename": "lobby.png",
    "uri": "https://example.com/lobby",
    "md5": None,
    "start_date": "2024-01-01 00:00:00",
    "end_date": "2034-01-01 00:00:00",
    "duration": 10,
    "mimetype": "webpage",
    "is_enabled": 1,
    "is_processing": 0,
    "nocache": 0,
    "play_order": 3,
    "skip_asset_check": 0,
    "skip_ssl_verify": 0,
    "is_reachable": 1,
    "last_reachability_check": None,
    "play_days": "[1, 2, 3, 4, 5, 6, 7]",
    "play_time_from": None,
    "play_time_to": None,
    "metadata": "{}",
}


# Today's columns without types and checks: SQLite keeps whatever it is given.
UNTYPED = ", ".join(name for name in PLAIN if name != "filename")


def make_library(path: Path, rows: list[dict[str, Any]], *, columns: str = UNTYPED) -> Path:
    """Write a library at `path`; each row is PLAIN with the given values over it."""
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE assets ({columns})")
        present = [row[1] for row in connection.execute("PRAGMA table_info(assets)")]
        connection.executemany(
            f"INSERT INTO assets VALUES ({', '.join('?' * len(present))})",
            [[{**PLAIN, **row}.get(name.lower()) for name in present] for row in rows],
        )
    connection.close()
    return path
