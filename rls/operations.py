"""Migration operations: a table and its wall arrive in one migration.

Used by migrations only. Each operation writes SQL from rls.policies, can be reversed, and is what
rls.declared reads to know what the catalogue should look like.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.migrations.operations.base import Operation
from django.db.models import ForeignKey

from rls import policies
from rls.names import APP, LOOKUP, WORKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState
    from django.db.models import Model

    # A model of the migration's application, as it is at that point, by its name.
    Models = Callable[[str], type[Model]]


@contextmanager
def unforced(schema_editor: BaseDatabaseSchemaEditor, *tables: str) -> Iterator[None]:
    """Let a migration see every row of `tables` where its role could not be given BYPASSRLS.

    With BYPASSRLS this does nothing. Without it (some hosted PostgreSQL), FORCE is lifted inside
    the migration's own transaction, which shows the owner its rows and nobody else anything: the
    table is locked exclusively until the transaction ends.
    """
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user")
        (bypasses,) = cursor.fetchone()
        forced: list[str] = []
        if not bypasses:
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relforcerowsecurity AND relname = ANY(%s)",
                [list(tables)],
            )
            forced = [name for (name,) in cursor.fetchall()]
    for table in forced:
        schema_editor.execute(f"ALTER TABLE {policies.quote(table)} NO FORCE ROW LEVEL SECURITY")
    yield
    for table in forced:
        schema_editor.execute(f"ALTER TABLE {policies.quote(table)} FORCE ROW LEVEL SECURITY")


def has_constraint(key: ForeignKey[Any, Any]) -> bool:
    """Return whether Django makes a plain constraint for `key` (the stubs do not know)."""
    return bool(getattr(key, "db_constraint", True))


class SqlOperation(ABC, Operation):
    """An operation that changes the database and not the models: SQL there, SQL back."""

    reduces_to_sql = True
    reversible = True
    elidable = False

    @abstractmethod
    def forward_sql(self, models: Models) -> list[str]:
        """Return the statements that apply it."""

    @abstractmethod
    def backward_sql(self, models: Models) -> list[str]:
        """Return the statements that take it back."""

    def validated(self, models: Models) -> tuple[str, ...]:
        """Return the tables of which every tenant's rows have to be seen to apply it."""
        del models
        return ()

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing: walls are not part of the models' state."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Apply it."""
        del from_state
        models = partial(to_state.apps.get_model, app_label)
        with unforced(schema_editor, *self.validated(models)):
            for statement in self.forward_sql(models):
                schema_editor.execute(statement)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Take it back."""
        del to_state
        for statement in self.backward_sql(partial(from_state.apps.get_model, app_label)):
            schema_editor.execute(statement)


class TenantWall(SqlOperation):
    """Wall a tenant-owned model: policies, FORCE and the grants of the application role.

    `privileges` is all the application role may do; an append-only table says
    `("SELECT", "INSERT")`. Taken back, the table is closed to the application.
    """

    def __init__(
        self, model_name: str, privileges: tuple[str, ...] = policies.ALL_PRIVILEGES
    ) -> None:
        """Wall the model of that name in the migration's own application."""
        self.model_name = model_name
        self.privileges = privileges

    def forward_sql(self, models: Models) -> list[str]:
        """Return what raises the wall."""
        table = models(self.model_name)._meta.db_table
        return policies.wall_sql(table, privileges=self.privileges, citus=settings.RLS_CITUS)

    def backward_sql(self, models: Models) -> list[str]:
        """Return what takes the wall and every grant away."""
        return policies.unwall_sql(models(self.model_name)._meta.db_table)

    def describe(self) -> str:
        """Return the line `migrate` and `sqlmigrate` print."""
        return f"Wall the tenant-owned model {self.model_name}"


