"""What a tenant has of what its plan limits, and the queue of background jobs."""

import django.db.models.deletion
import uuid_utils.compat
from django.db import migrations, models

from rls import DefinerFunction, GlobalTable, TenantWall
from rls.names import WORKER
from rls.policies import ALL_PRIVILEGES, Policy

# A job belongs to the tenant in its arguments: the application queues its own tenant's and sees no
# others, the worker sees all of them and nothing else.
OF_TENANT = "(args ->> 'tenant') = (SELECT get_tenant_context())::text"


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0001_initial"),
        ("procrastinate", "0041_post_retry_failed_job"),
    ]

    operations = [
        migrations.CreateModel(
            name="TenantUsage",
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
                ("assets", models.BigIntegerField(default=0)),
                ("bytes", models.BigIntegerField(default=0)),
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
                "db_table": "tenant_usage",
                "abstract": False,
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "id"), name="tenantusage_tenant_id_id"
                    ),
                    models.UniqueConstraint(fields=("tenant",), name="tenant_usage_tenant"),
                ],
            },
        ),
        TenantWall("TenantUsage"),
        GlobalTable(
            "procrastinate_jobs",
            privileges=("SELECT", "INSERT"),
            policies=(
                Policy("jobs_read", "SELECT", using=OF_TENANT),
                Policy("jobs_insert", "INSERT", check=OF_TENANT),
                Policy("jobs_worker", "ALL", using="true", check="true", role=WORKER),
            ),
            worker=ALL_PRIVILEGES,
            sequences=("procrastinate_jobs_id_seq",),
        ),
        GlobalTable(
            "procrastinate_events",
            privileges=("INSERT",),
            policies=(
                Policy(
                    "events_insert",
                    "INSERT",
                    check="EXISTS (SELECT FROM procrastinate_jobs j WHERE j.id = procrastinate_events.job_id)",
                ),
                Policy("events_worker", "ALL", using="true", check="true", role=WORKER),
            ),
            worker=ALL_PRIVILEGES,
            sequences=("procrastinate_events_id_seq",),
        ),
        GlobalTable(
            "procrastinate_periodic_defers",
            worker=ALL_PRIVILEGES,
            sequences=("procrastinate_periodic_defers_id_seq",),
        ),
        GlobalTable("procrastinate_workers", worker=ALL_PRIVILEGES),
        DefinerFunction(
            "tenant_is_active",
            "wanted uuid",
            "boolean",
            "SELECT is_active FROM tenants WHERE id = wanted",
        ),
        DefinerFunction(
            "active_tenants",
            "",
            "TABLE (tenant_id uuid)",
            "SELECT id FROM tenants WHERE is_active ORDER BY id",
            caller=WORKER,
        ),
    ]
