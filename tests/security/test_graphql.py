"""GraphQL under attack, over HTTP: what asks for too much is refused before anything of it runs.

How much work a refusal is is counted in nodes looked at and bytes answered, never in time. What
is broken in other ways (methods, media types, JSON) is in tests/graph/test_http.py, the counting
itself in tests/graph/test_measuring.py.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any
from unittest import mock
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client, override_settings
from graphql import get_introspection_query
from graphql.validation.rules import overlapping_fields_can_be_merged

from graph import documents, limits
from graph.context import Context
from graph.measuring import measure
from graph.schema import schema
from tenancy.budgets import Budget
from tests.conftest import PLATFORM, basic, unchanged
from tests.graph.conftest import all_assets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from tests.world import Inhabited, World

# A document has no more tokens than that, and no node without one.
MAX_STEPS = 1_000
MAX_ANSWER = 4_096
ADD = 'createAsset(input: {{name: "{0}", uri: "https://e.com"}}) {{ asset {{ id }} errors {{ code }} }}'


@pytest.fixture
def client(client_of: Callable[..., Client]) -> Client:
    return client_of("acme-owner")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The nodes that each measuring of the test looked at; no document is known before."""
    documents.forget()
    seen: list[int] = []

    def counted(*arguments: Any) -> Any:
        found = measure(*arguments)
        seen.append(found.steps)
        return found

    monkeypatch.setattr(limits, "measure", counted)
    return seen


def post(client: Client, query: Any, variables: Any = None, **headers: str) -> Any:
    body = {"query": query, "variables": variables}
    return client.post(
        "/graphql", json.dumps(body), content_type="application/json", headers=headers
    )


def refusal(response: Any) -> dict[str, Any]:
    """Return the one error of an answer without data, which is small."""
    assert response.status_code == 200
    assert len(response.content) < MAX_ANSWER
    body = response.json()
    assert body.keys() == {"errors"}
    error: dict[str, Any]
    [error] = body["errors"]
    return error


# --- documents that grow when they are read -------------------------------------------------------


def chain(link: str, length: int, last: str = "id", on: str = "Viewer") -> str:
    """Return fragments F0 to F<length>, each of which spreads the next one as `link` says."""
    links = (f"fragment F{n} on {on} {{ {link.format(n + 1)} }}" for n in range(length))
    return f"{' '.join(links)} fragment F{length} on {on} {{ {last} }}"


EXPONENTIAL = {
    "in one set": lambda n: "{ me { ...F0 } } " + chain("...F{0} ...F{0}", n),
    "three times": lambda n: "{ me { ...F0 } } " + chain("...F{0} ...F{0} ...F{0}", n),
    "under aliases": lambda n: (
        "{ tenant { ...F0 } } "
        + chain("a: settings {{ id }} ...F{0} ...F{0}", min(n, 60), on="Tenant")
    ),
    "under directives": lambda n: (
        "{ me { ...F0 } } " + chain("...F{0} @include(if: true) ...F{0}", n)
    ),
    "in inline fragments": lambda n: (
        "{ me { ...F0 } } " + chain("... on Viewer {{ ...F{0} }} ...F{0}", n)
    ),
}


@pytest.mark.parametrize("depth", [20, 40, 80])
@pytest.mark.parametrize("name", EXPONENTIAL)
def test_exponential_fragments_cost_their_length(
    client: Client, steps: list[int], name: str, depth: int
) -> None:
    document = EXPONENTIAL[name](depth)
    with mock.patch.object(documents, "validate", side_effect=AssertionError("too late")):
        error = refusal(post(client, document))
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED"}
    assert sum(steps) <= MAX_STEPS


@pytest.mark.parametrize("depth", [20, 40, 80])
def test_fragments_that_double_below_what_they_nest_cost_their_length(
    client: Client, steps: list[int], depth: int
) -> None:
    link = "tenant {{ assets(first: 1) {{ edges {{ node {{ ...F{0} ...F{0} }} }} }} }}"
    text = chain(link, min(depth, 35), on="Asset")
    document = f"{{ assets(first: 1) {{ edges {{ node {{ ...F0 }} }} }} }} {text}"
    assert refusal(post(client, document))["extensions"] == {"code": "LIMIT_EXCEEDED"}
    assert sum(steps) <= MAX_STEPS


