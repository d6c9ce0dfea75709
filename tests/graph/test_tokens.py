"""API tokens through GraphQL: made, shown once, listed, renamed, revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from strawberry.relay import to_base64

from tests.conftest import PLATFORM, Graph
from tests.graph.conftest import statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.world import Inhabited

CREATE = """mutation ($input: CreateApiTokenInput!) { createApiToken(input: $input) {
  credential { secret apiToken { id name permissions isLive revokedAt lastUsedAt user { username } } }
  errors { field code }
} }"""
REVOKE = """mutation ($id: ID!) { revokeApiToken(input: {id: $id}) {
  apiToken { name isLive } errors { field code } } }"""
RENAME = """mutation ($id: ID!) { updateApiToken(input: {id: $id, name: "anew"}) {
  apiToken { name } errors { field code } } }"""
LIST = """query ($filter: ApiTokenFilter) {
  apiTokens(filter: $filter) { totalCount edges { node { name isLive user { username } } } } }"""


def made(graph: Graph, **values: Any) -> dict[str, Any]:
    payload = graph.data(CREATE, input={"name": "robot", "permissions": ["assets.view"], **values})
    assert payload["createApiToken"]["errors"] == []
    credential: dict[str, Any] = payload["createApiToken"]["credential"]
    return credential


def names(graph: Graph, **filter_: Any) -> list[str]:
    found = graph.data(LIST, filter=filter_)["apiTokens"]
    assert found["totalCount"] == len(found["edges"])
    return [edge["node"]["name"] for edge in found["edges"]]


def test_a_token_is_made_shown_once_and_opens(
    acme: Inhabited, gql: Callable[..., Graph], client_of: Callable[..., Client]
) -> None:
    del acme
    graph = gql("acme-manager")
    credential = made(graph)
    assert credential["apiToken"] == {
        "id": credential["apiToken"]["id"],
        "name": "robot",
        "permissions": ["assets.view"],
        "isLive": True,
        "revokedAt": None,
        "lastUsedAt": None,
        "user": {"username": "acme-manager"},
    }
    secret = credential["secret"]
    robot = Graph(client_of(host=PLATFORM, headers={"Authorization": f"Bearer {secret}"}))
    answer = robot.data("{ viewerPermissions assets { totalCount } me { username } }")
    assert answer == {
        "viewerPermissions": ["assets.view"],
        "assets": {"totalCount": 3},
        "me": {"username": "acme-manager"},
    }
    assert names(robot) == []
    assert secret not in graph.post("{ apiTokens { edges { node { name } } } }").content.decode()
    id_ = credential["apiToken"]["id"]
    assert graph.data(RENAME, id=id_)["updateApiToken"]["apiToken"] == {"name": "anew"}
    revoked = graph.data(REVOKE, id=id_)["revokeApiToken"]
    assert revoked == {"apiToken": {"name": "anew", "isLive": False}, "errors": []}
    assert robot.post("{ viewerPermissions }").status_code == 401


def test_who_sees_which(acme: Inhabited, globex: Inhabited, gql: Callable[..., Graph]) -> None:
    del globex
    manager, owner, viewer = (gql(f"acme-{role}") for role in ("manager", "owner", "viewer"))
    id_ = made(manager)["apiToken"]["id"]
    made(viewer, name="another")
    assert names(manager) == ["robot"]
    assert names(viewer) == ["ACME-MARK reader", "another"]
    everybodys = ["ACME-MARK reader", "ACME-MARK program", "robot", "another"]
    assert names(owner) == everybodys
    assert names(gql("acme-admin"), isLive=True) == everybodys
    assert names(owner, isLive=False) == []
    user = to_base64("User", acme.manager.user_id)
    assert names(owner, userId=user) == ["robot"]
    assert names(viewer, userId=user) == []
    for graph in (viewer, gql("globex-owner")):
        payload = graph.data(REVOKE, id=id_)["revokeApiToken"]
        assert payload == {"apiToken": None, "errors": [{"field": ["id"], "code": "NOT_FOUND"}]}
        assert graph.data("query ($id: ID!) { node(id: $id) { id } }", id=id_) == {"node": None}
    assert names(manager, isLive=True) == ["robot"]
    assert owner.data(REVOKE, id=id_)["revokeApiToken"]["errors"] == []
    assert names(owner, isLive=False) == ["robot"]


def test_refusals_say_where(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    graph = gql("acme-viewer")
    for values, error in (
        ({"permissions": ["assets.edit"]}, {"field": ["permissions"], "code": "FORBIDDEN"}),
        ({"permissions": []}, {"field": ["permissions"], "code": "INVALID"}),
        ({"name": ""}, {"field": ["name"], "code": "INVALID"}),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, {"field": ["expiresAt"], "code": "INVALID"}),
    ):
        given = {"name": "robot", "permissions": ["assets.view"], **values}
        payload = graph.data(CREATE, input=given)["createApiToken"]
        assert payload == {"credential": None, "errors": [error]}
    assert names(graph) == ["ACME-MARK reader"]


@pytest.mark.usefixtures("executor")
def test_a_page_of_tokens_costs_two_statements(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    with statements(2):
        gql("acme-owner").data("{ apiTokens { edges { node { name user { username } } } } }")
