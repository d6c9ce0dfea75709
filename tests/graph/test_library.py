"""The asset mutations: what they do, what they refuse, and that a refusal changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

import pytest
from strawberry.relay import to_base64

from tests.graph.conftest import add_assets, all_assets
from tests.jobs import queued

if TYPE_CHECKING:
    from collections.abc import Callable

    from assets.models import Asset
    from tests.conftest import Graph
    from tests.world import Inhabited, World

FAULTS = "errors { field code message }"
CREATE = f"""
mutation($input: CreateAssetInput!) {{
  createAsset(input: $input) {{
    asset {{
      id assetId name uri mimetype startDate endDate duration isEnabled nocache playOrder
      skipAssetCheck skipSslVerify playDays playTimeFrom playTimeTo refreshIntervalS customHeaders
      tags description metadata isActive createdAt updatedAt
      createdBy {{ username }} updatedBy {{ username }} tenant {{ slug }}
    }}
    {FAULTS}
  }}
}}
"""
UPDATE = f"""
mutation($input: UpdateAssetInput!) {{
  updateAsset(input: $input) {{
    asset {{ name startDate endDate playTimeFrom playTimeTo metadata updatedBy {{ username }} }}
    {FAULTS}
  }}
}}
"""
DELETE = (
    f"mutation($ids: [ID!]!) {{ deleteAssets(input: {{ids: $ids}}) {{ deletedIds {FAULTS} }} }}"
)
REORDER = (
    "mutation($ids: [ID!]!) { reorderAssets(input: {ids: $ids}) "
    f"{{ assets {{ id playOrder }} {FAULTS} }} }}"
)
NOBODYS = to_base64("Asset", "0199d7a2-6f0e-7c3a-8f1d-2b6c5a4e9d10")


def id_of(asset: Asset) -> str:
    return to_base64("Asset", asset.pk)


def faults(payload: dict[str, Any]) -> list[tuple[list[str] | None, str]]:
    return [(error["field"], error["code"]) for error in payload["errors"]]


# --- createAsset ----------------------------------------------------------------------------------


def test_an_asset_of_little_more_than_a_name(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    values = {"name": "  Lobby ", "uri": " https://example.com/lobby "}
    asset = gql("acme-manager").data(CREATE, input=values)["createAsset"]["asset"]
    assert len(asset.pop("assetId")) == 32
    assert asset.pop("id")
    assert asset["createdAt"] == asset.pop("updatedAt")
    assert asset.pop("createdAt").endswith("Z")
    assert asset == {
        "name": "Lobby",
        "uri": "https://example.com/lobby",
        "mimetype": "webpage",
        "startDate": None,
        "endDate": None,
        "duration": 10,
        "isEnabled": False,
        "nocache": False,
        "playOrder": 0,
        "skipAssetCheck": False,
        "skipSslVerify": False,
        "playDays": [1, 2, 3, 4, 5, 6, 7],
        "playTimeFrom": None,
        "playTimeTo": None,
        "refreshIntervalS": 0,
        "customHeaders": {},
        "tags": [],
        "description": "",
        "metadata": {},
        "isActive": False,
        "createdBy": {"username": "acme-manager"},
        "updatedBy": {"username": "acme-manager"},
        "tenant": {"slug": "acme"},
    }


def test_a_video_that_is_to_be_kept_waits_for_its_file(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    values = {"name": "Clip", "uri": "https://example.com/clip.mp4", "download": True}
    asset = gql().data(CREATE, input=values)["createAsset"]["asset"]
    assert asset["uri"] == f"/data/anthias_assets/{asset['assetId']}.mp4"
    assert (asset["mimetype"], asset["duration"]) == ("video", 0)
    assert asset["metadata"]["source_url"] == values["uri"]
    [(task, _)] = queued(acme.owner)
    assert task == "assets.download_remote"
    payload = gql().data(CREATE, input={**values, "uri": "rtsp://example.com/live"})["createAsset"]
    assert payload["asset"] is None
    assert faults(payload) == [(["uri"], "INVALID")]
    assert len(queued(acme.owner)) == 1


def test_an_asset_with_everything(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    values = {
        "name": "Night",
        "uri": "RTSP://camera.example:554/live",
        "mimetype": "streaming",
        "startDate": "2020-01-01T00:00:00+01:00",
        "endDate": "2040-01-01T00:00:00.5Z",
        "duration": 31_536_000,
        "isEnabled": True,
        "nocache": True,
        "playOrder": -7,
        "skipAssetCheck": True,
        "skipSslVerify": True,
        "playDays": [7, 1, 7],
        "playTimeFrom": "22:00",
        "playTimeTo": "06:00:00",
        "refreshIntervalS": 86_400,
        "customHeaders": {" X-Org ": "1", "Authorization": "Bearer x"},
        "tags": [" b ", "a", "b"],
        "description": "two\nlines",
    }
    asset = gql().data(CREATE, input=values)["createAsset"]["asset"]
    shown = {name: asset[name] for name in values}
    assert shown == {
        **values,
        "startDate": "2019-12-31T23:00:00Z",
        "endDate": "2040-01-01T00:00:00.500000Z",
        "playDays": [1, 7],
        "playTimeFrom": "22:00:00",
        "customHeaders": {"X-Org": "1", "Authorization": "Bearer x"},
        "tags": ["b", "a"],
    }
    assert asset["metadata"] == {
        "refresh_interval_s": 86_400,
        "headers": {"X-Org": "1", "Authorization": "Bearer x"},
    }


BAD_VALUES: list[tuple[dict[str, Any], list[list[str]]]] = [
    ({"name": ""}, [["name"]]),
    ({"name": " \t\n"}, [["name"]]),
    ({"uri": ""}, [["uri"]]),
    ({"uri": "/etc/passwd"}, [["uri"]]),
    ({"uri": "file:///etc/passwd"}, [["uri"]]),
    ({"uri": "javascript:alert(1)"}, [["uri"]]),
    ({"uri": "ftp://example.com/x"}, [["uri"]]),
    ({"uri": "http://"}, [["uri"]]),
    ({"uri": "http:///path"}, [["uri"]]),
    ({"uri": "http://exa mple.com"}, [["uri"]]),
    ({"uri": "http://[::1"}, [["uri"]]),
    ({"uri": "http://example.com:99999"}, [["uri"]]),
    ({"uri": "https://example.com/\r\nX: y"}, [["uri"]]),
    ({"uri": "example.com"}, [["uri"]]),
    ({"mimetype": " "}, [["mimetype"]]),
    ({"mimetype": None}, [["mimetype"]]),
    ({"duration": -1}, [["duration"]]),
    ({"duration": 31_536_001}, [["duration"]]),
    ({"duration": None}, [["duration"]]),
    ({"playDays": []}, [["playDays"]]),
    ({"playDays": [0]}, [["playDays"]]),
    ({"playDays": [1, 8]}, [["playDays"]]),
    ({"playTimeFrom": "10:00"}, [["playTimeTo"]]),
    ({"playTimeTo": "10:00"}, [["playTimeFrom"]]),
    ({"playTimeFrom": "10:00", "playTimeTo": None}, [["playTimeTo"]]),
    ({"refreshIntervalS": -1}, [["refreshIntervalS"]]),
    ({"refreshIntervalS": 86_401}, [["refreshIntervalS"]]),
    ({"customHeaders": []}, [["customHeaders"]]),
    ({"customHeaders": None}, [["customHeaders"]]),
    ({"customHeaders": {"": "x"}}, [["customHeaders"]]),
    ({"customHeaders": {"a b": "x"}}, [["customHeaders"]]),
    ({"customHeaders": {"x" * 257: "x"}}, [["customHeaders"]]),
    ({"customHeaders": {"X": 5}}, [["customHeaders"]]),
    ({"customHeaders": {"X": "a\nb"}}, [["customHeaders"]]),
    ({"customHeaders": {"X": "ä" * 2049}}, [["customHeaders"]]),
    ({"customHeaders": {f"X{number}": "" for number in range(21)}}, [["customHeaders"]]),
    ({"tags": ["x" * 101]}, [["tags"]]),
    ({"tags": [" "]}, [["tags"]]),
    ({"tags": [str(number) for number in range(101)]}, [["tags"]]),
    ({"description": "x" * 10_001}, [["description"]]),
    ({"isEnabled": None}, [["isEnabled"]]),
    (
        {"name": "", "uri": "x", "duration": -1, "playDays": [9], "playTimeTo": "10:00"},
        [["name"], ["uri"], ["duration"], ["playDays"], ["playTimeFrom"]],
    ),
]


@pytest.mark.parametrize(("values", "fields"), BAD_VALUES)
def test_values_that_cannot_be_are_refused_by_create_and_update_alike(
    acme: Inhabited,
    gql: Callable[..., Graph],
    values: dict[str, Any],
    fields: list[list[str]],
) -> None:
    before = all_assets(acme)
    made = gql().data(CREATE, input={"name": "n", "uri": "https://e.com", **values})["createAsset"]
    changes = {"id": id_of(acme.assets[0]), **values}
    changed = gql().data(UPDATE, input=changes)["updateAsset"]
    for payload in (made, changed):
        assert payload["asset"] is None
        assert sorted(faults(payload)) == sorted((field, "INVALID") for field in fields)
    assert all_assets(acme) == before


@pytest.mark.parametrize(
    "values",
    [
        {"startDate": "2023-02-30T00:00:00Z"},
        {"startDate": "0000-01-01T00:00:00Z"},
        {"endDate": "2023-01-01T00:00:00"},
        {"endDate": "soon"},
        {"duration": 1.5},
        {"duration": 2**53},
        {"duration": "10"},
        {"playOrder": 2**31},
        {"playTimeFrom": "25:00", "playTimeTo": "26:00"},
        {"playDays": ["monday"]},
        {"isEnabled": "yes"},
        {"id": "x"},
        {"assetId": "mine"},
    ],
)
def test_values_of_the_wrong_kind_never_reach_the_mutation(
    acme: Inhabited, gql: Callable[..., Graph], values: dict[str, Any]
) -> None:
    before = all_assets(acme)
    answer = gql()(CREATE, input={"name": "n", "uri": "https://e.com", **values})
    assert "data" not in answer
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"INVALID"}
    assert next(iter(values)) in answer["errors"][0]["message"]
    assert all_assets(acme) == before


def test_a_nul_in_a_document_is_a_fault_of_its_field(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    before = all_assets(acme)
    payload = gql().data(
        r'mutation { createAsset(input: {name: "\u0000", uri: "http://a\u0000b", '
        r'mimetype: "\u0000", description: "\u0000", tags: ["\u0000"], '
        rf'customHeaders: {{A: "\u0000"}}}}) {{ asset {{ id }} {FAULTS} }} }}'
    )["createAsset"]
    assert len(payload["errors"]) == 6
    assert all_assets(acme) == before


@pytest.mark.parametrize("length", [2_000, 10_000])
def test_names_have_no_limit(acme: Inhabited, gql: Callable[..., Graph], length: int) -> None:
    """They are in an index, whose entries have one."""
    import random

    del acme
    source = random.Random(length)  # noqa: S311 -- text that does not compress
    name = "".join(chr(source.randrange(0x4E00, 0x9FFF)) for _ in range(length))
    payload = gql().data(CREATE, input={"name": name, "uri": "https://e.com"})["createAsset"]
    assert payload["asset"]["name"] == name


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_may_not_is_refused_before_anything_is_looked_at(
    acme: Inhabited, gql: Callable[..., Graph], role: str
) -> None:
    before = all_assets(acme)
    graph = gql(f"acme-{role}")
    for document, variables, permission in (
        (CREATE, {"input": {"name": "", "uri": "x"}}, "assets.create"),
        (UPDATE, {"input": {"id": NOBODYS, "name": ""}}, "assets.edit"),
        (UPDATE, {"input": {"id": id_of(acme.assets[0]), "name": "x"}}, "assets.edit"),
        (DELETE, {"ids": [id_of(acme.assets[0])]}, "assets.delete"),
        (REORDER, {"ids": [id_of(acme.assets[0])]}, "assets.edit"),
    ):
        [payload] = graph.data(document, **variables).values()
        [error] = payload["errors"]
        assert (error["field"], error["code"]) == (None, "FORBIDDEN")
        assert permission in error["message"]
    assert all_assets(acme) == before


def test_who_creates_without_seeing_is_told_nothing_of_the_asset(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenancy import actors

    del acme
    monkeypatch.setattr(actors, "granted", lambda *_: frozenset({"assets.create"}))
    payload = gql().data(CREATE, input={"name": "n", "uri": "https://e.com"})["createAsset"]
    assert payload == {"asset": None, "errors": []}


# --- updateAsset ----------------------------------------------------------------------------------


def test_what_is_left_out_stays_and_null_takes_away(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    [asset] = add_assets(
        acme,
        1,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        end_date=datetime(2027, 1, 1, tzinfo=UTC),
        metadata={"fps": 5, "headers": {"A": "b"}},
    )
    graph = gql("acme-manager")
    changed = graph.data(UPDATE, input={"id": id_of(asset), "name": "New", "startDate": None})
    assert changed["updateAsset"]["asset"] == {
        "name": "New",
        "startDate": None,
        "endDate": "2027-01-01T00:00:00Z",
        "playTimeFrom": None,
        "playTimeTo": None,
        "metadata": {"fps": 5, "headers": {"A": "b"}},
        "updatedBy": {"username": "acme-manager"},
    }
    [after] = [row for row in all_assets(acme) if row["id"] == asset.pk]
    assert after["updated_at"] > asset.updated_at
    assert after["created_by_id"] == asset.created_by_id


def test_a_change_of_nothing_changes_nothing(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    before = all_assets(acme)
    payload = gql().data(UPDATE, input={"id": id_of(acme.assets[0])})["updateAsset"]
    assert payload["errors"] == []
    assert payload["asset"]["name"] == "ACME-MARK asset 0"
    assert all_assets(acme) == before


def test_a_change_to_what_is_there_already_changes_nothing(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    assets = add_assets(
        acme,
        2,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        play_time_from=time(8),
        play_time_to=time(9),
        metadata={"fps": 5, "headers": {"A": "b"}},
        tags=["a", "b"],
    )
    before = all_assets(acme)
    graph = gql("acme-manager")
    same = {
        "name": assets[0].name,
        "startDate": "2026-01-01T02:00:00+02:00",
        "playDays": [7, 6, 5, 4, 3, 2, 1],
        "playTimeFrom": "08:00",
        "customHeaders": {"A": "b"},
        "tags": ["a", "b"],
    }
    payload = graph.data(UPDATE, input={"id": id_of(assets[0]), **same})["updateAsset"]
    assert payload["errors"] == []
    order = [id_of(asset) for asset in assets]
    assert graph.data(REORDER, ids=order)["reorderAssets"]["errors"] == []
    assert all_assets(acme) == before


def test_one_half_of_a_window_joins_the_stored_one(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    [asset] = add_assets(acme, 1)
    graph, id_ = gql(), id_of(asset)

    def update(**values: Any) -> Any:
        payload = graph.data(UPDATE, input={"id": id_, **values})["updateAsset"]
        if payload["asset"] is None:
            return faults(payload)
        return payload["asset"]["playTimeFrom"], payload["asset"]["playTimeTo"]

    assert update(playTimeFrom="08:00") == [(["playTimeTo"], "INVALID")]
    assert update(playTimeFrom="08:00", playTimeTo="09:00") == ("08:00:00", "09:00:00")
    assert update(playTimeTo="10:00") == ("08:00:00", "10:00:00")
    assert update(playTimeFrom=None) == [(["playTimeFrom"], "INVALID")]
    assert update(playTimeFrom=None, playTimeTo=None) == (None, None)


def test_headers_and_interval_are_replaced_inside_metadata(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    [asset] = add_assets(acme, 1, metadata={"fps": 5, "headers": {"A": "b"}})
    values = {"id": id_of(asset), "customHeaders": {}, "refreshIntervalS": 0}
    payload = gql().data(UPDATE, input=values)["updateAsset"]
    assert payload["asset"]["metadata"] == {"fps": 5, "refresh_interval_s": 0}


@pytest.mark.parametrize(
    ("id_", "code"),
    [
        (NOBODYS, "NOT_FOUND"),
        (to_base64("Asset", 999), "NOT_FOUND"),
        (to_base64("Tenant", "0199d7a2-6f0e-7c3a-8f1d-2b6c5a4e9d10"), "NOT_FOUND"),
        ("garbage", "INVALID"),
        ("", "INVALID"),
    ],
)
def test_an_asset_there_is_none_of_cannot_be_changed(
    acme: Inhabited, gql: Callable[..., Graph], id_: str, code: str
) -> None:
    del acme
    payload = gql().data(UPDATE, input={"id": id_, "name": "x"})["updateAsset"]
    assert payload["asset"] is None
    assert faults(payload) == [(["id"], code)]


# --- deleteAssets ---------------------------------------------------------------------------------


def test_assets_are_removed_each_once(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    first, second, third = (id_of(asset) for asset in acme.assets)
    payload = gql("acme-manager").data(DELETE, ids=[third, first, third])["deleteAssets"]
    assert payload == {"deletedIds": [third, first], "errors": []}
    assert [to_base64("Asset", row["id"]) for row in all_assets(acme)] == [second]
    again = gql().data(DELETE, ids=[first])["deleteAssets"]
    assert again["deletedIds"] == []
    assert faults(again) == [(["ids", "0"], "NOT_FOUND")]
    assert gql().data(DELETE, ids=[])["deleteAssets"] == {"deletedIds": [], "errors": []}


def test_one_id_of_nothing_undoes_a_whole_bulk(world: World, gql: Callable[..., Graph]) -> None:
    acme, globex = world.acme, world.globex
    before = all_assets(acme), all_assets(globex)
    own, foreign = id_of(acme.assets[0]), id_of(globex.assets[0])
    for ids, expected in (
        ([own, foreign], [(["ids", "1"], "NOT_FOUND")]),
        ([own, NOBODYS], [(["ids", "1"], "NOT_FOUND")]),
        ([to_base64("Tenant", acme.tenant.pk), own], [(["ids", "0"], "NOT_FOUND")]),
        (["garbage", own, "!"], [(["ids", "0"], "INVALID"), (["ids", "2"], "INVALID")]),
    ):
        deleted = gql().data(DELETE, ids=ids)["deleteAssets"]
        ordered = gql().data(REORDER, ids=ids)["reorderAssets"]
        assert (deleted["deletedIds"], ordered["assets"]) == ([], [])
        assert faults(deleted) == faults(ordered) == expected
    assert (all_assets(acme), all_assets(globex)) == before


# --- reorderAssets --------------------------------------------------------------------------------


def test_listed_assets_get_their_places_and_others_keep_theirs(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    [unlisted] = add_assets(acme, 1, play_order=42)
    ids = [id_of(acme.assets[index]) for index in (2, 0, 1)]
    payload = gql("acme-manager").data(REORDER, ids=ids)["reorderAssets"]
    assert payload == {
        "assets": [{"id": id_, "playOrder": place} for place, id_ in enumerate(ids)],
        "errors": [],
    }
    rows = {row["id"]: row for row in all_assets(acme)}
    assert rows[unlisted.pk]["play_order"] == 42
    assert rows[unlisted.pk]["updated_by_id"] is None
    assert rows[acme.assets[0].pk]["updated_by_id"] == acme.manager.user_id
    assert gql().data(REORDER, ids=[])["reorderAssets"] == {"assets": [], "errors": []}


def test_an_asset_has_one_place(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    before = all_assets(acme)
    id_ = id_of(acme.assets[0])
    payload = gql().data(REORDER, ids=[id_, id_of(acme.assets[1]), id_])["reorderAssets"]
    assert faults(payload) == [(["ids"], "INVALID")]
    assert all_assets(acme) == before
