"""People, tenants, memberships, settings, and their walls."""

import django.contrib.auth.validators
import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models

import tenancy.models
from rls import DefinerFunction, GlobalTable, LookupColumns, TenantWall
from rls.policies import Policy


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("sessions", "0001_initial"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("rls", "0001_context"),
    ]

    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                (
                    "last_login",
                    models.DateTimeField(blank=True, null=True, verbose_name="last login"),
                ),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                (
                    "username",
                    models.CharField(
                        error_messages={"unique": "A user with that username already exists."},
                        help_text="Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.",
                        max_length=150,
                        unique=True,
                        validators=[django.contrib.auth.validators.UnicodeUsernameValidator()],
                        verbose_name="username",
                    ),
                ),
                (
                    "first_name",
                    models.CharField(blank=True, max_length=150, verbose_name="first name"),
                ),
                (
                    "last_name",
                    models.CharField(blank=True, max_length=150, verbose_name="last name"),
                ),
                (
                    "email",
                    models.EmailField(blank=True, max_length=254, verbose_name="email address"),
                ),
                (
                    "is_staff",
                    models.BooleanField(
                        default=False,
                        help_text="Designates whether the user can log into this admin site.",
                        verbose_name="staff status",
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
                        verbose_name="active",
                    ),
                ),
                (
                    "date_joined",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="date joined"
                    ),
                ),
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("credential_version", models.PositiveIntegerField(default=1)),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
            options={
                "db_table": "users",
            },
            managers=[
                ("objects", tenancy.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name="UserCredential",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("password", models.CharField(max_length=255)),
            ],
            options={
                "db_table": "user_credentials",
            },
        ),
        migrations.CreateModel(
            name="Tenant",
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
                ("name", models.CharField(max_length=255)),
                ("slug", models.CharField(max_length=100, unique=True)),
                ("domain", models.CharField(blank=True, max_length=253, null=True, unique=True)),
                ("domain_verified_at", models.DateTimeField(blank=True, null=True)),
                ("database_name", models.CharField(max_length=115, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("is_active", models.BooleanField(default=True)),
                (
                    "subscription_tier",
                    models.CharField(
                        choices=[
                            ("basic", "Basic"),
                            ("professional", "Professional"),
                            ("enterprise", "Enterprise"),
                            ("legacy", "Legacy"),
                        ],
                        default="basic",
                        max_length=20,
                    ),
                ),
                ("max_devices", models.PositiveIntegerField(default=5)),
                ("max_users", models.PositiveIntegerField(default=10)),
                ("storage_quota_gb", models.PositiveIntegerField(default=10)),
                ("max_assets", models.PositiveIntegerField(default=100)),
                (
                    "features",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("settings", models.JSONField(blank=True, default=dict)),
            ],
            options={
                "db_table": "tenants",
                "indexes": [models.Index(fields=["is_active"], name="tenants_is_active")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("slug__regex", "^(?!xn--)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
                        ),
                        name="tenants_slug_is_a_dns_label",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "subscription_tier__in",
                                ["basic", "professional", "enterprise", "legacy"],
                            )
                        ),
                        name="tenants_tier",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Membership",
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
                    "role",
                    models.CharField(
                        choices=[
                            ("owner", "owner"),
                            ("admin", "admin"),
                            ("manager", "manager"),
                            ("operator", "operator"),
                            ("viewer", "viewer"),
                        ],
                        default="viewer",
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
                ("is_active", models.BooleanField(default=True)),
                ("joined_at", models.DateTimeField(auto_now_add=True)),
                ("last_access", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
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
                "db_table": "tenant_users",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="TenantSettings",
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
                ("default_asset_duration", models.PositiveIntegerField(default=10)),
                ("timezone", models.CharField(default="UTC", max_length=64)),
                ("logo_url", models.TextField(blank=True, default="")),
                ("primary_color", models.CharField(default="#007bff", max_length=7)),
                ("secondary_color", models.CharField(default="#6c757d", max_length=7)),
                ("email_notifications", models.BooleanField(default=True)),
                ("webhook_url", models.TextField(blank=True, default="")),
                ("require_2fa", models.BooleanField(default=False)),
                (
                    "allowed_domains",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=253),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("integrations", models.JSONField(blank=True, default=dict)),
                ("updated_at", models.DateTimeField(auto_now=True)),
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
                "db_table": "tenant_settings",
                "abstract": False,
            },
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("username"), name="users_username_any_case"
            ),
        ),
        migrations.AddIndex(
            model_name="membership",
            index=models.Index(fields=["tenant", "joined_at", "id"], name="tenant_users_by_joined"),
        ),
        migrations.AddIndex(
            model_name="membership",
            index=models.Index(fields=["tenant", "role", "id"], name="tenant_users_by_role"),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="membership_tenant_id_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.UniqueConstraint(
                fields=("tenant", "user"), name="tenant_users_tenant_user"
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("role__in", ["owner", "admin", "manager", "operator", "viewer"])
                ),
                name="tenant_users_role",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenantsettings",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="tenantsettings_tenant_id_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="tenantsettings",
            constraint=models.UniqueConstraint(fields=("tenant",), name="tenant_settings_tenant"),
        ),
        # Who may see which person: everybody themselves, a tenant its members. The second half is
        # an index probe per row, on tables that are only ever joined by key.
        GlobalTable(
            "users",
            privileges=("SELECT", "INSERT", "UPDATE"),
            policies=(
                Policy(
                    "users_read",
                    "SELECT",
                    using="id = (SELECT get_user_context()) OR EXISTS (SELECT FROM tenant_users m "
                    "WHERE m.tenant_id = (SELECT get_tenant_context()) AND m.user_id = users.id)",
                ),
                Policy("users_insert", "INSERT", check="id = (SELECT get_user_context())"),
                Policy(
                    "users_update",
                    "UPDATE",
                    using="id = (SELECT get_user_context())",
                    check="id = (SELECT get_user_context())",
                ),
            ),
        ),
        LookupColumns("users", ("id", "username", "is_active", "credential_version")),
        # Written by its owner, never selected: the sign-in look-up alone reads the hash.
        GlobalTable(
            "user_credentials",
            privileges=("SELECT", "INSERT", "UPDATE"),
            select=("user_id",),
            policies=(
                Policy(
                    "user_credentials_own",
                    "ALL",
                    using="user_id = (SELECT get_user_context())",
                    check="user_id = (SELECT get_user_context())",
                ),
            ),
        ),
        LookupColumns("user_credentials", ("user_id", "password")),
        # The registry: a tenant sees its own row, a person the rows of tenants they belong to.
        LookupColumns("tenants", ("id", "slug", "domain", "domain_verified_at", "is_active")),
        LookupColumns(
            "tenant_users",
            (
                "id",
                "tenant_id",
                "user_id",
                "role",
                "permissions",
                "is_active",
                "joined_at",
                "last_access",
            ),
        ),
        DefinerFunction(
            "my_tenant_ids",
            "",
            "uuid[]",
            "SELECT COALESCE(array_agg(m.tenant_id), '{}') FROM tenant_users m "
            "JOIN tenants t ON t.id = m.tenant_id "
            "WHERE m.user_id = get_user_context() AND m.is_active AND t.is_active",
        ),
        GlobalTable(
            "tenants",
            privileges=("SELECT", "INSERT", "UPDATE"),
            policies=(
                Policy(
                    "tenants_read",
                    "SELECT",
                    using="id = (SELECT get_tenant_context()) "
                    "OR id = ANY ((SELECT my_tenant_ids())::uuid[])",
                ),
                Policy("tenants_insert", "INSERT", check="id = (SELECT get_tenant_context())"),
                Policy(
                    "tenants_update",
                    "UPDATE",
                    using="id = (SELECT get_tenant_context())",
                    check="id = (SELECT get_tenant_context())",
                ),
            ),
        ),
        TenantWall("Membership"),
        TenantWall("TenantSettings"),
        DefinerFunction(
            "sign_in_lookup",
            "wanted text",
            "TABLE (user_id uuid, password text, credential_version integer)",
            "SELECT u.id, c.password::text, u.credential_version FROM users u "
            "JOIN user_credentials c ON c.user_id = u.id "
            "WHERE lower(u.username) = lower(wanted) AND u.is_active",
        ),
        DefinerFunction(
            "tenant_by_slug", "wanted text", "uuid", "SELECT id FROM tenants WHERE slug = wanted"
        ),
        DefinerFunction(
            "identity_of",
            "person uuid",
            "TABLE (username text, credential_version integer, memberships json)",
            """
            SELECT u.username::text, u.credential_version, COALESCE(
              (SELECT json_agg(json_build_object(
                        'id', m.id, 'tenant_id', t.id, 'slug', t.slug,
                        'domain', CASE WHEN t.domain_verified_at IS NOT NULL THEN t.domain END,
                        'tenant_is_active', t.is_active, 'role', m.role,
                        'permissions', m.permissions) ORDER BY m.id)
               FROM tenant_users m JOIN tenants t ON t.id = m.tenant_id
               WHERE m.user_id = u.id AND m.is_active), '[]'::json)
            FROM users u WHERE u.id = person AND u.is_active
            """,
        ),
        DefinerFunction(
            "my_memberships",
            "",
            "TABLE (id uuid, tenant_id uuid, user_id uuid, role text, permissions text[], "
            "is_active boolean, joined_at timestamptz, last_access timestamptz)",
            "SELECT m.id, m.tenant_id, m.user_id, m.role::text, m.permissions::text[], "
            "m.is_active, m.joined_at, m.last_access "
            "FROM tenant_users m JOIN tenants t ON t.id = m.tenant_id "
            "WHERE m.user_id = get_user_context() AND m.is_active AND t.is_active ORDER BY m.id",
        ),
        # Django's own tables. Sessions are opaque keys; the rest is read by its framework only.
        GlobalTable("django_session", privileges=("SELECT", "INSERT", "UPDATE", "DELETE")),
        GlobalTable("django_migrations", privileges=("SELECT",)),
        GlobalTable("django_content_type", privileges=("SELECT",)),
        GlobalTable("auth_permission"),
        GlobalTable("auth_group"),
        GlobalTable("auth_group_permissions"),
        GlobalTable("users_groups"),
        GlobalTable("users_user_permissions"),
    ]
