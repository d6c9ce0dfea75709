"""Invitations and their wall, the counting of members, and the owner that every tenant keeps."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from rls import DefinerFunction, LookupColumns, TenantWall
from rls.operations import unforced

# As count_usage in assets/migrations/0002_library.py: the tenant's one row is the lock.
COUNT_MEMBERS = """
CREATE FUNCTION count_members(owner uuid, more bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  used bigint;
  allowed bigint;
BEGIN
  INSERT INTO tenant_usage AS u (id, tenant_id, assets, bytes, devices, members)
  VALUES (gen_random_uuid(), owner, 0, 0, 0, more)
  ON CONFLICT (tenant_id) DO UPDATE SET members = u.members + EXCLUDED.members
  RETURNING u.members INTO used;
  SELECT max_users INTO allowed FROM tenants WHERE id = owner;
  IF more > 0 AND used > allowed THEN
    RAISE check_violation USING CONSTRAINT = 'quota_max_users',
      MESSAGE = 'the tenant may have no more members', DETAIL = allowed;
  END IF;
END $$;

CREATE FUNCTION count_member_rows() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM count_members(tenant_id, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END)
  FROM touched WHERE is_active GROUP BY tenant_id;
  RETURN NULL;
END $$;

CREATE FUNCTION recount_member() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM count_members(NEW.tenant_id, CASE WHEN NEW.is_active THEN 1 ELSE -1 END);
  RETURN NULL;
END $$;

CREATE TRIGGER members_counted_in AFTER INSERT ON tenant_users
  REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_member_rows();
CREATE TRIGGER members_counted_out AFTER DELETE ON tenant_users
  REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_member_rows();
CREATE TRIGGER members_recounted AFTER UPDATE OF is_active ON tenant_users
  FOR EACH ROW WHEN (OLD.is_active <> NEW.is_active) EXECUTE FUNCTION recount_member();
"""
COUNT_NO_MORE = """
DROP FUNCTION count_member_rows, recount_member CASCADE;
DROP FUNCTION count_members;
"""
# Two owners who go at once queue at the tenant's row of tenant_usage; the one that comes second
# looks with a snapshot of its own, which PostgreSQL takes for each statement of a function.
KEEP_AN_OWNER = """
CREATE FUNCTION keep_an_owner() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM count_members(OLD.tenant_id, 0);
  IF NOT EXISTS (
    SELECT FROM tenant_users m JOIN users u ON u.id = m.user_id
    WHERE m.tenant_id = OLD.tenant_id AND m.role = 'owner' AND m.is_active AND u.is_active
  ) THEN
    RAISE check_violation USING CONSTRAINT = 'tenant_users_last_owner',
      MESSAGE = 'the tenant would have no active owner';
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER owner_kept_at_update AFTER UPDATE OF role, is_active ON tenant_users
  FOR EACH ROW WHEN (
    OLD.role = 'owner' AND OLD.is_active AND NOT (NEW.role = 'owner' AND NEW.is_active))
  EXECUTE FUNCTION keep_an_owner();
CREATE TRIGGER owner_kept_at_delete AFTER DELETE ON tenant_users
  FOR EACH ROW WHEN (OLD.role = 'owner' AND OLD.is_active) EXECUTE FUNCTION keep_an_owner();
"""
KEEP_NO_OWNER = "DROP FUNCTION keep_an_owner CASCADE"
COUNT_WHO_IS_THERE = """
INSERT INTO tenant_usage (id, tenant_id, assets, bytes, members)
SELECT gen_random_uuid(), tenant_id, 0, 0, count(*)
FROM tenant_users WHERE is_active GROUP BY tenant_id
ON CONFLICT (tenant_id) DO UPDATE SET members = EXCLUDED.members
"""


def count_who_is_there(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Count the members of before; a tenant that is over its limit already keeps them."""
    del apps
    with unforced(schema_editor, "tenant_users", "tenant_usage"):
        schema_editor.execute(COUNT_WHO_IS_THERE)


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0009_device_versions"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenantusage",
            name="members",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.CreateModel(
            name="Invitation",
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
                ("email", models.TextField()),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("owner", "owner"),
                            ("admin", "admin"),
                            ("manager", "manager"),
                            ("operator", "operator"),
                            ("viewer", "viewer"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "permissions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("accepted", "Accepted"),
                            ("declined", "Declined"),
                            ("revoked", "Revoked"),
                            ("expired", "Expired"),
                        ],
                        default="pending",
                        max_length=20,
                    ),
                ),
                ("serial", models.PositiveIntegerField(default=1)),
                ("token_digest", models.TextField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "invited_by",
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
                "db_table": "invitations",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["token_digest"], name="invitations_by_digest"),
                    models.Index(
                        fields=["tenant", "created_at", "id"], name="invitations_by_created_at"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "id"), name="invitation_tenant_id_id"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "pending")),
                        fields=("tenant", "email"),
                        name="invitations_one_pending",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("role__in", ["owner", "admin", "manager", "operator", "viewer"])
                        ),
                        name="invitations_role",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ["pending", "accepted", "declined", "revoked"])
                        ),
                        name="invitations_state",
                    ),
                ],
            },
        ),
        TenantWall("Invitation"),
        LookupColumns("invitations", ("id", "tenant_id", "token_digest", "state", "expires_at")),
        DefinerFunction(
            "invitation_by_digest",
            "wanted text",
            "TABLE (invitation_id uuid, tenant_id uuid)",
            "SELECT i.id, t.id FROM invitations i JOIN tenants t ON t.id = i.tenant_id "
            "WHERE i.token_digest = wanted AND i.state = 'pending' AND i.expires_at > now() "
            "AND t.is_active",
        ),
        migrations.RunSQL(COUNT_MEMBERS, COUNT_NO_MORE),
        migrations.RunSQL(KEEP_AN_OWNER, KEEP_NO_OWNER),
        migrations.RunPython(count_who_is_there, migrations.RunPython.noop),
    ]
