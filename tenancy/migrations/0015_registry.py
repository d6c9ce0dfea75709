"""What members of staff are shown of tenants and people, and nobody else is."""

# ruff: noqa: S608 -- nothing but constants

from django.db import migrations, models

from rls import DefinerFunction, FunctionView, LookupColumns

# Whoever asks has to be somebody, here and now, and on the staff.
STAFF = (
    "EXISTS (SELECT FROM users s WHERE s.id = get_user_context() AND s.is_staff AND s.is_active)"
)
TENANT = (
    *("id", "slug", "name", "domain", "domain_verified_at", "is_active", "deletes_at"),
    *("created_at", "subscription_tier", "max_devices", "max_users", "storage_quota_gb"),
    "max_assets",
)
TENANT_ADDED = (
    *("name", "created_at", "subscription_tier", "max_devices", "max_users"),
    *("storage_quota_gb", "max_assets"),
)
PERSON = (
    *("id", "username", "email", "first_name", "last_name", "is_active", "is_staff"),
    *("date_joined", "last_login"),
)
PERSON_ADDED = ("first_name", "last_name", "is_staff", "date_joined", "last_login")


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0014_tenant_life")]

    operations = [
        LookupColumns("tenants", TENANT, added=TENANT_ADDED),
        LookupColumns("users", (*PERSON, "credential_version"), added=PERSON_ADDED),
        DefinerFunction(
            "operator_tenants",
            "",
            "TABLE (id uuid, slug text, name text, domain text, domain_verified_at timestamptz, "
            "is_active boolean, deletes_at timestamptz, created_at timestamptz, "
            "subscription_tier text, max_devices integer, max_users integer, "
            "storage_quota_gb integer, max_assets integer)",
            "SELECT t.id, t.slug::text, t.name::text, t.domain::text, t.domain_verified_at, "
            "t.is_active, t.deletes_at, t.created_at, t.subscription_tier::text, t.max_devices, "
            f"t.max_users, t.storage_quota_gb, t.max_assets FROM tenants t WHERE {STAFF}",
        ),
        DefinerFunction(
            "operator_people",
            "",
            "TABLE (id uuid, username text, email text, first_name text, last_name text, "
            "is_active boolean, is_staff boolean, date_joined timestamptz, "
            "last_login timestamptz)",
            "SELECT u.id, u.username::text, u.email::text, u.first_name::text, "
            "u.last_name::text, u.is_active, u.is_staff, u.date_joined, u.last_login "
            f"FROM users u WHERE {STAFF}",
        ),
        FunctionView("registered_tenants", "operator_tenants"),
        FunctionView("registered_people", "operator_people"),
        migrations.CreateModel(
            name="RegisteredPerson",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("username", models.TextField()),
                ("email", models.TextField()),
                ("first_name", models.TextField()),
                ("last_name", models.TextField()),
                ("is_active", models.BooleanField()),
                ("is_staff", models.BooleanField()),
                ("date_joined", models.DateTimeField()),
                ("last_login", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "person",
                "verbose_name_plural": "people",
                "db_table": "registered_people",
                "ordering": ["username"],
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="RegisteredTenant",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("slug", models.TextField()),
                ("name", models.TextField()),
                ("domain", models.TextField(null=True)),
                ("domain_verified_at", models.DateTimeField(null=True)),
                ("is_active", models.BooleanField()),
                ("deletes_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("subscription_tier", models.TextField()),
                ("max_devices", models.IntegerField()),
                ("max_users", models.IntegerField()),
                ("storage_quota_gb", models.IntegerField()),
                ("max_assets", models.IntegerField()),
            ],
            options={
                "verbose_name": "tenant",
                "db_table": "registered_tenants",
                "ordering": ["slug"],
                "managed": False,
            },
        ),
    ]
