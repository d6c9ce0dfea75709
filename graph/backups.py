"""Backups and restores as GraphQL shows them, and the writes to them: nothing decided here.

The writes are functions of assets.backup and assets.restoring.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, cast
from urllib.parse import quote
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import (
    BooleanField,
    Case,
    DateTimeField,
    Model,
    Q,
    QuerySet,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Concat
from strawberry import relay

from assets import backup as backups
from assets import models, restoring
from graph.columns import (
    Keyed,
    Listed,
    Related,
    column,
    computed,
    expression,
    mutation,
    query,
    reading,
)
from graph.connections import (
    After,
    Before,
    Connection,
    First,
    Last,
    Listing,
    Ordering,
    SortKey,
    Window,
)
from graph.context import Context, Info, people
from graph.errors import UserError, attempt
from graph.ids import key_of
from graph.inputs import is_given
from graph.members import User
from graph.permissions import holding
from graph.scalars import BigInt
from graph.selections import Selection, selected
from tenancy.errors import NotFound
from tenancy.tenants import clean_text

# Of names in which nothing is to be quoted, which are all that are made here.
_DOWNLOAD_URL = Case(
    When(
        name__regex="^[A-Za-z0-9_.~-]*$",
        then=Concat(
            Value("/static_with_mime/"),
            "name",
            Value("?mime=application/x-tgz"),
            output_field=TextField(),
        ),
    )
)
# Lists begin with what is newest.
_NEWEST = SortKey("created_at", datetime)


@strawberry_django.type(
    models.Backup,
    name="Backup",
    description=(
        "An archive of the tenant's library in the layout of Anthias's own backups: assets, their "
        "files and settings, never a secret or an account. It is removed a week after it was made."
    ),
)
class Backup(Keyed, relay.Node):
    """`assets.models.Backup`."""

    name: str = column("What the file is called: `lobby-2026-11-24T18-00-00.tar.gz`.")
    size: BigInt = column("How many bytes it has; they count against the tenant's storage.")
    assets: BigInt = column("How many assets are in it.")
    files: BigInt = column("How many files are in it.")
    missing: list[str] = column("Files that assets name and that were not in the storage.")
    created_at: datetime = column("When it was made.")
    expires_at: datetime = column("When it is removed.")

    @computed(
        "Where it can be downloaded with the credential of somebody who has assets.import: a path "
        "on the tenant's host.",
        "name",
        sql=lambda _: _DOWNLOAD_URL,
    )
    def download_url(self) -> str:
        """Return the address that Anthias has for backups, too."""
        name = quote(cast("models.Backup", self).name)
        return f"/static_with_mime/{name}?mime=application/x-tgz"

    @computed(
        "Who made it; null for somebody who has left the tenant.",
        "created_by",
        reads=Related("created_by_id", people),
    )
    def created_by(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        return cast("User", info.context.people.get(cast("models.Backup", self).created_by_id))


@strawberry_django.type(
    models.Restore,
    name="Restore",
    description=(
        "A library that took the place of the tenant's. What it replaced stays for a week, counts "
        "against the storage, and comes back by `undoRestore`."
    ),
)
class Restore(Keyed, relay.Node):
    """`assets.models.Restore`."""

    source: str = column("What the archive was called.")
    assets: BigInt = column("How many assets it brought.")
    replaced: BigInt = column("How many assets it replaced.")
    kept_bytes: BigInt = column("How much storage is held by files of what it replaced.")
    notes: list[str] = column(
        "What was passed over or changed on the way, a sentence each, 100 at most."
    )
    created_at: datetime = column("When it was restored.")
    expires_at: datetime = column("When what it replaced is removed for good.")
    undone_at: datetime | None = column("When it was undone; null when it was not.")
    forgotten_at: datetime | None = column(
        "When what it replaced was removed for good; null while it is there."
    )
    can_be_undone: bool = expression(
        "Whether what it replaced is still there. A later restore has to be undone first.",
        lambda _: Case(
            When(undone_at__isnull=True, forgotten_at__isnull=True, then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        ),
    )

    @computed(
        "Who restored it; null for somebody who has left the tenant.",
        "created_by",
        reads=Related("created_by_id", people),
    )
    def created_by(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        return cast("User", info.context.people.get(cast("models.Restore", self).created_by_id))


def _meet(context: Context, rows: Sequence[Model]) -> None:
    context.people.expect(row.__dict__.get("created_by_id") for row in rows)


def backups_of_tenant(context: Context) -> QuerySet[models.Backup]:
    """Return the tenant's backups that are not over; raises PermissionDenied."""
    tenant_id = context.actor.require(backups.PERMISSION)
    now = context.bound(lambda one: one.now, DateTimeField())
    return models.Backup.objects.filter(Q(tenant_id=tenant_id, expires_at__gt=now))


