"""The reference part of docs/graphql.md, printed from the schema's own descriptions.

Called by `manage.py graphql_docs`. Connections, edges and payloads are the same everywhere and are
told of once, in the part that people write.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    is_specified_scalar_type,
)

from graph.permissions import needs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphql import GraphQLField, GraphQLInputField, GraphQLNamedType, GraphQLSchema

_PATTERN = re.compile(r"(Connection|Edge|Payload)\Z")
MARK = "<!-- From here on printed by `manage.py graphql_docs --write`; not edited. -->\n"


def reference(schema: GraphQLSchema) -> str:
    """Return the reference, in Markdown."""
    return "\n".join(_lines(schema)) + "\n"


def _lines(schema: GraphQLSchema) -> Iterator[str]:
    roots = [schema.query_type, schema.mutation_type, schema.subscription_type]
    for root, title in zip(roots, ("Queries", "Mutations", "Subscriptions"), strict=True):
        if root is not None:
            yield from ("", f"## {title}", "", _text(root.description))
            for name, field in sorted(root.fields.items()):
                yield from _root(name, field)
    kinds: tuple[tuple[str, type[GraphQLNamedType] | tuple[type[GraphQLNamedType], ...]], ...] = (
        ("Types", (GraphQLObjectType, GraphQLInterfaceType)),
        ("Inputs", GraphQLInputObjectType),
        ("Enums", GraphQLEnumType),
        ("Scalars", GraphQLScalarType),
    )
    for title, kind in kinds:
        yield from ("", f"## {title}")
        for name, type_ in sorted(schema.type_map.items()):
            if isinstance(type_, kind) and type_ not in roots and not _is_known(name, type_):
                yield from ("", f"### {name}", "", _text(type_.description))
                yield from _members(type_)


def _is_known(name: str, type_: GraphQLNamedType) -> bool:
    return name.startswith("__") or is_specified_scalar_type(type_) or bool(_PATTERN.search(name))


def _root(name: str, field: GraphQLField) -> Iterator[str]:
    yield from ("", f"### {name}", "", f"`{name}: {field.type}`", "", _text(field.description))
    needs = needs_of(field)
    if needs is not None and not needs.permissions:
        # Permissions are in the description.
        yield from ("", f"Answers {needs.who}.")
    yield from _deprecated(field)
    if field.args:
        yield ""
        for arg, one in field.args.items():
            yield f"* `{arg}: {one.type}` {_text(one.description)}"


def _members(type_: GraphQLNamedType) -> Iterator[str]:
    if isinstance(type_, GraphQLEnumType):
        yield ""
        for name, value in type_.values.items():
            yield f"* `{name}` {_text(value.description)}{_gone(value.deprecation_reason)}"
    elif isinstance(type_, GraphQLInputObjectType | GraphQLObjectType | GraphQLInterfaceType):
        yield ""
        for name, field in type_.fields.items():
            reason = _gone(field.deprecation_reason)
            yield f"* `{name}: {field.type}` {_text(field.description)}{reason}"


def _deprecated(field: GraphQLField | GraphQLInputField) -> Iterator[str]:
    if field.deprecation_reason:
        yield from ("", _gone(field.deprecation_reason).strip())


def _gone(reason: str | None) -> str:
    return f" **Deprecated:** {reason}" if reason else ""


def _text(description: str | None) -> str:
    return " ".join((description or "").split())
