"""Uploads as GraphQL shows them, and the mutations that begin, finish and use them.

Nothing is decided here: the writes are functions of assets.uploads and assets.upload_media, the
bytes come through assets.upload_views or, in one request with the mutation, graph.multipart.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Case,
    Expression,
    OuterRef,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Concat
from django.urls import reverse
from strawberry import UNSET, relay
from strawberry.file_uploads import Upload

from assets import models, upload_media, uploads
from assets.byte_sets import resume_at
from graph.assets import Asset
from graph.assets import by_keys as assets_by_keys
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
from graph.inputs import given, is_given
from graph.members import User
from graph.permissions import holding
from graph.scalars import BigInt
from graph.selections import Selection, selected
from graph.tenants import url_of
from tenancy.errors import InvalidInput, NotFound
from tenancy.models import Tenant

if TYPE_CHECKING:
    from assets.upload_streams import StreamedFile


def _url(context: Context) -> Expression:
    before, after = reverse("upload", args=[UUID(int=0)]).split(str(UUID(int=0)))
    slug = Subquery(Tenant.objects.filter(pk=OuterRef("tenant_id")).values("slug")[:1])
    address = url_of(context, slug, before)
    return Concat(address, Cast("pk", TextField()), Value(after), output_field=TextField())


@strawberry_django.type(
    models.Upload,
    name="UploadSession",
    description=(
        "A file on its way in. It holds its whole size of the tenant's storage until it is "
        "finished, abandoned or expired."
    ),
)
class UploadSession(Keyed, relay.Node):
    """`assets.models.Upload`; the scalar `Upload` is a file in a request."""

    file_name: str = column("What the client calls the file.")
    size: BigInt = column("How many bytes the whole file has.")
    mimetype: str = column(
        "What the file is by its content, such as `image/png`; empty until its beginning is there."
    )
    md5: str = column("MD5 of the whole file in hexadecimal; empty until all of it is there.")
    created_at: datetime = column("When it was begun.")
    updated_at: datetime = column("When bytes last arrived.")
    expires_at: datetime = column("When it is removed unless more bytes arrive before.")
    is_finished: bool = expression(
        "Whether all of it is there and nothing can be added.",
        lambda _: Case(
            When(finished_at__isnull=False, then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        ),
    )

    @computed(
        "How many bytes are there from the beginning without a gap: send the next ones from this "
        "offset on.",
        "received",
        sql=lambda _: Case(
            When(received__0__0=0, then=Cast(KT("received__0__1"), BigIntegerField())),
            default=Value(0),
            output_field=BigIntegerField(),
        ),
    )
    def received(self, info: Info) -> BigInt:
        """Look at the ranges."""
        del info
        return BigInt(resume_at(cast("models.Upload", self).received))

    @computed(
        "Where its bytes are sent, with the credentials of any request: `PATCH` or `PUT` with the "
        "body as it is and `Upload-Offset: 0`, or `Content-Range: bytes 0-65535/1000000`. `HEAD` "
        "says in `Upload-Offset` where to go on after a broken connection.",
        sql=_url,
    )
    def upload_url(self, info: Info) -> str:
        """Name the address on the tenant's own host."""
        path = reverse("upload", args=[cast("models.Upload", self).pk])
        return f"{info.context.tenant.url}{path}"

    @computed(
        "Who began it; null for somebody who has left the tenant.",
        "created_by",
        reads=Related("created_by_id", people),
    )
    def created_by(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        return cast("User", info.context.people.get(cast("models.Upload", self).created_by_id))


def of_tenant(context: Context) -> QuerySet[models.Upload]:
    """Return the entered tenant's uploads; raises PermissionDenied without assets.create."""
    return models.Upload.objects.filter(tenant_id=context.actor.require("assets.create"))


def _readable(
    context: Context, rows: QuerySet[models.Upload], selection: Selection, *columns: str
) -> QuerySet[models.Upload]:
    return reading(UploadSession, rows, selection, context, *columns)


def _meet(context: Context, rows: Sequence[models.Upload]) -> None:
    context.people.expect(row.__dict__.get("created_by_id") for row in rows)


def by_keys(context: Context, keys: list[UUID], selection: Selection) -> Iterable[models.Upload]:
    """Return the uploads of these keys that there are, for `node` and `nodes`."""
    rows = list(_readable(context, of_tenant(context).filter(pk__in=keys), selection))
    _meet(context, rows)
    return rows


def _listed_uploads(context: Context) -> Listing[models.Upload]:
    return Listing(
        rows=of_tenant(context),
        ordering=Ordering("Upload.EXPIRES_AT", SortKey("expires_at", datetime), descending=False),
        read=partial(_readable, context),
        meet=partial(_meet, context),
    )


@strawberry.type
class UploadQueries:
    """The root fields about uploads."""

    @query(
        "The tenant's uploads that are under way, page by page, those that expire first in front. "
        "Needs assets.create.",
        needs=holding("assets.create"),
        reads=Listed(_listed_uploads),
    )
    def uploads(
        self,
        info: Info,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[UploadSession] | None:
        """List uploads."""
        window = Window.of(first, after, last, before)
        return _listed_uploads(info.context).page(window, selected(info))


@strawberry.input(description="A file that is about to be sent in pieces.")
class BeginUploadInput:
    """The input of `beginUpload`."""

    file_name: str = strawberry.field(
        description="What people call the file, 1 to 255 characters; it decides nothing."
    )
    size: BigInt = strawberry.field(
        description="How many bytes it has; they count against the tenant's storage from now on."
    )


@strawberry.input
class _AssetValues:
    """What is said about an asset that is made of a file."""

    name: str | None = strawberry.field(
        description="What people call the asset; the file's name when left out.", default=UNSET
    )
    start_date: datetime | None = strawberry.field(
        description="It plays after this instant; null for none.", default=UNSET
    )
    end_date: datetime | None = strawberry.field(
        description="It plays before this instant; null for none.", default=UNSET
    )
    duration: BigInt | None = strawberry.field(
        description="How long it is shown, in seconds: 0 to 31536000. When left out, a video's "
        "own length, and the tenant's `defaultAssetDuration` for an image.",
        default=UNSET,
    )
    is_enabled: bool | None = strawberry.field(
        description="Whether it may play at all. False when left out.", default=UNSET
    )
    nocache: bool | None = strawberry.field(
        description="Whether players are to fetch it anew each time. False when left out.",
        default=UNSET,
    )
    play_order: int | None = strawberry.field(
        description="Its place in the playlist: smaller plays earlier. 0 when left out.",
        default=UNSET,
    )
    play_days: list[int] | None = strawberry.field(
        description="ISO weekdays it plays on, Monday 1 to Sunday 7. Every day when left out.",
        default=UNSET,
    )
    play_time_from: time | None = strawberry.field(
        description="When its daily window opens, in the tenant's time zone.", default=UNSET
    )
    play_time_to: time | None = strawberry.field(
        description="When its daily window closes, in the tenant's time zone.", default=UNSET
    )
    tags: list[str] | None = strawberry.field(
        description='What it is filed under: `["lobby"]`.', default=UNSET
    )
    description: str | None = strawberry.field(
        description="Free text for people, 10000 characters at most.", default=UNSET
    )


@strawberry.input(description="An upload of which all bytes are there, and what it becomes.")
class FinishUploadInput(_AssetValues):
    """The input of `finishUpload`."""

    id: strawberry.ID = strawberry.field(description="The upload's `id`.")
    md5: str | None = strawberry.field(
        description="MD5 of the file in hexadecimal. When what arrived has another, it is refused.",
        default=UNSET,
    )


@strawberry.input(description="A file in this request, and the asset that it becomes.")
class UploadAssetInput(_AssetValues):
    """The input of `uploadAsset`."""

    file: Upload = strawberry.field(
        description="The file, an image or a video: a variable that `map` gives a part of the body."
    )


@strawberry.input(description="An asset and its new file: give exactly one of the two.")
class ReplaceAssetFileInput:
    """The input of `replaceAssetFile`."""

    id: strawberry.ID = strawberry.field(description="The asset's `id`.")
    file: Upload | None = strawberry.field(
        description="A file in this request: a variable that `map` gives a part of the body.",
        default=UNSET,
    )
    upload_id: strawberry.ID | None = strawberry.field(
        description="The `id` of an upload of which all bytes are there.", default=UNSET
    )


@strawberry.input(description="Which upload.")
class AbandonUploadInput:
    """The input of `abandonUpload`."""

    id: strawberry.ID = strawberry.field(description="The upload's `id`.")


@strawberry.type(description="What `beginUpload` did.")
class BeginUploadPayload:
    """The payload of `beginUpload`."""

    upload: UploadSession | None = strawberry.field(
        description="The new upload; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What `abandonUpload` did.")
class AbandonUploadPayload:
    """The payload of `abandonUpload`."""

    abandoned_id: strawberry.ID | None = strawberry.field(
        description="The id of the upload that is gone; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="What became of a file.")
class UploadedAssetPayload:
    """The payload of `finishUpload`, `uploadAsset` and `replaceAssetFile`."""

    asset: Asset | None = strawberry.field(
        description="The asset that has the file; null when it was refused, or when you may not "
        "see assets. `processingStatus` says when the file is understood."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def _upload_key(text: str, *field: str) -> UUID:
    key = key_of(text, "UploadSession", *field)
    if key is None:
        raise NotFound("There is no upload with this id.", field=field)
    return key


def _asset_key(text: str) -> UUID:
    key = key_of(text, "Asset", "id")
    if key is None:
        raise NotFound("There is no asset with this id.", field=("id",))
    return key


def _uploaded(file: Any) -> UUID:
    """Return the finished upload behind a file of this request; raises why it was refused."""
    streamed = cast("StreamedFile", file)
    if streamed.refusal is not None or streamed.upload_id is None:
        raise streamed.refusal or InvalidInput("The file did not arrive.", field=("file",))
    return streamed.upload_id


def _payload(info: Info, row: models.Asset | None, errors: list[UserError]) -> UploadedAssetPayload:
    selection = selected(info)
    asset = None
    if row is not None and "asset" in selection and info.context.actor.can("assets.view"):
        [found] = assets_by_keys(info.context, [row.pk], selection.below("asset"))
        asset = cast("Asset", found)
    return UploadedAssetPayload(asset=asset, errors=errors)


@strawberry.type
class UploadMutations:
    """The mutations about uploads."""

    @mutation(
        "Begin to send a file in pieces, to the `uploadUrl` that it gets. Needs assets.create. "
        "Refused: FORBIDDEN, INVALID, QUOTA_EXCEEDED when the file is larger than the storage that "
        "is left or than the tier allows.",
        needs=holding("assets.create"),
    )
    def begin_upload(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            BeginUploadInput, strawberry.argument(description="The file.")
        ],
    ) -> BeginUploadPayload:
        """Begin an upload."""
        row, errors = attempt(
            lambda: uploads.begin_upload(
                actor=info.context.actor, file_name=input.file_name, size=input.size
            )
        )
        selection = selected(info)
        upload = None
        if row is not None and "upload" in selection:
            [found] = by_keys(info.context, [row.pk], selection.below("upload"))
            upload = cast("UploadSession", found)
        return BeginUploadPayload(upload=upload, errors=errors)

    @mutation(
        "Make an asset of an upload of which all bytes are there; the upload is gone then. Needs "
        "assets.create. Refused: FORBIDDEN, NOT_FOUND, INVALID, CONFLICT while bytes are missing, "
        "QUOTA_EXCEEDED, STORAGE_FULL.",
        needs=holding("assets.create"),
    )
    def finish_upload(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            FinishUploadInput, strawberry.argument(description="The upload and the asset.")
        ],
    ) -> UploadedAssetPayload:
        """Finish an upload and use it."""
        values = given(input)
        text, md5 = values.pop("id"), values.pop("md5", None)

        def write() -> models.Asset:
            actor, key = info.context.actor, _upload_key(text, "id")
            uploads.finish_upload(actor=actor, upload=key, md5=md5)
            return upload_media.create_asset_from_upload(actor=actor, upload=key, values=values)

        return _payload(info, *attempt(write))

    @mutation(
        "Give up an upload: its bytes are removed and its storage is free again. Needs "
        "assets.create. Refused: FORBIDDEN, NOT_FOUND.",
        needs=holding("assets.create"),
    )
    def abandon_upload(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            AbandonUploadInput, strawberry.argument(description="Which upload.")
        ],
    ) -> AbandonUploadPayload:
        """Give up an upload."""

        def write() -> bool:
            key = _upload_key(input.id, "id")
            uploads.abandon_upload(actor=info.context.actor, upload=key)
            return True

        done, errors = attempt(write)
        return AbandonUploadPayload(abandoned_id=input.id if done else None, errors=errors)

    @mutation(
        "Make an asset of a file that comes in this request: multipart, as the GraphQL multipart "
        "request specification says, with the header `GraphQL-Preflight: 1`. Large files are "
        "better begun with `beginUpload`. Needs assets.create. Refused: FORBIDDEN, INVALID for "
        "what is no image and no video, QUOTA_EXCEEDED, STORAGE_FULL.",
        needs=holding("assets.create"),
    )
    def upload_asset(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            UploadAssetInput, strawberry.argument(description="The file and the asset.")
        ],
    ) -> UploadedAssetPayload:
        """Use a file of this request."""
        values = given(input)
        file = values.pop("file")
        row, errors = attempt(
            lambda: upload_media.create_asset_from_upload(
                actor=info.context.actor, upload=_uploaded(file), values=values
            )
        )
        return _payload(info, row, errors)

    @mutation(
        "Give an asset another file; the old one is removed, and its `mediaUrl` void. Needs "
        "assets.edit and assets.create. Refused: FORBIDDEN, NOT_FOUND, INVALID, CONFLICT while "
        "bytes are missing, QUOTA_EXCEEDED, STORAGE_FULL.",
        needs=holding("assets.edit", "assets.create"),
    )
    def replace_asset_file(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            ReplaceAssetFileInput, strawberry.argument(description="The asset and its new file.")
        ],
    ) -> UploadedAssetPayload:
        """Replace a file."""

        def write() -> models.Asset:
            actor, asset = info.context.actor, _asset_key(input.id)
            if is_given(input.file) is is_given(input.upload_id):
                message = "Give exactly one of file and uploadId."
                raise InvalidInput(message, field=("file",))
            if is_given(input.upload_id):
                key = _upload_key(input.upload_id, "upload_id")
                uploads.finish_upload(actor=actor, upload=key)
            else:
                key = _uploaded(input.file)
            return upload_media.replace_media(actor=actor, asset=asset, upload=key)

        return _payload(info, *attempt(write))
