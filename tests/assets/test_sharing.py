"""Sharing an asset: links, their limits, and what whoever holds one is shown."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.core.files.storage import default_storage
from django.http import HttpRequest
from django.test.client import MULTIPART_CONTENT
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from assets import share_views, sharing
from assets.colors import contrast, readable_on, surface
from assets.media_urls import Variant
from assets.models import Asset, ShareLink
from assets.share_pages import DARK, LIGHT, until
from rls import acting_as
from tenancy import events
from tenancy.credentials import is_password_of
from tenancy.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenancy.limits import FailureLimit
from tenancy.models import Tenant
from tenancy.tenants import update_settings, update_tenant
from tests.conftest import PLATFORM, basic
from tests.media import PNG, SVG, WEBP, add_media, body
from tests.shares import change, link_of, path_of, share, visit

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

    from tests.world import Inhabited

MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(500)
PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def _folder(folder: Path) -> None:
    del folder


def links(place: Inhabited) -> list[dict[str, Any]]:
    with acting_as(place.owner):
        return [dict(row) for row in ShareLink.objects.order_by("pk").values()]


def views(place: Inhabited, asset: Asset) -> int:
    return link_of(place, asset).access_count


# --- the writes -----------------------------------------------------------------------------------


def test_a_link_lasts_thirty_days_and_nothing_of_its_token_is_kept(acme: Inhabited) -> None:
    asset = add_media(acme)
    before = datetime.now(UTC)
    with acting_as(acme.manager) as actor:
        link = sharing.share_asset(actor=actor, asset=asset.pk)
        url = sharing.share_url(link)
    assert url is not None
    host, token = urlsplit(url).netloc, url.rsplit("/", 1)[1]
    assert (host, len(token)) == (f"acme.{PLATFORM}", 43)
    assert timedelta(days=30) <= link.expires_at - before < timedelta(days=30, minutes=1)
    stored = links(acme)[-1]
    assert token not in str(stored)
    assert stored["token_digest"] == hashlib.sha256(token.encode()).hexdigest()
    assert (stored["max_views"], stored["access_count"], stored["password"]) == (None, 0, "")
    assert stored["created_by_id"] == acme.manager.user_id
    assert body(visit(f"/share/{token}")) == PNG


def test_sharing_again_makes_another_link_and_ends_the_first(acme: Inhabited) -> None:
    asset, first = share(acme)
    _, second = share(acme, asset)
    assert first != second
    assert visit(first).status_code == 404
    assert body(visit(second)) == PNG
    rows = [row for row in links(acme) if row["asset_id"] == asset.pk]
    assert [row["revoked_at"] is None for row in rows] == [False, True]


def test_a_change_keeps_the_address(acme: Inhabited) -> None:
    asset, path = share(acme, max_views=1)
    assert visit(path).status_code == 200
    assert visit(path).status_code == 404
    until_then = datetime.now(UTC) + timedelta(days=3)
    with acting_as(acme.owner) as actor:
        changes = {"max_views": None, "expires_at": until_then}
        link = sharing.update_share(actor=actor, asset=asset.pk, changes=changes)
        assert path_of(link) == path
    assert visit(path).status_code == 200
    stored = link_of(acme, asset)
    assert (stored.expires_at, stored.access_count, stored.max_views) == (until_then, 2, None)
    change(acme, asset, expires_at=datetime.now(UTC) - timedelta(hours=1))
    assert visit(path).status_code == 404
    with acting_as(acme.owner) as actor:
        sharing.update_share(actor=actor, asset=asset.pk, changes={"expires_at": until_then})
    assert visit(path).status_code == 200


def test_a_revoked_link_opens_nothing_and_cannot_be_changed(acme: Inhabited) -> None:
    asset, path = share(acme)
    with acting_as(acme.owner) as actor:
        link = sharing.revoke_share(actor=actor, asset=asset.pk)
        assert link is not None
        assert sharing.revoke_share(actor=actor, asset=asset.pk) is None
    assert visit(path).status_code == 404
    before = links(acme)
    with acting_as(acme.owner) as actor, pytest.raises(Conflict, match="not shared"):
        sharing.update_share(actor=actor, asset=asset.pk, changes={"max_views": 5})
    assert links(acme) == before


NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ({"expires_at": NOW + timedelta(seconds=59)}, ["expires_at"]),
        ({"expires_at": NOW + timedelta(days=366, seconds=1)}, ["expires_at"]),
        ({"expires_at": datetime(2026, 6, 1)}, ["expires_at"]),  # noqa: DTZ001 -- the point
        ({"max_views": 0}, ["max_views"]),
        ({"max_views": 1_000_001}, ["max_views"]),
        ({"password": "7 signs"}, ["password"]),
        ({"password": "x" * 129}, ["password"]),
        ({"password": "8 signs\x00"}, ["password"]),
        (
            {"expires_at": NOW, "max_views": -1, "password": ""},
            ["expires_at", "max_views", "password"],
        ),
    ],
)
def test_every_bad_value_is_named_and_nothing_is_shared(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], faults: list[str]
) -> None:
    asset, path = share(acme)
    monkeypatch.setattr(timezone, "now", lambda: NOW)
    before = links(acme)
    for write, name in ((sharing.share_asset, "values"), (sharing.update_share, "changes")):
        with acting_as(acme.owner) as actor, pytest.raises(Invalid) as caught:
            write(actor=actor, asset=asset.pk, **{name: values})
        assert [error.field for error in caught.value.errors] == [(name,) for name in faults]
    assert links(acme) == before
    monkeypatch.undo()
    assert visit(path).status_code == 200


def test_the_ends_of_every_range_are_taken(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = acme.assets[0]
    monkeypatch.setattr(timezone, "now", lambda: NOW)
    for days, limit, password in (
        (timedelta(minutes=1), 1, "8 signs."),
        (timedelta(days=366), 1_000_000, "x" * 128),
    ):
        _, _ = share(acme, asset, expires_at=NOW + days, max_views=limit, password=password)
        link = link_of(acme, asset)
        assert (link.expires_at, link.max_views) == (NOW + days, limit)
        assert link.password.startswith("argon2$")


def test_null_takes_limit_and_password_away_and_never_the_end(acme: Inhabited) -> None:
    asset, path = share(acme, max_views=5, password=PASSWORD)
    before = links(acme)
    with acting_as(acme.owner) as actor, pytest.raises(Invalid) as caught:
        sharing.update_share(actor=actor, asset=asset.pk, changes={"expires_at": None})
    assert caught.value.field == ("expires_at",)
    assert links(acme) == before
    with acting_as(acme.owner) as actor:
        changes = {"max_views": None, "password": None}
        sharing.update_share(actor=actor, asset=asset.pk, changes=changes)
    link = link_of(acme, asset)
    assert (link.max_views, link.password) == (None, "")
    assert body(visit(path)) == PNG


def test_only_who_may_share_shares(acme: Inhabited, globex: Inhabited) -> None:
    asset, _ = share(acme)
    before = links(acme)
    for actor in (acme.operator, acme.viewer):
        with acting_as(actor):
            for write, how in (
                (sharing.share_asset, {}),
                (sharing.update_share, {"changes": {}}),
                (sharing.revoke_share, {}),
            ):
                with pytest.raises(PermissionDenied, match=r"assets\.share"):
                    write(actor=actor, asset=asset.pk, **how)
    assert links(acme) == before
    theirs = links(globex)
    for key in (uuid4(), globex.assets[0].pk):
        with acting_as(acme.owner) as owner:
            for write, how in (
                (sharing.share_asset, {}),
                (sharing.update_share, {"changes": {}}),
                (sharing.revoke_share, {}),
            ):
                with pytest.raises(NotFound, match="There is no asset with this id"):
                    write(actor=owner, asset=key, **how)
    assert (links(acme), links(globex)) == (before, theirs)


def test_each_write_is_told_and_one_without_a_difference_is_not(
    acme: Inhabited,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(events, "_send", lambda _channel, message: told.append(message))
    asset = acme.assets[1]
    with django_capture_on_commit_callbacks(execute=True), acting_as(acme.owner) as actor:
        sharing.share_asset(actor=actor, asset=asset.pk, values={"max_views": 5})
        sharing.update_share(actor=actor, asset=asset.pk, changes={"max_views": 6})
        sharing.update_share(actor=actor, asset=asset.pk, changes={"max_views": 6})
        sharing.revoke_share(actor=actor, asset=asset.pk)
        sharing.revoke_share(actor=actor, asset=asset.pk)
    assert told == [{"event": "shares.changed", "ids": [str(asset.pk)]}] * 3


def test_another_secret_key_cannot_tell_the_address_that_still_opens(
    acme: Inhabited, settings: Settings
) -> None:
    asset, path = share(acme)
    settings.SECRET_KEY = "another key"
    assert body(visit(path)) == PNG
    with acting_as(acme.owner):
        assert sharing.share_url(link_of(acme, asset)) is None


def test_a_link_goes_with_its_asset(acme: Inhabited) -> None:
    asset, path = share(acme)
    with acting_as(acme.owner):
        Asset.objects.filter(pk=asset.pk).delete()
        assert not ShareLink.objects.filter(asset_id=asset.pk).exists()
    assert visit(path).status_code == 404


# --- what a program gets --------------------------------------------------------------------------


def test_a_program_gets_the_file_and_is_counted(acme: Inhabited) -> None:
    asset, path = share(acme, add_media(acme, name="Spring menu"))
    answer = visit(path)
    assert (answer.status_code, body(answer)) == (200, PNG)
    assert answer["Content-Type"] == "image/png"
    assert answer["Content-Disposition"] == 'inline; filename="Spring menu.png"'
    for header, value in {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex, nofollow",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept",
    }.items():
        assert answer[header] == value
    link = link_of(acme, asset)
    assert link.access_count == 1
    assert link.last_accessed_at is not None


def test_a_part_of_the_file_is_a_view_like_any_other(acme: Inhabited) -> None:
    asset, path = share(acme, max_views=2)
    answer = visit(path, headers={"Range": "bytes=0-7"})
    assert (answer.status_code, body(answer)) == (206, PNG[:8])
    assert answer["Content-Range"] == f"bytes 0-7/{len(PNG)}"
    assert visit(path, headers={"Range": "bytes=8-15"}).status_code == 206
    assert visit(path, headers={"Range": "bytes=16-23"}).status_code == 404
    assert views(acme, asset) == 2


@pytest.mark.parametrize("html", [False, True])
def test_head_tells_the_same_and_counts_nothing(acme: Inhabited, html: bool) -> None:  # noqa: FBT001
    asset, path = share(acme, max_views=1)
    answer = visit(path, method="HEAD", html=html)
    assert (answer.status_code, answer.content) == (200, b"")
    assert views(acme, asset) == 0
    full = visit(path, html=html)
    assert (full.status_code, full["Content-Type"]) == (200, answer["Content-Type"])
    assert full["Content-Length"] == answer["Content-Length"]
    assert visit(path, method="HEAD", html=html).status_code == 404


@pytest.mark.parametrize("uri", ["https://example.com/a?b=c", "rtsp://camera.example/1"])
def test_an_asset_without_a_file_leads_to_its_address(acme: Inhabited, uri: str) -> None:
    with acting_as(acme.owner):
        Asset.objects.filter(pk=acme.assets[1].pk).update(uri=uri)
    _, path = share(acme, acme.assets[1])
    answer = visit(path)
    assert (answer.status_code, answer["Location"]) == (302, uri)
    assert answer["Cache-Control"] == "no-store"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert views(acme, acme.assets[1]) == 1


@pytest.mark.parametrize(
    "uri", [None, "", "/data/screenly_assets/x", "file:///etc/passwd", "http://[", "javascript:1"]
)
@pytest.mark.parametrize("html", [False, True])
def test_what_shows_nothing_is_not_there_and_not_counted(
    acme: Inhabited,
    uri: str | None,
    html: bool,  # noqa: FBT001
) -> None:
    with acting_as(acme.owner):
        Asset.objects.filter(pk=acme.assets[1].pk).update(uri=uri)
    _, path = share(acme, acme.assets[1])
    assert visit(path, html=html).status_code == 404
    assert views(acme, acme.assets[1]) == 0


def test_a_file_that_is_gone_or_elsewhere_is_not_counted(acme: Inhabited) -> None:
    asset, path = share(acme)
    default_storage.delete(asset.media_path)
    assert visit(path).status_code == 404
    with acting_as(acme.owner):
        Asset.objects.filter(pk=asset.pk).update(media_path=f"t/{uuid4()}/{asset.pk}/file")
    assert visit(path).status_code == 404
    assert views(acme, asset) == 0


def test_while_the_storage_is_away_nothing_is_counted(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset, path = share(acme)

    def away(_key: str) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(default_storage._wrapped, "read", away)  # type: ignore[attr-defined]
    answer = visit(path)
    assert (answer.status_code, answer["Retry-After"]) == (503, "3")
    assert views(acme, asset) == 0


# --- the page -------------------------------------------------------------------------------------


def page(path: str, **how: Any) -> str:
    answer = visit(path, html=True, **how)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_a_browser_gets_a_page_that_shows_the_picture(acme: Inhabited) -> None:
    asset, path = share(
        acme, add_media(acme, name="Käse <b>& Brot", description="One\n\ntwo <script>")
    )
    answer = visit(path, html=True)
    text = answer.content.decode()
    assert '<h1 dir="auto">Käse &lt;b&gt;&amp; Brot</h1>' in text
    assert "<p>One</p>" in text
    assert "<script" not in text
    source = text.partition('<img src="/media/')[2].partition('"')[0].replace("&amp;", "&")
    assert source.startswith(f"{acme.tenant.id}/{asset.pk}/{Variant.ORIGINAL}?expires=")
    assert body(visit(f"/media/{source}")) == PNG
    assert answer["Content-Security-Policy"].startswith(
        "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'self' 'sha256-"
    )
    assert "script-src" not in answer["Content-Security-Policy"]
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Robots-Tag"] == "noindex, nofollow"
    assert path.rsplit("/", 1)[1] not in text
    assert acme.tenant.name in text
    assert views(acme, asset) == 1


@pytest.mark.parametrize(
    ("content", "thumbnail", "there", "absent"),
    [
        (
            MP4,
            WEBP,
            ["<video", "poster=", "controls", "Video · MP4"],
            ['<figure class="stage"><img'],
        ),
        (MP4, None, ["<video"], ["poster="]),
        (SVG, None, ['<img src="/media/', "Image · SVG"], ["<video"]),
        (b"%PDF-1.7", None, ["Download", "File"], ['<img src="/media/', "<video"]),
        (b"%PDF-1.7", WEBP, ["/thumbnail?expires="], ["<video"]),
    ],
    ids=["video", "no poster", "svg", "file", "file with a picture"],
)
def test_the_content_decides_how_it_is_shown(
    acme: Inhabited, content: bytes, thumbnail: bytes | None, there: list[str], absent: list[str]
) -> None:
    _, path = share(acme, add_media(acme, content, thumbnail=thumbnail))
    text = page(path)
    for part in there:
        assert part in text
    for part in absent:
        assert part not in text


def test_an_address_is_a_link_and_never_a_frame(acme: Inhabited) -> None:
    asset = acme.assets[2]
    _, path = share(acme, asset)
    text = page(path)
    assert (
        f'<a class="button" href="{asset.uri}" target="_blank" rel="noreferrer noopener">'
    ) in text
    assert "<iframe" not in text


def test_the_pages_own_addresses_end_with_the_link(acme: Inhabited) -> None:
    asset, path = share(acme)
    end = datetime.now(UTC) + timedelta(seconds=90)
    change(acme, asset, expires_at=end)
    source = page(path).partition("?expires=")[2].partition("&")[0]
    assert int(source) <= end.timestamp()


def test_the_pages_addresses_may_come_from_the_bucket(
    bucket: str, settings: Settings, acme: Inhabited
) -> None:
    settings.S3_REDIRECT = True
    _, path = share(acme)
    policy = visit(path, html=True)["Content-Security-Policy"]
    origin = settings.S3_ENDPOINT_URL
    assert bucket
    assert f"img-src 'self' {origin}; media-src 'self' {origin};" in policy


def test_the_tenants_colour_is_a_style_that_the_policy_knows(acme: Inhabited) -> None:
    with acting_as(acme.owner) as actor:
        update_settings(actor=actor, changes={"primary_color": "#ffcc00"})
    _, path = share(acme)
    answer = visit(path, html=True)
    style = answer.content.decode().partition("<style>")[2].partition("</style>")[0]
    assert style.startswith(":root{--brand:#ffcc00;--fill:#ffcc00;--ink-on-fill:#000000;")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer["Content-Security-Policy"]


def test_the_end_is_told_in_the_tenants_time_zone() -> None:
    zone = ZoneInfo("Europe/Berlin")
    end = datetime(2026, 12, 23, 23, 30, tzinfo=UTC)
    assert until(end, now=end - timedelta(days=3), zone=zone) == "24 Dec 2026"
    assert (
        until(end, now=end - timedelta(days=1), zone=zone) == "24 Dec 2026, 00:30 (Europe/Berlin)"
    )


COLORS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(COLORS)
def test_every_colour_becomes_readable(color: str) -> None:
    for ground in (LIGHT, DARK):
        assert contrast(readable_on(color, ground), ground) >= 4.5
    assert contrast(*surface(color)) >= 4.5


def test_a_colour_that_reads_stays() -> None:
    assert readable_on("#0a63c9", "#ffffff") == "#0a63c9"
    assert surface("#ffcc00") == ("#ffcc00", "#000000")
    assert round(contrast("#000000", "#ffffff"), 2) == 21


# --- hosts ----------------------------------------------------------------------------------------


def test_a_link_opens_on_its_tenants_hosts_and_the_platforms(
    acme: Inhabited, globex: Inhabited
) -> None:
    asset, path = share(acme)
    with acting_as(acme.owner):
        now = datetime.now(UTC)
        Tenant.objects.filter(pk=acme.tenant.pk).update(domain="screens.example")
        assert visit(path, host="screens.example").status_code == 404
        Tenant.objects.filter(pk=acme.tenant.pk).update(domain_verified_at=now)
    opening = [f"acme.{PLATFORM}", PLATFORM, "127.0.0.1:8000", "screens.example"]
    for host in opening:
        assert body(visit(path, host=host)) == PNG
    for host in (f"globex.{PLATFORM}", f"nobody.{PLATFORM}", "other.example"):
        answer = visit(path, host=host)
        assert answer.status_code == 404
        assert globex.marker not in answer.content.decode()
    assert views(acme, asset) == len(opening)


def test_a_tenants_new_slug_is_its_links_new_host(acme: Inhabited) -> None:
    asset, path = share(acme)
    with acting_as(acme.owner) as actor:
        update_tenant(actor=actor, changes={"slug": "acme-two"})
        url = sharing.share_url(link_of(acme, asset))
    assert url == f"https://acme-two.{PLATFORM}{path}"
    assert visit(path, host=f"acme-two.{PLATFORM}").status_code == 200


# --- passwords ------------------------------------------------------------------------------------


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter of the test's own."""
    monkeypatch.setattr(share_views, "wrong_passwords", FailureLimit(f"share-{uuid4()}", 10, 300))


