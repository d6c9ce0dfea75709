"""What a tenant has of what its plan allows (MISSION T6). Reads only."""

import strawberry

from graph.context import Context
from graph.scalars import BigInt
from tenancy.limits import BYTES_PER_GB
from tenancy.models import Tenant, TenantUsage


@strawberry.type(
    description=(
        "What a tenant has of what its plan allows. A write that would pass a limit is refused "
        "with QUOTA_EXCEEDED, however many come at once."
    )
)
class Usage:
    """Counts and their limits."""

    assets: BigInt = strawberry.field(description="How many assets it has.")
    max_assets: int = strawberry.field(description="How many assets it may have.")
    bytes: BigInt = strawberry.field(
        description="Bytes of its media, uploads that are on their way included at full size."
    )
    max_bytes: BigInt = strawberry.field(
        description="Bytes of media it may keep: `storageQuotaGb` times 1000000000."
    )
    devices: BigInt = strawberry.field(
        description="How many players it has; revoked ones do not count."
    )
    max_devices: int = strawberry.field(description="How many players it may have.")
    members: int = strawberry.field(
        description="How many members it has; deactivated ones and invitations do not count."
    )
    max_members: int = strawberry.field(description="How many members it may have: `maxUsers`.")


def usage_of(context: Context, tenant: Tenant) -> Usage:
    """Return the entered tenant's usage: one row."""
    counted = TenantUsage.objects.filter(tenant_id=context.actor.entered()).first()
    return Usage(
        assets=BigInt(counted.assets if counted else 0),
        max_assets=tenant.max_assets,
        bytes=BigInt(counted.bytes if counted else 0),
        max_bytes=BigInt(tenant.storage_quota_gb * BYTES_PER_GB),
        devices=BigInt(counted.devices if counted else 0),
        max_devices=tenant.max_devices,
        members=counted.members if counted else 0,
        max_members=tenant.max_users,
    )
