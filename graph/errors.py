"""Turns what was raised into what a client sees: user errors in payloads, errors beside data.

Called by mutations (`attempt`) and by graph.view (`rendered`). What a client cannot act on never
reaches it: such an error is logged with its traceback and shown as "Internal error" with the
request's id.
"""

import logging
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

import strawberry
from django.db import OperationalError, connection, transaction
from graphql import GraphQLError
from psycopg.errors import DeadlockDetected, LockNotAvailable
from strawberry.utils.str_converters import to_camel_case

import graph.enums  # noqa: F401 -- ErrorCode has to be described before it is used
from tenancy.errors import Conflict, DomainError, ErrorCode, Invalid, TenantRequired

logger = logging.getLogger("signate.graphql")

INTERNAL = "INTERNAL"
PATIENCE_AFTER_A_LOSS = "10ms"
ResultT = TypeVar("ResultT")

# How many mutations of the operation did what they were asked to (graph.idempotency asks).
mutations_done: ContextVar[int] = ContextVar("graph_mutations_done", default=0)


@strawberry.type(
    description=(
        "Why a mutation did not do what it was asked to. Where there is one, nothing was changed."
    )
)
class UserError:
    """One refusal in a payload."""

    field: list[str] | None = strawberry.field(
        description=(
            'The path of the value it is about, below `input`: `["name"]`, `["ids", "2"]`. '
            "Null when it is about the mutation as a whole."
        )
    )
    message: str = strawberry.field(
        description="What is wrong and what to do about it, for people. English."
    )
    code: ErrorCode = strawberry.field(description="What kind of refusal it is, for programs.")


def path_of(error: DomainError) -> list[str]:
    """Return an error's path as GraphQL spells its names."""
    return [to_camel_case(part) for part in error.field]


def user_errors(error: DomainError) -> list[UserError]:
    """Return one UserError for each fault."""
    errors: Sequence[DomainError] = error.errors if isinstance(error, Invalid) else [error]
    return [
        UserError(field=path_of(one) or None, message=one.message, code=one.code) for one in errors
    ]


def attempt(write: Callable[[], ResultT]) -> tuple[ResultT | None, list[UserError]]:
    """Run one mutation in a savepoint of its own; return what it gave, or why it refused.

    Losing against somebody who changes the same rows is a refusal too: the savepoint gives back
    what it had locked. TenantRequired passes: it makes the whole response a refusal. So does what
    nobody expected.
    """
    try:
        with transaction.atomic():
            result = write()
        mutations_done.set(mutations_done.get() + 1)
    except TenantRequired:
        raise
    except DomainError as error:
        return None, user_errors(error)
    except OperationalError as error:
        if not isinstance(error.__cause__, DeadlockDetected | LockNotAvailable):
            raise
        logger.warning("a mutation lost against another one: %s", error.__cause__)
        with connection.cursor() as cursor:
            # A request of many mutations must not wait as long for each of them.
            cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE_AFTER_A_LOSS}'")
        return None, user_errors(
            Conflict("Somebody else is changing the same at this moment; try again.")
        )
    return result, []


def cause_of(error: GraphQLError) -> Exception | None:
    """Return what a resolver raised; None for what GraphQL itself found wrong with a request."""
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def is_expected(error: GraphQLError) -> bool:
    """Return whether a client can act on an error."""
    cause = cause_of(error)
    return cause is None or isinstance(cause, DomainError)


def rendered(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """Return an error as the response shows it; logs the traceback of an unexpected one."""
    cause = cause_of(error)
    shown: dict[str, Any] = {"message": error.message}
    if error.locations:
        shown["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    if error.path is not None:
        shown["path"] = list(error.path)
    if cause is None:
        shown["extensions"] = {"code": ErrorCode.INVALID.value, **(error.extensions or {})}
    elif isinstance(cause, DomainError):
        shown["message"] = cause.message
        shown["extensions"] = {"code": cause.code.value}
        if cause.field:
            shown["extensions"]["field"] = path_of(cause)
    else:
        logger.error("unexpected error at %s", error.path, exc_info=cause)
        shown["message"] = "Internal error"
        shown["extensions"] = {"code": INTERNAL, "requestId": request_id}
    return shown
