"""Who may give whom what: roles by rank, permissions by holding them.

Pure. A person gives the roles at or below their own (docs/decisions/granting-roles.md); whoever
acts without a role, such as an API token, gives a role only when they hold all that it amounts to.
Extra permissions are given by nobody who does not hold them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tenancy.actors import ActorKind
from tenancy.errors import InvalidInput, PermissionDenied
from tenancy.permissions import Role, amount, granted, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenancy.actors import Actor

# From most to least.
RANKS = tuple(Role)


class Holding(Protocol):
    """What a membership and an invitation have in common."""

    role: str
    permissions: list[str]


def is_above(one: Role | str, other: Role | str) -> bool:
    """Return whether role `one` ranks above `other`."""
    return RANKS.index(Role(one)) < RANKS.index(Role(other))


def can_give(actor: Actor, role: Role | str) -> bool:
    """Return whether the actor may make somebody that, or change somebody who is."""
    if actor.kind is ActorKind.MEMBER and actor.role is not None:
        return not is_above(role, actor.role)
    return granted(role) <= actor.permissions


def clean_permissions(permissions: Sequence[str]) -> list[str]:
    """Return extra permissions without repetition; raises InvalidInput for one there is none of."""
    wrong = unknown(permissions)
    if wrong:
        message = f"There is no permission {wrong[0]!r:.80}."
        raise InvalidInput(message, field=("permissions",))
    return list(dict.fromkeys(permissions))


def require_can_give(
    actor: Actor, role: Role | str, permissions: Sequence[str] = (), *, had: Sequence[str] = ()
) -> None:
    """Return when the actor may give `role` and, beyond what somebody `had`, `permissions`.

    Raises PermissionDenied.
    """
    if not can_give(actor, role):
        message = "You cannot give a role above your own, or one that you do not hold all of."
        raise PermissionDenied(message, field=("role",))
    if not amount(permissions) - amount(had) <= actor.permissions:
        message = "You cannot give permissions that you do not hold."
        raise PermissionDenied(message, field=("permissions",))


def require_can_change(actor: Actor, held: Holding) -> None:
    """Return when the actor may change whoever holds that; raises PermissionDenied."""
    reaches = can_give(actor, held.role)
    if actor.role is None or actor.kind is not ActorKind.MEMBER:
        reaches = reaches and amount(held.permissions) <= actor.permissions
    if not reaches:
        message = "You cannot change somebody of a higher role than your own."
        raise PermissionDenied(message)
