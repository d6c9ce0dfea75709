"""Lists, searches and playlists of assets, and lists of members, among the rows of many tenants.

What each statement reads is bounded by its page, by what its filter's index gives, or by its own
tenant's rows; tests/graph/listings.py says which. `SIGNATE_PLAN_ROWS=1000000` makes the same checks
of a million rows in each table.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.db import connection
from django.test.utils import CaptureQueriesContext

from assets.legacy import listings
from graph.asset_filters import AssetOrderField
from graph.tenants import TenantOrderField
from rls import acting_as
from rls.declared import declared
from rls.names import LOOKUP, TENANT_SETTING
from tests import databases
from tests.graph.conftest import sent_inside
from tests.graph.crowd import LARGE, crowded
from tests.graph.listings import ASSETS, BESIDES, MEMBERSHIPS, check_filters, check_pages, tell
from tests.graph.plans import Explainer, Statement, met, nodes_of

if TYPE_CHECKING:
    import pytest
    from pytest_django import Settings

    from tests.graph.crowd import Crowd, Place

_LOBBY = len(range(3, LARGE + 1, 500))
_RARE = len(range(7, LARGE + 1, 1000))
_F3 = len(range(3, LARGE + 1, 50))
# What is found by ids from the search's index, with how many of those there are.
NARROW: dict[str, int | None] = {
    'search: {prefix: "l"}': _LOBBY,
    'search: {prefix: "lo"}': _LOBBY,
    'search: {prefix: "lob"}': _LOBBY,
    'search: {prefix: "spr lobby,"}': _LOBBY,
    'search: {prefix: "777", in: [NAME]}': None,
    'search: {contains: "obb"}': _LOBBY,
    'search: {contains: "creen obby"}': _LOBBY,
    'search: {contains: "obby", in: [DESCRIPTION, TAGS]}': _LOBBY,
    'search: {contains: "reen", prefix: "s"}': _LOBBY,
    'tags: {any: ["rare", "f3"]}': _RARE + _F3,
    'tags: {all: ["all", "rare"]}': _RARE,
    'tags: {all: ["all"], any: ["rare"]}': _RARE,
}
COMBINED = (
    'search: {prefix: "l"}, tags: {all: ["all", "f3"]}, isEnabled: false, isActive: false, '
    'isReachable: true, duration: {min: 0}, createdAt: {from: "2020-01-01T00:00:00Z"}'
)
# What so many assets have that the list meets them on its way.
BROAD = (
    'search: {prefix: "n"}',
    'search: {contains: "ame"}',
    'search: {prefix: "a n"}',
    'tags: {all: ["all"]}',
    'tags: {any: ["all", "rare"]}',
)


def plan_inside(database: str, place: Place, call: str) -> list[dict[str, Any]]:
    """Run what a look-up does, as the role it runs as, under EXPLAIN; return its nodes."""
    name, arguments = re.fullmatch(r"SELECT (\w+)\((.*)\)", call).groups()  # type: ignore[union-attr]
    body = declared().functions[name]
    parameters = ("containing", "beginning", "tagged") if name == "search_assets" else ("tagged",)
    for number, parameter in enumerate(parameters, 1):
        body, times = re.subn(rf"\b{parameter}\b", f"${number}", body)
        assert times == 1
    types = ", ".join(["text[]"] * len(parameters))
    with databases.maintenance(database) as owner:
        owner.execute(
            "SELECT set_config(%s, %s, false)", [TENANT_SETTING, str(place.owner.tenant_id)]
        )
        owner.execute(f"SET ROLE {LOOKUP}")
        owner.execute("SET plan_cache_mode = force_generic_plan")
        owner.execute(f"PREPARE body({types}) AS {body}")
        explained = owner.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE body({arguments})")
        [(plan,)] = explained.fetchall()
        return list(nodes_of(plan[0]["Plan"]))


def check_search(
    explainer: Explainer, crowd: Crowd, filter_: str, order: str
) -> tuple[int, set[str], int]:
    """Return how many ids the look-up gave, and what the list reads: by which index, and how much.

    Checks that the look-up itself uses the index of the search and nothing else.
    """
    where, place = (filter_, order), crowd.large
    with CaptureQueriesContext(connection) as captured:
        place.graph.data(
            f"{{ assets(filter: {{{filter_}}}, order: {{field: {order}}}) {{ edges {{ node {{ id }} "
            "} } }"
        )
    *before, sent = sent_inside(captured)
    given = []
    for call in [text for text in before if "_assets(" in text]:
        nodes = plan_inside(crowd.database, place, call)
        read = [node for node in nodes if node.get("Relation Name") == "assets"]
        assert [node["Node Type"] for node in read] == ["Bitmap Heap Scan"], where
        used = [node["Index Name"] for node in nodes if "Index Name" in node]
        assert used == ["assets_by_grams"], where
        # By each of several processes, where there is much to look at.
        given.append(round(read[0]["Actual Rows"] * read[0]["Actual Loops"]))
    plan = explainer.plan(place, Statement(sent))
    plan.check(place.rows + BESIDES, sorts=min(given), where=where)
    return min(given), plan.used, plan.rows


def check_searches(explainer: Explainer, crowd: Crowd) -> None:
    """Check that each search reads what its index gives, in whatever order, or a page's worth."""
    by_key = ({"asset_tenant_id_id"}, {"assets_pkey"})
    for filter_, expected in NARROW.items():
        ids, used, rows = check_search(explainer, crowd, filter_, "NAME")
        assert expected in {ids, None}, filter_
        assert used in by_key, filter_
        assert rows <= ids, filter_
    for order in AssetOrderField:
        ids, used, rows = check_search(explainer, crowd, COMBINED, order.name)
        assert used in by_key, order
        assert rows <= ids == _LOBBY, order
        for filter_ in BROAD:
            _, used, rows = check_search(explainer, crowd, filter_, order.name)
            assert used == {f"assets_by_{order.value}"}, (filter_, order)
            # Of names, a tenth is missing, and those come first.
            assert rows <= LARGE // 10 + 500, (filter_, order)


