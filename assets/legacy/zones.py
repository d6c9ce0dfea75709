"""On whose clock a legacy answer is: dates carry its offset, and activity is judged by it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from tenancy.models import TenantSettings

if TYPE_CHECKING:
    from assets.legacy.endpoint import Call


def zone_of(call: Call) -> ZoneInfo:
    """Return the time zone that a call is answered in: the tenant's. Inside the door."""
    names = TenantSettings.objects.filter(tenant_id=call.actor.entered())
    return ZoneInfo(names.values_list("timezone", flat=True).get())
