"""When a member was last there: kept to the minutes, without a write for each request.

Called by tenancy.middleware after a request is answered, outside of its transaction.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.cache import cache
from django.db import InterfaceError, OperationalError, connection

from rls import acting_as
from tenancy.actors import ActorKind

if TYPE_CHECKING:
    from tenancy.actors import Actor

logger = logging.getLogger("signate.visits")

# Skipped while somebody holds the row: the next visit will do, and nobody waits for this.
_VISITED = """
UPDATE tenant_users SET last_access = now() WHERE id = (
  SELECT id FROM tenant_users WHERE tenant_id = %s AND id = %s FOR NO KEY UPDATE SKIP LOCKED)
"""


def note_visit(actor: Actor) -> None:
    """Keep that the actor, a member, was there: once in LAST_ACCESS_SECONDS; never when that is 0.

    Never raises for a cache or a database that is away: then it is not kept.
    """
    every = settings.LAST_ACCESS_SECONDS
    if actor.kind is not ActorKind.MEMBER or actor.membership_id is None or not every:
        return
    if not cache.add(f"visited:{actor.tenant_id}:{actor.membership_id}", 1, every):
        return
    try:
        with acting_as(actor), connection.cursor() as cursor:
            cursor.execute(_VISITED, [actor.tenant_id, actor.membership_id])
    except (OperationalError, InterfaceError) as error:
        logger.warning("a visit was not kept: %s", type(error).__name__)
