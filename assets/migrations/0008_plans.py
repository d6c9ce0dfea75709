"""Indexes of filters that few rows meet, and of the order of uploads as it is asked for."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("assets", "0007_restore_settings")]

    operations = [
        AddIndexConcurrently(
            model_name="asset",
            index=models.Index(
                condition=models.Q(("is_processing", True)),
                fields=["tenant", "id"],
                name="assets_processing",
            ),
        ),
        AddIndexConcurrently(
            model_name="asset",
            index=models.Index(
                condition=models.Q(("is_reachable", False)),
                fields=["tenant", "id"],
                name="assets_unreachable",
            ),
        ),
        AddIndexConcurrently(
            model_name="asset",
            index=models.Index(
                condition=models.Q(("processing_status", "completed"), _negated=True),
                fields=["tenant", "processing_status", "id"],
                name="assets_uncompleted",
            ),
        ),
        AddIndexConcurrently(
            model_name="sharelink",
            index=models.Index(
                condition=models.Q(("revoked_at", None)),
                fields=["tenant", "expires_at"],
                name="share_links_unrevoked",
            ),
        ),
        # Without the key, which breaks ties, each page was sorted.
        AddIndexConcurrently(
            model_name="upload",
            index=models.Index(fields=["tenant", "expires_at", "id"], name="uploads_by_expiry"),
        ),
        RemoveIndexConcurrently(model_name="upload", name="uploads_by_expires_at"),
    ]
