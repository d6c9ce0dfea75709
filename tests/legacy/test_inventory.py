"""The list of every address: what it says, and that it notices a change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from assets.legacy.inventory import inventory
from assets.legacy.urls import urlpatterns
from assets.management.commands import api_inventory

if TYPE_CHECKING:
    from pathlib import Path


def test_every_address_is_in_it() -> None:
    text = inventory()
    for pattern in urlpatterns[:-1]:
        shown = str(pattern.pattern).replace("<str:", "{").replace(">", "}")
        for method in pattern.callback.methods:  # type: ignore[attr-defined]
            assert f"| {method} | `/api/{shown}` |" in text


def test_the_committed_one_is_current(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    call_command("api_inventory", "--check")
    monkeypatch.setattr(api_inventory, "FILE", tmp_path / "api_inventory.md")
    with pytest.raises(CommandError, match="api_inventory --write"):
        call_command("api_inventory", "--check")
    call_command("api_inventory", "--write")
    call_command("api_inventory", "--check")
