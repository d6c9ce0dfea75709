"""The audit log through GraphQL: who may read it, what an entry tells, filters, order, plans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from strawberry.relay import to_base64

from graph.scalars import print_instant
from rls import acting_as
from tenancy.models import AuditEntry
from tests import databases
from tests.conftest import PLATFORM, Graph, basic
from tests.graph.conftest import statements
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world import Inhabited

LOG = """query ($filter: AuditFilter, $order: AuditOrder) {
  auditLog(filter: $filter, order: $order) { totalCount edges { node {
    action subject label
    actor { kind credential address user { username } userId deviceId keyId }
    subjectId requestId before after reason
  } } }
}"""


def listed(graph: Graph, **filter_: Any) -> list[dict[str, Any]]:
    """Return the entries under a filter, newest first."""
    found = graph.data(LOG, filter=filter_)["auditLog"]
    nodes = [edge["node"] for edge in found["edges"]]
    assert found["totalCount"] == len(nodes)
    return nodes


def actions(graph: Graph, **filter_: Any) -> list[str]:
    return [node["action"] for node in listed(graph, **filter_)]


def test_an_entry_tells_who_did_what(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    graph = gql("acme-admin", headers={"X-Request-ID": "of-this-request"})
    asset = to_base64("Asset", acme.assets[0].pk)
    graph.data(
        'mutation ($id: ID!) { updateAsset(input: {id: $id, name: "ACME-MARK anew"}) '
        "{ errors { code } } }",
        id=asset,
    )
    assert listed(graph)[0] == {
        "action": "asset.updated",
        "subject": "Asset",
        "label": "ACME-MARK anew",
        "actor": {
            "kind": "MEMBER",
            "credential": "BASIC",
            "address": "127.0.0.1",
            "user": {"username": "acme-admin"},
            "userId": to_base64("User", acme.admin.user_id),
            "deviceId": None,
            "keyId": None,
        },
        "subjectId": asset,
        "requestId": "of-this-request",
        "before": {"name": "ACME-MARK asset 0"},
        "after": {"name": "ACME-MARK anew"},
        "reason": "",
    }


def test_only_owners_and_admins_read_it(
    acme: Inhabited, globex: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    for role in ("manager", "operator", "viewer"):
        answer = gql(f"acme-{role}")(LOG)
        assert answer["data"]["auditLog"] is None
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    for role in ("owner", "admin"):
        text = gql(f"acme-{role}").post(LOG).content.decode()
        assert "ACME-MARK" in text
        assert globex.marker not in text


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"actions": ["thing.seen"]}, ["thing.seen"]),
        ({"actions": ["thing.seen", "tenant.created"]}, ["thing.seen", "tenant.created"]),
        ({"actions": []}, []),
        ({"actionPrefix": "th"}, ["thing.seen"]),
        ({"actionPrefix": "capability."}, ["capability.created"]),
        ({"subjects": ["Tenant", "Device"]}, ["device.registered", "tenant.created"]),
        ({"subjects": ["ApiToken"]}, ["token.created"] * 2),
        ({"labelPrefix": "acme-mark thi"}, ["thing.seen"]),
        ({"labelPrefix": "ACME-mark T", "subjects": ["Device"]}, []),
        ({"credentials": ["SESSION"]}, []),
        ({"credentials": ["COMMAND"]}, ["membership.added"] * 5),
        ({"to": "2020-01-01T00:00:00Z"}, []),
        ({"from": "2200-01-01T00:00:00Z"}, []),
        ({"from": "2020-01-01T00:00:00Z", "actionPrefix": "thing"}, ["thing.seen"]),
        ({"subjectId": to_base64("Asset", "x")}, []),
        ({"userId": to_base64("Asset", "x")}, []),
    ],
)
def test_filters(
    acme: Inhabited, gql: Callable[..., Graph], filter_: dict[str, Any], expected: list[str]
) -> None:
    del acme
    assert actions(gql("acme-owner"), **filter_) == expected


def test_filters_by_who_and_what(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    graph = gql("acme-owner")
    assert actions(graph, userId=to_base64("User", acme.viewer.user_id)) == [
        "thing.seen",
        "token.created",
    ]
    assert actions(graph, subjectId=to_base64("Tenant", acme.tenant.pk)) == ["tenant.created"]
    answer = graph(LOG, filter={"userId": "nonsense"})
    assert answer["errors"][0]["extensions"]["code"] == "INVALID"
    answer = graph(LOG, filter={"actions": ["x"] * 101})
    assert answer["errors"][0]["extensions"]["code"] == "INVALID"


def test_the_order_and_pages(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    graph = gql("acme-owner")
    newest = actions(graph)
    oldest = graph.data(LOG, order={"direction": "ASC"})["auditLog"]["edges"]
    assert [edge["node"]["action"] for edge in oldest] == newest[::-1]
    page = "query ($after: String) { auditLog(first: 2, after: $after) { edges { node { action } } \
pageInfo { hasNextPage endCursor } } }"
    seen, after, more = [], None, True
    while more:
        found = graph.data(page, after=after)["auditLog"]
        seen += [edge["node"]["action"] for edge in found["edges"]]
        after, more = found["pageInfo"]["endCursor"], found["pageInfo"]["hasNextPage"]
    assert seen == newest


@pytest.mark.usefixtures("executor")
def test_a_page_costs_two_statements(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    with statements(2):
        gql("acme-owner").data("{ auditLog { edges { node { action actor { user { id } } } } } }")


def test_every_filter_has_its_index(scratch_database: str) -> None:
    """At 20,000 entries of one person, what others did is found without reading theirs."""
    acme = create_world().acme
    graph = Graph(Client(headers=basic("acme-owner"), HTTP_HOST=f"acme.{PLATFORM}"))
    now = datetime.now(UTC)
    with acting_as(acme.owner):
        AuditEntry.objects.bulk_create(
            AuditEntry(
                tenant_id=acme.tenant.pk,
                at=now - timedelta(seconds=n),
                actor_kind="member",
                user_id=acme.owner.user_id,
                credential="session",
                action="asset.updated",
                subject="Asset",
                subject_id=str(acme.assets[n % 3].pk),
                label=f"asset {n}",
            )
            for n in range(20_000)
        )
    with databases.maintenance(scratch_database) as owner:
        owner.execute("ANALYZE audit_entries")
    page = "query ($filter: AuditFilter) { auditLog(first: 5, filter: $filter) \
{ edges { node { action } } } }"
    for filter_, index in (
        ({}, "audit_by_at"),
        ({"from": print_instant(now - timedelta(seconds=50))}, "audit_by_at"),
        ({"userId": to_base64("User", acme.viewer.user_id)}, "audit_by_user"),
        ({"actions": ["thing.seen"]}, "audit_by_action"),
        ({"actionPrefix": "thi"}, "audit_by_action"),
        ({"subjects": ["Thing"]}, "audit_by_subject"),
        ({"subjectId": to_base64("Tenant", acme.tenant.pk)}, "audit_by_subject_id"),
        ({"labelPrefix": "ACME-MARK t"}, "audit_by_label"),
    ):
        with CaptureQueriesContext(connection) as captured:
            graph.data(page, filter=filter_)
        [sql] = [q["sql"] for q in captured if 'FROM "audit_entries"' in q["sql"]]
        with acting_as(acme.owner), connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}".replace("%", "%%"))
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Seq Scan" not in plan, (filter_, plan)
        assert f"using {index} " in plan or f"on {index} " in plan, (filter_, plan)
