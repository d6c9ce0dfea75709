"""Who asks: Basic, sessions, CSRF, limits, what is remembered, and what ends it."""

from __future__ import annotations

import base64
import json
import threading
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.hashers import check_password
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisAway

from rls import acting_as
from tenancy import credentials, limits
from tenancy.actors import person
from tenancy.credentials import (
    PasswordBackend,
    basic_identity,
    basic_parts,
    client_address,
    identify,
    limited_network,
    per_account,
    per_address,
    verify_password,
)
from tenancy.errors import DomainError, NotSignedIn, RateLimited
from tenancy.models import User
from tenancy.people import create_user, set_password
from tests.conftest import PLATFORM, basic
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD

if TYPE_CHECKING:
    from collections import Counter
    from uuid import UUID

    from django.http import HttpResponse
    from pytest_django import DjangoDbBlocker
    from pytest_django import Settings as SettingsWrapper

    from tests.world import World

pytestmark = pytest.mark.urls("tests.tenancy.face")

ACME = f"acme.{PLATFORM}"
OTHER_PASSWORD = "a wholly different one 42"
NO_CREDENTIALS = "Invalid basic header. No credentials provided."
SPACES = "Invalid basic header. Credentials string should not contain spaces."
NOT_BASE64 = "Invalid basic header. Credentials not correctly base64 encoded."
WRONG = "Invalid username/password."


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def ask(header: str = "", *, host: str = ACME, path: str = "/who", **extra: Any) -> HttpResponse:
    headers = {"Authorization": header} if header else {}
    client = Client(raise_request_exception=False)
    return cast("HttpResponse", client.get(path, headers=headers, HTTP_HOST=host, **extra))


def ask_as(username: str, password: str = PASSWORD, **kwargs: Any) -> HttpResponse:
    return ask(basic(username, password)["Authorization"], **kwargs)


def same(first: HttpResponse, second: HttpResponse) -> bool:
    return (first.status_code, first.content) == (second.status_code, second.content) and [
        (name, value) for name, value in first.items() if name != "X-Request-ID"
    ] == [(name, value) for name, value in second.items() if name != "X-Request-ID"]


# --- Basic, well and badly formed ---------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "Basic\t", "Basic   "])
def test_a_right_password_gets_in(world: World, scheme: str) -> None:
    answer = ask(f"{scheme} {encoded(f'acme-owner:{PASSWORD}')}")
    assert answer.status_code == 200
    told = json.loads(answer.content)
    assert (told["user"], told["credential"]) == (str(id_of(world.acme.owner)), "basic")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Basic", NO_CREDENTIALS),
        ("basic", NO_CREDENTIALS),
        ("Basic ", NO_CREDENTIALS),
        ("Basic a b", SPACES),
        (f"Basic {encoded('a:b')} {encoded('a:b')}", SPACES),
        ("Basic a b c d", SPACES),
        ("Basic a\xa0b", SPACES),
        ("Basic x", NOT_BASE64),
        ("Basic !!!!", NOT_BASE64),
        ("Basic ====", NOT_BASE64),
        (f"Basic {encoded('acme-owner')}", NOT_BASE64),
        ("Basic QQ", NOT_BASE64),
        (f"Basic {encoded('a:b')[:-1]}", NOT_BASE64),
        ("Basic YTpi\xe9", NOT_BASE64),
        ("Basic Ã¼:Ã¼", NOT_BASE64),
        ("Basic a:b", NOT_BASE64),
        ("Basic YTpi\x00", NOT_BASE64),
        (f"Basic {encoded(bytes([0xFF, 0xFE]))}", NOT_BASE64),
    ],
)
def test_a_malformed_header_is_told_in_anthiass_words(
    world: World, hashes: Counter[str], value: str, message: str
) -> None:
    del world
    with CaptureQueriesContext(connection) as queries:
        answer = ask(value)
    assert answer.status_code == 401
    assert json.loads(answer.content) == {
        "error": "Authentication failed",
        "message": message,
        "code": "UNAUTHENTICATED",
    }
    assert answer["WWW-Authenticate"] == 'Basic realm="api"'
    assert len(queries) == 0
    assert hashes["all"] == 0


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("acme-owner", "wrong"),
        ("acme-owner", ""),
        ("acme-owner", PASSWORD + " "),
        ("acme-owner", PASSWORD.upper()),
        ("acme-owner", PASSWORD + "\x00"),
        ("acme-owner", "\x00"),
        ("acme-owner", ":" + PASSWORD),
        ("acme-owner", "x" * 200_000),
        ("acme-owner", "ü€\U0001f511"),
        ("acme\x00-owner", PASSWORD),
        ("acme-owner\x00", PASSWORD),
        ("\x00", PASSWORD),
        ("", PASSWORD),
        ("", ""),
        ("nobody", PASSWORD),
        ("x" * 151, PASSWORD),
        ("x" * 200_000, PASSWORD),
        ("ü€\U0001f511", PASSWORD),
        ("' OR true --", PASSWORD),
        ("acme-owne%", PASSWORD),
        ("acme_owner", PASSWORD),
    ],
)
def test_a_wrong_password_and_an_unknown_user_are_one_answer(
    world: World, hashes: Counter[str], username: str, password: str
) -> None:
    with nothing_changed(world):
        reference = ask_as("acme-owner", "simply wrong")
        assert hashes["all"] == 1
        answer = ask_as(username, password)
    assert reference.status_code == 401
    assert json.loads(reference.content)["message"] == WRONG
    assert same(answer, reference)
    # And at one price.
    assert hashes["all"] == 2


