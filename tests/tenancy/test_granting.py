"""Who may give whom what: the whole matrix, without a database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.actors import Actor, ActorKind, operator
from tenancy.errors import InvalidInput, PermissionDenied
from tenancy.granting import can_give, clean_permissions, require_can_change, require_can_give
from tenancy.permissions import PERMISSIONS, Role, amount, granted

RANKS = [Role.OWNER, Role.ADMIN, Role.MANAGER, Role.OPERATOR, Role.VIEWER]
permissions = st.frozensets(st.sampled_from(sorted(PERMISSIONS)))


def person(role: Role, extra: tuple[str, ...] = ()) -> Actor:
    return Actor(ActorKind.MEMBER, uuid4(), uuid4(), granted(role, extra), uuid4(), role)


def token(held: frozenset[str]) -> Actor:
    """Somebody who acts with permissions and without a role, as an API token does."""
    return Actor(ActorKind.CAPABILITY, uuid4(), None, held)


def holding(role: Role, extra: list[str]) -> Any:
    return SimpleNamespace(role=role.value, permissions=extra)


@pytest.mark.parametrize("giver", Role)
@pytest.mark.parametrize("role", Role)
def test_a_person_gives_roles_no_higher_than_their_own(giver: Role, role: Role) -> None:
    allowed = RANKS.index(role) >= RANKS.index(giver)
    assert can_give(person(giver), role) is allowed
    if allowed:
        require_can_give(person(giver), role)
        require_can_change(person(giver), holding(role, []))
        return
    with pytest.raises(PermissionDenied):
        require_can_give(person(giver), role)
    with pytest.raises(PermissionDenied):
        require_can_change(person(giver), holding(role, []))


@given(held=permissions, role=st.sampled_from(Role))
def test_without_a_role_one_gives_a_role_only_when_one_holds_all_of_it(
    held: frozenset[str], role: Role
) -> None:
    assert can_give(token(held), role) is (granted(role) <= held)
    assert can_give(token(held | granted(role)), role)
    # A role is only what a person in the tenant has.
    odd = Actor(ActorKind.CAPABILITY, uuid4(), None, held, None, Role.OWNER)
    assert can_give(odd, role) is (granted(role) <= held)


@given(held=permissions, wanted=permissions, had=permissions)
def test_extra_permissions_are_given_by_who_holds_them(
    held: frozenset[str], wanted: frozenset[str], had: frozenset[str]
) -> None:
    giver = Actor(ActorKind.MEMBER, uuid4(), uuid4(), held, uuid4(), Role.VIEWER)
    if wanted - had <= held:
        require_can_give(giver, Role.VIEWER, sorted(wanted), had=sorted(had))
    else:
        with pytest.raises(PermissionDenied):
            require_can_give(giver, Role.VIEWER, sorted(wanted), had=sorted(had))


def test_wildcards_are_what_they_amount_to() -> None:
    admin = person(Role.ADMIN)
    require_can_give(admin, Role.VIEWER, ["users.*", "devices.control"])
    for wanted in (["*"], ["layouts.*"], ["content.view"]):
        with pytest.raises(PermissionDenied) as refused:
            require_can_give(admin, Role.VIEWER, wanted)
        assert refused.value.field == ("permissions",)
    # What somebody has already is not given again.
    require_can_give(admin, Role.VIEWER, ["layouts.*", "users.*"], had=["layouts.*"])
    with pytest.raises(PermissionDenied):
        require_can_give(admin, Role.VIEWER, ["*"], had=["layouts.*"])


def test_what_a_token_can_change_it_holds() -> None:
    held = granted(Role.VIEWER, ["users.edit"])
    require_can_change(token(held), holding(Role.VIEWER, ["users.edit"]))
    with pytest.raises(PermissionDenied):
        require_can_change(token(held), holding(Role.VIEWER, ["users.remove"]))
    require_can_change(operator(uuid4()), holding(Role.OWNER, ["*"]))


def test_permissions_are_cleaned() -> None:
    assert clean_permissions(["assets.edit", "*", "assets.edit"]) == ["assets.edit", "*"]
    assert amount(["assets.*", "users.view"]) == {
        name for name in PERMISSIONS if name.startswith("assets.")
    } | {"users.view"}
    with pytest.raises(InvalidInput):
        clean_permissions(["assets.view", "nonsense"])
