"""What can be subscribed to: one field for each kind of change, answered from an event.

graph.socket listens and calls; nothing here waits. A field's root is the `Change` that happened,
and what it reads of the database it reads as the subscriber, when it is told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

import strawberry
from strawberry.relay import to_base64

from assets.importing import ImportStatus
from graph import assets, members
from graph.assets import Asset, Playlist, playlist_at
from graph.columns import resolved
from graph.context import Info
from graph.enums import described
from graph.members import Membership
from graph.permissions import holding
from graph.selections import selected
from tenancy.actors import Actor
from tenancy.events import MOST_IDS, PLAYLIST_EVENTS, Event

# Nodes that one message reads; of more it says ids only, and of many `all`.
MOST_NODES = 100


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to be told: what the event says, or several of them taken together.

    `kind` is None when events may have been missed.
    """

    kind: Event | None
    ids: tuple[UUID, ...] = ()
    is_all: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "Change":
        """Read an event."""
        return cls(
            Event(event["event"]),
            tuple(map(UUID, event["ids"])),
            bool(event.get("all")),
            {k: v for k, v in event.items() if k not in {"event", "ids", "all"}},
        )

    def and_(self, later: "Change") -> "Change":
        """Return what says both, the later details for earlier ones."""
        ids = tuple(dict.fromkeys((*self.ids, *later.ids)))
        is_all = self.is_all or later.is_all or len(ids) > MOST_IDS
        return replace(later, ids=() if is_all else ids, is_all=is_all)


MISSED = Change(None, is_all=True)


