"""Every address of the legacy API, none with a slash at its end, as in Anthias (SPEC section 1).

One line per resource: which versions have it, its path below the version, its endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import path, re_path

from assets.legacy.assets import (
    ASSET,
    ASSET_WITHOUT_PATCH,
    ASSETS,
    CONTENT,
    FILE_ASSET,
    ORDER,
)
from assets.legacy.pages import no_page
from assets.legacy.shapes import V1, V1_1, V1_2, V2

if TYPE_CHECKING:
    from assets.legacy.endpoint import Endpoint

# In this order: `assets/order` is a route of v1 and v2, and an asset of that name elsewhere.
ROUTES: tuple[tuple[tuple[str, ...], str, Endpoint], ...] = (
    ((V1, V1_1, V1_2, V2), "assets", ASSETS),
    ((V1, V2), "assets/order", ORDER),
    ((V1, V2), "assets/<str:asset_id>/content", CONTENT),
    ((V1, V1_1), "assets/<str:asset_id>", ASSET_WITHOUT_PATCH),
    ((V1_2, V2), "assets/<str:asset_id>", ASSET),
    ((V1, V2), "file_asset", FILE_ASSET),
)

urlpatterns = [
    *(
        path(f"{version}/{below}", endpoint, {"version": version})
        for versions, below, endpoint in ROUTES
        for version in versions
    ),
    re_path("", no_page),
]
