"""How a legacy client adds an asset: an address, an upload, a video to be fetched (SPEC section 4).

What takes time, asking whether an address answers and looking how long a video is, comes before
the transaction. Nothing is stored before every refusal that there can be.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.utils import timezone

from assets import staging
from assets.fetch_errors import CannotLookUp, FetchFailed, Refusal, UnsafeAddress
from assets.fetching import probe
from assets.legacy.endpoint import Answer
from assets.legacy.errors import LegacyError
from assets.legacy.fields import REQUIRED_IF_NO_VIDEO
from assets.legacy.negotiation import data_of, model_of
from assets.legacy.ordering import place_among_active, take_turn
from assets.legacy.shapes import MODEL_VERSIONS, V1, read_asset, settle_duration, shown
from assets.legacy.zones import zone_of
from assets.library import LOCAL_FOLDER, STREAMS, VIDEOS, clean_uri, create_asset
from assets.media import MediaLimits, MediaRefused, understand
from assets.models import Asset, Upload, new_asset_id
from assets.sniffing import HEAD_BYTES, refusal, sniff
from assets.upload_media import Presented, create_asset_from_upload
from assets.uploads import finish_upload
from assets.workspaces import workspace
from assets.youtube import is_youtube
from rls import acting_as
from tenancy.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from assets.legacy.endpoint import Call

BAD_URL = "Invalid URL. Failed to add asset."
BAD_PATH = "Invalid file path. Failed to add asset."
NOT_YOUTUBE = "A youtube_asset URI must point at a YouTube URL."
UNREACHABLE = "Could not retrieve file. Check the asset URL."
NO_DURATION = "Could not determine video duration; provide an explicit value."
NOT_ZERO = "Duration must be zero for video assets."
BAD_VIDEO = "Bad video format"

PROBE_S = 3.0
# A client waits for it.
_LOOK = MediaLimits(wall_s=20)
_HANDLE = re.compile(rf"{LOCAL_FOLDER}/([0-9a-f]{{32}})\.tmp\Z")
# What becomes of these takes a while; until then Anthias shows them as being processed.
_CONVERTED = frozenset({"image/bmp", "image/tiff", "image/heic", "image/heif", "image/avif"})
_CONVERTED_NAMES = frozenset({".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"})
# Anthias's own pages showed addresses as they are.
_ESCAPES = {"<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"}


@dataclass(slots=True)
class _Plan:
    """What is about to be made: `values` as the library takes them, and where the file is from."""

    values: dict[str, Any]
    upload: Upload | None = None
    download: bool = False
    extension: str = ""


def create(call: Call) -> Answer:
    """Add an asset; opens its own doors."""
    is_model = call.version in MODEL_VERSIONS
    data = model_of(call.request) if is_model else data_of(call.request)
    plan = _plan(call, read_asset(call.version, data))
    with acting_as(call.actor):
        take_turn(call.actor)
        if call.version != V1:
            plan.values["name"] = _unique_name(call, plan.values["name"])
        row = _make(call, plan)
        now, zone = timezone.now(), zone_of(call)
        if not is_model:
            place_among_active(row, actor=call.actor, now=now, zone=zone)
        text = shown(call.version, Asset.objects.filter(pk=row.pk), now, zone)
        return call.settle(Answer(status=201, raw=_without_progress(text) if is_model else text))


def _plan(call: Call, values: dict[str, Any]) -> _Plan:
    """Judge everything that can be judged before anything is stored; raises LegacyError."""
    is_model = call.version in MODEL_VERSIONS
    if is_model and not _may_play(values):
        # Anthias forgets it, and only of these.
        values.pop("play_order", None)
    if not is_model:
        _unescape(values)
    plan = _Plan(values, extension=values.pop("ext", ""))
    if values["uri"].startswith("/"):
        plan.upload = _upload(call, values["uri"])
    else:
        _require_address(values["uri"])
    settle_duration(values)
    if "youtube_asset" in values["mimetype"]:
        if not is_youtube(values["uri"]):
            raise LegacyError(400, {"uri": [NOT_YOUTUBE]})
        plan.download = True
        return plan
    is_video = "video" in values["mimetype"]
    if "duration" not in values and not is_video:
        raise LegacyError(400, {"duration": [REQUIRED_IF_NO_VIDEO]})
    if plan.upload is not None:
        _require_content(plan.upload, values["mimetype"], is_probed=is_video and is_model)
    elif not values.get("skip_asset_check"):
        _require_answer(values)
    if is_video:
        _plan_video(plan, is_model=is_model)
    return plan


def _plan_video(plan: _Plan, *, is_model: bool) -> None:
    """Find out how long a video is, or decide that it is found out later; raises LegacyError."""
    values = plan.values
    if is_model:
        if not values.get("duration"):
            values["duration"] = _looked_at(plan)
    elif plan.upload is None and _is_fetched(values["uri"]):
        plan.download = True
    elif values["duration"]:
        raise LegacyError(400, {"error": NOT_ZERO})


def _unescape(values: dict[str, Any]) -> None:
    values["name"] = values["name"].replace("&amp;", "&")
    uri = values["uri"].replace("&amp;", "&")
    values["uri"] = "".join(_ESCAPES.get(letter, letter) for letter in uri)


def _may_play(values: dict[str, Any]) -> bool:
    return bool(values.get("is_enabled")) and {"start_date", "end_date"} <= values.keys()


def _upload(call: Call, uri: str) -> Upload:
    """Return the upload that a path from `file_asset` names, finished; raises LegacyError."""
    found = _HANDLE.match(uri)
    if found is None:
        raise LegacyError(400, {"uri": [BAD_PATH]})
    with acting_as(call.actor) as actor:
        rows = Upload.objects.filter(tenant_id=actor.entered())
        row = rows.filter(handle=found[1]).first()
        if row is None:
            raise LegacyError(400, {"uri": [BAD_PATH]})
        if row.finished_at is None:
            try:
                return finish_upload(actor=actor, upload=row.pk)
            except (Conflict, InvalidInput) as error:
                raise LegacyError(400, {"uri": [error.message]}) from error
    return row


def _require_address(uri: str) -> None:
    try:
        clean_uri(uri)
    except InvalidInput:
        raise LegacyError(400, {"uri": [BAD_URL]}) from None


def _require_answer(values: dict[str, Any]) -> None:
    """Raise LegacyError unless the address answers, or cannot be seen from here."""
    try:
        probe(
            values["uri"],
            timeout=PROBE_S,
            verify_tls=not values.get("skip_ssl_verify", False),
            headers=values.get("custom_headers"),
        )
    except UnsafeAddress as error:
        # Players are in networks that this server is not in.
        if error.refusal not in {Refusal.LAN, Refusal.CREDENTIALS}:
            raise LegacyError(400, {"error": UNREACHABLE}) from error
    except CannotLookUp:
        pass
    except FetchFailed as error:
        raise LegacyError(400, {"error": UNREACHABLE}) from error


def _is_fetched(uri: str) -> bool:
    """Return whether a video at this address becomes a file of the tenant's."""
    parts = urlsplit(uri)
    return parts.scheme in {"http", "https"} and _suffix(parts.path) in VIDEOS - STREAMS


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _staged(upload: Upload) -> Path:
    return staging.part_path(upload.tenant_id, upload.pk)