# --- documents that are too much of one thing -----------------------------------------------------

TOO_MUCH = {
    "tokens": "{ me { " + "id " * 1_000 + "} }",
    "characters": "{ me { id } } #" + "x" * 20_000,
    "comments": "#\n" * 5_000 + "{ me { id } }",
    "commas": "{ me { id" + "," * 20_000 + " } }",
    "levels": "{ tenant { "
    + "assets { edges { node { createdBy { " * 3
    + "id"
    + " } } } }" * 3
    + " } }",
    "nesting": "{ me " * 110 + "{ id }" + " }" * 110,
    "inline nesting": "{ " + "... { " * 120 + "me { id }" + " }" * 121,
    "aliases": "{ " + " ".join(f"a{n}: __typename" for n in range(31)) + " }",
    "aliases below": "{ me { " + " ".join(f"a{n}: id" for n in range(31)) + " } }",
    "root fields": "{ " + "me { id } " * 21 + "}",
    "root fields of a fragment": "{ ...F ...F ...F } fragment F on Query { "
    + "me { id } " * 7
    + "}",
    "mutations": "mutation { " + " ".join(f"a{n}: {ADD.format(n)}" for n in range(6)) + " }",
    "mutations of a fragment": "mutation { ...F ...F } fragment F on Mutation { "
    + " ".join(f"a{n}: {ADD.format(n)}" for n in range(3))
    + " }",
    "directives": "{ me { id " + "@include(if: true) " * 51 + "} }",
    "directives of fragments": "{ me { "
    + "...F @skip(if: false) " * 26
    + "} } fragment F on Viewer { id @skip(if: false) }",
    "the same fields": "{ me { " + "id " * 22 + "} }",
    "a literal": '{ asset(assetId: "' + "x" * 10_001 + '") { id } }',
    "a block of text": '{ asset(assetId: """' + "x" * 10_001 + '""") { id } }',
    "variables": "query(" + " ".join(f"$v{n}: Int" for n in range(101)) + ") { me { id } }",
    "introspections": "{ "
    + " ".join(
        f"a{n}: __schema {{ types {{ fields {{ args {{ type {{ ofType {{ ofType {{ name }} }} }} }} }} }} }}"
        for n in range(20)
    )
    + " }",
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_of_one_thing_is_refused_before_validation(
    acme: Inhabited, client: Client, steps: list[int], name: str
) -> None:
    before = all_assets(acme)
    with (
        mock.patch.object(documents, "validate", side_effect=AssertionError("too late")),
        mock.patch.object(Context, "__init__", side_effect=AssertionError("too late")),
    ):
        error = refusal(post(client, TOO_MUCH[name]))
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED"}
    assert sum(steps) <= MAX_STEPS
    assert all_assets(acme) == before


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("{ me { ...A } } fragment A on Viewer { ...A }", "INVALID"),
        (
            "{ me { ...A } } fragment A on Viewer { id ...B } fragment B on Viewer { id ...A }",
            "INVALID",
        ),
        ("{ me { id } } fragment A on Viewer { ...A }", "INVALID"),
    ],
)
def test_circular_fragments_are_refused(client: Client, document: str, code: str) -> None:
    body = post(client, document).json()
    assert body.keys() == {"errors"}
    assert {error["extensions"]["code"] for error in body["errors"]} == {code}


def test_introspection_in_circles_is_refused(client: Client, steps: list[int]) -> None:
    for level in (3, 10):
        inside = "fields { type { " * level + "name" + " } }" * level
        body = post(client, f"{{ __schema {{ types {{ {inside} }} }} }}").json()
        assert body.keys() == {"errors"}
    assert sum(steps) <= MAX_STEPS


def test_the_introspection_of_graphiql_and_of_tools_runs(client: Client) -> None:
    document = get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
    )
    assert len(post(client, document).json()["data"]["__schema"]["types"]) > 50