def restores_of_tenant(context: Context) -> QuerySet[models.Restore]:
    """Return the tenant's restores; raises PermissionDenied."""
    return models.Restore.objects.filter(tenant_id=context.actor.require(backups.PERMISSION))


def backups_by_keys(
    context: Context, keys: list[UUID], selection: Selection
) -> Iterable[models.Backup]:
    """Return the backups of these keys that there are, for `node` and `nodes`."""
    rows = list(reading(Backup, backups_of_tenant(context).filter(pk__in=keys), selection, context))
    _meet(context, rows)
    return rows


def restores_by_keys(
    context: Context, keys: list[UUID], selection: Selection
) -> Iterable[models.Restore]:
    """Return the restores of these keys that there are, for `node` and `nodes`."""
    rows = list(
        reading(Restore, restores_of_tenant(context).filter(pk__in=keys), selection, context)
    )
    _meet(context, rows)
    return rows


def _listing(type_: type, rows: QuerySet[Any], context: Context) -> Listing[Any]:
    def read(rows: QuerySet[Any], selection: Selection, *columns: str) -> QuerySet[Any]:
        return reading(type_, rows, selection, context, *columns)

    return Listing(
        rows=rows,
        ordering=Ordering(f"{type_.__name__}.CREATED_AT", _NEWEST, descending=True),
        read=read,
        meet=partial(_meet, context),
    )


def _listed_backups(context: Context) -> Listing[models.Backup]:
    return _listing(Backup, backups_of_tenant(context), context)


def _listed_restores(context: Context) -> Listing[models.Restore]:
    return _listing(Restore, restores_of_tenant(context), context)


