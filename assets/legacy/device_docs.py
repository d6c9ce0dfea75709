"""What people are told of the endpoints in device_views: what is said of a player, and to one.

Data only; see assets.legacy.docs.
"""

from __future__ import annotations

from assets.legacy.docs import Doc, Reply, Schema, body_of, object_of, ref, text_of
from assets.legacy.schemas import FLAG, INTEGER, NULLABLE_TEXT, asset_of

_PLAYERS, _IMPORTS, _OLD = "Players", "Imports", "Old names"
_NUMBER: Schema = {"type": "number"}
_LATEST = (
    "Answered from the last heartbeat; nothing waits for a player. Without a device in the "
    "address it is about the player last heard of."
)
_TOLD = (
    "Told at once, or with the next heartbeat. Without a device in the address all of the tenant's "
    "players are told."
)
_NO_DEVICE = Reply("There is no such device in this tenant.", ref("Detail"))
_ADDRESSES: Schema = {"type": "array", "items": text_of("An address.", "http://192.0.2.10")}
_INFO = {
    "viewlog": text_of("Nothing; kept for old clients."),
    "loadavg": {"type": "number", "description": "The load of the last 15 minutes."},
    "free_space": text_of("How much room its disk has.", "74.9 GB"),
    "display_power": {**NULLABLE_TEXT, "description": "What the screen says of its power."},
    "up_to_date": {**FLAG, "description": "Whether its software is the newest."},
}
_INFO_V2 = {
    **_INFO,
    "anthias_version": text_of("The version of its software."),
    "device_model": text_of("What it is."),
    "uptime": {
        "type": "object",
        "description": "How long it runs.",
        "properties": {"days": INTEGER, "hours": _NUMBER},
        "required": ["days", "hours"],
    },
    "memory": {
        "type": "object",
        "description": "Its memory, in MiB.",
        "properties": {
            **dict.fromkeys(("total", "used", "free", "shared", "buff", "available"), INTEGER),
            "low_ram": FLAG,
        },
        "required": ["total", "used", "free", "shared", "buff", "available", "low_ram"],
    },
    "under_voltage": {
        "type": "object",
        "description": "Whether it has too little power, where it can tell.",
        "properties": {
            **dict.fromkeys(("supported", "active", "seen_since_boot"), FLAG),
            "first_seen": {},
            "last_seen": {},
            "count": INTEGER,
        },
        "required": ["supported", "active", "seen_since_boot", "first_seen", "last_seen", "count"],
    },
    "storage": {
        "type": "object",
        "description": "The health of its disk, where it can tell: `supported` first, then "
        "`status`: ok, wear, errors, full, failing, unknown.",
        "properties": {"supported": FLAG, "status": {"type": "string"}},
        "required": ["supported", "status"],
    },
    "ip_addresses": _ADDRESSES,
    "mac_address": text_of("Its network card's address."),
    "host_user": {**NULLABLE_TEXT, "description": "Who its software runs as."},
    "time": object_of(
        "Its clock.",
        iso=text_of("The time there.", format="date-time"),
        timezone=text_of("Its time zone.", "Europe/Zurich"),
        offset=text_of("How far that is from UTC.", "UTC+01:00"),
    ),
}
SHAPES = {
    "InfoV1": object_of("The health of a player.", **_INFO),
    "InfoV2": object_of("The health of a player.", **_INFO_V2),
    "Message": object_of(message=text_of("What happened.")),
}


def _info_of(version: str) -> Schema:
    return ref("InfoV2" if version == "v2" else "InfoV1")


def _asset_or_none(version: str) -> Schema:
    return {"anyOf": [asset_of(version), {"type": "array", "maxItems": 0}]}


