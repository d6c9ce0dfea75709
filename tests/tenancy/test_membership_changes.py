"""Changing members: roles, permissions, going and coming, owners, and how many there can be."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from rls import acting_as
from tenancy.actors import ANONYMOUS, Actor, operator, person
from tenancy.credentials import identify
from tenancy.errors import (
    Conflict,
    DomainError,
    InvalidInput,
    NotFound,
    NotSignedIn,
    PermissionDenied,
    QuotaExceeded,
)
from tenancy.invitations import invite_member
from tenancy.members import (
    add_member,
    deactivate_membership,
    leave_tenant,
    reactivate_membership,
    remove_member,
    transfer_ownership,
    update_membership,
)
from tenancy.models import AuditEntry, Invitation, Membership, Tenant, TenantUsage, User
from tenancy.people import create_user
from tenancy.permissions import Role
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD, actor_in, create_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from pytest_django import DjangoDbBlocker

    from tests.world import Inhabited, World

RANKS = list(Role)
REMAINS = "A tenant needs an active owner: make somebody else one first."


def key_of(actor: Actor) -> UUID:
    assert actor.membership_id is not None
    return actor.membership_id


def row_of(place: Inhabited, key: UUID) -> Membership | None:
    with acting_as(place.owner):
        return Membership.objects.filter(pk=key).first()


def counted(place: Inhabited) -> int:
    with acting_as(place.owner):
        assert (
            TenantUsage.objects.get().members == Membership.objects.filter(is_active=True).count()
        )
        return TenantUsage.objects.get().members


def limit(place: Inhabited, members: int) -> None:
    with acting_as(place.owner):
        Tenant.objects.filter(pk=place.tenant.pk).update(max_users=members)


CHANGES: dict[str, tuple[str, Callable[[Actor, UUID], object]]] = {
    "update": (
        "users.edit",
        lambda actor, key: update_membership(
            actor=actor, membership=key, changes={"permissions": ["assets.view"]}
        ),
    ),
    "deactivate": (
        "users.edit",
        lambda actor, key: deactivate_membership(actor=actor, membership=key),
    ),
    "reactivate": (
        "users.edit",
        lambda actor, key: reactivate_membership(actor=actor, membership=key),
    ),
    "remove": ("users.remove", lambda actor, key: remove_member(actor=actor, membership=key)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("role", Role)
def test_nobody_changes_somebody_of_a_higher_role(
    acme: Inhabited, world: World, change: str, role: Role
) -> None:
    """Every role by every role: allowed with the permission, and not above one's own rank."""
    permission, call = CHANGES[change]
    actor = acme.actors[role.value]
    for name, target in acme.actors.items():
        if (change, name) in {("deactivate", "owner"), ("remove", "owner")} and role is Role.OWNER:
            continue
        allowed = actor.can(permission) and RANKS.index(Role(name)) >= RANKS.index(role)
        with transaction.atomic():
            if allowed:
                with acting_as(actor):
                    call(actor, key_of(target))
            else:
                with (
                    nothing_changed(world),
                    acting_as(actor),
                    pytest.raises(PermissionDenied),
                ):
                    call(actor, key_of(target))
            transaction.set_rollback(True)


def test_a_viewer_who_may_edit_members_stays_below_them(acme: Inhabited, world: World) -> None:
    """Extra permissions do not lift a rank."""
    with acting_as(acme.owner):
        update_membership(
            actor=acme.owner,
            membership=key_of(acme.viewer),
            changes={"permissions": ["users.*", "devices.*"]},
        )
    editor = actor_in(acme.tenant, acme.viewer)
    with nothing_changed(world):
        for changes in (
            {"role": Role.OPERATOR},
            {"role": Role.OWNER},
            {"permissions": ["users.*", "devices.*", "tenant.edit"]},
            {"permissions": ["*"]},
        ):
            with acting_as(editor), pytest.raises(PermissionDenied):
                update_membership(actor=editor, membership=key_of(editor), changes=changes)
        for target in (acme.operator, acme.owner):
            with acting_as(editor), pytest.raises(PermissionDenied):
                remove_member(actor=editor, membership=key_of(target))
    with acting_as(editor):
        update_membership(
            actor=editor, membership=key_of(editor), changes={"permissions": ["users.view"]}
        )
    assert actor_in(acme.tenant, acme.viewer).can("users.edit") is False


