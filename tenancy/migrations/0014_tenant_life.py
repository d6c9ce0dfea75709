"""How a tenant gets a domain of its own, and how it ends."""

from django.db import migrations, models

from rls import DefinerFunction, GlobalTable, LookupColumns
from rls.names import WORKER
from rls.policies import Policy

TENANTS_READ = Policy(
    "tenants_read",
    "SELECT",
    using="id = (SELECT get_tenant_context()) OR id = ANY ((SELECT my_tenant_ids())::uuid[])",
)
TENANTS_INSERT = Policy("tenants_insert", "INSERT", check="id = (SELECT get_tenant_context())")
TENANTS_UPDATE = Policy(
    "tenants_update",
    "UPDATE",
    using="id = (SELECT get_tenant_context())",
    check="id = (SELECT get_tenant_context())",
)
# Whatever the code does: a tenant goes from within itself, and not before its time is over.
TENANTS_DELETE = Policy(
    "tenants_delete",
    "DELETE",
    using="id = (SELECT get_tenant_context()) AND deletes_at <= now()",
)
BEFORE = GlobalTable(
    "tenants",
    privileges=("SELECT", "INSERT", "UPDATE"),
    policies=(TENANTS_READ, TENANTS_INSERT, TENANTS_UPDATE),
)
LOOKED_UP = ("id", "slug", "domain", "domain_verified_at", "is_active")
KEEP_AN_OWNER = """
CREATE OR REPLACE FUNCTION keep_an_owner() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  {unless}PERFORM count_members(OLD.tenant_id, 0);
  IF NOT EXISTS (
    SELECT FROM tenant_users m JOIN users u ON u.id = m.user_id
    WHERE m.tenant_id = OLD.tenant_id AND m.role = 'owner' AND m.is_active AND u.is_active
  ) THEN
    RAISE check_violation USING CONSTRAINT = 'tenant_users_last_owner',
      MESSAGE = 'the tenant would have no active owner';
  END IF;
  RETURN NULL;
END $$;
"""
UNLESS_IT_GOES = """IF EXISTS (
    SELECT FROM tenants WHERE id = OLD.tenant_id AND deletes_at <= now() AND NOT is_active
  ) THEN
    RETURN NULL;
  END IF;
  """


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0013_users_by_email"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="deletes_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="tenant",
            name="domain_failing_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="tenant",
            name="domain_token",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddField(
            model_name="tenant",
            name="requested_domain",
            field=models.CharField(blank=True, db_default="", default="", max_length=253),
        ),
        GlobalTable(
            "tenants",
            privileges=("SELECT", "INSERT", "UPDATE", "DELETE"),
            policies=(TENANTS_READ, TENANTS_INSERT, TENANTS_UPDATE, TENANTS_DELETE),
            replaces=BEFORE,
        ),
        LookupColumns("tenants", (*LOOKED_UP, "deletes_at"), added=("deletes_at",)),
        DefinerFunction(
            "tenants_to_purge",
            "",
            "TABLE (tenant_id uuid)",
            "SELECT id FROM tenants WHERE deletes_at <= now() ORDER BY id",
            caller=WORKER,
        ),
        migrations.RunSQL(
            KEEP_AN_OWNER.format(unless=UNLESS_IT_GOES), KEEP_AN_OWNER.format(unless="")
        ),
    ]
