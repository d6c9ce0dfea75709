"""A server of a benchmark's own, logging as in production, and requests to it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from django.core.management.base import CommandError
from django.db import connections

from project.local import ROOT
from project.management.commands.demo import (
    HOST,
    NOT_FOR_SERVERS,
    environment_without,
    free_port,
)
from project.servers import dying_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 15


@contextmanager
def running(
    workers: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[int, int]]:
    """Start a server with so many processes; yield its port and its process id.

    `environment` holds settings of its own.
    """
    connections.close_all()
    port = free_port(0)
    variables = {
        **environment_without(NOT_FOR_SERVERS),
        "SIGNATE_LOG_LEVEL": "INFO",
        "SIGNATE_PLATFORM_DOMAIN": "localhost",
        "SIGNATE_SITE_SCHEME": "http",
        "SIGNATE_SITE_PORT": str(port),
        **(environment or {}),
    }
    words = ["--interface", "wsgi", "--host", HOST, "--port", str(port), "--workers", str(workers)]
    words += ["--blocking-threads", "4", "--log-level", "warning", "--working-dir", str(ROOT)]
    command = [sys.executable, "-m", "granian", *words, "project.wsgi:application"]
    with serving(command, port=port, folder=ROOT, environment=variables) as process:
        yield port, process


@contextmanager
def serving(
    command: list[str],
    *,
    port: int,
    folder: Path,
    environment: Mapping[str, str],
    output: IO[str] | int = subprocess.DEVNULL,
) -> Iterator[int]:
    """Run a server in `folder` until the block ends; yield its process id once it answers."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=dying_with_parent(),  # noqa: PLW1509 -- it only calls prctl
    )
    try:
        _await(process, port)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            get(port, "/healthz", {})
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise CommandError("The server did not answer.")


def get(
    port: int, path: str, headers: Mapping[str, str]
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return status, headers and body of one GET over a connection of its own."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


class Line:
    """A connection that stays, for requests that are written beforehand."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self._socket = socket.create_connection((HOST, port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def status(self, request: bytes) -> int:
        """Send a request, read its answer, and return its status."""
        self._socket.sendall(request)
        response = http.client.HTTPResponse(self._socket)
        response.begin()
        response.read()
        return response.status

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def written(path: str, headers: Mapping[str, str]) -> bytes:
    """Return a GET as bytes."""
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
