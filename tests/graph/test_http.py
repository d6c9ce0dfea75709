"""GraphQL over HTTP: who gets in, by which method, with which body, and what comes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.db import connection
from django.middleware.csrf import get_token
from django.test import Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext

from graph import requests
from graph.context import Rows
from tests.conftest import PLATFORM, basic, unchanged
from tests.world import PASSWORD, create_world

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests.conftest import Graph
    from tests.world import Inhabited, World

ACME = f"acme.{PLATFORM}"
NAME = "{ me { username } }"
RENAME = 'mutation { updateTenant(input: {name: "Other"}) { errors { code } } }'
RESPONSE = requests.RESPONSE_TYPE


@pytest.fixture
def client(client_of: Callable[..., Client]) -> Client:
    """acme's owner on acme's host."""
    return client_of("acme-owner")


def post(client: Client, body: Any, **headers: str) -> Any:
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return client.post("/graphql", data, content_type="application/json", headers=headers)


def told(response: Any) -> dict[str, Any]:
    """Return an answer without what it cost."""
    body: dict[str, Any] = response.json()
    assert body.pop("extensions").keys() == {"cost"}
    return body


def codes(response: Any) -> list[str]:
    return [error["extensions"]["code"] for error in response.json()["errors"]]


# --- who gets in ----------------------------------------------------------------------------------


def test_a_stranger_is_told_to_sign_in_in_the_shape_of_graphql(world: World) -> None:
    del world
    client = Client(HTTP_HOST=ACME)
    for response in (post(client, {"query": NAME}), client.get("/graphql", {"query": NAME})):
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == 'Basic realm="api"'
        assert response.json() == {
            "errors": [
                {
                    "message": "Sign in to use GraphQL.",
                    "extensions": {"code": "UNAUTHENTICATED"},
                }
            ]
        }


def test_a_browsers_script_gets_no_challenge_that_opens_a_dialog(world: World) -> None:
    del world
    response = post(Client(HTTP_HOST=ACME), {"query": NAME}, **{"Sec-Fetch-Mode": "cors"})
    assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Bearer realm="api"')


def test_a_browser_that_opens_the_address_is_sent_to_sign_in_and_comes_back(world: World) -> None:
    del world
    client = Client(HTTP_HOST=ACME, headers={"Accept": "text/html,*/*;q=0.8"})
    response = client.get("/graphql")
    assert (response.status_code, response["Location"]) == (302, "/login/?next=%2Fgraphql")
    client.post("/login/", {"username": "acme-owner", "password": PASSWORD})
    page = client.get("/graphql")
    assert page.status_code == 200
    assert page["Content-Type"] == "text/html; charset=utf-8"


def signed_in(*, enforce_csrf_checks: bool = True) -> Client:
    client = Client(HTTP_HOST=ACME, enforce_csrf_checks=enforce_csrf_checks)
    token = get_token(RequestFactory().get("/"))
    client.cookies[settings.CSRF_COOKIE_NAME] = token
    response = client.post(
        "/login/",
        {"username": "acme-owner", "password": PASSWORD, "csrfmiddlewaretoken": token},
    )
    assert response.status_code == 302
    return client


def test_a_session_posts_with_djangos_token(world: World) -> None:
    del world
    client = signed_in()
    token = client.cookies[settings.CSRF_COOKIE_NAME].value
    response = post(client, {"query": NAME}, **{"X-CSRFToken": token})
    assert told(response) == {"data": {"me": {"username": "acme-owner"}}}


@pytest.mark.parametrize("token", ["", "x" * 32, "forged"])
@pytest.mark.parametrize("query", [NAME, RENAME])
def test_a_forged_post_is_refused(
    acme: Inhabited, owner_cursor: psycopg.Cursor[Any], token: str, query: str
) -> None:
    del acme
    client = signed_in()
    with unchanged(owner_cursor, "tenants"):
        response = post(client, {"query": query}, **({"X-CSRFToken": token} if token else {}))
    assert response.status_code == 403
    assert codes(response) == ["FORBIDDEN"]


def test_a_session_does_not_get(world: World) -> None:
    del world
    response = signed_in().get("/graphql", {"query": NAME})
    assert (response.status_code, response["Allow"]) == (405, "POST")


def test_a_credential_of_its_own_needs_no_token(world: World) -> None:
    del world
    client = Client(HTTP_HOST=ACME, headers=basic("acme-owner"), enforce_csrf_checks=True)
    assert told(post(client, {"query": NAME})) == {"data": {"me": {"username": "acme-owner"}}}


# --- methods --------------------------------------------------------------------------------------


def test_queries_go_by_get(client: Client) -> None:
    response = client.get(
        "/graphql",
        {
            "query": "query A($p: String!) { me { can(permission: $p) } } query B { me { id } }",
            "operationName": "A",
            "variables": '{"p": "assets.edit"}',
            "extensions": "{}",
        },
    )
    assert told(response) == {"data": {"me": {"can": True}}}


def test_mutations_never_go_by_get(
    client: Client, acme: Inhabited, owner_cursor: psycopg.Cursor[Any]
) -> None:
    del acme
    with unchanged(owner_cursor, "tenants"):
        response = client.get("/graphql", {"query": RENAME})
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert codes(response) == ["INVALID"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_there_are_no_other_methods(client: Client, method: str) -> None:
    response = client.generic(
        method, "/graphql", json.dumps({"query": NAME}), content_type="application/json"
    )
    assert (response.status_code, response["Allow"]) == (405, "GET, POST")


# --- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('application/json; charset="UTF-8"', 200),
        ("application/json; charset=iso-8859-1", 415),
        ("text/plain", 415),
        ("application/graphql", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
    ],
)
def test_a_body_is_json_in_utf_8(client: Client, content_type: str, status: int) -> None:
    response = client.post("/graphql", json.dumps({"query": NAME}), content_type=content_type)
    assert response.status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"{}",
        b'{"query": null}',
        b'{"query": 5}',
        b'{"query": ["{ me { id } }"]}',
        b'[{"query": "{ me { id } }"}]',
        b'{"query": "{ me { id } }", "variables": []}',
        b'{"query": "{ me { id } }", "variables": "{}"}',
        b'{"query": "{ me { id } }", "variables": {"a": NaN}}',
        b'{"query": "{ me { id } }", "variables": {"a": -Infinity}}',
        b'{"query": "{ me { id } }", "operationName": 5}',
        b'{"query": "{ me { id } }", "extensions": 5}',
        b'{"query": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"query": "{ me { id } }", "variables": {"a": "\\ud800"}}',
        b'{"query": "{ me { id } }", "variables": {"a": ["\\udfff"]}}',
        b'{"query": "{ me { id } }", "variables": {"a": "x\\u0000y"}}',
        b'{"query": "{ me { id } }", "variables": {"\\u0000": 1}}',
        b'{"query": "{ me { id } }", "operationName": "\\uDC00"}',
        b'{"query": "\\u0000"}',
        b"[" * 60_000,
        b'{"query": "{ me { id } }", "variables": {"a": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
        b'{"query": "{ me { id } }", "variables": {"a": ' + b"9" * 5000 + b"}}",
    ],
)
def test_a_body_that_is_no_request_is_refused_cleanly(client: Client, body: bytes) -> None:
    for accept in ("application/json", RESPONSE):
        response = post(client, body, Accept=accept)
        assert response.status_code == 400
        assert response["Content-Type"] == f"{accept}; charset=utf-8"
        assert codes(response) == ["INVALID"]
        assert "data" not in response.json()


def test_whole_surrogate_pairs_and_escaped_backslashes_are_text(client: Client) -> None:
    body = (
        b'{"query": "query($p: String!) { me { can(permission: $p) } }", '
        b'"variables": {"p": "\\ud83c\\udf89 \\\\u0000 \\\\\\\\u0000"}}'
    )
    assert told(post(client, body)) == {"data": {"me": {"can": False}}}


def test_a_large_body_is_refused(client: Client) -> None:
    response = post(client, {"query": NAME + " " * settings.GRAPHQL_MAX_BODY_BYTES})
    assert response.status_code == 413
    assert codes(response) == ["LIMIT_EXCEEDED"]


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"variables": "{}"},
        {"query": NAME, "variables": "{"},
        {"query": NAME, "variables": "5"},
        {"query": NAME, "variables": '{"a": "\\u0000"}'},
        {"query": NAME, "extensions": "[]"},
    ],
)
def test_a_get_that_is_no_request_is_refused_cleanly(
    client: Client, parameters: dict[str, str]
) -> None:
    response = client.get("/graphql", parameters)
    assert response.status_code == 400
    assert codes(response) == ["INVALID"]


# --- documents ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "Syntax Error: Unexpected <EOF>."),
        ("{", "Syntax Error: Expected Name, found <EOF>."),
        ("{ nothing }", "Cannot query field 'nothing' on type 'Query'."),
        ("{ asset }", None),
        ("{ assets(first: 1.5) { totalCount } }", None),
        (
            "{ assets(frist: 1) { totalCount } }",
            "Unknown argument 'frist' on field 'Query.assets'.",
        ),
        (
            "query A { me { id } } query B { me { id } }",
            "Say which operation to run: `operationName`.",
        ),
        ("fragment F on Query { me { id } }", None),
        ("subscription { me { id } }", None),
        ("{ me " * 90, None),
        ("{ me { id } }" + "}" * 10, None),
    ],
)
def test_a_document_that_cannot_run_is_refused_without_running(
    client: Client, document: str, message: str | None
) -> None:
    for accept, status in (("application/json", 200), (RESPONSE, 400)):
        response = post(client, {"query": document}, Accept=accept)
        assert response.status_code == status
        body = response.json()
        assert "data" not in body
        assert codes(response)[0] == "INVALID"
        if message:
            assert body["errors"][0]["message"] == message


def test_variables_that_do_not_fit_are_refused_without_running(client: Client) -> None:
    query = "query($n: Int!) { assets(first: $n) { totalCount } }"
    for variables in ({}, {"n": None}, {"n": "five"}, {"n": 2**31}):
        response = post(client, {"query": query, "variables": variables}, Accept=RESPONSE)
        assert response.status_code == 400
        assert "data" not in response.json()
        assert codes(response) == ["INVALID"]


def test_an_operation_of_no_name_is_refused(client: Client) -> None:
    response = post(client, {"query": "query A { me { id } }", "operationName": "B"})
    assert response.json()["errors"][0]["message"] == "The document has no operation named 'B'."


def test_errors_while_executing_are_beside_the_data_with_200(client: Client) -> None:
    for accept in ("application/json", RESPONSE):
        response = post(
            client, {"query": "{ me { username } assets(first: -1) { totalCount } }"}, Accept=accept
        )
        assert response.status_code == 200
        assert told(response) == {
            "errors": [
                {
                    "message": "`first` is between 0 and 500.",
                    "locations": [{"line": 1, "column": 19}],
                    "path": ["assets"],
                    "extensions": {"code": "INVALID", "field": ["first"]},
                }
            ],
            "data": {"me": {"username": "acme-owner"}, "assets": None},
        }


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/plain", "application/json"),
        ("application/json", "application/json"),
        (RESPONSE, RESPONSE),
        (f"{RESPONSE}; charset=utf-8", RESPONSE),
        (f"{RESPONSE}, application/json;q=0.9", RESPONSE),
        (f"application/json, {RESPONSE}", RESPONSE),
        (f"application/json, {RESPONSE};q=0.5", "application/json"),
        (f"application/json;q=0.1, {RESPONSE};q=x", "application/json"),
        (RESPONSE.upper(), RESPONSE),
    ],
)
def test_the_answer_is_in_the_type_that_was_asked_for(
    client: Client, accept: str, kind: str
) -> None:
    response = post(client, {"query": NAME}, Accept=accept)
    assert response["Content-Type"] == f"{kind}; charset=utf-8"
    assert response["Cache-Control"] == "no-store"
    assert told(response) == {"data": {"me": {"username": "acme-owner"}}}


def test_text_is_sent_as_it_is(client: Client, acme: Inhabited) -> None:
    del acme
    post(
        client,
        {
            "query": "mutation($n: String!) { updateTenant(input: {name: $n}) { errors { code } } }",
            "variables": {"n": "日本語 🎉"},
        },
    )
    assert "日本語 🎉" in post(client, {"query": "{ tenant { name } }"}).content.decode()


def test_debugging_is_told_what_an_answer_took_and_nobody_else(client: Client) -> None:
    query = {"query": "{ tenant { name } }"}
    assert "debug" not in post(client, query).json()["extensions"]
    with override_settings(DEBUG=True), CaptureQueriesContext(connection):
        response = post(client, query, **{"X-Request-ID": "debugging"})
    debug = response.json()["extensions"]["debug"]
    assert debug.pop("milliseconds") >= 0
    assert debug.pop("statements") >= 1
    assert debug == {"requestId": "debugging"}


# --- tenants --------------------------------------------------------------------------------------

NEEDS_A_TENANT = [
    "{ assets { totalCount } }",
    "{ memberships { totalCount } }",
    "{ tenant { name } }",
    "{ playlist { now } }",
    '{ asset(assetId: "x") { name } }',
    "{ me { username } assets { totalCount } }",
    RENAME,
    'mutation { createAsset(input: {name: "a", uri: "https://b.c"}) { errors { code } } }',
    "mutation { updateTenantSettings(input: {}) { errors { code } } }",
    "mutation { deleteAssets(input: {ids: []}) { errors { code } } }",
    "mutation { reorderAssets(input: {ids: []}) { errors { code } } }",
]


@pytest.mark.parametrize("query", NEEDS_A_TENANT)
@pytest.mark.parametrize("accept", ["application/json", RESPONSE])
def test_without_a_tenant_the_whole_answer_says_so(
    world: World, client_of: Callable[..., Client], query: str, accept: str
) -> None:
    del world
    response = post(client_of("both", host=PLATFORM), {"query": query}, Accept=accept)
    assert response.status_code == 400
    assert response.json() == {"error": "Invalid or missing tenant", "code": "TENANT_REQUIRED"}


def test_without_a_tenant_nothing_of_the_request_stays(
    world: World, gql: Callable[..., Graph]
) -> None:
    del world
    both = gql("both", host=PLATFORM)
    response = both.post(
        'mutation { createTenant(input: {name: "New", slug: "new"}) { errors { code } } '
        'updateTenant(input: {name: "x"}) { errors { code } } }'
    )
    assert response.status_code == 400
    assert both.data("{ tenants { totalCount } }") == {"tenants": {"totalCount": 2}}


def test_what_needs_no_tenant_works_without_one(world: World, gql: Callable[..., Graph]) -> None:
    del world
    assert gql("both", host=PLATFORM).data(
        "{ __typename me { username permissions memberships { role tenant { slug } } "
        "membership { id } } tenants { edges { node { slug } } } }"
    ) == {
        "__typename": "Query",
        "me": {
            "username": "both",
            "permissions": [],
            "memberships": [
                {"role": "VIEWER", "tenant": {"slug": "acme"}},
                {"role": "MANAGER", "tenant": {"slug": "globex"}},
            ],
            "membership": None,
        },
        "tenants": {"edges": [{"node": {"slug": "acme"}}, {"node": {"slug": "globex"}}]},
    }


def test_a_header_chooses_the_tenant(world: World, gql: Callable[..., Graph]) -> None:
    for tenant in (world.acme.tenant, world.globex.tenant):
        for header in (tenant.slug, str(tenant.pk)):
            graph = gql("both", host=PLATFORM, headers={"X-Tenant-ID": header})
            assert graph.data("{ tenant { uuid } }") == {"tenant": {"uuid": str(tenant.pk)}}


# --- failures of ours -----------------------------------------------------------------------------


@pytest.mark.usefixtures("executor")
def test_a_database_that_goes_away_while_executing_is_a_503(
    scratch_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del scratch_database
    create_world()
    client = Client(HTTP_HOST=ACME, headers=basic("acme-owner"))
    read = Rows.get

    def lose(rows: Any, key: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return read(rows, key)

    with monkeypatch.context() as patch:
        patch.setattr(Rows, "get", lose)
        response = post(client, {"query": NAME})
    assert (response.status_code, response["Retry-After"]) == (503, "3")
    assert response.json()["code"] == "UNAVAILABLE"
    assert told(post(client, {"query": NAME})) == {"data": {"me": {"username": "acme-owner"}}}
