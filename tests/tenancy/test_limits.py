"""Limits on failures: in Redis and in this process, with the larger count deciding."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import ResponseError

from tenancy import limits
from tenancy.errors import RateLimited
from tenancy.limits import FailureLimit, take

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tenancy.limits.time.monotonic", clock)
    return clock


class BrokenRedis:
    """A client whose every call fails, as redis-py's do."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def fail(*_args: object, **_kwargs: object) -> Any:
            raise self.error

        return fail


def no_redis() -> None:
    return None


def lost() -> Any:
    raise RedisAway


REDIS = {
    "there": None,
    "not configured": no_redis,
    "lost": lost,
    "broken": lambda: BrokenRedis(RedisAway("gone")),
    "confused": lambda: BrokenRedis(ResponseError("WRONGTYPE")),
}


@pytest.fixture(params=REDIS)
def _any_redis(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    replacement = REDIS[request.param]
    if replacement is not None:
        monkeypatch.setattr(limits, "redis_client", replacement)


@pytest.mark.usefixtures("_any_redis")
def test_the_limit_is_reached_and_never_passed() -> None:
    limit = FailureLimit("a", 3, 60)
    assert [limit.take("k") for _ in range(3)] == [0, 0, 0]
    assert all(0 < limit.take("k") <= 60 for _ in range(5))
    assert limit.take("other") == 0
    # Refused attempts do not prolong it.
    limit.give_back("k")
    assert limit.take("k") == 0
    assert limit.take("k") > 0


@pytest.mark.usefixtures("_any_redis")
def test_a_success_starts_over() -> None:
    limit = FailureLimit("a", 2, 60)
    assert [limit.take("k") for _ in range(2)] == [0, 0]
    assert limit.take("k") > 0
    limit.forget("k")
    assert [limit.take("k") for _ in range(2)] == [0, 0]
    assert limit.take("k") > 0


def test_a_window_ends(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "redis_client", no_redis)
    limit = FailureLimit("a", 1, 60)
    assert limit.take("k") == 0
    clock.now += 20.5
    assert limit.take("k") == 40
    clock.now += 39.5
    assert limit.take("k") == 0
    assert limit.take("k") == 60


def test_in_redis_a_counter_is_born_with_its_end() -> None:
    client = limits.redis_client()
    if client is None:
        pytest.fail("this test needs a Redis: set REDIS_URL")
    limit = FailureLimit("a", 1, 60)
    for call in (limit.take, limit.take, limit.give_back):
        call("k")
        assert 0 < client.ttl(limit._key("k")) <= 60
    limit.forget("k")
    limit.give_back("k")
    assert 0 < client.ttl(limit._key("k")) <= 60


def test_redis_is_shared_by_processes_and_survives_them() -> None:
    first, second = FailureLimit("a", 2, 60), FailureLimit("a", 2, 60)
    assert [first.take("k"), second.take("k")] == [0, 0]
    assert FailureLimit("a", 2, 60).take("k") > 0
    assert FailureLimit("b", 2, 60).take("k") == 0


def test_losing_redis_hands_out_no_fresh_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = FailureLimit("a", 2, 60)
    assert [limit.take("k") for _ in range(2)] == [0, 0]
    monkeypatch.setattr(limits, "redis_client", lost)
    assert limit.take("k") > 0


def test_flushing_redis_hands_out_no_fresh_budget() -> None:
    limit = FailureLimit("a", 2, 60)
    assert [limit.take("k") for _ in range(2)] == [0, 0]
    client = limits.redis_client()
    assert client is not None
    client.delete(limit._key("k"))
    assert limit.take("k") > 0


def test_attempts_made_at_once_do_not_pass_the_limit_together() -> None:
    limit = FailureLimit("a", 5, 60)
    barrier = threading.Barrier(16)
    allowed: list[int] = []

    def attempt() -> None:
        barrier.wait(10)
        allowed.append(limit.take("k"))

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(allowed) == 16
    assert allowed.count(0) <= 5
    # What was refused was given back: exactly the limit gets through in all.
    assert allowed.count(0) + [limit.take("k") for _ in range(16)].count(0) == 5


def test_a_flood_of_names_does_not_become_a_flood_of_memory(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "redis_client", no_redis)
    monkeypatch.setattr(limits, "MAX_KEYS", 100)
    limit = FailureLimit("a", 3, 60)
    for number in range(1000):
        clock.now += 0.01
        limit.take(f"name {number}")
        limit.take("target")
    assert len(limit._local) == 100
    assert "name 999" in limit._local


def test_taking_from_several_limits_is_all_or_nothing() -> None:
    wide, narrow = FailureLimit("wide", 10, 60), FailureLimit("narrow", 1, 60)
    take([(wide, "w"), (narrow, "n")])
    for _ in range(20):
        with pytest.raises(RateLimited) as refused:
            take([(wide, "w"), (narrow, "n")])
        assert 0 < refused.value.retry_after <= 60
        assert str(refused.value.retry_after) in refused.value.message
    # None of those twenty was counted on the wide one.
    for _ in range(9):
        take([(wide, "w")])
    with pytest.raises(RateLimited):
        take([(wide, "w")])
