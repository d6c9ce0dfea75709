"""Browsers: signing in and out, CSRF, where one is sent, and what ends a session."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponseRedirect
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from rls import acting_as
from tenancy.actors import operator
from tenancy.credentials import (
    per_account,
)
from tenancy.models import Membership, User, UserSession
from tenancy.people import set_password
from tests.conftest import PLATFORM, basic
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD

if TYPE_CHECKING:
    from collections import Counter

    from django.http import HttpResponse

    from tests.world import World

pytestmark = pytest.mark.urls("tests.tenancy.face")

ACME = f"acme.{PLATFORM}"
OTHER_PASSWORD = "a wholly different one 42"


class Browser(Client):
    """A client that keeps its cookies, enforces CSRF and knows one host."""

    def __init__(self, host: str = ACME) -> None:
        super().__init__(enforce_csrf_checks=True, HTTP_HOST=host, raise_request_exception=False)

    @property
    def token(self) -> str:
        return str(self.cookies["csrftoken"].value)

    def sign_in(self, username: str, password: str = PASSWORD, **extra: Any) -> HttpResponse:
        """Fill in and send the form, as it was served."""
        form = self.get("/login/", extra.pop("query", {}))
        hidden = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.content.decode())
        wanted = re.search(r'name="next" value="([^"]*)"', form.content.decode())
        assert hidden
        assert wanted
        values = {
            "csrfmiddlewaretoken": hidden[1],
            "next": wanted[1],
            "username": username,
            "password": password,
            **extra,
        }
        return cast("HttpResponse", self.post("/login/", values))

    def who(self) -> dict[str, Any]:
        answer = self.get("/who")
        assert answer.status_code == 200, answer.content
        told: dict[str, Any] = json.loads(answer.content)
        return told


def test_signing_in_and_out(world: World, lines: list[str]) -> None:
    browser = Browser()
    assert browser.who()["kind"] == "anonymous"
    answer = browser.sign_in("acme-owner")
    assert (answer.status_code, answer["Location"]) == (302, "/graphql")
    cookie = answer.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["domain"] == ""
    told = browser.who()
    assert (told["user"], told["tenant"], told["credential"]) == (
        str(id_of(world.acme.owner)),
        str(world.acme.tenant.id),
        "session",
    )
    with acting_as(world.acme.owner):
        assert User.objects.get(pk=id_of(world.acme.owner)).last_login is not None
    key = str(cookie.value)
    out = browser.post("/logout/", {"csrfmiddlewaretoken": browser.token})
    assert (out.status_code, out["Location"]) == (302, "/login/")
    assert browser.who()["kind"] == "anonymous"
    # The key is worth nothing any more, to whoever kept it.
    browser.cookies["sessionid"] = key
    assert browser.who()["kind"] == "anonymous"
    with acting_as(world.acme.owner):
        # The world's own is what is left.
        assert UserSession.objects.exclude(user_agent=world.acme.marker).count() == 0
    assert key not in "\n".join(lines)


def test_a_session_costs_one_statement(world: World) -> None:
    del world
    browser = Browser()
    browser.sign_in("acme-owner")
    browser.who()
    with CaptureQueriesContext(connection) as queries:
        browser.who()
    assert [query["sql"].partition("identity_of")[1] for query in queries] == ["identity_of"]


def test_a_session_outlives_redis(world: World) -> None:
    browser = Browser()
    browser.sign_in("acme-owner")
    cache.clear()
    assert browser.who()["user"] == str(id_of(world.acme.owner))


def test_signing_in_takes_a_new_session(world: World) -> None:
    """A key that somebody planted in a browser is not the one that is signed in."""
    browser = Browser()
    browser.sign_in("acme-viewer")
    planted = str(browser.cookies["sessionid"].value)
    token = browser.token
    browser.sign_in("acme-owner")
    assert str(browser.cookies["sessionid"].value) != planted
    assert browser.token != token
    other = Browser()
    other.cookies["sessionid"] = planted
    assert other.who()["kind"] == "anonymous"
    assert browser.who()["user"] == str(id_of(world.acme.owner))


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("acme-owner", "wrong"),
        ("nobody", PASSWORD),
        ("", ""),
        ("\x00", "\x00"),
        ("acme\x00-owner", PASSWORD),
        ("x" * 100_000, "y" * 100_000),
        ("'\"><script>alert(1)</script>", "x"),
    ],
)
def test_a_wrong_password_is_told_on_the_form(
    world: World, hashes: Counter[str], username: str, password: str
) -> None:
    browser = Browser()
    with nothing_changed(world):
        hashes.clear()
        answer = browser.sign_in(username, password)
    assert answer.status_code == 401
    assert b"The username or the password is wrong." in answer.content
    assert b"<script>" not in answer.content
    assert hashes["all"] == 1
    assert "sessionid" not in browser.cookies
    assert browser.who()["kind"] == "anonymous"
    assert "no-store" in answer["Cache-Control"]
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]


def test_the_form_is_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    del world
    monkeypatch.setattr(per_account, "limit", 2)
    browser = Browser()
    assert [browser.sign_in("acme-owner", "no").status_code for _ in range(2)] == [401, 401]
    answer = browser.sign_in("acme-owner")
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 300
    assert b"Too many failed attempts." in answer.content
    assert browser.who()["kind"] == "anonymous"
    # One budget for both doors.
    assert browser.get("/who", headers=basic("acme-owner")).status_code == 429


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_signing_in_needs_the_token(world: World, method: str) -> None:
    values = {"username": "acme-owner", "password": PASSWORD}
    with nothing_changed(world):
        for browser in (Browser(), Browser("nobody.example"), Browser(PLATFORM)):
            browser.get("/login/")
            for extra in ({}, {"csrfmiddlewaretoken": "x" * 64}, {"csrfmiddlewaretoken": ""}):
                answer = getattr(browser, method)("/login/", values | extra)
                assert answer.status_code in {403, 405}
            assert "sessionid" not in browser.cookies
        assert Browser().post("/login/", values).status_code == 403


def test_signing_in_is_for_forms_of_this_host(world: World) -> None:
    del world
    browser = Browser()
    browser.get("/login/")
    values = {
        "username": "acme-owner",
        "password": PASSWORD,
        "csrfmiddlewaretoken": browser.token,
    }
    for origin in (f"http://globex.{PLATFORM}", "null", f"https://{ACME}", f"http://{ACME}.evil"):
        answer = browser.post("/login/", values, headers={"Origin": origin})
        assert answer.status_code == 403
    answer = browser.post("/login/", values, headers={"Origin": f"http://{ACME}"})
    assert answer.status_code == 302


def test_signing_out_is_a_post_with_the_token(world: World) -> None:
    browser = Browser()
    browser.sign_in("acme-owner")
    assert browser.get("/logout/").status_code == 405
    assert browser.post("/logout/").status_code == 403
    assert browser.who()["user"] == str(id_of(world.acme.owner))


@pytest.mark.parametrize(
    "wanted",
    [
        "//",
        "/\\",
        "graphql",
        "?next=/",
        "//evil.example/",
        "///evil.example",
        "////evil.example",
        "https://evil.example/",
        "http:///evil.example",
        "http:evil.example",
        "\\\\evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        " //evil.example",
        "\t//evil.example",
        "\x01//evil.example",
        f"http://{ACME}@evil.example",
        "http://[",
        "/" + "x" * 100_000,
        "",
    ],
)
def test_after_signing_in_nobody_is_sent_away(world: World, wanted: str) -> None:
    del world
    for values in ({"query": {"next": wanted}}, {"next": wanted}):
        browser = Browser()
        answer = browser.sign_in("acme-owner", **values)
        assert (answer.status_code, answer["Location"]) == (302, "/graphql")
        assert browser.who()["kind"] == "member"


@pytest.mark.parametrize(
    ("wanted", "location"),
    [
        ("/graphql?query=%7Bme%7D", "/graphql?query=%7Bme%7D"),
        ("/a b", "/a%20b"),
        ("/é", "/%C3%A9"),
        ("/x\r\nSet-Cookie: a=b", "/x%0D%0ASet-Cookie:%20a=b"),
        ("/x\x00", "/x%00"),
    ],
)
def test_a_path_of_this_host_is_where_one_goes(world: World, wanted: str, location: str) -> None:
    del world
    answer = Browser().sign_in("acme-owner", next=wanted)
    assert (answer.status_code, answer["Location"]) == (302, location)


@given(st.text(alphabet="/\\:@.?#%[]abhtps\t\n\r\x00 \u2028é", max_size=30))
@hypothesis_settings(max_examples=300)
def test_no_spelling_of_an_address_leads_to_another_host(wanted: str) -> None:
    from tenancy.views import destination

    request = RequestFactory().get("/login/", {"next": wanted})
    location = HttpResponseRedirect(destination(request))["Location"]  # type: ignore[arg-type]
    parts = urlsplit(location)
    assert (parts.scheme, parts.netloc) == ("", "")
    # What browsers read as a slash, and what they leave out.
    assert re.match(r"/(?![/\\\t\r\n])", location)


def test_a_changed_password_ends_every_session(world: World) -> None:
    browser = Browser()
    browser.sign_in("acme-owner")
    assert browser.who()["kind"] == "member"
    set_password(id_of(world.acme.owner), OTHER_PASSWORD)
    assert browser.who()["kind"] == "anonymous"
    assert browser.sign_in("acme-owner", OTHER_PASSWORD).status_code == 302
    assert browser.who()["kind"] == "member"


def test_a_deactivated_persons_session_ends(world: World) -> None:
    browser = Browser()
    browser.sign_in("acme-viewer")
    with acting_as(world.acme.viewer):
        User.objects.filter(pk=id_of(world.acme.viewer)).update(is_active=False)
    assert browser.who()["kind"] == "anonymous"
    assert browser.sign_in("acme-viewer").status_code == 401


def test_the_session_of_a_removed_member_opens_nothing(world: World) -> None:
    browser = Browser()
    browser.sign_in("acme-viewer")
    with acting_as(operator(world.acme.tenant.id)):
        rows = Membership.objects.filter(user_id=id_of(world.acme.viewer))
        assert rows.update(is_active=False) == 1
    answer = browser.get("/who")
    assert answer.status_code == 403
    assert json.loads(answer.content)["code"] == "TENANT_ERROR"
    # They can still sign out, and in as somebody else.
    assert browser.get("/login/").status_code == 200
    assert browser.post("/logout/", {"csrfmiddlewaretoken": browser.token}).status_code == 302
    assert browser.sign_in("acme-owner").status_code == 302


@pytest.mark.parametrize("slug", ["globex", "initech", "nobody"])
def test_signing_in_tells_nothing_about_the_host(world: World, slug: str) -> None:
    """Known, suspended or nobody's: the form looks the same, and so does what comes after it."""
    del world

    def told(slug: str) -> list[str]:
        browser = Browser(f"{slug}.{PLATFORM}")
        pages = [
            cast("HttpResponse", browser.get("/login/")),
            browser.sign_in("acme-owner", "wrong"),
            browser.sign_in("acme-owner"),
        ]
        assert [page.status_code for page in pages] == [200, 401, 403]
        assert browser.who()["kind"] == "anonymous"
        return [
            re.sub(r'value="\w{64}"', "", page.content.decode()).replace(slug, "…")
            for page in pages
        ]

    assert told(slug) == told("other")


