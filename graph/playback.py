"""Playback as GraphQL shows it: reports in batches, and proof of play by day.

Decides nothing: `assets.playback` counts, and what is listed here is its rollup. Every order and
every filter that is offered has its index, which is why there are no more of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import Count, Q, QuerySet, Sum
from strawberry import UNSET, relay

from assets import models, playback
from assets.models import Reporter
from graph import assets
from graph.assets import Asset
from graph.columns import (
    Keyed,
    Listed,
    Related,
    Summed,
    column,
    computed,
    mutation,
    part,
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
from graph.enums import OrderDirection, described
from graph.errors import UserError, attempt
from graph.ids import key_of
from graph.inputs import is_given
from graph.permissions import holding
from graph.scalars import BigInt
from graph.selections import Selection, selected
from tenancy.errors import Invalid, InvalidInput
from tenancy.tenants import clean_text


@strawberry_django.type(
    models.PlaybackDay,
    name="PlaybackDay",
    description=(
        "Proof of play: how often one reporter showed one asset on one day, in UTC. Kept for 400 "
        "days, or as many as the service is set to."
    ),
)
class PlaybackDay(Keyed, relay.Node):
    """`assets.models.PlaybackDay`."""

    day: date = column("The day, in UTC.")
    reporter: Reporter = column("What kind of thing reported it.")
    reporter_id: UUID = column("Which player, API token or person reported it.")
    plays: BigInt = column("How often it was shown on that day.")
    seconds: BigInt = column("For how long it was shown on that day in all, in seconds.")
    last_played_at: datetime = column("When it was last shown on that day.")

    @computed(
        "What was shown; null when it is being removed at this very moment.",
        "asset",
        reads=Related("asset_id", models.Asset.objects.all),
    )
    def asset(self) -> Asset | None:
        """Return what `meet` read for the whole page."""
        return cast("Asset | None", self.__dict__["shown"])


class PlaybackDayOrderField(StrEnum):
    """What proof of play can be sorted by; each has its indexes."""

    DAY = "day"


described(
    PlaybackDayOrderField,
    "What proof of play can be sorted by.",
    {PlaybackDayOrderField.DAY: "The day; within one day, the order of the first reports."},
)
SORT_KEYS = {PlaybackDayOrderField.DAY: SortKey("day", date)}


@strawberry.input(description="How proof of play is sorted.")
class PlaybackDayOrder:
    """The `order` argument."""

    field: PlaybackDayOrderField = strawberry.field(description="What to sort by.")
    direction: OrderDirection = strawberry.field(
        description="Which end comes first.", default=OrderDirection.ASC
    )


@strawberry.input(
    description=(
        "Which proof of play of an asset to look at: what meets every condition given. A "
        "condition that is left out or null does not count."
    )
)
class AssetPlaybackFilter:
    """The `filter` argument of `Asset.playbackDays`."""

    reporter_id: UUID | None = strawberry.field(
        description="Only what this player, API token or person reported.", default=UNSET
    )
    from_: date | None = strawberry.field(
        name="from", description="This day, in UTC, or later.", default=UNSET
    )
    to: date | None = strawberry.field(description="This day, in UTC, or earlier.", default=UNSET)

    def condition(self) -> Q:
        """Return the filter as one condition."""
        condition = Q()
        if is_given(self.reporter_id):
            condition &= Q(reporter_id=self.reporter_id)
        if is_given(self.from_):
            condition &= Q(day__gte=self.from_)
        if is_given(self.to):
            condition &= Q(day__lte=self.to)
        return condition

    def rows(self, context: Context) -> QuerySet[models.PlaybackDay]:
        """Return what meets the filter; raises PermissionDenied."""
        return of_tenant(context).filter(self.condition())


@strawberry.input(
    description=(
        "Which proof of play to look at: what meets every condition given. A condition that is "
        "left out or null does not count."
    )
)
class PlaybackDayFilter(AssetPlaybackFilter):
    """The `filter` argument."""

    asset: strawberry.ID | None = strawberry.field(
        description="Only this asset's, by `id`. Not together with `assetId`.", default=UNSET
    )
    asset_id: str | None = strawberry.field(
        description="Only this asset's, by `assetId`, Anthias's id.", default=UNSET
    )

    def rows(self, context: Context) -> QuerySet[models.PlaybackDay]:
        """Return what meets the filter; raises PermissionDenied, InvalidInput."""
        rows = super().rows(context)
        if not is_given(self.asset) and not is_given(self.asset_id):
            return rows
        key = self._asset(context)
        return rows.none() if key is None else rows.filter(asset_id=key)

    def _asset(self, context: Context) -> UUID | None:
        if is_given(self.asset) and is_given(self.asset_id):
            raise InvalidInput("Give one of asset and assetId.", field=("filter", "asset"))
        if is_given(self.asset):
            return key_of(self.asset, "Asset", "filter", "asset")
        try:
            text = clean_text(self.asset_id or "")
        except InvalidInput as error:
            raise InvalidInput(error.message, field=("filter", "asset_id")) from None
        # Looked up first: PostgreSQL then knows whose days it is to walk in their order.
        rows = assets.of_tenant(context).filter(asset_id=text)
        return rows.values_list("pk", flat=True).first()


SUMS = {
    "plays": Sum("plays", default=0),
    "seconds": Sum("seconds", default=0),
    "assets": Count("asset_id", distinct=True),
    "days": Count("day", distinct=True),
}


@strawberry.type(description="Proof of play, added up.")
class PlaybackSummary:
    """Sums over what meets a filter."""

    plays: BigInt = part("How often something was shown.", sql=lambda _: SUMS["plays"])
    seconds: BigInt = part("For how long in all, in seconds.", sql=lambda _: SUMS["seconds"])
    assets: int = part("How many different assets were shown.", sql=lambda _: SUMS["assets"])
    days: int = part("On how many different days.", sql=lambda _: SUMS["days"])


def of_tenant(context: Context) -> QuerySet[models.PlaybackDay]:
    """Return the entered tenant's proof of play; raises PermissionDenied without assets.view."""
    return models.PlaybackDay.objects.filter(tenant_id=context.actor.require("assets.view"))


