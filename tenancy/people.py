"""People: making them and changing their passwords, each through their own door."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.db.models import F
from uuid_utils.compat import uuid7

from rls import acting_as
from tenancy.actors import person
from tenancy.errors import Conflict, InvalidInput, NotFound
from tenancy.models import User, UserCredential, UserSession, violated

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import CharField


USERNAME_LENGTH = 150  # of the column


def is_storable(text: str) -> bool:
    """Return whether `text` has a spelling in UTF-8: half of a surrogate pair has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def account_name(username: str) -> str:
    """Return a username as accounts are spelt (NFKC, no space around it), in its own case.

    The empty text, which is nobody's, when no account can be called that.
    """
    if len(username) > USERNAME_LENGTH or "\x00" in username or not is_storable(username):
        return ""
    return User.normalize_username(username).strip()


def find_user(username: str) -> UUID | None:
    """Return the id of the active person with that username in any case, or None."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT user_id FROM sign_in_lookup(%s)", [account_name(username)])
        row = cursor.fetchone()
    return row[0] if row else None


def _check_password(password: str, user: User) -> None:
    if not is_storable(password):
        message = "The password contains half of a surrogate pair."
        raise InvalidInput(message, field=("password",))
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidInput(" ".join(error.messages), field=("password",)) from error


def create_user(username: str, password: str, *, email: str = "") -> User:
    """Return a new person who can sign in with `password`.

    Raises InvalidInput for a username, e-mail address or password that will not do, Conflict for a
    username somebody has in any case of letters.
    """
    user = User(id=uuid7(), username=account_name(username) or username, email=email)
    for name in ("username", "email"):
        try:
            field = cast("CharField[str, str]", User._meta.get_field(name))
            field.clean(getattr(user, name), user)
            if not is_storable(getattr(user, name)):
                message = "The text contains half of a surrogate pair."
                raise ValidationError(message)
        except ValidationError as error:
            raise InvalidInput(" ".join(error.messages), field=(name,)) from error
    _check_password(password, user)
    hashed = make_password(password)
    try:
        # A new person is made by themselves: the wall lets nobody write another's row.
        with acting_as(person(user.id)):
            user.save(force_insert=True)
            UserCredential.objects.bulk_create([UserCredential(user=user, password=hashed)])
    except IntegrityError as error:
        if violated(error) not in {"users_username_key", "users_username_any_case"}:
            raise
        message = f"The username {user.username!r} is taken."
        raise Conflict(message, field=("username",)) from error
    return user


def set_password(user_id: UUID, password: str, *, keep: UUID | None = None) -> None:
    """Change a person's password and void everything remembered under the old one.

    Of the sessions, `keep` alone stays. Raises NotFound for nobody's id, InvalidInput when the
    password is too weak.
    """
    with acting_as(person(user_id)):
        store_password(user_id, password, keep=keep)


def store_password(user_id: UUID, password: str, *, keep: UUID | None = None) -> None:
    """Do what set_password does, inside a door of the person that is open already."""
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        message = "There is no such person."
        raise NotFound(message)
    _check_password(password, user)
    UserCredential.objects.filter(user_id=user_id).update(password=make_password(password))
    renew_credentials(user_id, keep=keep)


def renew_credentials(user_id: UUID, *, keep: UUID | None = None) -> None:
    """Void what was let in before: remembered Basic credentials, and every session but `keep`.

    Inside a door of the person.
    """
    User.objects.filter(pk=user_id).update(credential_version=F("credential_version") + 1)
    sessions = UserSession.objects.filter(user_id=user_id)
    (sessions.exclude(pk=keep) if keep else sessions).delete()
    sessions.update(credential_version=User.objects.filter(pk=user_id).values("credential_version"))
