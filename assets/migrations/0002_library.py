"""Uploads, share links, proof of play, and the counting of what a plan limits."""

import django.db.models.deletion
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from rls import TenantForeignKey, TenantWall
from rls.operations import unforced

# What every insert and delete adds to the tenant's one row of usage, and the refusal. Concurrent
# writers queue at that row, so that the sum they compare is the one that will be committed. Only
# what grows is refused: whoever is over a limit that was lowered can still delete.
COUNT_USAGE = """
CREATE FUNCTION count_usage(owner uuid, more_assets bigint, more_bytes bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  used record;
  allowed record;
BEGIN
  IF more_assets = 0 AND more_bytes = 0 THEN
    RETURN;
  END IF;
  INSERT INTO tenant_usage AS u (id, tenant_id, assets, bytes)
  VALUES (gen_random_uuid(), owner, more_assets, more_bytes)
  ON CONFLICT (tenant_id) DO UPDATE
  SET assets = u.assets + EXCLUDED.assets, bytes = u.bytes + EXCLUDED.bytes
  RETURNING u.assets, u.bytes INTO used;
  SELECT max_assets, storage_quota_gb * 1000000000::bigint AS max_bytes INTO allowed
  FROM tenants WHERE id = owner;
  IF more_assets > 0 AND used.assets > allowed.max_assets THEN
    RAISE check_violation USING CONSTRAINT = 'quota_max_assets',
      MESSAGE = 'the tenant may have no more assets', DETAIL = allowed.max_assets;
  END IF;
  IF more_bytes > 0 AND used.bytes > allowed.max_bytes THEN
    RAISE check_violation USING CONSTRAINT = 'quota_storage',
      MESSAGE = 'the tenant may store no more', DETAIL = allowed.max_bytes - used.bytes + more_bytes;
  END IF;
END $$;

CREATE FUNCTION count_assets() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM count_usage(
    tenant_id, sum(sign)::bigint, sum(sign * COALESCE(file_size, 0))::bigint)
  FROM (SELECT tenant_id, file_size, CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END AS sign
        FROM touched) AS rows
  GROUP BY tenant_id;
  RETURN NULL;
END $$;

CREATE FUNCTION count_uploads() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM count_usage(
    tenant_id, 0, sum(CASE TG_OP WHEN 'INSERT' THEN size ELSE -size END)::bigint)
  FROM touched GROUP BY tenant_id;
  RETURN NULL;
END $$;

CREATE FUNCTION count_asset_size() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM count_usage(
    NEW.tenant_id, 0, COALESCE(NEW.file_size, 0) - COALESCE(OLD.file_size, 0));
  RETURN NULL;
END $$;

CREATE FUNCTION count_upload_size() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM count_usage(NEW.tenant_id, 0, NEW.size - OLD.size);
  RETURN NULL;
END $$;

CREATE TRIGGER assets_counted_in AFTER INSERT ON assets
  REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_assets();
CREATE TRIGGER assets_counted_out AFTER DELETE ON assets
  REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_assets();
CREATE TRIGGER assets_resized AFTER UPDATE OF file_size ON assets
  FOR EACH ROW WHEN (OLD.file_size IS DISTINCT FROM NEW.file_size)
  EXECUTE FUNCTION count_asset_size();
CREATE TRIGGER uploads_counted_in AFTER INSERT ON uploads
  REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_uploads();
CREATE TRIGGER uploads_counted_out AFTER DELETE ON uploads
  REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_uploads();
CREATE TRIGGER uploads_resized AFTER UPDATE OF size ON uploads
  FOR EACH ROW WHEN (OLD.size IS DISTINCT FROM NEW.size) EXECUTE FUNCTION count_upload_size();
"""
COUNT_NO_MORE = """
DROP TRIGGER assets_counted_in ON assets;
DROP TRIGGER assets_counted_out ON assets;
DROP TRIGGER assets_resized ON assets;
DROP FUNCTION count_assets, count_uploads, count_asset_size, count_upload_size CASCADE;
DROP FUNCTION count_usage;
"""
COUNT_WHAT_IS_THERE = """
INSERT INTO tenant_usage (id, tenant_id, assets, bytes)
SELECT gen_random_uuid(), tenant_id, count(*), COALESCE(sum(file_size), 0)
FROM assets GROUP BY tenant_id
ON CONFLICT (tenant_id) DO UPDATE SET assets = EXCLUDED.assets, bytes = EXCLUDED.bytes
"""


