"""Mails about accounts: whom they go to, how many, and that nobody waits while one is sent.

An account belongs to no tenant, so no job of a tenant's sends them: a thread of the process does.
That also makes an answer as quick where there is an account as where there is none. One that is
lost with its process is asked for again.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection
from django.template.loader import render_to_string

from tenancy.credentials import limited_network
from tenancy.errors import RateLimited
from tenancy.limits import FailureLimit, take

if TYPE_CHECKING:
    from uuid import UUID

logger = logging.getLogger("signate.accounts")

WINDOW_SECONDS = 3600
# Mails to one address in that time, and those that one client has sent.
per_recipient = FailureLimit("mails-to", 5, WINDOW_SECONDS)
per_sender = FailureLimit("mails-from", 30, WINDOW_SECONDS)
# Mails that wait to be sent: more than that is somebody's attack on the mail server.
MOST_WAITING = 200
_waiting = threading.BoundedSemaphore(MOST_WAITING)
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mail")


@dataclass(frozen=True, slots=True)
class Account:
    """An active account as the look-up of an e-mail address tells it."""

    user_id: UUID
    username: str
    credential_version: int


def accounts_of(email: str) -> list[Account]:
    """Return the active accounts with that address, in any case of letters; five at most."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT user_id, username, credential_version FROM accounts_of_address(%s)", [email]
        )
        return [Account(*row) for row in cursor.fetchall()]


def count_mail(email: str, address: str) -> None:
    """Count a mail to `email`, whoever has it, that a client at `address` asks for.

    Raises RateLimited.
    """
    recipient = sha256(email.lower().encode()).hexdigest()
    try:
        take(((per_sender, limited_network(address or "-")), (per_recipient, recipient)))
    except RateLimited as error:
        raise RateLimited(error.retry_after, "mails") from None


def site_url(path: str) -> str:
    """Return an address on the platform's own host, whatever host was asked."""
    port = f":{settings.SITE_PORT}" if settings.SITE_PORT else ""
    return f"{settings.SITE_SCHEME}://{settings.PLATFORM_DOMAIN}{port}{path}"


def post(email: str, subject: str, template: str, context: dict[str, Any]) -> Future[None] | None:
    """Send a mail as soon as a thread is free; None when too many wait already."""
    if not _waiting.acquire(blocking=False):
        logger.error("a mail was not sent: %d wait already", MOST_WAITING)
        return None
    text = render_to_string(template, context)
    sent = _threads.submit(_send, email, subject, text)
    sent.add_done_callback(lambda _sent: _waiting.release())
    return sent


def _send(email: str, subject: str, text: str) -> None:
    try:
        send_mail(subject, text, None, [email])
    except Exception:
        logger.exception("a mail could not be sent: %s", subject)
