"""The page GraphiQL comes in: its policy, its sources, its examples. Its life is in tests/browser."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from graphql import parse, validate

from graph import graphiql
from graph.bundle import CDN, GRAPHIQL
from graph.schema import schema
from tests.conftest import PLATFORM
from tests.world import PASSWORD

if TYPE_CHECKING:
    from tests.world import World

LINKED = [file for file in GRAPHIQL if file.is_linked]


def signed_in(username: str, host: str) -> Client:
    client = Client(HTTP_HOST=host, headers={"Accept": "text/html"})
    client.post("/login/", {"username": username, "password": PASSWORD})
    return client


@pytest.fixture
def page(world: World) -> Any:
    """GraphiQL as acme's owner gets it."""
    del world
    return signed_in("acme-owner", f"acme.{PLATFORM}").get("/graphql")


def test_the_page_is_acmes_owners_and_nobodys_cache(page: Any) -> None:
    text = page.content.decode()
    assert page.status_code == 200
    assert "acme-owner" in text
    assert f"acme.{PLATFORM}" in text
    assert "<span>owner</span>" in text
    assert "no-store" in page["Cache-Control"]
    assert page.cookies["csrftoken"].value


def test_the_policy_allows_no_inline_script_no_other_host_and_no_frame(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    del world
    monkeypatch.setattr(graphiql, "has_copies", lambda: True)
    page = signed_in("acme-owner", f"acme.{PLATFORM}").get("/graphql")
    rules = dict(rule.split(" ", 1) for rule in page["Content-Security-Policy"].split("; "))
    nonce = rules.pop("style-src").removeprefix("'self' ")
    assert re.fullmatch(r"'nonce-[\w-]{22}'", nonce)
    assert rules == {
        "default-src": "'none'",
        "script-src": "'self'",
        "font-src": "data:",
        "img-src": "'self' data:",
        "connect-src": f"'self' wss://acme.{PLATFORM}",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert CDN not in page.content.decode()


def test_without_copies_exact_files_of_the_cdn_are_named_with_their_digests(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    del world
    monkeypatch.setattr(graphiql, "has_copies", lambda: False)
    page = signed_in("acme-owner", f"acme.{PLATFORM}").get("/graphql")
    links = re.findall(
        r'="(https:[^"]+)" integrity="([^"]+)" crossorigin="anonymous"', page.content.decode()
    )
    assert links == [(CDN + file.path, file.integrity) for file in LINKED]
    policy = page["Content-Security-Policy"]
    for file in LINKED:
        assert f" {CDN}{file.path}" in policy
    assert f"{CDN};" not in policy
    assert not policy.endswith(CDN)


def test_every_linked_file_names_one_version_of_its_package() -> None:
    versions = {(file.package, file.version) for file in GRAPHIQL}
    assert len(versions) == len({package for package, _ in versions}) == 3
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for _, version in versions)


@pytest.mark.parametrize("example", graphiql.EXAMPLES, ids=lambda example: example.title)
def test_every_example_is_valid(example: graphiql.Example) -> None:
    assert validate(schema._schema, parse(example.query)) == []
    if example.variables:
        assert isinstance(json.loads(example.variables), dict)


def test_a_person_of_two_tenants_may_choose_on_the_platforms_host(world: World) -> None:
    del world
    text = signed_in("both", PLATFORM).get("/graphql").content.decode()
    assert re.findall(r"<option>(\w+)</option>", text) == ["acme", "globex"]


def test_a_person_of_one_tenant_is_not_asked(world: World) -> None:
    del world
    text = signed_in("acme-viewer", PLATFORM).get("/graphql").content.decode()
    assert 'id="tenant"' not in text
    assert "<strong>acme</strong>" in text
