"""The asset as Anthias knows it and as a tenant owns it (MISSION A1, A2), and import records.

Shapes, defaults and indexes only. What plays is decided by schedule.py, reads are named in
querysets.py, writes are functions in library.py and importing.py.
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Coalesce, Collate, Left, Lower
from django.utils import timezone
from uuid_utils.compat import uuid7

from assets.querysets import AssetQuerySet, DateOrNever, NumberOrMost
from assets.schedule import EVERY_DAY
from assets.search import AssetGrams
from tenancy.models import TenantOwned, User


def every_day() -> list[int]:
    """Return Monday (1) to Sunday (7): an asset plays on every day unless told otherwise."""
    return sorted(EVERY_DAY)


class ProcessingStatus(models.TextChoices):
    """How far the understanding of an asset's media has come."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class Asset(TenantOwned):
    """Something that plays: the Anthias fields unchanged in name and meaning, and the tenant's own.

    The key is a UUIDv7, so its order is the order of insertion, which Anthias lists by.
    """

    # Anthias (MISSION A1)
    asset_id = models.TextField()
    name = models.TextField(null=True, blank=True)
    uri = models.TextField(null=True, blank=True)
    md5 = models.TextField(null=True, blank=True)
    start_date = models.DateTimeField(null=True, blank=True)
    end_date = models.DateTimeField(null=True, blank=True)
    duration = models.BigIntegerField(null=True, blank=True)
    mimetype = models.TextField(null=True, blank=True)
    is_enabled = models.BooleanField(default=False)
    is_processing = models.BooleanField(default=False)
    nocache = models.BooleanField(default=False)
    play_order = models.IntegerField(default=0)
    skip_asset_check = models.BooleanField(default=False)
    skip_ssl_verify = models.BooleanField(default=False)
    play_days = ArrayField(models.SmallIntegerField(), default=every_day)
    play_time_from = models.TimeField(null=True, blank=True)
    play_time_to = models.TimeField(null=True, blank=True)
    is_reachable = models.BooleanField(default=True)
    last_reachability_check = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    # What Anthias had stored, when `metadata` is a cleaned form of it; only the v1 face shows it.
    legacy_metadata = models.JSONField(null=True, blank=True)
    # The tenant's own (MISSION A2)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    updated_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    tags = ArrayField(models.TextField(), default=list, blank=True)
    description = models.TextField(default="", blank=True)
    file_size = models.BigIntegerField(null=True, blank=True)
    thumbnail_url = models.TextField(default="", blank=True)
    processing_status = models.TextField(
        choices=ProcessingStatus.choices, default=ProcessingStatus.COMPLETED
    )
    view_count = models.BigIntegerField(default=0)
    last_viewed = models.DateTimeField(null=True, blank=True)
    # Storage key of the file, `t/<tenant>/<asset>/…`; empty when there is none.
    media_path = models.TextField(default="", blank=True)
    # The name as lists are sorted by it: never null, in lower case, and cut, because names have no
    # limit and entries of an index do. A column and not an expression: PostgreSQL uses no index
    # for a comparison with a function's result under row-level security.
    sort_name = models.GeneratedField(
        expression=Lower(Left(Coalesce("name", models.Value("")), 200)),
        output_field=models.TextField(db_collation="C"),
        db_persist=True,
    )
    # The mimetype likewise; what has none is behind every text there can be.
    sort_mimetype = models.GeneratedField(
        expression=Lower(Left(Coalesce("mimetype", models.Value("\U0010ffff")), 200)),
        output_field=models.TextField(db_collation="C"),
        db_persist=True,
    )

    objects = AssetQuerySet.as_manager()

    class Meta(TenantOwned.Meta):
        db_table = "assets"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "asset_id"], name="assets_tenant_asset_id"),
            models.CheckConstraint(
                condition=models.Q(processing_status__in=ProcessingStatus.values),
                name="assets_processing_status",
            ),
            models.CheckConstraint(
                condition=models.Q(play_days__contained_by=every_day())
                & models.Q(play_days__len__gt=0),
                name="assets_play_days",
            ),
        ]
        # One for every listing that is offered: the tenant first, the key last to break ties.
        indexes: ClassVar = [
            models.Index(fields=["tenant", "created_at", "id"], name="assets_by_created_at"),
            models.Index(fields=["tenant", "play_order", "id"], name="assets_by_play_order"),
            models.Index(fields=["tenant", "sort_name", "id"], name="assets_by_name"),
            models.Index(fields=["tenant", "updated_at", "id"], name="assets_by_updated_at"),
            models.Index("tenant", DateOrNever("start_date"), "id", name="assets_by_start_date"),
            models.Index("tenant", DateOrNever("end_date"), "id", name="assets_by_end_date"),
            models.Index(fields=["tenant", "sort_mimetype", "id"], name="assets_by_mimetype"),
            models.Index("tenant", NumberOrMost("duration"), "id", name="assets_by_duration"),
            models.Index("tenant", NumberOrMost("file_size"), "id", name="assets_by_file_size"),
            models.Index(fields=["tenant", "view_count", "id"], name="assets_by_view_count"),
            models.Index("tenant", DateOrNever("last_viewed"), "id", name="assets_by_last_viewed"),
            models.Index(
                fields=["tenant", "end_date"],
                name="assets_enabled_by_end_date",
                condition=models.Q(is_enabled=True),
            ),
            # What few assets are, and what somebody who looks after a library asks for.
            models.Index(
                fields=["tenant", "id"],
                name="assets_processing",
                condition=models.Q(is_processing=True),
            ),
            models.Index(
                fields=["tenant", "id"],
                name="assets_unreachable",
                condition=models.Q(is_reachable=False),
            ),
            models.Index(
                fields=["tenant", "processing_status", "id"],
                name="assets_uncompleted",
                condition=~models.Q(processing_status=ProcessingStatus.COMPLETED),
            ),
            # No tenant in front: GIN has none of a uuid. It is inside of every entry instead.
            GinIndex(
                Collate(AssetGrams("tenant", "name", "description", "tags"), "C"),
                name="assets_by_grams",
            ),
        ]

    def __str__(self) -> str:
        """Return the legacy id, which is what Anthias calls it."""
        return self.asset_id


