"""What is remembered of a device's secret lets nobody in that the database would not."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from redis.exceptions import ConnectionError as RedisAway
from strawberry.relay import to_base64

from rls import acting_as
from tenancy import device_memory
from tenancy.actors import operator
from tenancy.devices import find_device, register_device, revoke_device, rotate_device_secret
from tenancy.keys import Key, read_key
from tenancy.limits import redis_client
from tenancy.models import Device, DeviceVersion, Tenant
from tenancy.operators import resume_tenant, suspend_tenant
from tenancy.tenants import update_tenant
from tests.conftest import PLATFORM, basic
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tenancy.credentials import MembershipState
    from tests.world import Inhabited


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test remembers what another one did."""
    monkeypatch.setattr(device_memory, "_memory", device_memory._Memory())


def made(place: Inhabited) -> tuple[Device, Key]:
    with acting_as(place.owner):
        row, secret = register_device(actor=place.owner, values={"name": "lobby"})
    key = read_key(secret)
    assert key is not None
    return row, key


def look_up(key: Key) -> tuple[MembershipState | None, int]:
    """Return the device of a secret, and how many statements that took."""
    with CaptureQueriesContext(connection) as captured:
        return find_device(key), len(captured)


def remembered(key: Key) -> None:
    """Look a secret up until no statement is needed for it."""
    client, found = redis_client(), find_device(key)
    assert client is not None
    assert found is not None
    # As if nothing had been changed just now.
    client.delete(device_memory._key(found.tenant_id))
    find_device(key)
    assert look_up(key)[1] == 0


def version(place: Inhabited) -> int:
    with acting_as(place.owner):
        return DeviceVersion.objects.get().version


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let time pass, on this side and in Redis."""
    now = time.time() + seconds
    monkeypatch.setattr("tenancy.device_memory.time.time", lambda: now)


CHANGES: dict[str, Callable[[Inhabited, Device], Any]] = {
    "rotate": lambda place, row: rotate_device_secret(actor=place.owner, device=row.pk),
    "revoke": lambda place, row: revoke_device(actor=place.owner, device=row.pk),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_holds_at_once_in_its_transaction_and_behind_it(
    acme: Inhabited,
    change: str,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    row, key = made(acme)
    remembered(key)
    with django_capture_on_commit_callbacks(execute=True), acting_as(acme.owner):
        CHANGES[change](acme, row)
        assert find_device(key) is None
    assert find_device(key) is None


def test_another_host_holds_at_once(acme: Inhabited) -> None:
    _, key = made(acme)
    remembered(key)
    with acting_as(acme.owner):
        update_tenant(actor=acme.owner, changes={"slug": "acme-two"})
    found = find_device(key)
    assert found is not None
    assert found.slug == "acme-two"


def test_suspending_and_resuming_hold_at_once(acme: Inhabited) -> None:
    _, key = made(acme)
    for change, is_active in ((suspend_tenant, False), (resume_tenant, True)):
        remembered(key)
        with acting_as(operator(acme.tenant.pk)) as actor:
            change(actor=actor, reason="a test")
        found = find_device(key)
        assert found is not None
        assert found.tenant_is_active is is_active


def test_what_happens_to_other_tenants_and_other_columns_changes_nothing(
    acme: Inhabited, globex: Inhabited
) -> None:
    row, key = made(acme)
    other, _ = made(globex)
    remembered(key)
    before = version(acme)
    with acting_as(globex.owner):
        revoke_device(actor=globex.owner, device=other.pk)
    with acting_as(acme.owner):
        Device.objects.filter(pk=row.pk).update(version="2", name="hall")
        Tenant.objects.filter(pk=acme.tenant.pk).update(name="Acme Two")
    made(acme)
    assert version(acme) == before
    assert look_up(key)[1] == 0


def test_a_change_that_told_nobody_holds_when_the_version_is_read_again(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By SQL, say: the database counts it all the same."""
    for change in (
        lambda row: Device.objects.filter(pk=row.pk).update(revoked_at=row.created_at),
        lambda row: Device.objects.filter(pk=row.pk).update(secret_digest="another"),
        lambda row: Device.objects.filter(pk=row.pk).delete(),
    ):
        row, key = made(acme)
        remembered(key)
        with acting_as(acme.owner):
            change(row)
        with monkeypatch.context() as patch:
            later(patch, device_memory.FRESH_SECONDS + 0.1)
            assert find_device(key) is None
    row, key = made(acme)
    remembered(key)
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(is_active=False)
    later(monkeypatch, device_memory.FRESH_SECONDS + 0.1)
    found = find_device(key)
    assert found is not None
    assert not found.tenant_is_active


