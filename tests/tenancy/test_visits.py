"""When a member was last there: kept, and not at every request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from rls import acting_as
from tenancy import visits
from tenancy.models import Membership

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.test import Client
    from pytest_django import Settings

    from tests.world import Inhabited

pytestmark = pytest.mark.urls("tests.tenancy.face")


@pytest.fixture(autouse=True)
def _kept(settings: Settings) -> None:
    settings.LAST_ACCESS_SECONDS = 300


def last_accesses(place: Inhabited) -> dict[Any, datetime | None]:
    with acting_as(place.owner):
        return dict(Membership.objects.values_list("pk", "last_access"))


def writes(client: Client) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get("/who").status_code == 200
    return sum("SET last_access" in query["sql"] for query in captured.captured_queries)


def test_a_visit_is_written_once_in_a_while_and_of_who_came(
    acme: Inhabited, client_of: Callable[..., Client]
) -> None:
    viewer = client_of("acme-viewer")
    assert [writes(viewer) for _ in range(3)] == [1, 0, 0]
    assert writes(client_of("acme-owner")) == 1
    came = {key for key, at in last_accesses(acme).items() if at is not None}
    assert came == {acme.viewer.membership_id, acme.owner.membership_id}
    before = last_accesses(acme)[acme.viewer.membership_id]
    cache.delete(f"visited:{acme.tenant.pk}:{acme.viewer.membership_id}")
    assert writes(viewer) == 1
    # The tests' own transaction holds the clock: it has not gone back.
    after = last_accesses(acme)[acme.viewer.membership_id]
    assert before is not None
    assert after is not None
    assert after >= before


def test_nothing_is_written_of_who_is_in_no_tenant_or_is_refused(
    acme: Inhabited, client_of: Callable[..., Client]
) -> None:
    assert writes(client_of("outsider")) == 0
    assert writes(client_of()) == 0
    assert client_of("globex-owner", host="acme.signage.test").get("/who").status_code == 403
    assert set(last_accesses(acme).values()) == {None}


def test_it_can_be_switched_off(client_of: Callable[..., Client], settings: Settings) -> None:
    settings.LAST_ACCESS_SECONDS = 0
    assert writes(client_of("acme-viewer")) == 0


def test_a_database_that_is_away_by_then_changes_no_answer(
    acme: Inhabited,
    client_of: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
    lines: list[str],
) -> None:
    def away(_actor: object) -> Any:
        raise OperationalError

    monkeypatch.setattr(visits, "acting_as", away)
    assert client_of("acme-viewer").get("/who").status_code == 200
    assert any("a visit was not kept: OperationalError" in line for line in lines)
    assert set(last_accesses(acme).values()) == {None}
