"""`manage.py upload_benchmark`: a large upload over a slow connection that breaks twice.

Starts a server of its own, sends a made-up video to it, and says whether what arrived is what was
sent, and how much memory the server needed for it. The file is never whole anywhere but there.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import socket
import struct
import threading
import time
from contextlib import contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import psutil
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from project.management.commands.demo import HOST, free_port, start_server, stop
from tenancy.actors import person
from tenancy.people import create_user, find_user, set_password
from tenancy.tenants import LEGACY_PLAN, create_tenant, find_tenant

if TYPE_CHECKING:
    import subprocess
    from argparse import ArgumentParser
    from collections.abc import Iterator, Sequence

NAME = "upload-benchmark"
MEGABYTE = 1_000_000
LARGEST_MEGABYTES = 20_000
START_SECONDS = 60
SAMPLE_SECONDS = 0.05
# How much is sent between two looks at the clock.
PIECE = 65_536
BEGINNING = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"

BEGIN = """mutation($size: BigInt!) { beginUpload(input: {fileName: "benchmark.mp4", size: $size})
  { upload { id uploadUrl } errors { message } } }"""
FINISH = """mutation($id: ID!, $md5: String!) { finishUpload(input: {id: $id, md5: $md5})
  { asset { id md5 fileSize } errors { message } } }"""
DELETE = """mutation($ids: [ID!]!) { deleteAssets(input: {ids: $ids}) { errors { message } } }"""


class Content:
    """A file of any size that is made where it is looked at."""

    def __init__(self, size: int) -> None:
        """Make the block that it repeats, numbered."""
        self.size = size
        self._block = secrets.token_bytes(1 << 20)

    def read(self, start: int, length: int) -> bytes:
        """Return `length` bytes from `start` on, fewer at the end."""
        length = min(length, self.size - start)
        made = bytearray()
        while len(made) < length:
            number, offset = divmod(start + len(made), len(self._block))
            block = number.to_bytes(8) + self._block[8:]
            if number == 0:
                block = BEGINNING + block[len(BEGINNING) :]
            made += block[offset : offset + length - len(made)]
        return bytes(made)

    def md5(self) -> str:
        """Return the MD5 of all of it."""
        checksum = hashlib.md5(usedforsecurity=False)
        for start in range(0, self.size, 1 << 20):
            checksum.update(self.read(start, 1 << 20))
        return checksum.hexdigest()


class Memory(threading.Thread):
    """Watches how much memory the processes of a server have."""

    def __init__(self, root: int) -> None:
        """Look at them once."""
        super().__init__(daemon=True)
        self._root = psutil.Process(root)
        self._ended = threading.Event()
        self._forget_high_water()
        self.idle = self._look()
        self.peak = self.idle

    def _processes(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]

    def _forget_high_water(self) -> None:
        """Have the kernel count from now on: the password that was verified took memory, too."""
        for process in self._processes():
            reset = Path(f"/proc/{process.pid}/clear_refs")
            if reset.exists():
                reset.write_text("5")

    def _look(self) -> int:
        """Return the resident bytes of the largest process."""
        return max(int(process.memory_info().rss) for process in self._processes())

    def run(self) -> None:
        """Keep the highest value until `end`."""
        while not self._ended.wait(SAMPLE_SECONDS):
            try:
                self.peak = max(self.peak, self._look())
            except psutil.Error:
                return

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()

    def high_water(self) -> int:
        """Return the most that the kernel has seen (VmHWM); 0 where it does not say."""
        highest = 0
        for process in self._processes():
            status = Path(f"/proc/{process.pid}/status")
            if status.exists():
                [line] = [one for one in status.read_text().splitlines() if "VmHWM" in one]
                highest = max(highest, int(line.split()[1]) * 1024)
        return highest


class Client:
    """The tenant's owner at the server, signed in: verifying a password takes memory, too."""

    def __init__(self, port: int) -> None:
        """Talk to the tenant's own host."""
        self.port = port
        self.headers = {"Host": f"{NAME}.localhost:{port}"}

    def sign_in(self, password: str) -> None:
        """Sign in, as a browser does."""
        cookies = SimpleCookie()
        for body in (b"", urlencode({"username": NAME, "password": password}).encode()):
            kind = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            method = "POST" if body else "GET"
            _, headers, _ = self.ask(method, "/login/", body, **kind)
            for line in headers.get_all("Set-Cookie", ()):
                cookies.load(line)
            values = {name: cookie.value for name, cookie in cookies.items()}
            self.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in values.items())
            self.headers["X-CSRFToken"] = values["csrftoken"]
        if "sessionid" not in cookies:
            raise CommandError("The server did not let the owner sign in.")

    def ask(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, Any, bytes]:
        """Return status, headers and body of one request."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request(method, path, body, {**self.headers, **headers})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def graphql(self, query: str, **variables: Any) -> Any:
        """Return the one payload of a mutation; raises CommandError when it was refused."""
        text = json.dumps({"query": query, "variables": variables}).encode()
        _, _, body = self.ask("POST", "/graphql", text, **{"Content-Type": "application/json"})
        answer = json.loads(body)
        if "errors" in answer:
            raise CommandError(f"The server said: {answer['errors']}")
        [payload] = answer["data"].values()
        if payload["errors"]:
            raise CommandError(f"The server refused: {payload['errors']}")
        return payload

    def offset(self, path: str) -> int:
        """Return where to go on."""
        status, headers, _ = self.ask("HEAD", path)
        if status != http.HTTPStatus.OK:
            raise CommandError(f"HEAD {path} was answered with {status}.")
        return int(headers["Upload-Offset"])

    def send(self, path: str, content: Content, start: int, until: int, rate: int) -> int:
        """Send from `start` on at `rate` bytes per second; break off at `until` unless it is all.

        Return the status of the answer, 0 without one.
        """
        with socket.create_connection((HOST, self.port), timeout=60) as connection:
            lines = [
                f"PATCH {path} HTTP/1.1",
                *(f"{name}: {value}" for name, value in self.headers.items()),
                f"Upload-Offset: {start}",
                f"Content-Length: {content.size - start}",
                "Content-Type: application/octet-stream",
                "Connection: close",
            ]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            began, at = time.monotonic(), start
            while at < until:
                at += len(piece := content.read(at, min(PIECE, until - at)))
                connection.sendall(piece)
                ahead = (at - start) / rate - (time.monotonic() - began)
                if ahead > 0:
                    time.sleep(ahead)
            if until < content.size:
                # As a cable that is pulled: no goodbye.
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return 0
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            answer.read()
            return answer.status


class Command(BaseCommand):
    """Send a file, break off twice, go on, and compare."""

    help = "Measure a large upload over a slow, twice-broken connection, on a server of its own."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say how much, and how fast."""
        parser.add_argument("--megabytes", type=int, default=2048, help="of 10**6 bytes")
        parser.add_argument(
            "--rate", type=int, default=100, help="megabytes per second (default: 100)"
        )

    def handle(self, *, megabytes: int, rate: int, **_options: object) -> None:
        """Run it; CommandError when what arrived is not what was sent."""
        if not 1 <= megabytes <= LARGEST_MEGABYTES or rate < 1:
            raise CommandError(f"Between 1 and {LARGEST_MEGABYTES} megabytes, at 1 or more.")
        password = secrets.token_urlsafe(16)
        _make_tenant(password)
        connections.close_all()
        content = Content(megabytes * MEGABYTE)
        port = free_port(0)
        with start_server(port) as server:
            try:
                client = Client(port)
                _await(server, client)
                client.sign_in(password)
                with _watched(server.pid) as memory:
                    started = time.monotonic()
                    asset, offsets = self._upload(client, content, rate * MEGABYTE)
                    seconds = time.monotonic() - started
                client.graphql(DELETE, ids=[asset["id"]])
                self._report(content, asset, offsets, seconds, memory)
            finally:
                stop(server)

    def _upload(
        self, client: Client, content: Content, rate: int
    ) -> tuple[dict[str, Any], list[int]]:
        """Return the asset that it became, and where it went on after each break."""
        begun = client.graphql(BEGIN, size=content.size)["upload"]
        path = "/" + begun["uploadUrl"].split("/", 3)[3]
        offsets: list[int] = []
        for until in (content.size // 3, content.size * 2 // 3 + 1, content.size):
            while True:
                start = client.offset(path)
                status = client.send(path, content, start, until, rate)
                if status != http.HTTPStatus.CONFLICT:
                    break
                # The server has not noticed yet that the last connection is gone.
                time.sleep(0.1)
            if status == 0:
                while (offset := client.offset(path)) == start:
                    # What has arrived is written down when the server sees the connection break.
                    time.sleep(0.05)
                offsets.append(offset)
            elif status != http.HTTPStatus.OK:
                raise CommandError(f"The last part was answered with {status}.")
        asset = client.graphql(FINISH, id=begun["id"], md5=content.md5())["asset"]
        return asset, offsets

    def _report(
        self,
        content: Content,
        asset: dict[str, Any],
        offsets: list[int],
        seconds: float,
        memory: Sequence[int],
    ) -> None:
        idle, peak, highest = memory
        expected = content.md5()
        is_right = (asset["md5"], asset["fileSize"]) == (expected, content.size)
        resumed = " and ".join(f"{offset:,}" for offset in offsets)
        needed = max(peak, highest) - idle
        self.stdout.write(
            f"sent    {content.size:,} bytes in {seconds:.1f} s, resumed at {resumed}\n"
            f"md5     {asset['md5']}, {'equal' if is_right else f'not {expected}'}\n"
            f"memory  idle {idle / MEGABYTE:.1f} MB, peak {peak / MEGABYTE:.1f} MB sampled, "
            f"{highest / MEGABYTE:.1f} MB by the kernel (VmHWM)\n"
            f"for it  {needed / MEGABYTE:.1f} MB, {needed / content.size:.2%} of the file"
        )
        if not is_right:
            raise CommandError("What arrived is not what was sent.")


@contextmanager
def _watched(root: int) -> Iterator[list[int]]:
    """Yield [idle, peak, high water], filled in when the block ends."""
    found: list[int] = []
    memory = Memory(root)
    memory.start()
    try:
        yield found
    finally:
        found += [memory.idle, memory.peak, memory.high_water()]
        memory.end()
        found[1] = memory.peak


def _await(server: subprocess.Popen[bytes], client: Client) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            client.ask("GET", "/healthz")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise CommandError("The server did not answer.")


def _make_tenant(password: str) -> None:
    """Make the tenant of the benchmark, and its owner; both stay for the next time."""
    owner = find_user(NAME)
    if owner is None:
        owner = create_user(NAME, password, email=f"{NAME}@example.com").pk
    else:
        set_password(owner, password)
    if find_tenant(NAME) is None:
        create_tenant(actor=person(owner), name="Upload benchmark", slug=NAME, plan=LEGACY_PLAN)
