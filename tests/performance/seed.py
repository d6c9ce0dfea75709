"""A database of the benchmark's own, full of tenants and assets; it goes when the block ends.

Set-based, as the owner of the tables: a million assets in a minute or two. One in fifty tenants has
10,000 assets and the others a thousand on average, so that 1,000 tenants have 1,000,000. Each has
ten members. Rows lie in the table a few of each tenant at a time, as people add them.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connections, transaction

from assets.models import Asset
from rls import acting_as
from tenancy.actors import person
from tenancy.models import Membership, Tenant, TenantSettings, User
from tenancy.tokens import create_token
from tests import databases
from tests.world import actor_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db import models
    from django.db.backends.utils import CursorWrapper

ASSETS_PER_TENANT = 1_000
LARGE, ONE_IN = 10_000, 50
MEMBERS = 10
# What a tenant adds at a time: so many of its rows lie beside each other.
AT_A_TIME = 20
# Tenants that are asked, as many large ones as fit and the rest as various as there are.
ASKED, ASKED_LARGE = 16, 4
ASKED_AT_LEAST = 500
KEPT = "benchmark_kept_"

# Keys as the service makes them (UUIDv7), in the order of rows: a moment and a number.
_KEY = (
    "(lpad(to_hex(%(moment)s::bigint + {0}), 12, '0') || '7000a{1}00' || lpad(to_hex({0}), 12, '0'))"
    "::uuid"
)
_TENANT_KEY, _USER_KEY, _ASSET_KEY = (
    _KEY.format(number, kind)
    for kind, number in (("0", "rank"), ("1", "(rank * 100 + one)"), ("2", "number"))
)
PLAN = f"""
CREATE TEMP TABLE planned AS
SELECT rank, size, {_TENANT_KEY} AS tenant_id,
       (SELECT array_agg({_USER_KEY} ORDER BY one) FROM generate_series(1, {MEMBERS}) one) AS people
FROM unnest(%(sizes)s::int[]) WITH ORDINALITY AS sized(size, rank)
"""
# A few of each tenant, and again a few of each.
ROWS = f"""
(SELECT row_number() OVER () AS number, * FROM (
   SELECT tenant_id, rank, people, place FROM planned, generate_series(0, size - 1) AS place
   ORDER BY place / {AT_A_TIME}, rank) AS ordered) AS seeded
"""
_MOMENT = "(%(now)s::timestamptz - interval '1 year' + number * interval '17.000123 seconds')"
_IS_FILE = "place %% 3 <> 0"
ASSETS = {
    "id": _ASSET_KEY,
    "tenant_id": "tenant_id",
    "asset_id": f"replace({_ASSET_KEY}::text, '-', '')",
    "name": "'Board ' || place || ' of the lobby'",
    "uri": "'https://example.com/boards/' || number || '?size=large'",
    "md5": f"CASE WHEN {_IS_FILE} THEN md5(number::text) END",
    "start_date": "CASE WHEN place %% 4 <> 0 THEN date_trunc('day', %(now)s::timestamptz) "
    "- (place %% 400) * interval '1 day' END",
    "end_date": "CASE WHEN place %% 4 <> 0 THEN date_trunc('day', %(now)s::timestamptz) "
    "+ (place %% 300 + 1) * interval '1 day' END",
    "duration": "10 + place %% 50",
    "mimetype": "(ARRAY['webpage', 'image', 'video'])[1 + place %% 3]",
    "is_enabled": "place %% 11 <> 0",
    "play_order": "place",
    "created_by_id": f"people[1 + place %% {MEMBERS}]",
    "created_at": _MOMENT,
    "updated_at": f"{_MOMENT} + interval '2.5 hours'",
    "tags": "(ARRAY['lobby', 'menu', 'sale', 'news'])[1 : place %% 4]",
    "description": "CASE WHEN place %% 5 = 0 THEN 'What hangs beside door ' || number ELSE '' END",
    "file_size": f"CASE WHEN {_IS_FILE} THEN 100000 + number %% 900000 END",
    "view_count": "number %% 1000",
    "last_viewed": f"CASE WHEN place %% 2 = 0 THEN {_MOMENT} + interval '3 days' END",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A tenant whose data are asked for: its owner, an API token of theirs, its assets' keys."""

    tenant: UUID
    owner: UUID
    token: str
    assets: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Library:
    """A seeded database, and how to log in to it as the application does."""

    database: str
    url: str
    asked: tuple[Asked, ...]
    assets: int
    tenants: int


