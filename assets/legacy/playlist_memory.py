"""Remembers in Redis what each player was last told, so that an unchanged poll costs no asset.

Whatever may change a playlist counts up its tenant's version (tenancy.events), so what was
remembered under an older one is void. The version is read before the assets are: a change in
between leaves the older number behind. With Redis away nothing is remembered and every poll is
answered from the database; a count that was lost is made up for after `MEMORY_SECONDS`.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from tenancy.events import playlist_version_key, tenant_key
from tenancy.limits import redis_client

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

logger = logging.getLogger("signate.legacy")

MEMORY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Recalled:
    """What Redis knows: the tenant's version now, and the ETag that is still good under it."""

    version: str = ""
    etag: str = ""


def _key(tenant_id: UUID, device: UUID) -> str:
    return tenant_key(tenant_id, "device", device, "playlist")


def recall(tenant_id: UUID, device: UUID, now: datetime) -> Recalled:
    """Return what is known of a device's playlist; nothing at all with Redis away."""
    client = redis_client()
    if client is None:
        return Recalled()
    try:
        version, kept = client.mget(playlist_version_key(tenant_id), _key(tenant_id, device))
        if version is None:
            # Not 0: a count that was evicted must not come past a number it had before.
            client.set(playlist_version_key(tenant_id), time.time_ns(), nx=True)
            version = client.get(playlist_version_key(tenant_id))
    except RedisError:
        logger.warning("Redis is away: playlists are looked up for every poll")
        return Recalled()
    current = (version or b"").decode()
    if not current or kept is None:
        return Recalled(current)
    remembered = json.loads(kept)
    is_good = remembered["version"] == current and (
        remembered["until"] is None or now.timestamp() < remembered["until"]
    )
    return Recalled(current, remembered["etag"] if is_good else "")


def remember(
    tenant_id: UUID, device: UUID, *, version: str, etag: str, deadline: datetime | None
) -> None:
    """Keep the ETag of a playlist that was read after `version` was."""
    client = redis_client()
    if client is None or not version:
        return
    until = None if deadline is None else deadline.timestamp()
    kept = json.dumps({"version": version, "etag": etag, "until": until})
    try:
        client.set(_key(tenant_id, device), kept, ex=MEMORY_SECONDS)
    except RedisError:
        logger.warning("Redis is away: a playlist was not remembered")
