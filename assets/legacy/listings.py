"""What the old API is asked for all the time: lists and playlists, by statements compiled once."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db.models import Value

from assets.legacy.shapes import statement_of
from assets.models import Asset
from assets.querysets import active_by
from assets.schedule import PLAYLIST_RECHECK
from assets.statements import (
    ASSET_ID,
    CLOCK,
    MOMENT,
    NOW,
    TAGS,
    TENANT,
    Statement,
    compiled,
    moment,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID
    from zoneinfo import ZoneInfo

    from assets.querysets import AssetQuerySet


class Listing(StrEnum):
    """Which assets of a tenant."""

    ALL = "all"
    ONE = "one"  # that `asset_id` names
    PLAYING = "playing"
    PLAYING_TAGGED = "playing_tagged"  # with any of `tags`


def listed(
    listing: Listing, version: str, now: datetime, zone: ZoneInfo, *, tenant_id: UUID, **values: Any
) -> str:
    """Return these assets as `shapes.shown` does, in one statement."""
    statement = _listing(listing, version, is_utc=zone.key == "UTC")
    [(text,)] = statement.rows({"tenant_id": tenant_id, **moment(now, zone), **values}, zone.key)
    return text or ""


def asked(
    listing: Listing, version: str, now: datetime, zone: ZoneInfo, *, tenant_id: UUID, **values: Any
) -> tuple[bytes, list[Any]]:
    """Return the statement and the parameters with which `listed` asks, for `rls.fetch_judged`."""
    statement = _listing(listing, version, is_utc=zone.key == "UTC")
    return statement.bound({"tenant_id": tenant_id, **moment(now, zone), **values}, zone.key)


def playing(
    version: str, now: datetime, zone: ZoneInfo, *, tenant_id: UUID, tags: Sequence[str] | None
) -> tuple[str, datetime | None]:
    """Return what plays now, and when that has to be looked at again (`schedule.deadline`).

    With `tags`, of assets that have one of them. Two statements, however many assets there are.
    """
    values: dict[str, Any] = {"tenant_id": tenant_id}
    listing = Listing.PLAYING
    if tags is not None:
        listing, values["tags"] = Listing.PLAYING_TAGGED, list(tags)
    statement = _deadline(is_tagged=tags is not None)
    [(edge, is_windowed)] = statement.rows({**moment(now, zone), **values})
    moments = [edge] if edge is not None else []
    if is_windowed:
        moments.append(now + PLAYLIST_RECHECK)
    return listed(listing, version, now, zone, **values), min(moments, default=None)


def _of_tenant(*, is_tagged: bool) -> AssetQuerySet:
    rows = Asset.objects.filter(tenant_id=TENANT)
    if not is_tagged:
        return rows
    # As one parameter: a list would be written out, one for each tag.
    tags = Value(TAGS, output_field=Asset._meta.get_field("tags"))
    return rows.filter(tags__overlap=tags)


@cache
def _listing(listing: Listing, version: str, *, is_utc: bool) -> Statement:
    rows = _of_tenant(is_tagged=listing is Listing.PLAYING_TAGGED)
    active, places = active_by(NOW, CLOCK), MOMENT | {"tenant_id"}
    if listing is Listing.ALL:
        rows = rows.in_insertion_order()
    elif listing is Listing.ONE:
        rows, places = rows.filter(asset_id=ASSET_ID), places | {"asset_id"}
    else:
        rows = rows.filter(active).in_play_order()
    if listing is Listing.PLAYING_TAGGED:
        places |= {"tags"}
    return statement_of(version, rows, active, is_utc=is_utc, places=places)


@cache
def _deadline(*, is_tagged: bool) -> Statement:
    return compiled(
        _of_tenant(is_tagged=is_tagged).edges_by(NOW, CLOCK),
        "SELECT min(edge), COALESCE(bool_or(is_windowed), false) FROM ({}) AS rows",
        places=MOMENT | {"tenant_id"} | ({"tags"} if is_tagged else set()),
    )
