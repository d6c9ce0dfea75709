"""Every field that can be read is compiled, or is listed as one that is not, with the reason.

The schema is walked from Query. docs/compiled-reads.md lists what only resolvers can answer; all
else is asked on both roads, type by type, and has to have the same bytes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from graphql import (
    GraphQLObjectType,
    OperationDefinitionNode,
    get_named_type,
    is_leaf_type,
    is_object_type,
    is_required_argument,
    parse,
)
from graphql.execution.values import VariableValues

from graph.compiled.plans import Operation, compiled
from graph.schema import schema
from tenancy.actors import device as actor_of_device
from tenancy.actors import person
from tests.conftest import Graph
from tests.graph.test_compiled import clients, device, odd_assets
from tests.graph.test_nodes import own_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client
    from graphql import GraphQLField

    from tenancy.actors import Actor
    from tests.graph.roads import Roads
    from tests.world import Inhabited

__all__ = ["clients", "device", "odd_assets"]

CORE = schema._schema
DOCS = Path(__file__).parents[2] / "docs" / "compiled-reads.md"
# How a field that has to be given something is asked.
GIVEN = {
    "node": 'node(id: "%(Asset)s")',
    "nodes": 'nodes(ids: ["%(Asset)s", "%(User)s"])',
    "device": 'device(id: "%(Device)s")',
    "can": 'can(permission: "assets.view")',
    "asset": 'asset(id: "%(Asset)s")',
    "invitationOffer": 'invitationOffer(token: "sgi_none")',
}


def asked(name: str, field: GraphQLField) -> str:
    """Return a field with what it has to be given."""
    if not field.args:
        return name
    assert name in GIVEN or not any(map(is_required_argument, field.args.values())), name
    return GIVEN.get(name, name)


def whole(name: str, field: GraphQLField) -> str:
    """Return a field with the least selection that it can have."""
    return asked(name, field) + (
        "" if is_leaf_type(get_named_type(field.type)) else " { __typename }"
    )


def is_compiled(document: str, ids: dict[str, str], actor: Actor) -> bool:
    """Return whether an operation can be compiled for somebody."""
    parsed = parse(document % ids)
    [node] = parsed.definitions
    assert isinstance(node, OperationDefinitionNode)
    operation = Operation.of(parsed, node)
    return compiled(schema, operation, VariableValues({}, {}), actor).statement is not None


def walked(
    ids: dict[str, str], actor: Actor
) -> Iterator[tuple[str, GraphQLObjectType, set[str], set[str]]]:
    """Yield each type with the way to it and which of its fields are compiled, and which are not.

    The way is a document with `%s` in the place of the type's selection. What only leads out of a
    field that is not compiled is not walked.
    """
    query = CORE.query_type
    assert query is not None
    ways: dict[str, str] = {query.name: "{ %s }"}
    for name, id_ in ids.items():
        ways[name] = '{ node(id: "%s") { ... on %s { %%s } } }' % (id_, name)
    waiting = list(ways)
    for name in waiting:
        type_ = CORE.type_map[name]
        assert is_object_type(type_)
        fields: dict[bool, set[str]] = {True: set(), False: set()}
        for called, field in type_.fields.items():
            found = is_compiled(ways[name] % whole(called, field), ids, actor)
            fields[found].add(called)
            below = get_named_type(field.type)
            if found and is_object_type(below) and below.name not in ways:
                ways[below.name] = ways[name] % (asked(called, field) + " { %s }")
                waiting.append(below.name)
        yield ways[name], type_, fields[True], fields[False]


def documented() -> set[str]:
    """Return the fields that the documentation lists as not compiled."""
    [section] = re.findall(
        r"## What stays with the executor\n(.*?)\n## ", DOCS.read_text(), re.DOTALL
    )
    return set(re.findall(r"`([A-Z]\w*\.\w+)`", section))


def test_what_is_not_compiled_is_listed(acme: Inhabited, clients: dict[str, Client]) -> None:
    ids = own_ids(Graph(clients["owner"]))
    left = {
        f"{type_.name}.{name}"
        for _, type_, _, uncompiled in walked(ids, acme.owner)
        for name in uncompiled
    }
    assert left == documented()


@pytest.mark.parametrize("who", ["owner", "viewer", "device", "other tenant", "nowhere"])
def test_every_compiled_field_has_one_answer(
    acme: Inhabited, globex: Inhabited, clients: dict[str, Client], roads: Roads, who: str
) -> None:
    ids = own_ids(Graph(clients["owner"]))
    assert acme.owner.user_id is not None
    actors = {
        "owner": acme.owner,
        "viewer": acme.viewer,
        "device": actor_of_device(uuid4(), acme.tenant.pk),
        "other tenant": globex.owner,
        "nowhere": person(acme.owner.user_id),
    }
    asked_for = []
    for way, type_, names, _ in walked(ids, actors[who]):
        text = " ".join(whole(name, type_.fields[name]) for name in sorted(names))
        if text and not roads.agree(clients[who], way % text % ids):
            # Somebody else's, or nobody's: the executor says so.
            assert who != "owner", (type_, roads.reason())
            assert roads.reason() == "a value is none of its type", type_
        asked_for.append(type_.name)
    assert len(asked_for) == len(set(asked_for))
    assert len(asked_for) > (10 if who == "nowhere" else 25)
