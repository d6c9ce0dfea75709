"""API tokens: their wall, and the look-up of them with what their owners may do now."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models

from rls import DefinerFunction, LookupColumns, TenantForeignKey, TenantWall


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0010_invitations"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiToken",
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
                ("prefix", models.TextField()),
                ("digest", models.TextField()),
                (
                    "permissions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100), size=None
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField()),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "membership",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenancy.membership",
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
                "db_table": "api_tokens",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["prefix"], name="api_tokens_by_prefix"),
                    models.Index(
                        fields=["tenant", "created_at", "id"], name="api_tokens_by_created_at"
                    ),
                    models.Index(
                        fields=["tenant", "membership", "created_at", "id"],
                        name="api_tokens_by_member",
                    ),
                    models.Index(fields=["user"], name="api_tokens_by_user"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "id"), name="apitoken_tenant_id_id")
                ],
            },
        ),
        TenantWall("ApiToken"),
        TenantForeignKey("ApiToken", "membership", on_delete="CASCADE"),
        LookupColumns(
            "api_tokens",
            (
                *("id", "tenant_id", "user_id", "prefix", "digest", "permissions"),
                *("expires_at", "last_used_at", "revoked_at"),
            ),
        ),
        # identity_of says what the owner is at this moment, in the same statement.
        DefinerFunction(
            "token_by_prefix",
            "wanted text",
            "TABLE (token_id uuid, digest text, permissions text[], tenant_id uuid, "
            "last_used_at timestamptz, user_id uuid, username text, credential_version integer, "
            "memberships json)",
            "SELECT k.id, k.digest, k.permissions::text[], k.tenant_id, k.last_used_at, k.user_id, "
            "p.username, p.credential_version, p.memberships "
            "FROM api_tokens k CROSS JOIN LATERAL identity_of(k.user_id) p "
            "WHERE k.prefix = wanted AND k.revoked_at IS NULL AND k.expires_at > now()",
        ),
    ]
