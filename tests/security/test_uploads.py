"""Uploads under attack: foreign ids, two writers, quotas in a crowd, and a real server's sockets."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import struct
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import psutil
import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.middleware.csrf import get_token
from django.test import Client, RequestFactory
from strawberry.relay import to_base64

from assets.models import Upload
from assets.staging import PIECE_BYTES, part_path
from project.management.commands.demo import HOST, free_port, start_server, stop
from rls import acting_as
from tests.conftest import PLATFORM, Graph, basic
from tests.media import HTML, PNG
from tests.uploads import (
    WORLD_BYTES,
    begin,
    files,
    limit,
    md5,
    new_assets,
    open_uploads,
    picture,
    put,
    send,
    stored,
    used,
)
from tests.world import PASSWORD, create_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_django import Settings

    from tests.world import Inhabited

METHODS = ("head", "patch", "put", "delete")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, settings: Settings) -> None:
    settings.UPLOAD_DIR = tmp_path / "uploads"
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def client(client_of: Callable[..., Client]) -> Client:
    return client_of("acme-owner")


def told(response: Any) -> tuple[int, bytes, dict[str, str]]:
    """Return all of an answer but the id of the request."""
    headers = dict(response.items())
    del headers["X-Request-ID"]
    return response.status_code, response.content, headers


def at(client: Client, row: Upload, content: bytes, offset: int, method: str = "patch") -> Any:
    return getattr(client, method)(
        f"/uploads/{row.pk}",
        content,
        content_type="application/octet-stream",
        headers={"Upload-Offset": str(offset)},
    )


# --- over HTTP ------------------------------------------------------------------------------------


def test_head_says_where_to_go_on(acme: Inhabited, client: Client) -> None:
    row = put(acme, begin(acme, 100), picture(10))
    answer = client.head(f"/uploads/{row.pk}")
    assert (answer.status_code, answer["Upload-Offset"], answer["Upload-Length"]) == (
        200,
        "10",
        "100",
    )
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["patch", "put"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Upload-Offset": "40"},
        {"Content-Range": "bytes 40-99/100"},
        {"Content-Range": "bytes 40-99/*"},
        {"Content-Range": " bytes  40-99/100 "},
    ],
)
def test_bytes_are_sent_by_offset_or_by_range(
    acme: Inhabited, client: Client, method: str, headers: dict[str, str]
) -> None:
    content = picture(100)
    row = put(acme, begin(acme, 100), content[:40])
    answer = getattr(client, method)(f"/uploads/{row.pk}", content[40:], headers=headers)
    assert answer.status_code == 200
    assert answer.json() == {"received": 100, "size": 100, "complete": True}
    assert answer["Upload-Offset"] == "100"
    assert open_uploads(acme)[0].md5 == md5(content)
    # Once more is no second effect.
    again = getattr(client, method)(f"/uploads/{row.pk}", content[40:], headers=headers)
    assert (again.status_code, again["Upload-Offset"], again.json()["code"]) == (
        409,
        "100",
        "CONFLICT",
    )


@pytest.mark.parametrize(
    ("headers", "size", "status"),
    [
        ({"Upload-Offset": "9"}, 5, 409),
        ({"Upload-Offset": "11"}, 5, 409),
        ({"Content-Range": "bytes 0-9/100"}, 10, 409),
        ({"Content-Range": "bytes 20-29/100"}, 10, 409),
        ({"Upload-Offset": "10"}, 91, 413),
        ({"Content-Range": "bytes 10-19/99"}, 10, 400),
        ({"Content-Range": "bytes 10-19/101"}, 10, 400),
        ({"Content-Range": "bytes 10-100/*"}, 91, 413),
        ({"Content-Range": "bytes 10-100/100"}, 91, 400),
        ({"Content-Range": "bytes 10-19/100"}, 9, 400),
        ({"Content-Range": "bytes 10-19/100"}, 11, 400),
        ({"Content-Range": "bytes 19-10/100"}, 10, 400),
        ({"Content-Range": "bytes -5-9/100"}, 10, 400),
        ({"Content-Range": "items 10-19/100"}, 10, 400),
        ({"Content-Range": "bytes 10-19"}, 10, 400),
        ({"Content-Range": f"bytes 10-{'9' * 20}/100"}, 10, 400),
        ({"Upload-Offset": "-1"}, 10, 400),
        ({"Upload-Offset": "x"}, 10, 400),
        ({"Upload-Offset": "9" * 30}, 10, 400),
        ({"Upload-Offset": "9" * 15}, 10, 413),
        ({}, 10, 400),
    ],
)
def test_gaps_overlaps_and_nonsense_change_nothing(
    acme: Inhabited, client: Client, headers: dict[str, str], size: int, status: int
) -> None:
    row = put(acme, begin(acme, 100), picture(10))
    before = open_uploads(acme)[0].__dict__
    answer = client.patch(f"/uploads/{row.pk}", bytes(size), headers=headers)
    assert answer.status_code == status
    assert answer.json()["message"]
    assert answer.get("Upload-Offset") == ("10" if status == 409 else None)
    after = open_uploads(acme)[0].__dict__
    assert {k: v for k, v in after.items() if k != "_state"} == {
        k: v for k, v in before.items() if k != "_state"
    }
    assert at(client, row, picture(100)[10:], 10).json()["complete"] is True
    assert open_uploads(acme)[0].md5 == md5(picture(100))


def test_content_that_is_no_media_is_refused_and_gone(acme: Inhabited, client: Client) -> None:
    row = begin(acme, len(HTML), file_name="fine.png")
    answer = at(client, row, HTML, 0)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "Bad request",
        "message": "This looks like a web page, not an image or a video.",
        "code": "INVALID",
    }
    assert [*files(), *open_uploads(acme)] == []
    assert used(acme) == WORLD_BYTES
    assert client.head(f"/uploads/{row.pk}").status_code == 404


def test_a_full_disk_is_a_507_and_goes_on_when_there_is_room(
    acme: Inhabited, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = begin(acme, len(PNG))

    def pwrite(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", pwrite)
        answer = at(client, row, PNG, 0)
    assert (answer.status_code, answer.json()["code"]) == (507, "STORAGE_FULL")
    assert client.head(f"/uploads/{row.pk}")["Upload-Offset"] == "0"
    assert at(client, row, PNG, 0).json()["complete"] is True


def test_delete_gives_up(acme: Inhabited, client: Client) -> None:
    row = put(acme, begin(acme, 100), picture(10))
    answer = client.delete(f"/uploads/{row.pk}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert open_uploads(acme) == []
    assert used(acme) == WORLD_BYTES
    assert client.delete(f"/uploads/{row.pk}").status_code == 404


@pytest.mark.parametrize("method", ["get", "post", "options", "trace"])
def test_other_methods(acme: Inhabited, client: Client, method: str) -> None:
    row = begin(acme, 10)
    answer = getattr(client, method)(f"/uploads/{row.pk}")
    assert (answer.status_code, answer["Allow"]) == (405, "HEAD, PATCH, PUT, DELETE")


# --- who may ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_foreign_upload_is_one_that_is_not_there(
    acme: Inhabited, globex: Inhabited, client: Client, method: str
) -> None:
    del acme
    foreign = put(globex, begin(globex, 100), picture(10))
    before = [row.updated_at for row in open_uploads(globex)]
    headers = {"Upload-Offset": "10"} if method in {"patch", "put"} else {}
    answers = [
        told(getattr(client, method)(f"/uploads/{key}", bytes(90) or None, headers=headers))
        if headers
        else told(getattr(client, method)(f"/uploads/{key}"))
        for key in (foreign.pk, uuid4())
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert [row.updated_at for row in open_uploads(globex)] == before
    assert [path.stem for path in files()] == [str(foreign.pk)]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "../x",
        "%2e%2e%2fx",
        "0" * 10_000,
        "%00",
        "0199d7a2-6f0e-7c3a-8f1d-2b6c5a4e9d10/",
        "ACME",
    ],
)
def test_addresses_of_no_upload(client: Client, path: str) -> None:
    answer = client.patch(f"/uploads/{path}", b"x", headers={"Upload-Offset": "0"})
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert files() == []


@pytest.mark.parametrize("method", METHODS)
def test_strangers_viewers_and_people_without_a_tenant(
    acme: Inhabited, client_of: Callable[..., Client], method: str
) -> None:
    row = begin(acme, 100)
    for client, status in (
        (Client(HTTP_HOST=f"acme.{PLATFORM}"), 401),
        (client_of("acme-viewer"), 403),
        (client_of("acme-operator"), 403),
        (client_of("outsider"), 400),
        (client_of("globex-owner", host=f"acme.{PLATFORM}"), 403),
    ):
        answer = getattr(client, method)(f"/uploads/{row.pk}", headers={"Upload-Offset": "0"})
        assert answer.status_code == status
    assert [one.received for one in open_uploads(acme)] == [[]]
    assert files() == []


def test_a_session_needs_djangos_token_for_what_changes_something(acme: Inhabited) -> None:
    row = begin(acme, len(PNG))
    client = Client(HTTP_HOST=f"acme.{PLATFORM}", enforce_csrf_checks=True)
    token = get_token(RequestFactory().get("/"))
    client.cookies[django_settings.CSRF_COOKIE_NAME] = token
    client.post(
        "/login/", {"username": "acme-owner", "password": PASSWORD, "csrfmiddlewaretoken": token}
    )
    token = client.cookies[django_settings.CSRF_COOKIE_NAME].value
    assert client.head(f"/uploads/{row.pk}").status_code == 200
    for method in ("patch", "put", "delete"):
        answer = getattr(client, method)(f"/uploads/{row.pk}", headers={"Upload-Offset": "0"})
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    answer = client.patch(
        f"/uploads/{row.pk}", PNG, headers={"Upload-Offset": "0", "X-CSRFToken": token}
    )
    assert answer.status_code == 200


# --- in a crowd ---------------------------------------------------------------------------------------


def together(count: int, work: Callable[[int, Client], None]) -> None:
    """Do it in threads that start at one moment, each with a client of its own."""
    barrier = threading.Barrier(count)
    failed: list[BaseException] = []

    def run(number: int) -> None:
        client = Client(headers=basic("acme-owner"), HTTP_HOST=f"acme.{PLATFORM}")
        try:
            barrier.wait(30)
            work(number, client)
        except BaseException as error:  # noqa: BLE001 -- the test fails with it
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


BEGIN = """mutation($size: BigInt!) { beginUpload(input: {fileName: "a.png", size: $size})
  { upload { id uploadUrl } errors { code } } }"""
FINISH = (
    """mutation($id: ID!) { finishUpload(input: {id: $id}) { asset { id } errors { code } } }"""
)


@pytest.mark.usefixtures("scratch_database")
def test_of_8_uploads_at_once_with_room_for_3_exactly_3_become_assets() -> None:
    acme = create_world().acme
    size = 30_000
    limit(acme, 3 * size + 29_999)
    before = used(acme)
    refused: list[str] = []

    def upload(number: int, client: Client) -> None:
        graph = Graph(client)
        begun = graph.data(BEGIN, size=size)["beginUpload"]
        if begun["upload"] is None:
            refused.extend(error["code"] for error in begun["errors"])
            return
        path = "/uploads/" + begun["upload"]["uploadUrl"].rpartition("/")[2]
        answer = client.patch(path, picture(size, number), headers={"Upload-Offset": "0"})
        assert answer.json()["complete"] is True
        finished = graph.data(FINISH, id=begun["upload"]["id"])["finishUpload"]
        assert finished["errors"] == []

    together(8, upload)
    assert refused == ["QUOTA_EXCEEDED"] * 5
    assert used(acme) == before + 3 * size
    rows = new_assets(acme)
    assert len(rows) == 3
    assert [*files(), *open_uploads(acme)] == []
    assert {md5(path.read_bytes()) for path in stored()} == {row.md5 for row in rows}
    assert len(stored()) == 3


@pytest.mark.usefixtures("scratch_database")
def test_of_6_requests_at_once_with_room_for_2_files_exactly_2_become_assets() -> None:
    acme = create_world().acme
    size = 60_000
    limit(acme, 2 * size + 10_000)
    before = used(acme)
    codes: list[list[str]] = []

    def upload(number: int, client: Client) -> None:
        payload = send(client, picture(size, number)).json()["data"]["uploadAsset"]
        codes.append([error["code"] for error in payload["errors"]])

    together(6, upload)
    assert sorted(codes) == [[], [], *[["QUOTA_EXCEEDED"]] * 4]
    assert used(acme) == before + 2 * size
    assert len(new_assets(acme)) == len(stored()) == 2
    assert [*files(), *open_uploads(acme)] == []


@pytest.mark.usefixtures("scratch_database")
def test_of_6_writers_at_once_one_writes_and_the_others_are_told() -> None:
    acme = create_world().acme
    content = picture(200_000)
    row = begin(acme, len(content))
    answers: list[Any] = []
    together(6, lambda _, client: answers.append(at(client, row, content, 0)))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 5]
    assert {answer["Upload-Offset"] for answer in answers} <= {"0", "200000"}
    [found] = open_uploads(acme)
    assert (found.md5, found.received) == (md5(content), [[0, 200_000]])


@pytest.mark.usefixtures("scratch_database")
def test_of_6_finishes_at_once_one_makes_an_asset() -> None:
    acme = create_world().acme
    row = put(acme, begin(acme, len(PNG)), PNG)
    codes: list[list[str]] = []

    def finish(_: int, client: Client) -> None:
        payload = Graph(client).data(FINISH, id=to_base64("UploadSession", row.pk))["finishUpload"]
        codes.append([error["code"] for error in payload["errors"]])

    together(6, finish)
    assert min(codes) == []
    assert {tuple(code) for code in codes} <= {(), ("NOT_FOUND",), ("CONFLICT",)}
    assert codes.count([]) == len(new_assets(acme)) == len(stored()) == 1
    assert [*files(), *open_uploads(acme)] == []
    assert used(acme) == WORLD_BYTES + len(PNG)


# --- a real server ------------------------------------------------------------------------------------


@contextmanager
def server(monkeypatch: pytest.MonkeyPatch, database: str) -> Iterator[tuple[int, psutil.Process]]:
    """Start granian on a database, with the folders of the test; yield port and worker."""
    login = django_settings.DATABASES["default"]
    monkeypatch.setenv(
        "DATABASE_URL",
        f"postgresql://{login['USER']}:{quote(login['PASSWORD'], safe='')}@/{database}"
        f"?host={quote(login['HOST'])}",
    )
    monkeypatch.setenv("SIGNATE_SECRET_KEY", uuid4().hex)
    monkeypatch.setenv("SIGNATE_MEDIA_ROOT", str(django_settings.MEDIA_ROOT))
    monkeypatch.setenv("SIGNATE_UPLOAD_DIR", str(django_settings.UPLOAD_DIR))
    monkeypatch.setenv("SIGNATE_LOG_LEVEL", "ERROR")
    port = free_port(0)
    with start_server(port) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None
                assert time.monotonic() < deadline
                with socket.socket() as probe:
                    if probe.connect_ex((HOST, port)) == 0:
                        break
                time.sleep(0.05)
            yield port, psutil.Process(process.pid)
        finally:
            stop(process)


class Wire:
    """Speaks HTTP to a real server, politely or not."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.headers = {"Host": f"acme.localhost:{port}", **basic("acme-owner")}

    def ask(
        self, method: str, row: Upload, body: Any = None, **headers: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/uploads/{row.pk}", body, {**self.headers, **named})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    def begin(self, row: Upload, offset: int, length: int, content: bytes) -> socket.socket:
        """Announce `length` bytes, or chunks for 0, send some, and leave the line open."""
        line = socket.create_connection((HOST, self.port), timeout=30)
        size = f"Content-Length: {length}" if length else "Transfer-Encoding: chunked"
        fields = [f"{name}: {value}" for name, value in self.headers.items()]
        head = [f"PATCH /uploads/{row.pk} HTTP/1.1", *fields, f"Upload-Offset: {offset}", size]
        line.sendall("\r\n".join([*head, "", ""]).encode())
        line.sendall(content if length else b"%x\r\n%s\r\n" % (len(content), content))
        return line

    def resume_at(self, row: Upload) -> int:
        """Return the offset once the server has noticed that the line is broken."""
        deadline = time.monotonic() + 20
        while not (offset := int(self.ask("HEAD", row).headers["Upload-Offset"])):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return offset


def hang_up(line: socket.socket) -> None:
    """Break a connection as a pulled cable does, when the other side notices."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


def test_broken_connections_chunks_and_two_writers_at_a_real_server(
    scratch_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = create_world().acme
    content = picture(3_000_000)
    with server(monkeypatch, scratch_database) as (port, process):
        wire = Wire(port)
        # In chunks, without a length.
        row = begin(acme, len(content))
        pieces = (content[at : at + 100_000] for at in range(0, len(content), 100_000))
        assert wire.ask("PATCH", row, pieces, Upload_Offset="0").status == 200
        assert found(acme, row).md5 == md5(content)
        # More of them than announced.
        row = begin(acme, 150_000)
        pieces = (content[at : at + 100_000] for at in range(0, 200_000, 100_000))
        assert wire.ask("PATCH", row, pieces, Upload_Offset="0").status == 413
        assert found(acme, row).received == []
        # A broken connection, with a length and without; then the rest.
        for length in (len(content), 0):
            row = begin(acme, len(content))
            line = wire.begin(row, 0, length, content[:1_000_000])
            # (All but a piece that is not full yet.)
            taken(acme, row, 1_000_000 - PIECE_BYTES)
            hang_up(line)
            offset = wire.resume_at(row)
            assert 1_000_000 - PIECE_BYTES < offset <= 1_000_000
            rest = content[offset:]
            assert wire.ask("PATCH", row, rest, Upload_Offset=str(offset)).status == 200
            assert found(acme, row).md5 == md5(content)
        # While one sends, another is told to wait.
        row = begin(acme, len(content))
        line = wire.begin(row, 0, len(content), content[:500_000])
        taken(acme, row, 500_000 - PIECE_BYTES)
        second = wire.ask("PATCH", row, content[:10], Upload_Offset="0")
        assert (second.status, second.headers["Upload-Offset"]) == (409, "0")
        line.sendall(content[500_000:])
        answer = http.client.HTTPResponse(line)
        answer.begin()
        assert (answer.status, answer.headers["Upload-Offset"]) == (200, "3000000")
        line.close()
        assert found(acme, row).md5 == md5(content)
        # A large file needs no memory.
        row = begin(acme, 60_000_000)
        before = memory(process)
        block = picture(1_000_000)
        assert wire.ask("PATCH", row, (block for _ in range(60)), Upload_Offset="0").status == 200
        assert found(acme, row).md5 == md5(block * 60)
        assert memory(process) - before < 30_000_000


def found(place: Inhabited, row: Upload) -> Upload:
    with acting_as(place.owner):
        return Upload.objects.get(pk=row.pk)


def taken(place: Inhabited, row: Upload, size: int) -> None:
    """Return when the server has written that much."""
    path = part_path(place.tenant.pk, row.pk)
    deadline = time.monotonic() + 20
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def memory(process: psutil.Process) -> int:
    return max(one.memory_info().rss for one in (process, *process.children(recursive=True)))
