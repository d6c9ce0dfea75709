"""Tenants: making them, changing them and their settings (MISSION T1, T4).

Every write is one function: atomic, `*, actor`, permission first, then every invalid value at
once. Both faces and the commands call these and nothing below them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from django.conf import settings as django_settings
from django.db import IntegrityError, connection, transaction
from uuid_utils.compat import uuid7

from rls import acting_as
from tenancy.actors import Actor, ActorKind
from tenancy.audit import record, taken
from tenancy.device_memory import forget_devices
from tenancy.errors import (
    Conflict,
    DomainError,
    Invalid,
    InvalidInput,
    NotSignedIn,
    PermissionDenied,
    QuotaExceeded,
)
from tenancy.events import Event, publish
from tenancy.models import (
    RESERVED_SLUGS,
    SLUG_PATTERN,
    Membership,
    Tenant,
    TenantSettings,
    Tier,
    default_database_name,
    violated,
)
from tenancy.people import is_storable
from tenancy.permissions import Role, granted

if TYPE_CHECKING:
    from uuid import UUID

Check = Callable[[Any], str]

_COLOR = re.compile(r"#[0-9a-fA-F]{6}\Z")
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"([a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])\Z"
)
# RFC 3986 section 2 knows none of these; browsers and HTTP clients disagree about what they mean.
_NOT_IN_URLS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\"<>\\^`{|}]")
MAX_DOMAINS = 100
MAX_DEPTH = 32  # of a JSON object


@cache
def timezones() -> frozenset[str]:
    """Return every IANA time zone name this installation knows."""
    return frozenset(available_timezones()) - {"localtime", "posixrules", "Factory"}


def clean_name(value: str) -> str:
    """Return a display name without outer space; raises InvalidInput."""
    name = clean_text(value).strip()
    kinds = {unicodedata.category(letter) for letter in name}
    if "Cc" in kinds:
        message = "A name cannot have line breaks or other control characters."
        raise InvalidInput(message)
    if not any(kind[0] in "LMNPS" for kind in kinds):
        message = "A name cannot be empty."
        raise InvalidInput(message)
    if len(name) > 255:
        message = "A name can have 255 characters at most."
        raise InvalidInput(message)
    return name


def clean_text(value: str) -> str:
    """Return text that PostgreSQL can store; raises InvalidInput for NUL and lone surrogates."""
    if not is_storable(value):
        message = "The text contains half of a surrogate pair."
        raise InvalidInput(message)
    if "\x00" in value:
        message = "The text contains a NUL character."
        raise InvalidInput(message)
    return value


def clean_slug(value: str) -> str:
    """Return a slug that can be a tenant's host name; raises InvalidInput saying why not."""
    if not re.fullmatch(SLUG_PATTERN, value):
        message = (
            "A slug has 1 to 63 lower-case letters, digits and hyphens, and neither starts nor "
            "ends with a hyphen (it becomes part of a host name)."
        )
        raise InvalidInput(message)
    if value in RESERVED_SLUGS:
        message = f"The slug {value!r} is reserved; choose another."
        raise InvalidInput(message)
    return value


def clean_timezone(value: str) -> str:
    """Return an IANA time zone name; raises InvalidInput."""
    if value not in timezones():
        message = f"{value!r:.80} is not an IANA time zone, such as Europe/Berlin or UTC."
        raise InvalidInput(message)
    return value


def clean_color(value: str) -> str:
    """Return a colour in lower case; raises InvalidInput."""
    if not _COLOR.match(value):
        message = "A colour is # and six hexadecimal digits, such as #007bff."
        raise InvalidInput(message)
    return value.lower()


def clean_url(value: str) -> str:
    """Return an http(s) URL or nothing; raises InvalidInput."""
    value = clean_text(value).strip()
    try:
        # urlsplit drops line breaks and tabs before it looks; they would be stored all the same.
        parts = urlsplit(value)
        usable = not value or (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and not _NOT_IN_URLS.search(value)
        )
    except ValueError:
        usable = False
    if not usable or len(value) > 2048:
        message = "Give an http:// or https:// address, or nothing."
        raise InvalidInput(message)
    return value


def clean_duration(value: int) -> int:
    """Return a default duration in seconds, 1 to 31,536,000 (a year); raises InvalidInput."""
    if not 1 <= value <= 31_536_000:
        message = "A duration is between 1 and 31536000 seconds."
        raise InvalidInput(message)
    return value


def clean_domains(value: list[str]) -> list[str]:
    """Return e-mail domains in lower case, without repetition; raises InvalidInput."""
    if len(value) > MAX_DOMAINS:
        message = f"There can be {MAX_DOMAINS} domains at most."
        raise InvalidInput(message)
    domains = [item.strip().lower() for item in value]
    wrong = [
        item for item in value if not _DOMAIN.match(item.strip().lower()) or not item.isascii()
    ]
    if wrong:
        message = f"{wrong[0]!r:.80} is not a domain, such as example.com."
        raise InvalidInput(message)
    return list(dict.fromkeys(domains))


