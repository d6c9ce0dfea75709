"""Invitations: how somebody becomes a member (MISSION T7).

An invitation is for one e-mail address, is used once and ends. Its link is mailed by the worker,
which works the token out again: it follows from the invitation's key and serial and SECRET_KEY,
and only its digest is kept. Whoever holds the token has read the address's mail; to accept, their
account has to have that address too.
"""

from __future__ import annotations

import logging
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from uuid_utils.compat import uuid7

from rls import acting_as
from tenancy.actors import Actor, ActorKind, link
from tenancy.audit import record, taken
from tenancy.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PermissionDenied,
    RateLimited,
)
from tenancy.events import Event, publish
from tenancy.granting import clean_permissions, require_can_change, require_can_give
from tenancy.jobs import enqueue
from tenancy.limits import FailureLimit
from tenancy.members import join
from tenancy.models import (
    Invitation,
    InvitationStatus,
    Membership,
    Tenant,
    TenantSettings,
    User,
    violated,
)
from tenancy.people import is_storable
from tenancy.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

logger = logging.getLogger("signate.invitations")

EMAIL_LENGTH = 254  # of an account's
_SALT = "tenancy.invitations"
_TOKEN = re.compile(r"sgi_[A-Za-z0-9_-]{43}", re.ASCII)
# Mails cost others something: what one tenant may send in an hour, resent ones included.
per_tenant = FailureLimit("invitations", settings.INVITATIONS_PER_HOUR, 3600)


@dataclass(frozen=True, slots=True)
class Offer:
    """What whoever holds a token is told of the invitation."""

    tenant_name: str
    inviter: str
    email: str
    role: Role
    permissions: tuple[str, ...]
    expires_at: datetime


def clean_email(value: str) -> str:
    """Return an e-mail address in lower case; raises InvalidInput for what is none."""
    email = value.strip().lower()
    try:
        if not is_storable(value) or not value.isascii() or len(email) > EMAIL_LENGTH:
            raise ValidationError(value)
        validate_email(email)
    except ValidationError:
        message = "Give one e-mail address, such as ada@example.com."
        raise InvalidInput(message, field=("email",)) from None
    return email


def token_of(invitation: Invitation) -> str:
    """Return the token of the last link that was sent."""
    value = f"{invitation.pk}:{invitation.serial}"
    mac = salted_hmac(_SALT, value, algorithm="sha256").digest()
    return "sgi_" + urlsafe_b64encode(mac).decode().rstrip("=")


def url_of(token: str) -> str:
    """Return the address that the mail names: a page of the platform's own host."""
    port = f":{settings.SITE_PORT}" if settings.SITE_PORT else ""
    return f"{settings.SITE_SCHEME}://{settings.PLATFORM_DOMAIN}{port}/invitations/{token}"


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _renew(row: Invitation) -> None:
    row.token_digest = _digest(token_of(row))
    row.expires_at = timezone.now() + timedelta(days=settings.INVITATION_DAYS)
    row.sent_at = None


@transaction.atomic
def invite_member(
    *, actor: Actor, email: str, role: Role, permissions: Sequence[str] = ()
) -> Invitation:
    """Return a new invitation to the actor's tenant, of which the address is told by mail.

    Raises PermissionDenied without users.invite and for what the actor may not give, InvalidInput
    for what is no address, for one outside of the tenant's allowed domains and for a permission
    there is none of, Conflict for a member and for somebody who is invited, RateLimited.
    """
    tenant_id = actor.require("users.invite")
    email = clean_email(email)
    extra = clean_permissions(permissions)
    require_can_give(actor, role, extra)
    _require_allowed(tenant_id, email)
    if Membership.objects.filter(tenant_id=tenant_id, user__email__iexact=email).exists():
        message = "Somebody with this address is a member already."
        raise Conflict(message, field=("email",))
    _count(tenant_id)
    # One that ran out makes way.
    Invitation.objects.filter(
        tenant_id=tenant_id, email=email, state=InvitationStatus.PENDING, expires_at__lte=Now()
    ).update(state=InvitationStatus.REVOKED, ended_at=Now())
    row = Invitation(
        id=uuid7(),
        tenant_id=tenant_id,
        email=email,
        role=role,
        permissions=extra,
        invited_by_id=actor.user_id,
    )
    _renew(row)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        if violated(error) != "invitations_one_pending":
            raise
        message = "This address is invited already: resend that invitation, or revoke it first."
        raise Conflict(message, field=("email",)) from error
    _post(row, actor, "made")
    return row


