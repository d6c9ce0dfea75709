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
from tests.performance.workloads import READS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.performance.place import Place

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
            name: json.dumps({"query": text, "variables": {"id": to_base64("Asset", key)}}).encode()
            for name, text in READS.items()
        }
        for _ in range(rounds):
            answers = []
            for road, switch in ROADS.items():
                with running(environment={"SIGNATE_COMPILED_READS": switch}) as (port, process):
                    meter = Meter(process)
                    answers.append([data(port, _headers(home), body) for body in bodies.values()])
                    for name, body in bodies.items():
                        found = _each(port, meter, home, body, max(20, requests // _weight(name)))
                        spent.setdefault((name, road), []).append(found)
            if answers[0] != answers[1]:
                raise CommandError("The roads do not agree.")
    yield "Processor time per POST /graphql with Basic, in milliseconds; medians"
    yield f"{'':>3}{'road':>10}{'all':>9}{'server':>9}{'PG':>9}{'ratio':>8}"
    for name in READS:
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
    return {"Host": home.host, "Authorization": f"Basic {token}"}


def _each(
    port: int, meter: Meter, home: Place, body: bytes, count: int
) -> tuple[float, float, float]:
    request, line = post(_headers(home), body), Line(port)
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
