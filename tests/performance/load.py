"""The load: connections that each send their next request when the last one is answered.

One loop in this process, requests written beforehand, of HTTP no more than a status and a length:
it takes what it needs from the same cores as the servers, so it has to need little.
"""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from django.core.management.base import CommandError

from project.management.commands.demo import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER_SECONDS = 60
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of it: how long each answer took, in seconds, sorted, and all of them together."""

    latencies: tuple[float, ...]
    wall: float

    def quantile(self, share: float) -> float:
        """Return the latency, in seconds, that this share of the answers did not pass."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


class _Line:
    """A connection, what has come of the answer it waits for, and since when it waits."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._arrived = bytearray()
        self._whole = 0
        self._head = 0
        self.since = 0.0

    def send(self, request: bytes) -> None:
        self._arrived.clear()
        self._whole = 0
        self.since = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Return the body, once all of it is there; CommandError for no 200 or no length."""
        chunk = self.socket.recv(_CHUNK)
        if not chunk:
            raise CommandError("The server hung up.")
        arrived = self._arrived
        arrived += chunk
        if not self._whole:
            self._head = arrived.find(b"\r\n\r\n") + 4
            if self._head < 4:
                return None
            head = bytes(arrived[: self._head]).lower()
            at = head.find(b"content-length:")
            if head[9:12] != b"200" or at < 0:
                raise CommandError(f"A request was answered with {bytes(arrived[:2000])!r}")
            self._whole = self._head + int(head[at + 15 : head.index(b"\r", at)])
        if len(arrived) < self._whole:
            return None
        return bytes(arrived[self._head :])


def drive(
    port: int,
    requests: Iterator[bytes],
    *,
    connections: int,
    seconds: float,
    is_right: Callable[[bytes], bool],
) -> Answered:
    """Keep so many connections busy for so long; CommandError for any answer that is not right."""
    latencies: list[float] = []
    lines: list[_Line] = []
    selector = selectors.DefaultSelector()
    try:
        for _ in range(connections):
            lines.append(_Line(port))
            selector.register(lines[-1].socket, selectors.EVENT_READ, lines[-1])
        began = time.perf_counter()
        until = began + seconds
        for line, request in zip(lines, islice(requests, connections), strict=True):
            line.send(request)
        waiting = connections
        while waiting:
            ready = selector.select(ANSWER_SECONDS)
            if not ready:
                raise CommandError("The server does not answer.")
            for key, _ in ready:
                line = key.data
                body = line.receive()
                if body is None:
                    continue
                now = time.perf_counter()
                latencies.append(now - line.since)
                if not is_right(body):
                    raise CommandError(f"A request was answered with {body[:2000]!r}")
                if now < until:
                    line.send(next(requests))
                else:
                    waiting -= 1
        wall = time.perf_counter() - began
    finally:
        selector.close()
        for line in lines:
            line.socket.close()
    return Answered(tuple(sorted(latencies)), wall)


def post(headers: dict[str, str], body: bytes) -> bytes:
    """Return a POST of JSON to /graphql as bytes."""
    sent = {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = ["POST /graphql HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
