"""`manage.py test`: the whole suite, or whatever pytest is asked for.

Called by people, by check_all and by .ci/run. Takes the place of Django's own runner; every
argument goes to pytest. Never decides by itself that a test does not matter: what is left out
pytest names above the last line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

WORKERS = "2"


class Command(BaseCommand):
    """Run pytest in two processes; exit with its code."""

    help = "Runs the tests: manage.py test [any arguments of pytest]"
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand everything after `manage.py test` to pytest, untouched, and exit with its code."""
        sys.exit(run(argv[2:]))

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Run the whole suite, for `call_command`; SystemExit carries pytest's code."""
        sys.exit(run([]))


def run(arguments: list[str]) -> int:
    """Run pytest with `arguments`, print the summary last, and return pytest's exit code."""
    results = Path(settings.BASE_DIR) / ".local" / f"test-results-{os.getpid()}.xml"
    results.parent.mkdir(exist_ok=True)
    own = ["-n", WORKERS, f"--junit-xml={results}"]
    began = time.monotonic()
    code = subprocess.run(
        [sys.executable, "-m", "pytest", *own, *arguments], cwd=settings.BASE_DIR, check=False
    ).returncode
    print()
    print(summary(results, code, time.monotonic() - began))
    results.unlink(missing_ok=True)
    return code


def summary(results: Path, code: int, seconds: float) -> str:
    """Return the last line, `tests: 12 passed, 0 failed`, from pytest's own report."""
    if not results.exists():
        return f"tests: pytest ended with code {code}"
    suites = ET.parse(results).getroot().iter("testsuite")  # noqa: S314 -- pytest just wrote it
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    passed = total - failed - skipped
    if code and not failed:
        return f"tests: {passed} passed, but pytest ended with code {code}"
    return f"after {seconds:.0f} s\ntests: {passed} passed, {failed} failed, {skipped} skipped"