class ChangeKind(StrEnum):
    """What happened to rows."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    UNKNOWN = "unknown"


described(
    ChangeKind,
    "What happened.",
    {
        ChangeKind.CREATED: "They are new.",
        ChangeKind.CHANGED: "Something of them is not as it was.",
        ChangeKind.DELETED: "They are gone.",
        ChangeKind.UNKNOWN: (
            "Messages may have been lost between here and there: read again what you show."
        ),
    },
)
_ASSET_KINDS: Mapping[Event | None, ChangeKind] = {
    Event.ASSETS_CREATED: ChangeKind.CREATED,
    Event.ASSETS_CHANGED: ChangeKind.CHANGED,
    Event.SHARES_CHANGED: ChangeKind.CHANGED,
    Event.ASSETS_DELETED: ChangeKind.DELETED,
    None: ChangeKind.UNKNOWN,
}


class PlaylistChangeReason(StrEnum):
    """What a playlist may have changed by."""

    ASSETS = "assets"
    DEVICES = "devices"
    SETTINGS = "settings"
    UNKNOWN = "unknown"


described(
    PlaylistChangeReason,
    "Why a playlist may be another.",
    {
        PlaylistChangeReason.ASSETS: "Assets came, changed or went.",
        PlaylistChangeReason.DEVICES: "A device, or its settings, changed.",
        PlaylistChangeReason.SETTINGS: "The tenant's settings changed: its time zone, say.",
        PlaylistChangeReason.UNKNOWN: "Messages may have been lost between here and there.",
    },
)
_REASONS: Mapping[Event | None, PlaylistChangeReason] = {
    Event.DEVICES_CHANGED: PlaylistChangeReason.DEVICES,
    Event.SETTINGS_CHANGED: PlaylistChangeReason.SETTINGS,
    None: PlaylistChangeReason.UNKNOWN,
}


described(
    ImportStatus,
    "How an import is doing.",
    {
        ImportStatus.RUNNING: "Rows are coming in; nobody sees them yet.",
        ImportStatus.FINISHED: "It is whole, and its assets are there.",
        ImportStatus.FAILED: "It ended and left nothing behind.",
    },
)

_ALL = (
    "Whether it is about more rows than are named, perhaps about all: then `ids` is empty, and "
    "what you show has to be read again."
)


@strawberry.type(description="Assets of the tenant came, changed or went.")
class AssetsChange:
    """A message of `assetsChanged`."""

    change: strawberry.Private[Change]

    @resolved("What happened to them.")
    def kind(self) -> ChangeKind:
        """Name it."""
        return _ASSET_KINDS[self.change.kind]

    @resolved(_ALL)
    def all(self) -> bool:
        """Return whether nobody is named."""
        return self.change.is_all

    @resolved("The `id` of each, 500 at most.")
    def ids(self) -> list[strawberry.ID]:
        """Return global ids."""
        return [strawberry.ID(to_base64("Asset", key)) for key in self.change.ids]

    @resolved(
        "The first 100 of them as they are by now; without those that are gone. Empty where "
        "`all` is true."
    )
    def assets(self, info: Info) -> list[Asset]:
        """Read them."""
        found = assets.by_keys(info.context, list(self.change.ids[:MOST_NODES]), selected(info))
        return _in_order(found, self.change)


@strawberry.type(description="What the tenant's players show may be another thing now.")
class PlaylistChange:
    """A message of `playlistChanged`."""

    change: strawberry.Private[Change]

    @resolved("Why it may have changed.")
    def reason(self) -> PlaylistChangeReason:
        """Name it."""
        return _REASONS.get(self.change.kind, PlaylistChangeReason.ASSETS)

    @resolved("What plays now, decided in the tenant's time zone.")
    def playlist(self, info: Info) -> Playlist:
        """Read it."""
        return playlist_at(info, info.context.now)


@strawberry.type(description="Members of the tenant came, changed or went.")
class MembershipsChange:
    """A message of `membershipsChanged`."""

    change: strawberry.Private[Change]

    @resolved(_ALL)
    def all(self) -> bool:
        """Return whether nobody is named."""
        return self.change.is_all

    @resolved("The `id` of each membership, 500 at most.")
    def ids(self) -> list[strawberry.ID]:
        """Return global ids."""
        return [strawberry.ID(to_base64("Membership", key)) for key in self.change.ids]

    @resolved(
        "The first 100 of them as they are by now; without those that are gone. Empty where "
        "`all` is true."
    )
    def memberships(self, info: Info) -> list[Membership]:
        """Read them."""
        found = members.by_keys(info.context, list(self.change.ids[:MOST_NODES]), selected(info))
        return _in_order(found, self.change)


@strawberry.type(
    description=(
        "How far an import into the tenant is: one by a command, or that of a backup that is "
        "restored."
    )
)
class ImportProgress:
    """A message of `importProgress`."""

    change: strawberry.Private[Change]

    @resolved("Which import: the same in each of its messages; null for any.")
    def run(self) -> UUID | None:
        """Return its key."""
        return self.change.ids[0] if self.change.ids else None

    @resolved("How it is doing; null where messages may have been lost: read again.")
    def status(self) -> ImportStatus | None:
        """Name it."""
        status = self.change.details.get("status")
        return ImportStatus(status) if status else None

    @resolved("The name of what is imported: `anthias.db`.")
    def source(self) -> str:
        """Return it."""
        return str(self.change.details.get("source", ""))

    @resolved("How many rows have been looked at.")
    def done(self) -> int:
        """Return it."""
        return int(self.change.details.get("done", 0))

    @resolved("How many rows there are.")
    def total(self) -> int:
        """Return it."""
        return int(self.change.details.get("total", 0))

    @resolved("How many of those looked at could not be stored.")
    def failed(self) -> int:
        """Return it."""
        return int(self.change.details.get("failed", 0))


def _in_order(found: Any, change: Change) -> list[Any]:
    rows = {row.pk: row for row in found}
    return [rows[key] for key in change.ids if key in rows]


def _always(_actor: Actor, _change: Change) -> bool:
    return True


def _not_another_device(actor: Actor, change: Change) -> bool:
    """Return whether a device is concerned: by what another one changes it is not."""
    if actor.device_id is None or change.kind is not Event.DEVICES_CHANGED:
        return True
    return change.is_all or actor.device_id in change.ids


@dataclass(frozen=True, slots=True)
class Feed:
    """What a field of Subscription is told of, who may listen, and what of it is read from rows."""

    events: frozenset[Event]
    needs: str
    reads: frozenset[str] = frozenset()
    concerns: Callable[[Actor, Change], bool] = _always
    # Whether changes of different rows are different messages.
    apart: bool = False


FEEDS: Mapping[str, Feed] = {
    "assetsChanged": Feed(
        frozenset(kind for kind in _ASSET_KINDS if kind), "assets.view", frozenset({"assets"})
    ),
    "playlistChanged": Feed(
        PLAYLIST_EVENTS, "assets.view", frozenset({"playlist"}), _not_another_device
    ),
    "membershipsChanged": Feed(
        frozenset({Event.MEMBERSHIPS_CHANGED}), "users.view", frozenset({"memberships"})
    ),
    "importProgress": Feed(frozenset({Event.IMPORT_PROGRESS}), "assets.import", apart=True),
}


@strawberry.type(
    description=(
        "What is told as it happens, over a WebSocket at this same address in the protocol "
        "graphql-transport-ws. Every write is told once it is committed, whatever it came by. "
        "Changes that come faster than you take them are told together. A message says that you "
        "should look, and what you read of it is as it is by then."
    )
)
class Subscription:
    """The root of what is told; each field makes its message of the change at the root."""

    @resolved(
        "Assets came, changed or went. (That they were shown is not told.) Needs assets.view.",
        needs=holding(FEEDS["assetsChanged"].needs),
    )
    def assets_changed(self) -> AssetsChange:
        """Return the message."""
        return AssetsChange(change=cast("Change", self))

    @resolved(
        "Something changed that a playlist may follow from; not that time goes by, which its "
        "`deadline` says. Needs assets.view.",
        needs=holding(FEEDS["playlistChanged"].needs),
    )
    def playlist_changed(self) -> PlaylistChange:
        """Return the message."""
        return PlaylistChange(change=cast("Change", self))

    @resolved(
        "Members came, changed or went. Needs users.view.",
        needs=holding(FEEDS["membershipsChanged"].needs),
    )
    def memberships_changed(self) -> MembershipsChange:
        """Return the message."""
        return MembershipsChange(change=cast("Change", self))

    @resolved(
        "An import or a restore began, went on, or ended. Needs assets.import.",
        needs=holding(FEEDS["importProgress"].needs),
    )
    def import_progress(self) -> ImportProgress:
        """Return the message."""
        return ImportProgress(change=cast("Change", self))