def test_an_inactive_person_is_an_unknown_one(world: World, hashes: Counter[str]) -> None:
    user_id = id_of(world.acme.viewer)
    reference = ask_as("acme-viewer", "wrong")
    assert ask_as("acme-viewer").status_code == 200
    with acting_as(world.acme.viewer):
        assert User.objects.filter(pk=user_id).update(is_active=False) == 1
    hashes.clear()
    # Neither what is remembered nor the right password lets them in.
    assert same(ask_as("acme-viewer"), reference)
    assert hashes["all"] == 1
    assert identify(user_id) is None


@pytest.mark.parametrize(
    "spelling", ["ACME-Owner", " acme-owner ", "\uff41\uff43\uff4d\uff45-owner", "aCmE-oWnEr"]
)
def test_a_username_is_known_in_every_spelling(world: World, spelling: str) -> None:
    told = json.loads(ask_as(spelling).content)
    assert told["user"] == str(id_of(world.acme.owner))


def test_a_password_may_have_colons_and_letters_of_any_script(world: World) -> None:
    del world
    create_user("Zoë", "пароль:with:colons:é")
    assert ask_as("Zoë", "пароль:with:colons:é", host=PLATFORM).status_code == 200
    assert ask_as("zoë", "пароль:with:colons:é", host=PLATFORM).status_code == 200
    # Letters that were typed apart, as some keyboards do.
    assert ask_as("Zoe\u0308", "пароль:with:colons:é", host=PLATFORM).status_code == 200


def test_latin_1_is_heard_as_anthias_hears_it(world: World) -> None:
    """What Python's requests and urllib3 send for a text that fits into it."""
    del world
    create_user("jose", "grüße an alle hier")
    header = f"Basic {encoded('jose:grüße an alle hier'.encode('latin-1'))}"
    assert ask(header, host=PLATFORM).status_code == 200


@given(st.binary(max_size=40))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_at_all_are_understood_or_refused(value: bytes) -> None:
    asked: list[tuple[str, str]] = []

    def verify(username: str, password: str, _address: str) -> tuple[UUID, int]:
        asked.append((username, password))
        raise NotSignedIn(WRONG)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials, "verify_password", verify)
        patch.setattr(cache, "get", lambda _key: None)
        for header in (f"Basic {value.decode('latin-1')}", f"Basic {encoded(value)}"):
            with pytest.raises(NotSignedIn):
                basic_identity(*basic_parts(header), "192.0.2.1")
    assert (len(asked) == 1) or b":" not in value


@pytest.mark.parametrize("header", ["Bearer abc", "Token abc", "Digest x", "Basics YTpi", ",", "é"])
def test_another_scheme_is_nobody(world: World, header: str) -> None:
    del world
    answer = ask(header)
    assert answer.status_code == 200
    assert json.loads(answer.content)["kind"] == "anonymous"
    assert ask(header, path="/entered").status_code == 401


# --- remembered ---------------------------------------------------------------------------------


