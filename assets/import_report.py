"""What an import or its rollback did, for a person and as JSON.

Filled by assets.importing; shown by the command migrate_to_postgresql.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils import timezone

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from assets.models import MigrationStatus


@dataclass(frozen=True, slots=True)
class RowReport:
    """What became of a row that was not simply migrated; `notes` are sentences."""

    original_asset_id: str
    new_asset_id: str
    status: MigrationStatus
    notes: tuple[str, ...]


@dataclass(slots=True)
class ImportReport:
    """What an import did, or in a dry run would do. `run` is None in a dry run."""

    tenant: str
    tenant_id: UUID
    source: str
    era: str
    run: UUID | None
    dry_run: bool
    total: int
    timestamp: datetime = field(default_factory=timezone.now)
    migrated: int = 0
    failed: int = 0
    skipped: int = 0
    media_copied: int = 0
    rows: list[RowReport] = field(default_factory=list)

    @property
    def success_rate(self) -> float:
        """Percent of the rows that had to be migrated and were; 100 when there were none."""
        attempted = self.migrated + self.failed
        return round(100 * self.migrated / attempted, 2) if attempted else 100.0

    def counts(self) -> dict[str, Any]:
        """Return everything but the rows, as JSON."""
        return {
            "timestamp": self.timestamp.isoformat(),
            "tenant": self.tenant,
            "tenant_id": str(self.tenant_id),
            "source": self.source,
            "era": self.era,
            "run": str(self.run) if self.run else None,
            "dry_run": self.dry_run,
            "total": self.total,
            "migrated": self.migrated,
            "failed": self.failed,
            "skipped": self.skipped,
            "success_rate": self.success_rate,
            "media_copied": self.media_copied,
        }

    def as_json(self) -> dict[str, Any]:
        """Return the whole report; `rows` has those that failed, were skipped or have notes."""
        rows = [
            {
                "original_asset_id": row.original_asset_id,
                "new_asset_id": row.new_asset_id or None,
                "status": row.status.value,
                "notes": list(row.notes),
            }
            for row in self.rows
        ]
        return {**self.counts(), "rows": rows}


@dataclass(frozen=True, slots=True)
class RollbackReport:
    """What taking back a run removed."""

    run: UUID
    source: str
    deleted: int
    media_deleted: int
