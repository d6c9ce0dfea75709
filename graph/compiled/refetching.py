"""Refetching as SQL: whatever has the ids that each operation gives, of the types that shape it.

Called by graph.compiled.objects for `node` and `nodes`. The types that ids name are part of the
shape (graph.compiled.plans); their keys are bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import TextField, UUIDField
from graphql import get_nullable_type, is_list_type

from graph.compiled import leaves
from graph.compiled.shapes import Bound, Raw

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from graphql import FieldNode, GraphQLField, GraphQLObjectType

    from graph.columns import Refetched
    from graph.compiled.objects import Compiling
    from graph.compiled.running import Execution


class _Named:
    """What the ids of one operation name, read once: types and keys, in their order."""

    def __init__(self, read: Callable[[Execution], Any], name: str, reads: Refetched) -> None:
        self._read = read
        self._name = name
        self._named = reads.named

    def of(self, execution: Execution) -> list[tuple[str, UUID | None]]:
        """Return them; raises InvalidInput."""
        found: list[tuple[str, UUID | None]] = execution.once(
            self, lambda: self._named(self._read(execution)[self._name])
        )
        return found

    def key(self, execution: Execution) -> UUID | None:
        """Return the only key."""
        return self.of(execution)[0][1]

    def types(self, execution: Execution) -> list[str]:
        """Return the types of all of them."""
        return [type_ for type_, _ in self.of(execution)]

    def keys(self, execution: Execution) -> list[UUID | None]:
        """Return the keys of all of them."""
        return [key for _, key in self.of(execution)]


def refetched(
    compiling: Compiling, field: GraphQLField, nodes: list[FieldNode], reads: Refetched
) -> str:
    """Return the SQL of the text of what an id names, or of the list of what several name."""
    node, selecting = nodes[0], compiling.selecting
    given = selecting.arguments(field, node, selecting.variables)
    [name] = given
    ids = _Named(compiling.arguments(field, node), name, reads)
    # One by one: how many there are is no part of the shape, and is judged when they are bound.
    each = [[one] for one in given[name]] if isinstance(given[name], list) else [given[name]]
    wanted = {of for one in each for of, key in reads.named(one) if key is not None}
    types = sorted(wanted & reads.rows.keys())
    type_ = get_nullable_type(field.type)
    if not is_list_type(type_):
        missing = leaves.missing(field.type)
        if not types:
            return missing
        return _row(compiling, nodes, reads, types[0], Bound(ids.key, UUIDField()), missing)
    making = compiling.making
    row = making.source()
    missing = leaves.missing(type_.of_type)
    cases = [
        f"WHEN {leaves.text(of)} THEN "
        + _row(compiling, nodes, reads, of, Raw(f"{row}.key", UUIDField()), missing)
        for of in types
    ]
    text = f"CASE {row}.type {' '.join(cases)} ELSE {missing} END" if cases else missing
    bound = ", ".join(
        making.value(Bound(values, ArrayField(of), f"{name}[]"))
        for values, of, name in ((ids.types, TextField(), "text"), (ids.keys, UUIDField(), "uuid"))
    )
    return (
        f"(SELECT concat('[', string_agg({text}, ',' ORDER BY {row}.i), ']') "
        f"FROM unnest({bound}) WITH ORDINALITY AS {row}(type, key, i))"
    )


def _row(
    compiling: Compiling,
    nodes: list[FieldNode],
    reads: Refetched,
    name: str,
    key: Any,
    missing: str,
) -> str:
    type_: GraphQLObjectType = compiling.selecting.schema.type_map[name]  # type: ignore[assignment]
    return compiling.one(type_, nodes, reads.rows[name](compiling.shape).filter(pk=key), missing)
