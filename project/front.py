"""What stands in front of Django: GraphQL reads of who was let in a moment ago take a short way.

Called by project.wsgi. The first request of a credential goes through every middleware, which leave
word of who that is and send headers; for the next 30 seconds its reads go straight to the statement
(graph.shortcut), judged again in the same round trip. Whatever is not a plain success, or comes
with anything unusual, goes Django's way from the start.
"""

from __future__ import annotations

import io
import logging
import time
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from graph import shortcut
from graph.view import READ
from rls import Outdated
from tenancy.entrances import ENTRANCE, Entrances, key_of
from tenancy.logs import request_id, tenant_label
from tenancy.middleware import GRAPHQL_PATH, log_answer, request_id_for

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication

    from tenancy.entrances import Entrance

logger = logging.getLogger("signate.front")

_JSON = frozenset({"application/json", "application/json; charset=utf-8"})
# A request with one of these is looked at by somebody who knows what to make of it.
_UNUSUAL = ("HTTP_COOKIE", "HTTP_ORIGIN", "HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING")

Headers = list[tuple[str, str]]


class Front:
    """A WSGI application in front of another one, which is Django's."""

    def __init__(self, application: WSGIApplication) -> None:
        """Remember nobody yet."""
        self._application = application
        self._entrances = Entrances()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if not _is_plain(environ) or settings.DEBUG or not settings.COMPILED_READS:
            return self._application(environ, start_response)
        length = int(environ["CONTENT_LENGTH"])
        given = environ["wsgi.input"]
        body = given.read(length)
        while len(body) < length and (more := given.read(length - len(body))):
            body += more
        key = key_of(environ)
        known = self._entrances.get(key)
        if known is not None:
            answered = self._shortly(environ, body, key, *known)
            if answered is not None:
                headers, data = answered
                start_response("200 OK", headers)
                return [data]
        environ["wsgi.input"] = io.BytesIO(body)
        return self._application(environ, self._learning(environ, start_response, key))

    def _shortly(
        self, environ: dict[str, Any], body: bytes, key: bytes, entrance: Entrance, sent: Headers
    ) -> tuple[Headers, bytes] | None:
        """Return headers and body of an answer; None for the long way."""
        started, name = time.perf_counter(), request_id_for(environ)
        tenant = entrance.actor.tenant_id
        tokens = request_id.set(name), tenant_label.set(str(tenant) if tenant else "-")
        try:
            data, environ[READ] = shortcut.answer(body, entrance)
            if data is None:
                return None
            log_answer("POST", GRAPHQL_PATH, 200, entrance.chosen_by, time.perf_counter() - started)
        except Outdated:
            self._entrances.forget(key)
            return None
        except (DatabaseError, InterfaceError):
            # The long way tries again, with a connection that was looked at, or says so.
            return None
        except Exception:
            logger.exception("the short way failed")
            return None
        finally:
            request_id.reset(tokens[0])
            tenant_label.reset(tokens[1])
        return [*sent, ("X-Request-ID", name), ("Content-Length", str(len(data)))], data

    def _learning(
        self, environ: dict[str, Any], start_response: StartResponse, key: bytes
    ) -> StartResponse:
        """Return a `start_response` that remembers who was let in, and the headers of answers."""

        def start(status: str, headers: Headers, *more: Any) -> Any:
            entrance = environ.get(ENTRANCE)
            names = {name.lower() for name, _ in headers}
            if entrance is not None and status.startswith("200") and "set-cookie" not in names:
                own = {"x-request-id", "content-length"}
                sent = [(name, value) for name, value in headers if name.lower() not in own]
                self._entrances.put(key, entrance, sent)
            return start_response(status, headers, *more)

        return start


def _is_plain(environ: dict[str, Any]) -> bool:
    """Return whether a request is an ordinary POST of GraphQL by a program."""
    if environ["PATH_INFO"] != GRAPHQL_PATH or environ["REQUEST_METHOD"] != "POST":
        return False
    if "HTTP_AUTHORIZATION" not in environ or environ.get("QUERY_STRING"):
        return False
    if environ.get("CONTENT_TYPE", "").lower() not in _JSON:
        return False
    if any(environ.get(name) for name in _UNUSUAL):
        return False
    length = environ.get("CONTENT_LENGTH") or ""
    # More than that is refused, before it is read.
    return (
        length.isdecimal() and len(length) < 10 and int(length) <= settings.GRAPHQL_MAX_BODY_BYTES
    )
