"""Fixtures of the legacy API's tests: storage and counters of a test's own, who replays."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.core.cache import caches

from assets.models import Asset
from rls import acting_as
from tenancy import commands
from tenancy.credentials import per_account, per_address
from tenancy.devices import register_device
from tests.conftest import PLATFORM
from tests.legacy.replayer import Replayer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import Client
    from pytest_django import Settings

    from tests.world import Inhabited


@pytest.fixture(autouse=True)
def _own_storage(tmp_path: Path, settings: Settings) -> None:
    """Media and uploads lie in empty folders."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.UPLOAD_DIR = tmp_path / "uploads"


@pytest.fixture(autouse=True)
def _fresh_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test inherits the failures or the remembered credentials of another."""
    prefix = f"test:{uuid4().hex}"
    monkeypatch.setitem(django_settings.CACHES["default"], "KEY_PREFIX", prefix)
    monkeypatch.setattr(caches["default"], "key_prefix", prefix)
    for limit in (per_account, per_address):
        monkeypatch.setattr(limit, "_local", {})


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What players are told, once it is committed."""
    texts: list[str] = []
    monkeypatch.setattr(commands, "_deliver", lambda _tenant, _devices, text: texts.append(text))
    return texts


@pytest.fixture
def replayer(acme: Inhabited, client_of: Callable[..., Client], published: list[str]) -> Replayer:
    """The owner of acme, whose library is empty."""
    with acting_as(acme.owner):
        Asset.objects.all().delete()
        _device, secret = register_device(actor=acme.owner, values={"name": "lobby"})
    client = client_of(host=f"acme.{PLATFORM}")
    replayer = Replayer(client, username="acme-owner", secret=secret)
    replayer.published = published
    return replayer
