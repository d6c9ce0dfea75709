"""The domain's enumerations as GraphQL shows them: the same members, with a description each.

Members are named here one by one, so that a new one without a description fails at import.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any

import strawberry

from assets.models import ProcessingStatus, Reporter
from tenancy.errors import ErrorCode
from tenancy.models import Tier
from tenancy.permissions import Role

if TYPE_CHECKING:
    from strawberry.types.enum import StrawberryEnumDefinition


def described(
    members: type[Enum], description: str, values: Mapping[Any, str], *, name: str = ""
) -> None:
    """Make `members` a GraphQL enum; raises ValueError when a member has no description."""
    if set(members) != set(values):
        raise ValueError(f"Describe exactly the members of {members.__name__}.")
    strawberry.enum(members, name=name or None, description=description)
    definition: StrawberryEnumDefinition = members.__strawberry_definition__  # type: ignore[attr-defined]
    for value in definition.values:
        value.description = values[members[value.name]]


described(
    Role,
    "What a member may do in a tenant, from most to least. `permissions` lists it name by name.",
    {
        Role.OWNER: "Everything.",
        Role.ADMIN: "The tenant itself, its members, assets and devices.",
        Role.MANAGER: "Assets, layouts and content.",
        Role.OPERATOR: "Sees assets and layouts, runs the devices.",
        Role.VIEWER: "Sees assets and layouts.",
    },
)
described(
    Tier,
    "What a tenant pays for.",
    {
        Tier.BASIC: "The tier of a new tenant.",
        Tier.PROFESSIONAL: "More devices, members, assets and storage.",
        Tier.ENTERPRISE: "Limits by agreement.",
        Tier.LEGACY: "A tenant made by an import from Anthias, with limits that hold any library.",
    },
    name="SubscriptionTier",
)
described(
    ProcessingStatus,
    "How far the service has come with understanding an asset's media.",
    {
        ProcessingStatus.PENDING: "Waits for its turn.",
        ProcessingStatus.PROCESSING: "Is being downloaded, probed or converted.",
        ProcessingStatus.COMPLETED: "Nothing is left to do.",
        ProcessingStatus.FAILED: "It could not be used; `metadata.error_message` says why.",
    },
)
described(
    Reporter,
    "What kind of thing reports that an asset was shown.",
    {
        Reporter.DEVICE: "A player, by itself.",
        Reporter.TOKEN: "A program with an API token.",
        Reporter.MEMBER: "A person of the tenant, or a program that signs in as one.",
    },
)
described(
    ErrorCode,
    "What kind of refusal an error is. Codes are never renamed; decide by them, not by messages.",
    {
        ErrorCode.INVALID: "A value cannot be used; `field` says which.",
        ErrorCode.NOT_FOUND: "There is no such thing in this tenant.",
        ErrorCode.CONFLICT: "Somebody else has it already, or changed it meanwhile.",
        ErrorCode.FORBIDDEN: "You lack a permission, which the message names.",
        ErrorCode.UNAUTHENTICATED: "You are not signed in.",
        ErrorCode.TENANT_REQUIRED: "Choose a tenant: use its host, or send `X-Tenant-ID`.",
        ErrorCode.TENANT_ERROR: "There is no such tenant, or you are not a member of it.",
        ErrorCode.RATE_LIMITED: "Too many attempts; wait and try again.",
        ErrorCode.QUOTA_EXCEEDED: "The tenant's plan does not allow more; see `tenant.usage`.",
        ErrorCode.STORAGE_FULL: "The server's disk is full; try again once there is room.",
        ErrorCode.SECOND_FACTOR_REQUIRED: (
            "The tenant asks for a second factor: set one up, or use a credential that carries it."
        ),
        ErrorCode.KEY_REUSED: "The `Idempotency-Key` was sent with another request before.",
        ErrorCode.LIMIT_EXCEEDED: "The request asks for too much at once; `message` says of what.",
    },
)


class OrderDirection(StrEnum):
    """Which end of a list comes first."""

    ASC = "asc"
    DESC = "desc"


described(
    OrderDirection,
    "Which end of a list comes first.",
    {
        OrderDirection.ASC: "From small to large, from old to new, from A to Z.",
        OrderDirection.DESC: "The exact reverse of `ASC`, ties included.",
    },
)
