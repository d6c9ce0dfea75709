"""`manage.py sockets` from the outside: a port, clients of the `websockets` library, a signal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from assets.library import update_asset
from project.application import Sockets
from project.management.commands.demo import free_port
from project.socket_server import Server
from rls import acting_as
from tests.conftest import PLATFORM, basic
from tests.sockets import PATIENCE, act

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.world import World

HOST = "127.0.0.1"
PROTOCOL = Subprotocol("graphql-transport-ws")


def serving(scene: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """Run a scene in front of the server, which is told to stop by SIGTERM in the end."""

    async def whole() -> None:
        port = free_port(0)
        life = asyncio.create_task(Server(Sockets()).run(HOST, port))
        for _ in range(100):
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
        try:
            await scene(port)
        finally:
            if not life.done():
                os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(life, PATIENCE)

    asyncio.run(whole())


def opening(port: int, path: str = "/ws", **options: Any) -> connect:
    options.setdefault("additional_headers", basic("acme-owner"))
    return connect(
        f"ws://acme.{PLATFORM}:{port}{path}", host=HOST, port=port, proxy=None, **options
    )


async def code_of(line: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            await asyncio.wait_for(line.recv(), PATIENCE)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


async def plain(port: int, path: str, *fields: str) -> int:
    """Return the status of the answer to a request that is no handshake."""
    reader, writer = await asyncio.open_connection(HOST, port)
    lines = [f"GET {path} HTTP/1.1", f"Host: acme.{PLATFORM}", *fields, "", ""]
    writer.write("\r\n".join(lines).encode())
    head = await asyncio.wait_for(reader.readline(), PATIENCE)
    writer.close()
    return int(head.split()[1])


def test_it_serves_both_kinds_of_sockets_until_it_is_told_to_stop(committed: World) -> None:
    acme = committed.acme

    def change() -> None:
        with acting_as(acme.owner) as actor:
            update_asset(actor=actor, asset=acme.assets[0].pk, changes={"duration": 321})

    async def scene(port: int) -> None:
        async with (
            opening(port) as page,
            opening(port, "/graphql", subprotocols=[PROTOCOL]) as graph,
        ):
            assert graph.subprotocol == PROTOCOL
            for message in (
                {"type": "connection_init"},
                {"id": "1", "type": "subscribe", "payload": {"query": "{ tenant { slug } }"}},
            ):
                await graph.send(json.dumps(message))
            assert json.loads(await graph.recv()) == {"type": "connection_ack"}
            told = json.loads(await graph.recv())
            assert told["payload"]["data"] == {"tenant": {"slug": "acme"}}
            await act(change)
            assert await asyncio.wait_for(page.recv(), PATIENCE) == "*"
            os.kill(os.getpid(), signal.SIGTERM)
            assert [await code_of(page), await code_of(graph)] == [1012, 1012]

    serving(scene)


@pytest.mark.usefixtures("committed")
def test_what_it_refuses() -> None:
    async def scene(port: int) -> None:
        with pytest.raises(InvalidStatus) as refused:
            await opening(port, additional_headers={})
        response = refused.value.response
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (
            401,
            'Basic realm="api"',
        )
        assert json.loads(response.body or b"")["code"] == "UNAUTHENTICATED"
        with pytest.raises(InvalidStatus) as refused:
            await opening(port, "/elsewhere")
        assert refused.value.response.status_code == 404
        async with opening(port, "/graphql") as line:
            assert await code_of(line) == 4406
        async with opening(port) as line:
            # Its length is enough to know.
            await line.send("x" * 200_000)
            assert await code_of(line) == 1009
        key = f"Authorization: {basic('acme-owner')['Authorization']}"
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", key)
        assert [
            await plain(port, "/healthz"),
            await plain(port, "/ws", key),
            # A handshake without its key, by somebody who would have been let in.
            await plain(port, "/ws", *upgrade),
            await plain(port, "/ws", *upgrade, "Sec-WebSocket-Version: 7"),
        ] == [200, 426, 400, 400]

    serving(scene)
