"""Takes a tenant's whole library out of its tables without losing a byte, and puts it back.

Called by assets.restoring, inside its door. Rows go into `replaced_rows` as text, together with
what PostgreSQL would take away or empty along with them; which tables those are is read from its
catalogue, so that a new one cannot be forgotten. Files stay where they are, under keys that only
these rows name. No read of assets knows about any of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from assets.storage import media_keys
from rls.policies import quote

if TYPE_CHECKING:
    from uuid import UUID

    from assets.models import Restore

_ASSETS = "assets"

# The tables whose rows go with an asset ('c') or let go of it ('n'), and the column that names it.
_REFERENCES = """
SELECT child.relname, key.confdeltype, named.attname
FROM pg_constraint AS key
JOIN pg_class AS child ON child.oid = key.conrelid
JOIN pg_attribute AS named ON named.attrelid = key.conrelid
  AND named.attnum = ANY(key.conkey) AND named.attname <> 'tenant_id'
WHERE key.contype = 'f' AND key.confrelid = 'assets'::regclass AND key.confdeltype IN ('c', 'n')
ORDER BY child.relname, named.attname
"""
_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum
"""


class _Reference(NamedTuple):
    relation: str
    action: str
    column: str


def set_aside(restore: Restore) -> tuple[list[UUID], int]:
    """Move every asset of the tenant, and what depends on it, under `restore`.

    Returns the keys of the assets and the bytes of their files.
    """
    tenant = restore.tenant_id
    with connection.cursor() as cursor:
        # Nobody changes one, or makes a link to one, between here and the end.
        cursor.execute(
            "SELECT id, COALESCE(file_size, 0) FROM assets WHERE tenant_id = %s ORDER BY id "
            "FOR UPDATE",
            [tenant],
        )
        found = cursor.fetchall()
        ids = [row[0] for row in found]
        _keep(cursor, restore, _ASSETS, _columns(cursor, _ASSETS), "id = ANY(%s)", ids)
        for reference in _references(cursor):
            columns = _columns(cursor, reference.relation)
            if reference.action == "n":
                columns = {name: columns[name] for name in ("id", reference.column)}
            where = f"{quote(reference.column)} = ANY(%s)"
            _keep(cursor, restore, reference.relation, columns, where, ids)
        cursor.execute("DISCARD PLANS")  # as in import_rows: the foreign key's plan
        # By their keys: PostgreSQL knows nothing yet of rows that were written a moment ago, and
        # would go through all of them for each asset.
        cursor.execute("DELETE FROM assets WHERE tenant_id = %s AND id = ANY(%s)", [tenant, ids])
    return ids, sum(row[1] for row in found)


def put_back(restore: Restore) -> list[UUID]:
    """Put everything under `restore` back as it was and return the keys of the assets.

    Raises IntegrityError where something has taken its place meanwhile.
    """
    with connection.cursor() as cursor:
        # A reference to an asset that is not there would be refused.
        _insert(cursor, restore, _ASSETS)
        for reference in _references(cursor):
            if reference.action == "c":
                _insert(cursor, restore, reference.relation)
                continue
            column = quote(reference.column)
            cursor.execute(
                "SELECT (row ->> 'id')::uuid, (row ->> %s)::uuid FROM replaced_rows "
                "WHERE restore_id = %s AND relation = %s",
                [reference.column, restore.pk, reference.relation],
            )
            emptied = cursor.fetchall()
            # By their keys, for the same reason as above.
            cursor.execute(
                f"UPDATE {quote(reference.relation)} AS child "  # noqa: S608 -- of the catalogue
                f"SET {column} = kept.referred FROM unnest(%s::uuid[], %s::uuid[]) "
                "AS kept (id, referred) WHERE child.tenant_id = %s AND child.id = kept.id "
                f"AND child.{column} IS NULL",
                [[key for key, _ in emptied], [to for _, to in emptied], restore.tenant_id],
            )
        cursor.execute(
            "SELECT (row ->> 'id')::uuid FROM replaced_rows "
            "WHERE restore_id = %s AND relation = 'assets' ORDER BY 1",
            [restore.pk],
        )
        ids = [key for (key,) in cursor.fetchall()]
        cursor.execute("DELETE FROM replaced_rows WHERE restore_id = %s", [restore.pk])
    return ids


def forget(restore: Restore) -> list[str]:
    """Drop everything under `restore` and return the keys of the files it named."""
    keys = kept_keys(restore.tenant_id, restore.pk)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM replaced_rows WHERE restore_id = %s", [restore.pk])
    return keys


def kept_keys(tenant_id: UUID, *restores: UUID) -> list[str]:
    """Return the keys of the files that replaced assets name, of these restores or of all."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (row ->> 'id')::uuid, row ->> 'media_path', row ->> 'thumbnail_url' "
            "FROM replaced_rows WHERE tenant_id = %s AND relation = 'assets' "
            "AND (cardinality(%s::uuid[]) = 0 OR restore_id = ANY(%s::uuid[]))",
            [tenant_id, list(restores), list(restores)],
        )
        rows = cursor.fetchall()
    return [key for row in rows for key in media_keys(tenant_id, *row)]


def _references(cursor: Any) -> list[_Reference]:
    cursor.execute(_REFERENCES)
    return [_Reference(*row) for row in cursor.fetchall()]


def _columns(cursor: Any, relation: str) -> dict[str, str]:
    """Return the type of every column that can be written."""
    cursor.execute(_COLUMNS, [relation])
    return dict(cursor.fetchall())


def _keep(
    cursor: Any,
    restore: Restore,
    relation: str,
    columns: dict[str, str],
    where: str,
    ids: list[UUID],
) -> None:
    names = ", ".join("%s" for _ in columns)
    values = ", ".join(f"{quote(name)}::text" for name in columns)
    cursor.execute(
        "INSERT INTO replaced_rows (id, tenant_id, restore_id, relation, row) "  # noqa: S608 -- of the catalogue
        f"SELECT gen_random_uuid(), tenant_id, %s, %s, jsonb_object(ARRAY[{names}]::text[], "
        f"ARRAY[{values}]) FROM {quote(relation)} WHERE tenant_id = %s AND {where}",
        [restore.pk, relation, *columns, restore.tenant_id, ids],
    )


def _insert(cursor: Any, restore: Restore, relation: str) -> None:
    cursor.execute(
        "SELECT jsonb_object_keys(row) FROM (SELECT row FROM replaced_rows "
        "WHERE restore_id = %s AND relation = %s LIMIT 1) AS kept",
        [restore.pk, relation],
    )
    stored = {name for (name,) in cursor.fetchall()}
    # A column that has come since gets its default.
    columns = {name: kind for name, kind in _columns(cursor, relation).items() if name in stored}
    if not columns:
        return
    values = ", ".join(f"(row ->> %s)::{kind}" for kind in columns.values())
    cursor.execute(
        f"INSERT INTO {quote(relation)} ({', '.join(map(quote, columns))}) "  # noqa: S608 -- of the catalogue
        f"SELECT {values} FROM replaced_rows WHERE restore_id = %s AND relation = %s "
        "ORDER BY (row ->> 'id')::uuid",
        [*columns, restore.pk, relation],
    )
