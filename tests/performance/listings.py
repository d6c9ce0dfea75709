"""Workload f: what a list of a tenant's assets costs in the old API, by how many there are."""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.core.management.base import CommandError

from tests.performance.meter import Meter
from tests.performance.place import place
from tests.performance.server import Line, get, running, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.performance.place import Place

PATH = "/api/v2/assets"
# What Anthias needs, in milliseconds of processor time (measured: ../PERFORMANCE.md): for a request,
# for each asset in it, and for a request with Basic, whose password it hashes each time.
ANTHIAS_MS, ANTHIAS_ASSET_MS, ANTHIAS_BASIC_MS = 15.0, 0.13, 383.0


def measure(*, sizes: list[int], requests: int) -> Iterator[str]:
    """Yield lines for people."""
    with place() as home, running() as (port, server):
        meter = Meter(server)
        yield "Processor time per GET /api/v2/assets with Basic, in milliseconds"
        yield (
            f"{'assets':>7}{'bytes':>11}{'all':>9}{'server':>9}{'PG':>9}{'Redis':>9}"
            f"{'us/asset':>10}{'Anthias':>9}{'ratio':>7}{'with Basic':>11}{'ratio':>7}"
        )
        there = 0
        for size in sorted(sizes):
            home.add_assets(size - there)
            there = size
            yield _line(port, meter, home, size, max(10, min(requests, 200_000 // size)))


def _line(port: int, meter: Meter, home: Place, size: int, count: int) -> str:
    token = base64.b64encode(f"{home.username}:{home.password}".encode()).decode()
    headers = {"Host": home.host, "Authorization": f"Basic {token}"}
    status, _, body = get(port, PATH, headers)
    if status != HTTPStatus.OK or len(json.loads(body)) != size:
        raise CommandError(f"The list was answered with {status}.")
    request, line = written(PATH, headers), Line(port)
    try:
        for _ in range(10):
            line.status(request)
        before = meter.spent()
        for _ in range(count):
            line.status(request)
        spent = meter.spent() - before
    finally:
        line.close()
    each = [1000 * s / count for s in (spent.total, spent.server, spent.database, spent.redis)]
    anthias = ANTHIAS_MS + ANTHIAS_ASSET_MS * size
    basic = ANTHIAS_BASIC_MS - ANTHIAS_MS + anthias
    shown = "".join(f"{one:9.2f}" for one in each)
    return (
        f"{size:>7,}{len(body):>11,}{shown}{1000 * each[0] / size:10.1f}"
        f"{anthias:9.1f}{anthias / each[0]:6.1f}x{basic:11.1f}{basic / each[0]:6.0f}x"
    )
