"""One read and its context in one round trip: what `acting_as` does, for a single statement.

Called by whoever answers a whole operation with one statement (graph.compiled). The wall holds as
behind every door: the same two values, set by a statement of their own before the other one is
planned, in a transaction that can only read and that ends with it. Everything travels in one
pipeline, so the wait is one, not four.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import pq, sql
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus
from psycopg.waiting import Wait

from rls.context import ContextError, acting_as, context_of, is_inside
from rls.names import TENANT_SETTING, USER_SETTING

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rls.context import Acting

# A statement is prepared when a connection is sent it for the second time: what is asked once
# would only push out what is asked always.
PREPARED_PER_CONNECTION = 200
SEEN_PER_CONNECTION = 1_000
# Longer ones would fill the memory of both ends.
PREPARED_LENGTH = 32_768
# So often a process is told that a name is unknown, or taken, before it prepares no more.
MAX_LOSSES = 20

# One snapshot: who asks is judged by the very state that is read.
_BEGIN = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# The same for a statement whose best plan is the same for all values, along an index in its order:
# planning it for each of them takes longer than running it. And a plan made for tenants of average
# size may find it cheaper to sort all of one's rows than to walk, which for a large one it is not.
_CONTEXT_PLANNED_ONCE = (
    b"SELECT set_config($1, $2, true), set_config($3, $4, true), "
    b"set_config('plan_cache_mode', 'force_generic_plan', true), "
    b"set_config('enable_sort', 'off', true)"
)
_COMMIT = b"COMMIT"
_CONTEXT = b"SELECT set_config($1, $2, true), set_config($3, $4, true)"
_TENANT, _USER = TENANT_SETTING.encode(), USER_SETTING.encode()
# What is sent with every one of them is prepared at once.
_ALWAYS = frozenset({_BEGIN, _CONTEXT, _CONTEXT_PLANNED_ONCE, _COMMIT})
_TEXT_TYPE = 25  # by its number
_NUMBERED = re.compile(r"\$(\d+)")
_LOST = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)

Row = tuple["bytes | None", ...]
_Key = tuple[bytes, tuple[int, ...]]
# Text, values, types and formats, as libpq takes them.
_Message = tuple[bytes, "Sequence[pq.abc.Buffer | None]", tuple[int, ...], tuple[int, ...]]


class _Statements:
    """What one connection has seen and prepared; names follow from text and types alone.

    So whoever shares the server's end of it (a pooler that knows nothing of names) can at worst
    miss a statement, and never meet another one under its name.
    """

    def __init__(self) -> None:
        self.seen: OrderedDict[bytes, None] = OrderedDict()
        self.names: OrderedDict[_Key, bytes] = OrderedDict()
        # What was prepared or let go by the pipeline that is under way.
        self.touched: dict[_Key, bytes] = {}

    def is_due(self, name: bytes) -> bool:
        """Return whether a statement was here before, and remember that it is here now."""
        if name in self.seen:
            del self.seen[name]
            return True
        self.seen[name] = None
        if len(self.seen) > SEEN_PER_CONNECTION:
            self.seen.popitem(last=False)
        return False


class _Prepared:
    """Whether statements are prepared; a server's end that keeps losing them ends it."""

    def __init__(self) -> None:
        self.losses = 0
        self.of: WeakKeyDictionary[Any, _Statements] = WeakKeyDictionary()

    @property
    def is_on(self) -> bool:
        """Whether to prepare in this process."""
        return settings.PREPARED_STATEMENTS and self.losses < MAX_LOSSES


_prepared = _Prepared()


@dataclass(frozen=True, slots=True)
class Standing:
    """A question about who asks, of one value, and what it was answered when they were let in.

    Its parameters are text, as the answer is.
    """

    question: bytes
    parameters: tuple[bytes, ...]
    told: bytes


class Outdated(Exception):
    """What somebody was let in by is not so any more."""