def check_others(explainer: Explainer, place: Place, *, is_compiled: bool) -> None:
    """Check what reads assets and is no list of its own."""
    library = place.rows + BESIDES
    for document, most in (
        ('{ asset(assetId: "7") { name createdBy { username } } }', 2),
        (
            "{ tenant { slug assets(first: 20) { edges { node { name createdBy { username } } } } } }",
            22,
        ),
        ("{ tenant { memberships(first: 10) { edges { node { role user { username } } } } } }", 22),
        ("{ playlist { assets { id } deadline } }", library),
        ("{ tags(first: 5) { totalCount edges { node { name count } } } }", library),
        ("{ tags(first: 5, order: {field: COUNT}) { edges { node { name } } } }", library),
        ('{ tags(filter: {prefix: "ra"}) { edges { node { name } } } }', place.rows // 500 + 2),
    ):
        # An asset has three tags at most.
        explainer.check(place, document, most, sorts=3 * most, is_compiled=is_compiled)


def check_tenants(explainer: Explainer, place: Place, *, is_compiled: bool) -> None:
    """Check that a person's own tenants are found by their keys, however many tenants there are."""
    for order in TenantOrderField:
        document = f"{{ tenants(order: {{field: {order.name}}}) {{ edges {{ node {{ id }} }} }} }}"
        assert len(place.graph.data(document)["tenants"]["edges"]) == 1
        explainer.check(place, document, 1, is_compiled=is_compiled)


def check_old_lists(explainer: Explainer, place: Place) -> None:
    """Check the lists of the old API, which have no pages: they read what they give."""
    library = place.rows + BESIDES
    client = place.graph.client

    def get(path: str) -> None:
        assert client.get(path).status_code == 200, path

    explainer.check(place, partial(get, "/api/v2/assets"), library)
    explainer.check(place, partial(get, "/api/v1/assets"), library)
    explainer.check(place, partial(get, "/api/v2/assets/1"), 2)
    now = datetime.now(UTC)
    for tags in (None, ["f3"], ["rare"]):

        def play(tags: list[str] | None = tags) -> None:
            tenant = place.owner.entered()
            with acting_as(place.owner):
                listings.playing("v2", now, ZoneInfo("UTC"), tenant_id=tenant, tags=tags)

        explainer.check(place, play, library)


def check_compiled_searches(explainer: Explainer, crowd: Crowd) -> None:
    """Check that one statement reads a few rows by their keys, and of many a page in its order."""
    place = crowd.large
    for filters, order in product((NARROW, BROAD), ("NAME", "CREATED_AT")):
        for filter_ in filters:
            document = (
                f"{{ assets(filter: {{{filter_}}}, order: {{field: {order}}}) "
                "{ edges { node { id } } } }"
            )
            where = (filter_, order)
            [statement] = explainer.sent(partial(place.graph.data, document))
            assert statement.text.startswith("SELECT concat("), where
            plan = explainer.plan(place, statement)
            plan.check(place.rows + BESIDES, sorts=LARGE, where=where)
            [scan] = [
                one
                for one in plan.scans
                if one["Relation Name"] == "assets" and one["Actual Loops"]
            ]
            if filters is NARROW:
                assert scan["Index Name"] in {"asset_tenant_id_id", "assets_pkey"}, where
                assert met(scan) <= 2 * (NARROW[filter_] or LARGE), where
            else:
                assert scan["Index Name"] == f"assets_by_{order.lower()}", where
                assert met(scan) <= LARGE // 10 + 500, where
                sorts = [one for one in plan.nodes if "Sort" in one["Node Type"]]
                assert not [one for one in sorts if one["Actual Loops"]], where


def test_every_listing_walks_an_index_that_starts_with_the_tenant(
    scratch_database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = crowded(scratch_database, ("assets", "tenant_users", "share_links"))
    explainer = Explainer(settings, monkeypatch)
    for listing in (ASSETS, MEMBERSHIPS):
        check_pages(explainer, crowd, listing)
    # Each order has its index.
    orders = {f"assets_by_{order.value}" for order in AssetOrderField}
    assert orders | {"tenant_users_by_joined", "tenant_users_by_role"} <= explainer.used
    tell(check_filters(explainer, crowd, ASSETS))
    tell(check_filters(explainer, crowd, MEMBERSHIPS))

    check_compiled_searches(explainer, crowd)
    settings.COMPILED_READS = False
    check_searches(explainer, crowd)
    for place in crowd:
        for is_compiled in (True, False):
            check_others(explainer, place, is_compiled=is_compiled)
            check_tenants(explainer, place, is_compiled=is_compiled)
        check_old_lists(explainer, place)
