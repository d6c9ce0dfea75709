"""Every listing at 100,000 rows: PostgreSQL walks a tenant-leading index and sorts nothing."""

from __future__ import annotations

import json
import re
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from assets.models import Asset
from graph import asset_filters, members
from graph.asset_filters import AssetOrderField
from graph.connections import Ordering
from graph.enums import OrderDirection
from graph.tenants import TenantOrderField
from rls import acting_as
from rls.declared import declared
from rls.names import LOOKUP, TENANT_SETTING
from tenancy.models import Membership
from tests import databases
from tests.conftest import PLATFORM, Graph, basic
from tests.graph.conftest import sent_inside
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db.models import Model
    from pytest_django import Settings

    from graph.connections import SortKey
    from tests.world import World

ROWS = 100_000
# As the tenant itself, under its wall: names and dates missing in every tenth, ties everywhere.
ASSETS = """
INSERT INTO assets (id, tenant_id, asset_id, name, start_date, end_date, is_enabled, is_processing,
  nocache, play_order, skip_asset_check, skip_ssl_verify, play_days, is_reachable, metadata,
  created_at, updated_at, tags, description, thumbnail_url, processing_status, view_count,
  media_path, mimetype, duration, file_size, last_viewed)
SELECT gen_random_uuid(), get_tenant_context(), i::text,
  CASE WHEN i %% 10 > 0 THEN 'name ' || i * 7919 %% 100003 END,
  CASE WHEN i %% 10 > 1 THEN timestamptz '2024-01-01' + i * 7919 %% 100003 * interval '1 min' END,
  CASE WHEN i %% 10 > 2 THEN timestamptz '2026-01-01' + i * 7919 %% 100003 * interval '1 h' END,
  i %% 2 = 0, false, false, i * 31 %% 5000, false, false, '{1,2,3,4,5,6,7}', true, '{}', now(),
  timestamptz '2025-01-01' + i * 17 %% 100003 * interval '1 s',
  ARRAY['all', 'f' || i %% 50] || CASE WHEN i %% 1000 = 7 THEN ARRAY['rare'] END,
  CASE WHEN i %% 500 = 3 THEN 'Lobby screen, spring' ELSE '' END, '', 'completed',
  i * 13 %% 5000, '', (ARRAY['image', 'video', 'webpage', NULL])[1 + i %% 4],
  CASE WHEN i %% 10 > 3 THEN i * 7919 %% 100003 END,
  CASE WHEN i %% 10 > 4 THEN 5000000000 + i * 7919 %% 100003 END,
  CASE WHEN i %% 10 > 5 THEN timestamptz '2025-01-01' + i * 7919 %% 100003 * interval '1 min' END
FROM generate_series(1, %s) i
"""
# As the maintenance role: nobody else may make other people and their tenants.
USERS = """
INSERT INTO users (id, username, first_name, last_name, email, is_staff, is_superuser, is_active,
  date_joined, credential_version)
SELECT gen_random_uuid(), 'u' || i, '', '', '', false, false, true, now(), 1
FROM generate_series(1, %s) i
"""
MEMBERS = """
INSERT INTO tenant_users (id, tenant_id, user_id, role, permissions, is_active, joined_at)
SELECT gen_random_uuid(), %s, id, (ARRAY['manager', 'operator', 'viewer'])[1 + length(username) %% 3],
  '{}', true, date_joined + length(username) * interval '1 s'
FROM users WHERE username LIKE 'u%%'
"""
TENANTS = """
INSERT INTO tenants (id, name, slug, database_name, created_at, updated_at, is_active,
  subscription_tier, max_devices, max_users, storage_quota_gb, max_assets, features, settings)
SELECT gen_random_uuid(), 't' || i, 't' || i, 't' || i, now(), now(), true, 'basic', 5, 10, 10, 100,
  '{}', '{}' FROM generate_series(1, %s) i
"""


