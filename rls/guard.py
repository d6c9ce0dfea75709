"""Refuses to work as a role that the wall does not hold.

Connected to every new database connection of the `default` alias, so that a web process, a task
and a command are all refused before their first query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS

from rls.names import TENANT_SETTING, USER_SETTING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

ROLE_SQL = """
SELECT r.rolname,
       r.rolsuper,
       r.rolbypassrls,
       r.rolcreaterole OR r.rolreplication,
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm')
                 AND (c.relowner = r.oid OR pg_has_role(r.oid, c.relowner, 'MEMBER'))),
       ARRAY(SELECT m.rolname::text FROM pg_roles m
             WHERE m.oid <> r.oid AND pg_has_role(r.oid, m.oid, 'MEMBER') ORDER BY 1)
FROM pg_roles r WHERE r.rolname = {role}
"""


def role_faults(cursor: Any, role: str = "") -> list[str]:
    """Return why `role` (default: who is connected) may not serve requests; empty when it may."""
    # Not current_user: whoever logged in as more and became less can become more again.
    cursor.execute(ROLE_SQL.format(role="%s" if role else "session_user"), [role] if role else None)
    row = cursor.fetchone()
    if row is None:
        return [f"the role {role} does not exist"]
    name, superuser, bypasses, reaches, owns, others = row
    faults = []
    if superuser:
        faults.append(f"{name} is a superuser")
    if bypasses:
        faults.append(f"{name} has BYPASSRLS")
    if not superuser and reaches:
        faults.append(f"{name} has CREATEROLE or REPLICATION")
    if not superuser and owns:
        faults.append(f"{name} is, or may become, the owner of tables")
    if not superuser and others:
        faults.append(f"{name} may become {', '.join(others)}")
    return faults


def context_faults(cursor: Any) -> list[str]:
    """Return which context values this session started with; outside of a door there is none."""
    names = [TENANT_SETTING, USER_SETTING]
    cursor.execute(
        "SELECT name FROM unnest(%s::text[]) name WHERE current_setting(name, true) <> ''", [names]
    )
    return [f"{name} is set before anybody acts" for (name,) in cursor.fetchall()]


_accepted: set[tuple[str, str, str]] = set()


def refuse_privileged_role(connection: BaseDatabaseWrapper, **_kwargs: object) -> None:
    """Raise ImproperlyConfigured when `default` connects as somebody the wall does not hold."""
    if connection.alias != DEFAULT_DB_ALIAS:
        return
    settings = connection.settings_dict
    login = (str(settings["HOST"]), str(settings["NAME"]), str(settings["USER"]))
    if login in _accepted:
        return
    with connection.cursor() as cursor:
        faults = role_faults(cursor) + context_faults(cursor)
    if faults:
        # Whoever catches this must not find a connection that is there already, so not judged.
        connection.close()
        message = (
            f"DATABASE_URL must name the application role, and {'; '.join(faults)}. "
            "Row-level security would not hold. See docs/operations.md, “Roles”."
        )
        raise ImproperlyConfigured(message)
    _accepted.add(login)
