"""Restores: an archive takes the place of the tenant's library, can be undone, and is forgotten.

Called by every face. Reads archives of Anthias and Screenly of every era, and nothing of them but
the database, the settings and the files that its rows name, each into a file of our own naming. No
account is read, no setting of who may enter, and nothing outside of the actor's tenant is written.
What a restore replaces stays until it is undone, forgotten, or a week is over.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from assets import replaced
from assets.anthias_database import AnthiasRow, NotAnAnthiasDatabase, open_database
from assets.anthias_files import MAX_CONF_BYTES, OWN, SETTINGS_FOLDER, read_conf
from assets.archives import Archive, InvalidArchive, Kind, Limits
from assets.backup import open_backup
from assets.import_media import MediaFolder
from assets.importing import delete_imported, import_restored, lock_tenant, tell_failure
from assets.library import clean_description
from assets.models import Backup, ImportRun, Restore
from assets.restored_settings import take_back, take_over
from assets.storage import delete_media
from assets.workspaces import workspace
from rls import acting_as
from tenancy.audit import listed, record
from tenancy.errors import Conflict, InvalidInput, NotFound, QuotaExceeded
from tenancy.events import Event, publish
from tenancy.limits import quota_refusal, storage_left, within_quota
from tenancy.models import TenantUsage
from tenancy.tags import clean_tags
from tenancy.tenants import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from uuid import UUID

    from assets.anthias_database import AnthiasDatabase
    from assets.archives import Member
    from assets.import_report import ImportReport
    from assets.storage import StoredFile
    from tenancy.actors import Actor

KEPT_FOR = timedelta(days=7)
LIMITS = Limits()
MAX_DATABASE_BYTES = 256 * 1024 * 1024
MAX_OWN_BYTES = 64 * 1024 * 1024
MAX_OWN_LINE = 100_000
MAX_NOTES = 100

# The folder of settings, its files, and the folder of media: of today, and of before the renaming.
_LAYOUTS = (
    (".anthias", ("anthias.db", "screenly.db"), "anthias.conf", "anthias_assets"),
    (".screenly", ("screenly.db", "anthias.db"), "screenly.conf", "screenly_assets"),
)
_LOG = "-wal"
# What Anthias keeps there and nobody misses.
_EXPECTED = frozenset({".anthias/default_assets.yml", ".screenly/default_assets.yml"})


class InvalidBackup(InvalidInput):
    """It is no backup of Anthias, or one that cannot be read; the message says why."""

    def __init__(self, reason: str) -> None:
        """Say what such an archive is."""
        super().__init__(
            f"This is no usable backup: {reason[:1].lower()}{reason[1:]}. Give a gzipped tar "
            "archive with .anthias/anthias.db and the folder anthias_assets/, as Anthias makes it.",
            field=("file",),
        )


def restore_archive(
    file: IO[bytes],
    *,
    actor: Actor,
    source: str,
    keep: bool = True,
    limits: Limits = LIMITS,
    then: Callable[[Restore], object] | None = None,
) -> Restore:
    """Put the library of the archive in `file` in the place of the actor's tenant's.

    All of it or nothing: a row that cannot be stored is left out and noted, anything else undoes
    the whole. With `keep` off nothing of what was there stays. `then` is called with the row in its
    transaction. Raises PermissionDenied without assets.import and assets.delete, InvalidBackup,
    QuotaExceeded when the plan has no room for what comes beside what is kept, OSError when the
    storage refuses.
    """
    actor.require("assets.delete")
    tenant_id = actor.require("assets.import")
    with workspace() as folder:
        reading = _Reading(file, folder, limits)
        reading.read_settings()
        with acting_as(actor):
            room = storage_left(tenant_id)
            if not keep:
                used = TenantUsage.objects.filter(tenant_id=tenant_id).first()
                room += used.bytes if used else 0
        with reading.opened() as library:
            wanted = {
                name
                for row in library.rows()
                if isinstance(row, AnthiasRow) and (name := _file_of(row.uri))
            }
            files = reading.read_media(wanted, room)
            media = MediaFolder(None, copying=True, files=files)
            run: ImportRun | None = None
            try:
                with acting_as(actor):
                    lock_tenant(tenant_id)
                    restore, old = _begin(actor, source, library, reading, keep=keep)
                    run = restore.run
                    report = import_restored(library, media, actor=actor, run=restore.run)
                    _finish(restore, report, reading, actor=actor)
                    if then is not None:
                        then(restore)
                    transaction.on_commit(lambda: delete_media(old), robust=True)
            except BaseException:
                media.take_back()
                if run is not None:
                    tell_failure(run, actor=actor)
                raise
    return restore


def restore_backup(backup: UUID, *, actor: Actor, keep: bool = True) -> Restore:
    """Restore one of the tenant's own backups; raises as `restore_archive` does, and NotFound."""
    tenant_id = actor.require("assets.import")
    with acting_as(actor):
        row = Backup.objects.filter(tenant_id=tenant_id, pk=backup).first()
    if row is None:
        raise NotFound("There is no backup with this id.", field=("backup_id",))
    _, stored = open_backup(actor=actor, name=row.name)
    # What comes from a bucket cannot be sought in.
    with workspace() as folder, (folder / "backup.tar.gz").open("w+b") as file:
        _copy(stored, file)
        return restore_archive(file, actor=actor, source=row.name, keep=keep)


