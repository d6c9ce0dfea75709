"""Refetching by global id: `node` and `nodes` (Relay, Object Identification).

Every type that has an `id` is registered here with what reads it; each reads only what the actor
may see, so that what is not there and what is not theirs are the same null.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, cast
from uuid import UUID

import strawberry
from django.db.models import QuerySet
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
from graph.columns import Refetched, query
from graph.context import Context, Info, people
from graph.context import tenants as tenants_known
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
# The same rows for whoever reads a whole operation in one statement. Where it depends on the keys
# whether it is refused, that is refused here which others may be told.
ROWS: dict[str, Callable[[Context], QuerySet[Any]]] = {
    "ApiToken": tokens.visible,
    "Asset": assets.of_tenant,
    "AuditEntry": audit.of_tenant,
    "Backup": backups.backups_of_tenant,
    "Capability": capabilities.of_tenant,
    "Device": devices.of_tenant,
    "Invitation": invitations.of_tenant,
    "Membership": members.of_tenant,
    "PlaybackDay": playback.of_tenant,
    "Restore": backups.restores_of_tenant,
    "Tenant": lambda _: tenants_known(),
    "TenantSettings": tenants.settings_of_tenant,
    "UploadSession": uploads.of_tenant,
    "User": lambda _: people(),
    "UserSession": accounts.live_sessions,
    "Viewer": members.oneself,
}


def _named(ids: str | list[str]) -> list[tuple[str, UUID | None]]:
    """Return what an id names, or each of several; raises InvalidInput."""
    if isinstance(ids, str):
        return [read_id(ids, "id")]
    if len(ids) > MAX_NODES:
        raise InvalidInput(f"Ask for {MAX_NODES} ids at most.", field=("ids",))
    return [read_id(text, "ids", str(place)) for place, text in enumerate(ids)]


def _read(info: Info, ids: list[tuple[str, UUID | None]]) -> list[Any]:
    """Return a row or None for each (type, key), in their order; one read per type."""
    found: dict[tuple[str, UUID | None], Any] = {}
    for name in dict.fromkeys(name for name, key in ids if key is not None):
        reader = READERS.get(name)
        if reader is None:
            continue
        keys = list(dict.fromkeys(key for of, key in ids if of == name and key is not None))
        for row in reader(info.context, keys, selected(info)):
            found[name, row.pk] = row
    return [found.get(one) for one in ids]


@strawberry.type
class NodeQueries:
    """The root fields that refetch."""

    @query(
        "Whatever has this id; null when there is nothing of that id for you.",
        needs=Needs(also="what the field of that type needs: null without it"),
        reads=Refetched(ROWS, _named),
    )
    def node(
        self,
        info: Info,
        id: Annotated[  # noqa: A002 -- the name the Relay specification gives it
            strawberry.ID, strawberry.argument(description="What an `id` field gave.")
        ],
    ) -> relay.Node | None:
        """Read one thing."""
        return cast("relay.Node | None", _read(info, _named(id))[0])

    @query(
        "Whatever has these ids, in their order; null in each place where there is nothing of "
        "that id for you. 100 ids at most.",
        needs=Needs(also="what the fields of those types need: null without it"),
        reads=Refetched(ROWS, _named),
    )
    def nodes(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID], strawberry.argument(description="What `id` fields gave.")
        ],
    ) -> list[relay.Node | None]:
        """Read many things, one statement per type."""
        return _read(info, _named(list(ids)))