def test_who_read_before_a_change_cannot_undo_it_by_writing_late(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, key = made(acme)
    find_device(key)
    stored = device_memory._stored

    def overtaken(tenant_id: Any) -> int | None:
        found = stored(tenant_id)
        with acting_as(acme.owner):
            revoke_device(actor=acme.owner, device=row.pk)
        return found

    client = redis_client()
    assert client is not None
    client.delete(device_memory._key(acme.tenant.pk))
    with monkeypatch.context() as patch:
        patch.setattr(device_memory, "_stored", overtaken)
        # It began before the change: it may still be let in, and nobody after it.
        find_device(key)
    assert find_device(key) is None


def test_redis_away_means_that_the_database_is_asked(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, key = made(acme)
    remembered(key)

    class Lost:
        def __getattr__(self, _name: str) -> Any:
            raise RedisAway

    slept: list[float] = []
    monkeypatch.setattr("tenancy.device_memory.time.sleep", slept.append)
    with monkeypatch.context() as patch:
        patch.setattr(device_memory, "redis_client", Lost)
        assert look_up(key)[1] == 1
        device_memory._close_or_wait(acme.tenant.pk)
        # Until nobody can go by what was read before.
        assert slept == [device_memory.FRESH_SECONDS]
    remembered(key)
    device_memory._close_or_wait(acme.tenant.pk)
    assert len(slept) == 1
    with monkeypatch.context() as patch:
        patch.setattr(device_memory, "redis_client", Lost)
        with acting_as(acme.owner):
            revoke_device(actor=acme.owner, device=row.pk)
        assert find_device(key) is None
    with monkeypatch.context() as patch:
        patch.setattr(device_memory, "redis_client", lambda: None)
        assert device_memory._close(acme.tenant.pk)
        assert find_device(key) is None


def test_who_can_write_to_redis_lets_nobody_in(acme: Inhabited, globex: Inhabited) -> None:
    row, key = made(acme)
    remembered(key)
    client = redis_client()
    assert client is not None
    name = device_memory._key(acme.tenant.pk)
    before = client.get(name)
    known = version(acme)
    until = time.time() + 60
    with acting_as(acme.owner):
        revoke_device(actor=acme.owner, device=row.pk)
    forged = [
        f"{known}",
        f"{known} {until:.3f}",
        f"{known} {until:.3f} {'0' * 32}",
        device_memory._written(globex.tenant.pk, known, until),
        before.decode().replace(before.decode().split()[1], f"{until:.3f}"),
        "\ud800".encode(errors="surrogatepass"),
    ]
    for value in forged:
        client.set(name, value)
        assert find_device(key) is None, value
    # And what it said once is over when it is over.
    over = device_memory._written(acme.tenant.pk, known, time.time() - 0.01)
    assert device_memory._read(acme.tenant.pk, over.encode()) is None


def test_memory_is_bounded(acme: Inhabited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "MAX_REMEMBERED", 2)
    keys = [made(acme)[1] for _ in range(3)]
    for key in keys:
        find_device(key)
    assert [device_memory._memory.get(key.digest) is not None for key in keys] == [
        False,
        True,
        True,
    ]


@pytest.mark.usefixtures("scratch_database")
def test_while_many_poll_a_revocation_lets_nobody_in_any_more() -> None:
    """Committed, with real threads: whoever asks after the answer is refused."""
    acme = create_world().acme
    with acting_as(acme.owner):
        row, secret = register_device(actor=acme.owner, values={"name": "lobby"})
    host = f"acme.{PLATFORM}"
    revoked, ended = threading.Event(), threading.Event()
    wrong: list[int] = []

    def poll() -> None:
        client = Client(headers={"X-Anthias-Internal-Token": secret}, HTTP_HOST=host)
        try:
            while not ended.is_set():
                was_revoked = revoked.is_set()
                status = client.get("/api/v2/viewer/settings").status_code
                if status != 403 and (was_revoked or status != 200):
                    wrong.append(status)
        finally:
            connection.close()

    threads = [threading.Thread(target=poll) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        document = "mutation($id: ID!) { revokeDevice(input: {id: $id}) { errors { code } } }"
        owner = Client(headers=basic("acme-owner"), HTTP_HOST=host)
        answer = owner.post(
            "/graphql",
            {"query": document, "variables": {"id": to_base64("Device", str(row.pk))}},
            content_type="application/json",
        )
        revoked.set()
        assert answer.json()["data"] == {"revokeDevice": {"errors": []}}
        last = Client(headers={"X-Anthias-Internal-Token": secret}, HTTP_HOST=host)
        assert last.get("/api/v2/viewer/settings").status_code == 403
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)
    assert wrong == []