def test_a_remembered_credential_costs_no_hash(world: World, hashes: Counter[str]) -> None:
    del world
    assert ask_as("acme-owner").status_code == 200
    assert hashes["all"] == 1
    for _ in range(5):
        assert ask_as("acme-owner").status_code == 200
    assert hashes["all"] == 1
    # Only that very pair is remembered.
    assert ask_as("acme-owner", "wrong").status_code == 401
    assert ask_as("acme-viewer", PASSWORD).status_code == 200
    assert hashes["all"] == 3


def test_where_username_ends_and_password_begins_is_part_of_it(
    world: World, hashes: Counter[str]
) -> None:
    del world
    assert credentials._remembered_key("ab", "c") != credentials._remembered_key("a", "bc")
    ask_as("acme-owner")
    hashes.clear()
    assert ask_as("acme-owner:correct", PASSWORD.removeprefix("correct")).status_code == 401
    assert hashes["all"] == 1


def test_a_changed_password_is_refused_on_the_next_request(
    world: World, hashes: Counter[str]
) -> None:
    assert ask_as("acme-owner").status_code == 200
    set_password(id_of(world.acme.owner), OTHER_PASSWORD)
    assert ask_as("acme-owner").status_code == 401
    assert ask_as("acme-owner", OTHER_PASSWORD).status_code == 200
    hashes.clear()
    assert ask_as("acme-owner", OTHER_PASSWORD).status_code == 200
    assert hashes["all"] == 0
    # Changing it back does not bring back what was remembered: it is a third password.
    set_password(id_of(world.acme.owner), PASSWORD)
    hashes.clear()
    assert ask_as("acme-owner").status_code == 200
    assert hashes["verify"] == 1


def test_what_is_remembered_names_no_secret(world: World) -> None:
    del world
    key = credentials._remembered_key("acme-owner", PASSWORD)
    ask_as("acme-owner")
    for text in (key, str(cache.get(key))):
        assert "acme" not in text
        assert "correct" not in text
        assert encoded(PASSWORD) not in text


def test_a_poisoned_cache_lets_nobody_in(world: World, hashes: Counter[str]) -> None:
    ask_as("acme-viewer")
    ask_as("globex-owner", host=PLATFORM)
    mine = credentials._remembered_key("acme-viewer", PASSWORD)
    theirs = cache.get(credentials._remembered_key("globex-owner", PASSWORD))
    values: tuple[object, ...] = (
        theirs,
        [str(id_of(world.globex.owner)), 1],
        [str(id_of(world.acme.owner)), 1],
        ["not a uuid", 1],
        [],
        {},
        "",
        "x" * 1000,
        0,
        None,
        str(cache.get(mine))[:-1],
        "\ud7ff:é:",
    )
    for value in values:
        cache.set(mine, value, 60)
        hashes.clear()
        answer = ask_as("acme-viewer")
        assert json.loads(answer.content)["user"] == str(id_of(world.acme.viewer))
        assert hashes["verify"] == 1


def test_an_unreadable_cache_is_a_forgotten_one(
    world: World, hashes: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del world

    def unreadable(_key: str) -> None:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "not a pickle")

    ask_as("acme-owner")
    monkeypatch.setattr(cache, "get", unreadable)
    assert ask_as("acme-owner").status_code == 200
    assert hashes["verify"] == 2


