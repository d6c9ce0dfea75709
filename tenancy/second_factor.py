"""Second factors: authenticator apps (TOTP, RFC 6238) and recovery codes.

An app's secret is stored nowhere: it follows from SECRET_KEY, the person and a random salt, so that
a dump of the database holds nothing to make a code from. Recovery codes are kept as salted digests.
A code is good once, however many ask at the same moment. Setting one up, switching it off and
resetting it voids the person's other sessions and what is remembered of their Basic credentials.
"""

from __future__ import annotations

import base64
import logging
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from time import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import segno
from django.conf import settings
from django.db.models import F, Func, Value
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django_otp.oath import TOTP

from rls import acting_as
from tenancy.account_log import note, note_for_all_tenants
from tenancy.actors import person
from tenancy.credentials import limited_network, per_address
from tenancy.errors import Conflict, InvalidInput
from tenancy.limits import FailureLimit, take
from tenancy.models import SecondFactor, User
from tenancy.people import renew_credentials

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tenancy.actors import Actor

logger = logging.getLogger("signate.accounts")

ISSUER = "Signate"
STEP_SECONDS = 30
DIGITS = 6
# Clocks of phones may be this many steps off.
TOLERANCE = 1
SECRET_BYTES = 20
RECOVERY_CODES = 10
# What was begun is to be confirmed while whoever said the password is still there.
BEGUN_FOR = timedelta(hours=1)
# Letters that are not mistaken for each other when they are copied from paper: 79 bits in 16.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_RECOVERY_LENGTH = 16
_APP_CODE = re.compile(r"[0-9]{6}", re.ASCII)

per_person = FailureLimit(
    "second-factor", settings.SECOND_FACTOR_FAILURES, settings.SECOND_FACTOR_WINDOW_SECONDS
)


class WrongCode(InvalidInput):
    """A code that is not, or no longer, one of the person's."""

    def __init__(self) -> None:
        """Say what to try."""
        super().__init__(
            "This code is not right, or it was used already. Wait for the next one of your app, or "
            "use a recovery code.",
            field=("code",),
        )


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app is set up with: `secret` in base32, and the same as a URI."""

    secret: str
    uri: str

    @property
    def svg(self) -> str:
        """The URI as a QR code: one `<svg>` element that a page can hold as it is."""
        return segno.make(self.uri, micro=False, error="m").svg_inline(
            border=4, dark="#000", light="#fff", omitsize=True, svgclass=None, lineclass=None
        )


def find_second_factor(user_id: UUID) -> SecondFactor | None:
    """Return the person's second factor, begun or confirmed; inside a door of theirs."""
    return SecondFactor.objects.filter(user_id=user_id).first()


def begin_second_factor(*, actor: Actor) -> Enrolment:
    """Return what to set an app up with; `confirm_second_factor` makes it count.

    Begun again it is another secret. Raises Conflict where there is a confirmed one.
    """
    user_id = actor.oneself()
    salt = secrets.token_hex(16)
    _, made = SecondFactor.objects.get_or_create(user_id=user_id, defaults={"salt": salt})
    if not made:
        unconfirmed = SecondFactor.objects.filter(user_id=user_id, confirmed_at=None)
        if not unconfirmed.update(salt=salt, last_step=0, begun_at=timezone.now()):
            message = "You have a second factor. Switch it off before you set up another one."
            raise Conflict(message)
    return _enrolment(user_id, salt)


def begun_second_factor(*, actor: Actor) -> Enrolment | None:
    """Return again what was begun and is not confirmed yet; None where there is no such thing."""
    row = _begun(actor.oneself())
    return _enrolment(row.user_id, row.salt) if row else None


def confirm_second_factor(*, actor: Actor, code: str, keep: UUID | None = None) -> list[str]:
    """Return the recovery codes, to be shown once, of a factor that is asked for from now on.

    Every session but `keep` ends. Raises Conflict where nothing was begun, WrongCode, RateLimited.
    """
    user_id = actor.oneself()
    row = _begun(user_id)
    if row is None:
        message = "There is no second factor to confirm: begin to set one up first."
        raise Conflict(message)
    _counted(user_id, actor.address, lambda: _take_app_code(row, code))
    SecondFactor.objects.filter(user_id=user_id).update(confirmed_at=timezone.now())
    codes = _new_recovery_codes(row)
    renew_credentials(user_id, keep=keep)
    note(actor, "account.second_factor_enabled")
    return codes


def check_code(user_id: UUID, code: str, address: str) -> None:
    """Return when `code` is the app's or an unused recovery code, which it then was.

    Inside a door of the person. Raises WrongCode, also where there is no second factor, and
    RateLimited after too many failures of the person or from the address.
    """
    row = SecondFactor.objects.filter(user_id=user_id, confirmed_at__isnull=False).first()
    _counted(
        user_id,
        address,
        lambda: row is not None and (_take_app_code(row, code) or _take_recovery_code(row, code)),
    )


