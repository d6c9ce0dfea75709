"""Keyset paging: every order, both directions, missing values and ties, against a plain sort."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.models import Asset, new_asset_id
from graph.asset_filters import SORT_KEYS, AssetOrderField
from graph.connections import Ordering
from graph.enums import OrderDirection
from rls import acting_as
from tests.graph.conftest import statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Graph
    from tests.world import Inhabited, World

NEVER = datetime.max.replace(tzinfo=UTC)
PAGE = """
query($order: AssetOrder, $first: Int, $after: String, $last: Int, $before: String) {
  assets(order: $order, first: $first, after: $after, last: $last, before: $before) {
    totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    edges { cursor node { assetId } }
  }
}
"""
# What the order is, said once more in Python.
SORTED_BY: dict[AssetOrderField, Callable[[Asset], Any]] = {
    AssetOrderField.CREATED_AT: lambda a: (a.created_at, a.pk),
    AssetOrderField.PLAY_ORDER: lambda a: (a.play_order, a.pk),
    AssetOrderField.NAME: lambda a: ((a.name or "").lower()[:200], a.pk),
    AssetOrderField.UPDATED_AT: lambda a: (a.updated_at, a.pk),
    AssetOrderField.START_DATE: lambda a: (a.start_date is None, a.start_date or NEVER, a.pk),
    AssetOrderField.END_DATE: lambda a: (a.end_date is None, a.end_date or NEVER, a.pk),
    AssetOrderField.MIMETYPE: lambda a: (
        a.mimetype is None,
        (a.mimetype or "").lower()[:200],
        a.pk,
    ),
    AssetOrderField.DURATION: lambda a: (MOST if a.duration is None else a.duration, a.pk),
    AssetOrderField.FILE_SIZE: lambda a: (MOST if a.file_size is None else a.file_size, a.pk),
    AssetOrderField.VIEW_COUNT: lambda a: (a.view_count, a.pk),
    AssetOrderField.LAST_VIEWED: lambda a: (a.last_viewed is None, a.last_viewed or NEVER, a.pk),
}
ORDERS = [(field, direction) for field in AssetOrderField for direction in OrderDirection]
DAY = datetime(2026, 1, 1, tzinfo=UTC)
# A missing number is the largest, and like what an old database had of that size.
MOST = 2**63 - 1
numbers = st.none() | st.sampled_from([-MOST - 1, -1, 0, 0, 2**31, 2**53, MOST])
# Sizes are added up, and no plan holds what does not fit a sum.
sizes = st.none() | st.sampled_from([0, 0, 1, 2**31, 2**53])
dates = st.none() | st.integers(0, 3).map(
    lambda days: DAY + timedelta(days=days, microseconds=days)
)
rows = st.fixed_dictionaries(
    {
        "name": st.none() | st.text("aAbB\t \\'\"%_", max_size=3) | st.just("x" * 300),
        "play_order": st.sampled_from([-(2**31), -1, 0, 0, 1, 2**31 - 1]),
        "updated_at": st.integers(0, 2).map(lambda days: DAY + timedelta(days=days)),
        "start_date": dates,
        "end_date": dates,
        "mimetype": st.none() | st.sampled_from(["", "image", "Image", "\U0010fffe", "x" * 5000]),
        "duration": numbers,
        "file_size": sizes,
        "view_count": st.sampled_from([0, 0, 1, 2**40]),
        "last_viewed": dates,
    }
)


def order_of(field: AssetOrderField, direction: OrderDirection) -> dict[str, str]:
    return {"field": field.name, "direction": direction.name}


def page(graph: Graph, **arguments: Any) -> dict[str, Any]:
    data: dict[str, Any] = graph.data(PAGE, **arguments)["assets"]
    return data


def ids(connection: dict[str, Any]) -> list[str]:
    return [edge["node"]["assetId"] for edge in connection["edges"]]


def walk(graph: Graph, size: int, *, backward: bool = False, **arguments: Any) -> list[str]:
    """Page through the whole list, checking every page's PageInfo on the way."""
    count, at = ("last", "before") if backward else ("first", "after")
    ahead, behind, cursor = (
        ("hasPreviousPage", "hasNextPage", "startCursor")
        if backward
        else ("hasNextPage", "hasPreviousPage", "endCursor")
    )
    seen: list[str] = []
    place = None
    while True:
        found = page(graph, **{count: size, at: place}, **arguments)
        info, here = found["pageInfo"], ids(found)
        assert len(here) <= size
        assert info[behind] is bool(seen)
        assert info["startCursor"] == found["edges"][0]["cursor"]
        assert info["endCursor"] == found["edges"][-1]["cursor"]
        seen = here + seen if backward else seen + here
        if not info[ahead]:
            assert found["totalCount"] == len(seen)
            return seen
        place = info[cursor]


