"""What tests of the GraphQL face share: libraries of assets, and counted statements."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from assets.models import Asset, new_asset_id
from graph import compiled
from rls import acting_as
from tests.graph.roads import Roads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import Settings

    from tests.world import Inhabited

YEAR = timedelta(days=365)
# Who asks (which depends on what is remembered), and the door itself.
AROUND = ("identity_of", "sign_in_lookup", "set_config", "SAVEPOINT", "BEGIN", "COMMIT")


def sent_inside(captured: CaptureQueriesContext) -> list[str]:
    """Return the statements that resolvers sent, without those of the credential and the door."""
    sent = [query["sql"] for query in captured.captured_queries]
    return [text for text in sent if not any(word in text for word in AROUND)]


@contextmanager
def statements(expected: int) -> Iterator[None]:
    """Fail, showing them all, unless resolvers send exactly `expected` statements in the block."""
    with CaptureQueriesContext(connection) as captured:
        yield
    sent = sent_inside(captured)
    listed = "\n".join(f"{number}. {text}" for number, text in enumerate(sent, 1))
    assert len(sent) == expected, f"{len(sent)} statements, not {expected}:\n{listed}"


def add_assets(place: Inhabited, count: int, **values: Any) -> list[Asset]:
    """Insert assets of a tenant, made by its people in turn, playing now unless told otherwise."""
    now = datetime.now(UTC)
    creators = cycle(actor.user_id for actor in place.actors.values())
    with acting_as(place.owner):
        return Asset.objects.bulk_create(
            (
                Asset(
                    **{
                        "tenant": place.tenant,
                        "asset_id": new_asset_id(),
                        "name": f"Asset {number}",
                        "uri": f"https://example.com/{number}",
                        "mimetype": "webpage",
                        "duration": 10,
                        "is_enabled": True,
                        "start_date": now - YEAR,
                        "end_date": now + YEAR,
                        "play_order": number,
                        "created_by_id": next(creators),
                        **values,
                    }
                )
                for number in range(count)
            ),
            batch_size=1_000,
        )


def all_assets(place: Inhabited) -> list[dict[str, Any]]:
    """Return every row of the tenant's assets, to be compared before and after."""
    with acting_as(place.owner):
        return [dict(row) for row in Asset.objects.order_by("pk").values()]


@pytest.fixture
def executor(settings: Settings) -> None:
    """Let resolvers answer every query, for tests of what they read."""
    settings.COMPILED_READS = False


@pytest.fixture
def roads(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Roads:
    """Both roads of a query, with a note of what the compiled one answered."""
    answers: list[compiled.Answer] = []
    answer = compiled.answer

    def noted(*args: Any) -> compiled.Answer:
        found = answer(*args)
        answers.append(found)
        return found

    monkeypatch.setattr(compiled, "answer", noted)
    return Roads(settings, answers)


@pytest.fixture
def library(acme: Inhabited) -> Callable[..., list[Asset]]:
    """Add assets to acme: `library(50)`, `library(1, name="x")`."""
    return lambda count, **values: add_assets(acme, count, **values)
