"""A count of what changed in who may enter as a device, so that a remembered answer can be void."""

import django.db.models.deletion
import uuid_utils.compat
from django.db import migrations, models

from rls import DefinerFunction, LookupColumns, TenantWall

# The row is there before anything is remembered. It is not made anew for a tenant that is on its
# way out, whose devices go after it.
COUNT = """
CREATE FUNCTION count_device_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    UPDATE device_versions SET version = version + 1 WHERE tenant_id = OLD.tenant_id;
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' AND (OLD.secret_digest, OLD.revoked_at) IS DISTINCT FROM
     (NEW.secret_digest, NEW.revoked_at) THEN
    UPDATE device_versions SET version = version + 1 WHERE tenant_id = NEW.tenant_id;
    IF FOUND THEN
      RETURN NULL;
    END IF;
  END IF;
  INSERT INTO device_versions (id, tenant_id, version)
  VALUES (gen_random_uuid(), NEW.tenant_id, 0) ON CONFLICT (tenant_id) DO NOTHING;
  RETURN NULL;
END $$;

CREATE FUNCTION count_tenant_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE device_versions SET version = version + 1 WHERE tenant_id = NEW.id;
  RETURN NULL;
END $$;

CREATE TRIGGER devices_versioned AFTER INSERT OR UPDATE OR DELETE ON devices
  FOR EACH ROW EXECUTE FUNCTION count_device_change();
CREATE TRIGGER tenants_versioned AFTER UPDATE ON tenants
  FOR EACH ROW WHEN ((OLD.is_active, OLD.slug, OLD.domain, OLD.domain_verified_at)
    IS DISTINCT FROM (NEW.is_active, NEW.slug, NEW.domain, NEW.domain_verified_at))
  EXECUTE FUNCTION count_tenant_change();
"""
COUNT_NO_MORE = """
DROP FUNCTION count_device_change CASCADE;
DROP FUNCTION count_tenant_change CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0008_audit"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeviceVersion",
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
                ("version", models.BigIntegerField(default=0)),
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
                "db_table": "device_versions",
                "abstract": False,
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "id"), name="deviceversion_tenant_id_id"
                    ),
                    models.UniqueConstraint(fields=("tenant",), name="device_versions_tenant"),
                ],
            },
        ),
        TenantWall("DeviceVersion"),
        LookupColumns("device_versions", ("tenant_id", "version")),
        migrations.RunSQL(COUNT, COUNT_NO_MORE),
        # `device_by_prefix` stays for the code from before this.
        DefinerFunction(
            "device_credential",
            "wanted text",
            "TABLE (device_id uuid, secret_digest text, tenant_id uuid, slug text, domain text, "
            "tenant_is_active boolean, version bigint)",
            "SELECT d.id, d.secret_digest, t.id, t.slug::text, "
            "CASE WHEN t.domain_verified_at IS NOT NULL THEN t.domain::text END, t.is_active, "
            "v.version FROM devices d JOIN tenants t ON t.id = d.tenant_id "
            "LEFT JOIN device_versions v ON v.tenant_id = t.id "
            "WHERE d.secret_prefix = wanted AND d.revoked_at IS NULL",
        ),
        DefinerFunction(
            "device_version",
            "wanted uuid",
            "bigint",
            "SELECT v.version FROM device_versions v WHERE v.tenant_id = wanted",
        ),
    ]
