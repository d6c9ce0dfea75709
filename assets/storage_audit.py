"""Rows without their file, and files without a row: finding them, and putting them right.

Called by the command storage_audit. Looks at the default storage, and at the staging folder of
uploads. What is young is left alone: a file is there before the row that names it is committed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from django.core.files.storage import default_storage
from django.db import connections, transaction
from django.utils import timezone

from assets.auditing import record_asset
from assets.models import Asset, Backup, ProcessingStatus
from assets.replaced import kept_keys
from assets.storage import (
    ROOT,
    backup_key,
    delete_media,
    is_key_of,
    media_keys,
    media_storage,
    tenant_prefix,
    thumbnail_key,
)
from assets.upload_upkeep import remove_orphan, staged_orphans
from rls import acting_as
from tenancy.actors import operator
from tenancy.tenants import is_active_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import timedelta

    from assets.staging import Staged
    from assets.storage import Listed


class Kind(StrEnum):
    """What is wrong."""

    LOST_FILE = "lost-file"  # a row names a file that is not there
    LOST_THUMBNAIL = "lost-thumbnail"  # the same of its small picture
    ORPHAN = "orphan"  # a file that no row names
    STAGED_ORPHAN = "staged-orphan"  # bytes on their way in that no upload has any more


@dataclass(slots=True)
class Finding:
    """One thing that is wrong; `asset` is a row's key, `size` a file's bytes."""

    kind: Kind
    key: str
    tenant_id: UUID | None
    asset: UUID | None = None
    size: int | None = None
    staged: Staged | None = None
    repaired: bool = False

    def as_json(self) -> dict[str, object]:
        """Return it as a report has it."""
        return {
            "kind": self.kind.value,
            "key": self.key,
            "tenant": str(self.tenant_id) if self.tenant_id else None,
            "asset": str(self.asset) if self.asset else None,
            "size": self.size,
            "repaired": self.repaired,
        }


def tenants_with_files() -> Iterator[UUID]:
    """Yield the id of every tenant that files lie under, whether it exists or not."""
    folders: list[str] = []
    with suppress(FileNotFoundError):
        folders, _ = default_storage.listdir(ROOT)
    for name in sorted(folders):
        tenant_id = _as_id(name)
        if tenant_id is not None:
            yield tenant_id


def registered_tenants() -> list[UUID]:
    """Return the id of every tenant, as the maintenance role sees them.

    Only where `DATABASE_OWNER_URL` is set: the application's role finds a tenant by an exact key.
    """
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT id FROM tenants ORDER BY id")
        return [tenant_id for (tenant_id,) in cursor.fetchall()]


def audit_tenant(tenant_id: UUID, *, grace: timedelta) -> Iterator[Finding]:
    """Yield what is wrong with a tenant's files; those younger than `grace` are no orphans."""
    deadline = timezone.now() - grace
    # Files first: a row that came since names a file that came since, and those are looked up.
    files = {one.key: one for one in media_storage().walk(tenant_prefix(tenant_id))}
    rows = _rows(tenant_id)
    yield from _lost(tenant_id, rows, files)
    named = {key for row in rows for key in row.keys} | _kept(tenant_id)
    for key, file in files.items():
        if key not in named and file.modified < deadline:
            yield Finding(Kind.ORPHAN, key, tenant_id, size=file.size)


def audit_strays(*, grace: timedelta) -> Iterator[Finding]:
    """Yield files that lie under no tenant's id."""
    deadline = timezone.now() - grace
    for file in media_storage().walk(f"{ROOT}/"):
        if _as_id(file.key.split("/")[1]) is None and file.modified < deadline:
            yield Finding(Kind.ORPHAN, file.key, None, size=file.size)


def audit_staging(tenant_id: UUID | None, *, grace: timedelta) -> Iterator[Finding]:
    """Yield what lies in the staging folder without an upload: of one tenant, or of all."""
    for one in staged_orphans(tenant_id=tenant_id, grace=grace):
        yield Finding(Kind.STAGED_ORPHAN, one.path.name, one.tenant_id, size=one.size, staged=one)


