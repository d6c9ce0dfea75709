"""What the audit log says of assets: called by every write of them, inside its transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenancy.audit import listed, record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from assets.models import Asset
    from tenancy.actors import Actor

# What is kept of an asset that is made or gone.
AUDITED = (
    *("asset_id", "name", "uri", "mimetype", "duration", "is_enabled", "play_order", "tags"),
    *("start_date", "end_date"),
)


def record_asset(
    actor: Actor,
    action: str,
    row: Asset,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write down what `actor` did to one asset."""
    record(
        actor,
        action,
        subject="Asset",
        subject_id=row.pk,
        label=row.name or row.asset_id,
        before=before,
        after=after,
    )


def record_many(actor: Actor, action: str, keys: Sequence[UUID], **values: Any) -> None:
    """Write down what `actor` did to many assets at once; nothing where there are none."""
    if keys:
        label = f"{len(keys)} assets" if len(keys) > 1 else "1 asset"
        after = {**listed(keys), **values}
        one = keys[0] if len(keys) == 1 else None
        record(actor, action, subject="Asset", subject_id=one, label=label, after=after)
