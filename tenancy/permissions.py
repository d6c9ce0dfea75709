"""Who may do what: one table, one rule of matching (MISSION T3).

Pure. `ns.*` covers `ns.anything` and nothing else, `*` covers every permission there is; a name
that is not in `PERMISSIONS` is refused whatever is held.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Role(StrEnum):
    """What a membership is, from most to least."""

    OWNER = "owner"
    ADMIN = "admin"
    MANAGER = "manager"
    OPERATOR = "operator"
    VIEWER = "viewer"


PERMISSIONS: Final = frozenset(
    {
        "tenant.edit",
        "tenant.settings",
        "tenant.audit",
        "users.view",
        "users.invite",
        "users.edit",
        "users.remove",
        "users.tokens",
        "assets.view",
        "assets.create",
        "assets.edit",
        "assets.delete",
        "assets.import",
        "assets.share",
        "assets.report",
        "devices.view",
        "devices.edit",
        "devices.control",
        "layouts.view",
        "layouts.edit",
        "content.view",
        "content.edit",
    }
)

ROLE_PERMISSIONS: Final[dict[Role, tuple[str, ...]]] = {
    Role.OWNER: ("*",),
    Role.ADMIN: ("tenant.*", "users.*", "assets.*", "devices.*"),
    Role.MANAGER: ("assets.*", "layouts.*", "content.*"),
    Role.OPERATOR: ("assets.view", "devices.*", "layouts.view"),
    Role.VIEWER: ("assets.view", "layouts.view"),
}

# What a player does: it fetches what it shows, and says that it did.
DEVICE_PERMISSIONS: Final = frozenset({"assets.view", "assets.report", "layouts.view"})


def covers(held: str, wanted: str) -> bool:
    """Return whether the grant `held` covers the permission `wanted`."""
    if wanted not in PERMISSIONS:
        return False
    if held == "*":
        return True
    namespace, _, rest = held.partition(".")
    return wanted == held or (rest == "*" and wanted.partition(".")[0] == namespace)


def amount(grants: Iterable[str]) -> frozenset[str]:
    """Return every single permission that these grants amount to."""
    held = tuple(grants)
    return frozenset(name for name in PERMISSIONS if any(covers(grant, name) for grant in held))


def granted(role: Role | str, extra: Iterable[str] = ()) -> frozenset[str]:
    """Return every single permission that a role and a membership's own list amount to."""
    return amount((*ROLE_PERMISSIONS[Role(role)], *extra))


def unknown(names: Collection[str]) -> list[str]:
    """Return the entries that name no permission and no namespace of one, sorted."""
    namespaces = {name.partition(".")[0] + ".*" for name in PERMISSIONS}
    return sorted(set(names) - PERMISSIONS - namespaces - {"*"})
