"""What players are told: by old clients, by GraphQL, at work, away, and with Redis away."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisAway
from strawberry.relay import to_base64

from assets.legacy import device_views
from assets.legacy.commands import send
from rls import acting_as
from tenancy import commands
from tenancy.commands import MOMENTARY_SECONDS, MOST_WAITING, commands_channel, take_waiting
from tenancy.devices import revoke_device
from tenancy.errors import InvalidInput, NotFound, PermissionDenied
from tenancy.limits import redis_client
from tenancy.models import Device
from tests.players import Player, add_player, codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client
    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tests.conftest import Graph
    from tests.world import Inhabited

    MakeClient = Callable[..., Client]
    Committing = DjangoCaptureOnCommitCallbacks

SEND = """mutation($input: SendDeviceCommandInput!) { sendDeviceCommand(input: $input) {
  told errors { field code message } } }"""


def waiting(player: Player) -> list[str]:
    return take_waiting(player.place.tenant.pk, player.key)


def tell(committing: Committing, player: Player, *lines: str) -> None:
    with committing(execute=True), acting_as(player.place.owner) as actor:
        for line in lines:
            send(actor=actor, command=line, device=player.key)


def test_commands_wait_in_order_and_are_taken_once(
    acme: Inhabited, django_capture_on_commit_callbacks: Committing
) -> None:
    player, other = add_player(acme), add_player(acme)
    tell(django_capture_on_commit_callbacks, player, "next", "prev", "asset&xy", "stop")
    assert waiting(player) == ["viewer next", "viewer previous", "viewer asset&xy", "viewer stop"]
    assert waiting(player) == waiting(other) == []


def test_only_the_last_wait_and_looking_again_once(
    acme: Inhabited, django_capture_on_commit_callbacks: Committing
) -> None:
    player = add_player(acme)
    lines = ["reload", *(f"asset&{number}" for number in range(MOST_WAITING)), "reload"]
    tell(django_capture_on_commit_callbacks, player, *lines, "reload")
    found = waiting(player)
    assert len(found) == MOST_WAITING
    assert found[0] == "viewer asset&1"
    assert found[-1] == "viewer reload"
    assert found.count("viewer reload") == 1


def test_one_that_comes_back_later_does_not_switch_itself_off(
    acme: Inhabited,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Committing,
) -> None:
    player = add_player(acme)
    lines = ("reboot", "shutdown", "next")
    tell(django_capture_on_commit_callbacks, player, *lines)
    assert waiting(player) == ["viewer reboot", "viewer shutdown", "viewer next"]
    tell(django_capture_on_commit_callbacks, player, *lines)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + MOMENTARY_SECONDS)
    assert waiting(player) == ["viewer next"]


def test_one_that_listens_is_told_at_once(
    acme: Inhabited, django_capture_on_commit_callbacks: Committing
) -> None:
    player = add_player(acme)
    client = redis_client()
    assert client is not None
    with client.pubsub() as channel:
        channel.subscribe(commands_channel(acme.tenant.pk, player.key))
        assert channel.get_message(timeout=5)["type"] == "subscribe"
        tell(django_capture_on_commit_callbacks, player, "next")
        assert channel.get_message(timeout=5)["data"] == b"viewer next"
    assert waiting(player) == []


@pytest.mark.parametrize("says", ["what it shows", "nothing"])
def test_what_is_on_the_screen_is_asked_of_one_that_was_just_told(
    acme: Inhabited,
    client_of: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Committing,
    says: str,
) -> None:
    player, url = add_player(acme), "/api/v1/viewer_current_asset"
    before, after = (one.asset_id for one in acme.assets[:2])

    def beat(playing: str) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            player.client.post(
                "/api/v2/device/heartbeat", {"playing": playing}, content_type="application/json"
            )

    class Clock:
        """A time that goes on only by waiting, in which the player may report."""

        now, waits = 0.0, 0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds
            self.waits += 1
            if self.waits == 3 and says == "what it shows":
                beat(after)

    clock = Clock()
    monkeypatch.setattr(device_views, "time", clock)
    # However slow this machine is.
    monkeypatch.setattr(commands, "SETTLING_SECONDS", 60)
    beat(before)
    client = redis_client()
    assert client is not None
    with client.pubsub() as channel:
        channel.subscribe(commands_channel(acme.tenant.pk, player.key))
        assert channel.get_message(timeout=5)["type"] == "subscribe"
        tell(django_capture_on_commit_callbacks, player, "reload")
        assert client_of("acme-viewer").get(url).json()["asset_id"] == before
        assert clock.waits == 0
        tell(django_capture_on_commit_callbacks, player, f"asset&{after}")
    shown = client_of("acme-viewer").get(url).json()["asset_id"]
    if says == "nothing":
        # Two seconds at most.
        assert (shown, clock.waits) == (before, 40)
        return
    assert (shown, clock.waits) == (after, 3)
    # Once it has said so nobody waits any more; nor for one that hears of it later.
    tell(django_capture_on_commit_callbacks, player, f"asset&{before}")
    assert client_of("acme-viewer").get(url).json()["asset_id"] == after
    assert clock.waits == 3


def test_nothing_is_told_of_what_was_rolled_back(
    acme: Inhabited, django_capture_on_commit_callbacks: Committing
) -> None:
    player = add_player(acme)
    with (
        django_capture_on_commit_callbacks(execute=True),
        pytest.raises(ZeroDivisionError),
        acting_as(acme.owner) as actor,
    ):
        send(actor=actor, command="next", device=player.key)
        raise ZeroDivisionError
    assert waiting(player) == []


def test_without_redis_nothing_is_kept_and_nothing_fails(
    acme: Inhabited,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Committing,
) -> None:
    class Away:
        def pipeline(self, **_: Any) -> Any:
            raise RedisAway

    player = add_player(acme)
    monkeypatch.setattr(commands, "redis_client", Away)
    with caplog.at_level(logging.WARNING, "signate.commands"):
        tell(django_capture_on_commit_callbacks, player, "next")
        assert waiting(player) == []
    assert [record.getMessage() for record in caplog.records] == [
        "Redis is away: 1 players were not told 'viewer next'",
        "Redis is away: what waits for a player is not known",
    ]


def test_who_may_tell_whom(acme: Inhabited, globex: Inhabited) -> None:
    player, foreign = add_player(acme), add_player(globex)
    with acting_as(acme.manager) as actor:
        with pytest.raises(PermissionDenied):
            send(actor=actor, command="next")
        # Follows from writes that a manager may do.
        send(actor=actor, command="reload")
    with acting_as(acme.operator) as actor:
        for key in (foreign.key, uuid4()):
            with pytest.raises(NotFound):
                send(actor=actor, command="next", device=key)
        for line in ("", "next\nstop", "a b", "x" * 201):
            with pytest.raises(InvalidInput):
                send(actor=actor, command=line)
    with acting_as(acme.owner) as actor:
        revoke_device(actor=actor, device=player.key)
        with pytest.raises(NotFound):
            send(actor=actor, command="next", device=player.key)
    assert waiting(player) == waiting(foreign) == []


# --- the addresses of old clients -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("/api/v1/reboot", "viewer reboot"),
        ("/api/v1/shutdown", "viewer shutdown"),
        ("/api/v2/reboot", "viewer reboot"),
        ("/api/v2/shutdown", "viewer shutdown"),
        ("/api/v1/reboot_screenly", "viewer reboot"),
        ("/api/v1/shutdown_screenly", "viewer shutdown"),
    ],
)
def test_reboot_and_shutdown_are_relayed(
    acme: Inhabited,
    client_of: MakeClient,
    django_capture_on_commit_callbacks: Committing,
    url: str,
    text: str,
) -> None:
    one, other = add_player(acme), add_player(acme)
    waiting(one)
    client = client_of("acme-operator")
    for body in ("", "false", "{", '{"x": 1}'):
        with django_capture_on_commit_callbacks(execute=True):
            response = client.post(url, body, content_type="application/json")
        assert (response.status_code, response.content) == (200, b"")
        assert "Content-Type" not in response
        assert response["Allow"] == "POST, OPTIONS"
        assert waiting(one) == waiting(other) == [text]
    for sender, address in ((client, f"/d/{one.key}{url}"), (one.basic, url)):
        with django_capture_on_commit_callbacks(execute=True):
            assert sender.post(address).status_code == 200
        assert (waiting(one), waiting(other)) == ([text], [])
    with django_capture_on_commit_callbacks(execute=True):
        assert client_of("acme-manager").post(url).status_code == 403
        assert client_of().post(url).status_code == 401
        assert client.get(url).status_code == 405
        assert one.basic.post(f"/d/{other.key}{url}").status_code == 404
    assert waiting(one) == waiting(other) == []


def test_the_screen_is_switched_where_there_is_hdmi_cec(
    acme: Inhabited, client_of: MakeClient, django_capture_on_commit_callbacks: Committing
) -> None:
    able, unable, away = (add_player(acme) for _ in range(3))
    with acting_as(acme.owner):
        now = timezone.now()
        Device.objects.filter(pk=able.key).update(
            last_seen_at=now, telemetry={"cec_available": True}
        )
        Device.objects.filter(pk=unable.key).update(last_seen_at=now)
        Device.objects.filter(pk=away.key).update(telemetry={"cec_available": True})
    client = client_of("acme-operator")
    with django_capture_on_commit_callbacks(execute=True):
        response = client.post("/api/v2/display/on")
    assert (response.status_code, response.json()) == (200, {"message": "Display turned on."})
    assert [waiting(one) for one in (able, unable, away)] == [["viewer display_on"], [], []]
    none = {"message": "No HDMI-CEC adapter detected on this device."}
    with django_capture_on_commit_callbacks(execute=True):
        for player in (unable, away):
            response = client.post(f"/d/{player.key}/api/v2/display/off")
            assert (response.status_code, response.json()) == (503, none)
        for state in ("ON", "toggle"):
            response = client.post(f"/api/v2/display/{state}")
            assert response.status_code == 400
            assert response.json() == {"message": "Invalid display state."}
        assert client.get("/api/v2/display/on").status_code == 405
        assert client_of("acme-manager").post("/api/v2/display/on").status_code == 403
    assert [waiting(one) for one in (able, unable, away)] == [[], [], []]


@pytest.mark.parametrize(
    "name",
    [
        "reset_wifi",
        "generate_usb_assets_key",
        "upgrade_screenly",
        "screenshot",
        "display/on",
        "display/off",
    ],
)
def test_what_an_old_box_did_to_itself_is_not_done(client_of: MakeClient, name: str) -> None:
    for method in ("get", "post"):
        response = getattr(client_of("acme-owner"), method)(f"/api/v1/{name}")
        assert response.status_code == 501
        assert response.json() == {
            "error": "This is not available for players that are managed here."
        }


# --- through GraphQL ------------------------------------------------------------------------------


def test_graphql_tells_players(
    acme: Inhabited, gql: Callable[..., Graph], django_capture_on_commit_callbacks: Committing
) -> None:
    player, other = add_player(acme), add_player(acme)
    key, asset = to_base64("Device", player.key), acme.assets[0].asset_id
    said = {
        "NEXT": "viewer next",
        "PREVIOUS": "viewer previous",
        "RELOAD": "viewer reload",
        "DISPLAY_ON": "viewer display_on",
        "DISPLAY_OFF": "viewer display_off",
        "REBOOT": "viewer reboot",
        "SHUTDOWN": "viewer shutdown",
        "SHOW": f"viewer asset&{asset}",
    }
    for command, text in said.items():
        also = {"assetId": asset} if command == "SHOW" else {}
        with django_capture_on_commit_callbacks(execute=True):
            made = gql("acme-operator").data(SEND, input={"id": key, "command": command, **also})
        assert made == {"sendDeviceCommand": {"told": 1, "errors": []}}
        assert (waiting(player), waiting(other)) == ([text], [])
    with django_capture_on_commit_callbacks(execute=True):
        made = gql().data(SEND, input={"command": "NEXT"})
    # The world has one too.
    assert made == {"sendDeviceCommand": {"told": 3, "errors": []}}
    assert waiting(player) == waiting(other) == ["viewer next"]


def test_graphql_refuses(
    acme: Inhabited,
    globex: Inhabited,
    gql: Callable[..., Graph],
    django_capture_on_commit_callbacks: Committing,
) -> None:
    player, foreign = add_player(acme), add_player(globex)
    key = to_base64("Device", player.key)
    strange = to_base64("Device", foreign.key)
    show = {"id": key, "command": "SHOW"}
    with django_capture_on_commit_callbacks(execute=True):
        for username, values, refused in (
            ("acme-manager", {"id": key, "command": "NEXT"}, (None, "FORBIDDEN")),
            ("acme-owner", {"id": strange, "command": "NEXT"}, (["id"], "NOT_FOUND")),
            ("acme-owner", show, (["assetId"], "INVALID")),
            (
                "acme-owner",
                {"id": key, "command": "NEXT", "assetId": acme.assets[0].asset_id},
                (["assetId"], "INVALID"),
            ),
            ("acme-owner", {**show, "assetId": "only-globex"}, (["assetId"], "NOT_FOUND")),
        ):
            assert codes(gql(username), SEND, input=values) == [refused]
    assert waiting(player) == waiting(foreign) == []
