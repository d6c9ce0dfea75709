"""A player's settings as GraphQL shows and takes them: Anthias's device_settings, typed.

The names, rules and defaults are tenancy.device_settings'.
"""

from collections.abc import Mapping
from typing import Any

import strawberry
from django.db.models import (
    BooleanField,
    Case,
    Expression,
    F,
    IntegerField,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce
from strawberry import UNSET

from graph.columns import part
from graph.context import Context
from tenancy.device_settings import DEFAULTS, UTC_NAME
from tenancy.models import TenantSettings

_FIELDS: dict[type, Any] = {bool: BooleanField(), int: IntegerField(), str: TextField()}

_TEXTS = {
    "player_name": "What the player calls itself; empty when it has no name of its own.",
    "audio_output": "Where sound goes: `hdmi`, `local`.",
    "default_duration": "How long an asset is shown unless it says otherwise, in seconds: `10`.",
    "default_streaming_duration": "The same for streams, in seconds: `300`.",
    "date_format": "How dates are written on the player: `mm/dd/yyyy`.",
    "timezone": (
        "The IANA time zone that its play windows are judged in: `Europe/Berlin`. Empty for UTC."
    ),
    "show_splash": "Whether it shows its address when it starts.",
    "default_assets": "Whether Anthias's three web pages are among the tenant's assets.",
    "shuffle_playlist": "Whether it plays in random order.",
    "use_24_hour_clock": "Whether times are written from 0 to 24.",
    "debug_logging": "Whether it writes down more of what it does.",
    "prefer_dark_mode": "Whether web pages are asked for their dark form.",
    "verify_ssl": "Whether certificates of web pages have to be valid.",
    "screen_rotation": "Degrees the picture is turned by: 0, 90, 180 or 270.",
    "display_power_schedule_enabled": "Whether the screen is switched on and off by the clock.",
    "display_power_on_time": "When it is switched on, local time: `08:00`.",
    "display_power_off_time": "When it is switched off, local time: `18:00`.",
    "display_power_days": (
        "The days on which it is, Monday is 0, with commas between: `0,1,2,3,4`."
    ),
}


def _wanted(name: str) -> Any:
    return part(_TEXTS[name], sql=lambda _: F(f"wanted_{name}"))


def _own(column: str, name: str) -> Expression:
    """Return what a document says of a setting, null where it says nothing."""
    return Cast(KT(f"{column}__{name}"), _FIELDS[type(DEFAULTS[name])])


def wanted_by_tenant() -> dict[str, Any]:
    """Return what assets.player_settings.defaults_of says of a tenant's settings, as SQL."""
    wanted: dict[str, Any] = {
        f"wanted_{name}": Coalesce(
            _own("device_settings", name), Value(default), output_field=_FIELDS[type(default)]
        )
        for name, default in DEFAULTS.items()
    }
    wanted["wanted_timezone"] = Case(
        When(timezone=UTC_NAME, device_settings__timezone=UTC_NAME, then=Value(UTC_NAME)),
        When(timezone=UTC_NAME, then=Value("")),
        default=F("timezone"),
        output_field=TextField(),
    )
    wanted["wanted_default_duration"] = F("default_asset_duration")
    return wanted


def wanted_by_device(context: Context) -> Mapping[str, Any]:
    """Return what assets.player_settings.settings_of says of a device, as SQL."""
    defaults = TenantSettings.objects.filter(tenant_id=context.actor.entered())
    defaults = defaults.annotate(**wanted_by_tenant())
    return {
        f"wanted_{name}": Coalesce(
            _own("settings", name),
            Subquery(defaults.values(f"wanted_{name}")[:1]),
            output_field=_FIELDS[type(default)],
        )
        for name, default in DEFAULTS.items()
    }


@strawberry.type(description="How a player wants things, by the names of Anthias's settings.")
class DeviceSettings:
    """A complete document, whoever's."""

    player_name: str = _wanted("player_name")
    audio_output: str = _wanted("audio_output")
    default_duration: int = _wanted("default_duration")
    default_streaming_duration: int = _wanted("default_streaming_duration")
    date_format: str = _wanted("date_format")
    timezone: str = _wanted("timezone")
    show_splash: bool = _wanted("show_splash")
    default_assets: bool = _wanted("default_assets")
    shuffle_playlist: bool = _wanted("shuffle_playlist")
    use_24_hour_clock: bool = _wanted("use_24_hour_clock")
    debug_logging: bool = _wanted("debug_logging")
    prefer_dark_mode: bool = _wanted("prefer_dark_mode")
    verify_ssl: bool = _wanted("verify_ssl")
    screen_rotation: int = _wanted("screen_rotation")
    display_power_schedule_enabled: bool = _wanted("display_power_schedule_enabled")
    display_power_on_time: str = _wanted("display_power_on_time")
    display_power_off_time: str = _wanted("display_power_off_time")
    display_power_days: str = _wanted("display_power_days")


@strawberry.input(
    description=(
        "What to change of how the tenant's players want things. What is left out stays, and null "
        "goes back to Anthias's default."
    )
)
class UpdateDeviceDefaultsInput:
    """The input of `updateDeviceDefaults`."""

    player_name: str | None = strawberry.field(description=_TEXTS["player_name"], default=UNSET)
    audio_output: str | None = strawberry.field(description=_TEXTS["audio_output"], default=UNSET)
    default_duration: int | None = strawberry.field(
        description=_TEXTS["default_duration"], default=UNSET
    )
    default_streaming_duration: int | None = strawberry.field(
        description=_TEXTS["default_streaming_duration"], default=UNSET
    )
    date_format: str | None = strawberry.field(description=_TEXTS["date_format"], default=UNSET)
    timezone: str | None = strawberry.field(description=_TEXTS["timezone"], default=UNSET)
    show_splash: bool | None = strawberry.field(description=_TEXTS["show_splash"], default=UNSET)
    default_assets: bool | None = strawberry.field(
        description=_TEXTS["default_assets"], default=UNSET
    )
    shuffle_playlist: bool | None = strawberry.field(
        description=_TEXTS["shuffle_playlist"], default=UNSET
    )
    use_24_hour_clock: bool | None = strawberry.field(
        description=_TEXTS["use_24_hour_clock"], default=UNSET
    )
    debug_logging: bool | None = strawberry.field(
        description=_TEXTS["debug_logging"], default=UNSET
    )
    prefer_dark_mode: bool | None = strawberry.field(
        description=_TEXTS["prefer_dark_mode"], default=UNSET
    )
    verify_ssl: bool | None = strawberry.field(description=_TEXTS["verify_ssl"], default=UNSET)
    screen_rotation: int | None = strawberry.field(
        description=_TEXTS["screen_rotation"], default=UNSET
    )
    display_power_schedule_enabled: bool | None = strawberry.field(
        description=_TEXTS["display_power_schedule_enabled"], default=UNSET
    )
    display_power_on_time: str | None = strawberry.field(
        description=_TEXTS["display_power_on_time"], default=UNSET
    )
    display_power_off_time: str | None = strawberry.field(
        description=_TEXTS["display_power_off_time"], default=UNSET
    )
    display_power_days: str | None = strawberry.field(
        description=_TEXTS["display_power_days"], default=UNSET
    )


@strawberry.input(
    description=(
        "What to change of how one device wants things. What is left out stays, and null goes back "
        "to the tenant's default. `defaultAssets` is the whole tenant's whoever is asked."
    )
)
class UpdateDeviceSettingsInput(UpdateDeviceDefaultsInput):
    """The input of `updateDeviceSettings`."""

    id: strawberry.ID = strawberry.field(description="The device's `id`.")