def test_what_is_remembered_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when Redis forgets to forget: the value knows its own age."""
    del world
    assert django_settings.BASIC_REMEMBERED_SECONDS == 300
    key = credentials._remembered_key("acme-owner", PASSWORD)
    ask_as("acme-owner")
    assert credentials._recall(key) is not None
    import time

    now = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + 301)
    assert credentials._recall(key) is None


# --- limits -------------------------------------------------------------------------------------


@pytest.fixture(params=["with Redis", "Redis away", "no Redis"])
def _redis(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise RedisAway

    if request.param == "Redis away":
        monkeypatch.setattr(limits, "redis_client", lost)
    if request.param == "no Redis":
        monkeypatch.setattr(limits, "redis_client", lambda: None)


@pytest.mark.usefixtures("_redis")
@pytest.mark.parametrize("username", ["acme-owner", "nobody-at-all"])
def test_an_account_is_limited(
    world: World, hashes: Counter[str], monkeypatch: pytest.MonkeyPatch, username: str
) -> None:
    monkeypatch.setattr(per_account, "limit", 3)
    with nothing_changed(world):
        for number in range(3):
            assert ask_as(username, f"guess {number}").status_code == 401
        hashes.clear()
        answers = [ask_as(username, "guess"), ask_as(username, PASSWORD)]
    assert hashes["all"] == 0
    for answer in answers:
        assert answer.status_code == 429
        assert 0 < int(answer["Retry-After"]) <= 300
        told = json.loads(answer.content)
        assert (told["error"], told["code"]) == ("Too many attempts", "RATE_LIMITED")
        assert f"Try again in {answer['Retry-After']} seconds." in told["message"]
    # From anywhere, in any spelling; and nobody else.
    assert ask_as(username.upper(), "guess", REMOTE_ADDR="192.0.2.9").status_code == 429
    assert ask_as("globex-owner", host=f"globex.{PLATFORM}").status_code == 200


@pytest.mark.usefixtures("_redis")
def test_an_address_is_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    del world
    monkeypatch.setattr(per_address, "limit", 4)
    for number in range(4):
        assert ask_as(f"guess-{number}", "guess").status_code == 401
    assert ask_as("guess-5", "guess").status_code == 429
    assert ask_as("acme-owner").status_code == 429
    assert ask_as("acme-owner", REMOTE_ADDR="192.0.2.9").status_code == 200
    # Once remembered, it asks for no password again: neighbours' failures do not stop a player.
    assert ask_as("acme-owner").status_code == 200


def test_one_misconfigured_client_does_not_lock_its_whole_office_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts on an account that is spent already are not counted on the address."""
    del world
    monkeypatch.setattr(per_account, "limit", 2)
    monkeypatch.setattr(per_address, "limit", 5)
    for _ in range(20):
        assert ask_as("acme-viewer", "old password").status_code in {401, 429}
    assert ask_as("acme-owner").status_code == 200


def test_a_limited_address_cannot_lock_accounts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    del world
    monkeypatch.setattr(per_account, "limit", 3)
    monkeypatch.setattr(per_address, "limit", 2)
    for number in range(10):
        ask_as("acme-owner", f"guess {number}")
    assert ask_as("acme-owner", "guess", REMOTE_ADDR="192.0.2.9").status_code == 401
    assert ask_as("acme-owner", REMOTE_ADDR="192.0.2.10").status_code == 429


