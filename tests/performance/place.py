"""A tenant of a benchmark's own, with assets that play and devices; it goes when the block ends."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex, token_urlsafe
from typing import TYPE_CHECKING

from django.db import connections, transaction

from assets.models import Asset, new_asset_id
from rls import acting_as
from tenancy.actors import operator, person
from tenancy.devices import register_device
from tenancy.models import Device, Membership, Tenant, User
from tenancy.people import create_user
from tenancy.tenants import LEGACY_PLAN, create_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from tenancy.actors import Actor

YEAR = timedelta(days=365)


@dataclass(slots=True)
class Place:
    """A tenant at `host`, its owner's name and password, and its devices' secrets."""

    actor: Actor
    host: str
    username: str
    password: str
    secrets: list[str] = field(default_factory=list)

    def add_assets(self, count: int) -> None:
        """Add web pages that play now, named and dated as a library's are."""
        now, tenant_id = datetime.now(UTC).replace(microsecond=0), self.actor.entered()
        with acting_as(self.actor):
            Asset.objects.bulk_create(
                (
                    Asset(
                        tenant_id=tenant_id,
                        asset_id=new_asset_id(),
                        name=f"Board {number} of the lobby",
                        uri=f"https://example.com/boards/{number}?size=large",
                        mimetype="webpage",
                        duration=10,
                        is_enabled=True,
                        start_date=now - YEAR,
                        end_date=now + YEAR,
                        play_order=number,
                    )
                    for number in range(count)
                ),
                batch_size=1000,
            )

    def add_devices(self, count: int) -> None:
        """Register players."""
        with acting_as(self.actor):
            for number in range(count):
                _row, secret = register_device(
                    actor=self.actor, values={"name": f"Player {number}"}
                )
                self.secrets.append(secret)


@contextmanager
def place() -> Iterator[Place]:
    """Make a tenant and its owner, and remove both afterwards."""
    slug, password = f"benchmark-{token_hex(6)}", token_urlsafe(16)
    owner = create_user(slug, password, email=f"{slug}@example.com")
    plan = replace(LEGACY_PLAN, max_assets=10**6)
    tenant = create_tenant(actor=person(owner.pk), name="Benchmark", slug=slug, plan=plan)
    actor = operator(tenant.pk, owner.pk)
    try:
        yield Place(actor, f"{slug}.localhost", slug, password)
    finally:
        _remove(tenant.pk, owner.pk)


def _remove(tenant: UUID, owner: UUID) -> None:
    """Remove all of it, as the owner of the tables: no login of the service may.

    What is counted goes before its count, which the counting would make anew.
    """
    if "owner" not in connections:
        return
    for model in (Asset, Device):
        model.objects.using("owner").filter(tenant_id=tenant).delete()
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        # No tenant loses its last owner, unless it goes with them.
        cursor.execute("ALTER TABLE tenant_users DISABLE TRIGGER owner_kept_at_delete")
        Membership.objects.using("owner").filter(tenant_id=tenant).delete()
        cursor.execute("ALTER TABLE tenant_users ENABLE TRIGGER owner_kept_at_delete")
        Tenant.objects.using("owner").filter(pk=tenant).delete()
        User.objects.using("owner").filter(pk=owner).delete()
