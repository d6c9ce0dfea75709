"""On whose clock a legacy answer is: dates carry its offset, and activity is judged by it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.db import connection

from assets import player_settings
from tenancy.models import Device, TenantSettings

if TYPE_CHECKING:
    from assets.legacy.endpoint import Call


def zone_of(call: Call) -> ZoneInfo:
    """Return the time zone that a call is answered in: the tenant's, or the asking device's own.

    Inside the door.
    """
    tenant_id = call.actor.entered()
    if call.actor.device_id is None:
        # By hand: each list asks for it, and Django takes longer to write this than PostgreSQL to
        # answer.
        with connection.cursor() as cursor:
            cursor.execute("SELECT timezone FROM tenant_settings WHERE tenant_id = %s", [tenant_id])
            return ZoneInfo(cursor.fetchone()[0])
    rows = TenantSettings.objects.filter(tenant_id=tenant_id)
    device = Device.objects.get(pk=call.actor.device_id)
    return player_settings.zone_of(player_settings.settings_of(rows.get(), device))
