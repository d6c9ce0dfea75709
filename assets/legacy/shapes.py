"""What an asset looks like in each version of the legacy API, and what each version takes.

One table of fields per version (SPEC section 3). Answers are built by PostgreSQL as JSON text, in
one statement however many assets there are, and sent as they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper

from assets.legacy.errors import LegacyError
from assets.legacy.fields import (
    MAX_DURATION_S,
    Field,
    Form,
    Refused,
    duration_text,
    flag,
    free_text,
    instant,
    integer,
    list_of,
    mapping,
    read_fields,
    text,
    time_of_day,
)
from assets.querysets import CustomHeaders, RefreshInterval, active_q

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from zoneinfo import ZoneInfo

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


def _date(column: str) -> str:
    """Return SQL for a date as Python prints it: seconds, or microseconds; offset, or Z."""
    offset = f"(({column} AT TIME ZONE zone) - ({column} AT TIME ZONE 'UTC'))"
    return (
        f"to_char({column} AT TIME ZONE zone, CASE WHEN date_part('second', {column}) "
        f"= trunc(date_part('second', {column})) THEN 'YYYY-MM-DD\"T\"HH24:MI:SS' "
        "ELSE 'YYYY-MM-DD\"T\"HH24:MI:SS.US' END) || "
        f"CASE WHEN zone = 'UTC' OR {offset} = '0' THEN 'Z' "
        f"WHEN {offset} < '0' THEN to_char(-{offset}, '\"-\"HH24:MI') "
        f"ELSE to_char({offset}, '\"+\"HH24:MI') END AS {column}"
    )


def _time(column: str) -> str:
    return (
        f"to_char(date '2000-01-01' + {column}, CASE WHEN date_part('second', {column}) "
        f"= trunc(date_part('second', {column})) THEN 'HH24:MI:SS' ELSE 'HH24:MI:SS.US' END) "
        f"AS {column}"
    )


# Where a file is being fetched from, Anthias shows once it is there.
_METADATA = (
    "CASE WHEN processing_status IN ('pending', 'processing') AND media_path = '' "
    "THEN metadata - 'source_url' ELSE metadata END"
)
# A JSON object keeps the order of these.
_V1_SHAPE = ", ".join(
    [
        *("asset_id", "name", "uri", _date("start_date"), _date("end_date")),
        *("duration::text AS duration", "mimetype", "is_enabled::int AS is_enabled"),
        *("nocache::int AS nocache", "play_order", "skip_asset_check::int AS skip_asset_check"),
        *("active::int AS is_active", "is_processing::int AS is_processing"),
        *("is_reachable::int AS is_reachable", _date("last_reachability_check")),
        f"COALESCE(legacy_metadata, {_METADATA}) AS metadata",
    ]
)
_V2_SHAPE = ", ".join(
    [
        *("asset_id", "name", "uri", _date("start_date"), _date("end_date"), "duration"),
        *("mimetype", "is_enabled", "nocache", "play_order", "skip_asset_check"),
        *("skip_ssl_verify", "active AS is_active", "is_processing", "play_days"),
        *(_time("play_time_from"), _time("play_time_to"), "is_reachable"),
        *(_date("last_reachability_check"), f"{_METADATA} AS metadata"),
        "refresh AS refresh_interval_s",
        "headers AS custom_headers",
    ]
)


def shown(version: str, rows: AssetQuerySet, now: datetime, zone: ZoneInfo) -> str:
    """Return `rows` as JSON text, objects with commas between; nothing for no rows. One statement.

    Dates are in `zone`, in which activity is judged too.
    """
    shape = _V2_SHAPE if version == V2 else _V1_SHAPE
    inner = rows.values(
        *_COLUMNS,
        active=ExpressionWrapper(active_q(now, zone), output_field=BooleanField()),
        refresh=RefreshInterval("metadata"),
        headers=CustomHeaders("metadata"),
    )
    statement, parameters = inner.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(row_to_json(shaped)::text, ',') FROM "  # noqa: S608 -- constants
            f"(SELECT {shape} FROM ({statement}) AS rows, (SELECT %s::text AS zone) AS at) "
            "AS shaped",
            [*parameters, zone.key],
        )
        return cursor.fetchone()[0] or ""


# --- what each version takes --------------------------------------------------------------------

_zero_or_one = integer(0, 1)
_any_integer = integer()
_days = list_of(integer(1, 7))


def _number(value: Any) -> int:
    """Return a place, where Anthias knows no bounds, of 32 bits."""
    number: int = _any_integer(value)
    return max(-(2**31), min(2**31 - 1, number))


NO_DAYS = (
    "play_days must contain at least one day. To stop playback entirely, disable the asset "
    "(is_enabled=false)."
)


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
