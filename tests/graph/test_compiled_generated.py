"""Generated queries have the same answer on both roads, whoever asks.

A fixed few in the suite; SIGNATE_GENERATED_QUERIES=2000 asks as many others for each actor.
"""

from __future__ import annotations

import json
import os
from itertools import product
from typing import TYPE_CHECKING

import pytest
from graphql import is_enum_type
from hypothesis import HealthCheck, given, settings
from strawberry.relay import to_base64

from graph.schema import schema
from tests.graph.generated import documents
from tests.graph.test_compiled import clients, device, odd_assets

if TYPE_CHECKING:
    from django.test import Client

    from tests.graph.roads import Roads
    from tests.world import Inhabited

__all__ = ["clients", "device", "odd_assets"]
MORE = os.environ.get("SIGNATE_GENERATED_QUERIES", "")
LISTS = {"assets": "AssetOrder", "memberships": "MembershipOrder", "tenants": "TenantOrder"}


def cursors_of(client: Client, roads: Roads) -> dict[str, list[str]]:
    """Return the cursors of every list in every order, as the executor tells them."""
    found = {}
    for name, order in LISTS.items():
        fields = schema._schema.type_map[f"{order}Field"]
        assert is_enum_type(fields)
        orders = [
            f"field: {field}, direction: {end}"
            for field, end in product(fields.values, ("ASC", "DESC"))
        ]
        for text in orders:
            query = "{ list: %s(order: {%s}) { edges { cursor } } }" % (name, text)
            _, body = roads.ask(client, query, None, is_compiled=False)
            page = (json.loads(body)["data"] or {}).get("list") or {"edges": []}
            found[f"{name} {{ {text} }}"] = [edge["cursor"] for edge in page["edges"]]
    return found


@pytest.mark.parametrize("who", ["owner", "viewer", "device", "other tenant"])
def test_generated_queries_have_one_answer(
    clients: dict[str, Client],
    acme: Inhabited,
    globex: Inhabited,
    roads: Roads,
    who: str,
) -> None:
    client = clients[who]
    ids = [to_base64("Asset", asset.pk) for asset in (*acme.assets, *globex.assets)]
    values = {
        "id": [*ids, to_base64("Tenant", acme.tenant.pk)],
        "ids": ids,
        "assetId": [acme.assets[0].asset_id, "only-globex", "none"],
        "assetIds": [acme.assets[0].asset_id, "only-acme", ""],
        "mimetype": ["webpage", "image"],
    }
    made: list[bool] = []

    @settings(
        max_examples=int(MORE or 30),
        derandomize=not MORE,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(document=documents(values, cursors_of(client, roads)))
    def ask(document: str) -> None:
        made.append(roads.agree(client, document))

    ask()
    # Whoever may see little is refused most of what can be asked.
    least = len(made) / (20 if who in {"viewer", "device"} else 4)
    assert sum(made) > least, f"{sum(made)} of {len(made)} were compiled"
