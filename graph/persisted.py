"""Persisted documents: requests that name a document instead of sending it.

Called by graph.view. Automatic persisted queries are what Apollo's and urql's clients do: they
send the SHA-256 of a document, and the document with it once when we do not know it. What they
send is kept per tenant, in Redis and in this process, and is checked against its hash whenever it
is read, so that nobody can put another document in its place. Trusted documents come first.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings
from graphql import GraphQLError

from graph import trusted
from graph.documents import Refused
from graph.limits import owner_of
from graph.requests import BadRequest
from graph.shelves import Shelf
from graph.trusted import digest_of
from tenancy.limits import redis_client

if TYPE_CHECKING:
    from graph.requests import Parameters
    from tenancy.actors import Actor

logger = logging.getLogger("signate.graphql")

# A client that asks for nothing for so long sends its documents anew.
KEPT_SECONDS = 86_400
# Of one tenant, in Redis; and what this process keeps of all of them, for when Redis is away.
KEPT_PER_TENANT = 500
KEPT_LENGTH = 20_000
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_here: Shelf[str] = Shelf(entries=1_024, weight=4_000_000)


class Source(NamedTuple):
    """The document of a request; `keep` is its hash where it is to be remembered under that."""

    text: str
    keep: str = ""


def source_of(asked: Parameters, actor: Actor, credential: str) -> Source:
    """Return the document that a request sent or named.

    Raises BadRequest for a malformed name, Refused for one that nobody knows and for a document
    that is not trusted where nothing else may run.
    """
    owner, name = owner_of(actor), _name(asked)
    mode = settings.TRUSTED_DOCUMENTS
    text = trusted.by_id(name, owner=owner) if name and mode != "off" else None
    if text is not None:
        if asked.query not in {None, text}:
            raise BadRequest("`query` is not the document of that id.")
        return Source(text)
    if mode == "only" and credential in settings.TRUSTED_DOCUMENTS_FOR:
        if asked.query is not None and trusted.is_trusted(asked.query, owner=owner):
            return Source(asked.query)
        raise _refused(
            "PersistedQueryNotInList",
            "PERSISTED_QUERY_NOT_IN_LIST",
        )
    if asked.query is None:
        known = _find(actor, name) if _HASH.match(name) and not asked.document_id else None
        if known is None:
            raise _refused("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
        return Source(known)
    if not name or asked.document_id:
        return Source(asked.query)
    if digest_of(asked.query) != name:
        raise BadRequest("`extensions.persistedQuery.sha256Hash` is not the hash of `query`.")
    return Source(asked.query, keep=name)


def _name(asked: Parameters) -> str:
    """Return the id or the hash that a request names; raises BadRequest, Refused."""
    if asked.document_id:
        return asked.document_id
    named = asked.extensions.get("persistedQuery")
    if not named:
        return ""
    if not isinstance(named, dict):
        raise BadRequest("`extensions.persistedQuery` must be an object.")
    if named.get("version") != 1:
        raise _refused("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")
    name = named.get("sha256Hash")
    if not isinstance(name, str) or not name:
        raise BadRequest("`extensions.persistedQuery.sha256Hash` must be a string.")
    # Ids of manifests are as their maker wrote them; a hash means the same in either case.
    return name.lower() if _HASH.match(name.lower()) else name


def _refused(message: str, code: str) -> Refused:
    """Return a refusal in the words that clients know."""
    return Refused((GraphQLError(message, extensions={"code": code}),))


def keep(source: Source, actor: Actor) -> None:
    """Remember a document that has proved valid under its hash, for its tenant's next requests."""
    if not source.keep or len(source.text) > KEPT_LENGTH:
        return
    here = (_scope(actor), source.keep)
    if _here.get(here) is None:
        _here.put(here, source.text, owner=owner_of(actor), weight=len(source.text))
    _remember(_scope(actor), source.keep, source.text)


def _find(actor: Actor, name: str) -> str | None:
    scope = _scope(actor)
    known = _here.get((scope, name))
    if known is None:
        known = _recall(scope, name)
        if known is None or digest_of(known) != name:
            return None
        _here.put((scope, name), known, owner=owner_of(actor), weight=len(known))
    return known


def _scope(actor: Actor) -> str:
    """Return whose documents these are: the tenant's, or a person's who is in none."""
    return str(actor.tenant_id or actor.user_id)


def _key(scope: str, what: str) -> str:
    return f"{settings.CACHES['default'].get('KEY_PREFIX', '')}:t:{scope}:document:{what}"


def _remember(scope: str, name: str, text: str) -> None:
    """Put a document into Redis and the tenant's oldest out of it."""
    from redis.exceptions import RedisError

    index = _key(scope, "index")
    try:
        client = redis_client()
        if client is None:
            return
        with client.pipeline() as pipe:
            pipe.set(_key(scope, name), text, ex=KEPT_SECONDS)
            pipe.zadd(index, {name: time.time()})
            pipe.expire(index, KEPT_SECONDS)
            pipe.zrange(index, 0, -KEPT_PER_TENANT - 1)
            *_done, oldest = pipe.execute()
        if oldest:
            names = [one.decode() for one in oldest]
            client.delete(*(_key(scope, one) for one in names))
            client.zrem(index, *names)
    except RedisError:
        logger.warning("Redis is away: a persisted document is kept in this process only")


def _recall(scope: str, name: str) -> str | None:
    from redis.exceptions import RedisError

    try:
        client = redis_client()
        if client is None:
            return None
        text = client.getex(_key(scope, name), ex=KEPT_SECONDS)
    except RedisError:
        logger.warning("Redis is away: persisted documents are looked for in this process only")
        return None
    return None if text is None else text.decode(errors="replace")


def forget_here() -> None:
    """Forget what this process keeps; for tests."""
    _here.clear()
