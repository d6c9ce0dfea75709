"""Every list that the schema offers, with what it is narrowed by, and how its plans are judged.

Used by the tests of plans, which share it out between databases. Orders are the schema's own; a
list or a filter without its line here fails the build.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from hashlib import md5
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import UUID

from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLObjectType, get_named_type
from strawberry import relay

from graph.schema import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from graphql import GraphQLField

    from tests.graph.crowd import Crowd, Place
    from tests.graph.plans import Explainer

# The world's own rows, which are there besides those that were made.
BESIDES = 60
PAGE = 50


def key(text: str) -> UUID:
    """Return the key that crowd.py gives to what it calls `text`."""
    return UUID(bytes=md5(text.encode(), usedforsecurity=False).digest())


_SOMEBODY = relay.to_base64("User", key("u0"))
_HOLDER = relay.to_base64("User", key("u7"))


@dataclass(frozen=True, slots=True)
class Listing:
    """A connection of the schema.

    `narrow` are filters that few rows of the large tenant meet, whose index gives those and no
    others; `broad` those that are judged row by row, so that in the worst case a page reads its
    tenant's rows, all of them and nobody else's. `elsewhere` names filters with a test of their own.
    """

    field: str
    narrow: tuple[str, ...] = ()
    broad: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    inside: str = "Query"
    # Where the field stands in a document.
    around: str = "{}"
    # How often a scan meets a row of the tenant at most.
    times: int = 1

    def document(self, arguments: str, selection: str) -> str:
        """Return a query of this list."""
        told = f"({arguments})" if arguments else ""
        return f"{{ {self.around.replace('{}', f'{self.field}{told} {{ {selection} }}')} }}"

    @property
    def definition(self) -> GraphQLField:
        """The field as the schema has it."""
        kind = schema._schema.type_map[self.inside]
        assert isinstance(kind, GraphQLObjectType)
        found: GraphQLField = kind.fields[self.field]
        return found

    def inputs(self, argument: str) -> Mapping[str, Any]:
        """Return what the input of an argument has, by name; nothing without such an argument."""
        if argument not in self.definition.args:
            return {}
        kind = get_named_type(self.definition.args[argument].type)
        assert isinstance(kind, GraphQLInputObjectType)
        fields: Mapping[str, Any] = kind.fields
        return fields

    @property
    def orders(self) -> list[str]:
        """The `order` arguments there are; one empty one where there is no choice."""
        inputs = self.inputs("order")
        if not inputs:
            return [""]
        kind = get_named_type(inputs["field"].type)
        assert isinstance(kind, GraphQLEnumType)
        pairs = product(kind.values, ("ASC", "DESC"))
        return [f"order: {{field: {name}, direction: {way}}}" for name, way in pairs]


ASSETS = Listing(
    "assets",
    narrow=(
        'assetIds: ["7", "8"]',
        "isProcessing: true",
        "isReachable: false",
        "isShared: true",
        'mimetype: ["streaming"]',
        "processingStatus: [FAILED]",
        'createdAt: {until: "2024-06-02T00:00:00Z"}',
        'updatedAt: {until: "2025-01-01T00:01:00Z"}',
        'startDate: {until: "2024-01-01T10:00:00Z"}',
        'endDate: {until: "2026-01-03T00:00:00Z"}',
        'lastViewed: {from: "2025-03-11T00:00:00Z"}',
        "duration: {min: 99900}",
        "fileSize: {max: 5000000500}",
        "viewCount: {min: 4999}",
        'mimetype: ["streaming"], isReachable: true, viewCount: {min: 10}',
    ),
    broad=(
        "isEnabled: true",
        "isEnabled: false",
        "isActive: true",
        "isActive: false",
        "isShared: false",
        "hasMedia: true",
        "hasMedia: false",
        'mimetype: ["image"]',
        "isEnabled: false, hasMedia: true, duration: {min: 10}",
    ),
    elsewhere=("search", "tags", "ids"),
)
MEMBERSHIPS = Listing(
    "memberships",
    narrow=("role: [ADMIN]", "isActive: false"),
    broad=("role: [VIEWER]", "isActive: true", 'search: "u777"', 'search: "first1"'),
    # Found and then looked at by the policy of people.
    times=2,
)
TENANTS = Listing("tenants")
DEVICES = Listing(
    "devices",
    narrow=("isRevoked: true",),
    broad=("isRevoked: false", "isOnline: true", "isOnline: false", 'tag: "rare"', 'tag: "f3"'),
)
PLAYBACK = Listing(
    "playbackDays",
    narrow=(
        'assetId: "7"',
        f'reporterId: "{key("p0")}"',
        f'assetId: "7", reporterId: "{key("p1")}"',
        'assetId: "7", from: "2025-03-01", to: "2025-06-01"',
    ),
    broad=('from: "2025-03-01", to: "2025-03-01"', 'from: "2025-06-01"'),
    elsewhere=("asset",),
)
AUDIT = Listing(
    "auditLog",
    narrow=(
        f'userId: "{_SOMEBODY}"',
        'actions: ["settings.updated"]',
        'actionPrefix: "settings"',
        'subjects: ["Device"]',
        'labelPrefix: "name 7777"',
        "credentials: [COMMAND]",
        'from: "2024-06-01T00:00:00Z", to: "2024-06-02T00:00:00Z"',
        'labelPrefix: "name 7777", credentials: [SESSION]',
    ),
    broad=(
        'actionPrefix: "asset."',
        'labelPrefix: "n"',
        "credentials: [SESSION]",
        'subjects: ["Asset"], credentials: [COMMAND], actionPrefix: "settings"',
    ),
    elsewhere=("subjectId",),
)
TOKENS = Listing(
    "apiTokens", narrow=("isLive: true", f'userId: "{_HOLDER}"'), broad=("isLive: false",)
)
INVITATIONS = Listing("invitations", broad=("status: [PENDING]", "status: [ACCEPTED, EXPIRED]"))
LISTINGS = (
    *(ASSETS, MEMBERSHIPS, TENANTS, DEVICES, PLAYBACK, AUDIT, TOKENS, INVITATIONS),
    *map(Listing, ("capabilities", "uploads", "backups", "restores")),
    Listing("sessions", inside="Viewer", around="me { {} }"),
)


def connections() -> Iterator[tuple[str, str]]:
    """Go through the fields of the schema that are lists to page through: type, field."""
    for name, kind in schema._schema.type_map.items():
        if isinstance(kind, GraphQLObjectType):
            for field_name, field in kind.fields.items():
                if get_named_type(field.type).name.endswith("Connection"):
                    yield name, field_name


def check_pages(explainer: Explainer, crowd: Crowd, listing: Listing) -> None:
    """Check pages from either end and from the middle, in every order, on both roads.

    Every node walks an index of the tenant's and stops when the page is full; nothing is sorted but
    a page that was read backwards.
    """
    roads = _roads(explainer, crowd.few, listing)
    for place, order in product(crowd, listing.orders):
        is_descending = "DESC" in order
        if is_descending and place is not crowd.large:
            continue
        windows = [] if is_descending else [f"first: {PAGE}"]
        if place is crowd.large:
            middle = _cursor(place, listing, order)
            windows += [f'first: {PAGE}, after: "{middle}"', f'last: {PAGE}, before: "{middle}"']
            windows += [f"last: {PAGE}"] if is_descending or order == "" else []
        for window, is_compiled in product(windows, roads):
            # One more to know that it goes on, and the item at the cursor.
            most = PAGE + 2
            # Of next to nothing PostgreSQL may as well sort all.
            is_turned = is_compiled and "last" in window
            document = listing.document(
                _joined(order, window),
                "pageInfo { hasNextPage hasPreviousPage startCursor } edges { node { id } }",
            )
            explainer.check(
                place,
                document,
                most,
                sorts=most if is_turned or place is not crowd.large else 0,
                is_compiled=is_compiled,
            )


def check_filters(
    explainer: Explainer, crowd: Crowd, listing: Listing
) -> dict[str, dict[str, list[int]]]:
    """Check every filter, and counting; return by filter how many rows each tenant's page read."""
    read: dict[str, list[int]] = {}
    roads = _roads(explainer, crowd.few, listing)
    for text, place in product(("", *listing.narrow, *listing.broad), crowd):
        most = (place.rows + BESIDES) * listing.times
        told = f"filter: {{{text}}}" if text else ""
        asked, allowed = {(listing.orders[0], roads[0])}, most
        if place is crowd.large:
            asked.add((listing.orders[-1], roads[-1]))
            answers: list[Any] = []
            counting = partial(_keep, answers, place, listing.document(told, "totalCount"))
            explainer.check(place, counting, most, is_compiled=roads[0])
            if text in listing.narrow:
                [total] = _leaves(answers[0])
                assert 0 < total < place.rows // 20, (listing.field, text, total)
                allowed = total + 1
        selection = "pageInfo { hasNextPage } edges { node { id } }"
        seen = [
            explainer.check(
                place,
                listing.document(_joined(told, order), selection),
                allowed,
                is_compiled=is_compiled,
                loosely=most,
            )
            for order, is_compiled in asked
        ]
        read.setdefault(text, []).append(max(seen))
    return {listing.field: read}


