"""Devices as GraphQL shows them, and the writes to them: nothing decided here.

The writes are tenancy.devices' functions. A secret is in the payload of the mutation that made it,
and nowhere else.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, cast
from uuid import UUID

import strawberry
import strawberry_django
from django.db.models import BooleanField, Case, DateTimeField, Q, QuerySet, UUIDField, Value, When
from strawberry import UNSET, relay
from strawberry.scalars import JSON

from assets.player_settings import settings_of
from graph.columns import (
    Found,
    Itself,
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
from graph.device_settings import DeviceSettings, wanted_by_device
from graph.enums import OrderDirection, described
from graph.errors import UserError, attempt
from graph.ids import key_of
from graph.inputs import given, is_given
from graph.members import User
from graph.permissions import holding
from graph.selections import Selection, selected
from tenancy import devices, models
from tenancy.devices import ONLINE_SECONDS, heard_of_since, online_since
from tenancy.errors import NotFound
from tenancy.tags import clean_tags


def _is_online(context: Context) -> Q:
    return heard_of_since(context.bound(lambda one: online_since(one.now), DateTimeField()))


@strawberry_django.type(
    models.Device,
    name="Device",
    description="A player of the tenant: a Raspberry Pi behind a screen, say.",
)
class Device(Keyed, relay.Node):
    """`tenancy.models.Device`; never its secret."""

    name: str = column("What people call it.")
    tags: list[str] = column('What it is filed under: `["lobby"]`.')
    only_tagged: bool = column(
        "Whether it plays only those assets that carry one of its tags; otherwise all of them."
    )
    is_revoked: bool = expression(
        "Whether its secret was taken away: it can enter no more, and does not count.",
        lambda _: Case(
            When(revoked_at__isnull=False, then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        ),
    )
    is_online: bool = expression(
        f"Whether it has been heard of in the last {ONLINE_SECONDS} seconds.",
        lambda context: Case(
            When(_is_online(context), then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        ),
    )
    created_at: datetime = column("When it was registered.")
    updated_at: datetime = column("When anybody last changed it.")
    last_seen_at: datetime | None = column("When it was last heard of; null when never.")
    address: str = column("The address it last came from; empty when it never did.")
    version: str = column("The version of its player software; empty while unknown.")
    playing: str = column("The `assetId` of what it showed last; empty when it shows nothing.")
    telemetry: JSON = column("What it last said about itself: load, storage, temperature, …")
    own_settings: JSON = column(
        "Its settings where they differ from the tenant's defaults, by Anthias's names: "
        '`{"screen_rotation": 90}`.',
        of="settings",
    )

    @computed(
        "How it wants things: its own settings over the tenant's defaults "
        "(`tenant.settings.deviceSettings`). Changed by `updateDeviceSettings`.",
        "settings",
        reads=Itself(with_=wanted_by_device),
    )
    def settings(self, info: Info) -> DeviceSettings:
        """Return its settings, complete."""
        found = settings_of(info.context.settings, cast("models.Device", self))
        return DeviceSettings(**found)

    @computed(
        "Who registered it; null for somebody who has left the tenant.",
        "created_by",
        reads=Related("created_by_id", people),
    )
    def created_by(self, info: Info) -> User | None:
        """Return a member of the tenant."""
        return cast("User", info.context.people.get(cast("models.Device", self).created_by_id))


class DeviceOrderField(StrEnum):
    """What devices can be sorted by; each has its index."""

    CREATED_AT = "created_at"
    NAME = "name"


described(
    DeviceOrderField,
    "What devices can be sorted by.",
    {
        DeviceOrderField.CREATED_AT: "When they were registered.",
        DeviceOrderField.NAME: "The first 200 characters of the name whatever the case of letters.",
    },
)
SORT_KEYS = {
    DeviceOrderField.CREATED_AT: SortKey("created_at", datetime),
    DeviceOrderField.NAME: SortKey("sort_name", str),
}


@strawberry.input(
    description="How a list of devices is sorted. Ties are in the order they were registered."
)
class DeviceOrder:
    """The `order` argument."""

    field: DeviceOrderField = strawberry.field(description="What to sort by.")
    direction: OrderDirection = strawberry.field(
        description="Which end comes first.", default=OrderDirection.ASC
    )


@strawberry.input(
    description=(
        "Which devices to list: those that meet every condition given. A condition that is left "
        "out or null does not count."
    )
)
class DeviceFilter:
    """The `filter` argument."""

    is_revoked: bool | None = strawberry.field(
        description="Whether its secret was taken away.", default=UNSET
    )
    is_online: bool | None = strawberry.field(
        description="Whether it has been heard of just now.", default=UNSET
    )
    tag: str | None = strawberry.field(description="It carries this tag.", default=UNSET)

    def condition(self, context: Context) -> Q:
        """Return the filter as one condition."""
        condition = Q()
        if is_given(self.is_revoked):
            condition &= Q(revoked_at__isnull=not self.is_revoked)
        if is_given(self.is_online):
            online = _is_online(context)
            condition &= online if self.is_online else ~online
        if is_given(self.tag):
            condition &= Q(tags__contains=clean_tags([self.tag]))
        return condition


def of_tenant(context: Context) -> QuerySet[models.Device]:
    """Return the entered tenant's devices; raises PermissionDenied without devices.view."""
    return models.Device.objects.filter(tenant_id=context.actor.require("devices.view"))