class Upload(TenantOwned):
    """A file on its way in: bytes in the staging folder that no asset has yet.

    `size` counts against the tenant's storage from the beginning. `received` holds the byte
    ranges that have arrived, as sorted pairs [start, end) that do not touch. `handle` is what the
    REST shim calls it (SPEC section 5); clients of that may have chosen it.
    """

    handle = models.TextField()
    file_name = models.TextField()
    size = models.BigIntegerField()
    received = models.JSONField(default=list)
    # Known once all of it is there.
    finished_at = models.DateTimeField(null=True, blank=True)
    md5 = models.TextField(default="", blank=True)
    mimetype = models.TextField(default="", blank=True)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta(TenantOwned.Meta):
        db_table = "uploads"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "handle"], name="uploads_tenant_handle"),
            models.CheckConstraint(condition=models.Q(size__gte=0), name="uploads_size"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "expires_at", "id"], name="uploads_by_expiry")
        ]

    def __str__(self) -> str:
        """Return what the REST shim calls it."""
        return self.handle


# Keys with DO_NOTHING: PostgreSQL takes such rows away with their asset (TenantForeignKey).
class ShareLink(TenantOwned):
    """A link that shows one asset to whoever has it (MISSION A4).

    Only a digest of the token is kept; the token itself follows from the key and the server's
    secret. An asset has one link that is not revoked, at most.
    """

    asset = models.ForeignKey(
        Asset, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False
    )
    token_digest = models.TextField()
    expires_at = models.DateTimeField()
    max_views = models.BigIntegerField(null=True, blank=True)
    access_count = models.BigIntegerField(default=0)
    last_accessed_at = models.DateTimeField(null=True, blank=True)
    password = models.TextField(default="", blank=True)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "share_links"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(
                fields=["tenant", "asset"],
                condition=models.Q(revoked_at=None),
                name="share_links_tenant_asset",
            ),
        ]
        indexes: ClassVar = [
            # The look-up of a token knows no tenant yet.
            models.Index(fields=["token_digest"], name="share_links_by_token_digest"),
            models.Index(fields=["tenant", "asset"], name="share_links_by_asset"),
            models.Index(
                fields=["tenant", "expires_at"],
                name="share_links_unrevoked",
                condition=models.Q(revoked_at=None),
            ),
        ]

    def __str__(self) -> str:
        """Return what it shows, by id."""
        return f"link to {self.asset_id}"


