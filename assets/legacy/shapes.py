"""What an asset looks like in each version of the legacy API, and what each version takes.

One table of fields per version (SPEC section 3). Answers are built by PostgreSQL as JSON text, in
one statement however many assets there are, and sent as they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.db.models import BooleanField, ExpressionWrapper

from assets.legacy.errors import LegacyError
from assets.legacy.fields import (
    MAX_DURATION_S,
    Field,
    Form,
    Refused,
    accepts,
    duration_text,
    flag,
    free_text,
    instant,
    integer,
    list_of,
    mapping,
    read_fields,
    schema_of,
    text,
    time_of_day,
)
from assets.querysets import CustomHeaders, RefreshInterval, active_q
from assets.statements import Statement, compiled

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from django.db.models import Q

    from assets.models import Asset
    from assets.querysets import AssetQuerySet

V1, V1_1, V1_2, V2 = "v1", "v1.1", "v1.2", "v2"
# The two that carry JSON as text inside a form.
MODEL_VERSIONS = frozenset({V1, V1_1})

_COLUMNS = (
    *("id", "asset_id", "name", "uri", "start_date", "end_date", "duration", "mimetype"),
    *("is_enabled", "is_processing", "nocache", "play_order", "skip_asset_check"),
    *("skip_ssl_verify", "play_days", "play_time_from", "play_time_to", "is_reachable"),
    *("last_reachability_check", "metadata", "legacy_metadata"),
    *("media_path", "processing_status"),
)


# The members of an object, each as SQL that gives its JSON as text. One `concat` of them takes a
# third less than `row_to_json`, which looks up the type of every column of every row.


def _text(column: str) -> str:
    return f"COALESCE(to_json({column})::text, 'null')"


def _flag(column: str) -> str:
    return f"CASE WHEN {column} THEN 'true' ELSE 'false' END"


def _bit(column: str) -> str:
    return f"CASE WHEN {column} THEN '1' ELSE '0' END"


def _date(column: str, *, is_utc: bool) -> str:
    """Return SQL for a date as Python prints it: seconds, or microseconds; offset, or Z.

    The clock of UTC has a way of its own, as most have it: no date has to be taken apart.
    """
    offset = f"(({column} AT TIME ZONE zone) - ({column} AT TIME ZONE 'UTC'))"
    printed = (
        f"'\"' || to_char({column} AT TIME ZONE zone, "
        f"CASE WHEN {column} = {column}::timestamptz(0) "
        "THEN 'YYYY-MM-DD\"T\"HH24:MI:SS' ELSE 'YYYY-MM-DD\"T\"HH24:MI:SS.US' END) || "
        f"CASE WHEN {offset} = '0' THEN 'Z' "
        f"WHEN {offset} < '0' THEN to_char(-{offset}, '\"-\"HH24:MI') "
        f"ELSE to_char({offset}, '\"+\"HH24:MI') END || '\"'"
    )
    quick = (
        f"WHEN {column} = {column}::timestamptz(0) "
        f"THEN left(to_json({column} AT TIME ZONE 'UTC')::text, -1) || 'Z\"' "
    )
    return f"CASE WHEN {column} IS NULL THEN 'null' {quick if is_utc else ''}ELSE {printed} END"


def _time(column: str) -> str:
    return (
        f"CASE WHEN {column} IS NULL THEN 'null' "
        f"WHEN {column} = {column}::time(0) THEN to_json({column})::text "
        f"ELSE '\"' || to_char(date '2000-01-01' + {column}, 'HH24:MI:SS.US') || '\"' END"
    )


# Where a file is being fetched from, Anthias shows once it is there.
_METADATA = (
    "CASE WHEN processing_status IN ('pending', 'processing') AND media_path = '' "
    "THEN metadata - 'source_url' ELSE metadata END"
)
_DAYS = (
    "CASE WHEN play_days = '{1,2,3,4,5,6,7}' THEN '[1,2,3,4,5,6,7]' "
    "ELSE to_json(play_days)::text END"
)


def _v1(*, is_utc: bool) -> dict[str, str]:
    return {
        "asset_id": _text("asset_id"),
        "name": _text("name"),
        "uri": _text("uri"),
        "start_date": _date("start_date", is_utc=is_utc),
        "end_date": _date("end_date", is_utc=is_utc),
        "duration": _text("duration::text"),
        "mimetype": _text("mimetype"),
        "is_enabled": _bit("is_enabled"),
        "nocache": _bit("nocache"),
        "play_order": "play_order",
        "skip_asset_check": _bit("skip_asset_check"),
        "is_active": _bit("active"),
        "is_processing": _bit("is_processing"),
        "is_reachable": _bit("is_reachable"),
        "last_reachability_check": _date("last_reachability_check", is_utc=is_utc),
        "metadata": f"COALESCE(legacy_metadata, {_METADATA})",
    }


def _v2(*, is_utc: bool) -> dict[str, str]:
    return {
        "asset_id": _text("asset_id"),
        "name": _text("name"),
        "uri": _text("uri"),
        "start_date": _date("start_date", is_utc=is_utc),
        "end_date": _date("end_date", is_utc=is_utc),
        "duration": _text("duration"),
        "mimetype": _text("mimetype"),
        "is_enabled": _flag("is_enabled"),
        "nocache": _flag("nocache"),
        "play_order": "play_order",
        "skip_asset_check": _flag("skip_asset_check"),
        "skip_ssl_verify": _flag("skip_ssl_verify"),
        "is_active": _flag("active"),
        "is_processing": _flag("is_processing"),
        "play_days": _DAYS,
        "play_time_from": _time("play_time_from"),
        "play_time_to": _time("play_time_to"),
        "is_reachable": _flag("is_reachable"),
        "last_reachability_check": _date("last_reachability_check", is_utc=is_utc),
        "metadata": _METADATA,
        "refresh_interval_s": "refresh",
        "custom_headers": "headers",
    }


def _object(members: Mapping[str, str]) -> str:
    """Return SQL for a JSON object with these members, in this order."""
    parts = [
        f"'{',' if place else '{'}\"{name}\":', {value}"
        for place, (name, value) in enumerate(members.items())
    ]
    return f"concat({', '.join(parts)}, '}}')"


def names_of(version: str) -> tuple[str, ...]:
    """Return what an asset's members are called in a version, in the order they come in."""
    return tuple((_v2 if version == V2 else _v1)(is_utc=True))


