"""Trusted documents: what an operator's manifest lists, found by id or by what they say.

Called by graph.persisted for each request while settings.TRUSTED_DOCUMENTS is not "off", and by
`manage.py trust_documents`. A process believes what it read for CACHED_SECONDS.
"""

from __future__ import annotations

import re
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.db import transaction
from graphql import GraphQLError, parse

from graph.models import TrustedDocument
from graph.shelves import Shelf
from tenancy.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHED_SECONDS = 60
MAX_DOCUMENTS = 5_000
MAX_ID = 200
_ID = re.compile(r"[\x21-\x7e]+\Z")
_CLIENT = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
# A text, or "" where there is none of that id.
_read: Shelf[tuple[float, str]] = Shelf(entries=4_096, weight=8_000_000)


class Entry(NamedTuple):
    """One document of a manifest."""

    document_id: str
    name: str
    text: str


def digest_of(text: str) -> str:
    """Return the SHA-256 of a document as hexadecimal digits."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def by_id(document_id: str, *, owner: str) -> str | None:
    """Return the trusted document of an id; None where there is none.

    `owner` pays for what is remembered, as in graph.documents.
    """
    # What a manifest may name: an id of another form needs no look-up.
    if len(document_id) > MAX_ID or not _ID.match(document_id):
        return None
    return _text("document_id", document_id, owner)


def is_trusted(text: str, *, owner: str) -> bool:
    """Return whether a document is one of those that an operator trusts, letter by letter."""
    return _text("digest", digest_of(text), owner) == text


def _text(column: str, value: str, owner: str) -> str | None:
    key, now = (column, value), time.monotonic()
    known = _read.get(key)
    if known is None or known[0] <= now:
        rows = TrustedDocument.objects.filter(**{column: value}).order_by("client")
        text = rows.values_list("text", flat=True).first() or ""
        known = (now + CACHED_SECONDS, text)
        _read.put(key, known, owner=owner, weight=len(value) + len(text))
    return known[1] or None


def read_manifest(data: Any) -> list[Entry]:
    """Return the documents of a manifest, Apollo's or Relay's; raises InvalidInput.

    Apollo's is an object with `format`, `version` and `operations`; Relay's maps ids to documents.
    """
    entries = list(_entries(data))
    if not entries:
        raise InvalidInput("The manifest lists no documents.")
    if len(entries) > MAX_DOCUMENTS:
        raise InvalidInput(f"A manifest lists {MAX_DOCUMENTS} documents at most.")
    seen: dict[str, str] = {}
    for entry in entries:
        if not isinstance(entry.document_id, str) or not (
            len(entry.document_id) <= MAX_ID and _ID.match(entry.document_id)
        ):
            raise InvalidInput(
                f"An id is {MAX_ID} printable ASCII characters at most, without blanks; "
                f"this is none: {str(entry.document_id)[:80]!r}."
            )
        if not isinstance(entry.text, str):
            raise InvalidInput(f"{entry.document_id}: the document is not a string.")
        if seen.setdefault(entry.document_id, entry.text) != entry.text:
            raise InvalidInput(f"{entry.document_id}: two documents have this id.")
        if len(entry.document_id) == 64 and _is_other_digest(entry):
            raise InvalidInput(f"{entry.document_id}: the id is the SHA-256 of another document.")
        try:
            parse(entry.text, max_tokens=settings.GRAPHQL_LIMITS["tokens"])
        except (GraphQLError, RecursionError) as error:
            raise InvalidInput(f"{entry.document_id}: {error}") from None
    return [Entry(*one) for one in dict.fromkeys(entries)]


def _is_other_digest(entry: Entry) -> bool:
    is_digest = re.fullmatch(r"[0-9a-f]{64}", entry.document_id) is not None
    return is_digest and digest_of(entry.text) != entry.document_id


def _entries(data: Any) -> Iterator[Entry]:
    if not isinstance(data, dict):
        raise InvalidInput("A manifest is a JSON object.")
    if data.get("format") == "apollo-persisted-query-manifest":
        if data.get("version") != 1 or not isinstance(data.get("operations"), list):
            raise InvalidInput("Of Apollo's manifests, version 1 with `operations` can be read.")
        for operation in data["operations"]:
            if not isinstance(operation, dict):
                raise InvalidInput("Each of `operations` is an object.")
            name = str(operation.get("name") or "")[:200]
            yield Entry(operation.get("id", ""), name, operation.get("body", ""))
    else:
        for document_id, text in data.items():
            yield Entry(document_id, "", text)


def require_client(client: str) -> None:
    """Raise InvalidInput for what is no name of a client."""
    if not _CLIENT.match(client):
        raise InvalidInput("A client's name is 64 letters, digits, dots, hyphens at most.")


def trust(client: str, entries: list[Entry], *, using: str) -> None:
    """Make `entries` all that is trusted of `client`; nothing where they are none.

    `using` is a database alias that may write here, which the application's may not. Raises
    InvalidInput, and Conflict where another client has another document of the same id.
    """
    require_client(client)
    rows = TrustedDocument.objects.using(using)
    with transaction.atomic(using=using):
        others = rows.exclude(client=client).filter(
            document_id__in=[entry.document_id for entry in entries]
        )
        theirs = {row.document_id: row for row in others}
        for entry in entries:
            other = theirs.get(entry.document_id)
            if other is not None and other.text != entry.text:
                raise Conflict(
                    f"{entry.document_id}: the client {other.client} has another document of "
                    "this id."
                )
        rows.filter(client=client).delete()
        rows.bulk_create(
            TrustedDocument(
                client=client,
                document_id=entry.document_id,
                name=entry.name,
                text=entry.text,
                digest=digest_of(entry.text),
            )
            for entry in entries
        )


def forget() -> None:
    """Read everything anew; for tests, and whoever cannot wait for CACHED_SECONDS."""
    _read.clear()