@transaction.atomic
def resend_invitation(*, actor: Actor, invitation: UUID) -> Invitation:
    """Return the invitation with its time begun anew and a new link mailed; the old one is void.

    Raises as invite_member, NotFound, and Conflict for one that was accepted, declined or revoked.
    """
    tenant_id = actor.require("users.invite")
    row = _locked(invitation)
    require_can_give(actor, row.role, row.permissions)
    _require_allowed(tenant_id, row.email)
    _require_pending(row)
    _count(tenant_id)
    row.serial += 1
    _renew(row)
    row.save(update_fields=["serial", "token_digest", "expires_at", "sent_at"])
    _post(row, actor, "resent")
    return row


@transaction.atomic
def revoke_invitation(*, actor: Actor, invitation: UUID) -> Invitation:
    """Return the invitation, whose link opens nothing from the commit on.

    Raises PermissionDenied without users.invite and for an invitation to a higher role, NotFound,
    Conflict for one that was accepted or declined.
    """
    actor.require("users.invite")
    row = _locked(invitation)
    require_can_change(actor, row)
    if row.state != InvitationStatus.REVOKED:
        _require_pending(row)
        _end(row, InvitationStatus.REVOKED, actor)
    return row


def find_invitation(token: str) -> Offer | None:
    """Return what a token invites to; None for one that opens nothing, whatever the reason."""
    found = _look_up(token)
    if found is None:
        return None
    key, tenant_id = found
    with acting_as(link(tenant_id), founding=True):
        row = Invitation.objects.filter(pk=key).first()
        return _offer(row) if row is not None else None


@transaction.atomic
def accept_invitation(*, actor: Actor, token: str) -> Membership:
    """Return the membership that the actor, a person of any tenant or none, now has.

    Raises NotFound for a token that opens nothing, whatever the reason, PermissionDenied for
    nobody's credential, for somebody with another e-mail address and for an address outside of the
    tenant's allowed domains, Conflict for a member, QuotaExceeded.
    """
    if actor.kind is not ActorKind.MEMBER or actor.user_id is None:
        message = "Sign in as a person to accept an invitation."
        raise PermissionDenied(message)
    found = _look_up(token)
    if found is None:
        raise _opens_nothing()
    key, tenant_id = found
    # Not a member yet, so with no permission there.
    newcomer = _inside(actor, tenant_id)
    with acting_as(newcomer, founding=True):
        row = _still_open(key, token)
        user = User.objects.filter(pk=actor.user_id, is_active=True).only("id", "email").first()
        if user is None or not user.email.isascii() or user.email.strip().lower() != row.email:
            message = (
                "This invitation is for another e-mail address: sign in with the account that has "
                "it."
            )
            raise PermissionDenied(message)
        try:
            _require_allowed(tenant_id, row.email)
        except InvalidInput as error:
            raise PermissionDenied(error.message) from None
        membership = join(
            actor=newcomer, user_id=user.pk, role=row.role, permissions=row.permissions
        )
        _end(row, InvitationStatus.ACCEPTED, newcomer)
    return membership


@transaction.atomic
def decline_invitation(*, actor: Actor, token: str) -> Offer:
    """Return what was declined: whoever holds the token, signed in or not, has read the mail.

    Raises NotFound for a token that opens nothing, whatever the reason.
    """
    found = _look_up(token)
    if found is None:
        raise _opens_nothing()
    key, tenant_id = found
    holder = _inside(actor, tenant_id)
    with acting_as(holder, founding=True):
        row = _still_open(key, token)
        offer = _offer(row)
        _end(row, InvitationStatus.DECLINED, holder)
    return offer


