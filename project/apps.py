"""Makes project an application of Django, so that its commands are found (before Django's own)."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """Commands only: no models, no signals."""

    name = "project"
