"""Invitations as GraphQL shows and makes them; nothing decided here (tenancy.invitations).

A token is in the mail to the invited address and nowhere else: no field tells it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import Case, CharField, DateTimeField, F, QuerySet, Value, When
from strawberry import UNSET, relay

from graph.columns import (
    Keyed,
    Listed,
    Related,
    column,
    computed,
    expression,
    mutation,
    query,
    reading,
)
from graph.connections import (
    After,
    Before,
    Connection,
    First,
    Last,
    Listing,
    Ordering,
    SortKey,
    Window,
)
from graph.context import Context, Info, people
from graph.enums import OrderDirection, described
from graph.errors import UserError, attempt
from graph.ids import key_of
from graph.inputs import is_given
from graph.members import Membership, User
from graph.permissions import PERSON, SIGNED_IN, holding
from graph.selections import Selection, selected
from tenancy import invitations, models
from tenancy.errors import NotFound
from tenancy.models import InvitationStatus
from tenancy.permissions import Role

described(
    InvitationStatus,
    "How far an invitation has come.",
    {
        InvitationStatus.PENDING: "It waits for an answer.",
        InvitationStatus.ACCEPTED: "Whoever was invited is a member.",
        InvitationStatus.DECLINED: "Whoever was invited did not want to.",
        InvitationStatus.REVOKED: "It was taken back.",
        InvitationStatus.EXPIRED: "Nobody answered in time; it can be resent.",
    },
)


def _status(context: Context) -> Case:
    return Case(
        When(
            state=InvitationStatus.PENDING,
            expires_at__lte=context.bound(lambda one: one.now, DateTimeField()),
            then=Value(InvitationStatus.EXPIRED.value),
        ),
        default=F("state"),
        output_field=CharField(),
    )


@strawberry_django.type(
    models.Invitation,
    name="Invitation",
    description=(
        "That somebody may join the tenant. Its link is mailed to the address and shown nowhere."
    ),
)
class Invitation(Keyed, relay.Node):
    """`tenancy.models.Invitation`; never its token."""

    email: str = column("The address it is for, in lower case.")
    role: Role = column("What they would be.")
    permissions: list[str] = column(
        'What they might do besides what the role allows: `["devices.*"]`. Mostly empty.'
    )
    status: InvitationStatus = expression("How far it has come.", _status)
    created_at: datetime = column("When it was made.")
    expires_at: datetime = column("Until when it can be accepted.")
    sent_at: datetime | None = column(
        "When the mail with its last link was handed over; null while it waits."
    )
    ended_at: datetime | None = column(
        "When it was accepted, declined or revoked; null for a pending or expired one."
    )

    @computed(
        "Who made it; null for somebody who has left the tenant.",
        "invited_by",
        reads=Related("invited_by_id", people),
    )
    def invited_by(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        row = cast("models.Invitation", self)
        return cast("User", info.context.people.get(row.invited_by_id))


@strawberry.type(description="What an invitation offers to whoever was mailed its token.")
class InvitationOffer:
    """`tenancy.invitations.Offer`."""

    tenant_name: str = strawberry.field(description="What people call the tenant.")
    inviter: str = strawberry.field(
        description="Who made it: their name, or what they sign in with. Empty where not known."
    )
    email: str = strawberry.field(
        description="The address it is for: only an account with this address can accept."
    )
    role: Role = strawberry.field(description="What you would be.")
    permissions: list[str] = strawberry.field(
        description="What you might do besides what the role allows. Mostly empty."
    )
    expires_at: datetime = strawberry.field(description="Until when it can be accepted.")


def _shown(offer: invitations.Offer) -> InvitationOffer:
    return InvitationOffer(
        tenant_name=offer.tenant_name,
        inviter=offer.inviter,
        email=offer.email,
        role=offer.role,
        permissions=list(offer.permissions),
        expires_at=offer.expires_at,
    )


class InvitationOrderField(StrEnum):
    """What invitations can be sorted by; it has its index."""

    CREATED_AT = "created_at"


described(
    InvitationOrderField,
    "What invitations can be sorted by.",
    {InvitationOrderField.CREATED_AT: "When they were made."},
)
SORT_KEYS = {InvitationOrderField.CREATED_AT: SortKey("created_at", datetime)}


@strawberry.input(description="How a list of invitations is sorted.")
class InvitationOrder:
    """The `order` argument."""

    field: InvitationOrderField = strawberry.field(description="What to sort by.")
    direction: OrderDirection = strawberry.field(
        description="Which end comes first.", default=OrderDirection.ASC
    )


@strawberry.input(
    description=(
        "Which invitations to list: those that meet every condition given. A condition that is "
        "left out or null does not count; an empty list matches nothing."
    )
)
class InvitationFilter:
    """The `filter` argument."""

    status: list[InvitationStatus] | None = strawberry.field(
        description="It has come as far as one of these.", default=UNSET
    )


def of_tenant(context: Context) -> QuerySet[models.Invitation]:
    """Return the entered tenant's invitations; raises PermissionDenied without users.view."""
    return models.Invitation.objects.filter(tenant_id=context.actor.require("users.view"))


