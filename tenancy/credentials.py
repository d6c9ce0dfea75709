"""Who asks: passwords and Basic credentials become an Identity, or a refusal.

Called by tenancy.middleware and the sign-in view. Reads password hashes through the one look-up
that may, never through the ORM. An unknown user costs what a wrong password costs; failures are
limited per account and per address.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX, check_password
from django.core import signing
from django.core.cache import cache
from django.db import connection
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.crypto import salted_hmac

from rls import Standing, acting_as
from tenancy.actors import person
from tenancy.errors import NotSignedIn, SecondFactorRequired
from tenancy.limits import FailureLimit, take
from tenancy.models import User
from tenancy.people import account_name, is_storable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest, HttpResponse

logger = logging.getLogger("signate.credentials")

# Each takes 100 MB for its while (argon2): a crowd of them must not take the machine.
HASHES_AT_ONCE = 4
_hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)
# Credentials that are being verified right now, each with how many requests wait for it.
_verifying: dict[str, tuple[threading.Lock, int]] = {}
_verifying_guard = threading.Lock()

_STANDING = b"SELECT md5(i::text) FROM identity_of($1::uuid) AS i"

per_account = FailureLimit(
    "account", settings.LOGIN_FAILURES_PER_ACCOUNT, settings.LOGIN_WINDOW_SECONDS
)
per_address = FailureLimit(
    "address", settings.LOGIN_FAILURES_PER_ADDRESS, settings.LOGIN_WINDOW_SECONDS
)


class WrongPassword(NotSignedIn):
    """A password that is not that of the account, as the account was: `user_id` None for none."""

    def __init__(self, user_id: UUID | None, credential_version: int | None) -> None:
        """Say nothing of whether there is such an account."""
        super().__init__("Invalid username/password.")
        self.user_id = user_id
        self.credential_version = credential_version


@dataclass(frozen=True, slots=True)
class MembershipState:
    """One active membership of the person asking, as the look-up tells it."""

    id: UUID
    tenant_id: UUID
    slug: str
    domain: str | None
    tenant_is_active: bool
    role: str
    permissions: tuple[str, ...]
    # Whether the tenant asks its members for a second factor, and whether this person has one.
    requires_second_factor: bool = False
    has_second_factor: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """A person who proved who they are, and the tenants they belong to."""

    user_id: UUID
    username: str
    credential_version: int
    memberships: tuple[MembershipState, ...]
    # Of a browser that signed in.
    session_id: UUID | None = None
    # How to ask whether all of this is still so.
    standing: Standing | None = field(default=None, compare=False)


def identify(user_id: UUID, credential_version: int | None = None) -> Identity | None:
    """Return the identity of an active person, in one statement; None when there is none.

    With `credential_version`, None too when the password has changed since.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT username, credential_version, memberships, md5(i::text) "
            "FROM identity_of(%s) AS i",
            [user_id],
        )
        row = cursor.fetchone()
    if row is None or credential_version not in {None, row[1]}:
        return None
    *told, digest = row
    return identity_from(
        user_id, *told, standing=Standing(_STANDING, (str(user_id).encode(),), digest.encode())
    )


def identity_from(
    user_id: UUID,
    username: str,
    credential_version: int,
    memberships: Any,
    *,
    session_id: UUID | None = None,
    standing: Standing | None = None,
) -> Identity:
    """Return the identity in the columns that a look-up told."""
    if isinstance(memberships, str):
        memberships = json.loads(memberships)
    return Identity(
        user_id=user_id,
        username=username,
        credential_version=credential_version,
        memberships=tuple(
            MembershipState(
                id=UUID(m["id"]),
                tenant_id=UUID(m["tenant_id"]),
                slug=m["slug"],
                domain=m["domain"],
                tenant_is_active=m["tenant_is_active"],
                role=m["role"],
                permissions=tuple(m["permissions"]),
                requires_second_factor=m["requires_second_factor"],
                has_second_factor=m["has_second_factor"],
            )
            for m in memberships
        ),
        session_id=session_id,
        standing=standing,
    )


def is_password_of(encoded: str, password: str) -> bool:
    """Return whether `password` is what was hashed; waits while too many others are asking."""
    with _hashing:
        return check_password(password, encoded)


