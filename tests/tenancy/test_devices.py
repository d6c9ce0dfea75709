"""Devices: their secrets, who may make them, and how many there can be."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from rls import acting_as
from tenancy.devices import (
    register_device,
    revoke_device,
    rotate_device_secret,
    update_device,
)
from tenancy.errors import Conflict, DomainError, Invalid, NotFound, PermissionDenied, QuotaExceeded
from tenancy.keys import KeyKind, make_key, read_key
from tenancy.models import Device, Tenant, TenantUsage
from tests.conftest import PLATFORM
from tests.tenancy.conftest import nothing_changed
from tests.world import create_world

if TYPE_CHECKING:
    from tests.world import Inhabited, World

face = pytest.mark.urls("tests.tenancy.face")
WRONG = {
    "error": "Authentication failed",
    "message": "Invalid username/password.",
    "code": "UNAUTHENTICATED",
}


def made(place: Inhabited, name: str = "Lobby", **values: Any) -> tuple[Device, str]:
    with acting_as(place.owner):
        return register_device(actor=place.owner, values={"name": name, **values})


def ask(
    secret: str, username: str = "", *, host: str = f"acme.{PLATFORM}", **headers: str
) -> tuple[int, dict[str, Any]]:
    if username:
        text = base64.b64encode(f"{username}:{secret}".encode()).decode()
        headers = {"Authorization": f"Basic {text}", **headers}
    else:
        headers = {"Authorization": f"Bearer {secret}", **headers}
    answer = Client(headers=headers, HTTP_HOST=host, raise_request_exception=False).get("/who")
    return answer.status_code, answer.json()


# --- secrets ------------------------------------------------------------------------------------


def test_a_secret_is_random_and_found_by_its_prefix() -> None:
    secret, key = make_key(KeyKind.DEVICE)
    assert secret.startswith(f"sgd_{key.prefix}_")
    assert len(secret) == 4 + 10 + 1 + 43
    assert read_key(secret) == key
    assert secret not in repr(key)
    assert make_key(KeyKind.DEVICE)[0] != secret


@given(st.text())
def test_any_other_text_is_no_secret(text: str) -> None:
    assert read_key(text) is None


def test_a_secret_that_is_not_whole_is_none() -> None:
    secret, key = make_key(KeyKind.DEVICE)
    for text in (secret[:-1], secret + "a", secret.upper(), f" {secret}", f"{secret}\n"):
        assert read_key(text) is None
    other = read_key(secret[:-1] + ("A" if secret[-1] != "A" else "B"))
    assert other is not None
    assert (other.prefix, other.digest == key.digest) == (key.prefix, False)


# --- getting in ---------------------------------------------------------------------------------


@face
def test_a_device_enters_its_tenant_as_basic_and_as_bearer(acme: Inhabited) -> None:
    row, secret = made(acme)
    expected = {
        "kind": "device",
        "user": None,
        "tenant": str(acme.tenant.pk),
        "role": None,
        "credential": "device",
    }
    for host in (f"acme.{PLATFORM}", PLATFORM, "127.0.0.1"):
        assert ask(secret, str(row.pk), host=host) == (200, expected)
        assert ask(secret, host=host) == (200, expected)


@face
def test_a_wrong_secret_is_one_and_the_same_refusal_at_one_statement(
    acme: Inhabited, globex: Inhabited
) -> None:
    row, secret = made(acme)
    stranger, foreign = made(globex)
    near = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    for wrong, username in (
        (near, ""),
        (near, str(row.pk)),
        (make_key(KeyKind.DEVICE)[0], ""),
        (secret, str(stranger.pk)),
        (foreign, str(row.pk)),
    ):
        with CaptureQueriesContext(connection) as captured:
            assert ask(wrong, username) == (401, WRONG)
        assert [query["sql"].split("(")[0].split()[-1] for query in captured] == [
            "device_credential"
        ]


@face
def test_a_device_cannot_enter_another_tenant_whatever_it_says(
    acme: Inhabited, globex: Inhabited
) -> None:
    row, secret = made(acme)
    for options in (
        {"host": f"globex.{PLATFORM}"},
        {"host": PLATFORM, "X-Tenant-ID": "globex"},
        {"host": PLATFORM, "X-Tenant-ID": str(globex.tenant.pk)},
        {"host": f"nobody.{PLATFORM}"},
    ):
        status, told = ask(secret, str(row.pk), **options)
        assert (status, told["code"]) == (403, "TENANT_ERROR")


@face
def test_rotating_revoking_and_suspending_hold_on_the_next_request(acme: Inhabited) -> None:
    row, old = made(acme)
    with acting_as(acme.owner):
        _, new = rotate_device_secret(actor=acme.owner, device=row.pk)
    assert ask(old)[0] == 401
    assert ask(new)[0] == 200
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(is_active=False)
    assert ask(new)[0] == 403
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(is_active=True)
        revoke_device(actor=acme.owner, device=row.pk)
    assert ask(new)[0] == 401


def test_nothing_usable_is_stored(acme: Inhabited) -> None:
    _, secret = made(acme)
    with acting_as(acme.owner):
        for row in Device.objects.values():
            assert secret not in repr(row)
            assert secret.split("_", 2)[2] not in repr(row)


# --- writes -------------------------------------------------------------------------------------


def test_only_who_may_edit_devices_writes_them(acme: Inhabited, world: World) -> None:
    row, _ = made(acme)
    for actor in (acme.manager, acme.viewer):
        for write in (
            lambda: register_device(actor=actor, values={"name": "x"}),  # noqa: B023 -- called here
            lambda: update_device(actor=actor, device=row.pk, changes={"name": "x"}),  # noqa: B023
            lambda: rotate_device_secret(actor=actor, device=row.pk),  # noqa: B023
            lambda: revoke_device(actor=actor, device=row.pk),  # noqa: B023
        ):
            with nothing_changed(world), acting_as(actor), pytest.raises(PermissionDenied):
                write()
    for actor in (acme.admin, acme.operator):
        with acting_as(actor):
            update_device(actor=actor, device=row.pk, changes={"name": actor.kind})


def test_what_is_wrong_is_told_all_at_once(acme: Inhabited, world: World) -> None:
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(Invalid) as refused:
        register_device(actor=acme.owner, values={"name": " ", "tags": [""]})
    assert [error.field for error in refused.value.errors] == [("name",), ("tags",)]
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(Invalid):
        register_device(actor=acme.owner, values={})


def test_another_tenants_device_is_nobodys(
    acme: Inhabited, globex: Inhabited, world: World
) -> None:
    row, _ = made(globex)
    for write in (
        lambda: update_device(actor=acme.owner, device=row.pk, changes={"name": "x"}),
        lambda: rotate_device_secret(actor=acme.owner, device=row.pk),
        lambda: revoke_device(actor=acme.owner, device=row.pk),
    ):
        with nothing_changed(world), acting_as(acme.owner), pytest.raises(NotFound) as refused:
            write()
        assert refused.value.message == "There is no device with this id."


def test_only_what_is_different_is_written(acme: Inhabited) -> None:
    row, _ = made(acme, tags=[" lobby ", "lobby"])
    assert row.tags == ["lobby"]
    with acting_as(acme.owner):
        same = update_device(
            actor=acme.owner, device=row.pk, changes={"name": "Lobby", "tags": ["lobby"]}
        )
        assert same.updated_at == row.updated_at
        other = update_device(actor=acme.owner, device=row.pk, changes={"only_tagged": True})
    assert other.updated_at > row.updated_at
    assert other.only_tagged


def test_a_revoked_device_gets_no_new_secret(acme: Inhabited, world: World) -> None:
    row, _ = made(acme)
    with acting_as(acme.owner):
        first = revoke_device(actor=acme.owner, device=row.pk)
        assert revoke_device(actor=acme.owner, device=row.pk).revoked_at == first.revoked_at
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(Conflict):
        rotate_device_secret(actor=acme.owner, device=row.pk)


# --- how many -----------------------------------------------------------------------------------


def test_devices_are_counted_and_limited(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(max_devices=2)
    row, _ = made(acme)
    with pytest.raises(QuotaExceeded) as refused:
        made(acme)
    assert refused.value.message == (
        "This tenant may have 2 devices and has no room for more. Revoke one, or ask for a larger "
        "plan."
    )
    with acting_as(acme.owner):
        assert TenantUsage.objects.get().devices == 2
        revoke_device(actor=acme.owner, device=row.pk)
        assert TenantUsage.objects.get().devices == 1
    made(acme)
    with acting_as(acme.owner):
        Device.objects.filter(pk=row.pk).delete()
        assert TenantUsage.objects.get().devices == 2


@pytest.mark.usefixtures("scratch_database")
def test_the_limit_is_not_passed_by_many_at_once() -> None:
    acme = create_world().acme  # has one of its five
    outcomes: list[str] = []
    together = threading.Barrier(12)

    def register() -> None:
        together.wait(30)
        try:
            made(acme)
            outcomes.append("made")
        except DomainError as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=register) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["QUOTA_EXCEEDED"] * 8 + ["made"] * 4
    with acting_as(acme.owner):
        assert (Device.objects.count(), TenantUsage.objects.get().devices) == (5, 5)
