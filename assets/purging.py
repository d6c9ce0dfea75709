"""Takes a tenant apart whose time is over: files, then rows, then what Redis holds.

Called by the worker (assets.tasks), as often as it takes: each part can be done again, and the row
of the tenant, which is what says that there is something to do, goes last.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.files.storage import default_storage

from assets.storage import media_storage, tenant_prefix
from tenancy.deletion import forget_keys, purge_rows, shut

if TYPE_CHECKING:
    from tenancy.actors import Actor


def purge_tenant(*, actor: Actor) -> None:
    """Delete the worker's tenant with all that it has; does nothing before its time is over."""
    tenant_id = actor.entered()
    if not shut(actor=actor):
        return
    for entry in list(media_storage().walk(tenant_prefix(tenant_id))):
        default_storage.delete(entry.key)
    shutil.rmtree(Path(settings.UPLOAD_DIR, str(tenant_id)), ignore_errors=True)
    purge_rows(actor=actor)
    forget_keys(tenant_id)
