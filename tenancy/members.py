"""Members: who belongs to a tenant, and as what (MISSION T7).

Every write is one function: atomic, `*, actor`, permission first. Nobody gives what they may not
(tenancy.granting), and the database keeps every tenant its last active owner, whoever writes. What
is changed here holds from the next request on, since every request asks the database who it is.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from tenancy.actors import Actor, ActorKind
from tenancy.audit import record, taken
from tenancy.credentials import identify
from tenancy.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from tenancy.events import Event, publish
from tenancy.granting import can_give, clean_permissions, require_can_change, require_can_give
from tenancy.limits import within_quota
from tenancy.models import Invitation, InvitationStatus, Membership, Tenant, User, violated
from tenancy.permissions import Role, amount, granted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

# What the trigger in tenancy/migrations/0010_invitations.py names in its refusals.
LAST_OWNER = "tenant_users_last_owner"


@transaction.atomic
def add_member(
    *, actor: Actor, user_id: UUID, role: Role, permissions: Sequence[str] = ()
) -> Membership:
    """Return a new membership of `user_id` in the actor's tenant.

    Raises PermissionDenied without users.edit or when the actor may not give all that, InvalidInput
    for a permission there is none of, NotFound for nobody's id (or that of a deactivated person),
    Conflict for somebody who is a member, QuotaExceeded.
    """
    actor.require("users.edit")
    extra = clean_permissions(permissions)
    require_can_give(actor, role, extra)
    if identify(user_id) is None:
        # The foreign key would say so only when the transaction ends.
        message = "There is no such person."
        raise NotFound(message, field=("user",))
    return join(actor=actor, user_id=user_id, role=role, permissions=extra)


def join(
    *, actor: Actor, user_id: UUID, role: Role | str, permissions: Sequence[str]
) -> Membership:
    """Return a new membership, which somebody else has found to be right.

    Raises Conflict for somebody who is a member, QuotaExceeded.
    """
    try:
        with within_quota():
            row = Membership.objects.create(
                tenant_id=actor.entered(),
                user_id=user_id,
                role=role,
                permissions=list(permissions),
            )
    except IntegrityError as error:
        if violated(error) != "tenant_users_tenant_user":
            raise
        message = "This person is already a member."
        raise Conflict(message, field=("user",)) from error
    _note(row, actor, "added", after={"user": user_id, **taken(row, ("role", "permissions"))})
    return row


@transaction.atomic
def update_membership(*, actor: Actor, membership: UUID, changes: Mapping[str, Any]) -> Membership:
    """Return the membership with `changes` (role, permissions) applied.

    Raises PermissionDenied without users.edit, for somebody of a higher role and for what the actor
    may not give, NotFound, InvalidInput, Conflict for the last owner.
    """
    actor.require("users.edit")
    row = _locked(membership)
    require_can_change(actor, row)
    role = changes.get("role") or row.role
    extra = row.permissions
    if changes.get("permissions") is not None:
        extra = clean_permissions(changes["permissions"])
    require_can_give(actor, role, extra, had=row.permissions)
    if (row.role, row.permissions) == (role, extra):
        return row
    before = taken(row, ("role", "permissions"))
    row.role, row.permissions = Role(role).value, extra
    after = taken(row, ("role", "permissions"))
    _take_back_invitations(row, actor)
    with _an_owner_stays():
        row.save(update_fields=["role", "permissions"])
    action = "role_changed" if before["role"] != row.role else "permissions_changed"
    _note(row, actor, action, before=before, after=after)
    return row


@transaction.atomic
def deactivate_membership(*, actor: Actor, membership: UUID) -> Membership:
    """Return the membership, which opens nothing from the commit on and does not count any more.

    Raises PermissionDenied without users.edit and for somebody of a higher role, NotFound, Conflict
    for the last owner.
    """
    actor.require("users.edit")
    row = _locked(membership)
    require_can_change(actor, row)
    if row.is_active:
        row.is_active = False
        _take_back_invitations(row, actor)
        with _an_owner_stays():
            row.save(update_fields=["is_active"])
        _note(row, actor, "deactivated")
    return row


@transaction.atomic
def reactivate_membership(*, actor: Actor, membership: UUID) -> Membership:
    """Return the membership, which opens again what it did.

    Raises PermissionDenied without users.edit and for somebody of a higher role, NotFound,
    QuotaExceeded.
    """
    actor.require("users.edit")
    row = _locked(membership)
    require_can_change(actor, row)
    # As if it were given anew: somebody else may have taken it for a reason.
    require_can_give(actor, row.role, row.permissions)
    if not row.is_active:
        row.is_active = True
        with within_quota():
            row.save(update_fields=["is_active"])
        _note(row, actor, "reactivated")
    return row


@transaction.atomic
def remove_member(*, actor: Actor, membership: UUID) -> None:
    """Delete a membership; what its person made stays the tenant's.

    Raises PermissionDenied without users.remove and for somebody of a higher role, NotFound,
    Conflict for the last owner.
    """
    actor.require("users.remove")
    row = _locked(membership)
    require_can_change(actor, row)
    _remove(row, actor, "removed")


@transaction.atomic
def leave_tenant(*, actor: Actor, slug: str) -> UUID:
    """Delete the actor's own membership and return its key: everybody may go.

    Raises PermissionDenied for whoever is no member, InvalidInput when `slug` is not that of the
    tenant, Conflict for the last owner.
    """
    tenant_id = actor.entered()
    if actor.membership_id is None:
        message = "Only a member can leave."
        raise PermissionDenied(message)
    if not Tenant.objects.filter(pk=tenant_id, slug=slug).exists():
        message = "This is not the slug of the tenant you are in."
        raise InvalidInput(message, field=("slug",))
    row = _locked(actor.membership_id)
    _remove(row, actor, "left")
    return row.pk


@transaction.atomic
def transfer_ownership(*, actor: Actor, membership: UUID) -> Membership:
    """Return the membership, an owner's now; the actor, who has to be an owner, becomes an admin.

    Raises PermissionDenied for everybody else, NotFound, Conflict for oneself and for a membership
    that is not active.
    """
    actor.entered()
    if actor.membership_id is None or actor.role is not Role.OWNER:
        message = "Only an owner, in person, can hand the ownership over."
        raise PermissionDenied(message)
    # In one order, so that two owners who hand over to each other do not wait for each other.
    keys = {actor.membership_id, membership}
    rows = {
        row.pk: row
        for row in Membership.objects.select_for_update(no_key=True)
        .filter(pk__in=keys)
        .order_by("pk")
    }
    own, row = rows.get(actor.membership_id), rows.get(membership)
    if row is None:
        raise _no_member()
    if own is None or own.role != Role.OWNER or not own.is_active:
        message = "Only an owner, in person, can hand the ownership over."
        raise PermissionDenied(message)
    if row.pk == own.pk or not row.is_active or identify(row.user_id) is None:
        message = "Hand the ownership over to another active member."
        raise Conflict(message, field=("id",))
    was = {"role": row.role}
    row.role, own.role = Role.OWNER.value, Role.ADMIN.value
    _take_back_invitations(own, actor)
    row.save(update_fields=["role"])
    with _an_owner_stays():
        own.save(update_fields=["role"])
    _note(row, actor, "role_changed", before=was, after={"role": row.role})
    _note(own, actor, "role_changed", before={"role": Role.OWNER.value}, after={"role": own.role})
    return row


def _no_member() -> NotFound:
    return NotFound("There is no member with this id.", field=("id",))


def _locked(membership: UUID) -> Membership:
    row = Membership.objects.select_for_update(no_key=True).filter(pk=membership).first()
    if row is None:
        raise _no_member()
    return row


def _remove(row: Membership, actor: Actor, action: str) -> None:
    row.is_active = False
    _take_back_invitations(row, actor)
    # While the person can still be seen from here.
    _note(row, actor, action, before={"user": row.user_id, **taken(row, ("role", "permissions"))})
    with _an_owner_stays():
        Membership.objects.filter(pk=row.pk).delete()


@contextmanager
def _an_owner_stays() -> Iterator[None]:
    """Write inside; raises Conflict, with the block undone, when no active owner would be left."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        if violated(error) != LAST_OWNER:
            raise
        message = "A tenant needs an active owner: make somebody else one first."
        raise Conflict(message, field=("id",)) from error