@pytest.fixture
def crowded(scratch_database: str) -> World:
    """A world whose acme has 100,000 assets and members, among 100,000 other tenants."""
    world = create_world()
    with databases.maintenance(scratch_database) as owner:
        # Building the index of the search once takes a fraction of adding to it row by row.
        [(index,)] = owner.execute("SELECT pg_get_indexdef('assets_by_grams'::regclass)").fetchall()
        owner.execute("DROP INDEX assets_by_grams")
        with acting_as(world.acme.owner), connection.cursor() as cursor:
            cursor.execute(ASSETS, [ROWS])
        owner.execute(index)
        owner.execute(USERS, [ROWS])
        owner.execute(MEMBERS, [world.acme.tenant.pk])
        owner.execute(TENANTS, [ROWS])
        owner.execute("ANALYZE")
    return world


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes_of(below)


def indexes() -> dict[str, list[str]]:
    """Return the columns of every index by its name; an expression is an empty one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.relname, array(SELECT COALESCE(a.attname::text, '') FROM "
            "unnest(x.indkey::int2[]) WITH ORDINALITY u (n, place) LEFT JOIN pg_attribute a "
            "ON a.attrelid = x.indrelid AND a.attnum = u.n ORDER BY place) "
            "FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
        )
        return dict(cursor.fetchall())


def sent_for(graph: Graph, document: str) -> tuple[str, dict[str, Any]]:
    """Return the last statement that answers a document, and the answer."""
    with CaptureQueriesContext(connection) as captured:
        data = graph.data(document)
    sent = sent_inside(captured)[-1]
    return sent, data


def plan_of(world: World, sent: str, table: str) -> tuple[Any, ...]:
    """Run a statement under EXPLAIN; return its nodes, and those that read `table`."""
    with acting_as(world.acme.owner, read_only=True), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sent}")
        explained = cursor.fetchone()[0]
    plan = explained if isinstance(explained, list) else json.loads(explained)
    nodes = list(nodes_of(plan[0]["Plan"]))
    return nodes, *(node for node in nodes if node.get("Relation Name") == table)


def cursor_in_the_middle(world: World, model: type[Model], ordering: Ordering) -> str:
    """Return a cursor with half of the list on either side, where skipping row by row would show."""
    with acting_as(world.acme.owner, read_only=True):
        rows = model._default_manager.order_by(*ordering.order_by(backward=False))
        return ordering.dump(ordering.cursor_of(rows[ROWS // 2]))


LISTINGS: list[tuple[str, type[Model], Mapping[Any, SortKey]]] = [
    ("assets", Asset, asset_filters.SORT_KEYS),
    ("memberships", Membership, members.SORT_KEYS),
]


def check_pages(world: World, graph: Graph) -> set[str]:
    """Check the first page and the middle one of every list in every order, both ways."""
    columns, used = indexes(), set()
    for (field, model, keys), direction in product(LISTINGS, OrderDirection):
        for name in keys:
            ordering = Ordering.of(keys, name, direction)
            middle = cursor_in_the_middle(world, model, ordering)
            for window in (
                "first: 50",
                "first: 500",
                "last: 50",
                f'first: 50, after: "{middle}"',
                f'last: 50, before: "{middle}"',
            ):
                sent, data = sent_for(
                    graph,
                    f"{{ {field}(order: {{field: {name.name}, direction: {direction.name}}}, "
                    f"{window}) {{ pageInfo {{ hasNextPage hasPreviousPage }} "
                    "edges { node { id } } } }",
                )
                where = (field, name.name, direction.name, window)
                size = int(window.split(":")[1].split(",")[0])
                assert len(data[field]["edges"]) == size, where
                nodes, scan = plan_of(world, sent, model._meta.db_table)
                assert not [node for node in nodes if "Sort" in node["Node Type"]], where
                assert columns[scan["Index Name"]][0] == "tenant_id", where
                # One more to know that it goes on, and the item at the cursor.
                assert scan["Actual Rows"] <= size + 2, where
                assert scan.get("Rows Removed by Filter", 0) == 0, where
                used.add(scan["Index Name"])
    return used


def check_compiled_pages(world: World, graph: Graph) -> None:
    """Check the statements of compiled reads likewise: every part of them walks such an index."""
    columns = indexes()
    for (field, model, keys), direction in product(LISTINGS, OrderDirection):
        for name in keys:
            middle = cursor_in_the_middle(world, model, Ordering.of(keys, name, direction))
            for window in (
                "first: 50",
                f'first: 50, after: "{middle}"',
                f'last: 9, before: "{middle}"',
            ):
                sent, _ = sent_for(
                    graph,
                    f"{{ {field}(order: {{field: {name.name}, direction: {direction.name}}}, "
                    f"{window}) {{ pageInfo {{ hasNextPage hasPreviousPage startCursor }} "
                    "edges { node { id } } } }",
                )
                where = (field, name.name, direction.name, window)
                assert sent.startswith("SELECT concat("), where
                nodes, *scans = plan_of(world, sent, model._meta.db_table)
                # A page that was read backwards is turned round, and nothing else is sorted.
                sorts = [node for node in nodes if "Sort" in node["Node Type"]]
                assert all(node["Actual Rows"] <= 10 for node in sorts), where
                assert window.startswith("last") or not sorts, where
                for scan in scans:
                    assert columns[scan["Index Name"]][0] == "tenant_id", where
                    assert scan["Actual Rows"] <= 51, where
                    assert scan.get("Rows Removed by Filter", 0) == 0, where


# What is found by ids from the search's index, with how many of those there are.
NARROW = {
    'search: {prefix: "l"}': 200,
    'search: {prefix: "lo"}': 200,
    'search: {prefix: "lob"}': 200,
    'search: {prefix: "spr lobby,"}': 200,
    'search: {prefix: "777", in: [NAME]}': 100,
    'search: {contains: "obb"}': 200,
    'search: {contains: "creen obby"}': 200,
    'search: {contains: "obby", in: [DESCRIPTION, TAGS]}': 200,
    'search: {contains: "reen", prefix: "s"}': 200,
    'tags: {any: ["rare", "f3"]}': 2100,
    'tags: {all: ["all", "rare"]}': 100,
    'tags: {all: ["all"], any: ["rare"]}': 100,
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


def plan_inside(database: str, world: World, call: str) -> list[dict[str, Any]]:
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
            "SELECT set_config(%s, %s, false)", [TENANT_SETTING, str(world.acme.tenant.id)]
        )
        owner.execute(f"SET ROLE {LOOKUP}")
        owner.execute("SET plan_cache_mode = force_generic_plan")
        owner.execute(f"PREPARE body({types}) AS {body}")
        explained = owner.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE body({arguments})")
        [(plan,)] = explained.fetchall()
        return list(nodes_of(plan[0]["Plan"]))


def check_search(
    database: str, world: World, graph: Graph, filter_: str, order: str
) -> tuple[int, str, int]:
    """Return how many ids the look-up gave, and what the list reads: by which index, and how much.

    Checks that the look-up itself uses the index of the search and nothing else.
    """
    where = (filter_, order)
    with CaptureQueriesContext(connection) as captured:
        graph.data(
            f"{{ assets(filter: {{{filter_}}}, order: {{field: {order}}}) {{ edges {{ node {{ id }} "
            "} } }"
        )
    *before, sent = sent_inside(captured)
    given = []
    for call in [text for text in before if "_assets(" in text]:
        nodes = plan_inside(database, world, call)
        read = [node for node in nodes if node.get("Relation Name") == "assets"]
        assert [node["Node Type"] for node in read] == ["Bitmap Heap Scan"], where
        used = [node["Index Name"] for node in nodes if "Index Name" in node]
        assert used == ["assets_by_grams"], where
        given.append(read[0]["Actual Rows"])
    _, scan = plan_of(world, sent, "assets")
    assert "Seq Scan" not in scan["Node Type"], where
    rows = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
    return min(given), scan["Index Name"], rows


def check_searches(database: str, world: World, graph: Graph) -> None:
    """Check that each search reads what its index gives, in whatever order, or a page's worth."""
    by_key = {"asset_tenant_id_id", "assets_pkey"}
    for filter_, expected in NARROW.items():
        ids, index, rows = check_search(database, world, graph, filter_, "NAME")
        assert ids == expected or filter_ == 'search: {prefix: "777", in: [NAME]}', filter_
        assert index in by_key, filter_
        assert rows <= ids, filter_
    for order in AssetOrderField:
        ids, index, rows = check_search(database, world, graph, COMBINED, order.name)
        assert index in by_key, order
        assert rows <= ids == 200, order
        for filter_ in BROAD:
            _, index, rows = check_search(database, world, graph, filter_, order.name)
            assert index == f"assets_by_{order.value}", (filter_, order)
            # Of names, a tenth is missing, and those come first.
            assert rows <= 10_000 + 500, (filter_, order)


