"""`manage.py test` and `manage.py check_all`: what they report, and that nothing hides a failure."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command

from project.management.commands import check_all
from project.management.commands.check_all import Check, Outcome
from project.management.commands.test import summary

if TYPE_CHECKING:
    from pathlib import Path

REPORT = (
    '<testsuites><testsuite name="pytest" tests="7" failures="{failures}" errors="{errors}" '
    'skipped="1" time="2"/></testsuites>'
)


@pytest.mark.parametrize(
    ("failures", "errors", "code", "last"),
    [
        (0, 0, 0, "tests: 6 passed, 0 failed, 1 skipped"),
        (2, 1, 1, "tests: 3 passed, 3 failed, 1 skipped"),
        # Interrupted, or coverage too low: pytest fails though no test did.
        (0, 0, 2, "tests: 6 passed, but pytest ended with code 2"),
    ],
)
def test_the_summary_counts_what_pytest_reported(
    tmp_path: Path, failures: int, errors: int, code: int, last: str
) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(failures=failures, errors=errors))
    assert summary(report, code, 12.3).splitlines()[-1] == last


def test_the_summary_without_a_report_says_the_code(tmp_path: Path) -> None:
    assert summary(tmp_path / "none.xml", 4, 0.1) == "tests: pytest ended with code 4"


def passing() -> Outcome:
    return Outcome(passed=True, output="not shown")


def failing() -> Outcome:
    return Outcome(passed=False, output="why it failed")


@pytest.fixture
def out() -> StringIO:
    return StringIO()


def test_every_check_runs_even_after_one_failed(
    monkeypatch: pytest.MonkeyPatch, out: StringIO
) -> None:
    checks = (Check("one", passing), Check("two", failing), Check("three", passing))
    monkeypatch.setattr(check_all, "CHECKS", checks)
    monkeypatch.setattr(check_all, "TESTS", Check("tests", failing))
    errors = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("check_all", stdout=out, stderr=errors)
    assert ended.value.code == 1
    lines = [line.rpartition(" (")[0] or line for line in out.getvalue().splitlines()]
    assert lines == [
        "ok      one",
        "FAILED  two",
        "why it failed",
        "ok      three",
        "FAILED  tests",
        "why it failed",
    ]
    assert errors.getvalue().strip() == "2 of 4 checks failed: two, tests"


def test_fast_leaves_the_tests_out(monkeypatch: pytest.MonkeyPatch, out: StringIO) -> None:
    monkeypatch.setattr(check_all, "CHECKS", (Check("one", passing),))
    monkeypatch.setattr(check_all, "TESTS", Check("tests", failing))
    call_command("check_all", "--fast", stdout=out)
    assert out.getvalue().splitlines()[-1] == "All 1 checks passed."


def test_a_check_fails_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, sys; print(os.environ['WORD']); sys.exit(3)"
    outcome = check_all.python("-c", code, WORD="seen")()
    assert outcome == Outcome(passed=False, output="seen\n")
    assert outcome.then(passing) == outcome
    assert check_all.python("-c", "pass")().then(failing) == failing()
    del monkeypatch


def test_a_schema_that_differs_is_shown_with_the_command_that_writes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    committed = tmp_path / "schema.graphql"
    monkeypatch.setattr(check_all, "SCHEMA", committed)
    committed.write_text("# a line too many\n" + (check_all.ROOT / "schema.graphql").read_text())
    outcome = check_all.schema_is_current()
    assert not outcome.passed
    assert "-# a line too many" in outcome.output
    assert "export_schema graph.schema:schema --path schema.graphql" in outcome.output