def test_validation_gives_up_on_what_is_dear_to_compare(client: Client) -> None:
    """Twenty fields that ten fragments repeat; graphql-core compares each with each."""
    fields = " ".join(f"f{n}: id" for n in range(2))
    fragments = " ".join(f"fragment F{n} on Viewer {{ {fields} }}" for n in range(14))
    spreads = " ".join(f"...F{n}" for n in range(14))
    with mock.patch.object(overlapping_fields_can_be_merged, "MAX_COMPLEXITY_BUDGET", 100):
        documents.forget()
        body = post(client, f"{{ me {{ {spreads} }} }} {fragments}").json()
    documents.forget()
    assert "Validation aborted." in {error["message"] for error in body["errors"]}
    assert overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET <= 20_000


def test_a_document_of_many_faults_is_told_of_some(client: Client) -> None:
    document = "{ " + " ".join(f"nothing{n}" for n in range(20)) + " }"
    document = document.replace("nothing0", "me { " + " ".join(f"x{n}" for n in range(100)) + " }")
    response = post(client, document)
    assert len(response.json()["errors"]) == documents.MAX_ERRORS + 1
    assert len(response.content) < 2 * MAX_ANSWER


# --- pages ----------------------------------------------------------------------------------------

NESTED = (
    "query{2} {{ tenants(first: {0}) {{ edges {{ node {{ "
    "memberships(first: {1}) {{ edges {{ node {{ id role }} }} }} }} }} }} }}"
)


@pytest.mark.parametrize(
    ("sizes", "variables", "is_fine"),
    [
        (("10", "10"), {}, True),
        (("100", "100"), {}, False),
        (("$n", "$n"), {"n": 10}, True),
        (("$n", "$n"), {"n": 100}, False),
        (("$m", "$m"), {}, False),
        (("$m", "$m"), {"m": 5}, True),
        (("500", "10"), {}, True),
        (("500", "20"), {}, False),
        (("$n", "100"), {"n": 2_000_000_000}, False),
        (("$n", "100"), {"n": 10**40}, False),
    ],
)
def test_pages_inside_pages_cost_their_product(
    world: World,
    client: Client,
    sizes: tuple[str, str],
    variables: dict[str, int],
    *,
    is_fine: bool,
) -> None:
    del world
    declared = {"$n": "($n: Int)", "$m": "($m: Int = 100)"}.get(sizes[0], "")
    for _again in range(2):
        body = post(client, NESTED.format(*sizes, declared), variables).json()
        assert ("data" in body) is is_fine
        if is_fine:
            assert 50 < body["extensions"]["cost"]["requested"] <= 20_000
        else:
            [error] = body["errors"]
            assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
            assert "which is more than 20000" in error["message"]


def test_a_page_of_500_is_fine_where_little_is_asked_of_each(client: Client) -> None:
    few = "id name uri mimetype duration isEnabled"
    assert (
        "data"
        in post(client, f"{{ assets(first: 500) {{ edges {{ node {{ {few} }} }} }} }}").json()
    )
    many = " ".join(f"a{n}: id" for n in range(30)) + " name uri mimetype duration md5 id playCount"
    many += " isActive isEnabled"
    body = post(client, f"{{ assets(first: 500) {{ edges {{ node {{ {many} }} }} }} }}").json()
    assert "data" not in body


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ("first: -1", {}),
        ("first: 501", {}),
        ("first: 2147483647", {}),
        ("first: 2147483648", {}),
        ("first: 99999999999999999999999", {}),
        ("first: 1.5", {}),
        ('first: "5"', {}),
        ("first: true", {}),
        ("first: 5, last: 5", {}),
        ("first: 5, first: 6", {}),
        ("last: -1", {}),
        ("first: $n", {"n": -1}),
        ("first: $n", {"n": 1e400}),
        ("first: $n", {"n": 10**400}),
        ("first: $n", {"n": 1.5}),
        ("first: $n", {"n": "5"}),
        ("first: $n", {"n": True}),
        ("first: $n", {"n": []}),
        ("first: $n", {"n": [5, 6]}),
        ("first: $n", {"n": {"a": 1}}),
        ('after: "x"', {}),
        ('first: 5, after: ""', {}),
        ('after: "' + "A" * 5_000 + '"', {}),
        ('first: 5, before: "e30=", after: "e30="', {}),
    ],
)
def test_page_arguments_that_make_no_sense_are_clean_errors(
    client: Client, arguments: str, variables: dict[str, Any]
) -> None:
    declared = "query($n: Int)" if "$n" in arguments else "query"
    response = post(
        client,
        f"{declared} {{ assets({arguments}) {{ totalCount edges {{ cursor }} }} }}",
        variables,
    )
    assert response.status_code in {200, 400}
    assert len(response.content) < MAX_ANSWER
    body = response.json()
    assert {error["extensions"]["code"] for error in body["errors"]} == {"INVALID"}
    assert not (body.get("data") or {}).get("assets")


