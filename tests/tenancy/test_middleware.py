"""Requests through the real stack: who gets in where, with which answer, and what is logged.

`/who` and the other probing addresses are in tests/tenancy/face.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from rls import acting_as
from tenancy.actors import operator
from tenancy.models import Membership, Tenant
from tenancy.people import create_user
from tests.conftest import PLATFORM, basic
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD

if TYPE_CHECKING:
    from django.http import HttpResponse
    from pytest_django import Settings as SettingsWrapper

    from tests.world import World

pytestmark = pytest.mark.urls("tests.tenancy.face")

REFUSED = {
    "error": "Tenant access refused",
    "message": "There is no such tenant, or you are not a member of it.",
    "code": "TENANT_ERROR",
}


def get(
    path: str, username: str = "", *, host: str | None = PLATFORM, **extra: Any
) -> HttpResponse:
    client = Client(raise_request_exception=False)
    headers = {**(basic(username) if username else {}), **extra.pop("headers", {})}
    if host is not None:
        extra["HTTP_HOST"] = host
    return cast("HttpResponse", client.get(path, headers=headers, **extra))


def who(username: str = "", **kwargs: Any) -> dict[str, Any]:
    answer = get("/who", username, **kwargs)
    assert answer.status_code == 200, answer.content
    told: dict[str, Any] = json.loads(answer.content)
    return told


def shape(answer: HttpResponse) -> tuple[int, bytes, dict[str, str]]:
    """Everything a client sees of an answer, its request's id aside."""
    headers = {name: value for name, value in answer.items() if name != "X-Request-ID"}
    return answer.status_code, answer.content, headers


# --- which tenant -------------------------------------------------------------------------------


def test_a_subdomain_is_its_tenant(world: World) -> None:
    for slug, place in (("acme", world.acme), ("globex", world.globex)):
        for host in (f"{slug}.{PLATFORM}", f"{slug.upper()}.{PLATFORM.upper()}.:8000"):
            assert who(f"{slug}-owner", host=host) == {
                "kind": "member",
                "user": str(id_of(place.owner)),
                "tenant": str(place.tenant.id),
                "role": "owner",
                "credential": "basic",
            }


def test_a_person_in_two_tenants_is_in_one_at_a_time(world: World) -> None:
    for slug, place, role in (("acme", world.acme, "viewer"), ("globex", world.globex, "manager")):
        told = who("both", host=f"{slug}.{PLATFORM}")
        assert (told["tenant"], told["role"]) == (str(place.tenant.id), role)
        for header in (slug, slug.upper(), str(place.tenant.id), str(place.tenant.id).upper()):
            assert who("both", headers={"X-Tenant-ID": header}) == told


def test_the_subdomain_beats_the_header_and_the_parameter(
    world: World, settings: SettingsWrapper
) -> None:
    settings.DEBUG = True
    told = who(
        "both",
        host=f"acme.{PLATFORM}",
        headers={"X-Tenant-ID": "globex"},
        query_params={"tenant": "globex"},
    )
    assert told["tenant"] == str(world.acme.tenant.id)
    refused = get("/who", "acme-owner", host=f"globex.{PLATFORM}", headers={"X-Tenant-ID": "acme"})
    assert (refused.status_code, json.loads(refused.content)) == (403, REFUSED)


def test_the_parameter_is_heard_in_debug_only(world: World, settings: SettingsWrapper) -> None:
    assert who("both", query_params={"tenant": "globex"})["tenant"] is None
    settings.DEBUG = True
    assert who("both", query_params={"tenant": "globex"})["tenant"] == str(world.globex.tenant.id)
    assert who("both", headers={"X-Tenant-ID": "acme"}, query_params={"tenant": "globex"})[
        "tenant"
    ] == str(world.acme.tenant.id)
    assert get("/who", "acme-owner", query_params={"tenant": "globex"}).status_code == 403


