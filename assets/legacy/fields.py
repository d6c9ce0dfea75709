"""Values as legacy clients send them: what each field takes, and what it says to what it does not.

Pure; used by shapes. The spellings and the sentences are those that Anthias's clients were written
against (SPEC sections 1 and 3), which is why a number may come as text and a flag as `on`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any

from django.http import QueryDict
from django.utils.dateparse import parse_datetime, parse_time

REQUIRED = "This field is required."
REQUIRED_IF_NO_VIDEO = "This field is required for non-video assets."
NULL = "This field may not be null."
BLANK = "This field may not be blank."
NOT_TEXT = "Not a valid string."
NOT_AN_INTEGER = "A valid integer is required."
NOT_A_FLAG = "Must be a valid boolean."
NO_DATETIME = (
    "Datetime has wrong format. Use one of these formats instead: "
    "YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."
)
NO_TIME = "Time has wrong format. Use one of these formats instead: hh:mm[:ss[.uuuuuu]]."
TRUE = frozenset({"t", "y", "yes", "true", "on", "1"})
FALSE = frozenset({"f", "n", "no", "false", "off", "0"})
LONGEST_NUMBER = 1000  # characters
_NO_FRACTION = re.compile(r"\.0*\s*\Z")


class Refused(ValueError):
    """A value that a field does not take; `messages` is what the answer says of the field."""

    def __init__(self, messages: str | Mapping[str, Any]) -> None:
        """Keep one sentence as a list of one, as all answers have it."""
        super().__init__(str(messages))
        self.messages: Any = [messages] if isinstance(messages, str) else dict(messages)


Parse = Callable[[Any], Any]
Schema = Mapping[str, Any]

_SCHEMAS: dict[Parse, Schema] = {}


def accepts(**schema: Any) -> Callable[[Parse], Parse]:
    """Say what a parser takes, as JSON Schema has it; the spellings that people should use."""

    def declare(parse: Parse) -> Parse:
        _SCHEMAS[parse] = schema
        return parse

    return declare


def schema_of(parse: Parse) -> Schema:
    """Return what a parser takes; KeyError for one that does not say."""
    return _SCHEMAS[parse]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a body: how it is read, whether it has to be there, whether it may be null.

    `absent_in_forms` is what a form without it means: browsers do not send boxes that are not
    ticked. `several` takes every value of a form's field.
    """

    parse: Parse
    required: bool = False
    nullable: bool = False
    absent_in_forms: Any = None
    several: bool = False


@accepts(type="string", minLength=1)
def text(value: Any) -> str:
    """Return text without outer space; numbers are text too. Raises Refused."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Refused(NOT_TEXT)
    found = str(value).strip()
    if not found:
        raise Refused(BLANK)
    return storable(found)


def storable(value: str) -> str:
    """Return text that a database can keep; raises Refused for NUL and lone surrogates."""
    if "\x00" in value:
        raise Refused("Null characters are not allowed.")
    for letter in value:
        if 0xD800 <= ord(letter) <= 0xDFFF:
            raise Refused(f"Surrogate characters are not allowed: U+{ord(letter):X}.")
    return value


def is_storable(value: str) -> bool:
    """Return whether a database can keep a text."""
    return "\x00" not in value and not any(0xD800 <= ord(letter) <= 0xDFFF for letter in value)


@accepts(type="string")
def free_text(value: Any) -> str:
    """Return text that may be empty; raises Refused."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Refused(NOT_TEXT)
    return storable(str(value).strip())


def integer(low: int | None = None, high: int | None = None) -> Parse:
    """Make a parser of whole numbers from `low` to `high`, as numbers or as text."""
    bounds = {"minimum": low, "maximum": high}
    number = {"type": "integer"} | {name: n for name, n in bounds.items() if n is not None}

    @accepts(anyOf=[number, {"type": "string", "pattern": "^-?[0-9]{1,9}$"}])
    def parse(value: Any) -> int:
        if isinstance(value, str) and len(value) > LONGEST_NUMBER:
            raise Refused("String value too large.")
        try:
            number = int(_NO_FRACTION.sub("", str(value)))
        except (ValueError, TypeError):
            raise Refused(NOT_AN_INTEGER) from None
        if high is not None and number > high:
            raise Refused(f"Ensure this value is less than or equal to {high}.")
        if low is not None and number < low:
            raise Refused(f"Ensure this value is greater than or equal to {low}.")
        return number

    return parse


