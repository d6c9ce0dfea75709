"""What players are told, in Anthias's words: `viewer <command>[&<parameter>]` (SPEC section 10).

Called by the writes of the legacy API, inside their transaction. Redis carries the text on one
channel per tenant after the commit; it is a helper, so that with Redis away nothing fails.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from redis.exceptions import RedisError

from tenancy.errors import InvalidInput
from tenancy.limits import redis_client

if TYPE_CHECKING:
    from uuid import UUID

    from tenancy.actors import Actor

logger = logging.getLogger("signate.commands")

RELOAD = "reload"
# Unknown ones are ignored by players; what could not be one line of text is refused here.
_WORDS = re.compile(r"[^\x00-\x20\x7f-\x9f]{1,200}\Z")


def channel(tenant_id: UUID) -> str:
    """Return the Redis channel that the players of a tenant listen to."""
    return f"{settings.CACHES['default'].get('KEY_PREFIX', '')}:t:{tenant_id}:viewer"


def send(actor: Actor, command: str, parameter: str = "") -> None:
    """Tell the players of the actor's tenant, after the commit.

    Raises InvalidInput for what is no command: nothing, white space, more than 200 characters.
    """
    words = f"{command}&{parameter}" if parameter else command
    if not _WORDS.match(words):
        raise InvalidInput(
            "A command has 1 to 200 characters and no space, such as next or asset&<asset_id>.",
            field=("command",),
        )
    name = channel(actor.entered())
    transaction.on_commit(lambda: _publish(name, f"viewer {words}"), robust=True)


def _publish(name: str, text: str) -> None:
    client = redis_client()
    if client is None:
        return
    try:
        client.publish(name, text)
    except RedisError:
        logger.warning("Redis is away: no player was told: %s", text)
