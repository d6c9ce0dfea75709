"""API tokens as GraphQL shows and makes them; nothing decided here.

A token is in the payload of the mutation that made it, and nowhere else.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import BooleanField, Case, DateTimeField, Q, QuerySet, UUIDField, Value, When
from strawberry import UNSET, relay

from graph.columns import (
    Keyed,
    Listed,
    Related,
    Told,
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
from graph.inputs import given, is_given
from graph.members import User
from graph.permissions import INSIDE, MEMBER, Needs, Who
from graph.selections import Selection, selected
from tenancy import models, tokens
from tenancy.errors import NotFound


def _is_live(context: Context) -> Q:
    return tokens.live_q(context.bound(lambda one: one.now, DateTimeField()))


@strawberry_django.type(
    models.ApiToken,
    name="ApiToken",
    description=(
        "What a program signs in with, as `Authorization: Bearer sgt_…`, in this tenant only. It "
        "opens what it was made for of what its owner may do at the moment, and nothing of its "
        "owner's account. The token itself is shown once, when it is made."
    ),
)
class ApiToken(Keyed, relay.Node):
    """`tenancy.models.ApiToken`; never its secret."""

    name: str = column("What people call it.")
    permissions: list[str] = column(
        'All that it may do, as long as its owner may: `["assets.view"]`.'
    )
    created_at: datetime = column("When it was made.")
    expires_at: datetime = column("From when on it opens nothing.")
    last_used_at: datetime | None = column(
        "When it was last used, to the minute; null when it never was."
    )
    revoked_at: datetime | None = column("Since when it is revoked; null when it is not.")
    is_live: bool = expression(
        "Whether it is neither expired nor revoked. It opens nothing all the same while its owner "
        "is deactivated.",
        lambda context: Case(
            When(_is_live(context), then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        ),
    )

    @computed("Whose it is.", "user", reads=Related("user_id", people))
    def user(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        return cast("User", info.context.people.get(cast("models.ApiToken", self).user_id))


class ApiTokenOrderField(StrEnum):
    """What tokens can be sorted by; it has its indexes."""

    CREATED_AT = "created_at"


described(
    ApiTokenOrderField,
    "What API tokens can be sorted by.",
    {ApiTokenOrderField.CREATED_AT: "When they were made."},
)
SORT_KEYS = {ApiTokenOrderField.CREATED_AT: SortKey("created_at", datetime)}


@strawberry.input(
    description=(
        "Which API tokens to list: those that meet every condition given. A condition that is left "
        "out or null does not count."
    )
)
class ApiTokenFilter:
    """The `filter` argument."""

    is_live: bool | None = strawberry.field(
        description="Whether they are neither expired nor revoked.", default=UNSET
    )
    user_id: strawberry.ID | None = strawberry.field(
        description="Those of this person: a `User`'s id.", default=UNSET
    )

    def narrow(
        self, rows: QuerySet[models.ApiToken], context: Context
    ) -> QuerySet[models.ApiToken]:
        """Return the rows that meet the filter; raises InvalidInput."""
        if is_given(self.is_live):
            live = _is_live(context)
            rows = rows.filter(live if self.is_live else ~live)
        if is_given(self.user_id):
            key = key_of(self.user_id, "User", "filter", "user_id")
            if key is None:
                return rows.none()
            # By membership, as the index is; of one tenant a person has one.
            found = models.Membership.objects.filter(user_id=key).values("pk")
            rows = rows.filter(membership_id__in=found)
        return rows


def visible(context: Context) -> QuerySet[models.ApiToken]:
    """Return the tokens that the actor may see: with users.tokens all, otherwise their own."""
    actor = context.actor
    rows = models.ApiToken.objects.filter(tenant_id=actor.entered())
    if actor.can("users.tokens"):
        return rows
    # Of whoever is no member, none.
    return rows.filter(
        membership_id=context.bound(lambda one: one.actor.membership_id, UUIDField())
    )


def _readable(
    context: Context, rows: QuerySet[models.ApiToken], selection: Selection, *columns: str
) -> QuerySet[models.ApiToken]:
    return reading(ApiToken, rows, selection, context, *columns)


def _meet(context: Context, rows: Sequence[models.ApiToken]) -> None:
    context.people.expect(row.__dict__.get("user_id") for row in rows)


def _listed_tokens(
    context: Context,
    filter: ApiTokenFilter | None = UNSET,  # noqa: A002 -- as the argument is called
) -> Listing[models.ApiToken]:
    rows = visible(context)
    return Listing(
        rows=filter.narrow(rows, context) if is_given(filter) else rows,
        ordering=Ordering.of(SORT_KEYS, ApiTokenOrderField.CREATED_AT, OrderDirection.ASC),
        read=partial(_readable, context),
        meet=partial(_meet, context),
    )


def by_keys(context: Context, keys: list[UUID], selection: Selection) -> Iterable[models.ApiToken]:
    """Return the tokens of these keys that the actor may see, for `node` and `nodes`."""
    rows = list(_readable(context, visible(context).filter(pk__in=keys), selection))
    _meet(context, rows)
    return rows


def _permissions(context: Context) -> list[str]:
    context.actor.entered()
    return sorted(context.actor.permissions)


@strawberry.type
class TokenQueries:
    """The root fields about tokens."""

    @query(
        "API tokens, revoked and expired ones too, page by page in the order they were made: with "
        "users.tokens everybody's in the tenant, otherwise your own.",
        needs=Needs(also="users.tokens for those of others"),
        reads=Listed(_listed_tokens),
    )
    def api_tokens(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            ApiTokenFilter | None, strawberry.argument(description="Which tokens to list.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[ApiToken] | None:
        """List tokens."""
        window = Window.of(first, after, last, before)
        return _listed_tokens(info.context, filter).page(window, selected(info))

    @query(
        "What this credential may do in the tenant you are in, one name each, sorted: "
        '`["assets.view", "layouts.view"]`. Also for tokens, devices and addresses, which are '
        "nobody; people have `me.permissions` too.",
        needs=INSIDE,
        reads=Told(_permissions),
    )
    def viewer_permissions(self, info: Info) -> list[str] | None:
        """Return the actor's permissions; raises NotSignedIn, TenantRequired."""
        return _permissions(info.context)