def clean_object(value: Any) -> dict[str, Any]:
    """Return a JSON object that PostgreSQL can store, 64 KB at most; raises InvalidInput."""
    if not isinstance(value, dict):
        message = "Give a JSON object."
        raise InvalidInput(message)
    # Walked before anything recurses over it, here or in PostgreSQL.
    left: list[tuple[Any, int]] = [(value, 1)]
    while left:
        item, depth = left.pop()
        if depth > MAX_DEPTH:
            message = f"The object can be nested {MAX_DEPTH} levels deep at most."
            raise InvalidInput(message)
        if isinstance(item, str):
            clean_text(item)
        elif isinstance(item, dict):
            left += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            left += [(part, depth + 1) for part in item]
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (ValueError, TypeError):
        message = "The object holds a value that JSON cannot carry."
        raise InvalidInput(message) from None
    if len(text) > 65_536:
        message = "The object can have 65536 characters of JSON at most."
        raise InvalidInput(message)
    return value


def is_same(stored: Any, value: Any) -> bool:
    """Return whether a cleaned value is what is stored; `true` in JSON is not 1, as in Python."""
    if isinstance(value, dict):
        return json.dumps(stored, sort_keys=True) == json.dumps(value, sort_keys=True)
    return bool(stored == value)


Cleaner = Callable[[Any], Any]
TENANT_CLEANERS: Mapping[str, Cleaner] = {"name": clean_name, "slug": clean_slug}
SETTINGS_CLEANERS: Mapping[str, Cleaner] = {
    "default_asset_duration": clean_duration,
    "timezone": clean_timezone,
    "logo_url": clean_url,
    "primary_color": clean_color,
    "secondary_color": clean_color,
    "email_notifications": bool,
    "webhook_url": clean_url,
    "require_2fa": bool,
    "allowed_domains": clean_domains,
    "integrations": clean_object,
}


def clean_all(changes: Mapping[str, Any], cleaners: Mapping[str, Cleaner]) -> dict[str, Any]:
    """Return every value cleaned by the cleaner of its name; raises Invalid with all that fail.

    A name without a cleaner is a programming error (KeyError): inputs are typed before this.
    """
    cleaned: dict[str, Any] = {}
    errors: list[InvalidInput] = []
    for name, value in changes.items():
        try:
            if value is None:
                message = "This cannot be null; leave it out to keep it as it is."
                raise InvalidInput(message)
            cleaned[name] = cleaners[name](value)
        except InvalidInput as error:
            errors.append(InvalidInput(error.message, field=(name, *error.field)))
    if errors:
        raise Invalid(errors)
    return cleaned


@dataclass(frozen=True, slots=True)
class Plan:
    """A tier with its limits and features; the defaults are MISSION T1's."""

    tier: Tier = Tier.BASIC
    max_devices: int = 5
    max_users: int = 10
    storage_quota_gb: int = 10
    max_assets: int = 100
    features: tuple[str, ...] = field(default=())


BASIC_PLAN = Plan()
# MISSION A8: the tenant an import makes.
LEGACY_PLAN = Plan(Tier.LEGACY, 9999, 100, 1000, 10_000, ("legacy_migration",))


def create_tenant(
    *, actor: Actor, name: str, slug: str, plan: Plan = BASIC_PLAN, owner_id: UUID | None = None
) -> Tenant:
    """Return a new tenant with its settings; `owner_id` (default: who acts) becomes its owner.

    Raises NotSignedIn, PermissionDenied where only operators make tenants, Invalid for a bad name
    or slug, Conflict for a slug that is taken, QuotaExceeded for a person who owns enough.
    """
    if not actor.is_signed_in:
        message = "Sign in to create a tenant."
        raise NotSignedIn(message)
    if actor.kind not in {ActorKind.MEMBER, ActorKind.OPERATOR}:
        message = "Only a person can create a tenant."
        raise PermissionDenied(message)
    if actor.kind is ActorKind.MEMBER and django_settings.TENANT_CREATION != "people":
        message = "Tenants are made by the operators of this service: ask them."
        raise PermissionDenied(message)
    owner_id = owner_id or actor.user_id
    cleaned = clean_all({"name": name, "slug": slug}, TENANT_CLEANERS)
    tenant = Tenant(
        id=uuid7(),
        name=cleaned["name"],
        slug=cleaned["slug"],
        database_name=default_database_name(cleaned["slug"]),
        subscription_tier=plan.tier,
        max_devices=plan.max_devices,
        max_users=plan.max_users,
        storage_quota_gb=plan.storage_quota_gb,
        max_assets=plan.max_assets,
        features=list(plan.features),
    )
    try:
        try:
            _found(tenant, actor, owner_id)
        except IntegrityError as error:
            if violated(error) != "tenants_database_name_key":
                raise
            # Whoever had this slug once keeps the database name that came with it.
            tenant.database_name += "_" + tenant.id.hex[-8:]
            _found(tenant, actor, owner_id)
    except IntegrityError as error:
        raise _taken(error, cleaned["slug"]) from error
    return tenant