def fetch_one(
    actor: Acting,
    statement: bytes,
    parameters: Sequence[Any],
    *,
    planned_once: bool = False,
    using: str = DEFAULT_DB_ALIAS,
) -> Row:
    """Return the first row of a statement that only reads, run as `actor`, its values as text.

    `statement` has its parameters as $1, $2, … `planned_once` says that its plan need not depend on
    their values. Inside an open door or transaction it is a savepoint of that. Raises what Django
    raises for what the database says, ContextError inside of another tenant's door, and LookupError
    when there is no row.
    """
    connection: Any = connections[using]
    with connection.wrap_database_errors:
        connection.ensure_connection()
        started = time.monotonic()
        if connection.in_atomic_block or is_inside():
            row = _nested(connection, actor, statement, parameters, using)
        else:
            try:
                link = connection.connection
                row = _persistently(link, actor, statement, parameters, planned_once=planned_once)
            except psycopg.OperationalError:
                if connection.connection.closed:
                    # As the end of a door does: whoever comes next gets a new one.
                    connection.close()
                raise
            _log(connection, _CONTEXT, ("", "", "", ""), 0.0)
        _log(connection, statement, parameters, time.monotonic() - started)
    return row


class _Own(threading.local):
    """A connection of this thread's own, for as long as it lives or works."""

    connection: psycopg.Connection[Any] | None = None


_own = _Own()


def fetch_judged(
    actor: Acting,
    statement: bytes,
    parameters: Sequence[Any],
    *,
    standing: Standing,
    planned_once: bool = False,
) -> Row:
    """Return what `fetch_one` returns, by a connection that this thread keeps.

    For who was let in before: whether that is still right is asked in the same round trip, and
    judged by the same snapshot as what is read. Raises Outdated when it is not, and else what
    Django raises for what the database says; a connection that is lost is replaced the next time.
    """
    django: Any = connections[DEFAULT_DB_ALIAS]
    with django.wrap_database_errors:
        connection = _own.connection
        if connection is None:
            params = {**django.get_connection_params(), "autocommit": True}
            connection = psycopg.connect(**params)
            connection.execute("SET TIME ZONE 'UTC'")
            _own.connection = connection
        try:
            return _persistently(
                connection,
                actor,
                statement,
                parameters,
                planned_once=planned_once,
                standing=standing,
            )
        except psycopg.OperationalError:
            if connection.closed:
                _own.connection = None
            raise


def hang_up() -> None:
    """Close the connection that this thread keeps."""
    if _own.connection is not None:
        _own.connection.close()
        _own.connection = None


def _log(connection: Any, statement: bytes, parameters: Sequence[Any], seconds: float) -> None:
    """Add to Django's log of statements, where it keeps one (DEBUG, and counting tests)."""
    if connection.queries_logged:
        literals = [sql.Literal(value).as_string(connection.connection) for value in parameters]
        text = _NUMBERED.sub(lambda match: literals[int(match[1]) - 1], statement.decode())
        connection.queries_log.append({"sql": text, "time": f"{seconds:.3f}"})


def _nested(
    connection: Any, actor: Acting, statement: bytes, parameters: Sequence[Any], using: str
) -> Row:
    with acting_as(actor, using=using, read_only=True):
        cursor = psycopg.RawCursor(connection.connection)
        cursor.execute(statement, parameters)
        assert cursor.pgresult is not None  # noqa: S101 -- psycopg has raised otherwise
        return _first_row(cursor.pgresult)


def _persistently(
    connection: psycopg.Connection[Any],
    actor: Acting,
    statement: bytes,
    parameters: Sequence[Any],
    *,
    planned_once: bool,
    standing: Standing | None = None,
) -> Row:
    """Return what `_alone` returns; send unprepared what the server has lost twice."""
    context = _CONTEXT_PLANNED_ONCE if planned_once else _CONTEXT
    alone = partial(
        _alone, connection, actor, statement, parameters, context=context, standing=standing
    )
    for _ in range(2):
        try:
            return alone(is_prepared=_prepared.is_on)
        except _LOST:
            _prepared.losses += 1
    return alone(is_prepared=False)


