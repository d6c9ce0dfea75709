"""Second factors: set up, asked for when signing in, each code once, limited, taken away."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rls import acting_as
from tenancy.actors import operator, person
from tenancy.credentials import identify
from tenancy.errors import Conflict, PermissionDenied
from tenancy.models import SecondFactor
from tenancy.people import set_password
from tenancy.second_factor import (
    WrongCode,
    begin_second_factor,
    check_code,
    confirm_second_factor,
    per_person,
)
from tests.accounts import App, Browser, Clock, ask_for_second_factors, enrol, factor_of
from tests.conftest import PLATFORM, basic
from tests.tenancy.conftest import id_of, nothing_changed
from tests.tenancy.test_audit import entries
from tests.world import PASSWORD, create_world

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings

    from tests.world import World

pytestmark = pytest.mark.urls("tests.tenancy.face")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def viewer(world: World, clock: Clock) -> tuple[App, list[str]]:
    """acme's viewer's app and recovery codes."""
    return enrol(world.acme.viewer, clock)


def secret_of(page: str) -> str:
    found = re.search(r'href="(otpauth://[^"]+)"', page)
    assert found
    return found[1].replace("&amp;", "&")


def test_setting_one_up_with_a_browser(world: World, clock: Clock) -> None:
    browser, other = Browser(), Browser()
    for one in (browser, other):
        assert one.sign_in("acme-viewer").status_code == 302
    assert "otpauth" not in browser.open("/account/second-factor/").content.decode()
    refused = browser.send("/account/second-factor/", {"password": "wrong"})
    assert refused.status_code == 400
    assert "This is not your password." in browser.page
    assert "otpauth" not in browser.page
    shown = browser.send("/account/second-factor/", {"password": PASSWORD})
    assert shown.status_code == 200
    assert "no-store" in shown["Cache-Control"]
    assert "default-src 'none'" in shown["Content-Security-Policy"]
    assert re.search(r"<svg[^>]*><path", browser.page)
    app = App(secret_of(browser.page))
    assert app.label == "Signate:acme-viewer"
    assert app.parameters.keys() == {"secret", "issuer"}
    assert len(app.key) == 20
    # Nothing is asked for yet, and a wrong code changes that in nothing.
    assert Browser().sign_in("acme-viewer").status_code == 302
    wrong = browser.send("/account/second-factor/", {"code": app.code(clock.now + 3600)})
    assert wrong.status_code == 400
    assert App(secret_of(browser.page)).key == app.key
    done = browser.send("/account/second-factor/", {"code": app.code(clock.now)})
    assert done.status_code == 200
    codes = re.findall(r"<code>([a-z2-9-]{19})</code>", browser.page)
    assert len(set(codes)) == 10
    # This browser stays, the other one does not.
    assert browser.get("/who").json()["user"] == str(id_of(world.acme.viewer))
    assert other.get("/who").json()["kind"] == "anonymous"
    # None of it is shown again, and nothing of it is stored.
    row = factor_of(world.acme.viewer.user_id)
    assert row is not None
    told = browser.open("/account/second-factor/").content.decode()
    for secret in (app.parameters["secret"], app.key.hex(), *codes, *(c[:4] for c in codes)):
        assert secret not in told
        assert secret not in str(row)
    assert "You have 10 recovery codes left." in told


def test_signing_in_asks_for_a_code(
    world: World, clock: Clock, viewer: tuple[App, list[str]], lines: list[str]
) -> None:
    app, _ = viewer
    browser = Browser()
    asked = browser.sign_in("acme-viewer", next="/who")
    assert asked.status_code == 200
    assert "sessionid" not in browser.cookies
    assert browser.get("/who").json()["kind"] == "anonymous"
    for bad in ("", "000000", app.code(clock.now + 120), app.code(clock.now - 120), "x" * 10_000):
        per_person.forget(str(id_of(world.acme.viewer)))
        answer = browser.send("/login/code/", {"code": bad})
        assert (answer.status_code, "sessionid" in browser.cookies) == (401, False), bad
    code = app.code(clock.now)
    answer = browser.send("/login/code/", {"code": f" {code[:3]} {code[3:]} "})
    assert (answer.status_code, answer["Location"]) == (302, "/who")
    assert browser.get("/who").json()["user"] == str(id_of(world.acme.viewer))
    assert code not in "\n".join(lines)


def test_a_ticket_is_for_who_said_the_password_and_not_for_long(
    world: World, clock: Clock, viewer: tuple[App, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = viewer
    browser = Browser()
    browser.sign_in("acme-viewer")
    ticket = re.findall(r'name="ticket" value="([^"]+)"', browser.page)[0]
    for bad in ("", "x", ticket + "x", ticket[:-1], ticket.replace(":", ".")):
        answer = browser.send("/login/code/", {"code": app.code(clock.now), "ticket": bad})
        assert answer.status_code == 401
        assert "Sign in again" in browser.page
        browser.sign_in("acme-viewer")
    monkeypatch.setattr("tenancy.views.TICKET_SECONDS", -1)
    answer = browser.send("/login/code/", {"code": app.code(clock.now)})
    assert answer.status_code == 401
    monkeypatch.setattr("tenancy.views.TICKET_SECONDS", 300)
    # A password that was changed meanwhile takes the ticket along.
    browser.sign_in("acme-viewer")
    set_password(id_of(world.acme.viewer), "a wholly different one 42")
    answer = browser.send("/login/code/", {"code": app.code(clock.now)})
    assert answer.status_code == 401
    assert "sessionid" not in browser.cookies


def test_no_code_is_good_twice(world: World, clock: Clock, viewer: tuple[App, list[str]]) -> None:
    app, codes = viewer
    user_id = id_of(world.acme.viewer)

    def check(code: str) -> None:
        with acting_as(person(user_id)):
            check_code(user_id, code, "-")

    now = clock.now
    check(app.code(now + 30))
    # Neither that one nor those before it, which were good a moment ago.
    for used in (app.code(now + 30), app.code(now), app.code(now - 30)):
        with pytest.raises(WrongCode):
            check(used)
    clock.wait(2)
    check(app.code(clock.now))
    check(codes[3].upper().replace("-", " "))
    check(codes[4].replace("-", ""))
    for used in (codes[3], codes[4], codes[3]):
        with pytest.raises(WrongCode):
            check(used)
    row = factor_of(user_id)
    assert row is not None
    assert len(row["recovery_digests"]) == 8
    # Those of somebody else are nothing here.
    _, others = enrol(world.acme.admin, clock)
    with pytest.raises(WrongCode):
        check(others[0])


@pytest.mark.usefixtures("scratch_database")
def test_of_many_who_send_one_code_at_once_one_gets_in(
    django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_person, "limit", 100)
    world, clock = create_world(), Clock(monkeypatch)
    app, codes = enrol(world.acme.viewer, clock)
    user_id = id_of(world.acme.viewer)
    for code in (app.code(clock.now), codes[0]):
        gate = threading.Barrier(5)
        let_in: list[int] = []

        def go(number: int, code: str = code, gate: threading.Barrier = gate) -> None:
            with django_db_blocker.unblock():
                try:
                    with acting_as(person(user_id)):
                        gate.wait(10)
                        check_code(user_id, code, "-")
                    let_in.append(number)  # noqa: B023 -- joined below
                except WrongCode:
                    pass
                finally:
                    connection.close()

        threads = [threading.Thread(target=go, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(let_in) == 1


def test_failures_are_limited_per_person(
    world: World, clock: Clock, viewer: tuple[App, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_person, "limit", 2)
    app, codes = viewer
    browser = Browser()
    browser.sign_in("acme-viewer")
    assert [browser.send("/login/code/", {"code": "000000"}).status_code for _ in range(2)] == [
        401,
        401,
    ]
    before = factor_of(world.acme.viewer.user_id)
    for right in (app.code(clock.now), codes[0]):
        answer = browser.send("/login/code/", {"code": right})
        assert answer.status_code == 429
        assert 0 < int(answer["Retry-After"]) <= 900
    assert factor_of(world.acme.viewer.user_id) == before
    # The others are not held up, nor is the person's own password.
    enrolled, _ = enrol(world.acme.admin, clock)
    other = Browser()
    other.sign_in("acme-admin")
    assert other.send("/login/code/", {"code": enrolled.code(clock.now)}).status_code == 302
    assert browser.get("/who", headers=basic("acme-viewer")).status_code == 200


def test_switching_it_off_takes_password_and_code(
    world: World, clock: Clock, viewer: tuple[App, list[str]]
) -> None:
    app, codes = viewer
    browser, other = Browser(), Browser()
    for one in (browser, other):
        one.sign_in("acme-viewer")
        one.send("/login/code/", {"code": app.code(clock.now)})
        clock.wait()
    path = "/account/second-factor/"
    browser.open(path)
    right = {"step": "disable", "password": PASSWORD, "code": codes[0]}
    for wrong in ({"password": "wrong"}, {"code": "000000"}, {"password": "", "code": ""}):
        before = factor_of(world.acme.viewer.user_id)
        assert browser.send(path, right | wrong).status_code == 400
        assert factor_of(world.acme.viewer.user_id) == before
    assert other.get("/who").json()["kind"] == "member"
    answer = browser.send(path, right)
    assert (answer.status_code, answer["Location"]) == (302, "/account/")
    assert factor_of(world.acme.viewer.user_id) is None
    assert browser.get("/who").json()["kind"] == "member"
    assert other.get("/who").json()["kind"] == "anonymous"
    assert Browser().sign_in("acme-viewer").status_code == 302


def test_new_recovery_codes_void_the_old_ones(
    world: World, clock: Clock, viewer: tuple[App, list[str]]
) -> None:
    app, codes = viewer
    browser = Browser()
    browser.sign_in("acme-viewer")
    browser.send("/login/code/", {"code": app.code(clock.now)})
    clock.wait()
    browser.open("/account/second-factor/")
    values = {"step": "regenerate", "password": PASSWORD, "code": app.code(clock.now)}
    assert browser.send("/account/second-factor/", values).status_code == 200
    new = re.findall(r"<code>([a-z2-9-]{19})</code>", browser.page)
    assert len(set(new) - set(codes)) == 10
    user_id = id_of(world.acme.viewer)
    with acting_as(person(user_id)):
        with pytest.raises(WrongCode):
            check_code(user_id, codes[0], "-")
        check_code(user_id, new[0], "-")


def test_what_was_begun_is_confirmed_within_the_hour_or_not_at_all(
    world: World, clock: Clock
) -> None:
    user_id = id_of(world.acme.viewer)
    actor = person(user_id)
    with acting_as(actor):
        first = App(begin_second_factor(actor=actor).uri)
        second = App(begin_second_factor(actor=actor).uri)
        assert first.key != second.key
        with pytest.raises(WrongCode):
            confirm_second_factor(actor=actor, code=first.code(clock.now))
        rows = SecondFactor.objects.filter(user_id=user_id)
        began = rows.get().begun_at
        rows.update(begun_at=began.replace(year=began.year - 1))
        with pytest.raises(Conflict):
            confirm_second_factor(actor=actor, code=second.code(clock.now))
        rows.update(begun_at=began)
        confirm_second_factor(actor=actor, code=second.code(clock.now))
        for again in (
            lambda: begin_second_factor(actor=actor),
            lambda: confirm_second_factor(actor=actor, code=second.code()),
        ):
            with pytest.raises(Conflict):
                again()


def test_only_people_have_one(world: World) -> None:
    with (
        acting_as(operator(world.acme.tenant.id, id_of(world.acme.viewer))) as actor,
        pytest.raises(PermissionDenied),
    ):
        begin_second_factor(actor=actor)


def test_another_secret_key_leaves_the_recovery_codes(
    world: World, clock: Clock, viewer: tuple[App, list[str]], settings: Settings
) -> None:
    """And with the old one among the fallbacks, the app as well."""
    app, codes = viewer
    user_id = id_of(world.acme.viewer)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another key"
    with acting_as(person(user_id)):
        with pytest.raises(WrongCode):
            check_code(user_id, app.code(clock.now), "-")
        check_code(user_id, codes[0], "-")
        settings.SECRET_KEY_FALLBACKS = [old]
        check_code(user_id, app.code(clock.now), "-")


# --- tenants that ask for one -----------------------------------------------------------------


def test_a_member_without_one_is_led_to_enrolment(world: World, clock: Clock) -> None:
    ask_for_second_factors(world.acme)
    browser = Browser()
    answer = browser.sign_in("acme-viewer", next="/who")
    assert (answer.status_code, answer["Location"]) == (
        302,
        "/account/second-factor/?next=%2Fwho",
    )
    refused = browser.get("/who")
    assert (refused.status_code, refused.json()["code"]) == (403, "SECOND_FACTOR_REQUIRED")
    opened = browser.get("/graphql", headers={"Accept": "text/html"})
    assert opened["Location"] == "/account/second-factor/?next=%2Fgraphql"
    browser.open(answer["Location"])
    browser.send("/account/second-factor/", {"password": PASSWORD})
    app = App(secret_of(browser.page))
    browser.send("/account/second-factor/", {"code": app.code(clock.now)})
    assert 'class="button" href="/who"' in browser.page
    told = browser.get("/who").json()
    assert (told["tenant"], told["credential"]) == (str(world.acme.tenant.id), "session")


@pytest.mark.parametrize("has_one", [False, True])
def test_basic_carries_no_code(world: World, clock: Clock, *, has_one: bool) -> None:
    """Refused where the tenant asks for one; elsewhere it goes on as before."""
    for actor in (world.both, world.acme.viewer):
        if has_one:
            enrol(actor, clock)
    ask_for_second_factors(world.acme)
    browser = Browser()
    with nothing_changed(world):
        for path in ("/who", "/api/who", "/entered", "/media/x"):
            answer = browser.get(path, headers=basic("acme-viewer"))
            assert (answer.status_code, answer.json()["code"]) == (403, "SECOND_FACTOR_REQUIRED")
            assert ("API token" in answer.json()["message"]) is has_one
    other = Browser(f"globex.{PLATFORM}")
    assert other.get("/who", headers=basic("both")).json()["credential"] == "basic"
    assert browser.get("/who", headers=basic("both")).status_code == 403
    assert browser.get("/who", headers=basic("both", "wrong")).status_code == 401


def test_who_may_enter_costs_no_further_statement(world: World, clock: Clock) -> None:
    app, _ = enrol(world.acme.viewer, clock)
    ask_for_second_factors(world.acme)
    browser = Browser()
    browser.sign_in("acme-viewer")
    browser.send("/login/code/", {"code": app.code(clock.now)})
    with CaptureQueriesContext(connection) as queries:
        assert browser.get("/who").status_code == 200
    assert [query["sql"].partition("session_identity_of")[1] for query in queries] == [
        "session_identity_of"
    ]


def test_switching_it_off_shuts_such_a_tenant(world: World, clock: Clock) -> None:
    app, codes = enrol(world.acme.viewer, clock)
    ask_for_second_factors(world.acme)
    browser = Browser()
    browser.sign_in("acme-viewer")
    browser.send("/login/code/", {"code": app.code(clock.now)})
    assert browser.get("/who").status_code == 200
    browser.open("/account/second-factor/")
    values = {"step": "disable", "password": PASSWORD, "code": codes[0]}
    assert browser.send("/account/second-factor/", values).status_code == 302
    assert browser.get("/who").status_code == 403


# --- the operator ---------------------------------------------------------------------------


def test_an_operator_takes_one_away_and_says_why(
    world: World, clock: Clock, viewer: tuple[App, list[str]], lines: list[str]
) -> None:
    app, _ = viewer
    browser = Browser()
    browser.sign_in("acme-viewer")
    browser.send("/login/code/", {"code": app.code(clock.now)})
    identity = identify(id_of(world.acme.viewer))
    assert identity is not None
    for arguments in (["acme-viewer"], ["acme-viewer", "--reason", " "], ["no", "--reason", "x"]):
        with pytest.raises(CommandError):
            call_command("reset_second_factor", *arguments)
    assert browser.get("/who").json()["kind"] == "member"
    call_command("reset_second_factor", "ACME-viewer", "--reason", "lost the phone; ticket 7")
    assert factor_of(world.acme.viewer.user_id) is None
    assert browser.get("/who").json()["kind"] == "anonymous"
    assert any("lost the phone; ticket 7" in line for line in lines)
    # The tenants that somebody belongs to have to know; an entry of one names no other.
    [entry] = entries(world.acme, action="account.second_factor_reset")
    assert (entry.actor_kind, entry.credential, entry.reason, entry.label, entry.subject_id) == (
        *("operator", "command", "lost the phone; ticket 7", "acme-viewer"),
        str(id_of(world.acme.viewer)),
    )
    assert entries(world.globex, action="account.second_factor_reset") == []
    assert Browser().sign_in("acme-viewer").status_code == 302
    with pytest.raises(CommandError, match="no second factor"):
        call_command("reset_second_factor", "acme-viewer", "--reason", "again")
