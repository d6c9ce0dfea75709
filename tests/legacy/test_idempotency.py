"""Writes of the old API under an Idempotency-Key: done once, answered again, and nobody else's."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client

from assets.legacy import assets as asset_views
from assets.legacy import file_uploads
from assets.models import Asset, Backup, Restore, Upload
from rls import acting_as
from tenancy import idempotency
from tenancy.capabilities import create_capability
from tenancy.models import KeptAnswer
from tests.conftest import PLATFORM, basic
from tests.legacy.test_backup import SAMPLE
from tests.legacy.test_backup import upload as recover
from tests.legacy.test_clients import PAGE, PNG, send, upload
from tests.players import add_player
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tests.world import Inhabited, World

KEY = {"Idempotency-Key": "9f1c"}
UNDER_WAY = "A request with this Idempotency-Key is under way. Wait for its answer."
OTHER = "This Idempotency-Key was sent with another request. Use a new key for each."


@pytest.fixture
def api(client_of: Callable[..., Client]) -> Client:
    """The owner of acme."""
    return client_of("acme-owner")


def told(answer: Any) -> tuple[int, bytes]:
    return answer.status_code, answer.content


def names(place: Inhabited) -> list[str | None]:
    """Return what the assets are called that the world does not have."""
    with acting_as(place.owner):
        rows = Asset.objects.exclude(name__startswith=place.marker).order_by("pk")
        return list(rows.values_list("name", flat=True))


def kept(place: Inhabited) -> int:
    """Return how many answers are kept beside the world's own."""
    with acting_as(place.owner):
        return KeptAnswer.objects.count() - 1


@pytest.mark.parametrize("version", ["v1", "v1.1", "v1.2", "v2"])
def test_an_asset_is_added_once(acme: Inhabited, api: Client, version: str) -> None:
    body = {"model": json.dumps(PAGE)} if version in {"v1", "v1.1"} else PAGE
    first, again = (send(api, "POST", f"{version}/assets", body, headers=KEY) for _ in range(2))
    assert first.status_code == 201
    assert told(again) == told(first)
    assert first["Content-Type"] == again["Content-Type"] == "application/json"
    assert names(acme) == ["Lobby"]


@pytest.mark.usefixtures("redis_away")
def test_with_redis_away_it_is_done_once_all_the_same(acme: Inhabited, api: Client) -> None:
    first, again = (send(api, "POST", "v2/assets", PAGE, headers=KEY) for _ in range(2))
    assert first.status_code == 201
    assert told(again) == told(first)
    assert names(acme) == ["Lobby"]
    other = send(api, "POST", "v2/assets", {**PAGE, "name": "Hall"}, headers=KEY)
    assert (other.status_code, other.json()) == (422, {"detail": OTHER})
    assert names(acme) == ["Lobby"]


def test_every_way_to_change_one_is_answered_again(acme: Inhabited, api: Client) -> None:
    path = f"v2/assets/{acme.assets[0].asset_id}"
    writes: list[tuple[str, str, Any]] = [
        ("PATCH", path, {"name": "Hall"}),
        ("PUT", path, {**PAGE, "name": "Roof"}),
        ("POST", "v2/assets/order", {"ids": acme.assets[1].asset_id}),
        ("PATCH", "v2/device_settings", {"player_name": "Lobby"}),
        ("POST", "v2/reboot", None),
        ("GET", "v2/assets/control/next", None),
        ("DELETE", path, None),
    ]
    for number, (method, address, body) in enumerate(writes):
        key = {"Idempotency-Key": f"key {number}"}
        first = send(api, method, address, body, headers=key)
        assert first.status_code in {200, 204}, (method, address, first.content)
        assert told(send(api, method, address, body, headers=key)) == told(first)
        assert kept(acme) == number + 1
        # The same key for what is not the same: nothing is done.
        other = send(api, "DELETE", f"v2/assets/{acme.assets[2].asset_id}", headers=key)
        assert (other.status_code, other.json()) == (422, {"detail": OTHER})
    with acting_as(acme.owner):
        left = set(Asset.objects.values_list("pk", flat=True))
    assert left == {asset.pk for asset in acme.assets[1:]}


