"""Global ids: opaque to clients, `<type>:<key>` in base64 to us (Relay, Object Identification).

Called by every field that takes an id. What is not such a text at all is an error; what is one,
of whatever type and key, is at worst an id of nothing.
"""

import base64
import re
from uuid import UUID

from django.db.models import Func, TextField

from tenancy.errors import InvalidInput

_ID = re.compile(r"([A-Za-z]\w*):(.*)\Z", re.ASCII)


class GlobalId(Func):
    """The id of a type and a key, made by PostgreSQL; null where there is no key."""

    template = r"translate(encode(convert_to(%(expressions)s::text, 'UTF8'), 'base64'), E'\n', '')"
    arg_joiner = " || ':' || "
    arity = 2
    output_field = TextField()


def read_id(text: str, *field: str) -> tuple[str, UUID | None]:
    """Return the type and the key that an id names; no key where there can be no such thing.

    Raises InvalidInput at `field` for a text that is no id.
    """
    try:
        match = _ID.match(base64.b64decode(text, validate=True).decode())
    except ValueError:
        match = None
    if match is None:
        raise InvalidInput("This is not an id; use what an `id` field gave.", field=field)
    try:
        key = UUID(match[2])
    except ValueError:
        return match[1], None
    return match[1], key if str(key) == match[2] else None


def key_of(text: str, type_name: str, *field: str) -> UUID | None:
    """Return the key of an id of that type, None for others; raises InvalidInput at `field`."""
    found, key = read_id(text, *field)
    return key if found == type_name else None
