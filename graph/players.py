"""What GraphQL asks of players: their settings, commands, and to become a tenant's by a code.

Nothing decided here: assets.player_settings, tenancy.commands and tenancy.pairing do it.
"""

from enum import StrEnum
from typing import Annotated, Any, cast

import strawberry
from strawberry import UNSET

from assets.models import Asset
from assets.player_settings import update_device_defaults, update_device_settings
from graph.columns import mutation
from graph.context import Info
from graph.device_settings import UpdateDeviceDefaultsInput, UpdateDeviceSettingsInput
from graph.devices import DevicePayload, RegisterDeviceInput, device_key, read_back
from graph.enums import described
from graph.errors import UserError, attempt
from graph.inputs import given, is_given
from graph.permissions import holding
from graph.tenants import UpdateTenantSettingsPayload
from tenancy import commands
from tenancy.errors import InvalidInput, NotFound
from tenancy.pairing import pair_device
from tenancy.tenants import clean_text


class DeviceCommand(StrEnum):
    """What a player can be told; the values are Anthias's words."""

    NEXT = "next"
    PREVIOUS = "previous"
    SHOW = "asset"
    RELOAD = "reload"
    DISPLAY_ON = "display_on"
    DISPLAY_OFF = "display_off"
    REBOOT = "reboot"
    SHUTDOWN = "shutdown"


described(
    DeviceCommand,
    "What a player can be told to do.",
    {
        DeviceCommand.NEXT: "Show what comes next.",
        DeviceCommand.PREVIOUS: "Show what came before.",
        DeviceCommand.SHOW: "Show the asset of `assetId`.",
        DeviceCommand.RELOAD: "Look again at what there is to play, and at its settings.",
        DeviceCommand.DISPLAY_ON: "Switch the screen on.",
        DeviceCommand.DISPLAY_OFF: "Switch the screen off.",
        DeviceCommand.REBOOT: "Start anew.",
        DeviceCommand.SHUTDOWN: "Switch itself off.",
    },
)


@strawberry.input(description="What to tell which players.")
class SendDeviceCommandInput:
    """The input of `sendDeviceCommand`."""

    id: strawberry.ID | None = strawberry.field(
        description="The device's `id`; without one all of the tenant's players are told.",
        default=UNSET,
    )
    command: DeviceCommand = strawberry.field(description="What it is to do.")
    asset_id: str | None = strawberry.field(
        description="The `assetId` of what to show; for `SHOW` only.", default=UNSET
    )


@strawberry.type(description="What `sendDeviceCommand` did.")
class SendDeviceCommandPayload:
    """The payload of `sendDeviceCommand`."""

    told: int | None = strawberry.field(
        description=(
            "How many players that is. Those that are away are told when they come back within an "
            "hour. Null when it was refused."
        )
    )
    errors: list[UserError] = strawberry.field(description="Why it was refused; else empty.")


@strawberry.input(description="The code that a new player shows, and what it is to be.")
class PairDeviceInput(RegisterDeviceInput):
    """The input of `pairDevice`."""

    code: str = strawberry.field(
        description="The six characters on its screen, in either case: `K7R-2MX`."
    )


def _parameter(info: Info, input_: SendDeviceCommandInput) -> str:
    """Return what to show; raises InvalidInput, NotFound."""
    is_show = input_.command is DeviceCommand.SHOW
    asset_id = clean_text(input_.asset_id) if is_given(input_.asset_id) else ""
    if is_show != bool(asset_id):
        message = "Name what to show for SHOW." if is_show else "Only SHOW takes an asset."
        raise InvalidInput(message, field=("asset_id",))
    if asset_id:
        tenant_id = info.context.actor.require("devices.control")
        if not Asset.objects.filter(tenant_id=tenant_id, asset_id=asset_id).exists():
            message = "There is no asset with this assetId."
            raise NotFound(message, field=("asset_id",))
    return asset_id


def _send(info: Info, input_: SendDeviceCommandInput) -> int:
    info.context.actor.require("devices.control")
    return commands.send_command(
        actor=info.context.actor,
        command=input_.command.value,
        parameter=_parameter(info, input_),
        device=device_key(input_.id) if is_given(input_.id) else None,
    )


@strawberry.type
class PlayerMutations:
    """The mutations about players."""

    @mutation(
        "Register the player that shows a code; it comes in by itself within seconds. Needs "
        "devices.edit. Refused: FORBIDDEN, INVALID, NOT_FOUND for a code that no player shows, "
        "CONFLICT for one that somebody else has typed just now and while players cannot be "
        "paired, QUOTA_EXCEEDED, RATE_LIMITED after many wrong codes.",
        needs=holding("devices.edit"),
    )
    def pair_device(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            PairDeviceInput, strawberry.argument(description="The code, and the new device.")
        ],
    ) -> DevicePayload:
        """Pair a player."""
        values = given(input)
        code = values.pop("code")
        row, errors = attempt(
            lambda: pair_device(actor=info.context.actor, code=code, values=values)
        )
        return DevicePayload(device=read_back(info, row) if row else None, errors=errors)

    @mutation(
        "Change how one device wants things; it reloads. Needs devices.edit, and tenant.settings "
        "for `defaultAssets`. Refused: FORBIDDEN, NOT_FOUND, INVALID, QUOTA_EXCEEDED.",
        needs=holding("devices.edit", also="tenant.settings for `defaultAssets`"),
    )
    def update_device_settings(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            UpdateDeviceSettingsInput,
            strawberry.argument(description="Which device, and what to change."),
        ],
    ) -> DevicePayload:
        """Change a device's own settings."""
        changes = given(input)
        text = changes.pop("id")
        row, errors = attempt(
            lambda: update_device_settings(
                actor=info.context.actor, device=device_key(text), changes=changes
            )
        )
        # The tenant's may have been changed with them.
        info.context.__dict__.pop("settings", None)
        return DevicePayload(device=read_back(info, row) if row else None, errors=errors)

    @mutation(
        "Change how the tenant's players want things unless they say otherwise; they reload. Needs "
        "tenant.settings. Refused: FORBIDDEN, INVALID, QUOTA_EXCEEDED.",
        needs=holding("tenant.settings"),
    )
    def update_device_defaults(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            UpdateDeviceDefaultsInput, strawberry.argument(description="What to change.")
        ],
    ) -> UpdateTenantSettingsPayload:
        """Change the tenant's defaults."""
        context = info.context
        settings, errors = attempt(
            lambda: update_device_defaults(actor=context.actor, changes=given(input))
        )
        if settings is not None:
            context.settings = settings
            context.__dict__.pop("zone", None)
        return UpdateTenantSettingsPayload(settings=cast("Any", settings), errors=errors)

    @mutation(
        "Tell a player to do something, or all of the tenant's. Needs devices.control. Refused: "
        "FORBIDDEN, NOT_FOUND for a device or an asset that is not there, INVALID.",
        needs=holding("devices.control"),
    )
    def send_device_command(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 -- the name that every GraphQL client expects
            SendDeviceCommandInput, strawberry.argument(description="What to tell whom.")
        ],
    ) -> SendDeviceCommandPayload:
        """Tell players something."""
        told, errors = attempt(lambda: _send(info, input))
        return SendDeviceCommandPayload(told=told, errors=errors)
