"""Copying GraphiQL at set-up, with an npm that is played: no test asks a registry."""

from __future__ import annotations

import io
import os
import tarfile
from base64 import b64encode
from hashlib import sha384
from typing import TYPE_CHECKING

import pytest

from graph.bundle import BundleFile
from project import vendor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = b"export default 1;\n"
FILE = BundleFile("pretty", "1.2.3", "dist/pretty.min.js", "")
WITHOUT = "GraphiQL will come from its CDN, and needs the network: "


def _digest(content: bytes) -> str:
    return "sha384-" + b64encode(sha384(content).digest()).decode()


def _package(path: Path, content: bytes) -> None:
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(f"package/{FILE.member}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put an npm on the PATH that does what a line of shell says; return its list of calls."""
    pinned = BundleFile(FILE.package, FILE.version, FILE.member, _digest(CONTENT))
    monkeypatch.setattr(vendor, "GRAPHIQL", (pinned,))
    _package(tmp_path / "pretty-1.2.3.tgz", CONTENT)
    programs = tmp_path / "bin"
    programs.mkdir()

    def install(does: str) -> Path:
        calls = tmp_path / "calls"
        program = programs / "npm"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {calls}\nfor folder; do :; done\n{does}\n', encoding="utf-8"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
        return calls

    return install


def test_exact_files_are_copied_once(tmp_path: Path, npm: Callable[[str], Path]) -> None:
    calls = npm(f'cp {tmp_path}/pretty-1.2.3.tgz "$folder"')
    target = tmp_path / "vendor"
    assert vendor.fetch_vendor(target)
    copy = target / "npm/pretty@1.2.3/dist/pretty.min.js"
    assert copy.read_bytes() == CONTENT
    assert copy.stat().st_mode & 0o777 == 0o644
    assert [path for path in target.rglob("*") if path.is_file()] == [copy]
    words = calls.read_text().split()
    assert words[:2] == ["pack", "pretty@1.2.3"]
    assert "--ignore-scripts" in words

    assert vendor.fetch_vendor(target)
    assert len(calls.read_text().splitlines()) == 1


def test_a_damaged_copy_is_made_again(tmp_path: Path, npm: Callable[[str], Path]) -> None:
    npm(f'cp {tmp_path}/pretty-1.2.3.tgz "$folder"')
    copy = tmp_path / "vendor/npm/pretty@1.2.3/dist/pretty.min.js"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"export def")
    assert vendor.fetch_vendor(tmp_path / "vendor")
    assert copy.read_bytes() == CONTENT


def test_without_npm_one_line_is_said(
    tmp_path: Path,
    npm: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    npm("true")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not vendor.fetch_vendor(tmp_path / "vendor")
    assert capsys.readouterr().err == WITHOUT + "npm is not installed.\n"
    assert not (tmp_path / "vendor").exists()


@pytest.mark.parametrize(
    ("does", "why"),
    [
        (
            'printf "npm error code ENOTFOUND\\nnpm error of\\n" >&2; exit 1',
            "npm failed (ENOTFOUND)",
        ),
        ("echo Segfault >&2; exit 1", "npm failed (Segfault)"),
        ("exit 7", "npm failed (it said nothing)"),
        ("true", "pretty-1.2.3.tgz did not come"),
        ('echo "not an archive" > "$folder/pretty-1.2.3.tgz"', "cannot be read"),
        ('cp "$OTHER" "$folder/pretty-1.2.3.tgz"', "is not the file that graph/bundle.py names"),
    ],
    ids=["error", "crash", "silence", "nothing", "garbage", "another content"],
)
def test_what_npm_does_wrong_is_said_and_changes_nothing(
    tmp_path: Path,
    npm: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    does: str,
    why: str,
) -> None:
    _package(tmp_path / "other.tgz", b"something else\n")
    monkeypatch.setenv("OTHER", str(tmp_path / "other.tgz"))
    npm(does)
    assert not vendor.fetch_vendor(tmp_path / "vendor")
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(WITHOUT)
    assert why in last
    assert not (tmp_path / "vendor").exists()


def test_a_slow_npm_is_given_up(
    tmp_path: Path,
    npm: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(vendor, "NPM_SECONDS", 0.2)
    npm("exec sleep 60")
    assert not vendor.fetch_vendor(tmp_path / "vendor")
    assert "npm did not answer within 0.2 seconds" in capsys.readouterr().err