def repair(finding: Finding) -> None:
    """Put one finding right and note that in it.

    An orphan is deleted. A row whose file is lost says so (`failed`, with a message) and names it
    no more; one whose thumbnail is lost has none. Raises OSError when the storage refuses.
    """
    if finding.kind is Kind.ORPHAN:
        default_storage.delete(finding.key)
    elif finding.staged is not None:
        remove_orphan(finding.staged)
    elif finding.tenant_id and finding.asset:
        _forget(finding, finding.tenant_id, finding.asset)
    finding.repaired = True


@dataclass(frozen=True, slots=True)
class _Row:
    asset: UUID
    media_path: str
    has_thumbnail: bool
    keys: tuple[str, ...]


def _rows(tenant_id: UUID, *assets: UUID) -> list[_Row]:
    """Return the tenant's rows that name files, or those of `assets` among them."""
    if is_active_tenant(tenant_id) is None:
        return []
    with acting_as(operator(tenant_id), read_only=True):
        rows = Asset.objects.filter(tenant_id=tenant_id).exclude(media_path="", thumbnail_url="")
        if assets:
            rows = rows.filter(pk__in=assets)
        return [
            _Row(key, path, bool(thumbnail), media_keys(tenant_id, key, path, thumbnail))
            for key, path, thumbnail in rows.values_list("pk", "media_path", "thumbnail_url")
        ]


def _kept(tenant_id: UUID) -> set[str]:
    """Return the keys of the tenant's backups and of what its restores replaced."""
    if is_active_tenant(tenant_id) is None:
        return set()
    with acting_as(operator(tenant_id), read_only=True):
        backups = Backup.objects.filter(tenant_id=tenant_id).values_list("pk", flat=True)
        return {*kept_keys(tenant_id), *(backup_key(tenant_id, key) for key in backups)}


def _lost(tenant_id: UUID, rows: Iterable[_Row], files: dict[str, Listed]) -> list[Finding]:
    """Return what rows name and is not there, still, when both are looked at again."""

    def is_there(key: str, asset: UUID) -> bool:
        if not is_key_of(key, tenant_id, asset):
            return False
        return key in files or default_storage.exists(key)

    lost = {(row.asset, key) for row in rows for key in row.keys if not is_there(key, row.asset)}
    if not lost:
        return []
    found = []
    for row in _rows(tenant_id, *{asset for asset, _ in lost}):
        for key in row.keys:
            if (row.asset, key) in lost:
                kind = Kind.LOST_FILE if key == row.media_path else Kind.LOST_THUMBNAIL
                found.append(Finding(kind, key, tenant_id, row.asset))
    return found


def _forget(finding: Finding, tenant_id: UUID, asset: UUID) -> None:
    with acting_as(operator(tenant_id)) as actor:
        row = Asset.objects.select_for_update().filter(pk=asset).first()
        if row is None or finding.key not in media_keys(
            row.tenant_id, row.pk, row.media_path, row.thumbnail_url
        ):
            return
        changed = ["thumbnail_url"]
        if finding.kind is Kind.LOST_FILE:
            known = row.metadata if isinstance(row.metadata, dict) else {}
            name = finding.key.rpartition("/")[2]
            message = f"The file {name} is missing from the storage. Upload it again."
            row.metadata = {**known, "error_message": message}
            row.processing_status = ProcessingStatus.FAILED
            row.media_path, row.file_size = "", None
            changed += ["metadata", "processing_status", "media_path", "file_size"]
            if row.thumbnail_url:
                thumbnail = thumbnail_key(row.tenant_id, row.pk)
                transaction.on_commit(lambda: delete_media([thumbnail]))
        row.thumbnail_url = ""
        row.updated_by_id, row.updated_at = actor.user_id, timezone.now()
        row.save(update_fields=[*changed, "updated_by", "updated_at"])
        record_asset(actor, "asset.file_lost", row, before={"file": finding.key})


def _as_id(name: str) -> UUID | None:
    try:
        tenant_id = UUID(name)
    except ValueError:
        return None
    return tenant_id if str(tenant_id) == name else None
