"""The legacy addresses of backups: to be included at the root, before those of assets."""

from django.urls import path

from assets.legacy.backup import BACKUP, BACKUP_FILE, RECOVER
from assets.legacy.shapes import V1, V2

urlpatterns = [
    *(
        path(f"api/{version}/{name}", endpoint, {"version": version})
        for version in (V1, V2)
        for name, endpoint in (("backup", BACKUP), ("recover", RECOVER))
    ),
    path("static_with_mime/<str:name>", BACKUP_FILE, {"version": V2}),
]