def check_compiled_searches(world: World, graph: Graph) -> None:
    """Check that one statement reads a few rows by their keys, and of many a page in its order."""
    for filters, order in product((NARROW, BROAD), ("NAME", "CREATED_AT")):
        for filter_ in filters:
            sent, _ = sent_for(
                graph,
                f"{{ assets(filter: {{{filter_}}}, order: {{field: {order}}}) "
                "{ edges { node { id } } } }",
            )
            where = (filter_, order)
            assert sent.startswith("SELECT concat("), where
            nodes, *scans = plan_of(world, sent, "assets")
            [scan] = [one for one in scans if one["Actual Loops"]]
            rows = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
            if filters is NARROW:
                assert scan["Index Name"] in {"asset_tenant_id_id", "assets_pkey"}, where
                assert rows <= NARROW[filter_] * 2, where
            else:
                assert scan["Index Name"] == f"assets_by_{order.lower()}", where
                assert rows <= 10_000 + 500, where
                sorts = [one for one in nodes if "Sort" in one["Node Type"]]
                assert not [one for one in sorts if one["Actual Loops"]], where


def test_every_listing_walks_an_index_that_starts_with_the_tenant(
    crowded: World, scratch_database: str, settings: Settings
) -> None:
    graph = Graph(Client(headers=basic("acme-owner"), HTTP_HOST=f"acme.{PLATFORM}"))
    check_compiled_pages(crowded, graph)
    check_compiled_searches(crowded, graph)
    settings.COMPILED_READS = False
    assert check_pages(crowded, graph) == {
        "assets_by_created_at",
        "assets_by_play_order",
        "assets_by_name",
        "assets_by_updated_at",
        "assets_by_start_date",
        "assets_by_end_date",
        "assets_by_mimetype",
        "assets_by_duration",
        "assets_by_file_size",
        "assets_by_view_count",
        "assets_by_last_viewed",
        "tenant_users_by_joined",
        "tenant_users_by_role",
    }

    # Under a filter that many meet, an index still gives the order and nothing is sorted.
    sent, _ = sent_for(
        graph,
        "{ assets(filter: {isActive: true}, order: {field: NAME}) { edges { node { id } } } }",
    )
    nodes, scan = plan_of(crowded, sent, "assets")
    assert not [node for node in nodes if "Sort" in node["Node Type"]]
    assert scan["Index Name"] == "assets_by_name"

    sent, _ = sent_for(graph, '{ asset(assetId: "77777") { name } }')
    assert plan_of(crowded, sent, "assets")[1]["Index Name"] == "assets_tenant_asset_id"

    # A range that few meet is read from its own index, whatever the order.
    for range_, index in (
        ('createdAt: {until: "2020-01-01T00:00:00Z"}', "assets_by_created_at"),
        ('updatedAt: {until: "2025-01-01T00:01:00Z"}', "assets_by_updated_at"),
        ('startDate: {until: "2024-01-01T01:00:00Z"}', "assets_by_start_date"),
        ('endDate: {until: "2026-01-03T00:00:00Z"}', "assets_by_end_date"),
        ('lastViewed: {from: "2025-03-11T10:00:00Z"}', "assets_by_last_viewed"),
        ("duration: {min: 99990}", "assets_by_duration"),
        ("fileSize: {max: 5000000050}", "assets_by_file_size"),
        ("viewCount: {min: 4999}", "assets_by_view_count"),
    ):
        sent, _ = sent_for(
            graph,
            f"{{ assets(filter: {{{range_}}}, order: {{field: NAME}}) {{ edges {{ node {{ id }} }} }} }}",
        )
        nodes, _ = plan_of(crowded, sent, "assets")
        assert index in {node.get("Index Name") for node in nodes}, range_

    check_searches(scratch_database, crowded, graph)

    # A person's own tenants are found by their keys, however many tenants there are.
    for order in TenantOrderField:
        sent, data = sent_for(
            graph, f"{{ tenants(order: {{field: {order.name}}}) {{ edges {{ node {{ id }} }} }} }}"
        )
        assert len(data["tenants"]["edges"]) == 1
        _, scan = plan_of(crowded, sent, "tenants")
        assert scan["Node Type"] != "Seq Scan", scan
        assert scan.get("Rows Removed by Filter", 0) == 0, scan
