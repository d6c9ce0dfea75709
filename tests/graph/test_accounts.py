"""One's own account over GraphQL: password, second factor, sessions; one attempt per request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from graphql import get_named_type

from graph.schema import schema
from rls import acting_as
from tenancy.actors import person
from tenancy.credentials import identify, verify_password
from tenancy.models import UserSession
from tenancy.second_factor import per_person
from tests.accounts import App, Browser, Clock, Mailbox, ask_for_second_factors, enrol, factor_of
from tests.conftest import PLATFORM, Graph, basic
from tests.graph.conftest import statements
from tests.tenancy.conftest import id_of
from tests.tenancy.test_audit import entries
from tests.world import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.world import World

NEW = "a wholly different one 42"
FAULTS = "errors { field message code }"
CHANGE = (
    "mutation($old: String!, $new: String!) { changePassword(input: {currentPassword: $old, "
    f"newPassword: $new}}) {{ viewer {{ username }} {FAULTS} }} }}"
)
EMAIL = (
    "mutation($p: String!, $e: String!) { changeEmail(input: {currentPassword: $p, email: $e}) "
    f"{{ viewer {{ email }} {FAULTS} }} }}"
)
BEGIN = (
    "mutation($p: String!) { beginSecondFactor(input: {currentPassword: $p}) "
    f"{{ enrolment {{ secret uri qrSvg }} {FAULTS} }} }}"
)
CONFIRM = (
    "mutation($c: String!) { confirmSecondFactor(input: {code: $c}) "
    f"{{ recoveryCodes {FAULTS} }} }}"
)
DISABLE = (
    "mutation($p: String!, $c: String!) { disableSecondFactor(input: {currentPassword: $p, code: $c}) "
    f"{{ viewer {{ secondFactor {{ isEnabled }} }} {FAULTS} }} }}"
)
REGENERATE = (
    "mutation($p: String!, $c: String!) { regenerateRecoveryCodes(input: {currentPassword: $p, code: $c}) "
    f"{{ recoveryCodes {FAULTS} }} }}"
)
MINE = "{ me { secondFactor { isEnabled enabledAt recoveryCodesLeft isRequired } } }"
SESSIONS = (
    "{ me { sessions(first: 10) { totalCount edges { node { id browser network userAgent isCurrent "
    "createdAt lastSeenAt expiresAt } } } } }"
)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Page(Graph):
    """A GraphQL client in a page of ours: it has a session and sends the token along."""

    def __init__(self, browser: Browser) -> None:
        super().__init__(browser)

    def post(self, query: str, variables: dict[str, Any] | None = None) -> Any:
        body = json.dumps({"query": query, "variables": variables or {}})
        headers = {"X-CSRFToken": str(self.client.cookies["csrftoken"].value)}
        return self.client.post("/graphql", body, content_type="application/json", headers=headers)


def signed_in(username: str = "acme-viewer", **headers: str) -> Page:
    browser = Browser(**headers)
    assert browser.sign_in(username).status_code == 302
    return Page(browser)


def codes_of(payload: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    return [(error["code"], error["field"]) for error in payload["errors"]]


def test_changing_the_password_ends_the_other_sessions(world: World) -> None:
    page, other = signed_in(), signed_in()
    user_id = id_of(world.acme.viewer)
    for old, new, expected in (
        ("wrong", NEW, ("INVALID", ["currentPassword"])),
        (PASSWORD, "short", ("INVALID", ["newPassword"])),
        (PASSWORD, "acme-viewer-1", ("INVALID", ["newPassword"])),
        (PASSWORD, PASSWORD, ("INVALID", ["newPassword"])),
        (PASSWORD, "\ud800" * 12, None),
    ):
        if expected is None:
            assert page.post(CHANGE, {"old": old, "new": new}).status_code == 400
            continue
        payload = page.data(CHANGE, old=old, new=new)["changePassword"]
        assert (payload["viewer"], codes_of(payload)) == (None, [expected])
    assert identify(user_id, 1) is not None
    assert other.data("{ me { username } }")
    payload = page.data(CHANGE, old=PASSWORD, new=NEW)["changePassword"]
    assert payload == {"viewer": {"username": "acme-viewer"}, "errors": []}
    assert verify_password("acme-viewer", NEW, "-") == (user_id, 2)
    assert page.data("{ me { username } }")
    assert other.post("{ me { username } }").status_code == 401
    assert page.client.get("/media/x", headers=basic("acme-viewer")).status_code == 401


def test_a_second_factor_over_graphql(world: World, clock: Clock) -> None:
    page, other = signed_in(), signed_in()
    off = {"isEnabled": False, "enabledAt": None, "recoveryCodesLeft": 0, "isRequired": False}
    assert page.data(MINE)["me"]["secondFactor"] == off
    refused = page.data(BEGIN, p="wrong")["beginSecondFactor"]
    assert (refused["enrolment"], codes_of(refused)) == (None, [("INVALID", ["currentPassword"])])
    assert factor_of(world.acme.viewer.user_id) is None
    refused = page.data(CONFIRM, c="123456")["confirmSecondFactor"]
    assert codes_of(refused) == [("CONFLICT", None)]
    made = page.data(BEGIN, p=PASSWORD)["beginSecondFactor"]["enrolment"]
    app = App(made["uri"])
    assert app.parameters["secret"] == made["secret"]
    assert made["qrSvg"].startswith("<svg")
    assert "<script" not in made["qrSvg"]
    assert page.data(MINE)["me"]["secondFactor"] == off
    refused = page.data(CONFIRM, c=app.code(clock.now + 600))["confirmSecondFactor"]
    assert codes_of(refused) == [("INVALID", ["code"])]
    codes = page.data(CONFIRM, c=app.code(clock.now))["confirmSecondFactor"]["recoveryCodes"]
    assert len(set(codes)) == 10
    now = page.data(MINE)["me"]["secondFactor"]
    assert (now["isEnabled"], now["recoveryCodesLeft"]) == (True, 10)
    assert other.post(MINE).status_code == 401
    clock.wait()
    new = page.data(REGENERATE, p=PASSWORD, c=app.code(clock.now))["regenerateRecoveryCodes"]
    assert len(set(new["recoveryCodes"]) - set(codes)) == 10
    for password, code, field in (
        ("no", codes[0], "currentPassword"),
        (PASSWORD, codes[0], "code"),
    ):
        for document, name in (
            (DISABLE, "disableSecondFactor"),
            (REGENERATE, "regenerateRecoveryCodes"),
        ):
            payload = page.data(document, p=password, c=code)[name]
            assert codes_of(payload) == [("INVALID", [field])]
            per_person.forget(str(id_of(world.acme.viewer)))
    assert page.data(MINE)["me"]["secondFactor"] == now
    done = page.data(DISABLE, p=PASSWORD, c=new["recoveryCodes"][0])["disableSecondFactor"]
    assert done == {"viewer": {"secondFactor": {"isEnabled": False}}, "errors": []}
    # What was done is in the log of the tenant it was done in, without a secret; what was refused
    # is not.
    told = entries(world.acme, user_id=world.acme.viewer.user_id, subject="User")
    assert [entry.action.removeprefix("account.") for entry in reversed(told)] == [
        *("signed_in", "signed_in", "second_factor_enabled"),
        *("recovery_codes_regenerated", "second_factor_disabled"),
    ]
    assert {(entry.credential, entry.address) for entry in told} == {("session", "127.0.0.1")}
    assert all(entry.before is entry.after is None for entry in told)


def test_one_request_tries_one_password(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the mutation, the alias or the fragment: not one is looked at then."""
    _, codes = enrol(world.acme.viewer, clock)
    tried: list[str] = []

    def counting(name: str, password: str, address: str) -> tuple[UUID, int]:
        tried.append(password)
        return verify_password(name, password, address)

    monkeypatch.setattr("tenancy.accounts.verify_password", counting)
    graph = Graph(Browser(Authorization=basic("acme-viewer")["Authorization"]))
    before = factor_of(world.acme.viewer.user_id)
    fields = {
        f'disableSecondFactor(input: {{currentPassword: "x", code: "{codes[0]}"}})',
        f'regenerateRecoveryCodes(input: {{currentPassword: "x", code: "{codes[0]}"}})',
        'beginSecondFactor(input: {currentPassword: "x"})',
        'confirmSecondFactor(input: {code: "123456"})',
        f'changePassword(input: {{currentPassword: "x", newPassword: "{NEW}"}})',
        'changeEmail(input: {currentPassword: "x", email: "new@acme.example"})',
    }
    names = {field.partition("(")[0] for field in fields}
    assert names == {
        name
        for name, field in schema._schema.mutation_type.fields.items()  # type: ignore[union-attr]
        if {"currentPassword", "code"} & get_named_type(field.args["input"].type).fields.keys()
        and name != "pairDevice"
    }
    for field in fields:
        for document in (
            f"mutation {{ a: {field} {{ {FAULTS} }} b: {field} {{ {FAULTS} }} }}",
            (
                f"mutation {{ ...F ...G }} fragment F on Mutation {{ a: {field} {{ {FAULTS} }} }} "
                f"fragment G on Mutation {{ b: {field} {{ {FAULTS} }} }}"
            ),
        ):
            [error] = graph(document)["errors"]
            assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert tried == []
    assert factor_of(world.acme.viewer.user_id) == before


