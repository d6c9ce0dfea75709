"""Remembers which device a secret is of, so that a poll with no news asks no database.

Called by tenancy.devices. What this process remembers is good for one version of its tenant, which
counts in the database, by trigger, whenever a secret, a revocation, the tenant's state or its hosts
change. Which version is current Redis tells, for FRESH_SECONDS after it was read; with Redis away,
and in between, the database does. What changes a credential forgets the version at once
(`forget_devices`), so that the next request is judged by the database; where Redis cannot be told,
the change waits until nobody goes by what was read before it (docs/decisions/polls.md).
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection, transaction
from redis.exceptions import RedisError

from tenancy.events import tenant_key
from tenancy.limits import redis_client

if TYPE_CHECKING:
    from uuid import UUID

    from tenancy.credentials import MembershipState

logger = logging.getLogger("signate.devices")

# How long a version may be gone by after it was read.
FRESH_SECONDS = 2.0
# Which devices are remembered, and for how long, is a matter of memory only.
REMEMBERED_SECONDS = 600.0
MAX_REMEMBERED = 10_000
_CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class _Remembered:
    device: MembershipState
    version: int
    until: float


class _Memory:
    """Devices by the digests of their secrets; the oldest goes when there are too many."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._devices: dict[str, _Remembered] = {}

    def get(self, digest: str) -> _Remembered | None:
        found = self._devices.get(digest)
        return found if found is not None and found.until > time.monotonic() else None

    def put(self, digest: str, device: MembershipState, version: int) -> None:
        until = time.monotonic() + REMEMBERED_SECONDS
        with self._lock:
            self._devices.pop(digest, None)
            self._devices[digest] = _Remembered(device, version, until)
            while len(self._devices) > MAX_REMEMBERED:
                del self._devices[next(iter(self._devices))]

    def forget(self, digest: str) -> None:
        with self._lock:
            self._devices.pop(digest, None)


_memory = _Memory()


def recall_device(digest: str) -> MembershipState | None:
    """Return which device the secret of this digest is of; None where that is to be looked up."""
    found = _memory.get(digest)
    if found is None:
        return None
    if _current(found.device.tenant_id) == found.version:
        return found.device
    _memory.forget(digest)
    return None


def remember_device(digest: str, device: MembershipState, version: int | None) -> None:
    """Remember what was looked up, under the version that was read together with it."""
    if version is not None and redis_client() is not None:
        _memory.put(digest, device, version)


def forget_devices(tenant_id: UUID) -> None:
    """Have every secret of a tenant looked up again: now, and once the transaction is committed.

    Called by whatever changes who may enter as a device. When the transaction is over nobody is
    let in by what was before it.
    """
    _close(tenant_id)
    transaction.on_commit(lambda: _close_or_wait(tenant_id), robust=True)


def _close_or_wait(tenant_id: UUID) -> None:
    if _close(tenant_id):
        return
    # Another process may reach Redis all the same, or again in a moment. Without a connection:
    # others need it meanwhile.
    logger.warning("Redis is away: a change of devices waits until it is known everywhere")
    if not connection.in_atomic_block:
        connection.close()
    time.sleep(FRESH_SECONDS)


def _close(tenant_id: UUID) -> bool:
    """Let nobody go by a version of the tenant for a while; return whether that is certain."""
    client = redis_client()
    if client is None:
        return True
    try:
        client.set(_key(tenant_id), _CLOSED, px=int(FRESH_SECONDS * 1000))
    except RedisError:
        return False
    return True


def _current(tenant_id: UUID) -> int | None:
    """Return the tenant's version as Redis or the database tells it; None to look up everything."""
    client = redis_client()
    if client is None:
        return None
    try:
        said = client.get(_key(tenant_id))
        if said is not None:
            return _read(tenant_id, said)
        # Good for so long from before it was read, however late it is written.
        until = time.time() + FRESH_SECONDS
        version = _stored(tenant_id)
        if version is not None:
            text = _written(tenant_id, version, until)
            # Not over what was closed meanwhile.
            client.set(_key(tenant_id), text, px=int(FRESH_SECONDS * 1000), nx=True)
    except RedisError:
        return None
    return version


def _stored(tenant_id: UUID) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT device_version(%s)", [tenant_id])
        row: tuple[int | None] = cursor.fetchone()
    return row[0]


def _key(tenant_id: UUID) -> str:
    return tenant_key(tenant_id, "device-version")


def _written(tenant_id: UUID, version: int, until: float) -> str:
    text = f"{version} {until:.3f}"
    return f"{text} {_mac(tenant_id, text)}"


def _read(tenant_id: UUID, said: bytes) -> int | None:
    """Return the version in what Redis says; None for what is over, closed, or not ours.

    Signed: who can write to Redis lets nobody in by it.
    """
    text, _, mac = said.decode(errors="replace").rpartition(" ")
    if not hmac.compare_digest(mac.encode(), _mac(tenant_id, text).encode()):
        return None
    version, _, until = text.partition(" ")
    return int(version) if time.time() < float(until) else None


def _mac(tenant_id: UUID, text: str) -> str:
    told = f"signate.device-version {tenant_id} {text}".encode(errors="replace")
    return hmac.new(settings.SECRET_KEY.encode(), told, sha256).hexdigest()[:32]
