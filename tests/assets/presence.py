"""Decides which tests of media can run on this machine, and says which cannot: some need ffmpeg.

A pytest plugin, named in tests/conftest.py for the reason that tests/browser/presence.py gives.
Also lets coverage measure the media child, whose environment is empty otherwise.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.browser.presence import asked_for

HERE = Path(__file__).resolve().parent
FOLDERS = (HERE, HERE.parent / "security")


def no_ffmpeg() -> str:
    """Return what is missing to read and make videos, or nothing."""
    missing = [name for name in ("ffprobe", "ffmpeg") if shutil.which(name) is None]
    return f"no {' and no '.join(missing)} (Debian: ffmpeg)" if missing else ""


def no_address_space() -> str:
    """Return where memory cannot be limited, or nothing (assets/media.py says more)."""
    return "" if sys.platform == "linux" else f"{sys.platform} does not limit memory"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = [name for name, why in LACKING.items() if why()]
    left_out = [item for item in items if any(map(item.get_closest_marker, missing))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    is_asked_for = any(asked_for(terminalreporter.config, folder) for folder in FOLDERS)
    for name, lacking in LACKING.items():
        if is_asked_for and (why := lacking()):
            terminalreporter.write_line(f"tests marked {name} left out: {why}", yellow=True)


LACKING = {"ffmpeg": no_ffmpeg, "address_space": no_address_space}


@pytest.fixture(scope="session", autouse=True)
def _measured_child() -> None:
    # Plugins are loaded before coverage begins to measure.
    from assets import media

    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        if name in os.environ:
            media.ENVIRONMENT[name] = os.environ[name]