def test_a_browser_is_asked_and_then_shown(acme: Inhabited) -> None:
    asset, path = share(acme, password=PASSWORD)
    for method in ("GET", "HEAD", "POST"):
        answer = visit(path, html=True, method=method)
        assert answer.status_code == 200
        assert "WWW-Authenticate" not in answer
        assert "form-action 'self'" in answer["Content-Security-Policy"]
        assert "no-store" in answer["Cache-Control"]
        if method != "HEAD":
            text = answer.content.decode()
            assert '<form method="post">' in text
            assert asset.name not in text
            assert path.rsplit("/", 1)[1] not in text
    assert views(acme, asset) == 0
    wrong = visit(path, html=True, method="POST", data={"password": "wrong horse"})
    assert wrong.status_code == 403
    assert '<p class="error" role="alert">The password is wrong.</p>' in wrong.content.decode()
    assert views(acme, asset) == 0
    answer = visit(path, html=True, method="POST", data={"password": PASSWORD})
    assert answer.status_code == 200
    assert '<img src="/media/' in answer.content.decode()
    assert views(acme, asset) == 1


def test_a_program_sends_it_as_basic_or_in_the_body(acme: Inhabited) -> None:
    asset, path = share(acme, password=PASSWORD)
    for headers in ({}, {"Authorization": "Basic rubbish"}, {"Authorization": "Bearer x"}):
        answer = visit(path, headers=headers)
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == 'Basic realm="share", charset="UTF-8"'
        assert json.loads(answer.content)["message"] == "This link needs a password."
    wrong = visit(path, headers=basic("", "wrong horse"))
    assert wrong.status_code == 401
    assert json.loads(wrong.content)["message"] == "The password is wrong."
    assert views(acme, asset) == 0
    assert body(visit(path, headers=basic("", PASSWORD))) == PNG
    assert body(visit(path, headers=basic("anybody", PASSWORD))) == PNG
    assert body(visit(path, method="POST", data={"password": PASSWORD})) == PNG
    assert visit(path, method="HEAD", headers=basic("", PASSWORD)).status_code == 200
    assert views(acme, asset) == 3


