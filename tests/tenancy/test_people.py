"""People: made once, by themselves, with a password that only the sign-in look-up reads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.contrib.auth.hashers import check_password
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from rls import acting_as
from tenancy.actors import operator, person
from tenancy.credentials import identify, verify_password
from tenancy.errors import Conflict, DomainError, InvalidInput, NotFound, NotSignedIn
from tenancy.models import User, UserCredential
from tenancy.people import account_name, create_user, find_user, set_password
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import psycopg
    from pytest_django import DjangoDbBlocker

    from tests.world import World


def stored(user_id: UUID) -> dict[str, Any]:
    with acting_as(person(user_id)):
        return dict(User.objects.values().get(pk=user_id))


def test_a_new_person_is_ordinary_and_can_sign_in(world: World) -> None:
    del world
    user = create_user("Ada.Lovelace", PASSWORD, email="ada@example.com")
    row = stored(user.pk)
    assert row.pop("date_joined") is not None
    assert row == {
        "id": user.pk,
        "username": "Ada.Lovelace",
        "first_name": "",
        "last_name": "",
        "email": "ada@example.com",
        "is_staff": False,
        "is_superuser": False,
        "is_active": True,
        "last_login": None,
        "credential_version": 1,
    }
    assert find_user("ada.lovelace") == find_user(" ADA.LOVELACE ") == user.pk
    assert verify_password("ada.lovelace", PASSWORD, "-") == (user.pk, 1)
    identity = identify(user.pk)
    assert identity is not None
    assert (identity.username, identity.memberships) == ("Ada.Lovelace", ())


@pytest.mark.parametrize(
    ("username", "stored_as"),
    [
        ("a", "a"),
        ("x" * 150, "x" * 150),
        ("a.b+c-d_e@f", "a.b+c-d_e@f"),
        ("  spaced  ", "spaced"),
        ("\uff37\uff49\uff44\uff45", "Wide"),
        ("Zoe\u0308", "Zo\xeb"),
        ("Жук", "Жук"),
    ],
)
def test_usernames_are_kept_in_one_spelling(world: World, username: str, stored_as: str) -> None:
    del world
    user = create_user(username, PASSWORD)
    assert stored(user.pk)["username"] == stored_as == account_name(username)
    assert find_user(username) == user.pk


@pytest.mark.parametrize(
    "username",
    [
        "",
        " ",
        "x" * 151,
        "\ufdfa" * 100,
        "x" * 1_000_000,
        "with space",
        "with:colon",
        "with/slash",
        "semi;colon",
        "new\nline",
        "\x00",
        "nul\x00",
        "\ud800",
        "surrogate\udfff",
        "<b>",
        "\u202eadmin",
        "zero\u200bwidth",
    ],
)
def test_usernames_that_will_not_do(world: World, username: str) -> None:
    with nothing_changed(world), pytest.raises(InvalidInput) as refused:
        create_user(username, PASSWORD)
    assert refused.value.field == ("username",)
    assert refused.value.message
    assert find_user(username) is None


@pytest.mark.parametrize(
    "email",
    [
        "nobody",
        "@example.com",
        "a@",
        "a@b",
        "a b@example.com",
        "a@example..com",
        "a@-example.com",
        "a\x00@example.com",
        "a@example.com\n",
        "a@ex\ud800ample.com",
        "\ud800@example.com",
        "a" * 65 + "@" + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + "." + "e" * 60 + ".com",
    ],
)
def test_addresses_that_will_not_do(world: World, email: str) -> None:
    with nothing_changed(world), pytest.raises(InvalidInput) as refused:
        create_user("somebody", PASSWORD, email=email)
    assert refused.value.field == ("email",)
    assert find_user("somebody") is None


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "elevenchars",
        "123456789012345",
        "1qaz2wsx3edc",
        "acme-viewer-1",
        "viewer@acme.example",
        "half of one \ud800",
    ],
)
def test_passwords_that_will_not_do(world: World, password: str) -> None:
    with nothing_changed(world):
        with pytest.raises(InvalidInput) as refused:
            create_user("acme-viewer2", password, email="viewer@acme.example")
        assert refused.value.field == ("password",)
        assert find_user("acme-viewer2") is None
        with pytest.raises(InvalidInput) as refused:
            set_password(id_of(world.acme.viewer), password)
        assert refused.value.field == ("password",)
    assert verify_password("acme-viewer", PASSWORD, "-")[0] == id_of(world.acme.viewer)


@pytest.mark.parametrize("username", ["acme-owner", "ACME-Owner", " acme-owner", "\uff41cme-owner"])
def test_a_username_is_given_once_in_any_spelling(world: World, username: str) -> None:
    with nothing_changed(world), pytest.raises(Conflict) as refused:
        create_user(username, PASSWORD + " of somebody else")
    assert refused.value.field == ("username",)
    assert refused.value.message == f"The username {account_name(username)!r} is taken."
    # The transaction goes on, and the one who has it keeps their password.
    assert verify_password("acme-owner", PASSWORD, "-")[0] == id_of(world.acme.owner)


def test_an_inactive_persons_name_stays_theirs(world: World) -> None:
    with acting_as(world.outsider):
        User.objects.filter(pk=id_of(world.outsider)).update(is_active=False)
    assert find_user("outsider") is None
    with pytest.raises(Conflict):
        create_user("outsider", PASSWORD)


def test_a_person_can_be_made_inside_another_ones_door(world: World) -> None:
    with acting_as(world.both):
        user = create_user("somebody", PASSWORD)
    assert find_user("somebody") == user.pk


@pytest.mark.parametrize("name", ["", "nobody", "\x00", "acme\x00-owner", "\ud800", "x" * 10**6])
def test_nobody_is_found_under_a_name_nobody_has(world: World, name: str) -> None:
    del world
    assert find_user(name) is None


def test_a_changed_password_is_a_new_version(world: World) -> None:
    user_id = id_of(world.acme.viewer)
    before = stored(user_id)
    set_password(user_id, "another long password 7")
    assert stored(user_id) == before | {"credential_version": 2}
    with pytest.raises(NotSignedIn):
        verify_password("acme-viewer", PASSWORD, "-")
    assert verify_password("acme-viewer", "another long password 7", "-") == (user_id, 2)
    assert identify(user_id, 1) is None
    assert identify(user_id, 2) is not None
    # Nobody else's changed.
    assert verify_password("acme-owner", PASSWORD, "-")[1] == 1


def test_nobodys_password_cannot_be_changed(world: World) -> None:
    with nothing_changed(world), pytest.raises(NotFound):
        set_password(uuid4(), "another long password 7")


def test_hashes_are_argon2_and_out_of_reach(
    world: World, owner_cursor: psycopg.Cursor[Any]
) -> None:
    user_id = id_of(world.acme.owner)
    owner_cursor.execute("SELECT password FROM user_credentials WHERE user_id = %s", [user_id])
    row = owner_cursor.fetchone()
    assert row is not None
    assert row[0].startswith("argon2$argon2id$")
    assert check_password(PASSWORD, row[0])
    for actor in (world.acme.owner, operator(world.acme.tenant.id), world.both):
        with (
            acting_as(actor),
            pytest.raises(ProgrammingError, match="permission denied"),
            transaction.atomic(),
        ):
            list(UserCredential.objects.values("password"))
        with (
            acting_as(actor),
            pytest.raises(ProgrammingError, match="permission denied"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("UPDATE user_credentials SET password = '' RETURNING password")
    assert "argon2" not in str(UserCredential(user_id=user_id, password=row[0]))


def test_nobody_writes_another_persons_row_or_hash(world: World) -> None:
    for actor in (world.acme.owner, operator(world.acme.tenant.id), world.both):
        with acting_as(actor):
            other = id_of(world.acme.viewer)
            assert User.objects.filter(pk=other).update(is_staff=True) == 0
            assert UserCredential.objects.filter(user_id=other).update(password="x") == 0
            with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
                User.objects.create(username="planted")


def test_djangos_own_ways_of_making_people_are_closed(world: World) -> None:
    user = User(username="somebody")
    calls: tuple[Callable[[], object], ...] = (
        lambda: User.objects.create_user("somebody", password=PASSWORD),
        lambda: User.objects.create_superuser("somebody", password=PASSWORD),
        lambda: asyncio.run(User.objects.acreate_user("somebody", password=PASSWORD)),
        lambda: asyncio.run(User.objects.acreate_superuser("somebody", password=PASSWORD)),
        lambda: user.set_password(PASSWORD),
        user.set_unusable_password,
        lambda: user.check_password(PASSWORD),
        lambda: asyncio.run(user.acheck_password(PASSWORD)),
    )
    with nothing_changed(world):
        for call in calls:
            with pytest.raises(RuntimeError, match=r"use tenancy\.(people|credentials)"):
                call()
    assert user.has_usable_password()
    assert list(user.get_session_auth_fallback_hash()) == []
    assert find_user("somebody") is None


def test_one_of_two_who_want_a_name_at_once_gets_it(
    scratch_database: str, django_db_blocker: DjangoDbBlocker
) -> None:
    del scratch_database
    barrier = threading.Barrier(4)
    results: list[object] = []

    def make(username: str) -> None:
        try:
            barrier.wait(10)
            results.append(create_user(username, PASSWORD).pk)
        except DomainError as error:
            results.append((type(error), error.field))
        finally:
            connection.close()

    threads = [threading.Thread(target=make, args=[name]) for name in ("ada", "Ada", "ADA", "ada")]
    with django_db_blocker.unblock():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        made = [result for result in results if not isinstance(result, tuple)]
        assert len(made) == 1
        assert results.count((Conflict, ("username",))) == 3
        assert find_user("ada") == made[0]
        assert verify_password("ada", PASSWORD, "-") == (made[0], 1)