def sizes(assets: int) -> list[int]:
    """Return how many assets each tenant has, `assets` in all: one in fifty has 10,000."""
    tenants = max(2, assets // ASSETS_PER_TENANT)
    large = [LARGE] * (tenants // ONE_IN)
    count = tenants - len(large)
    average = (assets - sum(large)) / count
    # From two fifths of the average to eight fifths, evenly.
    rest = [round(average * (0.4 + 1.2 * (n + 0.5) / count)) for n in range(count)]
    rest[-1] += assets - sum(large) - sum(rest)
    return large + rest


@contextmanager
def seeded(assets: int, *, template: str, keep: bool = False) -> Iterator[Library]:
    """Yield a database with so many assets; `keep` leaves it for the next run, or takes that one.

    `template` is a migrated database that nobody is connected to.
    """
    name = f"{KEPT}{assets}" if keep else f"benchmark_{uuid4().hex[:12]}"
    stamp = _stamp(template)
    try:
        if not (keep and _stamped(name) == stamp):
            databases.drop(name)
            databases.create(name, template)
            with databases.pointed_at(name):
                _fill(sizes(assets))
                with connections["owner"].cursor() as cursor:
                    cursor.execute(f"COMMENT ON DATABASE {name} IS '{stamp}'")
        planned = sizes(assets)
        with databases.pointed_at(name):
            asked = _asked()
        yield Library(name, url(name), asked, sum(planned), len(planned))
    finally:
        if not keep:
            databases.drop(name)


def url(database: str) -> str:
    """Return the URL of a database for the application's role, as libpq and Node read it."""
    given = settings.DATABASES["default"]
    login = f"{quote(given['USER'])}:{quote(given['PASSWORD'], safe='')}"
    port = f"&port={given['PORT']}" if given["PORT"] else ""
    return f"postgresql://{login}@/{database}?host={quote(given['HOST'], safe='')}{port}"


def _stamp(template: str) -> str:
    """Return what a kept database has to have been made by."""
    with databases.pointed_at(template), connections["owner"].cursor() as cursor:
        cursor.execute("SELECT string_agg(app || name, ' ' ORDER BY id) FROM django_migrations")
        (migrations,) = cursor.fetchone()
    return sha256(Path(__file__).read_bytes() + migrations.encode()).hexdigest()


def _stamped(name: str) -> str:
    """Return the stamp of a database that is there; nothing where there is none."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
            [name],
        )
        row = cursor.fetchone()
    return (row and row[0]) or ""


def _fill(planned: list[int]) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    values: dict[str, Any] = {
        "sizes": planned,
        "now": now,
        "moment": int((now - timedelta(days=365)).timestamp() * 1000),
    }
    per_person = "planned, unnest(people) WITH ORDINALITY AS member(person, one)"
    roles = (
        "CASE one WHEN 1 THEN 'owner' WHEN 2 THEN 'admin' WHEN 3 THEN 'manager' ELSE 'viewer' END"
    )
    joined = "%(now)s::timestamptz - interval '1 year' + one * interval '1 day'"
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        # An index cannot be made while keys wait to be checked.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(PLAN, values)
        named = {
            "id": "tenant_id",
            "name": "'Tenant ' || rank",
            "slug": "'tenant-' || rank",
            "database_name": "'anthias_tenant_' || rank",
            "max_users": "1000000",
            "max_assets": "1000000",
            "storage_quota_gb": "1000000",
        }
        _insert(cursor, Tenant, named, "planned", values)
        own = {"id": "gen_random_uuid()", "tenant_id": "tenant_id"}
        _insert(cursor, TenantSettings, own, "planned", values)
        person = {"id": "person", "username": "'person-' || rank || '-' || one"}
        _insert(cursor, User, person, per_person, values)
        belonging = {**own, "user_id": "person", "role": roles, "joined_at": joined}
        _insert(cursor, Membership, belonging, per_person, values)
        with _unhindered(cursor):
            _insert(cursor, Asset, ASSETS, ROWS, values)
        cursor.execute("DROP TABLE planned")
    with connections["owner"].cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


@contextmanager
def _unhindered(cursor: CursorWrapper) -> Iterator[None]:
    """Take the assets' indexes and foreign keys away, and make them again over all rows at once."""
    cursor.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index i "
        "WHERE indrelid = 'assets'::regclass "
        "AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)"
    )
    indexes = cursor.fetchall()
    cursor.execute(
        "SELECT quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'assets'::regclass AND contype = 'f'"
    )
    keys = cursor.fetchall()
    cursor.execute("DROP INDEX " + ", ".join(name for name, _ in indexes))
    for name, _ in keys:
        cursor.execute(f"ALTER TABLE assets DROP CONSTRAINT {name}")
    yield
    cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
    for _, definition in indexes:
        cursor.execute(definition)
    for name, definition in keys:
        cursor.execute(f"ALTER TABLE assets ADD CONSTRAINT {name} {definition}")


def _insert(
    cursor: CursorWrapper,
    model: type[models.Model],
    given: Mapping[str, str],
    rows: str,
    values: Mapping[str, Any],
) -> None:
    """Insert a row for each of `rows`: `given` in SQL, every other column as Django has it."""
    columns, parameters = dict(given), dict(values)
    for field in model._meta.local_concrete_fields:
        if field.generated or not field.column or field.column in columns:
            continue
        default = field.pre_save(model(), add=True)
        parameters[field.column] = field.get_db_prep_save(default, connections["owner"])
        columns[field.column] = f"%({field.column})s"
    cursor.execute(
        f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) "
        f"SELECT {', '.join(columns.values())} FROM {rows}",
        parameters,
    )


