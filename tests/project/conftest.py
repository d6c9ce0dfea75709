"""A folder for clones that pytest does not look after."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: every start of pytest closes its folders to other accounts, also those of a run
    # that goes on, and as root the servers run as another account.
    with tempfile.TemporaryDirectory(prefix="signate-test-") as name:
        yield Path(name)