@accepts(
    anyOf=[
        {"type": "boolean"},
        {"type": "integer", "enum": [0, 1]},
        {"type": "string", "enum": ["true", "false", "1", "0", "on", "off", "yes", "no"]},
    ]
)
def flag(value: Any) -> bool:
    """Return a truth value of any spelling; raises Refused."""
    # 2 and 1.5 are neither, and a list cannot be asked.
    if isinstance(value, (bool, int, float)) and value in {0, 1}:
        return bool(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in TRUE or word in FALSE:
            return word in TRUE
    raise Refused(NOT_A_FLAG)


def duration_text(value: Any) -> int:
    """Return seconds from the text or the number that v1 takes; raises Refused."""
    found = text(value)
    try:
        number = int(found)
    except ValueError:
        raise Refused(NOT_AN_INTEGER) from None
    if not 0 <= number <= MAX_DURATION_S:
        raise Refused(f"duration must be between 0 and {MAX_DURATION_S} seconds.")
    return number


MAX_DURATION_S = 31_536_000


@accepts(type="string", format="date-time")
def instant(value: Any) -> datetime:
    """Return an instant in UTC; without an offset it is UTC already. Raises Refused."""
    try:
        found = parse_datetime(value)
    except (ValueError, TypeError):
        found = None
    if found is None:
        raise Refused(NO_DATETIME)
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        raise Refused("Datetime value out of range.") from None


@accepts(type="string", pattern="^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,6})?)?$")
def time_of_day(value: Any) -> time:
    """Return a local time of day; raises Refused."""
    try:
        found = parse_time(value)
    except (ValueError, TypeError):
        found = None
    if found is None or found.tzinfo is not None:
        raise Refused(NO_TIME)
    return found


def list_of(parse: Parse) -> Parse:
    """Make a parser of lists; what is wrong inside is told by its index."""

    @accepts(type="array", items=schema_of(parse))
    def parse_list(value: Any) -> list[Any]:
        if isinstance(value, str) or not isinstance(value, list):
            kind = type(value).__name__
            raise Refused(f'Expected a list of items but got type "{kind}".')
        items, wrong = [], {}
        for place, item in enumerate(value):
            try:
                if item is None:
                    raise Refused(NULL)
                items.append(parse(item))
            except Refused as error:
                wrong[str(place)] = error.messages
        if wrong:
            raise Refused(wrong)
        return items

    return parse_list


@accepts(type="object")
def mapping(value: Any) -> dict[str, Any]:
    """Return a JSON object, which a form carries as text; raises Refused."""
    if isinstance(value, str):
        try:
            decoded = json.loads(value)
        except ValueError:
            decoded = value
        value = decoded if isinstance(decoded, dict) else value
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise Refused(f'Expected a dictionary of items but got type "{kind}".')
    return value


def choice(*allowed: Any) -> Parse:
    """Make a parser that takes one of `allowed`, by its spelling."""

    @accepts(enum=list(allowed))
    def parse(value: Any) -> Any:
        for one in allowed:
            if not isinstance(value, bool) and str(value) == str(one):
                return one
        raise Refused(f'"{value}" is not a valid choice.')

    return parse


@dataclass(slots=True)
class Form:
    """What a body says: valid values by name, and what is wrong by name."""

    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Any] = field(default_factory=dict)


def read_fields(fields: Mapping[str, Field], data: Any, *, partial: bool = False) -> Form:
    """Return the values and errors of a body; names that `fields` does not have are ignored.

    With `partial` nothing has to be there. Raises Refused when the body is no object at all.
    """
    if data is None:
        raise Refused({"non_field_errors": ["No data provided"]})
    if not isinstance(data, Mapping):
        kind = type(data).__name__
        raise Refused(
            {"non_field_errors": [f"Invalid data. Expected a dictionary, but got {kind}."]}
        )
    form = Form()
    for name, one in fields.items():
        value = _given(one, name, data, partial=partial)
        try:
            if value is _ABSENT:
                if one.required and not partial:
                    raise Refused(REQUIRED)
                continue
            if value is None:
                if not one.nullable:
                    raise Refused(NULL)
                form.values[name] = None
            else:
                form.values[name] = one.parse(value)
        except Refused as error:
            form.errors[name] = error.messages
    return form


_ABSENT = object()


def _given(one: Field, name: str, data: Mapping[str, Any], *, partial: bool) -> Any:
    if name not in data:
        if isinstance(data, QueryDict) and one.absent_in_forms is not None and not partial:
            return one.absent_in_forms
        return _ABSENT
    if not isinstance(data, QueryDict):
        return data[name]
    if one.several:
        return data.getlist(name)
    value = data[name]
    # A form has no null: an empty text stands for it where null is allowed.
    return None if value == "" and one.nullable else value