_OBJECTS = {
    (version == V2, is_utc): _object((_v2 if version == V2 else _v1)(is_utc=is_utc))
    for version in (V1, V2)
    for is_utc in (True, False)
}


def shown(version: str, rows: AssetQuerySet, now: datetime, zone: ZoneInfo) -> str:
    """Return `rows` as JSON text, objects with commas between; nothing for no rows. One statement.

    Dates are in `zone`, in which activity is judged too.
    """
    is_utc = zone.key == "UTC"
    statement = statement_of(version, rows, active_q(now, zone), is_utc=is_utc)
    [(text,)] = statement.rows({}, zone.key)
    return text or ""


def statement_of(
    version: str, rows: AssetQuerySet, active: Q, *, is_utc: bool, places: Collection[str] = ()
) -> Statement:
    """Return the statement behind `shown`; its last parameter is the name of the zone."""
    inner = rows.values(
        *_COLUMNS,
        active=ExpressionWrapper(active, output_field=BooleanField()),
        refresh=RefreshInterval("metadata"),
        headers=CustomHeaders("metadata"),
    )
    around = (
        f"SELECT string_agg({_OBJECTS[version == V2, is_utc]}, ',') "  # noqa: S608 -- constants
        "FROM ({}) AS rows, (SELECT %s::text AS zone) AS at"
    )
    return compiled(inner, around, places=places)


# --- what each version takes --------------------------------------------------------------------

_zero_or_one = integer(0, 1)
_any_integer = integer()
_days = list_of(integer(1, 7))


@accepts(**schema_of(_any_integer))
def _number(value: Any) -> int:
    """Return a place, where Anthias knows no bounds, of 32 bits."""
    number: int = _any_integer(value)
    return max(-(2**31), min(2**31 - 1, number))


NO_DAYS = (
    "play_days must contain at least one day. To stop playback entirely, disable the asset "
    "(is_enabled=false)."
)


@accepts(**schema_of(_days), minItems=1)
def _play_days(value: Any) -> list[int]:
    found = _days(value)
    if not found:
        raise Refused(NO_DAYS)
    return sorted(set(found))


