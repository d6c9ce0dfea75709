"""`manage.py demo` from the outside: a clone, a process, an address that answers."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from django.core.management.base import CommandError
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from project.demo import make_people
from project.management.commands.demo import free_port, start_server, start_worker
from tenancy.errors import InvalidInput
from tests.project.clones import bare_environment, make_clone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = ("manage.py", "requirements.lock", "project", "graph", "assets", "tenancy", "rls")
QUESTION = "{ tenant { slug } assets(first: 50) { totalCount edges { node { assetId } } } }"


@pytest.fixture
def clone(folder: Path) -> Path:
    return make_clone(folder / "clone", *PARTS)


@contextmanager
def demo(
    clone: Path, *options: str, stop: signal.Signals = signal.SIGTERM
) -> Iterator[dict[str, Any]]:
    """Yield what a running demonstration wrote to its JSON file; stop it with `stop`."""
    file = clone / "out.json"
    file.unlink(missing_ok=True)
    with subprocess.Popen(
        [sys.executable, clone / "manage.py", "demo", "--port", "0", "--json", file, *options],
        # Another folder than the clone's, and nothing on the PATH: no npm, no network.
        cwd=clone.parent,
        env={**bare_environment(), "PATH": "/nonexistent"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not file.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            assert file.exists(), process.communicate()[0]
            found = json.loads(file.read_text())
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            yield found
        finally:
            process.send_signal(stop)
            said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    assert said.rstrip().endswith("Stopped.")
    assert found["tenants"]["acme"]["url"] + "/graphql" in said
    with socket.socket() as probe:
        address = urlsplit(found["base_url"])
        assert probe.connect_ex((str(address.hostname), address.port or 0)) != 0


def ask(found: dict[str, Any], username: str, slug: str, query: str = QUESTION) -> tuple[int, Any]:
    """Return status and body of one query at a tenant's address."""
    address = urlsplit(found["base_url"])
    credential = base64.b64encode(f"{username}:{found['password']}".encode()).decode()
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    try:
        connection.request(
            "POST",
            "/graphql",
            json.dumps({"query": query}),
            {
                "Host": f"{slug}.localhost:{address.port}",
                "Authorization": f"Basic {credential}",
                "Content-Type": "application/json",
            },
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def await_thumbnails(found: dict[str, Any], count: int) -> None:
    """Return when the worker has made that many of acme's; nothing else is in progress then."""
    deadline = time.monotonic() + 60
    query = "{ assets(first: 50) { edges { node { name thumbnailUrl isProcessing } } } }"
    while True:
        status, body = ask(found, "acme-owner", "acme", query)
        assert status == 200, body
        nodes = [edge["node"] for edge in body["data"]["assets"]["edges"]]
        if sum(bool(node["thumbnailUrl"]) for node in nodes) == count:
            break
        assert time.monotonic() < deadline, nodes
        time.sleep(0.1)
    assert [node["name"] for node in nodes if node["isProcessing"]] == ["Still downloading"]


def check_socket(found: dict[str, Any]) -> None:
    """Fail unless somebody who listens at the same address is told of a change."""
    port = urlsplit(found["base_url"]).port
    credential = base64.b64encode(f"acme-viewer:{found['password']}".encode()).decode()
    with connect(
        f"ws://acme.localhost:{port}/ws",
        sock=socket.create_connection(("127.0.0.1", port)),
        additional_headers={"Authorization": f"Basic {credential}"},
    ) as line:
        rename = 'mutation { updateTenantSettings(input: {timezone: "Europe/Vienna"}) '
        status, body = ask(found, "acme-owner", "acme", rename + "{ errors { message } } }")
        assert (status, body["data"]["updateTenantSettings"]["errors"]) == (200, [])
        assert line.recv(timeout=10) == "*"
        line.send("x" * 100_000)
        with pytest.raises(ConnectionClosedError, match="1009"):
            line.recv(timeout=10)


def asset_ids(answer: tuple[int, Any]) -> set[str]:
    status, body = answer
    assert status == 200, body
    assert "errors" not in body, body
    return {edge["node"]["assetId"] for edge in body["data"]["assets"]["edges"]}


def test_the_demonstration_serves_two_tenants_and_can_be_run_again(clone: Path) -> None:
    with demo(clone) as first:
        port = urlsplit(first["base_url"]).port
        assert set(first) == {"base_url", "password", "tenants"}
        assert len(first["password"]) >= 16
        assert first["tenants"]["acme"]["url"] == f"http://acme.localhost:{port}"
        assert first["tenants"]["acme"]["users"] == [
            "acme-owner",
            "acme-manager",
            "acme-viewer",
            "both",
        ]
        assert first["tenants"]["globex"]["users"] == ["globex-owner", "both"]
        acme = asset_ids(ask(first, "acme-owner", "acme"))
        globex = asset_ids(ask(first, "globex-owner", "globex"))
        assert (len(acme), len(globex)) == (43, 11)
        assert not acme & globex
        assert asset_ids(ask(first, "both", "globex")) == globex
        await_thumbnails(first, 3)
        status, body = ask(first, "acme-owner", "globex")
        assert (status, body["code"]) == (403, "TENANT_ERROR")
        check_socket(first)
    with demo(clone, "--password", "a password of my own", stop=signal.SIGINT) as again:
        # Same tenants, same rows, nothing twice; everybody has the new password.
        assert again["password"] == "a password of my own"
        assert again["tenants"]["acme"]["id"] == first["tenants"]["acme"]["id"]
        assert asset_ids(ask(again, "acme-viewer", "acme")) == acme
        status, _ = ask({**again, "password": first["password"]}, "acme-viewer", "acme")
        assert status == 401
    with demo(clone, "--fresh") as fresh:
        assert fresh["password"] not in {first["password"], again["password"]}
        assert fresh["tenants"]["acme"]["id"] != first["tenants"]["acme"]["id"]
        assert asset_ids(ask(fresh, "acme-owner", "acme")) == acme


@pytest.mark.django_db
def test_a_weak_password_is_refused() -> None:
    with pytest.raises(InvalidInput, match="This password is too short"):
        make_people("short", anew=True)


def test_the_server_gets_no_credential_but_the_applications(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    urls = {"DATABASE_URL", "DATABASE_WORKER_URL", "DATABASE_OWNER_URL", "DATABASE_SUPERUSER_URL"}
    for name in urls:
        monkeypatch.setenv(name, f"postgresql://{name.lower()}@/signate")
    monkeypatch.setenv("SIGNATE_SECRET_KEY", "its own")
    given: dict[str, str] = {}
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **options: given.update(options["env"]))
    start_server(8000)
    assert urls & given.keys() == {"DATABASE_URL"}


def test_the_worker_gets_the_queues_credential_too(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = {"DATABASE_URL", "DATABASE_WORKER_URL", "DATABASE_OWNER_URL", "DATABASE_SUPERUSER_URL"}
    for name in urls:
        monkeypatch.setenv(name, f"postgresql://{name.lower()}@/signate")
    given: dict[str, str] = {}
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **options: given.update(options["env"]))
    start_worker()
    assert urls & given.keys() == {"DATABASE_URL", "DATABASE_WORKER_URL"}


def test_a_port_is_free_when_nobody_listens_on_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} cannot be used; choose another"):
            free_port(port)
        assert free_port(0) not in {0, port}
    assert free_port(port) == port
    with pytest.raises(CommandError, match="Port 70000 cannot be used"):
        free_port(70000)


def test_without_a_wish_the_first_free_port_from_8000_is_taken() -> None:
    port = free_port(None)
    assert 8000 <= port < 8020
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert port < free_port(None) < 8020