def test_a_change_holds_from_the_next_look_up_on(acme: Inhabited) -> None:
    with acting_as(acme.admin):
        row = update_membership(
            actor=acme.admin,
            membership=key_of(acme.viewer),
            changes={"role": Role.MANAGER, "permissions": ["devices.view", "devices.view"]},
        )
    assert (row.role, row.permissions) == ("manager", ["devices.view"])
    now = actor_in(acme.tenant, acme.viewer)
    assert (now.role, now.can("devices.view"), now.can("layouts.edit")) == (
        Role.MANAGER,
        True,
        True,
    )
    with acting_as(acme.admin):
        deactivate_membership(actor=acme.admin, membership=key_of(acme.viewer))
    identity = identify(id_of(acme.viewer))
    assert identity is not None
    assert identity.memberships == ()
    with acting_as(acme.admin):
        update_membership(
            actor=acme.admin, membership=key_of(acme.viewer), changes={"permissions": []}
        )
        reactivate_membership(actor=acme.admin, membership=key_of(acme.viewer))
    assert actor_in(acme.tenant, acme.viewer).role is Role.MANAGER
    with acting_as(acme.admin):
        remove_member(actor=acme.admin, membership=key_of(acme.viewer))
    assert row_of(acme, key_of(acme.viewer)) is None


def test_what_is_there_already_is_not_changed(acme: Inhabited, world: World) -> None:
    with nothing_changed(world), acting_as(acme.owner):
        for changes in ({}, {"role": None, "permissions": None}, {"role": Role.VIEWER}):
            update_membership(actor=acme.owner, membership=key_of(acme.viewer), changes=changes)
        reactivate_membership(actor=acme.owner, membership=key_of(acme.viewer))


def test_nobodys_and_a_foreign_membership_are_one_answer(
    acme: Inhabited, globex: Inhabited, world: World
) -> None:
    for call in (*(call for _, call in CHANGES.values()), _transfer):
        told = set()
        for key in (uuid4(), key_of(globex.viewer)):
            with nothing_changed(world), acting_as(acme.owner), pytest.raises(NotFound) as refused:
                call(acme.owner, key)
            told.add((refused.value.message, refused.value.field))
        assert told == {("There is no member with this id.", ("id",))}


def test_permissions_there_are_none_of(acme: Inhabited, world: World) -> None:
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(InvalidInput) as refused:
        update_membership(
            actor=acme.owner,
            membership=key_of(acme.viewer),
            changes={"permissions": ["assets.destroy"]},
        )
    assert refused.value.field == ("permissions",)


def test_the_log_says_what_was_done_to_whom(acme: Inhabited) -> None:
    key = key_of(acme.viewer)
    with acting_as(acme.admin) as actor:
        update_membership(actor=actor, membership=key, changes={"role": Role.OPERATOR})
        update_membership(actor=actor, membership=key, changes={"permissions": ["assets.edit"]})
        deactivate_membership(actor=actor, membership=key)
        deactivate_membership(actor=actor, membership=key)
        with pytest.raises(PermissionDenied), transaction.atomic():
            remove_member(actor=actor, membership=key_of(acme.owner))
    with acting_as(acme.owner) as actor:
        reactivate_membership(actor=actor, membership=key)
        remove_member(actor=actor, membership=key)
    with acting_as(acme.manager) as actor:
        leave_tenant(actor=actor, slug="acme")
    with acting_as(acme.owner) as actor:
        transfer_ownership(actor=actor, membership=key_of(acme.admin))
        told = AuditEntry.objects.filter(subject="Membership").order_by("-at", "-id")[:8]
        entries = [
            (entry.action.partition(".")[2], entry.label[5:], entry.before, entry.after)
            for entry in reversed(told)
        ]
    viewer = {"role": "viewer", "permissions": []}
    running = {"role": "operator", "permissions": []}
    more = {"role": "operator", "permissions": ["assets.edit"]}
    manager = {"role": "manager", "permissions": []}
    assert entries == [
        ("role_changed", "viewer", viewer, running),
        ("permissions_changed", "viewer", running, more),
        ("deactivated", "viewer", None, None),
        ("reactivated", "viewer", None, None),
        ("removed", "viewer", {"user": str(acme.viewer.user_id), **more}, None),
        ("left", "manager", {"user": str(acme.manager.user_id), **manager}, None),
        ("role_changed", "admin", {"role": "admin"}, {"role": "owner"}),
        ("role_changed", "owner", {"role": "owner"}, {"role": "admin"}),
    ]


# --- owners -------------------------------------------------------------------------------------


def _transfer(actor: Actor, key: UUID) -> object:
    return transfer_ownership(actor=actor, membership=key)