def test_no_other_body_is_read(acme: Inhabited, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in a multipart body would lie on the disk before anybody is known to be let in."""
    _, path = share(acme, password=PASSWORD)

    def read(*_args: Any) -> None:
        pytest.fail("a body was read")

    monkeypatch.setattr(HttpRequest, "parse_file_upload", read)
    for content_type, sent in (
        (MULTIPART_CONTENT, {"password": PASSWORD}),
        ("application/json", json.dumps({"password": PASSWORD})),
        ("", f"password={PASSWORD}"),
    ):
        answer = visit(path, method="POST", data=sent, content_type=content_type)
        assert answer.status_code == 401


@pytest.mark.usefixtures("_patience")
@pytest.mark.parametrize("html", [False, True])
def test_ten_wrong_passwords_are_enough(acme: Inhabited, html: bool) -> None:  # noqa: FBT001
    asset, path = share(acme, password=PASSWORD)
    _, other = share(acme, password=PASSWORD)

    def given(password: str, path: str = path, address: str = "192.0.2.1") -> Any:
        return visit(
            path, html=html, method="POST", data={"password": password}, REMOTE_ADDR=address
        )

    statuses = [given(f"wrong horse {number}").status_code for number in range(10)]
    assert statuses == [403 if html else 401] * 10
    refused = given(PASSWORD)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 300
    assert "WWW-Authenticate" not in refused
    assert views(acme, asset) == 0
    # Somebody else, and another link, are not in the way of that.
    assert given(PASSWORD, address="192.0.2.2").status_code == 200
    assert given(PASSWORD, path=other).status_code == 200


@pytest.mark.usefixtures("_patience")
def test_the_right_password_forgives_the_wrong_ones(acme: Inhabited) -> None:
    _, path = share(acme, password=PASSWORD)
    for _ in range(3):
        for _ in range(9):
            assert visit(path, headers=basic("", "wrong horse")).status_code == 401
        assert visit(path, headers=basic("", PASSWORD)).status_code == 200


def test_a_password_that_changes_meanwhile_closes_the_link(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset, path = share(acme, password=PASSWORD)
    check = is_password_of

    def slowly(encoded: str, password: str) -> bool:
        change(acme, asset, password="another")
        return check(encoded, password)

    monkeypatch.setattr(share_views, "is_password_of", slowly)
    assert visit(path, headers=basic("", PASSWORD)).status_code == 404
    assert views(acme, asset) == 0


def test_a_link_without_a_password_looks_at_none(acme: Inhabited) -> None:
    asset, path = share(acme)
    for headers in (basic("acme-owner", "wrong"), {"Cookie": "sessionid=x"}):
        assert body(visit(path, headers=headers)) == PNG
    assert body(visit(path, method="POST", data={"password": "anything"})) == PNG
    assert views(acme, asset) == 3
