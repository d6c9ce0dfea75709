"""The process that runs background jobs: takes them, keeps others from being lost, stops in order.

Called by `manage.py worker` and `manage.py jobs`. Works on the queue as signage_worker, which
reaches no tenant's rows; each job itself runs as the application, in its tenant (tenancy.jobs).
What is queued while a job runs goes through Django's connection, into the job's own transaction.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from procrastinate import App, PsycopgConnector
from procrastinate.contrib.django import app
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ConnectorException
from procrastinate.worker import Worker

from rls.guard import role_faults
from tenancy.jobs import ROUNDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from procrastinate import JobContext

    from tenancy.jobs import Round

logger = logging.getLogger("signate.worker")

ALIAS = "worker"
# The queue of what the worker does for the queue itself, and for no tenant.
CHORES = "chores"
CONCURRENCY = 4

# A worker says this often that it lives, and is taken for dead after so long without a word.
HEARTBEAT_S = 5
DEAD_AFTER_S = 30
# How long a worker that is told to stop waits for its jobs before it gives them back.
GRACE_S = 20
RECONNECT_S = 5

# Nobody looks at jobs that went well, which are removed at once; these are the others.
KEPT_DAYS = 7
KEPT_FAILED_DAYS = 90

FORGOTTEN_AT_ONCE = 5000

# Not procrastinate's own "list them, then retry each": between the two another worker may have
# taken the job up again, and it would run twice.
_RESCUE = """
UPDATE procrastinate_jobs
SET status = 'todo', attempts = attempts + 1, scheduled_at = now(),
    abort_requested = false
WHERE status = 'doing' AND NOT EXISTS (
  SELECT FROM procrastinate_workers
  WHERE id = procrastinate_jobs.worker_id
    AND last_heartbeat > now() - make_interval(secs => %(seconds)s))
RETURNING id, task_name, attempts
"""
_GIVE_BACK = """
UPDATE procrastinate_jobs
SET status = 'todo', scheduled_at = now(), abort_requested = false
WHERE status = 'doing' AND worker_id = %(worker)s
RETURNING id
"""
_FORGET_AUDIT = """
DELETE FROM audit_entries WHERE id IN (
  SELECT id FROM audit_entries WHERE at < now() - make_interval(days => %(days)s) LIMIT %(most)s)
RETURNING id
"""
_ROUND = """
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args)
SELECT %(queue)s::text, task, -1, tenant_id || ':' || task, tenant_id || ':' || task,
       jsonb_build_object('tenant', tenant_id)
FROM {of}(), CAST(%(task)s AS text) AS task
ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
"""
_FORGET = """
DELETE FROM procrastinate_jobs
WHERE status NOT IN ('todo', 'doing')
  AND (SELECT max(at) FROM procrastinate_events WHERE job_id = procrastinate_jobs.id)
      < now() - make_interval(days => CASE status WHEN 'failed' THEN %(failed)s ELSE %(days)s END)
"""
_LIST = """
SELECT id, status::text, task_name, COALESCE(args ->> 'tenant', ''), attempts, scheduled_at,
       (SELECT max(at) FROM procrastinate_events WHERE job_id = procrastinate_jobs.id)
