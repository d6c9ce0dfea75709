"""Trusted documents: everybody's to read, the operator's to write."""

import django.utils.timezone
from django.db import migrations, models

from rls import GlobalTable


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("tenancy", "0006_device_settings"),
    ]

    operations = [
        migrations.CreateModel(
            name="TrustedDocument",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("client", models.CharField(max_length=64)),
                ("document_id", models.CharField(max_length=200)),
                ("name", models.CharField(blank=True, default="", max_length=200)),
                ("text", models.TextField()),
                ("digest", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "db_table": "trusted_documents",
                "indexes": [models.Index(fields=["digest"], name="trusted_documents_by_digest")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("document_id", "client"), name="trusted_documents_by_id"
                    )
                ],
            },
        ),
        GlobalTable("trusted_documents", privileges=("SELECT",)),
    ]
