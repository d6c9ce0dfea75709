"""Assets: making, changing, removing and ordering them (MISSION A1, A2).

Every write is one function: atomic, `*, actor`, permission first, then every invalid value at
once. Both faces call these and nothing below them. Nothing a client sends is opened here: a uri
is text that a player will fetch (uploads have a door of their own).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.db import connection, transaction
from django.utils import timezone

from assets.anthias_values import (
    MAX_HEADER_NAME,
    MAX_HEADER_VALUE_BYTES,
    MAX_HEADERS,
    MAX_REFRESH_INTERVAL_S,
)
from assets.auditing import AUDITED, record_asset, record_many
from assets.models import Asset, ProcessingStatus, new_asset_id
from assets.storage import delete_media, media_keys
from assets.tasks import LATER, queue_check, queue_download
from tenancy.audit import listed, record, taken
from tenancy.errors import Invalid, InvalidInput, NotFound
from tenancy.events import Event, publish
from tenancy.limits import within_quota
from tenancy.models import TenantSettings
from tenancy.tags import clean_tags
from tenancy.tenants import clean_all, clean_text, is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from tenancy.actors import Actor

MAX_DURATION_S = 31_536_000
MAX_DESCRIPTION = 10_000

_SCHEMES = frozenset({"http", "https", "rtsp"})
_SPACE_OR_CONTROL = re.compile(r"[\s\x00-\x1f\x7f]")
# RFC 9110 section 5.6.2: what the name of a header is made of.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_HEADER_BREAK = re.compile(r"[\r\n\x00]")
_INT32 = range(-(2**31), 2**31)
# Where Anthias keeps media: players look for an asset's file under the last part of such a path.
LOCAL_FOLDER = "/data/anthias_assets"
# SPEC section 4: these are played from where they are.
STREAMS = frozenset({".m3u8", ".mpd", ".m3u", ".ism"})
VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".ts", ".ogv", ".flv"})


def clean_asset_name(value: str) -> str:
    """Return a name without outer space; raises InvalidInput when nothing is left."""
    name = clean_text(value).strip()
    if not name:
        raise InvalidInput("A name cannot be empty.")
    return name


def clean_uri(value: str) -> str:
    """Return an http, https or rtsp address with a host; raises InvalidInput.

    A path is refused: it would name a file of this server, or of every player.
    """
    uri = clean_text(value).strip()
    try:
        parts = urlsplit(uri)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
        usable = usable and not _SPACE_OR_CONTROL.search(parts.netloc)
    except ValueError:
        usable = False
    if not usable or re.search(r"[\x00-\x1f\x7f-\x9f]", uri):
        raise InvalidInput("Give an http://, https:// or rtsp:// address with a host.")
    return uri


def clean_mimetype(value: str) -> str:
    """Return what kind of thing it is (`image`, `video`, `webpage`, …); raises InvalidInput."""
    mimetype = clean_text(value).strip()
    if not mimetype:
        raise InvalidInput("A mimetype is image, video, webpage or streaming; it cannot be empty.")
    return mimetype


def clean_asset_duration(value: int) -> int:
    """Return seconds from 0 to a year; raises InvalidInput."""
    if not 0 <= value <= MAX_DURATION_S:
        raise InvalidInput(f"A duration is between 0 and {MAX_DURATION_S} seconds.")
    return value


def clean_date(value: datetime) -> datetime:
    """Return the instant in UTC; raises InvalidInput without an offset or beyond year 9999."""
    try:
        if value.tzinfo is None:
            raise InvalidInput("A date needs an offset from UTC, such as Z or +02:00.")
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidInput("A date lies between the years 1 and 9999, in UTC.") from None


def clean_time(value: time) -> time:
    """Return a local time of day; raises InvalidInput when it has an offset."""
    if value.tzinfo is not None:
        raise InvalidInput("A play time is local and has no offset, such as 08:30:00.")
    return value


def clean_play_days(value: Sequence[int]) -> list[int]:
    """Return ISO weekdays sorted and without repetition; raises InvalidInput."""
    if not value:
        raise InvalidInput(
            "There must be at least one day. To stop an asset from playing, disable it."
        )
    if not all(day in range(1, 8) for day in value):
        raise InvalidInput("Days are numbers from 1 (Monday) to 7 (Sunday).")
    return sorted({int(day) for day in value})


def clean_play_order(value: int) -> int:
    """Return a place in the playlist, any 32-bit number; raises InvalidInput."""
    if value not in _INT32:
        raise InvalidInput("A play order has 32 bits: -2147483648 to 2147483647.")
    return value


def clean_refresh_interval(value: int) -> int:
    """Return seconds from 0 (never) to a day; raises InvalidInput."""
    if not 0 <= value <= MAX_REFRESH_INTERVAL_S:
        raise InvalidInput(f"A refresh interval is between 0 and {MAX_REFRESH_INTERVAL_S} seconds.")
    return value


def clean_headers(value: Any) -> dict[str, str]:
    """Return HTTP headers, names without outer space; raises InvalidInput (SPEC section 4)."""
    if not isinstance(value, dict):
        raise InvalidInput('Give an object of header names and values: {"X-Screen": "lobby"}.')
    if len(value) > MAX_HEADERS:
        raise InvalidInput(f"There can be {MAX_HEADERS} headers at most.")
    headers = {}
    for given, content in value.items():
        name = str(given).strip()
        if not _HEADER_NAME.match(name) or len(name) > MAX_HEADER_NAME:
            raise InvalidInput(f"{given!r:.80} is not the name of an HTTP header.")
        if not isinstance(content, str) or _HEADER_BREAK.search(content):
            raise InvalidInput(f"The value of {name} must be text on one line.")
        if len(clean_text(content).encode()) > MAX_HEADER_VALUE_BYTES:
            raise InvalidInput(f"The value of {name} has more than {MAX_HEADER_VALUE_BYTES} bytes.")
        headers[name] = content
    return headers


def clean_description(value: str) -> str:
    """Return free text of 10,000 characters at most; raises InvalidInput."""
    text = clean_text(value)
    if len(text) > MAX_DESCRIPTION:
        raise InvalidInput(f"A description can have {MAX_DESCRIPTION} characters at most.")
    return text


ASSET_CLEANERS: Mapping[str, Callable[[Any], Any]] = {
    "name": clean_asset_name,
    "uri": clean_uri,
    "mimetype": clean_mimetype,
    "start_date": clean_date,
    "end_date": clean_date,
    "duration": clean_asset_duration,
    "is_enabled": bool,
    "is_processing": bool,
    "nocache": bool,
    "play_order": clean_play_order,
    "skip_asset_check": bool,
    "skip_ssl_verify": bool,
    "play_days": clean_play_days,
    "play_time_from": clean_time,
    "play_time_to": clean_time,
    "refresh_interval_s": clean_refresh_interval,
    "custom_headers": clean_headers,
    "tags": clean_tags,
    "description": clean_description,
}
# Null takes these away; null in any other is refused.
NULLABLE = frozenset({"start_date", "end_date", "play_time_from", "play_time_to"})
# What Anthias keeps inside `metadata`, by its name there.
METADATA_KEYS = {"refresh_interval_s": "refresh_interval_s", "custom_headers": "headers"}


def _apply(
    asset: Asset, values: Mapping[str, Any], *, required: Iterable[str] = ()
) -> dict[str, Any]:
    """Set cleaned values on `asset` and return what those that changed were; raises Invalid.

    The play window is judged with the half that is stored, so that one half can be changed alone.
    """
    errors = [
        InvalidInput("This is required.", field=(name,)) for name in required if name not in values
    ]
    given = {n: v for n, v in values.items() if v is not None or n not in NULLABLE}
    cleaned: dict[str, Any] = {n: None for n in values if n not in given}
    try:
        cleaned |= clean_all(given, ASSET_CLEANERS)
    except Invalid as error:
        errors += error.errors
    refused = {error.field[0] for error in errors}
    window = {
        name: values.get(name, getattr(asset, name)) for name in ("play_time_from", "play_time_to")
    }
    missing = [name for name, value in window.items() if value is None]
    if len(missing) == 1 and not refused & window.keys():
        message = "A play window has both of its times, or neither."
        errors.append(InvalidInput(message, field=(missing[0],)))
    if errors:
        raise Invalid(errors)
    changed: dict[str, Any] = {}
    for name, value in cleaned.items():
        if name in METADATA_KEYS:
            value = _with(asset.metadata, METADATA_KEYS[name], value)  # noqa: PLW2901 -- the whole
            name = "metadata"  # noqa: PLW2901 -- where it is kept
        old = getattr(asset, name)
        if not is_same(old, value):
            setattr(asset, name, value)
            changed.setdefault(name, old)
    return changed


def _with(metadata: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return metadata with another value; an empty object is kept as none, as Anthias does."""
    kept = {name: one for name, one in metadata.items() if name != key}
    return kept if value == {} else {**metadata, key: value}