def _readable(
    context: Context, rows: QuerySet[models.Device], selection: Selection, *columns: str
) -> QuerySet[models.Device]:
    return reading(Device, rows, selection, context, *columns)


def _meet(context: Context, rows: Sequence[models.Device]) -> None:
    context.people.expect(row.__dict__.get("created_by_id") for row in rows)


def by_keys(context: Context, keys: list[UUID], selection: Selection) -> Iterable[models.Device]:
    """Return the devices of these keys that there are, for `node` and `nodes`."""
    rows = list(_readable(context, of_tenant(context).filter(pk__in=keys), selection))
    _meet(context, rows)
    return rows


def _named(context: Context, id: str) -> QuerySet[models.Device]:  # noqa: A002 -- the argument's name
    key = context.made(lambda text: key_of(text, "Device", "id"), id, UUIDField())
    return of_tenant(context).filter(pk=key)


def _listed_devices(
    context: Context,
    filter: DeviceFilter | None = UNSET,  # noqa: A002 -- as the argument is called
    order: DeviceOrder | None = UNSET,
) -> Listing[models.Device]:
    rows = of_tenant(context)
    if is_given(filter):
        rows = rows.filter(filter.condition(context))
    order = order if is_given(order) else DeviceOrder(field=DeviceOrderField.CREATED_AT)
    return Listing(
        rows=rows,
        ordering=Ordering.of(SORT_KEYS, order.field, order.direction),
        read=partial(_readable, context),
        meet=partial(_meet, context),
    )


