"""A tenant whose time is over is taken apart: files, rows, keys, and nobody else's."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from assets.purging import purge_tenant
from assets.storage import media_key, media_storage, tenant_prefix
from rls import acting_as
from tenancy.actors import worker
from tenancy.jobs import ROUNDS
from tenancy.models import Tenant
from tenancy.tenants import find_tenant, is_active_tenant
from tests.isolation.test_graphql import rows_of
from tests.uploads import begin

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import Settings

    from tests.world import Inhabited


def files(place: Inhabited) -> list[str]:
    return sorted(one.key for one in media_storage().walk(tenant_prefix(place.tenant.pk)))


def furnish(place: Inhabited) -> None:
    for asset in place.assets[:2]:
        key = media_key(place.tenant.pk, asset.pk, "picture.png")
        default_storage.save(key, ContentFile(b"bytes"))


def test_files_rows_and_nobody_elses(
    acme: Inhabited, globex: Inhabited, settings: Settings, tmp_path: Path
) -> None:
    settings.UPLOAD_DIR, settings.MEDIA_ROOT = tmp_path / "uploads", tmp_path / "media"
    for place in (acme, globex):
        furnish(place)
        begin(place, 10)
    folders = [tmp_path / "uploads" / str(place.tenant.pk) for place in (acme, globex)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "x.part").write_bytes(b"half")
    kept, before = files(globex), rows_of(globex)
    assert len(kept) == len(files(acme)) == 2
    actor = worker(acme.tenant.pk)
    # Not before its time.
    purge_tenant(actor=actor)
    assert len(files(acme)) == 2
    assert is_active_tenant(acme.tenant.pk) is True
    with acting_as(acme.owner):
        over = timezone.now() - timedelta(minutes=1)
        Tenant.objects.filter(pk=acme.tenant.pk).update(deletes_at=over)
    purge_tenant(actor=actor)
    assert files(acme) == []
    assert [folder.exists() for folder in folders] == [False, True]
    assert (is_active_tenant(acme.tenant.pk), find_tenant("acme")) == (None, None)
    assert (files(globex), rows_of(globex)) == (kept, before)
    # A job that is delivered twice finds nothing to do.
    purge_tenant(actor=actor)


def test_a_suspended_tenant_goes_too(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        over = timezone.now() - timedelta(minutes=1)
        Tenant.objects.filter(pk=acme.tenant.pk).update(deletes_at=over, is_active=False)
    purge_tenant(actor=worker(acme.tenant.pk))
    assert is_active_tenant(acme.tenant.pk) is None


def test_the_worker_looks_every_hour() -> None:
    [declared] = [each for each in ROUNDS if each.task.name == "assets.purge_tenant"]
    assert (declared.cron, declared.of) == ("7 * * * *", "tenants_to_purge")