def test_a_success_starts_the_account_over_and_not_the_address(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an account of one's own would reset the count for guessing at others."""
    del world
    monkeypatch.setattr(per_account, "limit", 3)
    monkeypatch.setattr(per_address, "limit", 5)
    for number in range(2):
        assert ask_as("acme-owner", f"guess {number}").status_code == 401
    assert ask_as("acme-owner").status_code == 200
    for number in range(2, 5):
        assert ask_as("acme-owner", f"guess {number}").status_code == 401
    assert ask_as("acme-owner", "guess 5").status_code == 429
    assert ask_as("acme-manager", "guess").status_code == 429


def test_successes_are_never_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    del world
    monkeypatch.setattr(per_account, "limit", 2)
    monkeypatch.setattr(per_address, "limit", 2)
    monkeypatch.setattr(django_settings, "BASIC_REMEMBERED_SECONDS", -1)
    assert [ask_as("acme-owner").status_code for _ in range(6)] == [200] * 6


@pytest.mark.parametrize(
    "spellings",
    [
        [
            "acme-owner",
            "ACME-OWNER",
            "Acme-Owner",
            " acme-owner",
            "acme-owner\t",
            "\uff41cme-owner",
        ],
        # PostgreSQL's lower case of the dotted capital I is i; Python's is not.
        ["ivan", "IVAN", "\u0130van", "\u0130VAN", "iv\u0041n", "i\uff56an"],
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_no_spelling_of_a_name_has_a_budget_of_its_own(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    spellings: list[str],
    exists: bool,  # noqa: FBT001
) -> None:
    del world
    monkeypatch.setattr(per_account, "limit", 5)
    if exists and spellings[0] == "ivan":
        create_user("ivan", PASSWORD)
    if not exists:
        spellings = [f"{spelling.rstrip()}x" for spelling in spellings]
    for number, spelling in enumerate(spellings[:5]):
        assert ask_as(spelling, f"guess {number}").status_code == 401
    assert ask_as(spellings[5], "guess").status_code == 429


@pytest.mark.parametrize("username", ["acme-owner", "nobody-at-all"])
def test_a_script_with_an_old_password_locks_nobody_and_hashes_once(
    world: World, monkeypatch: pytest.MonkeyPatch, hashes: Counter[str], username: str
) -> None:
    del world
    monkeypatch.setattr(per_account, "limit", 3)
    monkeypatch.setattr(per_address, "limit", 3)
    first, *others = [ask_as(username, "old") for _ in range(15)]
    assert first.status_code == 401
    assert all(same(first, other) for other in others)
    assert hashes["all"] == 1
    assert ask_as("acme-owner").status_code == 200


def test_a_refused_password_that_becomes_the_right_one_opens_at_once(world: World) -> None:
    assert ask_as("acme-owner", OTHER_PASSWORD).status_code == 401
    user = id_of(world.acme.owner)
    set_password(user, OTHER_PASSWORD)
    assert ask_as("acme-owner", OTHER_PASSWORD).status_code == 200
    assert ask_as("acme-owner").status_code == 401
    set_password(user, PASSWORD)
    assert ask_as("acme-owner").status_code == 200


def test_a_name_that_was_refused_opens_as_soon_as_there_is_such_an_account(world: World) -> None:
    del world
    assert ask_as("newcomer").status_code == 401
    create_user("newcomer", PASSWORD)
    assert json.loads(ask_as("newcomer", host=PLATFORM).content)["credential"] == "basic"


def test_a_remembered_refusal_is_of_no_other_credential(world: World) -> None:
    """What lies in Redis is signed for its own key: nobody can be shut out by a copy of it."""
    del world
    assert ask_as("acme-owner", "old").status_code == 401
    key = f"{credentials._remembered_key('acme-owner', 'old')}:refused"
    right = f"{credentials._remembered_key('acme-owner', PASSWORD)}:refused"
    cache.set(right, cache.get(key))
    assert ask_as("acme-owner").status_code == 200


def test_nul_makes_no_second_spelling(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    del world
    monkeypatch.setattr(per_account, "limit", 3)
    for number in range(8):
        name = "acme-owner"[:number] + "\x00" + "acme-owner"[number:]
        assert ask_as(name, PASSWORD).status_code in {401, 429}
    assert ask_as("acme-owner").status_code == 200


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
        ("-", "-"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_what_an_address_is_counted_under(address: str, network: str) -> None:
    assert limited_network(address) == network


def test_the_addresses_of_one_ipv6_network_share_a_budget(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    del world
    monkeypatch.setattr(per_address, "limit", 3)
    for number in range(3):
        address = f"2001:db8::{number:x}:1"
        assert ask_as(f"guess-{number}", "guess", REMOTE_ADDR=address).status_code == 401
    assert ask_as("guess", "guess", REMOTE_ADDR="2001:db8::ffff").status_code == 429
    assert ask_as("guess", "guess", REMOTE_ADDR="2001:db8:0:1::1").status_code == 401


@pytest.mark.parametrize(
    ("proxied", "forwarded", "expected"),
    [
        (False, "198.51.100.7", "192.0.2.1"),
        (True, "198.51.100.7", "198.51.100.7"),
        # What the client wrote itself stands on the left of what the proxy saw.
        (True, "203.0.113.66, 198.51.100.7", "198.51.100.7"),
        (True, " 203.0.113.66 ,2001:db8::1 ", "2001:db8::1"),
        (True, "", "192.0.2.1"),
        (True, "unknown", "192.0.2.1"),
        (True, "198.51.100.7, ", "192.0.2.1"),
        (True, "x" * 10_000, "192.0.2.1"),
        (True, "1\nforged", "192.0.2.1"),
    ],
)
def test_a_proxys_word_counts_where_one_is_declared(
    settings: SettingsWrapper,
    proxied: bool,  # noqa: FBT001
    forwarded: str,
    expected: str,
) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if proxied else None
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == expected


def test_without_an_address_there_is_still_a_budget() -> None:
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="")) == "-"


def test_passwords_that_have_no_spelling_are_wrong(world: World, hashes: Counter[str]) -> None:
    del world
    for username, password in (("acme-owner", "\ud800"), ("acme-\udfff", PASSWORD)):
        hashes.clear()
        with pytest.raises(NotSignedIn):
            verify_password(username, password, "192.0.2.1")
        assert hashes["all"] == 1


def test_hashing_holds_no_connection_and_is_never_a_crowd(
    scratch_database: str, django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    del scratch_database
    at_once: list[int] = []
    held: list[bool] = []
    inside: set[int] = set()
    wanting: set[int] = set()
    everybody = threading.Event()

    class Watched(threading.BoundedSemaphore):
        """The real limit, which tells when everybody wants in."""

        def __enter__(self, blocking: bool = True, timeout: float | None = None) -> bool:  # noqa: FBT001, FBT002 -- as threading has it
            wanting.add(threading.get_ident())
            if len(wanting) == 12:
                everybody.set()
            return super().__enter__(blocking, timeout)

    def watched(password: str, encoded: str) -> bool:
        held.append(connection.connection is not None)
        inside.add(threading.get_ident())
        assert everybody.wait(10)
        at_once.append(len(inside))
        is_right = check_password(password, encoded)
        inside.remove(threading.get_ident())
        return is_right

    monkeypatch.setattr(credentials, "check_password", watched)
    limit = credentials._hashing._initial_value  # type: ignore[attr-defined]
    monkeypatch.setattr(credentials, "_hashing", Watched(limit))
    barrier = threading.Barrier(12)
    refused: list[str] = []

    def guess(number: int) -> None:
        barrier.wait(10)
        try:
            verify_password(f"nobody-{number}", "guess", "192.0.2.1")
        except NotSignedIn as error:
            refused.append(error.message)
        finally:
            connection.close()

    with django_db_blocker.unblock():
        threads = [threading.Thread(target=guess, args=[number]) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert refused == [WRONG] * 12
    assert held == [False] * 12
    assert 1 <= max(at_once) <= credentials.HASHES_AT_ONCE


def test_a_crowd_with_the_right_password_is_hashed_once_and_let_in(
    scratch_database: str,
    django_db_blocker: DjangoDbBlocker,
    hashes: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that opens with more requests than an account may fail is no attacker."""
    del scratch_database
    # Not Redis: a machine busy enough to let it time out would forget, and hash again.
    monkeypatch.setattr(credentials, "cache", LocMemCache(uuid4().hex, {}))
    crowd = 2 * django_settings.LOGIN_FAILURES_PER_ACCOUNT
    barrier = threading.Barrier(crowd)
    outcomes: list[str] = []
    header = basic("somebody")["Authorization"]

    def ask() -> None:
        barrier.wait(10)
        try:
            outcomes.append(basic_identity(*basic_parts(header), "192.0.2.1").username)
        except DomainError as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    with django_db_blocker.unblock():
        create_user("somebody", PASSWORD)
        hashes.clear()
        threads = [threading.Thread(target=ask) for _ in range(crowd)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert outcomes == ["somebody"] * crowd
    assert hashes["all"] == 1
    assert credentials._verifying == {}


def test_a_lost_database_counts_no_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    del world
    monkeypatch.setattr(per_address, "limit", 1)

    class Lost:
        in_atomic_block = True

        def cursor(self) -> None:
            raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(credentials, "connection", Lost())
        for _ in range(3):
            assert ask_as("acme-owner", "guess").status_code == 503
    assert ask_as("acme-owner").status_code == 200


# --- Django's machinery -------------------------------------------------------------------------


def test_the_backend_lets_nobody_in_by_accident(world: World) -> None:
    backend = PasswordBackend()
    for username, password in ((None, PASSWORD), ("acme-owner", None), (None, None)):
        assert backend.authenticate(None, username, password) is None
    assert backend.authenticate(None, "acme-owner", "wrong") is None
    user = backend.authenticate(None, "acme-owner", PASSWORD)
    assert user is not None
    assert user.pk == id_of(world.acme.owner)
    assert backend.get_user(str(user.pk)) == user
    with acting_as(person(user.pk)):
        User.objects.filter(pk=user.pk).update(is_active=False)
    assert backend.get_user(user.pk) is None


def test_the_backend_says_when_it_is_spent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    del world
    monkeypatch.setattr(per_account, "limit", 0)
    with pytest.raises(RateLimited):
        PasswordBackend().authenticate(None, "acme-owner", PASSWORD)
