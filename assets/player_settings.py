"""How players want things: a device's own settings over its tenant's, and the writes to both.

Both faces read and write through here; the names and rules are tenancy.device_settings'. Two of a
tenant's are what it has in other places too: `timezone` and `default_duration` are its own columns,
so that GraphQL and the shim agree about what plays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils import timezone

from assets.default_assets import add_default_assets, remove_default_assets
from tenancy.audit import record
from tenancy.commands import RELOAD, send_command
from tenancy.device_settings import (
    DEFAULTS,
    UTC_NAME,
    changed,
    clean_device_settings,
    overlaid,
)
from tenancy.devices import locked_device
from tenancy.events import Event, publish
from tenancy.models import TenantSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from tenancy.actors import Actor
    from tenancy.models import Device


def defaults_of(settings: TenantSettings) -> dict[str, Any]:
    """Return what a tenant's players want unless they say otherwise, complete and in order."""
    found = overlaid(settings.device_settings)
    # "" is what Anthias says for UTC until somebody chooses it by name.
    if settings.timezone != UTC_NAME:
        found["timezone"] = settings.timezone
    elif found["timezone"] != UTC_NAME:
        found["timezone"] = ""
    found["default_duration"] = settings.default_asset_duration
    return found


def settings_of(settings: TenantSettings, device: Device | None) -> dict[str, Any]:
    """Return what a device wants, complete and in order; without one the tenant's defaults."""
    defaults = defaults_of(settings)
    return defaults if device is None else overlaid(defaults, device.settings)


def zone_of(found: Mapping[str, Any]) -> ZoneInfo:
    """Return the time zone that such settings name."""
    return ZoneInfo(found["timezone"] or UTC_NAME)


@transaction.atomic
def update_device_defaults(
    *, actor: Actor, changes: Mapping[str, Any], tell: bool = True
) -> TenantSettings:
    """Return the tenant's settings after `changes` to its players' defaults; players reload.

    Without `tell` they find out by asking. None goes back to Anthias's default. `default_assets`
    adds Anthias's three web pages to the tenant's assets, or removes them. Raises PermissionDenied
    without tenant.settings (and, for those pages, without assets.create or assets.delete), Invalid
    with every bad value, QuotaExceeded.
    """
    tenant_id = actor.require("tenant.settings")
    cleaned = clean_device_settings(changes)
    row = TenantSettings.objects.select_for_update().get(tenant_id=tenant_id)
    before = defaults_of(row)
    row.device_settings = changed(row.device_settings, DEFAULTS, cleaned)
    if "timezone" in cleaned:
        row.timezone = cleaned["timezone"] or UTC_NAME
    if "default_duration" in cleaned:
        seconds = cleaned["default_duration"]
        row.default_asset_duration = DEFAULTS["default_duration"] if seconds is None else seconds
        row.device_settings.pop("default_duration", None)
    after = defaults_of(row)
    if after != before:
        row.save()
        publish(Event.SETTINGS_CHANGED, [row.pk], actor=actor)
        record(
            actor,
            "settings.device_defaults_updated",
            subject="TenantSettings",
            subject_id=row.pk,
            **_differences(before, after),
        )
    if after["default_assets"] and not before["default_assets"]:
        add_default_assets(actor=actor, duration=after["default_duration"])
    elif before["default_assets"] and not after["default_assets"]:
        remove_default_assets(actor=actor)
    if tell:
        send_command(actor=actor, command=RELOAD)
    return row


@transaction.atomic
def update_device_settings(*, actor: Actor, device: UUID, changes: Mapping[str, Any]) -> Device:
    """Return the device after `changes` to its own settings; it reloads.

    None, and "" for its time zone, goes back to the tenant's default. `default_assets` is the whole
    tenant's: it is passed on to `update_device_defaults` when it is to change. Raises
    PermissionDenied without devices.edit unless it is the device itself, NotFound, Invalid.
    """
    if actor.device_id != device:
        actor.require("devices.edit")
    cleaned = clean_device_settings(changes)
    row = locked_device(device)
    pages = cleaned.pop("default_assets", None)
    if "timezone" in cleaned:
        cleaned["timezone"] = cleaned["timezone"] or None
    tenant = TenantSettings.objects.get(tenant_id=actor.entered())
    if pages is not None and pages != defaults_of(tenant)["default_assets"]:
        tenant = update_device_defaults(actor=actor, changes={"default_assets": pages})
    settings = changed(row.settings, defaults_of(tenant), cleaned)
    if settings != row.settings:
        differences = _differences(row.settings, settings)
        row.settings, row.updated_at = settings, timezone.now()
        row.save(update_fields=["settings", "updated_at"])
        publish(Event.DEVICES_CHANGED, [row.pk], actor=actor)
        record(
            actor,
            "device.settings_updated",
            subject="Device",
            subject_id=row.pk,
            label=row.name,
            **differences,
        )
    send_command(actor=actor, command=RELOAD, device=row.pk)
    return row


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs, before and after; what one of them has not is left out of it."""
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return {
        "before": {name: old[name] for name in names if name in old},
        "after": {name: new[name] for name in names if name in new},
    }
