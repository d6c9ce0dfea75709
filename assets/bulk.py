"""The same change to many assets at once: tags, and whether they may play (MISSION A7).

As in assets.library, every write is one function: atomic, `*, actor`, permission first. All of the
assets or none; and only those that differ are written, because nobody changed the others.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.utils import timezone

from assets.auditing import record_many
from assets.models import Asset
from tenancy.errors import Invalid, InvalidInput, NotFound
from tenancy.tags import MAX_TAGS, clean_tags
from tenancy.tenants import clean_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from tenancy.actors import Actor

MAX_ASSETS = 500


@transaction.atomic
def tag_assets(
    *, actor: Actor, ids: Sequence[UUID], add: Sequence[str] = (), remove: Sequence[str] = ()
) -> list[UUID]:
    """Give assets the tags of `add`, behind those they have, and take those of `remove` away.

    Returns their keys, each once. Raises PermissionDenied without assets.edit, Invalid with every
    bad value, InvalidInput where an asset would have more than 100 tags, NotFound for a key the
    tenant has none of; then nothing is changed.
    """
    actor.require("assets.edit")
    keys = _distinct(ids)
    cleaned = clean_all({"add": add, "remove": remove}, {"add": clean_tags, "remove": clean_tags})
    added, removed = cleaned["add"], set(cleaned["remove"])
    if not added and not removed:
        raise InvalidInput("Give tags to add or to remove.", field=("add",))
    both = [tag for tag in added if tag in removed]
    if both:
        raise InvalidInput(f"{both[0]!r} cannot be added and removed at once.", field=("remove",))
    changed: dict[UUID, list[str]] = {}
    errors = []
    for key, old in _lock(keys, "tags").items():
        new = [tag for tag in old if tag not in removed]
        new += [tag for tag in added if tag not in new]
        if len(new) > max(MAX_TAGS, len(old)):
            place = str(list(ids).index(key))
            message = f"There can be {MAX_TAGS} tags at most, and this asset would have {len(new)}."
            errors.append(InvalidInput(message, field=("ids", place)))
        if new != old:
            changed[key] = new
    if errors:
        raise Invalid(errors)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE assets SET tags = ARRAY(SELECT jsonb_array_elements_text(listed.tags::jsonb)), "
            "updated_at = %s, updated_by_id = %s "
            "FROM unnest(%s::uuid[], %s::text[]) AS listed (id, tags) WHERE assets.id = listed.id",
            [timezone.now(), actor.user_id, list(changed), [*map(json.dumps, changed.values())]],
        )
    record_many(actor, "asset.tagged", list(changed), added=added, removed=sorted(removed))
    return keys


@transaction.atomic
def enable_assets(*, actor: Actor, ids: Sequence[UUID], enabled: bool) -> list[UUID]:
    """Let assets play, or stop them; return their keys, each once.

    Raises PermissionDenied without assets.edit, InvalidInput for too many; NotFound, with nothing
    changed, as soon as one key is unknown.
    """
    actor.require("assets.edit")
    keys = _distinct(ids)
    differing = [key for key, was in _lock(keys, "is_enabled").items() if was is not enabled]
    Asset.objects.filter(pk__in=differing).update(
        is_enabled=enabled, updated_at=timezone.now(), updated_by_id=actor.user_id
    )
    record_many(actor, "asset.enabled" if enabled else "asset.disabled", differing)
    return keys


def _distinct(ids: Sequence[UUID]) -> list[UUID]:
    if len(ids) > MAX_ASSETS:
        message = f"There can be {MAX_ASSETS} assets at once; send the others in another request."
        raise InvalidInput(message, field=("ids",))
    return list(dict.fromkeys(ids))


def _lock(keys: Sequence[UUID], column: str) -> Mapping[UUID, Any]:
    """Lock rows, always in the same order, and return a column of each in the order of `keys`."""
    rows = Asset.objects.select_for_update().filter(pk__in=keys).order_by("pk")
    found = dict(rows.values_list("pk", column))
    for place, key in enumerate(keys):
        if key not in found:
            raise NotFound("There is no asset with this id.", field=("ids", str(place)))
    return {key: found[key] for key in keys}
