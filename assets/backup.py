"""Backups: the tenant's library as an archive in Anthias's layout, made, kept and removed (A9).

Called by every face. An archive has the assets and their files, and settings without secrets;
never an account. It is kept in the storage for a week, under a key of its own, and counts against
the tenant's storage.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from contextlib import closing
from datetime import UTC, timedelta
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, TextIO

from django.db import connection, transaction
from django.utils import timezone

from assets import anthias_files as anthias
from assets.models import Asset, Backup
from assets.player_settings import defaults_of
from assets.storage import backup_key, delete_media, media_storage, store_file
from assets.workspaces import workspace
from rls import acting_as
from tenancy.audit import listed, record, taken
from tenancy.errors import NotFound
from tenancy.limits import within_quota
from tenancy.models import TenantSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from assets.storage import Body, StoredFile
    from tenancy.actors import Actor

    Settings = Mapping[str, str | int | bool]

KEPT_FOR = timedelta(days=7)
# SPEC section 6: what an archive is called when the player has no name.
DEFAULT_NAME = "anthias-backup"
# Who may sign in at an Anthias box is none of a library's business.
ACCOUNT_SETTINGS = frozenset({"auth_backend", "username"})
PERMISSION = "assets.import"

_SAFE_FILE = re.compile(r"[A-Za-z0-9._-]{1,200}\Z")
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|]+')
_COLUMNS = (
    *("id", "asset_id", "name", "uri", "md5", "start_date", "end_date", "duration", "mimetype"),
    *("is_enabled", "is_processing", "nocache", "play_order", "skip_asset_check", "is_reachable"),
    *("last_reachability_check", "play_days", "play_time_from", "play_time_to", "metadata"),
    *("legacy_metadata", "skip_ssl_verify", "media_path", "file_size", "tags", "description"),
)


def create_backup(
    *,
    actor: Actor,
    settings: Settings | None = None,
    then: Callable[[Backup], object] | None = None,
) -> Backup:
    """Make an archive of the actor's tenant as it is now, keep it for a week, and return its row.

    Call it outside of every door where files are many: the rows are read in one short one. A file
    that is not there is left out and named in `missing`. `settings` are Anthias's, over those that
    the tenant has; the archive is named after their `player_name`. `then` is called with the row
    in its transaction. Raises PermissionDenied without assets.import, QuotaExceeded when there is
    no room for it, OSError when the storage refuses.
    """
    tenant_id = actor.require(PERMISSION)
    now = timezone.now()
    with workspace() as folder:
        target = folder / "backup.tar.gz"
        with target.open("w+b") as file:
            made = write_backup(file, actor=actor, folder=folder, settings=settings)
            size = file.tell()
        backup = Backup(
            tenant_id=tenant_id,
            size=size,
            assets=made.assets,
            files=made.files,
            missing=made.missing,
            created_by_id=actor.user_id,
            created_at=now,
            expires_at=now + KEPT_FOR,
        )
        with acting_as(actor):
            backup.name = _free_name(tenant_id, made.player_name, now)
            with within_quota():
                backup.save(force_insert=True)
            key = backup_key(tenant_id, backup.pk)
            if then is not None:
                # Before the file, which no transaction takes back.
                then(backup)
            store_file(key, target, replace=True)
            record(
                actor,
                "backup.created",
                subject="Backup",
                subject_id=backup.pk,
                label=backup.name,
                after=taken(backup, ("size", "assets", "files")),
            )
    return backup


class Contents:
    """What went into an archive, and the names of the files that were not there."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.player_name = ""
        self.assets = 0
        self.files = 0
        self.missing: list[str] = []