def count_what_is_there(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Count the assets of before; a tenant that is over a limit already keeps what it has."""
    del apps
    with unforced(schema_editor, "assets", "tenant_usage"):
        schema_editor.execute(COUNT_WHAT_IS_THERE)


class Migration(migrations.Migration):
    dependencies = [
        ("assets", "0001_initial"),
        ("tenancy", "0002_usage"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PlaybackDay",
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
                ("day", models.DateField()),
                (
                    "reporter",
                    models.TextField(
                        choices=[("device", "Device"), ("token", "Token"), ("member", "Member")]
                    ),
                ),
                ("reporter_id", models.UUIDField()),
                ("plays", models.BigIntegerField(default=0)),
                ("seconds", models.BigIntegerField(default=0)),
                ("last_played_at", models.DateTimeField()),
                (
                    "asset",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="assets.asset",
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
                "db_table": "playback_days",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["tenant", "day", "id"], name="playback_days_by_day"),
                    models.Index(
                        fields=["tenant", "reporter_id", "day", "id"],
                        name="playback_days_by_reporter",
                    ),
                    models.Index(
                        fields=["tenant", "asset", "day", "id"], name="playback_days_by_asset"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "id"), name="playbackday_tenant_id_id"
                    ),
                    models.UniqueConstraint(
                        fields=("tenant", "asset", "day", "reporter", "reporter_id"),
                        name="playback_days_unique",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reporter__in", ["device", "token", "member"])),
                        name="playback_days_reporter",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PlaybackReport",
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
                (
                    "reporter",
                    models.TextField(
                        choices=[("device", "Device"), ("token", "Token"), ("member", "Member")]
                    ),
                ),
                ("reporter_id", models.UUIDField()),
                ("key", models.TextField()),
                ("received_at", models.DateTimeField(default=django.utils.timezone.now)),
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
                "db_table": "playback_reports",
                "abstract": False,
                "indexes": [
                    models.Index(
                        fields=["tenant", "received_at"], name="playback_reports_by_received"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "id"), name="playbackreport_tenant_id_id"
                    ),
                    models.UniqueConstraint(
                        fields=("tenant", "reporter", "reporter_id", "key"),
                        name="playback_reports_key",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ShareLink",
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
                ("token_digest", models.TextField()),
                ("expires_at", models.DateTimeField()),
                ("max_views", models.BigIntegerField(blank=True, null=True)),
                ("access_count", models.BigIntegerField(default=0)),
                ("last_accessed_at", models.DateTimeField(blank=True, null=True)),
                ("password", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "asset",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="assets.asset",
                    ),
                ),
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
                "db_table": "share_links",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["token_digest"], name="share_links_by_token_digest"),
                    models.Index(fields=["tenant", "asset"], name="share_links_by_asset"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "id"), name="sharelink_tenant_id_id"),
                    models.UniqueConstraint(
                        condition=models.Q(("revoked_at", None)),
                        fields=("tenant", "asset"),
                        name="share_links_tenant_asset",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Upload",
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
                ("handle", models.TextField()),
                ("file_name", models.TextField()),
                ("size", models.BigIntegerField()),
                ("received", models.JSONField(default=list)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("md5", models.TextField(blank=True, default="")),
                ("mimetype", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
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
                "db_table": "uploads",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["tenant", "expires_at"], name="uploads_by_expires_at")
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "id"), name="upload_tenant_id_id"),
                    models.UniqueConstraint(
                        fields=("tenant", "handle"), name="uploads_tenant_handle"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("size__gte", 0)), name="uploads_size"
                    ),
                ],
            },
        ),
        TenantWall("Upload"),
        TenantWall("ShareLink"),
        TenantWall("PlaybackDay"),
        TenantWall("PlaybackReport"),
        TenantForeignKey("ShareLink", "asset", on_delete="CASCADE"),
        TenantForeignKey("PlaybackDay", "asset", on_delete="CASCADE"),
        migrations.RunPython(count_what_is_there, migrations.RunPython.noop),
        migrations.RunSQL(COUNT_USAGE, COUNT_NO_MORE),
    ]
