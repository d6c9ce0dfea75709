"""What the migrations say the catalogue looks like: read from their operations, no database.

Used by the system checks (is every tenant-owned model walled?) and by the catalogue audit (does
the database hold what was declared, and nothing else?).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from django.core.exceptions import FieldDoesNotExist
from django.db.migrations.loader import MigrationLoader

from rls.names import APP, LOOKUP, TENANT_COLUMN, WORKER
from rls.operations import (
    DefinerFunction,
    GlobalTable,
    LookupColumns,
    TenantForeignKey,
    TenantWall,
    WorkerRetention,
)
from rls.policies import Policy, lookup_policy

if TYPE_CHECKING:
    from django.db.migrations.graph import MigrationGraph
    from django.db.models import Model


@dataclass(slots=True)
class Declared:
    """Tables by kind, and the definer functions."""

    walls: dict[str, tuple[str, ...]] = field(default_factory=dict)
    globals: dict[str, GlobalTable] = field(default_factory=dict)
    lookups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    retentions: dict[str, WorkerRetention] = field(default_factory=dict)
    # Their bodies, by name.
    functions: dict[str, str] = field(default_factory=dict)
    # Table, column and target of every composite foreign key.
    foreign_keys: set[tuple[str, str, str]] = field(default_factory=set)

    def policies(self, table: str) -> dict[str, Policy]:
        """Return the policies that `table` has besides the wall's, by name."""
        given = list(self.globals[table].policies) if table in self.globals else []
        if table in self.lookups:
            given.append(lookup_policy(table))
        if table in self.retentions:
            given += self.retentions[table].policies
        return {policy.name: policy for policy in given}

    def grants(self, table: str) -> set[tuple[str, str]]:
        """Return the (role, privilege) pairs on the whole of `table` that were declared."""
        privileges = self.walls.get(table, ())
        worker: tuple[str, ...] = ("DELETE",) if table in self.retentions else ()
        if table in self.globals:
            declared = self.globals[table]
            worker = declared.worker
            privileges = tuple(
                name for name in declared.privileges if not (name == "SELECT" and declared.select)
            )
        return {(APP, name) for name in privileges} | {(WORKER, name) for name in worker}

    def column_grants(self, table: str) -> set[tuple[str, str, str]]:
        """Return the (role, privilege, column) triples on columns of `table`."""
        triples = {(LOOKUP, "SELECT", column) for column in self.lookups.get(table, ())}
        if table in self.globals:
            triples |= {(APP, "SELECT", column) for column in self.globals[table].select}
        if table in self.retentions:
            triples |= {(WORKER, "SELECT", column) for column in self.retentions[table].columns}
        return triples


def in_order(graph: MigrationGraph) -> list[tuple[str, str]]:
    """Return every migration after all that it depends on: a later declaration replaces one."""
    plans = (graph.forwards_plan(leaf) for leaf in sorted(graph.leaf_nodes()))
    return list(dict.fromkeys(key for plan in plans for key in plan))


def declared() -> Declared:
    """Return what every migration on disk declares, in the order they apply."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    result = Declared()
    state = loader.project_state()
    tables = {
        (label, name): model._meta.db_table
        for label, models in state.apps.all_models.items()
        for name, model in models.items()
    }
    for label, name in in_order(loader.graph):
        for operation in loader.get_migration(label, name).operations:
            if isinstance(operation, TenantWall):
                table = tables.get((label, operation.model_name.lower()))
                if table:
                    result.walls[table] = operation.privileges
            elif isinstance(operation, GlobalTable):
                result.globals[operation.table] = operation
            elif isinstance(operation, LookupColumns):
                result.lookups[operation.table] = operation.columns
            elif isinstance(operation, WorkerRetention):
                result.retentions[operation.table] = operation
            elif isinstance(operation, DefinerFunction):
                result.functions[operation.name] = operation.body
            elif isinstance(operation, TenantForeignKey):
                # A model or a field that a later migration took away needs no key any more.
                with suppress(LookupError, FieldDoesNotExist):
                    models = partial(state.apps.get_model, label)
                    result.foreign_keys.add(operation.ends(models))
    return result


def is_tenant_owned(model: type[Model]) -> bool:
    """Return whether a model's table carries the tenant column."""
    return any(column.column == TENANT_COLUMN for column in model._meta.local_concrete_fields)