def _found(tenant: Tenant, actor: Actor, owner_id: UUID | None) -> None:
    founder = Actor(
        kind=ActorKind.OPERATOR,
        tenant_id=tenant.id,
        user_id=actor.user_id,
        permissions=granted(Role.OWNER),
    )
    with acting_as(founder, founding=True):
        if actor.kind is ActorKind.MEMBER:
            _require_room(founder.user_id)
        tenant.save(force_insert=True)
        TenantSettings.objects.create(tenant=tenant)
        if owner_id is not None:
            Membership.objects.create(tenant=tenant, user_id=owner_id, role=Role.OWNER)
        record(
            replace(actor, tenant_id=tenant.id),
            "tenant.created",
            subject="Tenant",
            subject_id=tenant.id,
            label=tenant.slug,
            after={
                **taken(tenant, ("name", "slug", "subscription_tier")),
                "owner": owner_id,
            },
        )


def _require_room(user_id: UUID | None) -> None:
    """Return when the person of the open door may own one tenant more; raises QuotaExceeded.

    Tenants that a person makes at once are made one after the other.
    """
    most = django_settings.TENANTS_PER_PERSON
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"own:{user_id}"])
        cursor.execute("SELECT count(*) FROM my_memberships() WHERE role = 'owner'")
        (owned,) = cursor.fetchone()
    if owned >= most:
        message = f"One person can own {most} tenants: hand one over, or ask the operators."
        raise QuotaExceeded(message)


def find_tenant(slug: str) -> UUID | None:
    """Return the id of the tenant with that slug, suspended or not; None when there is none.

    For commands: a request never looks a tenant up, it chooses among its caller's memberships.
    """
    if not re.fullmatch(SLUG_PATTERN, slug):
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_by_slug(%s)", [slug])
        row = cursor.fetchone()
    return row[0] if row else None


def is_active_tenant(tenant_id: UUID) -> bool | None:
    """Return whether the tenant may be entered; None when there is none with that id.

    For addresses that are a credential by themselves, and for commands: nobody is signed in.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_is_active(%s)", [tenant_id])
        row = cursor.fetchone()
    return row[0] if row else None


def _taken(error: IntegrityError, slug: str) -> DomainError:
    """Return the refusal for a slug somebody has; other violations are ours: they are raised."""
    if violated(error) == "tenants_slug_key":
        return Conflict(f"The slug {slug!r} is taken; choose another.", field=("slug",))
    raise error


@transaction.atomic
def update_tenant(*, actor: Actor, changes: Mapping[str, Any]) -> Tenant:
    """Return the actor's tenant with `changes` (name, slug) applied.

    Raises PermissionDenied without tenant.edit, Invalid, Conflict for a slug that is taken.
    """
    tenant_id = actor.require("tenant.edit")
    cleaned = clean_all(changes, TENANT_CLEANERS)
    tenant = Tenant.objects.select_for_update().get(pk=tenant_id)
    changed = _changed(tenant, cleaned)
    if changed:
        try:
            with transaction.atomic():
                tenant.save(update_fields=[*changed, "updated_at"])
        except IntegrityError as error:
            raise _taken(error, tenant.slug) from error
        if "slug" in changed:
            forget_devices(tenant_id)
        record(
            actor,
            "tenant.updated",
            subject="Tenant",
            subject_id=tenant_id,
            label=tenant.slug,
            before=changed,
            after=taken(tenant, changed),
        )
    return tenant


@transaction.atomic
def update_settings(*, actor: Actor, changes: Mapping[str, Any]) -> TenantSettings:
    """Return the tenant's settings with `changes` applied.

    Raises PermissionDenied without tenant.settings, Invalid with every bad value.
    """
    tenant_id = actor.require("tenant.settings")
    cleaned = clean_all(changes, SETTINGS_CLEANERS)
    settings = TenantSettings.objects.select_for_update().get(tenant_id=tenant_id)
    changed = _changed(settings, cleaned)
    if changed:
        settings.save(update_fields=[*changed, "updated_at"])
        publish(Event.SETTINGS_CHANGED, [settings.pk], actor=actor)
        record(
            actor,
            "settings.updated",
            subject="TenantSettings",
            subject_id=settings.pk,
            before=changed,
            after=taken(settings, changed),
        )
    return settings


def _changed(row: Tenant | TenantSettings, values: Mapping[str, Any]) -> dict[str, Any]:
    """Set `values` on a row and return what it had instead, of those that differ."""
    old = {name: getattr(row, name) for name in values}
    changed = {name: old[name] for name, value in values.items() if not is_same(old[name], value)}
    for name in changed:
        setattr(row, name, values[name])
    return changed
