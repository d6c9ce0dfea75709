"""Playback below both faces: exact counts whoever reports at once, once per batch, days, pruning."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from assets import playback
from assets.models import Asset, PlaybackDay, PlaybackReport, Reporter
from assets.playback import Play, Recorded, record_playback, record_view
from rls import acting_as
from tenancy import events
from tenancy.actors import ANONYMOUS, Actor, operator, person, worker
from tenancy.errors import (
    Conflict,
    DomainError,
    Invalid,
    NotFound,
    NotSignedIn,
    PermissionDenied,
    TenantRequired,
)
from tenancy.people import create_user
from tenancy.tenants import create_tenant
from tests.world import PASSWORD, actor_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import DjangoCaptureOnCommitCallbacks, DjangoDbBlocker

    from tests.world import Inhabited, World

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def rows_of(place: Inhabited) -> list[list[dict[str, Any]]]:
    """Return every row that a report could touch."""
    with acting_as(place.owner):
        return [
            [dict(row) for row in model._default_manager.order_by("pk").values()]
            for model in (Asset, PlaybackDay, PlaybackReport)
        ]


def counts(place: Inhabited) -> list[int]:
    with acting_as(place.owner):
        return list(Asset.objects.in_play_order().values_list("view_count", flat=True))


def days(place: Inhabited, asset: Asset) -> list[tuple[Any, ...]]:
    """Return day, plays, seconds and last play of what a test has reported of an asset."""
    with acting_as(place.owner):
        # Without the one that every tenant of the world has.
        rows = PlaybackDay.objects.filter(asset=asset).exclude(plays=1, seconds=10)
        return list(
            rows.order_by("day", "-plays").values_list("day", "plays", "seconds", "last_played_at")
        )


# --- what a batch does ----------------------------------------------------------------------------


def test_a_batch_adds_up_by_asset_and_day(acme: Inhabited) -> None:
    first, second, third = acme.assets
    noon = (now() - 2 * DAY).replace(hour=12, minute=0, second=0, microsecond=0)
    plays = [
        Play(first.pk, 3, 30, noon),
        # The same asset again, by its legacy id and on a clock elsewhere, where it is the next day.
        Play(
            first.asset_id,
            2,
            25,
            (noon - SECOND).astimezone(timezone(timedelta(hours=13))),
        ),
        Play(first.pk, 1, 11, noon - DAY),
        Play(third.asset_id, 100_000, 1_000_000_000, noon),
    ]
    with acting_as(acme.manager):
        before = list(Asset.objects.in_play_order().values_list("updated_at", "updated_by"))
        assert record_playback(actor=acme.manager, plays=plays) == Recorded(4, 0)
        after = list(Asset.objects.in_play_order().values_list("updated_at", "updated_by"))
    assert counts(acme) == [6, 0, 100_000]
    assert after == before
    assert days(acme, first) == [
        ((noon - DAY).date(), 1, 11, noon - DAY),
        (noon.date(), 5, 55, noon),
    ]
    assert days(acme, second) == []
    assert days(acme, third) == [(noon.date(), 100_000, 1_000_000_000, noon)]
    with acting_as(acme.owner):
        asset = Asset.objects.get(pk=first.pk)
        assert asset.last_viewed == noon
        day = PlaybackDay.objects.get(asset=third, day=noon.date())
        assert (day.reporter, day.reporter_id) == (Reporter.MEMBER, acme.manager.user_id)
        assert day.tenant_id == acme.tenant.pk

    # An older report adds, and takes no instant back; another reporter has days of their own.
    for actor in (acme.manager, acme.owner):
        with acting_as(actor):
            record_playback(actor=actor, plays=[Play(first.pk, 1, 1, noon - SECOND)])
    assert counts(acme) == [8, 0, 100_000]
    assert days(acme, first) == [
        ((noon - DAY).date(), 1, 11, noon - DAY),
        (noon.date(), 6, 56, noon),
        (noon.date(), 1, 1, noon - SECOND),
    ]
    with acting_as(acme.owner):
        assert Asset.objects.get(pk=first.pk).last_viewed == noon


def test_a_batch_of_a_thousand_is_one_statement(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        made = Asset.objects.bulk_create(
            Asset(tenant=acme.tenant, asset_id=f"m{n}") for n in range(1000)
        )
        plays = [Play(asset.pk, 1, 1, now()) for asset in made]
        with CaptureQueriesContext(connection) as captured:
            assert record_playback(actor=acme.owner, plays=plays) == Recorded(1000, 0)
        sent = [q["sql"] for q in captured.captured_queries if "SAVEPOINT" not in q["sql"]]
        assert len(sent) == 1
        assert Asset.objects.filter(view_count=1).count() == 1000
        with CaptureQueriesContext(connection) as captured:
            record_playback(actor=acme.owner, plays=plays, key="k")
        sent = [q["sql"] for q in captured.captured_queries if "SAVEPOINT" not in q["sql"]]
        assert len(sent) == 3


def test_a_view_is_a_batch_of_one(acme: Inhabited) -> None:
    started = now()
    asset = acme.assets[1]
    with acting_as(acme.manager):
        record_view(actor=acme.manager, asset=asset.pk)
        record_view(actor=acme.manager, asset=asset.asset_id)
        row = Asset.objects.get(pk=asset.pk)
        assert row.view_count == 2
        assert row.last_viewed is not None
        assert started <= row.last_viewed <= now()
        assert PlaybackDay.objects.values_list("plays", "seconds").get(asset=asset) == (2, 0)
        with pytest.raises(NotFound):
            record_view(actor=acme.manager, asset="nobody's")


def test_listeners_are_told_once_per_batch(
    acme: Inhabited,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(events, "_send", lambda _channel, message: told.append(message))
    plays = [Play(asset.pk, 1, 0, now()) for asset in (*acme.assets, acme.assets[0])]
    with django_capture_on_commit_callbacks(execute=True), acting_as(acme.owner):
        record_playback(actor=acme.owner, plays=plays, key="k")
        record_playback(actor=acme.owner, plays=plays, key="k")
    assert told == [
        {"event": "assets.played", "ids": sorted(str(asset.pk) for asset in acme.assets)}
    ]


# --- what is refused ------------------------------------------------------------------------------


def refused(place: Inhabited, plays: list[Play], **also: Any) -> DomainError:
    """Return the refusal of a batch, which leaves nothing behind."""
    before = rows_of(place)
    with acting_as(place.owner), pytest.raises(DomainError) as raised:
        record_playback(actor=place.owner, plays=plays, **also)
    assert rows_of(place) == before
    return raised.value


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 100_001}, "count"),
        ({"seconds": -1}, "seconds"),
        ({"seconds": 1_000_000_001}, "seconds"),
        ({"at": timedelta(hours=24, seconds=5)}, "at"),
        ({"at": -timedelta(days=31, seconds=1)}, "at"),
        ({"at": datetime(2026, 1, 1)}, "at"),  # noqa: DTZ001 -- what is refused
        ({"at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))}, "at"),
        ({"at": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=14)))}, "at"),
    ],
)
def test_one_bad_value_refuses_the_batch(
    acme: Inhabited, changes: dict[str, Any], field: str
) -> None:
    at = changes.get("at", timedelta())
    at = now() + at if isinstance(at, timedelta) else at
    bad = {"count": 1, "seconds": 0, **changes, "at": at}
    good = Play(acme.assets[0].pk, 1, 0, now())
    error = refused(acme, [good, Play(acme.assets[1].pk, **bad)], key="k")
    assert isinstance(error, Invalid)
    assert [one.field for one in error.errors] == [("plays", "1", field)]


def test_everything_that_is_wrong_is_said_at_once(acme: Inhabited) -> None:
    plays = [Play(acme.assets[0].pk, 0, -1, now() - 40 * DAY), Play(None, 0, 0, now())]
    error = refused(acme, plays, key="x" * 101)
    assert isinstance(error, Invalid)
    assert [one.field for one in error.errors] == [
        ("key",),
        ("plays", "0", "count"),
        ("plays", "0", "seconds"),
        ("plays", "0", "at"),
        ("plays", "1", "count"),
    ]


@pytest.mark.parametrize("size", [0, 1001])
def test_a_batch_has_one_to_a_thousand_plays(acme: Inhabited, size: int) -> None:
    error = refused(acme, [Play(acme.assets[0].pk, 1, 0, now())] * size)
    assert error.field == ("plays",)


@pytest.mark.parametrize("key", ["\x00", "\ud800"])
def test_a_key_that_no_database_can_hold_is_refused(acme: Inhabited, key: str) -> None:
    error = refused(acme, [Play(acme.assets[0].pk, 1, 0, now())], key=key)
    assert error.field == ("key",)


def test_the_ends_of_the_clock(acme: Inhabited) -> None:
    asset = acme.assets[1]
    oldest = now() - timedelta(days=31) + 60 * SECOND
    started = now()
    with acting_as(acme.owner):
        record_playback(
            actor=acme.owner,
            plays=[Play(asset.pk, 1, 1, oldest), Play(asset.pk, 2, 2, now() + DAY - SECOND)],
        )
        last = Asset.objects.get(pk=asset.pk).last_viewed
        assert last is not None
        # A fast clock never makes something seen in the future.
        assert started <= last <= now()
    assert days(acme, asset) == [(oldest.date(), 1, 1, oldest), (last.date(), 2, 2, last)]


@pytest.mark.parametrize("stranger", ["foreign", "deleted", "legacy", "no text", "nothing"])
def test_one_unknown_asset_refuses_the_batch_or_is_left_out(world: World, stranger: str) -> None:
    acme, globex = world.acme, world.globex
    unknown: Any = {
        "foreign": globex.assets[0].pk,
        "deleted": uuid4(),
        "legacy": globex.assets[2].asset_id,
        "no text": "\ud800\x00",
        "nothing": None,
    }[stranger]
    plays = [Play(acme.assets[n].pk, 1, 1, now()) for n in (2, 0)]
    plays.insert(1, Play(unknown, 7, 7, now()))
    theirs = rows_of(globex)
    error = refused(acme, plays, key="k")
    assert isinstance(error, NotFound)
    assert error.message == "There is no asset with this id."
    assert error.field == ("plays", "1", "asset_id" if isinstance(unknown, str) else "id")

    # The refused batch has used no key up.
    with acting_as(acme.owner):
        done = record_playback(actor=acme.owner, plays=plays, key="k", skip_unknown=True)
    assert done == Recorded(2, 1)
    assert counts(acme) == [1, 0, 1]
    assert rows_of(globex) == theirs

    with acting_as(acme.owner):
        only = [Play(unknown, 1, 1, now())]
        assert record_playback(actor=acme.owner, plays=only, skip_unknown=True) == Recorded(0, 1)


@pytest.mark.parametrize(
    ("of", "error"),
    [
        (lambda _: ANONYMOUS, NotSignedIn),
        (lambda world: person(world.acme.owner.user_id), TenantRequired),
        (lambda world: world.acme.viewer, PermissionDenied),
        (lambda world: world.acme.operator, PermissionDenied),
        # They may do everything, and show nothing.
        (lambda world: operator(world.acme.tenant.pk), PermissionDenied),
        (lambda world: operator(world.acme.tenant.pk, uuid4()), PermissionDenied),
        (lambda world: worker(world.acme.tenant.pk), PermissionDenied),
    ],
)
def test_who_may_not_report_counts_nothing(
    world: World, of: Callable[[World], Actor], error: type[Exception]
) -> None:
    actor, before = of(world), rows_of(world.acme)
    for write in (
        lambda: record_playback(actor=actor, plays=[Play(world.acme.assets[0].pk, 1, 0, now())]),
        lambda: record_view(actor=actor, asset=world.acme.assets[0].pk),
    ):
        with acting_as(actor), pytest.raises(error):
            write()
    assert rows_of(world.acme) == before


# --- the same batch again -------------------------------------------------------------------------


def test_a_batch_that_comes_again_counts_once(world: World) -> None:
    acme, globex = world.acme, world.globex
    at = now()
    plays = [Play(acme.assets[0].pk, 2, 20, at), Play("gone", 1, 1, at)]
    with acting_as(acme.owner):
        done = record_playback(actor=acme.owner, plays=plays, key="mon-1", skip_unknown=True)
        assert done == Recorded(1, 1, repeated=False)
    before = rows_of(acme)
    with acting_as(acme.owner):
        again = record_playback(actor=acme.owner, plays=plays, key="mon-1", skip_unknown=True)
        assert again == Recorded(1, 1, repeated=True)
    assert rows_of(acme) == before

    # Another batch under its name is a fault of the reporter's, and told.
    for other in (plays[:1], [plays[1], plays[0]], [Play(acme.assets[0].pk, 2, 21, at), plays[1]]):
        error = refused(acme, other, key="mon-1", skip_unknown=True)
        assert isinstance(error, Conflict)
        assert error.field == ("key",)
    assert isinstance(refused(acme, plays, key="mon-1"), Conflict)

    # Keys are each reporter's own, and each tenant's.
    with acting_as(acme.manager):
        done = record_playback(actor=acme.manager, plays=plays, key="mon-1", skip_unknown=True)
        assert done == Recorded(1, 1)
    with acting_as(globex.owner):
        theirs = [Play(globex.assets[0].pk, 1, 0, at)]
        assert record_playback(actor=globex.owner, plays=theirs, key="mon-1") == Recorded(1, 0)
    assert counts(acme) == [4, 0, 0]
    assert counts(globex) == [1, 0, 0]


def test_a_repeat_is_answered_although_its_asset_is_gone(acme: Inhabited) -> None:
    plays = [Play(acme.assets[0].pk, 2, 20, now())]
    with acting_as(acme.owner):
        record_playback(actor=acme.owner, plays=plays, key="k")
        Asset.objects.filter(pk=acme.assets[0].pk).delete()
        again = record_playback(actor=acme.owner, plays=plays, key="k")
        assert again == Recorded(1, 0, repeated=True)
        assert not PlaybackDay.objects.filter(asset=acme.assets[0]).exists()


def test_without_a_key_every_batch_counts(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        for _ in range(3):
            record_playback(actor=acme.owner, plays=[Play(acme.assets[0].pk, 1, 0, now())])
        assert PlaybackReport.objects.count() == 1  # the one that was there
    assert counts(acme) == [3, 0, 0]


# --- at once --------------------------------------------------------------------------------------


class Crowd:
    """A tenant whose rows are committed, and threads that report into it."""

    def __init__(self) -> None:
        owner = person(create_user("founder", PASSWORD).pk)
        self.tenant = create_tenant(actor=owner, name="Mine", slug="mine")
        self.actor = actor_in(self.tenant, owner)
        with acting_as(self.actor):
            self.assets = [
                asset.pk
                for asset in Asset.objects.bulk_create(
                    Asset(tenant=self.tenant, asset_id=f"a{number}") for number in range(20)
                )
            ]

    def run(self, threads: int, times: int, report: Callable[[int, int], object]) -> None:
        """Call `report(thread, time)` in a door of its own each, all threads at once."""
        barrier, failures = threading.Barrier(threads), []

        def work(thread: int) -> None:
            try:
                barrier.wait(10)
                for time in range(times):
                    with acting_as(self.actor):
                        report(thread, time)
            except BaseException as error:  # noqa: BLE001 -- reported by the main thread
                failures.append(error)
            finally:
                connection.close()

        workers = [threading.Thread(target=work, args=[number]) for number in range(threads)]
        for one in workers:
            one.start()
        for one in workers:
            one.join(60)
        assert failures == []

    def counted(self) -> dict[UUID, int]:
        """Return the count of every asset, having compared each with its days."""
        with acting_as(self.actor):
            counted = dict(Asset.objects.values_list("pk", "view_count"))
            summed = PlaybackDay.objects.values_list("asset").annotate(Sum("plays"))
            assert {key: count for key, count in counted.items() if count} == dict(summed)
        return counted


@pytest.fixture
def crowd(scratch_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Crowd]:
    del scratch_database
    with django_db_blocker.unblock():
        yield Crowd()


def test_a_thousand_reports_at_once_are_a_thousand(crowd: Crowd) -> None:
    asset = crowd.assets[0]
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)

    def report(thread: int, time: int) -> None:
        at = midnight - (thread % 2) * SECOND
        record_playback(actor=crowd.actor, plays=[Play(asset, 1, 10, at)], key=f"{thread}.{time}")

    crowd.run(8, 125, report)
    assert crowd.counted()[asset] == 1000
    with acting_as(crowd.actor):
        rows = PlaybackDay.objects.order_by("day").values_list("plays", "seconds", "last_played_at")
        assert list(rows) == [(500, 5000, midnight - SECOND), (500, 5000, midnight)]
        assert Asset.objects.get(pk=asset).last_viewed == midnight
        assert PlaybackReport.objects.count() == 1000


def test_batches_in_opposite_orders_do_not_block_each_other(crowd: Crowd) -> None:
    def report(thread: int, time: int) -> None:
        assets = crowd.assets[:: 1 if thread % 2 else -1]
        shift = (thread + time) % len(assets)
        plays = [
            Play(asset, 1, 1, now() - n % 3 * DAY)
            for n, asset in enumerate(assets[shift:] + assets[:shift])
        ]
        record_playback(actor=crowd.actor, plays=plays)

    crowd.run(6, 20, report)
    assert set(crowd.counted().values()) == {120}


def test_a_batch_that_comes_many_times_at_once_counts_once(crowd: Crowd) -> None:
    plays = [Play(asset, 1, 1, now()) for asset in crowd.assets]
    answers: list[Recorded] = []

    def report(_thread: int, time: int) -> None:
        answers.append(record_playback(actor=crowd.actor, plays=plays, key=f"batch {time}"))

    crowd.run(6, 5, report)
    assert set(crowd.counted().values()) == {5}
    assert sorted(one.repeated for one in answers) == [False] * 5 + [True] * 25
    assert {(one.recorded, one.skipped) for one in answers} == {(20, 0)}


# --- pruning --------------------------------------------------------------------------------------


def test_what_is_old_is_forgotten_and_the_counts_stay(world: World, settings: Any) -> None:
    acme, globex = world.acme, world.globex
    settings.PLAYBACK_DAYS = 10
    asset, moment = acme.assets[1], datetime(2026, 5, 20, 0, 30, tzinfo=UTC)
    reporter = {"reporter": Reporter.MEMBER, "reporter_id": acme.owner.user_id}
    with acting_as(acme.owner):
        PlaybackDay.objects.all().delete()
        PlaybackReport.objects.all().delete()
        Asset.objects.filter(pk=asset.pk).update(view_count=42)
        for age in (9, 10, 11, 400):
            at = moment - age * DAY
            PlaybackDay.objects.create(
                tenant=acme.tenant, asset=asset, day=at.date(), last_played_at=at, **reporter
            )
        for since in (31 * DAY, 32 * DAY, 32 * DAY + SECOND):
            PlaybackReport.objects.create(
                tenant=acme.tenant, key=str(since), received_at=moment - since, **reporter
            )
    theirs = rows_of(globex)
    with acting_as(worker(acme.tenant.pk)) as actor:
        assert playback.prune_playback(actor=actor, now=moment) == (1, 2)
        assert playback.prune_playback(actor=actor, now=moment) == (0, 0)
    with acting_as(acme.owner):
        left = PlaybackDay.objects.order_by("day").values_list("day", flat=True)
        assert list(left) == [(moment - age * DAY).date() for age in (10, 9)]
        assert PlaybackReport.objects.count() == 2
        assert Asset.objects.get(pk=asset.pk).view_count == 42
    assert rows_of(globex) == theirs


def test_one_pruning_removes_so_many_and_the_oldest_first(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback, "PRUNED_AT_ONCE", 2)
    reporter = {"reporter": Reporter.MEMBER, "reporter_id": acme.owner.user_id}
    with acting_as(acme.owner):
        for age in (500, 503, 501, 502, 504):
            at = now() - age * DAY
            PlaybackReport.objects.create(
                tenant=acme.tenant, key=str(age), received_at=at, **reporter
            )
            PlaybackDay.objects.create(
                tenant=acme.tenant,
                asset=acme.assets[0],
                day=at.date(),
                last_played_at=at,
                **reporter,
            )
    removed = []
    with acting_as(operator(acme.tenant.pk)) as actor:
        for _ in range(4):
            removed.append(playback.prune_playback(actor=actor, now=now()))
            if len(removed) == 1:
                keys = PlaybackReport.objects.exclude(key=acme.marker).order_by("received_at")
                assert list(keys.values_list("key", flat=True)) == ["502", "501", "500"]
    assert removed == [(2, 2), (2, 2), (1, 1), (0, 0)]


def test_members_do_not_prune(acme: Inhabited) -> None:
    before = rows_of(acme)
    with acting_as(acme.owner), pytest.raises(PermissionDenied):
        playback.prune_playback(actor=acme.owner, now=now() + 1000 * DAY)
    assert rows_of(acme) == before
