"""A mutation that comes again under the same Idempotency-Key is answered again, and not done again.

Called by graph.view, inside its door. What tells a request from others is the document, the
variables (of a file its name, length and content) and the name of the operation. What is kept is
the whole answer, unless every mutation in it was refused or all of it is undone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import transaction

from assets.upload_streams import StreamedFile
from graph import requests
from graph.documents import is_query
from graph.errors import mutations_done
from graph.requests import BadRequest
from tenancy.errors import Conflict, DomainError, ErrorCode
from tenancy.idempotency import HEADER, KeyReused, Once

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse
    from graphql import OperationDefinitionNode

    from graph.requests import Parameters
    from tenancy.middleware import SignateRequest


def once(
    request: SignateRequest,
    operation: OperationDefinitionNode,
    asked: Parameters,
    execute: Callable[[], HttpResponse],
) -> HttpResponse:
    """Return what `execute` answers now, or answered to the same request before.

    Without a key, for queries, and for who has not entered a tenant it is done each time. Raises
    BadRequest, which has to undo the door, for a key that is none, one of another request, and one
    whose request is under way.
    """
    key = request.headers.get(HEADER)
    if key is None or is_query(operation) or request.actor.tenant_id is None:
        return execute()
    told = [asked.query, asked.operation_name, asked.variables]
    text = json.dumps(told, sort_keys=True, default=_file)
    try:
        attempt = Once(request.actor, key, [b"graphql", text.encode()])
        kept = attempt.answered()
        if kept is not None:
            return requests.respond(request, json.loads(kept.text or "{}"))
        token = mutations_done.set(0)
        try:
            response = execute()
            if mutations_done.get() and not transaction.get_rollback():
                attempt.keep(response.status_code, response.content.decode())
        finally:
            mutations_done.reset(token)
    except DomainError as error:
        raise _refused(error) from error
    return response


def _file(value: Any) -> Any:
    """Return what of a file tells it from others."""
    if not isinstance(value, StreamedFile):
        raise TypeError(type(value).__name__)
    return [value.file_name, value.size, value.md5]


def _refused(error: DomainError) -> BadRequest:
    if isinstance(error, KeyReused):
        return BadRequest(error.message, 422, code=error.code)
    if isinstance(error, Conflict):
        return BadRequest(error.message, 409, code=ErrorCode.CONFLICT, headers={"Retry-After": "1"})
    return BadRequest(error.message, 400, code=error.code)
