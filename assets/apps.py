"""The asset library as a Django application."""

from django.apps import AppConfig


class AssetsConfig(AppConfig):
    """Assets, their schedule, their import."""

    name = "assets"
    verbose_name = "Assets"
