"""Members: who belongs to a tenant, and as what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from tenancy.audit import record, taken
from tenancy.credentials import identify
from tenancy.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from tenancy.models import Membership, violated
from tenancy.permissions import Role, granted, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tenancy.actors import Actor


@transaction.atomic
def add_member(
    *, actor: Actor, user_id: UUID, role: Role, permissions: Sequence[str] = ()
) -> Membership:
    """Return a new membership of `user_id` in the actor's tenant.

    Raises PermissionDenied without users.edit or when the actor does not hold all that it would
    give, InvalidInput for a permission there is none of, NotFound for nobody's id (or that of a
    deactivated person), Conflict for somebody who is a member.
    """
    tenant_id = actor.require("users.edit")
    wrong = unknown(permissions)
    if wrong:
        message = f"There is no permission {wrong[0]!r}."
        raise InvalidInput(message, field=("permissions",))
    if not granted(role, permissions) <= actor.permissions:
        message = "You cannot give permissions that you do not hold."
        raise PermissionDenied(message)
    identity = identify(user_id)
    if identity is None:
        # The foreign key would say so only when the transaction ends.
        message = "There is no such person."
        raise NotFound(message, field=("user",))
    try:
        with transaction.atomic():
            row = Membership.objects.create(
                tenant_id=tenant_id,
                user_id=user_id,
                role=role,
                permissions=list(dict.fromkeys(permissions)),
            )
    except IntegrityError as error:
        if violated(error) != "tenant_users_tenant_user":
            raise
        message = "This person is already a member."
        raise Conflict(message, field=("user",)) from error
    after = {"user": user_id, **taken(row, ("role", "permissions"))}
    record(
        actor,
        "membership.added",
        subject="Membership",
        subject_id=row.pk,
        label=identity.username,
        after=after,
    )
    return row
