"""What plays, until when, and when that changes: the rule itself, without Django or a database.

`plays` below is a second telling of the rule, by intervals on the wall instead of by comparing
weekdays and times. Everything the module answers is held against it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assets.schedule import EVERY_DAY, deadline, is_active, next_change, wall_clock

MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

ALWAYS = (1, 2, 3, 4, 5, 6, 7)
MONDAY, SATURDAY, SUNDAY = 1, 6, 7

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")

# Every kind of clock change there is, and one zone that has none. St John's put its clocks back
# over midnight until 2011, Beirut and Havana skip midnight, Lord Howe moves by half an hour,
# Casablanca by an hour around Ramadan, Troll by two hours, Samoa left out a whole day.
CLOCK_CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("America/St_Johns", datetime(2010, 3, 14, 3, 31, tzinfo=UTC)),
    ("America/St_Johns", datetime(2010, 11, 7, 2, 31, tzinfo=UTC)),
    ("America/St_Johns", datetime(2026, 3, 8, 5, 30, tzinfo=UTC)),
    ("America/St_Johns", datetime(2026, 11, 1, 4, 30, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2021, 4, 11, 2, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2021, 5, 16, 2, tzinfo=UTC)),
    ("Asia/Beirut", datetime(2021, 3, 27, 22, tzinfo=UTC)),
    ("Asia/Beirut", datetime(2021, 10, 30, 21, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 3, 8, 5, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 11, 1, 5, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 3, 29, 1, tzinfo=UTC)),
]


@dataclass(frozen=True)
class Row:
    """An asset as the schedule sees it; left alone it plays always, from 2020 to 2040."""

    is_enabled: bool = True
    start_date: datetime | None = datetime(2000, 1, 1, tzinfo=UTC)
    end_date: datetime | None = datetime(2040, 1, 1, tzinfo=UTC)
    play_days: Collection[int] = ALWAYS
    play_time_from: time | None = None
    play_time_to: time | None = None


def row(window: str = "", days: Collection[int] = ALWAYS) -> Row:
    """Return an asset with a window written as in `22:00-06:00`; a side may be left out."""
    opens, _, closes = window.partition("-")
    return Row(
        play_days=days,
        play_time_from=time.fromisoformat(opens) if opens else None,
        play_time_to=time.fromisoformat(closes) if closes else None,
    )


def local(text: str, zone: tzinfo, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


def plays(schedule: Row, now: datetime, zone: tzinfo) -> bool:
    """Tell whether `now`, read off the wall, lies in the interval of a day that is in play."""
    if not (schedule.is_enabled and schedule.start_date and schedule.end_date):
        return False
    if now <= schedule.start_date or now >= schedule.end_date:
        return False
    wall = now.astimezone(zone).replace(tzinfo=None)
    for day in (wall.date() - DAY, wall.date()):
        if day.isoweekday() not in schedule.play_days:
            continue
        first, last = _interval(schedule, day)
        if first <= wall < last:
            return True
    return False


def _interval(schedule: Row, day: date) -> tuple[datetime, datetime]:
    midnight = datetime.combine(day, time.min)
    if schedule.play_time_from is None or schedule.play_time_to is None:
        return midnight, midnight + DAY
    first = datetime.combine(day, schedule.play_time_from)
    last = datetime.combine(day, schedule.play_time_to)
    return first, last + DAY if last < first else last


# --- the rule, by example -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "days", "wall", "expected"),
    [
        # 2026-11-23 is a Monday.
        ("", ALWAYS, "2026-11-23T12:00", True),
        ("", [1], "2026-11-23T00:00", True),
        ("", [1], "2026-11-23T23:59:59.999999", True),
        ("", [1], "2026-11-24T00:00", False),
        ("", [7, 2], "2026-11-23T12:00", False),
        ("", [7, 1, 2], "2026-11-23T12:00", True),
        # One time without the other is none, whatever the hour; the days still count.
        ("08:00-", ALWAYS, "2026-11-23T04:39", True),
        ("-08:00", ALWAYS, "2026-11-23T12:00", True),
        ("08:00-", [2], "2026-11-23T12:00", False),
        # Within a day: from the first time on, until just before the second.
        ("08:00-20:00", [1], "2026-11-23T12:00", True),
        ("08:00-20:00", [7], "2026-11-23T12:00", False),
        ("18:00-20:00", [1], "2026-11-23T12:00", False),
        ("08:00-20:00", ALWAYS, "2026-11-23T07:59:59.999999", False),
        ("08:00-20:00", ALWAYS, "2026-11-23T08:00", True),
        ("08:00-20:00", ALWAYS, "2026-11-23T19:59:59.999999", True),
        ("08:00-20:00", ALWAYS, "2026-11-23T20:00", False),
        ("11:30-13:30", ALWAYS, "2026-11-23T03:10", False),
        ("02:30-04:30", ALWAYS, "2026-11-23T03:10", True),
        # Equal times never match, the minute itself and midnight included.
        ("09:00-09:00", ALWAYS, "2026-11-23T09:00", False),
        ("09:00-09:00", ALWAYS, "2026-11-23T12:00", False),
        ("00:00-00:00", ALWAYS, "2026-11-23T00:00", False),
        # Overnight: a day stands for the night that starts in it.
        ("22:00-06:00", [1], "2026-11-23T03:00", False),
        ("22:00-06:00", [7], "2026-11-23T03:00", True),
        ("22:00-06:00", [7], "2026-11-23T05:59:59.999999", True),
        ("22:00-06:00", [7], "2026-11-23T06:00", False),
        ("22:00-06:00", [1], "2026-11-23T22:00", True),
        ("22:00-06:00", [1], "2026-11-23T21:59:59.999999", False),
        ("22:00-06:00", [7], "2026-11-23T22:00", False),
        ("22:00-06:00", [1], "2026-11-24T03:00", True),
        ("22:00-06:00", [7], "2026-11-22T23:00", True),
        ("22:00-02:00", ALWAYS, "2026-11-23T03:00", False),
        ("22:00-06:00", ALWAYS, "2026-11-23T12:00", False),
        # Until midnight is overnight with an empty morning.
        ("20:00-00:00", [1], "2026-11-23T23:59:59.999999", True),
        ("20:00-00:00", [1], "2026-11-24T00:00", False),
    ],
)
def test_a_window_is_read_off_the_clock_on_the_wall(
    window: str, days: list[int], wall: str, *, expected: bool
) -> None:
    schedule = row(window, days)
    for name in ("UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"):
        zone = ZoneInfo(name)
        now = local(wall, zone)
        assert is_active(schedule, now, zone) is expected
        assert plays(schedule, now, zone) is expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Row(), True),
        (Row(is_enabled=False), False),
        (Row(start_date=None), False),
        (Row(end_date=None), False),
        (Row(start_date=None, end_date=None), False),
    ],
)
def test_only_what_is_enabled_and_has_both_dates_plays(schedule: Row, *, expected: bool) -> None:
    assert is_active(schedule, datetime(2026, 11, 23, 4, 39, tzinfo=UTC), UTC) is expected


def test_the_dates_themselves_are_not_part_of_the_life_of_an_asset() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    schedule = Row(start_date=start, end_date=end)
    assert not is_active(schedule, start, UTC)
    assert is_active(schedule, start + MICROSECOND, UTC)
    assert is_active(schedule, end - MICROSECOND, UTC)
    assert not is_active(schedule, end, UTC)
    assert not is_active(replace(schedule, start_date=end, end_date=start), start + DAY, UTC)


def test_dates_are_instants_whatever_zone_they_are_written_in() -> None:
    # On 25 October 2026 Berlin shows 02:30 twice; the second time is the end.
    end = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
    schedule = Row(end_date=end)
    first_showing = datetime(2026, 10, 25, 2, 45, tzinfo=BERLIN, fold=0)
    assert is_active(schedule, first_showing, BERLIN)
    assert not is_active(schedule, end, BERLIN)
    assert next_change(schedule, first_showing, BERLIN) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert deadline([schedule], first_showing, BERLIN) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_what_anthias_showed_for_its_own_library_on_a_monday_morning() -> None:
    # Recorded from Anthias 2026.08.2 on 2026-11-23 at about 04:39 UTC, in UTC.
    now = datetime(2026, 11, 23, 4, 39, tzinfo=UTC)
    life = Row(
        start_date=datetime(2024, 1, 1, tzinfo=UTC), end_date=datetime(2034, 1, 1, tzinfo=UTC)
    )
    nine, five = time(9), time(17)
    recorded = [
        ("Always", life, True),
        ("Disabled", replace(life, is_enabled=False), False),
        (
            "Expired campaign",
            replace(
                life,
                start_date=datetime(2023, 1, 1, tzinfo=UTC),
                end_date=datetime(2023, 2, 1, tzinfo=UTC),
            ),
            False,
        ),
        (
            "Future campaign",
            replace(life, start_date=datetime(2033, 1, 1, 12, 30, 15, 500000, tzinfo=UTC)),
            False,
        ),
        (
            "Weekdays 9-17",
            replace(life, play_days=[1, 2, 3, 4, 5], play_time_from=nine, play_time_to=five),
            False,
        ),
        (
            "Weekend overnight",
            replace(life, play_days=[6, 7], play_time_from=time(22), play_time_to=time(6)),
            True,
        ),
        ("Sunday only", replace(life, play_days=[7]), False),
        ("junk: NULL dates", replace(life, start_date=None, end_date=None), False),
        ("junk: half window", replace(life, play_time_from=time(8)), True),
    ]
    shown = [(name, is_active(schedule, now, UTC)) for name, schedule, _ in recorded]
    assert shown == [(name, expected) for name, _, expected in recorded]


def test_the_same_asset_at_the_same_instant_in_two_zones() -> None:
    now = datetime(2026, 11, 23, 12, 10, tzinfo=UTC)
    noon, night = row("11:30-13:30"), row("02:30-04:30")
    nine_hours_behind = ZoneInfo("Etc/GMT+9")
    assert [is_active(schedule, now, UTC) for schedule in (noon, night)] == [True, False]
    assert [is_active(schedule, now, nine_hours_behind) for schedule in (noon, night)] == [
        False,
        True,
    ]


def test_the_day_before_is_the_one_the_calendar_names_even_where_it_was_left_out() -> None:
    # Samoa went from Thursday 29 to Saturday 31 December 2011.
    apia = ZoneInfo("Pacific/Apia")
    saturday = local("2011-12-31T03:00", apia)
    assert wall_clock(saturday, apia) == (6, 5, time(3))
    assert is_active(row("22:00-06:00", [5]), saturday, apia)
    assert not is_active(row("22:00-06:00", [4]), saturday, apia)


def test_an_instant_without_a_time_zone_is_refused() -> None:
    naive = datetime(2026, 11, 23, 12)  # noqa: DTZ001 -- the mistake this is about
    for question in (is_active, next_change):
        with pytest.raises(ValueError, match="2026-11-23 12:00:00 has no time zone"):
            question(Row(), naive, UTC)
    with pytest.raises(ValueError, match="has no time zone"):
        deadline([Row()], naive, UTC)


def test_an_instant_without_a_local_date_is_refused() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    for question in (is_active, next_change):
        with pytest.raises(OverflowError):
            question(Row(end_date=last), last - MICROSECOND, ZoneInfo("Asia/Tokyo"))
    with pytest.raises(OverflowError):
        deadline([], datetime.min.replace(tzinfo=UTC), NEW_YORK)
    assert wall_clock(last, UTC) == (5, 4, time.max)


# --- the deadline of a playlist -------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 12, 10, 30, 250, tzinfo=UTC)  # a Monday


def test_no_asset_no_deadline() -> None:
    assert deadline([], NOW, UTC) is None


@pytest.mark.parametrize(
    ("schedules", "expected"),
    [
        # What plays ends; what does not play yet starts; the earlier of the two.
        ([Row()], Row().end_date),
        (
            [
                Row(end_date=NOW + 5 * DAY),
                Row(start_date=NOW + HOUR, end_date=NOW + 2 * HOUR),
            ],
            NOW + HOUR,
        ),
        ([Row(end_date=NOW + HOUR), Row(start_date=NOW + 2 * HOUR)], NOW + HOUR),
        # What is over, disabled or has no dates says nothing.
        ([Row(start_date=NOW - 5 * DAY, end_date=NOW - DAY)], None),
        ([Row(is_enabled=False)], None),
        ([Row(is_enabled=False, end_date=NOW + HOUR, play_days=[1])], None),
        ([Row(start_date=None), Row(end_date=None)], None),
        # An inactive asset's end is not a change, and neither is a start that is now.
        ([Row(start_date=NOW + 2 * DAY, end_date=NOW + DAY)], NOW + 2 * DAY),
        ([Row(start_date=NOW)], None),
        ([Row(end_date=NOW)], None),
        ([Row(start_date=NOW + MICROSECOND)], NOW + MICROSECOND),
        # A window, open or shut, asks for another look in a minute.
        ([row("08:00-20:00")], NOW + MINUTE),
        ([row("18:00-20:00")], NOW + MINUTE),
        ([row("09:00-09:00")], NOW + MINUTE),
        ([row("", [1])], NOW + MINUTE),
        ([row("", [2])], NOW + MINUTE),
        ([row("08:00-", [1, 2, 3, 4, 5])], NOW + MINUTE),
        # Half a window on every day is no window.
        ([row("08:00-")], Row().end_date),
        ([row("-08:00")], Row().end_date),
        # Unless it is outside its dates, or something else comes first.
        ([replace(row("", [1]), start_date=NOW + 3 * DAY)], NOW + 3 * DAY),
        ([replace(row("", [1]), start_date=NOW)], None),
        ([replace(row("", [1]), end_date=NOW)], None),
        ([replace(row("", [1]), end_date=NOW + MICROSECOND)], NOW + MICROSECOND),
        ([replace(row("08:00-20:00"), is_enabled=False), Row()], Row().end_date),
        ([row("08:00-20:00"), Row(start_date=NOW + 10 * MICROSECOND)], NOW + 10 * MICROSECOND),
    ],
)
def test_the_deadline_is_anthias_s(schedules: list[Row], expected: datetime | None) -> None:
    found = deadline(iter(schedules), NOW, UTC)
    assert found == expected
    assert found is None or found.tzinfo is UTC


def test_the_deadline_asks_the_local_clock_what_is_active() -> None:
    # On Sunday evening in New York it is Monday in Berlin; a Monday asset ends in an hour.
    now = datetime(2026, 11, 23, 1, tzinfo=UTC)
    monday = replace(row("", [MONDAY]), end_date=now + MINUTE / 2)
    assert deadline([monday], now, BERLIN) == now + MINUTE / 2
    assert deadline([monday], now, NEW_YORK) == now + MINUTE


# --- the next change, by example ------------------------------------------------------------------


def changes(schedule: Row, since: datetime, zone: tzinfo, count: int) -> Iterator[str]:
    now: datetime | None = since
    for _ in range(count):
        assert now is not None
        now = next_change(schedule, now, zone)
        yield now.astimezone(zone).isoformat() if now else "never"


@pytest.mark.parametrize(
    ("schedule", "since", "zone", "expected"),
    [
        (row("09:00-17:00"), "2026-11-23T08:00", BERLIN, ["23T09:00", "23T17:00", "24T09:00"]),
        (row("22:00-06:00"), "2026-11-23T23:00", BERLIN, ["24T06:00", "24T22:00", "25T06:00"]),
        (row("09:00-17:00", [1]), "2026-11-23T12:00", BERLIN, ["23T17:00", "30T09:00"]),
        (row("22:00-06:00", [7]), "2026-11-23T03:00", BERLIN, ["23T06:00", "29T22:00"]),
        (row("", [6, 7]), "2026-11-23T03:00", BERLIN, ["28T00:00", "30T00:00"]),
        (row("18:00-", [2]), "2026-11-23T03:00", BERLIN, ["24T00:00", "25T00:00"]),
        # An instant at an edge has seen that edge.
        (row("09:00-17:00"), "2026-11-23T09:00", BERLIN, ["23T17:00"]),
        (row("09:00-17:00"), "2026-11-23T17:00", BERLIN, ["24T09:00"]),
        # Nights that touch are one: a change is only a change.
        (row("12:00-11:59:59.999999"), "2026-11-23T13:00", BERLIN, ["24T11:59:59.999999"]),
        (row("00:00-23:59:59.999999"), "2026-11-23T13:00", BERLIN, ["23T23:59:59.999999"]),
    ],
)
def test_the_next_changes_on_ordinary_days(
    schedule: Row, since: str, zone: ZoneInfo, expected: list[str]
) -> None:
    found = list(changes(schedule, local(since, zone), zone, len(expected)))
    assert found == [local(f"2026-11-{at}", zone).astimezone(zone).isoformat() for at in expected]


@pytest.mark.parametrize(
    ("schedule", "since", "name", "expected"),
    [
        # Berlin, 29 March 2026: 02:00 becomes 03:00.
        pytest.param(
            row("02:30-05:00"),
            "2026-03-29T01:59+01:00",
            "Europe/Berlin",
            ["2026-03-29T03:00:00+02:00", "2026-03-29T05:00:00+02:00"],
            id="a window that would open in the gap opens with the new time",
        ),
        pytest.param(
            row("01:00-02:30"),
            "2026-03-29T01:59+01:00",
            "Europe/Berlin",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T01:00:00+02:00"],
            id="a window that would close in the gap closes with the new time",
        ),
        pytest.param(
            row("02:10-02:20"),
            "2026-03-29T01:59+01:00",
            "Europe/Berlin",
            ["2026-03-30T02:10:00+02:00"],
            id="a window inside the gap waits a day",
        ),
        pytest.param(
            row("02:10-02:20", [SUNDAY]),
            "2026-03-29T01:59+01:00",
            "Europe/Berlin",
            ["2026-04-05T02:10:00+02:00", "2026-04-05T02:20:00+02:00"],
            id="a Sunday window inside the gap waits a week",
        ),
        pytest.param(
            row("02:10-02:20", [SUNDAY]),
            "2026-03-22T02:20+01:00",
            "Europe/Berlin",
            ["2026-04-05T02:10:00+02:00"],
            id="and is away for two",
        ),
        # Berlin, 25 October 2026: 03:00 becomes 02:00.
        pytest.param(
            row("02:10-02:20"),
            "2026-10-25T01:59+02:00",
            "Europe/Berlin",
            [
                "2026-10-25T02:10:00+02:00",
                "2026-10-25T02:20:00+02:00",
                "2026-10-25T02:10:00+01:00",
                "2026-10-25T02:20:00+01:00",
                "2026-10-26T02:10:00+01:00",
            ],
            id="a window inside the hour that comes twice opens twice",
        ),
        pytest.param(
            row("02:30-05:00"),
            "2026-10-25T01:59+02:00",
            "Europe/Berlin",
            [
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T05:00:00+01:00",
            ],
            id="a window that opens in it closes when the clocks go back",
        ),
        pytest.param(
            row("23:00-02:30"),
            "2026-10-25T01:59+02:00",
            "Europe/Berlin",
            [
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T23:00:00+01:00",
            ],
            id="a night that ends in it comes back",
        ),
        pytest.param(
            row("01:00-03:00"),
            "2026-10-25T01:59+02:00",
            "Europe/Berlin",
            ["2026-10-25T03:00:00+01:00"],
            id="a window around it is an hour longer",
        ),
        # St John's, 2010: one minute past midnight became 23:01 of the day before.
        pytest.param(
            row("", [SUNDAY]),
            "2010-11-06T12:00-02:30",
            "America/St_Johns",
            [
                "2010-11-07T00:00:00-02:30",
                "2010-11-06T23:01:00-03:30",
                "2010-11-07T00:00:00-03:30",
                "2010-11-08T00:00:00-03:30",
            ],
            id="a day that begins twice",
        ),
        pytest.param(
            row("", [SATURDAY]),
            "2010-11-06T12:00-02:30",
            "America/St_Johns",
            [
                "2010-11-07T00:00:00-02:30",
                "2010-11-06T23:01:00-03:30",
                "2010-11-07T00:00:00-03:30",
                "2010-11-13T00:00:00-03:30",
            ],
            id="a day that ends twice",
        ),
        pytest.param(
            row("23:30-23:45"),
            "2010-11-07T00:00:30-02:30",
            "America/St_Johns",
            ["2010-11-06T23:30:00-03:30", "2010-11-06T23:45:00-03:30"],
            id="an evening that comes back after midnight",
        ),
        # Beirut, 28 March 2021 (a Sunday): midnight becomes one o'clock.
        pytest.param(
            row("", [SUNDAY]),
            "2021-03-27T12:00+02:00",
            "Asia/Beirut",
            ["2021-03-28T01:00:00+03:00", "2021-03-29T00:00:00+03:00"],
            id="a day that begins at one",
        ),
        # Samoa had no Friday, 30 December 2011.
        pytest.param(
            row("", [5]),
            "2011-12-29T12:00-10:00",
            "Pacific/Apia",
            ["2012-01-06T00:00:00+14:00", "2012-01-07T00:00:00+14:00"],
            id="a day that never came",
        ),
        pytest.param(
            row("", [1, 2, 3, 4, 5, 7]),
            "2011-12-29T12:00-10:00",
            "Pacific/Apia",
            ["2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"],
            id="the day after it comes at once",
        ),
        pytest.param(
            row("22:00-06:00", [4]),
            "2011-12-29T23:00-10:00",
            "Pacific/Apia",
            ["2011-12-31T00:00:00+14:00", "2012-01-05T22:00:00+14:00"],
            id="a night into it is cut short",
        ),
        # Lord Howe moves by half an hour: on 4 October 2026 02:00 becomes 02:30.
        pytest.param(
            row("02:15-02:45"),
            "2026-10-04T01:50+10:30",
            "Australia/Lord_Howe",
            ["2026-10-04T02:30:00+11:00", "2026-10-04T02:45:00+11:00"],
            id="half an hour",
        ),
    ],
)
def test_the_next_changes_where_the_clocks_are_changed(
    schedule: Row, since: str, name: str, expected: list[str]
) -> None:
    start = datetime.fromisoformat(since)
    assert list(changes(schedule, start, ZoneInfo(name), len(expected))) == expected


def test_the_dates_bound_the_changes() -> None:
    start, end = datetime(2026, 11, 23, 8, tzinfo=UTC), datetime(2026, 11, 24, 8, tzinfo=UTC)
    always = Row(start_date=start, end_date=end)
    assert next_change(always, start - DAY, UTC) == start + MICROSECOND
    assert next_change(always, start, UTC) == start + MICROSECOND
    assert next_change(always, start + MICROSECOND, UTC) == end
    assert next_change(always, end, UTC) is None

    later = replace(row("12:00-13:00"), start_date=start, end_date=end)
    assert next_change(later, start - 30 * DAY, UTC) == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert next_change(later, start + 5 * HOUR, UTC) is None

    open_at_both_ends = replace(row("07:00-09:00"), start_date=start, end_date=end)
    nine = datetime(2026, 11, 23, 9, tzinfo=UTC)
    seven = datetime(2026, 11, 24, 7, tzinfo=UTC)
    found = [next_change(open_at_both_ends, at, UTC) for at in (start - DAY, start, nine, seven)]
    assert found == [start + MICROSECOND, start + MICROSECOND, seven, end]

    # A window that shuts at the very end of the life is one change; one that opens there is none.
    assert next_change(replace(row("07:00-08:00"), end_date=end), seven, UTC) == end
    assert next_change(replace(row("08:00-09:00"), end_date=end), nine, UTC) is None


@pytest.mark.parametrize(
    "schedule",
    [
        Row(is_enabled=False),
        Row(start_date=None),
        Row(end_date=None),
        Row(start_date=NOW - 2 * DAY, end_date=NOW - DAY),
        Row(start_date=NOW - DAY, end_date=NOW),
        # Lives without an instant in them.
        Row(start_date=NOW + DAY, end_date=NOW + HOUR),
        Row(start_date=NOW + DAY, end_date=NOW + DAY),
        Row(start_date=NOW, end_date=NOW + MICROSECOND),
        Row(start_date=NOW + DAY, end_date=NOW + DAY + MICROSECOND),
        # Windows that never open.
        row("09:00-09:00"),
        row("", []),
        row("22:00-06:00", []),
        # The end of the calendar is as good as never.
        Row(
            start_date=datetime.max.replace(tzinfo=UTC) - DAY,
            end_date=datetime.max.replace(tzinfo=UTC),
            play_days=[1],
        ),
    ],
)
def test_what_never_plays_again_never_changes(schedule: Row) -> None:
    assert next_change(schedule, NOW, ZoneInfo("Asia/Tokyo")) is None


def test_an_asset_without_an_end_in_sight_changes_at_the_end_of_the_calendar() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert next_change(Row(end_date=last), NOW, ZoneInfo("Asia/Tokyo")) == last
    assert next_change(Row(end_date=last), NOW, NEW_YORK) == last


# --- held against the second telling --------------------------------------------------------------

ZONES = sorted({name for name, _ in CLOCK_CHANGES})


@pytest.mark.parametrize(("name", "change"), CLOCK_CHANGES)
def test_the_clocks_are_changed_when_this_file_says(name: str, change: datetime) -> None:
    zone = ZoneInfo(name)
    before = (change - MICROSECOND).astimezone(zone).utcoffset()
    after = change.astimezone(zone).utcoffset()
    assert (before == after) is (name == "Asia/Kolkata")


minutes = st.integers(0, 24 * 60 - 1).map(lambda n: time(n // 60, n % 60))
night_minutes = st.integers(0, 5 * 60).map(lambda n: time(n // 60, n % 60))
moments = minutes | night_minutes | st.sampled_from([time(0), time(2), time(3), time(23, 59)])
day_sets = st.just(EVERY_DAY) | st.sets(st.sampled_from(ALWAYS), min_size=1)


@st.composite
def windows(draw: st.DrawFn) -> Row:
    """Draw an enabled asset that lives long: only its days and times matter."""
    opens, closes = draw(
        st.tuples(moments, moments)
        | st.tuples(st.none() | moments, st.none() | moments)
        | moments.map(lambda moment: (moment, moment))
    )
    return Row(play_days=sorted(draw(day_sets)), play_time_from=opens, play_time_to=closes)


@st.composite
def around_clock_changes(draw: st.DrawFn) -> tuple[datetime, ZoneInfo]:
    """Draw a whole minute up to two days before, or a few hours after, a change of the clocks."""
    name, change = draw(st.sampled_from(CLOCK_CHANGES))
    offset = draw(st.integers(-2 * 24 * 60, 6 * 60) | st.integers(-180, 180))
    return change + offset * MINUTE, ZoneInfo(name)


@given(windows(), around_clock_changes(), st.integers(0, 59_999_999))
@settings(max_examples=400, deadline=None)
def test_active_is_what_the_intervals_on_the_wall_say(
    schedule: Row, moment: tuple[datetime, ZoneInfo], fraction: int
) -> None:
    now, zone = moment
    now += fraction * MICROSECOND
    assert is_active(schedule, now, zone) is plays(schedule, now, zone)


@given(
    window=windows(),
    life=st.tuples(st.none() | st.integers(-3, 3), st.none() | st.integers(-3, 3)),
    minute=st.integers(0, 30 * 365 * 24 * 60),
    name=st.sampled_from(ZONES),
    enabled=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_active_keeps_to_the_dates(
    window: Row, life: tuple[int | None, int | None], minute: int, name: str, *, enabled: bool
) -> None:
    now = datetime(2007, 1, 1, tzinfo=UTC) + minute * MINUTE
    start, end = life
    schedule = replace(
        window,
        is_enabled=enabled,
        start_date=None if start is None else now + start * MICROSECOND,
        end_date=None if end is None else now + end * MICROSECOND,
    )
    assert is_active(schedule, now, ZoneInfo(name)) is plays(schedule, now, ZoneInfo(name))


@given(windows(), around_clock_changes())
@settings(max_examples=250, deadline=None)
def test_the_next_change_is_the_one_a_look_every_minute_finds(
    schedule: Row, moment: tuple[datetime, ZoneInfo]
) -> None:
    now, zone = moment
    before = plays(schedule, now, zone)
    looks = (now + n * MINUTE for n in range(1, 30 * 60 + 1))
    seen = next((at for at in looks if plays(schedule, at, zone) is not before), None)
    found = next_change(schedule, now, zone)
    if seen is not None:
        # Every edge here is a whole minute, and so is every change of the clocks.
        assert found == seen
    else:
        assert found is None or found > now + 30 * HOUR


@given(windows(), around_clock_changes())
@settings(max_examples=100, deadline=None)
def test_the_next_change_is_found_across_weeks(
    schedule: Row, moment: tuple[datetime, ZoneInfo]
) -> None:
    now, zone = moment
    found = next_change(schedule, now, zone)
    before = plays(schedule, now, zone)
    step = 7 * MINUTE
    looks = (now + n * step for n in range(1, 16 * 24 * 60 // 7))
    seen = next((at for at in looks if plays(schedule, at, zone) is not before), None)
    if found is None or found >= now + 16 * DAY:
        assert seen is None
        return
    assert seen is None or found <= seen
    assert plays(schedule, found, zone) is not before
    assert plays(schedule, found - MICROSECOND, zone) is before


@given(
    windows(),
    around_clock_changes(),
    st.integers(-36 * 3600, 36 * 3600),
    st.integers(-36 * 3600, 72 * 3600),
    st.integers(0, 999_999),
)
@settings(max_examples=400, deadline=None)
def test_the_changes_that_are_found_are_exact_and_none_lies_between(
    window: Row, moment: tuple[datetime, ZoneInfo], start: int, end: int, fraction: int
) -> None:
    now, zone = moment
    now += fraction * MICROSECOND
    schedule = replace(
        window,
        start_date=now + start * timedelta(seconds=1),
        end_date=now + end * timedelta(seconds=1),
    )
    assume(start < end)
    before = plays(schedule, now, zone)
    found = next_change(schedule, now, zone)
    last = now + end * timedelta(seconds=1) if found is None else found
    quarter = (last - now) / 97
    for n in range(97):
        if last > now:
            assert plays(schedule, now + n * quarter, zone) is before
    if found is None:
        assert not before
    else:
        assert found > now
        assert found.tzinfo is UTC
        assert plays(schedule, found - MICROSECOND, zone) is before
        assert plays(schedule, found, zone) is not before
