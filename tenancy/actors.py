"""Who acts: a frozen value that every door is opened with and every write is given."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from tenancy.errors import NotSignedIn, PermissionDenied, TenantRequired
from tenancy.permissions import DEVICE_PERMISSIONS, PERMISSIONS, Role, granted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from tenancy.credentials import MembershipState


class ActorKind(StrEnum):
    """How somebody got in."""

    ANONYMOUS = "anonymous"
    CAPABILITY = "capability"
    DEVICE = "device"
    MEMBER = "member"
    OPERATOR = "operator"
    TOKEN = "token"  # noqa: S105 -- a kind, not a secret
    LINK = "link"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody, in at most one tenant, with the permissions they hold there.

    Satisfies rls.Acting. `permissions` are single names, never wildcards. `credential` is one of
    tenancy.audit.Credential; `address` is the client's, empty where nothing came over a network.
    """

    kind: ActorKind = ActorKind.ANONYMOUS
    tenant_id: UUID | None = None
    user_id: UUID | None = None
    permissions: frozenset[str] = frozenset()
    membership_id: UUID | None = None
    role: Role | None = None
    device_id: UUID | None = None
    # The API token or the capability key that was used.
    token_id: UUID | None = None
    # How and from where, for the audit log: who somebody is does not depend on it.
    credential: str = field(default="", compare=False)
    address: str = field(default="", compare=False)

    def seen(self, *, credential: str = "", address: str = "") -> Actor:
        """Return the same actor as it came: with `credential` (else its own), from `address`."""
        return replace(self, credential=credential or self.credential, address=address)

    @property
    def opens_own_rows(self) -> bool:
        """Whether the person's own rows are open: a token is of one tenant, and nobody's account.

        The wall then shows it no other membership of its owner, and lets it change nothing of them.
        """
        return self.kind is not ActorKind.TOKEN

    @property
    def is_signed_in(self) -> bool:
        """Whether a credential was accepted."""
        return self.kind is not ActorKind.ANONYMOUS

    def can(self, permission: str) -> bool:
        """Return whether the actor holds `permission` in its tenant; unknown names are refused."""
        return permission in PERMISSIONS and permission in self.permissions

    def require(self, permission: str) -> UUID:
        """Return the tenant's id when the actor holds `permission` there.

        Raises NotSignedIn, TenantRequired or PermissionDenied.
        """
        if not self.is_signed_in:
            message = "Sign in to do this."
            raise NotSignedIn(message)
        if self.tenant_id is None:
            raise TenantRequired
        if not self.can(permission):
            message = f"You need the permission {permission} in this tenant."
            raise PermissionDenied(message)
        return self.tenant_id

    def entered(self) -> UUID:
        """Return the tenant's id; raises NotSignedIn or TenantRequired when there is none."""
        if not self.is_signed_in:
            message = "Sign in to do this."
            raise NotSignedIn(message)
        if self.tenant_id is None:
            raise TenantRequired
        return self.tenant_id

    def oneself(self) -> UUID:
        """Return the id of the person who acts for themselves, in whatever tenant or none.

        Raises NotSignedIn, and PermissionDenied for everything that is not a person's own sign-in.
        """
        if not self.is_signed_in:
            message = "Sign in to do this."
            raise NotSignedIn(message)
        if self.kind is not ActorKind.MEMBER or self.user_id is None:
            message = "Only a person who signed in can do this with their own account."
            raise PermissionDenied(message)
        return self.user_id


ANONYMOUS = Actor()


def person(user_id: UUID) -> Actor:
    """Return a signed-in person who has not entered a tenant."""
    return Actor(kind=ActorKind.MEMBER, user_id=user_id)


def member(user_id: UUID, membership: MembershipState) -> Actor:
    """Return a person in the tenant of one of their memberships."""
    return Actor(
        kind=ActorKind.MEMBER,
        tenant_id=membership.tenant_id,
        user_id=user_id,
        permissions=granted(membership.role, membership.permissions),
        membership_id=membership.id,
        role=Role(membership.role),
    )


def operator(tenant_id: UUID, user_id: UUID | None = None) -> Actor:
    """Return whoever runs a management command in one tenant, with every permission there."""
    return Actor(
        kind=ActorKind.OPERATOR,
        tenant_id=tenant_id,
        user_id=user_id,
        permissions=granted(Role.OWNER),
        credential="command",
    )


def worker(tenant_id: UUID) -> Actor:
    """Return the worker in the tenant of a job, with every permission there and no person."""
    return Actor(
        kind=ActorKind.WORKER,
        tenant_id=tenant_id,
        permissions=granted(Role.OWNER),
        credential="worker",
    )


def device(device_id: UUID, tenant_id: UUID) -> Actor:
    """Return a player, in its tenant."""
    return Actor(
        kind=ActorKind.DEVICE,
        tenant_id=tenant_id,
        permissions=DEVICE_PERMISSIONS,
        device_id=device_id,
        credential="device secret",
    )


def link(tenant_id: UUID) -> Actor:
    """Return whoever holds a signed address of one tenant: nobody, with no permission.

    The wall shows the tenant's rows; what of them the address is good for is its view's to decide.
    """
    return Actor(kind=ActorKind.LINK, tenant_id=tenant_id)


def capability(key_id: UUID, tenant_id: UUID, permissions: Iterable[str]) -> Actor:
    """Return whoever has a capability address of one tenant: nobody, with what it allows."""
    return Actor(
        kind=ActorKind.CAPABILITY,
        tenant_id=tenant_id,
        permissions=PERMISSIONS.intersection(permissions),
        token_id=key_id,
        credential="capability",
    )


def token(
    token_id: UUID, permissions: Iterable[str], user_id: UUID, membership: MembershipState
) -> Actor:
    """Return a program with an API token: what the token allows of what its owner may do now."""
    return Actor(
        kind=ActorKind.TOKEN,
        tenant_id=membership.tenant_id,
        user_id=user_id,
        permissions=granted(membership.role, membership.permissions).intersection(permissions),
        token_id=token_id,
        credential="token",
    )
