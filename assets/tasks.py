"""Declares the background jobs about assets.

Imported by whatever queues one and by the worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenancy.jobs import enqueue, tenant_task

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from tenancy.actors import Actor


@tenant_task("assets.understand_media")
def understand_media(*, actor: Actor, **arguments: Any) -> None:
    """Find out what an asset's file is."""
    raise NotImplementedError(actor, arguments)


def queue_understanding(*, actor: Actor, assets: Iterable[UUID]) -> None:
    """Have the files of these assets of the actor's tenant understood, after the commit."""
    for asset in assets:
        enqueue(understand_media, actor=actor, lock=f"asset:{asset}", asset=str(asset))
