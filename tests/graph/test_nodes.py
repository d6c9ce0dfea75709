"""Refetching: `node` and `nodes` for every type that has an id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from strawberry.relay import to_base64

from graph.nodes import READERS
from tests.conftest import PLATFORM
from tests.graph.conftest import statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Graph
    from tests.world import Inhabited, World

IDS = """
{
  me { id membership { id user { id } } sessions(first: 1) { edges { node { id } } } }
  tenant { id settings { id } }
  apiTokens(first: 1) { edges { node { id } } }
  assets(first: 1) { edges { node { id } } }
  auditLog(first: 1) { edges { node { id } } }
  backups(first: 1) { edges { node { id } } }
  restores(first: 1) { edges { node { id } } }
  capabilities(first: 1) { edges { node { id } } }
  devices(first: 1) { edges { node { id } } }
  invitations(first: 1) { edges { node { id } } }
  playbackDays(first: 1) { edges { node { id } } }
  uploads(first: 1) { edges { node { id } } }
}
"""
NODES = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"


def own_ids(graph: Graph) -> dict[str, str]:
    data = graph.data(IDS)
    return {
        "ApiToken": data["apiTokens"]["edges"][0]["node"]["id"],
        "Asset": data["assets"]["edges"][0]["node"]["id"],
        "AuditEntry": data["auditLog"]["edges"][0]["node"]["id"],
        "Backup": data["backups"]["edges"][0]["node"]["id"],
        "Restore": data["restores"]["edges"][0]["node"]["id"],
        "Capability": data["capabilities"]["edges"][0]["node"]["id"],
        "Device": data["devices"]["edges"][0]["node"]["id"],
        "Invitation": data["invitations"]["edges"][0]["node"]["id"],
        "Membership": data["me"]["membership"]["id"],
        "PlaybackDay": data["playbackDays"]["edges"][0]["node"]["id"],
        "Tenant": data["tenant"]["id"],
        "TenantSettings": data["tenant"]["settings"]["id"],
        "UploadSession": data["uploads"]["edges"][0]["node"]["id"],
        "User": data["me"]["membership"]["user"]["id"],
        "UserSession": data["me"]["sessions"]["edges"][0]["node"]["id"],
        "Viewer": data["me"]["id"],
    }


@pytest.mark.parametrize("username", ["acme-owner", "acme-admin"])
def test_everything_that_has_an_id_comes_back(
    acme: Inhabited, gql: Callable[..., Graph], username: str
) -> None:
    del acme
    graph = gql(username)
    ids = own_ids(graph)
    assert ids.keys() == READERS.keys()
    for name, id_ in ids.items():
        found = graph.data("query($id: ID!) { node(id: $id) { __typename id } }", id=id_)
        assert found == {"node": {"__typename": name, "id": id_}}
    assert graph.data(NODES, ids=[*ids.values()])["nodes"] == [
        {"__typename": name, "id": id_} for name, id_ in ids.items()
    ]


def test_a_refetched_node_has_all_its_fields(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    graph = gql()
    data = graph.data(
        "query($a: ID!, $t: ID!, $s: ID!, $m: ID!) { a: node(id: $a) { ... on Asset { name isActive "
        "refreshIntervalS createdBy { username } tenant { slug } } } t: node(id: $t) { ...T } "
        "s: node(id: $s) { ... on TenantSettings { timezone } } "
        "m: node(id: $m) { ... on Viewer { permissions } } } fragment T on Tenant { slug url }",
        a=to_base64("Asset", acme.assets[0].pk),
        t=own_ids(graph)["Tenant"],
        s=own_ids(graph)["TenantSettings"],
        m=own_ids(graph)["Viewer"],
    )
    assert data["a"] == {
        "name": "ACME-MARK asset 0",
        "isActive": False,
        "refreshIntervalS": 0,
        "createdBy": {"username": "acme-owner"},
        "tenant": {"slug": "acme"},
    }
    assert data["t"] == {"slug": "acme", "url": acme.tenant.url}
    assert data["s"] == {"timezone": "UTC"}
    assert "assets.edit" in data["m"]["permissions"]


def test_places_are_kept_and_what_is_not_there_is_null(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    first, second = (to_base64("Asset", asset.pk) for asset in acme.assets[:2])
    nothing = [
        to_base64("Asset", "0199d7a2-6f0e-7c3a-8f1d-2b6c5a4e9d10"),
        to_base64("Asset", 999),
        to_base64("Nothing", acme.assets[0].pk),
        to_base64("User", acme.assets[0].pk),
        to_base64("Viewer", acme.viewer.user_id),
    ]
    found = gql().data(NODES, ids=[second, *nothing, first, second])["nodes"]
    assert [node and node["id"] for node in found] == [second, *[None] * 5, first, second]
    assert gql().data(NODES, ids=[]) == {"nodes": []}


@pytest.mark.usefixtures("executor")
def test_many_nodes_are_one_statement_per_type(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    graph = gql()
    ids = [
        *(to_base64("Asset", asset.pk) for asset in acme.assets),
        *(to_base64("User", actor.user_id) for actor in acme.actors.values()),
    ]
    with statements(2):
        assert all(graph.data(NODES, ids=ids)["nodes"])


@pytest.mark.parametrize(
    ("ids", "field"),
    [
        (["garbage"], ["ids", "0"]),
        ([to_base64("Asset", 1), "!"], ["ids", "1"]),
        ([to_base64("Asset", 1)] * 101, ["ids"]),
    ],
)
def test_ids_that_are_none_are_an_error(
    acme: Inhabited, gql: Callable[..., Graph], ids: list[str], field: list[str]
) -> None:
    del acme
    [error] = gql()(NODES, ids=ids)["errors"]
    assert error["extensions"] == {"code": "INVALID", "field": field}


def test_a_hundred_nodes_are_not_too_many(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    assert gql().data(NODES, ids=[to_base64("Asset", 1)] * 100) == {"nodes": [None] * 100}


def test_the_membership_of_somebody_else_is_for_who_may_view_users(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    """Whether it is there or not: the refusal tells nothing."""
    document = "query($id: ID!) { node(id: $id) { id } }"
    for key in (acme.owner.membership_id, "0199d7a2-6f0e-7c3a-8f1d-2b6c5a4e9d10"):
        answer = gql("acme-viewer")(document, id=to_base64("Membership", key))
        assert answer["data"] == {"node": None}
        assert answer["errors"][0]["extensions"] == {"code": "FORBIDDEN"}


def test_without_a_tenant_one_refetches_oneself_and_ones_tenants(
    world: World, gql: Callable[..., Graph]
) -> None:
    graph = gql("both", host=PLATFORM)
    ids = [
        to_base64("User", world.both.user_id),
        to_base64("Viewer", world.both.user_id),
        to_base64("Tenant", world.acme.tenant.pk),
        to_base64("Tenant", world.globex.tenant.pk),
        to_base64("Tenant", world.initech.tenant.pk),
        to_base64("User", world.acme.owner.user_id),
    ]
    found = graph.data(NODES, ids=ids)["nodes"]
    assert [node and node["id"] for node in found] == [*ids[:4], None, None]
    assert graph.post(NODES, {"ids": [to_base64("Asset", world.acme.assets[0].pk)]}).json() == {
        "error": "Invalid or missing tenant",
        "code": "TENANT_REQUIRED",
    }
