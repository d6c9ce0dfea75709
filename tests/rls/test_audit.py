"""The catalogue audit finds what is planted, each in a transaction that is rolled back."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from rls import guard
from rls.audit import Finding, audit

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(databases=["default", "owner"])

PLANTS = [
    pytest.param(
        "CREATE TABLE planted (id uuid PRIMARY KEY, tenant_id uuid NOT NULL)",
        {("not-declared", "planted"), ("no-policy", "planted"), ("no-tenant-index", "planted")},
        id="table without a wall",
    ),
    pytest.param(
        "DROP POLICY tenant_wall ON assets", {("no-policy", "assets")}, id="table without policy"
    ),
    pytest.param(
        "ALTER TABLE assets DISABLE ROW LEVEL SECURITY", {("not-enabled", "assets")},
        id="table without ENABLE",
    ),
    pytest.param(
        "ALTER TABLE assets NO FORCE ROW LEVEL SECURITY", {("not-forced", "assets")},
        id="table without FORCE",
    ),
    pytest.param(
        "CREATE POLICY extra ON assets FOR SELECT TO signage_app USING (true)",
        {("extra-policy", "assets")},
        id="extra permissive policy",
    ),
    pytest.param(
        "ALTER POLICY tenant_wall ON assets USING (true)", {("changed-policy", "assets")},
        id="wall that lets everything through",
    ),
    pytest.param(
        "ALTER POLICY tenant_wall ON assets TO signage_backup", {("changed-policy", "assets")},
        id="wall for somebody else",
    ),
    pytest.param(
        "DROP POLICY users_read ON users", {("no-policy", "users")},
        id="global table that lost its policy",
    ),
    pytest.param(
        "ALTER TABLE asset_migrations ADD CONSTRAINT plain FOREIGN KEY (asset_id) "
        "REFERENCES assets (id)",
        {("plain-foreign-key", "asset_migrations.plain")},
        id="plain foreign key",
    ),
    pytest.param(
        "CREATE UNIQUE INDEX everywhere ON assets (name)",
        {("global-unique-key", "assets.everywhere")},
        id="unique key without tenant_id",
    ),
    pytest.param(
        "GRANT TRUNCATE ON assets TO signage_app", {("extra-grant", "assets")},
        id="a grant too many",
    ),
    pytest.param(
        "GRANT SELECT (password) ON user_credentials TO signage_app",
        {("extra-grant", "user_credentials.password")},
        id="a column too many",
    ),
    pytest.param("GRANT SELECT ON assets TO PUBLIC", {("extra-grant", "assets")}, id="public"),
    pytest.param("REVOKE INSERT ON assets FROM signage_app", {("no-grant", "assets")},
                 id="a grant too few"),
    pytest.param(
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO signage_app",
        {("default-grant", "signage_app")},
        id="default grant",
    ),
    pytest.param(
        "ALTER TABLE tenant_settings DROP CONSTRAINT tenantsettings_tenant_id_id; "
        "ALTER TABLE tenant_settings DROP CONSTRAINT tenant_settings_tenant",
        {("no-tenant-index", "tenant_settings")},
        id="no tenant-leading index",
    ),
    pytest.param(
        "ALTER TABLE assets ALTER tenant_id DROP NOT NULL", {("tenant-column", "assets")},
        id="tenant_id that may be null",
    ),
    pytest.param(
        "ALTER TABLE import_runs ADD COLUMN number bigserial", {("sequence", "import_runs.number")},
        id="a sequence",
    ),
    pytest.param(
        "CREATE VIEW everything AS SELECT * FROM assets", {("view", "everything")},
        id="view without security_invoker",
    ),
    pytest.param(
        "CREATE MATERIALIZED VIEW frozen AS SELECT * FROM assets WITH NO DATA; "
        "GRANT SELECT ON frozen TO signage_app",
        {("view", "frozen"), ("extra-grant", "frozen")},
        id="materialised view",
    ),
    pytest.param(
        "CREATE FUNCTION loose() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        {("extra-function", "loose"), ("open-function", "loose")},
        id="undeclared definer function",
    ),
    pytest.param(
        "ALTER FUNCTION identity_of(uuid) RESET search_path", {("open-function", "identity_of")},
        id="definer function without a pinned search_path",
    ),
    pytest.param(
        "CREATE OR REPLACE FUNCTION tenant_by_slug(wanted text) RETURNS uuid LANGUAGE sql STABLE "
        "SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp "
        "AS 'SELECT id FROM tenants'",
        {("changed-function", "tenant_by_slug")},
        id="definer function that does something else",
    ),
    pytest.param(
        "ALTER FUNCTION my_memberships() SECURITY INVOKER", {("no-function", "my_memberships")},
        id="definer function that is none any more",
    ),
    pytest.param(
        "CREATE OR REPLACE FUNCTION get_tenant_context() RETURNS uuid LANGUAGE sql STABLE "
        "AS 'SELECT id FROM tenants LIMIT 1'",
        {("changed-function", "get_tenant_context")},
        id="context that is somebody else's",
    ),
    pytest.param(
        "ALTER FUNCTION get_user_context() SET work_mem = '4MB'",
        {("changed-function", "get_user_context")},
        id="context with settings of its own",
    ),
    pytest.param(
        "ALTER POLICY users_read ON users USING (true)", {("changed-policy", "users")},
        id="global table whose policy lets everything through",
    ),
    pytest.param(
        "ALTER POLICY users_update ON users WITH CHECK (true)", {("changed-policy", "users")},
        id="global table whose policy lets everything in",
    ),
    pytest.param(
        "DROP POLICY users_lookup ON users; "
        "CREATE POLICY users_lookup ON users FOR ALL TO signage_lookup USING (true)",
        {("changed-policy", "users")},
        id="policy for another command",
    ),
    pytest.param(
        "ALTER POLICY users_lookup ON users TO signage_app",
        {("extra-policy", "users"), ("no-policy", "users")},
        id="policy for another role",
    ),
    pytest.param(
        "ALTER TABLE asset_migrations DROP CONSTRAINT asset_migrations_asset_id_same_tenant",
        {("no-foreign-key", "asset_migrations.asset_id")},
        id="composite foreign key that is gone",
    ),
    pytest.param(
        "ALTER TABLE users ADD COLUMN favourite uuid REFERENCES assets (id)",
        {("plain-foreign-key", "users.users_favourite_fkey")},
        id="foreign key from a global table",
    ),
    pytest.param(
        "ALTER TABLE assets ADD CONSTRAINT alone EXCLUDE USING btree (name WITH =)",
        {("global-unique-key", "assets.alone")},
        id="exclusion constraint without tenant_id",
    ),
    pytest.param(
        "CREATE RULE copied AS ON INSERT TO assets DO ALSO "
        "INSERT INTO asset_migrations (id) VALUES (new.id)",
        {("rule", "assets.copied")},
        id="rewrite rule",
    ),
    pytest.param(
        "CREATE SCHEMA elsewhere; GRANT USAGE ON SCHEMA elsewhere TO PUBLIC",
        {("schema", "elsewhere")},
        id="another schema",
    ),
    pytest.param(
        "GRANT CREATE ON SCHEMA public TO signage_app", {("schema", "public")},
        id="tables of the application's own",
    ),
    pytest.param(
        "GRANT INSERT ON assets TO signage_backup", {("extra-grant", "assets")},
        id="backup that writes",
    ),
]  # fmt: skip


@pytest.fixture
def planted(request: pytest.FixtureRequest) -> Iterator[list[Finding]]:
    """The findings after running the test's statement as the maintenance role."""
    with transaction.atomic(using="owner"):
        with connections["owner"].cursor() as cursor:
            cursor.execute("SET LOCAL ROLE signage_maintenance")
            cursor.execute(request.param)
        yield audit(connections["owner"])
        transaction.set_rollback(True, using="owner")


