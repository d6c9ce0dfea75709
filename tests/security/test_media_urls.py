"""Addresses of media: what is signed opens, and everything else has one answer."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from assets.media_urls import Variant, is_signed_for, seconds_left, signed_url
from assets.models import Asset
from assets.storage import store_file, thumbnail_key
from rls import acting_as
from tenancy import middleware
from tenancy.actors import ActorKind, link, member, operator
from tenancy.errors import PermissionDenied
from tenancy.logs import LineFormatter
from tenancy.models import Tenant
from tenancy.tenants import is_active_tenant
from tests.conftest import PLATFORM, basic
from tests.media import PNG, WEBP, add_media, address, body

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import Settings

    from tests.world import Inhabited, World

NOW = datetime(2026, 5, 17, 12, 0, 1, tzinfo=UTC)
NOT_FOUND = {
    "error": "Not found",
    "message": "There is no such file, or this address does not open it (any more).",
    "code": "NOT_FOUND",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Settings) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def get(url: str, *, host: str = f"acme.{PLATFORM}", **headers: str) -> Any:
    return Client(HTTP_HOST=host).get(url, headers=headers)


def shape(answer: Any) -> tuple[int, bytes, dict[str, str]]:
    """Everything a client sees of an answer, its request's id aside."""
    headers = {name: value for name, value in answer.items() if name != "X-Request-ID"}
    return answer.status_code, answer.content, headers


def refused(url: str, **how: Any) -> None:
    """Fail unless the answer is, to the byte, that of an asset there has never been."""
    nothing = get(f"/media/{uuid4()}/{uuid4()}/original")
    assert nothing.status_code == 404
    assert json.loads(nothing.content) == NOT_FOUND
    assert shape(get(url, **how)) == shape(nothing), url


def suspend(place: Inhabited) -> None:
    with acting_as(operator(place.tenant.id)):
        Tenant.objects.filter(pk=place.tenant.id).update(is_active=False)


def change(place: Inhabited, row: Asset, **values: Any) -> None:
    with acting_as(place.owner):
        Asset.objects.filter(pk=row.pk).update(**values)


# --- the address itself -------------------------------------------------------------------------


def test_an_address_names_host_file_and_end(acme: Inhabited) -> None:
    row = add_media(acme)
    url = urlsplit(signed_url(row, Variant.ORIGINAL, now=NOW))
    assert f"{url.scheme}://{url.netloc}" == f"https://acme.{PLATFORM}"
    assert url.path == f"/media/{acme.tenant.id}/{row.pk}/original"
    query = parse_qs(url.query)
    assert query.keys() == {"expires", "signature"}
    assert query["expires"] == [str(int(datetime(2026, 5, 17, 13, tzinfo=UTC).timestamp()))]
    assert len(query["signature"][0]) == 43


