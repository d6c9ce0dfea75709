"""The three web pages that Anthias ships, which a tenant can have among its assets or not.

Called by assets.player_settings, inside its transaction. They are known by their `assetId`, which
starts with `default_`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from assets.auditing import record_many
from assets.library import delete_assets
from assets.models import Asset, new_asset_id
from tenancy.events import Event, publish
from tenancy.limits import within_quota

if TYPE_CHECKING:
    from tenancy.actors import Actor

PREFIX = "default_"
PAGES = (
    ("Screenly Weather Widget", "https://weather.srly.io"),
    ("Screenly Clock Widget", "https://clock.srly.io"),
    ("Hacker News", "https://news.ycombinator.com"),
)
LIFE = timedelta(days=365 * 6)


def add_default_assets(*, actor: Actor, duration: int) -> None:
    """Add those pages that are not there, playing from now on, `duration` seconds each.

    Raises PermissionDenied without assets.create, QuotaExceeded.
    """
    tenant_id = actor.require("assets.create")
    there = set(Asset.objects.filter(asset_id__startswith=PREFIX).values_list("uri", flat=True))
    now = timezone.now()
    rows = [
        Asset(
            tenant_id=tenant_id,
            asset_id=f"{PREFIX}{new_asset_id()}",
            name=name,
            uri=uri,
            mimetype="webpage",
            start_date=now,
            end_date=now + LIFE,
            duration=duration,
            is_enabled=True,
            created_by_id=actor.user_id,
            updated_by_id=actor.user_id,
        )
        for name, uri in PAGES
        if uri not in there
    ]
    with within_quota("default_assets"):
        Asset.objects.bulk_create(rows)
    keys = [row.pk for row in rows]
    publish(Event.ASSETS_CREATED, keys, actor=actor)
    record_many(actor, "asset.created", keys, names=[row.name for row in rows])


def remove_default_assets(*, actor: Actor) -> None:
    """Remove those pages; raises PermissionDenied without assets.delete."""
    actor.require("assets.delete")
    keys = list(Asset.objects.filter(asset_id__startswith=PREFIX).values_list("pk", flat=True))
    if keys:
        delete_assets(actor=actor, ids=keys)
