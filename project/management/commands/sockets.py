"""`manage.py sockets`: serve WebSockets until told to stop.

A process of its own beside the web processes; a proxy in front sends it what asks to be upgraded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections

from project.application import Sockets
from project.socket_server import Server
from rls.audit import require_wall

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Refuse to start where the wall does not stand; else serve."""

    help = "Serves the WebSockets of players (/ws) and of GraphQL subscriptions (/graphql)"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Offer where to listen."""
        parser.add_argument("--host", default="127.0.0.1", help="(default: %(default)s)")
        parser.add_argument("--port", type=int, default=8001, help="(default: %(default)s)")

    def handle(self, *, host: str, port: int, **_options: Any) -> None:
        """Serve; CommandError says why that is not possible."""
        try:
            require_wall(connection)
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        connections.close_all()
        try:
            asyncio.run(Server(Sockets()).run(host, port))
        except OSError as error:
            message = f"{host}:{port} cannot be listened on: {error}"
            raise CommandError(message) from error
