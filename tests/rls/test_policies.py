"""Policies and grants as text: the generator is pure, so its output is pinned here."""

from __future__ import annotations

from rls import policies


def test_the_wall_is_restrictive_and_permissive_for_the_application_role_only() -> None:
    condition = '"tenant_id" = (SELECT get_tenant_context())'
    assert policies.wall_sql("assets") == [
        'ALTER TABLE "assets" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "assets" FORCE ROW LEVEL SECURITY',
        (
            'CREATE POLICY tenant_wall ON "assets" AS RESTRICTIVE FOR ALL TO signage_app '
            f"USING ({condition}) WITH CHECK ({condition})"
        ),
        (
            'CREATE POLICY tenant_access ON "assets" AS PERMISSIVE FOR ALL TO signage_app '
            f"USING ({condition}) WITH CHECK ({condition})"
        ),
        'REVOKE ALL ON "assets" FROM PUBLIC, signage_app',
        'GRANT SELECT, INSERT, UPDATE, DELETE ON "assets" TO signage_app',
    ]


def test_citus_gets_no_sub_select() -> None:
    text = " ".join(policies.wall_sql("assets", citus=True))
    assert "SELECT get_tenant_context()" not in text
    assert '"tenant_id" = get_tenant_context()' in text


def test_an_append_only_table_gets_two_privileges() -> None:
    assert policies.wall_sql("log", privileges=("SELECT", "INSERT"))[-1] == (
        'GRANT SELECT, INSERT ON "log" TO signage_app'
    )


def test_columns_narrow_reading_and_nothing_else() -> None:
    assert policies.grant_sql("t", ("SELECT", "INSERT"), columns=("a", "b"))[-1] == (
        'GRANT SELECT ("a", "b"), INSERT ON "t" TO signage_app'
    )
    assert policies.grant_sql("t", ()) == ['REVOKE ALL ON "t" FROM PUBLIC, signage_app']


def test_foreign_keys_carry_the_tenant() -> None:
    assert policies.foreign_key_sql("a", "k", "b_id", "b") == (
        'ALTER TABLE "a" ADD CONSTRAINT "k" FOREIGN KEY ("tenant_id", "b_id") '
        'REFERENCES "b" ("tenant_id", "id") ON DELETE NO ACTION'
    )


def test_names_are_quoted() -> None:
    assert policies.quote('a"b') == '"a""b"'
