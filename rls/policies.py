"""Policies and grants as SQL text: pure functions, no database.

The text of every policy comes from here, so that the migration that builds a wall and the audit
that checks it cannot disagree. `citus=True` writes the comparison without the sub-SELECT that
Citus refuses; everywhere else the sub-SELECT lets PostgreSQL evaluate the context once per
statement.
"""

from __future__ import annotations

from dataclasses import dataclass

from rls.names import ACCESS_POLICY, APP, LOOKUP, OWNER, TENANT_COLUMN, WALL_POLICY

ALL_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")


def quote(name: str) -> str:
    """Return `name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def context_call(function: str, *, citus: bool = False) -> str:
    """Return SQL for a context value, evaluated once per statement unless for Citus."""
    return f"{function}()" if citus else f"(SELECT {function}())"


def wall_condition(column: str = TENANT_COLUMN, *, citus: bool = False) -> str:
    """Return the condition of the wall: fail-closed, since `= NULL` is never true."""
    return f"{quote(column)} = {context_call('get_tenant_context', citus=citus)}"


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy of a global table, TO the application role unless `role` says otherwise."""

    name: str
    command: str
    using: str = ""
    check: str = ""
    role: str = APP

    def sql(self, table: str) -> str:
        """Return the CREATE POLICY statement for `table`."""
        using = f" USING ({self.using})" if self.using else ""
        check = f" WITH CHECK ({self.check})" if self.check else ""
        return (
            f"CREATE POLICY {quote(self.name)} ON {quote(table)} AS PERMISSIVE "
            f"FOR {self.command} TO {self.role}{using}{check}"
        )


def force_sql(table: str) -> list[str]:
    """Return the statements that make row-level security hold for the owner too."""
    return [
        f"ALTER TABLE {quote(table)} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {quote(table)} FORCE ROW LEVEL SECURITY",
    ]


def grant_sql(
    table: str,
    privileges: tuple[str, ...] = ALL_PRIVILEGES,
    *,
    columns: tuple[str, ...] = (),
    role: str = APP,
) -> list[str]:
    """Return statements that leave `role` with exactly these privileges.

    `columns` narrows SELECT to those columns.
    """
    granted = [
        f"SELECT ({', '.join(map(quote, columns))})" if columns and name == "SELECT" else name
        for name in privileges
    ]
    statements = [f"REVOKE ALL ON {quote(table)} FROM PUBLIC, {role}"]
    if granted:
        statements.append(f"GRANT {', '.join(granted)} ON {quote(table)} TO {role}")
    return statements


def wall_sql(
    table: str,
    *,
    column: str = TENANT_COLUMN,
    privileges: tuple[str, ...] = ALL_PRIVILEGES,
    citus: bool = False,
) -> list[str]:
    """Return every statement that walls `table` for the application role.

    A RESTRICTIVE policy is the wall: no later permissive policy can widen it. PostgreSQL also
    wants a PERMISSIVE one before it shows anything.
    """
    condition = wall_condition(column, citus=citus)
    policies = [
        f"CREATE POLICY {name} ON {quote(table)} AS {kind} FOR ALL TO {APP} "
        f"USING ({condition}) WITH CHECK ({condition})"
        for name, kind in ((WALL_POLICY, "RESTRICTIVE"), (ACCESS_POLICY, "PERMISSIVE"))
    ]
    return [*force_sql(table), *policies, *grant_sql(table, privileges)]


def unwall_sql(table: str, policies: tuple[str, ...] = (WALL_POLICY, ACCESS_POLICY)) -> list[str]:
    """Return the statements that undo `wall_sql` (for reversing a migration)."""
    return [
        *(f"DROP POLICY IF EXISTS {quote(name)} ON {quote(table)}" for name in policies),
        f"ALTER TABLE {quote(table)} NO FORCE ROW LEVEL SECURITY",
        f"ALTER TABLE {quote(table)} DISABLE ROW LEVEL SECURITY",
        f"REVOKE ALL ON {quote(table)} FROM {APP}",
    ]


def lookup_policy(table: str) -> Policy:
    """Return the policy that lets the look-up role past the wall of `table`, to read."""
    return Policy(f"{table}_lookup", "SELECT", using="true", role=LOOKUP)


def lookup_sql(table: str, columns: tuple[str, ...]) -> list[str]:
    """Return what lets definer functions, and nobody else, read `columns` of every row."""
    return [
        f"GRANT SELECT ({', '.join(map(quote, columns))}) ON {quote(table)} TO {LOOKUP}",
        lookup_policy(table).sql(table),
    ]


def foreign_key_sql(
    table: str, name: str, column: str, target: str, *, on_delete: str = "NO ACTION"
) -> str:
    """Return a composite foreign key that cannot point into another tenant."""
    return (
        f"ALTER TABLE {quote(table)} ADD CONSTRAINT {quote(name)} "
        f"FOREIGN KEY ({quote(TENANT_COLUMN)}, {quote(column)}) "
        f"REFERENCES {quote(target)} ({quote(TENANT_COLUMN)}, {quote('id')}) ON DELETE {on_delete}"
    )


def owned_objects_sql() -> str:
    """Return a DO block that gives the owner role whatever the current role made in `public`."""
    return f"""
DO $$
DECLARE item record;
BEGIN
  FOR item IN
    SELECT c.oid::regclass AS name, c.relkind
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relowner = current_user::regrole
      AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
      AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('i', 'a')
                      AND c.relkind = 'S')
  LOOP
    EXECUTE format('ALTER %s %s OWNER TO {OWNER}',
                   CASE item.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                                     WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, item.name);
  END LOOP;
  FOR item IN
    SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'public' AND p.proowner = current_user::regrole
  LOOP
    EXECUTE format('ALTER ROUTINE %s OWNER TO {OWNER}', item.name);
  END LOOP;
END $$"""
