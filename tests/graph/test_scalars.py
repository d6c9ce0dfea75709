"""How instants, times, large numbers, JSON and UUIDs are spelt, both ways."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from graphql import GraphQLError
from hypothesis import given
from hypothesis import strategies as st

from graph.scalars import (
    MAX_SAFE,
    parse_big_int,
    parse_date,
    parse_instant,
    parse_json,
    parse_time,
    parse_uuid,
    print_instant,
)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2033, 1, 1, 12, 30, 15, 500_000, UTC), "2033-01-01T12:30:15.500000Z"),
        (datetime(2033, 1, 1, 12, 30, 15, tzinfo=UTC), "2033-01-01T12:30:15Z"),
        (
            datetime(2033, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))),
            "2032-12-31T22:30:00Z",
        ),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_an_instant_is_printed_in_utc_with_microseconds_only_where_there_are_any(
    moment: datetime, text: str
) -> None:
    assert print_instant(moment) == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2033-01-01T14:30:15+02:00", datetime(2033, 1, 1, 12, 30, 15, tzinfo=UTC)),
        ("2033-01-01t12:30:15z", datetime(2033, 1, 1, 12, 30, 15, tzinfo=UTC)),
        ("2033-01-01T12:30:15.1234567Z", datetime(2033, 1, 1, 12, 30, 15, 123_456, UTC)),
        ("2024-02-29T00:00:00-00:00", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_with_any_offset(text: str, moment: datetime) -> None:
    assert parse_instant(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2023-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2023-01-01T24:00:00Z",
        "2023-01-01T12:60:00Z",
        "2023-01-01T12:30:60Z",
        "2023-01-01T12:30:15",
        "2023-01-01",
        "2023-01-01T12:30Z",
        "2023-01-01T12:30:15+25:00",
        "2023-01-01T12:30:15Z\n",
        "yesterday",
        "",
        "\N{FULLWIDTH DIGIT TWO}023-01-01T00:00:00Z",
        1_700_000_000,
        None,
        True,
        {},
    ],
)
def test_what_is_no_instant_is_refused(text: Any) -> None:
    with pytest.raises(GraphQLError):
        parse_instant(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_comes_back(moment: datetime) -> None:
    assert parse_instant(print_instant(moment)) == moment


@given(st.dates())
def test_every_date_comes_back(day: date) -> None:
    assert parse_date(day.isoformat()) == day


@pytest.mark.parametrize(
    "text", ["2033-02-29", "20330131", "2033-W01-1", "2033-1-31", "2033-01-31T00:00:00Z", "", 1]
)
def test_what_is_no_date_is_refused(text: Any) -> None:
    with pytest.raises(GraphQLError):
        parse_date(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("08:30", time(8, 30)),
        ("08:30:15", time(8, 30, 15)),
        ("23:59:59.999999", time(23, 59, 59, 999_999)),
    ],
)
def test_a_time_is_local(text: str, value: time) -> None:
    assert parse_time(text) == value


@pytest.mark.parametrize(
    "text", ["24:00", "8:30", "08:60", "08:30:00Z", "08:30:00+02:00", "", "noon", 830, None]
)
def test_what_is_no_time_is_refused(text: Any) -> None:
    with pytest.raises(GraphQLError):
        parse_time(text)


@pytest.mark.parametrize("number", [0, -5, 9_999_999_999_999, MAX_SAFE, -MAX_SAFE, 3.0])
def test_a_big_int_is_any_safe_whole_number(number: float) -> None:
    assert parse_big_int(number) == number


@pytest.mark.parametrize(
    "number", [MAX_SAFE + 1, -MAX_SAFE - 1, 1.5, 1e300, float("inf"), float("nan"), True, "5", None]
)
def test_what_is_no_safe_whole_number_is_refused(number: Any) -> None:
    with pytest.raises(GraphQLError):
        parse_big_int(number)


def test_a_uuid_has_one_spelling() -> None:
    text = "0199d7a2-6f0e-7c3a-8f1d-2b6c5a4e9d10"
    assert parse_uuid(text.upper()) == UUID(text)
    for wrong in (text.replace("-", ""), f"{{{text}}}", text + "\n", "", 5, None):
        with pytest.raises(GraphQLError):
            parse_uuid(wrong)


def test_json_has_no_infinities_and_no_bottomless_nesting() -> None:
    assert parse_json({"a": [1, None, "x"]}) == {"a": [1, None, "x"]}
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for wrong in (float("inf"), {"a": float("nan")}, deep):
        with pytest.raises(GraphQLError):
            parse_json(wrong)
    while deep:  # taken apart, so that nothing recurses over it when it goes
        deep = deep.pop()
