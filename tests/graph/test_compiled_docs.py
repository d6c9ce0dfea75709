"""docs/compiled-reads.md, followed to the letter: its examples are run, and compiled."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pytest
import strawberry
import strawberry_django
from django.db.models import BooleanField, Case, DateTimeField, F, QuerySet, Value, When
from strawberry import UNSET, relay
from strawberry.schema.config import StrawberryConfig

from assets.models import Asset
from graph import columns, connections, documents, view
from graph.compiled.plans import operations, plans
from graph.context import Context, Info, people
from graph.documents import Executor, Prepared
from graph.members import User
from graph.scalars import SCALARS
from graph.selections import Selection, selected
from rls import acting_as
from tenancy import models
from tenancy.devices import register_device
from tests.both_roads import watch
from tests.graph.conftest import YEAR, add_assets, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import Settings

    from tests.conftest import Graph
    from tests.world import Inhabited

PAGE = Path("docs/compiled-reads.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
# What the page has to do with: the pieces of the project, and Django's.
KNOWN = {
    **{name: getattr(columns, name) for name in columns.__dict__ if not name.startswith("_")},
    **{name: getattr(connections, name) for name in connections.__dict__ if name[0] != "_"},
    "BooleanField": BooleanField,
    "Case": Case,
    "Context": Context,
    "DateTimeField": DateTimeField,
    "F": F,
    "Info": Info,
    "QuerySet": QuerySet,
    "Selection": Selection,
    "Sequence": Sequence,
    "UNSET": UNSET,
    "User": User,
    "Value": Value,
    "When": When,
    "cast": cast,
    "models": models,
    "partial": partial,
    "people": people,
    "relay": relay,
    "selected": selected,
    "strawberry": strawberry,
    "strawberry_django": strawberry_django,
}
# Where the lines of the first two examples go.
POSTER = """
@strawberry_django.type(Asset, name="Poster", description="An asset of this test.")
class Poster(Keyed, relay.Node):
    name: str | None = column("Its name.")
%s

def listed_posters(context):
    rows = Asset.objects.filter(tenant_id=context.actor.require("assets.view"))
    return Listing(
        rows,
        Ordering("Poster.CREATED", SortKey("created_at", datetime), descending=False),
        lambda rows, selection, *also: reading(Poster, rows, selection, context, *also),
        lambda rows: None,
    )


@strawberry.type
class PosterQueries:
    @query("Posters.", reads=Listed(listed_posters))
    def posters(self, info: Info, first: First = UNSET) -> Connection[Poster] | None:
        return listed_posters(info.context).page(Window.of(first, None, None, None), selected(info))
"""


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """What the page declares, in a schema of the project's pieces that the view answers by."""
    one, other, noun = EXAMPLES
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    vars(module).update(KNOWN, Asset=Asset)
    for text in (POSTER % indent(one + other, "    "), noun):
        exec(compile(text, "page", "exec", dont_inherit=True), vars(module))  # noqa: S102 -- ours

    class Query(module.ScreenQueries, module.PosterQueries):  # type: ignore[name-defined,misc]
        pass

    schema = strawberry.Schema(
        query=strawberry.type(Query),
        extensions=[Prepared],
        execution_context_class=Executor,
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    monkeypatch.setattr(view, "schema", schema)
    shelves: tuple[Any, ...] = (documents._checked, operations, plans)
    for shelf in shelves:
        shelf.clear()
    yield module
    for shelf in shelves:
        shelf.clear()


@pytest.mark.usefixtures("page")
def test_the_expressions_of_the_page_are_compiled(
    acme: Inhabited, gql: Callable[..., Graph], settings: Settings
) -> None:
    settings.DEBUG = True
    now = acme.assets[0].created_at
    add_assets(acme, 1, name="high", metadata={"height": 3, "width": 2})
    add_assets(acme, 1, name="wide", metadata={"height": 2, "width": 3.5})
    add_assets(acme, 1, name="over", start_date=now - 2 * YEAR, end_date=now - YEAR)
    before = watch.compared
    told = gql()("{ posters { edges { node { name isPortrait isOver } } } }")
    assert told["extensions"]["road"] == "compiled"
    assert watch.compared == before + watch.is_on
    assert [one["node"] for one in told["data"]["posters"]["edges"]][-3:] == [
        {"name": "high", "isPortrait": True, "isOver": False},
        {"name": "wide", "isPortrait": False, "isOver": False},
        {"name": "over", "isPortrait": False, "isOver": True},
    ]


@pytest.mark.usefixtures("page")
def test_the_type_of_the_page_is_compiled_with_its_relation_and_its_pages(
    acme: Inhabited, globex: Inhabited, gql: Callable[..., Graph], settings: Settings
) -> None:
    settings.DEBUG = True
    with acting_as(acme.owner):
        for name in ("Zoo", "attic", "Bar"):
            register_device(actor=acme.owner, values={"name": name})
        names = sorted(models.Device.objects.values_list("name", flat=True), key=str.lower)
    with acting_as(globex.owner):
        register_device(actor=globex.owner, values={"name": "Cellar of somebody else"})
    query = (
        "query($after: String) { screens(first: 2, after: $after) { totalCount pageInfo { "
        "hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { __typename id "
        "name hungBy { username email } } } } }"
    )
    found: list[str] = []
    cursor, start, before, goes_on, pages = None, None, watch.compared, True, 0
    while goes_on:
        told = gql()(query, after=cursor)
        assert told["extensions"]["road"] == "compiled"
        screens = told["data"]["screens"]
        assert screens["totalCount"] == len(names)
        for edge in screens["edges"]:
            found.append(edge["node"]["name"])
            assert edge["node"]["__typename"] == "Screen"
            assert edge["node"]["hungBy"]["username"] == "acme-owner"
        info = screens["pageInfo"]
        start, cursor, goes_on = info["startCursor"], info["endCursor"], info["hasNextPage"]
        pages += 1
    assert found == names
    assert pages == (len(names) + 1) // 2 > 1
    assert watch.compared == before + pages * watch.is_on
    with statements(1):
        gql().data(query, after=start)