class GlobalTable(SqlOperation):
    """Declare a table that belongs to no tenant, with exactly what the application may do.

    `table` is a table name (tables of other applications can be declared too). With `policies`
    row-level security is enabled and forced; without, the grants alone decide. `select` narrows
    reading to those columns. `worker` is what the worker's login may do; `sequences` are those
    that number the rows both of them insert.
    """

    def __init__(
        self,
        table: str,
        *,
        privileges: tuple[str, ...] = (),
        select: tuple[str, ...] = (),
        policies: tuple[policies.Policy, ...] = (),
        worker: tuple[str, ...] = (),
        sequences: tuple[str, ...] = (),
        replaces: GlobalTable | None = None,
    ) -> None:
        """Declare `table`; `replaces` is how it was declared before, where it was."""
        self.table = table
        self.privileges = privileges
        self.select = select
        self.policies = policies
        self.worker = worker
        self.sequences = sequences
        self.replaces = replaces

    def _exchanged(self, old: GlobalTable, new: GlobalTable) -> list[str]:
        """Return what makes the application's grants and policies of `old` those of `new`."""
        table = policies.quote(self.table)
        return [
            *policies.grant_sql(self.table, new.privileges, columns=new.select),
            *(
                f"DROP POLICY {policies.quote(one.name)} ON {table}"
                for one in old.policies
                if one not in new.policies
            ),
            *(one.sql(self.table) for one in new.policies if one not in old.policies),
        ]

    def forward_sql(self, models: Models) -> list[str]:
        """Return the grants and the policies."""
        del models
        if self.replaces is not None:
            return self._exchanged(self.replaces, self)
        statements = policies.grant_sql(self.table, self.privileges, columns=self.select)
        if self.worker:
            statements += policies.grant_sql(self.table, self.worker, role=WORKER)
        statements += [
            f"GRANT USAGE ON SEQUENCE {policies.quote(name)} TO {APP}, {WORKER}"
            for name in self.sequences
        ]
        if self.policies:
            statements += policies.force_sql(self.table)
            statements += [policy.sql(self.table) for policy in self.policies]
        return statements

    def backward_sql(self, models: Models) -> list[str]:
        """Return what takes back policies and grants, or restores those of before."""
        del models
        if self.replaces is not None:
            return self._exchanged(self, self.replaces)
        statements = policies.unwall_sql(self.table, tuple(policy.name for policy in self.policies))
        if self.worker:
            statements += policies.grant_sql(self.table, (), role=WORKER)
        return [
            *statements,
            *(
                f"REVOKE ALL ON SEQUENCE {policies.quote(name)} FROM {APP}, {WORKER}"
                for name in self.sequences
            ),
        ]

    def describe(self) -> str:
        """Return the line `migrate` and `sqlmigrate` print."""
        return f"Declare the global table {self.table}"


class WorkerRetention(SqlOperation):
    """Let the worker remove rows of a tenant-owned table once they are old, across tenants.

    For what the application itself may not delete. The worker's login sees the age and the key of
    rows that are past `days` and nothing of younger ones: however it is asked, those stay.
    """

    def __init__(self, table: str, *, column: str, days: int) -> None:
        """`column` is when a row was made; `days` is the youngest that can ever be removed."""
        self.table = table
        self.column = column
        self.days = days

    @property
    def columns(self) -> tuple[str, str]:
        """The columns the worker may read."""
        return "id", self.column

    @property
    def policies(self) -> tuple[policies.Policy, ...]:
        """What shows the worker old rows, and lets it remove them."""
        # As PostgreSQL prints it, so that the audit can compare.
        old = f"{self.column} < now() - '{self.days} days'::interval"
        return tuple(
            policies.Policy(f"{self.table}_old_{name.lower()}", name, using=old, role=WORKER)
            for name in ("SELECT", "DELETE")
        )

    def forward_sql(self, models: Models) -> list[str]:
        """Return the grants and the policies."""
        del models
        columns = ", ".join(map(policies.quote, self.columns))
        return [
            f"GRANT SELECT ({columns}), DELETE ON {policies.quote(self.table)} TO {WORKER}",
            *(policy.sql(self.table) for policy in self.policies),
        ]

    def backward_sql(self, models: Models) -> list[str]:
        """Return what takes them back."""
        del models
        table = policies.quote(self.table)
        return [
            *(f"DROP POLICY {policies.quote(policy.name)} ON {table}" for policy in self.policies),
            f"REVOKE ALL ON {table} FROM {WORKER}",
        ]

    def describe(self) -> str:
        """Return the line `migrate` and `sqlmigrate` print."""
        return f"Let the worker remove rows of {self.table} after {self.days} days"


class TenantForeignKey(SqlOperation):
    """Add the composite foreign key behind a Django field made with `db_constraint=False`.

    A plain foreign key lets one tenant reference, block or cascade into another's row, and tells
    whether an id exists; `(tenant_id, x_id) → (tenant_id, id)` does not.
    """

    def __init__(self, model_name: str, field_name: str, on_delete: str = "NO ACTION") -> None:
        """Constrain `field_name`; `on_delete` is SQL, as in `SET NULL (asset_id)`."""
        self.model_name = model_name
        self.field_name = field_name
        self.on_delete = on_delete

    def ends(self, models: Models) -> tuple[str, str, str]:
        """Return table, column and target; raises TypeError where Django made a plain key."""
        model = models(self.model_name)
        key = model._meta.get_field(self.field_name)
        if not isinstance(key, ForeignKey) or has_constraint(key):
            message = f"{self.model_name}.{self.field_name} needs db_constraint=False."
            raise TypeError(message)
        target: type[Model] = key.related_model
        return model._meta.db_table, str(key.column), target._meta.db_table

    def validated(self, models: Models) -> tuple[str, ...]:
        """Return both ends: the constraint has to hold for every tenant's rows."""
        table, _column, target = self.ends(models)
        return table, target

    def forward_sql(self, models: Models) -> list[str]:
        """Return what adds the constraint."""
        table, column, target = self.ends(models)
        name = f"{table}_{column}_same_tenant"
        return [policies.foreign_key_sql(table, name, column, target, on_delete=self.on_delete)]

    def backward_sql(self, models: Models) -> list[str]:
        """Return what drops it."""
        table, column, _target = self.ends(models)
        name = policies.quote(f"{table}_{column}_same_tenant")
        return [f"ALTER TABLE {policies.quote(table)} DROP CONSTRAINT {name}"]

    def describe(self) -> str:
        """Return the line `migrate` and `sqlmigrate` print."""
        return f"Keep {self.model_name}.{self.field_name} inside its tenant"