@strawberry.input(description="A new API token, of your own.")
class CreateApiTokenInput:
    """The input of `createApiToken`."""

    name: str = strawberry.field(description="What it is for: 1 to 255 characters.")
    permissions: list[str] = strawberry.field(
        description=(
            "All that it may do, by single names, none that you do not hold: "
            '`["assets.view", "assets.create"]`.'
        )
    )
    expires_at: datetime | None = strawberry.field(
        description="From when on it opens nothing: a minute to 366 days from now. Left out or "
        "null: 90 days from now.",
        default=UNSET,
    )


@strawberry.input(description="Another name for an API token.")
class UpdateApiTokenInput:
    """The input of `updateApiToken`."""

    id: strawberry.ID = strawberry.field(description="The token's `id`; one of your own.")
    name: str = strawberry.field(description="What it is for: 1 to 255 characters.")


@strawberry.input(description="Which API token.")
class RevokeApiTokenInput:
    """The input of `revokeApiToken`."""

    id: strawberry.ID = strawberry.field(
        description="The token's `id`; one of your own, or with users.tokens anybody's."
    )


@strawberry.type(description="An API token and what a program signs in with.")
class ApiTokenSecret:
    """What `createApiToken` made."""

    api_token: ApiToken = strawberry.field(description="The token.")
    secret: str = strawberry.field(
        description="Send it as `Authorization: Bearer sgt_…`. Shown once."
    )


@strawberry.type(description="What `createApiToken` did.")
class CreateApiTokenPayload:
    """The payload of `createApiToken`."""

    credential: ApiTokenSecret | None = strawberry.field(
        description="The token and its secret; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `updateApiToken` did.")
class UpdateApiTokenPayload:
    """The payload of `updateApiToken`."""

    api_token: ApiToken | None = strawberry.field(
        description="The token as it is now; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `revokeApiToken` did.")
class RevokeApiTokenPayload:
    """The payload of `revokeApiToken`."""

    api_token: ApiToken | None = strawberry.field(
        description="The token as it is now; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _key(text: str) -> UUID:
    key = key_of(text, "ApiToken", "id")
    if key is None:
        raise NotFound("There is no API token with this id.", field=("id",))
    return key


def _read_back(info: Info, row: models.ApiToken | None, *path: str) -> ApiToken | None:
    if row is None:
        return None
    [found] = by_keys(info.context, [row.pk], selected(info).below(*path))
    return cast("ApiToken", found)


@strawberry.type
class TokenMutations:
    """The mutations about tokens."""

    @mutation(
        "Make an API token of your own in the tenant you are in. For members who signed in: a "
        "token makes no tokens. Refused: FORBIDDEN, INVALID, CONFLICT with 50 live ones.",
        needs=Needs(Who.MEMBER, also="signed in with a password or a session"),
    )
    def create_api_token(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            CreateApiTokenInput, strawberry.argument(description="The new token.")
        ],
    ) -> CreateApiTokenPayload:
        """Make a token."""
        values = {name: value for name, value in given(input).items() if value is not None}
        made, errors = attempt(lambda: tokens.create_token(actor=info.context.actor, values=values))
        if made is None:
            return CreateApiTokenPayload(credential=None, errors=errors)
        row, secret = made
        shown = cast("ApiToken", _read_back(info, row, "credential", "apiToken"))
        return CreateApiTokenPayload(
            credential=ApiTokenSecret(api_token=shown, secret=secret), errors=errors
        )

    @mutation(
        "Rename an API token of your own. Refused: FORBIDDEN, INVALID, NOT_FOUND.",
        needs=MEMBER,
    )
    def update_api_token(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            UpdateApiTokenInput, strawberry.argument(description="Which token, and its name.")
        ],
    ) -> UpdateApiTokenPayload:
        """Rename a token."""
        row, errors = attempt(
            lambda: tokens.rename_token(
                actor=info.context.actor, token=_key(input.id), name=input.name
            )
        )
        return UpdateApiTokenPayload(api_token=_read_back(info, row, "apiToken"), errors=errors)

    @mutation(
        "End an API token for good, from the next request on: one of your own, or with "
        "users.tokens anybody's. Refused: FORBIDDEN, NOT_FOUND.",
        needs=Needs(Who.MEMBER, also="users.tokens for those of others"),
    )
    def revoke_api_token(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RevokeApiTokenInput, strawberry.argument(description="Which token.")
        ],
    ) -> RevokeApiTokenPayload:
        """Revoke a token."""
        row, errors = attempt(
            lambda: tokens.revoke_token(actor=info.context.actor, token=_key(input.id))
        )
        return RevokeApiTokenPayload(api_token=_read_back(info, row, "apiToken"), errors=errors)
