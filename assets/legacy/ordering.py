"""Where a legacy write puts an asset among those that play (SPEC section 4, "Ordering algorithm").

Only v1.2 and v2 do this; Anthias numbers the active assets anew each time, in the order they were
added and not in the order they play, which its clients have come to expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection
from django.utils import timezone

from assets.auditing import record_many
from assets.legacy.fields import is_storable
from assets.models import Asset
from tenancy.events import Event, publish

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from tenancy.actors import Actor


def take_turn(actor: Actor) -> None:
    """Wait until no other legacy write of the tenant is under way; for this transaction.

    Anthias handles one request after the other, and two that number or name the assets at once
    would do so by what neither of them leaves behind.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"legacy:{actor.entered()}"]
        )


def place_among_active(row: Asset, *, actor: Actor, now: datetime, zone: ZoneInfo) -> None:
    """Put `row` at its play_order among the active assets.

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
            "UPDATE assets SET play_order = listed.place - 1, updated_at = %s, updated_by_id = %s "
            "FROM unnest(%s::uuid[]) WITH ORDINALITY AS listed (id, place) "
            "WHERE assets.id = listed.id AND assets.play_order <> listed.place - 1 "
            "RETURNING assets.id",
            [timezone.now(), actor.user_id, active],
        )
        changed = [key for (key,) in cursor.fetchall()]
    publish(Event.ASSETS_CHANGED, changed, actor=actor)
    record_many(actor, "asset.reordered", changed)


def number_listed(asset_ids: list[str], *, actor: Actor) -> None:
    """Give each listed asset of the tenant its index as play_order.

    The last place of one that comes twice counts; what is no asset takes a place all the same.
    """
    places = {name: place for place, name in enumerate(asset_ids) if is_storable(name)}
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE assets SET play_order = listed.place, updated_at = %s, updated_by_id = %s "
            "FROM unnest(%s::text[], %s::int[]) AS listed (asset_id, place) "
            "WHERE assets.tenant_id = %s AND assets.asset_id = listed.asset_id "
            "AND assets.play_order <> listed.place RETURNING assets.id",
            [
                *(timezone.now(), actor.user_id),
                *(list(places), list(places.values()), actor.entered()),
            ],
        )
        changed = [key for (key,) in cursor.fetchall()]
    publish(Event.ASSETS_CHANGED, changed, actor=actor)
    record_many(actor, "asset.reordered", changed)
