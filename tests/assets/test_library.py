"""The asset writes below both faces: cleaning, permissions, what is stored, concurrent order."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction

from assets import library
from assets.models import Asset
from assets.storage import media_key
from rls import acting_as
from tenancy.actors import ANONYMOUS, operator, person
from tenancy.errors import (
    Invalid,
    InvalidInput,
    NotFound,
    NotSignedIn,
    PermissionDenied,
    TenantRequired,
)
from tenancy.tags import clean_tags

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tests.world import Inhabited, World

NEW = {"name": "n", "uri": "https://example.com"}


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com",
        "HTTPS://EXAMPLE.com/Path?q=ü#x",
        "rtsp://user:secret@camera:554/live",
        "http://[::1]:8080/",
        "http://192.168.1.5/with space",
        "http://xn--bcher-kva.example",
    ],
)
def test_an_address_is_kept_as_it_was_given(uri: str) -> None:
    assert library.clean_uri(f" {uri}\t") == uri


def test_an_instant_is_kept_in_utc() -> None:
    local = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    assert library.clean_date(local) == datetime(2025, 12, 31, 10, tzinfo=UTC)
    assert library.clean_date(local).tzinfo is UTC


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 1),  # noqa: DTZ001 -- what is refused
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-timedelta(hours=1))),
    ],
)
def test_an_instant_without_an_offset_or_beyond_the_calendar_is_refused(moment: datetime) -> None:
    with pytest.raises(InvalidInput):
        library.clean_date(moment)


@pytest.mark.parametrize(
    ("clean", "value"),
    [
        (library.clean_time, time(8, tzinfo=UTC)),
        (library.clean_play_order, 2**31),
        (library.clean_play_order, -(2**31) - 1),
        (library.clean_asset_name, "\ud800"),
        (library.clean_uri, "http://a\x00b"),
        (library.clean_uri, "http://a/\x85b"),
        (library.clean_headers, {"X": "\udfff"}),
        (library.clean_headers, {5: "x", " ": "y"}),
        (clean_tags, ["\x00"]),
    ],
)
def test_what_no_database_can_hold_is_refused(clean: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(InvalidInput):
        clean(value)


def test_limits_are_inclusive() -> None:
    assert library.clean_asset_duration(0) == 0
    assert library.clean_asset_duration(31_536_000) == 31_536_000
    assert library.clean_refresh_interval(86_400) == 86_400
    assert library.clean_play_order(-(2**31)) == -(2**31)
    assert library.clean_headers({"x" * 256: "ä" * 2048}) == {"x" * 256: "ä" * 2048}
    assert len(clean_tags([f"{number:0100}" for number in range(100)])) == 100
    assert len(library.clean_description("x" * 10_000)) == 10_000


def test_what_is_required_is_named_with_everything_else_that_is_wrong(acme: Inhabited) -> None:
    with acting_as(acme.owner), pytest.raises(Invalid) as raised:
        library.create_asset(actor=acme.owner, values={"duration": -1})
    assert [error.field for error in raised.value.errors] == [("name",), ("uri",), ("duration",)]


def test_a_name_that_is_no_field_is_a_fault_of_ours(acme: Inhabited) -> None:
    with acting_as(acme.owner), pytest.raises(KeyError):
        library.create_asset(actor=acme.owner, values={**NEW, "media_path": "/etc/passwd"})


def test_an_operator_creates_in_nobodys_name(acme: Inhabited) -> None:
    with acting_as(operator(acme.tenant.pk)) as actor:
        asset = library.create_asset(actor=actor, values=NEW)
    assert (asset.created_by_id, asset.updated_by_id, asset.tenant_id) == (
        None,
        None,
        acme.tenant.pk,
    )


@pytest.mark.parametrize(
    ("of", "error"),
    [
        (lambda _: ANONYMOUS, NotSignedIn),
        (lambda world: person(world.acme.owner.user_id), TenantRequired),
        (lambda world: world.acme.viewer, PermissionDenied),
    ],
)
def test_who_may_not_writes_nothing(
    world: World, of: Callable[[World], Any], error: type[Exception]
) -> None:
    actor, asset = of(world), world.acme.assets[0]
    writes: list[Callable[[], object]] = [
        lambda: library.create_asset(actor=actor, values=NEW),
        lambda: library.update_asset(actor=actor, asset=asset.pk, changes={"name": "x"}),
        lambda: library.delete_assets(actor=actor, ids=[asset.pk]),
        lambda: library.reorder_assets(actor=actor, ids=[asset.pk]),
    ]
    for write in writes:
        with acting_as(actor), pytest.raises(error):
            write()


def test_another_tenants_asset_is_nobodys(world: World) -> None:
    foreign = world.globex.assets[0].pk
    owner = world.acme.owner
    messages = set()
    for key in (foreign, uuid4()):
        for write in (
            lambda key=key: library.update_asset(actor=owner, asset=key, changes={"name": "x"}),
            lambda key=key: library.delete_assets(actor=owner, ids=[key]),
            lambda key=key: library.reorder_assets(actor=owner, ids=[key]),
        ):
            with acting_as(owner), pytest.raises(NotFound) as raised:
                write()
            messages.add(raised.value.message)
    assert len(messages) == 1


def test_a_file_goes_when_its_asset_has_gone_for_good(
    acme: Inhabited,
    tmp_path: Path,
    settings: Any,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    settings.MEDIA_ROOT = tmp_path
    with acting_as(acme.owner):
        asset = library.create_asset(actor=acme.owner, values=NEW)
        key = media_key(acme.tenant.pk, asset.pk, "x.png")
        Asset.objects.filter(pk=asset.pk).update(media_path=key)
    default_storage.save(key, ContentFile(b"png"))
    with (
        django_capture_on_commit_callbacks(execute=True),
        acting_as(acme.owner),
        pytest.raises(NotFound),
    ):
        library.delete_assets(actor=acme.owner, ids=[asset.pk, uuid4()])
    assert default_storage.exists(key)
    with django_capture_on_commit_callbacks(execute=True), acting_as(acme.owner):
        assert library.delete_assets(actor=acme.owner, ids=[asset.pk]) == [asset.pk]
        assert default_storage.exists(key)
    assert not default_storage.exists(key)


def test_many_assets_are_ordered_in_one_statement(acme: Inhabited) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with acting_as(acme.owner):
        made = [library.create_asset(actor=acme.owner, values=NEW).pk for _ in range(30)]
        made.reverse()
        with CaptureQueriesContext(connection) as captured:
            library.reorder_assets(actor=acme.owner, ids=made)
        written = [q for q in captured.captured_queries if q["sql"].startswith("UPDATE")]
        orders = dict(Asset.objects.filter(pk__in=made).values_list("pk", "play_order"))
    assert len(written) == 1
    assert [orders[key] for key in made] == list(range(30))


def test_a_refused_write_leaves_the_transaction_usable(acme: Inhabited) -> None:
    with acting_as(acme.owner), transaction.atomic():
        with pytest.raises(Invalid):
            library.create_asset(actor=acme.owner, values={**NEW, "name": ""})
        assert library.create_asset(actor=acme.owner, values=NEW).duration == 10
