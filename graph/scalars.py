"""The scalars of the schema: how instants, times, large numbers, JSON and UUIDs are spelt.

Read by graph.schema only. A parser either returns a value or raises GraphQLError with a sentence;
whatever it lets through, the database can store.
"""

import json
import re
from datetime import UTC, date, datetime, time
from typing import Any, NewType
from uuid import UUID

import strawberry
from graphql import GraphQLError, Undefined
from strawberry.file_uploads import Upload
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

from assets.upload_streams import StreamedFile

BigInt = NewType("BigInt", int)

# RFC 3339 section 5.6, of which the offset is never optional here.
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]([01]\d|2[0-3]):\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})\Z",
    re.ASCII,
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_TIME = re.compile(r"\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?\Z", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.ASCII | re.IGNORECASE)
# JavaScript's Number.MAX_SAFE_INTEGER.
MAX_SAFE = 2**53 - 1


def print_instant(value: datetime) -> str:
    """Return `2033-01-01T12:30:15.500000Z`: UTC, microseconds only when there are any."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def parse_instant(value: object) -> datetime:
    """Return an aware instant in UTC; raises GraphQLError for what is none or has no offset."""
    example = "such as 2033-01-01T12:30:15Z or 2033-01-01T14:30:15+02:00"
    if not isinstance(value, str) or not _INSTANT.match(value):
        raise GraphQLError(f"A DateTime is RFC 3339 text with an offset, {example}.")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise GraphQLError(f"There is no instant {value!r} in the years 1 to 9999.") from None


def parse_date(value: object) -> date:
    """Return a day of the calendar; raises GraphQLError for what is none."""
    if isinstance(value, str) and _DATE.match(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise GraphQLError("A Date is YYYY-MM-DD, such as 2033-01-31.")


def parse_time(value: object) -> time:
    """Return a local time of day; raises GraphQLError for what is none."""
    if isinstance(value, str) and _TIME.match(value):
        try:
            return time.fromisoformat(value)
        except ValueError:
            pass
    raise GraphQLError("A Time is HH:MM, HH:MM:SS or HH:MM:SS.ffffff, such as 08:30:00.")


def parse_big_int(value: object) -> int:
    """Return a whole number that every JSON reader keeps exactly; raises GraphQLError."""
    is_whole = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    if not is_whole or not -MAX_SAFE <= int(value) <= MAX_SAFE:  # type: ignore[call-overload]
        raise GraphQLError(f"A BigInt is a whole number from -{MAX_SAFE} to {MAX_SAFE}.")
    return int(value)  # type: ignore[call-overload, no-any-return]


def parse_uuid(value: object) -> UUID:
    """Return a UUID; raises GraphQLError for what is none."""
    if isinstance(value, str) and _UUID.match(value):
        return UUID(value)
    raise GraphQLError("A UUID is text such as 0199d7a2-6f0e-7c3a-8f1d-2b6c5a4e9d10.")


def parse_upload(value: object) -> StreamedFile:
    """Return a file of a multipart request; raises GraphQLError for everything else."""
    if not isinstance(value, StreamedFile):
        raise GraphQLError("A file is a variable that is null, and a part of a multipart request.")
    return value


def parse_json(value: Any) -> Any:
    """Return JSON as it is; raises GraphQLError for numbers that JSON has none of."""
    try:
        value = _settled(value)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        raise GraphQLError("JSON has no infinite numbers, and no endless nesting.") from None
    return value


def _settled(value: Any) -> Any:
    """Return JSON without the variables in it that have no value, null where a list has them.

    While a document is validated no variable has one.
    """
    if isinstance(value, dict):
        return {name: _settled(part) for name, part in value.items() if part is not Undefined}
    if isinstance(value, list):
        return [None if part is Undefined else _settled(part) for part in value]
    return value


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description=(
            "An instant as RFC 3339 text. Printed in UTC, with microseconds only when there are "
            "any: `2033-01-01T12:30:15Z`, `2033-01-01T12:30:15.500000Z`. Accepted with any "
            "offset; an offset is required."
        ),
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=print_instant,
        parse_value=parse_instant,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A day of the calendar: `2033-01-31`.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=date.isoformat,
        parse_value=parse_date,
    ),
    time: strawberry.scalar(
        name="Time",
        description=(
            "A local time of day without an offset: `HH:MM:SS`, or `HH:MM:SS.ffffff` where there "
            "are microseconds. `HH:MM` is accepted."
        ),
        serialize=time.isoformat,
        parse_value=parse_time,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description=(
            "A whole number that may need more than 32 bits, as a JSON number. Accepted between "
            "-9007199254740991 and 9007199254740991; what old databases held beyond that is "
            "printed as it is."
        ),
        serialize=int,
        parse_value=parse_big_int,
    ),
    Upload: strawberry.scalar(
        name="Upload",
        description=(
            "A file in this request, which is multipart: null in `variables`, and named in `map`."
        ),
        specified_by_url="https://github.com/jaydenseric/graphql-multipart-request-spec",
        serialize=lambda value: value,
        parse_value=parse_upload,
    ),
    UUID: strawberry.scalar(
        name="UUID",
        description="A UUID in lower case with hyphens: `0199d7a2-6f0e-7c3a-8f1d-2b6c5a4e9d10`.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc9562",
        serialize=str,
        parse_value=parse_uuid,
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value, most often an object.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=lambda value: value,
        parse_value=parse_json,
    ),
}
