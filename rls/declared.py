"""What the migrations say the catalogue looks like: read from their operations, no database.

Used by the system checks (is every tenant-owned model walled?) and by the catalogue audit (does
the database hold what was declared, and nothing else?).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db.migrations.loader import MigrationLoader

from rls.names import APP, LOOKUP
from rls.operations import DefinerFunction, GlobalTable, LookupColumns, TenantWall

if TYPE_CHECKING:
    from django.db.models import Model

    from rls.policies import Policy


@dataclass(slots=True)
class Declared:
    """Tables by kind, and the definer functions."""

    walls: dict[str, tuple[str, ...]] = field(default_factory=dict)
    globals: dict[str, GlobalTable] = field(default_factory=dict)
    lookups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)

    def policies(self, table: str) -> set[tuple[str, str]]:
        """Return the (policy name, role) pairs that `table` may have besides the wall's."""
        given: tuple[Policy, ...] = self.globals[table].policies if table in self.globals else ()
        expected = {(policy.name, policy.role) for policy in given}
        if table in self.lookups:
            expected.add((f"{table}_lookup", LOOKUP))
        return expected

    def grants(self, table: str) -> set[tuple[str, str]]:
        """Return the (role, privilege) pairs on the whole of `table` that were declared."""
        privileges = self.walls.get(table, ())
        if table in self.globals:
            declared = self.globals[table]
            privileges = tuple(
                name for name in declared.privileges if not (name == "SELECT" and declared.select)
            )
        return {(APP, name) for name in privileges}

    def column_grants(self, table: str) -> set[tuple[str, str, str]]:
        """Return the (role, privilege, column) triples on columns of `table`."""
        triples = {(LOOKUP, "SELECT", column) for column in self.lookups.get(table, ())}
        if table in self.globals:
            triples |= {(APP, "SELECT", column) for column in self.globals[table].select}
        return triples


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
    for label, name in sorted(loader.graph.nodes, key=str):
        for operation in loader.get_migration(label, name).operations:
            if isinstance(operation, TenantWall):
                table = tables.get((label, operation.model_name.lower()))
                if table:
                    result.walls[table] = operation.privileges
            elif isinstance(operation, GlobalTable):
                result.globals[operation.table] = operation
            elif isinstance(operation, LookupColumns):
                result.lookups[operation.table] = operation.columns
            elif isinstance(operation, DefinerFunction):
                result.functions.add(operation.name)
    return result


def is_tenant_owned(model: type[Model]) -> bool:
    """Return whether a model's table carries the tenant column."""
    from rls.names import TENANT_COLUMN

    return any(column.column == TENANT_COLUMN for column in model._meta.local_concrete_fields)
