"""Migration operations against a real database: what they build, and that they can be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.db.migrations.state import ProjectState

from rls import TenantForeignKey
from rls.audit import audit
from rls.operations import unforced

if TYPE_CHECKING:
    from tests.world import Inhabited


@pytest.mark.django_db(databases=["default", "owner"])
def test_composite_keys_refuse_a_row_of_another_tenant(
    acme: Inhabited, globex: Inhabited, owner_cursor: psycopg.Cursor[object]
) -> None:
    run = uuid4()
    owner_cursor.execute(
        "INSERT INTO import_runs (id, tenant_id, source, source_digest, era, started_at, report) "
        "VALUES (%s, %s, '', '', '', now(), '{}')",
        [run, acme.tenant.id],
    )
    statement = (
        "INSERT INTO asset_migrations (id, tenant_id, run_id, original_asset_id, new_asset_id, "
        "asset_id, migrated_at, migration_status, migration_notes) "
        "VALUES (%s, %s, %s, '', '', %s, now(), 'migrated', '')"
    )
    owner_cursor.execute(statement, [uuid4(), acme.tenant.id, run, acme.assets[0].pk])
    for tenant, asset in (
        (acme.tenant.id, globex.assets[0].pk),
        (globex.tenant.id, globex.assets[0].pk),
    ):
        with (
            pytest.raises(psycopg.errors.ForeignKeyViolation),
            owner_cursor.connection.transaction(),
        ):
            owner_cursor.execute(statement, [uuid4(), tenant, run, asset])


@pytest.mark.usefixtures("scratch_database")
def test_every_migration_can_be_taken_back_and_applied_again() -> None:
    call_command("migrate", "rls", "zero", verbosity=0)
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_policy")
        assert cursor.fetchone() == (0,)
        # The queue's own functions are its own application's.
        cursor.execute(
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
            "AND proname NOT LIKE 'procrastinate%'"
        )
        assert cursor.fetchone() == (0,)
    call_command("migrate", verbosity=0)
    assert audit(connections["default"]) == []


@pytest.mark.usefixtures("scratch_database")
def test_without_bypassrls_a_migration_still_sees_every_row() -> None:
    """As on a hosted PostgreSQL: FORCE is lifted inside the migration, and stands again after it."""
    state = ProjectState.from_apps(__import__("django.apps", fromlist=["apps"]).apps)
    operation = TenantForeignKey("AssetMigration", "asset", on_delete="SET NULL (asset_id)")
    owner = connections["owner"]
    operation_back = operation.database_backwards
    with owner.schema_editor() as editor:
        operation_back("assets", editor, state, state)
    tenants = [uuid4(), uuid4()]
    with transaction.atomic(using="owner"), owner.cursor() as cursor:
        for number, tenant in enumerate(tenants):
            cursor.execute(
                "INSERT INTO tenants (id, name, slug, database_name, created_at, updated_at, "
                "is_active, subscription_tier, max_devices, max_users, storage_quota_gb, "
                "max_assets, features, settings) VALUES (%s, 'x', %s, %s, now(), now(), true, "
                "'basic', 1, 1, 1, 1, '{}', '{}')",
                [tenant, f"t{number}", f"d{number}"],
            )
        run, asset = uuid4(), uuid4()
        cursor.execute(
            "INSERT INTO import_runs (id, tenant_id, source, source_digest, era, started_at, "
            "report) VALUES (%s, %s, '', '', '', now(), '{}')",
            [run, tenants[0]],
        )
        # A row that points into the other tenant: hidden from a FORCEd owner, so a constraint
        # validated by one would be added over it.
        cursor.execute(
            "INSERT INTO asset_migrations (id, tenant_id, run_id, original_asset_id, new_asset_id, "
            "asset_id, migrated_at, migration_status, migration_notes) "
            "VALUES (%s, %s, %s, '', '', %s, now(), 'migrated', '')",
            [uuid4(), tenants[0], run, asset],
        )
    with owner.schema_editor() as editor:
        editor.execute("SET LOCAL ROLE signage_owner")
        with owner.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM asset_migrations")
            assert cursor.fetchone() == (0,)
            with unforced(editor, "asset_migrations", "assets"):
                cursor.execute("SELECT count(*) FROM asset_migrations")
                assert cursor.fetchone() == (1,)
            cursor.execute("SELECT count(*) FROM asset_migrations")
            assert cursor.fetchone() == (0,)
        with (
            pytest.raises(Exception, match="violates foreign key constraint"),
            transaction.atomic(using="owner"),
        ):
            operation.database_forwards("assets", editor, state, state)
        editor.execute("RESET ROLE")
        editor.execute("DELETE FROM asset_migrations")
        editor.execute("SET LOCAL ROLE signage_owner")
        operation.database_forwards("assets", editor, state, state)
    assert audit(connections["default"]) == []
