"""Backups, restores, and what a restore replaced; both count against the storage."""

import django.db.models.deletion
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models

from rls import TenantForeignKey, TenantWall

# An archive counts like an upload. What a restore keeps is counted by hand as it moves, so that a
# file is never counted twice, nor not at all.
COUNT = """
CREATE FUNCTION count_kept() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    PERFORM count_usage(OLD.tenant_id, 0, -OLD.kept_bytes);
  ELSE
    PERFORM count_usage(NEW.tenant_id, 0, NEW.kept_bytes - OLD.kept_bytes);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER backups_counted_in AFTER INSERT ON backups
  REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_uploads();
CREATE TRIGGER backups_counted_out AFTER DELETE ON backups
  REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_uploads();
CREATE TRIGGER restores_kept AFTER UPDATE OF kept_bytes ON restores
  FOR EACH ROW WHEN (OLD.kept_bytes IS DISTINCT FROM NEW.kept_bytes)
  EXECUTE FUNCTION count_kept();
CREATE TRIGGER restores_gone AFTER DELETE ON restores
  FOR EACH ROW EXECUTE FUNCTION count_kept();
"""
COUNT_NO_MORE = """
DROP TRIGGER backups_counted_in ON backups;
DROP TRIGGER backups_counted_out ON backups;
DROP FUNCTION count_kept CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("assets", "0005_share_lookup"),
        ("tenancy", "0004_released_jobs"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Restore",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("source", models.TextField()),
                ("assets", models.BigIntegerField(default=0)),
                ("replaced", models.BigIntegerField(default=0)),
                ("kept_bytes", models.BigIntegerField(default=0)),
                ("settings", models.JSONField(blank=True, default=dict)),
                ("notes", models.JSONField(blank=True, default=list)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField()),
                ("undone_at", models.DateTimeField(blank=True, null=True)),
                ("forgotten_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="assets.importrun",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "restores",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ReplacedRow",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("relation", models.TextField()),
                ("row", models.JSONField()),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
                (
                    "restore",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="assets.restore",
                    ),
                ),
            ],
            options={
                "db_table": "replaced_rows",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Backup",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("name", models.TextField()),
                ("size", models.BigIntegerField()),
                ("assets", models.BigIntegerField(default=0)),
                ("files", models.BigIntegerField(default=0)),
                ("missing", models.JSONField(blank=True, default=list)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField()),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "backups",
                "abstract": False,
                "indexes": [
                    models.Index(
                        fields=["tenant", "created_at", "id"], name="backups_by_created_at"
                    ),
                    models.Index(fields=["tenant", "expires_at"], name="backups_by_expires_at"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "id"), name="backup_tenant_id_id"),
                    models.UniqueConstraint(fields=("tenant", "name"), name="backups_tenant_name"),
                    models.CheckConstraint(
                        condition=models.Q(("size__gte", 0)), name="backups_size"
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="restore",
            index=models.Index(
                fields=["tenant", "created_at", "id"], name="restores_by_created_at"
            ),
        ),
        migrations.AddIndex(
            model_name="restore",
            index=models.Index(fields=["tenant", "expires_at"], name="restores_by_expires_at"),
        ),
        migrations.AddIndex(
            model_name="restore",
            index=models.Index(fields=["tenant", "run"], name="restores_by_run"),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="restore_tenant_id_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.CheckConstraint(
                condition=models.Q(("kept_bytes__gte", 0)), name="restores_kept"
            ),
        ),
        migrations.AddIndex(
            model_name="replacedrow",
            index=models.Index(
                fields=["tenant", "restore", "relation"], name="replaced_rows_by_restore"
            ),
        ),
        migrations.AddConstraint(
            model_name="replacedrow",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="replacedrow_tenant_id_id"
            ),
        ),
        TenantWall("Backup"),
        TenantWall("Restore"),
        TenantWall("ReplacedRow"),
        TenantForeignKey("Restore", "run", on_delete="CASCADE"),
        TenantForeignKey("ReplacedRow", "restore", on_delete="CASCADE"),
        migrations.RunSQL(COUNT, COUNT_NO_MORE),
    ]
