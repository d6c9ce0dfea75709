"""The worker's login may name what it is granted: without USAGE no table of the schema is found."""

from django.db import migrations

from rls.names import WORKER


class Migration(migrations.Migration):
    dependencies = [("rls", "0001_context")]
    operations = [
        migrations.RunSQL(
            f"GRANT USAGE ON SCHEMA public TO {WORKER}",
            f"REVOKE USAGE ON SCHEMA public FROM {WORKER}",
        )
    ]