def test_a_command_is_told_once(
    acme: Inhabited,
    api: Client,
    published: list[str],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    add_player(acme)
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            answer = send(api, "GET", "v2/assets/control/next", headers=KEY)
        assert (answer.status_code, answer.json()) == (200, "Asset switched")
    assert published == ["viewer next"]


def test_a_refusal_is_not_kept(acme: Inhabited, api: Client) -> None:
    for path, body, status in (
        (f"v2/assets/{'e' * 32}", {"name": "x"}, 404),
        (f"v2/assets/{acme.assets[0].asset_id}", {"duration": "x"}, 400),
    ):
        assert send(api, "PATCH", path, body, headers=KEY).status_code == status
        assert kept(acme) == 0
    # A refusal that is answered and not raised.
    sent = send(api, "POST", "v2/integrations/screenly/validate", {"token": "t"}, headers=KEY)
    assert (sent.status_code, kept(acme)) == (502, 0)
    assert send(api, "POST", "v2/assets", PAGE, headers=KEY).status_code == 201
    assert names(acme) == ["Lobby"]


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_what_is_no_key_is_refused(acme: Inhabited, api: Client, key: str) -> None:
    answer = send(api, "POST", "v2/assets", PAGE, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert answer.json() == {
        "non_field_errors": ["An Idempotency-Key has 1 to 255 characters."],
    }
    assert (names(acme), kept(acme)) == ([], 0)


def test_keys_of_others_are_others(
    world: World, client_of: Callable[..., Client], api: Client
) -> None:
    """Another tenant, another person, a device, two capabilities: each does it by itself."""
    clients = [api, client_of("acme-admin"), client_of("globex-owner")]
    answers = [told(send(one, "POST", "v2/assets", PAGE, headers=KEY)) for one in clients]
    assert [status for status, _ in answers] == [201, 201, 201]
    assert len({content for _, content in answers}) == 3
    assert (names(world.acme), names(world.globex)) == (["Lobby", "Lobby-1"], ["Lobby"])
    host = f"acme.{PLATFORM}"
    for number in (2, 3):
        with acting_as(world.acme.owner):
            _row, url = create_capability(actor=world.acme.owner, name=f"script {number}")
        path = f"{url[url.index('/k/') :]}/v2/assets"
        for _ in range(2):
            answer = Client(HTTP_HOST=host).post(
                path, json.dumps(PAGE), content_type="application/json", headers=KEY
            )
            assert answer.status_code == 201
        assert names(world.acme)[number:] == [f"Lobby-{number}"]
    player = add_player(world.acme)
    beat = {"version": "1"}
    assert send(player.client, "POST", "v2/device/heartbeat", beat, headers=KEY).status_code == 200
    assert kept(world.acme) == 5


def test_one_who_may_not_any_more_is_not_answered(
    world: World, client_of: Callable[..., Client]
) -> None:
    api = client_of("acme-manager")
    assert send(api, "POST", "v2/assets", PAGE, headers=KEY).status_code == 201
    with acting_as(world.acme.owner), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tenant_users SET role = 'viewer' WHERE user_id = %s",
            [world.acme.manager.user_id],
        )
    assert send(api, "POST", "v2/assets", PAGE, headers=KEY).status_code == 403


def test_after_a_day_a_key_is_new(
    acme: Inhabited, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = send(api, "POST", "v2/assets", PAGE, headers=KEY)
    for kept_for, expected in ((24, ["Lobby"]), (0, ["Lobby", "Lobby-1"])):
        monkeypatch.setattr(idempotency, "KEPT_FOR", timedelta(hours=kept_for))
        assert send(api, "POST", "v2/assets", PAGE, headers=KEY).status_code == 201
        assert names(acme) == expected
    monkeypatch.setattr(idempotency, "KEPT_FOR", timedelta(hours=24))
    # It is the last answer that is kept.
    again = send(api, "POST", "v2/assets", PAGE, headers=KEY)
    assert again.json()["name"] == "Lobby-1"
    assert told(again) != told(first)


def test_a_form_counts_by_what_it_says(acme: Inhabited, api: Client) -> None:
    """Clients choose another boundary each time."""

    def form(boundary: str, name: str) -> Any:
        fields = {**PAGE, "name": name}
        body = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
            for field, value in fields.items()
        )
        kind = f"multipart/form-data; boundary={boundary}"
        text = f"{body}--{boundary}--\r\n".encode()
        return send(api, "POST", "v2/assets", text, content_type=kind, headers=KEY)

    first, again = form("one", "Lobby"), form("another", "Lobby")
    assert first.status_code == 201
    assert told(again) == told(first)
    assert form("one", "Hallo").status_code == 422
    assert names(acme) == ["Lobby"]


def test_a_file_is_taken_once(acme: Inhabited, api: Client) -> None:
    first, again = (upload(api, PNG, **KEY) for _ in range(2))
    assert first.status_code == 200
    assert told(again) == told(first)
    with acting_as(acme.owner):
        assert Upload.objects.count() == 2  # with the world's own
    assert upload(api, PNG + b"longer", **KEY).status_code == 422
    assert upload(api, PNG, **KEY, **{"Content-MD5": "another"}).status_code == 422
    with acting_as(acme.owner):
        assert Upload.objects.count() == 2


def test_a_file_that_somebody_else_sent_meanwhile_is_given_up(
    acme: Inhabited, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both send it, one is answered; the other gets that answer and leaves nothing behind."""
    answers: list[Any] = []
    receive = file_uploads.receive_file
    method = asset_views.FILE_ASSET.methods["POST"]

    def slowly(call: Any) -> Any:
        if not answers:
            answers.append(None)
            answers[0] = upload(api, PNG, **KEY)
        return receive(call)

    monkeypatch.setitem(
        asset_views.FILE_ASSET.methods,
        "POST",
        replace(method, handle=slowly),
    )
    slow = upload(api, PNG, **KEY)
    assert slow.status_code == 200
    assert told(slow) == told(answers[0])
    with acting_as(acme.owner):
        assert Upload.objects.count() == 2


def test_a_piece_of_a_file_is_answered_again(api: Client) -> None:
    piece = {**KEY, "Content-Range": f"bytes 0-{len(PNG) - 1}/{len(PNG) * 2}"}
    first, again = (upload(api, PNG, **piece) for _ in range(2))
    assert first.status_code == 200
    assert told(again) == told(first)
    rest = {**KEY, "Content-Range": f"bytes {len(PNG)}-{len(PNG) * 2 - 1}/{len(PNG) * 2}"}
    assert upload(api, PNG, **rest).status_code == 422


def test_a_library_is_restored_once(acme: Inhabited, api: Client) -> None:
    api.defaults["HTTP_IDEMPOTENCY_KEY"] = "9f1c"
    first, again = (recover(api) for _ in range(2))
    assert (first.status_code, first.json()) == (200, "Recovery successful.")
    assert told(again) == told(first)
    with acting_as(acme.owner):
        assert Restore.objects.count() == 2  # with the world's own
    assert recover(api, SAMPLE + b"\0").status_code == 422
    with acting_as(acme.owner):
        assert Restore.objects.count() == 2


def test_a_restore_whose_answer_cannot_be_kept_is_undone(
    acme: Inhabited, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are one transaction."""
    monkeypatch.setattr(idempotency, "LONGEST_ANSWER", 3)
    api.defaults["HTTP_IDEMPOTENCY_KEY"] = "9f1c"
    assert recover(api).status_code == 400
    with acting_as(acme.owner):
        assert Restore.objects.count() == 1
        assert set(Asset.objects.values_list("pk", flat=True)) == {a.pk for a in acme.assets}
    answer = send(api, "POST", "v2/assets", PAGE)
    assert answer.status_code == 400
    assert answer.json()["non_field_errors"][0].startswith(
        "Under an Idempotency-Key an answer can have 3 bytes at most: nothing was done."
    )
    assert (names(acme), kept(acme)) == ([], 0)


def test_a_backup_is_made_once(acme: Inhabited, api: Client) -> None:
    first, again = (send(api, "POST", "v2/backup", headers=KEY) for _ in range(2))
    assert first.status_code == 201
    assert told(again) == told(first)
    with acting_as(acme.owner):
        assert Backup.objects.count() == 2  # with the world's own


def test_pairing_under_a_key_needs_no_tenant(acme: Inhabited, client_of: Any) -> None:
    for client, different in ((client_of(host=PLATFORM), 2), (client_of("acme-owner"), 1)):
        answers = [told(send(client, "POST", "v2/pair", {}, headers=KEY)) for _ in range(2)]
        assert [status for status, _ in answers] == [201, 201]
        # Who is somebody is answered the same.
        assert len(set(answers)) == different
    assert kept(acme) == 1


def test_nothing_of_an_answer_can_be_read_in_the_database(acme: Inhabited, api: Client) -> None:
    body = {**PAGE, "name": "Lobby of secrets"}
    assert send(api, "POST", "v2/assets", body, headers=KEY).status_code == 201
    with acting_as(acme.owner):
        row = KeptAnswer.objects.latest("created_at")
    stored = bytes(row.answer or b"")
    assert row.status == 201
    assert b"secrets" not in stored
    assert base64.b64encode(b"secrets")[:-4] not in stored
    assert "9f1c" not in f"{row.key_digest} {row.request_digest}"


@pytest.mark.usefixtures("scratch_database")
def test_of_many_at_once_one_is_done() -> None:
    world = create_world()
    crowd = 8
    together = threading.Barrier(crowd)
    answers: list[tuple[int, bytes]] = []

    def write() -> None:
        client = Client(headers={**basic("acme-owner"), **KEY}, HTTP_HOST=f"acme.{PLATFORM}")
        try:
            together.wait(30)
            answers.append(told(send(client, "POST", "v2/assets", PAGE)))
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(crowd)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == crowd
    done = {content for status, content in answers if status == 201}
    others = {content for status, content in answers if status != 201}
    assert len(done) == 1
    assert others <= {json.dumps({"detail": UNDER_WAY}, separators=(",", ":")).encode()}
    assert {status for status, _ in answers} <= {201, 409}
    assert names(world.acme) == ["Lobby"]
    client = Client(headers={**basic("acme-owner"), **KEY}, HTTP_HOST=f"acme.{PLATFORM}")
    assert told(send(client, "POST", "v2/assets", PAGE)) == (201, done.pop())


@pytest.mark.usefixtures("scratch_database")
def test_while_one_is_under_way_the_next_is_told_so_and_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = create_world()
    begun, told_so = threading.Event(), threading.Event()
    answers: list[Any] = []
    patch = asset_views.ASSET.methods["PATCH"]

    def slowly(call: Any) -> Any:
        begun.set()
        assert told_so.wait(30)
        return patch.handle(call)

    monkeypatch.setitem(asset_views.ASSET.methods, "PATCH", replace(patch, handle=slowly))
    client = Client(headers={**basic("acme-owner"), **KEY}, HTTP_HOST=f"acme.{PLATFORM}")
    path = f"v2/assets/{world.acme.assets[0].asset_id}"

    def write() -> None:
        try:
            answers.append(send(client, "PATCH", path, {"name": "Hall"}))
        finally:
            connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(30)
    refused = send(client, "PATCH", path, {"name": "Hall"})
    told_so.set()
    thread.join(60)
    assert (refused.status_code, refused.json()) == (409, {"detail": UNDER_WAY})
    assert answers[0].status_code == 200
    assert told(send(client, "PATCH", path, {"name": "Hall"})) == told(answers[0])
