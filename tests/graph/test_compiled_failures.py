"""What goes wrong while a compiled read runs looks and ends as it does on the ordinary road."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client

from graph.compiled import running
from rls import fetch_one
from tests import databases
from tests.conftest import PLATFORM, Graph, basic
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

    def send(actor: Any, statement: bytes, parameters: Any) -> Any:
        return fetch_one(actor, statement + b", (" + more + b")", parameters)[:1]

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


def test_a_statement_that_takes_too_long_is_masked(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = graph.data(QUERY)
    with monkeypatch.context() as patch, connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        [name] = cursor.fetchone()
        with databases.maintenance(name) as owner:
            owner.execute(f"ALTER DATABASE \"{name}\" SET statement_timeout = '50ms'")
        connection.close()
        patch.setattr(running, "fetch_one", with_more(b"SELECT 1 FROM pg_sleep(20)"))
        with caplog.at_level(logging.ERROR, "signate.graphql"):
            response = graph.post(QUERY)
        with databases.maintenance(name) as owner:
            owner.execute(f'ALTER DATABASE "{name}" RESET statement_timeout')
        connection.close()
    answer = json.loads(response.content)
    [error] = answer["errors"]
    assert (response.status_code, answer["data"]) == (200, {"assets": None})
    assert (error["message"], error["path"]) == ("Internal error", ["assets"])
    assert error["locations"] == [{"line": 1, "column": 3}]
    assert error["extensions"]["code"] == "INTERNAL"
    assert "statement timeout" in caplog.text
    assert graph.data(QUERY) == expected


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_killed_connection_is_503_and_the_next_request_is_answered(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, settings: Any, *, is_compiled: bool
) -> None:
    settings.COMPILED_READS = is_compiled
    expected = graph.data(QUERY)
    kill = "SELECT pg_terminate_backend(pg_backend_pid())"
    with monkeypatch.context() as patch:
        if is_compiled:
            patch.setattr(running, "fetch_one", with_more(kill.encode()))
        else:

            def killed(*_args: Any) -> None:
                with connection.cursor() as cursor:
                    cursor.execute(kill)

            patch.setattr("graph.assets.page_of_assets", killed)
        response = graph.post(QUERY)
    assert response.status_code == 503
    assert response.json()["code"] == "UNAVAILABLE"
    assert graph.data(QUERY) == expected


def test_a_statement_that_fails_is_logged_and_answered_by_the_executor(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = graph.data(QUERY)
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, "signate.graphql"):
        patch.setattr(running, "fetch_one", with_more(b"SELECT 1 / 0"))
        assert graph.data(QUERY) == expected
    assert "a compiled read failed" in caplog.text
    assert graph.data(QUERY) == expected