def test_an_address_stays_the_same_for_a_quarter_of_its_life(acme: Inhabited) -> None:
    row = add_media(acme)
    minutes = [0, 7, 14, 15, 29, 30]
    urls = [
        signed_url(row, Variant.ORIGINAL, now=NOW + timedelta(minutes=minute)) for minute in minutes
    ]
    assert urls[0] == urls[1] == urls[2] != urls[3] == urls[4] != urls[5]
    for seconds in (1, 2, 3, 60, 3600, 86_400):
        lifetime = timedelta(seconds=seconds)
        for later in range(0, seconds * 2, max(seconds // 7, 1)):
            now = NOW + timedelta(seconds=later)
            url = signed_url(row, Variant.ORIGINAL, lifetime=lifetime, now=now)
            left = seconds_left(parse_qs(urlsplit(url).query)["expires"][0], now=now)
            assert seconds * 3 / 4 <= left <= seconds


@pytest.mark.parametrize(
    "expires", ["", "0", "-1", "+9", " 9", "9\n", "1e12", "\u0669" * 10, "9" * 13]
)
def test_what_is_no_moment_has_passed(expires: str) -> None:
    assert seconds_left(expires, now=NOW) == 0


def test_the_moment_of_the_end_is_too_late(acme: Inhabited) -> None:
    row = add_media(acme)
    query = parse_qs(urlsplit(signed_url(row, Variant.ORIGINAL, now=NOW)).query)
    how = {name: value[0] for name, value in query.items()}
    end = datetime.fromtimestamp(int(how["expires"]), UTC)
    assert is_signed_for(row, Variant.ORIGINAL, **how, now=end - timedelta(seconds=1))
    assert not is_signed_for(row, Variant.ORIGINAL, **how, now=end)
    assert not is_signed_for(row, Variant.THUMBNAIL, **how, now=NOW)


def test_every_part_of_an_address_is_signed(
    acme: Inhabited, globex: Inhabited, settings: Settings
) -> None:
    row = add_media(acme, thumbnail=WEBP)
    signature = signed_url(row, Variant.ORIGINAL, now=NOW).rpartition("=")[2]

    def changed(**values: Any) -> Asset:
        fields = ("id", "tenant", "media_path", "md5")
        return Asset(**{**{name: getattr(row, name) for name in fields}, **values})

    assert signed_url(changed(), Variant.ORIGINAL, now=NOW).endswith(signature)
    others = [
        changed(id=uuid4()),
        changed(tenant=globex.tenant),
        changed(media_path=f"{row.media_path}x"),
        changed(md5="0" * 32),
    ]
    for other in others:
        assert signature not in signed_url(other, Variant.ORIGINAL, now=NOW)
    assert signature not in signed_url(row, Variant.THUMBNAIL, now=NOW)
    later = NOW + timedelta(hours=1)
    assert signature not in signed_url(row, Variant.ORIGINAL, now=later)
    settings.SECRET_KEY = "another key"
    assert signature not in signed_url(row, Variant.ORIGINAL, now=NOW)


# --- what opens, and what does not --------------------------------------------------------------


def test_the_address_opens_to_anybody_on_any_host(acme: Inhabited) -> None:
    row = add_media(acme, thumbnail=WEBP)
    for host in (f"acme.{PLATFORM}", PLATFORM, "127.0.0.1", "screens.example"):
        assert body(get(address(row), host=host)) == PNG
        assert body(get(address(row, Variant.THUMBNAIL), host=host)) == WEBP


def test_a_signature_that_is_not_its_own_opens_nothing(acme: Inhabited, globex: Inhabited) -> None:
    row, other = add_media(acme, thumbnail=WEBP), add_media(acme)
    foreign = add_media(globex)
    path, query = address(row).split("?")
    expires, signature = query.removeprefix("expires=").split("&signature=")
    assert body(get(f"{path}?{query}")) == PNG
    other_path = f"/media/{acme.tenant.id}/{other.pk}/original"
    for url in (
        path,
        f"{path}?expires={expires}",
        f"{path}?signature={signature}",
        f"{path}?expires={expires}&signature=",
        f"{path}?expires={expires}&signature={signature}&signature=x",
        f"{path}?expires={expires}&signature={signature[:-1]}",
        f"{path}?expires={expires}&signature={signature}=",
        f"{path}?expires={expires}&signature={signature.swapcase()}",
        f"{path}?expires={expires}&signature=%C3%A9%00%ED%A0%80",
        f"{path}?expires={expires}&signature={'A' * 10_000}",
        f"{path}?expires={int(expires) + 1}&signature={signature}",
        f"{path}?expires=0{expires}&signature={signature}",
        f"{path}?expires={expires}%0A&signature={signature}",
        f"{path}?expires={'9' * 5000}&signature={signature}",
        f"{path.replace('original', 'thumbnail')}?{query}",
        f"{path.replace('original', 'other')}?{query}",
        f"{path.replace('original', 'ORIGINAL')}?{query}",
        f"{path}/?{query}",
        f"{path.replace(str(row.pk), str(row.pk).upper())}?{query}",
        f"{path.replace(str(row.pk), 'x')}?{query}",
        f"/media/?{query}",
        "/media/",
        "/media/..%2f..%2fetc%2fpasswd?" + query,
        f"{other_path}?{query}",
        f"/media/{globex.tenant.id}/{row.pk}/original?{query}",
        # The other tenant's own good signature, for this tenant's asset and the other way round.
        f"{path}?{address(foreign).split('?')[1]}",
        f"/media/{acme.tenant.id}/{foreign.pk}/original?{address(foreign).split('?')[1]}",
        f"/media/{globex.tenant.id}/{foreign.pk}/original?{query}",
    ):
        refused(url)


def test_an_address_ends(acme: Inhabited) -> None:
    row = add_media(acme)
    now = datetime.now(UTC)
    old = address(row, now=now - timedelta(hours=1))
    refused(old)
    assert body(get(address(row, now=now - timedelta(minutes=40)))) == PNG


def test_a_replaced_file_has_another_address(acme: Inhabited) -> None:
    row = add_media(acme, thumbnail=WEBP)
    urls = [address(row), address(row, Variant.THUMBNAIL)]
    key = store_file(row.media_path, BytesIO(b"GIF89a"))
    change(acme, row, media_path=key)
    for url in urls:
        refused(url)
    row.media_path = key
    assert body(get(address(row))) == b"GIF89a"
    change(acme, row, md5="0" * 32)
    refused(address(row))


def test_what_is_gone_is_gone(acme: Inhabited) -> None:
    row = add_media(acme, thumbnail=WEBP)
    urls = [address(row), address(row, Variant.THUMBNAIL)]
    default_storage.delete(row.media_path)
    default_storage.delete(thumbnail_key(acme.tenant.id, row.pk))
    for url in urls:
        refused(url)
        path = url.split("?")[0]
        refused(path, **basic("acme-owner"))
    change(acme, row, media_path="", thumbnail_url="")
    for url in urls:
        refused(url)
    row.media_path = row.thumbnail_url = ""
    for variant in Variant:
        refused(address(row, variant))
    with acting_as(acme.owner):
        Asset.objects.filter(pk=row.pk).delete()
    for url in urls:
        refused(url)


@pytest.mark.parametrize("key", ["t/{other}/{row}/file", "t/{tenant}/{other}/file", "secret"])
def test_a_row_that_names_another_folder_opens_nothing(acme: Inhabited, key: str) -> None:
    row = add_media(acme)
    row.media_path = key.format(tenant=acme.tenant.id, row=row.pk, other=uuid4())
    store_file(row.media_path, BytesIO(PNG))
    change(acme, row, media_path=row.media_path)
    refused(address(row))
    refused(address(row).split("?")[0], **basic("acme-owner"))


def test_a_suspended_tenants_addresses_open_nothing(acme: Inhabited, world: World) -> None:
    row = add_media(acme)
    assert body(get(address(row))) == PNG
    suspend(acme)
    refused(address(row))
    refused(address(add_media(world.initech)))
    answer = get(address(row).split("?")[0], **basic("acme-owner"))
    assert answer.status_code == 403


def test_whether_a_tenant_may_be_entered(world: World) -> None:
    assert is_active_tenant(world.acme.tenant.id) is True
    assert is_active_tenant(world.initech.tenant.id) is False
    assert is_active_tenant(uuid4()) is None


def test_a_link_is_somebody_without_any_permission(acme: Inhabited) -> None:
    actor = link(acme.tenant.id)
    assert (actor.kind, actor.tenant_id) == (ActorKind.LINK, acme.tenant.id)
    assert (actor.user_id, actor.permissions) == (None, frozenset())
    with pytest.raises(PermissionDenied):
        actor.require("assets.view")


# --- with other credentials, and without a signature --------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        basic("acme-owner", "wrong"),
        basic("nobody"),
        basic("globex-owner"),
        {"Authorization": "Basic rubbish"},
        {"Authorization": "Bearer rubbish"},
        {"Cookie": "sessionid=" + "x" * 32},
        {"Cookie": "sessionid=" + "x" * 5000},
        {"X-Tenant-ID": "globex"},
        {"X-Tenant-ID": "nobody"},
    ],
)
def test_a_signature_looks_at_no_other_credential(acme: Inhabited, headers: dict[str, str]) -> None:
    url = address(add_media(acme))
    with CaptureQueriesContext(connection) as captured:
        answer = get(url, **headers)
    assert (answer.status_code, body(answer)) == (200, PNG)
    sent = " ".join(query["sql"] for query in captured.captured_queries)
    assert "sign_in_lookup" not in sent
    assert "identity_of" not in sent
    assert "django_session" not in sent
    refused(f"{url}x", **headers)


