import errno
import fcntl
import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.anthias_database import (
    AnthiasRow,
    NotAnAnthiasDatabase,
    RejectedRow,
    open_database,
)
from assets.anthias_values import EVERY_DAY
from tests.assets.anthias_libraries import (
    COLUMNS_OF_ERA,
    CURRENT,
    DATA,
    PLAIN,
    SCREENLY_2016,
    make_library,
)


def read(path: Path) -> list[AnthiasRow | RejectedRow]:
    with open_database(path) as library:
        return list(library.rows())


def read_one(path: Path) -> AnthiasRow:
    (row,) = read(path)
    assert isinstance(row, AnthiasRow)
    return row


def refusal(path: Path) -> str:
    with pytest.raises(NotAnAnthiasDatabase) as refused, open_database(path, lock_timeout_s=0):
        pass
    assert str(refused.value) == f"{path}: {refused.value.reason}"
    assert "\n" not in str(refused.value)
    return refused.value.reason


def folder_state(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


# --- what Anthias shows -------------------------------------------------------------------------


def shown(moment: datetime | time | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def as_v2(row: AnthiasRow) -> dict[str, Any]:
    return {
        "asset_id": row.asset_id,
        "name": row.name,
        "uri": row.uri,
        "start_date": shown(row.start_date),
        "end_date": shown(row.end_date),
        "duration": row.duration,
        "mimetype": row.mimetype,
        "is_enabled": row.is_enabled,
        "nocache": row.nocache,
        "play_order": row.play_order,
        "skip_asset_check": row.skip_asset_check,
        "skip_ssl_verify": row.skip_ssl_verify,
        "is_processing": row.is_processing,
        "play_days": list(row.play_days),
        "play_time_from": shown(row.play_time_from),
        "play_time_to": shown(row.play_time_to),
        "is_reachable": row.is_reachable,
        "last_reachability_check": shown(row.last_reachability_check),
        "metadata": row.metadata,
        "refresh_interval_s": row.metadata.get("refresh_interval_s", 0),
        "custom_headers": row.metadata.get("headers", {}),
    }


def test_the_current_library_reads_as_anthias_v2_shows_it() -> None:
    expected = json.loads((DATA / "expected_v2_assets.json").read_text())
    for asset in expected:
        del asset["is_active"]  # decided by the clock; assets.schedule owns it

    rows = read(CURRENT)

    assert [as_v2(row) for row in rows if isinstance(row, AnthiasRow)] == expected


def test_the_raw_metadata_is_kept_where_v1_shows_something_else() -> None:
    v1 = {
        asset["asset_id"]: asset["metadata"]
        for asset in json.loads((DATA / "expected_v1_assets.json").read_text())
    }

    for row in read(CURRENT):
        assert isinstance(row, AnthiasRow)
        raw = row.metadata if row.legacy_metadata is None else row.legacy_metadata
        assert raw == v1[row.asset_id]


def test_notes_are_made_for_junk_and_for_nothing_else() -> None:
    noted = {
        row.name: row.notes for row in read(CURRENT) if isinstance(row, AnthiasRow) if row.notes
    }

    assert noted == {
        "junk: play_days not JSON": ("play_days: 'mon,tue' is not JSON, every day used",),
        "junk: play_days empty list": ("play_days: '[]' has no day from 1 to 7, every day used",),
        "junk: play_days 0 and 9": ("play_days: '[0, 9]' has no day from 1 to 7, every day used",),
        "junk: play_days empty string": ("play_days: '' is not JSON, every day used",),
        "junk: metadata refresh+headers": (
            "metadata.refresh_interval_s: 999999 brought to 86400",
            "metadata.headers: 'Bad Name' dropped, not a header name",
            "metadata.headers: 'N' dropped, its value is not text",
        ),
    }


# --- eras ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", COLUMNS_OF_ERA)
def test_every_era_is_recognised_and_reads_alike(tmp_path: Path, era: str) -> None:
    library = make_library(tmp_path / "screenly.db", [{}], columns=COLUMNS_OF_ERA[era])

    with open_database(library) as database:
        assert database.era == era
        assert database.count() == 1
        (row,) = database.rows()

    assert row == AnthiasRow(
        asset_id="a" * 32,
        name="Lobby",
        uri="https://example.com/lobby",
        md5=None,
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        end_date=datetime(2034, 1, 1, tzinfo=UTC),
        duration=10,
        mimetype="webpage",
        is_enabled=True,
        is_processing=False,
        nocache=False,
        play_order=0 if era < "2013-03" else 3,
        skip_asset_check=False,
        skip_ssl_verify=False,
        play_days=EVERY_DAY,
        play_time_from=None,
        play_time_to=None,
        is_reachable=True,
        last_reachability_check=None,
        metadata={},
        legacy_metadata=None,
        notes=("is_enabled: this era had no switch, dates alone decided: true",)
        if era == "2012-07"
        else (),
    )


OLD_LIBRARIES = {
    "2012-07": DATA / "screenly-2012-07.db",
    "2013-02": DATA / "screenly-2013-02.db",
    "2013-03": SCREENLY_2016,
    "2018-10": DATA / "screenly-2018-10.db",
}


@pytest.mark.parametrize("era", OLD_LIBRARIES)
def test_the_recorded_old_libraries_read_alike(era: str) -> None:
    with open_database(OLD_LIBRARIES[era]) as library:
        assert library.era == era
        rows = [row for row in library.rows() if isinstance(row, AnthiasRow)]

    assert [(row.name, row.duration, row.mimetype) for row in rows] == [
        ("logo.png", 10, "image"),
        ("clip.mp4", 3, "video"),
        ("Intranet", 30, "webpage"),
        ("Old web mimetype", 5, "web"),
        ("No dates", 10, "webpage"),
        ("Stream", 300, "streaming"),
        ("Blank duration", None, "webpage"),
        ("N/A duration Ünïcode", None, "webpage"),
        ("Float duration", 12, "webpage"),
        ("Processing", None, "video"),
        (None, None, None),
    ]
    assert rows[1].start_date == datetime(2014, 1, 1, 8, 15, 0, 123000, tzinfo=UTC)
    assert rows[4].start_date is None
    assert [row.play_order for row in rows[:3]] == ([0, 0, 0] if era < "2013-03" else [0, 1, 2])
    assert [row.is_processing for row in rows].count(True) == (1 if era == "2018-10" else 0)
    assert [row.is_enabled for row in rows].count(False) == (0 if era == "2012-07" else 2)
    about_duration = [note for row in rows for note in row.notes if note.startswith("duration")]
    assert about_duration == [
        "duration: '' is not a number of seconds, left empty",
        "duration: 'N/A' is not a number of seconds, left empty",
        "duration: '12.5' cut to 12 whole seconds",
        "duration: 'N/A' is not a number of seconds, left empty",
    ]


def test_column_names_left_as_values_by_an_upgrade_count_as_missing(tmp_path: Path) -> None:
    literals = {
        name: name
        for name in ("is_enabled", "is_processing", "nocache", "play_order", "skip_asset_check")
    }
    columns = COLUMNS_OF_ERA["2026-07-09 0007"]

    row = read_one(make_library(tmp_path / "upgraded.db", [literals], columns=columns))

    assert (row.is_enabled, row.is_processing, row.nocache) == (True, False, False)
    assert (row.play_order, row.skip_asset_check) == (0, False)
    left = "its own column name stored (left by an upgrade that skipped a step)"
    assert set(row.notes) == {
        f"is_enabled: {left}, true used",
        f"is_processing: {left}, false used",
        f"nocache: {left}, false used",
        f"play_order: {left}, 0 used",
        f"skip_asset_check: {left}, false used",
    }


def test_a_mix_of_columns_is_named_by_the_newest_and_read(tmp_path: Path) -> None:
    columns = "Asset_ID text, NAME text, play_days text, something_else blob"

    with open_database(make_library(tmp_path / "mixed.db", [{}], columns=columns)) as library:
        assert library.era == "2026-05-02 0004"
        assert library.columns == ("asset_id", "name", "play_days", "something_else")
        (row,) = library.rows()

    assert isinstance(row, AnthiasRow)
    assert row.name == "Lobby"
    assert row.uri is None


def test_a_table_without_rowid_and_one_with_odd_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "odd.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE "ASSETS" (asset_id TEXT PRIMARY KEY, rowid) WITHOUT ROWID')
        connection.execute("INSERT INTO assets VALUES ('b', 1), ('a', 2)")
        connection.commit()

    assert {row.asset_id for row in read(path) if isinstance(row, AnthiasRow)} == {"a", "b"}


def test_rows_come_in_the_order_of_insertion(tmp_path: Path) -> None:
    ids = ["ff", "00", "aa", "01"]
    columns = COLUMNS_OF_ERA["2018-10"]
    library = make_library(
        tmp_path / "order.db", [{"asset_id": one} for one in ids], columns=columns
    )

    assert [row.asset_id for row in read(library) if isinstance(row, AnthiasRow)] == ids


# --- values -------------------------------------------------------------------------------------

MOMENT = datetime(2026, 3, 7, 9, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "stored", "value", "note"),
    [
        ("name", "", "", None),
        ("name", " spaced ", " spaced ", None),
        ("name", 7, "7", None),
        ("name", "a\0b", "ab", "name: NUL characters were removed"),
        ("name", b"caf\xe9!", "caf!", "name: bytes that are not UTF-8 were removed"),
        ("uri", None, None, None),
        ("uri", "file:///etc/passwd", "file:///etc/passwd", None),
        ("mimetype", "web", "web", None),
        ("duration", 9999999999999, 9999999999999, None),
        ("duration", -5, -5, None),
        ("duration", "300", 300, None),
        ("duration", " 7 ", 7, None),
        ("duration", 12.0, 12, None),
        ("duration", 12.5, 12, "duration: 12.5 cut to 12 whole seconds"),
        ("duration", "-0.5", 0, "duration: '-0.5' cut to 0 whole seconds"),
        ("duration", "1e3", 1000, None),
        ("duration", "9" * 30, None, f"duration: '{'9' * 30}' is out of range, left empty"),
        ("duration", "1e999", None, "duration: '1e999' is out of range, left empty"),
        ("duration", "٣", None, "duration: '٣' is not a number of seconds, left empty"),
        ("duration", math.inf, None, "duration: inf is not a number of seconds, left empty"),
        ("play_order", -1, -1, None),
        ("play_order", "4", 4, None),
        ("play_order", None, 0, "play_order: nothing stored, 0 used"),
        ("play_order", "first", 0, "play_order: 'first' is not understood, 0 used"),
        ("play_order", 2**31, 2**31 - 1, "play_order: 2147483648 brought to 2147483647"),
        (
            "play_order",
            -(2**40),
            -(2**31),
            "play_order: -1099511627776 brought to -2147483648",
        ),
        ("is_enabled", "true", True, None),
        ("is_enabled", "Off", False, None),
        ("is_enabled", 0.0, False, None),
        ("is_enabled", b"y", True, None),
        ("is_enabled", 2, True, "is_enabled: 2 taken as true"),
        ("is_enabled", None, False, "is_enabled: nothing stored, false used"),
        ("is_enabled", "maybe", False, "is_enabled: 'maybe' is not understood, false used"),
        ("is_reachable", None, True, "is_reachable: nothing stored, true used"),
        ("is_reachable", "", True, "is_reachable: '' is not understood, true used"),
        ("start_date", "2026-03-07 09:05:00", MOMENT, None),
        ("start_date", "2026-03-07T09:05:00Z", MOMENT, None),
        ("start_date", "2026-3-7T9:5:00.000Z", MOMENT, None),
        ("start_date", "2026-03-07T10:05:00.000000000+0100", MOMENT, None),
        ("start_date", "2026-03-07 03:35:00-05:30", MOMENT, None),
        ("start_date", "2026-03-07 09:05", MOMENT, None),
        ("start_date", "2026-03-07", datetime(2026, 3, 7, tzinfo=UTC), None),
        (
            "start_date",
            "2026-03-07 09:05:00.123456789",
            MOMENT.replace(microsecond=123456),
            None,
        ),
        ("start_date", "2026-02-30", None, "start_date: '2026-02-30' is not a date, left empty"),
        (
            "end_date",
            "9999-12-31 23:59:59-01:00",
            None,
            "end_date: '9999-12-31 23:59:59-01:00' is not a date, left empty",
        ),
        (
            "end_date",
            "2026-03-07 09:05:00+01:99",
            None,
            "end_date: '2026-03-07 09:05:00+01:99' is not a date, left empty",
        ),
        ("end_date", "", None, "end_date: '' is not a date, left empty"),
        ("end_date", 1388534400, None, "end_date: 1388534400 is not a date, left empty"),
        (
            "last_reachability_check",
            "yesterday",
            None,
            "last_reachability_check: 'yesterday' is not a date, left empty",
        ),
        ("play_time_from", "9:5", time(9, 5), None),
        ("play_time_to", "23:59:59.5", time(23, 59, 59, 500000), None),
        (
            "play_time_to",
            "24:00:00",
            None,
            "play_time_to: '24:00:00' is not a time of day, left empty",
        ),
        ("play_time_to", "noon", None, "play_time_to: 'noon' is not a time of day, left empty"),
        ("play_days", "[5, 1, 1]", (1, 5), None),
        (
            "play_days",
            "[0, 3, 9]",
            (3,),
            "play_days: '[0, 3, 9]' has more than days from 1 to 7, [3] used",
        ),
        (
            "play_days",
            '[true, "2", 4.0]',
            EVERY_DAY,
            "play_days: '[true, \"2\", 4.0]' has no day from 1 to 7, every day used",
        ),
        ("play_days", "3", EVERY_DAY, "play_days: '3' is not a list, every day used"),
        ("play_days", None, EVERY_DAY, "play_days: nothing is not a list, every day used"),
    ],
)
def test_one_value(tmp_path: Path, field: str, stored: object, value: object, note: str) -> None:
    row = read_one(make_library(tmp_path / "one.db", [{field: stored}]))

    assert getattr(row, field) == value
    assert type(getattr(row, field)) is type(value)
    assert row.notes == ((note,) if note else ())


def test_half_a_window_stays_half(tmp_path: Path) -> None:
    row = read_one(make_library(tmp_path / "half.db", [{"play_time_from": "08:00:00"}]))

    assert (row.play_time_from, row.play_time_to) == (time(8), None)
    assert row.notes == ()


@pytest.mark.parametrize(
    ("stored", "sound", "legacy", "notes"),
    [
        ('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}, None, []),
        ('{"refresh_interval_s": 60}', {"refresh_interval_s": 60}, None, []),
        (
            '{"refresh_interval_s": -1}',
            {"refresh_interval_s": 0},
            {"refresh_interval_s": -1},
            ["metadata.refresh_interval_s: -1 brought to 0"],
        ),
        (
            '{"refresh_interval_s": "60"}',
            {},
            {"refresh_interval_s": "60"},
            ["metadata.refresh_interval_s: '60' is not a number of seconds, dropped"],
        ),
        (
            '{"headers": ["X"]}',
            {"headers": {}},
            {"headers": ["X"]},
            ["metadata.headers: not an object, an empty one used"],
        ),
        (
            '{"headers": {" X ": "1"}}',
            {"headers": {"X": "1"}},
            {"headers": {" X ": "1"}},
            [],
        ),
        (
            '{"headers": {"X": "a\\r\\nHost: b"}}',
            {"headers": {}},
            {"headers": {"X": "a\r\nHost: b"}},
            ["metadata.headers: 'X' dropped, its value has more than one line"],
        ),
        (
            json.dumps({"headers": {"X": "é" * 2049}}),
            {"headers": {}},
            {"headers": {"X": "é" * 2049}},
            ["metadata.headers: 'X' dropped, its value is longer than 4096 bytes"],
        ),
        (
            json.dumps({"headers": {f"X{n}": "" for n in range(21)}}),
            {"headers": {f"X{n}": "" for n in range(20)}},
            {"headers": {f"X{n}": "" for n in range(21)}},
            ["metadata.headers: 'X20' dropped, more than 20 headers"],
        ),
        ("[1]", {}, [1], ["metadata: '[1]' is not an object, an empty one used"]),
        ("null", {}, None, ["metadata: 'null' is not an object, an empty one used"]),
        ("{oops", {}, None, ["metadata: '{oops' is not JSON, an empty object used"]),
        ("", {}, None, ["metadata: '' is not JSON, an empty object used"]),
        (None, {}, None, ["metadata: nothing is not JSON, an empty object used"]),
        (
            '{"a\\u0000": "\\ud800x", "n": [NaN, 1e999]}',
            {"a": "x", "n": [None, None]},
            None,
            [
                "metadata: NUL characters were removed",
                "metadata: a number that is none (NaN or infinity) became null",
                "metadata: halves of surrogate pairs were removed",
            ],
        ),
        (
            "[" * 65 + "]" * 65,
            {},
            None,
            ["metadata: nested deeper than 64, an empty object used"],
        ),
        (
            '{"a":' * 100_000,
            {},
            None,
            [
                "metadata: '" + '{"a":' * 8 + "...' is not JSON, an empty object used",
            ],
        ),
    ],
)
def test_metadata(
    tmp_path: Path, stored: str | None, sound: object, legacy: object, notes: list[str]
) -> None:
    row = read_one(make_library(tmp_path / "metadata.db", [{"metadata": stored}]))

    assert row.metadata == sound
    assert row.legacy_metadata == legacy
    assert list(row.notes) == notes


def test_rows_that_cannot_be_assets_are_rejected_and_the_others_stay(tmp_path: Path) -> None:
    ids = ["one", None, "", " ", "two", "one", "one\0", "x" * 1025, "three"]
    rows: list[dict[str, Any]] = [{"asset_id": one} for one in ids]
    rows.append({"asset_id": "huge", "name": "n" * (1024 * 1024 + 1)})

    read_rows = read(make_library(tmp_path / "bad.db", rows))

    good = [row.asset_id for row in read_rows if isinstance(row, AnthiasRow)]
    assert good == ["one", "two", "three"]
    assert [row for row in read_rows if isinstance(row, RejectedRow)] == [
        RejectedRow("", "row 2 has no asset_id"),
        RejectedRow("", "row 3 has no asset_id"),
        RejectedRow("", "row 4 has no asset_id"),
        RejectedRow("one", "row 6 has an asset_id that came before"),
        RejectedRow("one", "row 7 has an asset_id that came before"),
        RejectedRow("x" * 100, "row 8 has an asset_id longer than 1024 bytes"),
        RejectedRow("huge", "the value of name is longer than 1024 KiB"),
    ]


STORED = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.sampled_from(
        ["[1,2]", "[[[]]]", '{"headers": {"a": 1}}', '{"refresh_interval_s": 1e400}', "NaN", "1e9"]
    ),
)


@given(st.fixed_dictionaries({name: STORED for name in PLAIN if name != "filename"}))
@settings(deadline=None, max_examples=150)
def test_whatever_is_stored_the_row_fits_the_table_or_is_rejected(
    tmp_path_factory: pytest.TempPathFactory, stored: dict[str, object]
) -> None:
    library = make_library(tmp_path_factory.mktemp("any") / "any.db", [stored])

    (row,) = read(library)

    if isinstance(row, RejectedRow):
        assert row.reason
        return
    for content in (row.name, row.uri, row.md5, row.mimetype, row.asset_id):
        assert content is None or "\0" not in content
    assert row.duration is None or -(2**63) <= row.duration < 2**63
    assert -(2**31) <= row.play_order < 2**31
    assert row.play_days
    assert set(row.play_days) <= set(EVERY_DAY)
    for document in (row.metadata, row.legacy_metadata):
        text = json.dumps(document, allow_nan=False, ensure_ascii=False)
        assert "\\u0000" not in text
        assert text.encode()
    assert 0 <= row.metadata.get("refresh_interval_s", 0) <= 86_400  # type: ignore[operator]


# --- files that are no library ------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere.db") == "cannot be read: No such file or directory"


def test_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "cannot be read: Is a directory"


def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.db")
    assert refusal(tmp_path / "pipe.db") == "is not a regular file"


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    assert refusal(tmp_path / "empty.db") == "is empty"


@pytest.mark.parametrize("content", [b"x", b"SQLite format 2\0", bytes(range(256)) * 40])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.db").write_bytes(content)
    assert refusal(tmp_path / "other.db") == "is not an SQLite database, or is encrypted"


def test_a_format_that_this_sqlite_does_not_know(tmp_path: Path) -> None:
    library = make_library(tmp_path / "future.db", [{}])
    content = bytearray(library.read_bytes())
    content[47] = 9
    library.write_bytes(content)
    assert refusal(library) == "cannot be read (SQLite: unsupported file format)"


def test_a_header_and_then_garbage(tmp_path: Path) -> None:
    (tmp_path / "garbage.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    assert refusal(tmp_path / "garbage.db") == "is not an SQLite database, or is encrypted"


@pytest.mark.parametrize("sample", [CURRENT, SCREENLY_2016], ids=["current", "2016"])
@pytest.mark.parametrize("kept", [0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, sample: Path, kept: float) -> None:
    content = sample.read_bytes()
    (tmp_path / "cut.db").write_bytes(content[: int(len(content) * kept)])
    assert refusal(tmp_path / "cut.db").startswith("is damaged or truncated (")


@pytest.mark.parametrize("start", [4096 * 8, 4096 * 8 + 8, 4096 * 8 + 2000])
@pytest.mark.parametrize("junk", [b"\xff" * 100, bytes(100)])
def test_a_page_overwritten_in_the_middle_of_the_table(
    tmp_path: Path, start: int, junk: bytes
) -> None:
    rows: list[dict[str, Any]] = [{"asset_id": str(n), "name": "n" * 300} for n in range(200)]
    library = make_library(tmp_path / "torn.db", rows)
    content = bytearray(library.read_bytes())
    content[start : start + len(junk)] = junk
    library.write_bytes(content)

    assert refusal(library).startswith("is damaged or truncated (")


def test_rows_that_changed_places(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"asset_id": str(n), "name": "n" * 300} for n in range(200)]
    library = make_library(tmp_path / "torn.db", rows)
    content = bytearray(library.read_bytes())
    pointers = 4096 * 8 + 8  # of the cells in a leaf page
    content[pointers : pointers + 2], content[pointers + 2 : pointers + 4] = (
        content[pointers + 2 : pointers + 4],
        content[pointers : pointers + 2],
    )
    library.write_bytes(content)

    assert "out of order" in refusal(library)


def test_values_that_break_the_tables_own_rules_are_not_damage(tmp_path: Path) -> None:
    library = make_library(tmp_path / "rules.db", [{}], columns=COLUMNS_OF_ERA["2026-07-09 0007"])
    with closing(sqlite3.connect(library)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE assets SET metadata = '{oops'")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            """UPDATE sqlite_master
            SET sql = replace(sql, '"uri" text NULL', '"uri" text NOT NULL')"""
        )
        connection.execute("UPDATE assets SET uri = NULL")
        connection.commit()

    row = read_one(library)

    assert row.uri is None
    assert row.metadata == {}


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("CREATE TABLE other (asset_id)", "has no assets table"),
        ("CREATE TABLE assets (id, name)", "its assets table has no asset_id column"),
        ("CREATE VIEW assets AS SELECT 1 AS asset_id", "has no assets table"),
        ("CREATE VIRTUAL TABLE assets USING fts5(asset_id)", "has no assets table"),
    ],
)
def test_a_database_of_something_else(tmp_path: Path, statement: str, reason: str) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute(statement)
    assert refusal(tmp_path / "other.db") == reason


# --- locks, logs and the source left alone ------------------------------------------------------


@contextmanager
def another_process(path: Path, *statements: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process run the statements on the database and hold what they take."""
    program = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]: connection.execute(statement).fetchall()\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


EXCLUSIVE_WAL = ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE")


@pytest.mark.parametrize(
    ("mode", "statements"),
    [
        ("delete", ("BEGIN EXCLUSIVE",)),
        ("wal", ("BEGIN EXCLUSIVE",)),
        ("wal", EXCLUSIVE_WAL),
    ],
)
def test_a_file_locked_by_another_process(
    tmp_path: Path, mode: str, statements: tuple[str, ...]
) -> None:
    library = make_library(tmp_path / "locked.db", [{}])
    with another_process(library, f"PRAGMA journal_mode = {mode}", *statements):
        assert refusal(library) == "is locked by another process"


def test_a_file_locked_by_this_process(tmp_path: Path) -> None:
    library = make_library(tmp_path / "locked.db", [{}])
    with closing(sqlite3.connect(library, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert refusal(library) == "is locked by another process"


def test_a_lock_that_is_released_in_time_is_waited_for(tmp_path: Path) -> None:
    library = make_library(tmp_path / "locked.db", [{}])
    with another_process(library, "BEGIN EXCLUSIVE") as process:
        assert refusal(library) == "is locked by another process"
        threading.Timer(0.1, process.kill).start()
        with open_database(library, lock_timeout_s=60) as opened:
            assert opened.count() == 1


def test_a_file_system_without_locks_is_read_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_args: object) -> int:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", no_locks)
    assert read_one(make_library(tmp_path / "network.db", [{}])).name == "Lobby"


def test_an_empty_log_left_beside_the_file_is_no_matter(tmp_path: Path) -> None:
    library = make_library(tmp_path / "idle.db", [{}])
    (tmp_path / "idle.db-wal").touch()
    assert read_one(library).name == "Lobby"


def test_rows_that_are_only_in_the_write_ahead_log_are_read(tmp_path: Path) -> None:
    library = make_library(tmp_path / "live.db", [{}])
    rename = "UPDATE assets SET name = 'From the log'"
    with another_process(library, "PRAGMA journal_mode = WAL", rename):
        before = folder_state(tmp_path)
        assert before.keys() == {"live.db", "live.db-wal", "live.db-shm"}
        assert read_one(library).name == "From the log"
        assert folder_state(tmp_path) == before


def test_a_write_that_a_crash_cut_short_is_not_read(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"asset_id": str(n), "name": "before" * 50} for n in range(200)]
    library = make_library(tmp_path / "crashed.db", rows)
    write = "UPDATE assets SET name = 'after'"
    # With so small a cache the transaction spills into the file, and its journal turns hot.
    statements = ("PRAGMA cache_size = 2", "BEGIN", write, "SELECT count(*) FROM assets")
    with another_process(library, *statements) as process:
        process.kill()
        process.wait()
        before = folder_state(tmp_path)
        assert before.keys() == {"crashed.db", "crashed.db-journal"}

        names = {row.name for row in read(library) if isinstance(row, AnthiasRow)}

        assert names == {"before" * 50}
        assert folder_state(tmp_path) == before


@pytest.mark.parametrize("sample", [CURRENT, SCREENLY_2016], ids=["current", "2016"])
def test_nothing_is_written_beside_the_source(tmp_path: Path, sample: Path) -> None:
    copy = tmp_path / "a folder with ?mode=rw#in its name"
    copy.mkdir()
    (copy / "library.db").write_bytes(sample.read_bytes())
    copy.chmod(0o555)
    before = folder_state(copy)

    with open_database(copy / "library.db") as library:
        assert library.digest == sha256(sample.read_bytes()).hexdigest()
        assert library.count() == len(list(library.rows()))
        assert folder_state(copy) == before
    assert folder_state(copy) == before
