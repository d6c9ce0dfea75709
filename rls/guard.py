"""Refuses to work as a role that the wall does not hold.

Connected to every new database connection of the `default` alias, so that a web process, a task
and a command are all refused before their first query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

ROLE_SQL = """
SELECT r.rolname,
       r.rolsuper,
       r.rolbypassrls,
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm')
                 AND (c.relowner = r.oid OR pg_has_role(r.oid, c.relowner, 'MEMBER'))),
       EXISTS (SELECT FROM pg_roles m WHERE (m.rolsuper OR m.rolbypassrls)
                 AND m.oid <> r.oid AND pg_has_role(r.oid, m.oid, 'MEMBER'))
FROM pg_roles r WHERE r.rolname = {role}
"""


def role_faults(cursor: Any, role: str = "") -> list[str]:
    """Return why `role` (default: who is connected) may not serve requests; empty when it may."""
    cursor.execute(ROLE_SQL.format(role="%s" if role else "current_user"), [role] if role else None)
    row = cursor.fetchone()
    if row is None:
        return [f"the role {role} does not exist"]
    name, superuser, bypasses, owns, inherits = row
    faults = []
    if superuser:
        faults.append(f"{name} is a superuser")
    if bypasses:
        faults.append(f"{name} has BYPASSRLS")
    if not superuser and owns:
        faults.append(f"{name} is, or may become, the owner of tables")
    if not superuser and inherits:
        faults.append(f"{name} may become a superuser or a BYPASSRLS role")
    return faults


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
        faults = role_faults(cursor)
    if faults:
        message = (
            f"DATABASE_URL must name the application role, and {'; '.join(faults)}. "
            "Row-level security would not hold. See docs/operations.md, “Roles”."
        )
        raise ImproperlyConfigured(message)
    _accepted.add(login)
