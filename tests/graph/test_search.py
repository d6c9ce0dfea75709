"""Searching, filtering and listing tags through GraphQL: what is found, refused, and paged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from assets.models import Asset, new_asset_id
from rls import acting_as
from tests.graph.conftest import add_assets, statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Graph
    from tests.world import Inhabited

LIST = """
query($filter: AssetFilter, $order: AssetOrder, $first: Int, $after: String) {
  assets(filter: $filter, order: $order, first: $first, after: $after) {
    totalCount pageInfo { hasNextPage endCursor } edges { node { name } }
  }
}
"""
TAGS = """
query($filter: TagListFilter, $order: TagOrder, $first: Int, $after: String, $last: Int,
    $before: String) {
  tags(filter: $filter, order: $order, first: $first, after: $after, last: $last, before: $before) {
    totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    edges { cursor node { name count } }
  }
}
"""
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def names(graph: Graph, **filter_: Any) -> list[str]:
    found = graph.data(LIST, filter=filter_)["assets"]
    assert found["totalCount"] == len(found["edges"])
    return [edge["node"]["name"] for edge in found["edges"]]


def refused(graph: Graph, **filter_: Any) -> tuple[list[str], str]:
    answer = graph(LIST, filter=filter_)
    [error] = answer["errors"]
    assert answer["data"] == {"assets": None}
    assert error["extensions"]["code"] == "INVALID"
    return error["extensions"]["field"], error["message"]


@pytest.fixture
def shelf(acme: Inhabited, globex: Inhabited) -> Inhabited:
    """acme with five assets of its own to search, and globex with the same ones."""
    rows: list[dict[str, Any]] = [
        {"name": "Lobby welcome", "description": "Shown at the door", "tags": ["front desk"]},
        {"name": "Spring sale: 50%_off", "description": "In the lobby", "tags": ["Spring", "sale"]},
        {"name": "menu-board.png", "description": "", "tags": ["lobby", "kitchen"]},
        {"name": "ÄPFEL & Öl 🎉", "description": "日本語", "tags": []},
        {"name": None, "description": "", "tags": ["sale"]},
    ]
    for place in (acme, globex):
        with acting_as(place.owner):
            Asset.objects.all().delete()
            Asset.objects.bulk_create(
                Asset(tenant=place.tenant, asset_id=new_asset_id(), mimetype="image", **row)
                for row in rows
            )
    return acme


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"prefix": "l"}, ["Lobby welcome", "Spring sale: 50%_off", "menu-board.png"]),
        ({"prefix": "LOB"}, ["Lobby welcome", "Spring sale: 50%_off", "menu-board.png"]),
        ({"prefix": "lob spr"}, ["Spring sale: 50%_off"]),
        ({"prefix": "b"}, ["menu-board.png"]),
        ({"prefix": "obb"}, []),
        ({"prefix": "äp"}, ["ÄPFEL & Öl 🎉"]),
        ({"prefix": "🎉"}, ["ÄPFEL & Öl 🎉"]),
        ({"prefix": "日"}, ["ÄPFEL & Öl 🎉"]),
        ({"prefix": "50%_"}, ["Spring sale: 50%_off"]),
        ({"prefix": "5_"}, []),
        ({"prefix": "%"}, []),
        ({"prefix": "."}, []),
        ({"prefix": "_off"}, ["Spring sale: 50%_off"]),
        ({"prefix": "ff"}, []),
        ({"contains": "obb"}, ["Lobby welcome", "Spring sale: 50%_off", "menu-board.png"]),
        ({"contains": "0%_"}, ["Spring sale: 50%_off"]),
        ({"contains": "b%y"}, []),
        ({"contains": "...."}, []),
        ({"contains": "elcome door"}, ["Lobby welcome"]),
        ({"contains": "elcome kitchen"}, []),
        ({"contains": "d.png"}, ["menu-board.png"]),
        ({"contains": "ring", "prefix": "sal"}, ["Spring sale: 50%_off"]),
        ({"prefix": "lob", "in": ["NAME"]}, ["Lobby welcome"]),
        ({"prefix": "lob", "in": ["DESCRIPTION"]}, ["Spring sale: 50%_off"]),
        ({"prefix": "lob", "in": ["TAGS"]}, ["menu-board.png"]),
        ({"prefix": "des", "in": ["TAGS", "TAGS"]}, ["Lobby welcome"]),
        ({"prefix": "lob", "in": []}, []),
        ({"in": []}, []),
    ],
)
def test_words_are_found_where_they_are_looked_for(
    shelf: Inhabited, gql: Callable[..., Graph], search: dict[str, Any], expected: list[str]
) -> None:
    del shelf
    assert names(gql(), search=search) == expected


@pytest.mark.parametrize(
    "search", [{}, {"prefix": ""}, {"contains": " \t\n"}, {"prefix": None, "in": None}]
)
def test_a_search_box_with_nothing_in_it_finds_everything(
    shelf: Inhabited, gql: Callable[..., Graph], search: dict[str, Any]
) -> None:
    del shelf
    assert len(names(gql(), search=search)) == 5


@pytest.mark.parametrize(
    ("search", "field", "message"),
    [
        (
            {"contains": "lobby ab"},
            "contains",
            (
                "'ab' is too short: each word needs 3 characters at least. Type more of it, or use "
                "`prefix`, which finds words by how they begin."
            ),
        ),
        ({"contains": "x" * 201}, "contains", "A search can have 200 characters at most."),
        ({"prefix": "x" * 201}, "prefix", "A search can have 200 characters at most."),
    ],
)
def test_what_cannot_be_looked_for_is_refused_with_what_to_do(
    shelf: Inhabited, gql: Callable[..., Graph], search: dict[str, Any], field: str, message: str
) -> None:
    del shelf
    assert refused(gql(), search=search) == (["filter", "search", field], message)


def test_an_asset_is_found_by_what_it_says_now(shelf: Inhabited, gql: Callable[..., Graph]) -> None:
    with acting_as(shelf.owner):
        Asset.objects.filter(name="Lobby welcome").update(name="Foyer", tags=["changed"])
    assert names(gql(), search={"prefix": "foy"}) == ["Foyer"]
    assert names(gql(), tags={"any": ["changed"]}) == ["Foyer"]
    assert names(gql(), search={"prefix": "welcome"}) == []
    assert names(gql(), tags={"any": ["front desk"]}) == []


@pytest.mark.usefixtures("executor")
def test_a_search_costs_one_statement_more_than_a_list(
    shelf: Inhabited, gql: Callable[..., Graph]
) -> None:
    del shelf
    document = "{ assets(filter: {%s}) { edges { node { name } } } }"
    for filter_, expected in (
        ("", 1),
        ('search: {prefix: "l", contains: "obb"}, tags: {all: ["lobby"]}', 2),
        ('tags: {any: ["lobby"], all: ["kitchen"]}', 3),
    ):
        with statements(expected):
            gql().data(document % filter_)


def test_what_very_many_have_is_found_all_the_same(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    """Beyond 5,000 the look-up gives no ids, and the list judges what it meets."""
    [one] = add_assets(acme, 1, name="Broad thing", tags=["broad"])
    columns = ", ".join(
        str(field.column)
        for field in Asset._meta.concrete_fields
        if not field.generated and field.column not in {"id", "asset_id"}
    )
    with acting_as(acme.owner), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO assets (id, asset_id, {columns}) SELECT gen_random_uuid(), i::text, "
            f"{columns} FROM assets, generate_series(1, 5000) i WHERE id = %s",
            [one.pk],
        )
    add_assets(acme, 2, name="Broad other", tags=["broad", "narrow"])
    for filter_ in (
        {"search": {"prefix": "bro"}},
        {"search": {"contains": "road"}},
        {"tags": {"any": ["broad", "none"]}},
        {"tags": {"all": ["broad"]}},
    ):
        found = gql().data(LIST, filter=filter_, first=2)["assets"]
        assert found["totalCount"] == 5_003
        assert [edge["node"]["name"] for edge in found["edges"]] == ["Broad thing"] * 2
    assert names(gql(), search={"prefix": "bro oth"}) == ["Broad other"] * 2
    assert names(gql(), search={"prefix": "bro"}, tags={"all": ["narrow"]}) == ["Broad other"] * 2


def test_results_are_paged_in_any_order(shelf: Inhabited, gql: Callable[..., Graph]) -> None:
    del shelf
    seen: list[str] = []
    after = None
    while True:
        page = gql().data(
            LIST,
            filter={"search": {"contains": "lobby"}},
            order={"field": "NAME", "direction": "DESC"},
            first=1,
            after=after,
        )["assets"]
        assert page["totalCount"] == 3
        seen += [edge["node"]["name"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen == ["Spring sale: 50%_off", "menu-board.png", "Lobby welcome"]


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"createdAt": {"from": "2026-01-02T00:00:00Z"}}, "bc"),
        ({"createdAt": {"until": "2026-01-02T00:00:00Z"}}, "a"),
        (
            {"updatedAt": {"from": "2026-01-02T00:00:00Z", "until": "2026-01-03T00:00:00Z"}},
            "b",
        ),
        ({"lastViewed": {"until": "2027-01-01T00:00:00Z"}}, "ab"),
        ({"lastViewed": {"from": "2026-01-02T00:00:00Z"}}, "b"),
        ({"lastViewed": {}}, "ab"),
        ({"duration": {"min": 10}}, "bc"),
        ({"duration": {"max": 10}}, "ab"),
        ({"duration": {"min": 6, "max": 10}}, "b"),
        ({"fileSize": {"min": 2**40}}, "b"),
        ({"fileSize": {"max": 2**40}}, "ab"),
        ({"fileSize": {}}, "ab"),
        ({"viewCount": {"min": 1}}, "bc"),
        ({"viewCount": {"min": 2**50}}, ""),
        ({"hasMedia": True}, "a"),
        ({"hasMedia": False}, "bc"),
        ({"hasMedia": False, "isReachable": True, "duration": {"min": 11}}, "c"),
        ({"search": {"prefix": "b"}, "duration": {"min": 11}}, ""),
    ],
)
def test_ranges_and_states(
    acme: Inhabited, gql: Callable[..., Graph], filter_: dict[str, Any], expected: str
) -> None:
    with acting_as(acme.owner):
        Asset.objects.all().delete()
        for number, name in enumerate("abc"):
            day = DAY + timedelta(days=number)
            Asset.objects.create(
                tenant=acme.tenant,
                asset_id=name,
                name=name,
                created_at=day,
                updated_at=day,
                last_viewed=day if name != "c" else None,
                duration=5 * (number + 1),
                file_size=number * 2**40 if name != "c" else None,
                view_count=number,
                media_path="t/x" if name == "a" else "",
            )
    assert names(gql(), **filter_) == list(expected)


# --- tags -----------------------------------------------------------------------------------------


def tags_of(graph: Graph, **arguments: Any) -> list[tuple[str, int]]:
    found = graph.data(TAGS, **arguments)["tags"]
    return [(edge["node"]["name"], edge["node"]["count"]) for edge in found["edges"]]


COUNTED = [("front desk", 1), ("kitchen", 1), ("lobby", 1), ("sale", 2), ("Spring", 1)]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, COUNTED),
        ({"field": "NAME"}, COUNTED),
        ({"field": "NAME", "direction": "DESC"}, COUNTED[::-1]),
        (
            {"field": "COUNT"},
            [("Spring", 1), ("front desk", 1), ("kitchen", 1), ("lobby", 1), ("sale", 2)],
        ),
        (
            {"field": "COUNT", "direction": "DESC"},
            [("sale", 2), ("lobby", 1), ("kitchen", 1), ("front desk", 1), ("Spring", 1)],
        ),
    ],
)
def test_tags_are_listed_with_their_counts_and_paged_both_ways(
    shelf: Inhabited,
    gql: Callable[..., Graph],
    order: dict[str, str] | None,
    expected: list[tuple[str, int]],
) -> None:
    del shelf
    assert tags_of(gql(), order=order) == expected
    for size in (1, 2, 5):
        for count, at, ahead, behind, cursor in (
            ("first", "after", "hasNextPage", "hasPreviousPage", "endCursor"),
            ("last", "before", "hasPreviousPage", "hasNextPage", "startCursor"),
        ):
            seen: list[tuple[str, int]] = []
            place = None
            while True:
                page = gql().data(TAGS, order=order, **{count: size, at: place})["tags"]
                assert page["totalCount"] == 5
                assert page["pageInfo"][behind] is bool(seen)
                here = [(edge["node"]["name"], edge["node"]["count"]) for edge in page["edges"]]
                seen = seen + here if count == "first" else here + seen
                if not page["pageInfo"][ahead]:
                    break
                place = page["pageInfo"][cursor]
            assert seen == expected


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("s", ["sale", "Spring"]),
        ("SP", ["Spring"]),
        ("front d", ["front desk"]),
        ("desk", []),
        (" lob", ["lobby"]),
        ("%", []),
        ("", ["front desk", "kitchen", "lobby", "sale", "Spring"]),
    ],
)
def test_tags_by_how_they_begin(
    shelf: Inhabited, gql: Callable[..., Graph], prefix: str, expected: list[str]
) -> None:
    del shelf
    assert [name for name, _ in tags_of(gql(), filter={"prefix": prefix})] == expected


def test_a_tag_that_has_gone_leaves_its_cursor_in_place(
    shelf: Inhabited, gql: Callable[..., Graph]
) -> None:
    page = gql().data(TAGS, first=3)["tags"]
    with acting_as(shelf.owner):
        Asset.objects.filter(name="menu-board.png").delete()
    at = page["edges"][2]["cursor"]
    after = gql().data(TAGS, first=1, after=at)["tags"]
    assert [edge["node"]["name"] for edge in after["edges"]] == ["sale"]
    assert after["pageInfo"]["hasPreviousPage"] is True
    assert after["pageInfo"]["hasNextPage"] is True
    before = gql().data(TAGS, last=1, before=at)["tags"]
    assert [edge["node"]["name"] for edge in before["edges"]] == ["front desk"]
    assert before["pageInfo"]["hasPreviousPage"] is False
    assert before["pageInfo"]["hasNextPage"] is True


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"after": "nonsense"}, ["after"]),
        ({"before": "WyJ4Il0="}, ["before"]),
        ({"after": "WyJUYWcuTkFNRSIsIkFTQyIsLTEsImEiXQ=="}, ["after"]),
        ({"after": "WyJUYWcuQ09VTlQiLCJBU0MiLDEsImEiXQ=="}, ["after"]),
        ({"first": -1}, ["first"]),
        ({"first": 1, "last": 1}, ["last"]),
        ({"filter": {"prefix": "x" * 201}}, ["filter", "prefix"]),
    ],
)
def test_tags_are_not_listed_by_what_makes_no_sense(
    acme: Inhabited, gql: Callable[..., Graph], arguments: dict[str, Any], field: list[str]
) -> None:
    del acme
    [error] = gql()(TAGS, **arguments)["errors"]
    assert error["extensions"] == {"code": "INVALID", "field": field}


def test_tags_cost_a_statement_and_two_under_a_prefix(
    shelf: Inhabited, gql: Callable[..., Graph]
) -> None:
    del shelf
    for arguments, expected in (("", 1), ('(filter: {prefix: "s"})', 2)):
        with statements(expected):
            gql().data(f"{{ tags{arguments} {{ edges {{ node {{ name count }} }} }} }}")


def test_tags_need_the_permission_to_see_assets(world: Any, gql: Callable[..., Graph]) -> None:
    del world
    assert [name for name, _ in tags_of(gql("acme-viewer"))] == ["ACME-MARK"]
    answer = gql("", headers={})("{ tags { totalCount } }")
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
