"""Name servers as tests have them: `RECORDS` is all that the world knows."""

from __future__ import annotations

from tenancy.dns import Unanswered

RECORDS: dict[str, list[str]] = {}
# Names of which nobody says anything.
SILENT: set[str] = set()
ASKED: list[str] = []


class FakeResolver:
    """What the setting DOMAIN_RESOLVER names while a test runs."""

    def texts(self, name: str) -> list[str]:
        ASKED.append(name)
        if name in SILENT:
            raise Unanswered(name)
        return RECORDS.get(name, [])
