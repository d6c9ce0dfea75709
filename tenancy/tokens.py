"""API tokens: what programs sign in with, each of one member, in one tenant (MISSION T9).

`Authorization: Bearer sgt_…`. A token opens what it was made for of what its owner may do at the
moment; it ends with its time, when it is revoked, and with its owner's membership. Shown once, kept
as a digest, looked up by its prefix in one statement that costs the same for a wrong one.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from rls import Standing, acting_as
from tenancy import actors
from tenancy.actors import Actor, ActorKind
from tenancy.audit import record, taken
from tenancy.credentials import MembershipState, identity_from
from tenancy.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from tenancy.events import Event, publish
from tenancy.keys import Key, KeyKind, make_key
from tenancy.models import ApiToken, Membership
from tenancy.permissions import PERMISSIONS
from tenancy.tenants import clean_all, clean_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

logger = logging.getLogger("signate.tokens")

LIFETIME = timedelta(days=90)
SHORTEST = timedelta(minutes=1)
LONGEST = timedelta(days=366)
# Of one member, revoked and expired ones aside.
MOST_TOKENS = 50
# Uses are written down this often at most.
USED_SECONDS = 60
# Skipped while somebody holds the row: the next use will do, and nobody waits for this.
_USED = """
UPDATE api_tokens SET last_used_at = %(now)s WHERE id = (
  SELECT id FROM api_tokens
  WHERE id = %(token)s AND (last_used_at IS NULL OR last_used_at <= %(due)s)
  FOR NO KEY UPDATE SKIP LOCKED)
