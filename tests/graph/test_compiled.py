"""Compiled reads answer as the ordinary executor does, to the byte, in one statement."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from strawberry.relay import to_base64

from assets.models import Asset, ProcessingStatus
from graph.asset_filters import AssetOrderField
from graph.enums import OrderDirection
from rls import acting_as
from tenancy.devices import register_device
from tenancy.tenants import update_settings
from tests.conftest import PLATFORM
from tests.graph.conftest import add_assets, statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Graph
    from tests.graph.roads import Roads
    from tests.world import Inhabited

# They ask on both roads by themselves.
pytestmark = pytest.mark.one_road
ASSET = """
  id assetId name uri md5 startDate endDate duration mimetype isEnabled isProcessing nocache
  playOrder skipAssetCheck skipSslVerify playDays playTimeFrom playTimeTo isReachable
  lastReachabilityCheck metadata refreshIntervalS customHeaders isActive createdAt updatedAt tags
  description fileSize processingStatus viewCount lastViewed isShared shareExpiresAt accessCount
  tenant { id uuid name slug url domain features subscriptionTier isActive createdAt }
  createdBy { id username firstName lastName email } updatedBy { username }
"""
MEMBERS = """{ memberships(order: {field: ROLE, direction: DESC}, filter: {role: [OWNER, VIEWER]}) {
  edges { cursor node { role } } } }"""
INFO = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
# The workloads of PERFORMANCE.md.
WORKLOADS = {
    "a": (
        "query($id: ID!) { asset(id: $id) { id name uri mimetype duration isEnabled playOrder "
        "startDate endDate createdAt updatedAt tags } }"
    ),
    "b": (
        "{ assets(first: 50, order: {field: PLAY_ORDER}) { edges { node { id name uri mimetype "
        "duration isEnabled playOrder startDate endDate createdAt updatedAt tags } } } }"
    ),
    "c": (
        "{ tenant { memberships(first: 10) { edges { node { role user { username } } } } "
        "assets(first: 20) { edges { node { name uri createdBy { username } } } } } }"
    ),
    "d": (
        "{ assets(first: 500, order: {field: PLAY_ORDER}) { edges { node { id assetId name uri "
        "md5 mimetype duration isEnabled isProcessing nocache playOrder skipAssetCheck startDate "
        "endDate createdAt updatedAt tags description fileSize viewCount } } } }"
    ),
}


def odd_assets(place: Inhabited) -> list[Asset]:
    """Add rows at the edges of every type to a tenant."""
    day = datetime(2026, 3, 1, tzinfo=UTC)
    texts = ["", "\x01\x02\x7f\t\n\r\b\f\\\"'/%s %% $1", "ünïcode 🎬 \u2028", "x" * 300]
    odd: list[dict[str, Any]] = [
        *({"name": text, "description": text, "tags": [text, "b"]} for text in texts[1:]),
        {"name": None, "uri": None, "mimetype": None, "duration": None, "tags": []},
        {"start_date": None, "end_date": None, "md5": texts[1], "is_enabled": False},
        {"start_date": day, "end_date": day + timedelta(microseconds=120)},
        {
            "start_date": datetime(1, 1, 1, tzinfo=UTC),
            "end_date": datetime(9999, 12, 31, tzinfo=UTC),
        },
        {"start_date": datetime(987, 6, 5, 4, 3, 2, 100, tzinfo=UTC)},
        {"play_time_from": time(22, 0), "play_time_to": time(6, 30, 0, 500)},
        {"play_time_from": time(0, 0), "play_time_to": time(23, 59, 59, 999999)},
        {"play_days": [6, 7], "play_order": -(2**31), "duration": 2**63 - 1},
        {"view_count": 2**53, "file_size": 2**40, "last_viewed": day, "play_order": 2**31 - 1},
        {"processing_status": ProcessingStatus.FAILED, "created_by_id": None},
        {"metadata": {"headers": {"X-Org": "1", "é\x01": "ü"}, "refresh_interval_s": 60}},
        {"metadata": {"a": 1.10, "b": 1e-7, "c": 10**30, "d": [None, True, "\x02"], "e": {}}},
        {"metadata": {"refresh_interval_s": 1e9, "headers": []}},
        {"updated_by_id": place.owner.user_id, "media_path": "t/x", "thumbnail_url": "y"},
    ]
    return [row for values in odd for row in add_assets(place, 1, **values)]


@pytest.fixture
def device(acme: Inhabited) -> Client:
    """A player of acme."""
    with acting_as(acme.owner):
        made = register_device(actor=acme.owner, values={"name": "lobby"})
    secret = made[1] if isinstance(made, tuple) else made.secret
    return Client(headers={"Authorization": f"Bearer {secret}"}, HTTP_HOST=f"acme.{PLATFORM}")


@pytest.fixture
def clients(
    acme: Inhabited, globex: Inhabited, client_of: Callable[..., Client], device: Client
) -> dict[str, Client]:
    """Whoever asks in these tests, with odd assets in both tenants."""
    odd_assets(acme)
    odd_assets(globex)
    return {
        "owner": client_of("acme-owner"),
        "viewer": client_of("acme-viewer"),
        "device": device,
        "other tenant": client_of("globex-owner"),
        "nowhere": client_of("acme-owner", host=PLATFORM),
    }


def key(asset: Asset) -> str:
    return to_base64("Asset", asset.pk)


FORBIDDEN = "FORBIDDEN: You need the permission users.view in this tenant."
EXPECTED = {
    FORBIDDEN,
    "INVALID: Give exactly one of id and assetId.",
    "INVALID: `first` is between 0 and 500.",
    "a value is none of its type",
    "a page of which nothing is read",
    "introspection",
    "refused: This is not a cursor of this list.",
    "refused: This is not an id; use what an `id` field gave.",
}
FRAGMENTS = """
query Q($skipped: Boolean = true, $with: Boolean!) {
  __typename
  list: assets(first: 3) { ...Page __typename edges { __typename node { ...Names } } }
  tenant { ... on Node { id __typename } ... on Tenant @include(if: $with) { name } slug @skip(if: $skipped) }
  again: assets(last: 2) { edges { node { ...Names ... on Node { id } } } }
}
fragment Page on AssetConnection { totalCount pageInfo { a: hasNextPage b: endCursor __typename } }
fragment Names on Asset { name title: name createdBy { ...Person } createdBy { lastName } tenant { name } }
fragment Person on User { username ...More }
fragment More on User { who: username email @include(if: $with) }
"""


@pytest.mark.parametrize("who", ["owner", "viewer", "device", "other tenant", "nowhere"])
def test_both_roads_give_the_same_bytes(
    clients: dict[str, Client],
    acme: Inhabited,
    roads: Roads,
    who: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = clients[who]
    ids = [
        key(acme.assets[0]),
        to_base64("Tenant", acme.tenant.pk),
        "Zm9v",
        "",
        to_base64("Asset", "x"),
    ]
    asked: list[tuple[str, Any]] = [
        ("{ assets(first: 100) { totalCount edges { cursor node { %s } } %s } }" % (ASSET, INFO), None),
        ("{ assets(last: 7) { edges { cursor node { name } } %s } }" % INFO, None),
        ("{ assets(first: 0) { edges { cursor } %s } }" % INFO, None),
        ("{ assets(first: 0) { edges { cursor } pageInfo { startCursor } } }", None),
        ("{ assets(last: 0) { edges { node { name } } } }", None),
        ("{ assets(first: 0) { edges { cursor } } }", None),
        ("{ assets { totalCount __typename } }", None),
        ("{ assets { __typename } }", None),
        ("{ assets { pageInfo { __typename } } }", None),
        ("{ assets { pageInfo { hasPreviousPage } } }", None),
        ('{ assets(after: "garbage") { totalCount } }', None),
        ('{ assets(first: 0, before: "garbage") { edges { cursor } } }', None),
        ("query($f: AssetFilter) { assets(filter: $f) { __typename } }", {"f": {"ids": ["garbage"]}}),
        ("query($f: AssetFilter) { assets(filter: $f) { totalCount } }", {"f": {"ids": ["garbage"]}}),
        ("{ assets { pageInfo { hasNextPage } } }", None),
        ("{ assets(first: 501) { totalCount } }", None),
        ("{ tenant { name memberships { totalCount edges { cursor node { id role permissions isActive "
         "joinedAt lastAccess tenant { name } user { id email } } } %s } settings { timezone require2fa "
         "updatedAt logoUrl } } }" % INFO, None),
        (MEMBERS, None),
        ("{ tenants { totalCount edges { cursor node { name url uuid settings { timezone } } } } }", None),
        ("{ tenants(order: {field: CREATED_AT}) { edges { cursor node { name url uuid } } } }", None),
        (FRAGMENTS, {"with": True}),
        (FRAGMENTS, {"with": False, "skipped": False}),
        *((WORKLOADS[name], {"id": ids[0]}) for name in WORKLOADS),
        *(("query($id: ID) { asset(id: $id) { %s } }" % ASSET, {"id": one}) for one in [*ids, None]),
        ("query($id: String) { asset(assetId: $id) { name } }", {"id": acme.assets[0].asset_id}),
        ("query($id: String) { asset(assetId: $id) { name } }", {"id": "only-globex"}),
        ("query($id: String) { asset(assetId: $id) { name } }", {"id": "none\x01"}),
        ("query($id: ID, $a: String) { asset(id: $id, assetId: $a) { name } }", {"id": ids[0], "a": None}),
        ("query($id: ID, $a: String) { asset(id: $id, assetId: $a) { name } }", {"id": ids[0], "a": "b"}),
        ("{ me { username } }", None),
        ("{ __schema { queryType { name } } }", None),
    ]  # fmt: skip
    left = {roads.reason(): one for one in asked if not roads.agree(client, *one)}
    assert set(left) - EXPECTED == set(), left
    assert (FORBIDDEN in left) is (who in {"viewer", "device"})
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize("direction", OrderDirection)
@pytest.mark.parametrize("field", AssetOrderField)
def test_both_roads_page_alike(
    clients: dict[str, Client], roads: Roads, field: AssetOrderField, direction: OrderDirection
) -> None:
    query = (
        """query($o: AssetOrder, $f: Int, $l: Int, $a: String, $b: String, $w: AssetFilter) {
      assets(order: $o, first: $f, last: $l, after: $a, before: $b, filter: $w) {
        edges { cursor node { name } } %s } }"""
        % INFO
    )
    client = clients["owner"]
    order = {"field": field.name, "direction": direction.name}
    _, body = roads.ask(client, query, {"o": order, "f": 100}, is_compiled=True)
    cursors = [edge["cursor"] for edge in json.loads(body)["data"]["assets"]["edges"]]
    first, middle, last = cursors[0], cursors[8], cursors[-1]
    windows: list[dict[str, Any]] = [
        {"f": 3, "a": first},
        {"f": 100, "a": middle},
        {"f": 3, "a": last},
        {"f": 3, "b": middle},
        {"f": 3, "b": first},
        {"l": 3, "b": middle},
        {"l": 100, "b": middle},
        {"l": 3, "a": middle},
        {"l": 2, "a": first, "b": last},
        {"f": 2, "a": first, "b": cursors[2]},
        {"f": 0, "a": middle, "b": last},
        {"l": 0, "a": last, "b": first},
        {"f": 4, "a": middle, "w": {"isEnabled": True}},
    ]
    for window in windows:
        assert roads.agree(client, query, {"o": order, **window}), roads.reason()
    assert not roads.agree(client, query, {"o": order, "a": "bm8="})


FILTERS: list[dict[str, Any]] = [
    {},
    {"isEnabled": None},
    {"isActive": True},
    {"isActive": False, "isEnabled": True},
    {"isShared": True},
    {"isShared": False, "isReachable": True, "isProcessing": False},
    {"ids": []},
    {"mimetype": ["webpage", "%"], "hasMedia": False},
    {"processingStatus": ["FAILED"]},
    {"startDate": {"from": "2020-01-01T00:00:00Z"}, "duration": {"min": 1, "max": 100}},
    {"createdAt": {"until": "2099-01-01T00:00:00+02:00"}, "viewCount": {"min": 0}},
    {"lastViewed": {"from": "2026-01-01T00:00:00Z"}, "fileSize": {"max": 2**50}},
]


@pytest.mark.parametrize("is_literal", [True, False])
def test_both_roads_filter_alike(
    clients: dict[str, Client], acme: Inhabited, roads: Roads, *, is_literal: bool
) -> None:
    with acting_as(acme.owner):
        update_settings(actor=acme.owner, changes={"timezone": "Pacific/Auckland"})
    page = "{ totalCount edges { node { name isActive } } %s }" % INFO
    for given in [
        *FILTERS,
        {"ids": [key(acme.assets[0]), "Zm9vOmJhcg=="]},
        {"assetIds": ["only-acme"]},
    ]:
        if is_literal:
            spelt = json.dumps(given)
            for name in ("isEnabled", "isActive", "isShared", "isReachable", "isProcessing", "ids",
                         "assetIds", "mimetype", "hasMedia",
                         "processingStatus", "startDate", "from", "until", "duration",
                         "min", "max", "createdAt", "viewCount", "lastViewed", "fileSize"):  # fmt: skip
                spelt = spelt.replace(f'"{name}":', f"{name}:")
            spelt = spelt.replace('"FAILED"', "FAILED")
            query, variables = "{ assets(filter: %s) %s }" % (spelt, page), None
        else:
            query = "query($f: AssetFilter) { assets(filter: $f, first: 4) %s }" % page
            variables = {"f": given}
        for _ in range(2):
            assert roads.agree(clients["owner"], query, variables), roads.reason()


SEARCHES: list[dict[str, Any]] = [
    {"search": {"contains": "xxx"}},
    {"search": {"prefix": "a"}, "isEnabled": True},
    {"search": {"prefix": "a %s", "contains": "%s_ %%%"}},
    {"search": {"prefix": "b", "in": ["TAGS"]}, "tags": {"any": ["b", "\x01"]}},
    {"search": {"prefix": "", "contains": ""}},
    {"search": {"prefix": "a", "in": []}},
    {"tags": {"any": ["b"]}},
    {"tags": {"any": []}},
    {"tags": {"all": ["b"], "any": ["ACME-MARK", "b"]}},
    {"tags": {"all": []}},
]


@pytest.mark.parametrize("who", ["owner", "device", "other tenant"])
def test_both_roads_search_alike(clients: dict[str, Client], roads: Roads, who: str) -> None:
    page = "{ totalCount edges { cursor node { name tags } } %s }" % INFO
    query = (
        "query($f: AssetFilter, $n: Int, $a: String) { assets(filter: $f, first: $n, after: $a, "
        "order: {field: NAME}) %s tenant { assets(filter: $f, last: 2) { edges { node { name } } } } }"
        % page
    )
    client = clients[who]
    for given in SEARCHES:
        assert roads.agree(client, query, {"f": given}), roads.reason()
        _, body = roads.ask(client, query, {"f": given, "n": 3}, is_compiled=True)
        after = json.loads(body)["data"]["assets"]["pageInfo"]["endCursor"]
        assert roads.agree(client, query, {"f": given, "n": 3, "a": after}), roads.reason()
    for literal in ('search: {prefix: "a"}', 'tags: {any: ["b"], all: ["b"]}', "isEnabled: true"):
        assert roads.agree(client, "{ assets(filter: {%s}) %s }" % (literal, page)), roads.reason()
    assert not roads.agree(client, query, {"f": {"search": {"contains": "x"}}})


def test_what_very_many_have_is_found_alike(
    clients: dict[str, Client], acme: Inhabited, roads: Roads
) -> None:
    """Of more than 5,000 no keys are given: then the list is walked, in the same statement."""
    add_assets(acme, 5_001, name="broad", tags=["broad"])
    add_assets(acme, 3, name="narrow broad", tags=["broad", "narrow"])
    query = "query($f: AssetFilter) { assets(filter: $f, last: 3) { totalCount edges { node { name } } %s } }"
    for given, expected in (
        ({"search": {"prefix": "broad"}}, 5_004),
        ({"tags": {"any": ["broad"]}}, 5_004),
        ({"search": {"prefix": "broad"}, "tags": {"any": ["narrow"]}}, 3),
        ({"search": {"prefix": "narrow"}, "tags": {"any": ["broad"]}}, 3),
    ):
        assert roads.agree(clients["owner"], query % INFO, {"f": given}), roads.reason()
        _, body = roads.ask(clients["owner"], query % INFO, {"f": given}, is_compiled=True)
        assert json.loads(body)["data"]["assets"]["totalCount"] == expected


@pytest.mark.parametrize("is_literal", [True, False])
def test_a_search_is_one_statement(
    acme: Inhabited, gql: Callable[..., Graph], *, is_literal: bool
) -> None:
    del acme
    graph = gql()
    if is_literal:
        query = '{ assets(filter: {search: {prefix: "acme"}, tags: {any: ["ACME-MARK"]}}) { totalCount } }'
        variables = {}
    else:
        query = "query($f: AssetFilter) { assets(filter: $f) { totalCount } }"
        variables = {"f": {"search": {"prefix": "acme"}, "tags": {"any": ["ACME-MARK"]}}}
    # The first one learns the time zone, in which a filter may judge what plays.
    graph.data(query, **variables)
    with statements(1):
        assert graph.data(query, **variables) == {"assets": {"totalCount": 3}}


def test_a_part_of_a_filter_can_be_a_variable(clients: dict[str, Client], roads: Roads) -> None:
    query = "query($x: Boolean, $s: String) { assets(filter: {isEnabled: $x, search: {prefix: $s}}) { totalCount } }"
    for variables in ({"x": True}, {"x": False}, {}, {"x": None, "s": None}):
        assert roads.agree(clients["owner"], query, variables), roads.reason()
    assert roads.agree(clients["owner"], query, {"s": "ass"}), roads.reason()


@pytest.mark.parametrize("who", ["owner", "viewer", "other tenant"])
def test_members_are_searched_alike(clients: dict[str, Client], roads: Roads, who: str) -> None:
    page = "{ totalCount edges { node { role user { username } } } %s }" % INFO
    query = "query($f: MembershipFilter, $n: Int) { memberships(filter: $f, last: $n) %s }" % page
    for given in ({"search": "OWNER"}, {"search": ""}, {"search": "%", "isActive": True},
                  {"search": "acme", "role": ["OWNER", "VIEWER"]}):  # fmt: skip
        for size in (None, 2):
            was_compiled = roads.agree(clients[who], query, {"f": given, "n": size})
            assert was_compiled is (who != "viewer"), roads.reason()
    assert not roads.agree(clients[who], query, {"f": {"search": "x" * 201}})
    literal = '{ memberships(filter: {search: "owner"}) %s }' % page
    assert roads.agree(clients[who], literal) is (who != "viewer")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_read_is_one_statement(acme: Inhabited, gql: Callable[..., Graph], workload: str) -> None:
    graph = gql()
    add_assets(acme, 60)
    variables = {"id": key(acme.assets[0])} if workload == "a" else {}
    graph.data(WORKLOADS[workload], **variables)
    with statements(1):
        graph.data(WORKLOADS[workload], **variables)


def test_what_plays_is_one_statement_once_the_time_zone_is_known(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    graph = gql()
    query = "{ assets(filter: {isActive: true}) { totalCount edges { node { isActive } } } }"
    for zone in ("Asia/Tokyo", "America/Lima"):
        with acting_as(acme.owner):
            update_settings(actor=acme.owner, changes={"timezone": zone})
        with CaptureQueriesContext(connection) as captured:
            graph.data(query)
        assert sum("concat(" in one["sql"] for one in captured.captured_queries) == 2
        with statements(1):
            graph.data(query)


def test_developers_are_told_the_road(
    acme: Inhabited, gql: Callable[..., Graph], settings: Any
) -> None:
    del acme
    settings.DEBUG = True
    assert gql()("{ tenant { name } }")["extensions"]["road"] == "compiled"
    told = gql()("{ tags { totalCount } }")["extensions"]["road"]
    assert told == "executor: Query.tags is made by a resolver"
    refused = gql()("{ assets(first: 501) { totalCount } }")
    assert refused["extensions"]["road"] == "executor: INVALID: `first` is between 0 and 500."
    assert [one["message"] for one in refused["errors"]] == ["`first` is between 0 and 500."]
    settings.COMPILED_READS = False
    told = gql()("{ tenant { name } }")["extensions"]["road"]
    assert told == "executor: switched off"
    settings.COMPILED_READS = True
    settings.DEBUG = False
    assert "road" not in gql()("{ tenant { name } }").get("extensions", {})
