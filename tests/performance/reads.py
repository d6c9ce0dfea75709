"""Workloads a to d: what reads cost in GraphQL, compiled and by the ordinary executor."""

from __future__ import annotations

import base64
import http.client
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from strawberry.relay import to_base64

from assets.models import Asset
from project.management.commands.demo import HOST
from rls import acting_as
from tests.performance.meter import Meter
from tests.performance.place import place
from tests.performance.server import Line, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.performance.place import Place

FIELDS = (
    "id name uri mimetype duration isEnabled playOrder startDate endDate createdAt updatedAt tags"
)
MORE_FIELDS = (
    f"{FIELDS} assetId md5 isProcessing nocache skipAssetCheck description fileSize viewCount"
)
PAGE = "assets(first: %d, order: {field: PLAY_ORDER}) { edges { node { %s } } }"
# PERFORMANCE.md: one asset, a page of fifty, a tenant with people and assets, a page of five hundred.
WORKLOADS = {
    "a": f"query($id: ID!) {{ asset(id: $id) {{ {FIELDS} }} }}",
    "b": "{ %s }" % (PAGE % (50, FIELDS)),
    "c": (
        "{ tenant { memberships(first: 10) { edges { node { role user { username } } } } "
        "assets(first: 20) { edges { node { name uri createdBy { username } } } } } }"
    ),
    "d": "{ %s }" % (PAGE % (500, MORE_FIELDS)),
}
ROADS = {"compiled": "true", "executor": "false"}
ASSETS = 1_000


def measure(*, requests: int, rounds: int) -> Iterator[str]:
    """Yield lines for people: the median of rounds in which both roads take turns."""
    spent: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    with place() as home:
        home.add_assets(ASSETS)
        with acting_as(home.actor):
            key = Asset.objects.order_by("play_order").values_list("pk", flat=True)[0]
        bodies = {
            name: json.dumps({"query": text, "variables": {"id": to_base64("Asset", key)}})
            for name, text in WORKLOADS.items()
        }
        for _ in range(rounds):
            answers = []
            for road, switch in ROADS.items():
                with running(environment={"SIGNATE_COMPILED_READS": switch}) as (port, process):
                    meter = Meter(process)
                    answers.append([_data(port, home, body) for body in bodies.values()])
                    for name, body in bodies.items():
                        found = _each(port, meter, home, body, max(20, requests // _weight(name)))
                        spent.setdefault((name, road), []).append(found)
            if answers[0] != answers[1]:
                raise CommandError("The roads do not agree.")
    yield "Processor time per POST /graphql with Basic, in milliseconds; medians"
    yield f"{'':>3}{'road':>10}{'all':>9}{'server':>9}{'PG':>9}{'ratio':>8}"
    for name in WORKLOADS:
        base, *parts = map(_median, zip(*spent[name, "executor"], strict=True))
        yield f"{name:>3}{'executor':>10}{base:9.2f}{parts[0]:9.2f}{parts[1]:9.2f}"
        total, *parts = map(_median, zip(*spent[name, "compiled"], strict=True))
        yield f"{'':>3}{'compiled':>10}{total:9.2f}{parts[0]:9.2f}{parts[1]:9.2f}{base / total:7.1f}x"


def _weight(name: str) -> int:
    return {"d": 10, "b": 3, "c": 3}.get(name, 1)


def _median(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2]


def _headers(home: Place) -> dict[str, str]:
    token = base64.b64encode(f"{home.username}:{home.password}".encode()).decode()
    return {
        "Host": home.host,
        "Authorization": f"Basic {token}",
        "Content-Type": "application/json",
    }


def _data(port: int, home: Place, body: str) -> Any:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request("POST", "/graphql", body.encode(), _headers(home))
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()
    if response.status != HTTPStatus.OK or "errors" in answer:
        raise CommandError(f"A read was answered with {response.status}: {answer}")
    return answer["data"]


def _each(
    port: int, meter: Meter, home: Place, body: str, count: int
) -> tuple[float, float, float]:
    headers = {**_headers(home), "Content-Length": str(len(body.encode()))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST /graphql HTTP/1.1\r\n{head}\r\n{body}".encode()
    line = Line(port)
    try:
        for _ in range(10):
            line.status(request)
        before = meter.spent()
        for _ in range(count):
            if line.status(request) != HTTPStatus.OK:
                raise CommandError("A read was refused.")
        spent = meter.spent() - before
    finally:
        line.close()
    return 1000 * spent.total / count, 1000 * spent.server / count, 1000 * spent.database / count
