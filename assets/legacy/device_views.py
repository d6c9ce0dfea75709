"""What a device says of itself and is told to do, as Anthias has it (SPEC section 7).

Answered from the last heartbeat, and nothing touches the machine this runs on. Nothing waits for a
player, but for one that was just told to show something else. Without a device in the address,
what is shown is the player last heard of, and what is told is told to all of the tenant's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assets.legacy import device_docs as docs
from assets.legacy.addressing import addressed, anybody, devices_of
from assets.legacy.commands import send
from assets.legacy.endpoint import Answer, Call, Endpoint, Method
from assets.legacy.errors import LegacyError, no_asset
from assets.legacy.fields import Field, Refused, read_fields, text
from assets.legacy.negotiation import data_of
from assets.legacy.shapes import V1, V2, shown
from assets.models import Asset
from assets.player_settings import settings_of, zone_of
from rls import acting_as
from tenancy.commands import SETTLING_SECONDS, are_settling
from tenancy.devices import ONLINE_SECONDS
from tenancy.models import TenantSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assets.legacy.docs import Doc
    from tenancy.models import Device

# What clients that decode strictly find where nothing is known: the type that Anthias has there.
UNKNOWN_STORAGE = {"supported": False, "status": "unknown"}
UNKNOWN_VOLTAGE = {
    "supported": False,
    "active": False,
    "seen_since_boot": False,
    "first_seen": None,
    "last_seen": None,
    "count": 0,
}
UNKNOWN_UPTIME = {"days": 0, "hours": 0}
UNKNOWN_MEMORY = {
    "total": 0,
    "used": 0,
    "free": 0,
    "shared": 0,
    "buff": 0,
    "available": 0,
    "low_ram": False,
}
BALENA = (
    "balena_device_id",
    "balena_app_id",
    "balena_app_name",
    "balena_supervisor_version",
    "balena_host_os_version",
    "balena_device_name_at_init",
)
NO_CEC = "No HDMI-CEC adapter detected on this device."
UNREACHABLE = "Could not reach Screenly. Check this device's internet connection and try again."
UNKNOWN_PROVIDER = "Unknown import provider."
_PAUSE_S = 0.05
NOT_HERE = "This is not available for players that are managed here."


def _is_online(device: Device, now: datetime) -> bool:
    seen = device.last_seen_at
    return seen is not None and (now - seen).total_seconds() < ONLINE_SECONDS


def current_asset(call: Call) -> Answer:
    """Answer with what is on the screen; `[]` for nothing, or nobody to know it.

    A player that listens and was just told to show something else is waited for, as Anthias waits
    for its viewer, for two seconds at most; no door is open meanwhile.
    """
    tenant_id, until = call.actor.entered(), time.monotonic() + SETTLING_SECONDS
    while True:
        with acting_as(call.actor, read_only=True):
            now = datetime.now(UTC)
            devices = [one for one in devices_of(call) if _is_online(one, now)]
            # Asked first: what is read afterwards is what was said by then.
            is_settled = not are_settling(tenant_id, [one.pk for one in devices])
            if is_settled or time.monotonic() >= until:
                return _current_asset(call, now)
        time.sleep(_PAUSE_S)


def _current_asset(call: Call, now: datetime) -> Answer:
    showing = [one for one in devices_of(call) if one.playing and _is_online(one, now)]
    if not showing:
        return Answer([])
    tenant_id = call.actor.entered()
    found = settings_of(TenantSettings.objects.get(tenant_id=tenant_id), showing[0])
    rows = Asset.objects.filter(tenant_id=tenant_id, asset_id=showing[0].playing)
    raw = shown(V1, rows, now, zone_of(found))
    if not raw:
        raise no_asset()
    return Answer(raw=raw)


def _said(said: Mapping[str, Any], name: str, unknown: Any) -> Any:
    """Return a value of the telemetry where it has the type that Anthias has there."""
    value = said.get(name)
    if isinstance(unknown, dict):
        return {**unknown, **value} if isinstance(value, dict) else dict(unknown)
    is_number = isinstance(unknown, (int, float)) and not isinstance(unknown, bool)
    wanted = (int, float) if is_number else type(unknown)
    if isinstance(value, bool) and wanted is not bool:
        return unknown
    return value if isinstance(value, wanted) else unknown


def _said_text(said: Mapping[str, Any], name: str) -> str | None:
    value = said.get(name)
    return value if isinstance(value, str) else None


def _ip_addresses(device: Device | None) -> list[str]:
    if device is None:
        return []
    return [one for one in _said(device.telemetry, "ip_addresses", []) if isinstance(one, str)]


def info(call: Call) -> Answer:
    """Answer with the health of a player, by its last heartbeat."""
    device = next(iter(devices_of(call)), None)
    said: Mapping[str, Any] = device.telemetry if device else {}
    body: dict[str, Any] = {
        "viewlog": "Not yet implemented",
        "loadavg": _said(said, "loadavg", 0.0),
        "free_space": _said(said, "free_space", ""),
        "display_power": _said_text(said, "display_power"),
        "up_to_date": _said(said, "up_to_date", True),
    }
    if call.version == V2:
        tenant = TenantSettings.objects.get(tenant_id=call.actor.entered())
        zone = zone_of(settings_of(tenant, addressed(call)))
        local = datetime.now(zone)
        offset = local.strftime("%z")
        body |= {
            "anthias_version": device.version if device else "",
            "device_model": _said(said, "device_model", ""),
            "uptime": _said(said, "uptime", UNKNOWN_UPTIME),
            "memory": _said(said, "memory", UNKNOWN_MEMORY),
            "under_voltage": _said(said, "under_voltage", UNKNOWN_VOLTAGE),
            "storage": _said(said, "storage", UNKNOWN_STORAGE),
            "ip_addresses": _ip_addresses(device),
            "mac_address": _said(said, "mac_address", ""),
            "host_user": _said_text(said, "host_user"),
            "time": {
                "iso": local.isoformat(),
                "timezone": zone.key,
                "offset": f"UTC{offset[:3]}:{offset[3:5]}",
            },
        }
    return Answer(body)


def _telling(command: str, doc: Doc) -> Method:
    """Return a POST that tells players `command`, whatever its body says."""

    def tell(call: Call) -> Answer:
        device = addressed(call)
        send(actor=call.actor, command=command, device=device.pk if device else None)
        return Answer()

    return Method(tell, "", doc, kind="relayed", needs="devices.control")


def display(call: Call) -> Answer:
    """Tell players with HDMI-CEC to switch their screens on or off; 503 where there is none."""
    if call.actor.device_id is None:
        # Before anything is said of what they can do.
        call.actor.require("devices.control")
    state = call.path["state"]
    if state not in {"on", "off"}:
        raise LegacyError(400, {"message": "Invalid display state."})
    now = datetime.now(UTC)
    able = [
        one
        for one in devices_of(call)
        if _is_online(one, now)
        and (
            one.telemetry.get("cec_available") is True or _said_text(one.telemetry, "display_power")
        )
    ]
    if not able:
        raise LegacyError(503, {"message": NO_CEC})
    for device in able:
        send(actor=call.actor, command=f"display_{state}", device=device.pk)
    return Answer({"message": f"Display turned {state}."})


def ip_addresses(call: Call) -> Answer:
    """Answer with a player's addresses; with none for somebody who has not signed in."""
    if call.actor.tenant_id is None:
        return Answer({"ip_addresses": []})
    with acting_as(call.actor, read_only=True):
        device = next(iter(devices_of(call)), None)
    return Answer({"ip_addresses": _ip_addresses(device)})