_V1_CREATE: Mapping[str, Field] = {
    "ext": Field(free_text),
    "name": Field(text, required=True),
    "uri": Field(text, required=True),
    "start_date": Field(instant),
    "end_date": Field(instant),
    "duration": Field(text),
    "mimetype": Field(text, required=True),
    "is_enabled": Field(_zero_or_one),
    "is_processing": Field(_zero_or_one),
    "nocache": Field(flag),
    "play_order": Field(_number),
    "skip_asset_check": Field(_zero_or_one),
}
_V1_2_CREATE: Mapping[str, Field] = {
    "ext": Field(free_text),
    "name": Field(text, required=True),
    "uri": Field(text, required=True),
    "start_date": Field(instant, required=True),
    "end_date": Field(instant, required=True),
    "duration": Field(text, required=True),
    "mimetype": Field(text, required=True),
    "is_enabled": Field(_zero_or_one, required=True),
    "is_processing": Field(_zero_or_one),
    "nocache": Field(_zero_or_one),
    "play_order": Field(_number),
    "skip_asset_check": Field(_zero_or_one),
}
_V2_ONLY: Mapping[str, Field] = {
    "skip_ssl_verify": Field(flag, absent_in_forms=False),
    "play_days": Field(_play_days, several=True),
    "play_time_from": Field(time_of_day, nullable=True),
    "play_time_to": Field(time_of_day, nullable=True),
    "refresh_interval_s": Field(integer(0, 86_400)),
    "custom_headers": Field(mapping),
}
_V2_CREATE: Mapping[str, Field] = {
    "ext": Field(free_text),
    "name": Field(text, required=True),
    "uri": Field(text, required=True),
    "start_date": Field(instant, required=True),
    "end_date": Field(instant, required=True),
    "duration": Field(integer(0, MAX_DURATION_S), required=True),
    "mimetype": Field(text, required=True),
    "is_enabled": Field(flag, required=True, absent_in_forms=False),
    "is_processing": Field(flag, absent_in_forms=False),
    "nocache": Field(flag, absent_in_forms=False),
    "play_order": Field(_number),
    "skip_asset_check": Field(flag, absent_in_forms=False),
    **_V2_ONLY,
}
_V1_UPDATE: Mapping[str, Field] = {
    "name": Field(text, required=True),
    "start_date": Field(instant, required=True),
    "end_date": Field(instant, required=True),
    "duration": Field(text, required=True),
    "is_enabled": Field(_zero_or_one, required=True),
    "is_processing": Field(_zero_or_one),
    "nocache": Field(_zero_or_one),
    "play_order": Field(_number),
    "skip_asset_check": Field(_zero_or_one),
}
_V2_UPDATE: Mapping[str, Field] = {
    "name": Field(text, required=True),
    "start_date": Field(instant, required=True),
    "end_date": Field(instant, required=True),
    "duration": Field(integer(0, MAX_DURATION_S), required=True),
    "is_enabled": Field(flag, required=True, absent_in_forms=False),
    "is_processing": Field(flag, absent_in_forms=False),
    "nocache": Field(flag, absent_in_forms=False),
    "play_order": Field(_number),
    "skip_asset_check": Field(flag, absent_in_forms=False),
    **_V2_ONLY,
}
CREATE = {V1: _V1_CREATE, V1_1: _V1_CREATE, V1_2: _V1_2_CREATE, V2: _V2_CREATE}
UPDATE = {V1: _V1_UPDATE, V1_1: _V1_UPDATE, V1_2: _V1_UPDATE, V2: _V2_UPDATE}
TOGETHER = "play_time_from and play_time_to must be set together."
BAD_HEADERS = (
    "Invalid custom headers. Each entry needs a valid header-name token (letters, digits, and "
    "!#$%&'*+-.^_`|~) and a value with no CR/LF, and at most 20 headers are allowed."
)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}\Z")


def read_asset(
    version: str, data: Any, *, row: Asset | None = None, partial: bool = False
) -> dict[str, Any]:
    """Return the values of a body that makes an asset, or changes `row`.

    Raises LegacyError with everything that is wrong, by field. A duration of the v1 family is text
    still: it is judged last (`settle_duration`).
    """
    fields = CREATE[version] if row is None else UPDATE[version]
    try:
        form = read_fields(fields, data, partial=partial)
    except Refused as error:
        raise LegacyError(400, error.messages) from None
    if not form.errors:
        _check_headers(form)
        _check_window(form, row)
    if form.errors:
        raise LegacyError(400, form.errors)
    return form.values


def settle_duration(values: dict[str, Any]) -> None:
    """Make seconds of a duration that is text; raises LegacyError."""
    if isinstance(values.get("duration"), str):
        try:
            values["duration"] = duration_text(values["duration"])
        except Refused as error:
            raise LegacyError(400, {"duration": error.messages}) from None


def _check_headers(form: Form) -> None:
    headers = form.values.get("custom_headers")
    if headers is None:
        return
    cleaned = {str(name).strip(): value for name, value in headers.items()}
    if len(headers) > 20 or not all(
        _TOKEN.match(name)
        and isinstance(value, str)
        and not re.search(r"[\r\n\x00]", value)
        and len(value.encode(errors="surrogatepass")) <= 4096
        for name, value in cleaned.items()
    ):
        form.errors["custom_headers"] = [BAD_HEADERS]
    form.values["custom_headers"] = cleaned


def _check_window(form: Form, row: Asset | None) -> None:
    """Refuse half of a play window; the other half may be stored already."""
    names = ("play_time_from", "play_time_to")
    if not form.values.keys() & set(names):
        return
    window = {name: form.values.get(name, getattr(row, name, None)) for name in names}
    missing = [name for name, value in window.items() if value is None]
    if len(missing) == 1:
        form.errors[missing[0]] = [TOGETHER]
