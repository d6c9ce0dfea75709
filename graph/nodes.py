"""Refetching by global id: `node` and `nodes` (Relay, Object Identification).

Every type that has an `id` is registered here with what reads it; each reads only what the actor
may see, so that what is not there and what is not theirs are the same null.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, cast
from uuid import UUID

import strawberry
from strawberry import relay

from graph import (
    accounts,
    assets,
    audit,
    backups,
    capabilities,
    devices,
    invitations,
    members,
    playback,
    tenants,
    tokens,
    uploads,
)
from graph.columns import query
from graph.context import Context, Info
from graph.ids import read_id
from graph.permissions import Needs
from graph.selections import Selection, selected
from tenancy.errors import InvalidInput

MAX_NODES = 100

READERS: dict[str, Callable[[Context, list[UUID], Selection], Iterable[Any]]] = {
    "ApiToken": tokens.by_keys,
    "Asset": assets.by_keys,
    "AuditEntry": audit.by_keys,
    "Backup": backups.backups_by_keys,
    "Capability": capabilities.by_keys,
    "Device": devices.by_keys,
    "Invitation": invitations.by_keys,
    "Membership": members.by_keys,
    "PlaybackDay": playback.by_keys,
    "Restore": backups.restores_by_keys,
    "Tenant": tenants.by_keys,
    "TenantSettings": tenants.settings_by_keys,
    "UploadSession": uploads.by_keys,
    "User": members.users_by_keys,
    "UserSession": accounts.by_keys,
    "Viewer": members.viewers_by_keys,
}


def _read(info: Info, ids: list[tuple[str, UUID | None]]) -> list[Any]:
    """Return a row or None for each (type, key), in their order; one read per type."""
    found: dict[tuple[str, UUID | None], Any] = {}
    for name in dict.fromkeys(name for name, key in ids if key is not None):
        reader = READERS.get(name)
        if reader is None:
            continue
        keys = list(dict.fromkeys(key for of, key in ids if of == name and key is not None))
        for row in reader(info.context, keys, selected(info)):
            key = row.row.pk if isinstance(row, members.Viewer) else row.pk
            found[name, key] = row
    return [found.get(one) for one in ids]


@strawberry.type
class NodeQueries:
    """The root fields that refetch."""

    @query(
        "Whatever has this id; null when there is nothing of that id for you.",
        needs=Needs(also="what the field of that type needs: null without it"),
    )
    def node(
        self,
        info: Info,
        id: Annotated[  # noqa: A002 -- the name the Relay specification gives it
            strawberry.ID, strawberry.argument(description="What an `id` field gave.")
        ],
    ) -> relay.Node | None:
        """Read one thing."""
        return cast("relay.Node | None", _read(info, [read_id(id, "id")])[0])

    @query(
        "Whatever has these ids, in their order; null in each place where there is nothing of "
        "that id for you. 100 ids at most.",
        needs=Needs(also="what the fields of those types need: null without it"),
    )
    def nodes(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID], strawberry.argument(description="What `id` fields gave.")
        ],
    ) -> list[relay.Node | None]:
        """Read many things, one statement per type."""
        if len(ids) > MAX_NODES:
            raise InvalidInput(f"Ask for {MAX_NODES} ids at most.", field=("ids",))
        parsed = [read_id(text, "ids", str(place)) for place, text in enumerate(ids)]
        return _read(info, parsed)
