"""The context: fail-closed, local to its transaction, restored when it ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from django.db import IntegrityError, InternalError, connection, transaction
from django.db.utils import ProgrammingError

from assets.models import Asset
from rls import ContextError, acting_as, current_actor
from tenancy.actors import person

if TYPE_CHECKING:
    from tests.world import Inhabited, World


def context() -> tuple[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('app.current_tenant_id', true), "
            "current_setting('app.current_user_id', true)"
        )
        tenant, user = cursor.fetchone()
    return tenant or "", user or ""


def test_without_a_door_nothing_is_there(acme: Inhabited) -> None:
    assert list(Asset.objects.all()) == []
    with pytest.raises(ContextError):
        current_actor()
    with acting_as(acme.owner):
        assert current_actor() is acme.owner
        assert Asset.objects.count() == 3


def test_each_tenant_sees_its_own(acme: Inhabited, globex: Inhabited) -> None:
    for place in (acme, globex):
        with acting_as(place.viewer):
            names = list(Asset.objects.values_list("name", flat=True))
        assert len(names) == 3
        assert all(place.marker in (name or "") for name in names)


def test_a_person_without_a_tenant_sees_no_tenants_rows(world: World) -> None:
    with acting_as(world.both):
        assert Asset.objects.count() == 0


def test_nested_doors_give_the_outer_context_back(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        outside = context()
        with acting_as(acme.viewer):
            assert context() == (str(acme.tenant.id), str(acme.viewer.user_id))
        assert context() == outside == (str(acme.tenant.id), str(acme.owner.user_id))
        with pytest.raises(ZeroDivisionError), acting_as(acme.viewer):
            raise ZeroDivisionError
        assert context() == outside
    assert context() == ("", "")


def test_entering_a_second_tenant_is_an_error(acme: Inhabited, globex: Inhabited) -> None:
    with acting_as(acme.owner):
        with pytest.raises(ContextError), acting_as(globex.owner):
            pass
        assert context()[0] == str(acme.tenant.id)


def test_a_person_may_enter_a_tenant_and_leave_it(world: World) -> None:
    with acting_as(world.both):
        with acting_as(world.acme.owner):
            assert Asset.objects.count() == 3
        assert context() == ("", str(world.both.user_id))
        assert Asset.objects.count() == 0


def test_an_exception_rolls_back_what_was_done(acme: Inhabited) -> None:
    with pytest.raises(RuntimeError, match="afterwards"), acting_as(acme.owner):
        assert Asset.objects.all().delete()[0] == 3
        raise RuntimeError("afterwards")
    with acting_as(acme.owner):
        assert Asset.objects.count() == 3


def test_a_read_only_door_refuses_writes(acme: Inhabited) -> None:
    with (
        pytest.raises(InternalError, match="read-only transaction"),
        acting_as(acme.owner, read_only=True),
    ):
        Asset.objects.update(play_order=9)
    with acting_as(acme.owner):
        assert Asset.objects.update(play_order=9) == 3


def test_writes_into_another_tenant_are_refused(acme: Inhabited, globex: Inhabited) -> None:
    with acting_as(acme.owner):
        for attempt in (
            lambda: Asset.objects.create(tenant=globex.tenant, asset_id="x"),
            lambda: Asset.objects.update(tenant=globex.tenant),
        ):
            with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
                attempt()
        assert Asset.objects.filter(pk=globex.assets[0].pk).update(name="taken") == 0
        assert Asset.objects.filter(pk=globex.assets[0].pk).delete()[0] == 0
    with acting_as(globex.owner):
        assert set(Asset.objects.values_list("name", flat=True)) == {a.name for a in globex.assets}


def test_the_same_legacy_id_lives_in_two_tenants_and_once_in_each(acme: Inhabited) -> None:
    with (
        acting_as(acme.owner),
        pytest.raises(IntegrityError, match="assets_tenant_asset_id"),
        transaction.atomic(),
    ):
        Asset.objects.create(tenant=acme.tenant, asset_id=acme.assets[0].asset_id)


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE signage_owner",
        "SET ROLE signage_maintenance",
        "SET ROLE signage_lookup",
        "TRUNCATE assets",
        "ALTER TABLE assets DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant_wall ON assets",
        "CREATE TABLE mine (id int)",
        "ALTER ROLE signage_app BYPASSRLS",
        "SELECT password FROM user_credentials",
        "SELECT * FROM auth_permission",
        "UPDATE django_migrations SET name = ''",
    ],
)
def test_what_the_application_role_may_not_do(acme: Inhabited, statement: str) -> None:
    with (
        acting_as(acme.owner),
        connection.cursor() as cursor,
        pytest.raises(
            (ProgrammingError, InternalError), match=r"permission denied|must be owner|must have"
        ),
        transaction.atomic(),
    ):
        cursor.execute(statement)


def test_no_tenant_goes_before_it_was_to_go(acme: Inhabited) -> None:
    with acting_as(acme.owner), connection.cursor() as cursor:
        cursor.execute("DELETE FROM tenants")
        assert cursor.rowcount == 0


def test_turning_row_security_off_shows_an_error_and_not_the_rows(acme: Inhabited) -> None:
    with (
        acting_as(acme.owner),
        connection.cursor() as cursor,
        pytest.raises(ProgrammingError, match="row-level security"),
        transaction.atomic(),
    ):
        cursor.execute("SET LOCAL row_security = off")
        cursor.execute("SELECT count(*) FROM assets")


def test_two_threads_never_share_a_context(
    django_db_setup: None, django_db_blocker: object, request: pytest.FixtureRequest
) -> None:
    from tests.conftest import WORLD

    world = request.config.stash[WORLD]
    del django_db_setup
    seen: dict[str, set[str]] = {"acme": set(), "globex": set()}
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def read(place: Inhabited) -> None:
        try:
            barrier.wait(10)
            for _ in range(25):
                with acting_as(place.viewer):
                    seen[place.tenant.slug] |= set(
                        Asset.objects.values_list("tenant__slug", flat=True)
                    )
                assert Asset.objects.count() == 0
        except BaseException as error:  # noqa: BLE001 -- reported by the main thread
            failures.append(error)
        finally:
            connection.close()

    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        threads = [
            threading.Thread(target=read, args=[place]) for place in (world.acme, world.globex) * 2
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert failures == []
    assert seen == {"acme": {"acme"}, "globex": {"globex"}}


def test_the_sql_functions_set_and_tell_the_context(acme: Inhabited) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT get_tenant_context(), get_user_context()")
        assert cursor.fetchone() == (None, None)
        cursor.execute("SELECT set_tenant_context(%s)", [acme.tenant.id])
        cursor.execute("SELECT get_tenant_context(), count(*) FROM assets GROUP BY 1")
        assert cursor.fetchone() == (acme.tenant.id, 3)
        cursor.execute("SELECT set_tenant_context(NULL)")
        assert person(acme.tenant.id).tenant_id is None
        cursor.execute("SELECT count(*) FROM assets")
        assert cursor.fetchone() == (0,)
