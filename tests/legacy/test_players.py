"""Players: what they are shown, what they say of themselves, and how they come in at first."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from redis.exceptions import ConnectionError as RedisAway
from strawberry.relay import to_base64

from assets.library import update_asset
from assets.models import Asset
from assets.storage import media_key, store_file
from rls import acting_as
from tenancy import heartbeats, pairing
from tenancy.commands import send_command
from tenancy.devices import revoke_device, update_device
from tenancy.models import Device
from tenancy.tenants import update_settings
from tests.graph.conftest import add_assets
from tests.players import Player, add_player, anonymous, codes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import Client
    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tests.conftest import Graph
    from tests.world import Inhabited

    MakeClient = Callable[..., Client]
    Committing = DjangoCaptureOnCommitCallbacks

PLAYLIST = "/api/v2/viewer/playlist"
SETTINGS = "/api/v2/viewer/settings"
HEARTBEAT = "/api/v2/device/heartbeat"
PAIR = "/api/v2/pair"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [asset["name"] for asset in response.json()["assets"]]


def beat(player: Player, **said: Any) -> Any:
    return player.client.post(HEARTBEAT, json.dumps(said), content_type="application/json")


# --- the playlist ---------------------------------------------------------------------------------


def test_players_alone_are_admitted(
    acme: Inhabited, globex: Inhabited, client_of: MakeClient
) -> None:
    player, foreign = add_player(acme), add_player(globex)
    revoked = add_player(acme)
    with acting_as(acme.owner) as actor:
        revoke_device(actor=actor, device=revoked.key)
    host = f"acme.{player.client.defaults['HTTP_HOST'].partition('.')[2]}"
    for url in (PLAYLIST, SETTINGS):
        for client in (player.client, player.basic, player.bearer):
            assert client.get(url).status_code == 200
        refused = [
            anonymous("acme").get(url),
            client_of("acme-owner").get(url),
            anonymous("acme").get(url, headers={"X-Anthias-Internal-Token": "no"}),
            anonymous("acme").get(url, headers={"X-Anthias-Internal-Token": revoked.secret}),
            # A player of another tenant's, on this one's host.
            foreign.client.get(url, headers={"Host": host}),
        ]
        for response in refused:
            assert (response.status_code, response.content) == (403, b"")
            assert "Content-Type" not in response
            assert response["Allow"] == "GET, HEAD, OPTIONS"
        response = player.client.post(url)
        assert response.status_code == 405
        assert response.json() == {"detail": 'Method "POST" not allowed.'}
        assert anonymous("acme").options(url).status_code == 200


def test_a_playlist_is_what_plays_now(acme: Inhabited) -> None:
    now = datetime.now(UTC)
    ends = now + timedelta(days=2)
    add_assets(acme, 1, name="second", play_order=2, end_date=ends, uri="https://e.example/ü")
    add_assets(acme, 1, name="first", play_order=1, is_processing=True, is_reachable=False)
    add_assets(acme, 1, name="off", is_enabled=False)
    add_assets(acme, 1, name="later", start_date=now + timedelta(days=1))
    response = add_player(acme).client.get(PLAYLIST)
    assert names(response) == ["first", "second"]
    body = response.json()
    assert list(body) == ["assets", "deadline", "now"]
    assert list(body["assets"][1]) == [
        *("asset_id", "name", "uri", "start_date", "end_date", "duration", "mimetype"),
        *("is_enabled", "nocache", "play_order", "skip_asset_check", "skip_ssl_verify"),
        *("is_active", "is_processing", "play_days", "play_time_from", "play_time_to"),
        *("is_reachable", "last_reachability_check", "metadata", "refresh_interval_s"),
        "custom_headers",
    ]
    assert body["assets"][1]["uri"] == "https://e.example/ü"
    assert datetime.fromisoformat(body["deadline"]) == now + timedelta(days=1)
    assert body["deadline"].endswith("Z")
    assert now <= datetime.fromisoformat(body["now"]) <= datetime.now(UTC)
    assert response["Content-Type"] == "application/json"


def test_a_playlist_without_an_end(acme: Inhabited) -> None:
    body = add_player(acme).client.get(PLAYLIST).json()
    assert (body["assets"], body["deadline"]) == ([], None)


def test_play_windows_are_judged_in_the_players_zone(
    acme: Inhabited, client_of: MakeClient
) -> None:
    player = add_player(acme)
    local = datetime.now(UTC) + timedelta(hours=14)
    opens, closes = local - timedelta(minutes=30), local + timedelta(minutes=30)
    add_assets(acme, 1, name="far", play_time_from=opens.time(), play_time_to=closes.time())
    before = datetime.now(UTC)
    response = player.client.get(PLAYLIST)
    assert names(response) == []
    deadline = datetime.fromisoformat(response.json()["deadline"])
    assert timedelta(seconds=60) <= deadline - before < timedelta(seconds=120)
    client_of("acme-owner").patch(
        f"/d/{player.key}/api/v2/device_settings",
        json.dumps({"timezone": "Pacific/Kiritimati"}),
        content_type="application/json",
    )
    # What is on the player's wall is in its dates too, but not in the deadline.
    [asset] = (found := player.client.get(PLAYLIST).json())["assets"]
    assert asset["name"] == "far"
    assert asset["start_date"].endswith("+14:00")
    assert found["deadline"].endswith("Z")
    assert names(add_player(acme).client.get(PLAYLIST)) == []


def test_a_tagged_player_sees_what_carries_its_tags(acme: Inhabited) -> None:
    ends = datetime.now(UTC) + timedelta(days=1)
    add_assets(acme, 1, name="hall", tags=["hall", "x"])
    add_assets(acme, 1, name="bar", tags=["bar"], end_date=ends)
    add_assets(acme, 1, name="none", tags=[])
    tagged = add_player(acme, tags=["hall", "lobby"], only_tagged=True)
    response = tagged.client.get(PLAYLIST)
    assert names(response) == ["hall"]
    assert datetime.fromisoformat(response.json()["deadline"]) > ends
    assert names(add_player(acme, tags=["hall"]).client.get(PLAYLIST)) == ["hall", "bar", "none"]
    assert names(add_player(acme, only_tagged=True).client.get(PLAYLIST)) == []


def test_a_shuffled_playlist_is_the_same_playlist(acme: Inhabited) -> None:
    add_assets(acme, 30)
    player = add_player(acme)
    ordered = player.client.get(PLAYLIST).json()["assets"]
    with acting_as(acme.owner):
        Device.objects.filter(pk=player.key).update(settings={"shuffle_playlist": True})
    shuffled = player.client.get(PLAYLIST).json()["assets"]
    assert shuffled != ordered
    assert sorted(shuffled, key=lambda one: one["play_order"]) == ordered


def test_viewer_settings_are_the_devices_own(acme: Inhabited) -> None:
    player = add_player(acme)
    with acting_as(acme.owner):
        Device.objects.filter(pk=player.key).update(settings={"screen_rotation": 90})
    response = player.client.get(SETTINGS)
    assert list(response.json().items()) == [
        ("shuffle_playlist", False),
        ("show_splash", True),
        ("screen_rotation", 90),
        ("audio_output", "hdmi"),
        ("debug_logging", False),
    ]
    again = player.client.get(SETTINGS, headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


# --- polls that find nothing new ------------------------------------------------------------------


def poll(player: Player, etag: str) -> tuple[Any, list[str]]:
    """Return the answer to a poll, and which statements of it looked at assets or settings."""
    with CaptureQueriesContext(connection) as captured:
        response = player.client.get(PLAYLIST, headers={"If-None-Match": etag})
    sent = [query["sql"] for query in captured.captured_queries]
    return response, [one for one in sent if "assets" in one or "tenant_settings" in one]


def test_an_unchanged_poll_touches_no_assets(acme: Inhabited) -> None:
    add_assets(acme, 3)
    player = add_player(acme)
    first = player.client.get(PLAYLIST)
    etag = first["ETag"]
    assert etag.startswith('W/"')
    for given in (etag, etag.removeprefix("W/"), f'"x", {etag}', "*"):
        response, looked = poll(player, given)
        assert (response.status_code, response.content, looked) == (304, b"", [])
        assert (response["ETag"], "Content-Type" in response) == (etag, False)
    response, looked = poll(player, '"x"')
    assert response.json()["assets"] == first.json()["assets"]
    assert len(looked) == 3


def test_a_poll_without_news_asks_no_database_at_all(acme: Inhabited) -> None:
    add_assets(acme, 3)
    player = add_player(acme)
    for client in (player.client, player.basic, player.bearer):
        etag = client.get(PLAYLIST)["ETag"]
        client.get(PLAYLIST, headers={"If-None-Match": etag})
        with CaptureQueriesContext(connection) as captured:
            response = client.get(PLAYLIST, headers={"If-None-Match": etag})
        assert (response.status_code, captured.captured_queries) == (304, [])


def test_whatever_changes_it_is_told_on_the_next_poll(
    acme: Inhabited, django_capture_on_commit_callbacks: Committing
) -> None:
    [asset] = add_assets(acme, 1, name="one", tags=["hall"])
    player = add_player(acme, tags=["hall"])
    etag = player.client.get(PLAYLIST)["ETag"]

    def changed(write: Callable[[], Any]) -> str:
        before, _ = poll(player, etag)
        with django_capture_on_commit_callbacks(execute=True), acting_as(acme.owner):
            write()
        response, _ = poll(player, etag)
        assert (before.status_code, response.status_code) == (304, 200)
        found: str = response["ETag"]
        return found

    actor = acme.owner
    etag = changed(lambda: update_asset(actor=actor, asset=asset.pk, changes={"name": "two"}))
    etag = changed(lambda: update_settings(actor=actor, changes={"timezone": "Asia/Tokyo"}))
    add_assets(acme, 1, name="other")
    etag = changed(
        lambda: update_device(actor=actor, device=player.key, changes={"tags": [], "name": "x"})
    )
    changed(lambda: update_device(actor=actor, device=player.key, changes={"only_tagged": True}))
    # What is another's changes nothing here.
    assert names(player.client.get(PLAYLIST)) == []


def test_a_change_that_changes_nothing_for_a_player_is_304(
    acme: Inhabited, django_capture_on_commit_callbacks: Committing
) -> None:
    add_assets(acme, 1)
    [other] = add_assets(acme, 1, is_enabled=False)
    player = add_player(acme)
    etag = player.client.get(PLAYLIST)["ETag"]
    with django_capture_on_commit_callbacks(execute=True), acting_as(acme.owner) as actor:
        update_asset(actor=actor, asset=other.pk, changes={"name": "x"})
    response, looked = poll(player, etag)
    assert (response.status_code, len(looked)) == (304, 3)
    response, looked = poll(player, etag)
    assert (response.status_code, len(looked)) == (304, 0)


def test_a_deadline_ends_what_is_remembered(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    add_assets(acme, 1, name="soon over", end_date=now + timedelta(minutes=5))
    player = add_player(acme)
    etag = player.client.get(PLAYLIST)["ETag"]

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(minutes=6)

    monkeypatch.setattr("assets.legacy.viewer.datetime", Later)
    response, _ = poll(player, etag)
    assert names(response) == []


def test_without_redis_every_poll_is_answered_from_the_database(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def __getattr__(self, _: str) -> Any:
            raise RedisAway

    [asset] = add_assets(acme, 1)
    player = add_player(acme)
    for module in ("assets.legacy.playlist_memory", "tenancy.heartbeats", "tenancy.commands"):
        monkeypatch.setattr(f"{module}.redis_client", Away)
    etag = player.client.get(PLAYLIST)["ETag"]
    response, looked = poll(player, etag)
    assert (response.status_code, len(looked)) == (304, 3)
    with acting_as(acme.owner) as actor:
        update_asset(actor=actor, asset=asset.pk, changes={"name": "new"})
    response, _ = poll(player, etag)
    assert names(response) == ["new"]
    assert beat(player, playing="x").json()["commands"] == []


# --- rechecks -------------------------------------------------------------------------------------


def test_a_recheck_is_queued_once_in_a_while(
    acme: Inhabited, client_of: MakeClient, globex: Inhabited
) -> None:
    player = add_player(acme)
    asset = acme.assets[2]
    url = f"/api/v2/assets/{asset.asset_id}/recheck"

    def queued() -> int:
        with acting_as(acme.owner), connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM procrastinate_jobs WHERE args ->> 'asset' = %s",
                [str(asset.pk)],
            )
            found: int = cursor.fetchone()[0]
            return found

    for client in (anonymous("acme"), client_of("acme-owner")):
        response = client.post(url)
        assert (response.status_code, response.content) == (403, b"")
    for unknown in (uuid4().hex, globex.assets[2].asset_id):
        response = player.client.post(f"/api/v2/assets/{unknown}/recheck")
        assert (response.status_code, response.content) == (404, b"")
    assert player.client.get(url).status_code == 405
    assert queued() == 0
    for _ in range(2):
        response = player.client.post(url)
        assert (response.status_code, response.content) == (202, b"")
        assert queued() == 1


# --- heartbeats -----------------------------------------------------------------------------------


def test_a_heartbeat_is_kept_and_answered_with_what_waits(
    acme: Inhabited, gql: Callable[..., Graph], django_capture_on_commit_callbacks: Committing
) -> None:
    player = add_player(acme)
    with django_capture_on_commit_callbacks(execute=True), acting_as(acme.owner) as actor:
        send_command(actor=actor, command="next", device=player.key)
    telemetry = {"loadavg": 0.5, "storage": {"supported": True}}
    before = datetime.now(UTC)
    response = beat(player, version="v1", playing="abc", telemetry=telemetry, strange=1)
    assert response.status_code == 200
    assert response.json()["commands"] == ["viewer next"]
    assert before <= datetime.fromisoformat(response.json()["now"]) <= datetime.now(UTC)
    assert beat(player).json()["commands"] == []
    found = gql().data(
        "query($id: ID!) { device(id: $id) { isOnline lastSeenAt address version playing "
        "telemetry } }",
        id=to_base64("Device", player.key),
    )["device"]
    assert datetime.fromisoformat(found.pop("lastSeenAt")) >= before
    assert found == {
        "isOnline": True,
        "address": "127.0.0.1",
        "version": "v1",
        "playing": "abc",
        "telemetry": telemetry,
    }
    assert beat(player, playing=None).status_code == 200
    assert (player.row.playing, player.row.version) == ("", "v1")


def test_a_heartbeat_that_cannot_be_kept(acme: Inhabited, client_of: MakeClient) -> None:
    player = add_player(acme)
    for said, fields in (
        ({"version": "x" * 256}, {"version"}),
        ({"playing": 1, "telemetry": []}, {"playing", "telemetry"}),
        ({"telemetry": {"x": "y" * 65_536}}, {"telemetry"}),
        ({"telemetry": {"x": "\x00"}}, {"telemetry"}),
    ):
        response = beat(player, **said)
        assert (response.status_code, response.json().keys()) == (400, fields)
    response = player.client.post(HEARTBEAT, "[1]", content_type="application/json")
    assert response.status_code == 400
    response = client_of("acme-owner").post(HEARTBEAT, "{}", content_type="application/json")
    assert (response.status_code, response.content) == (403, b"")
    row = player.row
    assert (row.last_seen_at, row.version, row.playing, row.telemetry) == (None, "", "", {})


def test_polls_are_written_down_once_a_minute(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = add_player(acme)
    player.client.get(PLAYLIST)
    seen = player.row.last_seen_at
    assert seen is not None
    player.client.get(PLAYLIST)
    player.client.get(SETTINGS)
    assert player.row.last_seen_at == seen
    # With Redis away this process knows.
    monkeypatch.setattr(heartbeats, "redis_client", lambda: None)
    player.client.get(PLAYLIST)
    assert (again := player.row.last_seen_at) > seen
    player.client.get(PLAYLIST)
    assert player.row.last_seen_at == again


# --- what a device says, as Anthias has it --------------------------------------------------------

TELEMETRY = {
    "loadavg": 0.25,
    "free_space": "74.9\u00a0GB",
    "display_power": "on",
    "up_to_date": False,
    "device_model": "Raspberry Pi 5",
    "uptime": {"days": 3, "hours": 4.5},
    "memory": {"total": 100, "low_ram": True},
    "storage": {"supported": True, "status": "wear"},
    "ip_addresses": ["http://192.0.2.10", 7],
    "mac_address": "aa:bb",
    "integrations": {"is_balena": True, "balena_app_id": "7"},
}


def test_info_is_the_last_heartbeat(acme: Inhabited, client_of: MakeClient) -> None:
    player = add_player(acme)
    beat(player, version="v2026", telemetry=TELEMETRY)
    update_timezone(acme, "Asia/Kolkata")
    owner = client_of("acme-viewer")
    v1 = {
        "viewlog": "Not yet implemented",
        "loadavg": 0.25,
        "free_space": "74.9\u00a0GB",
        "display_power": "on",
        "up_to_date": False,
    }
    assert list(owner.get("/api/v1/info").json().items()) == list(v1.items())
    found = owner.get("/api/v2/info").json()
    assert datetime.fromisoformat(found["time"].pop("iso")).utcoffset() == timedelta(hours=5.5)
    assert found == {
        **v1,
        "anthias_version": "v2026",
        "device_model": "Raspberry Pi 5",
        "uptime": {"days": 3, "hours": 4.5},
        "memory": {
            "total": 100,
            "used": 0,
            "free": 0,
            "shared": 0,
            "buff": 0,
            "available": 0,
            "low_ram": True,
        },
        "under_voltage": {
            "supported": False,
            "active": False,
            "seen_since_boot": False,
            "first_seen": None,
            "last_seen": None,
            "count": 0,
        },
        "storage": {"supported": True, "status": "wear"},
        "ip_addresses": ["http://192.0.2.10"],
        "mac_address": "aa:bb",
        "host_user": None,
        "time": {"timezone": "Asia/Kolkata", "offset": "UTC+05:30"},
    }
    assert owner.get("/api/v2/integrations").json() == {
        "is_balena": True,
        "balena_device_id": None,
        "balena_app_id": "7",
        "balena_app_name": None,
        "balena_supervisor_version": None,
        "balena_host_os_version": None,
        "balena_device_name_at_init": None,
    }
    # Of a player that has said nothing, every value has its type.
    silent = add_player(acme).basic.get("/api/v2/info").json()
    assert {name: type(value) for name, value in silent.items() if name != "display_power"} == {
        name: type(value)
        for name, value in {**found, "time": {}}.items()
        if name != "display_power"
    }
    assert silent["storage"] == {"supported": False, "status": "unknown"}


def update_timezone(place: Inhabited, name: str) -> None:
    with acting_as(place.owner) as actor:
        update_settings(actor=actor, changes={"timezone": name})


def test_addresses_are_shown_to_who_signed_in(
    acme: Inhabited, globex: Inhabited, client_of: MakeClient
) -> None:
    url = "/api/v2/network/ip-addresses"
    player = add_player(acme)
    beat(player, telemetry=TELEMETRY)
    none: dict[str, Any] = {"ip_addresses": []}
    assert anonymous("acme").get(url).json() == none
    assert client_of("acme-viewer").get(url).json() == {"ip_addresses": ["http://192.0.2.10"]}
    assert client_of("globex-owner").get(url).json() == none
    assert add_player(globex).basic.get(url).json() == none
    assert player.basic.get(url).json() == {"ip_addresses": ["http://192.0.2.10"]}


def test_the_current_asset_is_what_was_last_reported(
    acme: Inhabited, client_of: MakeClient
) -> None:
    url = "/api/v1/viewer_current_asset"
    [asset] = add_assets(acme, 1, name="now")
    viewer = client_of("acme-viewer")
    player, other = add_player(acme), add_player(acme)
    assert viewer.get(url).json() == []
    beat(player, playing=asset.asset_id)
    found = viewer.get(url).json()
    assert (found["asset_id"], found["is_active"], found["duration"]) == (asset.asset_id, 1, "10")
    assert client_of("acme-owner").get(f"/d/{player.key}{url}").json() == found
    assert other.basic.get(url).json() == []
    beat(player, playing=uuid4().hex)
    response = viewer.get(url)
    assert response.status_code == 404
    assert response.json() == {"detail": "No Asset matches the given query."}
    with acting_as(acme.owner):
        Device.objects.filter(pk=player.key).update(
            last_seen_at=datetime.now(UTC) - timedelta(hours=1)
        )
    assert viewer.get(url).json() == []


def test_integrations_are_refused_in_anthias_s_words(
    acme: Inhabited, client_of: MakeClient
) -> None:
    def post(path: str, body: Any) -> tuple[int, Any]:
        response = client_of("acme-owner").post(
            f"/api/v2/integrations/{path}", json.dumps(body), content_type="application/json"
        )
        return response.status_code, response.json()

    required, away = (
        ["This field is required."],
        ("Could not reach Screenly. Check this device's internet connection and try again."),
    )
    known = {"token": "t", "asset_id": acme.assets[2].asset_id}
    item = {"success": False, "asset_id": None, "skipped": False, "reason": None}
    provider = "Unknown import provider."
    assert [
        post("screenly/validate", {}),
        post("screenly/validate", {"token": ""}),
        post("screenly/validate", {"token": "abc"}),
        post("screenly/migrate", {}),
        post("screenly/migrate", {"token": "t", "asset_id": "only-globex"}),
        post("screenly/migrate", known),
        post("import/nope/validate", {}),
        post("import/nope/item", {"token": "x"}),
    ] == [
        (400, {"token": required}),
        (400, {"token": ["This field may not be blank."]}),
        (502, {"valid": False, "error": away}),
        (400, {"token": required, "asset_id": required}),
        (404, {"success": False, "error": "Asset not found."}),
        (502, {"success": False, "error": away}),
        (404, {"valid": False, "error": provider}),
        (404, {**item, "error": provider}),
    ]


# --- files ----------------------------------------------------------------------------------------


def test_files_are_where_anthias_s_players_look_for_them(
    acme: Inhabited,
    globex: Inhabited,
    client_of: MakeClient,
    settings: Any,
    tmp_path: Path,
) -> None:
    settings.MEDIA_ROOT = tmp_path
    [asset] = add_assets(acme, 1)
    name = f"{asset.asset_id}.png"
    with acting_as(acme.owner):
        key = media_key(acme.tenant.pk, asset.pk, "original.png")
        Asset.objects.filter(pk=asset.pk).update(
            uri=f"/data/anthias_assets/{name}",
            media_path=store_file(key, ContentFile(PNG).open()),
        )
    url = f"/anthias_assets/{name}"
    player = add_player(acme)

    def fetched(client: Client, url: str, **headers: str) -> tuple[int, bytes]:
        response: Any = client.get(url, headers=headers)
        assert response["Content-Type"] == "image/png"
        return response.status_code, b"".join(response.streaming_content)

    for client in (player.client, player.basic, player.bearer, client_of("acme-viewer")):
        assert fetched(client, url) == (200, PNG)
    assert fetched(player.client, url, Range="bytes=1-3") == (206, b"PNG")
    # Old databases know it by another folder.
    with acting_as(acme.owner):
        Asset.objects.filter(pk=asset.pk).update(uri="/home/pi/screenly_assets/old_name")
    assert fetched(player.client, "/anthias_assets/old_name") == (200, PNG)
    for client in (add_player(globex).client, client_of("globex-owner")):
        assert client.get("/anthias_assets/old_name").status_code == 404
    for strange in (name, "nothing", "%2e%2e", "_"):
        assert player.client.get(f"/anthias_assets/{strange}").status_code == 404
    response = anonymous("acme").get(url)
    assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Basic realm="api"')


# --- pairing --------------------------------------------------------------------------------------

PAIR_DEVICE = """mutation($code: String!) { pairDevice(input: {code: $code, name: "New"}) {
  device { name } errors { field code message } } }"""


@pytest.fixture(autouse=True)
def _no_count_from_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (pairing.ASKED, pairing.MISTYPED):
        monkeypatch.setattr(limit, "_local", {})


def ask(body: Any = None) -> Any:
    return anonymous("acme").post(PAIR, json.dumps(body or {}), content_type="application/json")


def test_a_player_is_paired_by_its_code(
    acme: Inhabited, gql: Callable[..., Graph], django_capture_on_commit_callbacks: Committing
) -> None:
    response = ask()
    assert (response.status_code, response["Cache-Control"]) == (201, "no-store")
    started = response.json()
    assert started.keys() == {"status", "code", "secret", "expires_in", "interval"}
    code, secret = started["code"], {"secret": started["secret"]}
    assert len(code) == 6
    response = ask(secret)
    assert (response.status_code, response.json()) == (202, {"status": "waiting", "code": code})
    with django_capture_on_commit_callbacks(execute=True):
        made = gql("acme-operator").data(PAIR_DEVICE, code=f" {code[:3]}-{code[3:].lower()}")
    assert made == {"pairDevice": {"device": {"name": "New"}, "errors": []}}
    response = ask(secret)
    assert (response.status_code, response["Cache-Control"]) == (200, "no-store")
    paired = response.json()
    assert (paired["status"], paired["url"]) == ("paired", acme.tenant.url)
    with acting_as(acme.owner):
        row = Device.objects.get(pk=paired["device_id"])
    assert (row.name, row.created_by_id) == ("New", acme.operator.user_id)
    player = Player(acme, row.pk, paired["secret"])
    assert player.basic.get(PLAYLIST).status_code == 200
    # Once.
    over = ask(secret)
    assert (over.status_code, over.json()["status"]) == (404, "over")
    assert player.basic.get(PLAYLIST).status_code == 200
    assert codes(gql(), PAIR_DEVICE, code=code) == [(["code"], "NOT_FOUND")]


def test_a_code_is_kept_when_it_is_refused(
    acme: Inhabited, gql: Callable[..., Graph], django_capture_on_commit_callbacks: Committing
) -> None:
    started = ask().json()
    document = """mutation($code: String!) { pairDevice(input: {code: $code, name: " "}) {
      errors { field code } } }"""
    with acting_as(acme.owner):
        before = Device.objects.count()
    with django_capture_on_commit_callbacks(execute=True):
        assert codes(gql(), document, code=started["code"]) == [(["name"], "INVALID")]
        assert codes(gql("acme-manager"), PAIR_DEVICE, code=started["code"]) == [
            (None, "FORBIDDEN")
        ]
    assert ask({"secret": started["secret"]}).status_code == 202
    with acting_as(acme.owner):
        assert Device.objects.count() == before
    assert codes(gql(), PAIR_DEVICE, code=started["code"]) == []


def test_what_is_no_pairing(gql: Callable[..., Graph], acme: Inhabited) -> None:
    del acme
    for secret in ("x", "y" * 43):
        assert ask({"secret": secret}).status_code == 404
    assert ask({"secret": [1]}).json() == {"secret": ["Not a valid string."]}
    for code in ("", "ABC", "ABCDEFG", "222222"):
        assert codes(gql(), PAIR_DEVICE, code=code) == [(["code"], "NOT_FOUND")]


def test_codes_cannot_be_guessed_nor_asked_for_without_end(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    started = ask().json()
    for _ in range(pairing.ASKED.limit - 1):
        assert ask().status_code == 201
    response = ask()
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 600
    # Who has a code goes on asking.
    assert ask({"secret": started["secret"]}).status_code == 202
    for _ in range(pairing.MISTYPED.limit):
        assert codes(gql(), PAIR_DEVICE, code="222222") == [(["code"], "NOT_FOUND")]
    assert codes(gql(), PAIR_DEVICE, code=started["code"]) == [(None, "RATE_LIMITED")]


def test_without_redis_players_cannot_be_paired(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    del acme
    monkeypatch.setattr(pairing, "redis_client", lambda: None)
    response = ask()
    assert (response.status_code, response["Retry-After"]) == (503, "30")
    assert response.json()["error"].startswith("Players cannot be paired at this moment.")
    assert codes(gql(), PAIR_DEVICE, code="222222") == [(None, "CONFLICT")]
