"""How a refusal looks to a legacy client: a status and a body in Anthias's words (SPEC section 1).

One of the two renderers of domain errors (graph.errors is the other). Raised anywhere below
`assets.legacy.endpoint`, which rolls the door back and answers.
"""

from __future__ import annotations

from typing import Any

from tenancy.errors import (
    Conflict,
    DomainError,
    Invalid,
    NotFound,
    NotSignedIn,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    SecondFactorRequired,
    StorageFull,
    TenantRefused,
    TenantRequired,
)
from tenancy.idempotency import KeyReused

NO_ASSET = "No Asset matches the given query."
DISK_FULL = (
    "The device disk is full. Free up space — for example by deleting unused assets — and try "
    "again."
)


class LegacyError(Exception):
    """A refusal with the body a legacy client reads; None for an empty one."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Keep status, body and headers."""
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = headers or {}


def detail(status: int, message: str, **headers: str) -> LegacyError:
    """Return a refusal as the framework of Anthias words its own."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return LegacyError(status, {"detail": message}, named)


def no_asset() -> LegacyError:
    """Return what an asset that is not there, or not the caller's, answers."""
    return detail(404, NO_ASSET)


# The most particular class first.
_STATUSES: tuple[tuple[type[DomainError], int], ...] = (
    (NotSignedIn, 401),
    (PermissionDenied, 403),
    (SecondFactorRequired, 403),
    (RateLimited, 429),
    (QuotaExceeded, 507),
    (Conflict, 409),
    (KeyReused, 422),
)


def of_domain(error: DomainError) -> LegacyError:
    """Return the refusal that a domain error is to a legacy client."""
    if isinstance(error, NotFound):
        return no_asset()
    if isinstance(error, TenantRequired):
        return LegacyError(400, {"error": error.message, "code": error.code})
    if isinstance(error, TenantRefused):
        title = "Tenant access refused"
        return LegacyError(403, {"error": title, "message": error.message, "code": error.code})
    if isinstance(error, StorageFull):
        return detail(507, DISK_FULL)
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return LegacyError(status, {"detail": error.message}, _headers(error))
    found: dict[str, list[str]] = {}
    for one in error.errors if isinstance(error, Invalid) else [error]:
        name = one.field[0] if one.field else "non_field_errors"
        found.setdefault(name, []).append(one.message)
    return LegacyError(400, found)


def _headers(error: DomainError) -> dict[str, str]:
    if isinstance(error, NotSignedIn):
        return {"WWW-Authenticate": 'Basic realm="api"'}
    if isinstance(error, RateLimited):
        return {"Retry-After": str(error.retry_after)}
    return {}