def test_a_session_belongs_to_a_person_and_not_to_a_host(world: World) -> None:
    """Browsers never send it to another host; who copies it there enters only what is theirs."""
    browser = Browser()
    browser.sign_in("acme-owner")
    other = Browser(f"globex.{PLATFORM}")
    other.cookies["sessionid"] = str(browser.cookies["sessionid"].value)
    assert other.get("/who").status_code == 403
    home = Browser(PLATFORM)
    home.cookies["sessionid"] = str(browser.cookies["sessionid"].value)
    assert home.who()["tenant"] == str(world.acme.tenant.id)


@pytest.mark.parametrize(
    "cookie",
    [
        '"abcdefgh\\000"',
        '"\\000\\000\\000\\000\\000\\000\\000\\000"',
        "abcdefgh\x00",
        "é" * 32,
        "x" * 32,
        "X" * 32,
        "x" * 100_000,
        "x" * 31,
        "'; DROP TABLE django_session --",
        "%00" * 12,
        "",
        "*" * 32,
    ],
)
def test_a_made_up_session_cookie_is_nobody(world: World, cookie: str) -> None:
    with nothing_changed(world):
        for method, path, expected in (
            ("get", "/who", 200),
            ("get", "/login/", 200),
            ("post", "/logout/", 302),
            ("get", "/entered", 401),
        ):
            client = Client(raise_request_exception=False)
            answer = getattr(client, method)(
                path, HTTP_HOST=ACME, HTTP_COOKIE=f"sessionid={cookie}"
            )
            assert answer.status_code == expected, answer.content
            if path == "/who":
                assert json.loads(answer.content)["kind"] == "anonymous"
        client = Client(raise_request_exception=False)
        answer = client.post(
            "/login/",
            {"username": "acme-owner", "password": "wrong"},
            HTTP_HOST=ACME,
            HTTP_COOKIE=f"sessionid={cookie}",
        )
        assert answer.status_code == 401
    answer = client.post(
        "/login/",
        {"username": "acme-owner", "password": PASSWORD},
        HTTP_HOST=ACME,
        HTTP_COOKIE=f"sessionid={cookie}",
    )
    assert answer.status_code == 302
    assert len(str(answer.cookies["sessionid"].value)) > 100
    with_basic = Client(raise_request_exception=False).get(
        "/who", headers=basic("acme-owner"), HTTP_HOST=ACME, HTTP_COOKIE=f"sessionid={cookie}"
    )
    assert json.loads(with_basic.content)["credential"] == "basic"