def undo_restore(restore: UUID, *, actor: Actor) -> Restore:
    """Put back what a restore replaced, byte for byte, and remove what it made.

    Settings come back too where the actor may change them. Assets that were made since stay.
    Raises PermissionDenied without assets.import and assets.delete; NotFound; Conflict when it is
    undone, forgotten or expired, when a later restore stands on it, or when something has taken a
    place; QuotaExceeded.
    """
    actor.require("assets.delete")
    tenant_id = actor.require("assets.import")
    with acting_as(actor):
        lock_tenant(tenant_id)
        row = _locked(tenant_id, restore)
        _require_kept(row)
        later = Restore.objects.filter(
            tenant_id=tenant_id, created_at__gt=row.created_at, undone_at=None
        ).order_by("created_at")
        if (first := later.first()) is not None:
            raise Conflict(
                f"The restore {first.pk} came later and replaced what this one made. Undo that one "
                "first.",
                field=("id",),
            )
        deleted, media = delete_imported(ImportRun.objects.get(pk=row.run_id))
        row.notes += take_back(row, actor=actor)
        row.kept_bytes, row.undone_at = 0, timezone.now()
        row.save(update_fields=["kept_bytes", "undone_at", "notes"])
        try:
            with within_quota("id"):
                ids = replaced.put_back(row)
        except IntegrityError as error:
            if quota_refusal(error) is not None:
                raise
            raise Conflict(
                "An asset that was made since has the asset_id of one that would come back, or a "
                "person is gone that one names. Delete the former and try again.",
                field=("id",),
            ) from error
        publish(Event.ASSETS_DELETED, deleted, actor=actor)
        publish(Event.ASSETS_CREATED, ids, actor=actor)
        before, after = {"assets": len(deleted)}, {"assets": len(ids)}
        _record(actor, "restore.undone", row, before=before, after=after)
        transaction.on_commit(lambda: delete_media(media), robust=True)
    return row


def forget_restore(restore: UUID, *, actor: Actor) -> Restore:
    """Remove for good what a restore replaced: it cannot be undone any more.

    Raises PermissionDenied without assets.import and assets.delete; NotFound; Conflict when it is
    undone or forgotten.
    """
    actor.require("assets.delete")
    tenant_id = actor.require("assets.import")
    with acting_as(actor):
        lock_tenant(tenant_id)
        row = _locked(tenant_id, restore)
        _require_kept(row)
        _forget(row)
        _record(actor, "restore.forgotten", row, before={"assets": row.replaced})
    return row


def expire_restores(*, actor: Actor, now: datetime) -> int:
    """Forget what restores replaced a week ago and return how many; inside the worker's door."""
    tenant_id = actor.entered()
    rows = Restore.objects.select_for_update(skip_locked=True).filter(
        tenant_id=tenant_id, expires_at__lte=now, undone_at=None, forgotten_at=None
    )
    expired = list(rows)
    for row in expired:
        _forget(row)
    if expired:
        before = listed([row.pk for row in expired])
        record(actor, "restore.expired", subject="Restore", before=before)
    return len(expired)


def _forget(row: Restore) -> None:
    media = replaced.forget(row)
    row.kept_bytes, row.forgotten_at = 0, timezone.now()
    row.save(update_fields=["kept_bytes", "forgotten_at"])
    transaction.on_commit(lambda: delete_media(media), robust=True)


def _locked(tenant_id: UUID, restore: UUID) -> Restore:
    row = Restore.objects.select_for_update().filter(tenant_id=tenant_id, pk=restore).first()
    if row is None:
        raise NotFound("There is no restore with this id.", field=("id",))
    return row


def _require_kept(row: Restore) -> None:
    if row.undone_at is not None:
        raise Conflict("This restore was undone.", field=("id",))
    if row.forgotten_at is not None:
        raise Conflict("What this restore replaced is forgotten.", field=("id",))


