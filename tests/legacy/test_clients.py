"""What real clients of Anthias send, one test each (the numbers are those of the contract's list)."""

from __future__ import annotations

import base64
import json
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from assets.importing import import_library
from assets.models import Asset, new_asset_id
from rls import acting_as
from tenancy.capabilities import create_capability
from tenancy.tenants import update_settings
from tests.legacy.replayer import DATA

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.world import Inhabited

DATES = {"start_date": "2020-01-01T00:00:00Z", "end_date": "2040-01-01T00:00:00Z"}
PAGE: dict[str, Any] = {
    "name": "Lobby",
    "uri": "https://example.com/lobby",
    "mimetype": "webpage",
    **DATES,
    "duration": 10,
    "is_enabled": 1,
    "skip_asset_check": 1,
}
JSON = "application/json"
PNG = (DATA / "fixtures" / "tiny.png").read_bytes()


@pytest.fixture
def api(client_of: Callable[..., Client], acme: Inhabited) -> Client:
    """The owner of acme."""
    del acme
    return client_of("acme-owner")


def send(api: Client, method: str, path: str, body: Any = None, **how: Any) -> Any:
    """Send JSON, or bytes as they are, and return the answer."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    how = {"content_type": JSON} | how
    return api.generic(method, f"/api/{path}", data, **how)


def made(api: Client, version: str = "v2", **values: Any) -> dict[str, Any]:
    """Make an asset and return it."""
    answer = send(api, "POST", f"{version}/assets", {**PAGE, **values})
    assert answer.status_code == 201, answer.content
    shape: dict[str, Any] = answer.json()
    return shape


def upload(api: Client, content: bytes, name: str = "a.png", **headers: str) -> Any:
    """Send a file as `file_upload`."""
    body = (
        f'--b\r\nContent-Disposition: form-data; name="file_upload"; filename="{name}"\r\n\r\n'
    ).encode() + content
    return api.generic(
        "POST",
        "/api/v2/file_asset",
        body + b"\r\n--b--\r\n",
        content_type="multipart/form-data; boundary=b",
        headers=headers,
    )


def test_1_credentials_are_taken_unasked_and_asked_for_where_there_are_none(
    api: Client, client_of: Callable[..., Client]
) -> None:
    assert send(api, "GET", "v1/assets").status_code == 200
    refused = client_of(host="acme.signage.test").get("/api/v1/assets")
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"] == 'Basic realm="api"'
    assert refused["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_1_what_cannot_authenticate_has_an_address_that_does(
    acme: Inhabited, client_of: Callable[..., Client]
) -> None:
    with acting_as(acme.owner):
        _row, url = create_capability(actor=acme.owner, name="shop window")
    below = urlsplit(url).path
    nobody = client_of(host="acme.signage.test")
    shown = nobody.get(f"{below}/v1/assets")
    assert shown.content == client_of("acme-owner").get("/api/v1/assets").content
    made_by_it = nobody.post(f"{below}/v2/assets", json.dumps(PAGE), content_type=JSON)
    assert made_by_it.status_code == 201
    assert nobody.post(f"{below}/v2/reboot").status_code == 403
    assert nobody.get(f"{below[:-5]}x/api/v1/assets").status_code == 401


def test_2_bodies_of_get_and_delete_are_not_read_and_unknown_keys_not_minded(api: Client) -> None:
    asset = made(api)
    path = f"v2/assets/{asset['asset_id']}"
    assert send(api, "GET", path, b"{broken").status_code == 200
    patched = send(api, "PATCH", path, {"name": "Hall", "no_such_key": [1]})
    assert patched.json() == {**asset, "name": "Hall"}
    assert send(api, "DELETE", path, {"why": "old"}).status_code == 204
    assert send(api, "GET", path).status_code == 404


def test_3_bodies_without_a_type_and_forms_without_quoting_are_read(api: Client) -> None:
    untyped = send(api, "POST", "v2/assets", PAGE, content_type="")
    assert untyped.status_code == 201
    model = json.dumps({**PAGE, "name": "Müller & Söhne", "duration": "10"}, ensure_ascii=False)
    bare = send(
        api,
        "POST",
        "v1/assets",
        f"model={model}".encode(),
        content_type="application/x-www-form-urlencoded",
    )
    assert bare.status_code == 201
    assert bare.json()["name"] == "Müller & Söhne"


def test_3_a_body_that_comes_in_chunks_is_taken(api: Client) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file_upload"; filename="a.png"\r\n\r\n'
    told: dict[str, Any] = {
        "CONTENT_LENGTH": "",
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": BytesIO(head + PNG + b"\r\n--b--\r\n"),
    }
    answer = api.generic("POST", "/api/v1/file_asset", b"", **told)
    assert answer.status_code == 200, answer.content
    assert set(answer.json()) == {"uri", "ext", "upload_id"}


@pytest.mark.parametrize("body", [b"false", b"", b"{", b'{"now": true}'])
def test_3_whatever_a_reboot_carries_it_is_one(
    api: Client,
    published: list[str],
    body: bytes,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = send(api, "POST", "v1/reboot", body)
    assert (answer.status_code, answer.content) == (200, b"")
    assert published == ["viewer reboot"]


def test_4_flags_durations_and_mimetypes_come_in_any_spelling(api: Client) -> None:
    for version, flag, duration, mimetype in (
        ("v1.2", "1", "15", "image/png"),
        ("v1.2", 1, 15, "image"),
        ("v2", True, "15", "image"),
        ("v2", "on", 15, "image/png"),
    ):
        asset = made(api, version, is_enabled=flag, duration=duration, mimetype=mimetype)
        shown = send(api, "GET", f"v2/assets/{asset['asset_id']}").json()
        assert (shown["is_enabled"], shown["duration"], shown["mimetype"]) == (True, 15, mimetype)


@pytest.mark.parametrize("chosen", ["", "00000000000000000000000000000000", "mine"])
def test_4_an_id_that_a_client_chooses_is_not_taken(api: Client, chosen: str) -> None:
    assert re.fullmatch("[0-9a-f]{32}", made(api, asset_id=chosen)["asset_id"])
    assert made(api, asset_id=chosen)["asset_id"] != chosen


def test_5_types_are_strict_in_what_is_answered(api: Client) -> None:
    asset = made(api)
    old = send(api, "GET", f"v1/assets/{asset['asset_id']}").content
    for text in (b'"is_enabled":1', b'"nocache":0', b'"duration":"10"', b'"is_active":1'):
        assert text in old
    new = send(api, "GET", f"v2/assets/{asset['asset_id']}").content
    for text in (b'"is_enabled":true', b'"nocache":false', b'"duration":10', b'"play_order":0'):
        assert text in new


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2026-03-07T09:05:00Z", "2026-03-07T09:05:00Z"),
        ("2026-03-07T09:05:00.250Z", "2026-03-07T09:05:00.250000Z"),
        ("2026-03-07T09:05:00.123456789Z", "2026-03-07T09:05:00.123456Z"),
        ("2026-03-07T09:05:00+0000", "2026-03-07T09:05:00Z"),
        ("2026-03-07T09:05:00+05:30", "2026-03-07T03:35:00Z"),
        ("2026-03-07T09:05:00", "2026-03-07T09:05:00Z"),
        ("2026-03-07 09:05", "2026-03-07T09:05:00Z"),
        ("2026-3-7T9:5:00.000Z", "2026-03-07T09:05:00Z"),
        ("2026-03-07", "2026-03-07T00:00:00Z"),
    ],
)
def test_6_dates_come_in_every_spelling_and_go_out_in_one(
    api: Client, sent: str, shown: str
) -> None:
    assert made(api, start_date=sent)["start_date"] == shown


@pytest.mark.parametrize(
    ("zone", "winter", "summer"),
    [
        ("America/New_York", "2025-12-31T19:00:00-05:00", "2026-06-30T20:00:00.500000-04:00"),
        ("Asia/Kolkata", "2026-01-01T05:30:00+05:30", "2026-07-01T05:30:00.500000+05:30"),
        ("Europe/London", "2026-01-01T00:00:00Z", "2026-07-01T01:00:00.500000+01:00"),
        ("UTC", "2026-01-01T00:00:00Z", "2026-07-01T00:00:00.500000Z"),
    ],
)
def test_6_dates_have_the_offset_of_the_tenants_clock(
    api: Client, acme: Inhabited, zone: str, winter: str, summer: str
) -> None:
    with acting_as(acme.owner):
        update_settings(actor=acme.owner, changes={"timezone": zone})
    dates = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-07-01T00:00:00.5Z"}
    for version in ("v1.2", "v2"):
        asset = made(api, version, **dates)
        assert (asset["start_date"], asset["end_date"]) == (winter, summer)


def test_7_pieces_of_five_megabytes_make_one_file(api: Client) -> None:
    video = (DATA / "fixtures" / "tiny.mp4").read_bytes()
    total, middle = len(video), 1500
    first = upload(
        api, video[:middle], "v.mp4", **{"Content-Range": f"bytes 0-{middle - 1}/{total}"}
    ).json()
    assert first["uri"].startswith("/")
    assert first["ext"] == ".mp4"
    again = {"X-Upload-Id": f" {first['upload_id'].upper()} "}
    last = {"Content-Range": f"bytes {middle}-{total - 1}/{total}", **again}
    assert upload(api, video[middle:], "v.mp4", **last).json() == first
    # Sent again, as after an answer that got lost.
    assert upload(api, video[middle:], "v.mp4", **last).json() == first
    values = {"uri": first["uri"], "ext": first["ext"], "mimetype": "video", "duration": 0}
    asset = made(api, **values)
    assert asset["uri"] == f"/data/anthias_assets/{asset['asset_id']}.mp4"
    content = send(api, "GET", f"v2/assets/{asset['asset_id']}/content")
    told = json.loads(b"".join(content))
    assert base64.b64decode(told["content"]) == video
    assert int(content["Content-Length"]) == len(json.dumps(told, separators=(",", ":")))


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Content-Range": "bytes 0-x/4"}, {"Content-Range": "Malformed Content-Range header."}),
        ({"Content-Range": "bytes 0-3/*"}, {"Content-Range": "Malformed Content-Range header."}),
        ({"Content-Range": "bytes 4-3/9"}, {"Content-Range": "Invalid Content-Range bounds."}),
        ({"Content-Range": "bytes 0-9/9"}, {"Content-Range": "Invalid Content-Range bounds."}),
        (
            {"Content-Range": "bytes 0-7/9"},
            {"Content-Range": "Chunk length does not match the declared range."},
        ),
        (
            {"Content-Range": "bytes 0-3/9", "X-Upload-Id": "zz"},
            {"X-Upload-Id": "Malformed upload id."},
        ),
        (
            {"Content-Range": "bytes 0-3/9", "X-Upload-Id": ""},
            {"X-Upload-Id": "Malformed upload id."},
        ),
    ],
)
def test_7_a_piece_that_is_not_what_it_says_is_refused(
    api: Client, headers: dict[str, str], error: dict[str, str]
) -> None:
    answer = upload(api, b"four", **headers)
    assert (answer.status_code, answer.json()) == (400, error)


def test_7_an_upload_that_misses_pieces_makes_no_asset(api: Client) -> None:
    begun = upload(api, b"four", **{"Content-Range": "bytes 4-7/12"}).json()
    answer = send(api, "POST", "v2/assets", {**PAGE, "uri": begun["uri"], "mimetype": "image"})
    assert answer.status_code == 400
    assert answer.json() == {
        "uri": ["Of 12 bytes these are missing: 0 to 3, 8 to 11. Send them first."]
    }


@pytest.mark.parametrize("content", [b"", b"this is not a picture"])
def test_7_what_no_player_can_show_makes_no_asset(api: Client, content: bytes) -> None:
    taken = upload(api, content)
    assert taken.status_code == 200
    values = {**PAGE, "uri": taken.json()["uri"], "mimetype": "image", "ext": ".png"}
    before = send(api, "GET", "v2/assets").content
    answer = send(api, "POST", "v2/assets", values)
    assert answer.status_code == 400
    assert list(answer.json()) == ["uri"]
    assert send(api, "GET", "v2/assets").content == before


def test_8_order_is_taken_as_a_form_and_as_json_and_answers_nothing(api: Client) -> None:
    first, second = (made(api, is_enabled=0)["asset_id"] for _ in range(2))
    form = urlencode({"ids": f"{second},{first}"}).encode()
    kind = "application/x-www-form-urlencoded"
    for body, how in ((form, {"content_type": kind}), ({"ids": f"{second},{first}"}, {})):
        answer = send(api, "POST", "v1/assets/order", body, **how)
        assert (answer.status_code, answer.content) == (204, b"")
        assert "Content-Type" not in answer
        shown = {one["asset_id"]: one["play_order"] for one in send(api, "GET", "v1/assets").json()}
        assert (shown[second], shown[first]) == (0, 1)


@pytest.mark.parametrize("command", ["next", "previous", "prev", f"asset&{'0' * 32}"])
def test_9_control_says_that_it_was_done(
    api: Client,
    published: list[str],
    command: str,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = send(api, "GET", f"v2/assets/control/{command}")
    assert (answer.status_code, answer.json()) == (200, "Asset switched")
    # Players know it by its whole name only.
    meant = "previous" if command == "prev" else command
    assert published == [f"viewer {meant}"]


def test_9_what_is_no_line_of_text_is_no_command(api: Client, published: list[str]) -> None:
    for command in ("a%0Aviewer%20stop", "%00", "x" * 301):
        assert send(api, "GET", f"v2/assets/control/{command}").status_code == 400
    assert published == []


@pytest.mark.parametrize("version", ["v1.2", "v2"])
def test_10_what_a_get_answered_can_be_sent_back(api: Client, version: str) -> None:
    asset = made(api, version)
    path = f"{version}/assets/{asset['asset_id']}"
    answer = send(api, "PUT", path, {**asset, "name": "Hall"})
    # The interval of a page is stored once it is named.
    kept = {"refresh_interval_s": 0} if version == "v2" else {}
    assert answer.status_code == 200
    assert answer.json() == {**asset, "name": "Hall", "metadata": kept}


def test_11_old_names_do_what_they_did_or_say_that_they_do_not(
    api: Client, published: list[str], django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        for name in ("reboot", "shutdown"):
            assert send(api, "POST", f"v1/{name}_screenly").status_code == 200
    assert published == ["viewer reboot", "viewer shutdown"]
    for name in (
        *("reset_wifi", "generate_usb_assets_key", "upgrade_screenly", "screenshot"),
        *("display/on", "display/off"),
    ):
        for method in ("GET", "POST"):
            answer = send(api, method, f"v1/{name}")
            assert (answer.status_code, answer["Content-Type"]) == (501, JSON)
            assert list(answer.json()) == ["error"]
    assert published == ["viewer reboot", "viewer shutdown"]


def test_12_a_post_that_stored_something_never_asks_to_be_repeated(api: Client) -> None:
    """Enabled assets crashed Anthias after it had stored them."""
    for version in ("v1", "v1.1", "v1.2", "v2"):
        body = {**PAGE, "duration": "10", "is_enabled": 1}
        sent = {"model": json.dumps(body)} if version in {"v1", "v1.1"} else body
        assert send(api, "POST", f"{version}/assets", sent).status_code == 201


def test_12_a_write_with_a_key_is_done_once(api: Client) -> None:
    key = {"Idempotency-Key": "9f1c"}
    first, again = (send(api, "POST", "v2/assets", PAGE, headers=key) for _ in range(2))
    assert (first.status_code, first.content) == (201, again.content) == (201, first.content)
    assert again.status_code == 201
    path = f"v2/assets/{first.json()['asset_id']}"
    other = send(api, "POST", "v2/assets", {**PAGE, "name": "Hall"}, headers=key)
    assert other.status_code == 422
    assert [send(api, "DELETE", path, headers={"Idempotency-Key": "a"}).status_code] * 2 == [
        204,
        send(api, "DELETE", path, headers={"Idempotency-Key": "a"}).status_code,
    ]
    names = [one["name"] for one in send(api, "GET", "v2/assets").json()]
    assert names.count("Lobby") == 0


def test_12_a_refused_write_with_a_key_can_be_tried_again(api: Client) -> None:
    key = {"Idempotency-Key": "9f1c"}
    path = f"v2/assets/{'e' * 32}"
    assert send(api, "DELETE", path, headers=key).status_code == 404
    assert send(api, "POST", "v2/assets", PAGE, headers=key).status_code == 201
    assert send(api, "POST", "v2/assets", PAGE, headers={"Idempotency-Key": ""}).status_code == 400


def test_12_without_a_key_two_equal_creates_are_two_assets(api: Client) -> None:
    first, second = made(api), made(api)
    assert first["asset_id"] != second["asset_id"]
    assert (first["name"], second["name"]) == ("Lobby", "Lobby-1")


def test_13_what_has_not_changed_is_not_sent_again(api: Client) -> None:
    asset = made(api)
    for path in ("v1/assets", "v2/assets", f"v2/assets/{asset['asset_id']}"):
        tag = send(api, "GET", path)["ETag"]
        for told in (tag, f"W/{tag}", f'"other", {tag}'):
            known = send(api, "GET", path, headers={"If-None-Match": told})
            assert (known.status_code, known.content, known["ETag"]) == (304, b"", tag)
        assert send(api, "GET", path, headers={"If-None-Match": '"other"'}).status_code == 200
    tag = send(api, "GET", "v2/assets")["ETag"]
    made(api)
    assert send(api, "GET", "v2/assets", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_list_costs_as_many_statements_whatever_it_holds(
    api: Client, acme: Inhabited, version: str
) -> None:
    counted = []
    for number in (7, 990):
        with acting_as(acme.owner):
            Asset.objects.bulk_create(
                (
                    Asset(tenant=acme.tenant, asset_id=new_asset_id(), name="x", uri="https://x.y")
                    for _ in range(number)
                ),
                batch_size=500,
            )
        send(api, "GET", f"{version}/assets")
        with CaptureQueriesContext(connection) as statements:
            answer = send(api, "GET", f"{version}/assets")
        counted.append((len(answer.json()), len(statements)))
    assert [size for size, _ in counted] == [10, 1000]
    # Who asks, the door (a savepoint in a test), the clock, the list, the door again.
    assert [count for _, count in counted] == [7, 7]


def test_durations_that_an_old_box_held_as_text_are_numbers_or_none(
    globex: Inhabited, client_of: Callable[..., Client]
) -> None:
    """Anthias shows `N/A` and `12.5` in v1, and fails in v2 for the first."""
    with acting_as(globex.owner):
        Asset.objects.all().delete()
    import_library(DATA / "screenly-2018-10.db", actor=globex.owner)
    api = client_of("globex-owner")
    numbers = [10, 3, 30, 5, 10, 300, None, None, 12, None, None]
    old, new = (send(api, "GET", f"{version}/assets").json() for version in ("v1", "v2"))
    assert [one["duration"] for one in new] == numbers
    assert [one["duration"] for one in old] == [n if n is None else str(n) for n in numbers]
