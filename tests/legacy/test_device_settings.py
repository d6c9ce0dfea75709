"""The document of a player's settings, by both faces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from strawberry.relay import to_base64

from assets.models import Asset
from rls import acting_as
from tenancy.commands import take_waiting
from tenancy.models import Device, Tenant, TenantSettings
from tests.players import add_player, codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client
    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tests.conftest import Graph
    from tests.world import Inhabited

    MakeClient = Callable[..., Client]
    Committing = DjangoCaptureOnCommitCallbacks

URL = "/api/v2/device_settings"
DEFAULTS: dict[str, Any] = {
    "player_name": "",
    "audio_output": "hdmi",
    "default_duration": 10,
    "default_streaming_duration": 300,
    "date_format": "mm/dd/yyyy",
    "timezone": "",
    "auth_backend": "",
    "show_splash": True,
    "default_assets": False,
    "shuffle_playlist": False,
    "use_24_hour_clock": False,
    "debug_logging": False,
    "prefer_dark_mode": False,
    "verify_ssl": True,
    "screen_rotation": 0,
    "username": "",
    "display_power_schedule_enabled": False,
    "display_power_on_time": "08:00",
    "display_power_off_time": "18:00",
    "display_power_days": "0,1,2,3,4,5,6",
}
SAVED = {"message": "Settings were successfully saved."}


def patch(client: Client, body: Any, url: str = URL) -> tuple[int, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    response = client.patch(url, text, content_type="application/json")
    return response.status_code, response.json()


def stored(place: Inhabited) -> list[Any]:
    """Return everything that settings may change."""
    with acting_as(place.owner):
        rows = [
            *TenantSettings.objects.values(),
            *Device.objects.order_by("pk").values(),
            *Asset.objects.order_by("pk").values(),
        ]
    return [dict(row) for row in rows]


def test_the_defaults_are_anthias_s_in_its_order(acme: Inhabited, client_of: MakeClient) -> None:
    response = client_of("acme-viewer").get(URL)
    assert response.status_code == 200
    assert list(response.json().items()) == list(DEFAULTS.items())
    assert response["Allow"] == "GET, HEAD, PATCH, OPTIONS"
    assert client_of().get(URL).status_code == 401
    del acme


GOOD = [
    ({}, {}),
    ({"bogus": 1}, {}),
    ({"player_name": " Lobby 100% "}, {"player_name": "Lobby 100%"}),
    ({"audio_output": "anything"}, {"audio_output": "anything"}),
    ({"default_duration": "16"}, {"default_duration": 16}),
    ({"default_duration": 0}, {"default_duration": 0}),
    ({"default_streaming_duration": 31_536_000}, {"default_streaming_duration": 31_536_000}),
    ({"timezone": " Asia/Tokyo "}, {"timezone": "Asia/Tokyo"}),
    ({"timezone": "UTC"}, {"timezone": "UTC"}),
    ({"shuffle_playlist": "true"}, {"shuffle_playlist": True}),
    ({"use_24_hour_clock": 1}, {"use_24_hour_clock": True}),
    ({"verify_ssl": "off"}, {"verify_ssl": False}),
    ({"screen_rotation": "180"}, {"screen_rotation": 180}),
    ({"display_power_on_time": "7:05"}, {"display_power_on_time": "07:05"}),
    ({"display_power_off_time": "23:59:59"}, {"display_power_off_time": "23:59"}),
    ({"display_power_days": "6,0,0, 3"}, {"display_power_days": "0,3,6"}),
    ({"display_power_days": ""}, {}),
    ({"auth_backend": "", "username": "x", "password": "y"}, {}),
]


@pytest.mark.parametrize(("body", "differs"), GOOD, ids=[json.dumps(body) for body, _ in GOOD])
def test_what_is_taken_is_shown(
    acme: Inhabited, client_of: MakeClient, body: dict[str, Any], differs: dict[str, Any]
) -> None:
    client = client_of("acme-owner")
    assert patch(client, body) == (200, SAVED)
    assert client.get(URL).json() == {**DEFAULTS, **differs}
    assert patch(client, {name: DEFAULTS[name] for name in body if name in DEFAULTS})[0] == 200
    assert client.get(URL).json() == DEFAULTS
    with acting_as(acme.owner):
        assert TenantSettings.objects.get().device_settings == {}


BAD = [
    ("player_name", None, "This field may not be null."),
    ("player_name", [1], "Not a valid string."),
    ("audio_output", "", "This field may not be blank."),
    ("date_format", " ", "This field may not be blank."),
    ("default_duration", -1, "Ensure this value is greater than or equal to 0."),
    ("default_duration", 31_536_001, "Ensure this value is less than or equal to 31536000."),
    ("default_streaming_duration", "x", "A valid integer is required."),
    ("timezone", "Mars/Olympus", "Unknown or unavailable timezone: Mars/Olympus."),
    ("auth_backend", "ldap", '"ldap" is not a valid choice.'),
    ("verify_ssl", 3, "Must be a valid boolean."),
    ("screen_rotation", 45, '"45" is not a valid choice.'),
    ("display_power_on_time", "25:00", "Invalid time '25:00': expected HH:MM."),
    ("display_power_on_time", "8am", "Invalid time '8am': expected HH:MM."),
    ("display_power_on_time", "", "This field may not be blank."),
    (
        "display_power_days",
        "1,,2",
        "Invalid weekday '': expected 0-6 (Monday=0), comma-separated.",
    ),
    (
        "display_power_days",
        "mon",
        "Invalid weekday 'mon': expected 0-6 (Monday=0), comma-separated.",
    ),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_one_bad_value_refuses_all_of_it(
    acme: Inhabited, client_of: MakeClient, name: str, value: Any, message: str
) -> None:
    before = stored(acme)
    body = {"show_splash": False, "default_assets": True, name: value}
    assert patch(client_of("acme-owner"), body) == (400, {name: [message]})
    assert stored(acme) == before


def test_every_bad_value_is_told_at_once(acme: Inhabited, client_of: MakeClient) -> None:
    before = stored(acme)
    body = {"timezone": "x", "verify_ssl": "maybe", "screen_rotation": 1}
    assert patch(client_of("acme-owner"), body) == (
        400,
        {
            "timezone": ["Unknown or unavailable timezone: x."],
            "verify_ssl": ["Must be a valid boolean."],
            "screen_rotation": ['"1" is not a valid choice.'],
        },
    )
    assert stored(acme) == before


def test_a_body_that_cannot_be_read(acme: Inhabited, client_of: MakeClient) -> None:
    client, before = client_of("acme-owner"), stored(acme)
    failed = {"error": "An error occurred while saving settings."}
    assert patch(client, "{") == (400, failed)
    response = client.patch(URL, "show_splash=false", content_type="text/plain")
    assert (response.status_code, response.json()) == (400, failed)
    assert patch(client, [1]) == (
        400,
        {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]},
    )
    assert stored(acme) == before


AUTH = [
    ({}, "Must provide username"),
    ({"username": "bob"}, "Must provide password"),
    ({"username": "bob", "password": "S3cretpass!"}, "New passwords do not match!"),
    (
        {"username": "bob", "password": "123", "password_2": "123"},
        (
            "This password is too short. It must contain at least 8 characters. This password is "
            "too common. This password is entirely numeric."
        ),
    ),
    (
        {"username": "bobbobbob", "password": "bobbobbob", "password_2": "bobbobbob"},
        "The password is too similar to the username.",
    ),
    (
        {"username": "bob", "password": "S3cretpass!", "password_2": "S3cretpass!"},
        "Only the operator account can change authentication settings.",
    ),
]


@pytest.mark.parametrize(("body", "message"), AUTH)
def test_authentication_is_not_switched_on_here(
    acme: Inhabited, client_of: MakeClient, body: dict[str, Any], message: str
) -> None:
    before = stored(acme)
    body = {"auth_backend": "auth_basic", "show_splash": False, **body}
    assert patch(client_of("acme-owner"), body) == (400, {"error": message})
    assert stored(acme) == before


def test_time_zone_and_duration_are_the_tenants_own(
    acme: Inhabited, client_of: MakeClient, gql: Callable[..., Graph]
) -> None:
    del acme
    document = "{ tenant { settings { timezone defaultAssetDuration } } }"
    client = client_of("acme-owner")
    patch(client, {"timezone": "Asia/Kolkata", "default_duration": 77})
    assert gql().data(document)["tenant"]["settings"] == {
        "timezone": "Asia/Kolkata",
        "defaultAssetDuration": 77,
    }
    gql().data(
        'mutation { updateTenantSettings(input: {timezone: "Europe/Berlin", '
        "defaultAssetDuration: 5}) { errors { code } } }"
    )
    found = client.get(URL).json()
    assert (found["timezone"], found["default_duration"]) == ("Europe/Berlin", 5)
    patch(client, {"timezone": ""})
    assert gql().data(document)["tenant"]["settings"]["timezone"] == "UTC"
    assert client.get(URL).json()["timezone"] == ""


def test_the_default_pages_come_and_go(acme: Inhabited, client_of: MakeClient) -> None:
    client = client_of("acme-owner")
    before = stored(acme)[-3:]
    for _ in range(2):
        assert patch(client, {"default_assets": True, "default_duration": 12}) == (200, SAVED)
        with acting_as(acme.owner):
            rows = list(Asset.objects.filter(asset_id__startswith="default_").order_by("name"))
        assert [(row.name, row.uri, row.duration) for row in rows] == [
            ("Hacker News", "https://news.ycombinator.com", 12),
            ("Screenly Clock Widget", "https://clock.srly.io", 12),
            ("Screenly Weather Widget", "https://weather.srly.io", 12),
        ]
        assert {len(row.asset_id) for row in rows} == {len("default_") + 32}
        assert all(row.is_enabled and row.end_date and row.start_date for row in rows)
    assert client.get(URL).json()["default_assets"] is True
    assert patch(client, {"default_assets": False}) == (200, SAVED)
    assert stored(acme)[-3:] == before


def test_the_default_pages_count_as_assets(acme: Inhabited, client_of: MakeClient) -> None:
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(max_assets=5)
    before = stored(acme)
    status, body = patch(client_of("acme-owner"), {"default_assets": True, "show_splash": False})
    assert status == 507
    assert "This tenant may have 5 assets" in body["detail"]
    assert stored(acme) == before


# --- one device -----------------------------------------------------------------------------------


def test_a_device_has_settings_of_its_own(acme: Inhabited, client_of: MakeClient) -> None:
    player, other = add_player(acme), add_player(acme)
    owner, url = client_of("acme-owner"), f"/d/{player.key}{URL}"
    patch(owner, {"audio_output": "local", "timezone": "Europe/Berlin"})
    body = {"screen_rotation": 90, "audio_output": "local", "timezone": "Asia/Tokyo"}
    assert patch(owner, body, url) == (200, SAVED)
    assert player.row.settings == {"screen_rotation": 90, "timezone": "Asia/Tokyo"}
    own = {**DEFAULTS, **body}
    assert owner.get(url).json() == own
    for client in (player.basic, player.bearer):
        assert client.get(URL).json() == own
    tenants = {**DEFAULTS, "audio_output": "local", "timezone": "Europe/Berlin"}
    assert owner.get(URL).json() == other.basic.get(URL).json() == tenants
    # A player changes its own, by its own credential.
    assert patch(player.basic, {"timezone": "", "screen_rotation": 0}) == (200, SAVED)
    assert player.row.settings == {}
    assert owner.get(url).json() == tenants


def test_who_may_change_what(acme: Inhabited, globex: Inhabited, client_of: MakeClient) -> None:
    player, foreign = add_player(acme), add_player(globex)
    before = stored(acme), stored(globex)
    body = {"show_splash": False}
    url = f"/d/{player.key}{URL}"
    assert patch(client_of("acme-viewer"), body)[0] == 403
    assert patch(client_of("acme-operator"), body)[0] == 403
    assert patch(client_of("acme-viewer"), body, url)[0] == 403
    assert patch(client_of("acme-manager"), body, url)[0] == 403
    # What is the whole tenant's is not one player's to change, and then nothing is.
    assert patch(player.basic, {**body, "default_assets": True})[0] == 403
    none = (404, {"detail": "No Device matches the given query."})
    for key in (foreign.key, uuid4(), "x"):
        for client in (client_of("acme-owner"), player.basic):
            assert patch(client, body, f"/d/{key}{URL}") == none
            assert client.get(f"/d/{key}{URL}").status_code == 404
    assert (stored(acme), stored(globex)) == before
    assert patch(client_of("acme-operator"), body, url) == (200, SAVED)


def test_players_are_told_to_look_again(
    acme: Inhabited,
    client_of: MakeClient,
    django_capture_on_commit_callbacks: Committing,
) -> None:
    players = [add_player(acme) for _ in range(2)]

    def told() -> list[list[str]]:
        return [take_waiting(acme.tenant.pk, player.key) for player in players]

    told()
    with django_capture_on_commit_callbacks(execute=True):
        patch(client_of("acme-owner"), {})
    assert told() == [["viewer reload"], ["viewer reload"]]
    with django_capture_on_commit_callbacks(execute=True):
        patch(client_of("acme-owner"), {"show_splash": False}, f"/d/{players[0].key}{URL}")
    assert told() == [["viewer reload"], []]
    with django_capture_on_commit_callbacks(execute=True):
        patch(client_of("acme-owner"), {"screen_rotation": 1})
    assert told() == [[], []]


# --- through GraphQL ------------------------------------------------------------------------------

FIELDS = "timezone screenRotation use24HourClock displayPowerDays"
UPDATE = f"""mutation($input: UpdateDeviceSettingsInput!) {{ updateDeviceSettings(input: $input) {{
  device {{ ownSettings settings {{ {FIELDS} }} }} errors {{ field code message }} }} }}"""
UPDATE_DEFAULTS = f"""mutation($input: UpdateDeviceDefaultsInput!) {{
  updateDeviceDefaults(input: $input) {{
    settings {{ timezone deviceSettings {{ {FIELDS} }} }} errors {{ field code message }} }} }}"""


def test_both_faces_show_one_document(
    acme: Inhabited, client_of: MakeClient, gql: Callable[..., Graph]
) -> None:
    player = add_player(acme)
    made = gql().data(
        UPDATE_DEFAULTS,
        input={"timezone": "Europe/Berlin", "use24HourClock": True, "displayPowerDays": "4,0"},
    )["updateDeviceDefaults"]
    tenants = {
        "timezone": "Europe/Berlin",
        "screenRotation": 0,
        "use24HourClock": True,
        "displayPowerDays": "0,4",
    }
    assert made == {
        "settings": {"timezone": "Europe/Berlin", "deviceSettings": tenants},
        "errors": [],
    }
    made = gql().data(UPDATE, input={"id": to_base64("Device", player.key), "screenRotation": 270})[
        "updateDeviceSettings"
    ]
    assert made == {
        "device": {
            "ownSettings": {"screen_rotation": 270},
            "settings": {**tenants, "screenRotation": 270},
        },
        "errors": [],
    }
    assert player.basic.get(URL).json() == {
        **DEFAULTS,
        "timezone": "Europe/Berlin",
        "use_24_hour_clock": True,
        "display_power_days": "0,4",
        "screen_rotation": 270,
    }
    # Null goes back to what is beneath.
    key = to_base64("Device", player.key)
    made = gql().data(UPDATE, input={"id": key, "screenRotation": None})["updateDeviceSettings"]
    assert made["device"]["ownSettings"] == {}
    made = gql().data(UPDATE_DEFAULTS, input={"timezone": None, "use24HourClock": None})
    assert made["updateDeviceDefaults"]["settings"]["timezone"] == "UTC"
    assert client_of("acme-owner").get(URL).json() == {**DEFAULTS, "display_power_days": "0,4"}


def test_graphql_refuses_by_the_same_rules(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    key = to_base64("Device", add_player(acme).key)
    before = stored(acme)
    bad = {"screenRotation": 45, "displayPowerOnTime": "24:00", "showSplash": False}
    refused: list[tuple[list[str] | None, str]] = [
        (["screenRotation"], "INVALID"),
        (["displayPowerOnTime"], "INVALID"),
    ]
    assert codes(gql(), UPDATE_DEFAULTS, input=bad) == refused
    assert codes(gql(), UPDATE, input={"id": key, **bad}) == refused
    good = {"showSplash": False}
    assert codes(gql("acme-operator"), UPDATE_DEFAULTS, input=good) == [(None, "FORBIDDEN")]
    assert codes(gql("acme-manager"), UPDATE, input={"id": key, **good}) == [(None, "FORBIDDEN")]
    stranger = {"id": to_base64("Device", uuid4()), **good}
    assert codes(gql(), UPDATE, input=stranger) == [(["id"], "NOT_FOUND")]
    assert stored(acme) == before
