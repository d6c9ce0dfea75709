"""Plans: operations compiled, once per shape, and kept within bounds.

A shape is a document, the operation's name, what the actor may do, and the values of the variables
that steer it: those of @skip and @include, page sizes and orders by value, those of cursors, ids
and filters only by whether they are given. What cannot be compiled is kept too, as the reason.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

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
from graph.compiled.selecting import BOUND_ARGUMENTS, Selecting, variables_in
from graph.compiled.shapes import Shape, Uncompilable
from graph.compiled.statements import Condition, Making, Statement
from graph.documents import CACHED_LENGTH
from tenancy.errors import DomainError
from tenancy.models import TenantSettings

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from graphql import ArgumentNode, DocumentNode, SelectionSetNode
    from graphql.execution.values import VariableValues
    from strawberry import Schema

    from tenancy.actors import Actor

# Of all plans together, and of those that one tenant (or a person outside of tenants) has made.
MAX_PLANS = 2_000
MAX_BYTES = 32 * 2**20
MAX_PLANS_EACH = 200
MAX_BYTES_EACH = 4 * 2**20
MAX_STEERING_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """How an operation of one shape is answered; `reason` says why it is not, without statement."""

    statement: Statement | None
    reason: str = ""
    is_zoned: bool = False

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

    @classmethod
    def of(cls, document: DocumentNode, node: OperationDefinitionNode) -> Operation:
        """Look at every use of a variable, once per place in the document."""
        fragments = {
            part.name.value: part
            for part in document.definitions
            if isinstance(part, FragmentDefinitionNode)
        }
        steering: set[str] = set()
        present: set[str] = set()
        for name, is_bound, is_whole in _uses(node.selection_set, fragments, set()):
            if not is_bound:
                steering.add(name)
            elif is_whole:
                present.add(name)
        return cls(node, fragments, tuple(sorted(steering)), tuple(sorted(present - steering)))

    def shape(self, variables: VariableValues) -> Hashable:
        """Return what of the variables is part of the shape; raises Uncompilable if too long."""
        values = variables.coerced
        if not self.by_value and not self.by_presence:
            return ()
        told = repr([values.get(name, ...) for name in self.by_value])
        if len(told) > MAX_STEERING_LENGTH:
            raise Uncompilable("long values steer it")
        return told, *((name in values, values.get(name) is None) for name in self.by_presence)


def _uses(
    selections: SelectionSetNode,
    fragments: dict[str, FragmentDefinitionNode],
    visited: set[str],
) -> Iterator[tuple[str, bool, bool]]:
    """Yield each use of a variable: its name, whether it is bound, whether it is all of the value.

    Bound means: inside of an argument whose value no plan keeps.
    """
    for node in selections.selections:
        for directive in node.directives or ():
            yield from _uses_in(directive.arguments, frozenset())
        if isinstance(node, FieldNode):
            yield from _uses_in(node.arguments, BOUND_ARGUMENTS)
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name not in visited:
                visited.add(name)
                yield from _uses(fragments[name].selection_set, fragments, visited)
        elif isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set:
            yield from _uses(node.selection_set, fragments, visited)


def _uses_in(
    arguments: Sequence[ArgumentNode] | None, bound: frozenset[str]
) -> Iterator[tuple[str, bool, bool]]:
    for argument in arguments or ():
        is_whole = isinstance(argument.value, VariableNode)
        for name in variables_in(argument.value):
            yield name, argument.name.value in bound, is_whole


def compiled(schema: Schema, operation: Operation, variables: VariableValues, actor: Actor) -> Plan:
    """Return the plan of an operation's shape; one without statement when there is none."""
    selecting = Selecting(schema, operation.fragments, variables, frozenset(operation.by_value))
    shape, making = Shape(actor), Making()
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
    except Uncompilable as reason:
        return Plan(None, str(reason))
    except DomainError as error:
        return Plan(None, f"{error.code}: {error.message}")
    except Exception:
        # A declaration that the ORM cannot follow: the operation can still be answered.
        logger.exception("an operation could not be compiled")
        return Plan(None, "an error while it was compiled")


def as_field(node: OperationDefinitionNode) -> Any:
    """Return an operation as what it looks like: a field with a selection."""
    return FieldNode(name=NameNode(value="query"), selection_set=node.selection_set)


class Plans:
    """Plans by their keys, the one that was used longest ago forgotten first.

    Everybody uses everybody's, but whoever makes more than their share pushes out their own.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._plans: OrderedDict[Hashable, tuple[Plan, Hashable]] = OrderedDict()
        self._of: dict[Hashable, OrderedDict[Hashable, int]] = {}
        self._bytes_of: dict[Hashable, int] = {}
        self._bytes = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._plans)

    def get(self, key: Hashable) -> Plan | None:
        """Return a plan that is kept."""
        with self._lock:
            found = self._plans.get(key)
            if found is None:
                return None
            plan, maker = found
            self._plans.move_to_end(key)
            self._of[maker].move_to_end(key)
            return plan

    def put(self, key: Hashable, plan: Plan, maker: Hashable, *, size: int) -> None:
        """Keep a plan of `size` bytes with its key, within everybody's bounds and the maker's."""
        if size > MAX_BYTES_EACH // 4:
            return
        with self._lock:
            self._drop(key)
            own = self._of.setdefault(maker, OrderedDict())
            self._plans[key] = plan, maker
            own[key] = size
            self._bytes += size
            self._bytes_of[maker] = self._bytes_of.get(maker, 0) + size
            while len(own) > MAX_PLANS_EACH or self._bytes_of[maker] > MAX_BYTES_EACH:
                self._drop(next(iter(own)))
            while len(self._plans) > MAX_PLANS or self._bytes > MAX_BYTES:
                self._drop(next(iter(self._plans)))

    def _drop(self, key: Hashable) -> None:
        found = self._plans.pop(key, None)
        if found is None:
            return
        maker = found[1]
        size = self._of[maker].pop(key)
        self._bytes -= size
        self._bytes_of[maker] -= size
        if not self._of[maker]:
            del self._of[maker], self._bytes_of[maker]

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._plans.clear()
            self._of.clear()
            self._bytes_of.clear()
            self._bytes = 0


logger = logging.getLogger("signate.graphql")
plans = Plans()
operations: OrderedDict[tuple[str, str | None], Operation] = OrderedDict()
_CACHED_OPERATIONS = 512


def operation_of(
    text: str, name: str | None, document: DocumentNode, node: OperationDefinitionNode
) -> Operation:
    """Return what is to be known of an operation, kept for documents that are kept."""
    if len(text) > CACHED_LENGTH:
        raise Uncompilable("a long document")
    known = operations.get((text, name))
    if known is None:
        known = Operation.of(document, node)
        operations[text, name] = known
        if len(operations) > _CACHED_OPERATIONS:
            operations.pop(next(iter(operations)), None)
    return known
