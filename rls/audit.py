"""Compares the catalogue with what the migrations declared, and names every difference.

Run by `manage.py audit_rls`, by CI and at start-up, as the application role: reading the catalogue
needs no privilege. Reads only; every finding says the object, what is wrong and what to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from rls.declared import Declared, declared
from rls.guard import role_faults
from rls.names import (
    ACCESS_POLICY,
    APP,
    BACKUP,
    LOOKUP,
    OWNER,
    TENANT_COLUMN,
    TENANT_SETTING,
    USER_SETTING,
    WALL_POLICY,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper

    from rls.policies import Policy

# What pg_get_expr prints for rls.policies.wall_condition, with and without the sub-SELECT.
WALL_EXPRESSIONS = {
    f"({TENANT_COLUMN} = ( SELECT get_tenant_context() AS get_tenant_context))",
    f"({TENANT_COLUMN} = get_tenant_context())",
}

# What pg_policy.polcmd says for a policy's command.
COMMANDS = {"ALL": "*", "SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d"}

# What rls.migrations.0001_context made: every policy asks these two.
CONTEXT_FUNCTIONS = {
    "get_tenant_context": f"RETURN NULLIF(current_setting('{TENANT_SETTING}', true), '')::uuid",
    "get_user_context": f"RETURN NULLIF(current_setting('{USER_SETTING}', true), '')::uuid",
}

RELATIONS_SQL = """
SELECT c.relname, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity,
       COALESCE(c.reloptions::text[] && ARRAY['security_invoker=true', 'security_invoker=on'],
                false), c.relowner::regrole::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.relname"""

COLUMNS_SQL = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attidentity <> '' OR COALESCE(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')"""

POLICIES_SQL = """
SELECT c.relname, p.polname, p.polpermissive, p.polcmd::text,
       COALESCE((SELECT array_agg(CASE WHEN r = 0 THEN 'public' ELSE r::regrole::text END)
                 FROM unnest(p.polroles) r), '{}'),
       COALESCE(pg_get_expr(p.polqual, p.polrelid), ''),
       COALESCE(pg_get_expr(p.polwithcheck, p.polrelid), '')
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public'"""

FOREIGN_KEYS_SQL = """
SELECT c.relname, k.conname, t.relname,
       ARRAY(SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY u(num, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY place),
       ARRAY(SELECT attname::text FROM unnest(k.confkey) WITH ORDINALITY u(num, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY place)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND k.contype = 'f'"""

INDEXES_SQL = """
SELECT c.relname, i.relname, x.indisunique OR x.indisexclusion, x.indisprimary,
       x.indisvalid AND x.indpred IS NULL,
       ARRAY(SELECT COALESCE(a.attname::text, '')
             FROM unnest(x.indkey::int2[]) WITH ORDINALITY u(num, place)
             LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = u.num
             WHERE place <= x.indnkeyatts ORDER BY place)
FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')"""

GRANTS_SQL = """
SELECT c.relname, '', CASE WHEN g.grantee = 0 THEN 'public' ELSE g.grantee::regrole::text END,
       g.privilege_type
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) g
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND g.grantee <> c.relowner
UNION ALL
SELECT c.relname, a.attname,
       CASE WHEN g.grantee = 0 THEN 'public' ELSE g.grantee::regrole::text END, g.privilege_type
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) g
WHERE n.nspname = 'public' AND g.grantee <> c.relowner"""

FUNCTIONS_SQL = """
SELECT p.proname, p.proowner::regrole::text,
       EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=pg_catalog,%'),
       COALESCE((SELECT bool_or(g.grantee = 0) FROM aclexplode(p.proacl) g), true), p.prosrc
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'public' AND p.prosecdef"""

CONTEXT_FUNCTIONS_SQL = """
SELECT p.proname, COALESCE(pg_get_function_sqlbody(p.oid), ''), p.proconfig IS NULL
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'public' AND p.pronargs = 0 AND p.proname = ANY(%s)"""

# A rule's statements run with the rights of the table's owner.
RULES_SQL = """
SELECT c.relname, r.rulename FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND r.rulename <> '_RETURN'"""

