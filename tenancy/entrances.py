"""Remembers who was let in by what, so that the next request need not find it out again.

Written by tenancy.middleware, which judges; read by project.front. What is remembered opens nothing
by itself: whoever goes by it asks in the same round trip, and by the same snapshot as what is read,
whether the judgement would still be the same (rls.Standing). So a revocation, a changed role, a
suspended tenant, a new password hold at once, Redis or not. Credentials are kept as digests only.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rls import Standing
    from tenancy.actors import Actor

# In a request's environment.
ENTRANCE = "signate.entrance"
# After so long somebody is judged from the start, which also writes down that they were there.
REMEMBERED_SECONDS = 30.0
MAX_REMEMBERED = 10_000
# What of a request decides who it is from, which tenant it is for, and how it is answered.
_DECIDES = (
    "REQUEST_METHOD",
    "PATH_INFO",
    "HTTP_AUTHORIZATION",
    "HTTP_HOST",
    "HTTP_X_TENANT_ID",
    "HTTP_ACCEPT",
    "HTTP_X_FORWARDED_PROTO",
    "wsgi.url_scheme",
)
_key = token_bytes(32)


@dataclass(frozen=True, slots=True)
class Entrance:
    """Who was let in, by which kind of credential, and what chose the tenant."""

    actor: Actor
    credential: str
    chosen_by: str
    standing: Standing


@dataclass(slots=True)
class Entrances:
    """What a process remembers, each with something `also`; the oldest goes when it is too much."""

    _known: OrderedDict[bytes, tuple[Entrance, Any, float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: bytes) -> tuple[Entrance, Any] | None:
        """Return what is remembered under `key`."""
        found = self._known.get(key)
        if found is None or found[2] < time.monotonic():
            return None
        return found[:2]

    def put(self, key: bytes, entrance: Entrance, also: Any) -> None:
        """Remember somebody who was let in a moment ago."""
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = (entrance, also, time.monotonic() + REMEMBERED_SECONDS)
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)

    def forget(self, key: bytes) -> None:
        """Forget somebody."""
        with self._lock:
            self._known.pop(key, None)


def key_of(environ: Mapping[str, Any]) -> bytes:
    """Return what a request is remembered under; equal for requests that are judged alike."""
    # No header has a line break in it.
    told = "\n".join([str(environ.get(name, "")) for name in _DECIDES])
    return blake2b(told.encode(errors="replace"), key=_key, digest_size=32).digest()
