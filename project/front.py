"""What stands in front of Django: reads by who was let in a moment ago take a short way.

Called by project.wsgi. The first request of a credential goes through every middleware, which leave
word of who that is and send headers; for the next 30 seconds its reads go straight to the statement
(graph.shortcut, assets.legacy.shortcut), judged again in the same round trip. Whatever is not a
plain success, or comes with anything unusual, goes Django's way from the start.
"""

from __future__ import annotations

import io
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from assets.legacy import shortcut as old
from assets.legacy.endpoint import tag_of
from assets.legacy.shapes import V1, V1_1, V1_2, V2
from graph import shortcut
from graph.view import READ
from rls import Outdated
from tenancy.entrances import ENTRANCE, Entrances, key_of
from tenancy.logs import request_id, tenant_label
from tenancy.middleware import GRAPHQL_PATH, log_answer, request_id_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication

    from tenancy.entrances import Entrance

logger = logging.getLogger("signate.front")

Environ: TypeAlias = dict[str, Any]
Headers: TypeAlias = list[tuple[str, str]]

_JSON = frozenset({"application/json", "application/json; charset=utf-8"})
# A request with one of these is looked at by somebody who knows what to make of it.
_UNUSUAL = (
    "HTTP_COOKIE",
    "HTTP_ORIGIN",
    "HTTP_CONTENT_ENCODING",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_IF_NONE_MATCH",
    "QUERY_STRING",
)
# Headers that belong to one answer.
_OWN = frozenset({"x-request-id", "content-length", "etag"})


class Answered(NamedTuple):
    """The body of an answer, and the headers that are its own."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Road(NamedTuple):
    """One address and method: how long a body may be, and who answers."""

    most: int
    answer: Callable[[Environ, bytes, Entrance], Answered | None]


def _graphql(environ: Environ, body: bytes, entrance: Entrance) -> Answered | None:
    data, environ[READ] = shortcut.answer(body, entrance)
    return None if data is None else Answered(data)


def _assets(version: str, _environ: Environ, _body: bytes, entrance: Entrance) -> Answered | None:
    data = old.answer(version, entrance)
    return None if data is None else Answered(data, (("ETag", tag_of(data)),))


class Front:
    """A WSGI application in front of another one, which is Django's."""

    def __init__(self, application: WSGIApplication) -> None:
        """Remember nobody yet."""
        self._application = application
        self._entrances = Entrances()
        self._roads = {
            ("POST", GRAPHQL_PATH): Road(settings.GRAPHQL_MAX_BODY_BYTES, _graphql),
            **{
                ("GET", f"/api/{version}/assets"): Road(0, partial(_assets, version))
                for version in (V1, V1_1, V1_2, V2)
            },
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        road = self._road(environ)
        if road is None:
            return self._application(environ, start_response)
        try:
            body = _body(environ)
        except OSError:
            # Nobody waits for an answer; Django knows what to do then.
            return self._application(environ, start_response)
        key = key_of(environ)
        known = self._entrances.get(key)
        if known is not None:
            answered = self._shortly(road, environ, body, key, *known)
            if answered is not None:
                headers, data = answered
                start_response("200 OK", headers)
                return [data]
        environ["wsgi.input"] = io.BytesIO(body)
        return self._application(environ, self._learning(environ, start_response, key))

    def _road(self, environ: Environ) -> Road | None:
        """Return who answers an ordinary read by a program; None for Django."""
        road = self._roads.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if road is None or not settings.COMPILED_READS or settings.DEBUG:
            return None
        if "HTTP_AUTHORIZATION" not in environ or any(environ.get(name) for name in _UNUSUAL):
            return None
        length = environ.get("CONTENT_LENGTH") or "0"
        # More than that is refused, before it is read.
        if not length.isdecimal() or len(length) > 9 or int(length) > road.most:
            return None
        if road.most and environ.get("CONTENT_TYPE", "").lower() not in _JSON:
            return None
        return road

    def _shortly(
        self,
        road: Road,
        environ: Environ,
        body: bytes,
        key: bytes,
        entrance: Entrance,
        sent: Headers,
    ) -> tuple[Headers, bytes] | None:
        """Return headers and body of an answer; None for the long way."""
        started, name = time.perf_counter(), request_id_for(environ)
        tenant = entrance.actor.tenant_id
        tokens = request_id.set(name), tenant_label.set(str(tenant) if tenant else "-")
        try:
            answered = road.answer(environ, body, entrance)
            if answered is None:
                return None
            log_answer(
                environ["REQUEST_METHOD"],
                environ["PATH_INFO"],
                200,
                entrance.chosen_by,
                time.perf_counter() - started,
            )
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
            if connection.connection is not None and not connection.in_atomic_block:
                # Somebody asked Django's (for a trusted document, say): back to the pool, as after
                # every request of Django's.
                connection.close()
        data = answered.body
        own = ("X-Request-ID", name), ("Content-Length", str(len(data)))
        return [*sent, *own, *answered.headers], data

    def _learning(
        self, environ: Environ, start_response: StartResponse, key: bytes
    ) -> StartResponse:
        """Return a `start_response` that remembers who was let in, and the headers of answers."""

        def start(status: str, headers: Headers, *more: Any) -> Any:
            entrance = environ.get(ENTRANCE)
            by_name = {name.lower(): value for name, value in headers}
            is_plain = "json" in by_name.get("content-type", "") and "set-cookie" not in by_name
            if entrance is not None and status == "200 OK" and is_plain:
                sent = [(name, value) for name, value in headers if name.lower() not in _OWN]
                self._entrances.put(key, entrance, sent)
            return start_response(status, headers, *more)

        return start


def _body(environ: Environ) -> bytes:
    """Return the body, or what there is of it."""
    length, given = int(environ.get("CONTENT_LENGTH") or 0), environ["wsgi.input"]
    body: bytes = given.read(length) if length else b""
    while len(body) < length and (more := given.read(length - len(body))):
        body += more
    return body