@pytest.mark.parametrize(
    "arguments", ["first: 0", "first: null", "last: null", "first: null, last: 2"]
)
def test_nothing_and_null_are_pages(client: Client, arguments: str) -> None:
    assert "errors" not in post(client, f"{{ assets({arguments}) {{ totalCount }} }}").json()


# --- variables and bodies -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        [0] * 10_001,
        [[]] * 10_001,
        {str(n): 0 for n in range(7_000)},
        [[0] * 100] * 101,
    ],
)
def test_giant_lists_of_variables_are_refused(client: Client, value: Any) -> None:
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    response = post(client, query, {"ids": value})
    assert len(response.content) < MAX_ANSWER
    assert response.status_code in {200, 413}
    [error] = response.json()["errors"]
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED" or isinstance(value, dict)
    assert "data" not in response.json()


def test_a_body_that_is_too_large_is_refused_unread(client: Client) -> None:
    body = json.dumps({"query": "{ me { id } }", "variables": {"a": "x" * 70_000}})
    with mock.patch("django.http.request.HttpRequest.body", new_callable=mock.PropertyMock) as read:
        response = client.post("/graphql", body, content_type="application/json")
    assert (response.status_code, read.called) == (413, False)
    response = client.get(
        "/graphql", {"query": "{ me { id } }", "variables": f'{{"a":"{"x" * 70_000}"}}'}
    )
    assert response.status_code == 413


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x" * 100])
@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x"])
def test_a_compressed_body_is_refused_and_not_opened(
    client: Client, encoding: str, content_type: str
) -> None:
    bomb = gzip.compress(b'{"query": "{ me { id } }"' + b" " * 10_000_000 + b"}")
    response = client.post(
        "/graphql",
        bomb,
        content_type=content_type,
        headers={"Content-Encoding": encoding, "GraphQL-Preflight": "1"},
    )
    assert (response.status_code, response["Accept-Encoding"]) == (415, "identity")


@pytest.mark.parametrize("count", [1, 2, 1_000])
def test_batches_are_refused_and_nothing_of_them_runs(
    acme: Inhabited, client: Client, count: int
) -> None:
    before = all_assets(acme)
    batch = json.dumps([{"query": f"mutation {{ {ADD.format('x')} }}"}] * count)
    response = client.post("/graphql", batch, content_type="application/json")
    assert response.status_code in {400, 413}
    assert "data" not in response.json()
    assert all_assets(acme) == before


WRONG: list[Any] = [
    None, True, 0, -1, 2**31, 2**63, 2**200, 1e308, 1.5, "", " ", "\u202e", "İ", "x" * 5_000,
    "9999-99-99T99:99:99Z", "-0001-01-01T00:00:00Z", "10000-01-01T00:00:00Z", [], [None], {},
    {"a": 1}, [[[[]]]],
]  # fmt: skip
TYPED = (
    "query($v: Int) { assets(first: $v) { totalCount } }",
    "query($v: ID!) { node(id: $v) { id } }",
    "query($v: [ID!]!) { nodes(ids: $v) { id } }",
    "query($v: AssetFilter) { assets(filter: $v) { totalCount } }",
    "query($v: DateTime) { assets(filter: {createdAt: {after: $v}}) { totalCount } }",
    "mutation($v: CreateAssetInput!) { createAsset(input: $v) { errors { code } } }",
    (
        "mutation($v: DateTime) { createAsset(input: "
        '{name: "a", uri: "https://e.com", startDate: $v, endDate: $v}) { errors { code } } }'
    ),
    (
        "mutation($v: Int) { createAsset(input: "
        '{name: "a", uri: "https://e.com", duration: $v}) { errors { code } } }'
    ),
    "mutation($v: JSON) { updateTenantSettings(input: {integrations: $v}) { errors { code } } }",
)