def readable(
    context: Context, rows: QuerySet[models.PlaybackDay], selection: Selection, *columns: str
) -> QuerySet[models.PlaybackDay]:
    """Return `rows` with what `selection` needs of a PlaybackDay, and `columns`."""
    return reading(PlaybackDay, rows, selection, context, *columns)


def meet(context: Context, selection: Selection, rows: Sequence[models.PlaybackDay]) -> None:
    """Give each row its asset, read for all of them together, when `selection` asks for it."""
    if "asset" not in selection:
        return
    keys = list({row.asset_id for row in rows})
    found = {row.pk: row for row in assets.by_keys(context, keys, selection.below("asset"))}
    for row in rows:
        row.__dict__["shown"] = found.get(row.asset_id)


def by_keys(
    context: Context, keys: list[UUID], selection: Selection
) -> Iterable[models.PlaybackDay]:
    """Return the days of these keys that there are, for `node` and `nodes`."""
    rows = list(readable(context, of_tenant(context).filter(pk__in=keys), selection))
    meet(context, selection, rows)
    return rows


def _rows(
    context: Context,
    filter: AssetPlaybackFilter | None = UNSET,  # noqa: A002 -- as the argument is called
) -> QuerySet[models.PlaybackDay]:
    return filter.rows(context) if is_given(filter) else of_tenant(context)


def listed_days(
    context: Context,
    filter: AssetPlaybackFilter | None = UNSET,  # noqa: A002 -- as the argument is called
    order: PlaybackDayOrder | None = UNSET,
) -> Listing[models.PlaybackDay]:
    """Return the list of proof of play; raises PermissionDenied, InvalidInput."""
    order = order if is_given(order) else PlaybackDayOrder(field=PlaybackDayOrderField.DAY)
    return Listing(
        rows=_rows(context, filter),
        ordering=Ordering.of(SORT_KEYS, order.field, order.direction),
        read=partial(readable, context),
        meet=lambda _rows: None,
    )


def page_of_days(
    info: Info, listing: Listing[models.PlaybackDay], window: Window
) -> Connection[PlaybackDay]:
    """Return a page of proof of play, with what was shown where that is selected."""
    selection = selected(info)
    met = partial(meet, info.context, selection.below("edges", "node"))
    return replace(listing, meet=met).page(window, selection)


