"""What accounts withstand: a dump of the database, a log, a kept cookie, forged sessions."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.core import signing
from django.db import ProgrammingError, connection, connections, transaction

from rls import acting_as
from tenancy.actors import person
from tenancy.models import SecondFactor, UserSession
from tenancy.second_factor import begun_second_factor
from tests import databases
from tests.accounts import ACME, App, Browser, Clock, enrol
from tests.conftest import basic
from tests.tenancy.conftest import id_of
from tests.world import PASSWORD, create_world

if TYPE_CHECKING:
    from tests.world import World

pytestmark = pytest.mark.urls("tests.tenancy.face")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.usefixtures("scratch_database")
def test_a_dump_holds_nothing_that_opens_anything(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world, clock = create_world(), Clock(monkeypatch)
    app, codes = enrol(world.acme.viewer, clock)
    browser = Browser()
    browser.sign_in("acme-viewer")
    code = app.code(clock.now)
    assert browser.send("/login/code/", {"code": code}).status_code == 302
    cookie = str(browser.cookies["sessionid"].value)
    name = connections["default"].settings_dict["NAME"]
    with psycopg.connect(databases.owner_conninfo(name)) as owner:
        tables = owner.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind = 'r'"
        ).fetchall()
        dump = "\n".join(
            str(row)
            for (table,) in tables
            for row in owner.execute(f'SELECT t::text FROM "{table}" t')
        )
    assert "acme-viewer" in dump
    secrets = [
        *(PASSWORD, cookie, app.parameters["secret"], app.key.hex()),
        *codes,
        *(one.replace("-", "") for one in codes),
    ]
    assert not [secret for secret in secrets if secret in dump]
    # And what of it could pass for a session's key is none.
    for key in set(re.findall(r"[0-9a-z-]{32,}", dump)):
        stranger = Browser()
        stranger.cookies["sessionid"] = key
        assert stranger.get("/who").json()["kind"] == "anonymous"
    assert "account.signed_in: user=" in caplog.text
    assert not [secret for secret in (*secrets, code) if secret in caplog.text]


def test_a_cookie_is_worth_nothing_without_its_row_nor_a_row_without_its_cookie(
    world: World,
) -> None:
    browser = Browser()
    browser.sign_in("acme-viewer")
    row = browser.session["row"]
    forged = {"_auth_user_id": str(id_of(world.acme.viewer)), "row": row}
    salt = "django.contrib.sessions.backends.signed_cookies"

    def kind(data: dict[str, str], key: str | None = None) -> str:
        other = Browser()
        other.cookies["sessionid"] = signing.dumps(data, key=key, salt=salt, compress=True)
        return str(other.get("/who").json()["kind"])

    assert kind(forged) == "member"
    assert kind(forged, "another key") == "anonymous"
    # Another person's row is not one's own, whoever signs.
    with acting_as(world.acme.owner):
        owners = str(UserSession.objects.get().pk)
    assert kind(forged | {"row": owners}) == "anonymous"
    assert kind(forged | {"_auth_user_id": str(id_of(world.acme.owner))}) == "anonymous"
    with acting_as(person(id_of(world.acme.viewer))):
        UserSession.objects.filter(pk=row).update(expires_at="2020-01-01T00:00:00Z")
    assert kind(forged) == "anonymous"
    answer = browser.get("/who")
    assert answer.json()["kind"] == "anonymous"
    # The browser is told to forget it.
    assert answer.cookies["sessionid"].value == ""


def test_nobody_reads_or_ends_what_is_another_persons(world: World, clock: Clock) -> None:
    enrol(world.acme.viewer, clock)
    with acting_as(world.acme.owner):
        assert {row.user_id for row in UserSession.objects.all()} == {id_of(world.acme.owner)}
        assert {row.user_id for row in SecondFactor.objects.all()} == {id_of(world.acme.owner)}
        for model in (UserSession, SecondFactor):
            others = model._default_manager.filter(user_id=id_of(world.acme.viewer))
            assert others.update(user_id=id_of(world.acme.owner)) == 0
            assert others.delete()[0] == 0
    for table in ("second_factors", "user_sessions"):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (0,)
        with (
            pytest.raises(ProgrammingError, match="row-level security"),
            transaction.atomic(),
            acting_as(world.acme.owner),
            connection.cursor() as cursor,
        ):
            cursor.execute(
                f"INSERT INTO {table} SELECT (jsonb_populate_record(t, "
                "jsonb_build_object('user_id', %s::text, 'id', gen_random_uuid()))).* "
                f"FROM {table} t",
                [str(id_of(world.acme.admin))],
            )


def test_the_pages_are_for_browsers_that_signed_in_and_refuse_forged_forms(world: World) -> None:
    stranger = Browser()
    paths = ("/account/", "/account/password/", "/account/second-factor/", "/account/sessions/end/")
    for path in paths:
        for headers in ({}, basic("acme-viewer")):
            answer = stranger.get(path, headers=headers)
            assert answer.status_code == 302
            assert answer["Location"].startswith("/login/?next=")
    browser = Browser()
    browser.sign_in("acme-viewer")
    with acting_as(world.acme.viewer):
        before = list(UserSession.objects.order_by("pk").values())
    for path, values in (
        (
            "/account/password/",
            {"current_password": PASSWORD, "new_password": "x", "repeated": "x"},
        ),
        ("/account/second-factor/", {"step": "begin", "password": PASSWORD}),
        ("/account/sessions/end/", {"others": "1"}),
        ("/login/code/", {"ticket": "x", "code": "x"}),
    ):
        assert browser.post(path, values).status_code == 403
        token = {"csrfmiddlewaretoken": str(browser.cookies["csrftoken"].value)}
        origin = {"Origin": "https://evil.example"}
        assert browser.post(path, values | token, headers=origin).status_code == 403
    with acting_as(world.acme.viewer):
        assert list(UserSession.objects.order_by("pk").values()) == before
        assert not SecondFactor.objects.exists()


def test_a_user_agent_is_only_text(world: World) -> None:
    """Whatever a browser calls itself is shown as that, and kept short."""
    hostile = "<script>alert(1)</script>\x00\x1b[2J\u2028" + "x" * 5000
    browser = Browser(**{"User-Agent": hostile})
    browser.sign_in("acme-viewer")
    page = browser.open("/account/").content.decode()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    with acting_as(world.acme.viewer):
        kept = UserSession.objects.get(pk=browser.session["row"]).user_agent
    assert len(kept) <= 300
    assert not re.search("[\x00-\x1f\u2028]", kept)


def test_the_page_ends_sessions(world: World) -> None:
    browser, second, third = Browser(), Browser(), Browser()
    for one in (browser, second, third):
        one.sign_in("acme-viewer")
    values = {"csrfmiddlewaretoken": str(browser.cookies["csrftoken"].value)}
    for session in ("", "x", str(id_of(world.acme.owner)), second.session["row"]):
        answer = browser.post("/account/sessions/end/", values | {"session": session})
        assert (answer.status_code, answer["Location"]) == (302, "/account/")
    kinds = [one.get("/who").json()["kind"] for one in (browser, second, third)]
    assert kinds == ["member", "anonymous", "member"]
    browser.post("/account/sessions/end/", values | {"others": "1"})
    kinds = [one.get("/who").json()["kind"] for one in (browser, third)]
    assert kinds == ["member", "anonymous"]


def test_the_page_changes_the_password(world: World) -> None:
    del world
    browser, other = Browser(), Browser()
    for one in (browser, other):
        one.sign_in("acme-viewer")
    new = "a wholly different one 42"
    right = {"current_password": PASSWORD, "new_password": new, "repeated": new}
    browser.open("/account/password/")
    for wrong, words in (
        ({"current_password": "no"}, "This is not your password."),
        ({"repeated": "no"}, "not the same"),
        ({"new_password": "short", "repeated": "short"}, "too short"),
    ):
        assert browser.send("/account/password/", right | wrong).status_code == 400
        assert words in browser.page
    assert other.get("/who").json()["kind"] == "member"
    assert browser.send("/account/password/", right).status_code == 302
    assert [one.get("/who").json()["kind"] for one in (browser, other)] == ["member", "anonymous"]
    assert Browser().sign_in("acme-viewer").status_code == 401
    assert Browser().sign_in("acme-viewer", new).status_code == 302


def test_on_a_host_that_is_closed_one_still_reaches_ones_account(world: World) -> None:
    browser = Browser()
    browser.sign_in("acme-viewer")
    elsewhere = Browser(ACME.replace("acme", "globex"))
    elsewhere.cookies["sessionid"] = str(browser.cookies["sessionid"].value)
    assert elsewhere.get("/account/").status_code == 200
    assert elsewhere.get("/who").status_code == 403
    assert world.globex.marker not in elsewhere.get("/account/").content.decode()


def test_sessions_are_few_and_the_oldest_makes_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenancy.sessions.MOST_SESSIONS", 3)
    with acting_as(world.acme.viewer):
        UserSession.objects.all().delete()
    browsers = [Browser() for _ in range(5)]
    for browser in browsers:
        browser.sign_in("acme-viewer")
    kinds = [browser.get("/who").json()["kind"] for browser in browsers]
    assert kinds == ["anonymous", "anonymous", "member", "member", "member"]


def test_when_a_session_was_last_seen_is_written_once_in_five_minutes(world: World) -> None:
    browser = Browser(**{"User-Agent": "first"})
    browser.sign_in("acme-viewer")
    rows = UserSession.objects.filter(pk=browser.session["row"])
    with acting_as(world.acme.viewer):
        created = rows.get().last_seen_at
    later = {"User-Agent": "second"}
    assert browser.get("/who", headers=later).status_code == 200
    with acting_as(world.acme.viewer):
        assert (rows.get().last_seen_at, rows.get().user_agent) == (created, "first")
        rows.update(last_seen_at=created.replace(year=created.year - 1))
    assert browser.get("/who", headers=later).status_code == 200
    with acting_as(world.acme.viewer):
        assert rows.get().last_seen_at >= created
        assert rows.get().user_agent == "second"


def test_the_secret_of_an_app_is_its_persons_alone(world: World, clock: Clock) -> None:
    """Whoever copies a row to themselves gets another secret out of it."""
    app, _ = enrol(world.acme.viewer, clock)
    with acting_as(world.acme.viewer):
        salt = SecondFactor.objects.get().salt
    with acting_as(world.acme.owner):
        SecondFactor.objects.update(salt=salt)
        copied = begun_second_factor(actor=world.acme.owner)
    assert copied is not None
    assert App(copied.uri).key != app.key