def fill_in(asset: Asset, values: Mapping[str, Any]) -> None:
    """Set cleaned values on an asset; it is not saved. Raises Invalid with every bad value."""
    _apply(asset, values)


@transaction.atomic
def create_asset(
    *,
    actor: Actor,
    values: Mapping[str, Any],
    download: bool = False,
    stem: str = "",
    is_legacy: bool = False,
) -> Asset:
    """Return a new asset of the actor's tenant; `name` and `uri` are required.

    Without a duration it gets the tenant's default one. With `download` the video at its uri is
    fetched and becomes a file of the tenant's, named by `stem` or its legacy id; what `is_legacy`
    waits some seconds for it. Raises PermissionDenied without assets.create, Invalid with every bad
    value, InvalidInput for a uri that cannot be downloaded, QuotaExceeded.
    """
    tenant_id = actor.require("assets.create")
    asset = Asset(
        tenant_id=tenant_id,
        asset_id=new_asset_id(),
        mimetype="webpage",
        created_by_id=actor.user_id,
        updated_by_id=actor.user_id,
    )
    asset.updated_at = asset.created_at
    _apply(asset, values, required=("name", "uri"))
    if "duration" not in values and not download:
        asset.duration = TenantSettings.objects.values_list(
            "default_asset_duration", flat=True
        ).get(tenant_id=tenant_id)
    if download:
        _await_download(asset, stem)
    with within_quota():
        asset.save(force_insert=True)
    if download:
        queue_download(actor=actor, asset=asset.pk, wait=LATER if is_legacy else None)
    elif _is_watched(asset):
        queue_check(actor=actor, asset=asset.pk)
    publish(Event.ASSETS_CREATED, [asset.pk], actor=actor)
    record_asset(actor, "asset.created", asset, after=taken(asset, AUDITED))
    return asset


