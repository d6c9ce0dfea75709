"""The tags of a tenant's assets as GraphQL lists them, with how many assets have each.

Reads only, through assets.tags; graph.bulk files assets under tags.
"""

import base64
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import strawberry
from strawberry import UNSET

from assets import tags
from assets.search import MAX_NEEDLE
from graph.columns import query
from graph.connections import (
    After,
    Before,
    Connection,
    Edge,
    First,
    Last,
    PageInfo,
    Window,
)
from graph.context import Info
from graph.enums import OrderDirection, described
from graph.inputs import is_given
from graph.permissions import holding
from graph.selections import Selection, selected
from tenancy.errors import InvalidInput
from tenancy.tenants import clean_text


@strawberry.type(description="Something that assets are filed under.")
class Tag:
    """A tag of `assets.models.Asset.tags`."""

    name: str = strawberry.field(description="The tag as assets have it: `lobby`.")
    count: int = strawberry.field(description="How many assets of the tenant have it.")


class TagOrderField(StrEnum):
    """What tags can be sorted by."""

    NAME = "name"
    COUNT = "count"


described(
    TagOrderField,
    "What tags can be sorted by.",
    {
        TagOrderField.NAME: "The tag itself, whatever the case of letters.",
        TagOrderField.COUNT: "How many assets have it; equal counts in the order of their bytes.",
    },
)


@strawberry.input(description="How a list of tags is sorted.")
class TagOrder:
    """The `order` argument."""

    field: TagOrderField = strawberry.field(description="What to sort by.")
    direction: OrderDirection = strawberry.field(
        description="Which end comes first.", default=OrderDirection.ASC
    )


@strawberry.input(description="Which tags to list.")
class TagListFilter:
    """The `filter` argument."""

    prefix: str | None = strawberry.field(
        description=(
            "The tag begins with this, whatever the case of letters: `lo` finds `Lobby`. "
            "200 characters at most; every tag when it is empty."
        ),
        default=UNSET,
    )

    def cleaned(self) -> str:
        """Return the prefix; raises InvalidInput."""
        field = ("filter", "prefix")
        if not is_given(self.prefix):
            return ""
        if len(self.prefix) > MAX_NEEDLE:
            raise InvalidInput(f"A prefix can have {MAX_NEEDLE} characters at most.", field=field)
        try:
            return clean_text(self.prefix).lstrip()
        except InvalidInput as error:
            raise InvalidInput(error.message, field=field) from None


@dataclass(frozen=True, slots=True)
class TagPages:
    """A list of tags in one order, to page through as `graph.connections.Listing` does."""

    rows: tags.TagList
    order: TagOrder

    def page(self, window: Window, selection: Selection) -> Connection[Tag]:
        """Return one page, in one statement; more only when a cursor's tag has gone."""
        descending = self.order.direction is OrderDirection.DESC
        after = self._load(window.after, "after") if window.after is not None else None
        before = self._load(window.before, "before") if window.before is not None else None
        near, far = (before, after) if window.backward else (after, before)
        items: list[tags.Tag] = []
        if "edges" in selection or "pageInfo" in selection:
            items = self.rows.page(
                start=near,
                end=far,
                descending=descending is not window.backward,
                limit=window.size + (1 if near is None else 2),
            )
        is_behind = bool(items) and near is not None and self._place(items[0]) == near
        items = items[1:] if is_behind else items
        is_beyond = bool(items) and far is not None and self._place(items[-1]) == far
        items = items[:-1] if is_beyond else items
        is_beyond = is_beyond or len(items) > window.size
        items = items[: window.size]
        info = selection.below("pageInfo")
        behind, beyond = "hasPreviousPage", "hasNextPage"
        if window.backward:
            behind, beyond = beyond, behind
        if not is_behind and near is not None and behind in info:
            is_behind = self._is_anything_at(near, descending=descending is window.backward)
        if not is_beyond and far is not None and beyond in info:
            is_beyond = self._is_anything_at(far, descending=descending is not window.backward)
        if window.backward:
            items.reverse()
        has_next, has_previous = (
            (is_behind, is_beyond) if window.backward else (is_beyond, is_behind)
        )
        edges = [
            Edge(cursor=self._dump(item), node=Tag(name=item.name, count=item.count))
            for item in items
        ]
        return Connection(
            edges=edges,
            page_info=PageInfo(
                has_next_page=has_next,
                has_previous_page=has_previous,
                start_cursor=edges[0].cursor if edges else None,
                end_cursor=edges[-1].cursor if edges else None,
            ),
            count=self.rows.total,
        )

    def _is_anything_at(self, place: tags.Tag, *, descending: bool) -> bool:
        return bool(self.rows.page(start=place, end=None, descending=descending, limit=1))

    def _place(self, item: tags.Tag) -> tags.Tag:
        """Return what an order knows of a tag: sorted by name, its count may change."""
        return item if self.rows.by_count else tags.Tag(item.name, 0)

    def _name(self) -> list[str]:
        return [f"Tag.{self.order.field.name}", self.order.direction.name]

    def _dump(self, item: tags.Tag) -> str:
        parts = [*self._name(), self._place(item).count, item.name]
        text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode()

    def _load(self, text: str, field: str) -> tags.Tag:
        try:
            *name, count, tag = json.loads(base64.b64decode(text, b"-_", validate=True))
            if type(count) is not int or not 0 <= count < 2**63 or not isinstance(tag, str):
                raise ValueError(text)
            if name != self._name():
                raise InvalidInput(
                    "This cursor belongs to another list or another order; start again without it.",
                    field=(field,),
                )
            return self._place(tags.Tag(clean_text(tag), count))
        except InvalidInput as error:
            raise InvalidInput(error.message, field=(field,)) from None
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidInput("This is not a cursor of this list.", field=(field,)) from error


@strawberry.type
class TagQueries:
    """The root field about tags."""

    @query(
        "The tags that the tenant's assets have, page by page, sorted by name unless `order` says "
        "otherwise. Needs assets.view.",
        needs=holding("assets.view"),
    )
    def tags(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            TagListFilter | None, strawberry.argument(description="Which tags to list.")
        ] = UNSET,
        order: Annotated[
            TagOrder | None, strawberry.argument(description="How to sort them.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Tag] | None:
        """List tags."""
        order = order if is_given(order) else TagOrder(field=TagOrderField.NAME)
        rows = tags.TagList(
            tenant_id=info.context.actor.require("assets.view"),
            prefix=filter.cleaned() if is_given(filter) else "",
            by_count=order.field is TagOrderField.COUNT,
        )
        return TagPages(rows, order).page(Window.of(first, after, last, before), selected(info))
