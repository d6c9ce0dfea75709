"""Imports an Anthias library into a tenant, and takes an import back (MISSION A8).

Called by the command migrate_to_postgresql. Each function is a door of its own: it opens one
transaction, in which all rows of a run become visible or none. Media is copied before the commit
and removed again when there is none, so a crash can leave unreachable files but no rows.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, TypedDict, Unpack

from django.db import Error, IntegrityError, connection, transaction
from django.utils import timezone
from uuid_utils.compat import uuid7

from assets.anthias_database import AnthiasDatabase, AnthiasRow, RejectedRow, open_database
from assets.import_media import MediaFolder
from assets.import_report import ImportReport, RollbackReport, RowReport
from assets.import_rows import ImportedAsset, insert_batch
from assets.models import (
    AssetMigration,
    ImportRun,
    MigrationStatus,
    ProcessingStatus,
    Restore,
    new_asset_id,
)
from assets.storage import delete_media, media_keys
from assets.tasks import queue_understanding
from rls import acting_as
from tenancy.actors import Actor, ActorKind, operator
from tenancy.audit import record
from tenancy.errors import Conflict, InvalidInput, NotFound
from tenancy.events import Event, publish, publish_all, tell_now
from tenancy.limits import QUOTA_MAX_ASSETS, quota_refusal
from tenancy.models import Tenant, violated
from tenancy.tenants import LEGACY_PLAN, Plan, create_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

BATCH_SIZE = 1000

# SQLSTATE classes of errors that one row causes: bad data, a constraint, a value too long for an
# index. Anything else (a lost connection, a full disk) ends the import.
_ROW_ERRORS = frozenset({"22", "23", "54"})

_json = json.JSONEncoder(allow_nan=False).encode


class ImportStatus(StrEnum):
    """How far an import is, as it is told. Names are never changed."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class ImportOptions(TypedDict, total=False):
    """How to import."""

    assets_dir: Path | None  # the folder that holds the media; without it no media is copied
    preserve_ids: bool  # keep each asset_id; otherwise every asset gets a new one
    batch_size: int
    dry_run: bool  # change nothing, and report what would happen
    on_progress: Callable[[int, int], None]  # after each batch: rows done, rows in all


def import_library(path: Path, *, actor: Actor, **options: Unpack[ImportOptions]) -> ImportReport:
    """Import the Anthias library at `path` into the actor's tenant.

    Rows that an earlier run migrated, and that are still there, are skipped; a row that cannot be
    stored is reported as failed and stops no other.

    Raises NotAnAnthiasDatabase for the file, PermissionDenied without assets.import, InvalidInput
    for the options, OSError when the storage does not take the media; then nothing has changed.
    """
    actor.require("assets.import")
    with _opened(path, options) as (library, media), acting_as(actor):
        return _Import(library, media, options, actor).run()


def import_restored(
    library: AnthiasDatabase, media: MediaFolder, *, actor: Actor, run: ImportRun
) -> ImportReport:
    """Import an open library inside the open door of the actor's tenant, as a run that is begun.

    Every asset_id is kept and nothing is marked. The caller has checked the permission, and takes
    the media back when the door fails. Raises QuotaExceeded at the first row beyond a limit.
    """
    return _Import(library, media, {}, actor, restoring=run).run()


def import_into_new_tenant(
    path: Path,
    *,
    slug: str,
    name: str,
    user_id: UUID | None = None,
    plan: Plan = LEGACY_PLAN,
    **options: Unpack[ImportOptions],
) -> ImportReport:
    """Create a tenant on `plan` and import the library at `path` into it, or neither.

    `user_id` becomes its owner and is recorded as the creator. Raises what `import_library` and
    `tenancy.tenants.create_tenant` raise.
    """
    founder = Actor(kind=ActorKind.OPERATOR, user_id=user_id, credential="command")
    with _opened(path, options) as (library, media), transaction.atomic():
        tenant = create_tenant(actor=founder, name=name, slug=slug, plan=plan)
        with acting_as(operator(tenant.pk, user_id)) as actor:
            report = _Import(library, media, options, actor).run()
        if options.get("dry_run"):
            transaction.set_rollback(True)
        return report


def tell_failure(run: ImportRun, *, actor: Actor) -> None:
    """Tell whoever watches that a run has come to nothing after its rows were in."""
    tell_now(
        Event.IMPORT_PROGRESS, run.pk, actor=actor, status=ImportStatus.FAILED, source=run.source
    )


