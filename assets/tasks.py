"""Declares every background job about assets, and which of them are done again and again.

Imported by whatever queues one and by the worker. Declarations only: what a job does is imported
when it runs, so that web processes do not carry it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from tenancy.jobs import enqueue, enqueue_each, for_every_tenant, tenant_task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenancy.actors import Actor

# Old clients read what they have just made, and expect it to be as they made it.
LATER = timedelta(seconds=5)


def _could_not_understand(*, actor: Actor, asset: str, error: Exception) -> None:
    from assets import processing

    processing.give_up(actor=actor, asset=UUID(asset), error=error)


def _could_not_download(*, actor: Actor, asset: str, error: Exception) -> None:
    from assets import downloads

    downloads.give_up(actor=actor, asset=UUID(asset), error=error)


@tenant_task("assets.understand_media", when_dead=_could_not_understand)
def understand_media(*, actor: Actor, asset: str) -> None:
    """Find out what an asset's file is (assets.processing)."""
    from assets import processing

    processing.understand_media(actor=actor, asset=UUID(asset))


@tenant_task("assets.download_remote", when_dead=_could_not_download)
def download_remote(*, actor: Actor, asset: str) -> None:
    """Fetch the remote file that an asset is to become (assets.downloads)."""
    from assets import downloads

    downloads.download_remote(actor=actor, asset=UUID(asset))


@tenant_task("assets.check_reachability")
def check_reachability(*, actor: Actor, asset: str) -> None:
    """See whether an asset's address answers (assets.reachability)."""
    from assets import reachability

    reachability.check_reachability(actor=actor, asset=UUID(asset))


@tenant_task("assets.sweep_reachability")
def sweep_reachability(*, actor: Actor) -> None:
    """See whether the addresses that were not looked at for longest still answer."""
    from assets import reachability

    reachability.sweep_reachability(actor=actor)


@tenant_task("assets.clean_up")
def clean_up(*, actor: Actor) -> None:
    """Remove what has had its time, and go on with what was forgotten."""
    from assets import upkeep

    upkeep.clean_up(actor=actor)


@tenant_task("assets.purge_tenant", also_suspended=True)
def purge_tenant(*, actor: Actor) -> None:
    """Delete a tenant whose time is over (assets.purging)."""
    from assets import purging

    purging.purge_tenant(actor=actor)


for_every_tenant(purge_tenant, cron="7 * * * *", of="tenants_to_purge")
for_every_tenant(sweep_reachability, cron="*/5 * * * *")
for_every_tenant(clean_up, cron="37 * * * *")


def queue_understanding(*, actor: Actor, assets: Iterable[UUID]) -> None:
    """Have the files of these assets of the actor's tenant understood, after the commit."""
    enqueue_each(
        understand_media,
        actor=actor,
        jobs={_lock(asset): {"asset": str(asset)} for asset in assets},
    )


def queue_understanding_later(*, actor: Actor, asset: UUID) -> None:
    """Have the file of an asset understood some seconds after the commit."""
    enqueue(understand_media, actor=actor, lock=_lock(asset), wait=LATER, asset=str(asset))


def queue_download(*, actor: Actor, asset: UUID, wait: timedelta | None = None) -> None:
    """Have the remote file of an asset fetched, after the commit and after `wait`."""
    enqueue(download_remote, actor=actor, lock=_lock(asset), wait=wait, asset=str(asset))


def queue_check(*, actor: Actor, asset: UUID) -> None:
    """Have the address of an asset looked at, after the commit."""
    enqueue(check_reachability, actor=actor, lock=f"check:{asset}", asset=str(asset))


def _lock(asset: UUID) -> str:
    """Return what makes the jobs on one asset's file come one after the other."""
    return f"asset:{asset}"
