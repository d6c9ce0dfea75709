"""Remote videos that become a tenant's own: fetched once, within the plan, or refused with a reason."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.core.files.storage import default_storage

from assets import downloads, library
from assets.downloads import FULL, LOST, download_remote, give_up
from assets.fetching import FetchFailed
from assets.library import start_download
from assets.models import Asset
from assets.network import Network
from assets.storage import media_storage
from assets.youtube import MISSING, is_youtube
from rls import acting_as
from tenancy.actors import worker
from tenancy.errors import InvalidInput, NotFound, PermissionDenied
from tenancy.jobs import WorkerLost
from tenancy.models import Tenant, TenantUsage
from tests.jobs import queued
from tests.listeners import always, listening, only, reply

if TYPE_CHECKING:
    from pytest_django import Settings

    from tenancy.actors import Actor
    from tests.world import Inhabited

SAMPLES = Path(django_settings.BASE_DIR) / "assets/samples/anthias-current/anthias_assets"
CLIP = (SAMPLES / "067f652f7d3cf3e0c8906078f1aa2233.mp4").read_bytes()

# A yt-dlp that does what its options say, or fails, by the address it is given.
YT_DLP = """
import os, sys, urllib.request
options = sys.argv[1:]
value = lambda name: options[options.index(name) + 1]
assert {"--no-config", "--no-playlist", "--no-exec"} <= set(options)
assert options[-2] == "--"
assert set(os.environ) <= {"HOME", "PATH", "PYTHONPATH", "LC_CTYPE"}, os.environ
url = options[-1]
if "private" in url:
    sys.exit("ERROR: [youtube] Private video. Sign in if you have been granted access")
if "huge" in url:
    sys.exit(0)
proxies = urllib.request.ProxyHandler({"http": value("--proxy")})
target = url.partition("#")[2]
try:
    with urllib.request.build_opener(proxies).open(target) as answer:
        content = answer.read()
except OSError as error:
    sys.exit(f"ERROR: unable to download: {error}")
with open(value("--output").replace("%(ext)s", "mp4"), "wb") as file:
    file.write(content)
