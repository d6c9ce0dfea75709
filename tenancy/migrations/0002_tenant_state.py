"""Whether a tenant may be entered, asked by whoever holds an address that its key has signed."""

from django.db import migrations

from rls import DefinerFunction


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0003_devices")]

    operations = [
        DefinerFunction(
            "tenant_state",
            "wanted uuid",
            "boolean",
            "SELECT is_active FROM tenants WHERE id = wanted",
        ),
    ]
