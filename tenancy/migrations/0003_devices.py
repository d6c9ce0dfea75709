"""Devices: their walls, the look-up of their secrets, and the counting of them."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models

from rls import DefinerFunction, LookupColumns, TenantWall

# As count_usage in assets/migrations/0002_library.py: the tenant's one row is the lock.
COUNT_DEVICES = """
CREATE FUNCTION count_devices(owner uuid, more bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  used bigint;
  allowed bigint;
BEGIN
  INSERT INTO tenant_usage AS u (id, tenant_id, assets, bytes, devices)
  VALUES (gen_random_uuid(), owner, 0, 0, more)
  ON CONFLICT (tenant_id) DO UPDATE SET devices = u.devices + EXCLUDED.devices
  RETURNING u.devices INTO used;
  SELECT max_devices INTO allowed FROM tenants WHERE id = owner;
  IF more > 0 AND used > allowed THEN
    RAISE check_violation USING CONSTRAINT = 'quota_max_devices',
      MESSAGE = 'the tenant may have no more devices', DETAIL = allowed;
  END IF;
END $$;

CREATE FUNCTION count_device() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF TG_OP <> 'INSERT' AND OLD.revoked_at IS NULL THEN
    PERFORM count_devices(OLD.tenant_id, -1);
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.revoked_at IS NULL THEN
    PERFORM count_devices(NEW.tenant_id, 1);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER devices_counted AFTER INSERT OR DELETE ON devices
  FOR EACH ROW EXECUTE FUNCTION count_device();
CREATE TRIGGER devices_recounted AFTER UPDATE OF revoked_at ON devices
  FOR EACH ROW WHEN ((OLD.revoked_at IS NULL) <> (NEW.revoked_at IS NULL))
  EXECUTE FUNCTION count_device();
"""
COUNT_NO_MORE = """
DROP FUNCTION count_device CASCADE;
DROP FUNCTION count_devices;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0002_usage"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenantusage",
            name="devices",
            field=models.BigIntegerField(default=0),
        ),
        migrations.CreateModel(
            name="Device",
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
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), blank=True, default=list, size=None
                    ),
                ),
                ("only_tagged", models.BooleanField(default=False)),
                ("secret_prefix", models.TextField()),
                ("secret_digest", models.TextField()),
                ("settings", models.JSONField(blank=True, default=dict)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("last_seen_at", models.DateTimeField(blank=True, null=True)),
                ("address", models.TextField(blank=True, default="")),
                ("version", models.TextField(blank=True, default="")),
                ("playing", models.TextField(blank=True, default="")),
                ("telemetry", models.JSONField(blank=True, default=dict)),
                (
                    "sort_name",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.functions.text.Lower(
                            django.db.models.functions.text.Left("name", 200)
                        ),
                        output_field=models.TextField(db_collation="C"),
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
                "db_table": "devices",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["secret_prefix"], name="devices_by_secret_prefix"),
                    models.Index(
                        fields=["tenant", "created_at", "id"], name="devices_by_created_at"
                    ),
                    models.Index(fields=["tenant", "sort_name", "id"], name="devices_by_name"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "id"), name="device_tenant_id_id")
                ],
            },
        ),
        # The counting of assets inserts rows that know nothing of devices.
        migrations.RunSQL(
            "ALTER TABLE tenant_usage ALTER COLUMN devices SET DEFAULT 0",
            "ALTER TABLE tenant_usage ALTER COLUMN devices DROP DEFAULT",
        ),
        TenantWall("Device"),
        LookupColumns(
            "devices", ("id", "tenant_id", "secret_prefix", "secret_digest", "revoked_at")
        ),
        DefinerFunction(
            "device_by_prefix",
            "wanted text",
            "TABLE (device_id uuid, secret_digest text, tenant_id uuid, slug text, domain text, "
            "tenant_is_active boolean)",
            "SELECT d.id, d.secret_digest, t.id, t.slug::text, "
            "CASE WHEN t.domain_verified_at IS NOT NULL THEN t.domain::text END, t.is_active "
            "FROM devices d JOIN tenants t ON t.id = d.tenant_id "
            "WHERE d.secret_prefix = wanted AND d.revoked_at IS NULL",
        ),
        migrations.RunSQL(COUNT_DEVICES, COUNT_NO_MORE),
    ]
