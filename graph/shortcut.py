"""A read by somebody who was let in before, from the body of the request to that of the answer.

Called by project.front, in front of Django: the stages of graph.view that such a request needs, by
the same functions. Whatever is not a plain success has no answer here and takes the long way, where
everything is looked at from the start.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from graph import compiled, persisted, requests
from graph.context import Context
from graph.documents import Refused, is_query, prepare
from graph.limits import owner_of, spend
from graph.requests import BadRequest
from graph.schema import schema
from rls import fetch_judged
from tenancy.errors import RateLimited

if TYPE_CHECKING:
    from graph.compiled import Answer
    from graph.limits import Cost
    from tenancy.entrances import Entrance
    from tenancy.middleware import SignateRequest

# What no statement may ask about: a compiled read knows the actor and the clock.
_NO_REQUEST = cast("SignateRequest", None)


def answer(body: bytes, entrance: Entrance) -> tuple[bytes | None, Answer | None]:
    """Return the body of the answer; None, and what the database said, for the long way.

    Raises rls.Outdated when somebody would not be let in as before, and what the database says when
    it is away.
    """
    actor = entrance.actor
    try:
        asked = requests.of_body(body)
        source = persisted.source_of(asked, actor, entrance.credential)
        name, owner = asked.operation_name, owner_of(actor)
        operation = prepare(schema, source.text, name, asked.variables, owner=owner)
    except (BadRequest, Refused):
        return None, None
    if not is_query(operation.node):
        return None, None
    costs: list[Cost] = []
    try:
        read = compiled.answer(
            schema,
            source.text,
            name,
            operation.node,
            asked.variables,
            Context(request=_NO_REQUEST, actor=actor, document=operation.document),
            fetch=partial(fetch_judged, standing=entrance.standing),
            admit=lambda: costs.append(spend(actor, operation.cost)),
        )
    except RateLimited:
        return None, None
    if read.data is None:
        return None, read if read.failure is not None else None
    persisted.keep(source, actor)
    return requests.data_body(read.data, {"cost": costs[0].shown()}), None
