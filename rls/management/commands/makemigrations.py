"""`manage.py makemigrations`: Django's, without the check that its own result will satisfy."""

from __future__ import annotations

from django.core.management.commands.makemigrations import Command as MakeMigrationsCommand


class Command(MakeMigrationsCommand):
    """A new tenant-owned model has no wall until the migration made here is given one."""

    requires_system_checks: list[str] = []
