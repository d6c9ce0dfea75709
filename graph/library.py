"""The writes to assets as GraphQL mutations: inputs, payloads, and nothing decided here.

Each mutation calls one function of assets.library and reads back what was selected of the result.
"""

from collections.abc import Sequence
from datetime import datetime, time
from typing import Annotated, Any, cast
from uuid import UUID

import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from assets import library
from graph.assets import Asset, by_keys
from graph.columns import mutation
from graph.context import Info
from graph.errors import UserError, attempt
from graph.ids import key_of
from graph.inputs import given
from graph.permissions import holding
from graph.scalars import BigInt
from graph.selections import selected
from tenancy.errors import Invalid, InvalidInput, NotFound

_URI = "Where players get it: an http, https or rtsp address with a host. Paths are refused."
_MIMETYPE = "What kind of thing it is: `image`, `video`, `webpage` or `streaming`."
_START = "It plays after this instant; null for none. Without both dates it never plays."
_END = "It plays before this instant; null for none. Without both dates it never plays."
_ENABLED = "Whether it may play at all."
_NOCACHE = "Whether players are to fetch it anew each time it is shown."
_ORDER = "Its place in the playlist: smaller plays earlier."
_CHECK = "Whether nobody checks that its address can be reached."
_SSL = "Whether players accept any certificate from its address."
_DAYS = "ISO weekdays it plays on, Monday 1 to Sunday 7, at least one: `[1, 2, 3, 4, 5]`."
_FROM = "When its daily window opens, in the tenant's time zone; null with `playTimeTo` for none."
_TO = "When its daily window closes, in the tenant's time zone; null with `playTimeFrom` for none."
_REFRESH = "Every how many seconds players reload the page: 0 (never) to 86400."
_HEADERS = (
    'HTTP headers players send, 20 at most: `{"X-Screen": "lobby"}`; `{}` for none. Replaces all.'
)
_TAGS = 'What it is filed under, 100 tags of 100 characters at most: `["lobby"]`. Replaces all.'
_DESCRIPTION = "Free text for people, 10000 characters at most; empty for none."


@strawberry.input(description="A new asset. What is left out gets the value the field names.")
class CreateAssetInput:
    """The input of `createAsset`."""

    name: str = strawberry.field(description="What people call it; not blank.")
    uri: str = strawberry.field(description=_URI)
    mimetype: str | None = strawberry.field(
        description=f"{_MIMETYPE} `webpage` when left out.", default=UNSET
    )
    start_date: datetime | None = strawberry.field(description=_START, default=UNSET)
    end_date: datetime | None = strawberry.field(description=_END, default=UNSET)
    duration: BigInt | None = strawberry.field(
        description="How long it is shown, in seconds: 0 to 31536000. The tenant's "
        "`defaultAssetDuration` when left out.",
        default=UNSET,
    )
    is_enabled: bool | None = strawberry.field(
        description=f"{_ENABLED} False when left out.", default=UNSET
    )
    nocache: bool | None = strawberry.field(
        description=f"{_NOCACHE} False when left out.", default=UNSET
    )
    play_order: int | None = strawberry.field(
        description=f"{_ORDER} 0 when left out.", default=UNSET
    )
    skip_asset_check: bool | None = strawberry.field(
        description=f"{_CHECK} False when left out.", default=UNSET
    )
    skip_ssl_verify: bool | None = strawberry.field(
        description=f"{_SSL} False when left out.", default=UNSET
    )
    play_days: list[int] | None = strawberry.field(
        description=f"{_DAYS} Every day when left out.", default=UNSET
    )
    play_time_from: time | None = strawberry.field(description=_FROM, default=UNSET)
    play_time_to: time | None = strawberry.field(description=_TO, default=UNSET)
    refresh_interval_s: int | None = strawberry.field(
        description=f"{_REFRESH} 0 when left out.", default=UNSET
    )
    custom_headers: JSON | None = strawberry.field(description=_HEADERS, default=UNSET)
    tags: list[str] | None = strawberry.field(description=_TAGS, default=UNSET)
    description: str | None = strawberry.field(description=_DESCRIPTION, default=UNSET)
    download: bool | None = strawberry.field(
        description="Whether the video at `uri` (or on YouTube) is fetched and kept, and plays "
        "from here. `uri` then becomes the path of that file, and `processingStatus` says how far "
        "it is. False when left out.",
        default=UNSET,
    )


