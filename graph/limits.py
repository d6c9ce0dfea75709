"""What one request may ask for, and what an actor may ask for in a minute.

`require_modest` judges an operation before it is validated, on either road (HTTP, WebSocket);
`spend` takes what it costs from its actor's budget. The numbers are settings.GRAPHQL_LIMITS and
GRAPHQL_BUDGET; docs/graphql-http.md explains them to clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from graphql import OperationType

from graph.measuring import FragmentInItself, Measured, NestedTooDeeply, measure
from tenancy.budgets import Budget
from tenancy.errors import DomainError, ErrorCode, InvalidInput, RateLimited

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from graphql import DocumentNode, GraphQLSchema, OperationDefinitionNode

    from tenancy.actors import Actor

# A value of the schema's description is in memory: so many of them cost as much as one of a row.
DESCRIPTION_VALUES_PER_COST = 25
# What a request costs that is refused: reading it is work, too.
REFUSED_COST = 50
BUDGET_SECONDS = 60


class OverLimit(DomainError):
    """A request that asks for too much at once; the message names the limit."""

    code = ErrorCode.LIMIT_EXCEEDED


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation costs, and what its actor has left this minute; None without a budget."""

    requested: int
    remaining: int | None

    def shown(self) -> dict[str, Any]:
        """Return it as `extensions.cost` of a response.

        What is left is rounded down to tenths of the budget until it is scarce: the same question
        has the same answer, byte by byte, and tells nobody what else was asked meanwhile.
        """
        budget, remaining = settings.GRAPHQL_BUDGET, self.remaining
        if remaining is not None and remaining * 10 > budget:
            remaining -= remaining % max(1, budget // 10)
        return {
            "requested": self.requested,
            "limit": settings.GRAPHQL_LIMITS["cost"],
            "remaining": remaining,
            "budget": budget or None,
        }


def measured(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> Measured:
    """Return what an operation asks for; raises OverLimit, InvalidInput where nobody could say."""
    try:
        return measure(schema, document, operation, variables)
    except NestedTooDeeply:
        raise OverLimit("The document is nested too deeply.") from None
    except FragmentInItself as error:
        raise InvalidInput(f"Fragment '{error.name}' contains itself.") from None


def cost_of(found: Measured) -> int:
    """Return what an operation costs: about the number of values that it can read."""
    return found.values + found.weight.description // DESCRIPTION_VALUES_PER_COST


def require_modest(operation: OperationDefinitionNode, found: Measured) -> None:
    """Raise OverLimit when an operation asks for more than one request may."""
    for reason in _excesses(operation, found):
        raise OverLimit(reason)


def _excesses(operation: OperationDefinitionNode, found: Measured) -> Iterator[str]:
    limits, weight = settings.GRAPHQL_LIMITS, found.weight
    writes = operation.operation is OperationType.MUTATION
    for name, number, what in (
        ("depth", weight.depth, "levels of fields"),
        ("introspection_depth", weight.description_depth, "levels of introspection"),
        ("mutations" if writes else "root_fields", weight.width, "fields at the root"),
        ("aliases", weight.aliases, "aliases"),
        ("directives", weight.directives, "directives"),
        ("fields", weight.fields, "fields, fragments in their places"),
        ("repeated_fields", found.repeated, "fields written twice beside themselves"),
        ("variables", found.variables, "variables"),
        ("literal", found.longest_literal, "characters in one literal; use a variable"),
    ):
        if number > limits[name]:
            yield f"At most {limits[name]} {what}{_told(name, number)}."
    if weight.guesses > 1:
        yield "One request can try one password or code; send another one for the next."
    if weight.description > limits["introspection"]:
        yield (
            "This asks for too much of the schema at once. Ask for it in parts, or use "
            "the standard introspection query."
        )
    if cost_of(found) > limits["cost"]:
        yield (
            f"This costs {cost_of(found)}, which is more than {limits['cost']}: ask for smaller "
            "pages, or for less of each item."
        )


def _told(name: str, number: int) -> str:
    return "" if name == "literal" or number > 10_000 else f"; this has {number}"


def require_readable(variables: Mapping[str, Any]) -> None:
    """Raise OverLimit for variables of more values than one request may have."""
    left: list[Any] = [variables]
    count = 0
    while left:
        value = left.pop()
        if isinstance(value, (dict, list)):
            count += len(value)
            if count > settings.GRAPHQL_LIMITS["variable_values"]:
                raise OverLimit(
                    f"At most {settings.GRAPHQL_LIMITS['variable_values']} values in all variables."
                )
            left.extend(value.values() if isinstance(value, dict) else value)


def require_short(text: str) -> None:
    """Raise OverLimit for a document that is not worth reading.

    Of many characters and few tokens there are only literals and blanks.
    """
    most = settings.GRAPHQL_LIMITS["document"]
    if len(text) > most:
        raise OverLimit(f"A document has {most} characters at most; use variables for values.")


@cache
def _budget(limit: int) -> Budget:
    return Budget("graphql", limit, BUDGET_SECONDS)


def owner_of(actor: Actor) -> str:
    """Return whose budget and whose part of shared memory an actor's requests take from."""
    who = actor.user_id or actor.device_id or actor.kind.value
    return f"{actor.tenant_id or '-'}:{who}"


def spend(actor: Actor, cost: int) -> Cost:
    """Take `cost` from an actor's budget; raises RateLimited when there is not enough left."""
    limit = settings.GRAPHQL_BUDGET
    if not limit:
        return Cost(cost, None)
    left = _budget(limit).spend(owner_of(actor), cost)
    if left.wait:
        raise RateLimited(left.wait, "costly requests")
    return Cost(cost, left.remaining)
