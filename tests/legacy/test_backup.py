"""Backups through the legacy API: what the recorded scenarios do not say."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from assets import backup, restoring
from assets.models import Asset, Backup, Restore
from rls import acting_as
from tenancy.devices import register_device
from tenancy.models import Tenant
from tests.conftest import PLATFORM

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tests.world import Inhabited

DATA = Path(django_settings.BASE_DIR) / "tests/data/anthias"
SAMPLE = (DATA / "backup-current.tar.gz").read_bytes()


def upload(
    client: Client, content: bytes = SAMPLE, name: str = "b.tar.gz", version: str = "v2"
) -> Any:
    file = SimpleUploadedFile(name, content, content_type="application/gzip")
    return client.post(f"/api/{version}/recover", {"backup_upload": file})


def content_of(response: Any) -> bytes:
    return b"".join(response.streaming_content)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_backup_is_made_fetched_and_restored(
    acme: Inhabited, client_of: Callable[..., Client], version: str
) -> None:
    client = client_of("acme-owner")
    before = json.loads(client.get(f"/api/{version}/assets").content)
    made = client.post(f"/api/{version}/backup")
    assert (made.status_code, made["Content-Type"]) == (201, "application/json")
    name = json.loads(made.content)
    address = f"/static_with_mime/{name}?mime=application/x-tgz"
    fetched = client.get(address)
    assert (fetched.status_code, fetched["Content-Type"]) == (200, "application/x-tgz")
    assert fetched["Content-Disposition"] == f'attachment; filename="{name}"'
    archive = content_of(fetched)
    assert fetched["Content-Length"] == str(len(archive))
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        assert opened.getnames()[:3] == [".anthias", ".anthias/anthias.conf", ".anthias/anthias.db"]
    head = client.head(address)
    assert (head.status_code, head.content) == (200, b"")
    assert head["Content-Length"] == str(len(archive))
    with acting_as(acme.owner):
        Asset.objects.all().delete()
    restored = upload(client, archive, name, version)
    assert (restored.status_code, json.loads(restored.content)) == (200, "Recovery successful.")
    assert json.loads(client.get(f"/api/{version}/assets").content) == before
    with acting_as(acme.owner):
        assert Restore.objects.latest("created_at").source == name


def test_the_type_that_the_address_names_is_not_believed(client_of: Callable[..., Client]) -> None:
    client = client_of("acme-owner")
    name = json.loads(client.post("/api/v2/backup").content)
    fetched = client.get(f"/static_with_mime/{name}?mime=text/html")
    content_of(fetched)
    assert fetched["Content-Type"] == "application/x-tgz"
    assert fetched["Content-Disposition"].startswith("attachment")
    assert fetched["X-Content-Type-Options"] == "nosniff"


def test_nobody_else_fetches_a_backup(acme: Inhabited, client_of: Callable[..., Client]) -> None:
    name = json.loads(client_of("acme-owner").post("/api/v2/backup").content)
    nobody = client_of("globex-owner").get("/static_with_mime/anthias-backup-nothing.tar.gz")
    foreign = client_of("globex-owner").get(f"/static_with_mime/{name}")
    assert (foreign.status_code, foreign.content) == (404, nobody.content)
    for odd in ("..%2f..%2fetc%2fpasswd", "%00", "x" * 5000, "%ff"):
        assert client_of("acme-owner").get(f"/static_with_mime/{odd}").status_code == 404
    assert client_of(host=f"acme.{PLATFORM}").get(f"/static_with_mime/{name}").status_code == 401
    assert client_of("acme-viewer").get(f"/static_with_mime/{name}").status_code == 403
    with acting_as(acme.owner):
        _, secret = register_device(actor=acme.owner, values={"name": "x"})
    device = Client(headers={"Authorization": f"Bearer {secret}"}, HTTP_HOST=f"acme.{PLATFORM}")
    assert device.get(f"/static_with_mime/{name}").status_code == 403
    assert device.post("/api/v2/backup").status_code == 403
    assert upload(device).status_code == 403


@pytest.mark.parametrize(
    ("who", "status"), [("acme-viewer", 403), ("acme-operator", 403), ("", 401)]
)
def test_who_may_not_restores_nothing(
    acme: Inhabited, client_of: Callable[..., Client], who: str, status: int, published: list[str]
) -> None:
    client = client_of(who, host=f"acme.{PLATFORM}")
    assert upload(client).status_code == status
    assert client.post("/api/v1/backup").status_code == status
    assert published == []
    with acting_as(acme.owner):
        assert Asset.objects.count() == 3
        assert Backup.objects.count() == 1


def test_text_in_the_place_of_a_file_is_told(client_of: Callable[..., Client]) -> None:
    client = client_of("acme-owner")
    answers = [
        client.post("/api/v2/recover", json.dumps({"backup_upload": "x"}), "application/json"),
        client.post("/api/v2/recover", "backup_upload=x", "application/x-www-form-urlencoded"),
        client.post("/api/v2/recover", {"backup_upload": "x"}),
    ]
    for answer in answers:
        assert answer.status_code == 400
        assert json.loads(answer.content) == {
            "backup_upload": (
                "The submitted data was not a file. Check the encoding type on the form."
            )
        }


def test_players_stop_and_play_again_whatever_comes_of_it(
    client_of: Callable[..., Client],
    published: list[str],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    client = client_of("acme-owner")
    with django_capture_on_commit_callbacks(execute=True):
        assert upload(client, b"no archive").status_code == 400
    assert published == ["viewer stop", "viewer play"]
    with django_capture_on_commit_callbacks(execute=True):
        assert upload(client, name="x.zip").status_code == 400
        assert client.post("/api/v1/recover").status_code == 400
    assert published == ["viewer stop", "viewer play"]


@pytest.mark.parametrize(
    ("place", "path"), [(restoring, "/api/v2/recover"), (backup, "/api/v2/backup")]
)
def test_a_full_disk_is_told_as_anthias_tells_it(
    acme: Inhabited,
    client_of: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    path: str,
) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    client = client_of("acme-owner")
    monkeypatch.setattr(place, "workspace", full)
    answer = upload(client) if path.endswith("recover") else client.post(path)
    assert answer.status_code == 507
    assert json.loads(answer.content)["detail"].startswith("The device disk is full.")
    with acting_as(acme.owner):
        assert Asset.objects.count() == 3


def test_a_plan_without_room_refuses_and_keeps_what_is_there(
    acme: Inhabited, client_of: Callable[..., Client]
) -> None:
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(max_assets=42)
    answer = upload(client_of("acme-owner"))
    assert answer.status_code == 507
    assert "42 assets" in json.loads(answer.content)["detail"]
    with acting_as(acme.owner):
        assert Asset.objects.count() == 3
        assert Restore.objects.count() == 1
