"""Every table of the catalogue against another tenant; red when the wall is taken down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.db import ProgrammingError, connections, transaction
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from rls import acting_as
from rls.audit import Catalogue
from rls.declared import declared
from tests import databases
from tests.isolation.probes import GLOBAL_ROWS, NEEDED, TENANT_PROBES, probe
from tests.world import create_world

if TYPE_CHECKING:
    from tests.world import World

WALLS = declared().walls
TABLES = sorted(WALLS)
MATRIX = [
    *((t, one) for t in TABLES for one in TENANT_PROBES if NEEDED.get(one, "SELECT") in WALLS[t]),
    *((table, one) for table, probes in GLOBAL_ROWS.items() for one in probes),
]


def foreign_row(table: str, world: World) -> dict[str, Any]:
    """Return a committed row of globex, its key first, read as the maintenance role."""
    name = connections["default"].settings_dict["NAME"]
    if table.startswith("procrastinate_"):
        with psycopg.connect(databases.owner_conninfo(name)) as connection:
            found = connection.execute(
                "SELECT id FROM procrastinate_jobs WHERE args ->> 'tenant' = %s LIMIT 1",
                [str(world.globex.tenant.id)],
            ).fetchone()
        assert found is not None
        return {"id": found[0]}
    if table in GLOBAL_ROWS:
        of_people = {"user_credentials", "second_factors", "user_sessions"}
        key = "user_id" if table in of_people else "id"
        owner = {"tenants": world.globex.tenant.id}.get(table, world.globex.owner.user_id)
        return {key: owner}
    with (
        psycopg.connect(databases.owner_conninfo(name), row_factory=dict_row) as connection,
    ):
        generated = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attgenerated <> ''",
            [table],
        ).fetchall()
        row = connection.execute(
            sql.SQL("SELECT * FROM {} WHERE tenant_id = %s LIMIT 1").format(sql.Identifier(table)),
            [world.globex.tenant.id],
        ).fetchone()
    assert row is not None, f"the world has no row of globex in {table}: make one in tests/world.py"
    computed = {column["attname"] for column in generated}
    adapted = {
        key: Jsonb(value) if isinstance(value, dict) else value
        for key, value in row.items()
        if key not in computed
    }
    return {"id": adapted.pop("id"), **adapted}


@pytest.mark.django_db
def test_every_table_of_the_catalogue_has_its_rows() -> None:
    """A table that nobody declared, or a global one with policies and no row here, fails."""
    known = declared()
    assert Catalogue(connections["default"]).tenant_tables == TABLES
    assert {t for t, g in known.globals.items() if g.policies} == GLOBAL_ROWS.keys()


@pytest.mark.parametrize(
    ("table", "one"), MATRIX, ids=[f"{table}-{one.__name__}" for table, one in MATRIX]
)
def test_the_wall_refuses(world: World, table: str, one: Any) -> None:
    assert probe(table, one, world, foreign_row(table, world)) is None


@pytest.mark.parametrize(
    ("table", "privilege"),
    [
        (table, name)
        for table, granted in sorted(WALLS.items())
        for name in ("UPDATE", "DELETE", "TRUNCATE")
        if name not in granted
    ],
)
def test_what_was_not_granted_is_refused_to_everybody(
    world: World, table: str, privilege: str
) -> None:
    """Of one's own tenant too: that is what makes an append-only table one."""
    statement = {
        "UPDATE": "UPDATE {} SET tenant_id = tenant_id",
        "DELETE": "DELETE FROM {}",
        "TRUNCATE": "TRUNCATE {}",
    }[privilege]
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        acting_as(world.acme.owner),
        connections["default"].cursor() as cursor,
    ):
        cursor.execute(sql.SQL(statement).format(sql.Identifier(table)).as_string())


def test_with_the_wall_down_every_row_of_the_matrix_is_red(scratch_database: str) -> None:
    world = create_world()
    with databases.maintenance(scratch_database) as connection:
        for table in (*TABLES, *GLOBAL_ROWS):
            connection.execute(
                sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(sql.Identifier(table))
            )
    with transaction.atomic():
        green = [
            f"{table}-{one.__name__}"
            for table, one in MATRIX
            if probe(table, one, world, foreign_row(table, world)) is None
        ]
    assert green == []