def insert(acme: Inhabited, values: list[dict[str, Any]]) -> list[Asset]:
    with acting_as(acme.owner):
        return Asset.objects.bulk_create(
            Asset(tenant=acme.tenant, asset_id=new_asset_id(), **value) for value in values
        )


def everything(acme: Inhabited) -> list[Asset]:
    with acting_as(acme.owner):
        return list(Asset.objects.all())


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    values=st.lists(rows, max_size=8),
    order=st.sampled_from(ORDERS),
    size=st.integers(1, 4),
    backward=st.booleans(),
)
def test_walking_page_by_page_is_the_sorted_list(
    acme: Inhabited,
    gql: Callable[..., Graph],
    values: list[dict[str, Any]],
    order: tuple[AssetOrderField, OrderDirection],
    size: int,
    backward: bool,  # noqa: FBT001 -- hypothesis names what it gives
) -> None:
    with transaction.atomic():
        insert(acme, values)
        expected = sorted(everything(acme), key=SORTED_BY[order[0]])
        if order[1] is OrderDirection.DESC:
            expected.reverse()
        walked = walk(gql(), size, backward=backward, order=order_of(*order))
        transaction.set_rollback(True)
    assert walked == [asset.asset_id for asset in expected]


@pytest.mark.parametrize(("field", "direction"), ORDERS)
def test_every_order_pages_through_missing_values_and_ties(
    acme: Inhabited,
    gql: Callable[..., Graph],
    field: AssetOrderField,
    direction: OrderDirection,
) -> None:
    insert(
        acme,
        [
            {
                "name": name,
                "play_order": number % 3,
                "updated_at": DAY + timedelta(days=number % 2),
                "start_date": date,
                "end_date": date,
                "mimetype": name,
                "duration": number % 2 or None,
                "file_size": number % 3 * 2**40 or None,
                "view_count": number % 2 * 2**40,
                "last_viewed": date,
            }
            for number, (name, date) in enumerate(
                [(None, None), ("b", DAY), ("B", DAY), (None, DAY), ("a", None), ("", NEVER)]
            )
        ],
    )
    expected = sorted(everything(acme), key=SORTED_BY[field])
    if direction is OrderDirection.DESC:
        expected.reverse()
    wanted = [asset.asset_id for asset in expected]
    assert len(wanted) == 9
    for size in (1, 2, 500):
        for backward in (False, True):
            assert walk(gql(), size, backward=backward, order=order_of(field, direction)) == wanted


def test_a_range_between_two_cursors(gql: Callable[..., Graph], acme: Inhabited) -> None:
    insert(acme, [{"name": str(number)} for number in range(7)])
    all_ = page(gql(), first=10)
    cursors, wanted = [edge["cursor"] for edge in all_["edges"]], ids(all_)
    between = page(gql(), after=cursors[1], before=cursors[8])
    assert ids(between) == wanted[2:8]
    assert between["pageInfo"]["hasPreviousPage"] is between["pageInfo"]["hasNextPage"] is True
    for arguments, part, previous, next_ in (
        ({"first": 2}, wanted[2:4], True, True),
        ({"last": 2}, wanted[6:8], True, True),
        ({"first": 6}, wanted[2:8], True, True),
        ({"last": 6}, wanted[2:8], True, True),
        ({"first": 0}, [], True, True),
    ):
        found = page(gql(), after=cursors[1], before=cursors[8], **arguments)
        assert ids(found) == part
        info = found["pageInfo"]
        assert (info["hasPreviousPage"], info["hasNextPage"]) == (previous, next_), arguments
    nothing = page(gql(), after=cursors[3], before=cursors[3])
    assert ids(nothing) == []
    assert nothing["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": True,
        "startCursor": None,
        "endCursor": None,
    }


@pytest.mark.parametrize("direction", OrderDirection)
def test_a_cursor_whose_item_has_gone_still_tells_both_sides(
    gql: Callable[..., Graph], acme: Inhabited, direction: OrderDirection
) -> None:
    order = order_of(AssetOrderField.CREATED_AT, direction)
    all_ = page(gql(), order=order)
    with acting_as(acme.owner):
        Asset.objects.filter(asset_id=ids(all_)[1]).delete()
    cursor = all_["edges"][1]["cursor"]
    after = page(gql(), order=order, after=cursor)
    before = page(gql(), order=order, last=50, before=cursor)
    assert (ids(before), ids(after)) == (ids(all_)[:1], ids(all_)[2:])
    assert (after["pageInfo"]["hasPreviousPage"], after["pageInfo"]["hasNextPage"]) == (True, False)
    assert (before["pageInfo"]["hasPreviousPage"], before["pageInfo"]["hasNextPage"]) == (
        False,
        True,
    )
    with acting_as(acme.owner):
        Asset.objects.filter(asset_id=ids(all_)[0]).delete()
    assert page(gql(), order=order, after=cursor)["pageInfo"]["hasPreviousPage"] is False


