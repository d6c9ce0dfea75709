"""What of the released schema is no longer so: clients that were made for it would fail.

Called by `manage.py schema_changes`. The released schema is graph/schema.released.graphql. A field,
an argument or a value that was deprecated in it may go; anything else that breaks has to be allowed
by name, with a reason, in docs/schema-changes.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    find_breaking_changes,
)
from graphql.utilities import BreakingChangeType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphql import GraphQLSchema

# What may be taken away once it was deprecated, and how graphql-core words that.
_REMOVALS = {
    BreakingChangeType.FIELD_REMOVED: re.compile(r"\w+ (?P<type>\w+)\.(?P<field>\w+) was removed"),
    BreakingChangeType.ARG_REMOVED: re.compile(
        r"\w+ (?P<type>\w+)\.(?P<field>\w+)\((?P<arg>\w+):\) was removed"
    ),
    BreakingChangeType.VALUE_REMOVED_FROM_ENUM: re.compile(
        r"\w+ \w+ (?P<type>\w+)\.(?P<field>\w+) was removed"
    ),
}
_ALLOWED = re.compile(r"^\* `([^`]+)` \S", re.MULTILINE)


def allowed(text: str) -> list[str]:
    """Return the changes that docs/schema-changes.md allows: its items that have a reason."""
    return _ALLOWED.findall(text)


def breaking(released: GraphQLSchema, now: GraphQLSchema) -> Iterator[str]:
    """Yield what breaks clients, in graphql-core's words, but for what was deprecated."""
    for change in find_breaking_changes(released, now):
        found = (
            _REMOVALS[change.type].match(change.description) if change.type in _REMOVALS else None
        )
        if found is None or not _was_deprecated(released, **found.groupdict()):
            yield change.description


def _was_deprecated(released: GraphQLSchema, type: str, field: str, arg: str = "") -> bool:  # noqa: A002 -- GraphQL's word
    of = released.type_map.get(type)
    if isinstance(of, GraphQLEnumType):
        return of.values[field].deprecation_reason is not None
    if not isinstance(of, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
        return False
    one = of.fields[field]
    if arg and not isinstance(of, GraphQLInputObjectType):
        return of.fields[field].args[arg].deprecation_reason is not None
    return one.deprecation_reason is not None
