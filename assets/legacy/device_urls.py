"""The legacy addresses of devices and their players: to be included at the root.

Before the addresses of assets, which answer for everything else below `/api/`. Whatever is about a
device can also be asked under `/d/<device>/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import include, path

from assets.legacy import device_views, file_views, player_views, settings_views, viewer
from assets.legacy.assets import CONTROL
from assets.legacy.shapes import V1, V2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.urls import URLPattern

    from assets.legacy.endpoint import Endpoint

    Routes = Iterable[tuple[tuple[str, ...], str, Endpoint]]

# About one device, or all of the tenant's.
ABOUT_DEVICES: Routes = (
    ((V1, V2), "assets/control/<str:command>", CONTROL),
    ((V1,), "viewer_current_asset", device_views.CURRENT_ASSET),
    ((V1, V2), "info", device_views.INFO),
    ((V1, V2), "reboot", device_views.REBOOT),
    ((V1, V2), "shutdown", device_views.SHUTDOWN),
    ((V2,), "display/<str:state>", device_views.DISPLAY),
    ((V2,), "device_settings", settings_views.DEVICE_SETTINGS),
    ((V2,), "network/ip-addresses", device_views.IP_ADDRESSES),
    ((V2,), "integrations", device_views.INTEGRATIONS),
    # Names that old clients still call.
    ((V1,), "reboot_screenly", device_views.REBOOT),
    ((V1,), "shutdown_screenly", device_views.SHUTDOWN),
    ((V1,), "display/<str:state>", device_views.OLD),
    ((V1,), "reset_wifi", device_views.OLD),
    ((V1,), "generate_usb_assets_key", device_views.OLD),
    ((V1,), "upgrade_screenly", device_views.OLD),
    ((V1,), "screenshot", device_views.OLD),
)
ROUTES: Routes = (
    ((V2,), "integrations/screenly/validate", device_views.SCREENLY_VALIDATE),
    ((V2,), "integrations/screenly/migrate", device_views.SCREENLY_MIGRATE),
    ((V2,), "integrations/import/<str:provider>/validate", device_views.IMPORT_VALIDATE),
    ((V2,), "integrations/import/<str:provider>/item", device_views.IMPORT_ITEM),
    ((V2,), "viewer/playlist", viewer.PLAYLIST),
    ((V2,), "viewer/settings", viewer.SETTINGS),
    ((V2,), "assets/<str:asset_id>/recheck", viewer.RECHECK),
    ((V2,), "device/heartbeat", player_views.HEARTBEAT),
    ((V2,), "pair", player_views.PAIR),
)
# Files, each with what is told of it.
FILES = (("anthias_assets/<str:name>", file_views.anthias_file, file_views.DOC),)


def _patterns(routes: Routes) -> list[URLPattern]:
    return [
        path(f"api/{version}/{below}", endpoint, {"version": version})
        for versions, below, endpoint in routes
        for version in versions
    ]


urlpatterns = [
    *_patterns(ABOUT_DEVICES),
    path("d/<str:device>/", include(_patterns(ABOUT_DEVICES))),
    *_patterns(ROUTES),
    *(path(where, view) for where, view, _ in FILES),
]
