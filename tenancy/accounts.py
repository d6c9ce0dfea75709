"""A person's own account: what they change of it themselves, having said their password again.

Called by the pages (tenancy.account_views) and by graph.accounts, inside a door of the person, in
whatever tenant or none. Failures are counted under the address that the actor came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenancy.account_log import note
from tenancy.credentials import WrongPassword, verify_password
from tenancy.errors import InvalidInput
from tenancy.models import User
from tenancy.people import store_password

if TYPE_CHECKING:
    from uuid import UUID

    from tenancy.actors import Actor


def prove_password(*, actor: Actor, password: str) -> UUID:
    """Return the person's id when `password` is theirs.

    Raises InvalidInput for a wrong one, RateLimited after too many of them.
    """
    user_id = actor.oneself()
    username = User.objects.values_list("username", flat=True).get(pk=user_id)
    try:
        user_id, _version = verify_password(username, password, actor.address or "-")
    except WrongPassword as error:
        message = "This is not your password."
        raise InvalidInput(message, field=("current_password",)) from error
    return user_id


def change_password(*, actor: Actor, current: str, new: str, keep: UUID | None = None) -> None:
    """Give the person a new password; of their sessions `keep` alone stays.

    Raises InvalidInput for a wrong current password, and for a new one that is too weak or the
    same; RateLimited.
    """
    user_id = prove_password(actor=actor, password=current)
    if new == current:
        message = "This is the password you have."
        raise InvalidInput(message, field=("new_password",))
    try:
        store_password(user_id, new, keep=keep)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=("new_password",)) from error
    note(actor, "account.password_changed")