@strawberry.type
class DeviceQueries:
    """The root fields about devices."""

    @query(
        "One device of the tenant; null when it has none of this id. Needs devices.view.",
        needs=holding("devices.view"),
        reads=Found(_named),
    )
    def device(
        self,
        info: Info,
        id: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            strawberry.ID, strawberry.argument(description="The device's `id`.")
        ],
    ) -> Device | None:
        """Look one device up."""
        key = key_of(id, "Device", "id")
        found = by_keys(info.context, [key] if key else [], selected(info))
        return cast("Device | None", next(iter(found), None))

    @query(
        "The tenant's devices, page by page. Needs devices.view.",
        needs=holding("devices.view"),
        reads=Listed(_listed_devices),
    )
    def devices(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            DeviceFilter | None, strawberry.argument(description="Which devices to list.")
        ] = UNSET,
        order: Annotated[
            DeviceOrder | None, strawberry.argument(description="How to sort them.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Device] | None:
        """List devices."""
        window = Window.of(first, after, last, before)
        return _listed_devices(info.context, filter, order).page(window, selected(info))


_NAME = "What people call it: 1 to 255 characters."
_TAGS = 'What it is filed under, 100 tags of 100 characters at most: `["lobby"]`. Replaces all.'
_ONLY_TAGGED = "Whether it plays only those assets that carry one of its tags."


@strawberry.input(description="A new device.")
class RegisterDeviceInput:
    """The input of `registerDevice`."""

    name: str = strawberry.field(description=_NAME)
    tags: list[str] | None = strawberry.field(description=_TAGS, default=UNSET)
    only_tagged: bool | None = strawberry.field(
        description=f"{_ONLY_TAGGED} False when left out.", default=UNSET
    )


@strawberry.input(description="What to change of a device. What is left out stays.")
class UpdateDeviceInput:
    """The input of `updateDevice`."""

    id: strawberry.ID = strawberry.field(description="The device's `id`.")
    name: str | None = strawberry.field(description=_NAME, default=UNSET)
    tags: list[str] | None = strawberry.field(description=_TAGS, default=UNSET)
    only_tagged: bool | None = strawberry.field(description=_ONLY_TAGGED, default=UNSET)


@strawberry.input(description="Which device.")
class DeviceInput:
    """The input of mutations that take nothing but a device."""

    id: strawberry.ID = strawberry.field(description="The device's `id`.")


@strawberry.type(description="What a player enters with.")
class DeviceCredential:
    """A device and its new secret."""

    device: Device | None = strawberry.field(
        description="The device; null when you may not see devices."
    )
    device_id: UUID = strawberry.field(
        description="What the player sends as the username of Basic."
    )
    secret: str = strawberry.field(
        description=(
            "What the player sends as the password of Basic, or as Bearer: `sgd_…`. Shown this "
            "once."
        )
    )


@strawberry.type(description="What `registerDevice` or `rotateDeviceSecret` did.")
class DeviceCredentialPayload:
    """The payload of `registerDevice` and `rotateDeviceSecret`."""

    credential: DeviceCredential | None = strawberry.field(
        description="The device and its new secret; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.type(description="A device after a change.")
class DevicePayload:
    """The payload of `updateDevice` and `revokeDevice`."""

    device: Device | None = strawberry.field(
        description="The device as it is now; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


def device_key(text: str) -> UUID:
    """Return the key behind a device's `id`; raises NotFound for what is none."""
    key = key_of(text, "Device", "id")
    if key is None:
        raise NotFound("There is no device with this id.", field=("id",))
    return key


def read_back(info: Info, row: models.Device, *path: str) -> Device | None:
    """Return what a payload shows of a device just written, below `path`, to who may see it."""
    selection = selected(info).below(*path)
    if "device" not in selection or not info.context.actor.can("devices.view"):
        return None
    [found] = by_keys(info.context, [row.pk], selection.below("device"))
    return cast("Device", found)


def _credential(
    info: Info, write: Callable[[], tuple[models.Device, str]]
) -> DeviceCredentialPayload:
    made, errors = attempt(write)
    if made is None:
        return DeviceCredentialPayload(credential=None, errors=errors)
    row, secret = made
    return DeviceCredentialPayload(
        credential=DeviceCredential(
            device=read_back(info, row, "credential"), device_id=row.pk, secret=secret
        ),
        errors=errors,
    )


@strawberry.type
class DeviceMutations:
    """The mutations about devices."""

    @mutation(
        "Register a player. Needs devices.edit. Refused: FORBIDDEN, INVALID, QUOTA_EXCEEDED.",
        needs=holding("devices.edit"),
    )
    def register_device(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            RegisterDeviceInput, strawberry.argument(description="The new device.")
        ],
    ) -> DeviceCredentialPayload:
        """Register a device."""
        actor = info.context.actor
        return _credential(info, lambda: devices.register_device(actor=actor, values=given(input)))

    @mutation(
        "Change a device. Needs devices.edit. Refused: FORBIDDEN, NOT_FOUND, INVALID.",
        needs=holding("devices.edit"),
    )
    def update_device(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            UpdateDeviceInput, strawberry.argument(description="Which device, and what to change.")
        ],
    ) -> DevicePayload:
        """Change a device."""
        changes = given(input)
        text = changes.pop("id")
        row, errors = attempt(
            lambda: devices.update_device(
                actor=info.context.actor, device=device_key(text), changes=changes
            )
        )
        return DevicePayload(device=read_back(info, row) if row else None, errors=errors)

    @mutation(
        "Give a device a new secret; the old one opens nothing any more. Needs devices.edit. "
        "Refused: FORBIDDEN, NOT_FOUND, CONFLICT for a revoked one.",
        needs=holding("devices.edit"),
    )
    def rotate_device_secret(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            DeviceInput, strawberry.argument(description="Which device.")
        ],
    ) -> DeviceCredentialPayload:
        """Make a new secret."""
        actor = info.context.actor
        return _credential(
            info, lambda: devices.rotate_device_secret(actor=actor, device=device_key(input.id))
        )

    @mutation(
        "Take a device's secret away for good; it no longer counts. Needs devices.edit. Refused: "
        "FORBIDDEN, NOT_FOUND.",
        needs=holding("devices.edit"),
    )
    def revoke_device(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            DeviceInput, strawberry.argument(description="Which device.")
        ],
    ) -> DevicePayload:
        """Revoke a device."""
        row, errors = attempt(
            lambda: devices.revoke_device(actor=info.context.actor, device=device_key(input.id))
        )
        return DevicePayload(device=read_back(info, row) if row else None, errors=errors)