@pytest.mark.parametrize("host", [PLATFORM, f"www.{PLATFORM}", f"api.{PLATFORM}:8000", "127.0.0.1"])
def test_on_the_platforms_hosts_the_only_membership_is_implied(world: World, host: str) -> None:
    assert who("acme-viewer", host=host)["tenant"] == str(world.acme.tenant.id)
    assert who("both", host=host)["tenant"] is None
    assert who("outsider", host=host)["tenant"] is None
    assert who("initech-owner", host=host)["tenant"] is None


def test_a_custom_domain_resolves_once_it_is_verified(world: World) -> None:
    from django.utils import timezone

    def set_domain(**values: Any) -> None:
        with acting_as(operator(world.acme.tenant.id)):
            assert Tenant.objects.filter(pk=world.acme.tenant.id).update(**values) == 1

    unknown = shape(get("/who", "acme-owner", host="nobody.example"))
    set_domain(domain="signs.acme.example")
    assert shape(get("/who", "acme-owner", host="signs.acme.example")) == unknown
    set_domain(domain_verified_at=timezone.now())
    told = who("acme-owner", host="Signs.Acme.Example.:443", headers={"X-Tenant-ID": "globex"})
    assert told["tenant"] == str(world.acme.tenant.id)
    # Somebody else's domain is as unknown as one that nobody has.
    for host in ("signs.acme.example", "nobody.example", "x.signs.acme.example", "acme.example"):
        assert shape(get("/who", "globex-owner", host=host)) == unknown
    set_domain(domain_verified_at=None)
    assert shape(get("/who", "acme-owner", host="signs.acme.example")) == unknown


# --- refusals -----------------------------------------------------------------------------------


def test_unknown_foreign_and_suspended_look_the_same(world: World) -> None:
    foreign = str(world.globex.tenant.id)
    suspended = str(world.initech.tenant.id)
    with nothing_changed(world):
        answers = [
            *(
                get("/who", username, host=f"{slug}.{PLATFORM}", headers=headers)
                for username in ("acme-owner", "outsider", "initech-owner")
                for slug in ("globex", "initech", "nobody", "mail", "x.acme", "xn--cme-5ka")
                for headers in ({}, {"X-Tenant-ID": "acme"})
            ),
            *(
                get("/who", username, host=host, headers={"X-Tenant-ID": header})
                for username in ("acme-owner", "outsider", "initech-owner")
                for host in (PLATFORM, "127.0.0.1:80")
                for header in (
                    *("globex", foreign, foreign.upper(), "initech", suspended, "nobody"),
                    *(str(uuid4()), "acme,globex", "acme\x00", "é" * 4000, "' OR ''='", "../acme"),
                )
            ),
            *(
                get("/who", "acme-owner", host=host)
                for host in ("evilsignage.test", f"acme.{PLATFORM}.evil.example", "localhost")
            ),
        ]
    assert {shape(answer)[:2] for answer in answers} == {
        (403, json.dumps(REFUSED).encode()),
    }
    assert all(shape(answer) == shape(answers[0]) for answer in answers)


def test_refusals_carry_nothing_of_the_other_tenant(world: World) -> None:
    for slug in ("globex", "initech"):
        answer = get("/who", "acme-owner", host=f"{slug}.{PLATFORM}")
        told = answer.content.decode() + str(answer.headers)
        place = getattr(world, slug)
        for trace in (place.marker, slug, str(place.tenant.id)):
            assert trace not in told


def test_a_tenant_that_is_needed_and_missing(world: World) -> None:
    del world
    for username in ("both", "outsider", "initech-owner"):
        answer = get("/entered", username)
        assert answer.status_code == 400
        assert (
            answer.content == b'{"error": "Invalid or missing tenant", "code": "TENANT_REQUIRED"}'
        )
        assert answer["Content-Type"] == "application/json"


