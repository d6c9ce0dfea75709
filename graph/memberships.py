"""The writes to memberships as GraphQL mutations: nothing decided here (tenancy.members)."""

from typing import Annotated, cast
from uuid import UUID

import strawberry
from strawberry import UNSET
from strawberry.relay import to_base64

from graph.columns import mutation
from graph.context import Info
from graph.errors import UserError, attempt
from graph.ids import key_of
from graph.inputs import given
from graph.members import Membership, by_keys
from graph.permissions import MEMBER, OWNER, holding
from graph.selections import selected
from tenancy import members
from tenancy.errors import NotFound
from tenancy.permissions import Role

_MEMBERSHIP = (
    "The membership as it is now; null when it was refused, or when you may not see members."
)


@strawberry.input(description="What to change of a member. What is left out stays.")
class UpdateMembershipInput:
    """The input of `updateMembership`."""

    id: strawberry.ID = strawberry.field(description="The membership's `id`.")
    role: Role | None = strawberry.field(
        description="What they are to be: at most what you are yourself.", default=UNSET
    )
    permissions: list[str] | None = strawberry.field(
        description=(
            "What they may do besides what the role allows; replaces the list. You can add only "
            'what you hold: `["devices.*"]`; `[]` for none.'
        ),
        default=UNSET,
    )


@strawberry.input(description="Which member.")
class DeactivateMembershipInput:
    """The input of `deactivateMembership`."""

    id: strawberry.ID = strawberry.field(description="The membership's `id`.")


@strawberry.input(description="Which member.")
class ReactivateMembershipInput:
    """The input of `reactivateMembership`."""

    id: strawberry.ID = strawberry.field(description="The membership's `id`.")


@strawberry.input(description="Which member.")
class RemoveMemberInput:
    """The input of `removeMember`."""

    id: strawberry.ID = strawberry.field(description="The membership's `id`.")


@strawberry.input(description="Which tenant.")
class LeaveTenantInput:
    """The input of `leaveTenant`."""

    slug: str = strawberry.field(
        description="The slug of the tenant you are in, so that nobody leaves another: `acme`."
    )


@strawberry.input(description="To whom.")
class TransferOwnershipInput:
    """The input of `transferOwnership`."""

    id: strawberry.ID = strawberry.field(
        description="The `id` of the membership that becomes an owner's: active, and not yours."
    )


@strawberry.type(description="What `updateMembership` did.")
class UpdateMembershipPayload:
    """The payload of `updateMembership`."""

    membership: Membership | None = strawberry.field(description=_MEMBERSHIP)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `deactivateMembership` did.")
class DeactivateMembershipPayload:
    """The payload of `deactivateMembership`."""

    membership: Membership | None = strawberry.field(description=_MEMBERSHIP)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `reactivateMembership` did.")
class ReactivateMembershipPayload:
    """The payload of `reactivateMembership`."""

    membership: Membership | None = strawberry.field(description=_MEMBERSHIP)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `removeMember` did.")
class RemoveMemberPayload:
    """The payload of `removeMember`."""

    deleted_id: strawberry.ID | None = strawberry.field(
        description="The id of the membership that is gone; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `leaveTenant` did.")
class LeaveTenantPayload:
    """The payload of `leaveTenant`."""

    deleted_id: strawberry.ID | None = strawberry.field(
        description="The id of your membership, which is gone; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `transferOwnership` did.")
