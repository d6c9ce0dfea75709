"""The GraphQL face as a Django application (for its templates)."""

from django.apps import AppConfig


class GraphConfig(AppConfig):
    """The GraphQL face."""

    name = "graph"
    verbose_name = "GraphQL"
