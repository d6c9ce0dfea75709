"""The settings that a restore replaced, so that undoing it puts them back."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("assets", "0006_backups")]
    operations = [
        migrations.AddField(
            model_name="restore",
            name="replaced_settings",
            field=models.JSONField(blank=True, null=True),
        ),
    ]
