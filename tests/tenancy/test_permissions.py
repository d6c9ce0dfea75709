"""The permission table (MISSION T3), written out, and the one rule of matching."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.actors import ANONYMOUS, Actor, ActorKind, member, operator, person
from tenancy.credentials import MembershipState
from tenancy.errors import NotSignedIn, PermissionDenied, TenantRequired
from tenancy.permissions import PERMISSIONS, ROLE_PERMISSIONS, Role, covers, granted, unknown

TENANT, USER = UUID(int=1), UUID(int=2)
IN = {
    namespace: {name for name in PERMISSIONS if name.startswith(namespace + ".")}
    for namespace in ("tenant", "users", "assets", "devices", "layouts", "content")
}


def test_the_table_is_the_one_of_the_mission() -> None:
    assert {role.value: grants for role, grants in ROLE_PERMISSIONS.items()} == {
        "owner": ("*",),
        "admin": ("tenant.*", "users.*", "assets.*", "devices.*"),
        "manager": ("assets.*", "layouts.*", "content.*"),
        "operator": ("assets.view", "devices.*", "layouts.view"),
        "viewer": ("assets.view", "layouts.view"),
    }


def test_every_permission_is_in_a_namespace_of_the_table() -> None:
    assert set().union(*IN.values()) == PERMISSIONS


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (Role.OWNER, set(PERMISSIONS)),
        (Role.ADMIN, IN["tenant"] | IN["users"] | IN["assets"] | IN["devices"]),
        (Role.MANAGER, IN["assets"] | IN["layouts"] | IN["content"]),
        (Role.OPERATOR, {"assets.view", "layouts.view"} | IN["devices"]),
        (Role.VIEWER, {"assets.view", "layouts.view"}),
    ],
)
def test_what_a_role_amounts_to(role: Role, expected: set[str]) -> None:
    assert granted(role) == expected
    assert granted(role.value) == expected


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        ("*", "assets.view", True),
        ("assets.*", "assets.view", True),
        ("assets.*", "assets.delete", True),
        ("assets.view", "assets.view", True),
        ("assets.view", "assets.edit", False),
        ("assets.*", "devices.view", False),
        # A namespace is a word, not a beginning of one.
        ("asset.*", "assets.view", False),
        ("assets", "assets.view", False),
        ("assets.", "assets.view", False),
        ("assets*", "assets.view", False),
        ("assets.*.view", "assets.view", False),
        ("assets.**", "assets.view", False),
        ("*.view", "assets.view", False),
        ("*.*", "assets.view", False),
        (".*", "assets.view", False),
        ("", "assets.view", False),
        ("ASSETS.*", "assets.view", False),
        (" assets.*", "assets.view", False),
        # What is no permission is refused, whatever is held.
        ("*", "assets.destroy", False),
        ("assets.*", "assets.destroy", False),
        ("assets.destroy", "assets.destroy", False),
        ("assets.*", "assets.*", False),
        ("*", "*", False),
        ("*", "", False),
        ("*", "assets", False),
    ],
)
def test_the_rule_of_matching(held: str, wanted: str, expected: bool) -> None:  # noqa: FBT001
    assert covers(held, wanted) is expected


@given(st.text(alphabet="*.asetvidxm ", max_size=14), st.sampled_from(sorted(PERMISSIONS)))
def test_nothing_but_the_three_forms_covers(held: str, wanted: str) -> None:
    assert covers(held, wanted) is (held in {"*", wanted, wanted.partition(".")[0] + ".*"})


@given(st.text(max_size=20))
def test_an_unknown_permission_is_refused_to_everybody(name: str) -> None:
    for role in Role:
        actor = Actor(ActorKind.MEMBER, TENANT, USER, granted(role, [name]))
        assert actor.can(name) is (name in PERMISSIONS)


def test_the_memberships_own_list_adds_and_never_takes() -> None:
    assert granted(Role.VIEWER, ["devices.*", "assets.edit"]) == (
        granted(Role.VIEWER) | IN["devices"] | {"assets.edit"}
    )
    assert granted(Role.VIEWER, ["nonsense", "assets.nonsense", ""]) == granted(Role.VIEWER)
    assert granted(Role.VIEWER, ["*"]) == PERMISSIONS


def test_an_unknown_role_is_an_error() -> None:
    with pytest.raises(ValueError, match="root"):
        granted("root")


def test_which_names_are_unknown() -> None:
    assert unknown(["*", "assets.*", "assets.view", "tenant.*"]) == []
    assert unknown(["b.*", "assets.nope", "a", "", "a"]) == ["", "a", "assets.nope", "b.*"]


def test_require_says_what_is_missing() -> None:
    with pytest.raises(NotSignedIn):
        ANONYMOUS.require("assets.view")
    with pytest.raises(NotSignedIn):
        ANONYMOUS.entered()
    with pytest.raises(TenantRequired):
        person(USER).require("assets.view")
    with pytest.raises(TenantRequired):
        person(USER).entered()
    viewer = Actor(ActorKind.MEMBER, TENANT, USER, granted(Role.VIEWER))
    assert viewer.require("assets.view") == viewer.entered() == TENANT
    with pytest.raises(PermissionDenied, match=r"assets\.edit"):
        viewer.require("assets.edit")
    with pytest.raises(PermissionDenied):
        operator(TENANT).require("assets.nonsense")


def test_an_anonymous_actor_holds_nothing_even_with_permissions() -> None:
    forged = Actor(ActorKind.ANONYMOUS, TENANT, USER, PERMISSIONS)
    with pytest.raises(NotSignedIn):
        forged.require("assets.view")


def test_actors_cannot_be_changed() -> None:
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        ANONYMOUS.tenant_id = TENANT  # type: ignore[misc]


def test_a_member_acts_with_single_permissions() -> None:
    state = MembershipState(
        UUID(int=3), TENANT, "acme", None, tenant_is_active=True, role="viewer", permissions=("*",)
    )
    actor = member(USER, state)
    assert (actor.tenant_id, actor.user_id, actor.membership_id) == (TENANT, USER, UUID(int=3))
    assert actor.role is Role.VIEWER
    assert actor.permissions == PERMISSIONS
    assert operator(TENANT).permissions == PERMISSIONS
