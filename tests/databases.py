"""Makes the databases tests run on, as the maintenance role; tests themselves use signage_app.

Used by tests/conftest.py only. A template is migrated once per test process; the test database and
every scratch database are copies of it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from psycopg import sql

from rls.names import APP, OWNER, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTEMPTS = 20


def owner_conninfo(database: str) -> str:
    """Return the conninfo of the maintenance role's login to `database`."""
    return _conninfo("owner", database)


def worker_conninfo(database: str) -> str:
    """Return the conninfo of the worker's login to `database`."""
    return _conninfo("worker", database)


def _conninfo(alias: str, database: str) -> str:
    given = settings.DATABASES[alias]
    return psycopg.conninfo.make_conninfo(
        dbname=database,
        user=given["USER"],
        password=given["PASSWORD"],
        host=given["HOST"],
        port=given["PORT"] or None,
    )


@contextmanager
def maintenance(database: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield an autocommit connection of the maintenance role."""
    with psycopg.connect(owner_conninfo(database), autocommit=True) as connection:
        yield connection


def create(name: str, template: str = "template0") -> None:
    """Make a database owned by the owner role, open to the application role."""
    with maintenance(settings.DATABASES["owner"]["NAME"]) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(OWNER), sql.Identifier(template)
            )
        )
        connection.execute(
            sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}, {}").format(
                sql.Identifier(name), sql.Identifier(APP), sql.Identifier(WORKER)
            )
        )


def drop(name: str) -> None:
    """Drop a database, whoever is still connected to it."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with maintenance(settings.DATABASES["owner"]["NAME"]) as connection:
        for attempt in range(ATTEMPTS):
            try:
                connection.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                # An autovacuum worker is in there, and nobody but a superuser may end it.
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(0.5)
            else:
                return


@contextmanager
def pointed_at(name: str) -> Iterator[None]:
    """Point every alias at the database `name` until the block ends."""
    before = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    for alias in before:
        connections[alias].close()
        connections[alias].settings_dict["NAME"] = name
    try:
        yield
    finally:
        for alias, old in before.items():
            connections[alias].close()
            connections[alias].settings_dict["NAME"] = old


@contextmanager
def migrated_template() -> Iterator[str]:
    """Yield the name of a freshly migrated database that nobody is connected to."""
    name = f"test_template_{uuid4().hex[:12]}"
    create(name)
    try:
        with pointed_at(name):
            call_command("migrate", verbosity=0)
        yield name
    finally:
        drop(name)


@contextmanager
def copy_of(template: str) -> Iterator[str]:
    """Yield the name of a copy of `template`, dropped afterwards."""
    name = f"test_signate_{uuid4().hex[:12]}"
    create(name, template)
    try:
        yield name
    finally:
        drop(name)
