"""Why something on the network was not fetched, as sentences a person can act on.

Raised by assets.addresses, assets.network, assets.fetching and assets.fetch_proxy. No sentence ever
holds an address that a name resolved to: that would tell strangers about networks they are not in.
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """What is wrong with an address; the value is the sentence that says so."""

    MALFORMED = "This is not an address that can be fetched."
    CREDENTIALS = (
        "The address contains a username or password. Send them in a custom header instead."
    )
    PORT = "The port belongs to another service than the web. Browsers refuse it too."
    LOOPBACK = "The address points at the server itself."
    LAN = "The address points into a private network."
    RESERVED = "The address is not one of the public internet."


class CannotFetch(Exception):
    """Nothing was fetched; `reason` is a sentence that says why."""

    def __init__(self, reason: str) -> None:
        """Keep the sentence."""
        super().__init__(reason)
        self.reason = reason


class UnsafeAddress(CannotFetch):
    """The address, or one that it leads to, is not to be connected to; nothing was sent to it.

    `refusal` is for whoever treats them apart: a LAN address may work on a player.
    """

    def __init__(self, refusal: Refusal, reason: str = "") -> None:
        """Keep the kind, and its sentence where there is no better one."""
        super().__init__(reason or refusal.value)
        self.refusal = refusal


class FetchFailed(CannotFetch):
    """The address is fit to be fetched, and fetching it did not work."""


class CannotLookUp(FetchFailed):
    """Names are not looked up from here now, which says nothing of the host."""


def too_large(max_bytes: int) -> FetchFailed:
    """Return the error of a download that has more than `max_bytes`, told in a handy unit."""
    shown = f"{max_bytes} bytes"
    for unit, factor in (("KB", 2**10), ("MB", 2**20), ("GB", 2**30)):
        if max_bytes >= factor:
            shown = f"{max_bytes / factor:.4g} {unit}"
    return FetchFailed(f"The download is larger than {shown}.")