def _begin(
    actor: Actor, source: str, library: AnthiasDatabase, reading: _Reading, *, keep: bool
) -> tuple[Restore, list[str]]:
    """Take the present library out of the way; return the files to be removed when it is done."""
    tenant_id, now = actor.entered(), timezone.now()
    run = ImportRun.objects.create(
        tenant_id=tenant_id, source=source, source_digest=library.digest, era=library.era
    )
    restore = Restore.objects.create(
        tenant_id=tenant_id,
        run=run,
        source=source,
        settings=reading.settings,
        created_by_id=actor.user_id,
        created_at=now,
        expires_at=now + KEPT_FOR,
    )
    ids, size = replaced.set_aside(restore)
    restore.replaced = len(ids)
    publish(Event.ASSETS_DELETED, ids, actor=actor)
    if keep:
        # Freed by the delete and taken again here: the sum is what it was.
        restore.kept_bytes = size
        with within_quota():
            restore.save(update_fields=["replaced", "kept_bytes"])
        return restore, []
    old = replaced.forget(restore)
    restore.forgotten_at = now
    restore.save(update_fields=["replaced", "forgotten_at"])
    return restore, old


def _finish(restore: Restore, report: ImportReport, reading: _Reading, *, actor: Actor) -> None:
    """Write down what became of it, and tell."""
    for row in report.rows:
        name = row.original_asset_id or "(no id)"
        reading.note(f"{name}: {row.status.value}: {'; '.join(row.notes)}")
    for sentence in take_over(restore, actor=actor):
        reading.note(sentence)
    _apply_own(reading, restore.tenant_id)
    restore.assets = report.migrated
    restore.notes = reading.notes
    if restore.forgotten_at is not None:
        restore.replaced_settings = None
    restore.save(update_fields=["assets", "notes", "replaced_settings"])
    made = restore.run.rows.filter(asset__isnull=False).values_list("asset_id", flat=True)
    publish(Event.ASSETS_CREATED, made, actor=actor)
    before, after = {"assets": restore.replaced}, {"assets": restore.assets}
    _record(actor, "library.restored", restore, before=before, after=after)


def _record(actor: Actor, action: str, row: Restore, **values: Any) -> None:
    record(actor, action, subject="Restore", subject_id=row.pk, label=row.source, **values)


def _apply_own(reading: _Reading, tenant_id: UUID) -> None:
    """Give the restored assets the tags and descriptions that a backup of Signate has beside."""
    values = reading.own_values()
    with connection.cursor() as cursor:
        # Many at once: row by row took 19 ms each.
        while batch := list(islice(values, 1000)):
            cursor.execute(
                "UPDATE assets SET description = own.description, "
                "tags = ARRAY(SELECT jsonb_array_elements_text(own.tags)) "
                "FROM jsonb_to_recordset(%s::jsonb) "
                "AS own (asset_id text, tags jsonb, description text) "
                "WHERE assets.tenant_id = %s AND assets.asset_id = own.asset_id",
                [json.dumps(batch), tenant_id],
            )


def _own_values(line: bytes) -> dict[str, Any]:
    """Return what a line says; raises what a line can be wrong in."""
    found = json.loads(line)
    asset_id, tags, description = (found[name] for name in ("asset_id", "tags", "description"))
    texts = [asset_id, description, *(tags if isinstance(tags, list) else [None])]
    if not all(isinstance(one, str) for one in texts):
        raise TypeError
    return {
        "asset_id": clean_text(asset_id),
        "tags": clean_tags(tags),
        "description": clean_description(description),
    }


def _file_of(uri: str | None) -> str:
    """Return the name of the file that a row means: the last part of a path (SPEC section 6)."""
    return uri.rpartition("/")[2] if uri and uri.startswith("/") else ""


def _copy(stored: StoredFile, file: IO[bytes]) -> None:
    body = stored.body(0, stored.size)
    try:
        for chunk in body:
            file.write(chunk)
    finally:
        body.close()