class Reporter(models.TextChoices):
    """What kind of thing reports that an asset was shown."""

    DEVICE = "device"
    TOKEN = "token"  # noqa: S105 -- a kind, not a secret
    MEMBER = "member"


class PlaybackDay(TenantOwned):
    """How often one reporter showed one asset on one day, in UTC (MISSION A5: proof of play)."""

    day = models.DateField()
    asset = models.ForeignKey(
        Asset, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False
    )
    reporter = models.TextField(choices=Reporter.choices)
    reporter_id = models.UUIDField()
    plays = models.BigIntegerField(default=0)
    seconds = models.BigIntegerField(default=0)
    last_played_at = models.DateTimeField()

    class Meta(TenantOwned.Meta):
        db_table = "playback_days"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(
                fields=["tenant", "asset", "day", "reporter", "reporter_id"],
                name="playback_days_unique",
            ),
            models.CheckConstraint(
                condition=models.Q(reporter__in=Reporter.values), name="playback_days_reporter"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "day", "id"], name="playback_days_by_day"),
            models.Index(
                fields=["tenant", "reporter_id", "day", "id"], name="playback_days_by_reporter"
            ),
            models.Index(fields=["tenant", "asset", "day", "id"], name="playback_days_by_asset"),
            models.Index(
                fields=["tenant", "asset", "reporter_id", "day", "id"],
                name="playback_days_by_both",
            ),
        ]

    def __str__(self) -> str:
        """Return what was shown when, by id."""
        return f"{self.asset_id} on {self.day}"


class PlaybackReport(TenantOwned):
    """A batch of plays that was counted, so that the same batch sent again is not.

    `key` is the reporter's own name for the batch; forgotten after a month. `digest` is of what was
    in it, `recorded` and `skipped` are what was answered.
    """

    reporter = models.TextField(choices=Reporter.choices)
    reporter_id = models.UUIDField()
    key = models.TextField()
    digest = models.TextField(default="", blank=True)
    recorded = models.IntegerField(default=0)
    skipped = models.IntegerField(default=0)
    received_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        db_table = "playback_reports"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(
                fields=["tenant", "reporter", "reporter_id", "key"], name="playback_reports_key"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "received_at"], name="playback_reports_by_received")
        ]

    def __str__(self) -> str:
        """Return the reporter's name for it."""
        return self.key


class ImportRun(TenantOwned):
    """One run of an import: what came in, from where, and whether it was taken back."""

    source = models.TextField()
    source_digest = models.TextField()
    era = models.TextField()
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    rolled_back_at = models.DateTimeField(null=True, blank=True)
    report = models.JSONField(default=dict, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "import_runs"
        indexes: ClassVar = [
            models.Index(fields=["tenant", "started_at", "id"], name="import_runs_by_started")
        ]

    def __str__(self) -> str:
        """Return the file and the moment."""
        return f"{self.source} at {self.started_at:%Y-%m-%d %H:%M}"


class MigrationStatus(models.TextChoices):
    """What became of one row of an import."""

    MIGRATED = "migrated"
    SKIPPED = "skipped"
    FAILED = "failed"


class AssetMigration(TenantOwned):
    """What became of one row of an Anthias database (MISSION A8)."""

    run = models.ForeignKey(
        ImportRun, on_delete=models.CASCADE, db_constraint=False, related_name="rows",
        db_index=False,
    )  # fmt: skip
    original_asset_id = models.TextField()
    new_asset_id = models.TextField(default="", blank=True)
    asset = models.ForeignKey(
        Asset,
        on_delete=models.SET_NULL,
        null=True,
        db_constraint=False,
        related_name="+",
        db_index=False,
    )
    migrated_at = models.DateTimeField(default=timezone.now)
    migration_status = models.TextField(choices=MigrationStatus.choices)
    migration_notes = models.TextField(default="", blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "asset_migrations"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.CheckConstraint(
                condition=models.Q(migration_status__in=MigrationStatus.values),
                name="asset_migrations_status",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "run", "id"], name="asset_migrations_by_run"),
            models.Index(
                fields=["tenant", "original_asset_id"], name="asset_migrations_by_original"
            ),
            models.Index(fields=["tenant", "asset"], name="asset_migrations_by_asset"),
        ]

    def __str__(self) -> str:
        """Return which row became what."""
        return f"{self.original_asset_id}: {self.migration_status}"


