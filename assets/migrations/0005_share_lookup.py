"""Which tenant a share link is of, asked by whoever holds its token."""

from django.db import migrations

from rls import DefinerFunction, LookupColumns


class Migration(migrations.Migration):
    dependencies = [
        ("assets", "0004_search"),
        ("tenancy", "0001_initial"),
    ]

    operations = [
        LookupColumns("share_links", ("id", "tenant_id", "token_digest")),
        DefinerFunction(
            "share_by_digest",
            "wanted text",
            "TABLE (share_id uuid, tenant_id uuid)",
            "SELECT s.id, t.id FROM share_links s JOIN tenants t ON t.id = s.tenant_id "
            "WHERE s.token_digest = wanted AND t.is_active",
        ),
    ]
