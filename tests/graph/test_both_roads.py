"""The watch over both roads (tests/both_roads.py) sees what differs, and nobody sees the watch."""

from __future__ import annotations

import json
from datetime import datetime, tzinfo
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from graph import context, requests
from graph.compiled import leaves
from graph.compiled.plans import plans
from tests.both_roads import fail_on_differences, watch
from tests.graph.conftest import YEAR, add_assets, statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from tests.conftest import Graph
    from tests.world import Inhabited

QUERY = "{ assets(first: 2) { totalCount edges { node { name createdAt } } } }"


@pytest.fixture(autouse=True)
def _watching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch, whatever the command line says; the marker comes before it."""
    monkeypatch.setattr(watch, "compared", 0)
    if request.node.get_closest_marker("one_road") is None:
        monkeypatch.setattr(watch, "is_on", True)


@pytest.fixture
def _other_leaf(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Spell texts in the compiled road with one letter more."""
    fields, _ = leaves._SCALARS["String"]
    monkeypatch.setitem(
        leaves._SCALARS, "String", (fields, lambda value: f"to_json({value} || '!')::text")
    )
    plans.clear()
    yield
    plans.clear()


@pytest.mark.usefixtures("_other_leaf")
@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_leaf_that_is_spelt_otherwise_fails_the_test(
    acme: Inhabited, gql: Callable[..., Graph], settings: Settings, *, is_compiled: bool
) -> None:
    settings.COMPILED_READS = is_compiled
    name = gql().data(QUERY)["assets"]["edges"][0]["node"]["name"]
    # The test itself is told what it would be told otherwise.
    assert name.endswith("!") is is_compiled
    with pytest.raises(pytest.fail.Exception, match="The roads differ") as failed:
        fail_on_differences()
    told = str(failed.value)
    assert QUERY in told
    assert f'"name":"{acme.assets[0].name}!"' in told
    assert f'"name":"{acme.assets[0].name}"' in told
    assert "variables: {}" in told
    fail_on_differences()


def test_an_error_of_one_road_fails_the_test(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    del acme

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise ValueError

    monkeypatch.setattr("graph.assets.page_of_assets", broken)
    assert gql().data(QUERY)["assets"]["totalCount"] == 3
    with pytest.raises(pytest.fail.Exception, match='"message":"Internal error"'):
        fail_on_differences()


def test_a_header_that_differs_fails_the_test(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    del acme
    respond = requests.respond

    def marked(*args: Any) -> Any:
        response = respond(*args)
        response["X-Road"] = "executor"
        return response

    monkeypatch.setattr(requests, "respond", marked)
    gql().data(QUERY)
    with pytest.raises(pytest.fail.Exception, match="'X-Road': 'executor'"):
        fail_on_differences()


def test_both_roads_have_one_clock(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What plays or is shared can end between the two; to the roads it does not."""
    add_assets(acme, 2)
    years = count(0, 2)

    class Leaping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Leaping:
            return cls.fromtimestamp(datetime.now(tz).timestamp(), tz) + next(years) * YEAR

    monkeypatch.setattr(context, "datetime", Leaping)
    found = [gql().data("{ assets(last: 2) { edges { node { isActive } } } }") for _ in range(2)]
    playing = [[one["node"]["isActive"] for one in data["assets"]["edges"]] for data in found]
    # Each request took the time once.
    assert playing == [[True, True], [False, False]]
    assert next(years) == 4
    assert watch.compared == 2


def test_nobody_who_counts_or_refuses_statements_sees_it(
    acme: Inhabited, gql: Callable[..., Graph], settings: Settings
) -> None:
    del acme
    gql().data(QUERY)
    with statements(1):
        gql().data(QUERY)
    settings.DEBUG = True
    told = [json.loads(gql().post(QUERY).content)["extensions"]]
    with watch.off():
        told.append(json.loads(gql().post(QUERY).content)["extensions"])
    assert [one["road"] for one in told] == ["compiled", "compiled"]
    assert len({one["debug"]["statements"] for one in told}) == 1
    seen: list[str] = []

    def note(execute: Any, sql: str, *args: Any) -> Any:
        seen.append(sql)
        return execute(sql, *args)

    with connection.execute_wrapper(note):
        gql().data(QUERY)
    assert not [sql for sql in seen if 'FROM "assets"' in sql]
    assert watch.compared == 4


@pytest.mark.one_road
def test_a_test_of_one_road_is_left_alone(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    gql().data(QUERY)
    assert watch.compared == 0


def test_what_is_not_compiled_has_one_road(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    gql().data("{ __schema { queryType { name } } }")
    gql()("{ assets(first: -1) { totalCount } }")
    gql().data('mutation { updateTenant(input: {name: "Acme"}) { tenant { name } } }')
    assert watch.compared == 0
