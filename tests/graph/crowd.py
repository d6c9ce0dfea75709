"""Fills a scratch database: a large tenant, one of 300 rows and one of few, among many others.

Used by the tests of plans. Rows are made by one statement for each table, as the maintenance role,
with the domain's triggers off and the indexes built afterwards; what they hold follows from their
numbers. `SIGNATE_PLAN_ROWS` says how many each table has.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.test import Client

from tenancy.actors import person
from tenancy.people import create_user
from tenancy.tenants import create_tenant
from tests import databases
from tests.conftest import PLATFORM, Graph, basic
from tests.world import PASSWORD, actor_in, create_world

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import psycopg

    from tenancy.actors import Actor

# Fewer than the 30,000 that ANALYZE looks at: its statistics are of all rows, and no sample.
ROWS = int(os.environ.get("SIGNATE_PLAN_ROWS", "24000"))
LARGE = max(ROWS // 10, 12_000)
MIDDLE = 300
FEW = 5
# A tenant of the others has several hundred rows.
OTHERS = max((ROWS - LARGE) // 900, 1)
# Rows as (tenant_id, place, rows): how many each tenant gets, and where its people begin.
_CROWD = """
CREATE UNLOGGED TABLE crowd AS
SELECT id AS tenant_id, 0 AS place, CASE slug WHEN 'acme' THEN %(large)s WHEN 'globex' THEN %(middle)s
  ELSE %(few)s END AS rows
