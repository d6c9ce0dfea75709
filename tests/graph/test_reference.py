"""docs/graphql.md: what is printed is current, and what is written runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from graph.graphiql import EXAMPLES
from graph.management.commands import graphql_docs
from graph.permissions import roots
from graph.schema import schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Graph
    from tests.world import World

TEXT = graphql_docs.FILE.read_text(encoding="utf-8")
SAMPLES = re.findall(r"```graphql\n(.*?)```", TEXT, re.DOTALL)
VARIABLES = {
    "first": 2,
    "input": {"name": "Welcome", "uri": "https://example.com/welcome", "duration": 15},
}


def test_the_reference_is_current_and_a_change_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    call_command("graphql_docs", "--check")
    other = tmp_path / "graphql.md"
    other.write_text(TEXT.replace("\n### createAsset\n", "\n### makeAsset\n"), encoding="utf-8")
    monkeypatch.setattr(graphql_docs, "FILE", other)
    with pytest.raises(CommandError, match="graphql_docs --write"):
        call_command("graphql_docs", "--check")
    call_command("graphql_docs", "--write")
    assert other.read_text(encoding="utf-8") == TEXT


def test_every_root_field_is_in_it() -> None:
    for name, field in roots(schema._schema):
        assert f"\n### {name.partition('.')[2]}\n" in TEXT
        assert " ".join((field.description or "").split()) in TEXT


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda text: text.split("(")[0].split("{")[0])
@pytest.mark.parametrize("slug", ["acme", "globex"])
def test_every_sample_runs(world: World, gql: Callable[..., Graph], sample: str, slug: str) -> None:
    assert len(SAMPLES) == 3
    wanted = {name: value for name, value in VARIABLES.items() if f"${name}" in sample}
    _runs(world, gql(f"{slug}-owner"), slug, sample, wanted)


# What is told over a WebSocket is run in tests/browser.
OVER_HTTP = [one for one in EXAMPLES if "\nsubscription" not in f"\n{one.query}"]


@pytest.mark.parametrize("example", OVER_HTTP, ids=lambda example: example.title)
@pytest.mark.parametrize("slug", ["acme", "globex"])
def test_every_example_of_graphiql_runs(
    world: World, gql: Callable[..., Graph], example: object, slug: str
) -> None:
    _runs(world, gql(f"{slug}-owner"), slug, example.query, {})  # type: ignore[attr-defined]


def _runs(
    world: World, graph: Graph, slug: str, document: str, variables: dict[str, object]
) -> None:
    other = world.globex if slug == "acme" else world.acme
    data = graph.data(document, **variables)
    assert data
    assert other.marker not in str(data)
    for payload in data.values():
        assert payload is not None
        assert payload.get("errors", []) == []