def test_wrong_codes_are_limited_over_graphql_too(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_person, "limit", 2)
    app, _ = enrol(world.acme.viewer, clock)
    graph = Graph(Browser(Authorization=basic("acme-viewer")["Authorization"]))
    payloads = [
        graph.data(DISABLE, p=PASSWORD, c=code)["disableSecondFactor"]
        for code in ("000000", "000000", app.code(clock.now))
    ]
    assert [codes_of(payload)[0][0] for payload in payloads] == [
        "INVALID",
        "INVALID",
        "RATE_LIMITED",
    ]
    row = factor_of(world.acme.viewer.user_id)
    assert row is not None
    assert row["confirmed_at"] is not None


# --- sessions ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("executor")
def test_sessions_are_listed_with_what_one_recognises_them_by(world: World) -> None:
    with acting_as(world.acme.viewer):
        UserSession.objects.all().delete()
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    other = signed_in(**{"User-Agent": "curl/8.5 \x00\n"})
    page = signed_in(**{"User-Agent": firefox})
    with statements(3):
        found = page.data(SESSIONS)["me"]["sessions"]
    assert found["totalCount"] == 2
    rows = [edge["node"] for edge in found["edges"]]
    assert [(row["browser"], row["network"], row["isCurrent"]) for row in rows] == [
        ("Firefox on Linux", "127.0.0.0/24", True),
        ("curl/8.5", "127.0.0.0/24", False),
    ]
    assert rows[0]["userAgent"] == firefox
    # With Basic none of them asks, and nobody else sees them.
    plain = Graph(Browser(Authorization=basic("acme-viewer")["Authorization"]))
    assert not any(e["node"]["isCurrent"] for e in plain.data(SESSIONS)["me"]["sessions"]["edges"])
    assert other.data("{ me { username } }")


