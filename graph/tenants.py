"""Tenants as GraphQL shows them: the one entered, and those a person may enter.

Reads and writes. What belongs to a tenant is shown in that tenant only: asked of another, it is
refused, never shown empty.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import Expression, ExpressionWrapper, F, QuerySet, TextField, UUIDField, Value
from django.db.models.functions import Concat
from strawberry import UNSET, relay
from strawberry.scalars import JSON

from assets.player_settings import defaults_of
from graph.columns import (
    Found,
    Itself,
    Keyed,
    Listed,
    Related,
    Told,
    column,
    computed,
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
from graph.context import Context, Info
from graph.context import tenants as tenants_known
from graph.device_settings import DeviceSettings, wanted_by_tenant
from graph.domain_challenges import DomainChallenge, challenge_shown, challenged
from graph.enums import OrderDirection, described
from graph.errors import UserError, attempt
from graph.inputs import given, is_given
from graph.members import (
    Membership,
    MembershipFilter,
    MembershipOrder,
    listed_memberships,
    page_of_memberships,
)
from graph.permissions import INSIDE, PERSON, SIGNED_IN, holding
from graph.selections import Selection, selected
from graph.usage import Usage, usage_of
from tenancy import models, tenants
from tenancy.errors import PermissionDenied
from tenancy.models import Tier

if TYPE_CHECKING:
    from graph.asset_filters import AssetFilter, AssetOrder
    from graph.assets import Asset


@strawberry_django.type(
    models.TenantSettings,
    name="TenantSettings",
    description="How a tenant wants things. Changed by `updateTenantSettings`.",
)
class TenantSettings(Keyed, relay.Node):
    """`tenancy.models.TenantSettings` of the entered tenant."""

    default_asset_duration: int = column(
        "How long a new asset is shown unless it says otherwise, in seconds: `10`."
    )
    timezone: str = column(
        "The IANA time zone that play windows are judged in: `Europe/Berlin`, `UTC`."
    )
    logo_url: str = column("Address of the tenant's logo; empty when there is none.")
    primary_color: str = column("The tenant's main colour: `#007bff`.")
    secondary_color: str = column("The tenant's second colour: `#6c757d`.")
    email_notifications: bool = column("Whether the tenant wants notices by e-mail.")
    require_2fa: bool = column(
        "Whether members need a second factor: without one, nothing here is open to them but "
        "setting it up, and a username and password alone (Basic) are refused.",
        name="require2fa",
    )
    updated_at: datetime = column("When anybody last changed them.")

    @computed(
        "How its players want things unless they say otherwise. Changed by `updateDeviceDefaults`.",
        "device_settings",
        reads=Itself(with_=lambda _: wanted_by_tenant()),
    )
    def device_settings(self) -> DeviceSettings:
        """Return the defaults of its players, complete."""
        return DeviceSettings(**defaults_of(cast("models.TenantSettings", self)))

    @computed(
        "Where the tenant's own systems are told of events; empty when nowhere. Needs "
        "tenant.settings.",
        "webhook_url",
        needs=holding("tenant.settings"),
        sql=lambda _: F("webhook_url"),
    )
    def webhook_url(self, info: Info) -> str | None:
        """Return it to who may change it."""
        info.context.actor.require("tenant.settings")
        return cast("models.TenantSettings", self).webhook_url

    @computed(
        "The e-mail domains that invited people must have, lower case; empty allows any. Needs "
        "tenant.settings.",
        "allowed_domains",
        needs=holding("tenant.settings"),
        sql=lambda _: F("allowed_domains"),
    )
    def allowed_domains(self, info: Info) -> list[str] | None:
        """Return them to who may change them."""
        info.context.actor.require("tenant.settings")
        return list(cast("models.TenantSettings", self).allowed_domains)

    @computed(
        "What the tenant's integrations are configured with, an object. Needs tenant.settings.",
        "integrations",
        needs=holding("tenant.settings"),
        sql=lambda _: F("integrations"),
    )
    def integrations(self, info: Info) -> JSON | None:
        """Return them to who may change them."""
        info.context.actor.require("tenant.settings")
        return JSON(cast("models.TenantSettings", self).integrations)


def _listed_assets(context: Context, **arguments: Any) -> Listing[Any]:
    from graph.assets import listed_assets

    return listed_assets(context, **arguments)


def url_of(context: Context, slug: Any, path: str = "") -> Expression:
    """Return the address of the tenant with this slug, or of a path on its host."""

    # What `Tenant.url` writes around a slug, whatever the settings make of it.
    def around(side: int) -> Any:
        text = TextField()
        return context.bound(lambda _: models.Tenant(slug="\0").url.split("\0")[side], text)

    return Concat(around(0), slug, around(1), Value(path), output_field=TextField())


def _entered(context: Context) -> QuerySet[models.Tenant]:
    return tenants_known().filter(pk=context.actor.entered())


@strawberry_django.type(
    models.Tenant,
    name="Tenant",
    description=(
        "An organisation with its own members, players and assets. `settings`, `memberships` and "
        "`assets` are shown of the tenant you are in; of another you belong to they are refused."
    ),
)
class Tenant(Keyed, relay.Node):
    """`tenancy.models.Tenant`; never where its data lies."""

    name: str = column("What people call it.")
    slug: str = column("Its part of its host name: `acme` for `acme.signage.app`.")
    domain: str | None = column(
        "A domain of its own, which opens it: `screens.example.com`. Null when it has none."
    )
    deletes_at: datetime | None = column(
        "From when on it is deleted with all that it has, unless an owner calls that off "
        "(`cancelTenantDeletion`); null when it stays."
    )
    is_active: bool = column("Whether it can be entered.")
    created_at: datetime = column("When it was made.")
    updated_at: datetime = column("When its name or slug last changed.")
    subscription_tier: Tier = column("What it pays for.")
    max_devices: int = column("How many players it may have.")
    max_users: int = column("How many members it may have.")
    storage_quota_gb: int = column("How much media it may keep, in GB.")
    max_assets: int = column("How many assets it may have.")
    features: list[str] = column("What is switched on for it, by name.")

    @computed(
        "The same as `id`, bare: what the header `X-Tenant-ID` takes and other systems know it by.",
        sql=lambda _: ExpressionWrapper(F("pk"), output_field=UUIDField()),
    )
    def uuid(self) -> UUID:
        """Return the key."""
        return cast("models.Tenant", self).pk

    @computed(
        "Its address: `https://acme.signage.app`.",
        "slug",
        sql=lambda context: url_of(context, "slug"),
    )
    def url(self) -> str:
        """Return where its people go."""
        return cast("models.Tenant", self).url

    @computed(
        "What proves the domain that it wants, or else the one it has; null for neither. Needs "
        "tenant.edit.",
        *("domain", "requested_domain", "domain_token", "domain_verified_at"),
        needs=holding("tenant.edit"),
        reads=Related("id", challenged, inside=True),
    )
    def domain_challenge(self, info: Info) -> DomainChallenge | None:
        """Return the record to be made, to who may change the domain."""
        _only_inside(self, info)
        info.context.actor.require("tenant.edit")
        return challenge_shown(cast("models.Tenant", self))

    @computed(
        "How it wants things.",
        reads=Related("id", models.TenantSettings.objects.all, by="tenant_id", inside=True),
    )
    def settings(self, info: Info) -> TenantSettings | None:
        """Return the entered tenant's settings."""
        _only_inside(self, info)
        return cast("TenantSettings", info.context.settings)

    @computed(
        "What it has of what its plan allows.",
        *("max_assets", "max_devices", "max_users", "storage_quota_gb"),
        reads=Itself(inside=True),
    )
    def usage(self, info: Info) -> Usage | None:
        """Return the entered tenant's usage."""
        _only_inside(self, info)
        return usage_of(info.context, cast("models.Tenant", self))

    @computed(
        'What you may do in it, one name each, sorted: `["assets.view", "layouts.view"]`. Of a '
        "tenant you are not in, what your membership there allows. Ask `me { can }` for one name.",
        reads=Told(lambda context: sorted(context.actor.permissions), inside=True),
    )
    def viewer_permissions(self, info: Info) -> list[str]:
        """Return what the actor may do in this tenant."""
        return sorted(info.context.permissions_in(cast("models.Tenant", self).pk))

    @computed(
        "Its members, page by page. Needs users.view.",
        needs=holding("users.view"),
        reads=Listed(listed_memberships, inside=True),
    )
    def memberships(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            MembershipFilter | None, strawberry.argument(description="Which memberships to list.")
        ] = UNSET,
        order: Annotated[
            MembershipOrder | None, strawberry.argument(description="How to sort them.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Membership] | None:
        """List the entered tenant's members."""
        _only_inside(self, info)
        return page_of_memberships(info, filter, order, Window.of(first, after, last, before))

    @computed(
        "Its assets, page by page. Needs assets.view.",
        needs=holding("assets.view"),
        reads=Listed(_listed_assets, inside=True),
    )
    def assets(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            Annotated["AssetFilter", strawberry.lazy("graph.asset_filters")] | None,
            strawberry.argument(description="Which assets to list."),
        ] = UNSET,
        order: Annotated[
            Annotated["AssetOrder", strawberry.lazy("graph.asset_filters")] | None,
            strawberry.argument(description="How to sort them."),
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Annotated["Asset", strawberry.lazy("graph.assets")]] | None:
        """List the entered tenant's assets."""
        from graph.assets import page_of_assets

        _only_inside(self, info)
        return page_of_assets(info, filter, order, Window.of(first, after, last, before))


def _only_inside(tenant: Any, info: Info) -> None:
    if tenant.pk != info.context.actor.tenant_id:
        raise PermissionDenied(
            "This is shown only inside that tenant: use its host, or send X-Tenant-ID."
        )


class TenantOrderField(StrEnum):
    """What tenants can be sorted by."""

    NAME = "name"
    SLUG = "slug"
    CREATED_AT = "created_at"


described(
    TenantOrderField,
    "What tenants can be sorted by.",
    {
        TenantOrderField.NAME: "The name, as the database sorts text.",
        TenantOrderField.SLUG: "The slug.",
        TenantOrderField.CREATED_AT: "When they were made.",
    },
)
SORT_KEYS = {
    TenantOrderField.NAME: SortKey("name", str),
    TenantOrderField.SLUG: SortKey("slug", str),
    TenantOrderField.CREATED_AT: SortKey("created_at", datetime),
}


@strawberry.input(
    description="How a list of tenants is sorted. Ties are in the order they were made."
)
class TenantOrder:
    """The `order` argument."""

    field: TenantOrderField = strawberry.field(description="What to sort by.")
    direction: OrderDirection = strawberry.field(
        description="Which end comes first.", default=OrderDirection.ASC
    )


def by_keys(context: Context, keys: list[UUID], selection: Selection) -> Iterable[models.Tenant]:
    """Return the tenants of these keys that the actor belongs to or has entered."""
    del selection
    context.tenants.expect(keys)
    return [row for key in keys if (row := context.tenants.get(key)) is not None]


def settings_by_keys(
    context: Context, keys: list[UUID], selection: Selection
) -> Iterable[models.TenantSettings]:
    """Return the entered tenant's settings when their key is among these."""
    del selection
    return [context.settings] if context.settings.pk in keys else []


def settings_of_tenant(context: Context) -> QuerySet[models.TenantSettings]:
    """Return the entered tenant's settings, one row."""
    return models.TenantSettings.objects.filter(tenant_id=context.actor.entered())


def _readable(
    context: Context, rows: QuerySet[models.Tenant], selection: Selection, *columns: str
) -> QuerySet[models.Tenant]:
    return reading(Tenant, rows, selection, context, *columns)


def _listed_tenants(context: Context, order: TenantOrder | None = UNSET) -> Listing[models.Tenant]:
    order = order if is_given(order) else TenantOrder(field=TenantOrderField.NAME)
    return Listing(
        rows=tenants_known(),
        ordering=Ordering.of(SORT_KEYS, order.field, order.direction),
        read=partial(_readable, context),
        meet=lambda _rows: None,
    )


@strawberry.type
class TenantQueries:
    """The root fields about tenants."""

    @query("The tenant you are in.", needs=INSIDE, reads=Found(_entered))
    def tenant(self, info: Info) -> Tenant:
        """Return the entered tenant."""
        return cast("Tenant", info.context.tenant)

    @query(
        "The tenants you may enter, page by page, by name. Works without a tenant.",
        needs=SIGNED_IN,
        reads=Listed(_listed_tenants),
    )
    def tenants(
        self,
        info: Info,
        order: Annotated[
            TenantOrder | None, strawberry.argument(description="How to sort them.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Tenant]:
        """List what the registry's policy shows."""
        listing = _listed_tenants(info.context, order)
        return listing.page(Window.of(first, after, last, before), selected(info))


@strawberry.input(description="What a new tenant is called.")
class CreateTenantInput:
    """The input of `createTenant`."""

    name: str = strawberry.field(description="What people call it: 1 to 255 characters.")
    slug: str = strawberry.field(
        description=(
            "Its part of its host name: 1 to 63 lower-case letters, digits and hyphens, no hyphen "
            "at either end. Unique, and some are reserved (`admin`, `www`)."
        )
    )


@strawberry.input(description="What to change of the tenant you are in. What is left out stays.")
class UpdateTenantInput:
    """The input of `updateTenant`."""

    name: str | None = strawberry.field(
        description="What people call it: 1 to 255 characters.", default=UNSET
    )
    slug: str | None = strawberry.field(
        description="Its part of its host name, as in `createTenant`. Its address changes with it.",
        default=UNSET,
    )


@strawberry.input(
    description="What to change of the settings of the tenant you are in. What is left out stays."
)
class UpdateTenantSettingsInput:
    """The input of `updateTenantSettings`."""

    default_asset_duration: int | None = strawberry.field(
        description="How long a new asset is shown, in seconds: 1 to 31536000.", default=UNSET
    )
    timezone: str | None = strawberry.field(
        description="An IANA time zone: `Europe/Berlin`.", default=UNSET
    )
    logo_url: str | None = strawberry.field(
        description="An http or https address; empty for none.", default=UNSET
    )
    primary_color: str | None = strawberry.field(
        description="# and six hexadecimal digits: `#007bff`.", default=UNSET
    )
    secondary_color: str | None = strawberry.field(
        description="# and six hexadecimal digits: `#6c757d`.", default=UNSET
    )
    email_notifications: bool | None = strawberry.field(
        description="Whether the tenant wants notices by e-mail.", default=UNSET
    )
    webhook_url: str | None = strawberry.field(
        description="An http or https address; empty for none.", default=UNSET
    )
    require_2fa: bool | None = strawberry.field(
        name="require2fa",
        description="Whether members are to need a second factor. Kept; nothing asks for one yet.",
        default=UNSET,
    )
    allowed_domains: list[str] | None = strawberry.field(
        description='The e-mail domains invited people must have: `["example.com"]`; [] for any.',
        default=UNSET,
    )
    integrations: JSON | None = strawberry.field(
        description="An object, 65536 characters of JSON at most; replaces the one there is.",
        default=UNSET,
    )


@strawberry.type(description="What `createTenant` did.")
class CreateTenantPayload:
    """The payload of `createTenant`."""

    tenant: Tenant | None = strawberry.field(
        description="The new tenant, of which you are the owner; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `updateTenant` did.")
class UpdateTenantPayload:
    """The payload of `updateTenant`."""

    tenant: Tenant | None = strawberry.field(
        description="The tenant as it is now; null when the change was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `updateTenantSettings` did.")
class UpdateTenantSettingsPayload:
    """The payload of `updateTenantSettings`."""

    settings: TenantSettings | None = strawberry.field(
        description="The settings as they are now; null when the change was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type
class TenantMutations:
    """The mutations about tenants."""

    @mutation(
        "Make a tenant and become its owner. Works without a tenant, and inside another. "
        "Refused: FORBIDDEN where only operators make tenants, INVALID, CONFLICT for a slug that "
        "is taken, QUOTA_EXCEEDED when you own as many as one person can.",
        needs=PERSON,
    )
    def create_tenant(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            CreateTenantInput, strawberry.argument(description="What it is called.")
        ],
    ) -> CreateTenantPayload:
        """Found a tenant."""
        tenant, errors = attempt(
            lambda: tenants.create_tenant(
                actor=info.context.actor, name=input.name, slug=input.slug
            )
        )
        return CreateTenantPayload(tenant=cast("Any", tenant), errors=errors)

    @mutation(
        "Change the name or the slug of the tenant you are in. Needs tenant.edit. Refused: "
        "FORBIDDEN, INVALID, CONFLICT for a slug that is taken.",
        needs=holding("tenant.edit"),
    )
    def update_tenant(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            UpdateTenantInput, strawberry.argument(description="What to change.")
        ],
    ) -> UpdateTenantPayload:
        """Change the entered tenant."""
        context = info.context
        tenant, errors = attempt(
            lambda: tenants.update_tenant(actor=context.actor, changes=given(input))
        )
        if tenant is not None:
            context.tenants.put(tenant)
            context.tenant = tenant
        return UpdateTenantPayload(tenant=cast("Any", tenant), errors=errors)

    @mutation(
        "Change the settings of the tenant you are in. Needs tenant.settings. Refused: "
        "FORBIDDEN, INVALID.",
        needs=holding("tenant.settings"),
    )
    def update_tenant_settings(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            UpdateTenantSettingsInput, strawberry.argument(description="What to change.")
        ],
    ) -> UpdateTenantSettingsPayload:
        """Change the entered tenant's settings."""
        context = info.context
        settings, errors = attempt(
            lambda: tenants.update_settings(actor=context.actor, changes=given(input))
        )
        if settings is not None:
            context.settings = settings
            context.__dict__.pop("zone", None)
        return UpdateTenantSettingsPayload(settings=cast("Any", settings), errors=errors)
