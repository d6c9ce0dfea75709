"""What a backup of a large library costs, its restore, and taking that back."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from assets.backup import write_backup
from assets.restoring import restore_archive, undo_restore
from tests.performance.meter import Meter
from tests.performance.place import place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.performance.meter import Spent


def measure(*, assets: int) -> Iterator[str]:
    """Yield lines for people."""
    with place() as home, tempfile.TemporaryDirectory(prefix="signate-benchmark-") as folder:
        home.add_assets(assets)
        meter = Meter(os.getpid())
        yield f"Processor seconds for a library of {assets:,} assets, and how many each manages"
        with (Path(folder) / "backup.tar.gz").open("w+b") as file:
            before = meter.spent()
            write_backup(file, actor=home.actor, folder=Path(folder))
            yield _line("backup", meter, before, assets)
            before = meter.spent()
            restore = restore_archive(file, actor=home.actor, source="benchmark")
            yield _line("restore over as many", meter, before, assets)
            before = meter.spent()
            undo_restore(restore.pk, actor=home.actor)
            yield _line("undo", meter, before, assets)


def _line(name: str, meter: Meter, before: Spent, assets: int) -> str:
    spent = meter.spent() - before
    return (
        f"{name:<22}{spent.total:8.1f} s (Python {spent.server:.1f}, PostgreSQL "
        f"{spent.database:.1f}){assets / spent.total:10,.0f} assets/s"
    )
