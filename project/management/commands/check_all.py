"""`manage.py check_all`: every check there is, one line each, the same everywhere.

Called by people, by git hooks (--fast), by .ci/run and by CI. Runs all of them even when one
fails; never changes a file.
"""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rls.names import OWNER

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.management.base import CommandParser

ROOT = Path(settings.BASE_DIR)
SCHEMA = ROOT / "schema.graphql"
EXPORT = "export_schema", "graph.schema:schema"
LINT_IMPORTS = (
    "from importlinter.cli import lint_imports_command as lint; "
    "lint(['--no-logo', '--cache-dir', '.local/import-linter'])"
)


@dataclass(frozen=True)
class Outcome:
    """How one check went, and what it said."""

    passed: bool
    output: str

    def then(self, following: Callable[[], Outcome]) -> Outcome:
        """Return what comes of `following`, or this where it has failed already."""
        return following() if self.passed else self


@dataclass(frozen=True)
class Check:
    """One check: what it is called and how it is run."""

    name: str
    run: Callable[[], Outcome]


def python(*words: str, **variables: str) -> Callable[[], Outcome]:
    """Return a run of this Python with `words` and environment; exit code 0 is a pass."""

    def run() -> Outcome:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Outcome(done.returncode == 0, done.stdout)

    return run


def schema_is_current() -> Outcome:
    """Compare schema.graphql with what the code exports now."""
    done = subprocess.run(
        [sys.executable, "manage.py", *EXPORT],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return Outcome(passed=False, output=done.stderr)
    committed = SCHEMA.read_text(encoding="utf-8") if SCHEMA.exists() else ""
    if committed.strip() == done.stdout.strip():
        return Outcome(passed=True, output="")
    lines = difflib.unified_diff(
        committed.splitlines(), done.stdout.splitlines(), SCHEMA.name, "the code", lineterm=""
    )
    shown = [*lines][:60]
    write = f"python3 manage.py {' '.join(EXPORT)} --path {SCHEMA.name}"
    hint = f"If the change is meant, write it down and commit it: {write}"
    return Outcome(passed=False, output="\n".join([*shown, hint]))


def wall_stands() -> Outcome:
    """Migrate a database of its own from nothing, and audit that: yours may be older."""
    name = f"check_{uuid4().hex[:12]}"
    urls = {
        "DATABASE_URL": _conninfo("default", name),
        "DATABASE_OWNER_URL": _conninfo("owner", name),
    }
    make = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
        sql.Identifier(name), sql.Identifier(OWNER)
    )
    with psycopg.connect(_conninfo("owner"), autocommit=True) as connection:
        connection.execute(make)
        try:
            return python("manage.py", "migrate", "--verbosity", "0", **urls)().then(
                python("manage.py", "audit_rls", **urls)
            )
        finally:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def _conninfo(alias: str, database: str = "") -> str:
    login = settings.DATABASES[alias]
    return make_conninfo(
        dbname=database or login["NAME"],
        user=login["USER"],
        password=login["PASSWORD"],
        host=login["HOST"],
        port=login["PORT"] or None,
    )


CHECKS = (
    Check("ruff check", python("-m", "ruff", "check", "--quiet", ".")),
    Check("ruff format", python("-m", "ruff", "format", "--check", "--quiet", ".")),
    Check("mypy", python("-m", "mypy")),
    Check("import contracts", python("-c", LINT_IMPORTS)),
    Check("django checks", python("manage.py", "check", "--fail-level", "WARNING")),
    Check("migrations", python("manage.py", "makemigrations", "--check", "--dry-run")),
    Check("schema.graphql", schema_is_current),
    Check("schema changes", python("manage.py", "schema_changes")),
    Check("GraphQL reference", python("manage.py", "graphql_docs", "--check")),
    Check("API inventory", python("manage.py", "api_inventory", "--check")),
    Check("row-level security", wall_stands),
)
TESTS = Check("tests", python("manage.py", "test", "-q"))


class Command(BaseCommand):
    """Run every check and exit with 1 if any failed."""

    help = "Runs ruff, mypy, import contracts, migrations, schema, wall audit and the tests"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --fast."""
        parser.add_argument("--fast", action="store_true", help="leave the tests out")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print one line per check, and what the failed ones said below their line."""
        checks = CHECKS if options["fast"] else (*CHECKS, TESTS)
        failed = []
        for check in checks:
            began = time.monotonic()
            outcome = check.run()
            seconds = time.monotonic() - began
            self.stdout.write(
                f"{'ok    ' if outcome.passed else 'FAILED'}  {check.name} ({seconds:.1f} s)"
            )
            if not outcome.passed:
                failed.append(check.name)
                self.stdout.write(outcome.output.rstrip() + "\n")
            self.stdout.flush()
        if failed:
            self.stderr.write(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}")
            sys.exit(1)
        self.stdout.write(f"All {len(checks)} checks passed.")
