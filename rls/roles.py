"""Makes the roles, and gives the owner what migrations made.

Used by `manage.py create_roles` and by the embedded server; needs a login that may create roles.
Idempotent: what exists is brought to what is written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from django.db import connections
from psycopg import errors, sql

from rls.names import APP, BACKUP, LOOKUP, MAINTENANCE, OWNER, WORKER
from rls.policies import owned_objects_sql

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGINS = (MAINTENANCE, APP, WORKER, BACKUP)


def _ensure_role(connection: psycopg.Connection[Any], name: str, attributes: str) -> None:
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    verb = "ALTER" if exists else "CREATE"
    connection.execute(
        sql.SQL("{} ROLE {} " + attributes).format(sql.SQL(verb), sql.Identifier(name))
    )


def _ensure_bypass(connection: psycopg.Connection[Any], name: str) -> bool:
    """Give `name` BYPASSRLS where this platform allows it; return whether it has it."""
    try:
        with connection.transaction():
            connection.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(name)))
    except errors.InsufficientPrivilege:
        return False
    return True


def create_roles(
    superuser: str, *, database: str, passwords: Mapping[str, str], createdb: bool = False
) -> bool:
    """Create or correct every role, and `database`, through the login `superuser` (a conninfo).

    `passwords` maps the login roles to their passwords; a role without one keeps what it has.
    `createdb` lets the maintenance role make databases, which only test runs need. Returns whether
    the maintenance role could be given BYPASSRLS; without it migrations lift FORCE while they run.
    Raises psycopg.Error when `superuser` may not create roles.
    """
    with psycopg.connect(superuser, autocommit=True) as connection:
        with connection.transaction():
            # Two commands at once would race on CREATE ROLE, which has no IF NOT EXISTS.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('signage roles'))")
            plain = "NOSUPERUSER NOCREATEROLE NOREPLICATION"
            _ensure_role(connection, OWNER, f"{plain} NOLOGIN NOCREATEDB")
            _ensure_role(connection, LOOKUP, f"{plain} NOLOGIN NOCREATEDB NOINHERIT")
            making = "CREATEDB" if createdb else "NOCREATEDB"
            _ensure_role(connection, MAINTENANCE, f"{plain} LOGIN {making} INHERIT")
            _ensure_role(connection, APP, f"{plain} LOGIN NOCREATEDB NOINHERIT")
            _ensure_role(connection, WORKER, f"{plain} LOGIN NOCREATEDB NOINHERIT")
            _ensure_role(connection, BACKUP, f"{plain} LOGIN NOCREATEDB INHERIT")
            connection.execute(f"GRANT {OWNER}, {LOOKUP} TO {MAINTENANCE}")
            connection.execute(f"GRANT pg_read_all_data TO {BACKUP}")
            for role in LOGINS:
                if passwords.get(role):
                    connection.execute(
                        sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                            sql.Identifier(role), sql.Literal(passwords[role])
                        )
                    )
            # Every table of tenants has an index that begins with the tenant: however large a part
            # of it is one's, its rows are read and nobody else's. Before PostgreSQL 18 a table that
            # has to be read whole counts as so dear then that compiling the plan would seem cheap.
            for setting in ("enable_seqscan", "jit"):
                connection.execute(f"ALTER ROLE {APP} SET {setting} = off")
            bypasses = _ensure_bypass(connection, MAINTENANCE)
            _ensure_bypass(connection, BACKUP)
            # Never the other way round: a login that was once given it loses it here.
            for role in (APP, WORKER):
                if connection.execute(
                    "SELECT rolbypassrls FROM pg_roles WHERE rolname = %s", [role]
                ).fetchone() == (True,):
                    connection.execute(f"ALTER ROLE {role} NOBYPASSRLS")
        name = sql.Identifier(database)
        exists = connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [database]
        ).fetchone()
        if not exists:
            # Its owner has to be a role the creating login belongs to, which a superuser does not
            # need and a hosted administrator gets here.
            connection.execute(f"GRANT {OWNER} TO CURRENT_USER")
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
                    name, sql.Identifier(OWNER)
                )
            )
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        connection.execute(
            sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(
                name, sql.SQL(", ").join(map(sql.Identifier, LOGINS))
            )
        )
        return bypasses


def hand_over_ownership(using: str) -> None:
    """Give the owner role every table and function that the role of alias `using` made."""
    with connections[using].cursor() as cursor:
        cursor.execute(owned_objects_sql())
