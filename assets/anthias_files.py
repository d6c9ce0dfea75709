"""The files of an Anthias home folder, as the current era has them (SPEC sections 6, 7 and 11).

Called by assets.backup, which writes them, and assets.restoring, which reads the settings. Pure: no
Django. No secret and no account is ever in any of them.
"""

from __future__ import annotations

import configparser
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, time

SETTINGS_FOLDER, MEDIA_FOLDER = ".anthias", "anthias_assets"
CONF, DATABASE, DEFAULT_ASSETS = "anthias.conf", "anthias.db", "default_assets.yml"
# What Anthias has no place for, a line of JSON for each asset that has any of it. It lies among
# Anthias's files, where Anthias keeps what it does not know.
OWN = "signate.jsonl"
# Where players look for media; rows name files by this path.
MEDIA_PATH = "/data/anthias_assets"
MAX_CONF_BYTES = 65_536

# Anthias accepts a database that is what its own migrations made: definitions and bookkeeping are
# read from one, rows of assets and accounts are not.
_TEMPLATE = Path(__file__).parent / "samples" / "anthias-current" / "anthias.db"
_BOOKKEEPING = ("django_migrations", "django_content_type", "auth_permission")
_ASSET_COLUMNS = (
    *("asset_id", "name", "uri", "md5", "start_date", "end_date", "duration", "mimetype"),
    *("is_enabled", "is_processing", "nocache", "play_order", "skip_asset_check", "is_reachable"),
    *("last_reachability_check", "play_days", "play_time_from", "play_time_to", "metadata"),
    "skip_ssl_verify",
)
# In the order of the file; what is not among them (a key, an account) is neither written nor read.
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "main": {
        "analytics_opt_out": "off",
        "assetdir": MEDIA_PATH,
        "database": f"/data/{SETTINGS_FOLDER}/{DATABASE}",
        "date_format": "mm/dd/yyyy",
        "timezone": "",
        "use_24_hour_clock": "off",
        "use_ssl": "off",
        "auth_backend": "",
        "django_secret_key": "",
        "display_power_schedule_enabled": "off",
        "display_power_on_time": "08:00",
        "display_power_off_time": "18:00",
        "display_power_days": "0,1,2,3,4,5,6",
    },
    "viewer": {
        "audio_output": "hdmi",
        "debug_logging": "off",
        "default_duration": "10",
        "default_streaming_duration": "300",
        "player_name": "",
        "prefer_dark_mode": "off",
        "resolution": "1920x1080",
        "screen_rotation": "0",
        "show_splash": "on",
        "shuffle_playlist": "off",
        "verify_ssl": "on",
        "default_assets": "off",
    },
}
# Of this machine, or of who may enter: never taken from a file.
_OURS = frozenset(
    {"analytics_opt_out", "assetdir", "database", "use_ssl", "auth_backend", "django_secret_key"}
)
_DEFAULT_ASSETS = (
    ("Screenly Weather Widget", "https://weather.srly.io"),
    ("Screenly Clock Widget", "https://clock.srly.io"),
    ("Hacker News", "https://news.ycombinator.com"),
)


def conf_text(settings: Mapping[str, str | int | bool]) -> str:
    """Return `anthias.conf` with Anthias's defaults where `settings` says nothing."""
    lines = []
    for section, defaults in _SETTINGS.items():
        lines.append(f"[{section}]")
        for name, default in defaults.items():
            value = default if name in _OURS else settings.get(name, default)
            if isinstance(value, bool):
                value = "on" if value else "off"
            # A line is a setting, and % begins a reference to another.
            text = " ".join(str(value).split()).replace("%", "%%")
            lines.append(f"{name} = {text}")
        lines.append("")
    return "\n".join(lines) + "\n"


def read_conf(content: bytes) -> dict[str, str | int | bool]:
    """Return the settings of an `anthias.conf` that a tenant may take over, by their names.

    Switches and numbers as such where they are; nobody has judged the values. Nothing for a file
    that cannot be read; never a key, an account or a path.
    """
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(content[:MAX_CONF_BYTES].decode())
    except (configparser.Error, UnicodeDecodeError):
        return {}
    return {
        name: _value(default, parser[section][name].replace("%%", "%"))
        for section, names in _SETTINGS.items()
        if parser.has_section(section)
        for name, default in names.items()
        if name not in _OURS and parser.has_option(section, name) and parser[section][name]
    }


def _value(default: str, text: str) -> str | int | bool:
    """Return a setting as what its default is: a switch, a number or text."""
    if default in {"on", "off"} and text.lower() in configparser.RawConfigParser.BOOLEAN_STATES:
        return configparser.RawConfigParser.BOOLEAN_STATES[text.lower()]
    if default.isdecimal() and text.isdecimal() and text.isascii() and len(text) < 10:
        return int(text)
    return text


def default_assets_text() -> str:
    """Return `default_assets.yml`: what Anthias shows when nothing else is to be shown."""
    listed = [
        f"  - name: {name}\n    uri: {uri}\n    mimetype: webpage\n"
        for name, uri in _DEFAULT_ASSETS
    ]
    return "assets:\n" + "\n".join(listed)


def write_database(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write `anthias.db` with `rows` in their order and return how many there were.

    Each has the columns of the table, with Python's values.
    """
    places = ", ".join("?" * len(_ASSET_COLUMNS))
    columns = ", ".join(f'"{name}"' for name in _ASSET_COLUMNS)
    template = f"{_TEMPLATE.as_uri()}?mode=ro&immutable=1"
    with (
        closing(sqlite3.connect(template, uri=True)) as made,
        closing(sqlite3.connect(path, isolation_level=None)) as database,
    ):
        # Nobody reads it before it is whole.
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN")
        for (definition,) in made.execute(
            "SELECT sql FROM sqlite_master WHERE sql <> '' AND name NOT LIKE 'sqlite~_%' "
            "ESCAPE '~' ORDER BY rowid"
        ):
            database.execute(definition)
        for table in _BOOKKEEPING:
            for row in made.execute(f'SELECT * FROM "{table}" ORDER BY id'):  # noqa: S608 -- a constant
                marks = ", ".join("?" * len(row))
                database.execute(f'INSERT INTO "{table}" VALUES ({marks})', row)  # noqa: S608 -- a constant
        cursor = database.executemany(
            f"INSERT INTO assets ({columns}) VALUES ({places})",  # noqa: S608 -- constants
            (_stored(row) for row in rows),
        )
        database.execute("COMMIT")
    return max(0, cursor.rowcount)


def _stored(row: Mapping[str, Any]) -> tuple[str | int | None, ...]:
    """Return a row as Anthias stores it: naive UTC text for dates, JSON for lists and objects."""
    return (
        row["asset_id"],
        row["name"],
        row["uri"],
        row["md5"],
        _moment(row["start_date"]),
        _moment(row["end_date"]),
        row["duration"],
        row["mimetype"],
        int(row["is_enabled"]),
        int(row["is_processing"]),
        int(row["nocache"]),
        row["play_order"],
        int(row["skip_asset_check"]),
        int(row["is_reachable"]),
        _moment(row["last_reachability_check"]),
        json.dumps(list(row["play_days"])),
        _clock(row["play_time_from"]),
        _clock(row["play_time_to"]),
        json.dumps(row["metadata"]),
        int(row["skip_ssl_verify"]),
    )


def _moment(value: datetime | None) -> str | None:
    return None if value is None else str(value.replace(tzinfo=None))


def _clock(value: time | None) -> str | None:
    return None if value is None else str(value)
