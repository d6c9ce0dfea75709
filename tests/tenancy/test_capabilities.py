"""Capability addresses: the legacy API for clients that cannot sign in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from rls import acting_as
from tenancy import capabilities
from tenancy.capabilities import create_capability, revoke_capability
from tenancy.errors import InvalidInput, NotFound, PermissionDenied
from tenancy.keys import KeyKind, make_key
from tenancy.limits import FailureLimit
from tenancy.models import CapabilityKey, Tenant
from tests.conftest import PLATFORM, basic
from tests.tenancy.conftest import nothing_changed

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    from tests.conftest import Graph
    from tests.world import Inhabited, World

from urllib.parse import urlsplit

face = pytest.mark.urls("tests.tenancy.face")


def made(place: Inhabited, **values: Any) -> tuple[CapabilityKey, SplitResult]:
    with acting_as(place.owner):
        row, url = create_capability(actor=place.owner, **{"name": "script", **values})
    return row, urlsplit(url)


def ask(path: str, *, host: str = f"acme.{PLATFORM}", **headers: str) -> tuple[int, Any]:
    client = Client(HTTP_HOST=host, headers=headers, raise_request_exception=False)
    answer = client.get(path)
    return answer.status_code, answer.json() if "json" in answer.headers["Content-Type"] else None


@face
def test_the_address_is_the_credential_and_nothing_else_counts(acme: Inhabited) -> None:
    _, url = made(acme)
    assert url.netloc.partition(":")[0] == f"acme.{PLATFORM}"
    expected = {
        "kind": "capability",
        "user": None,
        "tenant": str(acme.tenant.pk),
        "role": None,
        "credential": "capability",
    }
    assert ask(f"{url.path}/who") == (200, expected)
    assert ask(f"{url.path}/who", **basic("acme-owner")) == (200, expected)
    assert ask(f"{url.path}/who", host=PLATFORM) == (200, expected)


@face
def test_it_opens_the_api_and_no_other_path(acme: Inhabited) -> None:
    _, url = made(acme)
    prefix = url.path.removesuffix("/api")
    for path in ("/who", "/graphql", "/", "", "/apis", "/k/x/api/who"):
        assert ask(f"{prefix}{path}")[0] == 404


@face
def test_wrong_revoked_and_foreign_keys_open_nothing(
    acme: Inhabited, globex: Inhabited, world: World
) -> None:
    row, url = made(acme)
    with acting_as(acme.owner):
        revoke_capability(actor=acme.owner, capability=row.pk)
    refused = {
        "error": "Authentication failed",
        "message": "This address opens nothing.",
        "code": "UNAUTHENTICATED",
    }
    secret, _ = make_key(KeyKind.CAPABILITY)
    device, _ = make_key(KeyKind.DEVICE)
    with nothing_changed(world):
        for key in (url.path.split("/")[2], secret, device, "x", "x" * 10_000):
            assert ask(f"/k/{key}/api/who") == (401, refused)
        _, foreign = made(globex)
    assert ask(f"{foreign.path}/who")[0] == 403
    with acting_as(globex.owner):
        Tenant.objects.filter(pk=globex.tenant.pk).update(is_active=False)
    assert ask(f"{foreign.path}/who", host=f"globex.{PLATFORM}")[0] == 403


@face
def test_a_wrong_key_costs_one_statement_and_no_hash(acme: Inhabited) -> None:
    made(acme)
    secret, _ = make_key(KeyKind.CAPABILITY)
    with CaptureQueriesContext(connection) as captured:
        ask(f"/k/{secret}/api/who")
    assert len(captured) == 1


@face
def test_a_key_is_good_for_so_many_requests(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capabilities, "requests_per_key", FailureLimit("capability-test", 2, 60))
    _, url = made(acme)
    _, other = made(acme)
    assert [ask(f"{url.path}/who")[0] for _ in range(3)] == [200, 200, 429]
    assert ask(f"{other.path}/who")[0] == 200


@face
def test_the_key_is_in_no_log_and_in_no_row(
    acme: Inhabited, caplog: pytest.LogCaptureFixture
) -> None:
    _, url = made(acme)
    secret = url.path.split("/")[2]
    with caplog.at_level(logging.DEBUG):
        for path in (f"{url.path}/who", f"{url.path}/broken", f"/k/{secret}x/api/who"):
            ask(path)
    assert secret not in caplog.text
    assert " /api/who 200 " in caplog.text
    with acting_as(acme.owner):
        assert not [row for row in CapabilityKey.objects.values() if secret in repr(row)]


def test_nobody_gives_what_they_do_not_hold(acme: Inhabited, world: World) -> None:
    attempts: list[tuple[Any, dict[str, Any], type[Exception]]] = [
        (acme.manager, {}, PermissionDenied),
        (acme.admin, {"permissions": ["layouts.edit"]}, PermissionDenied),
        (acme.owner, {"permissions": ["assets.*"]}, InvalidInput),
        (acme.owner, {"permissions": []}, InvalidInput),
        (acme.owner, {"name": " "}, InvalidInput),
    ]
    for actor, values, expected in attempts:
        with nothing_changed(world), acting_as(actor), pytest.raises(expected):
            create_capability(actor=actor, **{"name": "x", **values})
    row, _ = made(acme)
    with nothing_changed(world), acting_as(acme.manager), pytest.raises(PermissionDenied):
        revoke_capability(actor=acme.manager, capability=row.pk)


def test_another_tenants_is_nobodys(acme: Inhabited, globex: Inhabited, world: World) -> None:
    row, _ = made(globex)
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(NotFound):
        revoke_capability(actor=acme.owner, capability=row.pk)


def test_it_is_made_listed_and_revoked_through_graphql(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    document = """mutation { createCapability(input: {name: "old script"}) {
      address { url capability { id name permissions revokedAt createdBy { username } } }
      errors { code } } }"""
    made_ = gql().data(document)["createCapability"]["address"]
    assert made_["capability"] == {
        "id": made_["capability"]["id"],
        "name": "old script",
        "permissions": ["assets.create", "assets.delete", "assets.edit", "assets.view"],
        "revokedAt": None,
        "createdBy": {"username": "acme-owner"},
    }
    listed = gql().data("{ capabilities { edges { node { name } } } }")["capabilities"]["edges"]
    assert [edge["node"]["name"] for edge in listed] == [f"{acme.marker} script", "old script"]
    document = """mutation($id: ID!) { revokeCapability(input: {id: $id}) {
      capability { revokedAt } errors { code } } }"""
    gone = gql().data(document, id=made_["capability"]["id"])["revokeCapability"]
    assert gone["errors"] == []
    assert gone["capability"]["revokedAt"] is not None
    answer = gql("acme-manager")("{ capabilities { totalCount } }")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
