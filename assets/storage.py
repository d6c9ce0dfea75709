"""Where an asset's file lies: Django's default storage, under a key that starts with the tenant.

Called by whatever writes or removes media. Never given a path of the server or a name from
outside: `media_key` makes every key, and only the last part of a file's name goes into it.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from django.core.files.storage import default_storage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

logger = logging.getLogger(__name__)

_LONGEST_NAME = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def media_key(tenant_id: UUID, asset_id: UUID, file_name: str) -> str:
    """Return `t/<tenant>/<asset>/<name>`, with a name that is safe in every file system.

    `asset_id` is the asset's primary key. What is not a letter, digit, dot, hyphen or underscore
    becomes an underscore; the end of a long name, which has the extension, is what is kept.
    """
    last = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    safe = _UNSAFE.sub("_", last)[-_LONGEST_NAME:].lstrip(".") or "file"
    return f"t/{tenant_id}/{asset_id}/{safe}"


def delete_media(keys: Iterable[str]) -> None:
    """Remove files and the folders they leave empty; a file that resists is logged and left.

    Call it after the transaction that forgot the keys has committed, never inside.
    """
    for key in keys:
        try:
            default_storage.delete(key)
        except OSError as error:
            logger.warning("The file %s could not be removed: %s", key, error)
            continue
        try:
            # A storage without folders has nothing of that name, which is no error there either.
            default_storage.delete(key.rpartition("/")[0])
        except OSError:
            continue
