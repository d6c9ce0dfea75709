"""The writes to share links as GraphQL mutations: inputs, payloads, and nothing decided here.

Each mutation calls one function of assets.sharing and reads back what was selected of the result.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import strawberry
from strawberry import UNSET

from assets import sharing
from graph.assets import Asset, by_keys
from graph.columns import mutation
from graph.context import Info
from graph.errors import UserError, attempt
from graph.ids import key_of
from graph.inputs import given
from graph.permissions import holding
from graph.scalars import BigInt
from graph.selections import selected
from tenancy.errors import NotFound

_EXPIRES = "When the link ends: between a minute and a year from now."
_MAX_VIEWS = "How often it can be opened in all, 1 to 1000000; null for as often as anybody likes."
_PASSWORD = "What it asks for, 8 to 128 characters; null for nothing."  # noqa: S105 -- a description


@strawberry.input(description="Which asset to share, and how.")
class ShareAssetInput:
    """The input of `shareAsset`."""

    id: strawberry.ID = strawberry.field(description="The asset's `id`.")
    expires_at: datetime | None = strawberry.field(
        description=f"{_EXPIRES} 30 days from now when left out.", default=UNSET
    )
    max_views: BigInt | None = strawberry.field(
        description=f"{_MAX_VIEWS} Null when left out.", default=UNSET
    )
    password: str | None = strawberry.field(
        description=f"{_PASSWORD} Null when left out.", default=UNSET
    )


@strawberry.input(
    description="What to change of an asset's share link. What is left out stays; so does its url."
)
class UpdateShareInput:
    """The input of `updateShare`."""

    id: strawberry.ID = strawberry.field(description="The asset's `id`.")
    expires_at: datetime | None = strawberry.field(description=_EXPIRES, default=UNSET)
    max_views: BigInt | None = strawberry.field(description=_MAX_VIEWS, default=UNSET)
    password: str | None = strawberry.field(description=_PASSWORD, default=UNSET)


@strawberry.input(description="Which asset to share no longer.")
class RevokeShareInput:
    """The input of `revokeShare`."""

    id: strawberry.ID = strawberry.field(description="The asset's `id`.")


@strawberry.type(description="What `shareAsset`, `updateShare` or `revokeShare` did.")
class SharePayload:
    """The payload of `shareAsset`, `updateShare` and `revokeShare`."""

    asset: Asset | None = strawberry.field(
        description=(
            "The asset, with its `share` as it is now; null when it was refused, or when you may "
            "not see assets."
        )
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _key(text: str) -> UUID:
    key = key_of(text, "Asset", "id")
    if key is None:
        raise NotFound("There is no asset with this id.", field=("id",))
    return key


def _payload(info: Info, text: str, write: Callable[[UUID], object]) -> SharePayload:
    def written() -> UUID:
        key = _key(text)
        write(key)
        return key

    key, errors = attempt(written)
    selection = selected(info)
    if key is None or "asset" not in selection or not info.context.actor.can("assets.view"):
        return SharePayload(asset=None, errors=errors)
    info.context.shares.forget(key)
    [found] = by_keys(info.context, [key], selection.below("asset"))
    return SharePayload(asset=cast("Asset", found), errors=errors)


@strawberry.type
class ShareMutations:
    """The mutations about share links."""

    @mutation(
        "Make a link that shows an asset to whoever has it; a link it had before opens nothing "
        "any more. Needs assets.share. Refused: FORBIDDEN, NOT_FOUND, INVALID.",
        needs=holding("assets.share"),
    )
    def share_asset(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            ShareAssetInput, strawberry.argument(description="Which asset, and how.")
        ],
    ) -> SharePayload:
        """Share an asset."""
        values = given(input)
        text, actor = values.pop("id"), info.context.actor
        return _payload(
            info, text, lambda key: sharing.share_asset(actor=actor, asset=key, values=values)
        )

    @mutation(
        "Change the end, the limit or the password of an asset's share link, which keeps its "
        "address; one that had ended can be opened again so. Needs assets.share. Refused: "
        "FORBIDDEN, NOT_FOUND, INVALID, CONFLICT for an asset that has no link.",
        needs=holding("assets.share"),
    )
    def update_share(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            UpdateShareInput, strawberry.argument(description="Which asset, and what to change.")
        ],
    ) -> SharePayload:
        """Change a link."""
        changes = given(input)
        text, actor = changes.pop("id"), info.context.actor
        return _payload(
            info, text, lambda key: sharing.update_share(actor=actor, asset=key, changes=changes)
        )

    @mutation(
        "End an asset's share link for good; an asset without one stays as it is. Needs "
        "assets.share. Refused: FORBIDDEN, NOT_FOUND, INVALID.",
        needs=holding("assets.share"),
    )
    def revoke_share(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RevokeShareInput, strawberry.argument(description="Which asset.")
        ],
    ) -> SharePayload:
        """Revoke a link."""
        actor = info.context.actor
        return _payload(info, input.id, lambda key: sharing.revoke_share(actor=actor, asset=key))
