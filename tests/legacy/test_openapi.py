"""The OpenAPI document: that it is one, that it is all there, and where it is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import schemathesis

from assets.legacy.inventory import inventory
from assets.legacy.openapi import document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import Client

VERBS = {"get", "put", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return json.loads(json.dumps(document()))  # type: ignore[no-any-return]


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in openapi["paths"].items():
        yield from ((verb, path, item[verb]) for verb in VERBS & item.keys())


def every(value: Any, name: str) -> Iterator[Any]:
    """Yield what is called `name`, however deep."""
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for one in value.values():
            yield from every(one, name)
    if isinstance(value, list):
        for one in value:
            yield from every(one, name)


def test_it_is_openapi(openapi: dict[str, Any]) -> None:
    loaded = schemathesis.openapi.from_dict(openapi)
    loaded.validate()
    assert loaded.specification.version == "3.1.0"
    broken = schemathesis.openapi.from_dict({**openapi, "info": {"title": 1}})
    with pytest.raises(jsonschema_rs.ValidationError):
        broken.validate()


def test_it_has_what_the_inventory_has_and_nothing_else(openapi: dict[str, Any]) -> None:
    listed = re.findall(r"^\| \S+ \| ([A-Z]+) \| `(\S+)` \|", inventory(), re.MULTILINE)
    shown = [(verb.upper(), path) for verb, path, _ in operations(openapi)]
    assert sorted(shown) == sorted(listed)
    assert len(listed) == len(set(listed)) > 60


def test_every_operation_says_what_it_is_and_what_it_can_answer(openapi: dict[str, Any]) -> None:
    names = [one["operationId"] for _, _, one in operations(openapi)]
    assert len(names) == len(set(names))
    for verb, path, one in operations(openapi):
        assert one["summary"], path
        assert one["tags"], path
        if path.startswith("/api/"):
            common = {"400", "401", "403", "404", "406", "429", "503"}
            common |= {"304"} if verb == "get" else {"409", "413", "422"}
            assert common <= one["responses"].keys(), path
        for parameter in one["parameters"]:
            assert "$ref" in parameter or parameter["description"], path


def test_every_reference_leads_somewhere_and_every_shape_is_used(openapi: dict[str, Any]) -> None:
    referred = set(every(openapi, "$ref"))
    for one in referred:
        found: Any = openapi
        for part in one.removeprefix("#/").split("/"):
            found = found[part]
    named = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "parameters")
        for name in openapi["components"][kind]
    }
    assert named == referred


def test_it_names_no_other_server(openapi: dict[str, Any]) -> None:
    hosts = set(re.findall(r"https?://([^/\"\s]+)", json.dumps(openapi)))
    # Examples only: names and addresses that are set aside for it.
    assert hosts <= {"example.com", "192.0.2.10"}


@pytest.mark.parametrize("path", ["/api/schema", "/api/schema/"])
def test_it_is_there_for_everybody(
    client_of: Callable[..., Client], openapi: dict[str, Any], path: str
) -> None:
    for client in (client_of(), client_of("acme-viewer"), client_of(host="acme.signage.test")):
        answer = client.get(path)
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
        assert answer.json() == openapi
        again = client.get(path, headers={"If-None-Match": answer["ETag"]})
        assert again.status_code == 304
    assert client_of().post(path).status_code == 405
    assert (
        client_of("acme-owner", headers={"Authorization": "Basic eDp5"}).get(path).status_code
        == 401
    )
