"""What a client sees of what was raised, and what stays behind when it was."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import override_settings

from assets import library
from graph import documents
from graph.errors import PATIENCE_AFTER_A_LOSS

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests.conftest import Graph
    from tests.world import Inhabited, World

RENAME = 'updateTenant(input: {name: "Renamed"}) { tenant { name } errors { code } }'
ADD = 'createAsset(input: {name: "a", uri: "https://b.example"}) { asset { name } errors { code } }'
BAD = 'createAsset(input: {name: "", uri: "https://b.example"}) { asset { name } errors { code } }'


def raising(error: Exception) -> Callable[..., Any]:
    def fail(**_kwargs: Any) -> Any:
        raise error

    return fail


def failing_sql(**_kwargs: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def name_and_count(graph: Graph) -> tuple[str, int]:
    data = graph.data("{ tenant { name } assets { totalCount } }")
    return data["tenant"]["name"], data["assets"]["totalCount"]


def test_what_nobody_expected_is_masked_and_logged_with_the_requests_id(
    acme: Inhabited,
    gql: Callable[..., Graph],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    del acme
    monkeypatch.setattr(library, "create_asset", raising(RuntimeError("the secret is 42")))
    with caplog.at_level(logging.ERROR, "signate.graphql"):
        response = gql().post(f"mutation {{ {ADD} }}")
    assert response.json() == {
        "data": None,
        "errors": [
            {
                "message": "Internal error",
                "locations": [{"line": 1, "column": 12}],
                "path": ["createAsset"],
                "extensions": {"code": "INTERNAL", "requestId": response["X-Request-ID"]},
            }
        ],
    }
    [record] = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the secret is 42"


@pytest.mark.parametrize("fail", [raising(RuntimeError("x")), failing_sql])
@pytest.mark.parametrize("order", [(RENAME, ADD), (ADD, RENAME)])
def test_an_unexpected_failure_undoes_the_whole_request(
    acme: Inhabited,
    gql: Callable[..., Graph],
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[..., Any],
    order: tuple[str, str],
) -> None:
    del acme
    before = name_and_count(gql())
    with monkeypatch.context() as patch:
        patch.setattr(library, "create_asset", fail)
        answer = gql()("mutation { %s %s }" % order)
    assert answer["data"] is None
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["INTERNAL"]
    assert name_and_count(gql()) == before


def test_a_change_that_somebody_else_holds_up_is_a_conflict_and_those_beside_it_stay(
    acme: Inhabited,
    gql: Callable[..., Graph],
    owner_cursor: psycopg.Cursor[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    owner_cursor.execute(
        "SELECT 1 FROM tenant_settings WHERE tenant_id = %s FOR UPDATE", [acme.tenant.pk]
    )
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '50ms'")
    graph = gql()
    data = graph.data(
        'mutation { updateTenantSettings(input: {timezone: "Europe/Berlin"}) '
        f"{{ settings {{ timezone }} errors {{ field code }} }} {RENAME} }}"
    )
    assert data == {
        "updateTenantSettings": {
            "settings": None,
            "errors": [{"field": None, "code": "CONFLICT"}],
        },
        "updateTenant": {"tenant": {"name": "Renamed"}, "errors": []},
    }
    assert name_and_count(graph)[0] == "Renamed"
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == (PATIENCE_AFTER_A_LOSS,)
    assert "lost against another one" in caplog.text


def test_a_deadlock_is_a_conflict(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    del acme

    def lose(**_kwargs: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE SQLSTATE '40P01' USING MESSAGE = 'secret'; END $$")

    monkeypatch.setattr(library, "create_asset", lose)
    answer = gql()(f"mutation {{ {ADD} {RENAME} }}")
    assert "secret" not in json.dumps(answer)
    assert answer["data"] == {
        "createAsset": {"asset": None, "errors": [{"code": "CONFLICT"}]},
        "updateTenant": {"tenant": {"name": "Renamed"}, "errors": []},
    }


def test_a_document_too_deep_to_execute_is_a_fault_of_the_document(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    before = name_and_count(gql())
    deep = "tenant { assets(first: 1) { edges { node { " * 45 + "id" + " } } } }" * 45
    add = ADD.replace("name }", f"{deep} }}")
    for document in (f"{{ {deep} }}", f"mutation {{ {add} }}"):
        answer = gql()(document)
        assert {error["message"] for error in answer["errors"]} == {
            "The document is nested too deeply."
        }
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"LIMIT_EXCEEDED"}
        assert "data" not in answer
    assert name_and_count(gql()) == before


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        ("query($v: AssetOrder) { assets(order: $v) { totalCount } }", {"field": "İ.com"}),
        ("query($v: AssetFilter) { assets(filter: $v) { totalCount } }", {"İ": 1}),
        ("mutation($v: UpdateAssetInput!) { updateAsset(input: $v) { asset { id } } }", {"İ": 1}),
        (f"{{ assets(first: {'9' * 5000}) {{ totalCount }} }}", None),
        (f"query($v: Int = {'9' * 5000}) {{ assets(first: $v) {{ totalCount }} }}", None),
    ],
)
def test_a_value_that_breaks_who_reads_it_is_a_fault_of_the_value(
    acme: Inhabited, gql: Callable[..., Graph], document: str, variables: Any
) -> None:
    del acme
    for debug in (False, True):
        documents.forget()
        with override_settings(DEBUG=debug):
            answer = gql()(document, **({} if variables is None else {"v": variables}))
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"INVALID"}
        assert "data" not in answer
        assert "set_int_max" not in json.dumps(answer)
    documents.forget()


def test_a_failure_while_reading_the_result_of_a_mutation_undoes_it(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    del acme
    before = name_and_count(gql())
    with monkeypatch.context() as patch:
        patch.setattr("graph.library.by_keys", lambda *_: failing_sql())
        answer = gql()(f"mutation {{ {ADD} }}")
    assert answer["data"] is None
    assert name_and_count(gql()) == before


def test_a_refused_mutation_leaves_nothing_and_those_beside_it_stay(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    _, count = name_and_count(gql())
    data = gql().data(f"mutation {{ {RENAME} bad: {BAD} {ADD} }}")
    assert data == {
        "updateTenant": {"tenant": {"name": "Renamed"}, "errors": []},
        "bad": {"asset": None, "errors": [{"code": "INVALID"}]},
        "createAsset": {"asset": {"name": "a"}, "errors": []},
    }
    assert name_and_count(gql()) == ("Renamed", count + 1)


def test_a_sql_error_that_becomes_a_refusal_does_not_spoil_what_follows(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    data = gql().data(
        'mutation { a: createTenant(input: {name: "A", slug: "globex"}) { errors { code field } } '
        'b: updateTenant(input: {slug: "globex"}) { errors { code field } } '
        f"{RENAME} }}"
    )
    taken = {"errors": [{"code": "CONFLICT", "field": ["slug"]}]}
    assert data == {
        "a": taken,
        "b": taken,
        "updateTenant": {"tenant": {"name": "Renamed"}, "errors": []},
    }


@pytest.mark.usefixtures("executor")
@pytest.mark.one_road
def test_an_unexpected_failure_in_a_query_is_masked_and_the_rest_is_answered(
    world: World, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    del world

    def fail(*_args: Any) -> Any:
        message = "the secret is 42"
        raise RuntimeError(message)

    monkeypatch.setattr("graph.assets.page_of_assets", fail)
    answer = gql()("{ me { username } assets { totalCount } }")
    assert answer["data"] == {"me": {"username": "acme-owner"}, "assets": None}
    [error] = answer["errors"]
    assert (error["message"], error["path"]) == ("Internal error", ["assets"])
    assert "secret" not in json.dumps(answer)


@pytest.mark.usefixtures("executor")
@pytest.mark.one_road
def test_a_statement_that_fails_in_a_query_spoils_only_its_own_field(
    world: World, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    del world
    monkeypatch.setattr("graph.assets.page_of_assets", lambda *_: failing_sql())
    answer = gql()("{ before: tenants { totalCount } assets { totalCount } me { username } }")
    assert answer["data"] == {
        "before": {"totalCount": 1},
        "assets": None,
        "me": {"username": "acme-owner"},
    }
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["INTERNAL"]


def test_every_fault_of_an_input_comes_at_once_with_its_path(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    data = gql().data(
        'mutation { updateTenantSettings(input: {timezone: "Mars/Olympus", primaryColor: "red", '
        "defaultAssetDuration: 0, emailNotifications: null, require2fa: true}) "
        "{ settings { timezone } errors { field message code } } }"
    )["updateTenantSettings"]
    assert data["settings"] is None
    assert [error["field"] for error in data["errors"]] == [
        ["defaultAssetDuration"],
        ["timezone"],
        ["primaryColor"],
        ["emailNotifications"],
    ]
    assert {error["code"] for error in data["errors"]} == {"INVALID"}


def test_a_fault_of_no_field_has_none(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    data = gql("acme-viewer").data(f"mutation {{ {RENAME.replace('code', 'code field message')} }}")
    assert data["updateTenant"] == {
        "tenant": None,
        "errors": [
            {
                "code": "FORBIDDEN",
                "field": None,
                "message": "You need the permission tenant.edit in this tenant.",
            }
        ],
    }


@pytest.mark.parametrize(
    "document", ["{ asset { nam } }", "{ assetz { id } }", "{ assets(frist: 1) { totalCount } }"]
)
def test_nothing_is_suggested_but_while_debugging(
    acme: Inhabited, gql: Callable[..., Graph], document: str
) -> None:
    del acme
    for debug in (False, True):
        documents.forget()
        with override_settings(DEBUG=debug):
            assert ("Did you mean" in gql()(document)["errors"][0]["message"]) is debug
    documents.forget()
