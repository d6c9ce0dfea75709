"""Every address of devices and players: another tenant's device, and bodies that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from assets.legacy.device_urls import ABOUT_DEVICES, ROUTES
from assets.models import Asset
from rls import acting_as
from tenancy.commands import take_waiting
from tenancy.models import Device, TenantSettings
from tests.legacy.test_isolation import BROKEN
from tests.players import Player, add_player, anonymous

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.test import Client
    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tests.world import Inhabited, World

NAMES = {"<str:command>": "next", "<str:state>": "on", "<str:provider>": "nope"}
# What is answered on purpose: not here, nobody to ask.
MEANT = {501, 502, 503}


def every(routes: Iterable[Any]) -> list[tuple[str, str]]:
    """Return path and method of every address."""
    found = []
    for versions, below, endpoint in routes:
        path = below.replace("<str:asset_id>", f"{0:032x}")
        for name, value in NAMES.items():
            path = path.replace(name, value)
        found += [(f"/api/{v}/{path}", method) for v in versions for method in endpoint.methods]
    return found


def rows(place: Inhabited) -> list[dict[str, Any]]:
    with acting_as(place.owner):
        return [
            dict(row)
            for model in (Asset, Device, TenantSettings)
            for row in model._default_manager.order_by("pk").values()
        ]


def waiting(player: Player) -> list[str]:
    return take_waiting(player.place.tenant.pk, player.key)


@pytest.mark.parametrize(("path", "method"), every(ABOUT_DEVICES))
def test_anothers_device_is_as_one_that_is_not_there(
    world: World,
    client_of: Callable[..., Client],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    path: str,
    method: str,
) -> None:
    own, foreign = add_player(world.acme), add_player(world.globex)
    before = rows(world.acme), rows(world.globex)
    for client in (client_of("acme-owner"), own.basic, anonymous("acme")):
        with django_capture_on_commit_callbacks(execute=True):
            theirs, nobodys = (
                client.generic(method, f"/d/{key}{path}", b"{}", content_type="application/json")
                for key in (foreign.key, uuid4())
            )
        assert theirs.status_code == nobodys.status_code
        assert theirs.content == nobodys.content
        # Who has not signed in learns nothing at all, and what is not done here is so for all.
        assert theirs.status_code in {404, 501, 401, 200 if "network" in path else 401}
    assert (rows(world.acme), rows(world.globex)) == before
    assert waiting(foreign) == waiting(own) == []


@pytest.mark.parametrize(("path", "method"), every([*ABOUT_DEVICES, *ROUTES]))
def test_no_body_breaks_anything(
    acme: Inhabited, client_of: Callable[..., Client], path: str, method: str
) -> None:
    player = add_player(acme)
    # A heartbeat and a poll say that the player was there.
    before = [{**row, "last_seen_at": None, "address": ""} for row in rows(acme)]
    for client in (client_of("acme-owner"), player.basic):
        for body, kind in BROKEN:
            answer = client.generic(method, path, body, content_type=kind)
            assert answer.status_code < 500 or answer.status_code in MEANT, (body[:50], kind)
    after = [{**row, "last_seen_at": None, "address": ""} for row in rows(acme)]
    assert after == before


@pytest.mark.parametrize("device", ["%00", "%ff", "..", "x" * 3000, "'", "%0a"])
def test_no_name_of_a_device_breaks_anything(
    acme: Inhabited, client_of: Callable[..., Client], device: str
) -> None:
    del acme
    answer = client_of("acme-owner").get(f"/d/{device}/api/v2/info")
    assert answer.status_code == 404


@pytest.mark.parametrize("name", ["%00", "%ff", "a%00b", "x" * 3000, "'", "%0a", "%25", "_"])
def test_no_name_of_a_file_or_an_asset_breaks_anything(acme: Inhabited, name: str) -> None:
    player = add_player(acme)
    assert player.client.get(f"/anthias_assets/{name}").status_code == 404
    assert player.client.post(f"/api/v2/assets/{name}/recheck").status_code == 404
