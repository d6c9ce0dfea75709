"""Compares the catalogue with what the migrations declared, and names every difference.

Run by `manage.py audit_rls`, by CI and at start-up, as the application role: reading the catalogue
needs no privilege. Reads only; every finding says the object, what is wrong and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rls.declared import Declared, declared
from rls.guard import role_faults
from rls.names import ACCESS_POLICY, APP, BACKUP, LOOKUP, OWNER, TENANT_COLUMN, WALL_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper

# What pg_get_expr prints for rls.policies.wall_condition, with and without the sub-SELECT.
WALL_EXPRESSIONS = {
    f"({TENANT_COLUMN} = ( SELECT get_tenant_context() AS get_tenant_context))",
    f"({TENANT_COLUMN} = get_tenant_context())",
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
SELECT c.relname, i.relname, x.indisunique, x.indisprimary, x.indisvalid AND x.indpred IS NULL,
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
       COALESCE((SELECT bool_or(g.grantee = 0) FROM aclexplode(p.proacl) g), true)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'public' AND p.prosecdef"""

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
        self.default_grants = self._rows(DEFAULT_GRANTS_SQL)

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    @property
    def tenant_tables(self) -> list[str]:
        """The tables that carry the tenant column."""
        return sorted(table for table, columns in self.columns.items() if TENANT_COLUMN in columns)


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


def _policies(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    for table, name, *rest in catalogue.policies:
        found.setdefault(table, {})[name] = tuple(rest)
    walled = {*expected.walls, *catalogue.tenant_tables} - expected.globals.keys()
    for table in sorted(walled & catalogue.columns.keys()):
        for name, permissive in ((WALL_POLICY, False), (ACCESS_POLICY, True)):
            policy = found.get(table, {}).pop(name, None)
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
    for table, policies in sorted(found.items()):
        allowed = expected.policies(table)
        for name, (_, _, roles, _, _) in sorted(policies.items()):
            if {(name, role) for role in roles} - allowed:
                yield Finding("extra-policy", table, f"no migration declared the policy {name}")
        for name, _role in sorted(allowed - {(n, r) for n, p in policies.items() for r in p[2]}):
            yield Finding("no-policy", table, f"the policy {name} is missing")


def _keys(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    tenant_tables = set(catalogue.tenant_tables) - expected.globals.keys()
    for table, name, target, columns, targets in catalogue.foreign_keys:
        if table in tenant_tables and target in tenant_tables:
            pairs = set(zip(columns, targets, strict=True))
            if (TENANT_COLUMN, TENANT_COLUMN) not in pairs:
                yield Finding(
                    "plain-foreign-key",
                    f"{table}.{name}",
                    "it can point into another tenant; use db_constraint=False and "
                    "TenantForeignKey",
                )
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
        if grantee == BACKUP:
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
    for (grantee,) in catalogue.default_grants:
        yield Finding("default-grant", grantee, "new tables would be granted to it unasked")


def _views_and_functions(catalogue: Catalogue, expected: Declared) -> Iterator[Finding]:
    granted = {table for table, _, grantee, _ in catalogue.grants if grantee in {APP, "public"}}
    for name, kind, _, _, invoker, _ in catalogue.relations:
        if kind == "v" and not invoker:
            yield Finding("view", name, "it reads as its owner; make it WITH (security_invoker)")
        if kind in {"m", "f"} and name in granted:
            yield Finding("view", name, "row-level security cannot cover it; revoke the grant")
    for name, owner, pinned, public in catalogue.functions:
        if name not in expected.functions:
            yield Finding("extra-function", name, "no migration declared this SECURITY DEFINER")
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
    for part in (_tables, _columns, _policies, _keys, _grants, _views_and_functions):
        findings.extend(part(catalogue, expected))
    return sorted(findings)
