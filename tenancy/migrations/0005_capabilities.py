"""Capability addresses: their wall, and the look-up of their keys."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models

from rls import DefinerFunction, LookupColumns, TenantWall


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0004_released_jobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="CapabilityKey",
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
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
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
                "db_table": "capability_keys",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["prefix"], name="capability_keys_by_prefix"),
                    models.Index(
                        fields=["tenant", "created_at", "id"], name="capability_keys_by_created_at"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "id"), name="capabilitykey_tenant_id_id"
                    )
                ],
            },
        ),
        TenantWall("CapabilityKey"),
        LookupColumns(
            "capability_keys", ("id", "tenant_id", "prefix", "digest", "permissions", "revoked_at")
        ),
        DefinerFunction(
            "capability_by_prefix",
            "wanted text",
            "TABLE (capability_id uuid, digest text, permissions text[], tenant_id uuid, slug text, "
            "domain text, tenant_is_active boolean)",
            "SELECT k.id, k.digest, k.permissions::text[], t.id, t.slug::text, "
            "CASE WHEN t.domain_verified_at IS NOT NULL THEN t.domain::text END, t.is_active "
            "FROM capability_keys k JOIN tenants t ON t.id = k.tenant_id "
            "WHERE k.prefix = wanted AND k.revoked_at IS NULL",
        ),
    ]
