"""Whether addresses answer: what is looked at, when, how politely, and what is written down."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from assets import library, reachability
from assets.models import Asset
from assets.network import Network
from assets.reachability import check_reachability, sweep_reachability
from rls import acting_as
from tenancy.actors import worker
from tests.jobs import queued
from tests.listeners import always, listening, only, reply

if TYPE_CHECKING:
    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tenancy.actors import Actor
    from tests.world import Inhabited

NOWHERE = Network(resolve=lambda _: [])
OK, GONE = always(reply()), always(reply(status="404 Not Found"))


@pytest.fixture
def actor(acme: Inhabited) -> Actor:
    """The worker in acme, which has no asset yet."""
    with acting_as(acme.owner):
        Asset.objects.all().delete()
    return worker(acme.tenant.pk)


def make(actor: Actor, uri: str, **values: Any) -> Asset:
    given = {"created_at": timezone.now() - timedelta(hours=1), "is_enabled": True, **values}
    with acting_as(actor):
        return Asset.objects.create(
            tenant_id=actor.entered(),
            asset_id=f"{Asset.objects.count():032x}",
            name="n",
            uri=uri,
            **given,
        )


def read(actor: Actor, row: Asset) -> Asset:
    with acting_as(actor):
        return Asset.objects.get(pk=row.pk)


def test_what_answers_is_reachable_and_what_does_not_is_not(
    actor: Actor, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    row = make(actor, "placeholder", metadata={"headers": {"X-Screen": "lobby", "Bad Name": "x"}})
    for serve, before, after, events in (
        (OK, True, True, 0),
        (GONE, True, False, 1),
        (GONE, False, False, 0),
        (OK, False, True, 1),
    ):
        with listening(serve) as listener:
            with acting_as(actor):
                Asset.objects.filter(pk=row.pk).update(
                    uri=f"{listener.url}/page", is_reachable=before, last_reachability_check=None
                )
            with django_capture_on_commit_callbacks() as told:
                check_reachability(actor=actor, asset=row.pk, network=only(listener))
        seen = read(actor, row)
        assert (seen.is_reachable, len(told)) == (after, events)
        assert seen.last_reachability_check is not None
        assert (seen.updated_at, seen.updated_by_id) == (row.updated_at, None)
        assert b"X-Screen: lobby\r\n" in listener.requests[0]
        assert b"Bad Name" not in listener.requests[0]


@pytest.mark.parametrize(
    "uri",
    ["http://192.168.1.5/board", "http://screen.local/", "rtsp://10.0.0.7/cam", "http://a:b@c.de/"],
)
@pytest.mark.parametrize("before", [True, False])
def test_what_cannot_be_seen_from_here_is_left_as_it_is(
    actor: Actor, uri: str, *, before: bool
) -> None:
    row = make(actor, uri, is_reachable=before)
    check_reachability(actor=actor, asset=row.pk, network=NOWHERE)
    seen = read(actor, row)
    assert seen.is_reachable is before
    assert seen.last_reachability_check is not None


@pytest.mark.parametrize(
    "values",
    [{"skip_asset_check": True}, {"media_path": "t/x"}, {"uri": "/data/anthias_assets/x.png"}],
)
def test_what_is_not_to_be_checked_is_not(actor: Actor, values: dict[str, Any]) -> None:
    row = make(actor, **{"uri": "https://example.com/", **values})
    check_reachability(actor=actor, asset=row.pk, network=NOWHERE)
    sweep_reachability(actor=actor, network=NOWHERE)
    seen = read(actor, row)
    assert (seen.is_reachable, seen.last_reachability_check) == (True, None)


def test_another_tenants_asset_is_not_there(actor: Actor, globex: Inhabited) -> None:
    theirs = globex.assets[0]
    check_reachability(actor=actor, asset=theirs.pk, network=NOWHERE)
    seen = read(globex.owner, theirs)
    assert (seen.is_reachable, seen.last_reachability_check) == (True, None)


def test_an_address_that_changed_meanwhile_is_judged_by_nobody(
    actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = make(actor, "https://old.example.com/")

    def slow(*_: Any, **__: Any) -> bool:
        with acting_as(actor):
            Asset.objects.filter(pk=row.pk).update(uri="https://new.example.com/")
        return False

    monkeypatch.setattr(reachability, "_look", slow)
    check_reachability(actor=actor, asset=row.pk)
    seen = read(actor, row)
    assert (seen.is_reachable, seen.last_reachability_check) == (True, None)


def test_a_sweep_takes_what_waits_for_longest_and_spares_each_host(
    actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    minutes: dict[str, Any] = {"one": 30, "two": 40, "three": 20, "fresh": 14, "other": 16}
    for name, ago in minutes.items():
        host = "https://b.example/" if name == "other" else "https://a.example/"
        make(actor, host + name, last_reachability_check=now - timedelta(minutes=ago))
    make(actor, "https://a.example/new", created_at=now - timedelta(minutes=14))
    make(actor, "https://a.example/off", is_enabled=False)
    make(actor, "https://a.example/over", end_date=now - timedelta(days=1))
    looked: list[str] = []

    def look(address: Any, _: Network) -> bool:
        looked.append(address.uri.rpartition("/")[2])
        return True

    monkeypatch.setattr(reachability, "_look", look)
    monkeypatch.setattr(reachability, "PER_HOST", 2)
    sweep_reachability(actor=actor)
    assert looked == ["two", "one", "other"]
    sweep_reachability(actor=actor)
    assert looked[3:] == ["three"]
    sweep_reachability(actor=actor)
    assert looked[4:] == []


def test_a_server_without_names_judges_nobody(actor: Actor) -> None:
    rows = [make(actor, f"https://{letter}.example.com/") for letter in "abcde"]
    asked: list[str] = []

    def blind(host: str) -> list[str]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    sweep_reachability(actor=actor, network=Network(resolve=blind))
    assert len(set(asked)) == 3
    assert all(read(actor, row).is_reachable for row in rows)


def test_a_new_address_is_looked_at(acme: Inhabited) -> None:
    def wanted() -> list[tuple[str, dict[str, Any]]]:
        return queued(acme.owner)

    assert wanted() == []
    with acting_as(acme.owner):
        row = library.create_asset(
            actor=acme.owner, values={"name": "n", "uri": "https://example.com/"}
        )
        job = ("assets.check_reachability", {"asset": str(row.pk)})
        assert wanted() == [job]
        library.update_asset(actor=acme.owner, asset=row.pk, changes={"name": "m"})
        assert wanted() == [job]
        library.update_asset(actor=acme.owner, asset=row.pk, changes={"uri": "rtsp://a.example/"})
        assert wanted() == [job, job]
        library.create_asset(
            actor=acme.owner,
            values={"name": "n", "uri": "https://example.com/", "skip_asset_check": True},
        )
        assert wanted() == [job, job]


def test_what_is_taken_back_is_not_queued(acme: Inhabited) -> None:
    class Undone(Exception):
        pass

    with pytest.raises(Undone), acting_as(acme.owner):
        library.create_asset(actor=acme.owner, values={"name": "n", "uri": "https://example.com/"})
        assert len(queued(acme.owner)) == 1
        raise Undone
    assert queued(acme.owner) == []
