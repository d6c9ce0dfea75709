"""Running plans: from an admitted operation to the bytes of `data`, or to the ordinary executor.

Called by graph.view. Everything that is not a plain success (variables that do not fit, an argument
that is refused, a value that is none of its type) is no answer here, and the ordinary executor says
what is to be said. Only what the database says of the statement itself is raised.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from graphql import GraphQLError, is_non_null_type
from graphql.execution.values import VariableValues, get_variable_values
from psycopg.errors import QueryCanceled
from strawberry.types import ExecutionResult

from graph.compiled.leaves import UNFIT, UNSETTLED
from graph.compiled.plans import Operation, as_field, compiled, operation_of, plans
from graph.compiled.selecting import Selecting
from graph.compiled.shapes import LooksUp, Uncompilable
from graph.limits import owner_of
from rls import fetch_one
from tenancy.errors import DomainError
from tenancy.zones import zones

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from graphql import OperationDefinitionNode
    from strawberry import Schema

    from graph.compiled.plans import Plan
    from graph.context import Context
    from rls.reading import Row

    Fetch: TypeAlias = Callable[..., Row]

logger = logging.getLogger("signate.graphql")

_UNFIT = UNFIT.encode()
_UNSETTLED = re.compile(b"%b([^%b]*)%b" % (UNSETTLED[0].encode(), *(UNSETTLED[1].encode(),) * 2))


@dataclass(slots=True)
class Execution:
    """One operation while it is bound."""

    context: Context
    variables: VariableValues
    fetch: Fetch
    memory: dict[int, Any] = field(default_factory=dict)

    def once(self, owner: object, make: Callable[[], Any]) -> Any:
        """Return what `make` made for `owner`, which lives as long as the plan."""
        key = id(owner)
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]


class Cancelled(Exception):
    """The database ended the statement: it took too long, or somebody wanted it to end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The JSON text of `data`, or what the database said instead of it.

    With neither, `reason` says why the executor has to answer.
    """

    data: bytes | None
    reason: str = ""
    failure: ExecutionResult | None = None


def answer(
    schema: Schema,
    text: str,
    name: str | None,
    operation: OperationDefinitionNode,
    values: dict[str, Any],
    context: Context,
    *,
    fetch: Fetch | None = None,
    admit: Callable[[], None] = lambda: None,
) -> Answer:
    """Return the data of a query that could be compiled, or why the executor is to answer it.

    `fetch` sends the statement, once `admit` has let it. Raises what the database says when it is
    away.
    """
    if not settings.COMPILED_READS:
        return Answer(None, "switched off")
    asked = _Asked(schema, text, name, operation, values, context, fetch or fetch_one, admit)
    try:
        try:
            return _answered(asked, is_looking=False)
        except LooksUp:
            return _answered(asked, is_looking=True)
    except Uncompilable as reason:
        return Answer(None, str(reason))
    except (DomainError, GraphQLError) as refused:
        return Answer(None, f"refused: {refused}")


class _Asked(NamedTuple):
    """What `answer` was asked."""

    schema: Schema
    text: str
    name: str | None
    node: OperationDefinitionNode
    values: dict[str, Any]
    context: Context
    fetch: Fetch
    admit: Callable[[], None]


def _answered(asked: _Asked, *, is_looking: bool) -> Answer:
    """Return what `answer` returns; raises LooksUp for a plan without room for what it looks up."""
    plan, variables = _plan(asked, is_looking=is_looking)
    if plan.looks_up:
        raise LooksUp(plan.reason)
    if plan.statement is None:
        return Answer(None, plan.reason)
    asked.admit()
    schema, context = asked.schema, asked.context
    try:
        return Answer(_fetched(plan, Execution(context, variables, asked.fetch)))
    except Cancelled as cancelled:
        failure = _failure(schema, asked.node, variables, context, cancelled.__cause__)
        return Answer(None, failure=failure)


def _plan(asked: _Asked, *, is_looking: bool) -> tuple[Plan, VariableValues]:
    schema, text, name, node, values, context = asked[:6]
    assert context.document is not None  # noqa: S101 -- the view has admitted it
    actor = context.actor
    owner = owner_of(actor)
    operation = operation_of(text, name, context.document, node, owner=owner)
    variables = _variables(schema, operation, values)
    key = (
        text,
        name,
        actor.permissions,
        (actor.kind, actor.tenant_id is None, actor.user_id is None),
        operation.shape(variables),
        is_looking,
    )
    plan = plans.get(key)
    if plan is None:
        with connection.execute_wrapper(_refuse_to_ask):
            plan = compiled(schema, operation, variables, actor, is_looking=is_looking)
        plans.put(key, plan, owner=owner, weight=plan.size + 2 * len(text))
    return plan, variables


def _variables(schema: Schema, operation: Operation, values: dict[str, Any]) -> VariableValues:
    definitions = operation.node.variable_definitions
    if not definitions:
        return VariableValues({}, {})
    core = schema._schema  # noqa: SLF001 -- strawberry has no other way
    variables = get_variable_values(core, definitions, values, hide_suggestions=True)
    if isinstance(variables, list):
        raise Uncompilable("the variables do not fit")
    return variables


def _fetched(plan: Plan, execution: Execution) -> bytes:
    """Return the data of one operation; raises Uncompilable where the executor is to say more."""
    context = execution.context
    actor, known = context.actor, context.__dict__
    statement = plan.statement
    assert statement is not None  # noqa: S101 -- the caller has looked
    for _ in range(2):
        zone = ""
        if plan.is_zoned and actor.tenant_id is not None:
            zone = zones.get(actor.tenant_id)
            known["zone"] = ZoneInfo(zone)
        try:
            with connection.execute_wrapper(_refuse_to_ask):
                text, parameters = statement.bind(execution)
        except (ValueError, OverflowError, TypeError) as error:
            raise Uncompilable(f"a value cannot be bound: {error}") from error
        finally:
            known.pop("zone", None)
        data, *told = _sent(execution, text, parameters, planned_once=statement.planned_once)
        assert data is not None  # noqa: S101 -- concat() is never NULL
        if not told or told[0] is None or actor.tenant_id is None or told[0].decode() == zone:
            return _settled(data)
        zones.put(actor.tenant_id, told[0].decode())
    raise Uncompilable("the tenant's time zone changes")


def _refuse_to_ask(*_args: Any) -> NoReturn:
    """Stand in the way of statements outside of the one: here is no door, and no row to see."""
    raise Uncompilable("a declaration asks the database")


def _sent(execution: Execution, text: bytes, parameters: list[Any], *, planned_once: bool) -> Row:
    """Return the one row of a statement; raises Uncompilable when the executor may do better.

    A statement that was cancelled has had its time: it is not tried again in another way.
    """
    try:
        actor = execution.context.actor
        return execution.fetch(actor, text, parameters, planned_once=planned_once)
    except (InterfaceError, OperationalError) as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise Cancelled from error
        raise
    except DatabaseError as error:
        logger.exception("a compiled read failed")
        raise Uncompilable("the statement failed") from error


def _failure(
    schema: Schema,
    node: OperationDefinitionNode,
    variables: VariableValues,
    context: Context,
    error: BaseException | None,
) -> ExecutionResult:
    """Return what executing gives when every root field fails with `error`."""
    assert context.document is not None  # noqa: S101 -- the view has admitted it
    assert isinstance(error, Exception)  # noqa: S101 -- what was cancelled says so
    fragments = Operation.of(context.document, node).fragments
    selecting = Selecting(schema, fragments, variables, frozenset())
    query = selecting.schema.query_type
    assert query is not None  # noqa: S101 -- every schema has one
    data: dict[str, None] | None = {}
    errors = []
    for key, nodes in selecting.fields(query, [as_field(node)]).items():
        errors.append(GraphQLError(str(error), nodes, path=[key], original_error=error))
        if data is None or is_non_null_type(query.fields[nodes[0].name.value].type):
            data = None
        else:
            data[key] = None
    return ExecutionResult(data=data, errors=errors)


def _settled(data: bytes) -> bytes:
    if _UNFIT in data:
        raise Uncompilable("a value is none of its type")
    if b"\x01" not in data:
        return data
    return _UNSETTLED.sub(_respelt, data)


def _respelt(match: re.Match[bytes]) -> bytes:
    """Return JSON as Python spells it, which is what the ordinary executor's answer is made by."""
    value = json.loads(match[1])
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
