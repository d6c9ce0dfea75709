"""The demonstration's content: two tenants, their people, a sample library each.

Called by `manage.py demo`. Made by the same functions that people's own tenants are made by, and
safe to make again: what is there stays.
"""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from django.conf import settings
from django.core.cache import cache

from assets.importing import import_library
from project.embedded import DATABASE
from project.local import ensure_folder, read_json, write_private
from rls import acting_as
from rls.roles import create_roles
from tenancy.actors import operator, person
from tenancy.errors import Conflict
from tenancy.members import add_member
from tenancy.people import create_user, find_user, set_password
from tenancy.permissions import Role
from tenancy.tenants import create_tenant, find_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

SAMPLES = Path(settings.BASE_DIR) / "assets" / "samples"
STORED = Path(settings.BASE_DIR) / ".local" / "demo.json"


@dataclass(frozen=True)
class SampleTenant:
    """A tenant of the demonstration: who is in it, and which library it gets."""

    slug: str
    name: str
    members: Mapping[str, Role]
    library: Path
    media: Path

    @property
    def owner(self) -> str:
        """The username of its owner."""
        return next(name for name, role in self.members.items() if role is Role.OWNER)


TENANTS = (
    SampleTenant(
        slug="acme",
        name="Acme",
        members={
            "acme-owner": Role.OWNER,
            "acme-manager": Role.MANAGER,
            "acme-viewer": Role.VIEWER,
            "both": Role.VIEWER,
        },
        library=SAMPLES / "anthias-current" / "anthias.db",
        media=SAMPLES / "anthias-current" / "anthias_assets",
    ),
    SampleTenant(
        slug="globex",
        name="Globex",
        members={"globex-owner": Role.OWNER, "both": Role.MANAGER},
        library=SAMPLES / "screenly-2016-03" / "screenly.db",
        media=SAMPLES / "screenly-2016-03" / "screenly_assets",
    ),
)


def choose_password(wanted: str) -> tuple[str, bool]:
    """Return everybody's password and whether those who exist have to be given it.

    `wanted`, or the one of last time, or a new one. Kept where only this account can read it.
    """
    ensure_folder()
    last = str(read_json(STORED).get("password", ""))
    password = wanted or last or secrets.token_urlsafe(12)
    return password, password != last


def remember_password(password: str) -> None:
    """Keep `password` for the next time; called once everybody has it."""
    write_private(STORED, json.dumps({"password": password}) + "\n")


def make_people(password: str, *, anew: bool) -> dict[str, UUID]:
    """Return everybody's id by username; `anew` gives those who exist this password too.

    Raises InvalidInput for a password that is too weak.
    """
    people = {}
    for username in dict.fromkeys(name for tenant in TENANTS for name in tenant.members):
        known = find_user(username)
        if known is None:
            known = create_user(username, password, email=f"{username}@example.com").pk
        elif anew:
            set_password(known, password)
        people[username] = known
    return people


def make_tenant(sample: SampleTenant, people: Mapping[str, UUID]) -> UUID:
    """Return the id of the tenant, with its members and its library imported."""
    owner = people[sample.owner]
    tenant_id = find_tenant(sample.slug)
    if tenant_id is None:
        tenant_id = create_tenant(actor=person(owner), name=sample.name, slug=sample.slug).id
    for username, role in sample.members.items():
        if username == sample.owner:
            continue
        try:
            with acting_as(operator(tenant_id, owner)) as actor:
                add_member(actor=actor, user_id=people[username], role=role)
        except Conflict:
            continue
    import_library(
        sample.library,
        actor=operator(tenant_id, owner),
        assets_dir=sample.media,
        preserve_ids=True,
    )
    return tenant_id


def forget_everything() -> None:
    """Drop the embedded database, the media and the cache, and make the database empty.

    For embedded servers only: the caller has made sure. Raises BusyError when somebody else works
    on the database, who would lose it.
    """
    with psycopg.connect(settings.DATABASE_SUPERUSER_URL, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = %s AND backend_type = 'client backend'",
            [DATABASE],
        ).fetchone()
        if row is not None and row[0]:
            raise BusyError
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    create_roles(settings.DATABASE_SUPERUSER_URL, database=DATABASE, passwords={}, createdb=True)
    cache.clear()
    shutil.rmtree(settings.MEDIA_ROOT, ignore_errors=True)
    STORED.unlink(missing_ok=True)


class BusyError(Exception):
    """Another process is connected to the embedded database."""
