"""Indexes of filters that few rows meet."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tenancy", "0015_registry")]

    operations = [
        AddIndexConcurrently(
            model_name="apitoken",
            index=models.Index(
                condition=models.Q(("revoked_at", None)),
                fields=["tenant", "expires_at"],
                name="api_tokens_unrevoked",
            ),
        ),
        AddIndexConcurrently(
            model_name="auditentry",
            index=models.Index(
                fields=["tenant", "credential", "at", "id"], name="audit_by_credential"
            ),
        ),
        AddIndexConcurrently(
            model_name="device",
            index=models.Index(fields=["tenant", "revoked_at"], name="devices_by_revoked_at"),
        ),
        AddIndexConcurrently(
            model_name="membership",
            index=models.Index(
                condition=models.Q(("is_active", False)),
                fields=["tenant", "id"],
                name="tenant_users_inactive",
            ),
        ),
    ]