def verify_password(username: str, password: str, address: str) -> tuple[UUID, int]:
    """Return (user id, credential version) for a right password.

    Raises WrongPassword for a wrong one, an unknown or an inactive user, at the same cost and with
    the same words; RateLimited after too many failures of the account or from the address.
    """
    name, user_id, encoded, version = _account(username, password)
    password = password if is_storable(password) else ""
    account = sha256(name.encode()).hexdigest()
    network = limited_network(address)
    take(((per_address, network), (per_account, account)))
    if not connection.in_atomic_block:
        # Back to the pool: whoever guesses passwords keeps nobody from the database meanwhile.
        connection.close()
    # An unusable hash is checked as slowly as any other: nobody costs as much as somebody.
    is_right = is_password_of(encoded or UNUSABLE_PASSWORD_PREFIX, password)
    if is_right and user_id is not None and version is not None:
        per_address.give_back(network)
        per_account.forget(account)
        return user_id, version
    logger.warning("refused: wrong username or password, from %s", address)
    raise WrongPassword(user_id, version)


def _account(username: str, password: str) -> tuple[str, UUID | None, str | None, int | None]:
    """Return what failures are counted under, and who that is now: id, hash, version.

    Counted under the spelling that the look-up compares: any other one would give an account as
    many budgets as there are ways to write its name.
    """
    # A password that cannot be stored was never set; that is found out as slowly as any other one.
    name = account_name(username) if is_storable(password) else ""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lower(%s::text), found.user_id, found.password, found.credential_version "
            "FROM (SELECT) AS once LEFT JOIN sign_in_lookup(%s) AS found ON true",
            [name, name],
        )
        row: tuple[str, UUID | None, str | None, int | None] = cursor.fetchone()
    return row


def _remembered_key(username: str, password: str) -> str:
    secret = hmac.new(settings.SECRET_KEY.encode(), digestmod=sha256)
    for part in (username, password):
        encoded = part.encode()
        secret.update(len(encoded).to_bytes(4) + encoded)
    return f"basic:{secret.hexdigest()}"


def _remember(key: str, user_id: UUID, version: int) -> None:
    # Signed for this one key: who can write to Redis still cannot make anybody somebody else.
    value = signing.dumps([str(user_id), version], salt=key)
    cache.set(key, value, settings.BASIC_REMEMBERED_SECONDS)


def _recall(key: str) -> Identity | None:
    try:
        value = cache.get(key)
    except Exception:
        logger.exception("a remembered credential cannot be read")
        return None
    if not isinstance(value, str):
        return None
    try:
        user_id, version = signing.loads(value, salt=key, max_age=settings.BASIC_REMEMBERED_SECONDS)
    except signing.BadSignature:
        return None
    return identify(UUID(user_id), version)


def _remember_refusal(key: str, error: WrongPassword) -> None:
    key = f"{key}:refused"
    state = [str(error.user_id or ""), error.credential_version]
    cache.set(key, signing.dumps(state, salt=key), settings.BASIC_REMEMBERED_SECONDS)


def _refuse_again(key: str, username: str, password: str) -> None:
    """Raise WrongPassword where this credential was refused minutes ago and nothing changed since.

    A script that goes on with an old password costs no hash each time, and locks nobody out.
    """
    key = f"{key}:refused"
    try:
        value = cache.get(key)
    except Exception:
        logger.exception("a remembered refusal cannot be read")
        return
    if not isinstance(value, str):
        return
    try:
        state = signing.loads(value, salt=key, max_age=settings.BASIC_REMEMBERED_SECONDS)
    except signing.BadSignature:
        return
    _name, user_id, _encoded, version = _account(username, password)
    if state == [str(user_id or ""), version]:
        raise WrongPassword(user_id, version)


def basic_parts(header: str) -> tuple[str, str]:
    """Return username and password of an `Authorization: Basic` header (RFC 7617).

    Raises NotSignedIn in Anthias's words (SPEC section 2).
    """
    parts = header.split()
    if len(parts) == 1:
        message = "Invalid basic header. No credentials provided."
        raise NotSignedIn(message)
    if len(parts) > 2:
        message = "Invalid basic header. Credentials string should not contain spaces."
        raise NotSignedIn(message)
    try:
        decoded = base64.b64decode(parts[1], validate=True)
    except ValueError:  # not base64, or not even ASCII
        decoded = b""
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        # What Python's own clients send, and what Anthias accepts.
        text = decoded.decode("latin-1")
    username, separator, password = text.partition(":")
    if not separator:
        message = "Invalid basic header. Credentials not correctly base64 encoded."
        raise NotSignedIn(message)
    return username, password