@strawberry.type
class BackupQueries:
    """The root fields about backups."""

    @query(
        "The tenant's backups, newest first, page by page. Needs assets.import.",
        needs=holding("assets.import"),
        reads=Listed(_listed_backups),
    )
    def backups(
        self,
        info: Info,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> Connection[Backup] | None:
        """List backups."""
        window = Window.of(first, after, last, before)
        return _listed_backups(info.context).page(window, selected(info))

    @query(
        "What was restored into the tenant, newest first, page by page. Needs assets.import.",
        needs=holding("assets.import"),
        reads=Listed(_listed_restores),
    )
    def restores(
        self,
        info: Info,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> Connection[Restore] | None:
        """List restores."""
        window = Window.of(first, after, last, before)
        return _listed_restores(info.context).page(window, selected(info))


@strawberry.input(description="How to make a backup.")
class CreateBackupInput:
    """The input of `createBackup`."""

    name: str | None = strawberry.field(
        description="What its file is called in front of the date: `lobby`. `anthias-backup` when "
        "left out.",
        default=strawberry.UNSET,
    )


@strawberry.input(description="Which backup.")
class DeleteBackupInput:
    """The input of `deleteBackup`."""

    id: strawberry.ID = strawberry.field(description="The backup's `id`.")


@strawberry.input(description="What to restore, and what becomes of the present library.")
class RestoreBackupInput:
    """The input of `restoreBackup`."""

    backup_id: strawberry.ID = strawberry.field(
        description="The `id` of one of the tenant's backups. An archive from elsewhere comes in "
        "by `POST /api/v2/recover`."
    )
    keep_replaced: bool = strawberry.field(
        description="Whether the present library stays for a week, so that this can be undone. It "
        "counts against the storage meanwhile.",
        default=True,
    )


@strawberry.input(description="Which restore.")
class RestoreInput:
    """The input of `undoRestore` and `forgetRestore`."""

    id: strawberry.ID = strawberry.field(description="The restore's `id`.")


@strawberry.type(description="What `createBackup` did.")
class CreateBackupPayload:
    """The payload of `createBackup`."""

    backup: Backup | None = strawberry.field(
        description="The new backup; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `deleteBackup` did.")
class DeleteBackupPayload:
    """The payload of `deleteBackup`."""

    deleted_id: strawberry.ID | None = strawberry.field(
        description="The id of the backup that is gone; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="A restore after it was done, undone or made final.")
class RestorePayload:
    """The payload of `restoreBackup`, `undoRestore` and `forgetRestore`."""

    restore: Restore | None = strawberry.field(
        description="The restore as it is now; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _key(text: str, type_name: str, noun: str, *field: str) -> UUID:
    key = key_of(text, type_name, *field)
    if key is None:
        raise NotFound(f"There is no {noun} with this id.", field=field)
    return key


def _payload(info: Info, row: models.Restore | None, errors: list[UserError]) -> RestorePayload:
    selection = selected(info)
    restore = None
    if row is not None and "restore" in selection:
        [found] = restores_by_keys(info.context, [row.pk], selection.below("restore"))
        restore = cast("Restore", found)
    return RestorePayload(restore=restore, errors=errors)


@strawberry.type
class BackupMutations:
    """The mutations about backups and restores."""

    @mutation(
        "Make a backup of the tenant's library as it is now. Needs assets.import. Refused: "
        "FORBIDDEN, QUOTA_EXCEEDED when there is no storage left for it.",
        needs=holding("assets.import"),
    )
    def create_backup(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            CreateBackupInput, strawberry.argument(description="How to make it.")
        ],
    ) -> CreateBackupPayload:
        """Make a backup."""
        name = input.name if is_given(input.name) else ""
        row, errors = attempt(
            lambda: backups.create_backup(
                actor=info.context.actor, settings={"player_name": clean_text(name)}
            )
        )
        selection = selected(info)
        backup = None
        if row is not None and "backup" in selection:
            [found] = backups_by_keys(info.context, [row.pk], selection.below("backup"))
            backup = cast("Backup", found)
        return CreateBackupPayload(backup=backup, errors=errors)

    @mutation(
        "Remove a backup. Needs assets.import. Refused: FORBIDDEN, NOT_FOUND.",
        needs=holding("assets.import"),
    )
    def delete_backup(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            DeleteBackupInput, strawberry.argument(description="Which backup.")
        ],
    ) -> DeleteBackupPayload:
        """Remove a backup."""

        def write() -> bool:
            key = _key(input.id, "Backup", "backup", "id")
            backups.delete_backup(actor=info.context.actor, backup=key)
            return True

        done, errors = attempt(write)
        return DeleteBackupPayload(deleted_id=input.id if done else None, errors=errors)

    @mutation(
        "Put the library of a backup in the place of the tenant's: all of it or nothing. Its "
        "settings become the defaults of the tenant's players where you have tenant.settings too; "
        "accounts and members are not touched. Needs assets.import and assets.delete. "
        "Refused: FORBIDDEN, NOT_FOUND, INVALID, QUOTA_EXCEEDED.",
        needs=holding("assets.import", "assets.delete"),
    )
    def restore_backup(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RestoreBackupInput, strawberry.argument(description="What to restore.")
        ],
    ) -> RestorePayload:
        """Restore a backup."""
        row, errors = attempt(
            lambda: restoring.restore_backup(
                _key(input.backup_id, "Backup", "backup", "backup_id"),
                actor=info.context.actor,
                keep=input.keep_replaced,
            )
        )
        return _payload(info, row, errors)

    @mutation(
        "Put back what a restore replaced exactly as it was, share links and proof of play "
        "included, and remove what it brought. Settings come back where you have tenant.settings. "
        "Assets made since stay. Needs assets.import and "
        "assets.delete. Refused: FORBIDDEN, NOT_FOUND, CONFLICT, QUOTA_EXCEEDED.",
        needs=holding("assets.import", "assets.delete"),
    )
    def undo_restore(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RestoreInput, strawberry.argument(description="Which restore.")
        ],
    ) -> RestorePayload:
        """Undo a restore."""
        row, errors = attempt(
            lambda: restoring.undo_restore(
                _key(input.id, "Restore", "restore", "id"), actor=info.context.actor
            )
        )
        return _payload(info, row, errors)

    @mutation(
        "Remove for good what a restore replaced, which frees its storage. Needs assets.import and "
        "assets.delete. Refused: FORBIDDEN, NOT_FOUND, CONFLICT.",
        needs=holding("assets.import", "assets.delete"),
    )
    def forget_restore(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RestoreInput, strawberry.argument(description="Which restore.")
        ],
    ) -> RestorePayload:
        """Forget what a restore replaced."""
        row, errors = attempt(
            lambda: restoring.forget_restore(
                _key(input.id, "Restore", "restore", "id"), actor=info.context.actor
            )
        )
        return _payload(info, row, errors)
