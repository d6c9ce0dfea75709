"""`manage.py create_roles`: make the database roles and the database, idempotently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from rls.names import APP, MAINTENANCE, WORKER
from rls.roles import create_roles

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Read the logins from the environment, so that no password is typed or printed."""

    help = (
        "Create or correct the roles and the database named by DATABASE_URL (signage_app), "
        "DATABASE_WORKER_URL (signage_worker, where it is set) and DATABASE_OWNER_URL "
        "(signage_maintenance), through DATABASE_SUPERUSER_URL."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Offer CREATEDB, which test runs need."""
        parser.add_argument(
            "--createdb", action="store_true", help="let migrations' role make databases (tests)"
        )

    def handle(self, *, createdb: bool, **_options: object) -> None:
        """Create roles and database; say whether BYPASSRLS could be given."""
        superuser = settings.DATABASE_SUPERUSER_URL
        if not superuser or "owner" not in settings.DATABASES:
            message = "Set DATABASE_SUPERUSER_URL, DATABASE_OWNER_URL and DATABASE_URL."
            raise CommandError(message)
        app, owner = settings.DATABASES["default"], settings.DATABASES["owner"]
        for database, role, variable in (
            (app, APP, "DATABASE_URL"),
            (owner, MAINTENANCE, "DATABASE_OWNER_URL"),
        ):
            if database["USER"] != role:
                message = f"{variable} must log in as {role}, not as {database['USER']!r}."
                raise CommandError(message)
        worker = settings.DATABASES.get("worker")
        if worker is not None and worker["USER"] != WORKER:
            message = f"DATABASE_WORKER_URL must log in as {WORKER}, not as {worker['USER']!r}."
            raise CommandError(message)
        passwords = {APP: app["PASSWORD"], MAINTENANCE: owner["PASSWORD"]}
        if worker is not None:
            passwords[WORKER] = worker["PASSWORD"]
        try:
            bypasses = create_roles(
                superuser,
                database=app["NAME"],
                passwords=passwords,
                createdb=createdb,
            )
        except psycopg.Error as error:
            message = f"DATABASE_SUPERUSER_URL could not create the roles: {error}".strip()
            raise CommandError(message) from error
        self.stdout.write(f"Roles and database {app['NAME']} are there.")
        if not bypasses:
            self.stdout.write("No BYPASSRLS here: migrations will lift FORCE while they run.")
