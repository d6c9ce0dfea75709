"""`manage.py storage_audit`: rows without files and files without rows, and their repair."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command

from assets import storage_audit
from assets.folder_storage import FolderStorage
from assets.models import Asset, ProcessingStatus
from assets.staging import part_path
from assets.storage import store_file, thumbnail_key
from rls import acting_as
from tenancy.actors import operator
from tests.media import PNG, WEBP, add_media
from tests.uploads import begin, picture, put
from tests.uploads import files as uploaded_files

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tests.world import Inhabited, World

pytestmark = [
    pytest.mark.usefixtures("folder"),
    pytest.mark.django_db(databases=["default", "owner"]),
]


def audit(*arguments: str) -> tuple[int, list[tuple[str, str, bool]], list[str]]:
    """Run the command; return its code, its findings and its notes."""
    out = StringIO()
    code = 0
    try:
        call_command("storage_audit", *arguments, "--json", stdout=out)
    except CommandError as error:
        code = error.returncode
    told = json.loads(out.getvalue())
    found = [(one["kind"], one["key"], one["repaired"]) for one in told["findings"]]
    return code, sorted(found), told["notes"]


def old_file(folder: Path, key: str, content: bytes = b"x", *, hours: float = 25) -> str:
    """Store a file as it was that long ago."""
    store_file(key, BytesIO(content))
    then = datetime.now(UTC).timestamp() - hours * 3600
    os.utime(folder / key, (then, then))
    return key


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def rows(place: Inhabited) -> list[dict[str, Any]]:
    with acting_as(operator(place.tenant.id)):
        return [dict(row) for row in Asset.objects.order_by("pk").values()]


def read(place: Inhabited, row: Asset) -> Asset:
    with acting_as(operator(place.tenant.id)):
        return Asset.objects.get(pk=row.pk)


def test_rows_and_files_that_agree(acme: Inhabited, folder: Path) -> None:
    row = add_media(acme, thumbnail=WEBP)
    for key in files(folder):
        os.utime(folder / key, (0, 0))
    assert audit("--tenant", "acme") == (0, [], [])
    out = StringIO()
    call_command("storage_audit", "--tenant", "acme", stdout=out)
    assert out.getvalue() == "Rows and files agree.\n"
    assert files(folder) == {row.media_path, thumbnail_key(acme.tenant.id, row.pk)}


def test_it_says_for_whom_it_looks() -> None:
    with pytest.raises(CommandError, match="--tenant --all-tenants is required"):
        call_command("storage_audit")
    with pytest.raises(CommandError, match="There is no tenant 'nobody'"):
        call_command("storage_audit", "--tenant", "nobody")
    with pytest.raises(CommandError, match="cannot be negative"):
        call_command("storage_audit", "--all-tenants", "--grace-hours", "-1")


# --- files that no row names --------------------------------------------------------------------


def test_old_files_that_no_row_names(acme: Inhabited, folder: Path) -> None:
    row = add_media(acme, thumbnail=WEBP)
    prefix = f"t/{acme.tenant.id}"
    young = old_file(folder, f"{prefix}/{uuid4()}/young.png", hours=23)
    orphans = sorted(
        [
            old_file(folder, f"{prefix}/{uuid4()}/a.png"),
            old_file(folder, f"{prefix}/{row.pk}/replaced.png"),
            old_file(folder, f"{prefix}/{row.pk}/.{uuid4().hex}.part"),
            old_file(folder, f"{prefix}/{acme.assets[0].pk}/thumbnail/thumbnail.webp"),
        ]
    )
    kept = files(folder) - set(orphans)
    before = rows(acme)
    assert audit("--tenant", "acme") == (1, [("orphan", key, False) for key in orphans], [])
    assert files(folder) == kept | set(orphans)
    found = [("orphan", key, True) for key in orphans]
    assert audit("--tenant", "acme", "--repair") == (0, found, [])
    assert files(folder) == kept
    assert young in kept
    assert rows(acme) == before
    assert audit("--tenant", "acme") == (0, [], [])
    code, found, _ = audit("--tenant", "acme", "--grace-hours", "0")
    assert (code, found) == (1, [("orphan", young, False)])


def test_one_tenants_audit_looks_at_no_others_files(
    acme: Inhabited, globex: Inhabited, folder: Path
) -> None:
    theirs = old_file(folder, f"t/{globex.tenant.id}/{uuid4()}/x")
    lost = add_media(globex)
    default_storage.delete(lost.media_path)
    before = rows(globex)
    assert audit("--tenant", "acme", "--repair") == (0, [], [])
    assert files(folder) == {theirs}
    assert rows(globex) == before
    del acme


def test_all_tenants_and_those_there_are_none_of(world: World, folder: Path) -> None:
    named = add_media(world.initech)
    os.utime(folder / named.media_path, (0, 0))
    orphans = [
        old_file(folder, f"t/{world.globex.tenant.id}/{uuid4()}/x"),
        old_file(folder, f"t/{world.initech.tenant.id}/{uuid4()}/x"),
        old_file(folder, f"t/{uuid4()}/{uuid4()}/of-nobody"),
        old_file(folder, "t/not-a-tenant/x"),
        old_file(folder, f"t/{str(uuid4()).upper()}/x"),
        old_file(folder, "t/file"),
    ]
    old_file(folder, f"t/{uuid4()}/{uuid4()}/young", hours=1)
    old_file(folder, "other/x")
    kept = files(folder) - set(orphans)
    code, found, notes = audit("--all-tenants")
    assert (code, found) == (1, sorted(("orphan", key, False) for key in orphans))
    assert notes == []
    code, found, _ = audit("--all-tenants", "--repair")
    assert (code, found) == (0, sorted(("orphan", key, True) for key in orphans))
    assert files(folder) == kept


def test_bytes_on_their_way_in_that_no_upload_has(world: World, folder: Path) -> None:
    del folder
    waiting = put(world.acme, begin(world.acme, 90), picture(50))
    lost = {}
    for owner in (world.acme.tenant.pk, world.globex.tenant.pk, uuid4()):
        path = part_path(owner, uuid4())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (0, 0))
        lost[owner] = ("staged-orphan", path.name)
    kept = part_path(world.acme.tenant.pk, waiting.pk)
    os.utime(kept, (0, 0))
    acme = lost[world.acme.tenant.pk]
    assert audit("--tenant", "acme") == (1, [(*acme, False)], [])
    everything = sorted((*one, True) for one in lost.values())
    assert audit("--all-tenants", "--repair") == (0, everything, [])
    assert uploaded_files() == [kept]
    assert audit("--all-tenants") == (0, [], [])


def test_a_file_that_resists_is_said_and_stops_no_other(
    acme: Inhabited, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"t/{acme.tenant.id}/{uuid4()}"
    stuck, other = old_file(folder, f"{prefix}/a"), old_file(folder, f"{prefix}/b")
    delete = FolderStorage.delete

    def refuse(self: FolderStorage, name: str) -> None:
        if name == stuck:
            raise PermissionError(1, "Operation not permitted")
        delete(self, name)

    monkeypatch.setattr(FolderStorage, "delete", refuse)
    code, found, notes = audit("--tenant", "acme", "--repair")
    assert (code, found) == (1, [("orphan", stuck, False), ("orphan", other, True)])
    assert notes == [f"{stuck} could not be removed: [Errno 1] Operation not permitted"]
    assert files(folder) == {stuck}


# --- rows whose file is gone --------------------------------------------------------------------


def test_a_row_whose_file_is_gone_says_so(
    acme: Inhabited,
    folder: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    row = add_media(acme, thumbnail=WEBP, file_name="clip.mp4", metadata={"fps": 25})
    default_storage.delete(row.media_path)
    before = rows(acme)
    finding = ("lost-file", row.media_path, False)
    assert audit("--tenant", "acme") == (1, [finding], [])
    assert rows(acme) == before
    with django_capture_on_commit_callbacks(execute=True):
        code, found, _ = audit("--tenant", "acme", "--repair")
    assert (code, found) == (0, [("lost-file", row.media_path, True)])
    after = read(acme, row)
    assert after.processing_status == ProcessingStatus.FAILED
    assert after.metadata == {
        "fps": 25,
        "error_message": "The file clip.mp4 is missing from the storage. Upload it again.",
    }
    assert (after.media_path, after.thumbnail_url, after.file_size) == ("", "", None)
    assert after.updated_at > row.updated_at
    assert after.updated_by_id is None
    # The small picture of what is not there has gone as well.
    assert files(folder) == set()
    assert audit("--tenant", "acme", "--grace-hours", "0") == (0, [], [])
    others = [one for one in rows(acme) if one["id"] != row.pk]
    assert others == [one for one in before if one["id"] != row.pk]


def test_a_row_whose_thumbnail_is_gone_has_none(acme: Inhabited, folder: Path) -> None:
    row = add_media(acme, thumbnail=WEBP)
    thumbnail = thumbnail_key(acme.tenant.id, row.pk)
    default_storage.delete(thumbnail)
    assert audit("--tenant", "acme", "--repair") == (0, [("lost-thumbnail", thumbnail, True)], [])
    after = read(acme, row)
    assert (after.thumbnail_url, after.media_path) == ("", row.media_path)
    assert (after.processing_status, after.metadata) == (ProcessingStatus.COMPLETED, {})
    assert files(folder) == {row.media_path}


def test_metadata_that_is_no_object_gives_way(acme: Inhabited) -> None:
    row = add_media(acme, metadata=["odd"])
    default_storage.delete(row.media_path)
    assert audit("--tenant", "acme", "--repair")[0] == 0
    assert read(acme, row).metadata.keys() == {"error_message"}


def test_a_row_that_names_anothers_file_has_lost_its_own(
    acme: Inhabited, globex: Inhabited, folder: Path
) -> None:
    theirs = add_media(globex)
    row = add_media(acme)
    with acting_as(acme.owner):
        Asset.objects.filter(pk=row.pk).update(media_path=theirs.media_path)
    default_storage.delete(row.media_path)
    found = [("lost-file", theirs.media_path, True)]
    assert audit("--tenant", "acme", "--repair") == (0, found, [])
    assert files(folder) == {theirs.media_path}


def test_what_changes_while_it_looks_is_no_finding(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file and its row that came after the files were listed; a row that went since."""
    came: list[Asset] = []
    gone = add_media(acme)
    default_storage.delete(gone.media_path)
    read_rows = storage_audit._rows

    def meanwhile(tenant_id: UUID, *assets: UUID) -> Any:
        if not came:
            came.append(add_media(acme))
            return read_rows(tenant_id, *assets)
        with acting_as(acme.owner):
            Asset.objects.filter(pk=gone.pk).delete()
        return read_rows(tenant_id, *assets)

    monkeypatch.setattr(storage_audit, "_rows", meanwhile)
    assert audit("--tenant", "acme") == (0, [], [])
    assert len(came) == 1


