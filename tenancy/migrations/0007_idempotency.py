"""What writes under an Idempotency-Key answered, kept for a day."""

import django.db.models.deletion
import django.utils.timezone
import uuid_utils.compat
from django.db import migrations, models

from rls import TenantWall


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0006_device_settings"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeptAnswer",
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
                ("key_digest", models.TextField()),
                ("request_digest", models.TextField()),
                ("status", models.PositiveSmallIntegerField()),
                ("answer", models.BinaryField(null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
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
                "db_table": "kept_answers",
                "abstract": False,
                "indexes": [
                    models.Index(fields=["tenant", "created_at"], name="kept_answers_by_created_at")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "id"), name="keptanswer_tenant_id_id"
                    ),
                    models.UniqueConstraint(
                        fields=("tenant", "key_digest"), name="kept_answers_key"
                    ),
                ],
            },
        ),
        TenantWall("KeptAnswer"),
    ]
