"""Sees that a command finds the schema it was written for, before it runs.

Called by manage.py once servers are there. An embedded database is migrated on the way; any other
is left alone, and the person is told in a sentence instead of a traceback.
"""

from __future__ import annotations

import sys

import django
from django.core.management import call_command
from django.db import OperationalError, connections
from django.db.migrations.executor import MigrationExecutor

from project import embedded
from project.local import say

# They make, compare or show the schema themselves, or make databases of their own.
LOOKS_AFTER_ITSELF = frozenset(
    {
        "check_all",
        "create_roles",
        "dbshell",
        "demo",
        "makemigrations",
        "migrate",
        "showmigrations",
        "sqlmigrate",
        "test",
    }
)


def require_current_schema(command: str) -> None:
    """Return when the database is at this code's schema, or when `command` does not mind.

    Exits with a sentence when a database that is not embedded is behind or cannot be reached.
    """
    if command in LOOKS_AFTER_ITSELF:
        return
    django.setup()
    try:
        executor = MigrationExecutor(connections["default"])
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except OperationalError as error:
        sys.exit(f"The database cannot be reached: {str(error).strip()}")
    finally:
        connections["default"].close()
    if not missing:
        return
    if not embedded.in_use():
        sys.exit(
            f"The database is behind this code by {len(missing)} migrations. Bring it up to date "
            "first: python3 manage.py migrate"
        )
    say("Bringing the embedded database up to date…")
    call_command("migrate", verbosity=0)
    connections.close_all()
