"""Whether the addresses of assets answer: looked at when they change, and again and again.

Called by the worker (assets.tasks). Only says what was seen: an address inside a private network
cannot be seen from here and is left as it is (its players report on it), and so is everything when
this server itself cannot look names up. Nobody changed an asset that was looked at, so
`updated_at` stays.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.utils import timezone

from assets.anthias_values import sound_headers
from assets.fetch_errors import CannotLookUp, FetchFailed, UnsafeAddress
from assets.fetching import probe
from assets.models import Asset
from assets.network import INTERNET
from rls import acting_as
from tenancy.events import Event, publish

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from assets.network import Network
    from tenancy.actors import Actor

# An asset is looked at once in this time, by a sweep that takes no longer than its budget.
INTERVAL = timedelta(minutes=15)
SWEPT_AT_ONCE = 200
SWEEP_S = 240.0
# Of one host in one sweep, one after the other: a small server is not to feel it.
PER_HOST = 30
# After so many names in a row that could not be looked up, the others cannot be either.
BLIND_AFTER = 3
PROBE_S = 10.0

_SCHEMES = ("http://", "https://", "rtsp://")
# Those that wait for longest first. One that nobody has looked at has waited since it was made.
_DUE = """
SELECT id FROM (
  SELECT id, checked, row_number() OVER (
    PARTITION BY lower(substring(uri FROM '://([^/?#]*)')) ORDER BY checked, id) AS place
  FROM (
    SELECT id, uri, COALESCE(last_reachability_check, created_at) AS checked
    FROM assets
    WHERE tenant_id = %s AND is_enabled AND media_path = '' AND NOT skip_asset_check
      AND uri ~* '^(https?|rtsp)://' AND (end_date IS NULL OR end_date > %s)
  ) AS watched
  WHERE checked <= %s
) AS due
WHERE place <= %s ORDER BY checked, id LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class _Address:
    """What an asset points at, and how it is asked."""

    asset: UUID
    uri: str
    verify_tls: bool
    headers: Mapping[str, str] = field(default_factory=dict)


def request_headers(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the HTTP headers that players send for an asset with this metadata."""
    sound = sound_headers(metadata.get("headers", {}), [], "headers")
    return {name: str(value) for name, value in sound.items()}


def is_checked(asset: Asset) -> bool:
    """Return whether the address of `asset` is one that is looked at."""
    is_remote = (asset.uri or "").lower().startswith(_SCHEMES)
    return is_remote and not asset.media_path and not asset.skip_asset_check


def check_reachability(*, actor: Actor, asset: UUID, network: Network = INTERNET) -> None:
    """Look at the address of an asset, and write down whether it answers.

    Does nothing for one that is gone, has a file of its own or is not to be checked.
    """
    for address in _addresses(actor, [asset]):
        try:
            answers = _look(address, network)
        except CannotLookUp:
            answers = None
        _note(actor, address, is_reachable=answers)


def sweep_reachability(*, actor: Actor, network: Network = INTERNET) -> None:
    """Look at the addresses of enabled assets that nobody has looked at for longest."""
    now = timezone.now()
    with acting_as(actor, read_only=True), connection.cursor() as cursor:
        cursor.execute(_DUE, [actor.entered(), now, now - INTERVAL, PER_HOST, SWEPT_AT_ONCE])
        due = [key for (key,) in cursor.fetchall()]
    ends = time.monotonic() + SWEEP_S
    blind = 0
    for address in _addresses(actor, due):
        try:
            answers = _look(address, network)
            blind = 0
        except CannotLookUp:
            answers = None
            blind += 1
        _note(actor, address, is_reachable=answers)
        if blind >= BLIND_AFTER or time.monotonic() > ends:
            return


def _addresses(actor: Actor, assets: list[UUID]) -> list[_Address]:
    """Return what these assets point at, in their order, without those that are not checked."""
    with acting_as(actor, read_only=True):
        rows = Asset.objects.in_bulk(assets)
    return [
        _Address(row.pk, row.uri or "", not row.skip_ssl_verify, request_headers(row.metadata))
        for row in (rows[key] for key in assets if key in rows)
        if is_checked(row)
    ]


def _look(address: _Address, network: Network) -> bool | None:
    """Return whether an address answers; None when that cannot be seen from here."""
    try:
        probe(
            address.uri,
            timeout=PROBE_S,
            verify_tls=address.verify_tls,
            headers=address.headers,
            network=network,
        )
    except UnsafeAddress:
        return None
    except CannotLookUp:
        raise
    except FetchFailed:
        return False
    return True


def _note(actor: Actor, address: _Address, *, is_reachable: bool | None) -> None:
    """Write down what was seen, if the asset still points there."""
    with acting_as(actor):
        row = Asset.objects.select_for_update().filter(pk=address.asset, uri=address.uri).first()
        if row is None:
            return
        row.last_reachability_check = timezone.now()
        fields = ["last_reachability_check"]
        if is_reachable is not None and row.is_reachable is not is_reachable:
            row.is_reachable = is_reachable
            fields.append("is_reachable")
            publish(Event.ASSETS_CHANGED, [row.pk], actor=actor)
        row.save(update_fields=fields)