def test_a_signature_is_looked_at_for_media_only(acme: Inhabited) -> None:
    query = address(add_media(acme)).split("?")[1]
    for path in ("/graphql", "/login/", "/mediax/"):
        answer = get(f"{path}?{query}", **basic("acme-owner", "wrong"))
        assert answer.status_code == 401
    # A share's address is a credential by itself too, whatever answers there.
    assert get("/share/x", **basic("acme-owner", "wrong")).status_code == 404


def test_without_a_signature_only_members_of_that_tenant(acme: Inhabited, world: World) -> None:
    row = add_media(acme)
    path = address(row).split("?")[0]
    assert body(get(path, **basic("acme-viewer"))) == PNG
    assert body(get(path, **basic("both"))) == PNG
    refused(path)
    refused(path, host=f"globex.{PLATFORM}", **basic("globex-owner"))
    refused(path, host=PLATFORM, **basic("globex-owner"))
    refused(path, host=PLATFORM, **basic("both"))
    refused(path, host=f"globex.{PLATFORM}", **basic("both"))
    refused(path, host=PLATFORM, **basic("outsider"))
    foreign = add_media(world.globex)
    refused(f"/media/{acme.tenant.id}/{foreign.pk}/original", **basic("acme-owner"))
    refused(f"/media/{world.globex.tenant.id}/{foreign.pk}/original", **basic("acme-owner"))
    refused(f"/media/{acme.tenant.id}/{uuid4()}/original", **basic("acme-owner"))


