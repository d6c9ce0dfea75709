"""Shelves: what a process keeps of what clients sent, within bounds that no client can fill alone.

Called by graph.documents and graph.persisted. Each entry belongs to whoever brought it, and
nobody may own more than a part of the shelf: a flood of one client pushes out that client's own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

ValueT = TypeVar("ValueT")


class Shelf(Generic[ValueT]):
    """At most `entries` values of at most `weight` together; the least lately used go first.

    One owner has at most a `share`-th of both. Safe to use from several threads.
    """

    def __init__(self, *, entries: int, weight: int, share: int = 8) -> None:
        """Start empty."""
        self.entries, self.weight, self.share = entries, weight, share
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, tuple[ValueT, str, int]] = OrderedDict()
        self._owned: dict[str, OrderedDict[Hashable, None]] = {}
        self._owned_weight: dict[str, int] = {}
        self._total = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Hashable) -> ValueT | None:
        """Return what is kept under `key`, whoever brought it."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return None
            self._held.move_to_end(key)
            self._owned[held[1]].move_to_end(key)
            return held[0]

    def put(self, key: Hashable, value: ValueT, *, owner: str, weight: int) -> None:
        """Keep `value`; what is heavier than its owner's part of the shelf is not kept."""
        if weight * self.share > self.weight:
            return
        with self._lock:
            self._drop(key)
            self._held[key] = (value, owner, weight)
            self._owned.setdefault(owner, OrderedDict())[key] = None
            self._owned_weight[owner] = self._owned_weight.get(owner, 0) + weight
            self._total += weight
            while (
                len(self._owned[owner]) * self.share > self.entries
                or self._owned_weight[owner] * self.share > self.weight
            ):
                self._drop(next(iter(self._owned[owner])))
            while len(self._held) > self.entries or self._total > self.weight:
                self._drop(next(iter(self._held)))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._owned.clear()
            self._owned_weight.clear()
            self._total = 0

    def _drop(self, key: Hashable) -> None:
        held = self._held.pop(key, None)
        if held is None:
            return
        _value, owner, weight = held
        self._total -= weight
        self._owned_weight[owner] -= weight
        del self._owned[owner][key]
        if not self._owned[owner]:
            del self._owned[owner], self._owned_weight[owner]
