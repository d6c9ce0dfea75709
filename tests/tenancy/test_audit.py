"""The audit log: what an entry holds, what it never holds, and that nothing takes it away."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from django.db import connections
from procrastinate import PsycopgConnector
from procrastinate.contrib.django.utils import connector_params

from rls import acting_as
from tenancy.actors import person, worker
from tenancy.audit import BLOTTED, MOST_JSON, MOST_TEXT, Credential, listed, record
from tenancy.logs import request_id
from tenancy.models import AuditEntry, Tenant
from tenancy.tenants import update_settings, update_tenant
from tenancy.worker import forget_audit, make_queue
from tests import databases
from tests.world import create_world

if TYPE_CHECKING:
    from tests.conftest import Graph
    from tests.world import Inhabited, World

RENAME = """mutation ($name: String) {
  updateTenant(input: {name: $name}) { tenant { name } errors { code } }
}"""


def entries(place: Inhabited, **wanted: Any) -> list[AuditEntry]:
    """Return what the log of a tenant has, newest first."""
    with acting_as(worker(place.tenant.pk)):
        return list(AuditEntry.objects.filter(**wanted).order_by("-at", "-id"))


def noted(place: Inhabited, **values: Any) -> Any:
    """Record something with these values and return the entry as it is kept."""
    with acting_as(place.owner) as actor:
        record(actor, "thing.done", subject="Thing", **values)
    return entries(place, action="thing.done")[0]


def test_an_entry_says_who_what_and_from_where(acme: Inhabited, gql: Any) -> None:
    graph: Graph = gql("acme-admin", headers={"X-Request-ID": "the-request-of-it"})
    graph.data(RENAME, name="Acme ACME-MARK anew")
    [entry, *_] = entries(acme)
    assert (entry.action, entry.subject, entry.subject_id) == (
        *("tenant.updated", "Tenant"),
        str(acme.tenant.pk),
    )
    assert (entry.actor_kind, entry.user_id) == ("member", acme.admin.user_id)
    assert (entry.credential, entry.address) == ("basic", "127.0.0.1")
    assert (entry.request_id, entry.label) == ("the-request-of-it", "acme")
    assert entry.before == {"name": "Acme ACME-MARK"}
    assert entry.after == {"name": "Acme ACME-MARK anew"}


def test_what_is_refused_or_changes_nothing_is_not_in_it(acme: Inhabited, gql: Any) -> None:
    before = len(entries(acme))
    assert gql("acme-viewer").data(RENAME, name="mine")["updateTenant"]["errors"]
    assert gql("acme-owner").data(RENAME, name="")["updateTenant"]["errors"]
    gql("acme-owner").data(RENAME, name=acme.tenant.name)
    assert len(entries(acme)) == before


def test_what_is_rolled_back_was_not_done(acme: Inhabited) -> None:
    before = len(entries(acme))
    with pytest.raises(RuntimeError), acting_as(acme.owner) as actor:
        update_tenant(actor=actor, changes={"name": "for a moment"})
        assert AuditEntry.objects.filter(action="tenant.updated").exists()
        raise RuntimeError
    assert len(entries(acme)) == before


def test_no_secret_is_in_it(acme: Inhabited) -> None:
    secret = "hunter2-hunter2-hunter2"
    with acting_as(acme.owner) as actor:
        update_settings(
            actor=actor,
            changes={
                "webhook_url": f"https://hooks.example/{secret}",
                "integrations": {"slack": {"channel": secret}},
            },
        )
        record(
            actor,
            "thing.done",
            subject="Thing",
            label=f"https://me:{secret}@example.com",
            before={"password": secret, "has_password": True, "secret_digest": "", "name": "x"},
            after={
                "headers": {"X-Screen": secret},
                "custom_headers": [secret],
                "uri": f"https://example.com/?token={secret}",
                "deep": [{"api_key": secret}, f"Bearer {secret}", f"/share/{secret}"],
            },
            reason=f"password={secret}",
        )
    thing, changed = entries(acme)[:2]
    assert secret not in str([thing.__dict__, changed.__dict__])
    assert thing.before == {
        "password": BLOTTED,
        "has_password": True,
        "secret_digest": "",
        "name": "x",
    }
    assert changed.after == {
        "webhook_url": BLOTTED,
        "integrations": {"slack": BLOTTED},
    }


def test_whatever_a_row_holds_can_be_kept(acme: Inhabited) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    entry = noted(
        acme,
        subject_id=UUID(int=7),
        label="a\x00b\ud800",
        after={
            "at": moment,
            "key": UUID(int=1),
            "names": frozenset({"b", "a"}),
            "text": "x" * 2000,
            "n": 0.5,
            "nested": {"a": {"b": [1, None, False]}},
        },
    )
    assert (entry.subject_id, entry.label) == (str(UUID(int=7)), "a\ufffdb\ufffd")
    assert entry.before is None
    assert entry.after == {
        "at": "2026-01-02T03:04:05Z",
        "key": str(UUID(int=1)),
        "names": ["a", "b"],
        "text": "x" * (MOST_TEXT - 1) + "…",
        "n": 0.5,
        "nested": {"a": {"b": [1, None, False]}},
    }


def test_an_entry_stays_small(acme: Inhabited) -> None:
    assert listed(range(1000)) == {"count": 1000, "ids": [str(n) for n in range(100)]}
    deep: Any = "x"
    for _ in range(30):
        deep = {"deeper": deep}
    entry = noted(acme, after={"many": list(range(1000)), "deep": deep})
    assert len(entry.after["many"]) == 100
    assert str(entry.after["deep"]).count("deeper") < 30
    entry = noted(acme, after={f"text{n}": "x" * 1000 for n in range(30)})
    assert entry.after["omitted"].endswith(" characters")
    assert len(str(entry.after)) < MOST_JSON
    assert len(entry.after["fields"]) == 30


def test_the_worker_and_commands_say_that_they_are(acme: Inhabited) -> None:
    with acting_as(worker(acme.tenant.pk)) as actor:
        record(actor, "thing.done", subject="Thing")
    [entry] = entries(acme, action="thing.done")
    assert (entry.actor_kind, entry.credential, entry.address) == ("worker", "worker", "")
    assert request_id.get() == "-"
    assert entry.request_id == ""
    assert {e.credential for e in entries(acme)} <= {*Credential, ""}


def test_what_is_in_no_tenant_is_in_no_log(world: World) -> None:
    assert world.outsider.user_id is not None
    with acting_as(person(world.outsider.user_id)) as actor:
        record(actor, "thing.done", subject="Thing")
    assert entries(world.acme, action="thing.done") == []


async def _forget() -> None:
    queue = make_queue(PsycopgConnector(kwargs=connector_params("worker")), rounds=[])
    async with queue.open_async():
        await forget_audit(queue)


@pytest.mark.usefixtures("scratch_database")
def test_the_worker_removes_what_is_old_and_can_remove_nothing_else(
    settings: Any, scratch_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = create_world().acme
    now = datetime.now(UTC)
    with acting_as(place.owner) as actor:
        for days in (1, 29, 31, 60, 61, 800):
            record(actor, "thing.done", subject="Thing", label=f"{days}")
            AuditEntry.objects.create(
                tenant_id=place.tenant.pk,
                at=now - timedelta(days=days),
                actor_kind="member",
                action="thing.aged",
                label=f"{days}",
            )
    left = {"1", "29", "31", "60", "61", "800"}
    assert {e.label for e in entries(place, action="thing.aged")} == left
    monkeypatch.setattr("tenancy.worker.FORGOTTEN_AT_ONCE", 1)
    asyncio.run(_forget())
    assert {e.label for e in entries(place, action="thing.aged")} == left - {"800"}
    # However it is set, and whoever has the worker's login: thirty days stay.
    settings.AUDIT_DAYS = 0
    asyncio.run(_forget())
    assert {e.label for e in entries(place, action="thing.aged")} == {"1", "29"}
    with psycopg.connect(databases.worker_conninfo(scratch_database)) as connection:
        assert connection.execute("SELECT id FROM audit_entries").fetchall() == []
        assert connection.execute("DELETE FROM audit_entries WHERE id IS NOT NULL").rowcount == 0
        for statement in (
            "SELECT label FROM audit_entries",
            "UPDATE audit_entries SET at = at",
            "INSERT INTO audit_entries (id) VALUES (gen_random_uuid())",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)


@pytest.mark.usefixtures("scratch_database")
def test_a_log_goes_with_its_tenant(scratch_database: str) -> None:
    with databases.maintenance(scratch_database) as owner:
        owner.execute(
            "INSERT INTO tenants (id, name, slug, database_name, created_at, updated_at, "
            "is_active, subscription_tier, max_devices, max_users, storage_quota_gb, max_assets, "
            "features, settings) VALUES (%s, 'x', 'x', 'x', now(), now(), true, 'basic', 1, 1, 1, "
            "1, '{}', '{}')",
            [UUID(int=9)],
        )
    with acting_as(worker(UUID(int=9))) as actor:
        assert Tenant.objects.count() == 1
        record(actor, "thing.done", subject="Thing")
    with databases.maintenance(scratch_database) as owner:
        owner.execute("DELETE FROM tenants WHERE id = %s", [UUID(int=9)])
        found = owner.execute("SELECT count(*) FROM audit_entries").fetchone()
    assert found == (0,)
    connections["default"].close()