def test_ending_sessions(world: World) -> None:
    pages = [signed_in() for _ in range(4)]
    end = f"mutation($id: ID!) {{ endSession(input: {{id: $id}}) {{ endedId {FAULTS} }} }}"
    others = f"mutation {{ endOtherSessions(input: {{}}) {{ ended {FAULTS} }} }}"
    mine = "{ me { sessions(first: 10) { edges { node { id isCurrent } } } } }"

    def current(page: Page) -> str:
        edges = page.data(mine)["me"]["sessions"]["edges"]
        [found] = [edge["node"]["id"] for edge in edges if edge["node"]["isCurrent"]]
        return str(found)

    ids = [current(page) for page in pages]
    assert pages[0].data(end, id=ids[1])["endSession"] == {"endedId": ids[1], "errors": []}
    assert pages[1].post(mine).status_code == 401
    assert codes_of(pages[0].data(end, id=ids[1])["endSession"]) == [("NOT_FOUND", ["id"])]
    # The world's own session of the viewer is one of them.
    assert pages[0].data(others)["endOtherSessions"] == {"ended": 3, "errors": []}
    assert [page.post(mine).status_code for page in pages] == [200, 401, 401, 401]
    assert pages[0].data(end, id=ids[0])["endSession"]["errors"] == []
    assert pages[0].post(mine).status_code == 401
    with acting_as(person(id_of(world.acme.owner))):
        assert UserSession.objects.count() == 1


# --- tenants that ask for a second factor -----------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        "{ assets(first: 1) { totalCount } }",
        "{ tenant { name } }",
        "{ tenants(first: 1) { totalCount } }",
        "{ __schema { queryType { name } } }",
        "{ me { username } ...F } fragment F on Query { ... on Query { tenant { name } } }",
        "{ me { username } tenant @skip(if: true) { name } }",
        'mutation { createTenant(input: {name: "x", slug: "x"}) { errors { code } } }',
        (
            'mutation { beginSecondFactor(input: {currentPassword: "x"}) { errors { code } } '
            "endOtherSessions(input: {}) { errors { code } } }"
        ),
        (
            'mutation { changePassword(input: {currentPassword: "x", newPassword: "y"}) '
            "{ errors { code } } }"
        ),
    ],
)
@pytest.mark.parametrize("way", ["session", "basic"])
def test_without_one_nothing_but_enrolment(world: World, document: str, way: str) -> None:
    page = signed_in() if way == "session" else None
    ask_for_second_factors(world.acme)
    graph = page or Graph(Browser(Authorization=basic("acme-viewer")["Authorization"]))
    answer = graph.post(document)
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["extensions"] == {"code": "SECOND_FACTOR_REQUIRED"}
    assert "data" not in answer.json()
    assert world.acme.marker not in answer.content.decode()


