"""What a tenant puts into its DNS, as GraphQL shows it."""

import strawberry
from django.db.models import BooleanField, Case, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Coalesce, Concat, NullIf

from graph.columns import part
from tenancy import models
from tenancy.domains import PREFIX, challenge_of

# As `challenge_of` says it of a row.
_DOMAIN = Coalesce(NullIf("requested_domain", Value("")), "domain", output_field=TextField())


def challenged() -> QuerySet[models.Tenant]:
    """Return the tenants that have something to prove."""
    rows = models.Tenant.objects.alias(proving=_DOMAIN)
    return rows.filter(proving__gt="", domain_token__gt="")


@strawberry.type(
    description=(
        "The DNS record that proves a domain. It has to stay: it is looked for every day, and a "
        "domain whose record is missing for a week opens nothing any more."
    )
)
class DomainChallenge:
    """`tenancy.domains.Challenge`."""

    domain: str = part("The domain: `screens.example.com`.", sql=lambda _: _DOMAIN)
    record_name: str = part(
        "The name of the TXT record: `_signate-challenge.screens.example.com`.",
        sql=lambda _: Concat(Value(f"{PREFIX}."), _DOMAIN, output_field=TextField()),
    )
    record_value: str = part(
        "Its text: `signate=…`.",
        sql=lambda _: Concat(Value("signate="), "domain_token", output_field=TextField()),
    )
    is_verified: bool = part(
        "Whether it was found, and the domain opens the tenant.",
        sql=lambda _: Case(
            When(Q(domain=_DOMAIN, domain_verified_at__isnull=False), then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        ),
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
