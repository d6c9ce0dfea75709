"""Who asks, their memberships, and a tenant's members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rls import acting_as
from tenancy.actors import operator
from tenancy.members import add_member
from tenancy.people import create_user
from tenancy.permissions import Role, granted
from tests.conftest import PLATFORM
from tests.graph.conftest import statements
from tests.world import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Graph
    from tests.world import Inhabited, World

MEMBERS = """
query($filter: MembershipFilter) {
  memberships(filter: $filter) { totalCount edges { node { role user { username email } } } }
}
"""


def test_me_is_who_asks_in_the_tenant_entered(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    data = gql("acme-viewer").data(
        '{ me { username email permissions yes: can(permission: "assets.view") '
        'no: can(permission: "assets.edit") none: can(permission: "assets.*") '
        "membership { role permissions isActive joinedAt lastAccess tenant { slug } user { username "
        "} } memberships { role tenant { uuid } } } }"
    )["me"]
    membership = data.pop("membership")
    assert data == {
        "username": "acme-viewer",
        "email": "viewer@acme.example",
        "permissions": sorted(granted(Role.VIEWER)),
        "yes": True,
        "no": False,
        "none": False,
        "memberships": [{"role": "VIEWER", "tenant": {"uuid": str(acme.tenant.pk)}}],
    }
    assert membership.pop("joinedAt").endswith("Z")
    assert membership == {
        "role": "VIEWER",
        "permissions": [],
        "isActive": True,
        "lastAccess": None,
        "tenant": {"slug": "acme"},
        "user": {"username": "acme-viewer"},
    }


def test_one_is_told_ones_own_memberships_everywhere_and_no_more(
    world: World, gql: Callable[..., Graph]
) -> None:
    del world
    graph = gql("both", host=PLATFORM, headers={"X-Tenant-ID": "globex"})
    memberships = graph.data(
        "{ me { memberships { role joinedAt tenant { slug name } user { username } } } }"
    )["me"]["memberships"]
    joined = {one["tenant"]["slug"]: one.pop("joinedAt") for one in memberships}
    assert all(moment.endswith("Z") for moment in joined.values())
    assert memberships == [
        {
            "role": "VIEWER",
            "tenant": {"slug": "acme", "name": "Acme ACME-MARK"},
            "user": {"username": "both"},
        },
        {
            "role": "MANAGER",
            "tenant": {"slug": "globex", "name": "Globex GLOBEX-MARK"},
            "user": {"username": "both"},
        },
    ]


@pytest.mark.usefixtures("executor")
def test_my_memberships_cost_the_same_however_many_there_are(
    world: World, gql: Callable[..., Graph]
) -> None:
    document = "{ me { memberships { role joinedAt tenant { name } user { username } } } }"
    alone, both = gql("acme-viewer"), gql("both", host=PLATFORM)
    for graph in (alone, both):
        with statements(3):  # me, the look-up, the tenants
            graph.data(document)
    del world


def test_members_are_listed_to_who_may_view_users(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    found = gql("acme-admin").data(MEMBERS)["memberships"]
    assert found["totalCount"] == 6
    assert [edge["node"]["user"]["username"] for edge in found["edges"]] == [
        "acme-owner",
        "acme-admin",
        "acme-manager",
        "acme-operator",
        "acme-viewer",
        "both",
    ]
    assert found["edges"][0]["node"]["user"]["email"] == "owner@acme.example"


@pytest.mark.parametrize("role", ["manager", "operator", "viewer"])
def test_members_are_refused_to_others(gql: Callable[..., Graph], role: str) -> None:
    for document, path in (
        (MEMBERS, ["memberships"]),
        ("{ tenant { memberships { totalCount } } }", ["tenant", "memberships"]),
    ):
        answer = gql(f"acme-{role}")(document)
        [error] = answer["errors"]
        assert error["extensions"] == {"code": "FORBIDDEN"}
        assert error["path"] == path
        assert "users.view" in error["message"]


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        ({}, 6),
        (None, 6),
        ({"role": None, "isActive": None}, 6),
        ({"role": []}, 0),
        ({"role": "OWNER"}, 1),
        ({"role": ["OWNER", "VIEWER"]}, 3),
        ({"isActive": True}, 6),
        ({"isActive": False}, 0),
        ({"isActive": True, "role": ["MANAGER"]}, 1),
    ],
)
def test_members_under_a_filter(
    acme: Inhabited, gql: Callable[..., Graph], filter_: Any, names: int
) -> None:
    del acme
    found = gql().data(MEMBERS, filter=filter_)["memberships"]
    assert found["totalCount"] == len(found["edges"]) == names


def test_an_address_is_ones_own_or_for_who_may_view_users(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    document = "{ me { membership { user { email } } } assets { edges { node { createdBy { username email } } } } }"
    for name, shown in (("acme-viewer", None), ("acme-admin", "owner@acme.example")):
        data = gql(name).data(document)
        assert data["me"]["membership"]["user"]["email"] == f"{name[5:]}@acme.example"
        assert data["assets"]["edges"][0]["node"]["createdBy"] == {
            "username": "acme-owner",
            "email": shown,
        }


@pytest.mark.usefixtures("executor")
def test_a_page_of_members_costs_the_same_for_six_and_for_twenty(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    document = "{ memberships { totalCount edges { node { role user { username email } tenant { name } } } } }"
    graph = gql()
    for extra in (0, 14):
        for number in range(extra):
            person = create_user(f"extra-{number}", PASSWORD)
            with acting_as(operator(acme.tenant.pk)) as actor:
                add_member(actor=actor, user_id=person.pk, role=Role.VIEWER)
        with statements(4):  # the page, its people, the tenant, the count
            found = graph.data(document)["memberships"]
        assert found["totalCount"] == len(found["edges"]) == 6 + extra