def test_enrolment_opens_the_tenant(world: World, clock: Clock) -> None:
    page = signed_in()
    ask_for_second_factors(world.acme)
    me = page.data("{ me { username permissions secondFactor { isEnabled isRequired } } }")["me"]
    assert me == {
        "username": "acme-viewer",
        "permissions": [],
        "secondFactor": {"isEnabled": False, "isRequired": True},
    }
    app = App(page.data(BEGIN, p=PASSWORD)["beginSecondFactor"]["enrolment"]["uri"])
    assert page.data(CONFIRM, c=app.code(clock.now))["confirmSecondFactor"]["errors"] == []
    assert page.data("{ tenant { slug } me { secondFactor { isRequired } } }") == {
        "tenant": {"slug": "acme"},
        "me": {"secondFactor": {"isRequired": True}},
    }
    # A password alone is not enough there any more, and no way to enrol anew either.
    graph = Graph(Browser(Authorization=basic("acme-viewer")["Authorization"]))
    answer = graph.post("{ me { username } }")
    assert (answer.status_code, answer.json()["code"]) == (403, "SECOND_FACTOR_REQUIRED")


def test_elsewhere_the_same_person_is_not_asked(world: World, gql: Callable[..., Graph]) -> None:
    ask_for_second_factors(world.acme)
    assert gql("both", host=f"globex.{PLATFORM}").data("{ tenant { slug } }")
    assert gql("both", host=PLATFORM).data("{ me { memberships { tenant { slug } } } }")
    answer = gql("both", host=PLATFORM, headers={"X-Tenant-ID": "acme"}).post("{ tenant { slug } }")
    assert answer.status_code == 403


def token_of(graph: Graph) -> Graph:
    made = graph.data(
        'mutation { createApiToken(input: {name: "x", permissions: ["assets.view"]}) '
        "{ credential { secret } errors { code } } }"
    )["createApiToken"]
    return Graph(Browser(Authorization=f"Bearer {made['credential']['secret']}"))


def test_tokens_of_somebody_without_one_are_refused_too(world: World, clock: Clock) -> None:
    """And one of somebody who has one goes on: it was made by who proved it."""
    count = "{ assets(first: 1) { totalCount } }"
    page, admin = signed_in(), signed_in("acme-admin")
    without, with_one = token_of(page), token_of(admin)
    app = App(admin.data(BEGIN, p=PASSWORD)["beginSecondFactor"]["enrolment"]["uri"])
    assert admin.data(CONFIRM, c=app.code(clock.now))["confirmSecondFactor"]["errors"] == []
    assert without.data(count) == with_one.data(count)
    ask_for_second_factors(world.acme)
    assert with_one.data(count)
    for document in (count, "{ me { username } }", BEGIN.replace("$p: String!", "$p: String")):
        answer = without.post(document, {"p": PASSWORD} if "$p" in document else None)
        assert (answer.status_code, answer.json()["code"]) == (403, "SECOND_FACTOR_REQUIRED")
    for path in ("/api/v2/assets", "/media/x", "/uploads/"):
        assert without.client.get(path).status_code == 403, path


def test_what_is_no_persons_own_sign_in_has_no_account(
    world: World, gql: Callable[..., Graph]
) -> None:
    made = gql().data('mutation { registerDevice(input: {name: "x"}) { credential { secret } } }')[
        "registerDevice"
    ]["credential"]
    for graph in (Graph(Browser(Authorization=f"Bearer {made['secret']}")), token_of(gql())):
        for document, name in (
            (BEGIN, "beginSecondFactor"),
            (CHANGE, "changePassword"),
            (EMAIL, "changeEmail"),
            (
                f"mutation {{ endOtherSessions(input: {{}}) {{ ended {FAULTS} }} }}",
                "endOtherSessions",
            ),
        ):
            given = {"p": PASSWORD, "old": PASSWORD, "new": NEW, "e": "new@acme.example"}
            used = {key: given[key] for key in given if f"${key}:" in document}
            payload = graph.data(document, **used)[name]
            assert [code for code, _ in codes_of(payload)] == ["FORBIDDEN"]
    answer = token_of(gql())(SESSIONS)
    assert answer["data"]["me"] == {"sessions": None}
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    row = factor_of(world.acme.owner.user_id)
    assert row is not None
    assert row["confirmed_at"] is None
    assert verify_password("acme-owner", PASSWORD, "-")


def test_another_address_over_graphql(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = Mailbox(monkeypatch)
    page = signed_in()
    for password, email, expected in (
        ("no", "new@acme.example", ("INVALID", ["currentPassword"])),
        (PASSWORD, "no address", ("INVALID", ["email"])),
    ):
        payload = page.data(EMAIL, p=password, e=email)["changeEmail"]
        assert codes_of(payload) == [expected]
    payload = page.data(EMAIL, p=PASSWORD, e="new@acme.example")["changeEmail"]
    assert payload == {"viewer": {"email": "viewer@acme.example"}, "errors": []}
    browser = page.client
    assert isinstance(browser, Browser)
    browser.open(mailbox.path("new@acme.example"))
    assert browser.send("/account/email/confirm/", {}).status_code == 302
    assert page.data("{ me { email } }")["me"]["email"] == "new@acme.example"
    assert world.acme.tenant.is_active
