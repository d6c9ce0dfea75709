"""What a player says of itself, and when it was last heard of.

Called by the shim, in the door of the device itself. What it says is kept as it is and shown to
the people of its tenant; nothing here believes it.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone
from redis.exceptions import RedisError

from rls import acting_as
from tenancy.commands import note_settled
from tenancy.errors import InvalidInput, NotFound, PermissionDenied
from tenancy.events import tenant_key
from tenancy.limits import redis_client
from tenancy.models import Device
from tenancy.tenants import clean_all, clean_object, clean_text, is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from tenancy.actors import Actor

logger = logging.getLogger("signate.devices")

# A player that polls is written down as seen once in this time.
SEEN_SECONDS = 60
MAX_WORDS = 255
MAX_LOCAL = 10_000


def clean_words(value: Any) -> str:
    """Return text of 255 characters at most; null is none. Raises InvalidInput."""
    if not isinstance(value, str):
        message = "Give text."
        raise InvalidInput(message)
    text = clean_text(value).strip()
    if len(text) > MAX_WORDS:
        message = f"This can have {MAX_WORDS} characters at most."
        raise InvalidInput(message)
    return text


# What a heartbeat may say: everything is optional, and what is left out stays.
HEARTBEAT_CLEANERS: Mapping[str, Callable[[Any], Any]] = {
    "version": clean_words,
    "playing": clean_words,
    "telemetry": clean_object,
}


@transaction.atomic
def record_heartbeat(*, actor: Actor, address: str, values: Mapping[str, Any]) -> Device:
    """Return the device that acts after it said `values` (version, playing, telemetry).

    Nothing else of a heartbeat is kept. Written when something differs, or a minute has passed.
    Raises PermissionDenied for anybody but a device, NotFound for one that is gone, Invalid.
    """
    if actor.device_id is None:
        message = "Only a device reports on itself."
        raise PermissionDenied(message)
    said = {name: value for name, value in values.items() if name in HEARTBEAT_CLEANERS}
    # Null is what a player says when it shows nothing.
    said = {name: "" if name != "telemetry" and v is None else v for name, v in said.items()}
    cleaned = {**clean_all(said, HEARTBEAT_CLEANERS), "address": address}
    row = Device.objects.select_for_update().filter(pk=actor.device_id).first()
    if row is None:
        message = "There is no device with this id."
        raise NotFound(message)
    fields = [name for name, value in cleaned.items() if not is_same(getattr(row, name), value)]
    for name in fields:
        setattr(row, name, cleaned[name])
    if "playing" in said:
        tenant_id, key = row.tenant_id, row.pk
        transaction.on_commit(lambda: note_settled(tenant_id, key), robust=True)
    now = timezone.now()
    seen = row.last_seen_at
    if fields or seen is None or seen < now - timedelta(seconds=SEEN_SECONDS):
        row.last_seen_at = now
        row.save(update_fields=[*fields, "last_seen_at"])
    return row


class _Seen:
    """Which devices this process has written down in the last minute, for when Redis is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[UUID, float] = {}

    def is_news(self, device: UUID) -> bool:
        now = time.monotonic()
        with self._lock:
            if self._until.get(device, 0.0) > now:
                return False
            self._until.pop(device, None)
            self._until[device] = now + SEEN_SECONDS
            while len(self._until) > MAX_LOCAL:
                del self._until[next(iter(self._until))]
        return True


_seen = _Seen()


def note_seen(*, actor: Actor, address: str) -> None:
    """Write down that the device that acts was heard of, once a minute; opens its own door."""
    tenant_id, device = actor.entered(), actor.device_id
    if device is None or not _is_news(tenant_id, device):
        return
    with acting_as(actor):
        Device.objects.filter(pk=device).update(last_seen_at=timezone.now(), address=address)


def _is_news(tenant_id: UUID, device: UUID) -> bool:
    client = redis_client()
    if client is not None:
        try:
            key = tenant_key(tenant_id, "device", device, "seen")
            return bool(client.set(key, 1, nx=True, ex=SEEN_SECONDS))
        except RedisError:
            logger.warning("Redis is away: this process alone knows which players it has seen")
    return _seen.is_news(device)
