"""`device_settings` as Anthias has it: one document, read and changed (SPEC section 7).

Its authentication part is shown as Anthias shows an open device, and changes nothing here: people
and devices have accounts of their own. What would be refused there is refused in the same words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.password_validation import (
    CommonPasswordValidator,
    MinimumLengthValidator,
    NumericPasswordValidator,
    UserAttributeSimilarityValidator,
)
from django.core.exceptions import ValidationError

from assets.legacy.addressing import addressed
from assets.legacy.docs import Doc, Reply, Schema, body_of, object_of, ref
from assets.legacy.endpoint import Answer, Call, Endpoint, Method
from assets.legacy.errors import LegacyError, of_domain
from assets.legacy.fields import (
    Field,
    Form,
    Refused,
    choice,
    flag,
    free_text,
    integer,
    read_fields,
    text,
)
from assets.legacy.negotiation import data_of
from assets.legacy.schemas import FLAG, taken
from assets.player_settings import settings_of, update_device_defaults, update_device_settings
from tenancy.device_settings import DEFAULTS, ROTATIONS, clean_device_settings
from tenancy.errors import Invalid
from tenancy.models import TenantSettings, User

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTH_BACKEND, AUTH_BASIC, USERNAME = "auth_backend", "auth_basic", "username"
SAVED = "Settings were successfully saved."
NOT_SAVED = "An error occurred while saving settings."
ONLY_OPERATORS = "Only the operator account can change authentication settings."

FIELDS: Mapping[str, Field] = {
    "player_name": Field(free_text),
    "audio_output": Field(text),
    "default_duration": Field(integer()),
    "default_streaming_duration": Field(integer()),
    "date_format": Field(text),
    "timezone": Field(free_text),
    AUTH_BACKEND: Field(choice("", AUTH_BASIC)),
    "show_splash": Field(flag),
    "default_assets": Field(flag),
    "shuffle_playlist": Field(flag),
    "use_24_hour_clock": Field(flag),
    "debug_logging": Field(flag),
    "prefer_dark_mode": Field(flag),
    "verify_ssl": Field(flag),
    "screen_rotation": Field(choice(*ROTATIONS)),
    USERNAME: Field(free_text),
    "password": Field(free_text),
    "password_2": Field(free_text),
    "current_password": Field(free_text),
    "display_power_schedule_enabled": Field(flag),
    "display_power_on_time": Field(text),
    "display_power_off_time": Field(text),
    "display_power_days": Field(free_text),
}
SHOWN = [name for name in FIELDS if name in DEFAULTS or name in {AUTH_BACKEND, USERNAME}]


def show_settings(call: Call) -> Answer:
    """Answer with the whole document."""
    device = addressed(call)
    found = settings_of(TenantSettings.objects.get(tenant_id=call.actor.entered()), device)
    return Answer({name: found.get(name, "") for name in SHOWN})


def change_settings(call: Call) -> Answer:
    """Change all of what is given, or nothing; raises LegacyError, DomainError."""
    try:
        data = data_of(call.request)
    except LegacyError:
        raise LegacyError(400, {"error": NOT_SAVED}) from None
    changes = _read(data)
    device = addressed(call)
    if device is None:
        update_device_defaults(actor=call.actor, changes=changes)
    else:
        update_device_settings(actor=call.actor, device=device.pk, changes=changes)
    return Answer({"message": SAVED})


def _read(data: Any) -> dict[str, Any]:
    try:
        form = read_fields(FIELDS, data, partial=True)
    except Refused as error:
        raise LegacyError(400, error.messages) from None
    changes = {name: value for name, value in form.values.items() if name in DEFAULTS}
    try:
        clean_device_settings(changes)
    except Invalid as error:
        form.errors |= of_domain(error).body
    if form.errors:
        raise LegacyError(400, {name: form.errors[name] for name in FIELDS if name in form.errors})
    _check_authentication(form)
    return changes


def _check_authentication(form: Form) -> None:
    """Refuse to switch Anthias's own authentication on, for the first reason it would give."""
    if form.values.get(AUTH_BACKEND, "") != AUTH_BASIC:
        return
    username, password, again = (
        form.values.get(name, "") for name in (USERNAME, "password", "password_2")
    )
    if not username:
        raise LegacyError(400, {"error": "Must provide username"})
    if not password:
        raise LegacyError(400, {"error": "Must provide password"})
    if password != again:
        raise LegacyError(400, {"error": "New passwords do not match!"})
    weaknesses = _weaknesses(username, password)
    raise LegacyError(400, {"error": " ".join(weaknesses) or ONLY_OPERATORS})


