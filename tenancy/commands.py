"""Commands to players: what they are told to do, in the text that Anthias's own players read.

`viewer <command>[&<parameter>]` (SPEC section 10). One that listens (on `/ws`, or on its channel in
Redis) is told at once; for one that is away the last few wait in Redis until it is heard of again.
Redis is a helper: with it away nothing is kept, one line is logged and nothing fails.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any

from django.db import transaction
from redis.exceptions import RedisError

from tenancy.audit import record
from tenancy.errors import InvalidInput, NotFound
from tenancy.events import tenant_key
from tenancy.limits import redis_client
from tenancy.models import Device

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from tenancy.actors import Actor

logger = logging.getLogger("signate.commands")

RELOAD = "reload"
# What waits for one player, and for how long: an order of yesterday helps nobody.
MOST_WAITING = 50
WAITING_SECONDS = 3600
# These are for a player that is there: one that comes back later is not to switch itself off.
MOMENTARY = frozenset({"viewer reboot", "viewer shutdown"})
MOMENTARY_SECONDS = 120
MAX_COMMAND = 200
# After these a player that listens shows something else in a moment, and says so.
_SWITCHES = ("viewer next", "viewer previous", "viewer asset&")
SETTLING_SECONDS = 2
_WORDS = re.compile(rf"[^\x00-\x20\x7f-\x9f]{{1,{MAX_COMMAND}}}\Z")


def command_text(command: str, parameter: str = "") -> str:
    """Return a command as players read it; raises InvalidInput for what is none."""
    words = f"{command}&{parameter}" if parameter else command
    if not _WORDS.match(words):
        message = (
            f"A command has 1 to {MAX_COMMAND} characters and no space, such as next or "
            "asset&<asset_id>."
        )
        raise InvalidInput(message, field=("command",))
    return f"viewer {words}"


def commands_channel(tenant_id: UUID, device: UUID) -> str:
    """Return the Redis channel that a connected player listens on."""
    return tenant_key(tenant_id, "device", device, "viewer")


def _waiting_key(tenant_id: UUID, device: UUID) -> str:
    return tenant_key(tenant_id, "device", device, "waiting")


def _settling_key(tenant_id: UUID, device: UUID) -> str:
    return tenant_key(tenant_id, "device", device, "settling")


def send_command(
    *, actor: Actor, command: str, parameter: str = "", device: UUID | None = None
) -> int:
    """Tell one player, or all of the actor's tenant, to do something, after the commit.

    Returns how many players that is, at work or away.

    Raises PermissionDenied without devices.control, unless it is the device itself, or the command
    is to look again at what there is to play, which follows from other writes; NotFound,
    InvalidInput.
    """
    tenant_id = actor.entered()
    is_own = device is not None and device == actor.device_id
    if command != RELOAD and not is_own:
        actor.require("devices.control")
    text = command_text(command, parameter)
    rows = Device.objects.filter(tenant_id=tenant_id, revoked_at__isnull=True)
    if device is not None:
        rows = rows.filter(pk=device)
    keys = list(rows.values_list("pk", flat=True))
    if device is not None and not keys:
        message = "There is no device with this id, or it is revoked."
        raise NotFound(message, field=("id",))
    if keys and command != RELOAD:
        # Looking again follows from what was written, which is in the log itself.
        record(
            actor,
            "device.commanded",
            subject="Device",
            subject_id=device,
            label="" if device else f"{len(keys)} devices",
            after={"command": text.removeprefix("viewer ")},
        )
    if keys:
        transaction.on_commit(lambda: _deliver(tenant_id, keys, text), robust=True)
    return len(keys)


def _deliver(tenant_id: UUID, devices: Sequence[UUID], text: str) -> None:
    client = redis_client()
    if client is None:
        return
    try:
        with client.pipeline(transaction=False) as pipe:
            for device in devices:
                pipe.publish(commands_channel(tenant_id, device), text)
            listening = pipe.execute()
        away = [one for one, count in zip(devices, listening, strict=True) if not count]
        if text.startswith(_SWITCHES):
            _expect_news(client, tenant_id, set(devices) - set(away))
        _let_wait(client, tenant_id, away, text)
    except RedisError:
        logger.warning("Redis is away: %d players were not told %r", len(devices), text)


def _expect_news(client: Any, tenant_id: UUID, devices: Iterable[UUID]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for device in devices:
            pipe.set(_settling_key(tenant_id, device), 1, ex=SETTLING_SECONDS)
        pipe.execute()


def _let_wait(client: Any, tenant_id: UUID, devices: Iterable[UUID], text: str) -> None:
    with client.pipeline(transaction=False) as pipe:
        for device in devices:
            key = _waiting_key(tenant_id, device)
            # Looking again once is enough, however much has changed.
            if text == command_text(RELOAD):
                pipe.lrem(key, 0, text)
            pipe.rpush(key, f"{int(time.time())} {text}" if text in MOMENTARY else text)
            pipe.ltrim(key, -MOST_WAITING, -1)
            pipe.expire(key, WAITING_SECONDS)
        pipe.execute()


def put_back(tenant_id: UUID, device: UUID, texts: Iterable[str]) -> None:
    """Let wait again what a player that hung up was to be told."""
    client = redis_client()
    if client is None:
        return
    try:
        for text in texts:
            _let_wait(client, tenant_id, [device], text)
    except RedisError:
        logger.warning("Redis is away: what a player was to be told is lost")


def are_settling(tenant_id: UUID, devices: Sequence[UUID]) -> bool:
    """Return whether one of these was just told to show something else, and has not said so yet."""
    client = redis_client()
    if client is None or not devices:
        return False
    try:
        return bool(client.exists(*(_settling_key(tenant_id, device) for device in devices)))
    except RedisError:
        return False


def note_settled(tenant_id: UUID, device: UUID) -> None:
    """Keep that a player has said what it shows; to be called once that is committed."""
    client = redis_client()
    if client is None:
        return
    try:
        client.delete(_settling_key(tenant_id, device))
    except RedisError:
        logger.warning("Redis is away: that a player has settled is not known")


def take_waiting(tenant_id: UUID, device: UUID) -> list[str]:
    """Return what waits for a player, the oldest first, and let it wait no longer."""
    client = redis_client()
    if client is None:
        return []
    key = _waiting_key(tenant_id, device)
    try:
        with client.pipeline() as pipe:
            pipe.lrange(key, 0, -1)
            pipe.delete(key)
            waiting, _ = pipe.execute()
    except RedisError:
        logger.warning("Redis is away: what waits for a player is not known")
        return []
    return [text for kept in waiting if (text := _still_meant(kept.decode()))]


def _still_meant(kept: str) -> str:
    """Return the text of what waited; nothing for what was meant for a moment that is over."""
    since, _, text = kept.partition(" ")
    if not since.isdecimal():
        return kept
    return text if time.time() - int(since) < MOMENTARY_SECONDS else ""
