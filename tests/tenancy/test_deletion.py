"""The end of a tenant: an owner's word, a time to think again, and nobody else's rows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from rls import acting_as
from rls.declared import declared
from tenancy.actors import operator, worker
from tenancy.deletion import (
    _children_first,
    cancel_deletion,
    forget_keys,
    purge_rows,
    request_deletion,
    shut,
)
from tenancy.errors import InvalidInput, PermissionDenied
from tenancy.events import tenant_key
from tenancy.limits import redis_client
from tenancy.models import AuditEntry, Tenant
from tests.isolation.test_graphql import rows_of
from tests.tenancy.conftest import nothing_changed

if TYPE_CHECKING:
    import psycopg
    from pytest_django import Settings

    from tests.world import Inhabited, World


def tenant_of(place: Inhabited) -> Tenant:
    with acting_as(place.owner):
        return Tenant.objects.get(pk=place.tenant.pk)


def is_over(place: Inhabited, ago: timedelta = timedelta(minutes=1)) -> None:
    with acting_as(place.owner):
        over = timezone.now() - ago
        Tenant.objects.filter(pk=place.tenant.pk).update(deletes_at=over)


def test_an_owner_asks_and_thinks_again(acme: Inhabited, settings: Settings) -> None:
    settings.DELETION_GRACE_DAYS = 3
    with acting_as(acme.owner):
        at = request_deletion(actor=acme.owner, slug="acme").deletes_at
        assert at is not None
        assert timedelta(days=2, hours=23) < at - timezone.now() <= timedelta(days=3)
        # Asking again puts nothing off.
        assert request_deletion(actor=acme.owner, slug="acme").deletes_at == at
    # Meanwhile it goes on.
    assert tenant_of(acme).is_active
    assert shut(actor=worker(acme.tenant.pk)) is False
    with acting_as(acme.owner):
        assert cancel_deletion(actor=acme.owner, slug="acme").deletes_at is None
        told = AuditEntry.objects.filter(action__startswith="tenant.deletion").order_by("at", "id")
        assert [entry.action for entry in told] == [
            "tenant.deletion_requested",
            "tenant.deletion_cancelled",
        ]


def test_nobody_else_decides_on_it_and_nobody_by_mistake(acme: Inhabited, world: World) -> None:
    with nothing_changed(world):
        nobody = operator(acme.tenant.pk)
        for call in (request_deletion, cancel_deletion):
            for actor in (acme.admin, acme.manager, acme.viewer, nobody, worker(acme.tenant.pk)):
                with acting_as(actor), pytest.raises(PermissionDenied, match="Only an owner"):
                    call(actor=actor, slug="acme")
            for slug in ("", "globex", "ACME"):
                with acting_as(acme.owner), pytest.raises(InvalidInput) as refused:
                    call(actor=acme.owner, slug=slug)
                assert refused.value.field == ("slug",)


@pytest.mark.parametrize("deletes_at", [None, timezone.now() + timedelta(hours=1)])
def test_the_database_lets_no_tenant_go_before_its_time(acme: Inhabited, deletes_at: Any) -> None:
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(deletes_at=deletes_at)
    before = rows_of(acme)
    assert shut(actor=worker(acme.tenant.pk)) is False
    # Whoever forgot to look: what it has to keep is kept, to the last row.
    with pytest.raises(Exception, match=r"not to be deleted yet|no active owner"):
        purge_rows(actor=worker(acme.tenant.pk))
    with acting_as(acme.owner), connection.cursor() as cursor:
        cursor.execute("DELETE FROM tenants")
        assert cursor.rowcount == 0
    assert rows_of(acme) == before


def test_it_goes_with_all_that_it_has_and_takes_nobody_along(
    acme: Inhabited, globex: Inhabited
) -> None:
    with acting_as(acme.owner):
        request_deletion(actor=acme.owner, slug="acme")
    is_over(acme)
    before = rows_of(globex)
    actor = worker(acme.tenant.pk)
    assert shut(actor=actor) is True
    assert not tenant_of(acme).is_active
    purge_rows(actor=actor)
    # Every constraint that waits for the commit holds too.
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with acting_as(actor), connection.cursor() as cursor:
        for table in declared().walls:
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (0,), table
        assert not Tenant.objects.filter(pk=acme.tenant.pk).exists()
    assert rows_of(globex) == before
    assert shut(actor=actor) is False


def test_whoever_is_in_the_middle_of_it_can_begin_again(acme: Inhabited) -> None:
    is_over(acme)
    actor = worker(acme.tenant.pk)
    assert shut(actor=actor)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        purge_rows(actor=actor)
        raise ZeroDivisionError
    assert tenant_of(acme).is_active is False
    assert shut(actor=actor)
    purge_rows(actor=actor)
    assert shut(actor=actor) is False


def test_every_table_goes_and_none_before_what_refers_to_it() -> None:
    ordered = _children_first()
    known = declared()
    assert set(ordered) == {t for t, privileges in known.walls.items() if "DELETE" in privileges}
    assert len(set(ordered)) == len(ordered)
    assert ordered[-1] == "tenant_usage"
    for table, _column, target in known.foreign_keys:
        assert ordered.index(table) < ordered.index(target)


def test_what_redis_holds_goes_and_others_keep_theirs(acme: Inhabited, globex: Inhabited) -> None:
    client = redis_client()
    assert client is not None
    for place in (acme, globex):
        client.set(tenant_key(place.tenant.pk, "a", "b"), 1)
        client.set(tenant_key(place.tenant.pk, "playlist-version"), 1)
    forget_keys(acme.tenant.pk)
    left = [list(client.scan_iter(match=tenant_key(p.tenant.pk, "*"))) for p in (acme, globex)]
    assert (len(left[0]), len(left[1]) >= 2) == (0, True)


def test_only_those_whose_time_is_over_are_told_to_the_worker_and_to_nobody_else(
    acme: Inhabited, globex: Inhabited, owner_cursor: psycopg.Cursor[Any]
) -> None:
    from django.db import ProgrammingError

    with (
        acting_as(acme.owner),
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT tenants_to_purge()")
    owner_cursor.execute(
        "UPDATE tenants SET deletes_at = now() + (CASE slug WHEN 'acme' THEN -1 ELSE 1 END) "
        "* interval '1 hour' WHERE slug IN ('acme', 'globex')"
    )
    owner_cursor.execute("SELECT tenant_id FROM tenants_to_purge()")
    assert owner_cursor.fetchall() == [(acme.tenant.pk,)]
    del globex