def test_as_migrated_there_is_nothing_to_find() -> None:
    assert audit(connections["default"]) == []
    out = StringIO()
    call_command("audit_rls", stdout=out)
    assert out.getvalue().startswith("The wall stands")


@pytest.mark.parametrize(("planted", "expected"), PLANTS, indirect=["planted"])
def test_the_audit_finds(planted: list[Finding], expected: set[tuple[str, str]]) -> None:
    # A table that was only just made belongs to the role that made it: migrate hands it over.
    found = {(f.code, f.subject) for f in planted if f.code != "owner"}
    assert found == expected


def test_a_table_that_was_not_handed_over_is_found() -> None:
    with transaction.atomic(using="owner"):
        with connections["owner"].cursor() as cursor:
            cursor.execute("CREATE TABLE mine (id int)")
        findings = audit(connections["owner"])
        transaction.set_rollback(True, using="owner")
    assert [(f.code, f.subject) for f in findings] == [("owner", "mine")]


def test_the_command_prints_findings_and_fails() -> None:
    out = StringIO()
    with transaction.atomic(using="owner"):
        with connections["owner"].cursor() as cursor:
            cursor.execute("ALTER TABLE assets NO FORCE ROW LEVEL SECURITY")
        with pytest.raises(CommandError, match="1 finding"):
            call_command("audit_rls", database="owner", stdout=out)
        transaction.set_rollback(True, using="owner")
    assert "assets: FORCE ROW LEVEL SECURITY is missing" in out.getvalue()


def superuser() -> str:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY oid LIMIT 1")
        (name,) = cursor.fetchone()
    return str(name)


@pytest.mark.parametrize(
    ("role", "fault"),
    [
        ("signage_owner", "is, or may become, the owner of tables"),
        ("signage_maintenance", "has BYPASSRLS"),
        ("signage_backup", "has BYPASSRLS"),
        ("", "is a superuser"),
        ("nobody_at_all", "does not exist"),
    ],
)
def test_an_application_role_the_wall_does_not_hold_is_found(role: str, fault: str) -> None:
    role = role or superuser()
    findings = audit(connections["default"], role=role)
    assert {f.code for f in findings} == {"role"}
    assert any(fault in f.message for f in findings)


def test_a_web_process_refuses_to_connect_as_a_role_the_wall_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "_accepted", set())
    guard.refuse_privileged_role(connections["default"])
    monkeypatch.setattr(guard, "_accepted", set())
    monkeypatch.setattr(connections["owner"], "alias", "default")
    with pytest.raises(ImproperlyConfigured, match="has BYPASSRLS"):
        guard.refuse_privileged_role(connections["owner"])
    assert guard._accepted == set()
