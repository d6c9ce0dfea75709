"""`backup_tenant` and `restore_tenant`: what they print, and one line when they refuse."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from assets.models import Asset, Restore
from rls import acting_as
from tests.assets.anthias_libraries import DATA

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import Settings

    from tests.world import Inhabited

SAMPLE = DATA / "backup-current.tar.gz"


@pytest.fixture(autouse=True)
def media_root(tmp_path: Path, settings: Settings) -> None:
    """Every test has a storage of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.UPLOAD_DIR = tmp_path / "uploads"


def run(name: str, *arguments: object) -> str:
    out = io.StringIO()
    call_command(name, *map(str, arguments), stdout=out, stderr=out)
    return out.getvalue()


def refused(name: str, *arguments: object) -> str:
    with pytest.raises(CommandError) as error:
        run(name, *arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def names(place: Inhabited) -> list[Any]:
    with acting_as(place.owner):
        return list(Asset.objects.order_by("pk").values_list("name", flat=True))


def test_a_library_goes_out_in_and_back(acme: Inhabited, globex: Inhabited, tmp_path: Path) -> None:
    before, theirs = names(acme), names(globex)
    out = run("restore_tenant", "--tenant", "acme", "--file", SAMPLE)
    assert "43 assets of backup-current.tar.gz (schema of 2026-07-09 0007)" in out
    assert "have taken the place of 3." in out
    with acting_as(acme.owner):
        restore = Restore.objects.latest("created_at")
    assert out.endswith(f"Undo with: manage.py restore_tenant --tenant acme --undo {restore.pk}\n")
    target = tmp_path / "acme.tar.gz"
    out = run("backup_tenant", "--tenant", "acme", "--output", target)
    assert out == f"43 assets and 7 files are in {target}.\n"
    with tarfile.open(target) as ours, tarfile.open(SAMPLE) as original:
        assert ours.getnames() == original.getnames()
    out = run("restore_tenant", "--tenant", "acme", "--undo", restore.pk)
    assert out == "3 assets are back as they were.\n"
    assert (names(acme), names(globex)) == (before, theirs)
    out = run("restore_tenant", "--tenant", "acme", "--file", target)
    with acting_as(acme.owner):
        second = Restore.objects.latest("created_at")
    assert len(names(acme)) == 43
    out = run("restore_tenant", "--tenant", "acme", "--forget", second.pk)
    assert out == "What it replaced is removed.\n"
    assert refused("restore_tenant", "--tenant", "acme", "--undo", second.pk) == (
        "What this restore replaced is forgotten."
    )


def test_refusals_are_one_line_and_change_nothing(acme: Inhabited, tmp_path: Path) -> None:
    before = names(acme)
    taken = tmp_path / "taken"
    taken.write_bytes(b"mine")
    assert refused("backup_tenant", "--tenant", "nobody", "--output", "-") == (
        "There is no tenant 'nobody'."
    )
    assert "File exists" in refused("backup_tenant", "--tenant", "acme", "--output", taken)
    assert taken.read_bytes() == b"mine"
    assert refused("restore_tenant", "--tenant", "nobody", "--file", SAMPLE) == (
        "There is no tenant 'nobody'."
    )
    assert refused("restore_tenant", "--tenant", "acme", "--file", taken).startswith(
        "This is no usable backup: it is no gzip file"
    )
    missing = refused("restore_tenant", "--tenant", "acme", "--file", tmp_path / "missing")
    assert missing.startswith("Nothing was changed: ")
    for option in ("--undo", "--forget"):
        assert refused("restore_tenant", "--tenant", "globex", option, uuid4()) == (
            "There is no restore with this id."
        )
    with acting_as(acme.owner):
        theirs = Restore.objects.latest("created_at").pk
    assert refused("restore_tenant", "--tenant", "globex", "--undo", theirs) == (
        "There is no restore with this id."
    )
    assert names(acme) == before
