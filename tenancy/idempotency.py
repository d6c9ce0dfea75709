"""A write that comes again under one Idempotency-Key is answered as it was, and not done again.

Called by both faces, inside their doors. The answer is a row of the write's own transaction: they
are there together or not at all, whatever else is away. Answers may hold secrets that are shown
once: they are encrypted under the client's own key, and nothing here is kept in plain. What was
refused is not kept and may be tried again.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, fields
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import connection
from django.utils import timezone
from uuid_utils.compat import uuid7

from tenancy.errors import Conflict, DomainError, ErrorCode, InvalidInput
from tenancy.models import KeptAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tenancy.actors import Actor

HEADER = "Idempotency-Key"
KEPT_FOR = timedelta(hours=24)
LONGEST_KEY = 255  # characters
LONGEST_ANSWER = 1_000_000  # bytes
EXPIRED_AT_ONCE = 1000
_NONCE_BYTES = 12

_KEEP = """
INSERT INTO kept_answers AS kept
  (id, tenant_id, key_digest, request_digest, status, answer, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (tenant_id, key_digest) DO UPDATE SET
  request_digest = EXCLUDED.request_digest, status = EXCLUDED.status, answer = EXCLUDED.answer,
  created_at = EXCLUDED.created_at
WHERE kept.created_at <= %s
"""


class KeyUnderWay(Conflict):
    """Another request under the same key has not been answered yet."""

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__("A request with this Idempotency-Key is under way. Wait for its answer.")


class KeyReused(DomainError):
    """The key was sent with another request."""

    code: ClassVar[ErrorCode] = ErrorCode.KEY_REUSED

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__(
            "This Idempotency-Key was sent with another request. Use a new key for each."
        )


class AnsweredMeanwhile(Conflict):
    """Another request under the same key was answered while this one was done: undo this one."""

    def __init__(self) -> None:
        """Say what happened."""
        super().__init__("A request with this Idempotency-Key was answered meanwhile. Repeat it.")


@dataclass(frozen=True, slots=True)
class Answered:
    """What a write answered: a status, and text unless it had no body."""

    status: int
    text: str | None


class Once:
    """One request to write under a key. Its methods are called inside the actor's door."""

    def __init__(self, actor: Actor, key: str, request: Iterable[bytes]) -> None:
        """Take who writes, the key, and what tells the request from others.

        Raises InvalidInput for what is no key, NotSignedIn and TenantRequired.
        """
        if not 0 < len(key) <= LONGEST_KEY:
            raise InvalidInput(f"An Idempotency-Key has 1 to {LONGEST_KEY} characters.")
        self._tenant_id = actor.entered()
        who = _who(actor).encode()
        written = key.encode(errors="surrogatepass")
        self._key = _mac(b"key", who, written).hex()
        self._request = _mac(b"request", *request).hex()
        self.is_kept = False
        self._cipher = AESGCM(_mac(b"answer", who, written))

    def answered(self) -> Answered | None:
        """Return what the request was answered; None when it is to be done, by this one alone.

        No other request under the key is done before the transaction ends. Raises KeyUnderWay,
        KeyReused.
        """
        self._take_turn()
        row = (
            KeptAnswer.objects.filter(
                tenant_id=self._tenant_id,
                key_digest=self._key,
                created_at__gt=timezone.now() - KEPT_FOR,
            )
            .values_list("request_digest", "status", "answer")
            .first()
        )
        if row is None:
            return None
        request, status, answer = row
        if not hmac.compare_digest(request, self._request):
            raise KeyReused
        return Answered(status, None if answer is None else self._opened(bytes(answer)))

    def keep(self, status: int, text: str | None) -> None:
        """Keep the answer of a write, in the write's transaction.

        Raises KeyUnderWay, AnsweredMeanwhile, and InvalidInput for an answer that is too long;
        each of them has to undo the write.
        """
        self._take_turn()
        sealed = None if text is None else self._sealed(text)
        now = timezone.now()
        with connection.cursor() as cursor:
            cursor.execute(
                _KEEP,
                [
                    *(uuid7(), self._tenant_id, self._key, self._request),
                    *(status, sealed, now, now - KEPT_FOR),
                ],
            )
            if cursor.rowcount == 0:
                raise AnsweredMeanwhile
        self.is_kept = True

    def _take_turn(self) -> None:
        # A lock that is free at once or not: nobody holds a connection to wait for somebody else.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))",
                [f"{self._tenant_id}:once:{self._key}"],
            )
            if not cursor.fetchone()[0]:
                raise KeyUnderWay

    def _sealed(self, text: str) -> bytes:
        content = text.encode(errors="surrogatepass")
        if len(content) > LONGEST_ANSWER:
            raise InvalidInput(
                f"Under an Idempotency-Key an answer can have {LONGEST_ANSWER} bytes at most: "
                "nothing was done. Ask for less of it, or leave the key out."
            )
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, self._request.encode())

    def _opened(self, sealed: bytes) -> str:
        nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        opened = self._cipher.decrypt(nonce, content, self._request.encode())
        return opened.decode(errors="surrogatepass")


def expire_answers(*, actor: Actor, now: datetime) -> int:
    """Remove answers of a day ago and return how many; inside the worker's door.

    Not more than EXPIRED_AT_ONCE: call it again for more.
    """
    rows = KeptAnswer.objects.filter(tenant_id=actor.entered(), created_at__lte=now - KEPT_FOR)
    keys = list(rows.order_by("created_at").values_list("pk", flat=True)[:EXPIRED_AT_ONCE])
    return KeptAnswer.objects.filter(pk__in=keys).delete()[0]


def _who(actor: Actor) -> str:
    """Return what tells an actor from every other one of the tenant: its kind and all its ids."""
    ids = [
        f"{one.name}={getattr(actor, one.name)}"
        for one in fields(actor)
        if one.name.endswith("_id") and one.name != "tenant_id"
    ]
    return " ".join([actor.kind, *ids])


def _mac(purpose: bytes, *parts: bytes) -> bytes:
    """Return 32 bytes that nobody makes, or tests a guess by, without the server's secret."""
    made = hmac.new(settings.SECRET_KEY.encode(), b"signate.idempotency", sha256)
    for part in (purpose, *parts):
        made.update(len(part).to_bytes(8) + part)
    return made.digest()
