"""Signing in and GraphiQL, as a person meets them in a browser without any network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings

from graph import graphiql as graphiql_page
from graph.graphiql import EXAMPLES
from tests.browser.conftest import NARROW, WIDE, resize

if TYPE_CHECKING:
    from tests.browser.conftest import Browser

pytestmark = pytest.mark.browser


# What Anthias itself answers for the library that was imported into acme.
EXPECTED = json.loads(
    (Path(settings.BASE_DIR) / "tests/data/anthias/expected_v2_assets.json").read_text("utf-8")
)


def _nodes(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [edge["node"] for edge in answer["data"]["assets"]["edges"]]


@pytest.mark.usefixtures("copies")
def test_a_person_without_a_session_is_asked_to_sign_in_and_comes_back(browser: Browser) -> None:
    browser.open("/graphql")
    assert browser.path == "/login/?next=/graphql"
    assert "acme.localhost" in browser.find(".host").text
    browser.sign_in("acme-owner")
    browser.at("/graphql")


@pytest.mark.usefixtures("copies")
def test_a_wrong_password_is_said_and_the_name_kept(browser: Browser) -> None:
    browser.expected = ["the server responded with a status of 401"]
    browser.open("/login/")
    browser.sign_in("acme-viewer", "not the password")
    assert browser.find("[role=alert]").text == "The username or the password is wrong."
    assert browser.find("#username").get_property("value") == "acme-viewer"
    assert browser.find("#password").get_property("value") == ""
    browser.sign_in("acme-viewer")
    browser.at("/graphql")


def test_a_stranger_to_the_tenant_gets_no_session_there(browser: Browser) -> None:
    browser.expected = ["the server responded with a status of 403"]
    browser.open("/login/", tenant="globex")
    browser.sign_in("acme-owner")
    assert "not a member" in browser.find("[role=alert]").text
    assert browser.driver.get_cookie("sessionid") is None


def test_without_copies_and_without_network_the_page_says_so(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.expected = ["net::ERR_NAME_NOT_RESOLVED"]
    monkeypatch.setattr(graphiql_page, "has_copies", lambda: False)
    browser.open("/graphql")
    browser.sign_in("acme-owner")
    browser.until(
        lambda: browser.find("#waiting").text.startswith("GraphiQL could not be loaded."),
        "nothing is said",
    )


def test_the_first_query_shows_the_tenants_library(graphiql: Browser) -> None:
    answer = graphiql.run()
    imported = {asset["asset_id"]: asset["name"] for asset in EXPECTED}
    shown = {node["assetId"]: node["name"] for node in _nodes(answer)}
    assert imported.items() <= shown.items()
    assert set(shown.values()) - set(imported.values()) == {
        f"ACME-MARK asset {number}" for number in range(3)
    }
    assert answer["data"]["assets"]["totalCount"] == len(shown) == len(imported) + 3
    assert graphiql.find(".bar-place").text.startswith("acme\nacme.localhost:")
    assert graphiql.find(".bar-person").text == "acme-owner\nowner"


def test_every_example_is_a_tab_and_in_the_menu(graphiql: Browser) -> None:
    tabs = graphiql.texts(".graphiql-tab-button")
    assert tabs == ["Assets", "Me", "Playlist", "CreateAsset", "Live"]
    graphiql.example("Me")
    assert graphiql.texts(".graphiql-tab-active .graphiql-tab-button") == ["Me"]
    answer = graphiql.run()
    assert "errors" not in answer
    assert answer["data"]["me"]["username"] == "acme-owner"

    graphiql.find(".graphiql-tab-active .graphiql-tab-close").click()
    graphiql.until(lambda: len(graphiql.texts(".graphiql-tab-button")) == 4, "not closed")
    graphiql.example("Me")
    graphiql.until(
        lambda: (
            graphiql.texts(".graphiql-tab-button")
            == ["Assets", "Playlist", "CreateAsset", "Live", "Me"]
        ),
        "the tab is not named",
    )


def test_a_mutation_by_cookie_carries_the_csrf_token(graphiql: Browser) -> None:
    graphiql.example("Create an asset")
    answer = graphiql.run()
    assert "errors" not in answer
    created = answer["data"]["createAsset"]
    assert created["errors"] == []
    assert created["asset"]["name"] == "Welcome"

    # The library is every test's.
    ids = json.dumps([created["asset"]["id"]])
    graphiql.write(f"mutation {{ deleteAssets(input: {{ids: {ids}}}) {{ deletedIds }} }}")
    answer = graphiql.run()
    assert answer["data"]["deleteAssets"]["deletedIds"] == json.loads(ids)


def test_a_subscription_tells_what_another_client_changes(graphiql: Browser) -> None:
    graphiql.example("Live")
    graphiql.until(graphiql.is_read, "GraphiQL does not read the query")
    graphiql.find(".graphiql-execute-button").click()
    graphiql.until(
        lambda: graphiql.find("#notice").text.startswith("Waiting for changes."), "no socket"
    )
    name = "Somebody else's"
    asset = graphiql.elsewhere(
        "mutation($name: String!) { createAsset(input: "
        '{name: $name, uri: "https://example.com/live"}) { asset { id assetId } } }',
        name=name,
    )["createAsset"]["asset"]
    told = graphiql.until(graphiql.answer, "nothing is told")
    assert told["data"]["assetsChanged"] == {
        "kind": "CREATED",
        "all": False,
        "assets": [{"assetId": asset["assetId"], "name": name}],
    }
    graphiql.elsewhere(
        "mutation($ids: [ID!]!) { deleteAssets(input: {ids: $ids}) { deletedIds } }",
        ids=[asset["id"]],
    )
    graphiql.until(
        lambda: graphiql.answer()["data"]["assetsChanged"]["kind"] == "DELETED",
        "the second change is not told",
    )
    # Until the person stops it; then the page says nothing more.
    graphiql.find(".graphiql-execute-button").click()
    graphiql.until(lambda: not graphiql.find("#notice").text, "the socket stays")


def test_the_schema_is_documented_beside_the_editor(graphiql: Browser) -> None:
    graphiql.find("button[aria-label='Show Documentation Explorer']").click()
    graphiql.until(
        lambda: "query: Query" in graphiql.find(".graphiql-doc-explorer-content").text,
        "the schema is not documented",
    )
    graphiql.find(".graphiql-doc-explorer-content a").click()
    graphiql.until(
        lambda: graphiql.find(".graphiql-doc-explorer-title").text == "Query", "not at Query"
    )


def test_menus_completion_and_dialogs_work_under_the_policy(graphiql: Browser) -> None:
    # GraphiQL's dialogs say so about themselves, in development builds of their library.
    graphiql.expected = ["Missing `Description`"]
    graphiql.find("button[aria-label='Show History']").click()
    graphiql.find(".graphiql-history")
    graphiql.find("button[aria-label='Open settings dialog']").click()
    graphiql.find(".graphiql-dialog-section button[data-theme=dark]").click()
    graphiql.find("body.graphiql-dark")
    graphiql.find(".graphiql-dialog-close").click()
    graphiql.until(lambda: not graphiql.has(".graphiql-dialog"), "the dialog stays")
    graphiql.write("{ }")
    graphiql.find("#examples:enabled")
    graphiql.complete(after=2, typed="pla")
    assert "playlist" in graphiql.texts(".CodeMirror-hint")


def test_signing_out_ends_the_session(graphiql: Browser) -> None:
    graphiql.find(".bar form button").click()
    graphiql.at("/login/")
    graphiql.open("/graphql")
    assert graphiql.path == "/login/?next=/graphql"


def test_a_session_that_ended_elsewhere_is_said(graphiql: Browser) -> None:
    graphiql.expected = ["the server responded with a status of 401"]
    graphiql.driver.delete_cookie("sessionid")
    answer = graphiql.run()
    assert "UNAUTHENTICATED" in json.dumps(answer)
    assert graphiql.find("#notice").text == "Your session has ended. Sign in again"
    graphiql.find("#notice a").click()
    graphiql.at("/login/?next=/graphql")


def test_who_belongs_to_several_tenants_chooses_one(graphiql: Browser) -> None:
    graphiql.expected = ["the server responded with a status of 400"]
    graphiql.open("/graphql", tenant="")
    graphiql.sign_in("both")
    assert graphiql.run()["code"] == "TENANT_REQUIRED"
    assert graphiql.find("#notice").text == "Choose a tenant first."
    graphiql.choose("#tenant", "globex")
    names = [node["name"] for node in _nodes(graphiql.run())]
    assert names == [f"GLOBEX-MARK asset {number}" for number in range(3)]
    graphiql.open("/graphql", tenant="")
    assert graphiql.find("#tenant").get_property("value") == "globex"


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_sticks_out_of_the_window(graphiql: Browser, size: tuple[int, int]) -> None:
    resize(graphiql.driver, size)
    graphiql.run()
    assert graphiql.overflow() == []
    editor, answer = graphiql.find(".graphiql-editors").rect, graphiql.find(".result-window").rect
    assert min(editor["height"], answer["height"]) > 200
    assert min(editor["width"], answer["width"]) > 300
    assert (answer["y"] > editor["y"]) is (size == NARROW)
    graphiql.open("/login/")
    assert graphiql.overflow() == []


def test_two_people_do_not_see_each_others_tabs(graphiql: Browser) -> None:
    graphiql.write("query OnlyMine { me { username } }")
    graphiql.until(lambda: "OnlyMine" in json.dumps(graphiql.stored()), "not remembered")
    graphiql.find(".bar form button").click()
    graphiql.at("/login/")
    graphiql.sign_in("acme-viewer")
    assert graphiql.query() == EXAMPLES[0].query
