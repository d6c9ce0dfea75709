"""How the value of a column is spelt in JSON by PostgreSQL, exactly as graph.scalars spells it.

Called by graph.compiled.objects with a type of the schema, a field of the ORM and the SQL of a
value; returns the SQL of its JSON text, which is never NULL. Two characters that no JSON text can
contain tell Python what PostgreSQL cannot: `UNSETTLED` around JSON that Python is to spell, and
`UNFIT` for a value that is none of its type, with which the ordinary executor is to deal.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from graphql import (
    GraphQLEnumType,
    GraphQLNonNull,
    get_nullable_type,
    is_enum_type,
    is_list_type,
    is_non_null_type,
)

from graph.compiled.shapes import Uncompilable

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphql import GraphQLOutputType

UNFIT = "\x03"
UNSETTLED = ("\x01", "\x02")
UNFIT_SQL = "E'\\x03'"
_SAFE_NAME = re.compile(r"[A-Za-z_][0-9A-Za-z_]*\Z")
# encode() breaks its lines after so many bytes.
_LINE = 57


def text(value: str) -> str:
    """Return a literal of SQL; raises ValueError for what needs escaping."""
    if "'" in value or "\\" in value or "\x00" in value:
        raise ValueError(value)
    return f"'{value}'"


def instant(value: str) -> str:
    """Return the SQL of what `print_instant` makes, in quotes; the session's time zone is UTC.

    to_char() takes four times as long as to_json(), which spells whole seconds as we do but for
    the zone.
    """
    micros = r"""'\"YYYY-MM-DD"T"HH24:MI:SS.US"Z"\"'"""
    return (
        f"CASE WHEN {value} >= '0001-01-01 00:00:00+00'::timestamptz "
        f"AND {value} < '10000-01-01 00:00:00+00'::timestamptz THEN "
        f"CASE WHEN {value} = {value}::timestamptz(0) "
        f"""THEN left(to_json({value})::text, 20) || 'Z"' ELSE to_char({value}, {micros}) END """
        f"WHEN {value} IS NOT NULL THEN {UNFIT_SQL} END"
    )


def _time(value: str) -> str:
    return (
        f"CASE WHEN {value} < '24:00' THEN to_char({value}::interval, CASE WHEN "
        f"{value} = date_trunc('second', {value}::interval)::time THEN 'HH24:MI:SS' "
        f"ELSE 'HH24:MI:SS.US' END) WHEN {value} IS NOT NULL THEN {UNFIT_SQL} END"
    )


def day(value: str) -> str:
    """Return the SQL of a date in ISO 8601, without quotes."""
    return (
        f"CASE WHEN {value} >= '0001-01-01'::date AND {value} < '10000-01-01'::date "
        f"THEN to_char({value}, 'YYYY-MM-DD') WHEN {value} IS NOT NULL THEN {UNFIT_SQL} END"
    )


def _json(value: str) -> str:
    opened, closed = "E'\\x01'", "E'\\x02'"
    return (
        f"CASE WHEN {value} = '{{}}'::jsonb THEN '{{}}' WHEN {value} <> 'null'::jsonb "
        f"THEN concat({opened}, {value}, {closed}) END"
    )


def _json_texts(value: str) -> str:
    opened, closed = "E'\\x01'", "E'\\x02'"
    return (
        f"CASE WHEN jsonb_typeof({value}) = 'array' AND NOT jsonb_path_exists({value}, "
        """'strict $[*] ? (@.type() != "string")') """
        f"THEN concat({opened}, {value}, {closed}) WHEN {value} <> 'null'::jsonb "
        f"THEN {UNFIT_SQL} END"
    )


def _list(value: str) -> str:
    return (
        f"CASE WHEN array_ndims({value}) = 1 THEN CASE WHEN array_position({value}, NULL) IS NULL "
        f"THEN to_json({value})::text ELSE {UNFIT_SQL} END WHEN {value} = '{{}}' THEN '[]' "
        f"WHEN {value} IS NOT NULL THEN {UNFIT_SQL} END"
    )


def _quoted(value: str) -> str:
    return f"""'"' || {value} || '"'"""


def _enum(type_: GraphQLEnumType, value: str) -> str:
    cases = []
    for name, member in type_.values.items():
        stored = getattr(member.value, "value", member.value)
        if not isinstance(stored, str):
            raise Uncompilable(f"the enum {type_.name}")
        cases.append(f"""WHEN {text(stored)} THEN '"{name}"'""")
    return (
        f"CASE {value} {' '.join(cases)} ELSE CASE WHEN {value} IS NOT NULL "
        f"THEN {UNFIT_SQL} END END"
    )


_TEXT = (models.CharField, models.TextField)
_WHOLE = (models.IntegerField,)  # with those of 16 and 64 bits, and the positive ones

# By the name of the scalar: the fields it may come from, and how it is spelt.
_SCALARS: dict[str, tuple[tuple[type, ...], Callable[[str], str]]] = {
    "String": (_TEXT, lambda value: f"to_json({value})::text"),
    "ID": (_TEXT, lambda value: f"to_json({value})::text"),
    "Boolean": ((models.BooleanField,), lambda value: f"{value}::text"),
    "BigInt": (_WHOLE, lambda value: f"{value}::text"),
    "UUID": ((models.UUIDField,), _quoted),
    "DateTime": ((models.DateTimeField,), instant),
    "Date": ((models.DateField,), lambda value: _quoted(f"({day(value)})")),
    "Time": ((models.TimeField,), lambda value: _quoted(f"({_time(value)})")),
    "JSON": ((models.JSONField,), _json),
}
_INT = (models.IntegerField, models.SmallIntegerField)


def leaf(
    type_: GraphQLOutputType, field: models.Field[Any, Any], value: str, *, nullable: bool
) -> str:
    """Return the SQL of a value's JSON text; raises Uncompilable for types there is no rule for.

    `nullable` says that the value can be NULL in SQL. Where the schema promises that it is not,
    NULL is unfit.
    """
    required = is_non_null_type(type_)
    spelt = _spelt(get_nullable_type(type_), field, value)
    if not nullable and not isinstance(field, models.JSONField):
        return spelt
    return f"coalesce({spelt}, {UNFIT_SQL if required else text('null')})"


def _spelt(type_: Any, field: models.Field[Any, Any], value: str) -> str:
    if is_enum_type(type_) and isinstance(field, _TEXT):
        return _enum(type_, value)
    if is_list_type(type_):
        return _spelt_list(type_, field, value)
    name = getattr(type_, "name", str(type_))
    if name == "Int" and isinstance(field, _INT):
        if isinstance(field, models.BigIntegerField):
            return (
                f"CASE WHEN {value} BETWEEN -2147483648 AND 2147483647 THEN {value}::text "
                f"WHEN {value} IS NOT NULL THEN {UNFIT_SQL} END"
            )
        return f"{value}::text"
    fields, spell = _SCALARS.get(name, ((), str))
    if not isinstance(field, fields) or (
        name == "Date" and isinstance(field, models.DateTimeField)
    ):
        raise Uncompilable(f"{name} from {type(field).__name__}")
    return spell(value)


def _spelt_list(type_: Any, field: models.Field[Any, Any], value: str) -> str:
    item = type_.of_type
    if isinstance(field, models.JSONField) and str(item) == "String!":
        return _json_texts(value)
    if isinstance(field, ArrayField) and isinstance(item, GraphQLNonNull):
        base, name = field.base_field, getattr(item.of_type, "name", "")
        if (name == "String" and isinstance(base, _TEXT)) or (
            name == "Int"
            and isinstance(base, _INT)
            and not isinstance(base, models.BigIntegerField)
        ):
            return _list(value)
    raise Uncompilable(f"{type_} from {type(field).__name__}")


def missing(type_: GraphQLOutputType) -> str:
    """Return the SQL of the text of what is not there."""
    return UNFIT_SQL if is_non_null_type(type_) else text("null")


def global_id(type_name: str, value: str) -> str:
    """Return the SQL of the JSON text of a global id (graph.ids)."""
    prefix = f"{type_name}:"
    if len(prefix) + 36 > _LINE:
        raise Uncompilable(f"ids of {type_name}")
    if len(prefix) % 3 == 0:
        known = base64.b64encode(prefix.encode()).decode()
        return f"""'"{known}' || encode({value}::text::bytea, 'base64') || '"'"""
    return _quoted(f"encode(({text(prefix)} || {value}::text)::bytea, 'base64')")


def key(name: str) -> str:
    """Return a response key as it is written inside a literal of SQL; raises Uncompilable."""
    if not _SAFE_NAME.match(name):
        raise Uncompilable("a response key that is no name")
    return f'"{name}":'


def sort_value(field: models.Field[Any, Any], value: str) -> str:
    """Return the SQL of a value as cursors hold it (`SortKey.dump`)."""
    if isinstance(field, models.GeneratedField) and field.output_field is not None:
        field = field.output_field
    for name in ("DateTime", "Date", "BigInt", "String"):
        fields, spell = _SCALARS[name]
        if isinstance(field, fields):
            return f"coalesce({spell(value)}, 'null')"
    raise Uncompilable(f"a cursor from {type(field).__name__}")
