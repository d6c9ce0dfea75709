"""Devices through GraphQL: by their people, and the little that a device itself may ask."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.test import Client

from rls import acting_as
from tenancy.models import Device
from tests.conftest import PLATFORM, Graph
from tests.graph.conftest import statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world import Inhabited

REGISTER = """mutation($name: String!) { registerDevice(input: {name: $name, tags: ["lobby"]}) {
  credential {
    device { id name tags onlyTagged isRevoked isOnline createdBy { username } lastSeenAt }
    deviceId secret
  } errors { code field message } } }"""


def register(gql: Callable[..., Graph], name: str = "Foyer") -> dict[str, Any]:
    made: dict[str, Any] = gql().data(REGISTER, name=name)["registerDevice"]
    assert made["errors"] == []
    credential: dict[str, Any] = made["credential"]
    return credential


def test_a_device_is_registered_rotated_renamed_and_revoked(gql: Callable[..., Graph]) -> None:
    made = register(gql)
    assert made["device"] == {
        "id": made["device"]["id"],
        "name": "Foyer",
        "tags": ["lobby"],
        "onlyTagged": False,
        "isRevoked": False,
        "isOnline": False,
        "createdBy": {"username": "acme-owner"},
        "lastSeenAt": None,
    }
    key = {"id": made["device"]["id"]}
    document = "mutation($id: ID!) { rotateDeviceSecret(input: {id: $id}) { credential { deviceId secret } } }"
    again = gql().data(document, **key)["rotateDeviceSecret"]["credential"]
    assert again["deviceId"] == made["deviceId"]
    assert again["secret"] != made["secret"]
    document = (
        'mutation($id: ID!) { updateDevice(input: {id: $id, name: "Hall", onlyTagged: true}) '
        "{ device { name onlyTagged tags } errors { code } } }"
    )
    assert gql().data(document, **key)["updateDevice"] == {
        "device": {"name": "Hall", "onlyTagged": True, "tags": ["lobby"]},
        "errors": [],
    }
    document = "mutation($id: ID!) { revokeDevice(input: {id: $id}) { device { isRevoked } } }"
    assert gql().data(document, **key)["revokeDevice"] == {"device": {"isRevoked": True}}
    document = "{ tenant { usage { devices maxDevices } } }"
    assert gql().data(document)["tenant"]["usage"] == {"devices": 1, "maxDevices": 5}


def test_refusals_are_in_the_payload(gql: Callable[..., Graph]) -> None:
    answer = gql().data(REGISTER, name=" ")["registerDevice"]
    assert answer == {
        "credential": None,
        "errors": [{"code": "INVALID", "field": ["name"], "message": "A name cannot be empty."}],
    }
    answer = gql("acme-viewer").data(REGISTER, name="x")["registerDevice"]
    assert [error["code"] for error in answer["errors"]] == ["FORBIDDEN"]


def test_devices_are_listed_filtered_and_sorted_in_one_statement(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    for name in ("beta", "Alpha"):
        register(gql, name)
    now = datetime.now(UTC)
    with acting_as(acme.owner):
        Device.objects.filter(name="beta").update(last_seen_at=now - timedelta(seconds=60))
        Device.objects.filter(name="Alpha").update(last_seen_at=now - timedelta(hours=1))

    def names(arguments: str) -> list[str]:
        data = gql().data(f"{{ devices({arguments}) {{ edges {{ node {{ name isOnline }} }} }} }}")
        return [edge["node"]["name"] for edge in data["devices"]["edges"]]

    with statements(1):
        assert names("order: {field: NAME}") == [f"{acme.marker} lobby", "Alpha", "beta"]
    assert names('filter: {tag: "lobby"}') == ["beta", "Alpha"]
    assert names("filter: {isOnline: true}") == ["beta"]
    assert names("filter: {isOnline: false}") == [f"{acme.marker} lobby", "Alpha"]
    assert names("filter: {isRevoked: true}") == []


def test_devices_are_for_those_who_may_see_them(gql: Callable[..., Graph]) -> None:
    answer = gql("acme-viewer")("{ devices { totalCount } }")
    assert answer["data"] == {"devices": None}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]


def test_a_device_sees_assets_and_is_nobody(gql: Callable[..., Graph]) -> None:
    made = register(gql)
    text = base64.b64encode(f"{made['deviceId']}:{made['secret']}".encode()).decode()
    graph = Graph(Client(headers={"Authorization": f"Basic {text}"}, HTTP_HOST=f"acme.{PLATFORM}"))
    assert graph.data("{ assets { totalCount } tenant { slug } }") == {
        "assets": {"totalCount": 3},
        "tenant": {"slug": "acme"},
    }
    for document in (
        "{ me { username } }",
        "{ devices { totalCount } }",
        "{ memberships { totalCount } }",
    ):
        answer = graph(document)
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    for document in (
        'mutation { createTenant(input: {name: "x", slug: "x"}) { errors { code } } }',
        'mutation { registerDevice(input: {name: "x"}) { errors { code } } }',
        'mutation { createAsset(input: {name: "x", uri: "https://x.example"}) { errors { code } } }',
    ):
        [payload] = graph.data(document).values()
        assert [error["code"] for error in payload["errors"]] == ["FORBIDDEN"]


def test_a_device_reports_what_it_showed_in_its_own_name(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    made = register(gql)
    graph = Graph(
        Client(headers={"Authorization": f"Bearer {made['secret']}"}, HTTP_HOST=f"acme.{PLATFORM}")
    )
    document = """mutation($at: DateTime!, $asset: String!) { recordPlayback(input: {key: "1",
      plays: [{assetId: $asset, count: 3, seconds: 30, at: $at}]}) {
      playback { recorded repeated } errors { code } } }"""
    values = {"at": datetime.now(UTC).isoformat(), "asset": acme.assets[1].asset_id}
    for repeated in (False, True):
        assert graph.data(document, **values)["recordPlayback"] == {
            "playback": {"recorded": 1, "repeated": repeated},
            "errors": [],
        }
    days = gql().data(
        "query($id: UUID!) { playbackDays(filter: {reporterId: $id}) "
        "{ edges { node { plays seconds reporter asset { assetId } } } } }",
        id=made["deviceId"],
    )
    assert [edge["node"] for edge in days["playbackDays"]["edges"]] == [
        {
            "plays": 3,
            "seconds": 30,
            "reporter": "DEVICE",
            "asset": {"assetId": acme.assets[1].asset_id},
        }
    ]
