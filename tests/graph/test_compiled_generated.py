"""Generated queries have the same answer on both roads, whoever asks.

The suite asks a few of each seed below, always the same. SIGNATE_GENERATED_QUERIES=2000 asks as many
of a new seed for each actor, and prints it; SIGNATE_GENERATED_SEED asks those of that seed again.
Seeds that have once found something stay in the list.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from itertools import product
from secrets import randbits
from typing import TYPE_CHECKING

import pytest
from django.conf import settings as django_settings
from graphql import is_enum_type
from hypothesis import HealthCheck, Phase, given, seed, settings
from strawberry.relay import to_base64

from graph.schema import schema
from rls import acting_as
from tenancy.actors import device as player
from tenancy.models import Device
from tests.both_roads import watch
from tests.graph.generated import documents, varied
from tests.graph.test_compiled import clients, device, odd_assets

if TYPE_CHECKING:
    from uuid import UUID

    from django.test import Client
    from hypothesis.strategies import SearchStrategy

    from tests.graph.roads import Roads
    from tests.world import Inhabited

__all__ = ["clients", "device", "odd_assets"]
MORE = os.environ.get("SIGNATE_GENERATED_QUERIES", "")
SEED = os.environ.get("SIGNATE_GENERATED_SEED", "")
SEEDS = [int(SEED)] if SEED else [randbits(32)] if MORE else [1, 2, 3]
BATCH = 200
# How many at least are compiled; who may see less is refused more, and refusals are the executor's.
COMPILED_SHARE = {"owner": 0.6, "other tenant": 0.6, "viewer": 0.25, "device": 0.1}
# What is made is wider than anybody's query.
LIMITS = {"cost": 10**9, "depth": 50, "aliases": 1_000, "fields": 10_000, "root_fields": 100}
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


def devices_of(place: Inhabited) -> list[UUID]:
    """Return the keys of a tenant's devices."""
    with acting_as(place.owner):
        return list(Device.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("who", ["owner", "viewer", "device", "other tenant"])
def test_generated_queries_have_one_answer(
    clients: dict[str, Client],
    acme: Inhabited,
    globex: Inhabited,
    roads: Roads,
    who: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for limit, most in LIMITS.items():
        monkeypatch.setitem(django_settings.GRAPHQL_LIMITS, limit, most)
    client = clients[who]
    ids = [to_base64("Asset", asset.pk) for asset in (*acme.assets, *globex.assets)]
    people = [to_base64("User", place.owner.user_id) for place in (acme, globex)]
    devices = [to_base64("Device", key) for place in (acme, globex) for key in devices_of(place)]
    some = [*ids, *people, *devices, to_base64("Tenant", acme.tenant.pk)]
    values = {
        "node.id": some,
        "nodes.ids": some,
        "device.id": devices,
        "id": ids,
        "ids": ids,
        "asset": ids,
        "userId": people,
        "subjectId": some,
        "permission": ["assets.view", "users.view"],
        "assetId": [acme.assets[0].asset_id, "only-globex", "none"],
        "assetIds": [acme.assets[0].asset_id, "only-acme", ""],
        "mimetype": ["webpage", "image"],
    }
    actors = {
        "owner": acme.owner,
        "viewer": acme.viewer,
        "device": player(devices_of(acme)[0], acme.tenant.pk),
        "other tenant": globex.owner,
    }
    made = documents(actors[who], values, cursors_of(client, roads))
    for number in SEEDS:
        ask_all(client, roads, made, number, who)


def ask_all(client: Client, roads: Roads, made: SearchStrategy[str], number: int, who: str) -> None:
    """Ask what a seed makes of `made`; fail, showing the shortest, where the roads differ."""
    asked: dict[str, bool] = {}
    left: Counter[str] = Counter()
    differing: list[str] = []
    wanted, before = int(MORE or 12), watch.compared

    def ask(document: str) -> None:
        if document in asked or len(asked) == wanted:
            return
        query, variables = varied(document) if len(asked) % 2 else (document, {})
        roads.ask(client, query, variables, is_compiled=True)
        asked[document] = bool(roads.answers) and roads.answers[-1].data is not None
        # The watch has compared both roads (tests/both_roads.py).
        differing.extend(watch.differences)
        watch.differences.clear()
        if not asked[document]:
            left[roads.reason()] += 1

    bounded = settings(
        # Some are made twice.
        max_examples=min(2 * wanted, BATCH),
        database=None,
        deadline=None,
        # Among thousands there is a short one already.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    # Hypothesis remembers all that it made, and gets slower and slower.
    for batch in range(1 + 4 * wanted // BATCH):
        if len(asked) < wanted:
            seed(number + batch * 2**32)(bounded(given(document=made)(ask)))()
    compiled = sum(asked.values())
    told = (
        f"{who}, seed {number}: {len(asked)} queries, {compiled} compiled, "
        f"{len(differing)} different; left: {left.most_common()}"
    )
    print(told)  # noqa: T201 -- -rP shows it
    if differing:
        pytest.fail(f"{told}\n{min(differing, key=len)}", pytrace=False)
    assert len(asked) == wanted, told
    # Without this, it might be one road that was compared with itself.
    assert watch.compared - before == compiled
    assert compiled > wanted * COMPILED_SHARE[who], told