def rollback_import(run_id: UUID, *, actor: Actor) -> RollbackReport:
    """Delete the assets that a run created, edited since or not, and their media after commit.

    Raises PermissionDenied without assets.import, NotFound for a run the tenant does not have,
    Conflict for one that was rolled back before.
    """
    tenant_id = actor.require("assets.import")
    with acting_as(actor):
        lock_tenant(tenant_id)
        run = ImportRun.objects.select_for_update().filter(pk=run_id).first()
        if run is None:
            raise NotFound(f"There is no import run {run_id} in this tenant.", field=("run",))
        restored = Restore.objects.filter(tenant_id=tenant_id, run=run).first()
        if restored is not None:
            message = f"The run {run_id} was a restore: undo the restore {restored.pk} instead."
            raise Conflict(message, field=("run",))
        if run.rolled_back_at is not None:
            at = run.rolled_back_at.isoformat(timespec="seconds")
            raise Conflict(f"The import run {run_id} was rolled back at {at}.", field=("run",))
        deleted, media = delete_imported(run)
        publish(Event.ASSETS_DELETED, deleted, actor=actor)
        record(
            actor,
            "import.rolled_back",
            subject="ImportRun",
            subject_id=run.pk,
            label=run.source,
            before={"assets": len(deleted)},
        )
        transaction.on_commit(lambda: delete_media(media), robust=True)
    return RollbackReport(run.pk, run.source, len(deleted), len(media))


def delete_imported(run: ImportRun) -> tuple[list[UUID], list[str]]:
    """Delete the assets that a run made, inside the door; return their keys and their files'."""
    with connection.cursor() as cursor:
        cursor.execute("DISCARD PLANS")  # as in import_rows: the foreign key's plan
        cursor.execute(
            "DELETE FROM assets USING asset_migrations AS made "
            "WHERE made.run_id = %s AND made.migration_status = 'migrated' "
            "AND assets.id = made.asset_id AND assets.tenant_id = made.tenant_id "
            "RETURNING assets.tenant_id, assets.id, assets.media_path, assets.thumbnail_url",
            [run.pk],
        )
        deleted = cursor.fetchall()
    run.rolled_back_at = timezone.now()
    run.save(update_fields=["rolled_back_at"])
    return [row[1] for row in deleted], [key for row in deleted for key in media_keys(*row)]


@contextmanager
def _opened(path: Path, options: ImportOptions) -> Iterator[tuple[AnthiasDatabase, MediaFolder]]:
    """Yield the library and its media; take back what was copied unless the block succeeds."""
    assets_dir = options.get("assets_dir")
    if options.get("batch_size", BATCH_SIZE) < 1:
        raise InvalidInput("The batch size must be at least 1.", field=("batch_size",))
    if assets_dir is not None and not assets_dir.is_dir():
        message = f"{assets_dir} is not a folder; give the one that holds the media."
        raise InvalidInput(message, field=("assets_dir",))
    with open_database(path) as library:
        media = MediaFolder(assets_dir, copying=not options.get("dry_run"))
        try:
            yield library, media
        except BaseException:
            media.take_back()
            raise