def test_graphql_needs_a_tenant_and_says_so(world: World) -> None:
    def ask(host: str = PLATFORM, **headers: str) -> HttpResponse:
        client = Client(raise_request_exception=False)
        body = {"query": "{ tenant { slug } assets(first: 1) { totalCount } }"}
        return cast(
            "HttpResponse",
            client.post(
                "/graphql",
                json.dumps(body),
                content_type="application/json",
                headers={**basic("both"), **{k.replace("_", "-"): v for k, v in headers.items()}},
                HTTP_HOST=host,
            ),
        )

    needed = ask()
    assert needed.status_code == 400
    assert needed.content == b'{"error": "Invalid or missing tenant", "code": "TENANT_REQUIRED"}'
    for slug in ("acme", "globex"):
        expected = {"tenant": {"slug": slug}, "assets": {"totalCount": 3}}
        for answer in (ask(f"{slug}.{PLATFORM}"), ask(X_Tenant_ID=slug)):
            assert json.loads(answer.content)["data"] == expected
        tenant = getattr(world, slug).tenant
        assert json.loads(ask(X_Tenant_ID=str(tenant.id)).content)["data"] == expected
    for refused in (ask(X_Tenant_ID="initech"), ask(f"initech.{PLATFORM}"), ask("evil.example")):
        assert (refused.status_code, json.loads(refused.content)) == (403, REFUSED)


def test_without_a_credential_every_tenants_host_is_the_same(world: World) -> None:
    del world
    hosts = [f"{slug}.{PLATFORM}" for slug in ("acme", "initech", "nobody")]
    answers = [get("/entered", host=host) for host in (*hosts, PLATFORM, "evil.example")]
    assert {answer.status_code for answer in answers} == {401}
    assert all(shape(answer) == shape(answers[0]) for answer in answers)
    assert answers[0]["WWW-Authenticate"] == 'Basic realm="api"'
    assert who(host=hosts[0]) == who(host=hosts[2])
    assert who()["kind"] == "anonymous"


def test_a_tenant_suspended_now_is_closed_on_the_next_request(world: World) -> None:
    assert who("acme-owner", host=f"acme.{PLATFORM}")["role"] == "owner"
    with acting_as(operator(world.acme.tenant.id)):
        Tenant.objects.filter(pk=world.acme.tenant.id).update(is_active=False)
    answer = get("/who", "acme-owner", host=f"acme.{PLATFORM}")
    assert (answer.status_code, json.loads(answer.content)) == (403, REFUSED)
    assert who("acme-owner")["tenant"] is None


def test_a_member_removed_now_is_out_on_the_next_request(world: World) -> None:
    host = f"acme.{PLATFORM}"
    assert who("acme-viewer", host=host)["role"] == "viewer"
    with acting_as(operator(world.acme.tenant.id)):
        rows = Membership.objects.filter(user_id=id_of(world.acme.viewer))
        assert rows.update(is_active=False) == 1
    assert get("/who", "acme-viewer", host=host).status_code == 403
    assert get("/who", "acme-viewer", headers={"X-Tenant-ID": "acme"}).status_code == 403
    with acting_as(operator(world.acme.tenant.id)):
        assert rows.update(is_active=True, role="manager") == 1
    assert who("acme-viewer", host=host)["role"] == "manager"


# --- hosts --------------------------------------------------------------------------------------

MALFORMED = [
    "",
    "acme..signage.test",
    "acme.signage.test:0",
    "acme.signage.test:99999",
    "acme.signage.test:",
    "acme signage.test",
    "acme.signage.test/x",
    "user@acme.signage.test",
    "acme.signage.test\x00",
    "acme.signage.test\nX-A: b",
    "acmé.signage.test",
    "acme_.signage.test",
    "[::1",
    "[fe80::1%eth0]",
    "1.2.3.4.5",
    "a" * 70_000,
    ".",
]


@pytest.mark.parametrize("host", MALFORMED)
def test_a_malformed_host_is_400_before_any_query(world: World, host: str) -> None:
    del world
    for path in ("/who", "/healthz", "/login/", "/graphql", "/nowhere"):
        with CaptureQueriesContext(connection) as queries:
            answer = get(path, "acme-owner", host=host)
        assert answer.status_code == 400
        assert json.loads(answer.content) == {
            "error": "Malformed host",
            "message": "The Host header is not a host name.",
            "code": "INVALID",
        }
        assert len(queries) == 0