def _is_watched(asset: Asset) -> bool:
    """Return whether the worker looks if the asset's address answers."""
    scheme = (asset.uri or "").partition("://")[0].lower()
    return scheme in _SCHEMES and not asset.media_path and not asset.skip_asset_check


@transaction.atomic
def start_download(*, actor: Actor, asset: UUID) -> Asset:
    """Have the video at an asset's uri fetched and made a file of the tenant's; return the asset.

    Raises PermissionDenied without assets.edit, NotFound for a key the tenant has none of,
    InvalidInput for a uri that cannot be downloaded.
    """
    actor.require("assets.edit")
    row = Asset.objects.select_for_update().filter(pk=asset).first()
    if row is None:
        raise NotFound("There is no asset with this id.", field=("id",))
    before = taken(row, ("uri", "mimetype", "duration"))
    _await_download(row)
    row.updated_by_id, row.updated_at = actor.user_id, timezone.now()
    row.save()
    queue_download(actor=actor, asset=row.pk)
    publish(Event.ASSETS_CHANGED, [row.pk], actor=actor)
    record_asset(actor, "asset.downloaded", row, before=before, after=taken(row, before))
    return row


def note_progress(asset: Asset) -> None:
    """Write where Anthias does that the asset's file is not ready yet; nothing is saved."""
    kept = {key: value for key, value in asset.metadata.items() if key != "error_message"}
    asset.metadata = {
        **kept,
        "processing_started_at": timezone.now().isoformat(timespec="microseconds"),
    }


def _await_download(asset: Asset, stem: str = "") -> None:
    """Make an asset one that waits for its file, as Anthias does (SPEC section 4).

    Raises InvalidInput for a uri that is not of the web, or is a stream.
    """
    uri = asset.uri or ""
    parts = urlsplit(uri)
    suffix = PurePosixPath(parts.path).suffix.lower()
    if parts.scheme not in {"http", "https"} or asset.media_path:
        message = "Only what is at an http:// or https:// address can be downloaded."
        raise InvalidInput(message, field=("uri",))
    if suffix in STREAMS:
        message = "This is a stream, which is played from where it is and cannot be downloaded."
        raise InvalidInput(message, field=("uri",))
    note_progress(asset)
    asset.metadata["source_url"] = uri
    extension = suffix if suffix in VIDEOS else ".mp4"
    asset.uri = f"{LOCAL_FOLDER}/{stem or asset.asset_id}{extension}"
    asset.mimetype, asset.duration = "video", 0
    asset.is_processing, asset.processing_status = True, ProcessingStatus.PENDING


