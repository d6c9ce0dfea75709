"""The legacy addresses of devices and their players: to be included at the root.

Before the addresses of assets: `assets/<id>/recheck` is here. Whatever is about a device can also
be asked under `/d/<device>/`.
"""

from django.urls import include, path

from assets.legacy import device_views, file_views, player_views, settings_views, viewer
from assets.legacy.assets import CONTROL

V1, V2 = {"version": "v1"}, {"version": "v2"}

# About one device, or all of the tenant's.
about_devices = [
    path("api/v1/assets/control/<str:command>", CONTROL, V1),
    path("api/v2/assets/control/<str:command>", CONTROL, V2),
    path("api/v1/viewer_current_asset", device_views.CURRENT_ASSET, V1),
    path("api/v1/info", device_views.INFO, V1),
    path("api/v1/reboot", device_views.REBOOT, V1),
    path("api/v1/shutdown", device_views.SHUTDOWN, V1),
    path("api/v1/reboot_screenly", device_views.REBOOT, V1),
    path("api/v1/shutdown_screenly", device_views.SHUTDOWN, V1),
    path("api/v1/reset_wifi", device_views.OLD, V1),
    path("api/v1/generate_usb_assets_key", device_views.OLD, V1),
    path("api/v1/upgrade_screenly", device_views.OLD, V1),
    path("api/v1/screenshot", device_views.OLD, V1),
    path("api/v1/display/<str:state>", device_views.OLD, V1),
    path("api/v2/info", device_views.INFO, V2),
    path("api/v2/reboot", device_views.REBOOT, V2),
    path("api/v2/shutdown", device_views.SHUTDOWN, V2),
    path("api/v2/display/<str:state>", device_views.DISPLAY, V2),
    path("api/v2/device_settings", settings_views.DEVICE_SETTINGS, V2),
    path("api/v2/network/ip-addresses", device_views.IP_ADDRESSES, V2),
    path("api/v2/integrations", device_views.INTEGRATIONS, V2),
]
urlpatterns = [
    *about_devices,
    path("d/<str:device>/", include(about_devices)),
    path("api/v2/integrations/screenly/validate", device_views.SCREENLY_VALIDATE, V2),
    path("api/v2/integrations/screenly/migrate", device_views.SCREENLY_MIGRATE, V2),
    path("api/v2/integrations/import/<str:provider>/validate", device_views.IMPORT_VALIDATE, V2),
    path("api/v2/integrations/import/<str:provider>/item", device_views.IMPORT_ITEM, V2),
    path("api/v2/viewer/playlist", viewer.PLAYLIST, V2),
    path("api/v2/viewer/settings", viewer.SETTINGS, V2),
    path("api/v2/assets/<str:asset_id>/recheck", viewer.RECHECK, V2),
    path("api/v2/device/heartbeat", player_views.HEARTBEAT, V2),
    path("api/v2/pair", player_views.PAIR, V2),
    path("anthias_assets/<str:name>", file_views.anthias_file),
]
