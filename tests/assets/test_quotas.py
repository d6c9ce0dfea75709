"""What a plan limits: held in the database, whoever writes and however many at once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client

from assets.importing import import_library
from assets.library import create_asset, delete_assets
from assets.models import Asset, Upload, new_asset_id
from rls import acting_as
from tenancy.errors import QuotaExceeded
from tenancy.limits import within_quota
from tenancy.models import Tenant, TenantUsage
from tests.assets.anthias_libraries import make_library
from tests.conftest import PLATFORM, Graph, basic
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.world import Inhabited

GB = 10**9
CREATE = """mutation($name: String!) { createAsset(input: {name: $name, uri: "https://example.com"})
  { asset { id } errors { code message field } } }"""
FULL = (
    "This tenant may have 3 assets and has no room for more. Delete some, or ask for a larger plan."
)


def limit(place: Inhabited, **limits: int) -> None:
    with acting_as(place.owner):
        Tenant.objects.filter(pk=place.tenant.pk).update(**limits)


def used(place: Inhabited) -> tuple[int, int]:
    with acting_as(place.owner):
        row = TenantUsage.objects.get()
        return row.assets, row.bytes


def counted(place: Inhabited) -> tuple[int, int]:
    """Count what `used` should say."""
    with acting_as(place.owner), connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM assets), (SELECT COALESCE(sum(file_size), 0) FROM assets)"
            " + (SELECT COALESCE(sum(size), 0) FROM uploads)"
        )
        assets, bytes_ = cursor.fetchone()
        return assets, int(bytes_)


def asset_of(place: Inhabited, size: int | None = None) -> Asset:
    return Asset(tenant=place.tenant, asset_id=new_asset_id(), name="x", file_size=size)


def upload_of(place: Inhabited, size: int) -> Upload:
    return Upload(
        tenant=place.tenant,
        handle=new_asset_id(),
        file_name="x",
        size=size,
        expires_at=datetime.now(UTC),
    )


def test_the_world_is_counted(acme: Inhabited, globex: Inhabited) -> None:
    for place in (acme, globex):
        assert used(place) == counted(place) == (3, 1000)


def test_a_limit_refuses_what_would_pass_it_and_says_what_to_do(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    limit(acme, max_assets=3)
    answer = gql().data(CREATE, name="one too many")["createAsset"]
    assert answer == {
        "asset": None,
        "errors": [{"code": "QUOTA_EXCEEDED", "message": FULL, "field": None}],
    }
    assert used(acme) == counted(acme) == (3, 1000)
    with acting_as(acme.owner):
        delete_assets(actor=acme.owner, ids=[acme.assets[0].pk])
    assert gql().data(CREATE, name="one for another")["createAsset"]["errors"] == []
    assert used(acme) == counted(acme) == (3, 1000)


def test_over_a_limit_that_was_lowered_one_can_still_delete(acme: Inhabited) -> None:
    limit(acme, max_assets=1)
    with acting_as(acme.owner):
        delete_assets(actor=acme.owner, ids=[acme.assets[0].pk])
    assert used(acme) == (2, 1000)
    with acting_as(acme.owner), pytest.raises(QuotaExceeded):
        create_asset(actor=acme.owner, values={"name": "x", "uri": "https://example.com"})
    assert used(acme) == counted(acme) == (2, 1000)


def test_bytes_are_held_to_the_byte(acme: Inhabited) -> None:
    limit(acme, storage_quota_gb=1)
    with acting_as(acme.owner):
        asset_of(acme, GB - 1000 - 1).save()
        upload = upload_of(acme, 1)
        upload.save()
        assert used(acme) == counted(acme) == (4, GB)
        for change in (asset_of(acme, 1), upload_of(acme, 1)):
            with pytest.raises(QuotaExceeded, match="has 0 bytes of storage left"), within_quota():
                change.save()
        with pytest.raises(QuotaExceeded), within_quota():
            Upload.objects.filter(pk=upload.pk).update(size=2)
        # An upload that becomes an asset needs no more room than it had.
        with within_quota():
            upload.delete()
            asset_of(acme, 1).save()
        assert used(acme) == counted(acme) == (5, GB)
        Asset.objects.filter(file_size=1).update(file_size=None)
        assert used(acme) == counted(acme) == (5, GB - 1)


def test_the_limits_of_one_tenant_are_not_those_of_another(
    acme: Inhabited, globex: Inhabited
) -> None:
    limit(acme, max_assets=3)
    with acting_as(globex.owner):
        create_asset(actor=globex.owner, values={"name": "x", "uri": "https://example.com"})
    assert used(globex) == counted(globex) == (4, 1000)
    assert used(acme) == (3, 1000)


def test_a_write_that_is_rolled_back_is_not_counted(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        with transaction.atomic():
            asset_of(acme, 5).save()
            transaction.set_rollback(True)
        assert used(acme) == (3, 1000)


def test_a_row_in_another_tenants_name_counts_for_nobody(
    acme: Inhabited, globex: Inhabited
) -> None:
    with (
        acting_as(acme.owner),
        pytest.raises(Exception, match="row-level security"),
        transaction.atomic(),
    ):
        asset_of(globex).save()
    with acting_as(acme.owner), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tenant_usage SET assets = 0 WHERE tenant_id = %s", [globex.tenant.pk]
        )
        assert cursor.rowcount == 0
    assert (used(acme), used(globex)) == ((3, 1000), (3, 1000))


def test_other_violations_stay_what_they_are(acme: Inhabited) -> None:
    with acting_as(acme.owner), pytest.raises(IntegrityError), within_quota():
        Asset.objects.filter(pk=acme.assets[0].pk).update(processing_status="nonsense")


def test_an_import_stores_what_there_is_room_for(acme: Inhabited, tmp_path: Path) -> None:
    limit(acme, max_assets=13)
    library = make_library(tmp_path / "a.db", [{"asset_id": f"row-{n}"} for n in range(25)])
    report = import_library(library, actor=acme.owner, batch_size=8)
    assert (report.migrated, report.failed) == (10, 15)
    assert {row.notes for row in report.rows if row.notes} == {(FULL.replace("have 3", "have 13"),)}
    assert used(acme) == counted(acme) == (13, 1000)
    with acting_as(acme.owner):
        kept = Asset.objects.filter(pk__gt=acme.assets[-1].pk).order_by("pk")
        assert [row.metadata["original_asset_id"] for row in kept] == [
            f"row-{n}" for n in range(10)
        ]


@pytest.mark.usefixtures("scratch_database")
def test_of_32_at_once_with_room_for_10_exactly_10_succeed() -> None:
    world = create_world()
    limit(world.acme, max_assets=13)
    answers: list[dict[str, Any]] = []
    together = threading.Barrier(32)

    def create(number: int) -> None:
        graph = Graph(Client(headers=basic("acme-owner"), HTTP_HOST=f"acme.{PLATFORM}"))
        try:
            together.wait(30)
            answers.append(graph.data(CREATE, name=f"number {number}")["createAsset"])
        finally:
            connection.close()

    threads = [threading.Thread(target=create, args=[number]) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(answer["asset"] is not None for answer in answers) == 10
    codes = [error["code"] for answer in answers for error in answer["errors"]]
    assert codes == ["QUOTA_EXCEEDED"] * 22
    assert used(world.acme) == counted(world.acme) == (13, 1000)
    assert used(world.globex) == (3, 1000)


def test_usage_tells_what_there_is_and_may_be(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    limit(acme, max_assets=7, storage_quota_gb=2, max_users=9)
    question = "{ tenant { usage { assets maxAssets bytes maxBytes members maxMembers } } }"
    assert gql("acme-viewer").data(question)["tenant"]["usage"] == {
        "assets": 3,
        "maxAssets": 7,
        "bytes": 1000,
        "maxBytes": 2 * GB,
        "members": 6,
        "maxMembers": 9,
    }


def test_usage_of_another_tenant_is_refused(gql: Callable[..., Graph]) -> None:
    answer = gql("both", headers={"X-Tenant-ID": "acme"})(
        "{ tenants { edges { node { slug usage { assets } } } } }"
    )
    shown = {
        edge["node"]["slug"]: edge["node"]["usage"] for edge in answer["data"]["tenants"]["edges"]
    }
    assert shown == {"acme": {"assets": 3}, "globex": None}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
