"""Domains of tenants' own: wanted, proved by a TXT record, kept while the record is there.

Until it is verified a domain opens nothing and keeps nobody else from wanting it. Who has verified
which is told only to whoever proves to hold the domain as well.
"""

from __future__ import annotations

import logging
import re
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from rls import acting_as
from tenancy.audit import record
from tenancy.device_memory import forget_devices
from tenancy.dns import Unanswered, resolver
from tenancy.errors import Conflict, InvalidInput, RateLimited
from tenancy.limits import FailureLimit
from tenancy.models import Tenant, violated

if TYPE_CHECKING:
    from tenancy.actors import Actor

logger = logging.getLogger("signate.domains")

PREFIX = "_signate-challenge"
# A domain whose record is missing for so long is given up; a broken name server is no reason.
GIVEN_UP_AFTER = timedelta(days=7)
checks_per_tenant = FailureLimit("domain-checks", 20, 3600)

_NAME = re.compile(
    r"(?=.{4,240}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"([a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])\Z"
)
# RFC 6761, RFC 6762, RFC 7686, RFC 8375, and what private networks use: nobody holds these.
_NOBODYS = frozenset(
    {"localhost", "local", "internal", "intranet", "lan", "home", "corp", "test", "example",
     "invalid", "onion", "arpa", "alt"}
)  # fmt: skip
# What is read as something else at a glance, once capitals and accents are gone: digits, and the
# Cyrillic and Greek letters that look like ours.
_LOOKS_LIKE = str.maketrans(
    {
        "0": "o", "1": "l", "3": "e", "5": "s", "\u0430": "a", "\u0435": "e", "\u043e": "o",
        "\u0440": "p", "\u0441": "c", "\u0445": "x", "\u0443": "y", "\u0456": "i",
        "\u0455": "s", "\u0501": "d", "\u0261": "g", "\u0581": "g", "\u0578": "n",
        "\u0458": "j", "\u04bb": "h", "\u0131": "i", "\u0251": "a", "\u03b1": "a",
        "\u03b5": "e", "\u03b9": "i", "\u03bd": "v", "\u03bf": "o", "\u03c1": "p",
        "i": "l", "-": "",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Challenge:
    """The record that proves a domain: a TXT record `name` with the text `value`."""

    domain: str
    name: str
    value: str


def _skeleton(name: str) -> str:
    """Return what a name looks like: two that look the same have the same."""
    shown = []
    for label in name.split("."):
        try:
            shown.append(label[4:].encode().decode("punycode") if label[:4] == "xn--" else label)
        except UnicodeError:
            shown.append(label)
    plain = unicodedata.normalize("NFKD", ".".join(shown)).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    # Twice: a letter that looks like an i looks like an l, then.
    plain = plain.translate(_LOOKS_LIKE).translate(_LOOKS_LIKE)
    return plain.replace("rn", "m").replace("vv", "w").replace("cl", "d")


def clean_domain(value: str) -> str:
    """Return a domain somebody may prove to hold, in lower case; raises InvalidInput.

    Refused: what is no public domain name, the platform's own, and what could be taken for it.
    """
    name = value.strip().lower().removesuffix(".")
    if not value.isascii() or not _NAME.match(name) or len(name) + len(PREFIX) + 1 > 253:
        message = "Give a domain such as screens.example.com (xn--… for other alphabets)."
        raise InvalidInput(message, field=("domain",))
    platform = settings.PLATFORM_DOMAIN
    labels = [_skeleton(label) for label in name.split(".")]
    wanted = [_skeleton(label) for label in platform.split(".")]
    # Wherever it stands: `signage.app.evil.example` and `s1gnage.app` alike.
    passes_for_it = any(
        labels[start : start + len(wanted)] == wanted for start in range(len(labels))
    )
    if passes_for_it or name.rpartition(".")[2] in _NOBODYS:
        message = "This domain is reserved, or could be taken for one of the platform's."
        raise InvalidInput(message, field=("domain",))
    return name


def challenge_of(tenant: Tenant) -> Challenge | None:
    """Return what proves the domain that a tenant wants, else the one it has; None for neither."""
    domain = tenant.requested_domain or tenant.domain
    if not domain or not tenant.domain_token:
        return None
    return Challenge(domain, f"{PREFIX}.{domain}", f"signate={tenant.domain_token}")


def _is_proved(challenge: Challenge) -> bool:
    """Return whether the record is there; raises Unanswered."""
    return any(text.strip() == challenge.value for text in resolver().texts(challenge.name))


@transaction.atomic
def request_domain(*, actor: Actor, domain: str) -> Tenant:
    """Return the tenant, which now wants `domain`; it keeps the one it has until that is verified.

    Raises PermissionDenied without tenant.edit, InvalidInput for what cannot be had, Conflict for
    the one it has.
    """
    tenant_id = actor.require("tenant.edit")
    name = clean_domain(domain)
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    if tenant.domain == name and tenant.domain_verified_at is not None:
        message = "This is the tenant's domain already."
        raise Conflict(message, field=("domain",))
    if tenant.requested_domain != name:
        before = {"requested_domain": tenant.requested_domain}
        tenant.requested_domain = name
        tenant.domain_token = tenant.domain_token or secrets.token_urlsafe(24)
        _save(tenant, actor, "domain_requested", before, {"requested_domain": name})
    return tenant


def verify_domain(*, actor: Actor, domain: str) -> Tenant:
    """Return the tenant, which opens at `domain` from the commit on: its record is there.

    Raises PermissionDenied without tenant.edit, InvalidInput for a domain it does not want and
    when the record is not there, Conflict for one that another tenant has verified and when nobody
    could say, RateLimited.
    """
    tenant_id = actor.require("tenant.edit")
    seconds = checks_per_tenant.take(str(tenant_id))
    if seconds:
        raise RateLimited(seconds, "questions for a record")
    tenant = Tenant.objects.get(pk=tenant_id)
    challenge = challenge_of(tenant)
    if challenge is None or tenant.requested_domain != domain.strip().lower().removesuffix("."):
        message = "Request this domain first."
        raise InvalidInput(message, field=("domain",))
    # Before anything is locked: name servers take their time.
    try:
        is_proved = _is_proved(challenge)
    except Unanswered:
        message = f"The name servers of {challenge.domain} do not answer; try again in a minute."
        raise Conflict(message, field=("domain",)) from None
    if not is_proved:
        message = (
            f"There is no TXT record {challenge.name} with the text {challenge.value} yet. It may "
            "take a while until everybody sees a new one."
        )
        raise InvalidInput(message, field=("domain",))
    return _verified(actor, challenge)


@transaction.atomic
def _verified(actor: Actor, challenge: Challenge) -> Tenant:
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=actor.entered())
    if challenge_of(tenant) != challenge:
        message = "Somebody has requested another domain meanwhile."
        raise Conflict(message, field=("domain",))
    before = {"domain": tenant.domain}
    tenant.domain, tenant.requested_domain = challenge.domain, ""
    tenant.domain_verified_at, tenant.domain_failing_since = timezone.now(), None
    try:
        with transaction.atomic():
            _save(tenant, actor, "domain_verified", before, {"domain": tenant.domain})
    except IntegrityError as error:
        if violated(error) != "tenants_domain_key":
            raise
        message = "Another tenant has this domain."
        raise Conflict(message, field=("domain",)) from error
    return tenant


@transaction.atomic
def remove_domain(*, actor: Actor, domain: str) -> Tenant:
    """Return the tenant, which neither has nor wants `domain` any more.

    Raises PermissionDenied without tenant.edit, InvalidInput for a domain it neither has nor wants.
    """
    tenant_id = actor.require("tenant.edit")
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    name = domain.strip().lower().removesuffix(".")
    if not name or name not in {tenant.domain, tenant.requested_domain}:
        message = "The tenant has no such domain."
        raise InvalidInput(message, field=("domain",))
    before = {"domain": tenant.domain, "requested_domain": tenant.requested_domain}
    if tenant.requested_domain == name:
        tenant.requested_domain = ""
    if tenant.domain == name:
        tenant.domain = tenant.domain_verified_at = tenant.domain_failing_since = None
    after = {"domain": tenant.domain, "requested_domain": tenant.requested_domain}
    _save(tenant, actor, "domain_removed", before, after)
    return tenant


def recheck_domain(*, actor: Actor) -> None:
    """Look whether the record of a verified domain is still there: for the worker, once a day.

    A domain whose record has been missing for a week opens nothing any more and is only wanted.
    """
    with acting_as(actor):
        tenant = Tenant.objects.get(pk=actor.entered())
    if tenant.domain is None or tenant.domain_verified_at is None or not tenant.domain_token:
        return
    challenge = Challenge(
        tenant.domain, f"{PREFIX}.{tenant.domain}", f"signate={tenant.domain_token}"
    )
    try:
        is_proved = _is_proved(challenge)
    except Unanswered as error:
        logger.warning("%s could not be looked up: %s", challenge.name, error)
        return
    with acting_as(actor):
        tenant = Tenant.objects.select_for_update(no_key=True).get(pk=actor.entered())
        if tenant.domain == challenge.domain:
            _judge(tenant, actor, is_proved=is_proved)


def _judge(tenant: Tenant, actor: Actor, *, is_proved: bool) -> None:
    now = timezone.now()
    since = tenant.domain_failing_since
    if is_proved or since is None or now - since < GIVEN_UP_AFTER:
        tenant.domain_failing_since = None if is_proved else since or now
        if tenant.domain_failing_since != since:
            tenant.save(update_fields=["domain_failing_since"])
        return
    before = {"domain": tenant.domain}
    tenant.requested_domain = tenant.requested_domain or tenant.domain or ""
    tenant.domain = tenant.domain_verified_at = tenant.domain_failing_since = None
    _save(tenant, actor, "domain_lost", before, {"domain": None})


def _save(
    tenant: Tenant, actor: Actor, action: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    tenant.save(
        update_fields=[
            *("domain", "requested_domain", "domain_token", "domain_verified_at"),
            *("domain_failing_since", "updated_at"),
        ]
    )
    forget_devices(tenant.pk)
    record(
        actor,
        f"tenant.{action}",
        subject="Tenant",
        subject_id=tenant.pk,
        label=tenant.slug,
        before=before,
        after=after,
    )
