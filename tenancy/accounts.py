"""A person's own account: what they change of it themselves, having said their password again.

Called by the pages (tenancy.account_views) and by graph.accounts, inside a door of the person, in
whatever tenant or none. `address` is where the request came from: failures are counted under it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tenancy.credentials import WrongPassword, verify_password
from tenancy.errors import InvalidInput
from tenancy.models import User
from tenancy.people import store_password

if TYPE_CHECKING:
    from uuid import UUID

    from tenancy.actors import Actor

logger = logging.getLogger("signate.accounts")


def prove_password(
    *, actor: Actor, password: str, address: str, field: str = "password"
) -> tuple[UUID, int]:
    """Return the person's id and credential version when `password` is theirs.

    Raises InvalidInput at `field` for a wrong one, RateLimited after too many of them.
    """
    user_id = actor.oneself()
    username = User.objects.values_list("username", flat=True).get(pk=user_id)
    try:
        return verify_password(username, password, address)
    except WrongPassword as error:
        message = "This is not your password."
        raise InvalidInput(message, field=(field,)) from error


def change_password(
    *, actor: Actor, current: str, new: str, address: str, keep: UUID | None = None
) -> None:
    """Give the person a new password; of their sessions `keep` alone stays.

    Raises InvalidInput for a wrong current password, and for a new one that is too weak or the
    same; RateLimited.
    """
    user_id, _version = prove_password(
        actor=actor, password=current, address=address, field="current_password"
    )
    if new == current:
        message = "This is the password you have."
        raise InvalidInput(message, field=("new_password",))
    try:
        store_password(user_id, new, keep=keep)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=("new_password",)) from error
    logger.info("a password was changed: user=%s from %s", user_id, address)