def _take_back_invitations(row: Membership, actor: Actor) -> None:
    """Revoke what somebody has invited to and could not invite to any more.

    Otherwise an admin who is about to be removed could let themselves in again. `row` is as it will
    be. Before it is written: whoever accepts locks an invitation first, too.
    """
    held = granted(row.role, row.permissions) if row.is_active else frozenset()
    holder = Actor(ActorKind.MEMBER, row.tenant_id, row.user_id, held, row.pk, Role(row.role))
    pending = Invitation.objects.select_for_update(no_key=True).filter(
        invited_by_id=row.user_id, state=InvitationStatus.PENDING
    )
    taken = [
        invitation
        for invitation in pending.order_by("pk")
        if "users.invite" not in held
        or not can_give(holder, invitation.role)
        or not amount(invitation.permissions) <= held
    ]
    for invitation in taken:
        invitation.state, invitation.ended_at = InvitationStatus.REVOKED, timezone.now()
        invitation.save(update_fields=["state", "ended_at"])
        record(
            actor,
            "invitation.revoked",
            subject="Invitation",
            subject_id=invitation.pk,
            label=invitation.email,
            reason="Whoever made it could not make it any more.",
        )
    publish(Event.INVITATIONS_CHANGED, [one.pk for one in taken], actor=actor)


def _note(
    row: Membership,
    actor: Actor,
    action: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write down what was done, and tell who listens: the person's sockets are looked at anew."""
    record(
        actor,
        f"membership.{action}",
        subject="Membership",
        subject_id=row.pk,
        label=User.objects.values_list("username", flat=True).get(pk=row.user_id),
        before=before,
        after=after,
    )
    publish(Event.MEMBERSHIPS_CHANGED, [row.pk], actor=actor, users=[str(row.user_id)])