@strawberry.type
class PlaybackQueries:
    """The root fields about proof of play."""

    @query(
        "Proof of play: how often each reporter showed each asset on each day, page by page, the "
        "earliest day first unless `order` says otherwise. Needs assets.view.",
        needs=holding("assets.view"),
        reads=Listed(listed_days),
    )
    def playback_days(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            PlaybackDayFilter | None, strawberry.argument(description="Which of it to list.")
        ] = UNSET,
        order: Annotated[
            PlaybackDayOrder | None, strawberry.argument(description="How to sort it.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[PlaybackDay] | None:
        """List days."""
        listing = listed_days(info.context, filter, order)
        return page_of_days(info, listing, Window.of(first, after, last, before))

    @query(
        "Proof of play, added up over all that meets `filter`. Needs assets.view.",
        needs=holding("assets.view"),
        reads=Summed(_rows),
    )
    def playback_summary(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            PlaybackDayFilter | None, strawberry.argument(description="What to add up.")
        ] = UNSET,
    ) -> PlaybackSummary | None:
        """Add days up."""
        return PlaybackSummary(**_rows(info.context, filter).aggregate(**SUMS))


@strawberry.input(
    description="That one asset was shown some number of times. Give exactly one of its ids."
)
class PlayInput:
    """One entry of a batch."""

    id: strawberry.ID | None = strawberry.field(description="The asset's `id`.", default=UNSET)
    asset_id: str | None = strawberry.field(
        description="The asset's `assetId`, Anthias's id.", default=UNSET
    )
    count: int = strawberry.field(
        description="How often it was shown: 1 to 100000. 1 when left out.", default=1
    )
    seconds: int = strawberry.field(
        description="For how long in all, in seconds: 0 to 1000000000. 0 when left out.", default=0
    )
    at: datetime = strawberry.field(
        description=(
            "When it was last shown, which also says on which day, in UTC, these plays count. 31 "
            "days back at most; up to 24 hours ahead, by a clock that is fast, it is now."
        )
    )

    def play(self, place: int) -> playback.Play:
        """Return the entry for the domain; raises InvalidInput."""
        path = ("plays", str(place), "id")
        if is_given(self.id) is is_given(self.asset_id):
            raise InvalidInput("Give exactly one of id and assetId.", field=path)
        of = key_of(self.id, "Asset", *path) if is_given(self.id) else self.asset_id
        return playback.Play(of, self.count, self.seconds, self.at)


@strawberry.input(description="A batch of plays, counted as a whole or not at all.")
class RecordPlaybackInput:
    """The input of `recordPlayback`."""

    key: str | None = strawberry.field(
        description=(
            "Your own name for the batch, 100 characters at most: the same batch sent again under "
            "the same name within 32 days is not counted again. Without one it would be."
        ),
        default=UNSET,
    )
    plays: list[PlayInput] = strawberry.field(description="What was shown: 1 to 1000 entries.")
    skip_unknown: bool = strawberry.field(
        description=(
            "Whether to leave out plays of assets that the tenant has none of, such as one that "
            "was deleted meanwhile, and count the others. False: one of them refuses the batch."
        ),
        default=False,
    )


@strawberry.type(description="What became of a batch.")
class RecordedPlayback:
    """`assets.playback.Recorded`."""

    recorded: int = strawberry.field(description="How many entries of `plays` were counted.")
    skipped: int = strawberry.field(
        description="How many were left out, because the tenant has no such asset."
    )
    repeated: bool = strawberry.field(
        description=(
            "Whether the batch had been counted before, under the same key: nothing was added, "
            "and this is what was answered then."
        )
    )


@strawberry.type(description="What `recordPlayback` did.")
class RecordPlaybackPayload:
    """The payload of `recordPlayback`."""

    playback: RecordedPlayback | None = strawberry.field(
        description="What became of the batch; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _plays(entries: Sequence[PlayInput]) -> list[playback.Play]:
    """Return the entries for the domain; raises Invalid with everything wrong about their ids."""
    plays, errors = [], []
    for place, entry in enumerate(entries):
        try:
            plays.append(entry.play(place))
        except InvalidInput as error:
            errors.append(error)
    if errors:
        raise Invalid(errors)
    return plays


@strawberry.type
class PlaybackMutations:
    """The mutations about playback."""

    @mutation(
        "Report that assets were shown, in a batch; all of it is counted or nothing. Needs "
        "assets.report. Refused: FORBIDDEN, NOT_FOUND, INVALID, CONFLICT (the key named another "
        "batch).",
        needs=holding("assets.report"),
    )
    def record_playback(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RecordPlaybackInput, strawberry.argument(description="The batch.")
        ],
    ) -> RecordPlaybackPayload:
        """Count a batch."""
        done, errors = attempt(
            lambda: playback.record_playback(
                actor=info.context.actor,
                plays=_plays(input.plays),
                key=input.key if is_given(input.key) else "",
                skip_unknown=input.skip_unknown,
            )
        )
        told: Any = None
        if done is not None:
            told = RecordedPlayback(
                recorded=done.recorded, skipped=done.skipped, repeated=done.repeated
            )
        return RecordPlaybackPayload(playback=told, errors=errors)
