"""Assets as GraphQL shows them: the type, its lists under filters and orders, and the playlist.

Reads only, and only what was selected; graph.library has the writes. Everything here is about the
entered tenant: the database shows no other's rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet, TextField, UUIDField
from strawberry import UNSET, relay
from strawberry.scalars import JSON

from assets import models, schedule
from assets.media_urls import SIGNED_COLUMNS, Variant, signed_url
from assets.models import ProcessingStatus
from assets.querysets import CustomHeaders, RefreshInterval
from assets.sharing import current_links
from graph.asset_filters import SORT_KEYS, AssetFilter, AssetOrder, AssetOrderField, is_playing
from graph.columns import (
    Found,
    Keyed,
    Listed,
    Related,
    column,
    computed,
    expression,
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
    Window,
)
from graph.context import Context, Info, people, tenants
from graph.ids import key_of
from graph.inputs import is_given
from graph.members import User
from graph.permissions import holding
from graph.scalars import BigInt
from graph.selections import Selection, selected
from graph.share_links import (
    ACCESS_COUNT,
    IS_SHARED,
    SHARE_EXPIRES_AT,
    ShareLink,
    share_link_of,
)
from graph.tenants import Tenant
from tenancy.errors import InvalidInput
from tenancy.tenants import clean_text

if TYPE_CHECKING:
    from graph.playback import AssetPlaybackFilter, PlaybackDay, PlaybackDayOrder

SCHEDULE_COLUMNS = (
    "is_enabled",
    "start_date",
    "end_date",
    "play_days",
    "play_time_from",
    "play_time_to",
)


def _listed_days(context: Context, *arguments: Any, **named: Any) -> Listing[Any]:
    from graph.playback import listed_days

    return listed_days(context, *arguments, **named)


@strawberry_django.type(
    models.Asset,
    name="Asset",
    description=(
        "Something that plays: an image, a video, a web page or a stream, and when it plays. "
        "The Anthias fields have their Anthias names and meanings."
    ),
)
class Asset(Keyed, relay.Node):
    """`assets.models.Asset`; never its storage path."""

    asset_id: str = column(
        "The id that Anthias and its REST API know it by: mostly 32 hexadecimal digits. Unique in "
        "its tenant, made by the server."
    )
    name: str | None = column("What people call it. Null only where an old database had none.")
    uri: str | None = column(
        "Where players get it: an http, https or rtsp address, or the path an imported file had "
        "on its Anthias player."
    )
    md5: str | None = column("MD5 of its file in hexadecimal, where Anthias had noted one.")
    start_date: datetime | None = column(
        "It plays after this instant. Without both dates it never plays."
    )
    end_date: datetime | None = column(
        "It plays before this instant. Without both dates it never plays."
    )
    duration: BigInt | None = column(
        "How long it is shown, in seconds: `10`. 0 for a video means as long as it runs."
    )
    mimetype: str | None = column(
        "What kind of thing it is: `image`, `video`, `webpage` or `streaming`; free text in old "
        "databases."
    )
    is_enabled: bool = column("Whether it may play at all.")
    is_processing: bool = column("Whether its file is still being downloaded or converted.")
    nocache: bool = column("Whether players are to fetch it anew each time it is shown.")
    play_order: int = column(
        "Its place in the playlist: smaller plays earlier, equal ones in the order they were added."
    )
    skip_asset_check: bool = column("Whether nobody checks that its address can be reached.")
    skip_ssl_verify: bool = column("Whether players accept any certificate from its address.")
    play_days: list[int] = column(
        "ISO weekdays it plays on, sorted, Monday 1 to Sunday 7: `[1, 2, 3, 4, 5]`. An overnight "
        "window belongs to the day it starts on."
    )
    play_time_from: time | None = column(
        "When its daily window opens, in the tenant's time zone: `08:30:00`. Null: all day."
    )
    play_time_to: time | None = column(
        "When its daily window closes, in the tenant's time zone; earlier than `playTimeFrom` it "
        "closes on the next day. Null: all day."
    )
    is_reachable: bool = column("Whether its address answered when it was last checked.")
    last_reachability_check: datetime | None = column("When its address was last checked.")
    metadata: JSON = column(
        "What is known about its media, an object: `original_ext`, `transcoded`, `error_message`, "
        "`video_codec`, and what an import noted."
    )
    refresh_interval_s: int = expression(
        "Every how many seconds a player reloads the page while it is shown: 0 (never) to 86400.",
        lambda _: RefreshInterval("metadata"),
    )
    custom_headers: JSON = expression(
        'HTTP headers players send when they fetch it: `{"X-Screen": "lobby"}`.',
        lambda _: CustomHeaders("metadata"),
    )
    is_active: bool = expression(
        "Whether it plays right now: enabled, within its dates, days and daily window, judged in "
        "the tenant's time zone (`tenant.settings.timezone`).",
        lambda context: ExpressionWrapper(is_playing(context), output_field=BooleanField()),
    )
    created_at: datetime = column("When it was added.")
    updated_at: datetime = column("When anybody last changed it.")
    tags: list[str] = column('What it is filed under: `["lobby", "spring"]`.')
    description: str = column("Free text for people; empty when there is none.")
    file_size: BigInt | None = column("Size of its file in bytes; null when there is no file.")
    processing_status: ProcessingStatus = column("How far the understanding of its media is.")
    view_count: BigInt = column("How many times players have reported showing it.")
    last_viewed: datetime | None = column("When a player last reported showing it.")

    @computed(
        "The next instant at which `isActive` changes; null when it never does.", *SCHEDULE_COLUMNS
    )
    def next_change_at(self, info: Info) -> datetime | None:
        """Ask the schedule, in the tenant's time zone."""
        return schedule.next_change(cast("models.Asset", self), info.context.now, info.context.zone)

    @computed(
        "Where its file can be fetched without any other credential, for an hour at most; null "
        "when it has no file. The address stays the same for a quarter of an hour and is void as "
        "soon as the file is replaced.",
        *SIGNED_COLUMNS,
    )
    def media_url(self, info: Info) -> str | None:
        """Sign the address of the file."""
        row = cast("models.Asset", self)
        return _signed(row, Variant.ORIGINAL, info) if row.media_path else None

    @computed(
        "Where a small picture of it (WebP) can be fetched, as with `mediaUrl`; empty when there "
        "is none.",
        *SIGNED_COLUMNS,
        "thumbnail_url",
    )
    def thumbnail_url(self, info: Info) -> str:
        """Sign the address of the picture."""
        row = cast("models.Asset", self)
        return _signed(row, Variant.THUMBNAIL, info) if row.thumbnail_url else ""

    is_shared: bool = expression(
        "Whether it has a share link that can be opened right now.", lambda _: IS_SHARED
    )
    share_expires_at: datetime | None = expression(
        "When its share link ends, or did; null when it has none.", lambda _: SHARE_EXPIRES_AT
    )
    access_count: BigInt = expression(
        "How often its share link was opened; 0 when it has none. Counts anew for a new link.",
        lambda _: ACCESS_COUNT,
    )

    @computed(
        "The address of its share link, for whoever is to see it; null when it has none, and "
        "when the address can no longer be told (`ShareLink.url`). Needs assets.share.",
        needs=holding("assets.share"),
    )
    def share_url(self, info: Info) -> str | None:
        """Return it to who may make it."""
        link = share_link_of(cast("models.Asset", self).pk, info)
        return link.url(info) if link else None

    @computed(
        "Its share link, open or not, until it is revoked; null when it has none. Needs "
        "assets.share.",
        needs=holding("assets.share"),
        reads=Related("id", current_links, by="asset_id"),
    )
    def share(self, info: Info) -> ShareLink | None:
        """Return it to who may make it."""
        return share_link_of(cast("models.Asset", self).pk, info)

    @computed(
        "Its proof of play: how often each reporter showed it on each day, page by page, the "
        "earliest day first unless `order` says otherwise.",
        reads=Listed(_listed_days, of="asset_id"),
    )
    def playback_days(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            Annotated["AssetPlaybackFilter", strawberry.lazy("graph.playback")] | None,
            strawberry.argument(description="Which of it to list."),
        ] = UNSET,
        order: Annotated[
            Annotated["PlaybackDayOrder", strawberry.lazy("graph.playback")] | None,
            strawberry.argument(description="How to sort them."),
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Annotated["PlaybackDay", strawberry.lazy("graph.playback")]] | None:
        """List the days of one asset."""
        from graph.playback import page_of_days

        listing = _listed_days(info.context, filter, order)
        days = listing.rows.filter(asset_id=cast("models.Asset", self).pk)
        window = Window.of(first, after, last, before)
        return page_of_days(info, replace(listing, rows=days), window)

    @computed("The tenant it belongs to.", "tenant", reads=Related("tenant_id", tenants))
    def tenant(self, info: Info) -> Tenant:
        """Return the entered tenant: there are no other tenants' assets."""
        return cast("Tenant", info.context.tenant)

    @computed(
        "Who added it; null for an import, and for somebody who has left the tenant.",
        "created_by",
        reads=Related("created_by_id", people),
    )
    def created_by(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        return cast("User", info.context.people.get(cast("models.Asset", self).created_by_id))

    @computed(
        "Who last changed it; null as with `createdBy`.",
        "updated_by",
        reads=Related("updated_by_id", people),
    )
    def updated_by(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        return cast("User", info.context.people.get(cast("models.Asset", self).updated_by_id))


def _signed(row: models.Asset, variant: Variant, info: Info) -> str:
    # The entered tenant, read once, and not once per row.
    row.tenant = info.context.tenant
    return signed_url(row, variant, now=info.context.now)


def readable(
    context: Context,
    rows: QuerySet[models.Asset],
    selection: Selection,
    *columns: str,
) -> QuerySet[models.Asset]:
    """Return `rows` with what `selection` needs of an Asset, and `columns`."""
    return reading(Asset, rows, selection, context, *columns)


def meet(context: Context, rows: Sequence[models.Asset]) -> None:
    """Let the people and links of `rows` be read together when somebody asks for one."""
    for name in ("created_by_id", "updated_by_id"):
        context.people.expect(row.__dict__.get(name) for row in rows)
    context.shares.expect(row.pk for row in rows)


def of_tenant(context: Context) -> QuerySet[models.Asset]:
    """Return the entered tenant's assets; raises PermissionDenied without assets.view.

    The tenant is named although the wall would do: the planner knows how many assets a tenant has
    only when it is told which (measured: 100 times fewer rows read under a filter).
    """
    return models.Asset.objects.filter(tenant_id=context.actor.require("assets.view"))


def by_keys(context: Context, keys: list[UUID], selection: Selection) -> Iterable[models.Asset]:
    """Return the assets of these keys that there are, for `node` and `nodes`."""
    rows = list(readable(context, of_tenant(context).filter(pk__in=keys), selection))
    meet(context, rows)
    return rows


def listed_assets(
    context: Context,
    filter: AssetFilter | None = UNSET,  # noqa: A002 -- as the argument is called
    order: AssetOrder | None = UNSET,
) -> Listing[models.Asset]:
    """Return the list of the entered tenant's assets; raises PermissionDenied, InvalidInput."""
    rows = of_tenant(context)
    if is_given(filter):
        rows = rows.filter(filter.condition(context))
    order = order if is_given(order) else AssetOrder(field=AssetOrderField.CREATED_AT)
    return Listing(
        rows=rows,
        ordering=Ordering.of(SORT_KEYS, order.field, order.direction),
        read=partial(readable, context),
        meet=partial(meet, context),
    )


def page_of_assets(
    info: Info, filter_: AssetFilter | None, order: AssetOrder | None, window: Window
) -> Connection[Asset]:
    """Return a page of the entered tenant's assets."""
    return listed_assets(info.context, filter_, order).page(window, selected(info))


def named_asset(
    context: Context,
    id: str | None = UNSET,  # noqa: A002 -- as the argument is called
    asset_id: str | None = UNSET,
) -> QuerySet[models.Asset]:
    """Return the asset that exactly one of the two names; raises what its parts raise."""
    if is_given(id) is is_given(asset_id):
        raise InvalidInput("Give exactly one of id and assetId.", field=("id",))
    rows = of_tenant(context)
    if is_given(id):
        return rows.filter(
            pk=context.made(lambda text: key_of(text, "Asset", "id"), id, UUIDField())
        )
    return rows.filter(asset_id=context.made(_clean_asset_id, asset_id, TextField()))


def _clean_asset_id(text: str) -> str:
    try:
        return clean_text(text)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=("asset_id",)) from None


@strawberry.type(description="What plays at one instant, and how long that stays true.")
class Playlist:
    """The playlist of the entered tenant."""

    assets: list[Asset] = strawberry.field(
        description=(
            "What plays, in play order. Their `isActive` and `nextChangeAt` are about now, "
            "whatever instant was asked for."
        )
    )
    deadline: datetime | None = strawberry.field(
        description=(
            "When to ask again, by Anthias's rule: the next start or end of an asset, and within a "
            "minute while a play window could open or close. Null: nothing will ever change."
        )
    )
    now: datetime = strawberry.field(description="The instant this is about.")


def playlist_at(info: Info, now: datetime) -> Playlist:
    """Let SQL leave out what cannot matter, and the schedule decide the rest.

    Raises PermissionDenied without assets.view, InvalidInput for an instant there is none of.
    """
    context = info.context
    rows = of_tenant(context).filter(
        # An end before the start is allowed, and such a start still counts for the deadline.
        Q(end_date__gt=now) | Q(start_date__gt=now),
        is_enabled=True,
        start_date__isnull=False,
        end_date__isnull=False,
    )
    enabled = list(
        readable(context, rows, selected(info).below("assets"), *SCHEDULE_COLUMNS).order_by(
            "play_order", "id"
        )
    )
    try:
        active = [one for one in enabled if schedule.is_active(one, now, context.zone)]
        deadline = schedule.deadline(enabled, now, context.zone)
    except OverflowError:
        raise InvalidInput("That is too close to the end of time.", field=("at",)) from None
    meet(context, active)
    return Playlist(assets=cast("list[Asset]", active), deadline=deadline, now=now)


@strawberry.type
class AssetQueries:
    """The root fields about assets."""

    @query(
        "One asset of the tenant, by `id` or by `assetId`: give exactly one. Null when the "
        "tenant has no such asset. Needs assets.view.",
        reads=Found(named_asset),
        needs=holding("assets.view"),
    )
    def asset(
        self,
        info: Info,
        id: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            strawberry.ID | None, strawberry.argument(description="The asset's `id`.")
        ] = UNSET,
        asset_id: Annotated[
            str | None, strawberry.argument(description="The asset's `assetId`, Anthias's id.")
        ] = UNSET,
    ) -> Asset | None:
        """Look one asset up."""
        context = info.context
        found = list(readable(context, named_asset(context, id, asset_id), selected(info)))
        meet(context, found)
        return cast("Asset", found[0]) if found else None

    @query(
        "The tenant's assets, page by page, in the order they were added unless `order` says "
        "otherwise. Needs assets.view.",
        reads=Listed(listed_assets),
        needs=holding("assets.view"),
    )
    def assets(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            AssetFilter | None, strawberry.argument(description="Which assets to list.")
        ] = UNSET,
        order: Annotated[
            AssetOrder | None, strawberry.argument(description="How to sort them.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Asset] | None:
        """List assets."""
        return page_of_assets(info, filter, order, Window.of(first, after, last, before))

    @query(
        "What the tenant's players show at an instant, decided in the tenant's time zone, and "
        "until when. Needs assets.view.",
        needs=holding("assets.view"),
    )
    def playlist(
        self,
        info: Info,
        at: Annotated[
            datetime | None, strawberry.argument(description="The instant; now when left out.")
        ] = UNSET,
    ) -> Playlist | None:
        """Return what plays then."""
        return playlist_at(info, at if is_given(at) else info.context.now)
