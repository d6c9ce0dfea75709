"""`manage.py demo`: a Signate with two inhabited tenants, in one command.

Called by people who want to see it and by tests that want one to talk to. For one machine: it
listens on the loopback address, and gives everybody the same password.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from project import demo, embedded
from project.local import ROOT, ensure_secrets, write_private
from project.servers import dying_with_parent
from project.vendor import fetch_vendor
from tenancy.errors import DomainError

if TYPE_CHECKING:
    from types import FrameType
    from uuid import UUID

    from django.core.management.base import CommandParser

HOST = "127.0.0.1"
PORT = 8000
PORTS_TRIED = 20
START_SECONDS = 60
STOP_SECONDS = 20
# What only migrations and roles need: the server could step over the wall with it.
NOT_FOR_WORKERS = frozenset({"DATABASE_OWNER_URL", "DATABASE_SUPERUSER_URL"})
NOT_FOR_SERVERS = NOT_FOR_WORKERS | {"DATABASE_WORKER_URL"}
QUESTION = "{ tenant { slug } assets(first: 1) { totalCount } }"


class Command(BaseCommand):
    """Make the content, serve it until Ctrl-C or SIGTERM, say where it is."""

    help = "Serves two tenants with sample libraries on this machine, for a look around"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Offer the options of the demonstration."""
        parser.add_argument(
            "--port", type=int, help=f"where to listen (default: {PORT} or the next; 0: any)"
        )
        parser.add_argument("--password", default="", help="everybody's password (default: made)")
        parser.add_argument(
            "--json", metavar="FILE", type=Path, help="write addresses and password there, once up"
        )
        parser.add_argument("--fresh", action="store_true", help="start from an empty data folder")

    def handle(self, **options: Any) -> None:
        """Run until told to stop; CommandError says why it cannot."""
        signal.signal(signal.SIGTERM, _interrupt)
        if options["json"] is not None:
            # What an earlier run wrote there would pass for this one's.
            options["json"].unlink(missing_ok=True)
        try:
            self._run(options)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        except DomainError as error:
            raise CommandError(str(error)) from error

    def _run(self, options: dict[str, Any]) -> None:
        port = free_port(options["port"])
        if options["fresh"]:
            self._forget()
        self.stdout.write("Preparing the database and the sample libraries…")
        call_command("migrate", verbosity=0)
        password, anew = demo.choose_password(options["password"])
        people = demo.make_people(password, anew=anew)
        demo.remember_password(password)
        tenants = {sample.slug: demo.make_tenant(sample, people) for sample in demo.TENANTS}
        connections.close_all()
        fetch_vendor(Path(settings.VENDOR_DIR))
        with ExitStack() as running:
            server = start_server(port)
            running.callback(stop, server)
            await_answer(server, port, password)
            # After the server, which people wait for.
            running.callback(stop, start_worker())
            if options["json"] is not None:
                text = json.dumps(description(port, password, tenants), indent=2) + "\n"
                write_private(options["json"].resolve(), text)
            self.stdout.write(welcome(port, password))
            self.stdout.flush()
            code = server.wait()
            message = f"The server ended by itself, with exit code {code}."
            raise CommandError(message)

    def _forget(self) -> None:
        if not embedded.in_use():
            message = "--fresh throws data away, so it works on embedded servers only."
            raise CommandError(message)
        try:
            demo.forget_everything()
        except demo.BusyError as error:
            message = "Another command is using the database; stop it first."
            raise CommandError(message) from error


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def is_free(port: int) -> bool:
    """Return whether nothing listens on `port` of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(wanted: int | None) -> int:
    """Return the port to listen on: `wanted`; any for 0; the first free from 8000 for None.

    Raises CommandError when `wanted` is taken or is no port.
    """
    if wanted == 0:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            return int(probe.getsockname()[1])
    candidates = range(PORT, PORT + PORTS_TRIED) if wanted is None else (wanted,)
    for port in candidates:
        if 0 < port < 65536 and is_free(port):
            return port
    message = f"Port {wanted or PORT} cannot be used; choose another with --port (0: any free one)."
    raise CommandError(message)


def start_server(port: int) -> subprocess.Popen[bytes]:
    """Start granian on `port`, as a platform whose tenants are at <slug>.localhost."""
    environment = {
        **environment_without(NOT_FOR_SERVERS),
        "SIGNATE_PLATFORM_DOMAIN": "localhost",
        "SIGNATE_SITE_SCHEME": "http",
        "SIGNATE_SITE_PORT": str(port),
    }
    options = {
        "interface": "asgi",
        "host": HOST,
        "port": str(port),
        "workers": "1",
        # Each open socket counts as a request.
        "backlog": "4096",
        "log-level": "warning",
        "working-dir": str(ROOT),
        "workers-kill-timeout": "5",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return start([sys.executable, "-m", "granian", *words, "project.asgi:application"], environment)


def start_worker() -> subprocess.Popen[bytes]:
    """Start what runs background jobs."""
    command = [sys.executable, str(ROOT / "manage.py"), "worker"]
    return start(command, environment_without(NOT_FOR_WORKERS))


def environment_without(names: frozenset[str]) -> dict[str, str]:
    """Return this process's environment without `names`, for a quiet process of the service."""
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment.setdefault("SIGNATE_LOG_LEVEL", "WARNING")
    environment.setdefault("SIGNATE_SECRET_KEY", ensure_secrets()["secret_key"])
    return environment


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        # Ctrl-C reaches this command, which then ends the processes: once, and in that order.
        start_new_session=True,
        preexec_fn=dying_with_parent(),  # noqa: PLW1509 -- it only calls prctl
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Return when the process has ended, asked first and made to afterwards."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def await_answer(server: subprocess.Popen[bytes], port: int, password: str) -> None:
    """Return when the server answers a GraphQL query as the first owner; CommandError if never."""
    sample = demo.TENANTS[0]
    credential = base64.b64encode(f"{sample.owner}:{password}".encode()).decode()
    headers = {
        "Host": f"{sample.slug}.localhost:{port}",
        "Authorization": f"Basic {credential}",
        "Content-Type": "application/json",
    }
    answer = "nothing"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=10)
        try:
            connection.request("POST", "/graphql", json.dumps({"query": QUESTION}), headers)
            response = connection.getresponse()
            answer = response.read().decode(errors="replace")
            if response.status == HTTPStatus.OK and '"errors"' not in answer:
                return
        except OSError:
            time.sleep(0.05)
        else:
            break
        finally:
            connection.close()
    message = f"The server did not answer a query; it said: {answer[:500]}"
    raise CommandError(message)


def description(port: int, password: str, tenants: dict[str, UUID]) -> dict[str, Any]:
    """Return what `--json` writes."""
    return {
        "base_url": f"http://{HOST}:{port}",
        "password": password,
        "tenants": {
            sample.slug: {
                "id": str(tenants[sample.slug]),
                "url": f"http://{sample.slug}.localhost:{port}",
                "users": list(sample.members),
            }
            for sample in demo.TENANTS
        },
    }


def welcome(port: int, password: str) -> str:
    """Return what a person reads when everything is up."""
    lines = ["", "Signate is running. Open one of these, and sign in as one of its people:", ""]
    for sample in demo.TENANTS:
        lines.append(f"  http://{sample.slug}.localhost:{port}/graphql")
        lines += [f"      {name:<14} {role.value}" for name, role in sample.members.items()]
    return "\n".join(
        [*lines, "", f"Everybody's password is  {password}", "", "Ctrl-C stops everything.", ""]
    )