def test_a_member_without_assets_view_gets_nothing(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = address(add_media(acme)).split("?")[0]
    assert body(get(path, **basic("acme-viewer"))) == PNG
    monkeypatch.setattr(
        middleware,
        "member",
        lambda *who: replace(member(*who), permissions=frozenset({"layouts.view"})),
    )
    refused(path, **basic("acme-viewer"))


# --- what is told --------------------------------------------------------------------------------


def test_nothing_of_another_tenant_is_told(acme: Inhabited, globex: Inhabited) -> None:
    row, foreign = add_media(acme), add_media(globex, PNG + b"GLOBEX-MARK")
    for url in (
        address(row),
        address(foreign) + "x",
        f"/media/{acme.tenant.id}/{foreign.pk}/original?{address(foreign).split('?')[1]}",
    ):
        answer = get(url)
        told = body(answer) + repr(dict(answer.items())).encode()
        assert globex.marker.encode() not in told
        assert b"globex" not in told


def test_no_line_of_the_log_has_a_signature(
    acme: Inhabited, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    row = add_media(acme)
    url = address(row)
    query = url.split("?")[1]
    body(get(url))
    refused(f"{url}x")
    get(f"/media/{acme.tenant.id}?{query}")
    Client(HTTP_HOST=f"acme.{PLATFORM}").post(url)
    get(url, Range="bytes=99999999-", If_Match='"x"')
    lines = [LineFormatter().format(record) for record in caplog.records]
    text = "\n".join(line for line in lines if "django.db" not in line)
    assert f"GET /media/{acme.tenant.id}/{row.pk}/original 200" in text
    assert "signature" not in text
    assert query.rpartition("=")[2] not in text
