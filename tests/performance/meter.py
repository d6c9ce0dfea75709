"""Processor time of a server, of the PostgreSQL and of the Redis that it uses, from outside."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

import psutil
from django.db import connection

from tenancy.limits import redis_client


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds, user and system together, and what PostgreSQL was asked meanwhile."""

    server: float
    database: float
    redis: float
    transactions: int
    wall: float

    @property
    def total(self) -> float:
        """All three together."""
        return self.server + self.database + self.redis

    def __sub__(self, earlier: Spent) -> Spent:
        """Return what was spent since."""
        return Spent(
            self.server - earlier.server,
            self.database - earlier.database,
            self.redis - earlier.redis,
            self.transactions - earlier.transactions,
            self.wall - earlier.wall,
        )


class Meter:
    """Reads what has been spent so far; `spent()` twice, and the difference is a measurement."""

    def __init__(self, server: int) -> None:
        """Watch the server with that process id; the database has to be on this machine."""
        self._server = psutil.Process(server)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backend = psutil.Process(cursor.fetchone()[0])
        parent = backend.parent()
        assert parent is not None
        self._database = parent

    def spent(self) -> Spent:
        """Return everything that was spent since the processes began."""
        redis = redis_client()
        info = redis.info("cpu") if redis is not None else {}
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute(
                "SELECT xact_commit + xact_rollback FROM pg_stat_database "
                "WHERE datname = current_database()"
            )
            transactions = int(cursor.fetchone()[0])
        return Spent(
            _seconds(self._server),
            _seconds(self._database),
            info.get("used_cpu_user", 0.0) + info.get("used_cpu_sys", 0.0),
            transactions,
            time.monotonic(),
        )


def _seconds(root: psutil.Process) -> float:
    """Return what a process and all that it ever started have used; ended ones are its own."""
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
