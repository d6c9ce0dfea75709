"""Background jobs: queued in the transaction that wants them, run in the tenant they carry.

`tenant_task` declares one, `enqueue` queues one, `for_every_tenant` has one queued again and again,
and tenancy.worker runs them. The queue is procrastinate's. A task is given an actor and opens its
own doors, short ones: nothing is held while bytes flow. A task may run twice (a worker was killed
after its work and before it could say so), so what it does has to come out the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from procrastinate import BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.contrib.django import app

from rls import ContextError, current_actor
from tenancy.actors import worker
from tenancy.logs import request_id, tenant_label
from tenancy.tenants import is_active_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from procrastinate.jobs import Job
    from procrastinate.tasks import Task

    from tenancy.actors import Actor

logger = logging.getLogger("signate.jobs")

# Attempts of a job before it is left for dead; between them a wait that grows fourfold from this
# many seconds: 5, 20, 80, 320.
ATTEMPTS = 5
FIRST_WAIT_S = 5


# What a task does, called with `actor`, the worker in the job's tenant, and the job's arguments by
# name; whatever it raises has it tried again.
TenantTask: TypeAlias = Callable[..., None]


class NoTenant(Exception):
    """A job names no tenant: nobody made it who may, and it is not tried again."""


class WorkerLost(Exception):
    """The worker was gone in the middle of the job, each time: the job itself may be why."""


class Patience(BaseRetryStrategy):
    """Tries a failed job again after longer and longer waits."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to try again; None once it was tried often enough."""
        if is_last_attempt(job) or isinstance(exception, NoTenant):
            return None
        return RetryDecision(retry_in={"seconds": FIRST_WAIT_S * 4**job.attempts})


def is_last_attempt(job: Job) -> bool:
    """Return whether a job that fails now is not tried again."""
    return job.attempts + 1 >= ATTEMPTS


def tenant_task(
    name: str,
    *,
    queue: str = "default",
    when_dead: Callable[..., None] | None = None,
    also_suspended: bool = False,
) -> Callable[[TenantTask], Task[..., None, Any]]:
    """Declare a task by its function.

    `name` stays what it is for as long as jobs of it may be queued. `when_dead` is called like the
    task, with the last `error` too, when every attempt has failed: it leaves behind what people
    are to know. Of a tenant that is gone nothing is done, and of a suspended one only what is
    declared `also_suspended`.
    """

    def declare(function: TenantTask) -> Task[..., None, Any]:
        @wraps(function)
        def run(context: JobContext, tenant: str = "", **arguments: Any) -> None:
            job = context.job
            tokens = request_id.set(f"job-{job.id}"), tenant_label.set(tenant or "-")
            began = time.monotonic()
            try:
                actor = worker(_tenant_id(tenant))
                is_active = is_active_tenant(actor.entered())
                if is_active is None or not (is_active or also_suspended):
                    logger.warning("%s: the tenant is suspended or gone; nothing is done", name)
                    return
                try:
                    if job.attempts >= ATTEMPTS:
                        raise WorkerLost(f"The worker was lost {job.attempts} times.")
                    function(actor=actor, **arguments)
                except Exception as error:
                    logger.warning(
                        "%s: attempt %d of %d failed: %s: %s",
                        *(name, job.attempts + 1, ATTEMPTS, type(error).__name__, error),
                    )
                    if when_dead is not None and is_last_attempt(job):
                        when_dead(actor=actor, error=error, **arguments)
                    raise
                logger.info("%s: done in %.2f s", name, time.monotonic() - began)
            finally:
                request_id.reset(tokens[0])
                tenant_label.reset(tokens[1])

        made: Any = app.task(name=name, queue=queue, retry=Patience(), pass_context=True)
        task: Task[..., None, Any] = made(run)
        return task

    return declare


def _tenant_id(tenant: object) -> UUID:
    try:
        return UUID(str(tenant))
    except ValueError:
        raise NoTenant("A job names its tenant.") from None


def enqueue(
    task: Task[..., None, Any],
    *,
    actor: Actor,
    lock: str | None = None,
    wait: timedelta | None = None,
    **arguments: Any,
) -> None:
    """Queue a job of the actor's tenant, as part of the open transaction.

    Jobs with the same `lock` run one after the other; `wait` is how long it is not to start yet.
    `arguments` are what JSON can carry; keys go as text. Raises ContextError outside of a door.
    """
    tenant_id = _own_tenant(actor)
    options: dict[str, Any] = {}
    if lock is not None:
        options["lock"] = f"{tenant_id}:{lock}"
    if wait is not None:
        options["schedule_at"] = datetime.now(UTC) + wait
    task.configure(**options).defer(tenant=str(tenant_id), **arguments)


def enqueue_each(
    task: Task[..., None, Any], *, actor: Actor, jobs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Queue many jobs in one statement, as `enqueue` does: the arguments of each by its lock."""
    tenant_id = _own_tenant(actor)
    made = [
        task.configure(lock=f"{tenant_id}:{lock}").make_new_job(tenant=str(tenant_id), **arguments)
        for lock, arguments in jobs.items()
    ]
    if made:
        app.job_manager.batch_defer_jobs(jobs=made)


def _own_tenant(actor: Actor) -> UUID:
    tenant_id = actor.entered()
    if current_actor().tenant_id != tenant_id:
        raise ContextError("A job is queued in the transaction of its own tenant.")
    return tenant_id


@dataclass(frozen=True, slots=True)
class Round:
    """A task that is queued for tenants whenever `cron` says (in UTC).

    `of` is the look-up that says for which: one that the worker's login may call.
    """

    task: Task[..., None, Any]
    cron: str
    of: str = "active_tenants"


ROUNDS: list[Round] = []


def for_every_tenant(task: Task[..., None, Any], *, cron: str, of: str = "active_tenants") -> None:
    """Have workers queue a job of `task` for each active tenant, or those `of` tells, then.

    A tenant whose last one still waits gets no second one, and two never run at once.
    """
    ROUNDS.append(Round(task, cron, of))
