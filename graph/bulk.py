"""The writes to many assets at once as GraphQL mutations: nothing is decided here.

Each mutation calls one function of assets.bulk and reads back what was selected of the result.
"""

from typing import Annotated

import strawberry
from strawberry import UNSET

from assets import bulk
from graph.assets import Asset
from graph.columns import mutation
from graph.context import Info
from graph.errors import UserError, attempt
from graph.inputs import is_given
from graph.library import keys_of, read_back
from graph.permissions import holding

_IDS = "Their `id`s, 500 at most. With one that the tenant has none of, nothing is changed."


@strawberry.input(description="Which assets to file, and under what.")
class TagAssetsInput:
    """The input of `tagAssets`."""

    ids: list[strawberry.ID] = strawberry.field(description=_IDS)
    add: list[str] | None = strawberry.field(
        description='Tags that all of them are to have: `["lobby"]`. Added behind the others.',
        default=UNSET,
    )
    remove: list[str] | None = strawberry.field(
        description="Tags that none of them is to have, as they are spelt.", default=UNSET
    )


@strawberry.input(description="Which assets may play.")
class EnableAssetsInput:
    """The input of `enableAssets`."""

    ids: list[strawberry.ID] = strawberry.field(description=_IDS)


@strawberry.input(description="Which assets may not play.")
class DisableAssetsInput:
    """The input of `disableAssets`."""

    ids: list[strawberry.ID] = strawberry.field(description=_IDS)


@strawberry.type(description="What `tagAssets` did.")
class TagAssetsPayload:
    """The payload of `tagAssets`."""

    assets: list[Asset] = strawberry.field(
        description="The assets as they are now, each once; empty when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `enableAssets` did.")
class EnableAssetsPayload:
    """The payload of `enableAssets`."""

    assets: list[Asset] = strawberry.field(
        description="The assets as they are now, each once; empty when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `disableAssets` did.")
class DisableAssetsPayload:
    """The payload of `disableAssets`."""

    assets: list[Asset] = strawberry.field(
        description="The assets as they are now, each once; empty when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _enable(
    info: Info, ids: list[strawberry.ID], *, enabled: bool
) -> tuple[list[Asset], list[UserError]]:
    keys, errors = attempt(
        lambda: bulk.enable_assets(actor=info.context.actor, ids=keys_of(ids), enabled=enabled)
    )
    return (read_back(info, keys, "assets") if keys is not None else []), errors


@strawberry.type
class BulkMutations:
    """The mutations about many assets."""

    @mutation(
        "Add tags to assets and take others away, for all of them or none; an asset that needs no "
        "change keeps its `updatedAt`. Needs assets.edit. Refused: FORBIDDEN, NOT_FOUND, INVALID.",
        needs=holding("assets.edit"),
    )
    def tag_assets(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            TagAssetsInput, strawberry.argument(description="Which assets, and which tags.")
        ],
    ) -> TagAssetsPayload:
        """File assets."""
        keys, errors = attempt(
            lambda: bulk.tag_assets(
                actor=info.context.actor,
                ids=keys_of(input.ids),
                add=input.add if is_given(input.add) else (),
                remove=input.remove if is_given(input.remove) else (),
            )
        )
        found = read_back(info, keys, "assets") if keys is not None else []
        return TagAssetsPayload(assets=found, errors=errors)

    @mutation(
        "Let assets play, all of them or none. Needs assets.edit. Refused: FORBIDDEN, NOT_FOUND, "
        "INVALID.",
        needs=holding("assets.edit"),
    )
    def enable_assets(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            EnableAssetsInput, strawberry.argument(description="Which assets.")
        ],
    ) -> EnableAssetsPayload:
        """Enable assets."""
        found, errors = _enable(info, input.ids, enabled=True)
        return EnableAssetsPayload(assets=found, errors=errors)

    @mutation(
        "Stop assets from playing, all of them or none. Needs assets.edit. Refused: FORBIDDEN, "
        "NOT_FOUND, INVALID.",
        needs=holding("assets.edit"),
    )
    def disable_assets(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            DisableAssetsInput, strawberry.argument(description="Which assets.")
        ],
    ) -> DisableAssetsPayload:
        """Disable assets."""
        found, errors = _enable(info, input.ids, enabled=False)
        return DisableAssetsPayload(assets=found, errors=errors)
