"""Files over HTTP: to members and to holders of an address, whole and in parts, and inertly."""

from __future__ import annotations

import os
import tracemalloc
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.utils.http import http_date, parse_http_date

from assets.folder_storage import FolderBody, FolderStorage
from assets.storage import CHUNK_BYTES, store_file
from rls.context import ContextError, current_actor
from tests.conftest import PLATFORM, basic
from tests.media import HTML, PNG, SVG, WEBP, add_media, address, body, end
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_django import Settings

    from tests.conftest import Graph
    from tests.world import Inhabited


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest) -> str:
    """Each storage there is, empty."""
    request.getfixturevalue(request.param)
    return str(request.param)


@pytest.fixture
def get(db: None) -> Callable[..., Any]:
    """Open an address without any credential."""
    del db
    client = Client(HTTP_HOST=f"acme.{PLATFORM}")
    return lambda url, **headers: client.get(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


# --- who may ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
def test_the_address_that_a_query_gives_out_opens_the_file(
    acme: Inhabited, gql: Callable[..., Graph], get: Callable[..., Any]
) -> None:
    row = add_media(acme, thumbnail=WEBP)
    asset = gql().data(
        f'{{ asset(assetId: "{row.asset_id}") {{ mediaUrl thumbnailUrl fileSize }} }}'
    )["asset"]
    for name, content in (("mediaUrl", PNG), ("thumbnailUrl", WEBP)):
        url = urlsplit(asset[name])
        assert f"{url.scheme}://{url.netloc}" == acme.tenant.url
        answer = get(f"{url.path}?{url.query}")
        assert (answer.status_code, body(answer)) == (200, content)
    assert asset["fileSize"] == len(PNG)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("role", ["owner", "viewer", "operator"])
def test_members_fetch_without_a_signature(
    acme: Inhabited, client_of: Callable[..., Client], role: str
) -> None:
    row = add_media(acme, thumbnail=WEBP)
    for variant, content in (("original", PNG), ("thumbnail", WEBP)):
        answer = client_of(f"acme-{role}").get(f"/media/{acme.tenant.id}/{row.pk}/{variant}")
        assert (answer.status_code, body(answer)) == (200, content)
        assert answer["Cache-Control"] == "private, no-cache"
        assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer["Referrer-Policy"] == "same-origin"


# --- what is said about a file ------------------------------------------------------------------


def test_headers_of_a_signed_picture(
    storage: str, acme: Inhabited, get: Callable[..., Any]
) -> None:
    del storage
    row = add_media(acme, name="Grüße/aus: Köln", file_name="x.html")
    now = datetime.now(UTC)
    answer = get(address(row, lifetime=timedelta(seconds=600), now=now))
    assert answer.status_code == 200
    assert body(answer) == PNG
    headers = dict(answer.items())
    assert headers.pop("ETag").startswith('"')
    assert len(headers.pop("X-Request-ID")) == 32
    left = int(headers.pop("Cache-Control").split("=")[1].split(",")[0])
    assert 600 - 150 - 5 <= left <= 600
    modified = parse_http_date(headers.pop("Last-Modified"))
    assert abs(modified - now.timestamp()) < 60
    assert headers == {
        "Content-Type": "image/png",
        "Content-Length": str(len(PNG)),
        "Content-Disposition": "inline; filename*=utf-8''Gr%C3%BC%C3%9Fe_aus_%20K%C3%B6ln.png",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("content", "content_type", "disposition", "policy"),
    [
        (WEBP, "image/webp", 'inline; filename="n.webp"', None),
        (b"\x00\x00\x00\x18ftypisom" + b"v" * 99, "video/mp4", 'inline; filename="n.mp4"', None),
        (
            SVG,
            "image/svg+xml",
            'inline; filename="n.svg"',
            "sandbox; default-src 'none'; style-src 'unsafe-inline'",
        ),
        *[
            (
                content,
                "application/octet-stream",
                'attachment; filename="n"',
                "sandbox; default-src 'none'",
            )
            for content in (HTML, b"", b"plain", b"%PDF-1.7", b"\x00" * 5000, b"<?xml?><html/>")
        ],
    ],
)
def test_content_decides_what_a_browser_may_do_with_it(
    acme: Inhabited,
    get: Callable[..., Any],
    content: bytes,
    content_type: str,
    disposition: str,
    policy: str | None,
) -> None:
    row = add_media(acme, content, name="n", file_name="page.html", mimetype="text/html")
    answer = get(address(row))
    assert body(answer) == content
    assert answer["Content-Type"] == content_type
    assert answer["Content-Disposition"] == disposition
    assert answer.get("Content-Security-Policy") == policy
    assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("a.PNG", 'inline; filename="a.PNG"'),
        ("../../etc/passwd", 'inline; filename="_.._etc_passwd.png"'),
        ("a\r\nSet-Cookie: x", 'inline; filename="aSet-Cookie_ x.png"'),
        ('"; filename=evil.html', 'inline; filename="_; filename=evil.html.png"'),
        ("evil\u202egnp.exe", 'inline; filename="evilgnp.exe.png"'),
        ("...", 'inline; filename="file.png"'),
        ("x" * 300, f'inline; filename="{"x" * 150}.png"'),
    ],
)
def test_file_names_are_the_assets_made_harmless(
    acme: Inhabited, get: Callable[..., Any], name: str, disposition: str
) -> None:
    answer = get(address(add_media(acme, name=name)))
    end(answer)
    assert answer["Content-Disposition"] == disposition


