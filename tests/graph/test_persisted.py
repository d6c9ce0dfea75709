"""Automatic persisted queries: documents known by their hash, each tenant's to itself."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.conf import settings
from redis.exceptions import ConnectionError as RedisAway

from graph import persisted
from graph.requests import RESPONSE_TYPE
from tenancy import limits
from tests.conftest import PLATFORM
from tests.graph.test_http import codes, post, signed_in, told
from tests.tenancy.test_limits import BrokenRedis

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.world import World

NOT_FOUND = {
    "errors": [
        {
            "message": "PersistedQueryNotFound",
            "extensions": {"code": "PERSISTED_QUERY_NOT_FOUND"},
        }
    ]
}
ANSWER = {"data": {"me": {"username": "acme-owner"}}}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def client(client_of: Callable[..., Client]) -> Client:
    return client_of("acme-owner")


@pytest.fixture
def query() -> str:
    """A document that nobody has sent yet."""
    return f"query Q{uuid4().hex} {{ me {{ username }} }}"


@pytest.fixture(params=["there", "away"])
def _any_redis(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "away":
        monkeypatch.setattr(persisted, "redis_client", lambda: BrokenRedis(RedisAway("gone")))


def named(text: str, **body: Any) -> dict[str, Any]:
    """Return a request that names `text` and does not send it, unless told to."""
    name = {"version": 1, "sha256Hash": sha256(text.encode()).hexdigest()}
    return {"extensions": {"persistedQuery": name}, **body}


def parameters(text: str) -> dict[str, str]:
    return {"extensions": json.dumps(named(text)["extensions"])}


@pytest.mark.usefixtures("_any_redis")
def test_a_document_is_sent_once_and_then_named(client: Client, query: str) -> None:
    response = post(client, named(query))
    assert (response.status_code, response["Cache-Control"]) == (200, "no-store")
    assert response.json() == NOT_FOUND
    assert post(client, named(query), Accept=RESPONSE_TYPE).status_code == 400
    assert told(post(client, named(query, query=query))) == ANSWER
    for body in (named(query), named(query, query=None), named(query, query="")):
        assert told(post(client, body)) == ANSWER
    assert told(client.get("/graphql", parameters(query))) == ANSWER


def test_other_processes_know_it_too(client: Client, query: str) -> None:
    post(client, named(query, query=query))
    persisted.forget_here()
    assert told(post(client, named(query))) == ANSWER


def test_what_lies_in_redis_is_checked_when_it_is_read(client: Client, query: str) -> None:
    redis = limits.redis_client()
    assert redis is not None
    post(client, named(query, query=query))
    persisted.forget_here()
    digest = sha256(query.encode()).hexdigest()
    [key] = redis.keys(f"{settings.CACHES['default']['KEY_PREFIX']}:t:*:document:{digest}")
    redis.set(key, "query { tenant { name } }")
    assert post(client, named(query)).json() == NOT_FOUND


@pytest.mark.parametrize("user", ["acme-owner", "acme-viewer"])
def test_a_tenants_documents_are_its_own(
    world: World, client_of: Callable[..., Client], query: str, user: str
) -> None:
    del world
    post(client_of(user), named(query, query=query))
    assert "data" in post(client_of("acme-manager"), named(query)).json()
    for stranger in (client_of("globex-owner"), client_of("both", host=PLATFORM)):
        assert post(stranger, named(query)).json() == NOT_FOUND
    persisted.forget_here()
    assert post(client_of("globex-owner"), named(query)).json() == NOT_FOUND


def test_a_hash_of_another_document_is_refused(client: Client, query: str) -> None:
    other = f"query O{uuid4().hex} {{ tenant {{ name }} }}"
    response = post(client, named(query, query=other))
    assert (response.status_code, codes(response)) == (400, ["INVALID"])
    for text in (query, other):
        assert post(client, named(text)).json() == NOT_FOUND


@pytest.mark.parametrize(
    "text", ["{ nothing }", "{", "{ " + "me { id } " * 21 + "}", "{ me { id } } #" + "x" * 30_000]
)
def test_what_cannot_run_is_not_kept(client: Client, text: str) -> None:
    assert "errors" in post(client, named(text, query=text)).json()
    assert post(client, named(text)).json() == NOT_FOUND


@pytest.mark.parametrize(
    ("extension", "status", "code"),
    [
        ({"version": 2, "sha256Hash": "a" * 64}, 200, "PERSISTED_QUERY_NOT_SUPPORTED"),
        ({"version": 1}, 400, "INVALID"),
        ({"version": 1, "sha256Hash": 5}, 400, "INVALID"),
        ({"version": 1, "sha256Hash": "a" * 63}, 200, "PERSISTED_QUERY_NOT_FOUND"),
        ({"version": 1, "sha256Hash": "../" * 20}, 200, "PERSISTED_QUERY_NOT_FOUND"),
        ({"version": 1, "sha256Hash": "*"}, 200, "PERSISTED_QUERY_NOT_FOUND"),
        ("hash", 400, "INVALID"),
        ([1], 400, "INVALID"),
    ],
)
def test_a_name_that_is_none_is_refused_cleanly(
    client: Client, extension: Any, status: int, code: str
) -> None:
    response = post(client, {"extensions": {"persistedQuery": extension}})
    assert (response.status_code, codes(response)) == (status, [code])


def test_a_tenant_keeps_so_many_and_its_oldest_go(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persisted, "KEPT_PER_TENANT", 3)
    queries = [f"query Q{uuid4().hex} {{ me {{ username }} }}" for _ in range(5)]
    redis = limits.redis_client()
    assert redis is not None
    index = f"{settings.CACHES['default']['KEY_PREFIX']}:t:*:document:"
    for key in redis.keys(index + "*"):
        redis.delete(key)
    for query in queries:
        assert "data" in post(client, named(query, query=query)).json()
    assert len(redis.keys(index + "*")) == 3 + 1
    persisted.forget_here()
    known = ["data" in post(client, named(query)).json() for query in queries]
    assert known == [False, False, True, True, True]


# --- by GET ---------------------------------------------------------------------------------------


def test_by_cookie_a_page_of_ours_gets_what_it_names(world: World, query: str) -> None:
    del world
    browser = signed_in()
    csrf = browser.cookies[settings.CSRF_COOKIE_NAME].value
    post(browser, named(query, query=query), **{"X-CSRFToken": csrf})
    for headers in (SAME_ORIGIN, {"Apollo-Require-Preflight": "1"}):
        response = browser.get("/graphql", parameters(query), headers=headers)
        assert told(response) == ANSWER
        assert response["Cache-Control"] == "private, no-cache"
        assert "Cookie" in response["Vary"]
        assert "Access-Control-Allow-Origin" not in response


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "X-Requested-With": "x"},
    ],
)
def test_by_cookie_alone_nothing_is_had(world: World, query: str, headers: dict[str, str]) -> None:
    del world
    browser = signed_in()
    csrf = browser.cookies[settings.CSRF_COOKIE_NAME].value
    post(browser, named(query, query=query), **{"X-CSRFToken": csrf})
    response = browser.get("/graphql", parameters(query), headers=headers)
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert "data" not in response.json()


def test_by_cookie_a_document_that_is_sent_is_refused_wherever_it_comes_from(
    world: World, query: str
) -> None:
    del world
    response = signed_in().get(
        "/graphql", {**parameters(query), "query": query}, headers=SAME_ORIGIN
    )
    assert response.status_code == 405


def test_mutations_are_named_by_post_only(client: Client) -> None:
    text = f"mutation M{uuid4().hex} {{ updateTenant(input: {{}}) {{ errors {{ code }} }} }}"
    assert "data" in post(client, named(text, query=text)).json()
    assert "data" in post(client, named(text)).json()
    response = client.get("/graphql", parameters(text))
    assert (response.status_code, response["Allow"]) == (405, "POST")


def test_who_has_it_already_is_told_so(client: Client, query: str) -> None:
    first = client.get("/graphql", {"query": query})
    again = client.get("/graphql", {"query": query}, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == first["ETag"]
    assert again["Vary"] == first["Vary"]
    for headers in ({"If-None-Match": 'W/"other"'}, {"If-None-Match": "", "Accept": RESPONSE_TYPE}):
        assert client.get("/graphql", {"query": query}, headers=headers).status_code == 200
    # Nothing that went wrong, and nothing by POST, is kept by anybody.
    for response in (
        client.get("/graphql", {"query": "{ assets(first: -1) { totalCount } }"}),
        post(client, {"query": query}),
    ):
        assert (response["Cache-Control"], response.has_header("ETag")) == ("no-store", False)
