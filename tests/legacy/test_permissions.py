"""Who may do what by the old API: every operation and kind of actor, as the matrix says it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from django.db import transaction

from project.management.commands.permissions import TOKEN_PERMISSIONS, YES, rows
from rls import acting_as
from tenancy.capabilities import create_capability
from tenancy.tokens import create_token
from tests.conftest import PLATFORM
from tests.players import add_player, anonymous

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.world import Inhabited

MATRIX = {name: gets for name, _, gets in rows() if " /" in name}
NAMES = {
    "{asset_id}": "nothing",
    "{command}": "next",
    "{state}": "on",
    "{provider}": "nope",
    "{name}": "nothing.png",
}


@pytest.fixture
def clients(acme: Inhabited, client_of: Callable[..., Client]) -> dict[str, tuple[Client, str]]:
    """Whoever may ask, and what is before the path then."""
    with acting_as(acme.owner):
        _row, url = create_capability(actor=acme.owner, name="shop window")
        values = {"name": "script", "permissions": list(TOKEN_PERMISSIONS)}
        _token, secret = create_token(actor=acme.owner, values=values)
    bearer = {"Authorization": f"Bearer {secret}"}
    return {
        **{role: (client_of(f"acme-{role}"), "") for role in acme.actors},
        "anonymous": (anonymous("acme"), ""),
        "device": (add_player(acme).basic, ""),
        "token": (client_of(host=f"acme.{PLATFORM}", headers=bearer), ""),
        "capability": (anonymous("acme"), urlsplit(url).path.removesuffix("/api")),
    }


@pytest.mark.parametrize("name", MATRIX)
def test_the_matrix_is_what_happens(
    clients: dict[str, tuple[Client, str]], published: list[str], name: str
) -> None:
    del published
    method, _, path = name.partition(" ")
    for word, value in NAMES.items():
        path = path.replace(word, value)
    for kind, (client, prefix) in clients.items():
        if prefix and not path.startswith("/api/"):
            continue
        with transaction.atomic():
            response = client.generic(
                method, f"{prefix}{path}", b"{}", content_type="application/json"
            )
            transaction.set_rollback(True)
        may = MATRIX[name][kind] == YES
        assert (response.status_code not in {401, 403}) is may, (kind, response.content)
