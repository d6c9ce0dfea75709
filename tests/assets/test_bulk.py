"""Writes to many assets below both faces: permissions, what is written, and what is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from assets import bulk
from assets.models import Asset
from rls import acting_as
from tenancy.actors import ANONYMOUS
from tenancy.errors import Invalid, InvalidInput, NotFound, NotSignedIn, PermissionDenied
from tests.graph.conftest import add_assets, all_assets

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tenancy.actors import Actor
    from tests.world import Inhabited

WRITES: list[Callable[..., Any]] = [
    lambda actor, ids: bulk.tag_assets(actor=actor, ids=ids, add=["new"]),
    lambda actor, ids: bulk.enable_assets(actor=actor, ids=ids, enabled=False),
]


def tag(actor: Actor, ids: list[UUID], **tags: list[str]) -> list[UUID]:
    with acting_as(actor):
        return bulk.tag_assets(actor=actor, ids=ids, **tags)


def rows(place: Inhabited) -> dict[UUID, dict[str, Any]]:
    return {row["id"]: row for row in all_assets(place)}


def test_tags_are_added_behind_and_taken_away(acme: Inhabited) -> None:
    one, two, three = (asset.pk for asset in acme.assets)
    before = rows(acme)
    tag(acme.manager, [one], add=["b", " a ", "b"])
    assert rows(acme)[one]["tags"] == ["ACME-MARK", "b", "a"]
    assert rows(acme)[one]["updated_by_id"] == acme.manager.user_id
    keys = tag(acme.owner, [two, one, two], add=["a", 'quote" \\ 🎉'], remove=["ACME-MARK", "none"])
    assert keys == [two, one]
    after = rows(acme)
    assert after[one]["tags"] == ["b", "a", 'quote" \\ 🎉']
    assert after[two]["tags"] == ["a", 'quote" \\ 🎉']
    assert after[one]["updated_at"] == after[two]["updated_at"] > before[one]["updated_at"]
    assert after[three] == before[three]


def test_only_what_differs_is_written(acme: Inhabited) -> None:
    one, two, three = (asset.pk for asset in acme.assets)
    tag(acme.owner, [one], add=["there"])
    with acting_as(acme.owner):
        Asset.objects.filter(pk=two).update(is_enabled=False)
    before = rows(acme)
    tag(acme.manager, [one, two, three], add=["there"], remove=["absent"])
    after = rows(acme)
    assert after[one] == before[one]
    assert after[two]["tags"] == after[three]["tags"] == ["ACME-MARK", "there"]
    with acting_as(acme.manager):
        bulk.enable_assets(actor=acme.manager, ids=[one, two, three], enabled=False)
    last = rows(acme)
    assert last[two] == after[two]
    for key in (one, three):
        changed = {name for name, value in last[key].items() if value != after[key][name]}
        assert changed - {"updated_by_id"} == {"is_enabled", "updated_at"}
        assert last[key]["updated_by_id"] == acme.manager.user_id
    with acting_as(acme.manager):
        bulk.enable_assets(actor=acme.manager, ids=[one, two, three], enabled=False)
    assert rows(acme) == last


def test_a_hundred_tags_are_the_most_for_each(acme: Inhabited) -> None:
    one, two, three = (asset.pk for asset in acme.assets)
    tag(acme.owner, [two, three], add=[str(number) for number in range(99)])
    before = rows(acme)
    with pytest.raises(Invalid) as refusal:
        tag(acme.owner, [one, two, three], add=["one more"])
    assert [error.field for error in refusal.value.errors] == [("ids", "1"), ("ids", "2")]
    assert refusal.value.errors[0].message == (
        "There can be 100 tags at most, and this asset would have 101."
    )
    assert rows(acme) == before
    tag(acme.owner, [one, two, three], add=["one more"], remove=["ACME-MARK"])
    assert [len(row["tags"]) for row in rows(acme).values()] == [1, 100, 100]


@pytest.mark.parametrize(
    ("tags", "fields"),
    [
        ({}, [("add",)]),
        ({"add": [], "remove": []}, [("add",)]),
        ({"add": [" "]}, [("add",)]),
        ({"add": ["x" * 101], "remove": ["\x00"]}, [("add",), ("remove",)]),
        ({"add": [str(number) for number in range(101)]}, [("add",)]),
        ({"add": ["a", "b"], "remove": ["b "]}, [("remove",)]),
    ],
)
def test_tags_that_cannot_be_are_refused(
    acme: Inhabited, tags: dict[str, list[str]], fields: list[tuple[str, ...]]
) -> None:
    before = rows(acme)
    with pytest.raises((Invalid, InvalidInput)) as refusal:
        tag(acme.owner, [asset.pk for asset in acme.assets], **tags)
    errors = refusal.value.errors if isinstance(refusal.value, Invalid) else [refusal.value]
    assert [error.field for error in errors] == fields
    assert rows(acme) == before


@pytest.mark.parametrize("write", WRITES)
def test_all_or_none_and_five_hundred_at_most(
    acme: Inhabited, globex: Inhabited, write: Callable[..., Any]
) -> None:
    own = [asset.pk for asset in acme.assets]
    before = rows(acme), rows(globex)
    for stranger in (uuid4(), globex.assets[0].pk):
        with pytest.raises(NotFound) as unknown, acting_as(acme.owner):
            write(acme.owner, [own[0], stranger, own[1]])
        assert unknown.value.field == ("ids", "1")
    with pytest.raises(InvalidInput) as many, acting_as(acme.owner):
        write(acme.owner, [own[0]] * 501)
    assert many.value.field == ("ids",)
    assert (rows(acme), rows(globex)) == before
    with acting_as(acme.owner):
        assert write(acme.owner, []) == []
        assert write(acme.owner, [own[0]] * 500) == [own[0]]


@pytest.mark.parametrize("write", WRITES)
def test_who_may_not_is_refused_before_anything_is_looked_at(
    acme: Inhabited, write: Callable[..., Any]
) -> None:
    before = rows(acme)
    for actor in (acme.viewer, acme.operator):
        with pytest.raises(PermissionDenied), acting_as(actor):
            write(actor, [uuid4()])
    with pytest.raises(NotSignedIn):
        write(ANONYMOUS, [acme.assets[0].pk])
    assert rows(acme) == before


def test_five_hundred_take_three_statements(acme: Inhabited) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    keys = [asset.pk for asset in add_assets(acme, 500)]
    for write in WRITES:
        with acting_as(acme.owner), CaptureQueriesContext(connection) as captured:
            write(acme.owner, keys)
        sent = [q["sql"] for q in captured.captured_queries if "SAVEPOINT" not in q["sql"]]
        assert len(sent) == 3, sent
    assert all("new" in row["tags"] for key, row in rows(acme).items() if key in set(keys))
