"""What the legacy API has, as a table for people: docs/api_inventory.md.

Called by the command api_inventory. Made from the URL configuration and the endpoints themselves,
so that it cannot say anything else than what is served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.legacy import backup_urls, device_urls
from assets.legacy.urls import ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.legacy.endpoint import Endpoint

_HEAD = """# API inventory

Every address of the Anthias API that this service has, made from its URL configuration:
`python3 manage.py api_inventory --write`. HEAD is there wherever GET is, and OPTIONS everywhere,
without a credential. Everything else below `/api/` is a page that says 404.

*kept* is answered here as Anthias answers it, *relayed* is told to the tenant's players, *refused*
says why it cannot be done. What is about devices is also there for one of them, under
`/d/<device>/api/…`; a device needs no permission for what is its own. How answers differ from
Anthias's is in [anthias-compatibility.md](anthias-compatibility.md).

| Version | Method | Path | Permission | |
|---|---|---|---|---|
"""


def inventory() -> str:
    """Return the document."""
    # Some are in both lists, for the sake of `/d/<device>/`.
    routes = dict.fromkeys(
        (*ROUTES, *device_urls.ABOUT_DEVICES, *device_urls.ROUTES, *backup_urls.ROUTES)
    )
    lines = [line for one in routes for line in _lines(*one)]
    return _HEAD + "".join(f"{line}\n" for line in lines)


def _lines(versions: tuple[str, ...], below: str, endpoint: Endpoint) -> Iterator[str]:
    shown = below.replace("<str:", "{").replace(">", "}")
    for version in versions:
        for name, method in endpoint.methods.items():
            permission = method.permission or method.needs or "-"
            path = f"/api/{version}/{shown}"
            yield f"| {version} | {name} | `{path}` | {permission} | {method.kind} |"
