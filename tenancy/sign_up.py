"""New accounts that people make themselves: invited, or, where SIGN_UP says so, with an address.

An account's e-mail address is always one whose mail somebody has read: that of the invitation, or
one that a link was sent to. Nothing is stored before that.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.db import transaction

from tenancy.account_mail import accounts_of, count_mail, post, site_url
from tenancy.actors import person
from tenancy.errors import NotFound, PermissionDenied
from tenancy.invitations import accept_invitation, clean_email, find_invitation
from tenancy.people import create_user

if TYPE_CHECKING:
    from tenancy.models import Membership, User

logger = logging.getLogger("signate.accounts")

_SALT = "signate.sign-up"
GOOD_FOR_SECONDS = 86_400


def is_open() -> bool:
    """Return whether whoever has an e-mail address may make an account."""
    return bool(settings.SIGN_UP == "open")


def is_open_to_invited() -> bool:
    """Return whether an invitation makes an account for who has none."""
    return settings.SIGN_UP in {"open", "invited"}


def request_sign_up(email: str, address: str) -> None:
    """Mail a link that makes an account, or, to who has one, that they have.

    Nothing tells which it was. Raises PermissionDenied where sign-up is not open, InvalidInput for
    what is no address, RateLimited.
    """
    if not is_open():
        message = "Accounts are made by invitation here."
        raise PermissionDenied(message)
    email = clean_email(email)
    count_mail(email, address)
    found = accounts_of(email)
    token = signing.dumps(email, salt=_SALT)
    url = site_url("/sign-up/confirm/?" + urlencode({"token": token}))
    logger.info("an account was asked for, from %s", address)
    if found:
        context = {"accounts": found, "url": site_url("/login/")}
        post(email, "You have an account", "tenancy/have_account.txt", context)
    else:
        post(email, "Your account", "tenancy/sign_up.txt", {"url": url})


def find_sign_up(token: str) -> str | None:
    """Return the address a token makes an account for; None where it makes none (any more)."""
    if not is_open():
        return None
    try:
        email = str(signing.loads(token, salt=_SALT, max_age=GOOD_FOR_SECONDS))
    except signing.BadSignature:
        return None
    return None if accounts_of(email) else email


def sign_up(token: str, *, username: str, password: str) -> User:
    """Return the new account of a token's address.

    Raises NotFound for a token that is over, InvalidInput, Conflict for a name that is taken.
    """
    email = find_sign_up(token)
    if email is None:
        message = "This link is over, or was used: sign in, or ask for a new one."
        raise NotFound(message)
    user = create_user(username, password, email=email)
    logger.info("account.created: user=%s", user.pk)
    return user


@transaction.atomic
def sign_up_invited(
    token: str, *, username: str, password: str, address: str
) -> tuple[User, Membership]:
    """Return a new account with the invitation's address, and its membership.

    `address` is where the request came from.

    Raises NotFound for an invitation that is over, PermissionDenied where SIGN_UP is closed, what
    create_user and accept_invitation raise.
    """
    if not is_open_to_invited():
        message = "Accounts are made by the operator here: ask for one, then accept."
        raise PermissionDenied(message)
    offer = find_invitation(token)
    if offer is None:
        message = "This invitation is over, or there is none: ask for a new one."
        raise NotFound(message)
    user = create_user(username, password, email=offer.email)
    newcomer = person(user.pk).seen(credential="session", address=address)
    membership = accept_invitation(actor=newcomer, token=token)
    logger.info("account.created: user=%s, invited", user.pk)
    return user, membership
