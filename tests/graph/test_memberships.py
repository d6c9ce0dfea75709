"""Changing members through GraphQL, as every role, and what holds from the next request on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from strawberry.relay import to_base64

from rls import acting_as
from tenancy.models import Membership, User
from tests.conftest import PLATFORM
from tests.tenancy.conftest import id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Graph
    from tests.world import Inhabited

SHOWN = "membership { role permissions isActive user { username } } errors { field message code }"
UPDATE = f"mutation($input: UpdateMembershipInput!) {{ done: updateMembership(input: $input) {{ {SHOWN} }} }}"
FORBIDDEN = "You cannot change somebody of a higher role than your own."


def id_in(place: Inhabited, role: str) -> str:
    return to_base64("Membership", place.actors[role].membership_id)


def mutation(name: str, shown: str = SHOWN) -> str:
    kind = name[0].upper() + name[1:] + "Input"
    return f"mutation($input: {kind}!) {{ done: {name}(input: $input) {{ {shown} }} }}"


def rows(place: Inhabited) -> list[dict[str, Any]]:
    with acting_as(place.owner):
        return [dict(row) for row in Membership.objects.order_by("pk").values()]


def test_a_role_is_changed_and_holds_at_once(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    done = gql("acme-admin").data(
        UPDATE,
        input={
            "id": id_in(acme, "viewer"),
            "role": "OPERATOR",
            "permissions": ["assets.edit", "assets.edit"],
        },
    )["done"]
    assert done == {
        "membership": {
            "role": "OPERATOR",
            "permissions": ["assets.edit"],
            "isActive": True,
            "user": {"username": "acme-viewer"},
        },
        "errors": [],
    }
    me = '{ me { can(permission: "devices.control") membership { role } } }'
    assert gql("acme-viewer").data(me)["me"] == {"can": True, "membership": {"role": "OPERATOR"}}


@pytest.mark.parametrize(
    ("who", "whom", "change", "code", "field"),
    [
        ("viewer", "viewer", {"role": "OWNER"}, "FORBIDDEN", None),
        ("manager", "viewer", {"role": "MANAGER"}, "FORBIDDEN", None),
        ("admin", "owner", {"role": "VIEWER"}, "FORBIDDEN", None),
        ("admin", "admin", {"role": "OWNER"}, "FORBIDDEN", ["role"]),
        ("admin", "viewer", {"permissions": ["layouts.edit"]}, "FORBIDDEN", ["permissions"]),
        ("admin", "viewer", {"permissions": ["*"]}, "FORBIDDEN", ["permissions"]),
        ("owner", "viewer", {"permissions": ["x.y"]}, "INVALID", ["permissions"]),
        ("owner", "owner", {"role": "ADMIN"}, "CONFLICT", ["id"]),
    ],
)
def test_nobody_gets_further_than_they_may(
    acme: Inhabited,
    gql: Callable[..., Graph],
    who: str,
    whom: str,
    change: Any,
    code: str,
    field: Any,
) -> None:
    before = rows(acme)
    done = gql(f"acme-{who}").data(UPDATE, input={"id": id_in(acme, whom), **change})["done"]
    assert done["membership"] is None
    assert [(error["code"], error["field"]) for error in done["errors"]] == [(code, field)]
    assert rows(acme) == before


def test_who_is_shut_out_finds_the_next_request_refused(
    acme: Inhabited, gql: Callable[..., Graph], client_of: Callable[..., Any]
) -> None:
    del client_of
    viewer, owner = gql("acme-viewer"), gql()
    target = {"id": id_in(acme, "viewer")}
    assert viewer.post("{ tenant { name } }").status_code == 200
    done = owner.data(mutation("deactivateMembership"), input=target)["done"]
    assert (done["membership"]["isActive"], done["errors"]) == (False, [])
    assert viewer.post("{ tenant { name } }").status_code == 403
    done = owner.data(mutation("reactivateMembership"), input=target)["done"]
    assert (done["membership"]["isActive"], done["errors"]) == (True, [])
    assert viewer.post("{ tenant { name } }").status_code == 200
    done = owner.data(mutation("removeMember", "deletedId errors { code }"), input=target)["done"]
    assert done == {"deletedId": target["id"], "errors": []}
    assert viewer.post("{ tenant { name } }").status_code == 403


def test_leaving(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    leave = mutation("leaveTenant", "deletedId errors { field code }")
    viewer = gql("acme-viewer")
    done = viewer.data(leave, input={"slug": "globex"})["done"]
    assert done == {"deletedId": None, "errors": [{"field": ["slug"], "code": "INVALID"}]}
    done = viewer.data(leave, input={"slug": "acme"})["done"]
    assert done == {"deletedId": id_in(acme, "viewer"), "errors": []}
    assert viewer.post("{ tenant { name } }").status_code == 403
    done = gql().data(leave, input={"slug": "acme"})["done"]
    assert [error["code"] for error in done["errors"]] == ["CONFLICT"]


def test_ownership_goes_over(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    transfer = mutation("transferOwnership", "membership { role } errors { code message }")
    target = {"id": id_in(acme, "manager")}
    done = gql("acme-admin").data(transfer, input=target)["done"]
    assert [error["code"] for error in done["errors"]] == ["FORBIDDEN"]
    assert gql().data(transfer, input=target)["done"] == {
        "membership": {"role": "OWNER"},
        "errors": [],
    }
    roles = {row["user_id"]: row["role"] for row in rows(acme)}
    assert roles[acme.owner.user_id] == "admin"
    assert roles[acme.manager.user_id] == "owner"


def test_what_is_read_back_is_for_who_may_see_it(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    with acting_as(acme.owner):
        Membership.objects.filter(user_id=id_of(acme.viewer)).update(permissions=["users.edit"])
    graph = gql("acme-viewer")
    both = to_base64(
        "Membership", next(row["id"] for row in rows(acme) if row["id"] not in _roles(acme))
    )
    done = graph.data(mutation("deactivateMembership"), input={"id": both})["done"]
    assert done == {"membership": None, "errors": []}
    assert any(not row["is_active"] for row in rows(acme))
    own = graph.data(UPDATE, input={"id": id_in(acme, "viewer"), "permissions": []})["done"]
    assert own["membership"]["permissions"] == []


def _roles(place: Inhabited) -> set[Any]:
    return {actor.membership_id for actor in place.actors.values()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("VIEWER", ["acme-viewer"]),
        ("lovelace", ["acme-manager"]),
        ("@acme.example", ["owner", "admin", "manager", "operator", "viewer"]),
        (" both ", ["both"]),
        ("", 6),
        ("%", []),
        ("globex", []),
    ],
)
def test_members_are_found_by_text(
    acme: Inhabited, gql: Callable[..., Graph], text: str, found: Any
) -> None:
    with acting_as(acme.manager):
        User.objects.filter(pk=id_of(acme.manager)).update(last_name="Lovelace")
    data = gql("acme-admin").data(
        "query($text: String) { memberships(filter: {search: $text}) "
        "{ totalCount edges { node { user { username } } } } }",
        text=text,
    )["memberships"]
    names = [edge["node"]["user"]["username"] for edge in data["edges"]]
    expected = found if isinstance(found, int) else len(found)
    assert data["totalCount"] == len(names) == expected
    if not isinstance(found, int):
        assert [name.removeprefix("acme-") for name in names] == [
            name.removeprefix("acme-") for name in found
        ]


@pytest.mark.parametrize("text", ["x" * 201, "\x00", "\ud800"])
def test_a_search_that_cannot_be(gql: Callable[..., Graph], text: str) -> None:
    [error] = gql()(
        "query($text: String) { memberships(filter: {search: $text}) { totalCount } }", text=text
    )["errors"]
    assert error["extensions"]["code"] == "INVALID"


def test_usage_counts_active_members(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    usage = "{ tenant { usage { members maxMembers } } }"
    graph = gql()
    assert graph.data(usage)["tenant"]["usage"]["members"] == 6
    graph.data(mutation("deactivateMembership"), input={"id": id_in(acme, "viewer")})
    assert graph.data(usage)["tenant"]["usage"]["members"] == 5


def test_a_device_is_nobody_who_could_leave(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    from tenancy.devices import rotate_device_secret
    from tenancy.models import Device

    with acting_as(acme.owner):
        device, secret = rotate_device_secret(actor=acme.owner, device=Device.objects.get().pk)
    del device
    graph = gql("", host=f"acme.{PLATFORM}", headers={"Authorization": f"Bearer {secret}"})
    before = rows(acme)
    done = graph.data(mutation("leaveTenant", "deletedId errors { code }"), input={"slug": "acme"})[
        "done"
    ]
    assert done == {"deletedId": None, "errors": [{"code": "FORBIDDEN"}]}
    assert rows(acme) == before
