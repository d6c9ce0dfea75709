"""`create_tenant` and `add_member`: what they print, and one clear line when they refuse."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from rls import acting_as
from tenancy.actors import operator
from tenancy.credentials import identify, verify_password
from tenancy.models import Membership, Tenant, TenantSettings
from tenancy.people import find_user
from tenancy.tenants import find_tenant
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD

if TYPE_CHECKING:
    from tests.world import World


def run(*arguments: str, stdin: str = "", monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    if monkeypatch is not None:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_create_tenant_prints_id_and_address(world: World) -> None:
    out = run("create_tenant", "new-co", "--name", "New Co", "--owner", "OUTSIDER")
    tenant_id, url = out.split()
    assert url == "https://new-co.signage.test"
    assert find_tenant("new-co") == UUID(tenant_id)
    with acting_as(operator(UUID(tenant_id))):
        tenant = Tenant.objects.get(pk=tenant_id)
        assert (tenant.name, tenant.subscription_tier) == ("New Co", "basic")
        assert TenantSettings.objects.count() == 1
        assert [(m.user_id, m.role) for m in Membership.objects.all()] == [
            (id_of(world.outsider), "owner")
        ]


def test_create_tenant_without_an_owner_has_no_member(world: World) -> None:
    del world
    tenant_id = UUID(run("create_tenant", "empty", "--tier", "enterprise").split()[0])
    with acting_as(operator(tenant_id)):
        tenant = Tenant.objects.get(pk=tenant_id)
        assert (tenant.name, tenant.subscription_tier) == ("empty", "enterprise")
        assert Membership.objects.count() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acme"], "The slug 'acme' is taken"),
        (["initech"], "The slug 'initech' is taken"),
        (["Admin"], "A slug has 1 to 63 lower-case letters"),
        (["admin"], "The slug 'admin' is reserved"),
        (["a\udcff"], "half of a surrogate pair"),
        (["good", "--name", "\udcff"], "half of a surrogate pair"),
        (["good", "--name", " "], "A name cannot be empty"),
        (["good", "--owner", "nobody"], "There is no active person called 'nobody'"),
        (["good", "--owner", "\udcff"], "There is no active person called"),
        (["good", "--owner", ""], "There is no active person called ''"),
        (["good", "--tier", "golden"], "invalid choice: 'golden'"),
        ([], "the following arguments are required: slug"),
    ],
)
def test_create_tenant_refuses_with_one_line(
    world: World, arguments: list[str], message: str
) -> None:
    with nothing_changed(world), pytest.raises(CommandError) as refused:
        run("create_tenant", *arguments)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert find_tenant("good") is None


def test_add_member_makes_a_person_on_the_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = run(
        *("add_member", "acme", "newcomer", "--role", "manager", "--email", "n@example.com"),
        *("--permission", "devices.*", "--permission", "users.view"),
        stdin=f"{PASSWORD}\nignored\n",
        monkeypatch=monkeypatch,
    )
    membership_id, rest = out.split(" ", 1)
    assert rest == "newcomer is manager of acme\n"
    assert PASSWORD not in out
    user_id = find_user("newcomer")
    assert user_id is not None
    assert verify_password("newcomer", PASSWORD, "-") == (user_id, 1)
    identity = identify(user_id)
    assert identity is not None
    (state,) = identity.memberships
    assert (str(state.id), state.tenant_id) == (membership_id, world.acme.tenant.id)
    assert (state.role, state.permissions) == ("manager", ("devices.*", "users.view"))


def test_add_member_asks_a_terminal_for_the_password(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    del world
    asked: list[str] = []

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return PASSWORD

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", ask)
    run("add_member", "acme", "newcomer")
    assert asked == ["Password of the new person: "]
    assert verify_password("newcomer", PASSWORD, "-")


def test_add_member_takes_who_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No password is asked for, and theirs stays."""
    out = run("add_member", "globex", "Outsider", stdin="other\n", monkeypatch=monkeypatch)
    assert out.endswith(" Outsider is viewer of globex\n")
    assert verify_password("outsider", PASSWORD, "-") == (id_of(world.outsider), 1)
    identity = identify(id_of(world.outsider))
    assert identity is not None
    assert [m.slug for m in identity.memberships] == ["globex"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["nowhere", "newcomer"], PASSWORD, "There is no tenant 'nowhere'"),
        (["\udcff", "newcomer"], PASSWORD, "There is no tenant"),
        (["acme", "acme-viewer"], "", "This person is already a member."),
        (["acme", "newcomer"], "", "This password is too short"),
        (["acme", "newcomer"], "short", "This password is too short"),
        (["acme", "new comer"], PASSWORD, "Enter a valid username"),
        (["acme", "new\udcff"], PASSWORD, "Enter a valid username"),
        (["acme", "newcomer", "--email", "nope"], PASSWORD, "Enter a valid email"),
        (["acme", "newcomer", "--role", "god"], PASSWORD, "invalid choice: 'god'"),
        (["acme"], PASSWORD, "the following arguments are required: username"),
    ],
)
def test_add_member_refuses_with_one_line(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    stdin: str,
    message: str,
) -> None:
    with nothing_changed(world), pytest.raises(CommandError) as refused:
        run("add_member", *arguments, stdin=stdin, monkeypatch=monkeypatch)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert find_user("newcomer") is None


def test_add_member_leaves_no_person_behind_when_the_membership_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        nothing_changed(world),
        pytest.raises(CommandError, match="There is no permission 'nonsense'"),
    ):
        run(
            *("add_member", "acme", "newcomer", "--permission", "nonsense"),
            stdin=PASSWORD,
            monkeypatch=monkeypatch,
        )
    assert find_user("newcomer") is None
