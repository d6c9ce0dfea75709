"""What a tenant has of what its plan allows (MISSION T6). Reads only."""

import strawberry
from django.db.models import BigIntegerField, F, OuterRef, Subquery, Value
from django.db.models.functions import Cast, Coalesce

from graph.columns import ExpressionOf, part
from graph.context import Context
from graph.scalars import BigInt
from tenancy.limits import BYTES_PER_GB
from tenancy.models import Tenant, TenantUsage


def _counted(name: str) -> ExpressionOf:
    rows = TenantUsage.objects.filter(tenant_id=OuterRef("pk")).values(name)[:1]
    return lambda _: Coalesce(Subquery(rows), Value(0), output_field=BigIntegerField())


@strawberry.type(
    description=(
        "What a tenant has of what its plan allows. A write that would pass a limit is refused "
        "with QUOTA_EXCEEDED, however many come at once."
    )
)
class Usage:
    """Counts and their limits."""

    assets: BigInt = part("How many assets it has.", sql=_counted("assets"))
    max_assets: int = part("How many assets it may have.", sql=lambda _: F("max_assets"))
    bytes: BigInt = part(
        "Bytes of its media, uploads that are on their way included at full size.",
        sql=_counted("bytes"),
    )
    max_bytes: BigInt = part(
        "Bytes of media it may keep: `storageQuotaGb` times 1000000000.",
        sql=lambda _: Cast("storage_quota_gb", BigIntegerField()) * Value(BYTES_PER_GB),
    )
    devices: BigInt = part(
        "How many players it has; revoked ones do not count.", sql=_counted("devices")
    )
    max_devices: int = part("How many players it may have.", sql=lambda _: F("max_devices"))
    members: int = part(
        "How many members it has; deactivated ones and invitations do not count.",
        sql=_counted("members"),
    )
    max_members: int = part(
        "How many members it may have: `maxUsers`.", sql=lambda _: F("max_users")
    )


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
