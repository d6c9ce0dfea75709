"""The legacy addresses of backups: to be included at the root, before those of assets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import path

from assets.legacy.backup import BACKUP, BACKUP_FILE, RECOVER
from assets.legacy.shapes import V1, V2

if TYPE_CHECKING:
    from assets.legacy.endpoint import Endpoint

ROUTES: tuple[tuple[tuple[str, ...], str, Endpoint], ...] = (
    ((V1, V2), "backup", BACKUP),
    ((V1, V2), "recover", RECOVER),
)
FILES = (("static_with_mime/<str:name>", BACKUP_FILE),)

urlpatterns = [
    *(
        path(f"api/{version}/{below}", endpoint, {"version": version})
        for versions, below, endpoint in ROUTES
        for version in versions
    ),
    *(path(where, endpoint, {"version": V2}) for where, endpoint in FILES),
]