def integrations(call: Call) -> Answer:
    """Answer with whether a player runs under balena, as it said itself."""
    device = next(iter(devices_of(call)), None)
    said = _said(device.telemetry if device else {}, "integrations", {})
    return Answer(
        {"is_balena": said.get("is_balena") is True}
        | {name: _said_text(said, name) for name in BALENA}
    )


def _given(call: Call, *names: str) -> dict[str, Any]:
    try:
        form = read_fields(
            {name: Field(text, required=True) for name in names}, data_of(call.request)
        )
    except Refused as error:
        raise LegacyError(400, error.messages) from None
    if form.errors:
        raise LegacyError(400, form.errors)
    return form.values


def screenly_validate(call: Call) -> Answer:
    """Refuse as Anthias does when Screenly is away: tokens of others are not sent anywhere."""
    _given(call, "token")
    return Answer({"valid": False, "error": UNREACHABLE}, 502)


def screenly_migrate(call: Call) -> Answer:
    """Refuse likewise; an unknown asset first."""
    values = _given(call, "token", "asset_id")
    rows = Asset.objects.filter(tenant_id=call.actor.entered(), asset_id=values["asset_id"])
    if not rows.exists():
        raise LegacyError(404, {"success": False, "error": "Asset not found."})
    return Answer({"success": False, "error": UNREACHABLE}, 502)


