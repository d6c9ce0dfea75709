"""A registered player and what tests ask as one."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.test import Client

from rls import acting_as
from tenancy.devices import register_device
from tenancy.models import Device
from tests.conftest import PLATFORM, Graph

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Inhabited


@dataclass(frozen=True, slots=True)
class Player:
    """A device, its secret, and where its tenant is."""

    place: Inhabited
    key: UUID
    secret: str

    @property
    def client(self) -> Client:
        """A client with the secret in Anthias's internal header."""
        return self._client({"X-Anthias-Internal-Token": self.secret})

    @property
    def basic(self) -> Client:
        """A client with id and secret as Basic."""
        text = base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()
        return self._client({"Authorization": f"Basic {text}"})

    @property
    def bearer(self) -> Client:
        """A client with the secret as Bearer."""
        return self._client({"Authorization": f"Bearer {self.secret}"})

    @property
    def row(self) -> Device:
        """The device as it is stored now."""
        with acting_as(self.place.owner):
            return Device.objects.get(pk=self.key)

    def _client(self, headers: dict[str, str]) -> Client:
        host = f"{self.place.tenant.slug}.{PLATFORM}"
        return Client(headers=headers, HTTP_HOST=host, raise_request_exception=False)


def add_player(place: Inhabited, **values: Any) -> Player:
    """Register a device of a tenant."""
    with acting_as(place.owner) as actor:
        row, secret = register_device(
            actor=actor, values={"name": f"{place.marker} player", **values}
        )
    return Player(place, row.pk, secret)


def anonymous(slug: str) -> Client:
    """Return a client without a credential, on a tenant's host."""
    return Client(HTTP_HOST=f"{slug}.{PLATFORM}", raise_request_exception=False)


def codes(graph: Graph, document: str, **variables: Any) -> list[tuple[list[str] | None, str]]:
    """Return field and code of every refusal in the only payload of a mutation."""
    [payload] = graph.data(document, **variables).values()
    return [(error["field"], error["code"]) for error in payload["errors"]]