SCHEMAS_SQL = """
SELECT n.nspname, p.privilege
FROM pg_namespace n, pg_roles r, unnest(ARRAY['USAGE', 'CREATE']) p (privilege)
WHERE r.rolname = %s AND has_schema_privilege(r.oid, n.oid, p.privilege)
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (n.nspname, p.privilege) <> ('public', 'USAGE')"""

DEFAULT_GRANTS_SQL = """
SELECT DISTINCT CASE WHEN g.grantee = 0 THEN 'public' ELSE g.grantee::regrole::text END
FROM pg_default_acl d, aclexplode(d.defaclacl) g
WHERE d.defaclobjtype = 'r' AND g.grantee <> d.defaclrole"""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One difference: a stable code, the object, and a sentence that says what to do."""

    code: str
    subject: str
    message: str

    def __str__(self) -> str:
        """Return the line the command prints."""
        return f"{self.code:<20} {self.subject}: {self.message}"


class Catalogue:
    """The catalogue of one database, read once."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        """Read it through `connection`."""
        self.connection = connection
        self.relations = self._rows(RELATIONS_SQL)
        self.columns: dict[str, dict[str, tuple[str, bool, bool]]] = {}
        for table, column, type_name, not_null, generated in self._rows(COLUMNS_SQL):
            self.columns.setdefault(table, {})[column] = (type_name, not_null, generated)
        self.policies = self._rows(POLICIES_SQL)
        self.foreign_keys = self._rows(FOREIGN_KEYS_SQL)
        self.indexes = self._rows(INDEXES_SQL)
        self.grants = self._rows(GRANTS_SQL)
        self.functions = self._rows(FUNCTIONS_SQL)
        self.context_functions = self._rows(CONTEXT_FUNCTIONS_SQL, [list(CONTEXT_FUNCTIONS)])
        self.rules = self._rows(RULES_SQL)
        self.schemas = self._rows(SCHEMAS_SQL, [APP])
        self.default_grants = self._rows(DEFAULT_GRANTS_SQL)

    def _rows(self, query: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())

    @property
    def tenant_tables(self) -> list[str]:
        """The tables that carry the tenant column."""
        return sorted(table for table, columns in self.columns.items() if TENANT_COLUMN in columns)


def _plain(expression: str) -> str:
    """Return SQL without what PostgreSQL adds when it prints an expression.

    Parentheses go too: they are its own, so that only a change of grouping alone is not noticed.
    """
    return re.sub(r"::text\b|[\s()]+", "", re.sub(r"\s+AS \w+", "", expression))


def _is_as_declared(found: tuple[Any, ...], policy: Policy) -> bool:
    """Return whether a row of POLICIES_SQL, after its names, is `policy`."""
    permissive, command, _roles, using, check = found
    return (
        bool(permissive)
        and command == COMMANDS[policy.command]
        and _plain(using) == _plain(policy.using)
        and _plain(check) == _plain(policy.check)
    )


def _tables(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    state = {row[0]: row for row in catalogue.relations}
    for table, kind, *_rest, owner in catalogue.relations:
        if kind in {"r", "p"} and owner != OWNER:
            yield Finding("owner", table, f"it belongs to {owner}; run `manage.py migrate`")
    for table in sorted({*expected.walls, *(t for t, g in expected.globals.items() if g.policies)}):
        if table in state and not state[table][2]:
            yield Finding("not-enabled", table, "ENABLE ROW LEVEL SECURITY is missing")
        if table in state and not state[table][3]:
            yield Finding("not-forced", table, "FORCE ROW LEVEL SECURITY is missing")


def _columns(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    for table in catalogue.tenant_tables:
        type_name, not_null, _ = catalogue.columns[table][TENANT_COLUMN]
        if type_name != "uuid" or not not_null:
            yield Finding("tenant-column", table, f"{TENANT_COLUMN} must be uuid NOT NULL")
        if table not in expected.walls and table not in expected.globals:
            yield Finding("not-declared", table, "no migration raises its wall; add TenantWall")
    for table in sorted(expected.walls):
        for column, (_, _, generated) in catalogue.columns.get(table, {}).items():
            if generated:
                yield Finding(
                    "sequence", f"{table}.{column}", "a sequence counts across tenants; use UUIDv7"
                )


def _policies_by_table(catalogue: Catalogue) -> dict[str, dict[str, tuple[Any, ...]]]:
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    for table, name, *rest in catalogue.policies:
        found.setdefault(table, {})[name] = tuple(rest)
    return found


def _walled(catalogue: Catalogue, expected: Declared) -> list[str]:
    """Return the tables that have to have the wall's two policies."""
    walled = {*expected.walls, *catalogue.tenant_tables} - expected.globals.keys()
    return sorted(walled & catalogue.columns.keys())


