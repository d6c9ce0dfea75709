"""Events: what changed in a tenant, told to whoever listens once it is committed.

Called by every write, inside its transaction. Redis carries them on one channel per tenant; it is
a helper, so that with Redis away nothing fails and listeners fall back to asking.
"""

from __future__ import annotations

import json
import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from redis.exceptions import RedisError

from tenancy.limits import redis_client

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from tenancy.actors import Actor

logger = logging.getLogger("signate.events")

# Ids in one message; a change of more says `all` instead.
MOST_IDS = 500


class Event(StrEnum):
    """Every kind of change that is told. Names are never changed."""

    ASSETS_CREATED = "assets.created"
    ASSETS_CHANGED = "assets.changed"
    ASSETS_DELETED = "assets.deleted"
    ASSETS_PLAYED = "assets.played"
    SHARES_CHANGED = "shares.changed"
    DEVICES_CHANGED = "devices.changed"
    UPLOADS_CHANGED = "uploads.changed"
    SETTINGS_CHANGED = "settings.changed"
    MEMBERSHIPS_CHANGED = "memberships.changed"
    INVITATIONS_CHANGED = "invitations.changed"
    TOKENS_CHANGED = "tokens.changed"
    IMPORT_PROGRESS = "import.progress"


# After any of these a player may have something else to show (assets.playlists).
PLAYLIST_EVENTS = frozenset(
    {
        Event.ASSETS_CREATED,
        Event.ASSETS_CHANGED,
        Event.ASSETS_DELETED,
        Event.DEVICES_CHANGED,
        Event.SETTINGS_CHANGED,
    }
)


def channel(tenant_id: UUID) -> str:
    """Return the Redis channel of a tenant's events."""
    return tenant_key(tenant_id, "events")


def hub_channel() -> str:
    """Return the Redis channel of processes that keep sockets; it carries nothing."""
    return f"{settings.CACHES['default'].get('KEY_PREFIX', '')}:sockets"


def tenant_key(tenant_id: UUID, *names: object) -> str:
    """Return a name in Redis that is one tenant's."""
    prefix = settings.CACHES["default"].get("KEY_PREFIX", "")
    return ":".join(str(part) for part in (prefix, "t", tenant_id, *names))


def playlist_version_key(tenant_id: UUID) -> str:
    """Return where Redis counts the changes after which playlists are looked at anew."""
    return tenant_key(tenant_id, "playlist-version")


def publish(event: Event, ids: Iterable[UUID], *, actor: Actor, **details: Any) -> None:
    """Tell `event` about the rows with these keys of the actor's tenant, after the commit.

    `details` is what JSON can carry, and no secret: whoever may listen sees it. Nothing is told of
    a transaction that is rolled back, and nothing of no rows.
    """
    keys = [str(key) for key in ids]
    if not keys:
        return
    tenant_id = actor.entered()
    message: dict[str, Any] = {"event": event, "ids": keys, **details}
    if len(keys) > MOST_IDS:
        message |= {"ids": [], "all": True}
    transaction.on_commit(lambda: _send(tenant_id, message), robust=True)


def publish_all(event: Event, *, actor: Actor) -> None:
    """Tell `event` about any rows of the actor's tenant, after the commit."""
    tenant_id = actor.entered()
    message = {"event": event, "ids": [], "all": True}
    transaction.on_commit(lambda: _send(tenant_id, message), robust=True)


def tell_now(event: Event, key: UUID, *, actor: Actor, **details: Any) -> None:
    """Tell at once how far something is that commits at its end; never what it has written."""
    _send(actor.entered(), {"event": event, "ids": [str(key)], **details})


def _send(tenant_id: UUID, message: dict[str, Any]) -> None:
    client = redis_client()
    if client is None:
        return
    try:
        with client.pipeline(transaction=False) as pipe:
            if message["event"] in PLAYLIST_EVENTS:
                # Before anybody is told, so that whoever asks at once is not told the old one.
                pipe.incr(playlist_version_key(tenant_id))
            pipe.publish(channel(tenant_id), json.dumps(message))
            pipe.execute()
    except RedisError:
        logger.warning("Redis is away: nobody was told of %s", message["event"])