def send_invitation(*, actor: Actor, invitation: UUID, serial: int) -> None:
    """Mail the link of an invitation, unless it has ended or was sent anew: for the worker."""
    with acting_as(actor):
        row = Invitation.objects.filter(
            pk=invitation,
            serial=serial,
            sent_at=None,
            state=InvitationStatus.PENDING,
            expires_at__gt=Now(),
        ).first()
        if row is None:
            return
        offer = _offer(row)
    token = token_of(row)
    if not constant_time_compare(_digest(token), row.token_digest):
        # Made under another SECRET_KEY: its link cannot be told, but for one that is made anew.
        logger.error("invitation %s cannot be mailed: SECRET_KEY has changed; resend it", row.pk)
        return
    text = render_to_string("tenancy/invitation.txt", {"offer": offer, "url": url_of(token)})
    send_mail(f"Invitation to {offer.tenant_name}", text, None, [row.email])
    with acting_as(actor):
        Invitation.objects.filter(pk=row.pk, serial=serial).update(sent_at=Now())
        publish(Event.INVITATIONS_CHANGED, [row.pk], actor=actor)


def _inside(actor: Actor, tenant_id: UUID) -> Actor:
    """Return the actor as they enter a tenant by its invitation: with no permission there."""
    return replace(
        actor if actor.is_signed_in else Actor(ActorKind.LINK, address=actor.address),
        tenant_id=tenant_id,
        permissions=frozenset(),
        membership_id=None,
        role=None,
    )


def _look_up(token: str) -> tuple[UUID, UUID] | None:
    """Return the keys of the open invitation and its active tenant, in one exact look-up."""
    if not _TOKEN.fullmatch(token):
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT invitation_id, tenant_id FROM invitation_by_digest(%s)", [_digest(token)]
        )
        row: tuple[UUID, UUID] | None = cursor.fetchone()
    return row


def _opens_nothing() -> NotFound:
    return NotFound("This invitation is over, or there is none: ask for a new one.")


def _still_open(key: UUID, token: str) -> Invitation:
    """Return the invitation, locked; raises NotFound when somebody else was first."""
    row = (
        Invitation.objects.select_for_update(no_key=True)
        .filter(
            pk=key,
            token_digest=_digest(token),
            state=InvitationStatus.PENDING,
            expires_at__gt=Now(),
        )
        .first()
    )
    if row is None:
        raise _opens_nothing()
    return row


def _offer(row: Invitation) -> Offer:
    tenant = Tenant.objects.only("id", "name").get(pk=row.tenant_id)
    inviter = User.objects.filter(pk=row.invited_by_id).first() if row.invited_by_id else None
    return Offer(
        tenant_name=tenant.name,
        inviter=(inviter.get_full_name() or inviter.username) if inviter else "",
        email=row.email,
        role=Role(row.role),
        permissions=tuple(row.permissions),
        expires_at=row.expires_at,
    )


def _locked(invitation: UUID) -> Invitation:
    row = Invitation.objects.select_for_update(no_key=True).filter(pk=invitation).first()
    if row is None:
        message = "There is no invitation with this id."
        raise NotFound(message, field=("id",))
    return row


def _require_pending(row: Invitation) -> None:
    if row.state != InvitationStatus.PENDING:
        message = f"This invitation was {row.state} already."
        raise Conflict(message, field=("id",))


def _require_allowed(tenant_id: UUID, email: str) -> None:
    """Return when the tenant lets that address in; raises InvalidInput."""
    allowed = TenantSettings.objects.values_list("allowed_domains", flat=True).get(
        tenant_id=tenant_id
    )
    if allowed and email.rpartition("@")[2] not in allowed:
        message = "This tenant does not admit addresses of that domain (see `allowedDomains`)."
        raise InvalidInput(message, field=("email",))


def _count(tenant_id: UUID) -> None:
    seconds = per_tenant.take(str(tenant_id))
    if seconds:
        raise RateLimited(seconds, "invitations")


def _post(row: Invitation, actor: Actor, action: str) -> None:
    from tenancy.tasks import mail_invitation

    enqueue(mail_invitation, actor=actor, invitation=str(row.pk), serial=row.serial)
    _note(row, actor, action, after=taken(row, ("email", "role", "permissions", "expires_at")))


def _end(row: Invitation, state: InvitationStatus, actor: Actor) -> None:
    row.state, row.ended_at = state, timezone.now()
    row.save(update_fields=["state", "ended_at"])
    _note(row, actor, state.value)


def _note(
    row: Invitation, actor: Actor, action: str, *, after: Mapping[str, Any] | None = None
) -> None:
    record(
        actor,
        f"invitation.{action}",
        subject="Invitation",
        subject_id=row.pk,
        label=row.email,
        after=after,
    )
    publish(Event.INVITATIONS_CHANGED, [row.pk], actor=actor)
