"""What is done once an hour: work that nobody is at any more is queued again, and no other."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from assets.models import Asset, PlaybackDay
from assets.upkeep import clean_up
from rls import acting_as
from tenancy.actors import worker
from tenancy.idempotency import Once
from tenancy.models import KeptAnswer
from tests.jobs import queued

if TYPE_CHECKING:
    import pytest

    from tests.world import Inhabited

LONG_AGO = timezone.now() - timedelta(minutes=61)


def test_what_nobody_is_at_work_on_is_queued_again_once(acme: Inhabited) -> None:
    actor = worker(acme.tenant.pk)
    source = {"source_url": "https://example.com/clip.mp4"}
    stuck: list[dict[str, Any]] = [
        {"media_path": "t/1", "processing_status": "processing"},
        {"media_path": "t/2", "processing_status": "pending"},
        {"metadata": source, "processing_status": "processing", "is_processing": True},
    ]
    others: list[dict[str, Any]] = [
        {"media_path": "t/3", "processing_status": "processing", "updated_at": timezone.now()},
        {"media_path": "t/4", "processing_status": "completed"},
        {"media_path": "t/5", "processing_status": "failed"},
        # As an import brings it: there is nothing to go on with.
        {"processing_status": "pending", "is_processing": True},
        {"metadata": source, "processing_status": "completed"},
    ]
    with acting_as(actor):
        rows = Asset.objects.bulk_create(
            Asset(
                tenant_id=acme.tenant.pk,
                asset_id=f"{number}",
                **{"updated_at": LONG_AGO, **values},
            )
            for number, values in enumerate([*stuck, *others])
        )
    expected = [
        ("assets.understand_media", {"asset": str(rows[0].pk)}),
        ("assets.understand_media", {"asset": str(rows[1].pk)}),
        ("assets.download_remote", {"asset": str(rows[2].pk)}),
    ]
    for _ in range(2):
        clean_up(actor=actor)
        assert sorted(queued(actor), key=str) == sorted(expected, key=str)


def test_old_proof_of_play_goes_however_much_there_is(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.playback.PRUNED_AT_ONCE", 1)
    monkeypatch.setattr("assets.upkeep.PRUNED_AT_ONCE", 1)
    actor = worker(acme.tenant.pk)
    with acting_as(actor):
        before = list(PlaybackDay.objects.order_by("day"))
        kept = before[0]
        for days in range(401, 404):
            PlaybackDay.objects.create(
                tenant_id=kept.tenant_id,
                asset_id=kept.asset_id,
                day=kept.day - timedelta(days=days),
                reporter=kept.reporter,
                reporter_id=kept.reporter_id,
                last_played_at=kept.last_played_at,
            )
    clean_up(actor=actor)
    with acting_as(actor):
        assert list(PlaybackDay.objects.order_by("day")) == before


def test_answers_of_a_day_ago_go_however_many_there_are(
    acme: Inhabited, globex: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenancy.idempotency.EXPIRED_AT_ONCE", 1)
    monkeypatch.setattr("assets.upkeep.EXPIRED_AT_ONCE", 1)
    for place in (acme, globex):
        with acting_as(place.owner):
            KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
            kept = KeptAnswer.objects.get()
            for number in range(3):
                Once(place.owner, f"old {number}", []).keep(204, None)
            KeptAnswer.objects.exclude(pk=kept.pk).update(
                created_at=timezone.now() - timedelta(hours=24, minutes=1)
            )
    clean_up(actor=worker(acme.tenant.pk))
    counted = []
    for place in (acme, globex):
        with acting_as(place.owner):
            counted.append(KeptAnswer.objects.count())
    assert counted == [1, 4]