@dataclass(slots=True)
class _Reading:
    """An archive on its way in: read once for what it is, and once more for its media."""

    file: IO[bytes]
    folder: Path
    limits: Limits
    notes: list[str] = field(default_factory=list)
    settings: dict[str, str | int | bool] = field(default_factory=dict)
    _media_folder: str = ""
    _own: Path | None = None
    _database: Path = field(default_factory=Path)

    def note(self, sentence: str) -> None:
        """Keep a sentence, cut, among the first hundred."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(sentence.encode(errors="replace").decode().replace("\0", "")[:500])

    def read_settings(self) -> None:
        """Find the layout, the database and the settings; raises InvalidBackup."""
        folders: set[str] = set()
        databases: dict[tuple[str, str], Path] = {}
        confs: dict[str, bytes] = {}
        with _explained():
            archive = Archive(self.file, self.limits)
            for member in archive:
                place = _place(member.name)
                if place is None:
                    self._pass_over(member)
                elif len(place) == 1:
                    if member.kind is Kind.FOLDER:
                        folders.add(place[0])
                    else:
                        self._pass_over(member)
                elif member.kind is not Kind.FILE:
                    self._pass_over(member)
                else:
                    self._take(archive, member, place, databases, confs)
        for root, names, conf, media in _LAYOUTS:
            found = [name for name in names if (root, name) in databases]
            if root in folders and media in folders and found:
                self._media_folder = media
                self._database = databases[root, found[0]]
                log = databases.get((root, found[0] + _LOG))
                if log is not None:
                    log.rename(f"{self._database}{_LOG}")
                self.settings = read_conf(confs.get(f"{root}/{conf}", b""))
                return
        raise InvalidBackup("It lacks one of the two folders or the database")

    def _take(
        self,
        archive: Archive,
        member: Member,
        place: tuple[str, ...],
        databases: dict[tuple[str, str], Path],
        confs: dict[str, bytes],
    ) -> None:
        root, name = place
        for settings_folder, names, conf, media in _LAYOUTS:
            if root == media:
                return
            if root != settings_folder:
                continue
            if place == (SETTINGS_FOLDER, OWN) and member.size <= MAX_OWN_BYTES:
                self._own = self.folder / "own"
                with self._own.open("wb") as target:
                    target.writelines(archive.chunks())
                return
            if name == conf and member.size <= MAX_CONF_BYTES:
                confs[f"{root}/{name}"] = b"".join(archive.chunks())
                return
            if name.removesuffix(_LOG) in names:
                if member.size > MAX_DATABASE_BYTES:
                    raise InvalidBackup(f"Its database has more than {MAX_DATABASE_BYTES} bytes")
                # Written under a name of ours; the last one of a name is the one that counts.
                path = self.folder / f"database-{len(databases)}"
                path = databases.setdefault((root, name), path)
                with path.open("wb") as target:
                    target.writelines(archive.chunks())
                return
        self._pass_over(member)

    @contextmanager
    def opened(self) -> Iterator[AnthiasDatabase]:
        """Open the database; raises InvalidBackup for what is none."""
        try:
            with open_database(self._database) as library:
                yield library
        except NotAnAnthiasDatabase as error:
            raise InvalidBackup(f"Its database {error.reason}") from error

    def read_media(self, wanted: set[str], room: int) -> Mapping[str, Path]:
        """Return where the files of these names are now; raises InvalidBackup, QuotaExceeded."""
        files: dict[str, Path] = {}
        taken = 0
        with _explained():
            archive = Archive(self.file, self.limits)
            for member in archive:
                place = _place(member.name)
                if place is None or len(place) == 1 or place[0] != self._media_folder:
                    continue
                name = place[1]
                if member.kind is not Kind.FILE or name not in wanted:
                    if member.kind is Kind.FILE:
                        self.note(f"{member.name}: no asset names this file")
                    continue
                before = files.get(name)
                taken += member.size - (before.stat().st_size if before else 0)
                if taken > room:
                    raise QuotaExceeded(
                        f"The files of this backup have more than the {room} bytes of storage that "
                        "are left. Forget an earlier restore, delete some assets, or ask for a "
                        "larger plan."
                    )
                path = files.setdefault(name, self.folder / f"media-{len(files)}")
                with path.open("wb") as target:
                    target.writelines(archive.chunks())
        return files

    def own_values(self) -> Iterator[dict[str, Any]]:
        """Yield asset_id, tags and description of every line that says so properly."""
        if self._own is None:
            return
        with self._own.open("rb") as lines:
            while line := lines.readline(MAX_OWN_LINE):
                try:
                    found = _own_values(line)
                except (ValueError, TypeError, KeyError, RecursionError, InvalidInput):
                    self.note(f"{SETTINGS_FOLDER}/{OWN}: a line that cannot be used was left out")
                else:
                    yield found

    def _pass_over(self, member: Member) -> None:
        is_folder = member.kind is Kind.FOLDER
        if is_folder or member.name in _EXPECTED or member.name.endswith("-shm"):
            return
        what = "a link or a device" if member.kind is Kind.OTHER else "not a file of a backup"
        self.note(f"{member.name}: passed over, it is {what}")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except InvalidArchive as error:
        raise InvalidBackup(str(error)) from error


def _place(name: str) -> tuple[str, ...] | None:
    """Return folder and file, or the folder alone; None for what lies anywhere else."""
    parts = name.removeprefix("./").removesuffix("/").split("/")
    roots = {root for layout in _LAYOUTS for root in (layout[0], layout[3])}
    if len(parts) > 2 or parts[0] not in roots or any(part in {"", ".", ".."} for part in parts):
        return None
    return tuple(parts)