@strawberry.input(
    description=(
        "What to change of an asset. What is left out stays; null is for dates and play times "
        "only, which it takes away."
    )
)
class UpdateAssetInput:
    """The input of `updateAsset`."""

    id: strawberry.ID = strawberry.field(description="The asset's `id`.")
    name: str | None = strawberry.field(
        description="What people call it; not blank.", default=UNSET
    )
    uri: str | None = strawberry.field(description=_URI, default=UNSET)
    mimetype: str | None = strawberry.field(description=_MIMETYPE, default=UNSET)
    start_date: datetime | None = strawberry.field(description=_START, default=UNSET)
    end_date: datetime | None = strawberry.field(description=_END, default=UNSET)
    duration: BigInt | None = strawberry.field(
        description="How long it is shown, in seconds: 0 to 31536000.", default=UNSET
    )
    is_enabled: bool | None = strawberry.field(description=_ENABLED, default=UNSET)
    nocache: bool | None = strawberry.field(description=_NOCACHE, default=UNSET)
    play_order: int | None = strawberry.field(description=_ORDER, default=UNSET)
    skip_asset_check: bool | None = strawberry.field(description=_CHECK, default=UNSET)
    skip_ssl_verify: bool | None = strawberry.field(description=_SSL, default=UNSET)
    play_days: list[int] | None = strawberry.field(description=_DAYS, default=UNSET)
    play_time_from: time | None = strawberry.field(description=_FROM, default=UNSET)
    play_time_to: time | None = strawberry.field(description=_TO, default=UNSET)
    refresh_interval_s: int | None = strawberry.field(description=_REFRESH, default=UNSET)
    custom_headers: JSON | None = strawberry.field(description=_HEADERS, default=UNSET)
    tags: list[str] | None = strawberry.field(description=_TAGS, default=UNSET)
    description: str | None = strawberry.field(description=_DESCRIPTION, default=UNSET)


@strawberry.input(description="Which assets to remove.")
class DeleteAssetsInput:
    """The input of `deleteAssets`."""

    ids: list[strawberry.ID] = strawberry.field(
        description="Their `id`s. With one that the tenant has none of, nothing is removed."
    )


@strawberry.input(description="A new order of assets.")
class ReorderAssetsInput:
    """The input of `reorderAssets`."""

    ids: list[strawberry.ID] = strawberry.field(
        description=(
            "Their `id`s in the new order, each once: the first gets `playOrder` 0, the next 1. "
            "Assets that are not listed keep theirs. With one that the tenant has none of, "
            "nothing is changed."
        )
    )


