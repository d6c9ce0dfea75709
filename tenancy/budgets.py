"""Budgets: how much somebody may use in a while, over all processes.

Called by graph.limits for every operation, so it asks Redis only now and then: a process takes a
part of a budget at once and spends it by itself. With Redis away each process counts alone, from
what it has counted before.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from django.conf import settings

from tenancy.limits import MAX_KEYS, redis_client

logger = logging.getLogger("signate.limits")

# Into so many parts a budget is cut; what a process has taken and not spent is lost to the others.
PARTS = 100


class Left(NamedTuple):
    """What is left of a budget; `wait` is 0 where it was enough, else in whole seconds."""

    remaining: int
    wait: int


@dataclass(slots=True)
class _Account:
    ends: float
    # What this process has spent, what it has taken from Redis to spend, and what others took.
    spent: int = 0
    taken: int = 0
    elsewhere: int = 0


class _Granted(NamedTuple):
    units: int
    # All that anybody has taken in this window, which ends in `seconds`.
    total: int
    seconds: int


class Budget:
    """At most `limit` units per key in `window` seconds."""

    def __init__(self, name: str, limit: int, window: int) -> None:
        """Name the budget; keys of different budgets never meet."""
        self.name, self.limit, self.window = name, limit, window
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def spend(self, key: str, units: int) -> Left:
        """Take `units` from the budget of `key`, or nothing where they are too many."""
        with self._lock:
            account = self._account(key, time.monotonic())
            short = account.spent + units - account.taken
        # Not under the lock: a Redis that hangs must not hold up everybody else.
        granted = self._ask(key, max(short, self.limit // PARTS)) if short > 0 else None
        with self._lock:
            now = time.monotonic()
            account = self._account(key, now)
            if granted is not None:
                account = self._credit(key, account, granted, now)
            elif short > 0:
                account.taken = self.limit
            allowed = min(self.limit, account.taken) - account.spent
            if units > allowed:
                return Left(max(0, allowed), max(1, math.ceil(account.ends - now)))
            account.spent += units
            remaining = self.limit - account.spent - account.elsewhere
            return Left(max(0, remaining), 0)

    def _account(self, key: str, now: float) -> _Account:
        account = self._accounts.get(key)
        if account is None or account.ends <= now:
            self._accounts.pop(key, None)
            account = self._accounts[key] = _Account(now + self.window)
            while len(self._accounts) > MAX_KEYS:
                self._accounts.popitem(last=False)
        return account

    def _credit(self, key: str, account: _Account, granted: _Granted, now: float) -> _Account:
        """Enter what Redis gave; the window is Redis's, which all processes share."""
        ends = now + max(1, granted.seconds)
        if ends > account.ends + 1:
            account = self._accounts[key] = _Account(ends)
        account.ends = ends
        account.taken += granted.units
        account.elsewhere = max(0, granted.total - account.taken)
        return account

    def _ask(self, key: str, wanted: int) -> _Granted | None:
        """Return what Redis gives of `wanted`, which may be nothing; None where it is away."""
        from redis.exceptions import RedisError

        name = f"{settings.CACHES['default'].get('KEY_PREFIX', '')}:budget:{self.name}:{key}"
        try:
            client = redis_client()
            if client is None:
                return None
            with client.pipeline() as pipe:
                pipe.set(name, 0, ex=self.window, nx=True)
                pipe.incrby(name, wanted)
                pipe.ttl(name)
                _born, count, seconds = pipe.execute()
            over = min(wanted, max(0, count - self.limit))
            if over:
                client.decrby(name, over)
        except RedisError:
            logger.warning("Redis is away: budget %s is counted in this process only", self.name)
            return None
        return _Granted(wanted - over, count - over, seconds)