def basic_identity(username: str, password: str, address: str) -> Identity:
    """Return who has that username and password.

    Verified ones are remembered for BASIC_REMEMBERED_SECONDS under an HMAC, bound to the
    credential's version, so that polling does not hash; refused ones likewise. Raises NotSignedIn
    and RateLimited.
    """
    key = _remembered_key(username, password)
    identity = _recall(key)
    if identity is not None:
        return identity
    _refuse_again(key, username, password)
    if not connection.in_atomic_block:
        connection.close()
    with _alone(key):
        identity = _recall(key)
        if identity is not None:
            return identity
        _refuse_again(key, username, password)
        return _verified(username, password, address, key)


@contextmanager
def _alone(key: str) -> Iterator[None]:
    """Let one request at a time in this process verify the same credential.

    A client that opens with many requests at once would otherwise have each of them hashed and
    counted, and be refused for trying too often with the right password.
    """
    with _verifying_guard:
        lock, users = _verifying.get(key, (threading.Lock(), 0))
        _verifying[key] = (lock, users + 1)
    try:
        with lock:
            yield
    finally:
        with _verifying_guard:
            lock, users = _verifying.pop(key)
            if users > 1:
                _verifying[key] = (lock, users - 1)


def _verified(username: str, password: str, address: str, key: str) -> Identity:
    try:
        user_id, version = verify_password(username, password, address)
    except WrongPassword as error:
        _remember_refusal(key, error)
        raise
    identity = identify(user_id, version)
    if identity is None:
        # Deactivated, or changed, between two statements.
        message = "Invalid username/password."
        raise NotSignedIn(message)
    _remember(key, user_id, version)
    return identity


def require_second_factor(membership: MembershipState, credential: str) -> None:
    """Return when the tenant asks for no second factor, or the credential is as good as one.

    A session of somebody who has one was opened with it. Raises SecondFactorRequired.
    """
    if not membership.requires_second_factor:
        return
    if not membership.has_second_factor:
        message = (
            "This tenant asks its members for a second factor. Set yours up, at "
            "/account/second-factor/ or with the mutation beginSecondFactor; until then nothing "
            "else is open to you here."
        )
        raise SecondFactorRequired(message, may_enrol=credential in {"session", "basic"})
    if credential == "basic":
        message = (
            "This tenant asks its members for a second factor, which a username and password "
            "cannot carry. Sign in with a browser, or use an API token or a device's secret."
        )
        raise SecondFactorRequired(message, may_enrol=False)


def session_hash(user_id: UUID, credential_version: int) -> str:
    """Return what a session keeps to notice that the password has changed."""
    key = f"{user_id}:{credential_version}"
    return salted_hmac("signate.session", key, algorithm="sha256").hexdigest()


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check, which says why it refuses instead of answering for us."""

    def _reject(self, _request: HttpRequest, reason: str) -> str:
        return reason


def _no_view(_request: HttpRequest) -> HttpResponse:
    raise AssertionError


def csrf_refusal(request: HttpRequest) -> str | None:
    """Return why a cookie-borne write is not the user's own doing (CSRF), or None when it is."""
    check = _CsrfCheck(_no_view)
    check.process_request(request)
    return cast("str | None", check.process_view(request, _no_view, (), {}))


class PasswordBackend(BaseBackend):
    """Django's sign-in machinery, on our look-ups."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **_kwargs: Any,
    ) -> User | None:
        """Return the person, or None; raises RateLimited after too many failures."""
        if username is None or password is None:
            return None
        try:
            user_id, _version = verify_password(
                username, password, client_address(request) if request else "-"
            )
        except NotSignedIn:
            return None
        return self.get_user(user_id)

    def get_user(self, user_id: Any) -> User | None:
        """Return the active person of that id, read as themselves."""
        key = user_id if isinstance(user_id, UUID) else UUID(str(user_id))
        with acting_as(person(key), read_only=True):
            return User.objects.filter(pk=key, is_active=True).first()


def client_address(request: HttpRequest) -> str:
    """Return the address a request came from; a proxy's word counts only where one is declared."""
    if getattr(settings, "SECURE_PROXY_SSL_HEADER", None):
        forwarded = str(request.META.get("HTTP_X_FORWARDED_FOR", "")).rsplit(",", 1)[-1].strip()
        if _parsed(forwarded) is not None:
            return forwarded
    return str(request.META.get("REMOTE_ADDR") or "-")


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def limited_network(address: str) -> str:
    """Return what failures from `address` are counted under.

    One IPv4 address, or the /64 that an IPv6 address is in: the smallest thing a single customer
    of any provider is given, with 2**64 addresses to try from.
    """
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return str(parsed or address)
