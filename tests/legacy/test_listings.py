"""Lists and playlists by statements that are compiled once: the same as asked anew each time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.legacy.listings import Listing, listed, playing
from assets.legacy.shapes import V1, V2, shown
from assets.models import Asset
from assets.schedule import deadline
from assets.statements import TENANT, compiled
from rls import acting_as
from tests.assets.test_schedule_sql import (
    around_clock_changes,
    edges_of_life,
    edges_of_windows,
    library,
)

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.world import Inhabited

GROUPS = 40


def test_they_are_what_the_rule_in_python_says(acme: Inhabited, globex: Inhabited) -> None:
    for place in (globex, acme):
        with acting_as(place.owner):
            Asset.objects.all().delete()
            rows = library(place.tenant.pk)
            for number, row in enumerate(rows):
                row.tags = [f"group {number % GROUPS}"]
                row.play_order = number % 7
            Asset.objects.bulk_create(rows)
    tenant_id = acme.tenant.pk
    with acting_as(acme.owner):
        assets = Asset.objects.filter(tenant_id=tenant_id)
        of_group = {n: list(assets.filter(tags=[f"group {n}"])) for n in range(GROUPS)}

        @given(edges_of_life | edges_of_windows | around_clock_changes, st.integers(0, GROUPS - 1))
        @settings(max_examples=60, deadline=None)
        def they_agree(moment: tuple[str, datetime], group: int) -> None:
            zone, now = ZoneInfo(moment[0]), moment[1]
            tags = ["nobody's", f"group {group}"]
            tagged = assets.filter(tags__overlap=tags)
            for rows, wanted, schedules in (
                (assets, None, [one for listed in of_group.values() for one in listed]),
                (tagged, tags, of_group[group]),
            ):
                text, ends = playing(V2, now, zone, tenant_id=tenant_id, tags=wanted)
                assert text == shown(V2, rows.active_at(now, zone).in_play_order(), now, zone)
                assert ends == deadline(schedules, now, zone)

        they_agree()
        now, zone = datetime.now(UTC), ZoneInfo("Asia/Kolkata")
        for version in (V1, V2):
            text = listed(Listing.ALL, version, now, zone, tenant_id=tenant_id)
            assert text == shown(version, assets.in_insertion_order(), now, zone)
            name = of_group[3][2].asset_id
            text = listed(Listing.ONE, version, now, zone, tenant_id=tenant_id, asset_id=name)
            assert json.loads(text)["asset_id"] == name


@pytest.mark.parametrize("prepared", [1, 0])
def test_they_are_prepared_only_where_they_may_be(
    acme: Inhabited, settings: Settings, prepared: int
) -> None:
    settings.PREPARED_STATEMENTS = bool(prepared)
    now, zone = datetime.now(UTC) + timedelta(days=1), ZoneInfo("UTC")
    with acting_as(acme.owner), connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
        for _ in range(2):
            listed(Listing.ALL, V2, now, zone, tenant_id=acme.tenant.pk)
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        assert cursor.fetchone() == (prepared,)


def test_a_place_that_does_not_occur_is_noticed() -> None:
    rows = Asset.objects.filter(tenant_id=TENANT).values("id")
    compiled(rows, places={"tenant_id"})
    with pytest.raises(ValueError, match="no place for now"):
        compiled(rows, places={"tenant_id", "now"})