"""


@pytest.fixture(autouse=True)
def work_folder(folder: Path, tmp_path: Path, settings: Settings) -> Path:
    del folder
    settings.UPLOAD_DIR = tmp_path / "uploads"
    return tmp_path / "uploads" / "work"


@pytest.fixture
def actor(acme: Inhabited) -> Actor:
    return worker(acme.tenant.pk)


@pytest.fixture
def yt_dlp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "yt_dlp"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(YT_DLP)
    monkeypatch.syspath_prepend(package.parent)


def wanted(acme: Inhabited, uri: str) -> Asset:
    with acting_as(acme.owner):
        return library.create_asset(
            actor=acme.owner, values={"name": "n", "uri": uri}, download=True
        )


def read(actor: Actor, row: Asset) -> Asset:
    with acting_as(actor):
        return Asset.objects.get(pk=row.pk)


def files(row: Asset) -> list[str]:
    return [one.key for one in media_storage().walk(f"t/{row.tenant_id}/")]


def failure(actor: Actor, row: Asset) -> str:
    """Return why a download failed; nothing is stored then."""
    after = read(actor, row)
    assert (after.processing_status, after.is_processing) == ("failed", False)
    assert (after.media_path, after.file_size, files(row)) == ("", None, [])
    return str(after.metadata["error_message"])


def test_an_asset_waits_for_its_file_as_in_anthias(acme: Inhabited) -> None:
    row = wanted(acme, "https://example.com/a/clip.WEBM?x=1")
    assert row.uri == f"/data/anthias_assets/{row.asset_id}.webm"
    assert (row.mimetype, row.duration) == ("video", 0)
    assert (row.is_processing, row.processing_status) == (True, "pending")
    assert set(row.metadata) == {"source_url", "processing_started_at"}
    assert row.metadata["source_url"] == "https://example.com/a/clip.WEBM?x=1"
    assert queued(acme.owner) == [("assets.download_remote", {"asset": str(row.pk)})]


@pytest.mark.parametrize(
    "uri", ["rtsp://example.com/live", "https://example.com/live.m3u8", "https://e.com/x.MPD?a=b"]
)
def test_a_stream_is_not_downloaded(acme: Inhabited, uri: str) -> None:
    with acting_as(acme.owner):
        before = Asset.objects.count()
    with pytest.raises(InvalidInput) as refused:
        wanted(acme, uri)
    assert refused.value.field == ("uri",)
    with acting_as(acme.owner):
        assert Asset.objects.count() == before
    assert queued(acme.owner) == []


def test_an_asset_that_is_there_can_be_made_ones_own(acme: Inhabited) -> None:
    asset = acme.assets[0].pk
    with acting_as(acme.owner):
        row = start_download(actor=acme.owner, asset=asset)
        with pytest.raises(NotFound):
            start_download(actor=acme.owner, asset=UUID(int=1))
        with pytest.raises(InvalidInput):  # its uri is a path by now
            start_download(actor=acme.owner, asset=asset)
    with acting_as(acme.viewer), pytest.raises(PermissionDenied):
        start_download(actor=acme.viewer, asset=asset)
    assert row.metadata["source_url"] == "https://acme.example/0"
    assert row.uri == f"/data/anthias_assets/{row.asset_id}.mp4"
    assert queued(acme.owner) == [("assets.download_remote", {"asset": str(asset)})]


def test_what_was_fetched_is_stored_counted_and_handed_on(
    acme: Inhabited, actor: Actor, work_folder: Path
) -> None:
    with acting_as(actor):
        used = TenantUsage.objects.get().bytes
    with listening(always(reply(CLIP))) as server:
        row = wanted(acme, f"{server.url}/clip.mp4")
        download_remote(actor=actor, asset=row.pk, network=only(server))
        after = read(actor, row)
        # Delivered once more: it is not fetched again.
        download_remote(actor=actor, asset=row.pk, network=only(server))
    assert server.connections == 1
    assert (after.processing_status, after.is_processing) == ("pending", True)
    assert files(row) == [after.media_path]
    assert after.media_path.endswith(f"/{row.asset_id}.mp4")
    with default_storage.open(after.media_path) as file:
        assert file.read() == CLIP
    assert (after.file_size, after.md5) == (len(CLIP), hashlib.md5(CLIP).hexdigest())  # noqa: S324
    with acting_as(actor):
        assert TenantUsage.objects.get().bytes == used + len(CLIP)
    assert [name for name, _ in queued(actor)] == [
        "assets.download_remote",
        "assets.understand_media",
    ]
    assert list(work_folder.iterdir()) == []


def test_a_worker_killed_before_its_commit_leaves_one_file_when_it_is_done_again(
    acme: Inhabited, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> bool:
        raise KeyboardInterrupt

    with listening(always(reply(CLIP))) as server:
        row = wanted(acme, f"{server.url}/clip.mp4")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(downloads, "_finish", killed)
            download_remote(actor=actor, asset=row.pk, network=only(server))
        download_remote(actor=actor, asset=row.pk, network=only(server))
    assert files(row) == [read(actor, row).media_path]


def test_an_address_inside_is_refused_before_a_connection(acme: Inhabited, actor: Actor) -> None:
    with listening(always(reply(CLIP))) as server:
        row = wanted(acme, f"{server.url}/clip.mp4")
        download_remote(actor=actor, asset=row.pk, network=Network())
    assert server.connections == 0
    assert failure(actor, row) == "The address points at the server itself."


def test_a_server_that_fails_is_tried_again_and_given_up_with_its_reason(
    acme: Inhabited, actor: Actor
) -> None:
    with listening(always(reply(status="503 Busy"))) as server:
        row = wanted(acme, f"{server.url}/clip.mp4")
        with pytest.raises(FetchFailed) as failed:
            download_remote(actor=actor, asset=row.pk, network=only(server))
    assert read(actor, row).processing_status == "processing"
    give_up(actor=actor, asset=row.pk, error=failed.value)
    assert failure(actor, row) == "The server answered 503."


def test_a_download_that_loses_its_worker_again_and_again_says_so(
    acme: Inhabited, actor: Actor
) -> None:
    row = wanted(acme, "https://example.com/clip.mp4")
    give_up(actor=actor, asset=row.pk, error=WorkerLost())
    assert failure(actor, row) == LOST


def test_an_endless_body_is_fetched_once_and_refused(
    acme: Inhabited, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "MAX_BYTES", 1000)
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(5000)
    with listening(always(endless)) as server:
        row = wanted(acme, f"{server.url}/clip.mp4")
        download_remote(actor=actor, asset=row.pk, network=only(server))
    assert failure(actor, row) == "The download is larger than 1000 bytes."


def test_nothing_is_fetched_without_room_for_it(acme: Inhabited, actor: Actor) -> None:
    with listening(always(reply(CLIP))) as server:
        row = wanted(acme, f"{server.url}/clip.mp4")
        with acting_as(actor):
            Tenant.objects.filter(pk=row.tenant_id).update(storage_quota_gb=0)
        download_remote(actor=actor, asset=row.pk, network=only(server))
    assert server.connections == 0
    assert failure(actor, row) == FULL


def test_room_that_is_gone_by_then_is_not_passed(
    acme: Inhabited, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "storage_left", lambda _: 10**9)
    with listening(always(reply(CLIP))) as server:
        row = wanted(acme, f"{server.url}/clip.mp4")
        with acting_as(actor):
            Tenant.objects.filter(pk=row.tenant_id).update(storage_quota_gb=0)
        download_remote(actor=actor, asset=row.pk, network=only(server))
    assert "bytes of storage left" in failure(actor, row)


def test_of_an_asset_deleted_meanwhile_nothing_is_left(
    acme: Inhabited, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = downloads._fetch

    def slow(*arguments: Any) -> Path:
        with acting_as(actor):
            Asset.objects.filter(pk=row.pk).delete()
        return fetch(*arguments)

    monkeypatch.setattr(downloads, "_fetch", slow)
    with listening(always(reply(CLIP))) as server:
        row = wanted(acme, f"{server.url}/clip.mp4")
        download_remote(actor=actor, asset=row.pk, network=only(server))
    assert files(row) == []


# --- YouTube --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://www.youtube.com/watch?v=x", True),
        ("http://YouTu.be/x", True),
        ("https://music.youtube.com/x", True),
        ("https://youtube.com.example.com/x", False),
        ("https://example.com/youtube.com", False),
        ("https://[youtube.com/x", False),
        ("rtsp://youtube.com/x", False),
    ],
)
def test_an_address_on_youtube_is_known_by_its_host(url: str, *, expected: bool) -> None:
    assert is_youtube(url) is expected


def test_without_yt_dlp_a_person_learns_what_to_do(acme: Inhabited, actor: Actor) -> None:
    row = wanted(acme, "https://youtu.be/x")
    download_remote(actor=actor, asset=row.pk)
    assert failure(actor, row) == MISSING


@pytest.mark.usefixtures("yt_dlp")
def test_yt_dlp_fetches_through_the_proxy_and_nowhere_else(acme: Inhabited, actor: Actor) -> None:
    with listening(always(reply(CLIP))) as server, listening(always(reply(b"secret"))) as hidden:
        row = wanted(acme, f"https://youtu.be/x#{server.url}/")
        download_remote(actor=actor, asset=row.pk, network=only(server))
        other = wanted(acme, f"https://youtu.be/x#{hidden.url}/")
        with pytest.raises(FetchFailed, match="The address points at the server itself"):
            download_remote(actor=actor, asset=other.pk, network=only(server))
    assert (server.connections, hidden.connections) == (1, 0)
    after = read(actor, row)
    assert after.file_size == len(CLIP)
    assert files(row) == [after.media_path]


@pytest.mark.usefixtures("yt_dlp")
@pytest.mark.parametrize(
    ("which", "reason"),
    [
        (
            "private",
            "yt-dlp says: [youtube] Private video. Sign in if you have been granted access",
        ),
        ("huge", "The video is larger than what may be stored"),
    ],
)
def test_what_yt_dlp_refuses_is_given_as_its_reason(
    acme: Inhabited, actor: Actor, which: str, reason: str
) -> None:
    row = wanted(acme, f"https://youtu.be/{which}")
    with pytest.raises(FetchFailed) as failed:
        download_remote(actor=actor, asset=row.pk)
    assert failed.value.reason.startswith(reason)
    assert files(row) == []
