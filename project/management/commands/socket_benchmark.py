"""`manage.py socket_benchmark`: what open subscriptions cost, idle and when something happens.

Starts a server of its own, opens a subscription on each of many sockets, each with a credential of
its own (the dear case: each is judged by itself), and says what the server needs for them.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING

import psutil
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from assets.library import create_asset, update_asset
from project.local import ROOT
from project.management.commands.demo import (
    HOST,
    NOT_FOR_SERVERS,
    environment_without,
    free_port,
    start,
    start_server,
    stop,
)
from rls import acting_as
from tenancy.actors import Actor, ActorKind, operator
from tenancy.devices import register_device
from tenancy.models import Device
from tenancy.tenants import LEGACY_PLAN, create_tenant, find_tenant

if TYPE_CHECKING:
    import subprocess
    from argparse import ArgumentParser
    from uuid import UUID

    from websockets.asyncio.client import ClientConnection

    from assets.models import Asset

NAME = "socket-benchmark"
MOST = 5_000
AT_ONCE = 40
START_SECONDS = 60
PATIENCE = 60
PROTOCOL = Subprotocol("graphql-transport-ws")
SUBSCRIPTION = "subscription { assetsChanged { kind ids } }"
DOCUMENT = {"query": SUBSCRIPTION}


class Command(BaseCommand):
    """Open, wait, change something, and count."""

    help = "Measure idle subscriptions, and one change that all of them hear of."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say how many, and for how long nothing happens."""
        parser.add_argument("--sockets", type=int, default=1000, help="(default: 1000)")
        parser.add_argument(
            "--idle", type=int, default=40, help="seconds in which nothing happens (default: 40)"
        )
        parser.add_argument(
            "--granian", action="store_true", help="as the demonstration serves them"
        )

    def handle(self, *, sockets: int, idle: int, granian: bool, **_options: object) -> None:
        """Run it; CommandError when somebody did not hear of the change."""
        if not 1 <= sockets <= MOST or not 1 <= idle <= 600:
            raise CommandError(f"Between 1 and {MOST} sockets, for 1 to 600 seconds.")
        tenant_id, asset, secrets = _make_tenant(sockets)
        connections.close_all()
        os.environ["SIGNATE_SOCKETS"] = str(sockets + 100)
        port = free_port(0)
        with start_server(port) if granian else _start(port) as server:
            try:
                _await(server, port)
                asyncio.run(self._measure(server.pid, port, tenant_id, asset, secrets, idle))
            finally:
                stop(server)
                with acting_as(operator(tenant_id)):
                    Device.objects.all().delete()

    async def _measure(
        self, root: int, port: int, tenant_id: UUID, asset: Asset, secrets: list[str], idle: int
    ) -> None:
        # Some are opened and closed before: what the first need (connections of the pool, documents
        # that are kept) stays for the others.
        for line in await asyncio.gather(*(_open(port, one) for one in secrets[:AT_ONCE])):
            await line.close()
        before = _memory(root)
        started = time.monotonic()
        lines: list[ClientConnection] = []
        for first in range(0, len(secrets), AT_ONCE):
            batch = [_open(port, secret) for secret in secrets[first : first + AT_ONCE]]
            lines += await asyncio.gather(*batch)
        opened = time.monotonic() - started
        heard: dict[int, float] = {}
        reading = [
            asyncio.create_task(_listen(number, line, heard)) for number, line in enumerate(lines)
        ]
        busy = _cpu(root)
        began = time.monotonic()
        await asyncio.sleep(idle)
        share = (_cpu(root) - busy) / (time.monotonic() - began)
        held, pooled = await asyncio.to_thread(_connections)
        after = _memory(root)
        changed = time.monotonic()
        await asyncio.to_thread(_change, tenant_id, asset)
        await asyncio.wait(reading, timeout=PATIENCE)
        delays = sorted(at - changed for at in heard.values())
        for line in lines:
            line.transport.abort()
        each = (after - before) / len(lines)
        self.stdout.write(
            f"opened  {len(lines):,} subscriptions in {opened:.1f} s, "
            "each on a socket and with a credential of its own\n"
            f"memory  {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB with them: "
            f"{each / 1000:.1f} KB each\n"
            f"idle    {idle} s took {share:.1%} of one processor, judging everybody again\n"
            f"rows    {held} database connections in use, {pooled} idle in the pool\n"
            f"heard   {len(delays):,} of {len(lines):,}; half of them after "
            f"{statistics.median(delays) if delays else 0:.2f} s, the last after "
            f"{delays[-1] if delays else 0:.2f} s"
        )
        if len(delays) != len(lines):
            raise CommandError("Not everybody heard of the change.")


