"""Mutations under an Idempotency-Key: done once, answered with the same data, or refused."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client

from assets import library
from assets.models import Asset
from rls import acting_as
from tenancy import idempotency
from tenancy.models import Device, KeptAnswer, Tenant
from tests.conftest import PLATFORM, Graph, basic
from tests.media import PNG
from tests.uploads import new_assets, send
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_django import Settings

    from tests.world import Inhabited, World

KEY = {"Idempotency-Key": "9f1c"}
CREATE = """mutation Make($name: String!) {
  createAsset(input: {name: $name, uri: "https://example.com"}) {
    asset { id assetId name createdAt } errors { code message field } } }"""
REGISTER = """mutation { registerDevice(input: {name: "Lobby"}) {
  credential { deviceId secret } errors { code } } }"""
UNDER_WAY = "A request with this Idempotency-Key is under way. Wait for its answer."
OTHER = "This Idempotency-Key was sent with another request. Use a new key for each."


def keyed(gql: Callable[..., Graph], username: str = "acme-owner", **how: Any) -> Graph:
    return gql(username, headers={**KEY, **how.pop("headers", {})}, **how)


def error(answer: Any) -> tuple[int, str, str]:
    """Return status, code and message of an answer that is one error and no data."""
    body = json.loads(answer.content)
    assert list(body) == ["errors"]
    [found] = body["errors"]
    return answer.status_code, found["extensions"]["code"], found["message"]


def names(place: Inhabited) -> list[str | None]:
    return [asset.name for asset in new_assets(place)]


def kept(place: Inhabited) -> int:
    """Return how many answers are kept beside the world's own."""
    with acting_as(place.owner):
        return KeptAnswer.objects.count() - 1


