"""The wall: row-level security that cannot be forgotten.

Owns the roles, the transaction-local context, the policies and the checks that they hold. Knows a
column name, two setting names and SQL; knows nothing of tenants, people or assets. This list is
the whole public interface: migrations use the operations, doors use `acting_as` (or `fetch_one` and
`fetch_judged`, where one statement is all that happens behind it), everything else reads
`current_actor`.
"""

from rls.context import Acting, ContextError, acting_as, current_actor
from rls.operations import (
    DefinerFunction,
    FunctionView,
    GlobalTable,
    LookupColumns,
    TenantForeignKey,
    TenantWall,
    WorkerRetention,
)
from rls.reading import Outdated, Standing, fetch_judged, fetch_one, hang_up

__all__ = [
    "Acting",
    "ContextError",
    "DefinerFunction",
    "FunctionView",
    "GlobalTable",
    "LookupColumns",
    "Outdated",
    "Standing",
    "TenantForeignKey",
    "TenantWall",
    "WorkerRetention",
    "acting_as",
    "current_actor",
    "fetch_judged",
    "fetch_one",
    "hang_up",
]