@transaction.atomic
def update_asset(*, actor: Actor, asset: UUID, changes: Mapping[str, Any]) -> Asset:
    """Return the asset with that key after `changes`; what is not among them stays.

    Without a difference nothing is written: it was not changed, and nobody changed it.

    Raises PermissionDenied without assets.edit, NotFound for a key the tenant has none of, Invalid
    with every bad value.
    """
    actor.require("assets.edit")
    row = Asset.objects.select_for_update().filter(pk=asset).first()
    if row is None:
        raise NotFound("There is no asset with this id.", field=("id",))
    before = _apply(row, changes)
    if before:
        row.updated_by_id, row.updated_at = actor.user_id, timezone.now()
        row.save(update_fields=[*before, "updated_by", "updated_at"])
        if "uri" in before and _is_watched(row):
            queue_check(actor=actor, asset=row.pk)
        publish(Event.ASSETS_CHANGED, [row.pk], actor=actor)
        record_asset(actor, "asset.updated", row, before=before, after=taken(row, before))
    return row


@transaction.atomic
def delete_assets(*, actor: Actor, ids: Sequence[UUID]) -> list[UUID]:
    """Remove assets, their files after the commit; return their keys, each once.

    Raises PermissionDenied without assets.delete; NotFound, with nothing removed, as soon as one
    key is unknown.
    """
    actor.require("assets.delete")
    keys = list(dict.fromkeys(ids))
    rows = _lock(keys, "tenant_id", "media_path", "thumbnail_url", *AUDITED)
    media = [
        key
        for row in rows
        for key in media_keys(row["tenant_id"], row["id"], row["media_path"], row["thumbnail_url"])
    ]
    Asset.objects.filter(pk__in=keys).delete()
    transaction.on_commit(lambda: delete_media(media))
    publish(Event.ASSETS_DELETED, keys, actor=actor)
    if len(keys) == 1:
        label, [one] = rows[0]["name"] or rows[0]["asset_id"], keys
        before = {name: rows[0][name] for name in AUDITED}
    else:
        label, one = f"{len(keys)} assets", None
        before = {**listed(keys), "names": [row["name"] for row in rows]}
    if keys:
        record(actor, "asset.deleted", subject="Asset", subject_id=one, label=label, before=before)
    return keys


@transaction.atomic
def reorder_assets(*, actor: Actor, ids: Sequence[UUID]) -> None:
    """Give each listed asset its index as play order, starting at 0; the others keep theirs.

    One that has it already was not changed, and nobody changed it.

    Raises PermissionDenied without assets.edit, InvalidInput for a key that comes twice; NotFound,
    with nothing changed, as soon as one key is unknown.
    """
    actor.require("assets.edit")
    if len(set(ids)) < len(ids):
        raise InvalidInput("An asset can be listed once only.", field=("ids",))
    _lock(ids)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE assets SET play_order = listed.place - 1, updated_at = %s, updated_by_id = %s "
            "FROM unnest(%s::uuid[]) WITH ORDINALITY AS listed (id, place) "
            "WHERE assets.id = listed.id AND assets.play_order <> listed.place - 1 "
            "RETURNING assets.id",
            [timezone.now(), actor.user_id, list(ids)],
        )
        changed = [key for (key,) in cursor.fetchall()]
    publish(Event.ASSETS_CHANGED, changed, actor=actor)
    record_many(actor, "asset.reordered", changed)


def _lock(ids: Sequence[UUID], *columns: str) -> list[dict[str, Any]]:
    """Lock the rows of `ids`, always in the same order, and return their keys and `columns`."""
    rows = Asset.objects.select_for_update().filter(pk__in=ids).order_by("pk")
    found = list(rows.values("id", *columns))
    known = {row["id"] for row in found}
    for place, key in enumerate(ids):
        if key not in known:
            raise NotFound("There is no asset with this id.", field=("ids", str(place)))
    return found
