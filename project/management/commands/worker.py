"""`manage.py worker`: run background jobs until told to stop.

A process of its own beside the web processes; any number of them share the queue. SIGTERM ends it
in order: what can end within seconds does, the rest is given back to the queue.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from procrastinate.exceptions import ConnectorException

from assets.workspaces import clear_workspaces
from rls.audit import require_wall
from tenancy import worker

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Refuse to start where the wall does not stand; else work."""

    help = "Runs background jobs: understanding media, downloads, reachability, clean-ups"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Offer how many jobs at once, and to end when none is due."""
        parser.add_argument(
            "--concurrency",
            type=int,
            default=worker.CONCURRENCY,
            help="how many jobs run at once (default: %(default)s)",
        )
        parser.add_argument("--once", action="store_true", help="run what is due, then end")

    def handle(self, *, concurrency: int, once: bool, **_options: Any) -> None:
        """Work; CommandError says why that is not possible."""
        if concurrency < 1:
            message = "--concurrency is 1 or more."
            raise CommandError(message)
        try:
            worker.require_login()
            require_wall(connection)
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        clear_workspaces()
        try:
            has_ended = asyncio.run(_work(concurrency, once=once))
        except ConnectorException as error:
            message = f"The queue cannot be reached: {error.__cause__ or error}"
            raise CommandError(message) from error
        if not has_ended:
            raise AssertionError  # _work has ended the process


async def _work(concurrency: int, *, once: bool) -> bool:
    has_ended = await worker.work(concurrency=concurrency, once=once)
    if not has_ended:
        # The threads of jobs that were given back cannot be stopped, and must not be waited for.
        logging.shutdown()
        os._exit(0)
    return has_ended
