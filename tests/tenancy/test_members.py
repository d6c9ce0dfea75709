"""Members: who may add whom as what, and that nobody gives what they do not hold."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import connection

from rls import acting_as
from tenancy.actors import ANONYMOUS, Actor, ActorKind, operator, person
from tenancy.credentials import identify
from tenancy.errors import (
    Conflict,
    DomainError,
    InvalidInput,
    NotFound,
    NotSignedIn,
    PermissionDenied,
    TenantRequired,
)
from tenancy.members import add_member
from tenancy.models import Membership, User
from tenancy.people import create_user
from tenancy.permissions import Role, granted
from tenancy.tenants import create_tenant
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD

if TYPE_CHECKING:
    from uuid import UUID

    from pytest_django import DjangoDbBlocker

    from tests.world import Inhabited, World


@pytest.fixture
def stranger(world: World) -> UUID:
    """Somebody who belongs to no tenant."""
    return id_of(world.outsider)


def test_an_owner_adds_anybody_as_anything(acme: Inhabited, stranger: UUID) -> None:
    with acting_as(acme.owner):
        membership = add_member(
            actor=acme.owner,
            user_id=stranger,
            role=Role.VIEWER,
            permissions=["assets.edit", "devices.*", "assets.edit"],
        )
        row: dict[str, Any] = dict(Membership.objects.values().get(pk=membership.pk))
    assert row.pop("joined_at") is not None
    assert row == {
        "id": membership.pk,
        "tenant_id": acme.tenant.id,
        "user_id": stranger,
        "role": "viewer",
        "permissions": ["assets.edit", "devices.*"],
        "is_active": True,
        "last_access": None,
    }
    identity = identify(stranger)
    assert identity is not None
    (state,) = identity.memberships
    assert (state.slug, state.role, state.tenant_is_active) == ("acme", "viewer", True)
    assert granted(state.role, state.permissions) == granted(
        Role.VIEWER, ["assets.edit", "devices.*"]
    )


@pytest.mark.parametrize("role", [Role.MANAGER, Role.OPERATOR, Role.VIEWER])
def test_who_may_not_edit_members_adds_none(
    acme: Inhabited, world: World, stranger: UUID, role: Role
) -> None:
    actor = acme.actors[role.value]
    with (
        nothing_changed(world),
        acting_as(actor),
        pytest.raises(PermissionDenied, match=r"users\.edit"),
    ):
        add_member(actor=actor, user_id=stranger, role=Role.VIEWER, permissions=["nonsense"])


def test_nobody_gives_what_they_do_not_hold(acme: Inhabited, world: World, stranger: UUID) -> None:
    """Every role by every role: a person gives what ranks no higher than they do."""
    ranks = list(Role)
    for actor in acme.actors.values():
        assert actor.role is not None
        for role in Role:
            may = ranks.index(role) >= ranks.index(actor.role)
            allowed = actor.can("users.edit") and may
            with nothing_changed(world), acting_as(actor):
                if allowed:
                    membership = add_member(actor=actor, user_id=stranger, role=role)
                    membership.delete()
                else:
                    with pytest.raises(PermissionDenied):
                        add_member(actor=actor, user_id=stranger, role=role)


def test_nor_by_way_of_the_extra_list(acme: Inhabited, world: World, stranger: UUID) -> None:
    giver = Actor(
        ActorKind.MEMBER,
        acme.tenant.id,
        id_of(acme.viewer),
        granted(Role.VIEWER, ["users.edit", "assets.edit"]),
    )
    for permissions in (["*"], ["assets.*"], ["assets.delete"], ["users.*"], ["tenant.edit"]):
        with nothing_changed(world), acting_as(giver), pytest.raises(PermissionDenied):
            add_member(actor=giver, user_id=stranger, role=Role.VIEWER, permissions=permissions)
    with acting_as(giver):
        added = add_member(
            actor=giver, user_id=stranger, role=Role.VIEWER, permissions=["assets.edit"]
        )
    assert added.permissions == ["assets.edit"]


@pytest.mark.parametrize(
    "permissions",
    [["nonsense"], ["assets.destroy"], ["assets.view", ""], ["ASSETS.*"], ["x" * 1000], ["\x00"]],
)
def test_permissions_there_are_none_of(
    acme: Inhabited, world: World, stranger: UUID, permissions: list[str]
) -> None:
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(InvalidInput) as refused:
        add_member(actor=acme.owner, user_id=stranger, role=Role.VIEWER, permissions=permissions)
    assert refused.value.field == ("permissions",)


def test_a_member_is_one_once(acme: Inhabited, world: World) -> None:
    for role in Role:
        with nothing_changed(world), acting_as(acme.owner), pytest.raises(Conflict) as refused:
            add_member(actor=acme.owner, user_id=id_of(acme.viewer), role=role)
        assert refused.value.field == ("user",)
    with acting_as(acme.owner):
        # Nor a second time while the first is switched off.
        Membership.objects.filter(user_id=id_of(acme.viewer)).update(is_active=False)
        with pytest.raises(Conflict):
            add_member(actor=acme.owner, user_id=id_of(acme.viewer), role=Role.OWNER)


def test_nobodys_id_and_a_deactivated_persons_are_one_answer(
    acme: Inhabited, world: World, stranger: UUID
) -> None:
    with acting_as(world.outsider):
        User.objects.filter(pk=stranger).update(is_active=False)
    told = set()
    for user_id in (uuid4(), stranger, acme.tenant.id):
        with nothing_changed(world), acting_as(acme.owner), pytest.raises(NotFound) as refused:
            add_member(actor=acme.owner, user_id=user_id, role=Role.VIEWER)
        told.add((refused.value.message, refused.value.field))
    assert told == {("There is no such person.", ("user",))}


def test_who_is_nowhere_adds_nobody(world: World, stranger: UUID) -> None:
    with nothing_changed(world):
        for actor, error in ((ANONYMOUS, NotSignedIn), (world.both, TenantRequired)):
            with acting_as(actor), pytest.raises(error):
                add_member(actor=actor, user_id=stranger, role=Role.VIEWER)


def test_membership_in_one_tenant_is_none_in_the_other(world: World, stranger: UUID) -> None:
    for place, role in ((world.acme, Role.VIEWER), (world.globex, Role.MANAGER)):
        with acting_as(operator(place.tenant.id)) as actor:
            add_member(actor=actor, user_id=stranger, role=role)
            assert Membership.objects.filter(user_id=stranger).count() == 1
    identity = identify(stranger)
    assert identity is not None
    assert [(m.slug, m.role) for m in identity.memberships] == [
        ("acme", "viewer"),
        ("globex", "manager"),
    ]


def test_one_of_two_who_add_the_same_person_at_once_does(
    scratch_database: str, django_db_blocker: DjangoDbBlocker
) -> None:
    del scratch_database
    with django_db_blocker.unblock():
        owner = person(create_user("founder", PASSWORD).pk)
        tenant = create_tenant(actor=owner, name="Mine", slug="mine")
        user_id = create_user("wanted", PASSWORD).pk
        barrier = threading.Barrier(3)
        results: list[object] = []

        def add() -> None:
            try:
                barrier.wait(10)
                with acting_as(operator(tenant.id)) as actor:
                    add_member(actor=actor, user_id=user_id, role=Role.VIEWER)
                results.append("added")
            except DomainError as error:
                results.append(type(error))
            finally:
                connection.close()

        threads = [threading.Thread(target=add) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(map(str, results)) == sorted(["added", str(Conflict), str(Conflict)])
        with acting_as(operator(tenant.id)):
            assert Membership.objects.filter(user_id=user_id).count() == 1
