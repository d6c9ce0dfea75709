"""Passwords that were forgotten: a link by e-mail, good once and for an hour.

The link's token is signed and stored nowhere. It names the person and the version of their
credentials, so that using it, or any other change, voids it. Whether an address is somebody's is
not told: the answer and the time it takes are the same.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import UUID

from django.core import signing

from rls import acting_as
from tenancy.account_log import note
from tenancy.account_mail import accounts_of, count_mail, post, site_url
from tenancy.actors import person
from tenancy.credentials import Identity, identify
from tenancy.errors import InvalidInput, NotFound
from tenancy.invitations import clean_email
from tenancy.models import User
from tenancy.people import store_password

if TYPE_CHECKING:
    from tenancy.credentials import Identity

logger = logging.getLogger("signate.accounts")

_SALT = "signate.reset"
GOOD_FOR_SECONDS = 3600


def request_reset(email: str, address: str) -> None:
    """Mail a link to every account with that address; nothing tells whether there is one.

    `address` is the client's. Raises InvalidInput for what is no address, RateLimited.
    """
    email = clean_email(email)
    count_mail(email, address)
    found = accounts_of(email)
    links = [
        {
            "username": account.username,
            "url": site_url(
                "/reset/password/?"
                + urlencode({"token": _token(account.user_id, account.credential_version)})
            ),
        }
        for account in found
    ]
    logger.info("a reset was asked for, from %s", address)
    if links:
        post(email, "Your password", "tenancy/reset.txt", {"links": links})


def _token(user_id: UUID, version: int) -> str:
    return signing.dumps([str(user_id), version], salt=_SALT)


def find_reset(token: str) -> Identity | None:
    """Return whose password a token sets; None for one that sets none, whatever the reason."""
    try:
        user_id, version = signing.loads(token, salt=_SALT, max_age=GOOD_FOR_SECONDS)
    except signing.BadSignature:
        return None
    return identify(UUID(user_id), version)


def reset_password(token: str, password: str, address: str) -> None:
    """Give the token's person a new password; every session of theirs ends.

    A second factor stays. Raises NotFound for a token that is over, InvalidInput at `new_password`.
    """
    identity = find_reset(token)
    if identity is None:
        message = "This link is over, or was used: ask for a new one."
        raise NotFound(message)
    actor = person(identity.user_id).seen(credential="", address=address)
    with acting_as(actor):
        # Of two who use the link at once, the second one finds another version.
        current = User.objects.select_for_update().filter(
            pk=identity.user_id, credential_version=identity.credential_version
        )
        if not current.exists():
            message = "This link is over, or was used: ask for a new one."
            raise NotFound(message)
        try:
            store_password(identity.user_id, password)
        except InvalidInput as error:
            raise InvalidInput(error.message, field=("new_password",)) from error
        note(actor, "account.password_reset")
