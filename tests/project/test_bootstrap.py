"""What manage.py does before Django: which Python, which packages, which commands get servers.

Installing for real takes a network and half a minute; CI does that by running at all.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import manage
from project import bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone without dependencies."""
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / ".venv" / "signate-lock")
    monkeypatch.setattr(bootstrap, "UNFINISHED", tmp_path / "venv-unfinished")
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "log" / "pip.log")
    (tmp_path / "requirements.lock").write_text(LOCK)
    return tmp_path


def make_venv(place: Path, *, exit_code: int = 0) -> None:
    """Plant a .venv whose Python only ends with a code."""
    python = place / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    python.chmod(0o755)


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("demo --port 0", True),
        ("migrate", True),
        ("test --help", True),
        ("shell -c pass", True),
        ("makemigrations --check", True),
        ("", False),
        ("help demo", False),
        ("--version", False),
        ("demo --help", False),
        ("migrate -h", False),
        ("check --deploy", False),
        ("export_schema graph.schema:schema", False),
    ],
)
def test_only_commands_that_touch_rows_get_servers(line: str, *, needed: bool) -> None:
    assert manage.needs_servers(line.split()) is needed


def test_every_pin_has_hashes_and_nothing_says_where_packages_come_from() -> None:
    lines = LOCK.splitlines()
    pins = [place for place, line in enumerate(lines) if line[:1].isalnum()]
    assert len(pins) > 50
    for place in pins:
        assert "==" in lines[place]
        assert lines[place + 1].startswith("    --hash=sha256:"), lines[place]
    others = [line for line in lines if not line[:1].isalnum()]
    assert all(line.startswith("    --hash=sha256:") for line in others)
    assert "://" not in LOCK


def test_everything_declared_is_pinned() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    pinned = {line.split("==")[0] for line in LOCK.splitlines() if line[:1].isalnum()}
    names = {re.split(r"[\[<>=~;]", text)[0] for text in declared}
    assert names <= pinned


def test_this_python_has_what_the_lock_pins() -> None:
    assert bootstrap._is_complete()


def test_another_version_than_the_pinned_one_is_not_complete(place: Path) -> None:
    (place / "requirements.lock").write_text("django==4.2.0 \\\n    --hash=sha256:00\n")
    assert not bootstrap._is_complete()


def test_a_missing_package_is_not_complete(place: Path) -> None:
    pin = "no-such-package==1.0 ; python_full_version >= '3.0' \\\n"
    (place / "requirements.lock").write_text(pin)
    assert not bootstrap._is_complete()


def test_a_pin_for_other_machines_does_not_matter(place: Path) -> None:
    (place / "requirements.lock").write_text("no-such-package==1.0 ; python_version < '3.0' \\\n")
    assert bootstrap._is_complete()


def test_a_venv_is_usable_when_finished_for_this_lock(place: Path) -> None:
    assert not bootstrap._is_usable(inside=False)
    make_venv(place)
    assert not bootstrap._is_usable(inside=False)
    bootstrap.stamp()
    assert bootstrap._is_usable(inside=False)
    assert bootstrap._is_usable(inside=True)
    (place / "requirements.lock").write_text(LOCK + "\n")
    assert not bootstrap._is_usable(inside=False)


def test_a_venv_of_another_python_is_noticed_from_inside(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_venv(place)
    bootstrap.stamp()
    monkeypatch.setattr(bootstrap, "_version", lambda: "3.99")
    assert bootstrap._is_usable(inside=False)
    assert not bootstrap._is_usable(inside=True)


def test_a_venv_whose_python_was_removed_is_not_usable(place: Path) -> None:
    make_venv(place)
    bootstrap.stamp()
    (place / ".venv" / "bin" / "python").unlink()
    (place / ".venv" / "bin" / "python").symlink_to(place / "gone")
    assert not bootstrap._is_usable(inside=False)


@pytest.mark.parametrize(("exit_code", "adopted"), [(0, True), (1, False)])
def test_a_venv_made_by_hand_is_taken_if_complete(
    place: Path, exit_code: int, *, adopted: bool
) -> None:
    make_venv(place, exit_code=exit_code)
    assert bootstrap._adopt() is adopted
    # One that our own installation left unfinished may look complete and is not.
    bootstrap.UNFINISHED.touch()
    assert not bootstrap._adopt()


def test_a_python_without_ensurepip_is_told_what_to_install(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find: Callable[..., object] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find(name)
    )
    with pytest.raises(SystemExit, match="apt-get install python3-venv"):
        bootstrap._install()
    assert "they are not installed yet" in capsys.readouterr().err
    assert not (place / ".venv").exists()


def test_a_failed_installation_shows_its_last_words_and_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "requirements.lock").write_text("django==4.2.0 \\\n    --hash=sha256:zz\n")
    make_venv(place)
    failing = [sys.executable, "-c", "print('first'); print('no such file'); raise SystemExit(3)"]
    (place / "log").mkdir()
    with (
        (place / "log" / "pip.log").open("w") as log,
        pytest.raises(SystemExit, match=r"no such file\nThat was installing; it failed"),
    ):
        bootstrap._follow(failing, log, "installing")
    assert not (place / ".venv").exists()
    assert (place / "log" / "pip.log").read_text() == "first\nno such file\n"
    del monkeypatch


def test_progress_is_a_few_lines_where_nothing_moves(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del place
    progress = bootstrap._Progress(41)
    progress.see("Ignoring colorama: markers 'sys_platform' don't match your environment\n")
    for number in range(20):
        progress.see(f"Collecting package_{number}==1.{number} (from -r lock (line 1))\n")
        progress.see("  Downloading package.whl (25 kB)\n")
    for _ in range(20):
        progress.see("Processing /somewhere/redis_py-8.1.0-py3-none-any.whl (from -r lock)\n")
    progress.see("Installing collected packages: one, two\n")
    progress.end()
    assert capsys.readouterr().err == "  20 of 40: package_19\n  40 of 40: redis_py\n  unpacking\n"


def test_an_older_python_gets_a_sentence() -> None:
    told = (
        "import sys; sys.version_info = (3, 9, 1); sys.argv = ['manage.py', 'demo']; "
        f"exec(compile(open({str(ROOT / 'manage.py')!r}).read(), 'manage.py', 'exec'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 1
    assert "Signate needs Python 3.11 or newer, and this is Python 3.9" in done.stderr
    assert "python3.12 manage.py demo" in done.stderr