def _wall_policies(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    found = _policies_by_table(catalogue)
    for table in _walled(catalogue, expected):
        for name, permissive in ((WALL_POLICY, False), (ACCESS_POLICY, True)):
            policy = found.get(table, {}).get(name)
            if policy is None:
                yield Finding("no-policy", table, f"the policy {name} is missing")
                continue
            is_permissive, command, roles, using, check = policy
            right = (
                is_permissive is permissive
                and command == "*"
                and list(roles) == [APP]
                and using == check
                and using in WALL_EXPRESSIONS
            )
            if not right:
                yield Finding("changed-policy", table, f"the policy {name} is not the wall's")


def _other_policies(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    found = _policies_by_table(catalogue)
    for table in _walled(catalogue, expected):
        for name in (WALL_POLICY, ACCESS_POLICY):
            found.get(table, {}).pop(name, None)
    for table, policies in sorted(found.items()):
        allowed = expected.policies(table)
        for name, policy in sorted(policies.items()):
            if name not in allowed or set(policy[2]) - {allowed[name].role}:
                yield Finding("extra-policy", table, f"no migration declared the policy {name}")
            elif not _is_as_declared(policy, allowed[name]):
                yield Finding("changed-policy", table, f"the policy {name} is not as declared")
        for name, declared_policy in sorted(allowed.items()):
            if name not in policies or declared_policy.role not in policies[name][2]:
                yield Finding("no-policy", table, f"the policy {name} is missing")


def _keys(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    tenant_tables = set(catalogue.tenant_tables) - expected.globals.keys()
    for table, name, target, columns, targets in catalogue.foreign_keys:
        if target in tenant_tables:
            pairs = set(zip(columns, targets, strict=True))
            if (TENANT_COLUMN, TENANT_COLUMN) not in pairs:
                yield Finding(
                    "plain-foreign-key",
                    f"{table}.{name}",
                    "it can point into another tenant; use db_constraint=False and "
                    "TenantForeignKey",
                )
    kept = {
        (table, column, target)
        for table, _, target, columns, targets in catalogue.foreign_keys
        if (TENANT_COLUMN, TENANT_COLUMN) in zip(columns, targets, strict=True)
        for column in columns
    }
    for table, column, target in sorted(expected.foreign_keys - kept):
        yield Finding(
            "no-foreign-key", f"{table}.{column}", f"nothing keeps it inside its tenant of {target}"
        )


def _indexes(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    tenant_tables = set(catalogue.tenant_tables) - expected.globals.keys()
    leading: set[str] = set()
    for table, name, unique, primary, whole, columns in catalogue.indexes:
        if table not in tenant_tables:
            continue
        if whole and columns and columns[0] == TENANT_COLUMN:
            leading.add(table)
        own_key = (
            primary and len(columns) == 1 and catalogue.columns[table][columns[0]][0] == "uuid"
        )
        if unique and TENANT_COLUMN not in columns and not own_key:
            yield Finding(
                "global-unique-key",
                f"{table}.{name}",
                f"it tells across tenants; add {TENANT_COLUMN}",
            )
    for table in sorted(tenant_tables - leading):
        yield Finding("no-tenant-index", table, f"no index starts with {TENANT_COLUMN}")


def _grants(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    whole: dict[str, set[tuple[str, str]]] = {}
    narrow: dict[str, set[tuple[str, str, str]]] = {}
    for table, column, grantee, privilege in catalogue.grants:
        if grantee == BACKUP and privilege == "SELECT":
            continue
        if column:
            narrow.setdefault(table, set()).add((grantee, privilege, column))
        else:
            whole.setdefault(table, set()).add((grantee, privilege))
    for table in sorted(catalogue.columns.keys() | whole.keys() | narrow.keys()):
        for grantee, privilege in sorted(whole.get(table, set()) - expected.grants(table)):
            yield Finding("extra-grant", table, f"{grantee} was granted {privilege}; revoke it")
        for grantee, privilege in sorted(expected.grants(table) - whole.get(table, set())):
            if table in catalogue.columns:
                yield Finding("no-grant", table, f"{grantee} lacks {privilege}")
        extra = narrow.get(table, set()) - expected.column_grants(table)
        for grantee, privilege, column in sorted(extra):
            yield Finding(
                "extra-grant", f"{table}.{column}", f"{grantee} was granted {privilege}; revoke it"
            )


def _openings(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    """Yield what opens a way around tables' own grants and policies."""
    del expected
    for schema, privilege in sorted(catalogue.schemas):
        yield Finding("schema", schema, f"{APP} has {privilege} on it; revoke it")
    for (grantee,) in catalogue.default_grants:
        yield Finding("default-grant", grantee, "new tables would be granted to it unasked")
    for table, name in sorted(catalogue.rules):
        yield Finding("rule", f"{table}.{name}", "it acts as the table's owner; drop it")
    granted = {table for table, _, grantee, _ in catalogue.grants if grantee in {APP, "public"}}
    for name, kind, _, _, invoker, _ in catalogue.relations:
        if kind == "v" and not invoker:
            yield Finding("view", name, "it reads as its owner; make it WITH (security_invoker)")
        if kind in {"m", "f"} and name in granted:
            yield Finding("view", name, "row-level security cannot cover it; revoke the grant")


def _functions(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    context = {name: (body, plain) for name, body, plain in catalogue.context_functions}
    for name, body in CONTEXT_FUNCTIONS.items():
        printed, plain = context.get(name, ("", False))
        if _plain(printed) != _plain(body) or not plain:
            yield Finding("changed-function", name, "it does not tell the context; restore it")
    for name in sorted(expected.functions.keys() - {row[0] for row in catalogue.functions}):
        yield Finding("no-function", name, "the look-up is missing or no SECURITY DEFINER any more")
    for name, owner, pinned, public, body in catalogue.functions:
        if name not in expected.functions:
            yield Finding("extra-function", name, "no migration declared this SECURITY DEFINER")
        elif body.strip() != expected.functions[name].strip():
            yield Finding("changed-function", name, "it does something else than was declared")
        if owner != LOOKUP or not pinned or public:
            yield Finding(
                "open-function",
                name,
                f"it must belong to {LOOKUP}, pin search_path, shut PUBLIC out",
            )


def audit(connection: BaseDatabaseWrapper, *, role: str = APP) -> list[Finding]:
    """Return every difference between the catalogue behind `connection` and the declarations.

    Also judges `role`, the one that web processes connect as. Empty means the wall stands.
    """
    catalogue, expected = Catalogue(connection), declared()
    with connection.cursor() as cursor:
        findings = [
            Finding("role", role, f"{fault}; see docs/operations.md")
            for fault in role_faults(cursor, role)
        ]
    parts = (
        *(_tables, _columns, _wall_policies, _other_policies),
        *(_keys, _indexes, _grants, _openings, _functions),
    )
    for part in parts:
        findings.extend(part(catalogue, expected))
    return sorted(findings)


def require_wall(connection: BaseDatabaseWrapper) -> None:
    """Return when the wall stands; raises ImproperlyConfigured with every finding otherwise."""
    findings = audit(connection)
    connection.close()
    if findings:
        lines = "\n".join(map(str, findings))
        message = f"The wall is not as declared; `manage.py audit_rls` says:\n{lines}"
        raise ImproperlyConfigured(message)