class Backup(TenantOwned):
    """An archive of the tenant's library in Anthias's layout, kept for download until it expires.

    Its file lies under `assets.storage.backup_key`; `size` counts against the tenant's storage.
    """

    name = models.TextField()
    size = models.BigIntegerField()
    assets = models.BigIntegerField(default=0)
    files = models.BigIntegerField(default=0)
    # The files that rows name and that were not there.
    missing = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta(TenantOwned.Meta):
        db_table = "backups"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "name"], name="backups_tenant_name"),
            models.CheckConstraint(condition=models.Q(size__gte=0), name="backups_size"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "created_at", "id"], name="backups_by_created_at"),
            models.Index(fields=["tenant", "expires_at"], name="backups_by_expires_at"),
        ]

    def __str__(self) -> str:
        """Return the archive's name."""
        return self.name


class Restore(TenantOwned):
    """A library that took another one's place, which is kept until it is forgotten or expires.

    `run` made the assets that are there now. `kept_bytes` are in the storage for what was
    replaced, and count; 0 once that is back or forgotten. `settings` are the archive's.
    """

    run = models.ForeignKey(
        ImportRun, on_delete=models.CASCADE, db_constraint=False, related_name="+", db_index=False
    )
    source = models.TextField()
    assets = models.BigIntegerField(default=0)
    replaced = models.BigIntegerField(default=0)
    kept_bytes = models.BigIntegerField(default=0)
    settings = models.JSONField(default=dict, blank=True)
    # What undoing it makes of the tenant's; NULL where none were taken over.
    replaced_settings = models.JSONField(null=True, blank=True)
    # What was passed over, in sentences.
    notes = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    undone_at = models.DateTimeField(null=True, blank=True)
    forgotten_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        db_table = "restores"
        constraints: ClassVar = [
            *TenantOwned.Meta.constraints,
            models.CheckConstraint(condition=models.Q(kept_bytes__gte=0), name="restores_kept"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "created_at", "id"], name="restores_by_created_at"),
            models.Index(fields=["tenant", "expires_at"], name="restores_by_expires_at"),
            models.Index(fields=["tenant", "run"], name="restores_by_run"),
        ]

    def __str__(self) -> str:
        """Return what was restored and when."""
        return f"{self.source} at {self.created_at:%Y-%m-%d %H:%M}"


class ReplacedRow(TenantOwned):
    """A row that a restore took away, or a reference that it emptied, to be put back as it was.

    `row` has every column as PostgreSQL writes it as text: JSON itself would not tell an SQL null
    from a JSON null.
    """

    restore = models.ForeignKey(
        Restore, on_delete=models.CASCADE, db_constraint=False, related_name="+", db_index=False
    )
    relation = models.TextField()
    row = models.JSONField()

    class Meta(TenantOwned.Meta):
        db_table = "replaced_rows"
        indexes: ClassVar = [
            models.Index(fields=["tenant", "restore", "relation"], name="replaced_rows_by_restore")
        ]

    def __str__(self) -> str:
        """Return where it was."""
        return f"a row of {self.relation}"


def new_asset_id() -> str:
    """Return a fresh legacy id: 32 hexadecimal digits, as Anthias makes them."""
    return uuid7().hex
