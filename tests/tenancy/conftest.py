"""Fixtures of tenancy's tests: fresh counters, log lines, a count of hashes, a face that tells."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.core.cache import caches

from rls import acting_as
from tenancy.actors import operator
from tenancy.credentials import per_account, per_address
from tenancy.logs import LineFormatter
from tenancy.models import Membership, Tenant, TenantSettings, User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from tenancy.actors import Actor
    from tests.world import World


@pytest.fixture(autouse=True)
def _fresh_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test inherits the failures or the remembered credentials of another."""
    prefix = f"test:{uuid4().hex}"
    monkeypatch.setitem(settings.CACHES["default"], "KEY_PREFIX", prefix)
    monkeypatch.setattr(caches["default"], "key_prefix", prefix)
    for limit in (per_account, per_address):
        monkeypatch.setattr(limit, "_local", {})


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the service logs, as it is written."""
    written: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler = Keep(logging.INFO)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a password was hashed, by what for."""
    counted: Counter[str] = Counter()

    def counting(name: str) -> Callable[..., Any]:
        original = getattr(Argon2PasswordHasher, name)

        def counted_call(self: Argon2PasswordHasher, *args: Any, **kwargs: Any) -> Any:
            counted["all"] += 1
            counted[name] += 1
            return original(self, *args, **kwargs)

        return counted_call

    for name in ("encode", "verify"):
        monkeypatch.setattr(Argon2PasswordHasher, name, counting(name))
    return counted


def id_of(actor: Actor) -> UUID:
    """Return the id of the person who acts."""
    assert actor.user_id is not None
    return actor.user_id


def registry(world: World) -> list[Any]:
    """Every row of tenancy's tables that anybody in the world can see, in this transaction."""
    rows: list[Any] = []
    for place in (world.acme, world.globex, world.initech):
        with acting_as(operator(place.tenant.id)):
            rows += [
                [model.__name__, *model._default_manager.order_by("pk").values()]
                for model in (Tenant, TenantSettings, Membership, User)
            ]
    return rows


@contextmanager
def nothing_changed(world: World) -> Iterator[None]:
    """Fail when tenancy's rows are not the same afterwards, whoever looks."""
    before = registry(world)
    yield
    assert registry(world) == before
