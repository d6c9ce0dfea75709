"""Budgets: over all processes by Redis, in each by itself when it is away."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from redis.exceptions import ConnectionError as RedisAway

from tenancy import budgets, limits
from tenancy.budgets import PARTS, Budget
from tests.tenancy.test_limits import BrokenRedis, Clock

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tenancy.budgets.time.monotonic", clock)
    return clock


def no_redis() -> None:
    return None


def broken() -> BrokenRedis:
    return BrokenRedis(RedisAway("gone"))


@pytest.fixture(params=["there", "not configured", "broken"])
def _any_redis(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    replacement: dict[str, Callable[[], object]] = {"not configured": no_redis, "broken": broken}
    if request.param in replacement:
        monkeypatch.setattr(budgets, "redis_client", replacement[request.param])


@pytest.mark.usefixtures("_any_redis")
def test_a_budget_is_spent_to_its_last_unit_and_no_further() -> None:
    budget = Budget(f"a{uuid4().hex}", 1_000, 60)
    assert [budget.spend("k", 300) for _ in range(3)] == [(700, 0), (400, 0), (100, 0)]
    refused = budget.spend("k", 101)
    assert refused.remaining == 100
    assert 0 < refused.wait <= 60
    # What was refused was not taken.
    assert budget.spend("k", 100) == (0, 0)
    assert budget.spend("k", 1).wait > 0
    assert budget.spend("other", 1_000) == (0, 0)


def test_processes_share_one_budget() -> None:
    if limits.redis_client() is None:
        pytest.fail("this test needs a Redis: set REDIS_URL")
    name = f"a{uuid4().hex}"
    here, there = Budget(name, 1_000, 60), Budget(name, 1_000, 60)
    assert here.spend("k", 400) == (600, 0)
    assert there.spend("k", 400) == (200, 0)
    # What this process last heard of the others; it asks when its own part is spent.
    assert here.spend("k", 200) == (0, 0)
    assert there.spend("k", 1).wait > 0
    assert here.spend("k", 1).wait > 0


def test_redis_is_asked_once_for_many_small_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    client = limits.redis_client()
    asked = []

    def counted() -> object:
        asked.append(1)
        return client

    monkeypatch.setattr(budgets, "redis_client", counted)
    budget = Budget(f"a{uuid4().hex}", 10_000, 60)
    for _ in range(1_000):
        assert budget.spend("k", 10).wait == 0
    assert len(asked) == PARTS
    assert budget.spend("k", 1).wait > 0


def test_losing_redis_hands_out_no_fresh_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(f"a{uuid4().hex}", 1_000, 60)
    assert budget.spend("k", 900).wait == 0
    monkeypatch.setattr(budgets, "redis_client", broken)
    assert budget.spend("k", 101).wait > 0
    assert budget.spend("k", 100) == (0, 0)


def test_a_window_ends(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "redis_client", no_redis)
    budget = Budget("a", 10, 60)
    assert budget.spend("k", 10) == (0, 0)
    clock.now += 20.5
    assert budget.spend("k", 1) == (0, 40)
    clock.now += 39.5
    assert budget.spend("k", 4) == (6, 0)


def test_a_window_of_redis_that_is_newer_than_ours_is_taken_over(clock: Clock) -> None:
    client = limits.redis_client()
    assert client is not None
    name = f"a{uuid4().hex}"
    budget = Budget(name, 100, 60)
    assert budget.spend("k", 90) == (10, 0)
    clock.now += 30
    [key] = client.keys(f"*:budget:{name}:k")
    client.delete(key)
    assert budget.spend("k", 50) == (50, 0)


def test_names_without_end_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "redis_client", no_redis)
    monkeypatch.setattr(budgets, "MAX_KEYS", 5)
    budget = Budget("a", 10, 60)
    for number in range(20):
        budget.spend(str(number), 1)
    assert len(budget._accounts) == 5