@pytest.mark.parametrize("document", TYPED)
def test_values_of_the_wrong_kind_are_typed_errors(client: Client, document: str) -> None:
    for value in WRONG:
        response = post(client, document, {"v": value})
        assert response.status_code == 200, value
        codes = {error["extensions"]["code"] for error in response.json().get("errors", ())}
        assert codes <= {"INVALID"}, (value, codes)


# --- what nobody is told --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        "{ asset { nam } }",
        "{ assetz { id } }",
        "{ assets(frist: 1) { totalCount } }",
        "{ assets(order: {feild: NAME}) { totalCount } }",
        "{ assets(order: {field: NAMES}) { totalCount } }",
        "query($v: AssetFilterr) { assets(filter: $v) { totalCount } }",
        "{ me { ... on Viewr { id } } }",
        "{ me @inclde(if: true) { id } }",
    ],
)
def test_nothing_is_suggested(client: Client, document: str) -> None:
    text = post(client, document).content.decode()
    assert '"errors"' in text
    assert "Did you mean" not in text


def test_errors_carry_code_path_and_the_requests_id(client: Client) -> None:
    response = post(
        client,
        "{ me { id } bad: assets(first: -1) { totalCount } }",
        **{"X-Request-ID": "abcdefgh"},
    )
    [error] = response.json()["errors"]
    assert error["path"] == ["bad"]
    assert error["extensions"]["code"] == "INVALID"
    assert response["X-Request-ID"] == "abcdefgh"


# --- what stays -----------------------------------------------------------------------------------


def test_mutations_that_succeed_beside_refused_ones_stay(acme: Inhabited, client: Client) -> None:
    """As the description of Mutation says; each of them is done as a whole or not at all."""
    bad = 'createAsset(input: {name: "", uri: "nothing"}) { asset { id } errors { code } }'
    for fields in ((ADD.format("one"), f"b: {bad}"), (f"b: {bad}", ADD.format("two"))):
        before = len(all_assets(acme))
        data = post(client, f"mutation {{ {' '.join(fields)} }}").json()["data"]
        assert data["createAsset"]["errors"] == []
        assert data["b"]["asset"] is None
        assert data["b"]["errors"]
        assert len(all_assets(acme)) == before + 1
    description = schema.get_type_by_name("Mutation").description  # type: ignore[union-attr]
    assert "those beside it stay" in (description or "")


# --- budgets --------------------------------------------------------------------------------------


@pytest.fixture
def budget() -> Iterator[None]:
    """Three hundred units a minute, of which a refused request costs fifty."""
    own = Budget(f"test{uuid4().hex}", 300, 60)
    with (
        override_settings(GRAPHQL_BUDGET=300),
        mock.patch.object(limits, "_budget", return_value=own),
    ):
        yield


@pytest.mark.usefixtures("budget")
def test_an_actor_that_has_spent_its_budget_waits(
    world: World, client_of: Callable[..., Client]
) -> None:
    owner = client_of("globex-owner")
    query = "{ assets(first: 50) { edges { cursor } } }"
    assert post(owner, query).json()["extensions"]["cost"] == {
        "requested": 52,
        "limit": 20_000,
        "remaining": 240,
        "budget": 300,
    }
    for _request in range(4):
        post(owner, query)
    before = all_assets(world.globex)
    for document in (query, f"mutation {{ {ADD.format('x')} }}"):
        response = post(owner, document)
        assert response.status_code == 429
        assert 0 < int(response["Retry-After"]) <= 60
        [error] = response.json()["errors"]
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert response["Cache-Control"] == "no-store"
    assert all_assets(world.globex) == before
    # Another person of the tenant, and another tenant, have their own.
    assert "data" in post(client_of("globex-manager"), query).json()
    assert "data" in post(client_of("acme-owner"), query).json()


