"""Second factors, who has to have one, and sessions that can be listed and ended."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models

from rls import DefinerFunction, GlobalTable, LookupColumns
from rls.policies import Policy

IDENTITY_OF = """
            SELECT u.username::text, u.credential_version, COALESCE(
              (SELECT json_agg(json_build_object(
                        'id', m.id, 'tenant_id', t.id, 'slug', t.slug,
                        'domain', CASE WHEN t.domain_verified_at IS NOT NULL THEN t.domain END,
                        'tenant_is_active', t.is_active, 'role', m.role,
                        'permissions', m.permissions) ORDER BY m.id)
               FROM tenant_users m JOIN tenants t ON t.id = m.tenant_id
               WHERE m.user_id = u.id AND m.is_active), '[]'::json)
            FROM users u WHERE u.id = person AND u.is_active
            """
# The same, with what decides whether somebody may enter.
IDENTITY_WITH_SECOND_FACTOR = """
            SELECT u.username::text, u.credential_version, COALESCE(
              (SELECT json_agg(json_build_object(
                        'id', m.id, 'tenant_id', t.id, 'slug', t.slug,
                        'domain', CASE WHEN t.domain_verified_at IS NOT NULL THEN t.domain END,
                        'tenant_is_active', t.is_active, 'role', m.role,
                        'permissions', m.permissions,
                        'requires_second_factor', COALESCE(w.require_2fa, false),
                        'has_second_factor', f.confirmed_at IS NOT NULL) ORDER BY m.id)
               FROM tenant_users m JOIN tenants t ON t.id = m.tenant_id
               LEFT JOIN tenant_settings w ON w.tenant_id = m.tenant_id
               WHERE m.user_id = u.id AND m.is_active), '[]'::json)
            FROM users u LEFT JOIN second_factors f ON f.user_id = u.id
            WHERE u.id = person AND u.is_active
            """


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0011_tokens")]

    operations = [
        migrations.CreateModel(
            name="SecondFactor",
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
                ("salt", models.TextField()),
                ("last_step", models.BigIntegerField(default=0)),
                (
                    "recovery_digests",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), blank=True, default=list, size=None
                    ),
                ),
                ("begun_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"db_table": "second_factors"},
        ),
        GlobalTable(
            "second_factors",
            privileges=("SELECT", "INSERT", "UPDATE", "DELETE"),
            policies=(
                Policy(
                    "second_factors_own",
                    "ALL",
                    using="user_id = (SELECT get_user_context())",
                    check="user_id = (SELECT get_user_context())",
                ),
            ),
        ),
        LookupColumns("second_factors", ("user_id", "confirmed_at")),
        LookupColumns("tenant_settings", ("tenant_id", "require_2fa")),
        DefinerFunction(
            "identity_of",
            "person uuid",
            "TABLE (username text, credential_version integer, memberships json)",
            IDENTITY_WITH_SECOND_FACTOR,
            replaces=IDENTITY_OF,
        ),
        migrations.CreateModel(
            name="UserSession",
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
                ("credential_version", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_seen_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField()),
                ("user_agent", models.TextField(blank=True, default="")),
                ("network", models.TextField(blank=True, default="")),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "user_sessions",
                "indexes": [
                    models.Index(
                        fields=["user", "last_seen_at", "id"], name="user_sessions_by_last_seen"
                    )
                ],
            },
        ),
        GlobalTable(
            "user_sessions",
            privileges=("SELECT", "INSERT", "UPDATE", "DELETE"),
            policies=(
                Policy(
                    "user_sessions_own",
                    "ALL",
                    using="user_id = (SELECT get_user_context())",
                    check="user_id = (SELECT get_user_context())",
                ),
            ),
        ),
        LookupColumns(
            "user_sessions", ("id", "user_id", "credential_version", "expires_at", "last_seen_at")
        ),
        DefinerFunction(
            "session_identity_of",
            "wanted uuid",
            "TABLE (user_id uuid, last_seen_at timestamptz, username text, "
            "credential_version integer, memberships json)",
            "SELECT s.user_id, s.last_seen_at, i.username, i.credential_version, i.memberships "
            "FROM user_sessions s CROSS JOIN LATERAL identity_of(s.user_id) i "
            "WHERE s.id = wanted AND s.expires_at > now() "
            "AND s.credential_version = i.credential_version",
        ),
        LookupColumns(
            "users",
            ("id", "username", "is_active", "credential_version", "email"),
            added=("email",),
        ),
        # Whom a mail about an account goes to; more than a few of one address are somebody's trick.
        DefinerFunction(
            "accounts_of_address",
            "wanted text",
            "TABLE (user_id uuid, username text, credential_version integer)",
            "SELECT u.id, u.username::text, u.credential_version FROM users u "
            "WHERE lower(u.email) = lower(wanted) AND wanted <> '' AND u.is_active "
            "ORDER BY u.id LIMIT 5",
        ),
    ]