def _start(port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "manage.py"), "sockets", "--port", str(port)]
    return start(command, environment_without(NOT_FOR_SERVERS))


def _processes(root: int) -> list[psutil.Process]:
    parent = psutil.Process(root)
    return [parent, *parent.children(recursive=True)]


def _memory(root: int) -> int:
    return sum(int(process.memory_info().rss) for process in _processes(root))


def _cpu(root: int) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in _processes(root))


def _connections() -> tuple[int, int]:
    """Return how many connections to the database do something, and how many do not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE state <> 'idle'), count(*) FILTER (WHERE state = 'idle')"
            " FROM pg_stat_activity WHERE datname = current_database() "
            "AND usename = current_user AND pid <> pg_backend_pid()"
        )
        held, pooled = cursor.fetchone()
    connections.close_all()
    return int(held), int(pooled)


async def _open(port: int, secret: str) -> ClientConnection:
    line = await connect(
        f"ws://{HOST}:{port}/graphql", subprotocols=[PROTOCOL], open_timeout=PATIENCE
    )
    for message in (
        {"type": "connection_init", "payload": {"Authorization": f"Bearer {secret}"}},
        {"type": "subscribe", "id": "1", "payload": DOCUMENT},
        # Its answer says that the subscription before it is there.
        {"type": "subscribe", "id": "2", "payload": {"query": "{ __typename }"}},
    ):
        await line.send(json.dumps(message))
    async for text in line:
        said = json.loads(text)
        if said["type"] == "error":
            raise CommandError(f"The server refused: {said['payload']}")
        if said["type"] == "complete":
            return line
    raise CommandError("The server hung up.")


async def _listen(number: int, line: ClientConnection, heard: dict[int, float]) -> None:
    async for text in line:
        kind = json.loads(text)["type"]
        if kind == "ping":
            await line.send('{"type":"pong"}')
        elif kind == "next":
            heard[number] = time.monotonic()
            return


def _make_tenant(sockets: int) -> tuple[UUID, Asset, list[str]]:
    """Return the tenant of the benchmark, an asset of it, and the secrets of so many devices."""
    tenant_id = find_tenant(NAME)
    if tenant_id is None:
        founder = Actor(kind=ActorKind.OPERATOR)
        tenant_id = create_tenant(
            actor=founder, name="Socket benchmark", slug=NAME, plan=LEGACY_PLAN
        ).pk
    with acting_as(operator(tenant_id)) as actor:
        Device.objects.all().delete()
        made = [register_device(actor=actor, values={"name": f"{n}"}) for n in range(sockets)]
        asset = create_asset(
            actor=actor, values={"name": "Something", "uri": "https://example.com/"}
        )
    return tenant_id, asset, [secret for _row, secret in made]


def _change(tenant_id: UUID, asset: Asset) -> None:
    with acting_as(operator(tenant_id)) as actor:
        update_asset(actor=actor, asset=asset.pk, changes={"name": "Something else"})
    connections.close_all()


def _await(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            asyncio.run(_knock(port))
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise CommandError("The server did not answer.")


async def _knock(port: int) -> None:
    _, writer = await asyncio.open_connection(HOST, port)
    writer.close()