def lock_tenant(tenant_id: UUID) -> None:
    """Let one import, restore or rollback at a time into a tenant, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{tenant_id}:import"]
        )


class _Import:
    """One run, inside the open door of its tenant."""

    def __init__(
        self,
        library: AnthiasDatabase,
        media: MediaFolder,
        options: ImportOptions,
        actor: Actor,
        *,
        restoring: ImportRun | None = None,
    ) -> None:
        self.library = library
        self.media = media
        self.restoring = restoring
        self.preserve_ids = restoring is not None or options.get("preserve_ids", False)
        self.batch_size = options.get("batch_size", BATCH_SIZE)
        self.dry_run = options.get("dry_run", False)
        self.on_progress = options.get("on_progress")
        self.actor = actor
        self.tenant_id = actor.entered()
        self.user_id = actor.user_id
        # Why no further row can be stored, once that is so.
        self.full = ""

    def run(self) -> ImportReport:
        lock_tenant(self.tenant_id)
        tenant = Tenant.objects.get(pk=self.tenant_id)
        self.earlier_runs = ImportRun.objects.filter(rolled_back_at=None).exists()
        # A file name is bytes, and need not be text.
        source = self.library.path.name.encode(errors="replace").decode()
        self.import_run = self.restoring or ImportRun.objects.create(
            tenant=tenant,
            source=source,
            source_digest=self.library.digest,
            era=self.library.era,
        )
        self.report = ImportReport(
            tenant=tenant.slug,
            tenant_id=tenant.pk,
            source=self.import_run.source,
            era=self.library.era,
            run=None if self.dry_run else self.import_run.pk,
            dry_run=self.dry_run,
            total=self.library.count(),
        )
        try:
            self._run()
        except BaseException:
            self._tell(ImportStatus.FAILED)
            raise
        return self.report

    def _run(self) -> None:
        self._tell(ImportStatus.RUNNING)
        for batch in _batches(self.library.rows(), self.batch_size):
            self._import_batch(batch)
            self._tell(ImportStatus.RUNNING)
            if self.on_progress:
                self.on_progress(self._done, self.report.total)
        self.report.media_copied = self.media.copied
        self.import_run.finished_at = timezone.now()
        self.import_run.report = self.report.counts()
        self.import_run.save(update_fields=["finished_at", "report"])
        if self.restoring is None:
            record(
                self.actor,
                "library.imported",
                subject="ImportRun",
                subject_id=self.import_run.pk,
                label=self.import_run.source,
                after=self.import_run.report,
            )
        if self.dry_run:
            transaction.set_rollback(True)
        elif self.restoring is None and self.report.migrated:
            publish_all(Event.ASSETS_CREATED, actor=self.actor)
        transaction.on_commit(lambda: self._tell(ImportStatus.FINISHED), robust=True)

    @property
    def _done(self) -> int:
        return self.report.migrated + self.report.failed + self.report.skipped

    def _tell(self, status: ImportStatus) -> None:
        """Say how far it is to whoever watches, who sees nothing of it before it is whole."""
        if not self.dry_run:
            tell_now(
                Event.IMPORT_PROGRESS,
                self.import_run.pk,
                actor=self.actor,
                status=status,
                source=self.import_run.source,
                done=self._done,
                total=self.report.total,
                failed=self.report.failed,
            )

    def _import_batch(self, batch: Sequence[AnthiasRow | RejectedRow]) -> None:
        now = timezone.now()
        ids = [row.asset_id for row in batch if isinstance(row, AnthiasRow)]
        migrated = self._already_migrated(ids)
        taken = self._taken(ids)
        accepted: list[ImportedAsset] = []
        refused: list[RowReport] = []
        for row in batch:
            if isinstance(row, RejectedRow):
                refused.append(_failed(row.original_id, row.reason))
            elif row.asset_id in migrated:
                new_id, run_id = migrated[row.asset_id]
                reason = f"already migrated by run {run_id}"
                skipped = MigrationStatus.SKIPPED
                refused.append(RowReport(row.asset_id, new_id, skipped, (reason,)))
            elif row.asset_id in taken:
                reason = "another asset of the tenant has this asset_id"
                refused.append(_failed(row.asset_id, reason))
            else:
                accepted.append(self._imported(row))
        refused.extend(self._insert(accepted, now))
        self._record(refused, now)

    def _already_migrated(self, ids: list[str]) -> dict[str, tuple[str, UUID]]:
        """Return the rows that an earlier run made assets of that are still there."""
        if not self.earlier_runs:
            return {}
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT made.original_asset_id, made.new_asset_id, made.run_id "
                "FROM asset_migrations AS made JOIN import_runs AS run "
                "ON run.tenant_id = made.tenant_id AND run.id = made.run_id "
                "WHERE made.original_asset_id = ANY(%s) AND made.migration_status = 'migrated' "
                "AND made.asset_id IS NOT NULL AND run.rolled_back_at IS NULL",
                [ids],
            )
            return {original: (new, run) for original, new, run in cursor.fetchall()}

    def _taken(self, ids: list[str]) -> set[str]:
        """Return the ids that assets of the tenant have; only kept ids can be taken."""
        if not self.preserve_ids:
            return set()
        with connection.cursor() as cursor:
            cursor.execute("SELECT asset_id FROM assets WHERE asset_id = ANY(%s)", [ids])
            return {asset_id for (asset_id,) in cursor.fetchall()}

    def _imported(self, row: AnthiasRow) -> ImportedAsset:
        key = uuid7()
        media = self.media.of(row.uri, tenant_id=self.tenant_id, asset_id=key)
        notes = [*row.notes, *media.notes]
        md5 = row.md5
        if media.md5 and not md5:
            md5 = media.md5
        elif media.md5 and md5 and md5.lower() != media.md5:
            notes.append("md5: the stored one is not that of the file")
        if row.metadata.get("error_message"):
            status = ProcessingStatus.FAILED
        elif row.is_processing:
            status = ProcessingStatus.PENDING
        else:
            status = ProcessingStatus.COMPLETED
        return ImportedAsset(
            id=key,
            asset_id=row.asset_id if self.preserve_ids else new_asset_id(),
            name=row.name,
            uri=row.uri,
            md5=md5,
            start_date=row.start_date,
            end_date=row.end_date,
            duration=row.duration,
            mimetype=row.mimetype,
            is_enabled=row.is_enabled,
            is_processing=row.is_processing,
            nocache=row.nocache,
            play_order=row.play_order,
            skip_asset_check=row.skip_asset_check,
            skip_ssl_verify=row.skip_ssl_verify,
            play_days=_array(row.play_days),
            play_time_from=row.play_time_from,
            play_time_to=row.play_time_to,
            is_reachable=row.is_reachable,
            last_reachability_check=row.last_reachability_check,
            metadata=_json(row.metadata) if row.metadata else "{}",
            legacy_metadata=None if row.legacy_metadata is None else _json(row.legacy_metadata),
            file_size=media.size,
            processing_status=status.value,
            media_path=media.key,
            original_asset_id=row.asset_id,
            notes="\n".join(notes),
        )

    def _insert(self, rows: Sequence[ImportedAsset], now: datetime) -> list[RowReport]:
        """Insert what can be inserted; return the rest. Halves a batch that is refused."""
        if not rows:
            return []
        if self.full:
            for row in rows:
                self.media.discard(row.media_path)
            return [_failed(row.original_asset_id, self.full) for row in rows]
        try:
            with transaction.atomic():
                insert_batch(
                    rows,
                    run=self.import_run,
                    user_id=self.user_id,
                    now=now,
                    marked=self.restoring is None,
                )
        except Error as error:
            reason = _row_error(error)
            if reason is None:
                raise
            if self.restoring and isinstance(error, IntegrityError):
                refusal = quota_refusal(error)
                if refusal is not None:
                    raise refusal from error
            if len(rows) > 1:
                middle = len(rows) // 2
                return self._insert(rows[:middle], now) + self._insert(rows[middle:], now)
            self.media.discard(rows[0].media_path)
            if isinstance(error, IntegrityError) and violated(error) == QUOTA_MAX_ASSETS:
                self.full = reason
            return [_failed(rows[0].original_asset_id, reason)]
        self.report.migrated += len(rows)
        # What Anthias could not use stays as it said; the rest gets its small picture.
        media = [row.id for row in rows if row.media_path and row.processing_status != "failed"]
        queue_understanding(actor=self.actor, assets=media)
        self.report.rows.extend(
            RowReport(
                row.original_asset_id,
                row.asset_id,
                MigrationStatus.MIGRATED,
                tuple(row.notes.split("\n")),
            )
            for row in rows
            if row.notes
        )
        return []

    def _record(self, refused: Sequence[RowReport], now: datetime) -> None:
        self.report.rows.extend(refused)
        failed = sum(row.status is MigrationStatus.FAILED for row in refused)
        self.report.failed += failed
        self.report.skipped += len(refused) - failed
        AssetMigration.objects.bulk_create(
            (
                AssetMigration(
                    tenant_id=self.tenant_id,
                    run=self.import_run,
                    original_asset_id=row.original_asset_id,
                    new_asset_id=row.new_asset_id,
                    migrated_at=now,
                    migration_status=row.status,
                    migration_notes="\n".join(row.notes),
                )
                for row in refused
            ),
            batch_size=BATCH_SIZE,
        )


def _failed(original_id: str, reason: str) -> RowReport:
    return RowReport(original_id, "", MigrationStatus.FAILED, (reason,))


def _row_error(error: Error) -> str | None:
    """Return PostgreSQL's one-line reason when one row can be at fault; None when none can."""
    if isinstance(error, IntegrityError) and (refusal := quota_refusal(error)) is not None:
        return refusal.message
    diagnosis = getattr(error.__cause__, "diag", None)
    state = getattr(diagnosis, "sqlstate", None) or ""
    if state[:2] not in _ROW_ERRORS:
        return None
    return str(getattr(diagnosis, "message_primary", None) or error)


@lru_cache(maxsize=128)  # there are 127 sets of weekdays
def _array(days: tuple[int, ...]) -> str:
    return "{" + ",".join(map(str, days)) + "}"


def _batches(
    rows: Iterable[AnthiasRow | RejectedRow], size: int
) -> Iterator[list[AnthiasRow | RejectedRow]]:
    batch: list[AnthiasRow | RejectedRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