"""
# All that decides what a token opens, and not when it was used.
_DECIDES = (
    "md5(ROW(token_id, digest, permissions, tenant_id, user_id, username, credential_version, "
    "memberships)::text)"
)
_LOOK_UP = f"SELECT found.*, {_DECIDES} FROM token_by_prefix(%s) AS found"  # noqa: S608 -- ours
_STANDING = b"SELECT %b FROM token_by_prefix($1) WHERE token_id = $2::uuid" % _DECIDES.encode()
_AUDITED = ("name", "permissions", "expires_at")


def clean_token_permissions(value: Sequence[str]) -> list[str]:
    """Return the names of permissions, each once, sorted; raises InvalidInput."""
    wanted = sorted(set(value))
    unknown = [name for name in wanted if name not in PERMISSIONS]
    if unknown or not wanted:
        message = f"There is no permission {unknown[0]!r:.80}." if unknown else "Allow something."
        raise InvalidInput(message)
    return wanted


def clean_token_expiry(value: datetime) -> datetime:
    """Return the instant in UTC, a minute to 366 days from now; raises InvalidInput."""
    now = timezone.now()
    if value.tzinfo is None or not now + SHORTEST <= value <= now + LONGEST:
        message = "A token ends between one minute and 366 days from now."
        raise InvalidInput(message)
    return value.astimezone(UTC)


TOKEN_CLEANERS: Mapping[str, Callable[[Any], Any]] = {
    "name": clean_name,
    "permissions": clean_token_permissions,
    "expires_at": clean_token_expiry,
}


def live_q(now: Any) -> Q:
    """Return the condition "opens something at `now`": neither revoked nor expired."""
    return Q(revoked_at=None, expires_at__gt=now)


def _member_of(actor: Actor) -> tuple[UUID, UUID]:
    """Return the person who acts themselves and their membership.

    Raises PermissionDenied for any other credential: what was given a token or an address must not
    be able to outlive its end by making another one.
    """
    actor.entered()
    if actor.kind is not ActorKind.MEMBER or not actor.membership_id or not actor.user_id:
        message = "Only a member who signed in has API tokens and makes them."
        raise PermissionDenied(message)
    return actor.user_id, actor.membership_id


@transaction.atomic
def create_token(*, actor: Actor, values: Mapping[str, Any]) -> tuple[ApiToken, str]:
    """Return a new token of the member who acts, and its secret, which is not told again.

    `values` are name, permissions and expires_at (90 days from now when left out). Raises
    PermissionDenied for anybody but a member and for a permission that they do not hold, Invalid
    with every bad value, Conflict for one token too many.
    """
    user, membership = _member_of(actor)
    defaults = {"name": None, "permissions": None, "expires_at": timezone.now() + LIFETIME}
    cleaned = clean_all({**defaults, **values}, TOKEN_CLEANERS)
    if not actor.permissions.issuperset(cleaned["permissions"]):
        message = "You cannot give permissions that you do not hold."
        raise PermissionDenied(message, field=("permissions",))
    # Locked, so that two at once do not pass the limit together.
    if not Membership.objects.select_for_update().filter(pk=membership).exists():
        message = "You are no member of this tenant any more."
        raise PermissionDenied(message)
    if (
        ApiToken.objects.filter(live_q(timezone.now()), membership_id=membership).count()
        >= MOST_TOKENS
    ):
        message = f"You have {MOST_TOKENS} API tokens. Revoke one that is not needed any more."
        raise Conflict(message)
    secret, key = make_key(KeyKind.TOKEN)
    row = ApiToken.objects.create(
        tenant_id=actor.entered(),
        prefix=key.prefix,
        digest=key.digest,
        membership_id=membership,
        user_id=user,
        **cleaned,
    )
    _record(actor, "token.created", row, after=taken(row, _AUDITED))
    return row, secret


@transaction.atomic
def rename_token(*, actor: Actor, token: UUID, name: str) -> ApiToken:
    """Return one's own token with another name.

    Raises PermissionDenied for anybody but a member, NotFound, Invalid.
    """
    _, membership = _member_of(actor)
    cleaned = clean_all({"name": name}, {"name": clean_name})
    row = _locked(token, membership_id=membership)
    if row.name != cleaned["name"]:
        before = {"name": row.name}
        row.name = cleaned["name"]
        row.save(update_fields=["name"])
        _record(actor, "token.renamed", row, before=before, after={"name": row.name})
    return row


@transaction.atomic
def revoke_token(*, actor: Actor, token: UUID) -> ApiToken:
    """Return the token, which opens nothing from the commit on; revoking twice is once.

    One's own, and with users.tokens anybody's. Raises PermissionDenied for whoever could have none,
    NotFound.
    """
    if actor.can("users.tokens"):
        row = _locked(token, tenant_id=actor.entered())
    else:
        _, membership = _member_of(actor)
        row = _locked(token, membership_id=membership)
    if row.revoked_at is None:
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        _record(actor, "token.revoked", row, before=taken(row, _AUDITED))
        # What it has open ends at once.
        publish(Event.TOKENS_CHANGED, [row.pk], actor=actor)
    return row


def _locked(token: UUID, **mine: UUID) -> ApiToken:
    row = ApiToken.objects.select_for_update().filter(pk=token, **mine).first()
    if row is None:
        message = "There is no API token with this id."
        raise NotFound(message, field=("id",))
    return row


def _record(actor: Actor, action: str, row: ApiToken, **values: Any) -> None:
    record(actor, action, subject="ApiToken", subject_id=row.pk, label=row.name, **values)


@dataclass(frozen=True, slots=True)
class FoundToken:
    """A token that was shown, its owner and the one membership it is good for."""

    id: UUID
    permissions: tuple[str, ...]
    user_id: UUID
    membership: MembershipState
    last_used_at: datetime | None
    # How to ask whether all of this is still so.
    standing: Standing = field(compare=False)

    def actor(self) -> Actor:
        """Return who acts."""
        return actors.token(self.id, self.permissions, self.user_id, self.membership)


def find_token(key: Key) -> FoundToken | None:
    """Return what a token is of; None for one that opens nothing, and for a wrong one.

    One statement, whether there is such a token or not. A token whose owner is no active member any
    more opens nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOOK_UP, [key.prefix])
        rows = cursor.fetchall()
    for token_id, digest, permissions, tenant_id, last_used_at, user_id, *person, told in rows:
        if hmac.compare_digest(digest, key.digest):
            identity = identity_from(user_id, *person)
            for membership in identity.memberships:
                if membership.tenant_id == tenant_id:
                    return FoundToken(
                        token_id,
                        tuple(permissions),
                        user_id,
                        membership,
                        last_used_at,
                        Standing(
                            _STANDING,
                            (key.prefix.encode(), str(token_id).encode()),
                            told.encode(),
                        ),
                    )
    return None


def note_used(found: FoundToken | None) -> None:
    """Write down that a token was used, once a minute; opens its own door, and never fails.

    Called when the answer is made. Of requests at once the first one writes.
    """
    now = timezone.now()
    due = now - timedelta(seconds=USED_SECONDS)
    if found is None or (found.last_used_at is not None and found.last_used_at > due):
        return
    try:
        with acting_as(found.actor()), connection.cursor() as cursor:
            cursor.execute(_USED, {"now": now, "due": due, "token": found.id})
    except DatabaseError as error:
        logger.warning("that a token was used was not written down: %s", type(error).__name__)
