"""For which tenant: host, header and parameter, judged against what the caller may enter.

Pure; called by tenancy.middleware after it knows who asks. Nothing here looks a tenant up: a
host, a header or a parameter only chooses among the caller's own memberships, which is why
unknown, foreign and suspended tenants cannot be told apart (MISSION T5, DESIGN section 3).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tenancy.errors import TenantRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenancy.credentials import MembershipState

# Hosts of the platform itself: never tenants.
PLATFORM_LABELS = frozenset({"www", "api", "app", "admin"})
# RFC 1123 section 2.1: letters, digits and inner hyphens, 63 to a label, 253 in all.
_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)
_PORT = re.compile(r"(.*?)(?::([0-9]{1,5}))?\Z", re.DOTALL)


class MalformedHost(ValueError):
    """What came as a host is none."""


class HostKind(StrEnum):
    """What a host says about the tenant."""

    PLATFORM = "platform"
    SUBDOMAIN = "subdomain"
    CUSTOM_DOMAIN = "custom domain"


@dataclass(frozen=True, slots=True)
class Host:
    """A host as a client spelt it, in one spelling; `slug` for a subdomain."""

    kind: HostKind
    name: str
    slug: str = ""


def _is_address(name: str) -> bool:
    """Return whether `name` is an IP address; raises MalformedHost for one that is none."""
    try:
        if name.startswith("[") and name.endswith("]"):
            # An IPv6Address may have a scope: `%` and anything at all behind it.
            return "%" not in name and bool(ipaddress.IPv6Address(name[1:-1]))
        if re.fullmatch(r"[0-9.]+", name):
            return bool(ipaddress.IPv4Address(name.removesuffix(".")))
    except ValueError:
        raise MalformedHost(name) from None
    return False


def parse_host(raw: str, platform_domain: str) -> Host:
    """Return what a Host header says; raises MalformedHost when it is not a host at all.

    Ports, upper case and one trailing dot do not matter. Whatever is under the platform's domain
    is a subdomain, and one of several labels is nobody's; an address or the platform's own names
    are the platform.
    """
    # Letters beyond ASCII must not become ASCII in lower case (the Kelvin sign would).
    if not raw.isascii() or len(raw) > 300:
        raise MalformedHost(raw)
    match = _PORT.match(raw)
    name = (match[1] if match else raw).lower()
    if match and match[2] and not 0 < int(match[2]) < 65536:
        raise MalformedHost(raw)
    if _is_address(name):
        return Host(HostKind.PLATFORM, name.removesuffix("."))
    name = name.removesuffix(".")
    if not _HOSTNAME.match(name):
        raise MalformedHost(raw)
    if name == platform_domain:
        return Host(HostKind.PLATFORM, name)
    label = name.removesuffix("." + platform_domain)
    if label in PLATFORM_LABELS and label != name:
        return Host(HostKind.PLATFORM, name)
    if label != name:
        return Host(HostKind.SUBDOMAIN, name, slug=label)
    return Host(HostKind.CUSTOM_DOMAIN, name)


def choose(
    host: Host, memberships: Sequence[MembershipState], *, header: str = "", parameter: str = ""
) -> tuple[MembershipState | None, str]:
    """Return the membership to enter and what chose it; (None, "") when nothing did.

    Raises TenantRefused when something chose a tenant that the caller may not enter. `header` and
    `parameter` are a tenant's id or slug; `parameter` is for the caller to leave out outside of
    DEBUG.
    """
    enterable = [m for m in memberships if m.tenant_is_active]
    if host.kind is HostKind.SUBDOMAIN:
        found = [m for m in enterable if m.slug == host.slug]
        chosen_by = "subdomain"
    elif host.kind is HostKind.CUSTOM_DOMAIN:
        found = [m for m in enterable if m.domain == host.name]
        chosen_by = "custom domain"
    elif header or parameter:
        wanted = (header or parameter).strip().lower()
        # The id first: a slug may be spelt like the id of somebody else's tenant.
        found = [m for m in enterable if wanted == str(m.tenant_id)] or [
            m for m in enterable if wanted == m.slug
        ]
        chosen_by = "header" if header else "parameter"
    elif len(enterable) == 1:
        return enterable[0], "only membership"
    else:
        return None, ""
    if not found:
        raise TenantRefused
    return found[0], chosen_by