def _require_content(upload: Upload, mimetype: str, *, is_probed: bool) -> None:
    """Find out what an upload is; raises LegacyError for what no player can show.

    A video may be anything unless it `is_probed`: the worker says what is wrong with it.
    """
    try:
        with _staged(upload).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise LegacyError(400, {"uri": [BAD_PATH]}) from None
    media_type = sniff(head)
    upload.mimetype = media_type.mimetype if media_type else ""
    if media_type is None and is_probed:
        raise LegacyError(400, {"error": BAD_VIDEO})
    if media_type is None and "video" not in mimetype:
        raise LegacyError(400, {"uri": [refusal(head) if head else "The file is empty."]})


def _looked_at(plan: _Plan) -> int:
    """Return how long an uploaded video is, in seconds; raises LegacyError.

    One that is elsewhere is not fetched for it.
    """
    if plan.upload is None:
        raise LegacyError(400, {"duration": [NO_DURATION]})
    try:
        with workspace() as folder:
            found = understand(_staged(plan.upload), workspace=folder, limits=_LOOK)
    except MediaRefused as refused:
        raise LegacyError(400, {"error": f"{BAD_VIDEO}: {refused.reason}"}) from refused
    if found.duration_s is None:
        raise LegacyError(400, {"duration": [NO_DURATION]})
    return found.duration_s


def _make(call: Call, plan: _Plan) -> Asset:
    is_model = call.version in MODEL_VERSIONS
    # The old versions name files by another id than the asset's.
    stem = new_asset_id() if is_model else ""
    values = plan.values
    if not is_model:
        # Accepted, and not stored: the newer versions know by themselves what is in progress.
        values.pop("is_processing", None)
    if plan.upload is None:
        return create_asset(
            actor=call.actor, values=values, download=plan.download, stem=stem, is_legacy=True
        )
    del values["uri"]
    mimetype = values.pop("mimetype")
    is_converted = not is_model and (
        plan.upload.mimetype in _CONVERTED or _suffix(f"x{plan.extension}") in _CONVERTED_NAMES
    )
    presented = Presented(
        mimetype=mimetype,
        is_processing="video" in mimetype
        or is_converted
        or bool(values.pop("is_processing", False)),
        extension="" if is_model else plan.extension,
        stem=stem,
    )
    values.pop("is_processing", None)
    upload = Upload.objects.select_for_update().filter(pk=plan.upload.pk).first()
    if upload is None:
        # Somebody else has made an asset of it meanwhile.
        raise LegacyError(400, {"uri": [BAD_PATH]})
    if upload.mimetype != plan.upload.mimetype:
        upload.mimetype = plan.upload.mimetype
        upload.save(update_fields=["mimetype"])
    return create_asset_from_upload(
        actor=call.actor, upload=upload.pk, values=values, presented=presented
    )


def _unique_name(call: Call, name: str) -> str:
    """Return `name`, or with -1, -2, … behind it the first that no asset of the tenant has."""
    rows = Asset.objects.filter(tenant_id=call.actor.entered(), name__startswith=name)
    taken = set(rows.values_list("name", flat=True))
    if name not in taken:
        return name
    number = 1
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def _without_progress(text: str) -> str:
    """Return an asset as the old versions show it at once: processing has not begun."""
    shape = json.loads(text)
    shape["metadata"].pop("processing_started_at", None)
    return json.dumps(shape, ensure_ascii=False, separators=(",", ":"))