@strawberry.type(description="What `createAsset` did.")
class CreateAssetPayload:
    """The payload of `createAsset`."""

    asset: Asset | None = strawberry.field(
        description="The new asset; null when it was refused, or when you may not see assets."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `updateAsset` did.")
class UpdateAssetPayload:
    """The payload of `updateAsset`."""

    asset: Asset | None = strawberry.field(
        description="The asset as it is now; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `deleteAssets` did.")
class DeleteAssetsPayload:
    """The payload of `deleteAssets`."""

    deleted_ids: list[strawberry.ID] = strawberry.field(
        description="The ids of the assets that are gone, each once; empty when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `reorderAssets` did.")
class ReorderAssetsPayload:
    """The payload of `reorderAssets`."""

    assets: list[Asset] = strawberry.field(
        description="The listed assets in their new order; empty when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _key(text: str, *field: str) -> UUID:
    key = key_of(text, "Asset", *field)
    if key is None:
        raise NotFound("There is no asset with this id.", field=field)
    return key


def keys_of(ids: Sequence[str]) -> list[UUID]:
    """Return the keys of `ids`; raises Invalid for those that are no ids, NotFound."""
    errors = []
    for place, text in enumerate(ids):
        try:
            key_of(text, "Asset", "ids", str(place))
        except InvalidInput as error:
            errors.append(error)
    if errors:
        raise Invalid(errors)
    return [_key(text, "ids", str(place)) for place, text in enumerate(ids)]


def read_back(info: Info, keys: list[UUID], noun: str) -> list[Asset]:
    """Return what was selected below `noun` of the assets of `keys`, to who may see assets."""
    selection = selected(info)
    if noun not in selection or not info.context.actor.can("assets.view"):
        return []
    rows = {row.pk: row for row in by_keys(info.context, keys, selection.below(noun))}
    return [cast("Any", rows[key]) for key in keys]


@strawberry.type
class AssetMutations:
    """The mutations about assets."""

    @mutation(
        "Add an asset to the tenant. Needs assets.create. Refused: FORBIDDEN, INVALID.",
        needs=holding("assets.create"),
    )
    def create_asset(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            CreateAssetInput, strawberry.argument(description="The new asset.")
        ],
    ) -> CreateAssetPayload:
        """Make an asset."""
        values = given(input)
        download = bool(values.pop("download", False))
        row, errors = attempt(
            lambda: library.create_asset(actor=info.context.actor, values=values, download=download)
        )
        found = read_back(info, [row.pk], "asset") if row is not None else []
        return CreateAssetPayload(asset=found[0] if found else None, errors=errors)

    @mutation(
        "Change an asset. Needs assets.edit. Refused: FORBIDDEN, NOT_FOUND, INVALID.",
        needs=holding("assets.edit"),
    )
    def update_asset(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            UpdateAssetInput, strawberry.argument(description="Which asset, and what to change.")
        ],
    ) -> UpdateAssetPayload:
        """Change an asset."""
        changes = given(input)
        text = changes.pop("id")
        row, errors = attempt(
            lambda: library.update_asset(
                actor=info.context.actor, asset=_key(text, "id"), changes=changes
            )
        )
        found = read_back(info, [row.pk], "asset") if row is not None else []
        return UpdateAssetPayload(asset=found[0] if found else None, errors=errors)

    @mutation(
        "Remove assets and their files, all of them or none. Needs assets.delete. Refused: "
        "FORBIDDEN, NOT_FOUND, INVALID.",
        needs=holding("assets.delete"),
    )
    def delete_assets(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            DeleteAssetsInput, strawberry.argument(description="Which assets.")
        ],
    ) -> DeleteAssetsPayload:
        """Remove assets."""
        keys, errors = attempt(
            lambda: library.delete_assets(actor=info.context.actor, ids=keys_of(input.ids))
        )
        deleted = list(dict.fromkeys(input.ids)) if keys is not None else []
        return DeleteAssetsPayload(deleted_ids=deleted, errors=errors)

    @mutation(
        "Put assets into a new order, all of them or none. Needs assets.edit. Refused: "
        "FORBIDDEN, NOT_FOUND, INVALID.",
        needs=holding("assets.edit"),
    )
    def reorder_assets(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            ReorderAssetsInput, strawberry.argument(description="The new order.")
        ],
    ) -> ReorderAssetsPayload:
        """Order assets."""

        def write() -> list[UUID]:
            keys = keys_of(input.ids)
            library.reorder_assets(actor=info.context.actor, ids=keys)
            return keys

        keys, errors = attempt(write)
        found = read_back(info, keys, "assets") if keys is not None else []
        return ReorderAssetsPayload(assets=found, errors=errors)
