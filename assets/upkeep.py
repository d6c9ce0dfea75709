"""What is done in every tenant once an hour: going on with what was left, removing what is old.

Called by the worker (assets.tasks).
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import connection
from django.utils import timezone

from assets.backup import expire_backups
from assets.playback import PRUNED_AT_ONCE, prune_playback
from assets.restoring import expire_restores
from assets.tasks import queue_download, queue_understanding
from assets.upload_upkeep import expire_uploads
from rls import acting_as
from tenancy.idempotency import EXPIRED_AT_ONCE, expire_answers

if TYPE_CHECKING:
    from tenancy.actors import Actor

logger = logging.getLogger(__name__)

STUCK_AFTER = timedelta(hours=1)
AT_ONCE = 500

# An import may bring assets that Anthias was working on; without a file, or an address to fetch one
# from, there is nothing to go on with. The queue shows this tenant's jobs only.
_STUCK = """
SELECT id, media_path <> '' FROM assets
WHERE tenant_id = %s AND processing_status IN ('pending', 'processing') AND updated_at < %s
  AND (media_path <> '' OR is_processing AND metadata ->> 'source_url' <> '')
  AND NOT EXISTS (
    SELECT FROM procrastinate_jobs
    WHERE status IN ('todo', 'doing') AND args ->> 'asset' = assets.id::text)
ORDER BY updated_at LIMIT %s
"""


def clean_up(*, actor: Actor) -> None:
    """Do all of it, each part in a door of its own."""
    go_on(actor=actor)
    prune(actor=actor)
    expire_uploads(actor=actor)
    expire(actor=actor)
    forget_answers(actor=actor)


def go_on(*, actor: Actor) -> None:
    """Queue again what has been in progress for an hour and has no job any more."""
    with acting_as(actor):
        with connection.cursor() as cursor:
            cursor.execute(_STUCK, [actor.entered(), timezone.now() - STUCK_AFTER, AT_ONCE])
            stuck = cursor.fetchall()
        queue_understanding(actor=actor, assets=[key for key, has_file in stuck if has_file])
        for key, has_file in stuck:
            if not has_file:
                queue_download(actor=actor, asset=key)
    if stuck:
        logger.warning("%d assets were in progress with nobody at work on them", len(stuck))


def prune(*, actor: Actor) -> None:
    """Forget old proof of play, in as many short transactions as it takes."""
    most = PRUNED_AT_ONCE
    while most >= PRUNED_AT_ONCE:
        with acting_as(actor):
            most = max(prune_playback(actor=actor, now=timezone.now()))


def expire(*, actor: Actor) -> None:
    """Remove backups, and what restores replaced, when their week is over."""
    with acting_as(actor):
        expire_backups(actor=actor, now=timezone.now())
        expire_restores(actor=actor, now=timezone.now())


def forget_answers(*, actor: Actor) -> None:
    """Forget what writes under an Idempotency-Key answered a day ago."""
    most = EXPIRED_AT_ONCE
    while most >= EXPIRED_AT_ONCE:
        with acting_as(actor):
            most = expire_answers(actor=actor, now=timezone.now())
