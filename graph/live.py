"""Operations that came over a socket: what of them works in a thread, in doors of its own.

Called by graph.socket. An operation is begun once, judged like one that came by HTTP; a query is
answered then, a subscription each time that it is told something, as whoever has the socket by
then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError, OperationalError, connection
from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, GraphQLError
from graphql.execution.values import get_variable_values

from graph import persisted
from graph.context import Context
from graph.documents import Refused, is_query, is_subscription, prepare
from graph.errors import cause_of, rendered
from graph.limits import REFUSED_COST, owner_of, spend
from graph.requests import BadRequest
from graph.schema import schema
from graph.selections import Selection
from graph.subscriptions import FEEDS
from rls import acting_as
from tenancy.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphql import DocumentNode, SelectionSetNode

    from graph.documents import Operation
    from graph.limits import Cost
    from graph.requests import Parameters
    from graph.subscriptions import Change, Feed
    from tenancy.middleware import SignateRequest


class Failed(Exception):
    """An operation that is over before it has begun; `errors` go to the client."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        """Keep the errors as they are shown."""
        super().__init__(errors[0]["message"])
        self.errors = errors


class Away(Exception):
    """The database cannot be reached; it may be there in a moment."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription that may run: what it asks for, and what it is told of."""

    asked: Parameters
    text: str
    document: DocumentNode
    feed: Feed
    cost: int
    reads: bool

    def tell(self, request: SignateRequest, change: Change) -> dict[str, Any]:
        """Return what a client is told of `change`, read as whoever has the socket.

        Raises RateLimited when the actor's budget is spent, Away, DomainError.
        """
        actor = request.actor
        actor.require(self.feed.needs)
        if not self.reads:
            # Nothing of it is in the database: no door.
            return self._execute(request, change)
        spend(actor, self.cost)
        try:
            with acting_as(actor, read_only=True):
                return self._execute(request, change)
        except (OperationalError, InterfaceError) as error:
            raise Away from error

    def _execute(self, request: SignateRequest, change: Change) -> dict[str, Any]:
        context = Context(request=request, actor=request.actor, document=self.document)
        result = schema.execute_sync(
            self.text,
            variable_values=self.asked.variables,
            context_value=context,
            root_value=change,
            operation_name=self.asked.operation_name,
        )
        return _shown(request, result)


def begin(request: SignateRequest, asked: Parameters) -> Subscribed | dict[str, Any]:
    """Return the subscription that is asked for, or the answer to a query.

    Raises Failed for everything else, Away.
    """
    actor = request.actor
    try:
        source = persisted.source_of(asked, actor, request.credential)
        operation = prepare(
            schema, source.text, asked.operation_name, asked.variables, owner=owner_of(actor)
        )
        cost = spend(actor, operation.cost)
        if is_subscription(operation.node):
            subscribed = _subscribed(request, asked, source.text, operation)
            persisted.keep(source, actor)
            return subscribed
        if not is_query(operation.node):
            raise BadRequest("Send mutations by POST: a socket takes queries and subscriptions.")
        persisted.keep(source, actor)
        return _answered(request, asked, source.text, operation, cost)
    except Refused as refused:
        try:
            spend(actor, REFUSED_COST)
        except DomainError as error:
            raise failed(error.message, error.code) from error
        errors = [rendered(error, request.id) for error in refused.errors]
        raise Failed(errors) from refused
    except BadRequest as error:
        raise failed(error.message, error.code) from error
    except DomainError as error:
        raise failed(error.message, error.code) from error
    except (OperationalError, InterfaceError) as error:
        raise Away from error


def failed(message: str, code: str) -> Failed:
    """Return the refusal of an operation in one sentence."""
    return Failed([{"message": message, "extensions": {"code": str(code)}}])


def _subscribed(
    request: SignateRequest, asked: Parameters, text: str, operation: Operation
) -> Subscribed:
    fragments = {
        part.name.value: part
        for part in operation.document.definitions
        if isinstance(part, FragmentDefinitionNode)
    }
    # Validation lets one pass, however it is written.
    roots = list(_fields(operation.node.selection_set, fragments))
    feed = FEEDS[roots[0].name.value]
    request.actor.require(feed.needs)
    core = schema._schema  # noqa: SLF001 -- what strawberry itself executes
    values = get_variable_values(
        core, operation.node.variable_definitions or (), asked.variables, hide_suggestions=True
    )
    if isinstance(values, list):
        raise Refused(tuple(values))
    selected = Selection(roots, fragments, asked.variables).fields
    return Subscribed(
        asked=asked,
        text=text,
        document=operation.document,
        feed=feed,
        cost=operation.cost,
        reads=not feed.reads.isdisjoint(selected),
    )


def _fields(
    selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode]
) -> Iterator[FieldNode]:
    for node in selections.selections:
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, FragmentSpreadNode):
            yield from _fields(fragments[node.name.value].selection_set, fragments)
        else:
            yield from _fields(node.selection_set, fragments)  # type: ignore[attr-defined]


def _answered(
    request: SignateRequest, asked: Parameters, text: str, operation: Operation, cost: Cost
) -> dict[str, Any]:
    context = Context(request=request, actor=request.actor, document=operation.document)
    with acting_as(request.actor, read_only=True):
        result = schema.execute_sync(
            text,
            variable_values=asked.variables,
            context_value=context,
            operation_name=asked.operation_name,
        )
        body = _shown(request, result)
    if "data" not in body:
        raise Failed(body["errors"])
    return {**body, "extensions": {"cost": cost.shown()}}


def _shown(request: SignateRequest, result: Any) -> dict[str, Any]:
    """Return a result as it is sent; raises Away."""
    errors: list[GraphQLError] = result.errors or []
    for error in errors:
        cause = cause_of(error)
        if isinstance(cause, (InterfaceError, OperationalError)) and (
            connection.connection is None or connection.connection.closed
        ):
            raise Away from cause
    body: dict[str, Any] = {}
    if errors:
        body["errors"] = [rendered(error, request.id) for error in errors]
    if result.data is not None or not errors or any(error.path for error in errors):
        body["data"] = result.data
    return body
