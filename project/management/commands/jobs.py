"""`manage.py jobs`: what waits, what runs, and the dead letters, which can be tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from tenancy import worker

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

_LINE = "{:>8}  {:<7} {:<28} {:<36} {:>8}  {}"


class Command(BaseCommand):
    """List jobs, or queue failed ones again."""

    help = "Lists background jobs, and queues those that failed for good again"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Offer what to list and what to try again."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--failed", action="store_true", help="only jobs that failed for good")
        what.add_argument("--retry", type=int, metavar="ID", help="queue this failed job again")
        what.add_argument("--retry-all", action="store_true", help="queue every failed job again")

    def handle(self, *, failed: bool, retry: int | None, retry_all: bool, **_options: Any) -> None:
        """Do it; CommandError says why not."""
        try:
            worker.require_login()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if retry is None and not retry_all:
            self._list(only_failed=failed)
            return
        revived = worker.revive(retry)
        if retry is not None and not revived:
            message = f"No job {retry} has failed for good; `manage.py jobs --failed` lists them."
            raise CommandError(message)
        self.stdout.write(f"Queued again: {', '.join(map(str, revived)) or 'none'}.")

    def _list(self, *, only_failed: bool) -> None:
        jobs = worker.list_jobs(only_failed=only_failed)
        if not jobs:
            self.stdout.write("There are none.")
            return
        self.stdout.write(_LINE.format("id", "status", "task", "tenant", "attempts", "last event"))
        for job in jobs:
            at = "" if job.at is None else f"{job.at:%Y-%m-%d %H:%M:%S}"
            if job.status == "todo" and job.scheduled_at is not None:
                at += f", due {job.scheduled_at:%Y-%m-%d %H:%M:%S}"
            fields = (job.id, job.status, job.task, job.tenant, job.attempts, at)
            self.stdout.write(_LINE.format(*fields).rstrip())
