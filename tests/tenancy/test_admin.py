"""The admin site: the registry, shown to members of staff with a second factor and to nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from rls import acting_as
from tenancy.actors import person
from tenancy.models import SecondFactor, User
from tenancy.registry import RegisteredPerson, RegisteredTenant
from tests.conftest import PLATFORM
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.world import World

TENANTS, PEOPLE = "/admin/registeredtenant/", "/admin/registeredperson/"


def hire(world: World, *, second_factor: bool = True) -> None:
    call_command("make_operator", "outsider", "--reason", "Runs the service.")
    if second_factor:
        user_id = id_of(world.outsider)
        with acting_as(person(user_id)):
            SecondFactor.objects.create(user_id=user_id, salt="x", confirmed_at=timezone.now())


@pytest.fixture
def session(client_of: Callable[..., Client]) -> Callable[..., Client]:
    """Somebody's session, opened before they had a second factor."""

    def make(username: str, host: str = PLATFORM) -> Client:
        client = client_of(host=host)
        signed_in = client.post("/login/", {"username": username, "password": PASSWORD})
        assert signed_in.status_code == 302
        return client

    return make


def test_staff_looks_at_the_registry(world: World, session: Callable[..., Client]) -> None:
    client = session("outsider")
    hire(world)
    assert [client.get(path).status_code for path in ("/admin/", "/admin/tenancy/")] == [200, 200]
    listed = client.get(TENANTS)
    text = listed.content.decode()
    for place in (world.acme, world.globex, world.initech):
        assert place.tenant.slug in text
    narrowed = client.get(TENANTS, {"q": "glob", "is_active__exact": "1"}).content.decode()
    assert "globex" in narrowed
    assert "acme" not in narrowed
    people = client.get(PEOPLE, {"q": "acme-viewer"}).content.decode()
    assert "viewer@acme.example" in people
    assert "globex-viewer" not in people
    one = client.get(f"{TENANTS}{world.acme.tenant.pk}/change/")
    assert one.status_code == 200
    # Registry rows and nothing that is the tenant's own.
    assert "ACME-MARK.png" not in one.content.decode()


def test_it_writes_nothing(world: World, session: Callable[..., Client]) -> None:
    client = session("outsider")
    hire(world)
    key = world.acme.tenant.pk
    with nothing_changed(world):
        for path in (f"{TENANTS}{key}/change/", TENANTS):
            assert client.post(path, {"name": "taken"}).status_code == 405
        for path in ("add/", f"{key}/delete/", f"{key}/history/"):
            assert client.get(TENANTS + path).status_code == 404
        for path in ("logout/", "password_change/", "jsi18n/", "autocomplete/", "r/1/1/"):
            assert client.get(f"/admin/{path}").status_code == 404
        for row in (RegisteredTenant(id=key), RegisteredPerson(id=key)):
            for write in (row.save, row.delete):
                with pytest.raises(RuntimeError):
                    write()


def test_nobody_else_finds_anything_there(
    world: World, client_of: Callable[..., Client], session: Callable[..., Client]
) -> None:
    everywhere = ("/admin/", TENANTS, PEOPLE, f"{TENANTS}{world.acme.tenant.pk}/change/")
    member, staff = session("both"), session("outsider")
    hire(world, second_factor=False)
    for path in everywhere:
        assert member.get(path).status_code == 404
        # Signed in, but not with a session; and not at all.
        for stranger in (client_of("outsider"), client_of()):
            response = stranger.get(path)
            assert (response.status_code, response["Location"][:8]) == (302, "/login/?")
        # Staff without a second factor gets one first.
        assert staff.get(path)["Location"].startswith("/account/second-factor/")
    owner = session("acme-owner", f"acme.{PLATFORM}")
    call_command("make_operator", "acme-owner", "--reason", "x")
    for path in everywhere:
        assert owner.get(path).status_code == 404


def test_who_is_no_operator_any_more_sees_no_more(
    world: World, session: Callable[..., Client]
) -> None:
    client = session("outsider")
    hire(world)
    assert client.get(TENANTS).status_code == 200
    call_command("make_operator", "outsider", "--reason", "Left.", "--revoke")
    assert client.get(TENANTS).status_code == 404
    with pytest.raises(CommandError, match="no active person"):
        call_command("make_operator", "nobody", "--reason", "x")
    with pytest.raises(CommandError, match="Say why"):
        call_command("make_operator", "both", "--reason", " ")


def test_the_database_itself_tells_staff_only(world: World) -> None:
    def seen(actor: Any) -> tuple[int, int]:
        with acting_as(actor, read_only=True):
            return RegisteredTenant.objects.count(), RegisteredPerson.objects.count()

    for actor in (world.acme.owner, world.both, person(id_of(world.outsider))):
        assert seen(actor) == (0, 0)
    assert RegisteredTenant.objects.count() == 0
    hire(world)
    staff = person(id_of(world.outsider))
    assert seen(staff) == (3, 17)
    for statement in (
        "UPDATE registered_tenants SET name = ''",
        "DELETE FROM registered_people",
        "SELECT password FROM registered_people",
    ):
        with (
            acting_as(staff),
            pytest.raises(DatabaseError),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
    with acting_as(staff):
        User.objects.filter(pk=id_of(world.outsider)).update(is_active=False)
        assert RegisteredTenant.objects.count() == 0