def _asked() -> tuple[Asked, ...]:
    """Return the tenants to ask, each with a token that its owner makes."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, user_id, assets FROM tenant_usage JOIN tenant_users "
            "USING (tenant_id) WHERE role = 'owner' ORDER BY assets DESC, tenant_id"
        )
        found = cursor.fetchall()
        enough = [row for row in found if row[2] >= ASKED_AT_LEAST] or found
        large = [row for row in enough if row[2] >= LARGE][:ASKED_LARGE]
        others = [row for row in enough if row[2] < LARGE]
        step = max(1, len(others) // (ASKED - len(large)))
        chosen = large + others[::step][: ASKED - len(large)]
        return tuple(_asked_of(cursor, *row[:2]) for row in chosen)


def _asked_of(cursor: CursorWrapper, tenant_id: UUID, owner_id: UUID) -> Asked:
    tenant = Tenant.objects.using("owner").get(pk=tenant_id)
    owner = actor_in(tenant, person(owner_id))
    values = {
        "name": "benchmark",
        "permissions": sorted(owner.permissions),
        "expires_at": datetime.now(UTC) + timedelta(hours=1),
    }
    with acting_as(owner):
        _, token = create_token(actor=owner, values=values)
    cursor.execute("SELECT id FROM assets WHERE tenant_id = %s ORDER BY play_order", [tenant_id])
    return Asked(tenant_id, owner_id, token, tuple(key for (key,) in cursor.fetchall()))
