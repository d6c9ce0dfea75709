"""Plans: operations compiled, once per shape, and kept within bounds.

A shape is a document, the operation's name, what the actor may do, and the values of the variables
that steer it: those of @skip and @include, page sizes and orders by value, those of cursors, ids
and filters only by whether they are given, of ids also the types that they name. What cannot be
compiled is kept too, as the reason.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    NameNode,
    OperationDefinitionNode,
    VariableNode,
)

from graph.compiled.objects import Compiling
from graph.compiled.selecting import BOUND_ARGUMENTS, ID_ARGUMENTS, Selecting, variables_in
from graph.compiled.shapes import LooksUp, Shape, Uncompilable
from graph.compiled.statements import Condition, Making, Statement
from graph.documents import CACHED_DOCUMENTS, CACHED_TOKENS
from graph.ids import read_id
from graph.shelves import Shelf
from tenancy.errors import DomainError, InvalidInput
from tenancy.models import TenantSettings

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from graphql import ArgumentNode, DocumentNode, SelectionSetNode
    from graphql.execution.values import VariableValues
    from strawberry import Schema

    from tenancy.actors import Actor

# What a process keeps, in plans and in bytes, an eighth of it at most for one client (Shelf).
MAX_PLANS = 2_048
MAX_BYTES = 32 * 2**20
# Longer documents are somebody's experiment, and would fill the memory with themselves.
MAX_LENGTH = 20_000
MAX_STEERING_LENGTH = 500
MAX_TYPE_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Plan:
    """How an operation of one shape is answered; `reason` says why it is not, without statement."""

    statement: Statement | None
    reason: str = ""
    is_zoned: bool = False
    # Whether it is to be compiled anew, with room for what is looked up.
    looks_up: bool = False

    @property
    def size(self) -> int:
        """How many bytes it occupies, roughly."""
        return 500 + (self.statement.size if self.statement else len(self.reason))


@dataclass(frozen=True, slots=True)
class Operation:
    """A query of a valid document, and what of its variables shapes it."""

    node: OperationDefinitionNode
    fragments: dict[str, FragmentDefinitionNode]
    by_value: tuple[str, ...]
    by_presence: tuple[str, ...]
    by_type: tuple[str, ...]

    @classmethod
    def of(cls, document: DocumentNode, node: OperationDefinitionNode) -> Operation:
        """Look at every use of a variable, once per place in the document."""
        fragments = {
            part.name.value: part
            for part in document.definitions
            if isinstance(part, FragmentDefinitionNode)
        }
        uses = list(_uses(node.selection_set, fragments, set()))
        steering = {use.name for use in uses if use.argument not in BOUND_ARGUMENTS}
        present = {use.name for use in uses if use.is_whole} - steering
        typed = {use.name for use in uses if use.argument in ID_ARGUMENTS} - steering
        return cls(node, fragments, *(tuple(sorted(some)) for some in (steering, present, typed)))

    def shape(self, variables: VariableValues) -> Hashable:
        """Return what of the variables is part of the shape; raises Uncompilable if too long."""
        values = variables.coerced
        if not self.by_value and not self.by_presence and not self.by_type:
            return ()
        told = repr([values.get(name, ...) for name in self.by_value])
        if len(told) > MAX_STEERING_LENGTH:
            raise Uncompilable("long values steer it")
        return (
            told,
            *((name in values, values.get(name) is None) for name in self.by_presence),
            *(_types_named(values.get(name)) for name in self.by_type),
        )


class _Use(NamedTuple):
    """A use of a variable: inside of which argument ("" for a directive's), and as all of it."""

    name: str
    argument: str
    is_whole: bool


def _types_named(ids: Any) -> tuple[str | None, ...]:
    """Return the types that an id or several name: "" where they name nothing, None for no ids."""
    texts = ids if isinstance(ids, list) else [] if ids is None else [ids]
    return tuple(sorted(set(map(_type_named, texts)), key=str))


def _type_named(text: object) -> str | None:
    if not isinstance(text, str):
        return None
    try:
        name, key = read_id(text)
    except InvalidInput:
        return None
    return name if key is not None and len(name) <= MAX_TYPE_LENGTH else ""


def _uses(
    selections: SelectionSetNode,
    fragments: dict[str, FragmentDefinitionNode],
    visited: set[str],
) -> Iterator[_Use]:
    """Yield each use of a variable."""
    for node in selections.selections:
        for directive in node.directives or ():
            yield from _uses_in(directive.arguments, is_field=False)
        if isinstance(node, FieldNode):
            yield from _uses_in(node.arguments, is_field=True)
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name not in visited:
                visited.add(name)
                yield from _uses(fragments[name].selection_set, fragments, visited)
        elif isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set:
            yield from _uses(node.selection_set, fragments, visited)


def _uses_in(arguments: Sequence[ArgumentNode] | None, *, is_field: bool) -> Iterator[_Use]:
    for argument in arguments or ():
        is_whole = isinstance(argument.value, VariableNode)
        for name in variables_in(argument.value):
            yield _Use(name, argument.name.value if is_field else "", is_whole)


def compiled(
    schema: Schema,
    operation: Operation,
    variables: VariableValues,
    actor: Actor,
    *,
    is_looking: bool = False,
) -> Plan:
    """Return the plan of an operation's shape; one without statement when there is none.

    With `is_looking` there is room in it for what is looked up.
    """
    selecting = Selecting(schema, operation.fragments, variables, frozenset(operation.by_value))
    shape, making = Shape(actor, is_looking=is_looking), Making()
    compiling = Compiling(selecting, shape, making)
    query = selecting.schema.query_type
    assert query is not None  # noqa: S101 -- every schema has one
    try:
        text = compiling.root(query, [as_field(operation.node)])
        draft = making.statement(text)
        is_zoned = shape.is_zoned or any(isinstance(slot, Condition) for slot in draft.slots)
        is_zoned = is_zoned and actor.tenant_id is not None
        if is_zoned:
            settings = TenantSettings.objects.filter(tenant_id=shape.actor.entered())
            text += f", ({making.query(settings.values_list('timezone'))})"
        return Plan(making.statement(f"SELECT {text}"), is_zoned=is_zoned)
    except LooksUp as reason:
        return Plan(None, str(reason), looks_up=True)
    except Uncompilable as reason:
        return Plan(None, str(reason))
    except DomainError as error:
        return Plan(None, f"{error.code}: {error.message}")
    except Exception:
        # A declaration that the ORM cannot follow: the operation can still be answered.
        logger.exception("an operation could not be compiled")
        return Plan(None, "an error while it was compiled")
    finally:
        selecting.forget()


def as_field(node: OperationDefinitionNode) -> Any:
    """Return an operation as what it looks like: a field with a selection."""
    return FieldNode(name=NameNode(value="query"), selection_set=node.selection_set)


logger = logging.getLogger("signate.graphql")
plans: Shelf[Plan] = Shelf(entries=MAX_PLANS, weight=MAX_BYTES)
# They hold on to their documents, and so are bounded as those are: in tokens.
operations: Shelf[Operation] = Shelf(entries=CACHED_DOCUMENTS, weight=CACHED_TOKENS)


def operation_of(
    text: str,
    name: str | None,
    document: DocumentNode,
    node: OperationDefinitionNode,
    *,
    owner: str,
) -> Operation:
    """Return what is to be known of an operation."""
    known = operations.get((text, name))
    # Of a document that was parsed anew, the nodes are others.
    if known is None or known.node is not node:
        if len(text) > MAX_LENGTH:
            raise Uncompilable("a long document")
        known = Operation.of(document, node)
        operations.put((text, name), known, owner=owner, weight=max(document.token_count, 1))
    return known
