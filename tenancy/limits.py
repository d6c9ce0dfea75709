"""Limits: on how often something may fail, and on how much a tenant may have.

Failures are counted in Redis, and in this process when it is away.

Redis is a helper: both counters always count and the larger one decides, so that losing Redis in
the middle of an attack does not hand out a fresh budget. An attempt is counted before it is made
and given back when it succeeds, so that attempts made at once cannot pass the limit together.

How much a tenant has is counted, and the limit held, by triggers in the database; here their
refusals become something a person can act on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction

from tenancy.errors import QuotaExceeded, RateLimited
from tenancy.models import Tenant, TenantUsage, violated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID

logger = logging.getLogger("signate.limits")

# Keys this process remembers per limit: a flood of made-up names must not become a flood of memory.
MAX_KEYS = 10_000


def redis_client() -> Any | None:
    """Return the raw Redis client behind the default cache, or None where there is none."""
    if not settings.REDIS_URL:
        return None
    from django_redis import get_redis_connection

    return get_redis_connection("default")


class FailureLimit:
    """At most `limit` failures per key in `window` seconds."""

    def __init__(self, name: str, limit: int, window: int) -> None:
        """Name the counter; keys of different counters never meet."""
        self.name = name
        self.limit = limit
        self.window = window
        self._lock = threading.Lock()
        # Windows are equally long, so the oldest entry is always the first to end.
        self._local: dict[str, tuple[float, int]] = {}

    def _key(self, key: str) -> str:
        return f"{settings.CACHES['default'].get('KEY_PREFIX', '')}:limit:{self.name}:{key}"

    def _locally(self, key: str, add: int) -> tuple[int, int]:
        """Return the count after adding, and the seconds until it starts over."""
        now = time.monotonic()
        with self._lock:
            ends, count = self._local.get(key, (0.0, 0))
            if ends <= now:
                self._local.pop(key, None)
                ends, count = now + self.window, 0
            count = max(0, count + add)
            self._local[key] = (ends, count)
            while len(self._local) > MAX_KEYS:
                del self._local[next(iter(self._local))]
        return count, math.ceil(ends - now)

    def _remotely(self, key: str, add: int) -> tuple[int, int]:
        """Return the same from Redis; zeros without it."""
        from redis.exceptions import RedisError

        try:
            client = redis_client()
            if client is None:
                return 0, 0
            # Not EXPIRE NX, which Redis 6 does not know: a counter is born with its end.
            with client.pipeline() as pipe:
                pipe.set(self._key(key), 0, ex=self.window, nx=True)
                pipe.incrby(self._key(key), add)
                pipe.ttl(self._key(key))
                _born, count, seconds = pipe.execute()
        except RedisError:
            logger.warning("Redis is away: limit %s is counted in this process only", self.name)
            return 0, 0
        return count, seconds

    def take(self, key: str) -> int:
        """Count one attempt of `key` and return 0; or count nothing and return seconds to wait."""
        spent = [
            seconds
            for count, seconds in (self._locally(key, 1), self._remotely(key, 1))
            if count > self.limit
        ]
        if not spent:
            return 0
        self.give_back(key)
        return max(1, *spent)

    def give_back(self, key: str) -> None:
        """Take one counted attempt of `key` back: it did not fail."""
        self._locally(key, -1)
        self._remotely(key, -1)

    def forget(self, key: str) -> None:
        """Start over for `key`, after a success."""
        from redis.exceptions import RedisError

        with self._lock:
            self._local.pop(key, None)
        try:
            client = redis_client()
            if client is not None:
                client.delete(self._key(key))
        except RedisError:
            logger.warning("Redis is away: limit %s was reset in this process only", self.name)


def take(limits: Iterable[tuple[FailureLimit, str]]) -> None:
    """Count an attempt on each of the (limit, key) pairs.

    Raises RateLimited when one of them is spent, and then counts on none of them.
    """
    taken: list[tuple[FailureLimit, str]] = []
    for limit, key in limits:
        seconds = limit.take(key)
        if seconds:
            for other, other_key in taken:
                other.give_back(other_key)
            raise RateLimited(seconds)
        taken.append((limit, key))


BYTES_PER_GB = 1_000_000_000
# The constraints that the triggers of migrations name in their refusals.
QUOTA_MAX_ASSETS = "quota_max_assets"
QUOTA_STORAGE = "quota_storage"
QUOTA_MAX_DEVICES = "quota_max_devices"
QUOTA_MAX_USERS = "quota_max_users"


def quota_refusal(error: IntegrityError, *field: str) -> QuotaExceeded | None:
    """Return the refusal behind a write that would have passed a limit; None for other errors."""
    limit = getattr(getattr(error.__cause__, "diag", None), "message_detail", None) or ""
    constraint = violated(error)
    if constraint == QUOTA_MAX_ASSETS:
        return QuotaExceeded(
            f"This tenant may have {limit} assets and has no room for more. Delete some, or ask "
            "for a larger plan.",
            field=field,
        )
    if constraint == QUOTA_MAX_DEVICES:
        return QuotaExceeded(
            f"This tenant may have {limit} devices and has no room for more. Revoke one, or ask "
            "for a larger plan.",
            field=field,
        )
    if constraint == QUOTA_MAX_USERS:
        return QuotaExceeded(
            f"This tenant may have {limit} members and has no room for more. Remove or deactivate "
            "one, or ask for a larger plan.",
            field=field,
        )
    if constraint == QUOTA_STORAGE:
        return QuotaExceeded(
            f"This tenant has {max(0, int(limit))} bytes of storage left. Delete some assets, or "
            "ask for a larger plan.",
            field=field,
        )
    return None


@contextmanager
def within_quota(*field: str) -> Iterator[None]:
    """Write inside; raises QuotaExceeded, with the block undone, when a limit would be passed."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        refusal = quota_refusal(error, *field)
        if refusal is None:
            raise
        raise refusal from error


def storage_left(tenant_id: UUID) -> int:
    """Return how many bytes the open door's tenant may still store; 0 when it is over its quota.

    A hint for what takes long: whether something fits is decided when it is written.
    """
    allowed = Tenant.objects.values_list("storage_quota_gb", flat=True).get(pk=tenant_id)
    used = TenantUsage.objects.filter(tenant_id=tenant_id).values_list("bytes", flat=True).first()
    return max(0, allowed * BYTES_PER_GB - (used or 0))