def tell(read: Mapping[str, Mapping[str, list[int]]]) -> None:
    """Print rows of Markdown, for docs/performance.md: list, filter, rows read by each tenant."""
    for field, filters in read.items():
        for text, seen in filters.items():
            told = f"`{text}`" if text else "no filter"
            rows = " | ".join(f"{rows:,}" for rows in seen)
            print(f"| {field} | {told} | {rows} |")  # noqa: T201 -- pytest shows it with -rP


def _roads(explainer: Explainer, place: Place, listing: Listing) -> tuple[bool, ...]:
    """Return the roads that there are: by a compiled statement, where it can be, and by resolvers."""
    document = listing.document("first: 1", "edges { node { id } }")
    sent = explainer.sent(partial(place.graph.data, document), is_compiled=True)
    return (True, False) if any(one.template for one in sent) else (False,)


def _joined(*arguments: str) -> str:
    return ", ".join(filter(None, arguments))


def _cursor(place: Place, listing: Listing, order: str) -> str:
    """Return the cursor of the thousandth item, where skipping row by row would show."""
    cursor = after = ""
    for _ in range(2):
        document = listing.document(_joined(order, "first: 500", after), "pageInfo { endCursor }")
        [cursor] = _leaves(place.graph.data(document))
        after = f'after: "{cursor}"'
    return cursor


def _keep(answers: list[Any], place: Place, document: str) -> None:
    answers.append(place.graph.data(document))


def _leaves(data: Any) -> list[Any]:
    """Return the values of an answer, without what they are in."""
    if isinstance(data, dict):
        return [leaf for value in data.values() for leaf in _leaves(value)]
    return [data]
