"""Copies of the repository, as fresh clones for tests that start real processes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What manage.py puts into its environment for Django, and its children must find out themselves.
EXPORTED = (
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "DATABASE_WORKER_URL",
    "DATABASE_SUPERUSER_URL",
    "REDIS_URL",
    "SIGNATE_EMBEDDED",
    "SIGNATE_MEDIA_ROOT",
    "SIGNATE_SECRET_KEY",
    "DJANGO_SETTINGS_MODULE",
)


def make_clone(root: Path, *names: str) -> Path:
    """Copy the folders and files `names` into a new folder `root`, and return it."""
    root.mkdir(parents=True)
    for name in names:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, root / name)
    return root


def bare_environment() -> dict[str, str]:
    """Return this process's environment without what manage.py, or coverage, put there."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in EXPORTED and not name.startswith("COV")
    }
