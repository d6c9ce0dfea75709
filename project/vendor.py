"""Copies GraphiQL out of its npm packages into static files, where npm is there.

Called at set-up (project/bootstrap.py, an image build, `python -m project.vendor`), before Django
is there, so it imports the standard library only. Keeps no file whose digest graph/bundle.py does
not name, runs no package's code, and knows no registry: npm asks whichever it is configured for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from hashlib import sha384
from pathlib import Path

from graph.bundle import GRAPHIQL, BundleFile
from project.local import ensure_folder, say

NPM_SECONDS = 90
WITHOUT = "GraphiQL will come from its CDN, and needs the network"


class UnusableError(Exception):
    """npm is not there, did not answer, or brought something else than what is pinned."""


def fetch_vendor(target: Path) -> bool:
    """Return whether every file of GraphiQL is under `target`, fetching what is not.

    Says in one line on stderr when npm is asked, and in one when it cannot bring them. Never raises
    for what npm, the network or the disk does; what was there before stays.
    """
    missing = [file for file in GRAPHIQL if not _is_there(target, file)]
    if not missing:
        return True
    try:
        with tempfile.TemporaryDirectory(prefix="signate-vendor-") as folder:
            contents = _packed(missing, Path(folder))
        for file, content in contents:
            _put(target / file.path, content)
    except (UnusableError, OSError) as error:
        say(f"{WITHOUT}: {error}.")
        return False
    return True


def _integrity(content: bytes) -> str:
    return "sha384-" + b64encode(sha384(content).digest()).decode()


def _is_there(target: Path, file: BundleFile) -> bool:
    try:
        return _integrity((target / file.path).read_bytes()) == file.integrity
    except OSError:
        return False


def _packed(files: list[BundleFile], folder: Path) -> list[tuple[BundleFile, bytes]]:
    """Return the contents of `files`, checked, out of the packages npm puts into `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        raise UnusableError("npm is not installed")
    packages = sorted({(file.package, file.version) for file in files})
    say("Copying GraphiQL out of its npm packages…")
    # `pack` downloads and does not install: no dependency is resolved and no script is run. Its
    # cache lies in the same folder because HOME may be missing or read-only.
    command = [npm, "pack", *(f"{name}@{version}" for name, version in packages)]
    command += ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    command += ["--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    command += ["--fetch-timeout=30000"]
    command += ["--cache", str(folder / "cache"), "--pack-destination", str(folder)]
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
        raise UnusableError(f"npm did not answer within {NPM_SECONDS} seconds") from None
    if ran.returncode:
        raise UnusableError(f"npm failed ({_reason(ran.stderr)})")
    return [(file, _member(folder, file)) for file in files]


def _reason(stderr: str) -> str:
    """Return npm's code for what is wrong, such as ENOTFOUND, or else its first words."""
    said = [line.removeprefix("npm error").strip() for line in stderr.splitlines()]
    codes = [line.removeprefix("code ") for line in said if line.startswith("code ")]
    return next(filter(None, codes + said), "it said nothing")


def _member(folder: Path, file: BundleFile) -> bytes:
    archive = folder / f"{file.package}-{file.version}.tgz"
    if not archive.exists():
        raise UnusableError(f"{archive.name} did not come")
    try:
        with tarfile.open(archive, "r:gz") as packed:
            found = packed.extractfile(f"package/{file.member}")
            content = found.read() if found else b""
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise UnusableError(f"{file.path} cannot be read ({error})") from error
    if _integrity(content) != file.integrity:
        raise UnusableError(f"{file.path} is not the file that graph/bundle.py names")
    return content


def _put(path: Path, content: bytes) -> None:
    """Write the file so that a server reading it at that moment sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    # Public files, which a server of another account may have to read.
    Path(name).chmod(0o644)
    Path(name).replace(path)


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SIGNATE_VENDOR_DIR", "").strip()
    place = Path(wanted) if wanted else ensure_folder() / "vendor"
    sys.exit(0 if fetch_vendor(place) else 1)