def regenerate_recovery_codes(*, actor: Actor, code: str) -> list[str]:
    """Return new recovery codes, to be shown once; the old ones are worth nothing any more.

    Raises WrongCode, RateLimited.
    """
    user_id = actor.oneself()
    check_code(user_id, code, actor.address)
    codes = _new_recovery_codes(SecondFactor.objects.get(user_id=user_id))
    note(actor, "account.recovery_codes_regenerated")
    return codes


def disable_second_factor(*, actor: Actor, code: str, keep: UUID | None = None) -> None:
    """Ask the person for no second factor any more; every session but `keep` ends.

    Raises WrongCode, RateLimited.
    """
    user_id = actor.oneself()
    check_code(user_id, code, actor.address)
    SecondFactor.objects.filter(user_id=user_id).delete()
    renew_credentials(user_id, keep=keep)
    note(actor, "account.second_factor_disabled")


def reset_second_factor(user_id: UUID, *, reason: str) -> bool:
    """Take a person's second factor away, for an operator, and end every session of theirs.

    Returns whether there was one. Each tenant they belong to finds the reason in its log.
    """
    with acting_as(person(user_id)):
        count, _ = SecondFactor.objects.filter(user_id=user_id).delete()
        if not count:
            return False
        renew_credentials(user_id)
        per_person.forget(str(user_id))
        note_for_all_tenants(user_id, "account.second_factor_reset", reason=reason)
    return True


def _begun(user_id: UUID) -> SecondFactor | None:
    return SecondFactor.objects.filter(
        user_id=user_id, confirmed_at=None, begun_at__gt=timezone.now() - BEGUN_FOR
    ).first()


def _keys(user_id: UUID, salt: str) -> list[bytes]:
    """Return the app's secret under SECRET_KEY, and under the keys before it."""
    return [
        salted_hmac(
            "signate.second-factor", f"{user_id}:{salt}", secret=key, algorithm="sha256"
        ).digest()[:SECRET_BYTES]
        for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    ]


def _enrolment(user_id: UUID, salt: str) -> Enrolment:
    username = User.objects.values_list("username", flat=True).get(pk=user_id)
    secret = base64.b32encode(_keys(user_id, salt)[0]).decode()
    parameters = urlencode({"secret": secret, "issuer": ISSUER})
    # Six digits, thirty seconds and SHA-1 are what every app assumes, and some ignore otherwise.
    return Enrolment(secret, f"otpauth://totp/{ISSUER}:{quote(username, safe='')}?{parameters}")


def _counted(user_id: UUID, address: str, is_right: Callable[[], bool]) -> None:
    """Count an attempt before it is made; raises RateLimited, or WrongCode where it fails."""
    network, person = limited_network(address or "-"), str(user_id)
    take(((per_address, network), (per_person, person)))
    if not is_right():
        logger.warning("refused: wrong second factor of user=%s from %s", user_id, address)
        raise WrongCode
    per_address.give_back(network)
    per_person.forget(person)


def _take_app_code(row: SecondFactor, code: str) -> bool:
    """Return whether `code` is one of the app's that nobody has used, nor a later one."""
    digits = "".join(code.split())
    if not _APP_CODE.fullmatch(digits):
        return False
    now = time()
    for key in _keys(row.user_id, row.salt):
        totp = TOTP(key, step=STEP_SECONDS, digits=DIGITS)
        totp.time = now
        if totp.verify(int(digits), tolerance=TOLERANCE, min_t=row.last_step + 1):
            # Of two who send it at once, the second one waits here and finds it used.
            unused = SecondFactor.objects.filter(
                user_id=row.user_id, salt=row.salt, last_step__lt=totp.t()
            )
            return bool(unused.update(last_step=totp.t()))
    return False


def _digest(row: SecondFactor, code: str) -> str:
    return sha256(f"{row.salt}:{row.user_id}:{code}".encode()).hexdigest()


def _take_recovery_code(row: SecondFactor, code: str) -> bool:
    """Return whether `code` is a recovery code that nobody has used."""
    letters = "".join(code.replace("-", "").split()).lower()
    if len(letters) != _RECOVERY_LENGTH or not letters.isascii():
        return False
    digest = _digest(row, letters)
    unused = SecondFactor.objects.filter(
        user_id=row.user_id, salt=row.salt, recovery_digests__contains=[digest]
    )
    left = Func(F("recovery_digests"), Value(digest), function="array_remove")
    return bool(unused.update(recovery_digests=left))


def _new_recovery_codes(row: SecondFactor) -> list[str]:
    codes = [
        "".join(secrets.choice(_ALPHABET) for _ in range(_RECOVERY_LENGTH))
        for _ in range(RECOVERY_CODES)
    ]
    SecondFactor.objects.filter(user_id=row.user_id).update(
        recovery_digests=[_digest(row, code) for code in codes]
    )
    return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in codes]