@pytest.mark.usefixtures("folder")
def test_an_asset_without_a_name_has_its_id(acme: Inhabited, get: Callable[..., Any]) -> None:
    row = add_media(acme, name=None)
    answer = get(address(row))
    end(answer)
    assert answer["Content-Disposition"] == f'inline; filename="{row.asset_id}.png"'


# --- parts, and what the client has already -----------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=5000-", 5000, len(PNG) - 1),
        ("bytes=-10", len(PNG) - 10, len(PNG) - 1),
        ("bytes=10-999999", 10, len(PNG) - 1),
        ("bytes=0-", 0, len(PNG) - 1),
    ],
)
def test_a_part(
    storage: str, acme: Inhabited, get: Callable[..., Any], asked: str, start: int, end: int
) -> None:
    del storage
    answer = get(address(add_media(acme)), Range=asked)
    assert answer.status_code == 206
    assert body(answer) == PNG[start : end + 1]
    assert answer["Content-Range"] == f"bytes {start}-{end}/{len(PNG)}"
    assert answer["Content-Length"] == str(end + 1 - start)
    assert answer["Content-Type"] == "image/png"


def test_bytes_that_are_not_there(storage: str, acme: Inhabited, get: Callable[..., Any]) -> None:
    del storage
    for content in (PNG, b""):
        answer = get(address(add_media(acme, content)), Range=f"bytes={len(content)}-")
        assert (answer.status_code, body(answer)) == (416, b"")
        assert answer["Content-Range"] == f"bytes */{len(content)}"


@pytest.mark.usefixtures("folder")
def test_several_parts_or_none_are_the_whole(acme: Inhabited, get: Callable[..., Any]) -> None:
    url = address(add_media(acme))
    for asked in ("bytes=0-1,5-6", "bytes=9-8", "pages=1-2", "bytes=x"):
        answer = get(url, Range=asked)
        assert (answer.status_code, body(answer)) == (200, PNG)
        assert "Content-Range" not in answer


