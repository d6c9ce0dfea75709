"""How a player wants things: the names, defaults and rules of Anthias's device_settings.

Pure; the one validation behind both faces (SPEC section 7). A document holds only what differs
from the one beneath it: a device's lies over its tenant's, and that over `DEFAULTS`. The sentences
are Anthias's where its clients show them to people.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tenancy.errors import InvalidInput
from tenancy.tenants import clean_all, clean_text, timezones

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# In the order that Anthias shows them.
DEFAULTS: Mapping[str, Any] = {
    "player_name": "",
    "audio_output": "hdmi",
    "default_duration": 10,
    "default_streaming_duration": 300,
    "date_format": "mm/dd/yyyy",
    "timezone": "",
    "show_splash": True,
    "default_assets": False,
    "shuffle_playlist": False,
    "use_24_hour_clock": False,
    "debug_logging": False,
    "prefer_dark_mode": False,
    "verify_ssl": True,
    "screen_rotation": 0,
    "display_power_schedule_enabled": False,
    "display_power_on_time": "08:00",
    "display_power_off_time": "18:00",
    "display_power_days": "0,1,2,3,4,5,6",
}
MAX_SECONDS = 31_536_000
MAX_SETTING = 1000  # characters
ROTATIONS = (0, 90, 180, 270)
UTC_NAME = "UTC"

_TIME = re.compile(r"(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?\Z", re.ASCII)


def clean_free_text(value: str) -> str:
    """Return text without outer space, possibly empty; raises InvalidInput."""
    text = clean_text(value).strip()
    if len(text) > MAX_SETTING:
        raise InvalidInput(f"Ensure this field has no more than {MAX_SETTING} characters.")
    return text


def clean_some_text(value: str) -> str:
    """Return text that says something; raises InvalidInput."""
    text = clean_free_text(value)
    if not text:
        raise InvalidInput("This field may not be blank.")
    return text


def clean_seconds(value: int) -> int:
    """Return seconds from 0 to a year; raises InvalidInput."""
    if value > MAX_SECONDS:
        raise InvalidInput(f"Ensure this value is less than or equal to {MAX_SECONDS}.")
    if value < 0:
        raise InvalidInput("Ensure this value is greater than or equal to 0.")
    return value


def clean_zone(value: str) -> str:
    """Return an IANA time zone, or nothing for the zone beneath; raises InvalidInput."""
    name = clean_free_text(value)
    if name and name not in timezones():
        raise InvalidInput(f"Unknown or unavailable timezone: {name:.80}.")
    return name


def clean_rotation(value: int) -> int:
    """Return degrees clockwise; raises InvalidInput."""
    if value not in ROTATIONS:
        raise InvalidInput(f'"{value}" is not a valid choice.')
    return value


def clean_clock(value: str) -> str:
    """Return a time of day as HH:MM, seconds dropped; raises InvalidInput."""
    text = clean_some_text(value)
    match = _TIME.match(text)
    hour, minute, second = (int(part or 0) for part in match.groups()) if match else (24, 0, 0)
    if hour > 23 or minute > 59 or second > 59:
        raise InvalidInput(f"Invalid time '{text:.80}': expected HH:MM.")
    return f"{hour:02}:{minute:02}"


def clean_weekdays(value: str) -> str:
    """Return weekdays with commas between (Monday is 0), sorted; nothing is all of them.

    Raises InvalidInput.
    """
    text = clean_free_text(value)
    if not text:
        return str(DEFAULTS["display_power_days"])
    days = set()
    for part in text.split(","):
        day = part.strip()
        if not re.fullmatch("[0-6]", day):
            message = f"Invalid weekday '{day:.80}': expected 0-6 (Monday=0), comma-separated."
            raise InvalidInput(message)
        days.add(day)
    return ",".join(sorted(days))


CLEANERS: Mapping[str, Callable[[Any], Any]] = {
    "player_name": clean_free_text,
    "audio_output": clean_some_text,
    "default_duration": clean_seconds,
    "default_streaming_duration": clean_seconds,
    "date_format": clean_some_text,
    "timezone": clean_zone,
    "show_splash": bool,
    "default_assets": bool,
    "shuffle_playlist": bool,
    "use_24_hour_clock": bool,
    "debug_logging": bool,
    "prefer_dark_mode": bool,
    "verify_ssl": bool,
    "screen_rotation": clean_rotation,
    "display_power_schedule_enabled": bool,
    "display_power_on_time": clean_clock,
    "display_power_off_time": clean_clock,
    "display_power_days": clean_weekdays,
}


def clean_device_settings(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return every value cleaned; None, which takes a value away, stays None.

    Raises Invalid with all that fail. The names are those of `DEFAULTS`.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    return {**dict.fromkeys(changes), **clean_all(given, CLEANERS)}


def overlaid(*documents: Mapping[str, Any]) -> dict[str, Any]:
    """Return `DEFAULTS` with each document over what is beneath it; strange names are left out."""
    found = dict(DEFAULTS)
    for document in documents:
        found |= {name: document[name] for name in DEFAULTS if name in document}
    return found


def changed(
    own: Mapping[str, Any], beneath: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a document after cleaned `changes`: only what differs from the one beneath.

    What was there and is not changed stays, even where it is the same by now.
    """
    found = {name: value for name, value in own.items() if name not in changes}
    return found | {
        name: value
        for name, value in changes.items()
        if value is not None and value != beneath[name]
    }
