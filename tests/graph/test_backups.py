"""Backups and restores through GraphQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.graph.conftest import statements

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_django import Settings

    from tests.conftest import Graph
    from tests.world import Inhabited

CREATE = """mutation { createBackup(input: {}) {
  backup { id name size assets files missing downloadUrl createdBy { username } }
  errors { code field message } } }"""
RESTORE = """mutation($id: ID!, $keep: Boolean! = true) {
  restoreBackup(input: {backupId: $id, keepReplaced: $keep}) {
    restore { id source assets replaced keptBytes notes undoneAt forgottenAt canBeUndone
      createdBy { username } }
    errors { code field message } } }"""
UNDO = """mutation($id: ID!) { undoRestore(input: {id: $id}) {
  restore { canBeUndone } errors { code field } } }"""
FORGET = UNDO.replace("undoRestore", "forgetRestore")
NAMES = "{ assets { edges { node { name updatedAt } } } }"


@pytest.fixture(autouse=True)
def media_root(tmp_path: Path, settings: Settings) -> None:
    """Every test has a storage of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"


def made(gql: Callable[..., Graph]) -> dict[str, Any]:
    answer = gql().data(CREATE)["createBackup"]
    assert answer["errors"] == []
    backup: dict[str, Any] = answer["backup"]
    return backup


def test_a_backup_is_made_listed_restored_undone_and_removed(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    backup = made(gql)
    assert backup["name"].startswith("anthias-backup-20")
    assert backup["downloadUrl"] == f"/static_with_mime/{backup['name']}?mime=application/x-tgz"
    assert (backup["assets"], backup["files"], backup["missing"]) == (3, 0, [])
    assert backup["createdBy"] == {"username": "acme-owner"}
    before = gql().data(NAMES)
    rename = 'mutation($id: ID!) { updateAsset(input: {id: $id, name: "new"}) { errors { code } } }'
    ids = gql().data("{ assets { edges { node { id } } } }")["assets"]["edges"]
    gql().data(rename, id=ids[0]["node"]["id"])
    renamed = gql().data(NAMES)
    answer = gql().data(RESTORE, id=backup["id"])["restoreBackup"]
    assert answer["errors"] == []
    restore = answer["restore"]
    assert restore == {
        "id": restore["id"],
        "source": backup["name"],
        "assets": 3,
        "replaced": 3,
        "keptBytes": 0,
        "notes": [],
        "undoneAt": None,
        "forgottenAt": None,
        "canBeUndone": True,
        "createdBy": {"username": "acme-owner"},
    }
    restored = [edge["node"]["name"] for edge in gql().data(NAMES)["assets"]["edges"]]
    assert restored == [edge["node"]["name"] for edge in before["assets"]["edges"]]
    undone = {"restore": {"canBeUndone": False}, "errors": []}
    assert gql().data(UNDO, id=restore["id"])["undoRestore"] == undone
    assert gql().data(NAMES) == renamed
    refused = {"restore": None, "errors": [{"code": "CONFLICT", "field": ["id"]}]}
    assert gql().data(FORGET, id=restore["id"])["forgetRestore"] == refused
    delete = "mutation($id: ID!) { deleteBackup(input: {id: $id}) { deletedId errors { code } } }"
    gone = {"deletedId": backup["id"], "errors": []}
    assert gql().data(delete, id=backup["id"])["deleteBackup"] == gone
    listed = gql().data("{ backups { edges { node { name } } } }")["backups"]["edges"]
    assert listed == [{"node": {"name": f"{acme.marker}.tar.gz"}}]


def test_what_is_not_kept_cannot_be_undone(gql: Callable[..., Graph]) -> None:
    backup = made(gql)
    restore = gql().data(RESTORE, id=backup["id"], keep=False)["restoreBackup"]["restore"]
    assert restore["canBeUndone"] is False
    refused = {"restore": None, "errors": [{"code": "CONFLICT", "field": ["id"]}]}
    assert gql().data(UNDO, id=restore["id"])["undoRestore"] == refused


@pytest.mark.usefixtures("executor")
def test_lists_are_newest_first_and_one_statement(gql: Callable[..., Graph]) -> None:
    made(gql)
    newest = made(gql)
    document = (
        "{ backups(first: 1) { totalCount edges { node { id size createdBy { username } } } } }"
    )
    graph = gql()
    # The page, the count, the people.
    with statements(3):
        page = graph.data(document)["backups"]
    assert (page["totalCount"], page["edges"][0]["node"]["id"]) == (3, newest["id"])
    gql().data(RESTORE, id=newest["id"])
    document = "{ restores { edges { cursor node { id source } } pageInfo { hasNextPage } } }"
    with statements(1):
        page = graph.data(document)["restores"]
    assert [edge["node"]["source"] for edge in page["edges"]] == [
        newest["name"],
        "ACME-MARK.tar.gz",
    ]


@pytest.mark.parametrize("who", ["acme-viewer", "acme-operator"])
def test_who_may_not_sees_and_does_nothing(gql: Callable[..., Graph], who: str) -> None:
    backup = made(gql)
    assert gql(who).data(CREATE)["createBackup"]["errors"][0]["code"] == "FORBIDDEN"
    answer = gql(who).data(RESTORE, id=backup["id"])["restoreBackup"]
    assert (answer["restore"], answer["errors"][0]["code"]) == (None, "FORBIDDEN")
    for field in ("backups", "restores"):
        answer = gql(who)(f"{{ {field} {{ totalCount }} }}")
        assert answer["data"] == {field: None}
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
