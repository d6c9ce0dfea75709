"""The activity rule in SQL is the rule of assets.schedule, row for row; and the order of reads."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import product
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.models import Asset
from assets.querysets import active_q
from assets.schedule import is_active
from rls import acting_as

if TYPE_CHECKING:
    from uuid import UUID

    from tenancy.actors import Actor

MICROSECOND = timedelta(microseconds=1)

START = datetime(2010, 11, 1, 12, 30, 15, 500000, tzinfo=UTC)
END = datetime(2026, 11, 15, 8, tzinfo=UTC)

LIVES = [(START, END), (END, START), (START, None), (None, END), (None, None)]
WINDOWS = [
    (None, None),
    (time(8), None),
    (None, time(8)),
    (time(8), time(20)),
    (time(2), time(2, 30)),
    (time(0), time(23, 59, 59, 999999)),
    (time(9), time(9)),
    (time(0), time(0)),
    (time(22), time(6)),
    (time(20), time(0)),
    (time(2, 30), time(2)),
]
DAY_SETS = [[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5], [6, 7], [1], [4], [5], [6], [7]]

# Places whose clocks are changed by an hour, by half of one, over midnight, by a day, and never.
CLOCK_CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("America/St_Johns", datetime(2010, 11, 7, 2, 31, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 3, 29, 1, tzinfo=UTC)),
]

zones = st.sampled_from([name for name, _ in CLOCK_CHANGES])
edges_of_life = st.tuples(
    zones,
    st.builds(
        lambda at, n: at + n * MICROSECOND, st.sampled_from([START, END]), st.integers(-1, 1)
    ),
)
edges_of_windows = st.builds(
    # Every offset above is a multiple of half an hour, and so is every edge.
    lambda name, n, off: (name, datetime(2026, 5, 1, tzinfo=UTC) + n * timedelta(minutes=30) + off),
    zones,
    st.integers(0, 9 * 48),
    st.sampled_from([-MICROSECOND, timedelta(0), MICROSECOND, timedelta(minutes=7)]),
)
around_clock_changes = st.builds(
    lambda at, minutes: (at[0], at[1] + timedelta(minutes=minutes)),
    st.sampled_from(CLOCK_CHANGES),
    st.integers(-2 * 24 * 60, 24 * 60),
)


class Team(Protocol):
    """A tenant's people, as far as this file needs them."""

    @property
    def owner(self) -> Actor: ...


def library(tenant: UUID) -> list[Asset]:
    """Return one unsaved asset for each way of being scheduled, and three disabled ones."""
    ways = [(True, *way) for way in product(LIVES, WINDOWS, DAY_SETS)]
    ways += [(False, *way) for way in product(LIVES[:1], WINDOWS[:3], DAY_SETS[:1])]
    return [
        Asset(
            tenant_id=tenant,
            asset_id=f"schedule-{number}",
            is_enabled=enabled,
            start_date=start,
            end_date=end,
            play_time_from=opens,
            play_time_to=closes,
            play_days=days,
        )
        for number, (enabled, (start, end), (opens, closes), days) in enumerate(ways)
    ]


@pytest.mark.django_db
def test_the_rule_in_sql_is_the_rule_in_python(acme: Team) -> None:
    with acting_as(acme.owner):
        Asset.objects.bulk_create(library(acme.owner.entered()))
        stored = Asset.objects.filter(asset_id__startswith="schedule-")
        rows = list(stored)
        assert len(rows) == 5 * 11 * 8 + 3

        @given(edges_of_life | edges_of_windows | around_clock_changes)
        @settings(max_examples=120, deadline=None)
        def they_agree(moment: tuple[str, datetime]) -> None:
            name, now = moment
            zone = ZoneInfo(name)
            expected = {row.pk: is_active(row, now, zone) for row in rows}
            shown = stored.with_activity(now, zone).only("id")
            # None is not False: a NULL would show here.
            assert {row.pk: vars(row)["is_active"] for row in shown} == expected
            active = set(stored.active_at(now, zone).values_list("pk", flat=True))
            assert active == {key for key, plays in expected.items() if plays}
            rest = set(stored.exclude(active_q(now, zone)).values_list("pk", flat=True))
            assert rest == expected.keys() - active

        they_agree()


def test_a_moment_without_a_time_zone_has_no_condition() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        active_q(datetime(2026, 11, 23, 12), UTC)  # noqa: DTZ001 -- the mistake this is about


@pytest.mark.django_db
def test_assets_are_read_in_play_order_and_in_insertion_order(acme: Team) -> None:
    orders = [("a", 2), ("b", 0), ("c", -1), ("d", 2), ("e", 0)]
    with acting_as(acme.owner):
        for name, order in orders:
            Asset.objects.create(
                tenant_id=acme.owner.entered(), asset_id=f"order-{name}", play_order=order
            )
        listed = Asset.objects.filter(asset_id__startswith="order-")
        in_play_order = [row.asset_id for row in listed.in_play_order()]
        in_insertion_order = [row.asset_id for row in listed.in_insertion_order()]
    assert in_play_order == ["order-c", "order-b", "order-e", "order-a", "order-d"]
    assert in_insertion_order == ["order-a", "order-b", "order-c", "order-d", "order-e"]
