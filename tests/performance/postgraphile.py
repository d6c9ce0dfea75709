"""PostGraphile beside us: the npm packages, in .local, and a server of two processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from project.local import ensure_folder
from project.management.commands.demo import free_port
from rls.names import TENANT_SETTING, USER_SETTING
from tests.performance.server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.performance.seed import Library

# `node` brings the program itself, which PostGraphile wants at 22 or later.
PACKAGES = {"postgraphile": "5.1.5", "node": "22.23.3"}
NPM_SECONDS = 300
PROCESSES = 2
POOL = 20


class Absent(Exception):
    """PostGraphile cannot be had here; says why."""


def installed() -> Path:
    """Return the folder with the packages, fetched when they are not there; raises Absent."""
    folder = ensure_folder() / "benchmark"
    wanted = json.dumps({"private": True, "dependencies": PACKAGES}, indent=1)
    done = folder / "installed.json"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise Absent("npm is not installed")
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "package.json").write_text(wanted, encoding="utf-8")
    command = [
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--loglevel=error",
    ]
    try:
        ran = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=NPM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Absent(f"npm did not finish within {NPM_SECONDS} seconds") from None
    if ran.returncode:
        raise Absent(f"npm failed: {ran.stderr.strip()[-300:]}")
    done.write_text(wanted, encoding="utf-8")
    return folder


@contextmanager
def postgraphile(library: Library) -> Iterator[tuple[int, int]]:
    """Serve `library` as the application's role; yield port and process id. Raises Absent."""
    folder = installed()
    program = folder / "server.mjs"
    # Modules are looked for beside the file that names them.
    shutil.copyfile(Path(__file__).with_name("postgraphile.mjs"), program)
    port = free_port(0)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
        "DATABASE_URL": library.url,
        "PORT": str(port),
        "PROCESSES": str(PROCESSES),
        "POOL": str(POOL),
        "TENANT_SETTING": TENANT_SETTING,
        "USER_SETTING": USER_SETTING,
    }
    command = [str(folder / "node_modules" / "node" / "bin" / "node"), str(program)]
    with (
        (folder / "server.log").open("w", encoding="utf-8") as log,
        serving(command, port=port, folder=folder, environment=environment, output=log) as process,
    ):
        yield port, process
