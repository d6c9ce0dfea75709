"""Playback through the API: batches, refusals with their paths, proof of play and its plans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import connection
from strawberry.relay import to_base64

from assets.models import Asset, PlaybackDay, PlaybackReport, Reporter
from graph.connections import Ordering
from graph.enums import OrderDirection
from graph.playback import SORT_KEYS, PlaybackDayOrderField
from graph.scalars import print_instant
from rls import acting_as
from tests import databases
from tests.graph.conftest import statements
from tests.graph.crowd import Place
from tests.graph.plans import Explainer
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from tests.conftest import Graph
    from tests.world import Inhabited

RECORD = (
    "mutation($input: RecordPlaybackInput!) { recordPlayback(input: $input) "
    "{ playback { recorded skipped repeated } errors { field message code } } }"
)
DAYS = "edges { node { day reporter reporterId plays seconds lastPlayedAt asset { assetId } } }"
NOON = (datetime.now(UTC) - timedelta(days=2)).replace(hour=12, minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)


def at(moment: datetime = NOON) -> str:
    return print_instant(moment)


def id_of(asset: Asset) -> str:
    return to_base64("Asset", asset.pk)


def view_counts(place: Inhabited) -> list[int]:
    with acting_as(place.owner):
        return list(Asset.objects.in_play_order().values_list("view_count", flat=True))


def reports(place: Inhabited) -> int:
    with acting_as(place.owner):
        return PlaybackReport.objects.count()


# --- recordPlayback -------------------------------------------------------------------------------


def test_a_batch_is_counted_once_and_shows(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    first, _, third = acme.assets
    graph = gql("acme-manager")
    batch = {
        "key": "lobby-2026-01-01",
        "plays": [
            {"id": id_of(first), "count": 3, "seconds": 30, "at": at()},
            {"assetId": third.asset_id, "at": at()},
            {"id": to_base64("User", first.pk), "at": at()},
        ],
        "skipUnknown": True,
    }
    for repeated in (False, True):
        assert graph.data(RECORD, input=batch) == {
            "recordPlayback": {
                "playback": {"recorded": 2, "skipped": 1, "repeated": repeated},
                "errors": [],
            }
        }
    shown = graph.data(
        "query($id: ID!, $to: Date!) { asset(id: $id) { viewCount lastViewed "
        f"playbackDays(filter: {{to: $to}}) {{ totalCount {DAYS} }} }} }}",
        id=id_of(first),
        to=NOON.date().isoformat(),
    )["asset"]
    assert shown == {
        "viewCount": 3,
        "lastViewed": at(),
        "playbackDays": {
            "totalCount": 1,
            "edges": [
                {
                    "node": {
                        "day": NOON.date().isoformat(),
                        "reporter": "MEMBER",
                        "reporterId": str(acme.manager.user_id),
                        "plays": 3,
                        "seconds": 30,
                        "lastPlayedAt": at(),
                        "asset": {"assetId": first.asset_id},
                    }
                }
            ],
        },
    }
    assert view_counts(acme) == [3, 0, 1]


@pytest.mark.parametrize(
    ("plays", "expected"),
    [
        ([{}], [(["plays", "0", "id"], "INVALID")]),
        ([{"id": "OWN", "assetId": "x"}], [(["plays", "0", "id"], "INVALID")]),
        (
            [{"id": "OWN"}, {"id": "garbage"}, {"id": None, "assetId": None}],
            [(["plays", "1", "id"], "INVALID"), (["plays", "2", "id"], "INVALID")],
        ),
        (
            [{"id": "OWN", "count": 0}, {"id": "OWN", "seconds": -1, "at": at(NOON - 40 * DAY)}],
            [
                (["plays", "0", "count"], "INVALID"),
                (["plays", "1", "seconds"], "INVALID"),
                (["plays", "1", "at"], "INVALID"),
            ],
        ),
        ([], [(["plays"], "INVALID")]),
        (
            [{"id": "OWN"}, {"id": to_base64("Asset", uuid4())}],
            [(["plays", "1", "id"], "NOT_FOUND")],
        ),
        ([{"id": "OWN"}, {"assetId": "only-globex"}], [(["plays", "1", "assetId"], "NOT_FOUND")]),
    ],
)
def test_a_refused_batch_counts_nothing(
    acme: Inhabited,
    gql: Callable[..., Graph],
    plays: list[dict[str, Any]],
    expected: list[tuple[list[str], str]],
) -> None:
    own = id_of(acme.assets[0])
    filled = [
        {"at": at(), **play, **({"id": own} if play.get("id") == "OWN" else {})} for play in plays
    ]
    before = reports(acme)
    payload = gql().data(RECORD, input={"key": "k", "plays": filled})["recordPlayback"]
    assert payload["playback"] is None
    assert [(error["field"], error["code"]) for error in payload["errors"]] == expected
    assert view_counts(acme) == [0, 0, 0]
    assert reports(acme) == before


def test_a_key_is_for_one_batch(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    graph, own = gql(), id_of(acme.assets[0])
    first, payload = (
        graph.data(RECORD, input={"key": "k", "plays": [{"id": own, "seconds": n, "at": at()}]})[
            "recordPlayback"
        ]
        for n in (1, 2)
    )
    assert first["errors"] == []
    assert payload["playback"] is None
    assert [(error["field"], error["code"]) for error in payload["errors"]] == [
        (["key"], "CONFLICT")
    ]
    assert view_counts(acme) == [1, 0, 0]


@pytest.mark.parametrize("username", ["acme-operator", "acme-viewer"])
def test_who_may_not_report_is_refused(
    acme: Inhabited, gql: Callable[..., Graph], username: str
) -> None:
    plays = [{"id": id_of(acme.assets[0]), "at": at()}]
    payload = gql(username).data(RECORD, input={"plays": plays})["recordPlayback"]
    assert payload["playback"] is None
    [error] = payload["errors"]
    assert (error["field"], error["code"]) == (None, "FORBIDDEN")
    assert "assets.report" in error["message"]
    assert view_counts(acme) == [0, 0, 0]


# --- proof of play --------------------------------------------------------------------------------


def add_days(place: Inhabited, count: int) -> list[PlaybackDay]:
    """Add days of two devices, beside those of the world, for every asset."""
    with acting_as(place.owner):
        PlaybackDay.objects.all().delete()
        devices = [uuid4(), uuid4()]
        return PlaybackDay.objects.bulk_create(
            PlaybackDay(
                tenant=place.tenant,
                asset=place.assets[number % 3],
                day=(NOON - number // 6 * DAY).date(),
                reporter=Reporter.DEVICE,
                reporter_id=devices[number // 3 % 2],
                plays=number + 1,
                seconds=10 * number,
                last_played_at=NOON - number // 6 * DAY,
            )
            for number in range(count)
        )


def test_proof_of_play_under_every_filter_and_both_ways(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    made, graph = add_days(acme, 24), gql("acme-viewer")
    document = (
        "query($f: PlaybackDayFilter, $d: OrderDirection!, $after: String, $before: String, "
        "$first: Int, $last: Int) { playbackSummary(filter: $f) { plays seconds assets days } "
        "playbackDays(filter: $f, order: {field: DAY, direction: $d}, after: $after, "
        "before: $before, first: $first, last: $last) { totalCount pageInfo { endCursor "
        "startCursor hasNextPage hasPreviousPage } edges { node { id } } } }"
    )
    asset, reporter, day = acme.assets[1], made[0].reporter_id, (NOON - 2 * DAY).date()
    filters: list[tuple[dict[str, Any], Callable[[PlaybackDay], bool]]] = [
        ({}, lambda _: True),
        ({"asset": id_of(asset)}, lambda row: row.asset_id == asset.pk),
        ({"assetId": asset.asset_id}, lambda row: row.asset_id == asset.pk),
        ({"reporterId": str(reporter)}, lambda row: row.reporter_id == reporter),
        (
            {"asset": id_of(asset), "reporterId": str(reporter)},
            lambda row: row.asset_id == asset.pk and row.reporter_id == reporter,
        ),
        ({"from": day.isoformat()}, lambda row: row.day >= day),
        ({"to": day.isoformat()}, lambda row: row.day <= day),
        ({"from": day.isoformat(), "to": day.isoformat()}, lambda row: row.day == day),
        ({"reporterId": str(uuid4())}, lambda _: False),
        ({"assetId": "nobody's"}, lambda _: False),
        ({"asset": to_base64("User", asset.pk)}, lambda _: False),
    ]
    for (filter_, meets), direction in product(filters, ("ASC", "DESC")):
        rows = sorted(filter(meets, made), key=lambda row: (row.day, row.pk))
        expected = [to_base64("PlaybackDay", row.pk) for row in rows]
        if direction == "DESC":
            expected.reverse()
        data: dict[str, Any] = {}
        for size, there, end, goes_on in (
            ("first", "after", "endCursor", "hasNextPage"),
            ("last", "before", "startCursor", "hasPreviousPage"),
        ):
            found: list[str] = []
            more, cursor = True, None
            while more:
                data = graph.data(document, f=filter_, d=direction, **{size: 5, there: cursor})
                page, info = data["playbackDays"], data["playbackDays"]["pageInfo"]
                ids = [edge["node"]["id"] for edge in page["edges"]]
                found = found + ids if size == "first" else ids + found
                more, cursor = info[goes_on], info[end]
                assert page["totalCount"] == len(expected)
            assert found == expected, (filter_, direction, size)
        assert data["playbackSummary"] == {
            "plays": sum(row.plays for row in rows),
            "seconds": sum(row.seconds for row in rows),
            "assets": len({row.asset_id for row in rows}),
            "days": len({row.day for row in rows}),
        }


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ('filter: {asset: "QXNzZXQ6MQ==", assetId: "x"}', ["filter", "asset"]),
        ('filter: {asset: "garbage"}', ["filter", "asset"]),
        ('filter: {assetId: "\\u0000"}', ["filter", "assetId"]),
        ('after: "garbage"', ["after"]),
        ("first: 501", ["first"]),
    ],
)
def test_arguments_that_cannot_be_used_are_named(
    acme: Inhabited, gql: Callable[..., Graph], arguments: str, field: list[str]
) -> None:
    del acme
    answer = gql()(f"{{ playbackDays({arguments}) {{ edges {{ cursor }} }} }}")
    assert answer["data"] == {"playbackDays": None}
    [error] = answer["errors"]
    assert error["extensions"] == {"code": "INVALID", "field": field}


def test_a_cursor_holds_a_day_and_nothing_else(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    [row] = add_days(acme, 1)
    order = Ordering.of(SORT_KEYS, PlaybackDayOrderField.DAY, OrderDirection.ASC)
    own = order.cursor_of(row)
    assert order.load(order.dump(own), "after") == own
    for value in ("2026-W01-1", "20260101", None, 5, at()):
        text = order.dump(type(own)(value, row.pk))
        answer = gql()(
            "query($a: String) { playbackDays(after: $a) { totalCount edges { cursor } } }", a=text
        )
        assert answer["errors"][0]["extensions"] == {"code": "INVALID", "field": ["after"]}


@pytest.mark.usefixtures("executor")
def test_a_page_costs_one_statement_and_its_assets_one_more(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    made, graph = add_days(acme, 24), gql()
    with statements(1):
        graph.data("{ playbackDays { edges { node { day plays } } } }")
    # The page, the tenant's time zone, the assets and the people who made them.
    with statements(4):
        found = graph.data(
            "{ playbackDays { edges { node { id asset { name isActive refreshIntervalS "
            "createdBy { username } } } } } }"
        )
    nodes = {edge["node"]["id"]: edge["node"]["asset"] for edge in found["playbackDays"]["edges"]}
    assert len(nodes) == 24
    for row in made:
        assert nodes[to_base64("PlaybackDay", row.pk)] == {
            "name": row.asset.name,
            "isActive": False,
            "refreshIntervalS": 0,
            "createdBy": {"username": "acme-owner"},
        }
    ids = [to_base64("PlaybackDay", row.pk) for row in made]
    with statements(2):
        found = graph.data(
            "query($ids: [ID!]!) { nodes(ids: $ids) { ... on PlaybackDay { asset { name } } } }",
            ids=ids,
        )
    assert [one["asset"]["name"] for one in found["nodes"]] == [row.asset.name for row in made]


# --- at 100,000 rows ------------------------------------------------------------------------------

ROWS = 100_000
# 250 days of 20 assets on 20 players.
ASSETS = """
INSERT INTO assets (id, tenant_id, asset_id, is_enabled, is_processing, nocache, play_order,
  skip_asset_check, skip_ssl_verify, play_days, is_reachable, metadata, created_at, updated_at,
  tags, description, thumbnail_url, processing_status, view_count, media_path)
