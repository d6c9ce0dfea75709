"""Sharing through GraphQL: what assets tell of their links, and the three mutations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from strawberry.relay import to_base64

from assets.models import ShareLink
from graph.scalars import print_instant
from rls import acting_as
from tests.conftest import PLATFORM
from tests.graph.conftest import add_assets, statements
from tests.shares import change, link_of, share, visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from assets.models import Asset
    from tests.conftest import Graph
    from tests.world import Inhabited

FLAT = "isShared shareUrl shareExpiresAt accessCount"
LINK = (
    "url isOpen expiresAt maxViews accessCount lastAccessedAt hasPassword "
    "createdAt createdBy { username }"
)
FAULTS = "errors { field message code }"
SHARE = f"""mutation($input: ShareAssetInput!) {{ shareAsset(input: $input) {{
  asset {{ {FLAT} share {{ {LINK} }} }} {FAULTS} }} }}"""
UPDATE = SHARE.replace("ShareAssetInput", "UpdateShareInput").replace("shareAsset", "updateShare")
REVOKE = f"""mutation($id: ID!) {{ revokeShare(input: {{id: $id}}) {{
  asset {{ {FLAT} share {{ url }} }} {FAULTS} }} }}"""
ASSET = f"query($id: ID!) {{ asset(id: $id) {{ {FLAT} share {{ {LINK} }} }} }}"


@pytest.fixture
def asset(acme: Inhabited) -> Asset:
    """An asset that nobody has shared."""
    return acme.assets[1]


def id_of(asset: Asset) -> str:
    return to_base64("Asset", asset.pk)


def links(place: Inhabited) -> list[dict[str, Any]]:
    with acting_as(place.owner):
        return [dict(row) for row in ShareLink.objects.order_by("pk").values()]


def test_an_asset_tells_of_its_link(
    asset: Asset, acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    nothing = {
        "isShared": False,
        "shareUrl": None,
        "shareExpiresAt": None,
        "accessCount": 0,
        "share": None,
    }
    assert gql().data(ASSET, id=id_of(asset)) == {"asset": nothing}
    _, path = share(acme, asset, max_views=3, password="correct horse")
    link = link_of(acme, asset)
    url = f"https://acme.{PLATFORM}{path}"
    shown = gql("acme-manager").data(ASSET, id=id_of(asset))["asset"]
    assert shown == {
        "isShared": True,
        "shareUrl": url,
        "shareExpiresAt": print_instant(link.expires_at),
        "accessCount": 0,
        "share": {
            "url": url,
            "isOpen": True,
            "expiresAt": print_instant(link.expires_at),
            "maxViews": 3,
            "accessCount": 0,
            "lastAccessedAt": None,
            "hasPassword": True,
            "createdAt": print_instant(link.created_at),
            "createdBy": {"username": "acme-owner"},
        },
    }


def test_a_view_is_counted_where_it_is_told(
    asset: Asset, acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    _, path = share(acme, asset, max_views=1)
    assert visit(path).status_code == 302
    shown = gql().data(ASSET, id=id_of(asset))["asset"]
    assert (shown["isShared"], shown["accessCount"]) == (False, 1)
    assert (shown["share"]["isOpen"], shown["share"]["accessCount"]) == (False, 1)
    assert shown["share"]["lastAccessedAt"] is not None
    change(acme, asset, max_views=None, expires_at=datetime.now(UTC) - timedelta(hours=1))
    shown = gql().data(ASSET, id=id_of(asset))["asset"]
    assert (shown["isShared"], shown["share"]["isOpen"]) == (False, False)
    assert shown["shareExpiresAt"] == shown["share"]["expiresAt"]


def test_who_may_not_share_sees_that_it_is_shared_and_not_where(
    asset: Asset, acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    _, path = share(acme, asset)
    answer = gql("acme-viewer").post(ASSET, {"id": id_of(asset)})
    assert path.rsplit("/", 1)[1] not in answer.content.decode()
    shown = answer.json()
    assert shown["data"]["asset"]["isShared"] is True
    assert shown["data"]["asset"]["accessCount"] == 0
    assert (shown["data"]["asset"]["shareUrl"], shown["data"]["asset"]["share"]) == (None, None)
    assert {(e["path"][-1], e["extensions"]["code"]) for e in shown["errors"]} == {
        ("shareUrl", "FORBIDDEN"),
        ("share", "FORBIDDEN"),
    }


def test_a_list_costs_no_more_for_many_links_than_for_one(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    graph = gql()
    for asset in add_assets(acme, 20):
        share(acme, asset)
    page = "{ assets(first: 50) { edges { node { %s } } } }"
    with statements(1):
        graph.data(page % "name isShared shareExpiresAt accessCount")
    with statements(3):  # the page, its links, the tenant
        graph.data(page % FLAT)
    with statements(4):  # and the people
        shown = graph.data(page % f"{FLAT} share {{ {LINK} }} createdBy {{ username }}")
    nodes = [edge["node"] for edge in shown["assets"]["edges"]]
    assert sum(node["isShared"] for node in nodes) == 21
    for is_shared, count in (("true", 21), ("false", len(nodes) - 21)):
        with statements(1):
            found = graph.data(f"{{ assets(filter: {{isShared: {is_shared}}}) {{ totalCount }} }}")
        assert found["assets"]["totalCount"] == count
    # The world's own link was not made by a key of ours: its address cannot be told.
    assert sum(node["shareUrl"] is not None for node in nodes) == 20


def test_sharing_gives_the_address_that_opens_it(
    asset: Asset, acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    before = datetime.now(UTC)
    made = gql("acme-manager").data(SHARE, input={"id": id_of(asset)})["shareAsset"]
    assert made["errors"] == []
    shown = made["asset"]
    link = shown.pop("share")
    assert shown == {
        "isShared": True,
        "shareUrl": link["url"],
        "shareExpiresAt": link["expiresAt"],
        "accessCount": 0,
    }
    assert link["createdBy"] == {"username": "acme-manager"}
    assert (link["maxViews"], link["hasPassword"]) == (None, False)
    assert timedelta(days=30) <= link_of(acme, asset).expires_at - before < timedelta(days=31)
    assert visit(urlsplit(link["url"]).path).status_code == 302


def test_a_change_and_the_end(asset: Asset, gql: Callable[..., Graph]) -> None:
    graph, id_ = gql(), id_of(asset)
    end = print_instant(datetime.now(UTC).replace(microsecond=0) + timedelta(days=9))
    values = {"expiresAt": end, "maxViews": 2, "password": "correct horse"}
    made = graph.data(SHARE, input={"id": id_, **values})["shareAsset"]["asset"]["share"]
    assert (made["expiresAt"], made["maxViews"], made["hasPassword"]) == (end, 2, True)
    changed = graph.data(UPDATE, input={"id": id_, "maxViews": None, "password": None})
    share = changed["updateShare"]["asset"]["share"]
    assert (share["maxViews"], share["hasPassword"]) == (None, False)
    assert (share["url"], share["expiresAt"]) == (made["url"], end)
    assert visit(urlsplit(share["url"]).path).status_code == 302
    revoked = graph.data(REVOKE, id=id_)["revokeShare"]
    nothing = {"isShared": False, "shareUrl": None, "shareExpiresAt": None, "accessCount": 0}
    assert revoked == {"asset": {**nothing, "share": None}, "errors": []}
    assert graph.data(REVOKE, id=id_)["revokeShare"] == revoked
    assert visit(urlsplit(share["url"]).path).status_code == 404


def test_mutations_of_one_request_each_tell_what_they_did(
    asset: Asset, gql: Callable[..., Graph]
) -> None:
    document = f"""mutation($id: ID!) {{
      a: shareAsset(input: {{id: $id}}) {{ asset {{ share {{ url }} }} }}
      b: shareAsset(input: {{id: $id, maxViews: 7}}) {{ asset {{ share {{ url maxViews }} }} }}
      c: updateShare(input: {{id: $id, maxViews: 8}}) {{ asset {{ share {{ url maxViews }} }} }}
      d: revokeShare(input: {{id: $id}}) {{ asset {{ isShared share {{ url }} }} }}
      e: updateShare(input: {{id: $id, maxViews: 9}}) {{ asset {{ id }} {FAULTS} }}
    }}"""
    done = gql().data(document, id=id_of(asset))
    first, second, third = (done[name]["asset"]["share"] for name in "abc")
    assert first["url"] != second["url"] == third["url"]
    assert (second["maxViews"], third["maxViews"]) == (7, 8)
    assert done["d"]["asset"] == {"isShared": False, "share": None}
    assert done["e"] == {
        "asset": None,
        "errors": [
            {
                "field": ["id"],
                "message": "This asset is not shared, or no longer: share it first.",
                "code": "CONFLICT",
            }
        ],
    }


@pytest.mark.parametrize("username", ["acme-operator", "acme-viewer"])
def test_without_the_permission_nothing_is_shared(
    asset: Asset, acme: Inhabited, gql: Callable[..., Graph], username: str
) -> None:
    share(acme, asset)
    before = links(acme)
    graph = gql(username)
    for document, variables in (
        (SHARE, {"input": {"id": id_of(asset)}}),
        (UPDATE, {"input": {"id": id_of(asset), "maxViews": 1}}),
        (REVOKE, {"id": id_of(asset)}),
    ):
        [payload] = graph.data(document, **variables).values()
        assert payload["asset"] is None
        assert [error["code"] for error in payload["errors"]] == ["FORBIDDEN"]
    assert links(acme) == before


def test_every_bad_value_is_named(asset: Asset, acme: Inhabited, gql: Callable[..., Graph]) -> None:
    share(acme, asset)
    before = links(acme)
    bad = {
        "id": id_of(asset),
        "expiresAt": print_instant(datetime.now(UTC) + timedelta(days=400)),
        "maxViews": 0,
        "password": "short",
    }
    for document in (SHARE, UPDATE):
        [payload] = gql().data(document, input=bad).values()
        assert payload["asset"] is None
        assert payload["errors"] == [
            {
                "field": ["expiresAt"],
                "message": "A link ends between one minute and one year from now.",
                "code": "INVALID",
            },
            {
                "field": ["maxViews"],
                "message": "A limit is between 1 and 1000000 views; null is for no limit.",
                "code": "INVALID",
            },
            {
                "field": ["password"],
                "message": "A password has 8 to 128 characters; null is for none.",
                "code": "INVALID",
            },
        ]
    assert links(acme) == before


def test_another_secret_key_tells_no_address(
    asset: Asset, acme: Inhabited, gql: Callable[..., Graph], settings: Settings
) -> None:
    share(acme, asset)
    settings.SECRET_KEY = "another key"
    shown = gql().data(ASSET, id=id_of(asset))["asset"]
    assert (shown["isShared"], shown["shareUrl"], shown["share"]["url"]) == (True, None, None)