CURRENT_ASSET = Doc(
    _PLAYERS,
    "Read what is on the screen",
    {
        200: Reply("The asset; an empty list for none, or when no player tells.", _asset_or_none),
        404: Reply("The asset that a player shows is gone, or the device is.", ref("Detail")),
    },
    f"{_LATEST} But a player that is connected and was just told to show something else is waited "
    "for, two seconds at most.",
)
INFO = Doc(
    _PLAYERS,
    "Read the health of a player",
    {200: Reply("What its last heartbeat said.", _info_of), 404: _NO_DEVICE},
    f"{_LATEST} What is not known has the type it would have: 0, an empty text, false.",
)
REBOOT = Doc(_PLAYERS, "Restart players", {200: Reply("They are told to."), 404: _NO_DEVICE}, _TOLD)
SHUTDOWN = Doc(
    _PLAYERS, "Switch players off", {200: Reply("They are told to."), 404: _NO_DEVICE}, _TOLD
)
DISPLAY = Doc(
    _PLAYERS,
    "Switch screens on or off",
    {
        200: Reply("Players are told to.", ref("Message")),
        400: Reply("`state` is `on` or `off`.", {"anyOf": [ref("Message"), ref("Refusal")]}),
        404: _NO_DEVICE,
        503: Reply(
            "No player that is online can switch its screen, or the service is not available.",
            {"anyOf": [ref("Message"), ref("Error")]},
        ),
    },
    f"Players whose screen obeys HDMI-CEC. {_TOLD}",
)
IP_ADDRESSES = Doc(
    _PLAYERS,
    "Read the addresses of a player",
    {
        200: Reply(
            "Its addresses; none for somebody who has not signed in.",
            object_of(ip_addresses=_ADDRESSES),
        ),
        404: _NO_DEVICE,
    },
    _LATEST,
)
INTEGRATIONS = Doc(
    _PLAYERS,
    "Read where a player runs",
    {
        200: Reply(
            "Whether it runs under balena, and what it is called there.",
            object_of(
                is_balena=FLAG,
                balena_device_id=NULLABLE_TEXT,
                balena_app_id=NULLABLE_TEXT,
                balena_app_name=NULLABLE_TEXT,
                balena_supervisor_version=NULLABLE_TEXT,
                balena_host_os_version=NULLABLE_TEXT,
                balena_device_name_at_init=NULLABLE_TEXT,
            ),
        ),
        404: _NO_DEVICE,
    },
    _LATEST,
)
_TOKEN = text_of("A token of theirs; it is sent nowhere.", minLength=1)
_AWAY = "Screenly is not asked from here; answered as when it is away."
SCREENLY_VALIDATE = Doc(
    _IMPORTS,
    "Check a token of Screenly",
    {502: Reply(_AWAY, object_of(valid={"const": False}, error=text_of("Why.")))},
    body=body_of(
        "The token.",
        {"type": "object", "properties": {"token": _TOKEN}, "required": ["token"]},
    ),
)
_NOT_DONE = object_of(success={"const": False}, error=text_of("Why."))
SCREENLY_MIGRATE = Doc(
    _IMPORTS,
    "Copy an asset to Screenly",
    {
        404: Reply("There is no such asset in this tenant.", {"anyOf": [_NOT_DONE, ref("Detail")]}),
        502: Reply(_AWAY, _NOT_DONE),
    },
    body=body_of(
        "The token, and the asset.",
        {
            "type": "object",
            "properties": {"token": _TOKEN, "asset_id": text_of("The asset.", minLength=1)},
            "required": ["token", "asset_id"],
        },
    ),
)
IMPORT_VALIDATE = Doc(
    _IMPORTS,
    "Check a token of another service",
    {
        404: Reply(
            "There is no service to import from.",
            {"anyOf": [object_of(valid={"const": False}, error=text_of("Why.")), ref("Detail")]},
        )
    },
)
IMPORT_ITEM = Doc(
    _IMPORTS,
    "Copy something from another service",
    {
        404: Reply(
            "There is no service to import from.",
            {
                "anyOf": [
                    object_of(
                        success={"const": False},
                        asset_id={"type": "null"},
                        skipped={"const": False},
                        reason={"type": "null"},
                        error=text_of("Why."),
                    ),
                    ref("Detail"),
                ]
            },
        )
    },
)
OLD = Doc(
    _OLD,
    "Not available here",
    {501: Reply("It was for the old box itself.", object_of(error=text_of("Why.")))},
    "What old clients still call.",
    deprecated=True,
)
