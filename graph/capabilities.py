"""Capability addresses as GraphQL shows and makes them; nothing decided here.

An address is in the payload of the mutation that made it, and nowhere else.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import QuerySet
from strawberry import UNSET, relay

from graph.columns import Keyed, Listed, Related, column, computed, mutation, query, reading
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
from graph.members import User
from graph.permissions import holding
from graph.selections import Selection, selected
from tenancy import capabilities, models
from tenancy.errors import NotFound


@strawberry_django.type(
    models.CapabilityKey,
    name="Capability",
    description=(
        "An address that opens the Anthias API of the tenant to whoever has it, for clients that "
        "cannot sign in. The address itself is shown once, when it is made."
    ),
)
class Capability(Keyed, relay.Node):
    """`tenancy.models.CapabilityKey`; never its key."""

    name: str = column("What people call it.")
    permissions: list[str] = column('All that it may do: `["assets.view"]`.')
    created_at: datetime = column("When it was made.")
    revoked_at: datetime | None = column("Since when it opens nothing; null while it does.")

    @computed(
        "Who made it; null for somebody who has left the tenant.",
        "created_by",
        reads=Related("created_by_id", people),
    )
    def created_by(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        row = cast("models.CapabilityKey", self)
        return cast("User", info.context.people.get(row.created_by_id))


class CapabilityOrderField(StrEnum):
    """What capabilities can be sorted by; it has its index."""

    CREATED_AT = "created_at"


described(
    CapabilityOrderField,
    "What capabilities can be sorted by.",
    {CapabilityOrderField.CREATED_AT: "When they were made."},
)
SORT_KEYS = {CapabilityOrderField.CREATED_AT: SortKey("created_at", datetime)}


def of_tenant(context: Context) -> QuerySet[models.CapabilityKey]:
    """Return the entered tenant's capabilities; raises PermissionDenied without tenant.settings."""
    return models.CapabilityKey.objects.filter(tenant_id=context.actor.require("tenant.settings"))


def _readable(
    context: Context, rows: QuerySet[models.CapabilityKey], selection: Selection, *columns: str
) -> QuerySet[models.CapabilityKey]:
    return reading(Capability, rows, selection, context, *columns)


def _meet(context: Context, rows: Sequence[models.CapabilityKey]) -> None:
    context.people.expect(row.__dict__.get("created_by_id") for row in rows)


def by_keys(
    context: Context, keys: list[UUID], selection: Selection
) -> Iterable[models.CapabilityKey]:
    """Return the capabilities of these keys that there are, for `node` and `nodes`."""
    rows = list(_readable(context, of_tenant(context).filter(pk__in=keys), selection))
    _meet(context, rows)
    return rows


def _listed_capabilities(context: Context) -> Listing[models.CapabilityKey]:
    return Listing(
        rows=of_tenant(context),
        ordering=Ordering.of(SORT_KEYS, CapabilityOrderField.CREATED_AT, OrderDirection.ASC),
        read=partial(_readable, context),
        meet=partial(_meet, context),
    )


@strawberry.type
class CapabilityQueries:
    """The root fields about capabilities."""

    @query(
        "The tenant's capability addresses, revoked ones too, page by page in the order they were "
        "made. Needs tenant.settings.",
        needs=holding("tenant.settings"),
        reads=Listed(_listed_capabilities),
    )
    def capabilities(
        self,
        info: Info,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Capability] | None:
        """List capabilities."""
        window = Window.of(first, after, last, before)
        return _listed_capabilities(info.context).page(window, selected(info))


@strawberry.input(description="A new capability address.")
class CreateCapabilityInput:
    """The input of `createCapability`."""

    name: str = strawberry.field(description="What people call it: 1 to 255 characters.")
    permissions: list[str] | None = strawberry.field(
        description="All that it may do, none that you do not hold. Seeing, adding, changing and "
        "deleting assets when left out.",
        default=UNSET,
    )


@strawberry.input(description="Which capability.")
class RevokeCapabilityInput:
    """The input of `revokeCapability`."""

    id: strawberry.ID = strawberry.field(description="The capability's `id`.")


@strawberry.type(description="A capability and its address.")
class CapabilityAddress:
    """What `createCapability` made."""

    capability: Capability = strawberry.field(description="The capability.")
    url: str = strawberry.field(
        description=(
            "What a client is given in place of `https://<host>/api`: "
            "`https://acme.signage.app/k/sgc_…/api`. Whoever has it needs nothing else. Shown once."
        )
    )


@strawberry.type(description="What `createCapability` did.")
class CreateCapabilityPayload:
    """The payload of `createCapability`."""

    address: CapabilityAddress | None = strawberry.field(
        description="The capability and its address; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `revokeCapability` did.")
class RevokeCapabilityPayload:
    """The payload of `revokeCapability`."""

    capability: Capability | None = strawberry.field(
        description="The capability as it is now; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _key(text: str) -> UUID:
    key = key_of(text, "Capability", "id")
    if key is None:
        raise NotFound("There is no capability with this id.", field=("id",))
    return key


def _read_back(info: Info, row: models.CapabilityKey, *path: str) -> Capability:
    [found] = by_keys(info.context, [row.pk], selected(info).below(*path))
    return cast("Capability", found)


@strawberry.type
class CapabilityMutations:
    """The mutations about capabilities."""

    @mutation(
        "Make an address that opens the Anthias API to whoever has it. Needs tenant.settings. "
        "Refused: FORBIDDEN, INVALID.",
        needs=holding("tenant.settings"),
    )
    def create_capability(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            CreateCapabilityInput, strawberry.argument(description="The new capability.")
        ],
    ) -> CreateCapabilityPayload:
        """Make a capability."""
        given = input.permissions
        wanted = given if is_given(given) else capabilities.DEFAULT_PERMISSIONS
        made, errors = attempt(
            lambda: capabilities.create_capability(
                actor=info.context.actor, name=input.name, permissions=wanted
            )
        )
        if made is None:
            return CreateCapabilityPayload(address=None, errors=errors)
        row, url = made
        shown = CapabilityAddress(
            capability=_read_back(info, row, "address", "capability"), url=url
        )
        return CreateCapabilityPayload(address=shown, errors=errors)

    @mutation(
        "End a capability address for good. Needs tenant.settings. Refused: FORBIDDEN, NOT_FOUND.",
        needs=holding("tenant.settings"),
    )
    def revoke_capability(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RevokeCapabilityInput, strawberry.argument(description="Which capability.")
        ],
    ) -> RevokeCapabilityPayload:
        """Revoke a capability."""
        row, errors = attempt(
            lambda: capabilities.revoke_capability(
                actor=info.context.actor, capability=_key(input.id)
            )
        )
        return RevokeCapabilityPayload(
            capability=_read_back(info, row, "capability") if row else None, errors=errors
        )
