"""Uploads that nobody will finish, and files that no upload has: finding and removing them.

Called by the worker's hourly clean-up, and by the command storage_audit. What somebody is writing
to is left alone, and so is what is young: a file is there before the row that names it commits.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from assets import staging
from assets.models import Asset, Upload
from assets.storage import is_key_of
from assets.uploads import forget
from rls import acting_as
from tenancy.actors import operator
from tenancy.tenants import is_active_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from assets.staging import Staged
    from tenancy.actors import Actor

logger = logging.getLogger("signate.uploads")

# Longer than any transaction and any request that has just begun.
GRACE = timedelta(hours=1)


def expire_uploads(*, actor: Actor) -> int:
    """Remove the tenant's uploads that have had their time, with their files; return how many.

    Files of the tenant's staging folder that no upload has go too. Call it outside of every door.
    """
    tenant_id = actor.entered()
    with acting_as(actor, read_only=True):
        late = list(
            Upload.objects.filter(tenant_id=tenant_id, expires_at__lt=timezone.now())
            .order_by("expires_at")
            .values_list("pk", flat=True)
        )
    count = 0
    for upload in late:
        if staging.is_in_use(staging.part_path(tenant_id, upload)):
            continue
        with acting_as(actor):
            # Somebody may have gone on with it just now.
            if not Upload.objects.filter(pk=upload, expires_at__lt=timezone.now()).exists():
                continue
            forget(actor, upload)
        staging.remove(tenant_id, upload, is_stored=False)
        count += 1
    for orphan in list(_orphans(tenant_id, grace=GRACE)):
        remove_orphan(orphan)
    if count:
        logger.info("%s uploads expired", count)
    return count


def staged_orphans(*, tenant_id: UUID | None = None, grace: timedelta = GRACE) -> Iterator[Staged]:
    """Yield files of the staging folder that no upload has, those younger than `grace` aside.

    Of one tenant, or of all there are files of, whether they exist or not.
    """
    owners = [tenant_id] if tenant_id else sorted({one.tenant_id for one in staging.staged()})
    for owner in owners:
        yield from _orphans(owner, grace=grace)


def remove_orphan(orphan: Staged) -> None:
    """Remove such a file, and what the storage has of it unless an asset names that."""
    key = staging.noted_key(orphan.tenant_id, orphan.upload_id)
    is_stored = bool(key) and _is_named(orphan.tenant_id, key)
    staging.remove(orphan.tenant_id, orphan.upload_id, is_stored=is_stored)


def _orphans(tenant_id: UUID, *, grace: timedelta) -> Iterator[Staged]:
    deadline = timezone.now() - grace
    # Files first: what came since has a row that came since.
    files = [
        one
        for one in staging.staged(tenant_id=tenant_id)
        if not staging.is_younger(one, deadline) and not staging.is_in_use(one.path)
    ]
    if not files:
        return
    known: set[UUID] = set()
    if is_active_tenant(tenant_id) is not None:
        with acting_as(operator(tenant_id), read_only=True):
            ids = {one.upload_id for one in files}
            known = set(Upload.objects.filter(pk__in=ids).values_list("pk", flat=True))
    yield from (one for one in files if one.upload_id not in known)


def _is_named(tenant_id: UUID, key: str) -> bool:
    if is_active_tenant(tenant_id) is None:
        return False
    with acting_as(operator(tenant_id), read_only=True):
        rows = Asset.objects.filter(tenant_id=tenant_id, media_path=key)
        return any(is_key_of(key, tenant_id, row) for row in rows.values_list("pk", flat=True))
