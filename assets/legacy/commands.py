"""What legacy clients say to players: Anthias's command lines, with the spellings that are in use.

Called by the shim's control, reboot and display addresses, and after every write that Anthias
tells its viewer about. How a command travels is tenancy.commands'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenancy.commands import RELOAD, send_command

if TYPE_CHECKING:
    from uuid import UUID

    from tenancy.actors import Actor

__all__ = ["RELOAD", "send"]

# Some clients say it this way, which players do not know.
_MEANT = {"prev": "previous"}


def send(actor: Actor, command: str, parameter: str = "", device: UUID | None = None) -> None:
    """Tell one player, or all of the tenant's, after the commit; `asset&<id>` may come as one.

    A device's own credential stands for that device. Raises PermissionDenied without
    devices.control (but for `reload`), NotFound, InvalidInput.
    """
    if not parameter:
        command, _, parameter = command.partition("&")
    send_command(
        actor=actor,
        command=_MEANT.get(command, command),
        parameter=parameter,
        device=device or actor.device_id,
    )