def test_it_is_done_once_and_answered_the_same(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    graph = keyed(gql)
    first, again = (graph.post(CREATE, {"name": "Lobby"}) for _ in range(2))
    assert json.loads(first.content)["data"]["createAsset"]["errors"] == []
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert names(acme) == ["Lobby"]
    # In the media type that is asked for this time.
    newer = graph.client.post(
        "/graphql",
        json.dumps({"query": CREATE, "variables": {"name": "Lobby"}}),
        content_type="application/json",
        headers={"Accept": "application/graphql-response+json"},
    )
    assert newer["Content-Type"].startswith("application/graphql-response+json")
    assert newer.content == first.content
    assert names(acme) == ["Lobby"]


@pytest.mark.usefixtures("redis_away")
def test_with_redis_away_it_is_done_once_all_the_same(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    first, again = (keyed(gql).data(CREATE, name="Lobby") for _ in range(2))
    assert again == first
    assert names(acme) == ["Lobby"]


def test_another_request_under_the_key_is_refused(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    graph = keyed(gql)
    graph.data(CREATE, name="Lobby")
    both = CREATE + " mutation Other { deleteAssets(input: {ids: []}) { deletedIds } }"
    for query, variables, name in (
        (CREATE, {"name": "Hall"}, None),
        (CREATE.replace("createdAt", ""), {"name": "Lobby"}, None),
        (both, {"name": "Lobby"}, "Make"),
    ):
        body = {"query": query, "variables": variables, "operationName": name}
        answer = graph.client.post("/graphql", json.dumps(body), content_type="application/json")
        assert error(answer) == (422, "KEY_REUSED", OTHER)
    assert (names(acme), kept(acme)) == (["Lobby"], 1)


def test_a_secret_is_told_again_and_kept_for_nobody_else(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    first, again = (keyed(gql).data(REGISTER)["registerDevice"]["credential"] for _ in range(2))
    assert again == first
    with acting_as(acme.owner):
        row = KeptAnswer.objects.latest("created_at")
        assert Device.objects.filter(name="Lobby").count() == 1
    assert first["secret"].encode() not in bytes(row.answer or b"")


def test_keys_of_others_are_others(world: World, gql: Callable[..., Graph]) -> None:
    for username in ("acme-owner", "acme-admin", "globex-owner"):
        keyed(gql, username).data(CREATE, name=username)
    assert names(world.acme) == ["acme-owner", "acme-admin"]
    assert names(world.globex) == ["globex-owner"]
    # One person in two tenants.
    for slug in ("acme", "globex"):
        answer = keyed(gql, "both", headers={"X-Tenant-ID": slug}).data(CREATE, name="both")
        assert [one["code"] for one in answer["createAsset"]["errors"]] == (
            ["FORBIDDEN"] if slug == "acme" else []
        )
    assert names(world.acme) == ["acme-owner", "acme-admin"]
    assert names(world.globex) == ["globex-owner", "both"]


def test_what_was_refused_can_be_tried_again(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(max_assets=3)
    refused = keyed(gql).data(CREATE, name="Lobby")["createAsset"]
    assert [one["code"] for one in refused["errors"]] == ["QUOTA_EXCEEDED"]
    assert kept(acme) == 0
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(max_assets=4)
    for _ in range(2):
        assert keyed(gql).data(CREATE, name="Lobby")["createAsset"]["errors"] == []
    assert names(acme) == ["Lobby"]


def test_what_was_done_in_part_is_answered_again(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    two = """mutation { one: createAsset(input: {name: "Lobby", uri: "https://example.com"})
        { asset { id } errors { code } }
      two: createAsset(input: {name: "Hall", uri: "nowhere"}) { asset { id } errors { code } } }"""
    first, again = (keyed(gql).data(two) for _ in range(2))
    assert first["two"]["errors"] == [{"code": "INVALID"}]
    assert again == first
    assert names(acme) == ["Lobby"]


def test_what_was_rolled_back_is_not_kept(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutation worked, and then its answer could not be made."""
    two = """mutation { one: createAsset(input: {name: "Lobby", uri: "https://example.com"})
        { errors { code } }
      two: deleteAssets(input: {ids: []}) { errors { code } } }"""

    def broken(**_values: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as broke:
        broke.setattr(library, "delete_assets", broken)
        answer = keyed(gql)(two)
    assert answer["data"] is None
    assert (names(acme), kept(acme)) == ([], 0)
    assert keyed(gql).data(CREATE, name="Hall")["createAsset"]["errors"] == []
    assert (names(acme), kept(acme)) == (["Hall"], 1)


def test_an_answer_that_is_too_long_undoes_it(
    acme: Inhabited, gql: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "LONGEST_ANSWER", 20)
    status, code, message = error(keyed(gql).post(CREATE, {"name": "Lobby"}))
    assert (status, code) == (400, "INVALID")
    assert message.startswith("Under an Idempotency-Key an answer can have 20 bytes at most")
    assert (names(acme), kept(acme)) == ([], 0)


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_what_is_no_key_is_refused(acme: Inhabited, gql: Callable[..., Graph], key: str) -> None:
    answer = gql(headers={"Idempotency-Key": key}).post(CREATE, {"name": "Lobby"})
    assert error(answer) == (400, "INVALID", "An Idempotency-Key has 1 to 255 characters.")
    assert (names(acme), kept(acme)) == ([], 0)


def test_queries_have_no_use_for_a_key(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    graph = keyed(gql)
    assert graph.data("{ me { username } }") == {"me": {"username": "acme-owner"}}
    assert graph.data("{ tenant { slug } }") == {"tenant": {"slug": "acme"}}
    assert kept(acme) == 0


def test_outside_of_tenants_a_key_is_not_looked_at(world: World, gql: Callable[..., Graph]) -> None:
    make = """mutation($slug: String!) { createTenant(input: {name: "New", slug: $slug}) {
      tenant { slug } errors { code } } }"""
    graph = keyed(gql, "outsider")
    for slug in ("one-place", "another-place"):
        assert graph.data(make, slug=slug)["createTenant"]["tenant"] == {"slug": slug}
    assert kept(world.acme) == 0


def test_a_file_counts_by_its_content(
    acme: Inhabited, gql: Callable[..., Graph], settings: Settings, tmp_path: Path
) -> None:
    settings.UPLOAD_DIR, settings.MEDIA_ROOT = tmp_path / "uploads", tmp_path / "media"
    client = gql().client
    headers = {**KEY, "GraphQL-Preflight": "1"}
    first, again = (send(client, headers=headers) for _ in range(2))
    assert json.loads(first.content)["data"]["uploadAsset"]["errors"] == []
    assert again.content == first.content
    assert len(new_assets(acme)) == 1
    other = send(client, PNG[:-1] + b"\0", headers=headers)
    assert error(other)[:2] == (422, "KEY_REUSED")
    assert len(new_assets(acme)) == 1


@pytest.mark.usefixtures("scratch_database")
def test_of_many_at_once_one_is_done() -> None:
    world = create_world()
    crowd = 8
    together = threading.Barrier(crowd)
    answers: list[Any] = []

    def graph() -> Graph:
        return Graph(Client(headers={**basic("acme-owner"), **KEY}, HTTP_HOST=f"acme.{PLATFORM}"))

    def write() -> None:
        try:
            together.wait(30)
            answers.append(graph().post(CREATE, {"name": "Lobby"}))
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(crowd)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == crowd
    done = [answer for answer in answers if answer.status_code == 200]
    assert len({answer.content for answer in done}) == 1
    for answer in answers:
        if answer not in done:
            assert error(answer) == (409, "CONFLICT", UNDER_WAY)
    assert names(world.acme) == ["Lobby"]
    assert graph().post(CREATE, {"name": "Lobby"}).content == done[0].content
    with acting_as(world.acme.owner):
        assert Asset.objects.filter(name="Lobby").count() == 1
