"""Registers the wall's system checks and its guard on new connections."""

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.backends.signals import connection_created


class RlsConfig(AppConfig):
    """The wall as a Django application: functions in its migration, checks, commands."""

    name = "rls"
    verbose_name = "Row-level security"

    def ready(self) -> None:
        """Connect checks and guards; runs once per process."""
        from rls import checks, guard

        register(checks.check_tenant_models, Tags.models)
        connection_created.connect(guard.refuse_privileged_role, dispatch_uid="rls.guard")