def test_a_row_that_was_put_right_meanwhile_is_left_alone(acme: Inhabited) -> None:
    row = add_media(acme)
    default_storage.delete(row.media_path)
    [finding] = storage_audit.audit_tenant(acme.tenant.id, grace=timedelta(hours=24))
    with acting_as(acme.owner):
        Asset.objects.filter(pk=row.pk).update(media_path=f"{row.media_path}.new")
    before = rows(acme)
    storage_audit.repair(finding)
    assert rows(acme) == before


def test_tenants_without_a_folder_are_looked_at_where_they_can_be_listed(
    acme: Inhabited, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = add_media(acme)
    default_storage.delete(row.media_path)
    (folder / "t" / str(acme.tenant.id)).rmdir()
    code, found, notes = audit("--all-tenants")
    assert (code, found, notes) == (1, [("lost-file", row.media_path, False)], [])
    monkeypatch.delitem(settings.DATABASES, "owner")
    code, found, [note] = audit("--all-tenants")
    assert (code, found) == (0, [])
    assert note == (
        "Tenants without a single file were not looked at: only DATABASE_OWNER_URL can "
        "list them. Name them with --tenant."
    )


def test_people_read_lines(acme: Inhabited, folder: Path) -> None:
    orphan = old_file(folder, f"t/{acme.tenant.id}/{uuid4()}/x")
    row = add_media(acme, PNG)
    default_storage.delete(row.media_path)
    out = StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("storage_audit", "--tenant", "acme", stdout=out)
    assert str(raised.value) == "2 finding(s) left. Run with --repair to put it right."
    assert raised.value.returncode == 1
    assert out.getvalue().splitlines() == [
        f"found    lost-file      {row.media_path} (asset {row.pk})",
        f"found    orphan         {orphan}",
    ]
    out = StringIO()
    call_command("storage_audit", "--tenant", "acme", "--repair", stdout=out)
    assert out.getvalue().splitlines()[-1] == "2 finding(s), all repaired."


@pytest.mark.usefixtures("bucket")
def test_a_bucket_is_audited_alike(acme: Inhabited) -> None:
    row = add_media(acme, thumbnail=WEBP)
    default_storage.delete(row.media_path)
    orphan = store_file(f"t/{uuid4()}/{uuid4()}/x", BytesIO(b"x"))
    assert audit("--all-tenants") == (1, [("lost-file", row.media_path, False)], [])
    code, found, _ = audit("--all-tenants", "--grace-hours", "0", "--repair")
    assert (code, found) == (
        0,
        [("lost-file", row.media_path, True), ("orphan", orphan, True)],
    )


def test_a_storage_that_is_away_is_one_line(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    del acme

    def away(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(FolderStorage, "walk", away)
    with pytest.raises(CommandError, match=r"The storage cannot be read: .*Input/output error"):
        call_command("storage_audit", "--tenant", "acme")
