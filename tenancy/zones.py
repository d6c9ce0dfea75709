"""The time zones that tenants had when somebody looked: a guess that saves a question.

Used by who asks in one statement for what depends on the zone and for the zone, and asks once more
where the guess was wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

_KNOWN = 10_000


class Zones:
    """Names of time zones by the keys of tenants; what nobody has looked at is UTC."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._names: OrderedDict[UUID, str] = OrderedDict()

    def get(self, tenant: UUID) -> str:
        """Return the guess."""
        return self._names.get(tenant, "UTC")

    def put(self, tenant: UUID, name: str) -> None:
        """Remember what it is."""
        self._names[tenant] = name
        if len(self._names) > _KNOWN:
            with suppress(KeyError):
                self._names.popitem(last=False)


zones = Zones()