def test_a_session_that_says_nonsense_is_nobody(world: World) -> None:
    browser = Browser()
    browser.sign_in("acme-viewer")
    session = browser.session
    real = dict(session.items())
    for changed in (
        {"_auth_user_id": "not a uuid"},
        {"_auth_user_id": ""},
        {"_auth_user_id": 7},
        {"_auth_user_id": None},
        {"_auth_user_id": ["x"]},
        {"_auth_user_id": str(id_of(world.acme.owner))},
        {"row": ""},
        {"row": None},
        {"row": 1},
        {"row": "é"},
        {"row": str(uuid7())},
    ):
        session.update(real | changed)
        session.save()
        browser.cookies["sessionid"] = str(session.session_key)
        assert browser.who()["kind"] == "anonymous", changed
    session.update(real)
    session.save()
    browser.cookies["sessionid"] = str(session.session_key)
    assert browser.who()["kind"] == "member"


def test_basic_wins_over_a_session_and_a_wrong_one_is_refused(world: World) -> None:
    browser = Browser()
    browser.sign_in("acme-owner")
    told = json.loads(browser.get("/who", headers=basic("acme-viewer")).content)
    assert (told["user"], told["credential"]) == (str(id_of(world.acme.viewer)), "basic")
    assert browser.get("/who", headers=basic("acme-viewer", "wrong")).status_code == 401
    assert browser.who()["credential"] == "session"


