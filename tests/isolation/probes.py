"""The isolation matrix in SQL: what acme's owner tries on globex's rows, table by table.

A probe returns None when the wall refused, and otherwise what it got hold of. The same probes run
with the wall up (nothing may leak) and down in a scratch database (everything must).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.db import DatabaseError, connection, transaction

from rls import acting_as
from rls.names import TENANT_COLUMN
from rls.policies import quote

if TYPE_CHECKING:
    from tenancy.actors import Actor
    from tests.world import World


def _as(actor: Actor, statement: str, parameters: list[Any]) -> tuple[int, list[Any]]:
    with acting_as(actor), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount, cursor.fetchall() if cursor.description else []


def _refused(error: DatabaseError) -> bool:
    return "row-level security" in str(error)


def read(table: str, world: World, row: dict[str, Any]) -> str | None:
    """Read the row by its key."""
    key = next(iter(row))
    _, rows = _as(
        world.acme.owner,
        f"SELECT {quote(key)} FROM {quote(table)} WHERE {quote(key)} = %s",
        [row[key]],
    )
    return f"read {len(rows)} row" if rows else None


def read_without_a_door(table: str, world: World, row: dict[str, Any]) -> str | None:
    """Read outside of every door."""
    del world
    key = next(iter(row))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {quote(key)} FROM {quote(table)}")
        rows = cursor.fetchall()
    return f"read {len(rows)} rows" if rows else None


def count(table: str, world: World, row: dict[str, Any]) -> str | None:
    """Count the other tenant's rows."""
    del row
    _, rows = _as(
        world.acme.owner,
        f"SELECT count(*) FROM {quote(table)} WHERE {TENANT_COLUMN} = %s",
        [world.globex.tenant.id],
    )
    return f"counted {rows[0][0]}" if rows[0][0] else None


def update(table: str, world: World, row: dict[str, Any]) -> str | None:
    """Write to the row, changing nothing."""
    key = next(iter(row))
    changed, _ = _as(
        world.acme.owner,
        f"UPDATE {quote(table)} SET {quote(key)} = {quote(key)} WHERE {quote(key)} = %s",
        [row[key]],
    )
    return f"updated {changed}" if changed else None


def delete(table: str, world: World, row: dict[str, Any]) -> str | None:
    """Delete the row (in a transaction that is rolled back)."""
    key = next(iter(row))
    with transaction.atomic():
        try:
            deleted, _ = _as(
                world.acme.owner,
                f"DELETE FROM {quote(table)} WHERE {quote(key)} = %s",
                [row[key]],
            )
        except DatabaseError as error:
            # A constraint that answers instead of the wall has told that the row is there.
            return None if _refused(error) else f"answered: {error}"
        finally:
            transaction.set_rollback(True)
    return f"deleted {deleted}" if deleted else None


def insert(table: str, world: World, row: dict[str, Any]) -> str | None:
    """Insert a copy of the row under a new key, still in the other tenant's name."""
    copy = {**row, "id": uuid4()}
    columns = ", ".join(map(quote, copy))
    places = ", ".join(["%s"] * len(copy))
    with transaction.atomic():
        try:
            _as(
                world.acme.owner,
                f"INSERT INTO {quote(table)} ({columns}) VALUES ({places})",
                list(copy.values()),
            )
        except DatabaseError as error:
            return None if _refused(error) else f"answered: {error}"
        finally:
            transaction.set_rollback(True)
    return "inserted"


def move(table: str, world: World, row: dict[str, Any]) -> str | None:
    """Move acme's own rows into the other tenant."""
    del row
    with transaction.atomic():
        try:
            moved, _ = _as(
                world.acme.owner,
                f"UPDATE {quote(table)} SET {TENANT_COLUMN} = %s WHERE {TENANT_COLUMN} = %s",
                [world.globex.tenant.id, world.acme.tenant.id],
            )
        except DatabaseError as error:
            return None if _refused(error) else f"answered: {error}"
        finally:
            transaction.set_rollback(True)
    return f"moved {moved}"


def _attempted(world: World, statement: str, parameters: list[Any], done: str) -> str | None:
    with transaction.atomic():
        try:
            _as(world.acme.owner, statement, parameters)
        except DatabaseError as error:
            return None if _refused(error) else f"answered: {error}"
        finally:
            transaction.set_rollback(True)
    return done


def queue(table: str, world: World, row: dict[str, Any]) -> str | None:
    """Queue a job that would run in the other tenant."""
    del row
    return _attempted(
        world,
        f"INSERT INTO {quote(table)} (queue_name, task_name, args) "
        "VALUES ('default', 'x', jsonb_build_object('tenant', %s::text))",
        [world.globex.tenant.id],
        "queued",
    )


def note(table: str, world: World, row: dict[str, Any]) -> str | None:
    """Add to the history of the other tenant's job."""
    return _attempted(
        world,
        f"INSERT INTO {quote(table)} (job_id, type) VALUES (%s, 'succeeded')",
        [next(iter(row.values()))],
        "noted",
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the matrix: a table and the probes that apply to it."""

    table: str
    probes: tuple[Any, ...]


TENANT_PROBES = (read, read_without_a_door, count, update, delete, insert, move)
# What the application has to be granted for a probe to try the wall and not the grant.
NEEDED = {update: "UPDATE", delete: "DELETE", insert: "INSERT", move: "UPDATE"}
# Tables that belong to no tenant and are walled by policies of their own.
GLOBAL_ROWS = {
    "tenants": (read, read_without_a_door, update, delete),
    "users": (read, read_without_a_door, update),
    "user_credentials": (read, read_without_a_door, update),
    "second_factors": (read, read_without_a_door, update, delete),
    "user_sessions": (read, read_without_a_door, update, delete),
    "procrastinate_jobs": (read, read_without_a_door, queue),
    "procrastinate_events": (note,),
}


def probe(table: str, one: Any, world: World, row: dict[str, Any]) -> str | None:
    """Run one probe, undoing whatever it did."""
    with transaction.atomic():
        try:
            result: str | None = one(table, world, row)
        finally:
            transaction.set_rollback(True)
    return result
