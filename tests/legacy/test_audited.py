"""Every write of the old API leaves an entry in the audit log when done, and none when refused.

The writes are found in what the API declares of itself; one without its row below fails the build.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from assets.legacy.openapi import every_operation
from assets.models import Asset
from rls import acting_as
from tenancy.actors import worker
from tenancy.models import AuditEntry, Device
from tests.players import add_player

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.world import Inhabited

SENT = {
    "name": "Menu of the day",
    "uri": "https://example.com/menu",
    "mimetype": "webpage",
    "start_date": "2026-01-01T00:00:00Z",
    "end_date": "2036-01-01T00:00:00Z",
    "duration": "15",
    "is_enabled": 1,
    "is_processing": 0,
    "nocache": 0,
    "play_order": 0,
    "skip_asset_check": 1,
}
# What leaves none, and why.
UNRECORDED = {
    "/file_asset": "nothing is there yet: the asset that it becomes is what is written down",
    "/integrations/screenly/validate": "changes nothing",
    "/integrations/screenly/migrate": "always refused",
    "/integrations/import/{provider}/validate": "always refused",
    "/integrations/import/{provider}/item": "always refused",
    "/upgrade_screenly": "always refused",
    "/reset_wifi": "always refused",
    "/generate_usb_assets_key": "always refused",
    "/screenshot": "always refused",
    "/viewer_current_asset": "changes nothing",
    # A player's own: thousands an hour, or before it belongs to anybody.
    "/assets/{asset_id}/recheck": "what a player found out about a file",
    "/device/heartbeat": "what a player says of itself",
    "/pair": "the player is nobody's yet",
}
# Addresses that change something by GET, as Anthias has them.
BY_GET = "/assets/control/{command}"


def _short(path: str) -> str:
    """Return a path without its version."""
    return "/" + path.removeprefix("/api/").partition("/")[2]


WRITES = sorted(
    {
        (one.method, one.path)
        for one in every_operation()
        if one.path.startswith("/api/")
        and (one.method not in {"GET", "HEAD", "OPTIONS"} or _short(one.path) == BY_GET)
        and _short(one.path) not in UNRECORDED
        and (one.version, _short(one.path)) != ("v1", "/display/{state}")
    }
)


def _model(version: str, values: dict[str, Any]) -> tuple[Any, str]:
    """Return what an asset is sent as in a version, and of which type it is."""
    if version in {"v1", "v1.1"}:
        return f"model={json.dumps(values)}", "application/x-www-form-urlencoded"
    return json.dumps(values), "application/json"


def ask(client: Client, method: str, path: str, asset: str, other: str) -> int:
    """Do what an address is for, and return the status of the answer."""
    version = path.split("/")[2]
    words = {"{asset_id}": asset, "{command}": "next", "{state}": "on"}
    address = path
    for word, value in words.items():
        address = address.replace(word, value)
    body: Any = b""
    kind = "application/json"
    match method, _short(path):
        case ("POST", "/assets") | ("PUT", "/assets/{asset_id}"):
            values = {**SENT, "duration": 15} if version == "v2" else SENT
            body, kind = _model(
                version, {**values, "asset_id": asset} if method == "PUT" else values
            )
        case "PATCH", "/assets/{asset_id}":
            body = json.dumps({"name": "Another menu"})
        case "POST", "/assets/order":
            body, kind = f"ids={other},{asset}", "application/x-www-form-urlencoded"
        case "PATCH", "/device_settings":
            body = json.dumps({"shuffle_playlist": True})
        case "POST", "/recover":
            name = client.post("/api/v2/backup").json()
            archive = b"".join(client.get(f"/static_with_mime/{name}"))
            file = SimpleUploadedFile("backup.tar.gz", archive, "application/x-tar")
            return client.post(address, {"backup_upload": file}).status_code
    return client.generic(method, address, body, content_type=kind).status_code


def logged(place: Inhabited) -> int:
    with acting_as(worker(place.tenant.pk)):
        return AuditEntry.objects.count()


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_write_that_is_done_is_written_down_and_a_refused_one_is_not(
    acme: Inhabited,
    client_of: Callable[..., Client],
    published: list[str],
    method: str,
    path: str,
) -> None:
    del published
    player = add_player(acme)
    with acting_as(acme.owner):
        Device.objects.filter(pk=player.key).update(
            last_seen_at=timezone.now(), telemetry={"cec_available": True}
        )
        asset, other = Asset.objects.order_by("play_order", "id").values_list(
            "asset_id", flat=True
        )[:2]
    before = logged(acme)
    assert ask(client_of("acme-viewer"), method, path, asset, other) == 403
    assert logged(acme) == before
    status = ask(client_of("acme-owner"), method, path, asset, other)
    assert 200 <= status < 300
    assert logged(acme) > before


def test_what_leaves_no_entry_is_there() -> None:
    found = {_short(one.path) for one in every_operation()}
    assert UNRECORDED.keys() <= found
