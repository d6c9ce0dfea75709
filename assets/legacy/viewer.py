"""The viewer's endpoints: what a player is to show, and how (SPEC section 7; MISSION G3).

For players only, by their secret in `X-Anthias-Internal-Token` or as Basic or Bearer. A poll that
brings its ETag and finds nothing changed touches no assets.
"""

from __future__ import annotations

import hashlib
import json
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.utils.http import parse_etags
from redis.exceptions import RedisError

from assets.legacy.addressing import PLAYER, player
from assets.legacy.docs import Doc, Reply, Schema, object_of, ref, text_of
from assets.legacy.endpoint import Answer, Call, Endpoint, Method
from assets.legacy.errors import LegacyError
from assets.legacy.fields import is_storable
from assets.legacy.listings import playing
from assets.legacy.playlist_memory import recall, remember
from assets.legacy.schemas import FLAG
from assets.legacy.shapes import V2
from assets.models import Asset
from assets.player_settings import settings_of, zone_of
from assets.reachability import is_checked
from assets.tasks import queue_check
from rls import acting_as
from tenancy.credentials import client_address
from tenancy.device_settings import ROTATIONS
from tenancy.events import tenant_key
from tenancy.heartbeats import note_seen
from tenancy.limits import redis_client
from tenancy.models import Device, TenantSettings

if TYPE_CHECKING:
    from uuid import UUID

VIEWER_SETTINGS = (
    "shuffle_playlist",
    "show_splash",
    "screen_rotation",
    "audio_output",
    "debug_logging",
)
RECHECK_SECONDS = 30


def playlist(call: Call) -> Answer:
    """Answer with what plays now, and when to ask again; 304 when the player has it already."""
    tenant_id, key = call.actor.entered(), _own_key(call)
    note_seen(actor=call.actor, address=client_address(call.request))
    now = datetime.now(UTC)
    recalled = recall(tenant_id, key, now)
    if recalled.etag and _has(call, recalled.etag):
        return _unchanged(recalled.etag)
    with acting_as(call.actor, read_only=True):
        device = Device.objects.get(pk=key)
        found = settings_of(TenantSettings.objects.get(tenant_id=tenant_id), device)
        assets, ends = playing(
            V2,
            now,
            zone_of(found),
            tenant_id=tenant_id,
            tags=device.tags if device.only_tagged else None,
        )
    etag = _etag(assets, _iso(ends), str(found["shuffle_playlist"]))
    remember(tenant_id, key, version=recalled.version, etag=etag, deadline=ends)
    if _has(call, etag):
        return _unchanged(etag)
    if found["shuffle_playlist"]:
        assets = _shuffled(assets)
    raw = f'{{"assets":[{assets}],"deadline":{_json(ends)},"now":{_json(now)}}}'
    return Answer(raw=raw, headers=_cached(etag))


def viewer_settings(call: Call) -> Answer:
    """Answer with the settings that concern what is on the screen."""
    note_seen(actor=call.actor, address=client_address(call.request))
    with acting_as(call.actor, read_only=True):
        device = Device.objects.get(pk=_own_key(call))
        tenant = TenantSettings.objects.get(tenant_id=call.actor.entered())
    found = settings_of(tenant, device)
    body = {name: found[name] for name in VIEWER_SETTINGS}
    etag = _etag(json.dumps(body))
    return _unchanged(etag) if _has(call, etag) else Answer(body, headers=_cached(etag))


def recheck(call: Call) -> Answer:
    """Have the address of an asset looked at again, once in a while; 404 for an unknown one."""
    name, row = call.path["asset_id"], None
    if is_storable(name):
        row = Asset.objects.filter(tenant_id=call.actor.entered(), asset_id=name).first()
    if row is None:
        raise LegacyError(404, None)
    if is_checked(row) and _is_due(row.tenant_id, row.pk):
        queue_check(actor=call.actor, asset=row.pk)
    return Answer(status=202)


def _own_key(call: Call) -> UUID:
    key = call.actor.device_id
    assert key is not None  # noqa: S101 -- `player` admits nobody else
    return key


def _is_due(tenant_id: UUID, asset: UUID) -> bool:
    """Return whether nobody asked for this just now; with Redis away everybody is heard."""
    client = redis_client()
    if client is None:
        return True
    try:
        key = tenant_key(tenant_id, "recheck", asset)
        return bool(client.set(key, 1, nx=True, ex=RECHECK_SECONDS))
    except RedisError:
        return True


def _shuffled(assets: str) -> str:
    listed = json.loads(f"[{assets}]")
    random.shuffle(listed)
    return ",".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in listed)


def _etag(*parts: str) -> str:
    """Return a weak ETag: the answers it stands for differ in `now`, and in a shuffled order."""
    digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()
    return f'W/"{digest[:32]}"'


def _has(call: Call, etag: str) -> bool:
    given = [
        one.removeprefix("W/") for one in parse_etags(call.request.headers.get("If-None-Match", ""))
    ]
    return etag.removeprefix("W/") in given or "*" in given


def _unchanged(etag: str) -> Answer:
    return Answer(status=304, headers=_cached(etag))


def _cached(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, no-cache"}


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json(moment: datetime | None) -> str:
    return "null" if moment is None else json.dumps(_iso(moment))


_INSTANT: Schema = {"type": ["string", "null"], "format": "date-time"}
_KNOWN = {
    "ETag": text_of("Send it back as `If-None-Match`."),
    "Cache-Control": text_of("Whose it is.", "private, no-cache"),
}
PLAYLIST = Endpoint(
    "Viewer Playlist",
    {
        "GET": Method(
            playlist,
            "",
            Doc(
                "Player's own",
                "Read what plays now",
                {200: Reply("What plays now.", ref("Playlist"), headers=_KNOWN)},
                "In the order it plays in. A device that is set to shows only what has one of its "
                "tags. Ask again at `deadline`, and once a minute.",
            ),
            streams=True,
            needs=PLAYER,
        )
    },
    admit=player,
)
SETTINGS = Endpoint(
    "Viewer Settings",
    {
        "GET": Method(
            viewer_settings,
            "",
            Doc(
                "Player's own",
                "Read how it is shown",
                {200: Reply("The settings.", ref("ViewerSettings"), headers=_KNOWN)},
            ),
            streams=True,
            needs=PLAYER,
        )
    },
    admit=player,
)
RECHECK = Endpoint(
    "Asset Recheck",
    {
        "POST": Method(
            recheck,
            "",
            Doc(
                "Player's own",
                "Have an address looked at again",
                {
                    202: Reply("It is looked at, unless it was a moment ago."),
                    404: Reply(
                        "There is no such asset in this tenant: no body then.",
                        ref("Detail"),
                        may_be_empty=True,
                    ),
                },
            ),
            needs=PLAYER,
        )
    },
    admit=player,
)
SHAPES = {
    "Playlist": object_of(
        assets={"type": "array", "items": ref("AssetV2")},
        deadline={**_INSTANT, "description": "When this changes next, in UTC; null for never."},
        now=text_of("The time here, in UTC.", format="date-time"),
    ),
    "ViewerSettings": object_of(
        shuffle_playlist={**FLAG, "description": "Whether it plays in any order."},
        show_splash={**FLAG, "description": "Whether it shows its address when it starts."},
        screen_rotation={"enum": list(ROTATIONS), "description": "Degrees, clockwise."},
        audio_output=text_of("Where sound goes.", "hdmi"),
        debug_logging={**FLAG, "description": "Whether it logs more than usual."},
    ),
}