def _readable(
    context: Context, rows: QuerySet[models.Invitation], selection: Selection, *columns: str
) -> QuerySet[models.Invitation]:
    return reading(Invitation, rows, selection, context, *columns)


def _meet(context: Context, rows: Sequence[models.Invitation]) -> None:
    context.people.expect(row.__dict__.get("invited_by_id") for row in rows)


def by_keys(
    context: Context, keys: list[UUID], selection: Selection
) -> Iterable[models.Invitation]:
    """Return the invitations of these keys that there are, for `node` and `nodes`."""
    rows = list(_readable(context, of_tenant(context).filter(pk__in=keys), selection))
    _meet(context, rows)
    return rows


def _listed_invitations(
    context: Context,
    filter: InvitationFilter | None = UNSET,  # noqa: A002 -- as the argument is called
    order: InvitationOrder | None = UNSET,
) -> Listing[models.Invitation]:
    rows = of_tenant(context)
    if is_given(filter) and is_given(filter.status):
        rows = rows.annotate(stands=_status(context)).filter(stands__in=filter.status)
    if not is_given(order):
        order = InvitationOrder(field=InvitationOrderField.CREATED_AT)
    return Listing(
        rows=rows,
        ordering=Ordering.of(SORT_KEYS, order.field, order.direction),
        read=partial(_readable, context),
        meet=partial(_meet, context),
    )


