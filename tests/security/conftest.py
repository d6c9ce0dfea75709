"""Fixtures that see where this process connects to."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.listeners import Listener, always, listening, reply
from tests.security.attempts import Attempts


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    """Count every connection of this process, wherever it goes, and every look-up."""
    seen = Attempts([], [])
    connect = socket.socket.connect

    def counted(self: socket.socket, address: Any) -> None:
        if self.type == socket.SOCK_STREAM:
            seen.connections.append(address)
        connect(self, address)

    def looked_up(host: str, *_: Any, **__: Any) -> Any:
        seen.look_ups.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket.socket, "connect", counted)
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    return seen


@pytest.fixture(scope="module")
def hidden() -> Iterator[Listener]:
    """A service of this machine that nothing fetched may reach."""
    with listening(always(reply(b"secret"))) as listener:
        yield listener
    assert listener.connections == 0
