"""The audit log: its wall, which lets the application add and read, and its end of life."""

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models

from rls import TenantWall, WorkerRetention


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0007_idempotency"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
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
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("actor_kind", models.TextField()),
                ("device_id", models.UUIDField(null=True)),
                ("token_id", models.UUIDField(null=True)),
                ("credential", models.TextField()),
                ("address", models.TextField()),
                ("request_id", models.TextField()),
                ("action", models.TextField(db_collation="C")),
                ("subject", models.TextField()),
                ("subject_id", models.TextField()),
                ("label", models.TextField()),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                ("reason", models.TextField()),
                (
                    "sort_label",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.functions.text.Lower(
                            django.db.models.functions.text.Left("label", 200)
                        ),
                        output_field=models.TextField(db_collation="C"),
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "audit_entries",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["tenant", "at", "id"], name="audit_by_at"),
                    models.Index(fields=["tenant", "user", "at", "id"], name="audit_by_user"),
                    models.Index(fields=["tenant", "action", "at", "id"], name="audit_by_action"),
                    models.Index(fields=["tenant", "subject", "at", "id"], name="audit_by_subject"),
                    models.Index(
                        fields=["tenant", "subject_id", "at", "id"], name="audit_by_subject_id"
                    ),
                    models.Index(fields=["tenant", "sort_label"], name="audit_by_label"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "id"), name="auditentry_tenant_id_id")
                ],
            },
        ),
        # The application may not delete entries, so that Django's own cascade cannot.
        migrations.RunSQL(
            "ALTER TABLE audit_entries ADD CONSTRAINT audit_entries_tenant_id_fk "
            "FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE",
            "ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_tenant_id_fk",
        ),
        # Retention reads across tenants.
        migrations.RunSQL(
            "CREATE INDEX audit_by_age ON audit_entries USING brin (at)",
            "DROP INDEX audit_by_age",
        ),
        TenantWall("AuditEntry", privileges=("SELECT", "INSERT")),
        WorkerRetention("audit_entries", column="at", days=30),
    ]
