"""Workloads g and h: what a poll of a player costs, and what a thousand players leave idle."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.core.management.base import CommandError

from tests.performance.meter import Meter
from tests.performance.place import place
from tests.performance.server import Line, get, running, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.performance.meter import Spent
    from tests.performance.place import Place

PLAYLIST = "/api/v2/viewer/playlist"
TOKEN = "X-Anthias-Internal-Token"
INTERVAL_S = 10
CORES = 2
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Figures:
    """What `count` polls cost."""

    name: str
    count: int
    spent: Spent

    def line(self) -> str:
        """Return a line of a table: microseconds of processor time per poll, and where."""
        each = [
            f"{1e6 * seconds / self.count:8.0f}"
            for seconds in (
                self.spent.total,
                self.spent.server,
                self.spent.database,
                self.spent.redis,
            )
        ]
        transactions = self.spent.transactions / self.count
        return f"{self.name:<34}{''.join(each)}{transactions:10.2f}"

    def idle(self) -> float:
        """Return the share of two cores that was left, from 0 to 1."""
        return 1 - self.spent.total / (CORES * self.spent.wall)


HEADING = f"{'':<34}{'all':>8}{'server':>8}{'PG':>8}{'Redis':>8}{'PG trans.':>10}"


class _Player:
    """One device: its credential, and what it has."""

    def __init__(self, port: int, home: Place, secret: str) -> None:
        self.port = port
        self.headers = {"Host": home.host, TOKEN: secret}
        self.etag = ""
        self.request = b""

    def begin(self) -> None:
        """Fetch the playlist once."""
        status, headers, _ = get(self.port, PLAYLIST, self.headers)
        if status != HTTPStatus.OK:
            raise CommandError(f"The playlist was answered with {status}.")
        self.etag = headers["ETag"]
        self.request = written(PLAYLIST, {**self.headers, "If-None-Match": self.etag})

    def poll(self) -> None:
        """Ask for it again over a new connection, as a player does that asks every ten seconds."""
        line = Line(self.port)
        try:
            status = line.status(self.request)
        finally:
            line.close()
        if status != HTTPStatus.NOT_MODIFIED:
            raise CommandError(f"An unchanged playlist was answered with {status}.")


def measure(
    *, devices: int, tenants: int, assets: int, seconds: int, workers: int
) -> Iterator[str]:
    """Yield lines for people."""
    with ExitStack() as stack:
        homes = [stack.enter_context(place()) for _ in range(tenants)]
        for number, home in enumerate(homes):
            home.add_assets(assets)
            home.add_devices(len(range(number, devices, tenants)))
        port, server = stack.enter_context(running(workers))
        players = [_Player(port, home, secret) for home in homes for secret in home.secrets]
        meter = Meter(server)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(_Player.begin, players))
            list(pool.map(_Player.poll, players))
        yield f"Processor time per poll of a playlist of {assets} assets, in microseconds"
        yield HEADING
        for figures in _each(port, meter, players[0]):
            yield figures.line()
        thousand = _all(meter, players, seconds)
        yield thousand.line()
        rate = thousand.count / thousand.spent.wall
        yield ""
        yield (
            f"{devices} devices of {tenants} tenants, each every {INTERVAL_S} s for {seconds} s, "
            f"nothing changes: {rate:.0f} polls/s leave {thousand.idle():.1%} of {CORES} cores idle"
        )


def _each(port: int, meter: Meter, player: _Player) -> Iterator[Figures]:
    """Yield one player's polls, over a connection that stays: one with news, one without."""
    kinds = {
        "changed (200)": (written(PLAYLIST, player.headers), HTTPStatus.OK, 500),
        "unchanged (304)": (player.request, HTTPStatus.NOT_MODIFIED, 3000),
        "nothing at all (/healthz)": (
            written("/healthz", player.headers),
            HTTPStatus.OK,
            3000,
        ),
    }
    for name, (request, expected, count) in kinds.items():
        line = Line(port)
        try:
            _repeat(line, request, expected, 50)
            before = meter.spent()
            _repeat(line, request, expected, count)
            yield Figures(name, count, meter.spent() - before)
        finally:
            line.close()


def _repeat(line: Line, request: bytes, expected: int, count: int) -> None:
    for _ in range(count):
        status = line.status(request)
        if status != expected:
            raise CommandError(f"It was answered with {status} instead of {expected}.")


def _all(meter: Meter, players: Sequence[_Player], seconds: int) -> Figures:
    """Have every player poll every INTERVAL_S, one after the other at equal distances."""
    gap = INTERVAL_S / len(players)
    count = int(seconds / gap)
    before = meter.spent()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        began = time.monotonic()
        done = []
        for number in range(count):
            ahead = began + number * gap - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            done.append(pool.submit(players[number % len(players)].poll))
        for one in done:
            one.result()
    return Figures(f"unchanged, {len(players)} devices", count, meter.spent() - before)
