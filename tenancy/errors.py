"""What a client can act on: errors with stable codes, declared once, rendered by each face.

Domain code raises them and never mentions HTTP or GraphQL; graph.errors, tenancy.middleware and
the REST shim turn them into their own shapes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """Every code a client may meet. Codes are never renamed."""

    INVALID = "INVALID"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    FORBIDDEN = "FORBIDDEN"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    TENANT_REQUIRED = "TENANT_REQUIRED"
    TENANT_ERROR = "TENANT_ERROR"
    RATE_LIMITED = "RATE_LIMITED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    STORAGE_FULL = "STORAGE_FULL"
    SECOND_FACTOR_REQUIRED = "SECOND_FACTOR_REQUIRED"
    KEY_REUSED = "KEY_REUSED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"


class DomainError(Exception):
    """An expected refusal.

    `message` says what is wrong and what to do; `field` is the path of the input it is about, as
    the client spelt it, empty when it is about the whole.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INVALID

    def __init__(self, message: str, *, field: tuple[str, ...] = ()) -> None:
        """Keep the sentence and the path."""
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidInput(DomainError):
    """A value that cannot be used, with the field it came in."""


class Invalid(DomainError):
    """Several invalid values at once; `errors` holds one InvalidInput each."""

    def __init__(self, errors: list[InvalidInput]) -> None:
        """Keep every error; the first one's sentence stands for all."""
        super().__init__(errors[0].message, field=errors[0].field)
        self.errors = errors


class NotFound(DomainError):
    """There is no such thing, or it is not yours: one answer for both."""

    code = ErrorCode.NOT_FOUND


class Conflict(DomainError):
    """Somebody else holds or changed it."""

    code = ErrorCode.CONFLICT


class PermissionDenied(DomainError):
    """The actor lacks a permission, which the message names."""

    code = ErrorCode.FORBIDDEN


class QuotaExceeded(DomainError):
    """The tenant's plan does not allow more of it; the message says of what, and what to do."""

    code = ErrorCode.QUOTA_EXCEEDED


class StorageFull(DomainError):
    """There is no room for a file on the server's own disk, whatever the tenant's plan allows."""

    code = ErrorCode.STORAGE_FULL

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__(
            "The server has no room left for files. Delete assets that nobody needs and try "
            "again, or tell its operator."
        )


class NotSignedIn(DomainError):
    """No credential, or not one that opens this."""

    code = ErrorCode.UNAUTHENTICATED


class TenantRequired(DomainError):
    """A tenant's data was asked for and none was chosen."""

    code = ErrorCode.TENANT_REQUIRED

    def __init__(self) -> None:
        """Say how a tenant is chosen."""
        super().__init__("Invalid or missing tenant")


class TenantRefused(DomainError):
    """The tenant is unknown, foreign or suspended: one answer for all three."""

    code = ErrorCode.TENANT_ERROR

    def __init__(self) -> None:
        """Say what to check."""
        super().__init__("There is no such tenant, or you are not a member of it.")


class SecondFactorRequired(DomainError):
    """The tenant asks its members for a second factor; `may_enrol` where one can be set up now."""

    code = ErrorCode.SECOND_FACTOR_REQUIRED

    def __init__(self, message: str, *, may_enrol: bool) -> None:
        """Say what to do."""
        super().__init__(message)
        self.may_enrol = may_enrol


class RateLimited(DomainError):
    """Too many attempts; `retry_after` is in whole seconds."""

    code = ErrorCode.RATE_LIMITED

    def __init__(self, retry_after: int, what: str = "failed attempts") -> None:
        """Keep how long to wait."""
        super().__init__(f"Too many {what}. Try again in {retry_after} seconds.")
        self.retry_after = retry_after