def _alone(
    connection: psycopg.Connection[Any],
    actor: Acting,
    statement: bytes,
    parameters: Sequence[Any],
    *,
    is_prepared: bool,
    context: bytes = _CONTEXT,
    standing: Standing | None = None,
) -> Row:
    tenant, user = (value.encode() for value in context_of(actor))
    messages: list[_Message] = [
        (_BEGIN, (), (), ()),
        (context, (_TENANT, tenant, _USER, user), (_TEXT_TYPE,) * 4, (0,) * 4),
        _message(connection, statement, parameters),
        (_COMMIT, (), (), ()),
    ]
    if standing is not None:
        count = len(standing.parameters)
        asked = (standing.question, standing.parameters, (_TEXT_TYPE,) * count, (0,) * count)
        # Before the context, which may say how the statement is to be planned: this one is not.
        messages.insert(1, asked)
    with connection.lock:
        link = connection.pgconn
        if link.transaction_status != pq.TransactionStatus.IDLE:
            problem = "A transaction is open that no door has opened."
            raise ContextError(problem)
        link.enter_pipeline_mode()
        try:
            for message in messages:
                if not is_prepared or not _send(connection, *message):
                    link.send_query_params(*message)
            link.pipeline_sync()
            results = connection.wait(_results(link))
        finally:
            # A wait that was interrupted leaves answers behind; such a connection is not used on.
            if link.status == pq.ConnStatus.OK and link.pipeline_status:
                try:
                    link.exit_pipeline_mode()
                except psycopg.OperationalError:
                    link.finish()
    failed = next((one for one in results if one.status == ExecStatus.FATAL_ERROR), None)
    if failed is not None:
        error = psycopg.errors.error_from_result(failed, "utf-8")
        if not connection.closed:
            connection.rollback()
            _look_what_is_left(connection)
        raise error
    told = [one for one in results if one.status == ExecStatus.TUPLES_OK]
    if standing is not None and (not told[0].ntuples or told[0].get_value(0, 0) != standing.told):
        raise Outdated
    return _first_row(told[-1])


def _message(
    connection: psycopg.Connection[Any], statement: bytes, parameters: Sequence[Any]
) -> _Message:
    if not parameters:
        return statement, (), (), ()
    dumper = Transformer(connection)
    values = dumper.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
    return statement, values, tuple(dumper.types or ()), tuple(dumper.formats or ())


def _look_what_is_left(connection: psycopg.Connection[Any]) -> None:
    """Ask the server what it has prepared: of a failed pipeline that is not known."""
    statements = _prepared.of.get(connection)
    if statements is None:
        return
    known = {**statements.names, **statements.touched}
    rows = connection.execute("SELECT name FROM pg_prepared_statements").fetchall()
    left = {name.encode() for (name,) in rows}
    statements.names = OrderedDict((key, name) for key, name in known.items() if name in left)


def _send(
    connection: psycopg.Connection[Any],
    statement: bytes,
    values: Sequence[Any],
    types: tuple[int, ...],
    formats: tuple[int, ...],
) -> bool:
    """Send one statement down the pipeline by its name; False where it has none yet."""
    link = connection.pgconn
    statements = _prepared.of.setdefault(connection, _Statements())
    if statement is _BEGIN:
        statements.touched.clear()
    key = (statement, types)
    name = statements.names.get(key)
    if name is not None:
        statements.names.move_to_end(key)
    elif len(statement) > PREPARED_LENGTH:
        return False
    else:
        name = b"r" + blake2b(repr(key).encode(), digest_size=15).hexdigest().encode()
        if statement not in _ALWAYS and not statements.is_due(name):
            return False
        link.send_prepare(name, statement, types)
        statements.names[key] = statements.touched[key] = name
        if len(statements.names) > PREPARED_PER_CONNECTION:
            oldest, its_name = statements.names.popitem(last=False)
            statements.touched[oldest] = its_name
            link.send_query_params(b'DEALLOCATE "' + its_name + b'"', None)
    link.send_query_prepared(name, values, formats)
    return True


def _results(link: pq.abc.PGconn) -> Generator[Wait, Any, list[pq.abc.PGresult]]:
    """Wait for the answers of one pipeline and return them, as psycopg's own generators do."""
    while link.flush():
        if (yield Wait.RW) & Wait.R:
            link.consume_input()
    results: list[pq.abc.PGresult] = []
    while True:
        while link.is_busy():
            yield Wait.R
            link.consume_input()
        result = link.get_result()
        if result is None:
            if link.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError("The connection was lost.")
            continue
        if result.status == ExecStatus.PIPELINE_SYNC:
            return results
        results.append(result)
        if link.status == pq.ConnStatus.BAD:
            return results


def _first_row(result: pq.abc.PGresult) -> Row:
    if result.ntuples < 1:
        raise LookupError("The statement has no row.")
    return tuple(result.get_value(0, column) for column in range(result.nfields))
