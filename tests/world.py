"""The people and tenants that every test finds: acme and globex, and initech, which is suspended.

Made by the real domain functions, as the application role. Every row's name carries the marker of
its tenant, which no other tenant's answer may ever contain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import connection

from assets.models import (
    Asset,
    AssetMigration,
    Backup,
    ImportRun,
    MigrationStatus,
    PlaybackDay,
    PlaybackReport,
    ReplacedRow,
    Reporter,
    Restore,
    ShareLink,
    Upload,
)
from rls import acting_as
from tenancy.actors import Actor, member, operator, person
from tenancy.audit import record
from tenancy.capabilities import create_capability
from tenancy.credentials import identify
from tenancy.devices import register_device
from tenancy.idempotency import Once
from tenancy.members import add_member
from tenancy.models import Invitation, Tenant, UserSession
from tenancy.people import create_user
from tenancy.permissions import Role
from tenancy.second_factor import begin_second_factor
from tenancy.tenants import create_tenant, update_settings
from tenancy.tokens import create_token

PASSWORD = "correct horse battery staple"
MARKERS = {"acme": "ACME-MARK", "globex": "GLOBEX-MARK", "initech": "INITECH-MARK"}


@dataclass(slots=True)
class Inhabited:
    """A tenant with one person per role; attributes are their actors."""

    tenant: Tenant
    marker: str
    actors: dict[str, Actor] = field(default_factory=dict)
    assets: list[Asset] = field(default_factory=list)

    def __getattr__(self, name: str) -> Actor:
        """Return the actor with that role: `acme.owner`, `acme.viewer`, …"""
        try:
            return self.actors[name]
        except KeyError:
            raise AttributeError(name) from None


def actor_in(tenant: Tenant, actor: Actor) -> Actor:
    """Return the person of `actor` as a member of `tenant`."""
    assert actor.user_id is not None
    identity = identify(actor.user_id)
    assert identity is not None
    return member(actor.user_id, next(m for m in identity.memberships if m.tenant_id == tenant.id))


def inhabit(slug: str) -> Inhabited:
    """Make the tenant `slug`, its five people `<slug>-<role>`, and three assets."""
    marker = MARKERS[slug]
    owner = person(create_user(f"{slug}-owner", PASSWORD, email=f"owner@{slug}.example").pk)
    tenant = create_tenant(actor=owner, name=f"{slug.title()} {marker}", slug=slug)
    inhabited = Inhabited(tenant, marker, {"owner": actor_in(tenant, owner)})
    for role in (Role.ADMIN, Role.MANAGER, Role.OPERATOR, Role.VIEWER):
        someone = person(create_user(f"{slug}-{role}", PASSWORD, email=f"{role}@{slug}.example").pk)
        with acting_as(operator(tenant.id)) as actor:
            add_member(actor=actor, user_id=someone.user_id, role=role)  # type: ignore[arg-type]
        inhabited.actors[role.value] = actor_in(tenant, someone)
    with acting_as(inhabited.owner):
        # Room for any test's library; tests of the limits lower them.
        Tenant.objects.filter(pk=tenant.pk).update(
            max_assets=10**6, storage_quota_gb=2 * 10**9, max_users=10**6
        )
        tenant.refresh_from_db()
        update_settings(
            actor=inhabited.owner, changes={"logo_url": f"https://{slug}.example/{marker}.png"}
        )
        inhabited.assets = Asset.objects.bulk_create(
            Asset(
                tenant=tenant,
                # The same ids live in every tenant, but for the last, which is this one's alone.
                asset_id=f"{number:032x}" if number < 2 else f"only-{slug}",
                name=f"{marker} asset {number}",
                uri=f"https://{slug}.example/{number}",
                mimetype="webpage",
                duration=10,
                is_enabled=True,
                play_order=number,
                tags=[marker],
                created_by_id=inhabited.owner.user_id,
            )
            for number in range(3)
        )
        run = ImportRun.objects.create(tenant=tenant, source=f"{marker}.db", era="2018-10")
        AssetMigration.objects.create(
            tenant=tenant,
            run=run,
            asset=inhabited.assets[0],
            original_asset_id=inhabited.assets[0].asset_id,
            new_asset_id=inhabited.assets[0].asset_id,
            migration_status=MigrationStatus.MIGRATED,
        )
        _surround(inhabited)
    return inhabited


def _surround(place: Inhabited) -> None:
    """Make one row in each table around the assets of `place`."""
    now = datetime.now(UTC)
    reporter = {"reporter": Reporter.MEMBER, "reporter_id": place.owner.user_id}
    # Begun and not confirmed: nobody is asked for a code.
    begin_second_factor(actor=place.owner)
    for actor in place.actors.values():
        with acting_as(actor):
            UserSession.objects.create(
                user_id=actor.oneself(),
                credential_version=1,
                expires_at=now + timedelta(days=3650),
                user_agent=place.marker,
            )
    register_device(actor=place.owner, values={"name": f"{place.marker} lobby"})
    for actor, name in ((place.viewer, "reader"), (place.owner, "program")):
        values = {"name": f"{place.marker} {name}", "permissions": ["assets.view"]}
        create_token(actor=actor, values=values)
    create_capability(actor=place.owner, name=f"{place.marker} script")
    Invitation.objects.create(
        tenant=place.tenant,
        email=f"{place.marker}@invited.example".lower(),
        role=Role.VIEWER,
        token_digest=f"digest of {place.marker}",
        invited_by_id=place.owner.user_id,
        expires_at=now + timedelta(days=3650),
    )
    Once(place.owner, place.marker, [b"a request"]).keep(200, place.marker)
    Upload.objects.create(
        tenant=place.tenant,
        handle=f"{1:032x}",
        file_name=f"{place.marker}.png",
        size=1000,
        expires_at=now + timedelta(days=3650),
    )
    ShareLink.objects.create(
        tenant=place.tenant,
        asset=place.assets[0],
        token_digest=f"digest of {place.marker}",
        expires_at=now + timedelta(days=3650),
    )
    PlaybackDay.objects.bulk_create(
        PlaybackDay(
            tenant=place.tenant,
            asset=asset,
            day=now.date(),
            plays=1,
            seconds=10,
            last_played_at=now,
            **reporter,
        )
        for asset in (place.assets[0], place.assets[2])
    )
    PlaybackReport.objects.create(tenant=place.tenant, key=place.marker, **reporter)
    _restored(place, now)
    _looked_after(place)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args) "
            "VALUES ('nobody', 'nothing', jsonb_build_object('tenant', %s::text))",
            [place.tenant.pk],
        )


def _looked_after(place: Inhabited) -> None:
    """Make an entry of the log by a person who has no other."""
    with acting_as(place.viewer):
        record(place.viewer, "thing.seen", subject="Thing", label=f"{place.marker} thing")


def _restored(place: Inhabited, now: datetime) -> None:
    """Make a backup of `place`, and a restore of long ago that kept a row."""
    run = ImportRun.objects.create(tenant=place.tenant, source=f"{place.marker}.tar.gz", era="")
    Backup.objects.create(
        tenant=place.tenant,
        name=f"{place.marker}.tar.gz",
        size=0,
        expires_at=now + timedelta(days=3650),
    )
    restore = Restore.objects.create(
        tenant=place.tenant,
        run=run,
        source=f"{place.marker}.tar.gz",
        created_at=now - timedelta(days=3650),
        expires_at=now + timedelta(days=3650),
    )
    ReplacedRow.objects.create(
        tenant=place.tenant, restore=restore, relation="nothing", row={"name": place.marker}
    )


@dataclass(slots=True)
class World:
    """Everything that is there before a test starts."""

    acme: Inhabited
    globex: Inhabited
    initech: Inhabited
    both: Actor
    outsider: Actor


def create_world() -> World:
    """Make the world in the database behind the `default` alias."""
    acme, globex, initech = (inhabit(slug) for slug in MARKERS)
    both = person(create_user("both", PASSWORD).pk)
    outsider = person(create_user("outsider", PASSWORD).pk)
    for place, role in ((acme, Role.VIEWER), (globex, Role.MANAGER)):
        with acting_as(operator(place.tenant.id)) as actor:
            add_member(actor=actor, user_id=both.user_id, role=role)  # type: ignore[arg-type]
    with acting_as(operator(initech.tenant.id)):
        Tenant.objects.filter(pk=initech.tenant.id).update(is_active=False)
    return World(acme, globex, initech, both, outsider)