def test_writes_on_the_word_of_a_cookie_need_the_token(world: World) -> None:
    del world
    browser = Browser()
    browser.sign_in("acme-owner")

    def write(**headers: str) -> tuple[int, str | None]:
        answer = browser.post("/write", "{}", content_type="application/json", headers=headers)
        return answer.status_code, json.loads(answer.content)["reason"]

    token = browser.token
    assert write(**{"X-CSRFToken": token}) == (200, None)
    assert write() == (403, "CSRF token missing.")
    for bad in ("", "x", "x" * 32, token[:-1], token + "x", "é" * 32, "\x00" * 32):
        status, reason = write(**{"X-CSRFToken": bad})
        assert status == 403
        assert str(reason).startswith("CSRF token from the 'X-Csrftoken' HTTP header")
    for origin in ("null", "https://evil.example", f"http://globex.{PLATFORM}", "", "http://["):
        status, reason = write(**{"X-CSRFToken": token, "Origin": origin})
        assert (status, str(reason).partition(" - ")[0]) == (403, "Origin checking failed")
    assert write(**{"X-CSRFToken": token, "Origin": f"http://{ACME}"}) == (200, None)
    del browser.cookies["csrftoken"]
    assert write(**{"X-CSRFToken": token}) == (403, "CSRF cookie not set.")
    browser.cookies["csrftoken"] = "short"
    assert write(**{"X-CSRFToken": token}) == (403, "CSRF cookie has incorrect length.")
