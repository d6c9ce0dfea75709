"""Plans are kept within bounds, of entries and of bytes, that no client can fill alone."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from graph import documents
from graph.compiled import plans as kept
from graph.compiled import running, statements
from graph.compiled.plans import MAX_BYTES, MAX_PLANS, Plan, operations, plans
from graph.documents import CACHED_TOKENS, prepare
from graph.schema import schema
from rls import fetch_one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Graph
    from tests.world import Inhabited

FILTERED = """query($w: AssetFilter, $a: String) {
  assets(first: 5, filter: $w, after: $a) { edges { node { x%d: name %s } } } }"""
COMPILED = "{ assets(first: 1) { edges { node { x%d: name } } } }"


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    """Begin and end with nothing."""
    for shelf in (plans, operations, documents._checked):
        shelf.clear()
    yield
    for shelf in (plans, operations, documents._checked):
        shelf.clear()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Every plan that is compiled."""
    found: list[Plan] = []
    compiled = kept.compiled

    def noted(*args: Any, **how: Any) -> Plan:
        found.append(compiled(*args, **how))
        return found[-1]

    monkeypatch.setattr(running, "compiled", noted)
    return found


def test_a_shape_is_compiled_once_for_everybody_who_may_the_same(
    acme: Inhabited, gql: Callable[..., Graph], made: list[Plan]
) -> None:
    del acme
    for who in ("acme-owner", "globex-owner", "acme-owner"):
        gql(who).data(COMPILED % 1)
    assert len(made) == 1
    gql("acme-viewer").data(COMPILED % 1)
    assert len(made) == len(plans) == 2
    # What cannot be compiled is found out once, too.
    for _ in range(2):
        gql().data("{ __schema { queryType { name } } }")
    assert [one.reason for one in made] == ["", "", "introspection"]


def test_the_values_of_filters_and_cursors_make_no_plans(
    acme: Inhabited, gql: Callable[..., Graph], made: list[Plan]
) -> None:
    query = "query($w: AssetFilter, $a: String) { assets(first: 1, after: $a, filter: $w) { edges { cursor } } }"
    cursors = [None]
    for number in range(40):
        given = {"w": {"assetIds": [f"{number}", acme.assets[0].asset_id]}, "a": cursors[-1]}
        page = gql().data(query, **given)["assets"]["edges"]
        cursors.append(page[0]["cursor"] if page else None)
    assert len(made) == 2
    [condition] = {
        id(slot): slot
        for plan in made[:1]
        for slot in plan.statement.slots  # type: ignore[union-attr]
        if isinstance(slot, statements.Condition)
    }.values()
    assert len(condition._known) == statements._KEPT


def test_a_flood_of_one_client_pushes_out_its_own_plans_only(
    acme: Inhabited, gql: Callable[..., Graph], made: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    del acme
    monkeypatch.setattr(plans, "entries", 40)
    for number in range(4):
        gql("globex-owner").data(COMPILED % number)
    flood, plenty = gql(), 3 * 40
    for number in range(100, 100 + plenty):
        flood.data(COMPILED % number)
    assert len(made) == 4 + plenty
    assert len(plans) == 4 + 40 // plans.share
    for number in range(4):
        gql("globex-owner").data(COMPILED % number)
    assert len(made) == 4 + plenty


def test_only_values_that_steer_make_plans(
    acme: Inhabited, gql: Callable[..., Graph], made: list[Plan]
) -> None:
    del acme
    query = "query($s: String!, $n: Int) { assets(first: $n) { totalCount } asset(assetId: $s) { name } }"
    for text in ("a", "b" * 10_000):
        gql().data(query, s=text, n=3)
    assert len(made) == 1
    gql().data(query, s="a", n=4)
    assert len(made) == 2


def test_what_is_counted_is_what_is_kept(acme: Inhabited, made: list[Plan]) -> None:
    """Of a document, and of the variables it came with first, a plan keeps nothing."""
    long = "x" * 100_000
    fields = " ".join(f"f{number}: name" for number in range(25))

    def keep(number: int) -> None:
        text = FILTERED % (number, fields)
        asked = prepare(schema, text, owner="one")
        operation = kept.operation_of(text, None, asked.document, asked.node, owner="one")
        given = {"w": {"assetIds": [f"{number} {long}"]}, "a": None}
        variables = running._variables(schema, operation, given)
        plan = kept.compiled(schema, operation, variables, acme.owner)
        assert plan.statement is not None
        made.append(plan)

    keep(0)
    made.clear()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(30):
            keep(1_000 + number)
        documents._checked.clear()
        operations.clear()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < sum(one.size for one in made)
    # Without what its condition will keep of arguments, it is small.
    assert (after - before) / len(made) < len(long) / 5


def test_documents_are_counted_by_their_tokens(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    del acme
    assert operations.weight == CACHED_TOKENS
    monkeypatch.setattr(operations, "weight", 2_000)
    for number in range(20):
        gql().data(COMPILED % number)
    # 2,000 tokens, an eighth of it for one client, and 20 in each document.
    assert len(operations) == 2_000 // 8 // prepared_tokens(COMPILED % 1)


def prepared_tokens(text: str) -> int:
    return prepare(schema, text, owner="one").document.token_count


def test_the_bounds_are_those_that_are_documented() -> None:
    assert (plans.entries, plans.weight, plans.share) == (MAX_PLANS, MAX_BYTES, 8)
    text = " ".join(Path("docs/compiled-reads.md").read_text(encoding="utf-8").split())
    assert f"{MAX_PLANS:,} of them and {MAX_BYTES // 2**20} MB, an eighth of that" in text


NAMES = "{ edges { node { name } } }"


@pytest.mark.one_road
@pytest.mark.parametrize(
    ("document", "is_planned_once"),
    [
        (f"{{ assets {NAMES} }}", True),
        (f"{{ assets(order: {{field: NAME}}, last: 3) {NAMES} }}", True),
        ("{ tenant { name memberships(first: 2) { totalCount } } }", True),
        ("{ me { sessions { edges { node { id } } } } }", True),
        (f"{{ assets(filter: {{isEnabled: true}}) {NAMES} }}", False),
        (f"{{ tenants {NAMES} }}", False),
        ("{ me { memberships { role } } }", False),
    ],
)
def test_only_what_walks_an_index_for_everybody_is_planned_once(
    acme: Inhabited,
    gql: Callable[..., Graph],
    monkeypatch: pytest.MonkeyPatch,
    document: str,
    *,
    is_planned_once: bool,
) -> None:
    del acme
    told: list[bool] = []

    def noted(*args: Any, planned_once: bool) -> Any:
        told.append(planned_once)
        return fetch_one(*args, planned_once=planned_once)

    monkeypatch.setattr(running, "fetch_one", noted)
    gql("acme-owner").data(document)
    assert told == [is_planned_once]
