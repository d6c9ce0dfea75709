"""What goes wrong while a compiled read runs looks and ends as it does on the ordinary road."""

from __future__ import annotations

import json
import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, F, Value
from django.test import Client
from strawberry.types.base import get_object_definition

from graph.assets import Asset
from graph.columns import declarations
from graph.compiled import running
from graph.compiled.plans import plans
from rls import fetch_one
from tests import databases
from tests.conftest import PLATFORM, Graph, basic
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import Settings

    from tests.world import World

# They ask on both roads by themselves.
pytestmark = pytest.mark.one_road
QUERY = "{ assets(first: 2) { edges { node { id name } } } }"


@pytest.fixture
def alone(scratch_database: str) -> Iterator[World]:
    """The world of a database on whose connection no transaction is open."""
    del scratch_database
    yield create_world()
    connection.close()


@pytest.fixture
def graph(alone: World) -> Graph:
    """The owner of acme, over the pipeline."""
    del alone
    return Graph(
        Client(
            headers=basic("acme-owner"),
            HTTP_HOST=f"acme.{PLATFORM}",
            raise_request_exception=False,
        )
    )


def with_more(more: bytes) -> Callable[..., Any]:
    """Return what sends every compiled statement with something more to do."""

    def send(actor: Any, statement: bytes, parameters: Any, **more_: Any) -> Any:
        return fetch_one(actor, statement + b", (" + more + b")", parameters, **more_)[:1]

    return send


def test_both_tenants_are_answered_over_the_pipeline(alone: World, settings: Any) -> None:
    for slug in ("acme", "globex", "acme", "globex", "acme"):
        graph = Graph(Client(headers=basic(f"{slug}-owner"), HTTP_HOST=f"{slug}.{PLATFORM}"))
        settings.COMPILED_READS = True
        found = graph.post(QUERY)
        settings.COMPILED_READS = False
        assert found.content == graph.post(QUERY).content
        marker = getattr(alone, slug).marker
        assert found.content.count(marker.encode()) == 2


@contextmanager
def impatient() -> Iterator[None]:
    """Let the database end every statement after 50 ms."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        [name] = cursor.fetchone()
    try:
        with databases.maintenance(name) as owner:
            owner.execute(f"ALTER DATABASE \"{name}\" SET statement_timeout = '50ms'")
        connection.close()
        yield
    finally:
        with databases.maintenance(name) as owner:
            owner.execute(f'ALTER DATABASE "{name}" RESET statement_timeout')
        connection.close()


def interrupted(monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    """Let the statement of the compiled road and the resolver of the other do something more."""

    def resolved(*_args: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    monkeypatch.setattr(running, "fetch_one", with_more(sql.encode()))
    monkeypatch.setattr("graph.assets.page_of_assets", resolved)


def told(response: Any) -> tuple[int, bytes]:
    """Return status and body, without the request's id."""
    body = re.sub(rb'"(requestId|request_id)": ?"[^"]+"', rb'"\1":""', response.content)
    return response.status_code, body


def test_a_statement_that_takes_too_long_is_one_masked_error_on_both_roads(
    graph: Graph,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: Settings,
) -> None:
    expected = graph.data(QUERY)
    answers = []
    for is_compiled in (True, False):
        settings.COMPILED_READS = is_compiled
        caplog.clear()
        with monkeypatch.context() as patch, impatient():
            interrupted(patch, "SELECT 1 FROM pg_sleep(20)")
            with caplog.at_level(logging.ERROR, "signate.graphql"):
                response = graph.post(QUERY)
        answers.append(told(response))
        assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == [
            "unexpected error at ['assets']"
        ]
        assert "statement timeout" in caplog.text
        assert graph.data(QUERY) == expected
    assert answers[0] == answers[1]
    status, body = answers[0]
    answer = json.loads(body)
    [error] = answer["errors"]
    assert (status, answer["data"]) == (200, {"assets": None})
    assert (error["message"], error["path"]) == ("Internal error", ["assets"])
    assert error["locations"] == [{"line": 1, "column": 3}]
    assert error["extensions"]["code"] == "INTERNAL"


def test_a_killed_connection_is_one_503_on_both_roads_and_the_next_request_is_answered(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    expected = graph.data(QUERY)
    answers = []
    for is_compiled in (True, False):
        settings.COMPILED_READS = is_compiled
        with monkeypatch.context() as patch:
            interrupted(patch, "SELECT pg_terminate_backend(pg_backend_pid())")
            response = graph.post(QUERY)
        assert response.status_code == 503
        assert response.json()["code"] == "UNAVAILABLE"
        answers.append((told(response), response["Content-Type"], response.get("Retry-After")))
        assert graph.data(QUERY) == expected
    assert answers[0] == answers[1]


def test_what_the_database_cannot_compute_is_one_masked_error_on_both_roads(
    graph: Graph,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: Settings,
) -> None:
    """A declaration that fails in SQL: the compiled road leaves it to the other, which says so."""
    definition = get_object_definition(Asset, strict=True)
    [field] = [one for one in definition.fields if one.python_name == "is_shared"]
    by_zero = ExpressionWrapper(F("play_order") / Value(0), output_field=BooleanField())
    query = '{ assets(first: 2) { edges { node { name isShared } } } other: asset(assetId: "x") { uri } }'
    expected = graph.data(query)
    answers = []
    for is_compiled in (True, False):
        settings.COMPILED_READS = is_compiled
        caplog.clear()
        with monkeypatch.context() as patch:
            patch.setattr(field, "metadata", {"expression": lambda _: by_zero})
            forget()
            with caplog.at_level(logging.ERROR, "signate.graphql"):
                answers.append(told(graph.post(query)))
        forget()
        assert ("a compiled read failed" in caplog.text) is is_compiled
        assert "division by zero" in caplog.text
        assert graph.data(query) == expected
    assert answers[0] == answers[1]
    body = json.loads(answers[0][1])
    assert body["data"] == {"assets": None, "other": None}
    assert [one["message"] for one in body["errors"]] == ["Internal error"]


def forget() -> None:
    """Forget what was made of declarations."""
    declarations.cache_clear()
    plans.clear()


def test_a_statement_that_fails_is_logged_and_answered_by_the_executor(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = graph.data(QUERY)
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, "signate.graphql"):
        patch.setattr(running, "fetch_one", with_more(b"SELECT 1 / 0"))
        assert graph.data(QUERY) == expected
    assert "a compiled read failed" in caplog.text
    assert graph.data(QUERY) == expected
