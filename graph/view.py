"""The GraphQL door: one HTTP request, one operation, one transaction.

Called by project.urls. The stages are the methods of `GraphView`, in order: what kind of request,
who asks, what is asked, and then, inside the door, execution and the building of the response.
Nothing here knows a noun.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.views.decorators.csrf import csrf_exempt
from strawberry.django.views import GraphQLView

from graph import compiled, graphiql, multipart, persisted, requests
from graph.context import Context
from graph.documents import Refused, is_query, is_subscription, prepare, root_fields
from graph.errors import cause_of, is_expected, rendered
from graph.idempotency import once
from graph.limits import REFUSED_COST, owner_of, spend
from graph.requests import BadRequest, Parameters
from graph.schema import schema
from rls import acting_as
from tenancy.credentials import csrf_refusal
from tenancy.errors import ErrorCode, NotSignedIn, RateLimited, TenantRequired
from tenancy.middleware import refusal
from tenancy.views import second_factor_url, sign_in_url

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase
    from graphql import GraphQLError, OperationDefinitionNode
    from strawberry.types import ExecutionResult

    from graph.documents import Operation
    from graph.limits import Cost
    from graph.persisted import Source
    from tenancy.middleware import SignateRequest

logger = logging.getLogger("signate.graphql")

# In a request's environment: what the database said when it was asked in front of Django.
READ = "signate.read"

# All that is open to somebody who has to set up a second factor first.
ENROLMENT = frozenset({"__typename", "me", "beginSecondFactor", "confirmSecondFactor"})


class GraphView(GraphQLView[Context, None]):
    """Strawberry's view with our stages."""

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer one request."""
        del args, kwargs
        try:
            page = self.page(request)
            if page is not None:
                return page
            self.admit(request)
            if multipart.is_multipart(request):
                with multipart.received(request) as asked:
                    return self.answer(request, asked)
            return self.answer(request, self.parameters(request))
        except BadRequest as error:
            return requests.refuse(request, error)

    def page(self, request: SignateRequest) -> HttpResponse | None:
        """Return what a browser that opens the address is shown; None for everybody else."""
        if not requests.is_navigation(request):
            return None
        if not request.actor.is_signed_in:
            return HttpResponseRedirect(sign_in_url(request))
        if request.confined is not None:
            return HttpResponseRedirect(second_factor_url(request.get_full_path()))
        return graphiql.page(request)

    def admit(self, request: SignateRequest) -> None:
        """Raise BadRequest for a method there is none of, for strangers, and for forged requests.

        A cookie comes along whoever makes the browser send the request. So what is borne by one
        only posts, and proves with Django's token that a page of ours wrote it.
        """
        if request.method not in {"GET", "POST"}:
            raise BadRequest("Use POST, or GET for queries.", 405, headers={"Allow": "GET, POST"})
        if not request.actor.is_signed_in:
            told = refusal(NotSignedIn("Sign in to use GraphQL."), request)
            raise BadRequest(
                "Sign in to use GraphQL.",
                401,
                code=ErrorCode.UNAUTHENTICATED,
                headers={"WWW-Authenticate": told["WWW-Authenticate"]},
            )
        if multipart.is_multipart(request):
            reason = multipart.forgery(request)
            if reason is not None:
                raise BadRequest(reason, 403, code=ErrorCode.FORBIDDEN)
            return
        if request.credential != "session":
            return
        if request.method == "GET":
            if "query" in request.GET or not requests.is_same_origin(request):
                raise BadRequest(
                    "Use POST: GET is for requests with an Authorization header, and for "
                    "persisted documents of our own pages.",
                    405,
                    headers={"Allow": "POST"},
                )
            return
        reason = csrf_refusal(request)
        if reason is not None:
            raise BadRequest(f"CSRF: {reason}", 403, code=ErrorCode.FORBIDDEN)

    def parameters(self, request: SignateRequest) -> Parameters:
        """Return what is asked; raises BadRequest for what is no GraphQL request."""
        return requests.of_get(request) if request.method == "GET" else requests.of_post(request)

    def answer(self, request: SignateRequest, asked: Parameters) -> HttpResponse:
        """Return the response to a well-formed request."""
        try:
            source, operation = self.prepare(request, asked)
            cost = self.spend(request, operation.cost)
        except Refused as refused:
            self.spend(request, REFUSED_COST)
            errors = [rendered(error, request.id) for error in refused.errors]
            return requests.respond(request, requests.errors_body(errors))
        if request.method == "GET" and not is_query(operation.node):
            raise BadRequest("Only queries go by GET; use POST.", 405, headers={"Allow": "POST"})
        if is_subscription(operation.node):
            raise BadRequest("Subscriptions go over a WebSocket (graphql-transport-ws).")
        if request.confined is not None and not root_fields(operation) <= ENROLMENT:
            raise BadRequest(request.confined.message, 403, code=request.confined.code)
        persisted.keep(source, request.actor)
        context = Context(request=request, actor=request.actor, document=operation.document)

        started, sent = time.perf_counter(), len(connection.queries_log)
        road = "executor"
        if is_query(operation.node):
            text, name = source.text, asked.operation_name
            read = request.META.get(READ) or compiled.answer(
                schema, text, name, operation.node, asked.variables, context
            )
            if read.data is not None:
                extensions = {**_debug(request, "compiled", started, sent), "cost": cost.shown()}
                return requests.respond_data(request, read.data, extensions)
            if read.failure is not None:
                return self.conclude(request, operation.node, read.failure, cost)
            road = f"executor: {read.reason}"

        def execute() -> HttpResponse:
            result = schema.execute_sync(
                source.text,
                variable_values=asked.variables,
                context_value=context,
                operation_name=asked.operation_name,
                operation_extensions=asked.extensions,
            )
            result.extensions = {
                **(result.extensions or {}),
                **_debug(request, road, started, sent),
            }
            return self.conclude(request, operation.node, result, cost)

        with acting_as(request.actor, read_only=is_query(operation.node)):
            return once(request, operation.node, replace(asked, query=source.text), execute)

    def prepare(self, request: SignateRequest, asked: Parameters) -> tuple[Source, Operation]:
        """Return the document and the operation in it that is to run; raises Refused."""
        source = persisted.source_of(asked, request.actor, request.credential)
        operation = prepare(
            schema,
            source.text,
            asked.operation_name,
            asked.variables,
            owner=owner_of(request.actor),
        )
        return source, operation

    def spend(self, request: SignateRequest, cost: int) -> Cost:
        """Take what a request costs from its actor's budget; raises BadRequest when it is spent."""
        try:
            return spend(request.actor, cost)
        except RateLimited as error:
            raise BadRequest(
                error.message,
                429,
                code=error.code,
                headers={"Retry-After": str(error.retry_after)},
            ) from error

    def conclude(
        self,
        request: SignateRequest,
        operation: OperationDefinitionNode,
        result: ExecutionResult,
        cost: Cost,
    ) -> HttpResponse:
        """Return the response to what was executed; undo all of it where it must not stay.

        GraphQL swallows exceptions, and a transaction commits unless it is told otherwise.
        """
        errors = result.errors or []
        _raise_when_away(errors)
        if any(isinstance(cause_of(error), TenantRequired) for error in errors):
            transaction.set_rollback(True)
            return refusal(TenantRequired())
        if not is_query(operation) and not all(map(is_expected, errors)):
            transaction.set_rollback(True)
            shown = [rendered(error, request.id) for error in errors if not is_expected(error)]
            return requests.respond(request, {"data": None, "errors": shown})
        body: dict[str, Any] = {}
        if errors:
            body["errors"] = [rendered(error, request.id) for error in errors]
        # Without a path nothing was executed: variables that do not fit, say.
        if result.data is not None or not errors or any(error.path for error in errors):
            body["data"] = result.data
        body["extensions"] = {**(result.extensions or {}), "cost": cost.shown()}
        return requests.respond(request, body)


def _debug(request: SignateRequest, road: str, started: float, sent: int) -> dict[str, Any]:
    """Return the extensions that tell developers which road an operation took, and what it took.

    `started` is when, `sent` how many statements had been sent by then.
    """
    if not settings.DEBUG:
        return {}
    debug = {
        "requestId": request.id,
        "statements": len(connection.queries_log) - sent,
        "milliseconds": round((time.perf_counter() - started) * 1_000, 1),
    }
    return {"road": road, "debug": debug}


def _raise_when_away(errors: list[GraphQLError]) -> None:
    """Raise what says that the database is gone, for the middleware to answer with 503."""
    for error in errors:
        cause = cause_of(error)
        if isinstance(cause, InterfaceError) or (
            isinstance(cause, OperationalError)
            and (connection.connection is None or connection.connection.closed)
        ):
            raise cause


graphql = csrf_exempt(GraphView.as_view(schema=schema))