def import_validate(call: Call) -> Answer:
    """There is no provider to import from."""
    del call
    return Answer({"valid": False, "error": UNKNOWN_PROVIDER}, 404)


def import_item(call: Call) -> Answer:
    """There is no provider to import from."""
    del call
    body = {
        "success": False,
        "asset_id": None,
        "skipped": False,
        "reason": None,
        "error": UNKNOWN_PROVIDER,
    }
    return Answer(body, 404)


def not_here(call: Call) -> Answer:
    """Refuse what an old box could do to itself."""
    del call
    return Answer({"error": NOT_HERE}, 501)


_NOT_HERE = Method(not_here, "assets.view", docs.OLD, kind="refused")
CURRENT_ASSET = Endpoint(
    "Viewer Current Asset",
    {"GET": Method(current_asset, "assets.view", docs.CURRENT_ASSET, streams=True)},
)
INFO = Endpoint("Info", {"GET": Method(info, "assets.view", docs.INFO)})
REBOOT = Endpoint("Reboot", {"POST": _telling("reboot", docs.REBOOT)})
SHUTDOWN = Endpoint("Shutdown", {"POST": _telling("shutdown", docs.SHUTDOWN)})
DISPLAY = Endpoint(
    "Display Power",
    {"POST": Method(display, "", docs.DISPLAY, kind="relayed", needs="devices.control")},
)
IP_ADDRESSES = Endpoint(
    "Network Ip Addresses",
    {"GET": Method(ip_addresses, "", docs.IP_ADDRESSES, streams=True)},
    admit=anybody,
)
INTEGRATIONS = Endpoint(
    "Integrations", {"GET": Method(integrations, "assets.view", docs.INTEGRATIONS)}
)
SCREENLY_VALIDATE = Endpoint(
    "Screenly Validate",
    {"POST": Method(screenly_validate, "assets.import", docs.SCREENLY_VALIDATE, kind="refused")},
)
SCREENLY_MIGRATE = Endpoint(
    "Screenly Migrate",
    {"POST": Method(screenly_migrate, "assets.import", docs.SCREENLY_MIGRATE, kind="refused")},
)
IMPORT_VALIDATE = Endpoint(
    "Import Validate",
    {"POST": Method(import_validate, "assets.import", docs.IMPORT_VALIDATE, kind="refused")},
)
IMPORT_ITEM = Endpoint(
    "Import Item", {"POST": Method(import_item, "assets.import", docs.IMPORT_ITEM, kind="refused")}
)
# Whichever method an old client has for it.
OLD = Endpoint("No longer available", {"GET": _NOT_HERE, "POST": _NOT_HERE})
