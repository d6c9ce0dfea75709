"""What is between a player and this service alone, and Anthias never had: heartbeat and pairing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assets.legacy.addressing import player
from assets.legacy.endpoint import Answer, Call, Endpoint, Method
from assets.legacy.errors import LegacyError
from assets.legacy.fields import Field, Refused, read_fields, text
from assets.legacy.negotiation import data_of
from tenancy.commands import take_waiting
from tenancy.credentials import client_address
from tenancy.errors import NotFound
from tenancy.heartbeats import record_heartbeat
from tenancy.pairing import (
    PAIRING_SECONDS,
    POLL_SECONDS,
    Paired,
    PairingUnavailable,
    fetch_pairing,
    start_pairing,
)

if TYPE_CHECKING:
    from tenancy.actors import Actor
    from tenancy.middleware import SignateRequest

NOT_AN_OBJECT = "Send a JSON object."


def heartbeat(call: Call) -> Answer:
    """Keep what a player says of itself, and answer with what it was told meanwhile."""
    data = data_of(call.request)
    if not isinstance(data, dict):
        raise LegacyError(400, {"non_field_errors": [NOT_AN_OBJECT]})
    device = record_heartbeat(actor=call.actor, address=client_address(call.request), values=data)
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return Answer({"commands": take_waiting(device.tenant_id, device.pk), "now": now})


def pair(call: Call) -> Answer:
    """Give a new player a code to show; asked with its secret, tell whether somebody typed it."""
    try:
        form = read_fields({"secret": Field(text)}, data_of(call.request))
    except Refused as error:
        raise LegacyError(400, error.messages) from None
    if form.errors:
        raise LegacyError(400, form.errors)
    try:
        if "secret" not in form.values:
            return _started(call)
        found = fetch_pairing(form.values["secret"])
    except NotFound as error:
        raise LegacyError(404, {"status": "over", "error": error.message}) from None
    except PairingUnavailable as error:
        raise LegacyError(503, {"error": error.message}, {"Retry-After": "30"}) from None
    if isinstance(found, Paired):
        return _secret(
            {
                "status": "paired",
                "device_id": str(found.device),
                "secret": found.secret,
                "url": found.url,
            }
        )
    return _secret({"status": "waiting", "code": found}, 202)


def _started(call: Call) -> Answer:
    started = start_pairing(address=client_address(call.request))
    return _secret(
        {
            "status": "waiting",
            "code": started.code,
            "secret": started.secret,
            "expires_in": PAIRING_SECONDS,
            "interval": POLL_SECONDS,
        },
        201,
    )


def _secret(body: dict[str, Any], status: int = 200) -> Answer:
    return Answer(body, status, headers={"Cache-Control": "no-store"})


def _anybody(request: SignateRequest) -> Actor:
    return request.actor


HEARTBEAT = Endpoint("Device Heartbeat", {"POST": Method(heartbeat, "")}, admit=player)
PAIR = Endpoint("Pair", {"POST": Method(pair, "", streams=True)}, admit=_anybody)
