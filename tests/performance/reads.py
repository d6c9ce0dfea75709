"""Workloads a to d: what reads cost in GraphQL, compiled and by the ordinary executor."""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.core.management.base import CommandError
from strawberry.relay import to_base64

from assets.models import Asset
from rls import acting_as
from tests.performance.equality import data
from tests.performance.load import post
from tests.performance.meter import Meter
from tests.performance.place import place
from tests.performance.server import Line, running
from tests.performance.workloads import MORE_FIELDS, READS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.performance.place import Place

# What a first time costs most where there is least to execute: no row, and a compiling for nothing.
FIRST = {
    **READS,
    "none": (
        'query($id: ID) { assets(first: 500, filter: {assetIds: ["none"]}) { totalCount '
        "pageInfo { endCursor hasNextPage } edges { cursor node { %s tenant { name slug } "
        "createdBy { username email } } } } asset(id: $id) { uri } }" % MORE_FIELDS
    ),
    "left": (
        "{ assets(first: 1) { edges { cursor node { %s tenant { name slug } "
        "createdBy { username email } } } } __schema { queryType { name } } }" % MORE_FIELDS
    ),
}
ROADS = {"compiled": "true", "executor": "false"}
ASSETS = 1_000
# Requests of each kind before those that count.
WARMING = 10


def measure(*, requests: int, rounds: int, first: bool = False) -> Iterator[str]:
    """Yield lines for people: the median of rounds in which both roads take turns.

    With `first`, every request is the first of its kind: no document was there before.
    """
    workloads = FIRST if first else READS
    spent: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    with place() as home:
        home.add_assets(ASSETS)
        with acting_as(home.actor):
            key = Asset.objects.order_by("play_order").values_list("pk", flat=True)[0]

        def body_of(text: str, number: int) -> bytes:
            if first:
                text = text.replace("name uri", f"n{number}: name uri", 1)
            return json.dumps(
                {"query": text, "variables": {"id": to_base64("Asset", key)}}
            ).encode()

        for _ in range(rounds):
            answers = []
            for road, switch in ROADS.items():
                with running(environment={"SIGNATE_COMPILED_READS": switch}) as (port, process):
                    meter = Meter(process)
                    answers.append(
                        [data(port, _headers(home), body_of(t, 0)) for t in workloads.values()]
                    )
                    for name, text in workloads.items():
                        bodies = [
                            body_of(text, number)
                            for number in range(1, 1 + WARMING + max(20, requests // _weight(name)))
                        ]
                        found = _each(port, meter, home, bodies)
                        spent.setdefault((name, road), []).append(found)
            if answers[0] != answers[1]:
                raise CommandError("The roads do not agree.")
    kind = "for a document that is new" if first else "with Basic"
    yield f"Processor time per POST /graphql {kind}, in milliseconds; medians"
    yield f"{'':>4}{'road':>10}{'all':>9}{'server':>9}{'PG':>9}{'ratio':>8}"
    for name in workloads:
        base, *parts = map(_median, zip(*spent[name, "executor"], strict=True))
        yield f"{name:>4}{'executor':>10}{base:9.2f}{parts[0]:9.2f}{parts[1]:9.2f}"
        total, *parts = map(_median, zip(*spent[name, "compiled"], strict=True))
        yield f"{'':>4}{'compiled':>10}{total:9.2f}{parts[0]:9.2f}{parts[1]:9.2f}{base / total:7.1f}x"


def _weight(name: str) -> int:
    return {"d": 10, "b": 3, "c": 3}.get(name, 1)


def _median(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2]


def _headers(home: Place) -> dict[str, str]:
    token = base64.b64encode(f"{home.username}:{home.password}".encode()).decode()
    return {"Host": home.host, "Authorization": f"Basic {token}"}


def _each(port: int, meter: Meter, home: Place, bodies: list[bytes]) -> tuple[float, float, float]:
    requests = [post(_headers(home), body) for body in bodies]
    line = Line(port)
    try:
        for request in requests[:WARMING]:
            line.status(request)
        before = meter.spent()
        for request in requests[WARMING:]:
            if line.status(request) != HTTPStatus.OK:
                raise CommandError("A read was refused.")
        spent = meter.spent() - before
    finally:
        line.close()
    each = 1000 / (len(requests) - WARMING)
    return each * spent.total, each * spent.server, each * spent.database
