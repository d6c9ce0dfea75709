"""Where a legacy write puts an asset among those that play (SPEC section 4, "Ordering algorithm").

Only v1.2 and v2 do this; Anthias numbers the active assets anew each time, in the order they were
added and not in the order they play, which its clients have come to expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from assets.models import Asset

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID
    from zoneinfo import ZoneInfo


def place_among_active(row: Asset, now: datetime, zone: ZoneInfo) -> list[UUID]:
    """Put `row` at its play_order among the active assets; return the keys that changed.

    Beyond the end is the end, and a negative place counts from it, as Python's lists have it. A
    row that is not active keeps its number, and so do all others that are not.
    """
    active = list(
        Asset.objects.filter(tenant_id=row.tenant_id)
        .active_at(now, zone)
        .in_insertion_order()
        .values_list("pk", flat=True)
    )
    if row.pk in active:
        active.remove(row.pk)
        active.insert(row.play_order, row.pk)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE assets SET play_order = listed.place - 1 "
            "FROM unnest(%s::uuid[]) WITH ORDINALITY AS listed (id, place) "
            "WHERE assets.id = listed.id AND assets.play_order <> listed.place - 1 "
            "RETURNING assets.id",
            [active],
        )
        return [key for (key,) in cursor.fetchall()]


def number_listed(tenant_id: UUID, asset_ids: list[str]) -> list[UUID]:
    """Give each listed asset its index as play_order; return the keys that changed.

    The last place of one that comes twice counts; what is no asset takes a place all the same.
    """
    places = {asset_id: place for place, asset_id in enumerate(asset_ids)}
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE assets SET play_order = listed.place "
            "FROM unnest(%s::text[], %s::int[]) AS listed (asset_id, place) "
            "WHERE assets.tenant_id = %s AND assets.asset_id = listed.asset_id "
            "AND assets.play_order <> listed.place RETURNING assets.id",
            [list(places), list(places.values()), tenant_id],
        )
        return [key for (key,) in cursor.fetchall()]
