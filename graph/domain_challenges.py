"""What a tenant puts into its DNS, as GraphQL shows it."""

import strawberry

from tenancy import models
from tenancy.domains import challenge_of


@strawberry.type(
    description=(
        "The DNS record that proves a domain. It has to stay: it is looked for every day, and a "
        "domain whose record is missing for a week opens nothing any more."
    )
)
class DomainChallenge:
    """`tenancy.domains.Challenge`."""

    domain: str = strawberry.field(description="The domain: `screens.example.com`.")
    record_name: str = strawberry.field(
        description="The name of the TXT record: `_signate-challenge.screens.example.com`."
    )
    record_value: str = strawberry.field(description="Its text: `signate=…`.")
    is_verified: bool = strawberry.field(
        description="Whether it was found, and the domain opens the tenant."
    )


def challenge_shown(tenant: models.Tenant) -> DomainChallenge | None:
    """Return the record that a tenant has to make or keep."""
    challenge = challenge_of(tenant)
    if challenge is None:
        return None
    return DomainChallenge(
        domain=challenge.domain,
        record_name=challenge.name,
        record_value=challenge.value,
        is_verified=challenge.domain == tenant.domain and tenant.domain_verified_at is not None,
    )