def _weaknesses(username: str, password: str) -> list[str]:
    found: list[str] = []
    # Anthias's own, whatever this service asks of the passwords of its people.
    for validator in (
        UserAttributeSimilarityValidator(user_attributes=(USERNAME,)),
        MinimumLengthValidator(8),
        CommonPasswordValidator(),
        NumericPasswordValidator(),
    ):
        try:
            validator.validate(password, User(username=username))
        except ValidationError as error:
            found += error.messages
    return found


_NO_DEVICE = Reply("There is no such device in this tenant.", ref("Detail"))
DEVICE_SETTINGS = Endpoint(
    "Device Settings",
    {
        "GET": Method(
            show_settings,
            "assets.view",
            Doc(
                "Players",
                "Read how players want things",
                {200: Reply("All of the settings.", ref("DeviceSettings")), 404: _NO_DEVICE},
                "Without a device in the address, what applies to all of the tenant's.",
            ),
        ),
        "PATCH": Method(
            change_settings,
            "",
            Doc(
                "Players",
                "Change how players want things",
                {
                    200: Reply(
                        "They are changed, all of them.", object_of(message={"const": SAVED})
                    ),
                    400: Reply("Something is not valid, and nothing is changed.", ref("Refusal")),
                    404: _NO_DEVICE,
                },
                "Without a device in the address, for all of the tenant's that have no own.",
                body_of("The settings to change.", ref("DeviceSettingsPatch"), required=False),
            ),
            needs="tenant.settings, or devices.edit for one device",
        ),
    },
)
# What fields mean, whether they are sent or answered.
MEANINGS: Mapping[str, str] = {
    "player_name": "What the player is called.",
    "audio_output": "Where sound goes: `hdmi` or `local`.",
    "default_duration": "Seconds that a new asset is shown for, 0 to 31536000.",
    "default_streaming_duration": "Seconds that a new stream is shown for.",
    "date_format": "How dates are shown, as `mm/dd/yyyy`.",
    "timezone": "The IANA time zone; empty is the tenant's.",
    AUTH_BACKEND: "Always empty: people and devices have accounts.",
    "show_splash": "Whether a player shows its address when it starts.",
    "default_assets": "Whether the tenant has Anthias's own sample pages.",
    "shuffle_playlist": "Whether assets play in any order.",
    "use_24_hour_clock": "Whether times are shown without am and pm.",
    "debug_logging": "Whether a player logs more than usual.",
    "prefer_dark_mode": "Whether pages are asked for their dark colours.",
    "verify_ssl": "Whether certificates have to be valid.",
    "screen_rotation": "Degrees, clockwise.",
    USERNAME: "Always empty, likewise.",
    "password": "Changes nothing here.",
    "password_2": "Changes nothing here.",
    "current_password": "Changes nothing here.",
    "display_power_schedule_enabled": "Whether screens are switched on and off by the clock.",
    "display_power_on_time": "When they are switched on, `HH:MM`.",
    "display_power_off_time": "When they are switched off, `HH:MM`.",
    "display_power_days": "On which days: numbers with commas, 0 is Monday; empty is all.",
}


def _shown(name: str) -> Schema:
    if name == "screen_rotation":
        kind: Schema = {"enum": list(ROTATIONS)}
    else:
        default = DEFAULTS.get(name, "")
        kind = (
            FLAG
            if isinstance(default, bool)
            else {"type": "integer" if isinstance(default, int) else "string"}
        )
    return {**kind, "description": MEANINGS[name]}


SHAPES = {
    "DeviceSettings": object_of("", **{name: _shown(name) for name in SHOWN}),
    "DeviceSettingsPatch": taken(FIELDS, MEANINGS),
}
