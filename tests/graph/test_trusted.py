"""Trusted documents: what an operator's manifest lists, and nothing else where that is said."""

from __future__ import annotations

import json
import time
from hashlib import md5, sha256
from io import StringIO
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction
from django.test import Client, override_settings

from graph import trusted
from graph.models import TrustedDocument
from tests.conftest import PLATFORM, basic
from tests.graph.test_http import codes, post, told
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ME = "query Me { me { username } }"
TENANT = "query Name { tenant { slug } }"
ADD = "mutation Rename { updateTenant(input: {}) { errors { code } } }"
HASH = sha256(ME.encode()).hexdigest()
MD5 = md5(TENANT.encode(), usedforsecurity=False).hexdigest()
APOLLO = {
    "format": "apollo-persisted-query-manifest",
    "version": 1,
    "operations": [
        {"id": HASH, "name": "Me", "type": "query", "body": ME},
        {"id": "rename@2", "name": "Rename", "type": "mutation", "body": ADD},
    ],
}
RELAY = {MD5: TENANT}
ANSWER = {"data": {"me": {"username": "acme-owner"}}}


def written(folder: Path, manifest: Any) -> str:
    path = folder / "manifest.json"
    path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest), "utf-8")
    return str(path)


def load(*arguments: str) -> str:
    out = StringIO()
    call_command("trust_documents", *arguments, stdout=out)
    trusted.forget()
    return out.getvalue().strip()


@pytest.fixture
def client(scratch_database: str, tmp_path: Path) -> Iterator[Client]:
    """acme's owner, where two clients' manifests are loaded."""
    del scratch_database
    create_world()
    assert load("web", written(tmp_path, APOLLO)) == "web: 2 documents"
    assert load("app", written(tmp_path, RELAY)) == "app: 1 documents"
    yield Client(HTTP_HOST=f"acme.{PLATFORM}", headers=basic("acme-owner"))
    trusted.forget()


def by_hash(digest: str) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}}


def test_documents_run_by_their_ids_and_nothing_else_where_that_is_said(client: Client) -> None:
    other = "{ me { id } }"
    assert codes(post(client, by_hash(HASH))) == ["PERSISTED_QUERY_NOT_FOUND"]
    with override_settings(TRUSTED_DOCUMENTS="on"):
        assert "data" in post(client, {"query": other}).json()
        assert told(post(client, by_hash(HASH))) == ANSWER
        assert told(post(client, {"documentId": HASH})) == ANSWER
        assert codes(post(client, {"documentId": "nothing"})) == ["PERSISTED_QUERY_NOT_FOUND"]
        refused = post(client, {"documentId": HASH, "query": other})
        assert (refused.status_code, codes(refused)) == (400, ["INVALID"])
    with override_settings(TRUSTED_DOCUMENTS="only"):
        assert told(post(client, by_hash(HASH))) == ANSWER
        assert told(post(client, {"query": ME})) == ANSWER
        assert told(post(client, {"doc_id": MD5})) == {"data": {"tenant": {"slug": "acme"}}}
        assert told(client.get("/graphql", {"documentId": MD5})) == {
            "data": {"tenant": {"slug": "acme"}}
        }
        assert told(post(client, {"documentId": "rename@2"})) == {
            "data": {"updateTenant": {"errors": []}}
        }
        assert client.get("/graphql", {"documentId": "rename@2"}).status_code == 405
        hashed = by_hash(sha256(other.encode()).hexdigest())
        for body in (
            {"query": other},
            {"query": ME + " "},
            {"query": "{ __schema { types { name } } }"},
            {**hashed, "query": other},
            hashed,
            {"documentId": "nothing"},
        ):
            refused = post(client, body)
            assert codes(refused) == ["PERSISTED_QUERY_NOT_IN_LIST"]
            assert "data" not in refused.json()
        for name in ("x" * 10_000, "a b", "\x01", "ä", "*", "' OR 1=1 --"):
            assert codes(post(client, {"documentId": name})) == ["PERSISTED_QUERY_NOT_IN_LIST"]
        with override_settings(TRUSTED_DOCUMENTS_FOR=["session"]):
            assert "data" in post(client, {"query": other}).json()


def test_a_manifest_takes_the_place_of_the_one_before(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load("web", written(tmp_path, {"a": TENANT})) == "web: 1 documents"
    with override_settings(TRUSTED_DOCUMENTS="only"):
        assert codes(post(client, by_hash(HASH))) == ["PERSISTED_QUERY_NOT_IN_LIST"]
        assert "data" in post(client, {"documentId": "a"}).json()
        assert load("web", "--remove") == "web: 0 documents"
        assert codes(post(client, {"documentId": "a"})) == ["PERSISTED_QUERY_NOT_IN_LIST"]
        # The other client's are as they were.
        assert "data" in post(client, {"documentId": MD5}).json()
        # What was read is believed for a minute.
        call_command("trust_documents", "app", "--remove", stdout=StringIO())
        assert "data" in post(client, {"documentId": MD5}).json()
        now = time.monotonic
        monkeypatch.setattr("graph.trusted.time.monotonic", lambda: now() + 61)
        assert codes(post(client, {"documentId": MD5})) == ["PERSISTED_QUERY_NOT_IN_LIST"]


@pytest.mark.parametrize(
    "manifest",
    [
        "{",
        "[]",
        "[" * 100_000,
        {},
        {"a": 5},
        {"a": "{"},
        {"a": "{ me { id } } " * 400},
        {"": ME},
        {"a b": ME},
        {"x" * 201: ME},
        {"0" * 64: ME},
        {"format": "apollo-persisted-query-manifest", "version": 2, "operations": []},
        {"format": "apollo-persisted-query-manifest", "version": 1, "operations": {}},
        {"format": "apollo-persisted-query-manifest", "version": 1, "operations": ["x"]},
        {"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id": "a"}]},
        {
            "format": "apollo-persisted-query-manifest",
            "version": 1,
            "operations": [{"id": "a", "body": ME}, {"id": "a", "body": TENANT}],
        },
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(tmp_path: Path, manifest: Any) -> None:
    # Before anything is read or written: no database is there.
    with pytest.raises(CommandError):
        load("web", written(tmp_path, manifest))


@pytest.mark.parametrize(
    "arguments", [["web"], ["a b", "x.json"], ["web", "no such file"], ["web", "x", "--remove"]]
)
def test_a_command_that_is_none_is_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        load(*arguments)


def test_another_client_cannot_have_another_document_of_the_same_id(
    client: Client, tmp_path: Path
) -> None:
    del client
    before = sorted(TrustedDocument.objects.values_list("client", "document_id", "text"))
    with pytest.raises(CommandError, match="the client app has another document"):
        load("web", written(tmp_path, {MD5: ME}))
    assert sorted(TrustedDocument.objects.values_list("client", "document_id", "text")) == before
    _the_application_itself_trusts_nothing()


def _the_application_itself_trusts_nothing() -> None:
    for statement in (
        (
            "INSERT INTO trusted_documents (client, document_id, name, text, digest, created_at) "
            "VALUES ('web', 'x', '', '{ me { id } }', '', now())"
        ),
        "UPDATE trusted_documents SET text = ''",
        "DELETE FROM trusted_documents",
    ):
        with (
            pytest.raises(ProgrammingError) as refused,
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
        assert isinstance(refused.value.__cause__, psycopg.errors.InsufficientPrivilege)
