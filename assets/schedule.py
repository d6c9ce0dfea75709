"""Decides what plays at an instant and when that next changes, as Anthias decides it.

Owns the activity rule, the playlist deadline and the next change of one asset; called by
`assets.querysets`, which says the same rule in SQL, and by whoever shows a playlist. Pure: no
Django, no database, no clock of its own. `now` is always an argument, an aware datetime.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple, Protocol

EVERY_DAY = frozenset(range(1, 8))
"""ISO weekdays, Monday 1 to Sunday 7, as `Schedule.play_days` counts them."""

PLAYLIST_RECHECK = timedelta(seconds=60)
"""How soon Anthias looks again while a play window may open or close."""

_INSTANT = timedelta(microseconds=1)  # the smallest step of a datetime, here and in PostgreSQL
# Most windows open or close within a day, so that is searched first. The rest do within a week, or
# within the one after it when a change of the clocks skips the week's only window.
_SEARCH_DAYS = (2, 16)


class Schedule(Protocol):
    """When an asset may play; `assets.models.Asset` has this shape.

    The dates are aware and bound the asset's life on both sides, exclusively; without both it
    never plays. The play times are local to the zone of whoever asks; one without the other
    counts as none. `play_days` holds ISO weekdays, and names the day an overnight window starts.
    """

    @property
    def is_enabled(self) -> bool:
        """Whether it may play at all."""

    @property
    def start_date(self) -> datetime | None:
        """The instant after which it may play."""

    @property
    def end_date(self) -> datetime | None:
        """The instant before which it may play."""

    @property
    def play_days(self) -> Collection[int]:
        """ISO weekdays; never empty in the database, and never playing if it were."""

    @property
    def play_time_from(self) -> time | None:
        """The local time of day the window opens at."""

    @property
    def play_time_to(self) -> time | None:
        """The local time of day at which the window has closed; when earlier, of the next day."""


class WallClock(NamedTuple):
    """What a clock on the wall and the calendar beside it show; days are ISO weekdays."""

    today: int
    yesterday: int
    time: time


def wall_clock(now: datetime, zone: tzinfo) -> WallClock:
    """Return the local weekday, the one before it and the local time of day.

    Raises ValueError when `now` is naive, OverflowError when it is so close to the year 1 or
    9999 that it has no local date.
    """
    local = _in_utc(now).astimezone(zone)
    today = local.isoweekday()
    return WallClock(today, today - 1 or 7, local.time())


def is_active(schedule: Schedule, now: datetime, zone: tzinfo) -> bool:
    """Tell whether the asset plays at `now` on a clock of `zone` (as Anthias's `is_active`).

    Raises what `wall_clock` raises.
    """
    now = _in_utc(now)
    return _is_active(schedule, now, wall_clock(now, zone))


def deadline(schedules: Iterable[Schedule], now: datetime, zone: tzinfo) -> datetime | None:
    """Return when a player has to ask for its playlist again, in UTC, or None for never.

    Exactly Anthias's rule, which old players rely on: the next start of what is inactive and the
    next end of what is active, but no later than a minute from now while a play window could open
    or close. `next_change` is the exact answer for one asset. Raises what `wall_clock` raises.
    """
    now = _in_utc(now)
    clock = wall_clock(now, zone)
    moments = []
    for schedule in schedules:
        start, end = schedule.start_date, schedule.end_date
        if not schedule.is_enabled or start is None or end is None:
            continue
        bound = end if _is_active(schedule, now, clock) else start
        if bound > now:
            moments.append(_in_utc(bound))
        if start < now < end and _has_window(schedule):
            moments.append(now + PLAYLIST_RECHECK)
    return min(moments, default=None)


def next_change(schedule: Schedule, now: datetime, zone: tzinfo) -> datetime | None:
    """Return the first instant after `now` at which `is_active` answers otherwise, or None.

    In UTC, exact to the microsecond. A start date is exclusive, so the change it brings falls one
    microsecond after it. Raises ValueError when `now` is naive, OverflowError when it is within
    weeks of either end of the calendar.
    """
    now = _in_utc(now)
    if not schedule.is_enabled or schedule.start_date is None or schedule.end_date is None:
        return None
    start, end = _in_utc(schedule.start_date), _in_utc(schedule.end_date)
    if end <= now or end - start <= _INSTANT:
        return None
    since = max(now, start + _INSTANT)
    try:
        in_window = _in_window(schedule, wall_clock(since, zone))
        if in_window and now < since:
            return since
        flip = _window_flip(schedule, since, zone)
    except OverflowError:
        if since == now:
            raise
        return None  # a start date in the last weeks of 9999 means never, and nothing comes after
    if flip is not None and flip < end:
        return flip
    return end if in_window else None


def _in_utc(moment: datetime) -> datetime:
    # Datetimes that share a zone are compared and added to by their wall clocks, which repeat an
    # hour every autumn; in UTC they are compared as the instants they are.
    if moment.tzinfo is None:
        raise ValueError(f"A schedule is asked about an instant, and {moment} has no time zone.")
    return moment.astimezone(UTC)


def _has_window(schedule: Schedule) -> bool:
    has_times = schedule.play_time_from is not None and schedule.play_time_to is not None
    return has_times or not EVERY_DAY.issubset(schedule.play_days)


def _is_active(schedule: Schedule, now: datetime, clock: WallClock) -> bool:
    start, end = schedule.start_date, schedule.end_date
    if not schedule.is_enabled or start is None or end is None:
        return False
    return start < now < end and _in_window(schedule, clock)


def _in_window(schedule: Schedule, clock: WallClock) -> bool:
    opens, closes = schedule.play_time_from, schedule.play_time_to
    if opens is None or closes is None:
        return clock.today in schedule.play_days
    if opens <= closes:
        return opens <= clock.time < closes and clock.today in schedule.play_days
    if clock.time >= opens:
        return clock.today in schedule.play_days
    return clock.time < closes and clock.yesterday in schedule.play_days


def _window_flip(schedule: Schedule, since: datetime, zone: tzinfo) -> datetime | None:
    """Return the first instant after `since` at which `_in_window` answers otherwise."""
    if not _has_window(schedule):
        return None
    before = _in_window(schedule, wall_clock(since, zone))
    for days in _SEARCH_DAYS:
        # A day that is not searched may hold an earlier edge than the last day that is, where the
        # calendar jumps (Samoa had no 30 December 2011): what is found there is not yet an answer.
        known_until = since + timedelta(days=days - 1)
        for instant in sorted(_window_edges(schedule, since, days, zone)):
            if instant > known_until:
                break
            if instant > since and _in_window(schedule, wall_clock(instant, zone)) != before:
                return instant
    return None


def _window_edges(
    schedule: Schedule, since: datetime, days: int, zone: tzinfo
) -> Iterator[datetime]:
    """Yield every instant, and a few more, at which the window may open or close.

    On the wall a window is a row of intervals whose ends are the play times, or midnights. An
    instant can therefore only matter when the wall shows such an end, or when the clocks are
    changed across one: past it (the end is never shown) or back over it (it is shown twice).
    """
    opens, closes = schedule.play_time_from, schedule.play_time_to
    ends = (time.min,) if opens is None or closes is None else (opens, closes)
    first = since.astimezone(zone).date() - timedelta(days=1)
    for day in range(days + 2):
        for end in ends:
            yield from _instants_around(first + timedelta(days=day), end, zone)


def _instants_around(day: date, end: time, zone: tzinfo) -> Iterator[datetime]:
    """Yield the one or two instants PEP 495 gives a wall time, and the clock change between."""
    wall = datetime.combine(day, end, tzinfo=zone)
    before, after = sorted(wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    yield after
    if before != after:
        yield before
        yield _clock_change(before, after, zone)


def _clock_change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the first instant with the offset that `after` has; `before` has another."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > _INSTANT:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after
