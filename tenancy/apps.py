"""Tenants, people, memberships, who asks and for which tenant."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    """The tenancy layer as a Django application."""

    name = "tenancy"
    verbose_name = "Tenancy"