@strawberry.type
class InvitationQueries:
    """The root fields about invitations."""

    @query(
        "The tenant's invitations, those that have ended too, page by page in the order they were "
        "made unless `order` says otherwise. Needs users.view.",
        needs=holding("users.view"),
        reads=Listed(_listed_invitations),
    )
    def invitations(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            InvitationFilter | None, strawberry.argument(description="Which invitations to list.")
        ] = UNSET,
        order: Annotated[
            InvitationOrder | None, strawberry.argument(description="How to sort them.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Invitation] | None:
        """List invitations."""
        window = Window.of(first, after, last, before)
        return _listed_invitations(info.context, filter, order).page(window, selected(info))

    @query(
        "What the token of an invitation offers; null for one that is over, or that there is none "
        "of. Works without a tenant.",
        needs=SIGNED_IN,
    )
    def invitation_offer(
        self,
        token: Annotated[
            str, strawberry.argument(description="What the mail's link ends with: `sgi_…`.")
        ],
        info: Info,
    ) -> InvitationOffer | None:
        """Look a token up."""
        del info
        offer = invitations.find_invitation(token)
        return _shown(offer) if offer is not None else None


@strawberry.input(description="Whom to invite, and as what.")
class InviteMemberInput:
    """The input of `inviteMember`."""

    email: str = strawberry.field(description="One address: `ada@example.com`.")
    role: Role = strawberry.field(
        description="What they are to be: at most what you are yourself.", default=Role.VIEWER
    )
    permissions: list[str] = strawberry.field(
        description=(
            "What they may do besides what the role allows, none that you do not hold: "
            '`["devices.*"]`.'
        ),
        default_factory=list,
    )


@strawberry.input(description="Which invitation.")
class ResendInvitationInput:
    """The input of `resendInvitation`."""

    id: strawberry.ID = strawberry.field(description="The invitation's `id`.")


@strawberry.input(description="Which invitation.")
class RevokeInvitationInput:
    """The input of `revokeInvitation`."""

    id: strawberry.ID = strawberry.field(description="The invitation's `id`.")


@strawberry.input(description="Which invitation.")
class AcceptInvitationInput:
    """The input of `acceptInvitation`."""

    token: str = strawberry.field(description="What the mail's link ends with: `sgi_…`.")


@strawberry.input(description="Which invitation.")
class DeclineInvitationInput:
    """The input of `declineInvitation`."""

    token: str = strawberry.field(description="What the mail's link ends with: `sgi_…`.")


_INVITATION = (
    "The invitation as it is now; null when it was refused, or when you may not see members."
)


@strawberry.type(description="What `inviteMember` did.")
class InviteMemberPayload:
    """The payload of `inviteMember`."""

    invitation: Invitation | None = strawberry.field(description=_INVITATION)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `resendInvitation` did.")
class ResendInvitationPayload:
    """The payload of `resendInvitation`."""

    invitation: Invitation | None = strawberry.field(description=_INVITATION)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `revokeInvitation` did.")
class RevokeInvitationPayload:
    """The payload of `revokeInvitation`."""

    invitation: Invitation | None = strawberry.field(description=_INVITATION)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `acceptInvitation` did.")
class AcceptInvitationPayload:
    """The payload of `acceptInvitation`."""

    membership: Membership | None = strawberry.field(
        description="Your new membership; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `declineInvitation` did.")
class DeclineInvitationPayload:
    """The payload of `declineInvitation`."""

    offer: InvitationOffer | None = strawberry.field(
        description="What you declined; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _key(text: str) -> UUID:
    key = key_of(text, "Invitation", "id")
    if key is None:
        raise NotFound("There is no invitation with this id.", field=("id",))
    return key


def _read_back(info: Info, row: models.Invitation | None) -> Invitation | None:
    if row is None or not info.context.actor.can("users.view"):
        return None
    [found] = by_keys(info.context, [row.pk], selected(info).below("invitation"))
    return cast("Invitation", found)


@strawberry.type
class InvitationMutations:
    """The mutations about invitations."""

    @mutation(
        "Invite somebody by e-mail: a link is mailed to the address, good for 7 days unless the "
        "operator chose otherwise. Needs users.invite, and a role no lower than the one you give. "
        "Refused: FORBIDDEN, INVALID (also for an address outside of `allowedDomains`), CONFLICT "
        "for a member and for an address that is invited already, RATE_LIMITED.",
        needs=holding("users.invite", also="a role no lower than the one that is given"),
    )
    def invite_member(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            InviteMemberInput, strawberry.argument(description="Whom, and as what.")
        ],
    ) -> InviteMemberPayload:
        """Invite somebody."""
        row, errors = attempt(
            lambda: invitations.invite_member(
                actor=info.context.actor,
                email=input.email,
                role=input.role,
                permissions=input.permissions,
            )
        )
        return InviteMemberPayload(invitation=_read_back(info, row), errors=errors)

    @mutation(
        "Mail a new link for a pending or expired invitation; its time begins anew, the old link "
        "is void. Needs users.invite, and a role no lower than the one it gives. Refused: "
        "FORBIDDEN, NOT_FOUND, INVALID, CONFLICT for one that has ended, RATE_LIMITED.",
        needs=holding("users.invite", also="a role no lower than the one that is given"),
    )
    def resend_invitation(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            ResendInvitationInput, strawberry.argument(description="Which invitation.")
        ],
    ) -> ResendInvitationPayload:
        """Resend an invitation."""
        row, errors = attempt(
            lambda: invitations.resend_invitation(
                actor=info.context.actor, invitation=_key(input.id)
            )
        )
        return ResendInvitationPayload(invitation=_read_back(info, row), errors=errors)

    @mutation(
        "Take an invitation back: its link opens nothing any more. Needs users.invite, and a role "
        "no lower than the one it gives. Refused: FORBIDDEN, NOT_FOUND, CONFLICT for one that was "
        "accepted or declined.",
        needs=holding("users.invite", also="a role no lower than the one that is given"),
    )
    def revoke_invitation(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RevokeInvitationInput, strawberry.argument(description="Which invitation.")
        ],
    ) -> RevokeInvitationPayload:
        """Revoke an invitation."""
        row, errors = attempt(
            lambda: invitations.revoke_invitation(
                actor=info.context.actor, invitation=_key(input.id)
            )
        )
        return RevokeInvitationPayload(invitation=_read_back(info, row), errors=errors)

    @mutation(
        "Join the tenant that invited you. Works without a tenant, on the platform's own host; the "
        "tenant's opens from the next request on. Refused: NOT_FOUND for a token that is over or "
        "that there is none of, FORBIDDEN when your account has another e-mail address than the "
        "one that was invited, CONFLICT for a member, QUOTA_EXCEEDED.",
        needs=PERSON,
    )
    def accept_invitation(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            AcceptInvitationInput, strawberry.argument(description="Which invitation.")
        ],
    ) -> AcceptInvitationPayload:
        """Accept an invitation."""
        row, errors = attempt(
            lambda: invitations.accept_invitation(actor=info.context.actor, token=input.token)
        )
        return AcceptInvitationPayload(membership=cast("Membership | None", row), errors=errors)

    @mutation(
        "Refuse an invitation; its link opens nothing any more. Works without a tenant. Refused: "
        "NOT_FOUND for a token that is over or that there is none of.",
        needs=SIGNED_IN,
    )
    def decline_invitation(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            DeclineInvitationInput, strawberry.argument(description="Which invitation.")
        ],
    ) -> DeclineInvitationPayload:
        """Decline an invitation."""
        offer, errors = attempt(
            lambda: invitations.decline_invitation(actor=info.context.actor, token=input.token)
        )
        return DeclineInvitationPayload(offer=_shown(offer) if offer else None, errors=errors)