def test_an_item_that_moves_is_neither_lost_nor_repeated_for_the_rest(
    gql: Callable[..., Graph], acme: Inhabited
) -> None:
    insert(acme, [{"play_order": 10 + number} for number in range(4)])
    order = order_of(AssetOrderField.PLAY_ORDER, OrderDirection.ASC)
    first = page(gql(), order=order, first=3)
    with acting_as(acme.owner):
        Asset.objects.filter(asset_id=ids(first)[2]).update(play_order=-5)
    rest = page(gql(), order=order, after=first["pageInfo"]["endCursor"])
    assert len(ids(rest)) == 4
    assert not set(ids(rest)) & set(ids(first))


def test_without_a_size_a_page_has_fifty(
    gql: Callable[..., Graph], library: Callable[..., list[Asset]]
) -> None:
    library(60)
    found = page(gql())
    assert (len(found["edges"]), found["totalCount"]) == (50, 63)
    assert len(page(gql(), before=None, last=60)["edges"]) == 60


# --- what is refused ------------------------------------------------------------------------------


def refusal(graph: Graph, **arguments: Any) -> tuple[str, list[str]]:
    answer = graph(PAGE, **arguments)
    assert answer["data"] == {"assets": None}
    [error] = answer["errors"]
    return error["extensions"]["code"], error["extensions"]["field"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"first": -1}, "first"),
        ({"last": -1}, "last"),
        ({"first": 501}, "first"),
        ({"last": 501}, "last"),
        ({"first": 2**31 - 1}, "first"),
        ({"first": -(2**31)}, "first"),
        ({"first": 1, "last": 1}, "last"),
        ({"first": 0, "last": 0}, "last"),
    ],
)
def test_sizes_that_are_none_are_refused(
    acme: Inhabited, gql: Callable[..., Graph], arguments: dict[str, int], field: str
) -> None:
    del acme
    assert refusal(gql(), **arguments) == ("INVALID", [field])


