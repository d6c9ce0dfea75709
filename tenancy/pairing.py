"""Pairing: how a new player gets its secret without anybody typing one (MISSION T8).

The player asks for a code, shows it, and asks again and again with a secret of its own. Somebody
who may register devices types the code; the player's next question is answered with the device's
id and secret, once. All of it lies in Redis, for ten minutes: the code beside a digest of the
player's own secret, and then which device it became. The device's secret is made when the player
fetches it, so that it is written down nowhere (docs/decisions/pairing.md).
"""

from __future__ import annotations

import json
import logging
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from redis.exceptions import RedisError

from rls import acting_as
from tenancy.actors import worker
from tenancy.credentials import limited_network
from tenancy.devices import register_device, rotate_device_secret
from tenancy.errors import Conflict, NotFound
from tenancy.limits import FailureLimit, redis_client, take
from tenancy.tenants import is_active_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tenancy.actors import Actor
    from tenancy.models import Device

logger = logging.getLogger("signate.devices")

PAIRING_SECONDS = 600
POLL_SECONDS = 5
CODE_LENGTH = 6
# Nothing that can be taken for something else on a screen across the room: no 0, O, 1, I, L, U.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
# Codes that one address may ask for, and wrong ones that one tenant may type, in that time.
ASKED = FailureLimit("pairing-asked", 30, PAIRING_SECONDS)
MISTYPED = FailureLimit("pairing-mistyped", 20, PAIRING_SECONDS)
WRONG_CODE = (
    "There is no such code, or its ten minutes are over: look at the player's screen again."
)


class PairingUnavailable(Conflict):
    """Redis, in which pairing lives, is away."""

    def __init__(self) -> None:
        """Say what to do meanwhile."""
        super().__init__(
            "Players cannot be paired at this moment. Try again in a minute, or register the "
            "device and type its secret."
        )


@dataclass(frozen=True, slots=True)
class Pairing:
    """What a player is told when it asks for a code: `secret` is what it asks again with."""

    code: str
    secret: str


@dataclass(frozen=True, slots=True)
class Paired:
    """What a player is told once: what it enters with, and where."""

    device: UUID
    secret: str
    url: str


def _key(kind: str, name: str) -> str:
    return f"{settings.CACHES['default'].get('KEY_PREFIX', '')}:pairing:{kind}:{name}"


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


@contextmanager
def _redis() -> Iterator[Any]:
    """Yield the client; raises PairingUnavailable where there is none or it is away."""
    client = redis_client()
    if client is None:
        raise PairingUnavailable
    try:
        yield client
    except RedisError:
        logger.warning("Redis is away: players cannot be paired")
        raise PairingUnavailable from None


def start_pairing(*, address: str) -> Pairing:
    """Return a new code and the player's own secret; raises RateLimited, PairingUnavailable."""
    take([(ASKED, limited_network(address))])
    secret = secrets.token_urlsafe(32)
    with _redis() as client:
        while True:
            code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
            if client.set(_key("code", code), _digest(secret), nx=True, ex=PAIRING_SECONDS):
                break
        waiting = json.dumps({"code": code})
        client.set(_key("player", _digest(secret)), waiting, ex=PAIRING_SECONDS)
    return Pairing(code, secret)


@transaction.atomic
def pair_device(*, actor: Actor, code: str, values: Mapping[str, Any]) -> Device:
    """Return the new device that the player showing `code` becomes; `values` as register_device.

    Raises PermissionDenied without devices.edit, NotFound for a code that nobody shows, Conflict
    for one that somebody else typed just now, Invalid, QuotaExceeded, RateLimited,
    PairingUnavailable.
    """
    tenant_id = actor.require("devices.edit")
    typed = "".join(code.split()).replace("-", "").upper()
    take([(MISTYPED, str(tenant_id))])
    with _redis() as client:
        player = client.get(_key("code", typed)) if len(typed) == CODE_LENGTH else None
    if player is None:
        raise NotFound(WRONG_CODE, field=("code",))
    MISTYPED.give_back(str(tenant_id))
    # Its secret is thrown away: the player gets one of its own when it asks.
    device, _ = register_device(actor=actor, values=values)
    with _redis() as client:
        if client.getdel(_key("code", typed)) != player:
            message = "Somebody else has typed this code just now."
            raise Conflict(message, field=("code",))
    paired = json.dumps({"tenant": str(tenant_id), "device": str(device.pk)})
    transaction.on_commit(lambda: _tell(player.decode(), paired), robust=True)
    return device


def _tell(player: str, paired: str) -> None:
    try:
        with _redis() as client:
            client.set(_key("player", player), paired, xx=True, ex=PAIRING_SECONDS)
    except PairingUnavailable:
        return


def fetch_pairing(secret: str) -> Paired | str:
    """Return what the player enters with, once it is paired; until then the code it shows.

    Raises NotFound for a secret that is over or was answered before, PairingUnavailable.
    """
    key = _key("player", _digest(secret))
    with _redis() as client:
        kept = client.get(key)
        state = json.loads(kept) if kept else {}
        # Who of two askers takes it away is the one who is told.
        if "device" in state and not client.delete(key):
            state = {}
    if "code" in state:
        return str(state["code"])
    if not state or not is_active_tenant(UUID(state["tenant"])):
        raise NotFound("This pairing is over. Start again for a new code.", field=("secret",))
    with acting_as(worker(UUID(state["tenant"]))) as actor:
        device, made = rotate_device_secret(actor=actor, device=UUID(state["device"]))
        return Paired(device.pk, made, device.tenant.url)