class DefinerFunction(SqlOperation):
    """Create a SECURITY DEFINER look-up: an exact key in, ids and states out.

    It runs as the look-up role, which may read only the columns that `LookupColumns` granted, with
    a pinned search_path; only `caller` may call it. A column hides an argument of the same name:
    call arguments something else. `replaces` is the body that a function of the same signature has
    had so far: code that knows the older one goes on while it is exchanged.
    """

    def __init__(
        self,
        name: str,
        arguments: str,
        returns: str,
        body: str,
        *,
        caller: str = APP,
        replaces: str = "",
    ) -> None:
        """`arguments` and `returns` are SQL; `body` is one SQL query."""
        self.name = name
        self.arguments = arguments
        self.returns = returns
        self.body = body
        self.caller = caller
        self.replaces = replaces

    def _definition(self, verb: str, body: str) -> str:
        return (
            f"{verb} FUNCTION {self.name}({self.arguments}) RETURNS {self.returns} LANGUAGE sql "
            "STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp "
            f"AS $body$ {body} $body$"
        )

    def forward_sql(self, models: Models) -> list[str]:
        """Return what creates the function and hands it to the look-up role."""
        del models
        if self.replaces:
            # Its owner and its grants stay.
            return [self._definition("CREATE OR REPLACE", self.body)]
        signature = f"{self.name}({self.arguments})"
        return [
            self._definition("CREATE", self.body),
            f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC",
            f"GRANT EXECUTE ON FUNCTION {signature} TO {self.caller}",
            # Changing a function's owner asks that the new owner could have created it.
            f"GRANT CREATE ON SCHEMA public TO {LOOKUP}",
            f"ALTER FUNCTION {signature} OWNER TO {LOOKUP}",
            f"REVOKE CREATE ON SCHEMA public FROM {LOOKUP}",
        ]

    def backward_sql(self, models: Models) -> list[str]:
        """Return what drops the function, or gives it back the body it had."""
        del models
        if self.replaces:
            return [self._definition("CREATE OR REPLACE", self.replaces)]
        return [f"DROP FUNCTION {self.name}({self.arguments})"]

    def describe(self) -> str:
        """Return the line `migrate` and `sqlmigrate` print."""
        return f"Create the look-up {self.name}"


class FunctionView(GlobalTable):
    """Show the application what a look-up function tells as a view, to be filtered and sorted.

    The function decides what is told, to whom: the view reads as whoever asks.
    """

    def __init__(self, view: str, function: str) -> None:
        """Make `view` of what `function`, which takes no arguments, returns."""
        super().__init__(view, privileges=("SELECT",))
        self.function = function

    def forward_sql(self, models: Models) -> list[str]:
        """Return what makes the view and grants reading it."""
        del models
        return [
            (
                f"CREATE VIEW {policies.quote(self.table)} WITH (security_invoker = true) AS "
                f"SELECT * FROM {policies.quote(self.function)}()"
            ),
            *policies.grant_sql(self.table, self.privileges),
        ]

    def backward_sql(self, models: Models) -> list[str]:
        """Return what drops it."""
        del models
        return [f"DROP VIEW {policies.quote(self.table)}"]

    def describe(self) -> str:
        """Return the line `migrate` and `sqlmigrate` print."""
        return f"Show {self.function} as the view {self.table}"


class LookupColumns(SqlOperation):
    """Let definer functions read these columns of every row of a table, across tenants.

    `added` are those of `columns` that an earlier migration did not grant; without, none were.
    """

    def __init__(
        self, table: str, columns: tuple[str, ...], *, added: tuple[str, ...] = ()
    ) -> None:
        """Grant `columns` of `table` to the look-up role."""
        self.table = table
        self.columns = columns
        self.added = added

    def forward_sql(self, models: Models) -> list[str]:
        """Return what grants the columns and lets the look-up role past the wall, to read."""
        del models
        # The policy that lets it past the wall is the first one's.
        return policies.lookup_sql(self.table, self.added or self.columns)[: 1 if self.added else 2]

    def backward_sql(self, models: Models) -> list[str]:
        """Return what takes it back."""
        del models
        table = policies.quote(self.table)
        if self.added:
            columns = ", ".join(map(policies.quote, self.added))
            return [f"REVOKE SELECT ({columns}) ON {table} FROM {LOOKUP}"]
        return [
            f"DROP POLICY {policies.quote(self.table + '_lookup')} ON {table}",
            f"REVOKE ALL ON {table} FROM {LOOKUP}",
        ]

    def describe(self) -> str:
        """Return the line `migrate` and `sqlmigrate` print."""
        return f"Let look-ups read {', '.join(self.columns)} of {self.table}"
