"""One statement and its context in one round trip: walled, read-only, and gone afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.utils import DataError, InternalError, ProgrammingError

from rls import ContextError, acting_as, fetch_one, reading
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.world import Inhabited, World

NAMES = b"SELECT string_agg(name, ',' ORDER BY name), $1::int + 1 FROM assets"
CONTEXT = (
    "SELECT coalesce(current_setting('app.current_tenant_id', true), ''), "
    "coalesce(current_setting('app.current_user_id', true), '')"
)


@pytest.fixture
def alone(scratch_database: str) -> Iterator[World]:
    """The world of a database on whose connection no transaction is open."""
    del scratch_database
    yield create_world()
    connection.close()


def row(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()


def test_each_tenant_reads_its_own_whoever_asked_before(alone: World) -> None:
    for _ in range(4):  # unprepared, being prepared, prepared
        for place, other in ((alone.acme, alone.globex), (alone.globex, alone.acme)):
            names, sum_ = fetch_one(place.viewer, NAMES, [41])
            assert names is not None
            assert names.count(place.marker.encode()) == 3
            assert other.marker.encode() not in names
            assert sum_ == b"42"
            assert row(CONTEXT) == ("", "")
    assert fetch_one(alone.both, NAMES, [41]) == (None, b"42")
    # It, its context, and the two ends of the transaction.
    assert row("SELECT count(*) FROM pg_prepared_statements") == (4,)


def test_in_a_transaction_it_is_a_door_inside_of_it(acme: Inhabited, globex: Inhabited) -> None:
    before = row(CONTEXT)
    names, _ = fetch_one(acme.viewer, NAMES, [1])
    assert names is not None
    assert names.count(acme.marker.encode()) == 3
    assert row(CONTEXT) == before
    with acting_as(globex.viewer), pytest.raises(ContextError):
        fetch_one(acme.viewer, NAMES, [1])


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (b"DELETE FROM assets RETURNING id", InternalError),
        (b"SELECT 1 / 0", DataError),
        (b"SELECT nothing", ProgrammingError),
        (b"SELECT password FROM user_credentials", ProgrammingError),
    ],
)
def test_what_the_database_refuses_is_djangos_error_and_the_connection_goes_on(
    alone: World, statement: bytes, error: type[Exception]
) -> None:
    place = alone.acme
    for _ in range(3):
        fetch_one(place.owner, NAMES, [1])
        with pytest.raises(error):
            fetch_one(place.owner, statement, [])
        assert row(CONTEXT) == ("", "")
        with acting_as(place.owner):
            assert row("SELECT count(*) FROM assets") == (3,)


def test_a_statement_that_takes_too_long_is_ended(alone: World) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '20ms'")
    with pytest.raises(OperationalError, match="statement timeout"):
        fetch_one(alone.acme.owner, b"SELECT pg_sleep(20)", [])
    assert fetch_one(alone.acme.owner, b"SELECT 1", []) == (b"1",)


def test_a_killed_connection_is_an_error_and_the_next_one_is_new(alone: World) -> None:
    fetch_one(alone.acme.owner, NAMES, [1])
    for statement in (b"SELECT pg_terminate_backend(pg_backend_pid())", NAMES[:-12]):
        with pytest.raises((OperationalError, ProgrammingError)):
            fetch_one(alone.acme.owner, statement, [])
        assert fetch_one(alone.acme.owner, NAMES, [1])[1] == b"2"


def test_statements_that_the_server_has_lost_are_sent_again(
    alone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_LOSSES", reading._prepared.losses + 2)
    for losses in range(4):
        for _ in range(3):
            assert fetch_one(alone.acme.owner, NAMES, [1])[1] == b"2"
        assert reading._prepared.is_on is (losses < 2)
        with connection.cursor() as cursor:
            cursor.execute("DEALLOCATE ALL")
    monkeypatch.setattr(reading._prepared, "losses", 0)


def test_nothing_is_prepared_where_that_is_switched_off(alone: World, settings: Any) -> None:
    settings.PREPARED_STATEMENTS = False
    for _ in range(3):
        assert fetch_one(alone.acme.owner, NAMES, [1])[1] == b"2"
    assert row("SELECT count(*) FROM pg_prepared_statements") == (0,)


def test_a_connection_keeps_a_bounded_number_of_statements(
    alone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PREPARED_PER_CONNECTION", 4)
    monkeypatch.setattr(reading, "SEEN_PER_CONNECTION", 4)
    for number in range(12):
        for _ in range(3):
            fetch_one(alone.acme.owner, f"SELECT {number}".encode(), [])
    assert row("SELECT count(*) FROM pg_prepared_statements") == (4,)
    assert fetch_one(alone.acme.owner, b"SELECT 0", []) == (b"0",)
    long = b"SELECT '%b'" % (b"x" * reading.PREPARED_LENGTH)
    for _ in range(3):
        assert fetch_one(alone.acme.owner, long, []) == (long[8:-1],)
    found = row("SELECT max(length(statement)) FROM pg_prepared_statements")
    assert found[0] < reading.PREPARED_LENGTH


def test_no_row_and_no_idle_connection_are_errors(alone: World) -> None:
    with pytest.raises(LookupError):
        fetch_one(alone.acme.owner, b"SELECT 1 WHERE false", [])
    connection.set_autocommit(False)
    try:
        row("SELECT 1")
        with pytest.raises(ContextError):
            fetch_one(alone.acme.owner, b"SELECT 1", [])
    finally:
        transaction.rollback()
        connection.set_autocommit(True)
