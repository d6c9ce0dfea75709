"""`manage.py list_tenants`: the registry, for operators: no row that is a tenant's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

if TYPE_CHECKING:
    from argparse import ArgumentParser

_COLUMNS = (
    *("id", "slug", "name", "domain", "is_active", "subscription_tier", "created_at"),
    *("deletes_at", "max_devices", "max_users", "storage_quota_gb", "max_assets", "features"),
)


class Command(BaseCommand):
    """List tenants as the maintenance role sees them: the application's finds one by its key."""

    help = "List every tenant. Needs DATABASE_OWNER_URL."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which, and in which form."""
        parser.add_argument("--suspended", action="store_true", help="only suspended ones")
        parser.add_argument("--json", action="store_true", help="one object a line")

    def handle(self, *, suspended: bool, json: bool, **_options: object) -> None:
        """Print one line for each."""
        if "owner" not in connections:
            message = "Set DATABASE_OWNER_URL: the application's own role lists no tenants."
            raise CommandError(message)
        where = "WHERE NOT is_active" if suspended else ""
        with connections["owner"].cursor() as cursor:
            columns = ", ".join(_COLUMNS)
            cursor.execute(f"SELECT {columns} FROM tenants {where} ORDER BY slug")  # noqa: S608 -- ours
            rows = [dict(zip(_COLUMNS, row, strict=True)) for row in cursor.fetchall()]
        for row in rows:
            self.stdout.write(_as_json(row) if json else _as_line(row))


def _as_json(row: dict[str, object]) -> str:
    return json.dumps(row, default=str)


def _as_line(row: dict[str, object]) -> str:
    state = "active" if row["is_active"] else "suspended"
    if row["deletes_at"]:
        state += f", deleted from {row['deletes_at']:%Y-%m-%d} on"
    return f"{row['id']} {row['slug']} ({row['subscription_tier']}, {state}) {row['name']}"
