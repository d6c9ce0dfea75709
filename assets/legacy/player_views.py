"""What is between a player and this service alone, and Anthias never had: heartbeat and pairing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from assets.legacy.addressing import PLAYER, anybody, player
from assets.legacy.docs import Doc, Reply, body_of, object_of, ref, text_of
from assets.legacy.endpoint import Answer, Call, Endpoint, Method
from assets.legacy.errors import LegacyError
from assets.legacy.fields import Field, Refused, read_fields, text
from assets.legacy.negotiation import JSON, data_of
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


_CODE = text_of("What the player shows, for somebody to type.", "7KQ2MX")
_SECRET = text_of("What the player asks with; 43 letters or more.")
_NO_STORE = {"Cache-Control": text_of("Not to be kept.", "no-store")}
HEARTBEAT = Endpoint(
    "Device Heartbeat",
    {
        "POST": Method(
            heartbeat,
            "",
            Doc(
                "Player's own",
                "Report",
                {
                    200: Reply("What the player was told meanwhile.", ref("Heard")),
                    400: Reply("Something in the body is not valid.", ref("Refusal")),
                },
                "Everything is optional, and what is left out stays. Once a minute is enough.",
                body_of(
                    "What the player says of itself.",
                    ref("Heartbeat"),
                    media=(JSON,),
                    required=False,
                ),
            ),
            needs=PLAYER,
        )
    },
    admit=player,
)
PAIR = Endpoint(
    "Pair",
    {
        "POST": Method(
            pair,
            "",
            Doc(
                "Player's own",
                "Pair a new player",
                {
                    200: Reply(
                        "It is paired: its id and secret, told once.",
                        ref("Paired"),
                        headers=_NO_STORE,
                    ),
                    201: Reply(
                        "A code to show, and a secret to ask with.",
                        ref("Pairing"),
                        headers=_NO_STORE,
                    ),
                    202: Reply("Nobody has typed the code yet.", ref("Waiting"), headers=_NO_STORE),
                    404: Reply(
                        "There is no such pairing, or it is over: begin anew.",
                        {"anyOf": [ref("Over"), ref("Detail")]},
                    ),
                    503: Reply("Pairing is not available now.", ref("Error")),
                },
                "Without a body a pairing begins; with its secret, tells whether somebody typed "
                "the code.",
                body_of(
                    "The secret of a pairing that has begun.",
                    {
                        "type": "object",
                        "properties": {
                            "secret": text_of(
                                "The secret that the beginning answered.", minLength=1
                            )
                        },
                    },
                    required=False,
                ),
            ),
            streams=True,
        )
    },
    admit=anybody,
)
SHAPES = {
    "Heartbeat": {
        "type": "object",
        "properties": {
            "version": {
                "type": ["string", "null"],
                "maxLength": 255,
                "description": "The version of its software.",
            },
            "playing": {
                "type": ["string", "null"],
                "maxLength": 255,
                "description": "The `asset_id` of what it shows; null for nothing.",
            },
            "telemetry": {
                "type": "object",
                "description": "Whatever else it says of itself; `info` is answered from it by the "
                "same names. At most 65536 characters.",
            },
        },
    },
    "Heard": object_of(
        commands={
            "type": "array",
            "description": "Lines, in the order they were said.",
            "items": text_of("A command.", "viewer next"),
        },
        now=text_of("The time here.", format="date-time"),
    ),
    "Pairing": object_of(
        status={"const": "waiting"},
        code=_CODE,
        secret=_SECRET,
        expires_in={"type": "integer", "description": "Seconds until it is over."},
        interval={"type": "integer", "description": "Seconds between two questions."},
    ),
    "Waiting": object_of(status={"const": "waiting"}, code=_CODE),
    "Paired": object_of(
        status={"const": "paired"},
        device_id=text_of("The device's id.", format="uuid"),
        secret=text_of("The device's secret: its password, or its token."),
        url=text_of("Where its tenant is."),
    ),
    "Over": object_of(status={"const": "over"}, error=text_of("Why.")),
}