@pytest.mark.usefixtures("folder")
def test_a_part_of_what_the_client_has_the_rest_of(
    acme: Inhabited, get: Callable[..., Any]
) -> None:
    url = address(add_media(acme))
    first = get(url)
    end(first)
    etag, modified = first["ETag"], first["Last-Modified"]
    earlier = http_date(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    later = http_date(datetime(2099, 1, 1, tzinfo=UTC).timestamp())
    for if_range, status in (
        (etag, 206),
        (modified, 206),
        (f"W/{etag}", 200),
        ('"other"', 200),
        (earlier, 200),
        (later, 200),
        ("rubbish", 200),
    ):
        answer = get(url, Range="bytes=0-3", If_Range=if_range)
        assert (answer.status_code, body(answer)) == (status, PNG[:4] if status == 206 else PNG)


def test_what_the_client_has_already_is_not_sent(
    storage: str, acme: Inhabited, get: Callable[..., Any]
) -> None:
    del storage
    url = address(add_media(acme))
    first = get(url)
    end(first)
    etag, modified = first["ETag"], first["Last-Modified"]
    earlier = http_date(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    for headers, status in (
        ({"If_None_Match": etag}, 304),
        ({"If_None_Match": f'"x", W/{etag}'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_Modified_Since": modified}, 304),
        ({"If_None_Match": etag, "Range": "bytes=0-1"}, 304),
        ({"If_None_Match": '"x"', "If_Modified_Since": modified}, 200),
        ({"If_Modified_Since": earlier}, 200),
        ({"If_Modified_Since": "rubbish"}, 200),
        ({"If_Match": '"x"'}, 412),
        ({"If_Match": etag}, 200),
    ):
        answer = get(url, **headers)
        assert answer.status_code == status, headers
        assert body(answer) == (PNG if status == 200 else b"")
        if status == 304:
            assert (answer["ETag"], answer["Last-Modified"]) == (etag, modified)
            assert answer["Cache-Control"].startswith("private, max-age=")


@pytest.mark.usefixtures("folder")
def test_another_content_has_another_etag(acme: Inhabited, get: Callable[..., Any]) -> None:
    row = add_media(acme)
    before = get(address(row))
    end(before)
    store_file(row.media_path, BytesIO(PNG[:-1] + b"x"), replace=True)
    after = get(address(row), If_None_Match=before["ETag"])
    assert (after.status_code, body(after)) == (200, PNG[:-1] + b"x")


def test_head_says_the_same_and_sends_nothing(
    storage: str, acme: Inhabited, get: Callable[..., Any]
) -> None:
    del storage
    url = address(add_media(acme))
    full = get(url)
    end(full)
    head = Client(HTTP_HOST=f"acme.{PLATFORM}").head(url, headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.content) == (200, b"")
    for answer in (head, full):
        del answer["X-Request-ID"]
    # A second may have passed.
    assert {**head.headers, "Cache-Control": ""} == {**full.headers, "Cache-Control": ""}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
def test_other_methods_are_refused(acme: Inhabited, method: str) -> None:
    client = Client(HTTP_HOST=f"acme.{PLATFORM}", enforce_csrf_checks=True)
    answer = getattr(client, method)(address(add_media(acme)))
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


# --- how bytes flow -----------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
def test_no_door_is_open_while_bytes_flow(
    acme: Inhabited, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = len(connection.savepoint_ids)
    seen = []
    read = FolderBody.__next__

    def look(self: FolderBody) -> bytes:
        with pytest.raises(ContextError):
            current_actor()
        seen.append(len(connection.savepoint_ids))
        return read(self)

    monkeypatch.setattr(FolderBody, "__next__", look)
    assert body(get(address(add_media(acme)))) == PNG
    assert seen == [outside] * 2


@pytest.mark.usefixtures("folder", "scratch_database")
def test_no_connection_is_held_while_bytes_flow() -> None:
    acme = create_world().acme
    row = add_media(acme)
    client = Client(HTTP_HOST=f"acme.{PLATFORM}")
    unsigned = f"/media/{acme.tenant.id}/{row.pk}/original"
    for url, headers in ((address(row), {}), (unsigned, basic("acme-viewer"))):
        answer = client.get(url, headers=headers)
        assert connection.connection is None
        assert body(answer) == PNG


@pytest.mark.usefixtures("folder")
def test_files_are_closed_sent_or_not(
    acme: Inhabited, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    read = FolderStorage.read

    def keep(self: FolderStorage, name: str) -> Any:
        file = read(self, name)
        opened.append(file._file)
        return file

    monkeypatch.setattr(FolderStorage, "read", keep)
    url = address(add_media(acme, os.urandom(CHUNK_BYTES * 3)))
    for headers in ({}, {"If_None_Match": "*"}, {"Range": "bytes=9999999-"}):
        answer = get(url, **headers)
        if answer.streaming:
            assert len(next(iter(answer))) == CHUNK_BYTES
        end(answer)
    Client(HTTP_HOST=f"acme.{PLATFORM}").head(url)
    assert [file.closed for file in opened] == [True] * 4


def test_memory_stays_flat_whatever_the_size(
    folder: Path, acme: Inhabited, get: Callable[..., Any]
) -> None:
    size = 200 * 1024 * 1024
    row = add_media(acme)
    with (folder / row.media_path).open("r+b") as file:
        file.truncate(size)
    answer = get(address(row))
    tracemalloc.start()
    try:
        total = biggest = 0
        for chunk in answer:
            total += len(chunk)
            biggest = max(biggest, len(chunk))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        end(answer)
    assert (total, biggest) == (size, CHUNK_BYTES)
    assert peak < 4 * CHUNK_BYTES


@pytest.mark.usefixtures("bucket")
def test_memory_stays_flat_out_of_a_bucket(acme: Inhabited, get: Callable[..., Any]) -> None:
    content = PNG + os.urandom(4 * 1024 * 1024)
    answer = get(address(add_media(acme, content)))
    sizes = [len(chunk) for chunk in answer]
    end(answer)
    assert sum(sizes) == len(content)
    assert max(sizes) == CHUNK_BYTES


def test_a_storage_that_is_away_is_a_503(
    folder: Path,
    acme: Inhabited,
    get: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    row = add_media(acme)

    def away(*_: Any) -> None:
        raise OSError(5, "Input/output error", str(folder))

    monkeypatch.setattr(FolderStorage, "read", away)
    answer = get(address(row))
    assert (answer.status_code, answer["Retry-After"]) == (503, "3")
    assert answer.json()["code"] == "UNAVAILABLE"
    assert str(folder) not in answer.content.decode()
    assert "the storage is away" in caplog.text


# --- through a proxy, and from the bucket itself ------------------------------------------------


@pytest.mark.usefixtures("folder")
def test_the_proxy_is_told_which_file_to_send(
    acme: Inhabited, get: Callable[..., Any], settings: Settings, client_of: Callable[..., Client]
) -> None:
    row = add_media(acme, SVG)
    url = address(row)
    plain = get(url)
    end(plain)
    settings.ACCEL_REDIRECT = "/protected/"
    answer = get(url, Range="bytes=0-3", If_None_Match="*")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["X-Accel-Redirect"] == f"/protected/{row.media_path}"
    for name in plain.headers.keys() - {"X-Request-ID", "Content-Length", "Cache-Control"}:
        assert answer[name] == plain[name]
    assert answer["Content-Length"] == "0"
    member = client_of("acme-viewer").get(f"/media/{acme.tenant.id}/{row.pk}/original")
    assert member["X-Accel-Redirect"] == f"/protected/{row.media_path}"
    stranger = get(f"/media/{acme.tenant.id}/{row.pk}/original")
    assert stranger.status_code == 404
    assert "X-Accel-Redirect" not in stranger


@pytest.mark.usefixtures("bucket")
def test_no_proxy_is_told_to_send_what_lies_in_a_bucket(
    acme: Inhabited, get: Callable[..., Any], settings: Settings
) -> None:
    settings.ACCEL_REDIRECT = "/protected/"
    answer = get(address(add_media(acme)))
    assert "X-Accel-Redirect" not in answer
    assert body(answer) == PNG


def test_whoever_may_have_it_is_sent_to_the_bucket(
    bucket: str, acme: Inhabited, get: Callable[..., Any], settings: Settings
) -> None:
    settings.S3_REDIRECT = True
    row = add_media(acme, name="n")
    answer = get(address(row))
    assert answer.status_code == 302
    assert (answer["Cache-Control"], answer["Referrer-Policy"]) == ("no-store", "no-referrer")
    target = urlsplit(answer["Location"])
    assert f"{target.scheme}://{target.netloc}" == settings.S3_ENDPOINT_URL
    assert target.path == f"/{bucket}/{row.media_path}"
    query = parse_qs(target.query)
    assert query["response-content-type"] == ["image/png"]
    assert query["response-content-disposition"] == ['inline; filename="n.png"']
    assert query["response-cache-control"][0].startswith("private, max-age=")
    assert 0 < int(query["X-Amz-Expires"][0]) <= 300
    # That address is for GET: HEAD is answered here.
    head = Client(HTTP_HOST=f"acme.{PLATFORM}").head(address(row))
    assert (head.status_code, head["Content-Length"]) == (200, str(len(PNG)))
    # It ends with the address it stands for.
    short = get(address(row, lifetime=timedelta(seconds=40)))
    assert int(parse_qs(urlsplit(short["Location"]).query)["X-Amz-Expires"][0]) <= 40


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("content", [SVG, HTML])
def test_what_needs_our_headers_is_not_redirected(
    acme: Inhabited, get: Callable[..., Any], settings: Settings, content: bytes
) -> None:
    settings.S3_REDIRECT = True
    answer = get(address(add_media(acme, content)))
    assert (answer.status_code, body(answer)) == (200, content)
    assert answer["Content-Security-Policy"].startswith("sandbox")
