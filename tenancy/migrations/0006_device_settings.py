"""What a tenant's players want unless they say otherwise."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0005_capabilities")]
    operations = [
        migrations.AddField(
            model_name="tenantsettings",
            name="device_settings",
            field=models.JSONField(blank=True, default=dict, db_default={}),
        ),
    ]