SELECT md5('asset ' || i)::uuid, get_tenant_context(), 'x' || i,
  true, false, false, 0, false, false, '{1}', true, '{}', now(), now(), '{}', '', '', 'completed',
  0, ''
FROM generate_series(0, 19) i
"""
CROWD = """
INSERT INTO playback_days (id, tenant_id, day, asset_id, reporter, reporter_id, plays, seconds,
  last_played_at)
SELECT gen_random_uuid(), get_tenant_context(), date '2026-01-01' + i / 400,
  md5('asset ' || i %% 20)::uuid, 'device',
  md5('device ' || i / 20 %% 20)::uuid, 1, 10, timestamptz '2026-01-01' + i / 400 * interval '1 day'
FROM generate_series(0, %s - 1) i
"""


def test_every_page_of_proof_of_play_walks_an_index(
    scratch_database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = create_world()
    with acting_as(world.acme.owner), connection.cursor() as cursor:
        cursor.execute(ASSETS)
        cursor.execute(CROWD, [ROWS])
    with databases.maintenance(scratch_database) as owner:
        owner.execute("ANALYZE")
    with acting_as(world.acme.owner):
        middle = PlaybackDay.objects.order_by("day", "id")[ROWS // 2]
    place = Place("acme", world.acme.owner, ROWS)
    explainer = Explainer(settings, monkeypatch)
    asset = f'asset: "{to_base64("Asset", middle.asset_id)}"'
    reporter = f'reporterId: "{middle.reporter_id}"'
    dates = 'from: "2026-02-01", to: "2026-08-01"'
    for given, direction in product(("", asset, reporter, f"{asset}, {reporter}"), OrderDirection):
        order = Ordering.of(SORT_KEYS, PlaybackDayOrderField.DAY, direction)
        cursor_text = order.dump(order.cursor_of(middle))
        for narrowed, window in product(
            (given, f"{given}, {dates}"),
            ("last: 50", f'first: 50, after: "{cursor_text}"'),
        ):
            document = (
                f"{{ playbackDays(filter: {{{narrowed}}}, order: {{field: DAY, direction: "
                f"{direction.name}}}, {window}) {{ edges {{ node {{ id plays }} }} }} }}"
            )
            assert len(place.graph.data(document)["playbackDays"]["edges"]) == 50, document
            explainer.check(place, document, 52, sorts=0)
    assert explainer.used == {
        "playback_days_by_day",
        "playback_days_by_asset",
        "playback_days_by_reporter",
        "playback_days_by_both",
    }

    document = f"{{ playbackSummary(filter: {{{asset}, {reporter}}}) {{ plays days assets }} }}"
    sums = {"plays": 250, "days": 250, "assets": 1}
    assert place.graph.data(document)["playbackSummary"] == sums
    assert explainer.check(place, document, 250) == 250