@pytest.mark.parametrize(
    "header", ["X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host", "X-Forwarded-Server"]
)
def test_forwarded_hosts_are_not_heard(world: World, header: str) -> None:
    for value in (f"globex.{PLATFORM}", f"host=globex.{PLATFORM}", "a..b"):
        told = who("both", host=f"acme.{PLATFORM}", headers={header: value})
        assert told["tenant"] == str(world.acme.tenant.id)


def test_without_a_host_header_it_is_the_platform(world: World) -> None:
    told = who("acme-owner", host=None)
    assert told["tenant"] == str(world.acme.tenant.id)


def test_an_anonymous_health_check_needs_no_database(world: World) -> None:
    del world
    for host in ("10.0.0.1:8000", "nobody.example", f"acme.{PLATFORM}"):
        with CaptureQueriesContext(connection) as queries:
            answer = get("/healthz", host=host)
        assert (answer.status_code, answer.content) == (200, b"ok\n")
        assert len(queries) == 0


# --- what it costs ------------------------------------------------------------------------------


def test_a_known_credential_is_one_statement(world: World) -> None:
    del world
    who("acme-owner")
    with CaptureQueriesContext(connection) as queries:
        who("acme-owner")
    assert [query["sql"].partition("identity_of")[1] for query in queries] == ["identity_of"]


def test_nobody_is_no_statement(world: World) -> None:
    del world
    with CaptureQueriesContext(connection) as queries:
        who()
    assert len(queries) == 0


# --- the log ------------------------------------------------------------------------------------


def test_every_resolution_is_logged(
    world: World, lines: list[str], settings: SettingsWrapper
) -> None:
    settings.DEBUG = True
    acme = f"tenant={world.acme.tenant.id} "
    for kwargs, via in (
        ({"host": f"acme.{PLATFORM}"}, "via=subdomain"),
        ({"headers": {"X-Tenant-ID": "acme"}}, "via=header"),
        ({"query_params": {"tenant": "acme"}}, "via=parameter"),
        ({}, "via=only membership"),
    ):
        lines.clear()
        who("acme-owner", **kwargs)
        assert len(lines) == 1
        assert acme in lines[0]
        assert " INFO signate.request request=" in lines[0]
        assert f"GET /who 200 {via} " in lines[0]
    lines.clear()
    who("both")
    assert "tenant=- GET /who 200 via=- " in lines[0]


def test_every_refusal_is_logged_with_who_where_and_what(world: World, lines: list[str]) -> None:
    for host, header in (
        (f"globex.{PLATFORM}", ""),
        (PLATFORM, "initech"),
        ("evil.example", "acme\r\nforged " + "x" * 1000),
    ):
        lines.clear()
        answer = get("/who", "acme-owner", host=host, headers={"X-Tenant-ID": header})
        assert answer.status_code == 403
        refusal, request = lines
        assert "WARNING signate.request" in refusal
        assert f"refused: TENANT_ERROR user={id_of(world.acme.owner)} host={host} " in refusal
        assert f"asked='{header[:4]}" in refusal
        assert len(refusal) < 400
        assert "WARNING signate.request" in request
        assert "GET /who 403 via=- " in request
        request_id = answer["X-Request-ID"]
        assert all(f"request={request_id} tenant=- " in line for line in lines)
    lines.clear()
    get("/entered", "both")
    assert "WARNING signate.request" in lines[0]
    assert "GET /entered 400 " in lines[0]
    lines.clear()
    get("/who", host="a..b")
    assert "refused: malformed host" in lines[0]
    lines.clear()
    get("/who", headers={"Authorization": "Basic"})
    assert "refused: UNAUTHENTICATED user=- " in lines[0]