def spelt(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


AT = "2026-01-01T00:00:00Z"
KEY = "0199d7a26f0e7c3a8f1d2b6c5a4e9d10"
NAME_ORDER = {"field": "NAME", "direction": "ASC"}


@pytest.mark.parametrize(
    ("order", "cursor"),
    [
        ("CREATED_AT", ""),
        ("CREATED_AT", "!!!garbage"),
        ("CREATED_AT", "日本語"),
        ("CREATED_AT", "Z2FyYmFnZQ=="),
        ("CREATED_AT", "gICAgA=="),
        ("CREATED_AT", base64.b64encode(b"[" * 2000).decode()),
        ("CREATED_AT", spelt()),
        ("CREATED_AT", spelt("Asset.CREATED_AT", "ASC", AT)),
        ("CREATED_AT", spelt("Asset.CREATED_AT", "ASC", AT, KEY, 1)),
        ("CREATED_AT", spelt("Asset.CREATED_AT", "ASC", AT, "not a key")),
        ("CREATED_AT", spelt("Asset.CREATED_AT", "ASC", AT, None)),
        ("CREATED_AT", spelt("Asset.CREATED_AT", "ASC", 5, KEY)),
        ("CREATED_AT", spelt("Asset.CREATED_AT", "DESC", AT, KEY)),
        ("CREATED_AT", spelt("Asset.NAME", "ASC", "x", KEY)),
        ("NAME", spelt("Tenant.NAME", "ASC", "x", KEY)),
        ("NAME", spelt("Asset.NAME", "ASC", None, KEY)),
        ("NAME", spelt("Asset.NAME", "ASC", 5, KEY)),
        ("NAME", spelt("Asset.NAME", "ASC", "\x00", KEY)),
        ("NAME", spelt("Asset.NAME", "ASC", "\ud800", KEY)),
        ("PLAY_ORDER", spelt("Asset.PLAY_ORDER", "ASC", None, KEY)),
        ("PLAY_ORDER", spelt("Asset.PLAY_ORDER", "ASC", "5", KEY)),
        ("PLAY_ORDER", spelt("Asset.PLAY_ORDER", "ASC", True, KEY)),
        ("PLAY_ORDER", spelt("Asset.PLAY_ORDER", "ASC", 5.5, KEY)),
        ("PLAY_ORDER", spelt("Asset.PLAY_ORDER", "ASC", 10**30, KEY)),
        ("UPDATED_AT", spelt("Asset.UPDATED_AT", "ASC", None, KEY)),
        ("UPDATED_AT", spelt("Asset.UPDATED_AT", "ASC", "2023-02-30T00:00:00Z", KEY)),
        ("START_DATE", spelt("Asset.START_DATE", "ASC", "infinity", KEY)),
        ("START_DATE", spelt("Asset.START_DATE", "ASC", 5, KEY)),
    ],
)
def test_cursors_that_are_none_are_refused(
    acme: Inhabited, gql: Callable[..., Graph], order: str, cursor: str
) -> None:
    del acme
    for name in ("after", "before"):
        arguments = {name: cursor, "order": {"field": order}}
        assert refusal(gql(), **arguments) == ("INVALID", [name])


def test_a_cursor_of_another_order_is_refused_and_says_so(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    cursor = page(gql(), order=NAME_ORDER)["pageInfo"]["startCursor"]
    answer = gql()(PAGE, after=cursor)
    assert "another order" in answer["errors"][0]["message"]
    tenants = "query($a: String!) { tenants(after: $a) { totalCount edges { cursor } } }"
    assert gql()(tenants, a=cursor)["errors"][0]["extensions"]["code"] == "INVALID"


@given(
    value=st.none() | st.datetimes(timezones=st.just(UTC)),
    key=st.uuids(),
    direction=st.sampled_from(OrderDirection),
)
def test_a_cursor_comes_back_as_the_place_it_was(
    value: datetime | None, key: Any, direction: OrderDirection
) -> None:
    from graph.connections import Cursor

    ordering = Ordering.of(SORT_KEYS, AssetOrderField.END_DATE, direction)
    place = Cursor(value, key)
    assert ordering.load(ordering.dump(place), "after") == place


# --- the other lists ------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["JOINED_AT", "ROLE"])
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_memberships_page_in_every_order(
    acme: Inhabited, gql: Callable[..., Graph], field: str, direction: str
) -> None:
    del acme
    document = (
        "query($o: MembershipOrder, $n: Int, $a: String) { memberships(order: $o, first: $n, "
        "after: $a) { pageInfo { hasNextPage endCursor } edges { node { id role joinedAt } } } }"
    )
    order = {"field": field, "direction": direction}
    whole = gql().data(document, o=order)["memberships"]["edges"]
    nodes = [edge["node"] for edge in whole]
    key = {"JOINED_AT": "joinedAt", "ROLE": "role"}[field]
    assert [node[key] for node in nodes] == sorted(
        (node[key] for node in nodes), reverse=direction == "DESC"
    )
    pages: list[Any] = []
    after = None
    for _ in range(3):
        pages.append(gql().data(document, o=order, n=2, a=after)["memberships"])
        after = pages[-1]["pageInfo"]["endCursor"]
    assert [edge["node"] for found in pages for edge in found["edges"]] == nodes
    assert [found["pageInfo"]["hasNextPage"] for found in pages] == [True, True, False]


@pytest.mark.parametrize("field", ["NAME", "SLUG", "CREATED_AT"])
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_tenants_page_in_every_order(
    world: World, gql: Callable[..., Graph], field: str, direction: str
) -> None:
    del world
    document = (
        "query($o: TenantOrder, $a: String) { tenants(order: $o, first: 1, after: $a) { totalCount "
        "pageInfo { hasNextPage endCursor } edges { node { slug } } } }"
    )
    order = {"field": field, "direction": direction}
    first = gql("both").data(document, o=order)["tenants"]
    second = gql("both").data(document, o=order, a=first["pageInfo"]["endCursor"])["tenants"]
    slugs = [found["edges"][0]["node"]["slug"] for found in (first, second)]
    assert slugs == (["acme", "globex"] if direction == "ASC" else ["globex", "acme"])
    assert (first["totalCount"], second["pageInfo"]["hasNextPage"]) == (2, False)


# --- what it costs --------------------------------------------------------------------------------


@pytest.mark.usefixtures("executor")
def test_a_page_is_one_statement_and_its_count_another(
    gql: Callable[..., Graph], library: Callable[..., list[Asset]]
) -> None:
    library(20)
    graph = gql()
    with statements(1):
        graph.data("{ assets(first: 5) { edges { node { name } } } }")
    with statements(1):
        graph.data("{ assets(first: 5) { totalCount } }")
    with statements(2):
        graph.data(PAGE, first=5)
    cursor = page(graph, first=5)["pageInfo"]["endCursor"]
    with statements(2):
        graph.data(PAGE, first=5, after=cursor)
    with statements(2):
        graph.data(PAGE, last=5, before=cursor)
    with statements(0):
        graph.data("{ assets { __typename } }")
