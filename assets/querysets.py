"""The named reads of assets, and the activity rule of `assets.schedule` as SQL.

Called by whoever lists assets, through `Asset.objects`. Every read stays inside the tenant of the
open door, because the wall in the database says so; nothing here names a tenant, and nothing here
writes.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Case,
    DateTimeField,
    ExpressionWrapper,
    F,
    Func,
    IntegerField,
    JSONField,
    Q,
    When,
)

from assets.schedule import EVERY_DAY, WallClock, wall_clock

if TYPE_CHECKING:
    from django.db.models.query import ValuesQuerySet

    from assets.models import Asset


def active_q(now: datetime, zone: tzinfo) -> Q:
    """Return the condition "plays at `now` on a clock of `zone`", equal to `schedule.is_active`.

    True or false for every row, never NULL, so that it can be selected as well as filtered by.
    The local weekday and time are computed here and bound as parameters: PostgreSQL's idea of the
    zone is never asked. Raises ValueError when `now` is naive, OverflowError when it is so close
    to the year 1 or 9999 that it has no local date.
    """
    return active_by(now, wall_clock(now, zone))


def active_by(now: datetime, clock: WallClock) -> Q:
    """Return the condition of `active_q` by a clock that has been looked at already."""
    today, yesterday, time = clock
    return playing_q(now.astimezone(UTC), [today], [yesterday], time)


def playing_q(now: Any, today: Any, yesterday: Any, time: Any) -> Q:
    """Return the condition of `active_by` for values or for expressions.

    The days are lists of one ISO weekday.
    """
    is_today, is_yesterday = Q(play_days__contains=today), Q(play_days__contains=yesterday)
    # A comparison with NULL is NULL; "is not null" beside it makes the whole of it false.
    has_life = Q(start_date__isnull=False, end_date__isnull=False)
    has_times = Q(play_time_from__isnull=False, play_time_to__isnull=False)
    all_day = Q(play_time_from__isnull=True) | Q(play_time_to__isnull=True)
    same_day = Q(play_time_from__lte=time, play_time_to__gt=time)  # so from < to
    overnight = Q(play_time_from__gt=F("play_time_to"))
    evening, morning = Q(play_time_from__lte=time), Q(play_time_to__gt=time)
    return (
        Q(is_enabled=True)
        & has_life
        & Q(start_date__lt=now, end_date__gt=now)
        & (
            (all_day & is_today)
            | (
                has_times
                & (
                    (same_day & is_today)
                    | (overnight & ((evening & is_today) | (morning & is_yesterday)))
                )
            )
        )
    )


class DateOrNever(Func):
    """A date to sort by: where there is none, the end of time, so that it comes last.

    CASE, and not the COALESCE that says the same: PostgreSQL takes COALESCE for something that
    may leak, and then uses no index for a comparison with it under row-level security.
    """

    template = (
        "CASE WHEN %(expressions)s IS NULL THEN 'infinity'::timestamptz ELSE %(expressions)s END"
    )
    arity = 1
    output_field = DateTimeField()


class Never(Func):
    """What a missing date sorts as."""

    template = "'infinity'::timestamptz"
    output_field = DateTimeField()


class Most(Func):
    """What a missing number sorts as."""

    template = "9223372036854775807"
    output_field = BigIntegerField()


class NumberOrMost(Func):
    """A number to sort by: where there is none, the largest, so that it comes last; as above."""

    template = "CASE WHEN %(expressions)s IS NULL THEN 9223372036854775807 ELSE %(expressions)s END"
    arity = 1
    output_field = BigIntegerField()


class RefreshInterval(Func):
    """The refresh interval inside `metadata`, in seconds: 0 to 86,400, 0 where there is none."""

    template = (
        "CASE WHEN jsonb_typeof(%(expressions)s -> 'refresh_interval_s') = 'number' "
        "THEN trunc(least(greatest((%(expressions)s ->> 'refresh_interval_s')::numeric, 0), 86400)"
        ")::int ELSE 0 END"
    )
    arity = 1
    output_field = IntegerField()


class CustomHeaders(Func):
    """The HTTP headers inside `metadata`: an object, empty where there is none."""

    template = (
        "CASE WHEN jsonb_typeof(%(expressions)s -> 'headers') = 'object' "
        "THEN %(expressions)s -> 'headers' ELSE '{}'::jsonb END"
    )
    arity = 1
    output_field = JSONField()


class AssetQuerySet(models.QuerySet["Asset"]):
    """Assets of the tenant whose door is open."""

    def active_at(self, now: datetime, zone: tzinfo) -> Self:
        """Keep what plays at `now` on a clock of `zone`; raises what `active_q` raises."""
        return self.filter(active_q(now, zone))

    def with_activity(self, now: datetime, zone: tzinfo) -> Self:
        """Give each row a boolean `is_active`; raises what `active_q` raises."""
        activity = ExpressionWrapper(active_q(now, zone), output_field=BooleanField())
        return self.annotate(is_active=activity)

    def edges_by(self, now: datetime, clock: WallClock) -> ValuesQuerySet[Asset, dict[str, Any]]:
        """Return what `schedule.deadline` looks at, of each asset that has a life before it.

        `edge` is the next start of what is inactive and the next end of what is active, NULL where
        there is none; `is_windowed` says that a play window may open or close.
        """
        active, now = active_by(now, clock), now.astimezone(UTC)
        has_times = Q(play_time_from__isnull=False, play_time_to__isnull=False)
        is_windowed = has_times | ~Q(play_days__contains=sorted(EVERY_DAY))
        lives = self.filter(is_enabled=True, start_date__isnull=False, end_date__isnull=False)
        return lives.filter(Q(end_date__gt=now) | Q(start_date__gt=now)).values(
            edge=Case(
                When(active, then="end_date"),
                When(start_date__gt=now, then="start_date"),
                default=None,
                output_field=DateTimeField(),
            ),
            is_windowed=ExpressionWrapper(
                Q(start_date__lt=now, end_date__gt=now) & is_windowed, output_field=BooleanField()
            ),
        )

    def in_play_order(self) -> Self:
        """Sort as players play: by play_order, then in insertion order."""
        return self.order_by("play_order", "id")

    def in_insertion_order(self) -> Self:
        """Sort as Anthias lists: the oldest row first (ids are UUIDv7)."""
        return self.order_by("id")
