"""What lists of assets can be narrowed to and sorted by: the arguments `filter` and `order`.

Called by graph.assets. Conditions and sort keys only: nothing here reads, and nothing names a
tenant.
"""

from datetime import datetime
from enum import StrEnum

import strawberry
from django.db.models import Q
from strawberry import UNSET

from assets.models import ProcessingStatus
from assets.querysets import active_q
from graph.connections import SortKey
from graph.context import Context
from graph.enums import OrderDirection, described
from graph.ids import key_of
from graph.inputs import is_given
from tenancy.errors import InvalidInput
from tenancy.tenants import clean_text


class AssetOrderField(StrEnum):
    """What assets can be sorted by; each has its index."""

    CREATED_AT = "created_at"
    PLAY_ORDER = "play_order"
    NAME = "name"
    UPDATED_AT = "updated_at"
    START_DATE = "start_date"
    END_DATE = "end_date"


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


@strawberry.input(description="A range of instants, open where an end is left out.")
class DateTimeRange:
    """From (included) until (excluded)."""

    from_: datetime | None = strawberry.field(
        name="from", description="This instant or later.", default=UNSET
    )
    until: datetime | None = strawberry.field(
        description="Earlier than this instant.", default=UNSET
    )

    def condition(self, column_name: str) -> Q:
        """Return the range as a condition on a column; rows without a value are outside."""
        condition = Q(**{f"{column_name}__isnull": False})
        if is_given(self.from_):
            condition &= Q(**{f"{column_name}__gte": self.from_})
        if is_given(self.until):
            condition &= Q(**{f"{column_name}__lt": self.until})
        return condition


@strawberry.input(description="Which tags an asset has. An empty list matches no asset.")
class TagFilter:
    """Any of them, all of them."""

    any: list[str] | None = strawberry.field(
        description="At least one of these tags.", default=UNSET
    )
    all: list[str] | None = strawberry.field(description="Every one of these tags.", default=UNSET)

    def condition(self) -> Q:
        """Return both conditions together."""
        condition = Q()
        if is_given(self.any):
            condition &= Q(tags__overlap=_texts(self.any, "tags", "any"))
        if is_given(self.all):
            wanted = _texts(self.all, "tags", "all")
            condition &= Q(tags__contains=wanted) if wanted else Q(pk__in=[])
        return condition


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

    def condition(self, context: Context) -> Q:
        """Return the filter as one condition; raises InvalidInput for ids that are none."""
        condition = self._is_one_of()
        for name in ("is_enabled", "is_processing", "is_reachable"):
            wanted = getattr(self, name)
            if is_given(wanted):
                condition &= Q(**{name: wanted})
        if is_given(self.is_active):
            active = active_q(context.now, context.zone)
            condition &= active if self.is_active else ~active
        if is_given(self.tags):
            condition &= self.tags.condition()
        if is_given(self.start_date):
            condition &= self.start_date.condition("start_date")
        if is_given(self.end_date):
            condition &= self.end_date.condition("end_date")
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
            condition &= Q(mimetype__in=_texts(self.mimetype, "mimetype"))
        if is_given(self.processing_status):
            condition &= Q(processing_status__in=self.processing_status)
        return condition


def _texts(values: list[str], *field: str) -> list[str]:
    try:
        return [clean_text(value) for value in values]
    except InvalidInput as error:
        raise InvalidInput(error.message, field=("filter", *field)) from None
