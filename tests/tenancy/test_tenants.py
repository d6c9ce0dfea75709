"""Tenants: who may make and change one, and that a refusal changes nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from rls import acting_as
from tenancy.actors import ANONYMOUS, Actor, ActorKind, operator, person
from tenancy.credentials import identify
from tenancy.errors import (
    Conflict,
    DomainError,
    Invalid,
    NotSignedIn,
    PermissionDenied,
    TenantRequired,
)
from tenancy.models import Membership, Tenant, TenantSettings, Tier
from tenancy.people import create_user
from tenancy.permissions import Role
from tenancy.tenants import (
    LEGACY_PLAN,
    create_tenant,
    find_tenant,
    update_settings,
    update_tenant,
)
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD, actor_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import DjangoDbBlocker

    from tests.world import Inhabited, World


# --- updating -----------------------------------------------------------------------------------


def test_what_is_left_out_stays(acme: Inhabited, world: World) -> None:
    with acting_as(acme.owner):
        before: dict[str, Any] = dict(TenantSettings.objects.values().get())
        tenant_before: dict[str, Any] = dict(Tenant.objects.values().get(pk=acme.tenant.id))
        update_settings(actor=acme.owner, changes={"timezone": "Europe/Berlin"})
        after: dict[str, Any] = dict(TenantSettings.objects.values().get())
        update_tenant(actor=acme.owner, changes={"name": "Acme 2"})
        tenant_after: dict[str, Any] = dict(Tenant.objects.values().get(pk=acme.tenant.id))
    assert after.pop("updated_at") > before.pop("updated_at")
    assert after == before | {"timezone": "Europe/Berlin"}
    assert tenant_after.pop("updated_at") > tenant_before.pop("updated_at")
    assert tenant_after == tenant_before | {"name": "Acme 2"}
    with nothing_changed(world), acting_as(acme.owner):
        update_settings(actor=acme.owner, changes={})
        update_tenant(actor=acme.owner, changes={})


def test_what_is_there_already_is_not_changed(acme: Inhabited, world: World) -> None:
    with acting_as(acme.owner):
        update_settings(actor=acme.owner, changes={"integrations": {"a": 1, "b": {"c": []}}})
    with nothing_changed(world), acting_as(acme.owner):
        update_settings(
            actor=acme.owner,
            changes={"integrations": {"b": {"c": []}, "a": 1}, "primary_color": "#007BFF"},
        )
        update_tenant(actor=acme.owner, changes={"name": acme.tenant.name})
    with acting_as(acme.owner):
        update_settings(actor=acme.owner, changes={"integrations": {"a": True, "b": {"c": []}}})
        assert TenantSettings.objects.get().integrations["a"] is True


def test_the_other_tenant_is_untouched(acme: Inhabited, globex: Inhabited) -> None:
    def rows() -> list[Any]:
        with acting_as(globex.owner):
            return [*Tenant.objects.values(), *TenantSettings.objects.values()]

    before = rows()
    with acting_as(acme.owner):
        update_tenant(actor=acme.owner, changes={"name": "Changed", "slug": "changed"})
        update_settings(actor=acme.owner, changes={"primary_color": "#000000"})
    assert rows() == before


@pytest.mark.parametrize(
    ("role", "tenant", "preferences"),
    [
        (Role.OWNER, True, True),
        (Role.ADMIN, True, True),
        (Role.MANAGER, False, False),
        (Role.OPERATOR, False, False),
        (Role.VIEWER, False, False),
    ],
)
def test_who_may_change_what(
    acme: Inhabited,
    world: World,
    role: Role,
    tenant: bool,  # noqa: FBT001
    preferences: bool,  # noqa: FBT001
) -> None:
    actor = acme.actors[role.value]
    calls: list[tuple[bool, str, Callable[[], object]]] = [
        (tenant, "tenant.edit", lambda: update_tenant(actor=actor, changes={"name": "Changed"})),
        (
            preferences,
            "tenant.settings",
            lambda: update_settings(actor=actor, changes={"timezone": "Asia/Tokyo"}),
        ),
    ]
    for allowed, permission, call in calls:
        if allowed:
            with acting_as(actor):
                call()
        else:
            with (
                nothing_changed(world),
                acting_as(actor),
                pytest.raises(PermissionDenied, match=permission),
            ):
                call()


def test_who_is_nowhere_changes_nothing(world: World) -> None:
    bad: dict[str, Any] = {"name": ""}
    with nothing_changed(world):
        for actor, error in (
            (ANONYMOUS, NotSignedIn),
            (world.both, TenantRequired),
            (world.outsider, TenantRequired),
        ):
            with acting_as(actor):
                # The refusal comes first: nobody learns what would be valid here.
                with pytest.raises(error):
                    update_tenant(actor=actor, changes=bad)
                with pytest.raises(error):
                    update_settings(actor=actor, changes=bad)


def test_the_door_decides_and_not_the_argument(acme: Inhabited, globex: Inhabited) -> None:
    """An actor of one tenant inside another one's door finds nothing to change."""
    with acting_as(globex.owner):
        with pytest.raises(Tenant.DoesNotExist):
            update_tenant(actor=acme.owner, changes={"name": "Taken over"})
        with pytest.raises(TenantSettings.DoesNotExist):
            update_settings(actor=acme.owner, changes={"timezone": "UTC"})


