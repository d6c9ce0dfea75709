"""The queue of background jobs as tests look at it and set it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from rls import acting_as

if TYPE_CHECKING:
    import psycopg

    from tenancy.actors import Actor


def queued(actor: Actor) -> list[tuple[str, dict[str, Any]]]:
    """Return the tenant's jobs that wait, oldest first: their tasks and arguments but the tenant."""
    with acting_as(actor), connection.cursor() as cursor:
        cursor.execute(
            "SELECT task_name, args::text, lock FROM procrastinate_jobs "
            "WHERE status = 'todo' AND task_name <> 'nothing' ORDER BY id"
        )
        found = []
        for name, text, lock in cursor.fetchall():
            arguments = json.loads(text)
            assert arguments.pop("tenant") == str(actor.tenant_id)
            assert lock is None or lock.startswith(f"{actor.tenant_id}:")
            found.append((name, arguments))
        return found


def environment(database: str) -> dict[str, str]:
    """Return this process's environment, as that of a worker on another database."""
    found = dict(os.environ)
    for alias, name in (("default", "DATABASE_URL"), ("worker", "DATABASE_WORKER_URL")):
        login = settings.DATABASES[alias]
        found[name] = (
            f"postgresql://{login['USER']}:{quote(login['PASSWORD'], safe='')}@"
            f"/{database}?host={quote(login['HOST'])}"
        )
    del found["DATABASE_OWNER_URL"]
    found.pop("DATABASE_SUPERUSER_URL", None)
    return {
        **found,
        "SIGNATE_MEDIA_ROOT": str(settings.MEDIA_ROOT),
        "SIGNATE_UPLOAD_DIR": str(settings.UPLOAD_DIR),
        "SIGNATE_LOG_LEVEL": "INFO",
    }


def put(cursor: psycopg.Cursor[Any], task: str, **arguments: str) -> int:
    """Queue a job behind everybody's back, and return its id."""
    cursor.execute(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args) "
        "VALUES ('default', %s, %s) RETURNING id",
        [task, json.dumps(arguments)],
    )
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])
