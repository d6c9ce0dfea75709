"""Requests of the WSGI application behind an ASGI server: what it is given, what is sent."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from project.bridge import Bridge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

PATIENCE = 10


def scope(method: str = "GET", raw_path: bytes = b"/", **values: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "scheme": "http",
        "http_version": "1.1",
        "path": "/",
        "raw_path": raw_path,
        "query_string": b"",
        "headers": [(b"host", b"acme.signage.test")],
        "client": ("192.0.2.7", "40000"),
        "server": ("192.0.2.1", "80"),
        **values,
    }


class Client:
    """Sends the given messages, then hangs up when it is told to; keeps what it is sent."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.sent: list[dict[str, Any]] = []
        self.asked = 0
        self.is_gone = asyncio.Event()
        self.has_enough = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        if self.messages:
            return self.messages.pop(0)
        await self.is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if len(self.sent) == 10:
            self.has_enough.set()
        await asyncio.sleep(0)

    @property
    def body(self) -> bytes:
        return b"".join(one.get("body", b"") for one in self.sent)


def part(body: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def answer(
    application: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]],
    client: Callable[[], Client],
    **values: Any,
) -> Client:
    """Run one request, and return what the client has of it."""

    async def whole() -> Client:
        made = client()
        bridge = Bridge(application, 2)
        await asyncio.wait_for(bridge(scope(**values), made.receive, made.send), PATIENCE)
        return made

    return asyncio.run(whole())


UPLOAD: dict[str, Any] = {
    "method": "POST",
    "headers": [(b"host", b"x"), (b"content-length", b"12")],
}


def test_the_environment() -> None:
    seen: dict[str, Any] = {}

    def application(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        seen.update(environ)
        start("204 No Content", [("X-Said", "caf\xe9")])
        return []

    headers = [
        (b"host", b"acme.signage.test"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"x-twice", b"1"),
        (b"x-twice", b"2"),
        (b"x_forwarded_for", b"203.0.113.9"),
        (b"content-type", b"text/plain"),
        (b"content-length", b"0"),
    ]
    client = answer(
        application,
        lambda: Client(part()),
        raw_path=b"/d%2Fo%ff%c3%a9?x",
        query_string=b"q=%ff&r=\xff",
        scheme="https",
        headers=headers,
    )
    named = {name: value for name, value in seen.items() if not name.startswith("wsgi.")}
    assert named == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/d/o\xff\xc3\xa9",
        "QUERY_STRING": "q=%ff&r=\xff",
        "SERVER_NAME": "192.0.2.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "40000",
        "HTTP_HOST": "acme.signage.test",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_TWICE": "1,2",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "0",
    }
    assert seen["wsgi.url_scheme"] == "https"
    assert client.sent == [
        {"type": "http.response.start", "status": 204, "headers": [(b"x-said", b"caf\xe9")]},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


def test_a_body_is_read_as_it_is_asked_for() -> None:
    made: list[Client] = []
    asked: list[int] = []

    def client() -> Client:
        made.append(
            Client(
                part(b"one\ntw", more=True),
                part(b"", more=True),
                part(b"o\nthree", more=True),
                part(b"\nrest"),
            )
        )
        return made[0]

    def application(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"]
        read = []
        for take in (
            lambda: body.read(2),
            body.readline,
            lambda: body.readline(2),
            lambda: body.readline(99),
            lambda: body.read(4),
            body.read,
            lambda: body.read(1),
            body.readline,
        ):
            read.append(take())
            asked.append(made[0].asked)
        start("200 OK", [])
        return [b"|".join(read)]

    client_ = answer(application, client, **UPLOAD)
    assert client_.body == b"on|e\n|tw|o\n|thre|e\nrest||"
    assert asked == [1, 1, 1, 3, 3, 4, 4, 4]


def test_lines() -> None:
    def application(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"]
        start("200 OK", [])
        return [repr([body.readlines(3), list(body)]).encode()]

    client = answer(application, lambda: Client(part(b"a\nbc\nd\ne")), **UPLOAD)
    assert client.body == b"[[b'a\\n', b'bc\\n'], [b'd\\n', b'e']]"


def test_a_body_that_breaks_off_is_not_taken_for_whole() -> None:
    seen: list[BaseException] = []

    def application(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            seen.append(error)
        start("400 Bad Request", [])
        return [b""]

    def client() -> Client:
        made = Client(part(b"half", more=True))
        made.is_gone.set()
        return made

    assert answer(application, client, **UPLOAD).sent[0]["status"] == 400
    assert len(seen) == 1


def test_an_answer_ends_when_nobody_takes_it() -> None:
    closed = threading.Event()
    made: list[Client] = []

    class Endless:
        streaming = True

        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"more"

        def close(self) -> None:
            closed.set()

    def application(environ: WSGIEnvironment, start: StartResponse) -> Any:
        del environ
        start("200 OK", [])
        return Endless()

    async def whole() -> None:
        client = Client(part())
        made.append(client)
        bridge = Bridge(application, 1)
        asking = asyncio.create_task(bridge(scope(), client.receive, client.send))
        await client.has_enough.wait()
        client.is_gone.set()
        await asyncio.wait_for(asking, PATIENCE)

    asyncio.run(whole())
    assert closed.is_set()
    assert made[0].sent[1] == {"type": "http.response.body", "body": b"more", "more_body": True}


def test_what_fails_outside_of_django_is_not_answered_as_if_it_had_not() -> None:
    def application(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        del environ, start
        raise RuntimeError

    with pytest.raises(RuntimeError):
        answer(application, lambda: Client(part()))
