"""What operators do to tenants: by command, with a reason, in that tenant's own log."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from rls import acting_as
from tenancy.actors import operator, worker
from tenancy.devices import rotate_device_secret
from tenancy.errors import InvalidInput, PermissionDenied
from tenancy.models import AuditEntry, Device, Tenant
from tenancy.operators import resume_tenant, schedule_deletion, set_plan, suspend_tenant
from tests.conftest import PLATFORM
from tests.tenancy.conftest import nothing_changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client
    from pytest_django import Settings

    from tests.world import Inhabited, World

WHY = "They asked for it in ticket 4711."


def command(name: str, *arguments: str) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def tenant_of(place: Inhabited) -> Tenant:
    with acting_as(operator(place.tenant.pk)):
        return Tenant.objects.get(pk=place.tenant.pk)


def told(place: Inhabited) -> list[tuple[str, Any, Any, str, str]]:
    with acting_as(operator(place.tenant.pk)):
        entries = AuditEntry.objects.filter(actor_kind="operator", subject="Tenant")
        return [
            (one.action.partition(".")[2], one.before, one.after, one.credential, one.reason)
            for one in entries.order_by("at", "id")
        ]


CALLS: list[Callable[..., object]] = [
    suspend_tenant,
    resume_tenant,
    lambda **also: set_plan(changes={"max_users": 3}, **also),
    lambda **also: schedule_deletion(at=timezone.now(), **also),
]


@pytest.mark.parametrize("call", CALLS)
def test_it_takes_an_operator_and_a_reason(
    acme: Inhabited, world: World, call: Callable[..., object]
) -> None:
    with nothing_changed(world):
        for actor in (acme.owner, acme.viewer, worker(acme.tenant.pk)):
            with acting_as(actor), pytest.raises(PermissionDenied):
                call(actor=actor, reason=WHY)
        for reason in ("", " \n"):
            with acting_as(operator(acme.tenant.pk)) as actor, pytest.raises(InvalidInput):
                call(actor=actor, reason=reason)
    assert told(acme) == []


@pytest.mark.urls("tests.tenancy.face")
def test_a_suspended_tenant_opens_to_nothing_and_is_there_again_afterwards(
    acme: Inhabited, client_of: Callable[..., Client]
) -> None:
    with acting_as(acme.owner) as actor:
        _, secret = rotate_device_secret(actor=actor, device=Device.objects.get().pk)
    owner = client_of("acme-owner")
    device = client_of(host=f"acme.{PLATFORM}", headers={"Authorization": f"Bearer {secret}"})
    assert [one.get("/who").status_code for one in (owner, device)] == [200, 200]
    for _ in range(2):
        assert command("suspend_tenant", "--tenant", "acme", "--reason", WHY).startswith("acme is")
        assert [one.get("/who").status_code for one in (owner, device)] == [403, 403]
    assert client_of("globex-owner").get("/who").status_code == 200
    for _ in range(2):
        command("resume_tenant", "--tenant", "acme", "--reason", "Paid.")
        assert [one.get("/who").status_code for one in (owner, device)] == [200, 200]
    on, off = {"is_active": True}, {"is_active": False}
    assert told(acme) == [
        ("suspended", on, off, "command", WHY),
        ("resumed", off, on, "command", "Paid."),
    ]


def test_a_plan_is_changed_where_it_is_named(acme: Inhabited) -> None:
    printed = command(
        *("set_plan", "--tenant", "acme", "--reason", WHY, "--tier", "enterprise"),
        *("--max-devices", "50", "--feature", "a", "--feature", "b"),
    )
    tenant = tenant_of(acme)
    assert (tenant.subscription_tier, tenant.max_devices, tenant.features) == (
        "enterprise",
        50,
        ["a", "b"],
    )
    assert tenant.max_users == 10**6
    assert printed == (
        "acme: subscription_tier enterprise, max_devices 50, max_users 1000000, "
        "storage_quota_gb 2000000000, max_assets 1000000, features ['a', 'b']\n"
    )
    [(action, before, after, _, reason)] = told(acme)
    assert (action, reason) == ("plan_changed", WHY)
    assert before == {"subscription_tier": "basic", "max_devices": 5, "features": []}
    assert after == {"subscription_tier": "enterprise", "max_devices": 50, "features": ["a", "b"]}
    command("set_plan", "--tenant", "acme", "--reason", WHY, "--max-devices", "50")
    assert len(told(acme)) == 1


@pytest.mark.parametrize("value", [-1, 2**31])
def test_a_limit_that_cannot_be(acme: Inhabited, world: World, value: int) -> None:
    with nothing_changed(world), pytest.raises(CommandError, match="A limit is between"):
        command("set_plan", "--tenant", "acme", "--reason", WHY, f"--max-users={value}")
    with acting_as(operator(acme.tenant.pk)) as actor, pytest.raises(InvalidInput):
        set_plan(actor=actor, changes={"subscription_tier": "gold"}, reason=WHY)


def test_a_deletion_is_scheduled_and_called_off(acme: Inhabited, settings: Settings) -> None:
    settings.DELETION_GRACE_DAYS = 10
    for arguments, days in (([], 10), (["--grace-days", "0"], 0), (["--grace-days", "2"], 2)):
        printed = command("delete_tenant", "--tenant", "acme", "--reason", WHY, *arguments)
        at = tenant_of(acme).deletes_at
        assert at is not None
        assert abs(at - timezone.now() - timedelta(days=days)) < timedelta(minutes=5)
        assert printed == f"acme is deleted from {at:%Y-%m-%d %H:%M} on.\n"
    assert command("delete_tenant", "--tenant", "acme", "--reason", WHY, "--cancel") == (
        "acme stays.\n"
    )
    assert tenant_of(acme).deletes_at is None
    assert [one[0] for one in told(acme)] == ["deletion_requested"] * 3 + ["deletion_cancelled"]


@pytest.mark.parametrize("name", ["suspend_tenant", "resume_tenant", "set_plan", "delete_tenant"])
def test_commands_name_a_tenant_and_a_reason(world: World, name: str) -> None:
    with nothing_changed(world):
        for arguments in ([], ["--tenant", "acme"], ["--reason", WHY]):
            with pytest.raises(CommandError, match="required"):
                command(name, *arguments)
        with pytest.raises(CommandError, match="no tenant 'nobody'"):
            command(name, "--tenant", "nobody", "--reason", WHY)
        with pytest.raises(CommandError, match="Say why"):
            command(name, "--tenant", "acme", "--reason", " ")


@pytest.mark.django_db(databases=["default", "owner"])
def test_tenants_are_listed_without_what_is_their_own(world: World) -> None:
    lines = command("list_tenants").splitlines()
    assert [line.split(" ")[1:4] for line in lines] == [
        ["acme", "(basic,", "active)"],
        ["globex", "(basic,", "active)"],
        ["initech", "(basic,", "suspended)"],
    ]
    [row] = map(json.loads, command("list_tenants", "--suspended", "--json").splitlines())
    assert (row["id"], row["slug"], row["is_active"]) == (
        str(world.initech.tenant.pk),
        "initech",
        False,
    )
