"""Accounts that people make and get back into by themselves: by mail, by invitation."""

from __future__ import annotations

import re
import smtplib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail, signing
from django.db import connection

from rls import acting_as
from tenancy import account_mail, email_addresses, recovery, sign_up
from tenancy.actors import person
from tenancy.credentials import verify_password
from tenancy.errors import InvalidInput, NotFound, RateLimited
from tenancy.invitations import invite_member, token_of
from tenancy.models import Invitation, Membership, User
from tenancy.people import create_user, find_user, set_password
from tenancy.permissions import Role
from tests.accounts import Browser, Clock, Mailbox, enrol
from tests.conftest import PLATFORM
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD, create_world

if TYPE_CHECKING:
    from collections import Counter
    from uuid import UUID

    from pytest_django import DjangoDbBlocker, Settings

    from tests.world import World

pytestmark = pytest.mark.urls("tests.tenancy.face")

NEW = "a wholly different one 42"
VIEWER = "viewer@acme.example"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def mailbox(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    del clock
    return Mailbox(monkeypatch)


def ask_for_reset(email: str, host: str = PLATFORM) -> tuple[int, str]:
    browser = Browser(host)
    browser.open("/reset/")
    answer = browser.send("/reset/", {"email": email})
    return answer.status_code, re.sub(r'value="\w{64}"', "", browser.page).replace(email, "…")


# --- a forgotten password ---------------------------------------------------------------------


def test_a_forgotten_password_is_set_anew_by_mail(
    world: World, mailbox: Mailbox, lines: list[str]
) -> None:
    signed_in = Browser()
    signed_in.sign_in("acme-viewer")
    # Whatever host is asked, the link names ours.
    status, told = ask_for_reset("Viewer@ACME.example ", host="evil.example")
    assert (status, "Look into your mailbox" in told) == (200, True)
    text = mail.outbox[0].body
    assert "acme-viewer" in text
    path = mailbox.path(VIEWER)
    browser = Browser(PLATFORM)
    assert browser.open(path).status_code == 200
    assert "acme-viewer" in browser.page
    for wrong, words in (
        ({"new_password": NEW, "repeated": "x"}, "not the same"),
        ({"new_password": "short", "repeated": "short"}, "too short"),
        ({"new_password": "acme-viewer1", "repeated": "acme-viewer1"}, "too similar"),
    ):
        assert browser.send("/reset/password/", wrong).status_code == 400
        assert words in browser.page
    assert signed_in.get("/who").json()["kind"] == "member"
    other = Browser(PLATFORM)
    other.open(path)
    values = {"new_password": NEW, "repeated": NEW}
    assert browser.send("/reset/password/", values).status_code == 200
    assert signed_in.get("/who").json()["kind"] == "anonymous"
    assert browser.get("/who").json()["kind"] == "anonymous"
    # Once, whoever has it open.
    assert other.send("/reset/password/", values | {"new_password": PASSWORD}).status_code == 404
    assert Browser(PLATFORM).open(path).status_code == 404
    assert verify_password("acme-viewer", NEW, "-")[0] == id_of(world.acme.viewer)
    token = path.partition("token=")[2]
    assert token not in "\n".join(lines)


def test_nothing_tells_whether_there_is_such_an_account(
    world: World, mailbox: Mailbox, hashes: Counter[str]
) -> None:
    del mailbox
    hashes.clear()
    with nothing_changed(world):
        answers = {ask_for_reset(email) for email in (VIEWER, "nobody@acme.example")}
    assert len(answers) == 1
    assert not hashes
    assert [message.to for message in mail.outbox] == [[VIEWER]]
    mail.outbox.clear()
    with acting_as(world.acme.viewer):
        User.objects.filter(pk=id_of(world.acme.viewer)).update(is_active=False)
    assert ask_for_reset(VIEWER) in answers
    assert mail.outbox == []
    assert ask_for_reset("no address")[0] == 400


def test_every_account_of_an_address_gets_its_link(world: World, mailbox: Mailbox) -> None:
    del world
    create_user("second", PASSWORD, email="VIEWER@acme.example")
    ask_for_reset(VIEWER)
    text = mailbox.take(VIEWER)
    tokens = re.findall(r"token=(\S+)", text)
    found = [recovery.find_reset(token.replace("%3A", ":")) for token in tokens]
    assert {identity and identity.username for identity in found} == {"acme-viewer", "second"}


def test_a_link_is_over_after_an_hour_and_after_any_change(
    world: World, monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox
) -> None:
    del mailbox
    user_id = id_of(world.acme.viewer)
    token = signing.dumps([str(user_id), 1], salt="signate.reset")
    assert recovery.find_reset(token) is not None
    for bad in ("", "x", token + "x", signing.dumps([str(user_id), 1]), token[:-2]):
        assert recovery.find_reset(bad) is None
        with pytest.raises(NotFound):
            recovery.reset_password(bad, NEW, "-")
    monkeypatch.setattr(recovery, "GOOD_FOR_SECONDS", -1)
    with pytest.raises(NotFound):
        recovery.reset_password(token, NEW, "-")
    monkeypatch.setattr(recovery, "GOOD_FOR_SECONDS", 3600)
    set_password(user_id, NEW)
    with pytest.raises(NotFound):
        recovery.reset_password(token, PASSWORD, "-")
    assert verify_password("acme-viewer", NEW, "-")[0] == user_id


@pytest.mark.usefixtures("scratch_database")
def test_of_many_who_use_one_link_at_once_one_sets_the_password(
    django_db_blocker: DjangoDbBlocker,
) -> None:
    world = create_world()
    token = signing.dumps([str(id_of(world.acme.viewer)), 1], salt="signate.reset")
    gate = threading.Barrier(4)
    done: list[int] = []

    def go(number: int) -> None:
        with django_db_blocker.unblock():
            try:
                gate.wait(10)
                recovery.reset_password(token, f"{NEW} {number}", "-")
                done.append(number)
            except NotFound:
                pass
            finally:
                connection.close()

    threads = [threading.Thread(target=go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    [number] = done
    assert verify_password("acme-viewer", f"{NEW} {number}", "-")[0] == id_of(world.acme.viewer)


def test_a_reset_leaves_the_second_factor(world: World, clock: Clock, mailbox: Mailbox) -> None:
    app, _ = enrol(world.acme.viewer, clock)
    ask_for_reset(VIEWER)
    browser = Browser(PLATFORM)
    browser.open(mailbox.path(VIEWER))
    browser.send("/reset/password/", {"new_password": NEW, "repeated": NEW})
    visitor = Browser()
    assert visitor.sign_in("acme-viewer", NEW).status_code == 200
    assert "sessionid" not in visitor.cookies
    assert visitor.send("/login/code/", {"code": app.code(clock.now)}).status_code == 302


@pytest.mark.parametrize("limit", [account_mail.per_recipient, account_mail.per_sender])
def test_mails_are_limited_whether_there_is_an_account_or_not(
    world: World, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, limit: Any
) -> None:
    del world, mailbox
    monkeypatch.setattr(limit, "limit", 2)
    told = []
    for email in (VIEWER, "nobody@acme.example"):
        limit._local.clear()
        monkeypatch.setattr(limit, "name", f"{limit.name}-{email}")
        statuses = [ask_for_reset(email)[0] for _ in range(3)]
        browser = Browser(PLATFORM)
        browser.open("/reset/")
        answer = browser.send("/reset/", {"email": email})
        told.append((statuses, answer.status_code, 0 < int(answer["Retry-After"]) <= 3600))
    assert told == [([200, 200, 429], 429, True)] * 2
    assert len(mail.outbox) == 2


def test_a_mail_server_that_is_away_fails_nobody(
    world: World, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    del world, mailbox

    def away(*_arguments: Any) -> None:
        raise smtplib.SMTPServerDisconnected

    monkeypatch.setattr(account_mail, "send_mail", away)
    assert ask_for_reset(VIEWER)[0] == 200
    assert any("a mail could not be sent: Your password" in line for line in lines)
    monkeypatch.setattr(account_mail, "_waiting", threading.BoundedSemaphore(1))
    account_mail._waiting.acquire()
    assert account_mail.post(VIEWER, "x", "tenancy/reset.txt", {}) is None


# --- another address --------------------------------------------------------------------------


def email_of(user_id: UUID) -> str:
    with acting_as(person(user_id)):
        return User.objects.get(pk=user_id).email


def test_a_new_address_is_ones_own_once_its_mail_was_read(world: World, mailbox: Mailbox) -> None:
    user_id = id_of(world.acme.viewer)
    browser, stranger = Browser(), Browser()
    browser.sign_in("acme-viewer")
    stranger.sign_in("acme-admin")
    browser.open("/account/email/")
    for wrong in (
        {"email": "new@acme.example", "password": "no"},
        {"email": "no address", "password": PASSWORD},
        {"email": VIEWER.upper(), "password": PASSWORD},
    ):
        assert browser.send("/account/email/", wrong).status_code == 400
    assert mail.outbox == []
    values = {"email": "New@acme.example", "password": PASSWORD}
    assert browser.send("/account/email/", values).status_code == 200
    path = mailbox.path("new@acme.example")
    # Neither reading it nor anybody else's click changes anything.
    stranger.open(path)
    assert stranger.send("/account/email/confirm/", {}).status_code == 400
    assert browser.open(path).status_code == 200
    assert email_of(user_id) == VIEWER
    assert browser.send("/account/email/confirm/", {}).status_code == 302
    assert email_of(user_id) == "new@acme.example"
    assert "new@acme.example" in mailbox.take(VIEWER)
    # Once.
    browser.open(path)
    assert browser.send("/account/email/confirm/", {}).status_code == 400


def test_a_link_to_a_new_address_is_void_once_the_password_changed(
    world: World, mailbox: Mailbox
) -> None:
    actor = person(id_of(world.acme.viewer))
    with acting_as(actor):
        email_addresses.request_email_change(
            actor=actor, password=PASSWORD, email="new@acme.example"
        )
    token = mailbox.path("new@acme.example").partition("token=")[2].replace("%3A", ":")
    set_password(id_of(world.acme.viewer), NEW)
    for bad in (token, "", "x", token + "x"):
        with acting_as(actor), pytest.raises(NotFound):
            email_addresses.confirm_email(actor=actor, token=bad)
    assert email_of(id_of(world.acme.viewer)) == VIEWER


# --- a new account ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "invited"])
def test_by_default_nobody_makes_an_account_uninvited(
    world: World, mailbox: Mailbox, settings: Settings, how: str
) -> None:
    del mailbox
    assert settings.SIGN_UP == "invited"
    settings.SIGN_UP = "open"
    token = signing.dumps("ada@example.com", salt="signate.sign-up")
    assert sign_up.find_sign_up(token) == "ada@example.com"
    settings.SIGN_UP = how
    browser = Browser(PLATFORM)
    with nothing_changed(world):
        assert browser.open("/sign-up/").status_code == 404
        assert browser.open(f"/sign-up/confirm/?token={token}").status_code == 404
        browser.open("/login/")
        assert "Make an account" not in browser.page
        csrf = {"csrfmiddlewaretoken": str(browser.cookies["csrftoken"].value)}
        for path, values in (
            ("/sign-up/", {"email": "ada@example.com"}),
            ("/sign-up/confirm/", {"token": token, "username": "ada", "new_password": PASSWORD}),
        ):
            assert browser.post(path, csrf | values).status_code == 404
    assert mail.outbox == []
    assert find_user("ada") is None


def test_where_sign_up_is_open_an_address_makes_an_account(
    world: World, mailbox: Mailbox, settings: Settings
) -> None:
    del world
    settings.SIGN_UP = "open"
    browser = Browser(PLATFORM)
    browser.open("/sign-up/")
    assert browser.send("/sign-up/", {"email": "nope"}).status_code == 400
    assert browser.send("/sign-up/", {"email": "Ada@example.com"}).status_code == 200
    asked = browser.page
    path = mailbox.path("ada@example.com")
    assert find_user("ada") is None
    assert browser.open(path).status_code == 200
    right = {"username": "ada", "new_password": PASSWORD, "repeated": PASSWORD}
    for wrong, status in (
        ({"username": "ACME-owner"}, 409),
        ({"username": ""}, 400),
        ({"username": "<b>"}, 400),
        ({"repeated": "x"}, 400),
        ({"new_password": "short", "repeated": "short"}, 400),
        ({"token": "x"}, 404),
    ):
        assert browser.send("/sign-up/confirm/", right | wrong).status_code == status, wrong
        browser.open(path)
    assert browser.send("/sign-up/confirm/", right).status_code == 200
    told = browser.get("/who").json()
    user_id = find_user("ada")
    assert user_id is not None
    assert (told["user"], told["tenant"]) == (str(user_id), None)
    assert email_of(user_id) == "ada@example.com"
    # Once; and to who asks for another one, the same is said and something else is mailed.
    assert Browser(PLATFORM).open(path).status_code == 404
    again = Browser(PLATFORM)
    again.open("/sign-up/")
    again.send("/sign-up/", {"email": "ada@example.com"})
    assert again.page == asked
    text = mailbox.take("ada@example.com")
    assert "has one already" in text
    assert "sign-up/confirm" not in text


def invited(world: World, email: str = "ada@example.com") -> str:
    with acting_as(world.acme.owner):
        return token_of(invite_member(actor=world.acme.owner, email=email, role=Role.MANAGER))


def test_an_invitation_makes_an_account_and_a_member(world: World, mailbox: Mailbox) -> None:
    del mailbox
    path = f"/invitations/{invited(world)}"
    browser = Browser(PLATFORM)
    assert browser.open(path).status_code == 200
    assert "Join Acme ACME-MARK" in browser.page
    right = {
        "step": "sign_up",
        "username": "ada",
        "new_password": PASSWORD,
        "repeated": PASSWORD,
        "csrfmiddlewaretoken": str(browser.cookies["csrftoken"].value),
    }
    with nothing_changed(world):
        for wrong, status in (
            ({"username": "acme-owner"}, 409),
            ({"repeated": "x"}, 400),
            ({"new_password": "short", "repeated": "short"}, 400),
            ({"step": "accept"}, 400),
            ({"step": ""}, 400),
        ):
            assert browser.post(path, right | wrong).status_code == status, wrong
    assert find_user("ada") is None
    answer = browser.post(path, right)
    assert answer.status_code == 200
    assert f'href="https://acme.{PLATFORM}/"' in answer.content.decode()
    user_id = find_user("ada")
    assert user_id is not None
    assert email_of(user_id) == "ada@example.com"
    told = browser.get("/who").json()
    assert (told["tenant"], told["role"]) == (str(world.acme.tenant.id), "manager")
    # Once.
    assert Browser(PLATFORM).open(path).status_code == 404
    assert Browser(PLATFORM).open("/invitations/x").status_code == 404


def test_who_has_the_account_accepts_signed_in(world: World, mailbox: Mailbox) -> None:
    del mailbox
    token = invited(world, "owner@globex.example")
    path = f"/invitations/{token}"
    visitor = Browser(PLATFORM)
    visitor.open(path)
    assert f"/login/?next=%2Finvitations%2F{token}" in visitor.page
    # Somebody else's account will not do.
    other = Browser(PLATFORM)
    other.sign_in("acme-viewer", next=path)
    csrf = {"csrfmiddlewaretoken": str(other.cookies["csrftoken"].value)}
    assert other.post(path, csrf | {"step": "accept"}).status_code == 403
    browser = Browser(f"globex.{PLATFORM}")
    browser.sign_in("globex-owner")
    browser.open(path)
    assert "Accept as globex-owner" in browser.page
    csrf = {"csrfmiddlewaretoken": str(browser.cookies["csrftoken"].value)}
    assert browser.post(path, csrf | {"step": "accept"}).status_code == 200
    with acting_as(world.acme.owner):
        rows = Membership.objects.filter(user_id=id_of(world.globex.owner))
        assert rows.get().role == Role.MANAGER


def test_an_invitation_is_declined_by_who_holds_it(world: World, mailbox: Mailbox) -> None:
    del mailbox
    path = f"/invitations/{invited(world)}"
    browser = Browser(PLATFORM)
    browser.open(path)
    csrf = {"csrfmiddlewaretoken": str(browser.cookies["csrftoken"].value)}
    assert browser.post(path, {"step": "decline"}).status_code == 403
    assert browser.post(path, csrf | {"step": "decline"}).status_code == 200
    with acting_as(world.acme.owner):
        assert Invitation.objects.get(email="ada@example.com").state == "declined"
    assert browser.open(path).status_code == 404


def test_closed_means_invited_people_too(
    world: World, mailbox: Mailbox, settings: Settings
) -> None:
    del mailbox
    settings.SIGN_UP = "closed"
    path = f"/invitations/{invited(world)}"
    browser = Browser(PLATFORM)
    browser.open(path)
    assert "Make an account" not in browser.page
    values = {
        "step": "sign_up",
        "username": "ada",
        "new_password": PASSWORD,
        "repeated": PASSWORD,
        "csrfmiddlewaretoken": str(browser.cookies["csrftoken"].value),
    }
    assert browser.post(path, values).status_code == 403
    assert find_user("ada") is None


def test_limits_of_mail_are_counted_by_the_functions_themselves(
    world: World, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Whichever of the three asks for it."""
    settings.SIGN_UP = "open"
    monkeypatch.setattr(account_mail.per_recipient, "limit", 1)
    actor = person(id_of(world.acme.viewer))
    recovery.request_reset("new@acme.example", "-")
    with pytest.raises(RateLimited, match="Too many mails"):
        sign_up.request_sign_up("NEW@acme.example", "-")
    with acting_as(actor), pytest.raises(RateLimited):
        email_addresses.request_email_change(
            actor=actor, password=PASSWORD, email="new@acme.example"
        )
    with acting_as(actor), pytest.raises(InvalidInput):
        email_addresses.request_email_change(actor=actor, password=PASSWORD, email="x")
    assert mail.outbox == []
    del mailbox