LOSSES: dict[str, Callable[[Actor, UUID], object]] = {
    "demote": lambda actor, key: update_membership(
        actor=actor, membership=key, changes={"role": Role.ADMIN}
    ),
    "deactivate": CHANGES["deactivate"][1],
    "remove": CHANGES["remove"][1],
    "leave": lambda actor, _key: leave_tenant(actor=actor, slug="acme"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_last_owner_stays(acme: Inhabited, world: World, loss: str) -> None:
    call = LOSSES[loss]
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(Conflict) as refused:
        call(acme.owner, key_of(acme.owner))
    assert refused.value.message == REMAINS
    with acting_as(acme.owner):
        update_membership(
            actor=acme.owner, membership=key_of(acme.admin), changes={"role": Role.OWNER}
        )
    # One whose account is deactivated, or whose membership is, is no owner to rely on.
    with acting_as(acme.admin):
        User.objects.filter(pk=id_of(acme.admin)).update(is_active=False)
    with acting_as(acme.owner), pytest.raises(Conflict):
        call(acme.owner, key_of(acme.owner))
    with acting_as(acme.admin):
        User.objects.filter(pk=id_of(acme.admin)).update(is_active=True)
    with acting_as(acme.owner):
        call(acme.owner, key_of(acme.owner))
    left = row_of(acme, key_of(acme.owner))
    assert left is None or (left.role, left.is_active) != ("owner", True)


def test_the_database_keeps_the_last_owner_from_every_writer(acme: Inhabited) -> None:
    for statement in (
        "UPDATE tenant_users SET role = 'admin' WHERE role = 'owner'",
        "UPDATE tenant_users SET is_active = false",
        "DELETE FROM tenant_users",
    ):
        with (
            acting_as(acme.owner),
            pytest.raises(IntegrityError, match="no active owner"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
    assert counted(acme) == 6


def test_ownership_is_handed_over_by_an_owner_in_person(acme: Inhabited, world: World) -> None:
    stranger = operator(acme.tenant.pk)
    with nothing_changed(world):
        for actor in (acme.admin, acme.viewer, stranger):
            with acting_as(actor), pytest.raises(PermissionDenied, match="Only an owner"):
                _transfer(actor, key_of(acme.viewer))
        with acting_as(ANONYMOUS), pytest.raises(NotSignedIn):
            _transfer(ANONYMOUS, key_of(acme.viewer))
        with acting_as(acme.owner), pytest.raises(Conflict):
            _transfer(acme.owner, key_of(acme.owner))
    with acting_as(acme.owner):
        deactivate_membership(actor=acme.owner, membership=key_of(acme.viewer))
        with pytest.raises(Conflict):
            _transfer(acme.owner, key_of(acme.viewer))
        _transfer(acme.owner, key_of(acme.manager))
    assert actor_in(acme.tenant, acme.manager).role is Role.OWNER
    assert actor_in(acme.tenant, acme.owner).role is Role.ADMIN
    # Whoever was an owner when the request began is none any more.
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(PermissionDenied):
        _transfer(acme.owner, key_of(acme.admin))


def test_leaving_is_for_every_member_and_names_the_tenant(acme: Inhabited, world: World) -> None:
    with nothing_changed(world), acting_as(acme.viewer), pytest.raises(InvalidInput) as refused:
        leave_tenant(actor=acme.viewer, slug="globex")
    assert refused.value.field == ("slug",)
    nobody = operator(acme.tenant.pk)
    with nothing_changed(world), acting_as(nobody), pytest.raises(PermissionDenied):
        leave_tenant(actor=nobody, slug="acme")
    with acting_as(acme.viewer):
        assert leave_tenant(actor=acme.viewer, slug="acme") == acme.viewer.membership_id
    assert row_of(acme, key_of(acme.viewer)) is None


def test_two_owners_who_go_at_once_do_not_both(
    scratch_database: str, django_db_blocker: DjangoDbBlocker
) -> None:
    del scratch_database
    with django_db_blocker.unblock():
        acme = create_world().acme
        with acting_as(acme.owner):
            update_membership(
                actor=acme.owner, membership=key_of(acme.admin), changes={"role": Role.OWNER}
            )
        owners = [acme.owner, actor_in(acme.tenant, acme.admin)]
        barrier = threading.Barrier(2)
        results: list[object] = []

        def go(actor: Actor) -> None:
            try:
                with acting_as(actor):
                    barrier.wait(10)
                    leave_tenant(actor=actor, slug="acme")
                results.append("left")
            except DomainError as error:
                results.append(error.message)
            finally:
                connection.close()

        threads = [threading.Thread(target=go, args=[actor]) for actor in owners]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(map(str, results)) == [REMAINS, "left"]
        with acting_as(operator(acme.tenant.pk)):
            assert Membership.objects.filter(role="owner", is_active=True).count() == 1


# --- how many -----------------------------------------------------------------------------------


def test_members_are_counted_and_held_to_the_limit(acme: Inhabited, world: World) -> None:
    assert counted(acme) == 6
    limit(acme, 6)
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(QuotaExceeded) as refused:
        add_member(actor=acme.owner, user_id=id_of(world.outsider), role=Role.VIEWER)
    assert refused.value.message == (
        "This tenant may have 6 members and has no room for more. Remove or deactivate one, or ask "
        "for a larger plan."
    )
    # One who is deactivated leaves room, and needs it to come back.
    with acting_as(acme.owner):
        deactivate_membership(actor=acme.owner, membership=key_of(acme.viewer))
        add_member(actor=acme.owner, user_id=id_of(world.outsider), role=Role.VIEWER)
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(QuotaExceeded):
        reactivate_membership(actor=acme.owner, membership=key_of(acme.viewer))
    # Over a limit that was lowered one can still go, and come no more.
    limit(acme, 1)
    with acting_as(acme.owner):
        remove_member(actor=acme.owner, membership=key_of(acme.manager))
    assert counted(acme) == 5
    with acting_as(acme.owner):
        remove_member(actor=acme.owner, membership=key_of(acme.viewer))
    assert counted(acme) == 5


def test_the_limit_is_not_passed_by_many_at_once(
    scratch_database: str, django_db_blocker: DjangoDbBlocker
) -> None:
    del scratch_database
    with django_db_blocker.unblock():
        acme = create_world().acme
        people = [create_user(f"newcomer-{number}", PASSWORD).pk for number in range(6)]
        limit(acme, 8)
        barrier = threading.Barrier(len(people))
        results: list[object] = []

        def add(user_id: UUID) -> None:
            try:
                barrier.wait(10)
                with acting_as(operator(acme.tenant.pk)) as actor:
                    add_member(actor=actor, user_id=user_id, role=Role.VIEWER)
                results.append("added")
            except QuotaExceeded:
                results.append("refused")
            finally:
                connection.close()

        threads = [threading.Thread(target=add, args=[user_id]) for user_id in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(map(str, results)) == ["added"] * 2 + ["refused"] * 4
        assert counted(acme) == 8


# --- their invitations --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda owner, key: remove_member(actor=owner, membership=key), []),
        (lambda owner, key: deactivate_membership(actor=owner, membership=key), []),
        (
            lambda owner, key: update_membership(
                actor=owner, membership=key, changes={"role": Role.MANAGER}
            ),
            [],
        ),
        (
            lambda owner, key: update_membership(
                actor=owner,
                membership=key,
                changes={"role": Role.MANAGER, "permissions": ["users.invite", "devices.view"]},
            ),
            ["a-viewer@x.example", "b-devices@x.example"],
        ),
        (
            lambda owner, key: update_membership(
                actor=owner, membership=key, changes={"permissions": ["layouts.view"]}
            ),
            ["a-viewer@x.example", "b-devices@x.example", "c-admin@x.example", "d-users@x.example"],
        ),
    ],
)
def test_what_somebody_could_not_invite_to_any_more_is_taken_back(
    acme: Inhabited, change: Callable[[Actor, UUID], Any], left: list[str]
) -> None:
    wanted: list[tuple[str, Role, list[str]]] = [
        ("a-viewer@x.example", Role.VIEWER, []),
        ("b-devices@x.example", Role.VIEWER, ["devices.view"]),
        ("c-admin@x.example", Role.ADMIN, []),
        ("d-users@x.example", Role.VIEWER, ["users.edit"]),
    ]
    with acting_as(acme.admin):
        for email, role, extra in wanted:
            invite_member(actor=acme.admin, email=email, role=role, permissions=extra)
    with acting_as(acme.owner):
        change(acme.owner, key_of(acme.admin))
        mine = Invitation.objects.filter(invited_by_id=acme.admin.user_id)
        assert sorted(mine.filter(state="pending").values_list("email", flat=True)) == left
        assert mine.filter(state="revoked", ended_at__isnull=False).count() == 4 - len(left)
        # Others' stay.
        assert Invitation.objects.filter(invited_by_id=acme.owner.user_id, state="pending").exists()


def test_who_is_nowhere_changes_nobody(world: World) -> None:
    with nothing_changed(world):
        for _, call in CHANGES.values():
            with acting_as(ANONYMOUS), pytest.raises(NotSignedIn):
                call(ANONYMOUS, uuid4())
            stranger = person(id_of(world.outsider))
            with acting_as(stranger), pytest.raises(DomainError):
                call(stranger, uuid4())