FROM tenants WHERE slug IN ('acme', 'globex', 'few')
UNION ALL SELECT md5('t' || i)::uuid, i, %(each)s FROM generate_series(1, %(others)s) i
"""
# What a column without a default holds that nobody asks for.
_PLAIN = {
    "ARRAY": "'{}'",
    "bigint": "0",
    "boolean": "false",
    "character varying": "''",
    "integer": "0",
    "jsonb": "'{}'",
    "smallint": "0",
    "text": "''",
    "timestamp with time zone": "now()",
    "uuid": "gen_random_uuid()",
}
_USER = "md5('u' || {})::uuid"
_ITS_USER = _USER.format(f"(i + c.place * 101) % {LARGE}")
_KEY = "md5(c.tenant_id::text || {})::uuid"
# No two at once, as in life: in a column with one value PostgreSQL would skip from key to key, or
# not, as the sample for its statistics falls.
_MOMENT = "timestamptz '2024-06-01' + i * 7919 % 1000003 * interval '1 min'"
# Names and dates are missing in every tenth, and in most columns there are ties.
_TABLES: Mapping[str, Mapping[str, str]] = {
    "assets": {
        "id": _KEY.format("i"),
        "asset_id": "i::text",
        "name": "CASE WHEN i % 10 > 0 THEN 'name ' || i * 7919 % 100003 END",
        "start_date": "CASE WHEN i % 10 > 1 THEN timestamptz '2024-01-01' "
        "+ i * 7919 % 100003 * interval '1 min' END",
        "end_date": "CASE WHEN i % 10 > 2 THEN timestamptz '2026-01-01' "
        "+ i * 7919 % 100003 * interval '1 h' END",
        "is_enabled": "i % 2 = 0",
        "is_processing": "i % 2000 = 11",
        "is_reachable": "i % 2000 <> 13",
        "play_order": "i * 31 % 5000",
        "play_days": "'{1,2,3,4,5,6,7}'",
        "created_at": _MOMENT,
        "updated_at": "timestamptz '2025-01-01' + i * 17 % 100003 * interval '1 s'",
        "tags": "ARRAY['all', 'f' || i % 50] || CASE WHEN i % 1000 = 7 THEN ARRAY['rare'] END",
        "description": "CASE WHEN i % 500 = 3 THEN 'Lobby screen, spring' ELSE '' END",
        "processing_status": "CASE WHEN i % 2000 = 17 THEN 'failed' ELSE 'completed' END",
        "media_path": "CASE WHEN i % 2 = 0 THEN 't/x' ELSE '' END",
        "view_count": "i * 13 % 5000",
        "mimetype": "CASE WHEN i % 2000 = 19 THEN 'streaming' "
        "ELSE (ARRAY['image', 'video', 'webpage', NULL])[1 + i % 4] END",
        "duration": "CASE WHEN i % 10 > 3 THEN i * 7919 % 100003 END",
        "file_size": "CASE WHEN i % 10 > 4 THEN 5000000000 + i * 7919 % 100003 END",
        "last_viewed": "CASE WHEN i % 10 > 5 THEN timestamptz '2025-01-01' "
        "+ i * 7919 % 100003 * interval '1 min' END",
    },
    "tenant_users": {
        "id": _KEY.format("'m' || i"),
        "user_id": _ITS_USER,
        "role": "CASE WHEN i % 2000 = 11 THEN 'admin' "
        "ELSE (ARRAY['manager', 'operator', 'viewer'])[1 + i % 3] END",
        "is_active": "i % 2000 <> 13",
        "joined_at": _MOMENT,
    },
    "devices": {
        "name": "'screen ' || i * 7919 % 100003",
        "secret_prefix": "md5(c.place || 'd' || i)",
        "tags": "ARRAY['f' || i % 50] || CASE WHEN i % 1000 = 7 THEN ARRAY['rare'] END",
        "created_at": _MOMENT,
        "revoked_at": "CASE WHEN i % 2000 = 11 THEN now() END",
        "last_seen_at": "CASE WHEN i % 2000 = 13 THEN now() + interval '1 day' END",
    },
    "uploads": {
        "handle": "md5(i::text)",
        "size": "1",
        "expires_at": "now() + i * 7919 % 1000003 * interval '1 min'",
    },
    "import_runs": {"id": _KEY.format("'r' || i")},
    "backups": {
        "name": "'b' || i",
        "created_at": _MOMENT,
        "expires_at": "now() + interval '1 day'",
    },
    "restores": {
        "run_id": _KEY.format("'r' || i"),
        "created_at": _MOMENT,
        "expires_at": "now() + interval '1 day'",
    },
    "playback_days": {
        "asset_id": _KEY.format("1 + i / 20"),
        "day": "date '2025-01-01' + i * 7 % 365",
        "reporter": "'device'",
        "reporter_id": "md5('p' || CASE WHEN i % 1000 = 7 THEN 0 ELSE 1 + i % 7 END)::uuid",
        "last_played_at": "now()",
    },
    "share_links": {
        "asset_id": _KEY.format("i"),
        "token_digest": "md5(c.place || 's' || i)",
        "expires_at": "now() + (CASE WHEN i % 1000 = 7 THEN 1 ELSE -1 END) * interval '1 year'",
    },
    "audit_entries": {
        "at": _MOMENT,
        "actor_kind": "'member'",
        "user_id": _USER.format("CASE WHEN i % 1000 = 7 THEN 0 ELSE 1 + i % 20 END"),
        "credential": "CASE WHEN i % 2000 = 11 THEN 'command' ELSE 'session' END",
        "action": "CASE WHEN i % 1000 = 7 THEN 'settings.updated' "
        "ELSE 'asset.' || (ARRAY['created', 'updated', 'deleted'])[1 + i % 3] END",
        "subject": "CASE WHEN i % 1000 = 9 THEN 'Device' ELSE 'Asset' END",
        "subject_id": "md5(c.tenant_id::text || i / 10)::uuid::text",
        "label": "'name ' || i * 7919 % 100003",
    },
    "api_tokens": {
        "name": "'token'",
        "prefix": "md5(c.place || 'k' || i)",
        "membership_id": _KEY.format("'m' || 1 + i / 10"),
        "user_id": _USER.format(f"(1 + i / 10 + c.place * 101) % {LARGE}"),
        "created_at": _MOMENT,
        "expires_at": "now() + interval '1 year'",
        "revoked_at": "CASE WHEN i % 2000 <> 11 THEN now() END",
    },
    "invitations": {
        "email": "'u' || i || '@example.com'",
        "role": "'viewer'",
        "state": "CASE WHEN i % 1000 = 7 THEN 'pending' ELSE 'accepted' END",
        "token_digest": "md5(c.place || 'i' || i)",
        "created_at": _MOMENT,
        "expires_at": "now() + interval '1 year'",
    },
    "capability_keys": {
        "name": "'script'",
        "prefix": "md5(c.place || 'c' || i)",
        "created_at": _MOMENT,
    },
}
# Mixed, as in life: the rows of a tenant lie all over the table.
_EACH = """
SELECT c.*, i FROM crowd c, generate_series(1, c.rows) i
ORDER BY i * 7919 % 1000003 + c.place * 104729 % 1000003
"""
_SETTINGS = {"timezone": "'UTC'", "primary_color": "''", "secondary_color": "''"}
_UNSETTLED = """
SELECT id AS tenant_id FROM tenants t
WHERE NOT EXISTS (SELECT FROM tenant_settings s WHERE s.tenant_id = t.id)
"""
# People and their sessions are nobody's; tenants need people, and everything needs tenants.
_USERS = f"""
INSERT INTO users (id, username, first_name, last_name, email, is_staff, is_superuser, is_active,
  date_joined, credential_version)
SELECT {_USER.format("i")}, 'u' || i, 'First' || i, '', 'u' || i || '@example.com', false, false,
  true, now(), 1
