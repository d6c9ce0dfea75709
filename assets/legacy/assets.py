"""The endpoints of assets: listing, one asset, order, content, control (SPEC sections 4 and 5).

One handler per resource and method; what differs between versions is in shapes and adding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.utils import timezone

from assets.legacy import adding, commands, content, file_uploads, listings
from assets.legacy.addressing import addressed
from assets.legacy.docs import Body, Doc, Reply, body_of, object_of, ref, text_of
from assets.legacy.endpoint import Answer, Call, Endpoint, Method
from assets.legacy.errors import LegacyError, no_asset
from assets.legacy.fields import is_storable
from assets.legacy.listings import Listing
from assets.legacy.negotiation import data_of, model_of
from assets.legacy.ordering import number_listed, place_among_active, take_turn
from assets.legacy.schemas import asset_of, assets_of, created, patched, replaced
from assets.legacy.shapes import MODEL_VERSIONS, read_asset, settle_duration, shown
from assets.legacy.zones import zone_of
from assets.library import delete_assets, update_asset
from assets.models import Asset

if TYPE_CHECKING:
    from uuid import UUID

    from assets.querysets import AssetQuerySet

NO_IDS = 'Expected an object body with an "ids" field.'
NOT_TEXT = "Give the ids as text, separated by commas."


def tenants_assets(call: Call) -> AssetQuerySet:
    """Return the assets of the tenant that a call is about."""
    return Asset.objects.filter(tenant_id=call.actor.entered())


def find(call: Call) -> Asset:
    """Return the asset that the path names; raises LegacyError when the tenant has none such."""
    row = None
    if is_storable(call.path["asset_id"]):
        row = tenants_assets(call).filter(asset_id=call.path["asset_id"]).first()
    if row is None:
        raise no_asset()
    return row


def as_shown(call: Call, key: UUID) -> str:
    """Return one asset in the version of the call."""
    return shown(call.version, tenants_assets(call).filter(pk=key), timezone.now(), zone_of(call))


def listed(call: Call) -> Answer:
    """Answer every asset of the tenant in the order they were added in."""
    text = listings.listed(
        Listing.ALL,
        call.version,
        timezone.now(),
        zone_of(call),
        tenant_id=call.actor.entered(),
    )
    return Answer(raw=f"[{text}]")


def read(call: Call) -> Answer:
    """Answer one asset."""
    name, text = call.path["asset_id"], ""
    if is_storable(name):
        text = listings.listed(
            Listing.ONE,
            call.version,
            timezone.now(),
            zone_of(call),
            tenant_id=call.actor.entered(),
            asset_id=name,
        )
    if not text:
        raise no_asset()
    return Answer(raw=text)


def replace(call: Call) -> Answer:
    """Change an asset by a body that has to name the five that PUT requires."""
    return _change(call, partial=False)


def patch(call: Call) -> Answer:
    """Change what a body names of an asset."""
    return _change(call, partial=True)


def _change(call: Call, *, partial: bool) -> Answer:
    # What is not there is not there, whatever the body says.
    row = find(call)
    is_model = call.version in MODEL_VERSIONS
    data = model_of(call.request) if is_model else data_of(call.request)
    changes = read_asset(call.version, data, row=row, partial=partial)
    settle_duration(changes)
    if "video" in (row.mimetype or ""):
        # Accepted, and not stored: a video is as long as it is.
        changes.pop("duration", None)
    take_turn(call.actor)
    row = update_asset(actor=call.actor, asset=row.pk, changes=changes)
    if not is_model:
        place_among_active(row, actor=call.actor, now=timezone.now(), zone=zone_of(call))
    commands.send(call.actor, commands.RELOAD)
    return Answer(raw=as_shown(call, row.pk))


def delete(call: Call) -> Answer:
    """Remove an asset and its file."""
    delete_assets(actor=call.actor, ids=[find(call).pk])
    commands.send(call.actor, commands.RELOAD)
    return Answer(status=204)


def order(call: Call) -> Answer:
    """Give the assets that a comma-separated list names their places in it."""
    data = data_of(call.request)
    if not isinstance(data, Mapping):
        raise LegacyError(400, {"ids": NO_IDS})
    ids = data.get("ids", "")
    if not isinstance(ids, str):
        raise LegacyError(400, {"ids": NOT_TEXT})
    take_turn(call.actor)
    number_listed(ids.split(","), actor=call.actor)
    return Answer(status=204)


def control(call: Call) -> Answer:
    """Tell the players to switch: `next`, `previous`, `asset&<asset_id>` and whatever they know.

    Needs devices.control, unless a device tells itself.
    """
    device = addressed(call)
    command, _, parameter = call.path["command"].partition("&")
    commands.send(call.actor, command, parameter, device.pk if device else None)
    return Answer("Asset switched")


_ASSET = Reply("The asset.", asset_of)
_GONE = Reply("There is no such asset in this tenant.", ref("Detail"))
_INVALID = Reply("Something in the body is not valid: what, by field.", ref("Refusal"))
_FULL = Reply("The plan has no room for more.", ref("Detail"))

ASSETS = Endpoint(
    "Asset List",
    {
        "GET": Method(
            listed,
            "assets.view",
            Doc(
                "Assets",
                "List assets",
                {200: Reply("Every asset of the tenant.", assets_of)},
                "In the order they were added in, which is not the one they play in: sort by "
                "`play_order`.",
            ),
        ),
        "POST": Method(
            adding.create,
            "assets.create",
            Doc(
                "Assets",
                "Add an asset",
                {201: Reply("The asset.", asset_of), 400: _INVALID, 507: _FULL},
                "An address is asked whether it answers, for three seconds at most, unless "
                "`skip_asset_check` is set. An upload is added by the `uri` and the `ext` that "
                "`file_asset` answered.",
                Body("The asset.", created),
            ),
            streams=True,
        ),
    },
)
_DETAIL = {
    "GET": Method(read, "assets.view", Doc("Assets", "Read an asset", {200: _ASSET, 404: _GONE})),
    "PUT": Method(
        replace,
        "assets.edit",
        Doc(
            "Assets",
            "Change an asset",
            {200: _ASSET, 400: _INVALID, 404: _GONE},
            "What is optional and left out stays as it is. What cannot be changed, as `uri` and "
            "`mimetype`, is ignored: what GET answered can be sent back.",
            Body("The fields to change, and those that PUT requires.", replaced),
        ),
    ),
    "DELETE": Method(
        delete,
        "assets.delete",
        Doc("Assets", "Remove an asset and its file", {204: Reply("It is gone."), 404: _GONE}),
    ),
}
ASSET = Endpoint(
    "Asset",
    {
        **_DETAIL,
        "PATCH": Method(
            patch,
            "assets.edit",
            Doc(
                "Assets",
                "Change some of an asset",
                {200: _ASSET, 400: _INVALID, 404: _GONE},
                body=Body("The fields to change.", patched, required=False),
            ),
        ),
    },
)
ASSET_WITHOUT_PATCH = Endpoint("Asset", _DETAIL)
ORDER = Endpoint(
    "Playlist Order",
    {
        "POST": Method(
            order,
            "assets.edit",
            Doc(
                "Assets",
                "Order assets",
                {204: Reply("Each asset has its place."), 400: _INVALID},
                "Each asset gets its index in the list as `play_order`; those that are not listed "
                "keep theirs.",
                body_of(
                    "The ids, separated by commas.",
                    {
                        "type": "object",
                        "properties": {"ids": text_of("Ids, in order.", "0f0b…,17aa…")},
                    },
                    required=False,
                ),
            ),
        )
    },
)
CONTENT = Endpoint(
    "Asset Content",
    {
        "GET": Method(
            content.read,
            "assets.view",
            Doc(
                "Assets",
                "Read what an asset shows",
                {
                    200: Reply(
                        "The file in base64, or where it is.",
                        {"oneOf": [ref("FileContent"), ref("LinkContent")]},
                    ),
                    404: Reply("There is no such asset, or it shows nothing.", ref("Detail")),
                },
            ),
        )
    },
)
CONTROL = Endpoint(
    "Asset Control",
    {
        "GET": Method(
            control,
            "",
            Doc(
                "Players",
                "Tell players what to show",
                {
                    200: Reply(
                        "It was passed on; players obey when they hear of it.",
                        {"type": "string", "const": "Asset switched"},
                    ),
                    400: Reply("This is no line of text.", ref("Refusal")),
                },
                "`next`, `previous`, `asset&<asset_id>`, and whatever else a player knows: at most "
                "200 characters without a space. A GET that does something, as it always was.",
            ),
            kind="relayed",
            needs="devices.control",
        )
    },
)
FILE_ASSET = Endpoint(
    "File Asset",
    {
        "POST": Method(
            file_uploads.receive_file,
            "assets.create",
            file_uploads.DOC,
            streams=True,
            takes_file=True,
        )
    },
)
SHAPES = {
    "FileContent": object_of(
        type={"const": "file"},
        filename=text_of("The asset's name."),
        content=text_of("The file.", contentEncoding="base64"),
        mimetype=text_of("What its name says that it is.", "image/png"),
    ),
    "LinkContent": object_of(type={"const": "url"}, url=text_of("Where it is.")),
}
