"""Who acts, in which tenant: the one place that opens transactions and sets their context.

Called by doors (a view, a command, a task, one subscription event). Privilege is never a setting:
what a transaction may see follows from the role it runs as and from the two values set here, which
end with the transaction. Nothing in Python remembers "what is set": the database is asked to set
it, every time.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from rls.names import TENANT_SETTING, USER_SETTING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID


class Acting(Protocol):
    """What the wall needs to know of whoever acts."""

    @property
    def tenant_id(self) -> UUID | None:
        """The tenant whose rows are visible; None shows no tenant's rows."""

    @property
    def user_id(self) -> UUID | None:
        """The person acting, if it is one."""

    @property
    def opens_own_rows(self) -> bool:
        """Whether what is the person's own, in no tenant, is open to them."""


ActingT = TypeVar("ActingT", bound=Acting)

_actor: ContextVar[Acting | None] = ContextVar("rls_actor", default=None)


class ContextError(RuntimeError):
    """A programming error: no tenant context where one is needed, or a second tenant in one."""


def current_actor() -> Acting:
    """Return the actor of the innermost open door; raise ContextError outside of every door."""
    actor = _actor.get()
    if actor is None:
        message = "No door is open: wrap this in `with acting_as(actor):`."
        raise ContextError(message)
    return actor


def is_inside() -> bool:
    """Return whether a door is open here."""
    return _actor.get() is not None


def context_of(actor: Acting | None) -> tuple[str, str]:
    """Return the values of the two settings while `actor` acts: the tenant's, the person's."""
    tenant = str(actor.tenant_id) if actor and actor.tenant_id else ""
    user = str(actor.user_id) if actor and actor.user_id and actor.opens_own_rows else ""
    return tenant, user


def _set_local(using: str, actor: Acting | None, *, read_only: bool = False) -> None:
    tenant, user = context_of(actor)
    settings = [(TENANT_SETTING, tenant), (USER_SETTING, user)]
    if read_only:
        settings.append(("transaction_read_only", "on"))
    calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {calls}", [part for pair in settings for part in pair])


@contextmanager
def acting_as(
    actor: ActingT,
    *,
    using: str = DEFAULT_DB_ALIAS,
    read_only: bool = False,
    founding: bool = False,
) -> Iterator[ActingT]:
    """Open one transaction in which `actor` acts, and yield the actor.

    Nested inside another door it opens a savepoint, and gives the outer values back when it ends
    (RELEASE SAVEPOINT would keep the inner ones). Raises ContextError when the transaction already
    belongs to another tenant, unless `founding` says that the inner tenant is being made right
    here. An exception rolls back what was done inside.
    """
    outer = _actor.get()
    if not founding and outer is not None and outer.tenant_id not in {None, actor.tenant_id}:
        message = "This transaction belongs to another tenant; end it before entering this one."
        raise ContextError(message)
    connection = connections[using]
    nested = connection.in_atomic_block
    token = _actor.set(actor)
    try:
        with transaction.atomic(using=using):
            _set_local(using, actor, read_only=read_only)
            yield actor
    finally:
        _actor.reset(token)
        # After ROLLBACK TO SAVEPOINT PostgreSQL has restored the values by itself; a transaction
        # that can only be rolled back takes no more statements.
        if nested and not connection.needs_rollback and not connection.closed_in_transaction:
            _set_local(using, outer)