def test_the_log_has_no_query_and_no_credential(world: World, lines: list[str]) -> None:
    del world
    who("acme-owner", query_params={"tenant": "hunter2", "q": "hunter2"})
    get("/who", headers={"Authorization": "Basic aHVudGVyMg=="})
    get("/who", headers=basic("acme-owner", "hunter2"))
    text = "\n".join(lines)
    assert "hunter2" not in text
    assert "aHVudGVyMg" not in text
    assert PASSWORD not in text
    assert "GET /who 401 " in text


def test_a_path_cannot_forge_a_line(world: World, lines: list[str]) -> None:
    del world
    get("/x%0A2026-11-23 INFO forged%0D%1B[2J%E2%80%A8%C2%85")
    assert len(lines) == 1
    assert len(lines[0].splitlines()) == 1
    assert "GET /x\\n2026-11-23 INFO forged\\r\\x1b[2J\\u2028\\x85 404 " in lines[0]


def test_request_ids_are_kept_when_they_are_sane(world: World, lines: list[str]) -> None:
    del world
    answer = get("/healthz", headers={"X-Request-ID": "abc.DEF-123_x"})
    assert answer["X-Request-ID"] == "abc.DEF-123_x"
    assert "request=abc.DEF-123_x " in lines[-1]
    for bad in ("short", "x" * 65, "has space", "line\nbreak", "é" * 10, "a;b=c,d/e", ""):
        answer = get("/healthz", headers={"X-Request-ID": bad})
        assert len(answer["X-Request-ID"]) == 32
        assert answer["X-Request-ID"].isalnum()
    other = get("/healthz")["X-Request-ID"]
    assert other != get("/healthz")["X-Request-ID"]


# --- failures -----------------------------------------------------------------------------------


def test_a_failure_shows_a_request_id_and_nothing_else(world: World, lines: list[str]) -> None:
    del world
    answer = get("/broken", "acme-owner")
    assert answer.status_code == 500
    assert json.loads(answer.content) == {
        "error": "Internal error",
        "message": "Something failed on our side. Quote the request id when you report it.",
        "code": "INTERNAL",
        "request_id": answer["X-Request-ID"],
    }
    text = "\n".join(lines)
    assert "RuntimeError" in text
    assert "hunter2" not in text
    assert "ERROR signate.request" in text


@pytest.mark.parametrize("which", ["o", "i"])
def test_a_lost_database_is_a_503(world: World, lines: list[str], which: str) -> None:
    del world
    answer = get("/away", query_params={"which": which})
    assert answer.status_code == 503
    assert answer["Retry-After"] == "3"
    assert json.loads(answer.content)["request_id"] == answer["X-Request-ID"]
    assert any("ERROR signate.request" in line and "503" in line for line in lines)


def test_a_database_lost_while_asking_who_is_a_503(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    from tenancy import credentials

    del world

    def fail(*_args: object) -> None:
        message = "server closed the connection; hunter2"
        raise OperationalError(message)

    monkeypatch.setattr(credentials, "identify", fail)
    answer = get("/who", "acme-owner")
    assert answer.status_code == 503
    assert b"hunter2" not in answer.content


# --- odd requests -------------------------------------------------------------------------------


def test_a_browser_is_not_asked_with_a_dialog(world: World) -> None:
    del world
    answer = get("/entered", headers={"Sec-Fetch-Mode": "cors"})
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="api"')


@pytest.mark.parametrize(
    "query",
    ["tenant=%ff%fe", "tenant=%00", "tenant[]=acme", "tenant=acme&tenant=x", "tenant=%ED%A0%80"],
)
def test_broken_queries_are_no_failure(world: World, settings: SettingsWrapper, query: str) -> None:
    del world
    settings.DEBUG = True
    answer = get("/who", "acme-owner", QUERY_STRING=query)
    assert answer.status_code in {200, 400, 403}


def test_a_person_without_any_membership_may_sign_in_and_enters_nothing(world: World) -> None:
    del world
    create_user("nobody-yet", PASSWORD)
    told = who("nobody-yet")
    assert (told["kind"], told["tenant"], told["role"]) == ("member", None, None)
    assert get("/who", "nobody-yet", host=f"acme.{PLATFORM}").status_code == 403