def test_a_slug_can_be_changed_to_a_free_one_only(acme: Inhabited, world: World) -> None:
    for slug in ("globex", "initech"):
        with nothing_changed(world), acting_as(acme.owner), pytest.raises(Conflict) as refused:
            update_tenant(actor=acme.owner, changes={"slug": slug, "name": "Changed"})
        assert refused.value.field == ("slug",)
        assert refused.value.message == f"The slug {slug!r} is taken; choose another."
    with acting_as(acme.owner):
        tenant = update_tenant(actor=acme.owner, changes={"slug": "acme-two"})
        assert tenant.url.split("//")[1].startswith("acme-two.")
        # The database keeps its name: nobody moves data because a name has changed.
        assert tenant.database_name == "anthias_tenant_acme"
    assert find_tenant("acme-two") == acme.tenant.id
    assert find_tenant("acme") is None


# --- creating -----------------------------------------------------------------------------------


def test_a_new_tenant_has_the_missions_defaults(world: World) -> None:
    tenant = create_tenant(actor=world.outsider, name=" New Co ", slug="new-co")
    owner = actor_in(tenant, world.outsider)
    with acting_as(owner):
        row: dict[str, Any] = dict(Tenant.objects.values().get(pk=tenant.id))
        settings: dict[str, Any] = dict(TenantSettings.objects.values().get())
        members = list(Membership.objects.values("user_id", "role", "permissions", "is_active"))
    assert row.pop("created_at") <= row.pop("updated_at")
    assert row == {
        "id": tenant.id,
        "name": "New Co",
        "slug": "new-co",
        "domain": None,
        "domain_verified_at": None,
        "requested_domain": "",
        "domain_token": "",
        "domain_failing_since": None,
        "deletes_at": None,
        "database_name": "anthias_tenant_new_co",
        "is_active": True,
        "subscription_tier": "basic",
        "max_devices": 5,
        "max_users": 10,
        "storage_quota_gb": 10,
        "max_assets": 100,
        "features": [],
        "settings": {},
    }
    for name in ("id", "updated_at"):
        del settings[name]
    assert settings == {
        "tenant_id": tenant.id,
        "default_asset_duration": 10,
        "timezone": "UTC",
        "logo_url": "",
        "primary_color": "#007bff",
        "secondary_color": "#6c757d",
        "email_notifications": True,
        "webhook_url": "",
        "require_2fa": False,
        "allowed_domains": [],
        "device_settings": {},
        "integrations": {},
    }
    assert members == [
        {
            "user_id": id_of(world.outsider),
            "role": "owner",
            "permissions": [],
            "is_active": True,
        }
    ]
    assert owner.role is Role.OWNER
    assert find_tenant("new-co") == tenant.id


def test_a_plan_decides_the_limits(world: World) -> None:
    tenant = create_tenant(
        actor=Actor(kind=ActorKind.OPERATOR),
        name="Old",
        slug="old",
        plan=LEGACY_PLAN,
        owner_id=id_of(world.both),
    )
    assert (tenant.subscription_tier, tenant.features) == (Tier.LEGACY, ["legacy_migration"])
    assert (tenant.max_devices, tenant.max_users) == (9999, 100)
    assert (tenant.storage_quota_gb, tenant.max_assets) == (1000, 10_000)
    assert actor_in(tenant, world.both).role is Role.OWNER


def test_a_tenant_can_be_founded_inside_another_ones_door(acme: Inhabited) -> None:
    with acting_as(acme.viewer):
        tenant = create_tenant(actor=acme.viewer, name="Mine", slug="mine")
        # And the outer door is as it was.
        assert [row.slug for row in Tenant.objects.filter(pk=acme.tenant.id)] == ["acme"]
        assert TenantSettings.objects.get().tenant_id == acme.tenant.id
    assert actor_in(tenant, acme.viewer).role is Role.OWNER


