"""Questions for TXT records: one small interface, so that tests and operators can answer otherwise.

The setting DOMAIN_RESOLVER names the class; tenancy.domains asks.
"""

from __future__ import annotations

from typing import Protocol, cast

import dns.exception
import dns.resolver
from django.conf import settings
from django.utils.module_loading import import_string

# A person waits for the answer.
LIFETIME_SECONDS = 3.0
# Texts of one answer that are looked at.
MOST_RECORDS = 50


class Unanswered(Exception):
    """Nobody could say whether there is such a record."""


class TxtResolver(Protocol):
    """What answers."""

    def texts(self, name: str) -> list[str]:
        """Return the texts of the TXT records of `name`, none when there are none.

        Raises Unanswered when that could not be found out.
        """


class Resolver:
    """The name servers of this machine."""

    def texts(self, name: str) -> list[str]:
        """Ask them."""
        try:
            answer = dns.resolver.resolve(name, "TXT", lifetime=LIFETIME_SECONDS, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Unanswered(str(error)) from error
        return [
            b"".join(record.strings).decode("utf-8", "replace")
            for record in list(answer)[:MOST_RECORDS]
        ]


def resolver() -> TxtResolver:
    """Return what the setting names."""
    return cast("TxtResolver", import_string(settings.DOMAIN_RESOLVER)())
