"""What lists of assets can be narrowed to and sorted by: the arguments `filter` and `order`.

Called by graph.assets. Conditions and sort keys only: nothing here reads, and nothing names a
tenant.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

import strawberry
from django.contrib.postgres.fields import ArrayField
from django.db.models import DateTimeField, Func, Q, SmallIntegerField, TimeField, Value
from django.db.models.functions import Left, Lower
from django.db.models.lookups import GreaterThanOrEqual, LessThan
from strawberry import UNSET

from assets.models import ProcessingStatus
from assets.querysets import DateOrNever, Most, Never, NumberOrMost, playing_q
from assets.schedule import wall_clock
from assets.search import FIELDS, MIN_CONTAINED, Needles, clean_words, tagged_with_any
from graph.connections import SortKey
from graph.context import Context
from graph.enums import OrderDirection, described
from graph.ids import key_of
from graph.inputs import is_given
from graph.scalars import BigInt
from graph.share_links import IS_SHARED
from tenancy.errors import InvalidInput
from tenancy.tenants import clean_text

_DAYS = ArrayField(SmallIntegerField())


def is_playing(context: Context) -> Q:
    """Return the condition "plays right now", in the time zone of the entered tenant."""

    def day(name: str) -> Any:
        return context.bound(
            lambda one: [getattr(wall_clock(one.now, one.zone), name)], _DAYS, zoned=True
        )

    return playing_q(
        context.bound(lambda one: one.now, DateTimeField()),
        day("today"),
        day("yesterday"),
        context.bound(lambda one: wall_clock(one.now, one.zone).time, TimeField(), zoned=True),
    )


class AssetOrderField(StrEnum):
    """What assets can be sorted by; each has its index."""

    CREATED_AT = "created_at"
    PLAY_ORDER = "play_order"
    NAME = "name"
    UPDATED_AT = "updated_at"
    START_DATE = "start_date"
    END_DATE = "end_date"
    MIMETYPE = "mimetype"
    DURATION = "duration"
    FILE_SIZE = "file_size"
    VIEW_COUNT = "view_count"
    LAST_VIEWED = "last_viewed"


described(
    AssetOrderField,
    "What assets can be sorted by.",
    {
        AssetOrderField.CREATED_AT: "The order they were added in, as Anthias lists them.",
        AssetOrderField.PLAY_ORDER: "The order they play in.",
        AssetOrderField.NAME: (
            "The first 200 characters of the name whatever the case of letters; assets without "
            "a name first."
        ),
        AssetOrderField.UPDATED_AT: "When they were last changed.",
        AssetOrderField.START_DATE: "When they start to play; without a date last.",
        AssetOrderField.END_DATE: "When they cease to play; without a date last.",
        AssetOrderField.MIMETYPE: (
            "The first 200 characters of the mimetype whatever the case of letters; without one "
            "last."
        ),
        AssetOrderField.DURATION: "How long they are shown; without a duration last.",
        AssetOrderField.FILE_SIZE: "The size of their file; without a file last.",
        AssetOrderField.VIEW_COUNT: "How many times players have reported showing them.",
        AssetOrderField.LAST_VIEWED: (
            "When a player last reported showing them; those that none did last."
        ),
    },
)
SORT_KEYS = {
    # Not the key alone, which would be the same order: where one tenant has most of the table, the
    # planner would walk the primary key, whoever's rows come first there.
    AssetOrderField.CREATED_AT: SortKey("created_at", datetime),
    AssetOrderField.PLAY_ORDER: SortKey("play_order", int),
    AssetOrderField.NAME: SortKey("sort_name", str),
    AssetOrderField.UPDATED_AT: SortKey("updated_at", datetime),
    AssetOrderField.START_DATE: SortKey("start_date", datetime, nullable=True),
    AssetOrderField.END_DATE: SortKey("end_date", datetime, nullable=True),
    AssetOrderField.MIMETYPE: SortKey("sort_mimetype", str),
    AssetOrderField.DURATION: SortKey("duration", int, nullable=True),
    AssetOrderField.FILE_SIZE: SortKey("file_size", int, nullable=True),
    AssetOrderField.VIEW_COUNT: SortKey("view_count", int),
    AssetOrderField.LAST_VIEWED: SortKey("last_viewed", datetime, nullable=True),
}


@strawberry.input(
    description="How a list of assets is sorted. Ties are in the order the assets were added."
)
class AssetOrder:
    """The `order` argument."""

    field: AssetOrderField = strawberry.field(description="What to sort by.")
    direction: OrderDirection = strawberry.field(
        description="Which end comes first.", default=OrderDirection.ASC
    )


def _within(column_name: str, sorted_as: Func | None, *, least: Any, below: Any) -> Q:
    """Return the condition "has a value, which is `least` or more, and less than `below`".

    `sorted_as` is the form that the column has in its index, where that is another one.
    """
    condition = Q(**{f"{column_name}__isnull": False})
    if is_given(least):
        condition &= (
            Q(GreaterThanOrEqual(sorted_as, least))
            if sorted_as is not None
            else Q(**{f"{column_name}__gte": least})
        )
    if is_given(below):
        condition &= (
            Q(LessThan(sorted_as, below))
            if sorted_as is not None
            else Q(**{f"{column_name}__lt": below})
        )
    return condition


@strawberry.input(description="A range of instants, open where an end is left out.")
class DateTimeRange:
    """From (included) until (excluded)."""

    from_: datetime | None = strawberry.field(
        name="from", description="This instant or later.", default=UNSET
    )
    until: datetime | None = strawberry.field(
        description="Earlier than this instant.", default=UNSET
    )

    def condition(self, column_name: str, *, nullable: bool = False) -> Q:
        """Return the range as a condition on a column; rows without a value are outside.

        A nullable column is compared in the form that its index has, and always has an upper end:
        PostgreSQL would count the missing ones in when it judges how many rows that are.
        """
        return _within(
            column_name,
            DateOrNever(column_name) if nullable else None,
            least=self.from_,
            below=self.until if is_given(self.until) or not nullable else Never(),
        )


@strawberry.input(description="A range of whole numbers, open where an end is left out.")
class BigIntRange:
    """From the least to the most, both included."""

    min: BigInt | None = strawberry.field(description="This number or more.", default=UNSET)
    max: BigInt | None = strawberry.field(description="This number or less.", default=UNSET)

    def condition(self, column_name: str, *, nullable: bool = False) -> Q:
        """Return the range as a condition on a column, as DateTimeRange does."""
        return _within(
            column_name,
            NumberOrMost(column_name) if nullable else None,
            least=self.min,
            below=self.max + 1 if is_given(self.max) else Most() if nullable else None,
        )


class AssetSearchField(StrEnum):
    """What a search looks into."""

    NAME = "name"
    DESCRIPTION = "description"
    TAGS = "tags"


described(
    AssetSearchField,
    "What a search looks into.",
    {
        AssetSearchField.NAME: "The name.",
        AssetSearchField.DESCRIPTION: "The description.",
        AssetSearchField.TAGS: "Every tag.",
    },
)


@strawberry.input(
    description=(
        "Words to find, whatever the case of letters. For a search box, as people type: "
        '`{prefix: "spr lob"}`. Every word given has to be found, each anywhere in what `in` '
        "names. 200 characters at most; text without a word finds everything. All characters are "
        "ordinary ones, `%` and `_` too."
    )
)
class AssetSearch:
    """The words, and where to look for them."""

    prefix: str | None = strawberry.field(
        description=(
            "Beginnings of words, one character or more each: `spr lob` finds “Lobby, spring”. A "
            "word begins behind a space, a dash, a dot and whatever else is no letter."
        ),
        default=UNSET,
    )
    contains: str | None = strawberry.field(
        description=(
            "What occurs anywhere, in the middle of words too, 3 characters or more each: `obb` "
            "finds “Lobby”."
        ),
        default=UNSET,
    )
    in_: list[AssetSearchField] | None = strawberry.field(
        name="in",
        description="Where to look: everywhere when left out. An empty list matches no asset.",
        default=UNSET,
    )

    def needles(self) -> Needles:
        """Return what to find; raises InvalidInput."""
        return Needles(
            containing=self._words("contains", shortest=MIN_CONTAINED),
            beginning=self._words("prefix", shortest=1),
            fields=list(dict.fromkeys(self.in_)) if is_given(self.in_) else FIELDS,
        )

    def _words(self, name: str, *, shortest: int) -> list[str]:
        text = getattr(self, name)
        try:
            return clean_words(text, shortest=shortest) if is_given(text) else []
        except InvalidInput as error:
            raise InvalidInput(error.message, field=("filter", "search", name)) from None


@strawberry.input(description="Which tags an asset has. An empty list matches no asset.")
class TagFilter:
    """Any of them, all of them."""

    any: list[str] | None = strawberry.field(
        description="At least one of these tags.", default=UNSET
    )
    all: list[str] | None = strawberry.field(description="Every one of these tags.", default=UNSET)

    def wanted(self) -> list[str] | None:
        """Return the tags that have all to be there; None when the filter does not say."""
        return _texts(self.all, "tags", "all") if is_given(self.all) else None

    def condition(self, context: Context) -> Q:
        """Return the condition "at least one of these"."""
        if not is_given(self.any):
            return Q()
        return tagged_with_any(_texts(self.any, "tags", "any"), context.among)


@strawberry.input(
    description=(
        "Which assets to list: those that meet every condition given. A condition that is left "
        "out or null does not count; an empty list matches no asset."
    )
)
class AssetFilter:
    """The `filter` argument."""

    ids: list[strawberry.ID] | None = strawberry.field(
        description="Its `id` is one of these; ids of anything else match nothing.", default=UNSET
    )
    asset_ids: list[str] | None = strawberry.field(
        description="Its `assetId` is one of these.", default=UNSET
    )
    search: AssetSearch | None = strawberry.field(
        description="Words that its name, its description or its tags have.", default=UNSET
    )
    is_enabled: bool | None = strawberry.field(
        description="Whether it may play at all.", default=UNSET
    )
    is_active: bool | None = strawberry.field(
        description="Whether it plays right now, in the tenant's time zone.", default=UNSET
    )
    is_processing: bool | None = strawberry.field(
        description="Whether its file is still being worked on.", default=UNSET
    )
    is_reachable: bool | None = strawberry.field(
        description="Whether its address answered when last checked.", default=UNSET
    )
    is_shared: bool | None = strawberry.field(
        description="Whether a link shows it to whoever has the link.", default=UNSET
    )
    mimetype: list[str] | None = strawberry.field(
        description='Its mimetype is one of these: `["image", "video"]`.', default=UNSET
    )
    tags: TagFilter | None = strawberry.field(description="Which tags it has.", default=UNSET)
    processing_status: list[ProcessingStatus] | None = strawberry.field(
        description="Its processing status is one of these.", default=UNSET
    )
    start_date: DateTimeRange | None = strawberry.field(
        description="Its start date lies in this range.", default=UNSET
    )
    end_date: DateTimeRange | None = strawberry.field(
        description="Its end date lies in this range.", default=UNSET
    )
    created_at: DateTimeRange | None = strawberry.field(
        description="It was added in this range.", default=UNSET
    )
    updated_at: DateTimeRange | None = strawberry.field(
        description="It was last changed in this range.", default=UNSET
    )
    last_viewed: DateTimeRange | None = strawberry.field(
        description="A player last reported showing it in this range.", default=UNSET
    )
    duration: BigIntRange | None = strawberry.field(
        description="It is shown for so many seconds: `{min: 10, max: 60}`.", default=UNSET
    )
    file_size: BigIntRange | None = strawberry.field(
        description="Its file has so many bytes.", default=UNSET
    )
    view_count: BigIntRange | None = strawberry.field(
        description="Players have reported showing it so many times.", default=UNSET
    )
    has_media: bool | None = strawberry.field(
        description="Whether its file is kept by the service.", default=UNSET
    )

    def condition(self, context: Context) -> Q:
        """Return the filter as one condition; raises InvalidInput for what nothing can meet."""
        condition = self._is_one_of() & self._is_found(context) & self._lies_within()
        for name in ("is_enabled", "is_processing", "is_reachable"):
            wanted = getattr(self, name)
            if is_given(wanted):
                condition &= Q(**{name: wanted})
        if is_given(self.is_shared):
            condition &= Q(IS_SHARED) if self.is_shared else ~Q(IS_SHARED)
        if is_given(self.has_media):
            condition &= ~Q(media_path="") if self.has_media else Q(media_path="")
        if is_given(self.is_active):
            active = is_playing(context)
            condition &= active if self.is_active else ~active
        return condition

    def _is_found(self, context: Context) -> Q:
        condition, needles = Q(), Needles()
        if is_given(self.search):
            needles = self.search.needles()
            condition &= Q() if needles.fields else Q(pk__in=[])
        if is_given(self.tags):
            condition &= self.tags.condition(context)
            wanted = self.tags.wanted()
            if wanted is not None:
                condition &= Q() if wanted else Q(pk__in=[])
                needles = needles._replace(tagged=wanted)
        return condition & needles.condition(context.among)

    def _lies_within(self) -> Q:
        condition = Q()
        for name in ("created_at", "updated_at", "view_count"):
            if is_given(wanted := getattr(self, name)):
                condition &= wanted.condition(name)
        for name in ("start_date", "end_date", "last_viewed", "duration", "file_size"):
            if is_given(wanted := getattr(self, name)):
                condition &= wanted.condition(name, nullable=True)
        return condition

    def _is_one_of(self) -> Q:
        condition = Q()
        if is_given(self.ids):
            keys = [
                key_of(text, "Asset", "filter", "ids", str(at)) for at, text in enumerate(self.ids)
            ]
            condition &= Q(pk__in=[key for key in keys if key is not None])
        if is_given(self.asset_ids):
            condition &= Q(asset_id__in=_texts(self.asset_ids, "assetIds"))
        if is_given(self.mimetype):
            texts = _texts(self.mimetype, "mimetype")
            # The second half says nothing more, but says it to an index.
            sorted_as = [Lower(Left(Value(text), 200)) for text in texts]
            condition &= Q(mimetype__in=texts, sort_mimetype__in=sorted_as)
        if is_given(self.processing_status):
            condition &= Q(processing_status__in=self.processing_status)
        return condition


def _texts(values: list[str], *field: str) -> list[str]:
    try:
        return [clean_text(value) for value in values]
    except InvalidInput as error:
        raise InvalidInput(error.message, field=("filter", *field)) from None
