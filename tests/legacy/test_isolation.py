"""Other tenants by every route and version, broken bodies, and who may do what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from assets.legacy.urls import ROUTES
from assets.models import Asset
from assets.staging import NotMedia
from assets.upload_media import create_asset_from_upload
from assets.uploads import find_by_handle
from rls import acting_as
from tests.legacy.test_clients import PAGE, PNG, send, upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.world import Inhabited, World

EVERY = [
    (version, below, method)
    for versions, below, endpoint in ROUTES
    for version in versions
    for method in endpoint.methods
]
OF_ONE = [one for one in EVERY if "<str:asset_id>" in one[1]]
UNKNOWN = "f" * 32


def rows(place: Inhabited) -> list[dict[str, Any]]:
    with acting_as(place.owner):
        return [dict(row) for row in Asset.objects.order_by("pk").values()]


@pytest.mark.parametrize(("version", "below", "method"), OF_ONE)
def test_anothers_asset_is_as_one_that_is_not_there(
    world: World, client_of: Callable[..., Client], version: str, below: str, method: str
) -> None:
    before = rows(world.globex)
    api = client_of("acme-owner")
    theirs, nobodys = (
        send(api, method, f"{version}/{below.replace('<str:asset_id>', name)}", PAGE)
        for name in ("only-globex", UNKNOWN)
    )
    assert theirs.status_code == 404
    assert theirs.json() == {"detail": "No Asset matches the given query."}
    assert theirs.content == nobodys.content
    for name in ("Allow", "Content-Type", "Vary"):
        assert theirs[name] == nobodys[name]
    assert rows(world.globex) == before


def test_the_same_id_is_ones_own_asset(world: World, client_of: Callable[..., Client]) -> None:
    before = rows(world.globex)
    path = f"v2/assets/{0:032x}"
    assert send(client_of("acme-owner"), "DELETE", path).status_code == 204
    assert rows(world.globex) == before


def test_order_reaches_no_other_tenant(world: World, client_of: Callable[..., Client]) -> None:
    before = rows(world.globex)
    ids = f"x,y,only-globex,{0:032x}"
    assert send(client_of("acme-owner"), "POST", "v1/assets/order", {"ids": ids}).status_code == 204
    assert rows(world.globex) == before


@pytest.mark.parametrize("version", ["v1", "v1.1", "v1.2", "v2"])
def test_anothers_upload_is_as_one_that_is_not_there(
    world: World, client_of: Callable[..., Client], version: str
) -> None:
    del world
    uri = upload(client_of("globex-owner"), PNG).json()["uri"]
    api = client_of("acme-owner")
    answers = []
    for one in (uri, f"/data/anthias_assets/{UNKNOWN}.tmp"):
        body = {**PAGE, "uri": one, "mimetype": "image", "duration": "10"}
        sent = {"model": json.dumps(body)} if version in {"v1", "v1.1"} else body
        answers.append(send(api, "POST", f"{version}/assets", sent))
    assert [one.status_code for one in answers] == [400, 400]
    assert answers[0].json() == {"uri": ["Invalid file path. Failed to add asset."]}
    assert answers[0].content == answers[1].content


def test_what_an_old_client_sent_is_looked_at_by_the_new_face_too(
    acme: Inhabited, client_of: Callable[..., Client]
) -> None:
    api = client_of("acme-owner")
    for content, extension in ((b"this is not a picture", None), (b"", None), (PNG, ".png")):
        handle = upload(api, content).json()["upload_id"]
        with acting_as(acme.owner):
            row = find_by_handle(actor=acme.owner, handle=handle)
            if extension is None:
                with pytest.raises(NotMedia):
                    create_asset_from_upload(actor=acme.owner, upload=row.pk, values={})
            else:
                made = create_asset_from_upload(actor=acme.owner, upload=row.pk, values={})
                assert (made.uri or "").endswith(extension)


@pytest.mark.parametrize(
    "uri", ["/etc/passwd", "/data/anthias_assets/../../etc/passwd", "/data/anthias_assets/x.tmp"]
)
def test_a_path_is_only_ever_a_handle(
    acme: Inhabited, client_of: Callable[..., Client], uri: str
) -> None:
    before = rows(acme)
    answer = send(client_of("acme-owner"), "POST", "v2/assets", {**PAGE, "uri": uri})
    assert answer.status_code == 400
    assert rows(acme) == before


BROKEN = [
    (b"{", "application/json"),
    (b"\xff\xfe", "application/json"),
    (b"NaN", "application/json"),
    (b"[" * 100_000, "application/json"),
    (b'{"ids": "\\u0000", "name": "\\ud800"}', "application/json"),
    (b'"\\ud800"', "application/json"),
    (b'{"model": "{"}', "application/json"),
    (b'{"model": "null"}', "application/json"),
    (b'{"duration": 1e999, "play_order": 1e308}', "application/json"),
    (b"a=b&" * 5000, "application/x-www-form-urlencoded"),
    (b"%ff%00=%00", "application/x-www-form-urlencoded"),
    (b"x", "multipart/form-data"),
    (b"x", "multipart/form-data; boundary=abc"),
    (
        b"--abc\r\nContent-Disposition: form-data; name=file_upload; filename=a.png\r\n\r\nab",
        "multipart/form-data; boundary=abc",
    ),
    (b"<a/>", "text/xml"),
    (b"x", "text/plain; charset=nonsense"),
]


@pytest.mark.parametrize(("version", "below", "method"), EVERY)
def test_no_body_breaks_anything(
    acme: Inhabited, client_of: Callable[..., Client], version: str, below: str, method: str
) -> None:
    before = rows(acme)
    api = client_of("acme-owner")
    path = below.replace("<str:asset_id>", f"{0:032x}").replace("<str:command>", "next")
    for body, kind in BROKEN:
        if method == "DELETE":
            path = below.replace("<str:asset_id>", UNKNOWN)
        for headers in ({}, {"Content-Range": "bytes 0-1/2"}):
            answer = send(
                api, method, f"{version}/{path}", body, content_type=kind, headers=headers
            )
            assert answer.status_code < 500, (body[:50], kind, answer.content)
    assert rows(acme) == before


@pytest.mark.parametrize("name", ["%00", "%ff", "a%00b", "..", "%2e%2e", "x" * 5000, "'", "%0a"])
def test_no_id_breaks_anything(
    acme: Inhabited, client_of: Callable[..., Client], name: str
) -> None:
    del acme
    api = client_of("acme-owner")
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        assert send(api, method, f"v2/assets/{name}", PAGE).status_code == 404
    assert send(api, "GET", f"v2/assets/{name}/content").status_code == 404


@pytest.mark.parametrize(
    ("who", "method", "path", "permission"),
    [
        ("acme-viewer", "POST", "v2/assets", "assets.create"),
        ("acme-viewer", "PUT", f"v1/assets/{0:032x}", "assets.edit"),
        ("acme-viewer", "PATCH", f"v2/assets/{0:032x}", "assets.edit"),
        ("acme-viewer", "DELETE", f"v1.2/assets/{0:032x}", "assets.delete"),
        ("acme-viewer", "POST", "v1/assets/order", "assets.edit"),
        ("acme-viewer", "POST", "v2/file_asset", "assets.create"),
        ("acme-viewer", "GET", "v1/assets/control/next", "devices.control"),
        ("acme-manager", "GET", "v2/assets/control/next", "devices.control"),
    ],
)
def test_what_a_role_may_not_do_is_refused(
    acme: Inhabited,
    client_of: Callable[..., Client],
    who: str,
    method: str,
    path: str,
    permission: str,
) -> None:
    before = rows(acme)
    answer = send(client_of(who), method, path, PAGE)
    assert answer.status_code == 403
    assert answer.json() == {"detail": f"You need the permission {permission} in this tenant."}
    assert rows(acme) == before


def test_a_foreign_page_cannot_use_a_browsers_password(
    acme: Inhabited, client_of: Callable[..., Client]
) -> None:
    before = rows(acme)
    api = client_of("acme-owner")
    for method, path in (
        ("POST", "v2/assets"),
        ("DELETE", f"v2/assets/{0:032x}"),
        ("GET", "v2/assets/control/stop"),
    ):
        answer = send(api, method, path, PAGE, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
    assert rows(acme) == before


def test_without_a_tenant_it_is_said_how_to_choose_one(
    world: World, client_of: Callable[..., Client]
) -> None:
    del world
    answer = client_of("both").get("/api/v2/assets")
    assert (answer.status_code, answer.json()["code"]) == (400, "TENANT_REQUIRED")
    foreign = client_of("acme-owner", host="globex.signage.test").get("/api/v2/assets")
    assert (foreign.status_code, foreign.json()["code"]) == (403, "TENANT_ERROR")
    assert foreign["Allow"] == "GET, HEAD, POST, OPTIONS"
