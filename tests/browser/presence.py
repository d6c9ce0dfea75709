"""Decides which browser tests can run on this machine, and says which cannot.

A pytest plugin, named in tests/conftest.py so that pytest-xdist's controller, which collects
nothing, has it too. Tests that cannot run are deselected, never skipped.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).resolve().parent


def chromium() -> str | None:
    """Return the path of a Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next(filter(None, map(shutil.which, names)), None)


def chromedriver() -> str | None:
    """Return the path of the driver that came with the browser, or None."""
    return shutil.which("chromedriver")


def no_browser() -> str:
    """Return what is missing to drive a browser, or nothing."""
    if chromium() is None:
        return "no chromium"
    return "" if chromedriver() else "no chromedriver (Debian: chromium-driver)"


def no_graphiql() -> str:
    """Return what is missing to open GraphiQL without a network, or nothing."""
    # Plugins are loaded before Django is.
    from graph.graphiql import has_copies

    return "" if has_copies() else "no copy of GraphiQL (python -m project.vendor makes it)"


def _cannot_run(item: pytest.Item) -> bool:
    if item.get_closest_marker("browser") is None:
        return False
    needs_graphiql = {"graphiql", "copies"} & {*getattr(item, "fixturenames", ())}
    return bool(no_browser() or (needs_graphiql and no_graphiql()))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if _cannot_run(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def asked_for(config: pytest.Config, folder: Path) -> bool:
    """Return whether the paths of this run reach the tests in `folder`."""
    for argument in config.args:
        path = (config.invocation_params.dir / argument.partition("::")[0]).resolve()
        if path == folder or path in folder.parents or folder in path.parents:
            return True
    return False


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not asked_for(terminalreporter.config, HERE):
        return
    if why := no_browser():
        terminalreporter.write_line(f"browser tests left out: {why}", yellow=True)
    elif why := no_graphiql():
        terminalreporter.write_line(f"browser tests of GraphiQL left out: {why}", yellow=True)