def test_nobody_creates_a_tenant_without_signing_in(world: World) -> None:
    with nothing_changed(world), pytest.raises(NotSignedIn):
        create_tenant(actor=ANONYMOUS, name="", slug="")
    assert find_tenant("") is None


@pytest.mark.parametrize("slug", ["-x", "Admin", "admin", "a_b", "acme\n", "x" * 64, "xn--x"])
def test_a_bad_slug_makes_no_tenant(world: World, slug: str) -> None:
    with pytest.raises(Invalid) as refused:
        create_tenant(actor=world.outsider, name="Good", slug=slug)
    assert [error.field for error in refused.value.errors] == [("slug",)]
    assert find_tenant(slug) is None


def test_a_refused_tenant_leaves_nothing_behind(world: World) -> None:
    memberships = identify(id_of(world.outsider))
    with nothing_changed(world):
        with pytest.raises(Invalid) as refused:
            create_tenant(actor=world.outsider, name=" ", slug="-x")
        assert [error.field for error in refused.value.errors] == [("name",), ("slug",)]
        for slug in ("acme", "initech"):
            before = find_tenant(slug)
            with pytest.raises(Conflict) as taken:
                create_tenant(actor=world.outsider, name="Me too", slug=slug)
            assert taken.value.field == ("slug",)
            assert find_tenant(slug) == before
    assert identify(id_of(world.outsider)) == memberships
    # The transaction is still good.
    assert create_tenant(actor=world.outsider, name="Now", slug="now").slug == "now"


def test_a_slug_that_was_given_up_can_be_had(acme: Inhabited, world: World) -> None:
    """Its database name cannot: the first tenant's data may lie there."""
    with acting_as(acme.owner):
        update_tenant(actor=acme.owner, changes={"slug": "acme-two"})
    first = create_tenant(actor=world.outsider, name="Another Acme", slug="acme")
    assert first.database_name == f"anthias_tenant_acme_{first.id.hex[-8:]}"
    assert find_tenant("acme") == first.id
    with nothing_changed(world), pytest.raises(Conflict):
        create_tenant(actor=world.outsider, name="A third", slug="acme")


def test_slugs_that_differ_have_databases_that_differ(world: World) -> None:
    """A slug has no underscore, so hyphens can become some without meeting another's."""
    names = [
        create_tenant(actor=world.outsider, name="x", slug=slug).database_name
        for slug in ("a-b", "ab", "a--b", "a-b-", "ab-c")
        if not slug.endswith("-")
    ]
    assert names == [
        "anthias_tenant_a_b",
        "anthias_tenant_ab",
        "anthias_tenant_a__b",
        "anthias_tenant_ab_c",
    ]


def test_the_database_refuses_a_slug_that_is_no_label(acme: Inhabited) -> None:
    for slug in ("Admin", "-x", "acme\n", "xn--x", "x" * 64, ""):
        with acting_as(acme.owner), pytest.raises(IntegrityError), transaction.atomic():
            Tenant.objects.filter(pk=acme.tenant.id).update(slug=slug)


@pytest.mark.parametrize(
    "slug", ["nobody", "", "ACME", "acme\n", "acme\x00", "\ud800", "ac%", "x" * 10**6, "' OR 1=1"]
)
def test_no_other_spelling_finds_a_tenant(world: World, slug: str) -> None:
    del world
    assert find_tenant(slug) is None


def test_one_of_two_who_want_a_slug_at_once_gets_it(
    scratch_database: str, django_db_blocker: DjangoDbBlocker
) -> None:
    del scratch_database
    with django_db_blocker.unblock():
        people = [person(create_user(f"founder-{n}", PASSWORD).pk) for n in range(4)]
        barrier = threading.Barrier(4)
        results: list[object] = []

        def found(actor: Actor) -> None:
            try:
                barrier.wait(10)
                results.append(create_tenant(actor=actor, name="Mine", slug="mine").id)
            except DomainError as error:
                results.append((type(error), error.field))
            finally:
                connection.close()

        threads = [threading.Thread(target=found, args=[actor]) for actor in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        made = [result for result in results if not isinstance(result, tuple)]
        assert len(made) == 1
        assert results.count((Conflict, ("slug",))) == 3
        assert find_tenant("mine") == made[0]
        assert isinstance(made[0], UUID)
        with acting_as(operator(made[0])):
            assert Membership.objects.count() == TenantSettings.objects.count() == 1
        identities = [identify(id_of(actor)) for actor in people]
        assert sorted(len(one.memberships) for one in identities if one) == [0, 0, 0, 1]