FROM procrastinate_jobs WHERE status::text = ANY (%s) ORDER BY id
"""
_REVIVE = """
UPDATE procrastinate_jobs
SET status = 'todo', attempts = 0, scheduled_at = NULL, queueing_lock = NULL
WHERE status = 'failed' AND (%s::bigint IS NULL OR id = %s) RETURNING id
"""


def require_login() -> None:
    """Return when there is a login for the queue and it is one that the wall holds.

    Raises ImproperlyConfigured with a sentence otherwise.
    """
    if ALIAS not in connections:
        raise ImproperlyConfigured(
            "Set DATABASE_WORKER_URL to the database as signage_worker: jobs are taken from the "
            "queue with it. See docs/operations.md, “The worker”."
        )
    with connections[ALIAS].cursor() as cursor:
        faults = role_faults(cursor)
    connections[ALIAS].close()
    if faults:
        raise ImproperlyConfigured(
            f"DATABASE_WORKER_URL must name signage_worker, and {'; '.join(faults)}. "
            "See docs/operations.md, “The worker”."
        )


async def work(*, concurrency: int = CONCURRENCY, once: bool = False) -> bool:
    """Run jobs until SIGTERM or SIGINT, or with `once` until none is due.

    Then runs to their end those that end within GRACE_S, and gives the others back. Returns
    whether there were none of those: their threads go on until the process exits.
    """
    connector = PsycopgConnector(kwargs=connector_params(ALIAS), min_size=1, max_size=4)
    queue = make_queue(connector, rounds=[] if once else ROUNDS)
    async with queue.open_async():
        return await _Work(queue, concurrency, once=once).run()


def make_queue(connector: PsycopgConnector, *, rounds: list[Round]) -> App:
    """Return the queue as the worker's login sees it, with every tenant's tasks.

    An App of its own: the tasks stay bound to Django's, so that what they queue is part of their
    own transaction.
    """
    app.perform_import_paths()  # type: ignore[no-untyped-call]
    # What was due while no worker ran is not made up for: a start is no reason for work.
    queue = App(
        connector=connector,
        worker_defaults=app.worker_defaults,
        periodic_defaults={"max_delay": 30},
    )
    queue.tasks.update(app.tasks)
    if not rounds:
        return queue
    for each in rounds:
        _declare(queue, f"round.{each.task.name}", each.cron, partial(go_round, each=each))
    _declare(queue, "queue.rescue", "* * * * *", rescue)
    _declare(queue, "queue.forget", "17 * * * *", forget)
    _declare(queue, "audit.forget", "47 3 * * *", forget_audit)
    return queue


def _declare(queue: App, name: str, cron: str, work: Callable[[App], Awaitable[None]]) -> None:
    async def run(context: JobContext, timestamp: int) -> None:
        del timestamp
        await work(context.app)

    # Before tenants' jobs, and without a queueing lock: under row-level security PostgreSQL keeps
    # the key of a refused row to itself, and procrastinate, which asks for it, stops.
    made: Any = queue.task(name=name, queue=CHORES, pass_context=True, lock=name, priority=10)
    task = made(run)
    queue.periodic(cron=cron)(task)


async def go_round(queue: App, *, each: Round) -> None:
    """Queue a job for each tenant of the round, but for those whose last one still waits."""
    statement = _ROUND.format(of=each.of)
    await queue.connector.execute_query_async(statement, queue=each.task.queue, task=each.task.name)


async def rescue(queue: App) -> None:
    """Queue the jobs of workers that are gone again."""
    rows = await queue.connector.execute_query_all_async(_RESCUE, seconds=DEAD_AFTER_S)
    for row in rows:
        logger.warning(
            "Job %(id)s (%(task_name)s) lost its worker and is queued again: attempt %(attempts)s",
            row,
        )


async def forget(queue: App) -> None:
    """Remove jobs that ended long ago."""
    await queue.connector.execute_query_async(_FORGET, days=KEPT_DAYS, failed=KEPT_FAILED_DAYS)


async def forget_audit(queue: App) -> None:
    """Remove what the audit logs of all tenants have kept for AUDIT_DAYS, some at a time."""
    rows: list[Any] | None = None
    while rows is None or len(rows) == FORGOTTEN_AT_ONCE:
        rows = await queue.connector.execute_query_all_async(
            _FORGET_AUDIT, days=settings.AUDIT_DAYS, most=FORGOTTEN_AT_ONCE
        )


class _Work:
    """One run of the worker, and as many of procrastinate's as it takes: databases go away."""

    def __init__(self, queue: App, concurrency: int, *, once: bool) -> None:
        self.queue = queue
        self.concurrency = concurrency
        self.once = once
        self.jobs = 0
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()

    async def run(self) -> bool:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # Not possible in another thread than the main one, where tests may run this.
            with suppress(ValueError, RuntimeError):
                loop.add_signal_handler(number, self._told_to_stop)
        while True:
            self.jobs = 0
            try:
                await rescue(self.queue)
                if not await self._run_one():
                    return False
            except ConnectorException as error:
                if self.once:
                    raise
                logger.warning("The queue cannot be reached: %s", error.__cause__ or error)
            if self.stop.is_set() or (self.once and not self.jobs):
                return True
            if not self.once:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), RECONNECT_S)
                if self.stop.is_set():
                    return True

    def _told_to_stop(self) -> None:
        """Note a signal; a second one means: at once."""
        if self.stop.is_set():
            self.hurry.set()
        self.stop.set()
        logger.info("Told to stop: no more jobs are taken")

    async def _run_one(self) -> bool:
        """Return whether every job that was taken has ended."""
        worker = Worker(
            self.queue,
            **{  # type: ignore[arg-type]  # values of different types by name
                **self.queue.worker_defaults,
                "name": None,
                "concurrency": self.concurrency,
                "wait": not self.once,
                "install_signal_handlers": False,
                "delete_jobs": "successful",
                "update_heartbeat_interval": HEARTBEAT_S,
                "stalled_worker_timeout": DEAD_AFTER_S,
                "worker_middleware": [self._count],
            },
        )
        running = asyncio.create_task(worker.run())  # type: ignore[no-untyped-call]
        stopping = asyncio.create_task(self.stop.wait())
        hurrying = asyncio.create_task(self.hurry.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                worker.stop()  # type: ignore[no-untyped-call]
                await asyncio.wait(
                    {running, hurrying}, timeout=GRACE_S, return_when=asyncio.FIRST_COMPLETED
                )
            if running.done():
                await running
                return True
            rows = await self.queue.connector.execute_query_all_async(
                _GIVE_BACK, worker=worker.worker_id
            )
            logger.warning("%d jobs have not ended in time and were given back", len(rows))
            return False
        finally:
            stopping.cancel()
            hurrying.cancel()

    async def _count(
        self, call_next: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker
    ) -> Any:
        del context, worker
        self.jobs += 1
        return await call_next()


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job as `manage.py jobs` lists it; `at` is when something last happened to it."""

    id: int
    status: str
    task: str
    tenant: str
    attempts: int
    scheduled_at: datetime | None
    at: datetime | None


def list_jobs(*, only_failed: bool) -> list[QueuedJob]:
    """Return the jobs that wait, run or have failed for good, oldest first."""
    statuses = ["failed"] if only_failed else ["todo", "doing", "failed"]
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(_LIST, [statuses])
        return [QueuedJob(*row) for row in cursor.fetchall()]


def revive(job: int | None = None) -> list[int]:
    """Queue one failed job again, or all of them, with every attempt anew; return their ids."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(_REVIVE, [job, job])
        return sorted(key for (key,) in cursor.fetchall())
