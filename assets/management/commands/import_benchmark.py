"""`manage.py import_benchmark`: how many rows per second the import of a library takes."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from django.core.management.base import BaseCommand

from assets.importing import BATCH_SIZE, import_into_new_tenant
from tenancy.tenants import LEGACY_PLAN

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

_COLUMNS = (
    "asset_id text PRIMARY KEY, name text, uri text, start_date datetime, end_date datetime, "
    "duration bigint, mimetype text, is_enabled bool, is_processing bool, nocache bool, "
    "play_order integer, skip_asset_check bool, is_reachable bool, play_days text, "
    "play_time_from time, play_time_to time, metadata text, skip_ssl_verify bool"
)


def _rows(count: int) -> Iterator[tuple[object, ...]]:
    """Yield assets as various as a real library's: some with windows, days, metadata, junk."""
    for number in range(count):
        windowed = number % 9 == 0
        yield (
            uuid4().hex,
            f"Asset {number}",
            f"https://example.com/boards/{number}",
            "2024-01-01 00:00:00",
            f"2034-01-01 {number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}",
            "N/A" if number % 50 == 0 else 10 + number % 50,
            "webpage",
            number % 11 != 0,
            0,
            0,
            number,
            0,
            1,
            "[1, 2, 3, 4, 5]" if number % 7 == 0 else "[1, 2, 3, 4, 5, 6, 7]",
            "08:00:00" if windowed else None,
            "18:00:00" if windowed else None,
            "{}" if number % 5 else '{"refresh_interval_s": 60, "headers": {"X-Board": "1"}}',
            0,
        )


class Command(BaseCommand):
    """Import a made-up library into a tenant that is rolled back again, and print the rate."""

    help = "Measure the import of an Anthias library; leaves nothing behind."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say how much."""
        parser.add_argument("--rows", type=int, default=100_000)
        parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)

    def handle(self, *, rows: int, batch_size: int, **_options: object) -> None:
        """Make the library, time its import, print rows per second."""
        with tempfile.TemporaryDirectory(prefix="signate-benchmark-") as folder:
            path = Path(folder) / "anthias.db"
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(f"CREATE TABLE assets ({_COLUMNS})")
                marks = ", ".join("?" * (_COLUMNS.count(",") + 1))
                connection.executemany(f"INSERT INTO assets VALUES ({marks})", _rows(rows))  # noqa: S608 -- marks
            started = time.perf_counter()
            report = import_into_new_tenant(
                path,
                slug=f"benchmark-{uuid4().hex[:12]}",
                name="Benchmark",
                batch_size=batch_size,
                plan=replace(LEGACY_PLAN, max_assets=rows),
                dry_run=True,
            )
            seconds = time.perf_counter() - started
        self.stdout.write(
            f"{report.migrated} of {report.total} rows in {seconds:.1f} s: "
            f"{report.total / seconds:,.0f} rows/s (batches of {batch_size}, rolled back)"
        )