FROM generate_series(0, %s) i
"""
_TENANTS = """
INSERT INTO tenants (id, name, slug, database_name, created_at, updated_at, is_active,
  subscription_tier, max_devices, max_users, storage_quota_gb, max_assets, features, settings)
SELECT md5('t' || i)::uuid, 't' || i, 't' || i, 't' || i, now(), now(), true, 'basic', 5, 10, 10,
  100, '{}', '{}' FROM generate_series(1, %s) i
"""
_SESSIONS = f"""
INSERT INTO user_sessions (id, user_id, credential_version, created_at, last_seen_at, expires_at,
  user_agent, network)
SELECT gen_random_uuid(), CASE WHEN i %% 20 = 0 THEN %s::uuid ELSE {_USER.format("i %% %s")} END, 1,
  now(), now() - i %% 500009 * interval '1 min',
  now() + interval '1 day', '', ''
FROM generate_series(1, %s) i
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant as its owner sees it, and how many rows of each seeded table it has."""

    slug: str
    owner: Actor
    rows: int

    @property
    def graph(self) -> Graph:
        """A client that speaks as the owner."""
        return Graph(
            Client(headers=basic(f"{self.slug}-owner"), HTTP_HOST=f"{self.slug}.{PLATFORM}")
        )


@dataclass(frozen=True, slots=True)
class Crowd:
    """The three tenants that are looked at, and the name of the database."""

    database: str
    large: Place
    middle: Place
    few: Place

    def __iter__(self) -> Iterator[Place]:
        """Go through the tenants, the largest first."""
        return iter((self.large, self.middle, self.few))


def crowded(database: str, tables: Iterable[str]) -> Crowd:
    """Fill `tables`, and people and tenants, of an empty scratch database."""
    world = create_world()
    person_of_few = person(create_user("few-owner", PASSWORD).pk)
    few = create_tenant(actor=person_of_few, name="Few", slug="few")
    with databases.maintenance(database) as owner:
        owner.execute("SET maintenance_work_mem = '256MB'")
        owner.execute("SET synchronous_commit = off")
        _fill(owner, "users", _USERS, 2 * LARGE)
        _fill(owner, "tenants", _TENANTS, max(OTHERS, ROWS // 10))
        counts = {"large": LARGE, "middle": MIDDLE, "few": FEW, "others": OTHERS}
        owner.execute(_CROWD, {**counts, "each": (ROWS - LARGE) // OTHERS})
        _fill(owner, "tenant_settings", _insert(owner, "tenant_settings", _SETTINGS, _UNSETTLED))
        if "user_sessions" in tables:
            _fill(owner, "user_sessions", _SESSIONS, world.acme.owner.user_id, LARGE, ROWS)
        for table, columns in _TABLES.items():
            if table in tables:
                _fill(owner, table, _insert(owner, table, columns))
        owner.execute("DROP TABLE crowd")
        owner.execute("VACUUM ANALYZE")
    return Crowd(
        database,
        Place("acme", world.acme.owner, LARGE),
        Place("globex", world.globex.owner, MIDDLE),
        Place("few", actor_in(few, person_of_few), FEW),
    )


def _insert(
    owner: psycopg.Connection[Any], table: str, columns: Mapping[str, str], each: str = _EACH
) -> str:
    """Return the statement that makes a row of each row of a relation, called c."""
    needed = owner.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s "
        "AND is_nullable = 'NO' AND column_default IS NULL AND is_generated = 'NEVER'",
        [table],
    )
    values = {name: _PLAIN[kind] for name, kind in needed if name not in columns}
    values |= {**columns, "tenant_id": "c.tenant_id"}
    return (
        f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} "
        f"FROM ({each}) c"
    )


def _fill(owner: psycopg.Connection[Any], table: str, statement: str, *values: Any) -> None:
    """Run an INSERT, and build the table's indexes at once instead of row by row."""
    # ANALYZE of the server's own would change plans half-way.
    owner.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    keys = owner.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::regclass AND contype = 'f'",
        [table],
    ).fetchall()
    indexes = owner.execute(
        "SELECT x.indexrelid::regclass::text, pg_get_indexdef(x.indexrelid) FROM pg_index x "
        "WHERE x.indrelid = %s::regclass AND NOT EXISTS "
        "(SELECT FROM pg_constraint c WHERE c.conindid = x.indexrelid)",
        [table],
    ).fetchall()
    for name, _ in keys:
        owner.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    for name, _ in indexes:
        owner.execute(f"DROP INDEX {name}")
    owner.execute(statement, values or None)
    for _, definition in indexes:
        owner.execute(definition)
    for name, definition in keys:
        # For the planner, which believes in them; looking at each row would take most of the time.
        owner.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition} NOT VALID')
    owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
