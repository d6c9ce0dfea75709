"""Assets as they are read: every field, every filter, the playlist, and what a page costs."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from graphql import get_named_type, is_leaf_type
from strawberry.relay import to_base64

from assets.media_urls import Variant, is_signed_for
from assets.models import Asset
from graph.schema import schema
from rls import acting_as
from tenancy.tenants import update_settings
from tests.graph.conftest import YEAR, add_assets, statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Graph
    from tests.world import Inhabited

SCALARS = [
    name
    for name, field in schema._schema.type_map["Asset"].fields.items()  # type: ignore[attr-defined]
    if is_leaf_type(get_named_type(field.type))
]
EVERYTHING = f"{' '.join(SCALARS)} tenant {{ slug }} createdBy {{ username }} updatedBy {{ id }}"
LIST = (
    "query($filter: AssetFilter) { assets(filter: $filter) { totalCount edges { node { name } } } }"
)


def names(graph: Graph, **filter_: Any) -> list[str]:
    found = graph.data(LIST, filter=filter_)["assets"]
    assert found["totalCount"] == len(found["edges"])
    return [edge["node"]["name"] for edge in found["edges"]]


@pytest.fixture
def bare(acme: Inhabited) -> Inhabited:
    """acme without its assets."""
    with acting_as(acme.owner):
        Asset.objects.all().delete()
    return acme


# --- fields ---------------------------------------------------------------------------------------


def test_every_field_of_an_asset(bare: Inhabited, gql: Callable[..., Graph]) -> None:
    with acting_as(bare.owner):
        row = Asset.objects.create(
            tenant=bare.tenant,
            asset_id="default_a54f11c8d0eeec56d12db0f57f1c437c",
            name="日本語 🎉 “quotes” & <tags>",
            uri="/data/anthias_assets/x.png",
            md5="d41d8cd98f00b204e9800998ecf8427e",
            start_date=datetime(2033, 1, 1, 12, 30, 15, 500_000, UTC),
            end_date=datetime(2034, 1, 1, tzinfo=UTC),
            duration=9_999_999_999_999,
            mimetype="video",
            is_enabled=True,
            is_processing=True,
            nocache=True,
            play_order=-3,
            skip_asset_check=True,
            skip_ssl_verify=True,
            play_days=[6, 7],
            play_time_from=time(22),
            play_time_to=time(6, 0, 0, 1),
            is_reachable=False,
            last_reachability_check=datetime(2026, 8, 20, 9, 30, 1, 123_456, UTC),
            metadata={"headers": {"X-Org": "1"}, "refresh_interval_s": 60, "fps": 5.0},
            created_by_id=bare.manager.user_id,
            created_at=datetime(2025, 1, 2, tzinfo=UTC),
            updated_at=datetime(2025, 1, 3, tzinfo=UTC),
            tags=["migrated", "legacy"],
            description="text",
            file_size=2**40,
            thumbnail_url="/media/x/y/thumbnail",
            processing_status="failed",
            view_count=-5,
            last_viewed=datetime(2025, 1, 4, tzinfo=UTC),
            media_path="t/secret/path",
        )
    [edge] = gql().data(f"{{ assets {{ edges {{ node {{ {EVERYTHING} }} }} }} }}")["assets"][
        "edges"
    ]
    node = edge["node"]
    for name, variant in (("mediaUrl", "original"), ("thumbnailUrl", "thumbnail")):
        url = urlsplit(node.pop(name))
        assert url.scheme == "https"
        assert url.netloc == "acme.signage.test"
        assert url.path == f"/media/{bare.tenant.pk}/{row.pk}/{variant}"
        query = dict(parse_qsl(url.query, strict_parsing=True))
        assert is_signed_for(row, Variant(variant), **query)
        left = int(query["expires"]) - datetime.now(UTC).timestamp()
        assert 45 * 60 - 5 <= left <= 60 * 60
    assert node == {
        "id": to_base64("Asset", row.pk),
        "assetId": "default_a54f11c8d0eeec56d12db0f57f1c437c",
        "name": "日本語 🎉 “quotes” & <tags>",
        "uri": "/data/anthias_assets/x.png",
        "md5": "d41d8cd98f00b204e9800998ecf8427e",
        "startDate": "2033-01-01T12:30:15.500000Z",
        "endDate": "2034-01-01T00:00:00Z",
        "duration": 9_999_999_999_999,
        "mimetype": "video",
        "isEnabled": True,
        "isProcessing": True,
        "nocache": True,
        "playOrder": -3,
        "skipAssetCheck": True,
        "skipSslVerify": True,
        "playDays": [6, 7],
        "playTimeFrom": "22:00:00",
        "playTimeTo": "06:00:00.000001",
        "isReachable": False,
        "lastReachabilityCheck": "2026-08-20T09:30:01.123456Z",
        "metadata": {"headers": {"X-Org": "1"}, "refresh_interval_s": 60, "fps": 5.0},
        "refreshIntervalS": 60,
        "customHeaders": {"X-Org": "1"},
        "isActive": False,
        "nextChangeAt": "2033-01-01T22:00:00Z",
        "createdAt": "2025-01-02T00:00:00Z",
        "updatedAt": "2025-01-03T00:00:00Z",
        "tags": ["migrated", "legacy"],
        "description": "text",
        "fileSize": 2**40,
        "processingStatus": "FAILED",
        "viewCount": -5,
        "lastViewed": "2025-01-04T00:00:00Z",
        "isShared": False,
        "shareUrl": None,
        "shareExpiresAt": None,
        "accessCount": 0,
        "tenant": {"slug": "acme"},
        "createdBy": {"username": "acme-manager"},
        "updatedBy": None,
    }


def test_an_asset_of_which_nothing_is_known(bare: Inhabited, gql: Callable[..., Graph]) -> None:
    with acting_as(bare.owner):
        Asset.objects.create(tenant=bare.tenant, asset_id="short-id")
    asset = gql().data(f'{{ asset(assetId: "short-id") {{ {EVERYTHING} }} }}')["asset"]
    for name in ("id", "createdAt", "updatedAt"):
        asset.pop(name)
    nothing = dict.fromkeys(
        [
            "name",
            "uri",
            "md5",
            "startDate",
            "endDate",
            "duration",
            "mimetype",
            "playTimeFrom",
            "playTimeTo",
            "nextChangeAt",
            "lastReachabilityCheck",
            "fileSize",
            "lastViewed",
            "mediaUrl",
            "shareUrl",
            "shareExpiresAt",
            "createdBy",
            "updatedBy",
        ]
    )
    assert asset == {
        **nothing,
        "assetId": "short-id",
        "isEnabled": False,
        "isProcessing": False,
        "nocache": False,
        "playOrder": 0,
        "skipAssetCheck": False,
        "skipSslVerify": False,
        "playDays": [1, 2, 3, 4, 5, 6, 7],
        "isReachable": True,
        "metadata": {},
        "refreshIntervalS": 0,
        "customHeaders": {},
        "isActive": False,
        "tags": [],
        "description": "",
        "thumbnailUrl": "",
        "processingStatus": "COMPLETED",
        "viewCount": 0,
        "isShared": False,
        "accessCount": 0,
        "tenant": {"slug": "acme"},
    }


def test_addresses_of_files_cost_one_look_at_the_tenant(
    bare: Inhabited, gql: Callable[..., Graph]
) -> None:
    add_assets(bare, 20, media_path="t/x", thumbnail_url="/media/x")
    add_assets(bare, 20)
    with statements(2):
        edges = gql().data("{ assets { edges { node { mediaUrl thumbnailUrl } } } }")["assets"][
            "edges"
        ]
    nodes = [edge["node"] for edge in edges]
    assert len({node["mediaUrl"] for node in nodes[:20]}) == 20
    assert len({node["thumbnailUrl"] for node in nodes[:20]}) == 20
    assert nodes[20:] == [{"mediaUrl": None, "thumbnailUrl": ""}] * 20


@pytest.mark.parametrize(
    ("metadata", "interval", "headers"),
    [
        ({}, 0, {}),
        ({"refresh_interval_s": 86_400, "headers": {"Ok": "v"}}, 86_400, {"Ok": "v"}),
        ({"refresh_interval_s": "60", "headers": []}, 0, {}),
        ({"refresh_interval_s": None, "headers": None}, 0, {}),
        ({"refresh_interval_s": -1, "headers": "x"}, 0, {}),
        ({"refresh_interval_s": 1e30, "headers": 5}, 86_400, {}),
        ({"refresh_interval_s": 12.7, "headers": {}}, 12, {}),
        ({"refresh_interval_s": True}, 0, {}),
        ([], 0, {}),
        ("text", 0, {}),
    ],
)
def test_what_anthias_keeps_in_metadata_is_read_whatever_is_there(
    bare: Inhabited, gql: Callable[..., Graph], metadata: Any, interval: int, headers: Any
) -> None:
    add_assets(bare, 1, metadata=metadata)
    [edge] = gql().data("{ assets { edges { node { refreshIntervalS customHeaders } } } }")[
        "assets"
    ]["edges"]
    assert edge["node"] == {"refreshIntervalS": interval, "customHeaders": headers}


def test_what_plays_is_decided_in_the_tenants_time_zone(
    acme: Inhabited, library: Callable[..., list[Asset]], gql: Callable[..., Graph]
) -> None:
    """A window of the hour that it is in Kiritimati, 14 hours ahead of UTC."""
    from zoneinfo import ZoneInfo

    there = datetime.now(ZoneInfo("Pacific/Kiritimati"))
    window = {
        "play_time_from": (there - timedelta(minutes=30)).time(),
        "play_time_to": (there + timedelta(minutes=30)).time(),
    }
    library(1, name="now there", **window)
    for zone, active in (("UTC", False), ("Pacific/Kiritimati", True)):
        with acting_as(acme.owner):
            update_settings(actor=acme.owner, changes={"timezone": zone})
        data = gql().data(
            "{ playlist { assets { name isActive } } "
            "assets(order: {field: CREATED_AT, direction: DESC}, first: 1) "
            "{ edges { node { name isActive } } } }"
        )
        shown = {"name": "now there", "isActive": active}
        assert data["assets"]["edges"] == [{"node": shown}]
        assert data["playlist"]["assets"] == ([shown] if active else [])
        assert names(gql(), isActive=True) == (["now there"] if active else [])
        assert ("now there" in names(gql(), isActive=False)) is not active


# --- looking one up -------------------------------------------------------------------------------


def test_an_asset_by_either_id(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    asset = acme.assets[1]
    document = "query($id: ID, $assetId: String) { asset(id: $id, assetId: $assetId) { name } }"
    for arguments in ({"id": to_base64("Asset", asset.pk)}, {"assetId": asset.asset_id}):
        assert gql("acme-viewer").data(document, **arguments) == {"asset": {"name": asset.name}}


@pytest.mark.parametrize(
    "arguments",
    [
        {"assetId": "no such id"},
        {"assetId": ""},
        {"assetId": "x" * 10_000},
        {"id": to_base64("Asset", "0199d7a2-6f0e-7c3a-8f1d-2b6c5a4e9d10")},
        {"id": to_base64("Asset", "999999999")},
        {"id": to_base64("Asset", "")},
        {"id": to_base64("Asset", "0199D7A2-6F0E-7C3A-8F1D-2B6C5A4E9D10")},
        {"id": to_base64("Nothing", "0199d7a2-6f0e-7c3a-8f1d-2b6c5a4e9d10")},
    ],
)
def test_an_asset_there_is_none_of_is_null(
    gql: Callable[..., Graph], arguments: dict[str, str]
) -> None:
    document = "query($id: ID, $assetId: String) { asset(id: $id, assetId: $assetId) { name } }"
    assert gql().data(document, **arguments) == {"asset": None}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, ["id"]),
        ({"id": None, "assetId": None}, ["id"]),
        ({"id": to_base64("Asset", "1"), "assetId": "x"}, ["id"]),
        ({"id": "garbage"}, ["id"]),
        ({"id": ""}, ["id"]),
        ({"id": "Asset:1"}, ["id"]),
        ({"id": "QXNzZXQ6MQ"}, ["id"]),
        ({"id": "gICA"}, ["id"]),
        ({"id": "日本語"}, ["id"]),
    ],
)
def test_an_asset_that_cannot_be_asked_for_is_an_error(
    gql: Callable[..., Graph], arguments: dict[str, Any], field: list[str]
) -> None:
    document = "query($id: ID, $assetId: String) { asset(id: $id, assetId: $assetId) { name } }"
    answer = gql()(document, **arguments)
    assert answer["data"] == {"asset": None}
    [error] = answer["errors"]
    assert error["extensions"] == {"code": "INVALID", "field": field}


def test_a_nul_in_a_document_is_an_error_and_not_a_failure(gql: Callable[..., Graph]) -> None:
    for document, field in (
        (r'{ asset(assetId: "\u0000") { name } }', ["assetId"]),
        (r'{ assets(filter: {assetIds: ["\u0000"]}) { totalCount } }', ["filter", "assetIds"]),
        (r'{ assets(filter: {mimetype: ["\u0000"]}) { totalCount } }', ["filter", "mimetype"]),
        (
            r'{ assets(filter: {tags: {any: ["\u0000"]}}) { totalCount } }',
            ["filter", "tags", "any"],
        ),
        (
            r'{ assets(filter: {tags: {all: ["\u0000"]}}) { totalCount } }',
            ["filter", "tags", "all"],
        ),
    ):
        [error] = gql()(document)["errors"]
        assert error["extensions"] == {"code": "INVALID", "field": field}


# --- filters --------------------------------------------------------------------------------------

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def varied(bare: Inhabited) -> Inhabited:
    """acme with four assets that differ."""
    differing: dict[str, dict[str, Any]] = {
        "a": {"is_enabled": False, "mimetype": "image", "tags": ["x"], "start_date": None},
        "b": {"is_processing": True, "mimetype": "video", "tags": ["x", "y"], "end_date": None},
        "c": {"is_reachable": False, "processing_status": "failed", "start_date": DAY},
        "d": {"mimetype": None, "tags": ["z"], "processing_status": "pending", "end_date": DAY},
    }
    for name, values in differing.items():
        add_assets(bare, 1, name=name, asset_id=f"id-{name}", **values)
    return bare


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({}, "abcd"),
        ({"ids": None, "tags": None, "isActive": None, "startDate": None}, "abcd"),
        ({"assetIds": ["id-a", "id-d", "none"]}, "ad"),
        ({"assetIds": []}, ""),
        ({"ids": []}, ""),
        ({"isEnabled": True}, "bcd"),
        ({"isEnabled": False}, "a"),
        ({"isProcessing": True}, "b"),
        ({"isReachable": False}, "c"),
        ({"isActive": True}, "c"),
        ({"isActive": False}, "abd"),
        ({"mimetype": "image"}, "a"),
        ({"mimetype": ["image", "video"]}, "ab"),
        ({"mimetype": []}, ""),
        ({"processingStatus": "FAILED"}, "c"),
        ({"processingStatus": ["PENDING", "FAILED"]}, "cd"),
        ({"processingStatus": []}, ""),
        ({"tags": {}}, "abcd"),
        ({"tags": {"any": None, "all": None}}, "abcd"),
        ({"tags": {"any": ["x"]}}, "ab"),
        ({"tags": {"any": ["y", "z"]}}, "bd"),
        ({"tags": {"any": []}}, ""),
        ({"tags": {"all": ["x", "y"]}}, "b"),
        ({"tags": {"all": []}}, ""),
        ({"tags": {"any": ["x"], "all": ["y"]}}, "b"),
        ({"startDate": {}}, "bcd"),
        (
            {"startDate": {"from": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:00:00.000001Z"}},
            "c",
        ),
        ({"startDate": {"until": "2026-01-01T00:00:00Z"}}, "bd"),
        ({"endDate": {"from": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}}, "d"),
        ({"endDate": {"from": "2026-01-01T00:00:00.000001Z"}}, "ac"),
        ({"isEnabled": True, "tags": {"any": ["x"]}}, "b"),
        ({"isEnabled": True, "isActive": True, "assetIds": ["id-a"]}, ""),
    ],
)
def test_assets_under_a_filter(
    varied: Inhabited, gql: Callable[..., Graph], filter_: dict[str, Any], expected: str
) -> None:
    del varied
    # A start date a year ago in test time is before the DAY that the ranges are about.
    assert datetime.now(UTC) - YEAR < DAY < datetime.now(UTC)
    assert names(gql(), **filter_) == list(expected)


def test_assets_by_their_ids(varied: Inhabited, gql: Callable[..., Graph]) -> None:
    with acting_as(varied.owner):
        keys = dict(Asset.objects.values_list("name", "pk"))
    ids = [to_base64("Asset", keys[name]) for name in "ca"]
    strangers = [to_base64("Asset", 5), to_base64("Tenant", varied.tenant.pk)]
    assert names(gql(), ids=ids + strangers) == ["a", "c"]
    assert names(gql(), ids=strangers) == []
    [error] = gql()(LIST, filter={"ids": [*ids, "garbage"]})["errors"]
    assert error["extensions"] == {"code": "INVALID", "field": ["filter", "ids", "2"]}


@pytest.mark.usefixtures("executor")
def test_a_filter_holds_for_the_count_and_for_the_next_page(
    library: Callable[..., list[Asset]], gql: Callable[..., Graph]
) -> None:
    library(5, tags=["kept"])
    document = (
        'query($a: String) { assets(filter: {tags: {any: ["kept"]}}, first: 3, after: $a) '
        "{ totalCount pageInfo { hasNextPage endCursor } edges { node { name } } } }"
    )
    first = gql().data(document)["assets"]
    second = gql().data(document, a=first["pageInfo"]["endCursor"])["assets"]
    assert (first["totalCount"], len(first["edges"]), len(second["edges"])) == (5, 3, 2)
    assert second["pageInfo"]["hasNextPage"] is False


@pytest.mark.parametrize(
    "filter_",
    [
        {"startDate": {"from": "2023-02-30T00:00:00Z"}},
        {"startDate": {"from": "0000-01-01T00:00:00Z"}},
        {"endDate": {"until": "tomorrow"}},
        {"processingStatus": ["DONE"]},
        {"isActive": "yes"},
        {"nothing": 1},
    ],
)
def test_a_filter_that_cannot_be_is_refused(gql: Callable[..., Graph], filter_: Any) -> None:
    answer = gql()(LIST, filter=filter_)
    assert "data" not in answer
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["INVALID"]
    assert "filter" in answer["errors"][0]["message"]


# --- who may --------------------------------------------------------------------------------------


def test_without_assets_view_every_read_is_refused(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenancy import actors

    monkeypatch.setattr(actors, "granted", lambda *_: frozenset({"layouts.view"}))
    node = to_base64("Asset", acme.assets[0].pk)
    answer = gql("acme-viewer")(
        "query($id: ID!) { assets { totalCount } asset(id: $id) { name } playlist { now } "
        "node(id: $id) { id } tenant { slug assets { totalCount } } }",
        id=node,
    )
    assert answer["data"] == {
        "assets": None,
        "asset": None,
        "playlist": None,
        "node": None,
        "tenant": {"slug": "acme", "assets": None},
    }
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
    assert len(answer["errors"]) == 5


# --- the playlist ---------------------------------------------------------------------------------


def test_the_playlist_is_what_plays_in_play_order_with_a_deadline(
    bare: Inhabited, gql: Callable[..., Graph]
) -> None:
    at = datetime(2030, 6, 5, 12, tzinfo=UTC)  # a Wednesday
    lifetime = {"start_date": at - YEAR, "end_date": at + timedelta(days=3)}
    library: dict[str, dict[str, Any]] = {
        "second": {"play_order": 2, **lifetime},
        "first": {"play_order": 1, **lifetime},
        "also second": {"play_order": 2, **lifetime},
        "disabled": {"is_enabled": False, **lifetime},
        "later": {"start_date": at + timedelta(days=1), "end_date": at + YEAR},
        "over": {"start_date": at - YEAR, "end_date": at},
        "never": {"start_date": None},
    }
    for name, values in library.items():
        add_assets(bare, 1, name=name, **values)
    document = "query($at: DateTime) { playlist(at: $at) { now deadline assets { name } } }"
    assert gql("acme-viewer").data(document, at="2030-06-05T14:00:00+02:00")["playlist"] == {
        "now": "2030-06-05T12:00:00Z",
        "deadline": "2030-06-06T12:00:00Z",
        "assets": [{"name": name} for name in ("first", "second", "also second")],
    }
    add_assets(bare, 1, name="thursdays", play_days=[4], **lifetime)
    playlist = gql().data(document, at="2030-06-05T12:00:00Z")["playlist"]
    assert playlist["deadline"] == "2030-06-05T12:01:00Z"
    assert len(playlist["assets"]) == 3
    assert gql().data(document, at="2040-06-05T12:00:00Z")["playlist"] == {
        "now": "2040-06-05T12:00:00Z",
        "deadline": None,
        "assets": [],
    }


def test_an_end_before_the_start_still_counts_for_the_deadline(
    bare: Inhabited, gql: Callable[..., Graph]
) -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    add_assets(bare, 1, start_date=at + timedelta(days=2), end_date=at - timedelta(days=2))
    playlist = gql().data('{ playlist(at: "2030-01-01T00:00:00Z") { deadline } }')["playlist"]
    assert playlist == {"deadline": "2030-01-03T00:00:00Z"}


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_playlist_at_the_end_of_time_is_an_error(
    acme: Inhabited, gql: Callable[..., Graph], at: str
) -> None:
    zone = "Pacific/Honolulu" if at.startswith("0001") else "Pacific/Kiritimati"
    add_assets(
        acme,
        1,
        start_date=datetime(1, 1, 1, tzinfo=UTC),
        end_date=datetime.max.replace(tzinfo=UTC),
    )
    with acting_as(acme.owner):
        update_settings(actor=acme.owner, changes={"timezone": zone})
    answer = gql()("query($at: DateTime) { playlist(at: $at) { now } }", at=at)
    assert answer["data"] == {"playlist": None}
    assert answer["errors"][0]["extensions"] == {"code": "INVALID", "field": ["at"]}


# --- what it costs --------------------------------------------------------------------------------


def test_a_page_with_tenant_and_creators_costs_the_same_for_five_and_for_fifty(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    document = f"{{ assets {{ totalCount edges {{ node {{ {EVERYTHING} }} }} }} }}"
    graph = gql()
    for count in (2, 45):
        added = add_assets(acme, count, updated_by_id=acme.viewer.user_id)
        # the settings for the time zone, the page, the tenant, the people, the links, the count
        with statements(6):
            graph.data(document)
        assert len(added) == count
    found = graph.data(document)["assets"]
    assert found["totalCount"] == len(found["edges"]) == 50
    creators = {edge["node"]["createdBy"]["username"] for edge in found["edges"]}
    assert len(creators) == 5


@pytest.mark.usefixtures("executor")
def test_the_third_page_costs_what_the_first_does(
    library: Callable[..., list[Asset]], gql: Callable[..., Graph]
) -> None:
    library(20)
    document = (
        "query($a: String) { assets(first: 5, after: $a) { pageInfo { hasNextPage hasPreviousPage "
        "endCursor } edges { node { name tenant { name } createdBy { username } } } } }"
    )
    graph, after = gql(), None
    for _ in range(4):
        with statements(3):  # the page, the tenant, the people
            found = graph.data(document, a=after)["assets"]
        after = found["pageInfo"]["endCursor"]


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize("name", SCALARS)
def test_a_field_alone_is_one_statement_for_a_page(
    acme: Inhabited, gql: Callable[..., Graph], name: str
) -> None:
    """A column that was not declared would be read row by row."""
    del acme
    more = {"isActive": 1, "nextChangeAt": 1}  # the time zone
    more |= {"shareUrl": 2}  # the links of the page, the tenant
    with statements(1 + more.get(name, 0)):
        edges = gql().data(f"{{ assets {{ edges {{ node {{ {name} }} }} }} }}")["assets"]["edges"]
    assert len(edges) == 3


@pytest.mark.usefixtures("executor")
def test_only_what_is_selected_is_read(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from tests.graph.conftest import sent_inside

    del acme
    with CaptureQueriesContext(connection) as captured:
        gql().data(
            "query($no: Boolean = false) { assets { ...Page } } "
            "fragment Page on AssetConnection { edges { node { ...Some ... on Node { id } "
            "metadata @include(if: $no) tags @skip(if: true) uri @skip(if: $no) } } } "
            "fragment Some on Asset { alias: name ... on Asset { playOrder @include(if: true) } }"
        )
    [sent] = sent_inside(captured)
    columns = sent.partition(" FROM ")[0]
    assert columns == (
        'SELECT "assets"."id", "assets"."name", "assets"."uri", "assets"."play_order", '
        '"assets"."created_at"'  # what the cursors are made from
    )
