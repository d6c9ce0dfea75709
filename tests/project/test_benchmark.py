"""`manage.py benchmark`: that it asks what it says, believes no wrong answer, and leaves nothing.

At a tiny scale; what it measures is nobody's business here.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from itertools import repeat
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests import databases
from tests.performance import comparison, postgraphile, seed
from tests.performance.bars import Bar, bars
from tests.performance.comparison import Figure, Plan, Results
from tests.performance.equality import require_equal
from tests.performance.load import drive, post
from tests.performance.workloads import is_right

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg
    from pytest_django import DjangoDbBlocker

OURS = {
    "assets": {
        "edges": [
            {
                "node": {
                    "id": "QXNzZXQ6MDE5YWI3ZmUtMmQ4NS03MDAwLWEyMDAtMDAwMDAwMDAwNjk1",
                    "duration": 10,
                    "createdAt": "2026-11-24T22:31:00.25Z",
                    "tags": ["lobby"],
                }
            }
        ]
    }
}
ITS = {
    "assets": {
        "nodes": [
            {
                "id": "019ab7fe-2d85-7000-a200-000000000695",
                "duration": "10",
                "createdAt": "2026-11-24T23:31:00.250000+01:00",
                "tags": ["lobby"],
            }
        ]
    }
}


def databases_of_benchmarks(cursor: psycopg.Cursor[Any]) -> list[Any]:
    cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'benchmark%'")
    return cursor.fetchall()


def test_it_measures_every_workload_and_leaves_nothing(
    template_database: str,
    owner_cursor: psycopg.Cursor[Any],
    django_db_blocker: DjangoDbBlocker,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(databases, "migrated_template", lambda: nullcontext(template_database))
    monkeypatch.setattr(comparison, "PROCESSES", 1)
    monkeypatch.setattr(postgraphile, "ensure_folder", lambda: tmp_path)
    monkeypatch.setattr("tests.performance.postgraphile.shutil.which", lambda _name: None)
    before = databases_of_benchmarks(owner_cursor)
    out = StringIO()

    with django_db_blocker.unblock():
        call_command("benchmark", scale=400, rounds=1, seconds=0.1, connections="16", stdout=out)

    said = out.getvalue()
    assert "400 assets of 2 tenants" in said
    assert "Without PostGraphile: npm is not installed." in said
    assert "Equal data from Signate: yes" in said
    for workload in "abcde":
        row = rf"^\| {workload} \| 16 \| Signate \| [\d,]+ \|( [\d.]+ \|){{3}}$"
        assert re.search(row, said, re.MULTILINE), row
    assert re.search(
        r"^\| page 5 of a listing against page 1 .* \| \d+\.\d\dx \|", said, re.MULTILINE
    )
    assert re.search(r"^\| memory of one web process .* \| \d+\.\d\d MB \|", said, re.MULTILINE)
    assert "Memory of a process of Signate: " in said
    assert "| a, b against PostGraphile, requests/s | not measured |" in said
    assert databases_of_benchmarks(owner_cursor) == before


def test_a_database_that_could_not_be_filled_is_gone(
    template_database: str,
    owner_cursor: psycopg.Cursor[Any],
    django_db_blocker: DjangoDbBlocker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(planned: list[int]) -> None:
        assert databases_of_benchmarks(owner_cursor) != before
        raise CommandError(f"{planned} cannot be had.")

    monkeypatch.setattr(seed, "_fill", broken)
    before = databases_of_benchmarks(owner_cursor)
    with (
        django_db_blocker.unblock(),
        pytest.raises(CommandError, match="cannot be had"),
        seed.seeded(100, template=template_database),
    ):
        pass

    assert databases_of_benchmarks(owner_cursor) == before


@pytest.mark.parametrize(
    "wrong", [{"connections": "1,many"}, {"connections": "0"}, {"workloads": "abx"}]
)
def test_it_refuses_what_it_cannot_measure(wrong: dict[str, str]) -> None:
    with pytest.raises(CommandError, match="workloads are abcde"):
        call_command("benchmark", **wrong)


def test_answers_are_equal_however_they_are_spelt() -> None:
    require_equal("b", OURS, ITS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "019ab7fe-2d85-7000-a200-000000000696"),
        ("duration", "11"),
        ("createdAt", "2026-11-24T23:31:00.250000+00:00"),
        ("tags", []),
    ],
)
def test_answers_that_differ_are_refused(field: str, value: object) -> None:
    its = deepcopy(ITS)
    its["assets"]["nodes"][0][field] = value  # type: ignore[assignment]
    with pytest.raises(CommandError, match=rf"workload b differ at data\.assets\.0\.{field}"):
        require_equal("b", OURS, its)


def test_answers_that_have_nothing_are_refused() -> None:
    with pytest.raises(CommandError, match="empty"):
        require_equal("b", {"assets": {"edges": []}}, {"assets": {"nodes": []}})


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """Serve the same answer to everybody; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        # Its end waits for those who are still answering.
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def asked(port: int) -> int:
    answered = drive(
        port,
        repeat(post({"Host": "localhost"}, b"{}")),
        connections=3,
        seconds=0.05,
        is_right=lambda body: is_right("e", body),
    )
    assert list(answered.latencies) == sorted(answered.latencies)
    return len(answered.latencies)


def test_the_load_counts_answers() -> None:
    with answering(200, b'{"data":{"name":"Board 7"}}' + b" " * 300_000) as port:
        assert asked(port) >= 3


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, b'{"data":{"name":"Board 7"}}'),
        (200, b'{"data":{"updateAsset":null},"errors":[{"message":"no"}]}'),
        (200, b'{"data":{"updateAsset":{"asset":null}}}'),
    ],
)
def test_the_load_believes_no_wrong_answer(status: int, body: bytes) -> None:
    with answering(status, body) as port, pytest.raises(CommandError, match="was answered with"):
        asked(port)


def test_a_million_assets_are_of_a_thousand_tenants() -> None:
    planned = seed.sizes(1_000_000)
    assert (sum(planned), len(planned)) == (1_000_000, 1_000)
    assert planned.count(10_000) == 20
    assert min(planned) > 300
    assert max(planned[20:]) < 1_400


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"a": 4.0, "b": 9.0}, "goal"),
        ({"a": 2.0, "b": 9.0}, "bar"),
        ({"a": 1.9, "b": 9.0}, "no"),
        ({"a": None}, ""),
    ],
)
def test_a_bar_is_reached_by_the_worst(values: dict[str, float | None], verdict: str) -> None:
    assert Bar("", values, 2, 4).cells()[-1] == verdict


def test_bars_compare_round_by_round_at_sixteen_connections() -> None:
    results = Results()
    for ours, its in ((100.0, 50.0), (900.0, 900.0), (300.0, 100.0)):
        results.figures["a", "Signate", 16].append(Figure(ours, cpu=1, p50=2, p99=3))
        results.figures["a", "PostGraphile", 16].append(Figure(its, cpu=4, p50=5, p99=12))
        results.figures["a", "less data", 16].append(Figure(100, cpu=0.5))
    results.figures["a", "Signate", 64].append(Figure(1, cpu=100, p50=100, p99=100))

    cells = [bar.cells() for bar in bars(Plan(workloads=("a",)), results)]

    assert [row[1] for row in cells[:2]] == ["a 2.00x", "a 4.00x"]
    assert cells[6][1:] == ["a 0.25x", "≤ 0.5x", "≤ 0.25x", "goal"]
    assert cells[8][1:] == ["a 2.00x", "≤ 1.6x", "≤ 1.2x", "no"]
