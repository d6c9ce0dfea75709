"""Every operation of the legacy API in one list: what the inventory and the OpenAPI document show.

Made from the lists that the URL configuration is made from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.legacy import backup_urls, device_urls, urls
from assets.legacy.addressing import player
from assets.legacy.shapes import V2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.legacy.docs import Doc
    from assets.legacy.endpoint import Endpoint

EVERYWHERE = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of an address.

    `path` has names in braces, `version` is empty where there is none. `is_about_devices` tells
    that it is also there below `/d/{device}`. `is_negotiated` is what Endpoint answers.
    """

    version: str
    method: str
    path: str
    doc: Doc
    needs: str
    kind: str = "kept"
    admits: str = "member"
    is_about_devices: bool = False
    is_negotiated: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """What the path names."""
        return tuple(part[1:].split("}")[0] for part in self.path.split("/") if part[:1] == "{")


def operations() -> Iterator[Operation]:
    """Yield every operation, resource by resource, but the one that shows this."""
    of_devices = tuple(device_urls.ABOUT_DEVICES)
    for route in (*urls.ROUTES, *of_devices, *device_urls.ROUTES, *backup_urls.ROUTES):
        versions, below, endpoint = route
        for version in versions:
            yield from of_endpoint(
                endpoint,
                version,
                f"/api/{version}/{below}",
                is_about_devices=route in of_devices,
            )
    for below, endpoint in backup_urls.FILES:
        yield from of_endpoint(endpoint, EVERYWHERE, f"/{below}")
    for below, _, doc in device_urls.FILES:
        yield Operation(
            EVERYWHERE, "GET", _shown(f"/{below}"), doc, "assets.view", is_negotiated=False
        )


def of_endpoint(
    endpoint: Endpoint, version: str, path: str, *, is_about_devices: bool = False
) -> Iterator[Operation]:
    """Yield every method of an endpoint."""
    admits = "member"
    if endpoint.admit is not None:
        admits = "player" if endpoint.admit is player else "anybody"
    for name, method in endpoint.methods.items():
        yield Operation(
            version,
            name,
            _shown(path),
            method.doc,
            method.permission or method.needs,
            method.kind,
            admits,
            is_about_devices,
        )


def _shown(path: str) -> str:
    return path.replace("<str:", "{").replace(">", "}")


def shape_version(version: str) -> str:
    """Return the version whose shapes an operation answers in."""
    return version or V2
