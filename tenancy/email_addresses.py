"""E-mail addresses of accounts: changed once somebody has shown that they read the new one's mail.

Invitations are accepted by who has their address (tenancy.invitations): an address that nobody
proved would open what it must not. The link's token is signed, stored nowhere, and void once the
password or the address has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.core import signing

from tenancy.account_log import note
from tenancy.account_mail import count_mail, post, site_url
from tenancy.accounts import prove_password
from tenancy.errors import InvalidInput, NotFound
from tenancy.invitations import clean_email
from tenancy.models import User

if TYPE_CHECKING:
    from tenancy.actors import Actor

_SALT = "signate.email"
GOOD_FOR_SECONDS = 86_400


def request_email_change(*, actor: Actor, password: str, email: str) -> None:
    """Mail a link to the new address, which becomes the person's once they open it.

    Raises InvalidInput for a wrong password, what is no address and the one they have, RateLimited.
    """
    user_id = prove_password(actor=actor, password=password)
    email = clean_email(email)
    user = User.objects.get(pk=user_id)
    if email == user.email.lower():
        message = "This is the address you have."
        raise InvalidInput(message, field=("email",))
    count_mail(email, actor.address)
    token = signing.dumps([str(user_id), user.credential_version, user.email, email], salt=_SALT)
    url = site_url("/account/email/confirm/?" + urlencode({"token": token}))
    post(
        email,
        "Your new address",
        "tenancy/email_change.txt",
        {"username": user.username, "url": url},
    )
    note(actor, "account.email_change_requested")


def confirm_email(*, actor: Actor, token: str) -> str:
    """Return the address that is the person's from now on; the old one is told.

    Raises NotFound for a token that is over, or is somebody else's.
    """
    user_id = actor.oneself()
    try:
        of, version, old, new = signing.loads(token, salt=_SALT, max_age=GOOD_FOR_SECONDS)
    except signing.BadSignature:
        raise _over() from None
    rows = User.objects.filter(pk=user_id, credential_version=version, email=old)
    if of != str(user_id) or not rows.update(email=new):
        raise _over()
    note(actor, "account.email_changed")
    if old:
        post(old, "Your address was changed", "tenancy/email_changed.txt", {"new": new})
    return str(new)


def _over() -> NotFound:
    return NotFound(
        "This link is over, or it is another person's: sign in as who asked for it, or ask anew."
    )