@pytest.mark.usefixtures("budget")
def test_refused_requests_are_paid_for(world: World, client_of: Callable[..., Client]) -> None:
    del world
    client = client_of("acme-admin")
    answers = [post(client, "{ nothing }").status_code for _ in range(7)]
    assert answers == [200] * 6 + [429]


def test_one_person_has_one_budget_whatever_they_come_with(world: World) -> None:
    assert limits.owner_of(world.acme.owner) != limits.owner_of(world.acme.admin)
    assert limits.owner_of(world.acme.owner) != limits.owner_of(world.globex.owner)


# --- the cache of documents -----------------------------------------------------------------------


def test_a_flood_of_documents_leaves_those_of_others(
    world: World, client_of: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    del world
    documents.forget()
    query = "query Kept { me { username } }"
    post(client_of("acme-owner"), query)
    flood = client_of("globex-owner")
    monkeypatch.setattr(documents._checked, "entries", 40)
    for number in range(60):
        post(flood, f"query Flood{number} {{ me {{ id }} }}")
    assert len(documents._checked) <= 6
    parsed: list[str] = []
    monkeypatch.setattr(documents, "_parsed", parsed.append)
    assert "data" in post(client_of("acme-viewer"), query).json()
    assert parsed == []


def test_a_page_of_a_foreign_origin_reads_and_changes_nothing(
    acme: Inhabited, owner_cursor: psycopg.Cursor[Any]
) -> None:
    """CORS is off: no header that would let a script read, for whatever it sends."""
    del acme
    client = Client(HTTP_HOST=f"acme.{PLATFORM}", headers=basic("acme-owner"))
    origin = {"Origin": "https://evil.example"}
    preflight = client.options(
        "/graphql", headers={**origin, "Access-Control-Request-Method": "POST"}
    )
    answers = [preflight, post(client, "{ me { id } }", **origin)]
    with unchanged(owner_cursor, "assets"):
        answers.append(
            client.post(
                "/graphql",
                {"operations": "{}", "map": "{}"},
                headers={**origin, "Sec-Fetch-Site": "cross-site"},
            )
        )
    assert answers[-1].status_code == 403
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("Access-Control-")]


@override_settings(CORS_ALLOWED_ORIGINS=["https://app.example"])
@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://app.example", True),
        ("http://app.example", False),
        ("https://app.example.evil.example", False),
        ("https://app.example:8443", False),
        ("null", False),
    ],
)
def test_pages_of_origins_that_the_operator_named_read(
    world: World, client_of: Callable[..., Client], origin: str, *, is_allowed: bool
) -> None:
    del world
    client = client_of("acme-owner")
    preflight = Client(HTTP_HOST=f"acme.{PLATFORM}").options(
        "/graphql",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    answer = post(client, "{ me { id } }", Origin=origin)
    # A refusal has to be readable, too.
    stranger = post(Client(HTTP_HOST=f"acme.{PLATFORM}"), "{ me { id } }", Origin=origin)
    for response in (preflight, answer, stranger):
        allowed = response.headers.get("Access-Control-Allow-Origin")
        assert allowed == (origin if is_allowed else None)
        assert "Access-Control-Allow-Credentials" not in response
        assert "origin" in response["Vary"].lower()
    assert ("authorization" in preflight.get("Access-Control-Allow-Headers", "")) is is_allowed
    elsewhere = client.get("/api/v2/assets", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in elsewhere


def test_limits_are_settings() -> None:
    assert settings.GRAPHQL_LIMITS["tokens"] == 1_000
    assert settings.GRAPHQL_LIMITS["depth"] == 10
    assert settings.GRAPHQL_LIMITS["aliases"] == 30
    assert settings.GRAPHQL_LIMITS["root_fields"] == 20
    assert settings.GRAPHQL_LIMITS["mutations"] == 5
    assert settings.GRAPHQL_MAX_BODY_BYTES == 65_536