def write_backup(
    file: IO[bytes], *, actor: Actor, folder: Path, settings: Settings | None = None
) -> Contents:
    """Write an archive of the actor's tenant to `file`; `folder` is for work in between.

    Raises PermissionDenied without assets.import.
    """
    actor.require(PERMISSION)
    contents = Contents()
    database = folder / anthias.DATABASE
    own = folder / anthias.OWN
    with acting_as(actor), own.open("w", encoding="utf-8") as lines:
        names = _Names(lines)
        # One moment: the one statement that reads the assets is one, settings may be of another.
        known = {**_settings(actor), **(settings or {})}
        contents.assets = anthias.write_database(database, names.of(_assets(actor)))
    contents.player_name = str(known.get("player_name", ""))
    now = timezone.now()
    # Anthias reads any level, and media does not get smaller.
    with (
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        archive.addfile(_member(anthias.SETTINGS_FOLDER, now, folder=True))
        conf = anthias.conf_text(known).encode()
        _add(archive, f"{anthias.SETTINGS_FOLDER}/{anthias.CONF}", conf, now)
        _add_file(archive, f"{anthias.SETTINGS_FOLDER}/{anthias.DATABASE}", database, now)
        archive.addfile(_member(f"{anthias.SETTINGS_FOLDER}/backups", now, folder=True))
        listed = anthias.default_assets_text().encode()
        _add(archive, f"{anthias.SETTINGS_FOLDER}/{anthias.DEFAULT_ASSETS}", listed, now)
        if names.has_own:
            _add_file(archive, f"{anthias.SETTINGS_FOLDER}/{anthias.OWN}", own, now)
        archive.addfile(_member(anthias.MEDIA_FOLDER, now, folder=True))
        for name, key in sorted(names.files.items()):
            try:
                stored = media_storage().read(key)
            except FileNotFoundError:
                contents.missing.append(name)
                continue
            with closing(stored):
                member = _member(f"{anthias.MEDIA_FOLDER}/{name}", stored.modified)
                member.size = stored.size
                with closing(_Reader(stored)) as reader:
                    archive.addfile(member, reader)
            contents.files += 1
    return contents


def open_backup(*, actor: Actor, name: str) -> tuple[Backup, StoredFile]:
    """Return the backup of that name and its file, to be closed by the caller.

    Raises PermissionDenied without assets.import; NotFound when the tenant has none of that name.
    """
    tenant_id = actor.require(PERMISSION)
    with acting_as(actor):
        backup = Backup.objects.filter(
            tenant_id=tenant_id, name=name, expires_at__gt=timezone.now()
        ).first()
    if backup is None:
        raise NotFound("There is no backup of this name.", field=("name",))
    try:
        return backup, media_storage().read(backup_key(tenant_id, backup.pk))
    except FileNotFoundError:
        raise NotFound("There is no backup of this name.", field=("name",)) from None


@transaction.atomic
def delete_backup(*, actor: Actor, backup: UUID) -> None:
    """Remove a backup; its file goes after the commit.

    Raises PermissionDenied without assets.import, NotFound.
    """
    tenant_id = actor.require(PERMISSION)
    row = Backup.objects.select_for_update().filter(tenant_id=tenant_id, pk=backup).first()
    if row is None:
        raise NotFound("There is no backup with this id.", field=("id",))
    before = taken(row, ("size", "assets", "files"))
    row.delete()
    record(
        actor, "backup.deleted", subject="Backup", subject_id=backup, label=row.name, before=before
    )
    transaction.on_commit(lambda: delete_media([backup_key(tenant_id, backup)]), robust=True)


def expire_backups(*, actor: Actor, now: datetime) -> int:
    """Remove the backups whose week is over and return how many; inside the worker's door."""
    tenant_id = actor.entered()
    rows = Backup.objects.select_for_update(skip_locked=True).filter(
        tenant_id=tenant_id, expires_at__lte=now
    )
    keys = list(rows.values_list("pk", flat=True))
    Backup.objects.filter(pk__in=keys).delete()
    if keys:
        record(actor, "backup.expired", subject="Backup", before=listed(keys))
    files = [backup_key(tenant_id, key) for key in keys]
    transaction.on_commit(lambda: delete_media(files), robust=True)
    return len(keys)


def _settings(actor: Actor) -> dict[str, str | int | bool]:
    """Return what the tenant's players want, by Anthias's names; nothing of accounts."""
    row = TenantSettings.objects.get(tenant_id=actor.entered())
    known = {**defaults_of(row), "timezone": row.timezone}
    return {name: value for name, value in known.items() if name not in ACCOUNT_SETTINGS}


def _assets(actor: Actor) -> Iterator[dict[str, Any]]:
    """Yield the tenant's assets in the order they were made, as they are at one moment."""
    rows = Asset.objects.filter(tenant_id=actor.entered()).order_by("pk")
    yield from rows.values(*_COLUMNS).iterator(chunk_size=1000)


class _Names:
    """What each asset's file is called in the archive: as its uri says, where that is a name."""

    def __init__(self, own: TextIO) -> None:
        self.files: dict[str, str] = {}
        self.has_own = False
        self._own = own
        self._contents: dict[str, tuple[str | None, int | None]] = {}

    def of(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the rows as Anthias has them; note the files they name, and what it has not."""
        for row in rows:
            if row["tags"] or row["description"]:
                self.has_own = True
                kept = {name: row[name] for name in ("asset_id", "tags", "description")}
                self._own.write(json.dumps(kept) + "\n")
            if row["legacy_metadata"] is not None:
                row["metadata"] = row["legacy_metadata"]
            if row["media_path"]:
                row["uri"] = f"{anthias.MEDIA_PATH}/{self._name(row)}"
            yield row

    def _name(self, row: dict[str, Any]) -> str:
        uri = row["uri"] or ""
        wanted = uri.rpartition("/")[2] if uri.startswith("/") else ""
        suffix = PurePosixPath(row["media_path"]).suffix
        content = (row["md5"], row["file_size"])
        for name in (wanted, f"{row['asset_id']}{suffix}", f"{row['id'].hex}{suffix}"):
            if not _SAFE_FILE.match(name) or name.startswith("."):
                continue
            # Rows of Anthias may share a file; here each has a copy of its own.
            if name not in self.files or (row["md5"] and self._contents[name] == content):
                self.files.setdefault(name, row["media_path"])
                self._contents.setdefault(name, content)
                return name
        raise AssertionError("two assets with one key")


class _Reader(io.RawIOBase):
    """A stored file as tarfile reads: exactly as many bytes as it asks for."""

    def __init__(self, stored: StoredFile) -> None:
        super().__init__()
        self._body: Body = stored.body(0, stored.size)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        parts, length = [self._rest], len(self._rest)
        while length < size:
            chunk = next(self._body, b"")
            if not chunk:
                break
            parts.append(chunk)
            length += len(chunk)
        found = b"".join(parts)
        found, self._rest = found[:size], found[size:]
        return found

    def close(self) -> None:
        self._body.close()
        super().close()


def _member(name: str, modified: datetime, *, folder: bool = False) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
    member.mode = 0o755 if folder else 0o644
    member.mtime = int(modified.timestamp())
    return member


def _add(archive: tarfile.TarFile, name: str, content: bytes, modified: datetime) -> None:
    member = _member(name, modified)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _add_file(archive: tarfile.TarFile, name: str, path: Path, modified: datetime) -> None:
    member = _member(name, modified)
    member.size = path.stat().st_size
    with path.open("rb") as file:
        archive.addfile(member, file)


def _free_name(tenant_id: UUID, player_name: str, now: datetime) -> str:
    """Return `<player>-<moment>.tar.gz` in UTC, a second later for each backup of that name."""
    player = _NOT_IN_NAMES.sub("_", " ".join(player_name.split()))[:100].lstrip(".")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{tenant_id}:backup"]
        )
    while True:
        name = f"{player or DEFAULT_NAME}-{now.astimezone(UTC):%Y-%m-%dT%H-%M-%S}.tar.gz"
        if not Backup.objects.filter(tenant_id=tenant_id, name=name).exists():
            return name
        now += timedelta(seconds=1)
