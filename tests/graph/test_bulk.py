"""The mutations of many assets: what they answer, what they refuse, and with which paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from strawberry.relay import to_base64

from tests.graph.conftest import add_assets, all_assets, statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from assets.models import Asset
    from tests.conftest import Graph
    from tests.world import Inhabited

FAULTS = "errors { field code message }"
TAG = f"""
mutation($input: TagAssetsInput!) {{
  tagAssets(input: $input) {{ assets {{ id tags updatedBy {{ username }} }} {FAULTS} }}
}}
"""
ENABLE = f"""
mutation($input: EnableAssetsInput!) {{
  enableAssets(input: $input) {{ assets {{ id isEnabled }} {FAULTS} }}
}}
"""
DISABLE = f"""
mutation($input: DisableAssetsInput!) {{
  disableAssets(input: $input) {{ assets {{ id isEnabled }} {FAULTS} }}
}}
"""
MUTATIONS = [("tagAssets", TAG), ("enableAssets", ENABLE), ("disableAssets", DISABLE)]


def id_of(asset: Asset) -> str:
    return to_base64("Asset", asset.pk)


def inputs(name: str, ids: list[str]) -> dict[str, Any]:
    return {"ids": ids, **({"add": ["new"]} if name == "tagAssets" else {})}


def test_assets_are_tagged(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    ids = [id_of(asset) for asset in acme.assets]
    payload = gql("acme-manager").data(
        TAG, input={"ids": [ids[1], ids[0], ids[1]], "add": ["lobby"], "remove": ["ACME-MARK"]}
    )["tagAssets"]
    assert payload == {
        "assets": [
            {"id": id_, "tags": ["lobby"], "updatedBy": {"username": "acme-manager"}}
            for id_ in (ids[1], ids[0])
        ],
        "errors": [],
    }
    found = gql().data('{ assets(filter: {tags: {all: ["lobby"]}}) { edges { node { id } } } }')
    assert [edge["node"]["id"] for edge in found["assets"]["edges"]] == [ids[0], ids[1]]


def test_assets_are_disabled_and_enabled(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    ids = [id_of(asset) for asset in acme.assets]
    off = gql().data(DISABLE, input={"ids": ids[:2]})["disableAssets"]
    assert off == {"assets": [{"id": id_, "isEnabled": False} for id_ in ids[:2]], "errors": []}
    on = gql().data(ENABLE, input={"ids": ids[1:]})["enableAssets"]
    assert on == {"assets": [{"id": id_, "isEnabled": True} for id_ in ids[1:]], "errors": []}
    assert [row["is_enabled"] for row in all_assets(acme)] == [False, True, True]


@pytest.mark.parametrize(("name", "document"), MUTATIONS)
def test_refusals_say_where_and_change_nothing(
    acme: Inhabited,
    globex: Inhabited,
    gql: Callable[..., Graph],
    name: str,
    document: str,
) -> None:
    own = id_of(acme.assets[0])
    before = all_assets(acme), all_assets(globex)
    for ids, expected in (
        ([own, id_of(globex.assets[0])], [(["ids", "1"], "NOT_FOUND")]),
        ([own, to_base64("Tenant", acme.tenant.pk)], [(["ids", "1"], "NOT_FOUND")]),
        (["x", own, "y"], [(["ids", "0"], "INVALID"), (["ids", "2"], "INVALID")]),
        ([own] * 501, [(["ids"], "INVALID")]),
    ):
        payload = gql().data(document, input=inputs(name, ids))[name]
        assert payload["assets"] == []
        assert [(e["field"], e["code"]) for e in payload["errors"]] == expected
    for role in ("viewer", "operator"):
        payload = gql(f"acme-{role}").data(document, input=inputs(name, ["x"]))[name]
        assert [e["code"] for e in payload["errors"]] in (["FORBIDDEN"], ["INVALID"])
        payload = gql(f"acme-{role}").data(document, input=inputs(name, [own]))[name]
        assert [(e["field"], e["code"]) for e in payload["errors"]] == [(None, "FORBIDDEN")]
    assert (all_assets(acme), all_assets(globex)) == before


def test_bad_tags_are_faults_of_their_lists(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    own = id_of(acme.assets[0])
    before = all_assets(acme)
    for tags, expected in (
        ({}, [["add"]]),
        ({"add": [""], "remove": ["x" * 101]}, [["add"], ["remove"]]),
        ({"add": ["a"], "remove": ["a"]}, [["remove"]]),
        ({"add": [str(number) for number in range(100)]}, [["ids", "0"]]),
    ):
        payload = gql().data(TAG, input={"ids": [own], **tags})["tagAssets"]
        assert [(e["field"], e["code"]) for e in payload["errors"]] == [
            (field, "INVALID") for field in expected
        ]
    assert all_assets(acme) == before


def test_five_hundred_assets_cost_the_statements_of_one(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    ids = [id_of(asset) for asset in add_assets(acme, 500)]
    for name, document in (MUTATIONS[0], MUTATIONS[2]):
        for some in (ids[:1], ids):
            # Locked and read, changed, written down, read back; with tags also who changed them.
            with statements(5 if name == "tagAssets" else 4):
                payload = gql().data(document, input=inputs(name, some))[name]
            assert [asset["id"] for asset in payload["assets"]] == some
