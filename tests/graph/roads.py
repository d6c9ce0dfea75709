"""Both roads of a query: the compiled one and the ordinary executor, and whether they agree."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django import Settings

    from graph import compiled

# What differs from request to request whatever the road: the request's id in masked errors, and
# what is left of the budget.
_OF_THE_REQUEST = re.compile(rb'"requestId":"[^"]+"|"remaining":\d+')


@dataclass
class Roads:
    """Asks on both roads and compares to the byte."""

    settings: Settings
    answers: list[compiled.Answer]

    def ask(
        self, client: Client, query: str, variables: Any, *, is_compiled: bool
    ) -> tuple[int, bytes]:
        """Return status and body of one operation."""
        # Each change stands on the one before, which after a thousand is a long way down.
        if is_compiled != self.settings.COMPILED_READS:
            self.settings.COMPILED_READS = is_compiled
        self.answers.clear()
        response = client.post(
            "/graphql",
            json.dumps({"query": query, "variables": variables or {}}),
            content_type="application/json",
        )
        return response.status_code, _OF_THE_REQUEST.sub(b"", response.content)

    def agree(self, client: Client, query: str, variables: Any = None) -> bool:
        """Return whether it was compiled; fail unless both roads give the same bytes."""
        found = self.ask(client, query, variables, is_compiled=True)
        was_compiled = bool(self.answers) and self.answers[-1].data is not None
        if was_compiled:
            expected = self.ask(client, query, variables, is_compiled=False)
            assert found == expected, f"{query}\n{variables}"
        return was_compiled

    def reason(self) -> str:
        """Return why the last operation was not compiled."""
        return self.answers[-1].reason if self.answers else "refused before"
