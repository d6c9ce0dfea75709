"""What a backup says of how players want things, taken over by its restore, and taken back.

Called by assets.restoring, inside its door. Only names of tenancy.device_settings count; whose
Anthias shows its three own pages was said by its database already. Whoever may not change the
tenant's settings restores the library alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.player_settings import update_device_defaults
from tenancy.device_settings import DEFAULTS, clean_device_settings
from tenancy.errors import Invalid
from tenancy.events import Event, publish
from tenancy.models import TenantSettings

if TYPE_CHECKING:
    from assets.models import Restore
    from tenancy.actors import Actor

PERMISSION = "tenant.settings"
# It makes or removes assets when it changes.
_PAGES = "default_assets"
_COLUMNS = ("timezone", "default_asset_duration")


def take_over(restore: Restore, *, actor: Actor) -> list[str]:
    """Make the archive's settings the defaults of the tenant's players; return what was refused.

    What was there before is noted on `restore`, which the caller saves.
    """
    given = {
        name: value
        for name, value in restore.settings.items()
        if name in DEFAULTS and name != _PAGES
    }
    if not given:
        return []
    if not actor.can(PERMISSION):
        return [f"Settings: left as they were, to change them needs {PERMISSION}"]
    row = TenantSettings.objects.select_for_update().get(tenant_id=restore.tenant_id)
    before = {"device_settings": row.device_settings} | {
        name: getattr(row, name) for name in _COLUMNS
    }
    changes, notes = {}, []
    for name, value in given.items():
        # A file says anything: what is no number where one is wanted is not even compared.
        if type(value) is not type(DEFAULTS[name]):
            notes.append(f"Settings: {name}: left as it was, {str(value)!r:.80} cannot be used")
            continue
        try:
            clean_device_settings({name: value})
        except Invalid as error:
            notes.append(f"Settings: {name}: left as it was. {error.message}")
        else:
            changes[name] = value
    if changes:
        # Anthias tells its player to stop before and to play afterwards, and nothing else.
        update_device_defaults(actor=actor, changes=changes, tell=False)
        restore.replaced_settings = before
    return notes


def take_back(restore: Restore, *, actor: Actor) -> list[str]:
    """Put the settings back that a restore replaced; return why not, where the actor may not."""
    before = restore.replaced_settings
    if before is None:
        return []
    if not actor.can(PERMISSION):
        return [f"Settings: not put back, to change them needs {PERMISSION}"]
    row = TenantSettings.objects.select_for_update().get(tenant_id=restore.tenant_id)
    kept = {name: value for name, value in row.device_settings.items() if name == _PAGES}
    old = {name: value for name, value in before["device_settings"].items() if name != _PAGES}
    row.device_settings = old | kept
    for name in _COLUMNS:
        setattr(row, name, before[name])
    row.save(update_fields=["device_settings", *_COLUMNS, "updated_at"])
    publish(Event.SETTINGS_CHANGED, [row.pk], actor=actor)
    return []
