"""The life of a tenant as GraphQL mutations: its domain, and its end. Nothing is decided here.

The writes are functions of tenancy.domains and tenancy.deletion. Suspending and plans are for
operators, who use commands.
"""

from collections.abc import Callable
from typing import Annotated, Any, cast

import strawberry

from graph.columns import mutation
from graph.context import Info
from graph.errors import UserError, attempt
from graph.permissions import OWNER, holding
from graph.tenants import Tenant
from tenancy import deletion, domains, models

_TENANT = "The tenant as it is now; null when it was refused."


@strawberry.input(description="Which domain.")
class RequestTenantDomainInput:
    """The input of `requestTenantDomain`."""

    domain: str = strawberry.field(
        description="The domain it is to have: `screens.example.com`; other alphabets as `xn--…`."
    )


@strawberry.type(description="What `requestTenantDomain` did.")
class RequestTenantDomainPayload:
    """The payload of `requestTenantDomain`."""

    tenant: Tenant | None = strawberry.field(description=_TENANT)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.input(description="Which domain.")
class VerifyTenantDomainInput:
    """The input of `verifyTenantDomain`."""

    domain: str = strawberry.field(description="The domain that was requested.")


@strawberry.type(description="What `verifyTenantDomain` did.")
class VerifyTenantDomainPayload:
    """The payload of `verifyTenantDomain`."""

    tenant: Tenant | None = strawberry.field(description=_TENANT)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.input(description="Which domain.")
class RemoveTenantDomainInput:
    """The input of `removeTenantDomain`."""

    domain: str = strawberry.field(description="The domain that it has or wants.")


@strawberry.type(description="What `removeTenantDomain` did.")
class RemoveTenantDomainPayload:
    """The payload of `removeTenantDomain`."""

    tenant: Tenant | None = strawberry.field(description=_TENANT)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.input(description="Which tenant.")
class RequestTenantDeletionInput:
    """The input of `requestTenantDeletion`."""

    slug: str = strawberry.field(
        description="The slug of the tenant you are in, to confirm: `acme`."
    )


@strawberry.type(description="What `requestTenantDeletion` did.")
class RequestTenantDeletionPayload:
    """The payload of `requestTenantDeletion`."""

    tenant: Tenant | None = strawberry.field(description=_TENANT)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.input(description="Which tenant.")
class CancelTenantDeletionInput:
    """The input of `cancelTenantDeletion`."""

    slug: str = strawberry.field(
        description="The slug of the tenant you are in, to confirm: `acme`."
    )


@strawberry.type(description="What `cancelTenantDeletion` did.")
class CancelTenantDeletionPayload:
    """The payload of `cancelTenantDeletion`."""

    tenant: Tenant | None = strawberry.field(description=_TENANT)
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _written(
    info: Info, write: Callable[[], models.Tenant]
) -> tuple[Tenant | None, list[UserError]]:
    """Do it, and have whatever else the operation reads see the tenant as it is now."""
    tenant, errors = attempt(write)
    if tenant is not None:
        info.context.tenants.put(tenant)
        info.context.tenant = tenant
    return cast("Any", tenant), errors


@strawberry.type
class TenantLifeMutations:
    """The mutations about the domain and the end of a tenant."""

    @mutation(
        "Want a domain of its own for the tenant you are in: make the record that "
        "`domainChallenge` then tells, and call `verifyTenantDomain`. The one it has goes on "
        "until then. Needs tenant.edit. Refused: FORBIDDEN, INVALID for what is no public domain "
        "and for what looks like one of the platform's, CONFLICT for the one it has.",
        needs=holding("tenant.edit"),
    )
    def request_tenant_domain(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RequestTenantDomainInput, strawberry.argument(description="Which domain.")
        ],
    ) -> RequestTenantDomainPayload:
        """Want a domain."""
        tenant, errors = _written(
            info, lambda: domains.request_domain(actor=info.context.actor, domain=input.domain)
        )
        return RequestTenantDomainPayload(tenant=tenant, errors=errors)

    @mutation(
        "Look for the record of the requested domain; with it, the domain opens the tenant from "
        "now on. Takes up to 3 seconds. Needs tenant.edit. Refused: FORBIDDEN, INVALID when there "
        "is no such record, CONFLICT when another tenant has the domain and when no name server "
        "answers, RATE_LIMITED after 20 in an hour.",
        needs=holding("tenant.edit"),
    )
    def verify_tenant_domain(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            VerifyTenantDomainInput, strawberry.argument(description="Which domain.")
        ],
    ) -> VerifyTenantDomainPayload:
        """Verify a domain."""
        tenant, errors = _written(
            info, lambda: domains.verify_domain(actor=info.context.actor, domain=input.domain)
        )
        return VerifyTenantDomainPayload(tenant=tenant, errors=errors)

    @mutation(
        "Give up the domain of the tenant you are in, or the one it wants: it opens nothing any "
        "more. Needs tenant.edit. Refused: FORBIDDEN, INVALID for another domain.",
        needs=holding("tenant.edit"),
    )
    def remove_tenant_domain(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RemoveTenantDomainInput, strawberry.argument(description="Which domain.")
        ],
    ) -> RemoveTenantDomainPayload:
        """Give a domain up."""
        tenant, errors = _written(
            info, lambda: domains.remove_domain(actor=info.context.actor, domain=input.domain)
        )
        return RemoveTenantDomainPayload(tenant=tenant, errors=errors)

    @mutation(
        "Have the tenant you are in deleted with all that it has, 30 days from now unless the "
        "operator chose otherwise. Until then it goes on, and `cancelTenantDeletion` calls it "
        "off. For owners, in person. Refused: FORBIDDEN, INVALID for another slug.",
        needs=OWNER,
    )
    def request_tenant_deletion(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RequestTenantDeletionInput, strawberry.argument(description="Which tenant.")
        ],
    ) -> RequestTenantDeletionPayload:
        """Ask for the end."""
        tenant, errors = _written(
            info, lambda: deletion.request_deletion(actor=info.context.actor, slug=input.slug)
        )
        return RequestTenantDeletionPayload(tenant=tenant, errors=errors)

    @mutation(
        "Call off the deletion of the tenant you are in. For owners, in person. Refused: "
        "FORBIDDEN, INVALID for another slug.",
        needs=OWNER,
    )
    def cancel_tenant_deletion(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            CancelTenantDeletionInput, strawberry.argument(description="Which tenant.")
        ],
    ) -> CancelTenantDeletionPayload:
        """Call the end off."""
        tenant, errors = _written(
            info, lambda: deletion.cancel_deletion(actor=info.context.actor, slug=input.slug)
        )
        return CancelTenantDeletionPayload(tenant=tenant, errors=errors)