class TransferOwnershipPayload:
    """The payload of `transferOwnership`."""

    membership: Membership | None = strawberry.field(
        description=(
            "The membership of the new owner; null when it was refused. Yours is an admin's now."
        )
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _key(text: str) -> UUID:
    key = key_of(text, "Membership", "id")
    if key is None:
        raise NotFound("There is no member with this id.", field=("id",))
    return key


def _read_back(info: Info, key: UUID | None) -> Membership | None:
    """Return what was selected of the membership, to who may see it."""
    context = info.context
    context.__dict__.pop("membership", None)
    if key is None or not (context.actor.can("users.view") or key == context.actor.membership_id):
        return None
    [found] = by_keys(context, [key], selected(info).below("membership"))
    return cast("Membership", found)


@strawberry.type
class MembershipMutations:
    """The mutations about memberships."""

    @mutation(
        "Change what a member may do: the role, the extra permissions. It holds from their next "
        "request on. Needs users.edit, and a role no lower than the one they have and the one they "
        "get. Refused: FORBIDDEN, NOT_FOUND, INVALID, CONFLICT for the last active owner.",
        needs=holding("users.edit", also="a role no lower than theirs, before and after"),
    )
    def update_membership(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            UpdateMembershipInput, strawberry.argument(description="Who, and what to change.")
        ],
    ) -> UpdateMembershipPayload:
        """Change a membership."""
        changes = given(input)
        text = changes.pop("id")
        row, errors = attempt(
            lambda: members.update_membership(
                actor=info.context.actor, membership=_key(text), changes=changes
            )
        )
        return UpdateMembershipPayload(
            membership=_read_back(info, row.pk if row else None), errors=errors
        )

    @mutation(
        "Shut a member out without removing them: it opens nothing from their next request on, and "
        "does not count against `maxUsers`. Needs users.edit and a role no lower than theirs. "
        "Refused: FORBIDDEN, NOT_FOUND, CONFLICT for the last active owner.",
        needs=holding("users.edit", also="a role no lower than theirs"),
    )
    def deactivate_membership(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            DeactivateMembershipInput, strawberry.argument(description="Which member.")
        ],
    ) -> DeactivateMembershipPayload:
        """Deactivate a membership."""
        row, errors = attempt(
            lambda: members.deactivate_membership(
                actor=info.context.actor, membership=_key(input.id)
            )
        )
        return DeactivateMembershipPayload(
            membership=_read_back(info, row.pk if row else None), errors=errors
        )

    @mutation(
        "Let a deactivated member in again. Needs users.edit, a role no lower than theirs, and "
        "every extra permission they have. Refused: FORBIDDEN, NOT_FOUND, QUOTA_EXCEEDED.",
        needs=holding(
            "users.edit", also="a role no lower than theirs, and their extra permissions"
        ),
    )
    def reactivate_membership(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            ReactivateMembershipInput, strawberry.argument(description="Which member.")
        ],
    ) -> ReactivateMembershipPayload:
        """Reactivate a membership."""
        row, errors = attempt(
            lambda: members.reactivate_membership(
                actor=info.context.actor, membership=_key(input.id)
            )
        )
        return ReactivateMembershipPayload(
            membership=_read_back(info, row.pk if row else None), errors=errors
        )

    @mutation(
        "Remove a member. What they made stays; the invitations they made are "
        "revoked. Needs users.remove and a role no lower than theirs. Refused: "
        "FORBIDDEN, NOT_FOUND, CONFLICT for the last active owner.",
        needs=holding("users.remove", also="a role no lower than theirs"),
    )
    def remove_member(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RemoveMemberInput, strawberry.argument(description="Which member.")
        ],
    ) -> RemoveMemberPayload:
        """Remove a member."""

        def write() -> str:
            members.remove_member(actor=info.context.actor, membership=_key(input.id))
            return input.id

        deleted, errors = attempt(write)
        return RemoveMemberPayload(
            deleted_id=strawberry.ID(deleted) if deleted else None, errors=errors
        )

    @mutation(
        "Leave the tenant you are in. Works for every member. Refused: FORBIDDEN for a credential "
        "that is no person's, INVALID for another slug, CONFLICT for the last active owner.",
        needs=MEMBER,
    )
    def leave_tenant(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            LeaveTenantInput, strawberry.argument(description="Which tenant.")
        ],
    ) -> LeaveTenantPayload:
        """Leave."""
        key, errors = attempt(
            lambda: members.leave_tenant(actor=info.context.actor, slug=input.slug)
        )
        deleted = strawberry.ID(to_base64("Membership", key)) if key else None
        return LeaveTenantPayload(deleted_id=deleted, errors=errors)

    @mutation(
        "Make another member an owner and become an admin yourself. For owners, in person. "
        "Refused: FORBIDDEN, NOT_FOUND, CONFLICT for yourself and for a deactivated member.",
        needs=OWNER,
    )
    def transfer_ownership(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            TransferOwnershipInput, strawberry.argument(description="To whom.")
        ],
    ) -> TransferOwnershipPayload:
        """Hand the ownership over."""
        row, errors = attempt(
            lambda: members.transfer_ownership(actor=info.context.actor, membership=_key(input.id))
        )
        return TransferOwnershipPayload(
            membership=_read_back(info, row.pk if row else None), errors=errors
        )
