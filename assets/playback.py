"""Playback: counting how often assets were shown, by whom and on which day (MISSION A5).

Players report in batches; the counts are exact whoever else reports the same. Both faces call
`record_playback` (or `record_view`), the worker `prune_playback`; nobody else writes `view_count`
or the rollup. Rows are only ever locked in the order of the assets' keys.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from uuid_utils.compat import uuid7

from assets.models import Asset, Reporter
from tenancy.actors import ActorKind
from tenancy.errors import Conflict, Invalid, InvalidInput, NotFound, PermissionDenied
from tenancy.events import Event, publish
from tenancy.people import is_storable
from tenancy.tenants import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from uuid import UUID

    from tenancy.actors import Actor

MAX_PLAYS = 1_000
MAX_COUNT = 100_000
MAX_SECONDS = 1_000_000_000
MAX_KEY = 100
# A player that was offline for longer loses what it showed before: days that old are closed.
OLDEST = timedelta(days=31)
# Clocks run ahead. By this much an instant counts as now; beyond it nobody knows the day.
AHEAD = timedelta(hours=24)
# As long as plays are taken, so that no batch that can come again is counted twice.
REPORTS_KEPT = OLDEST + timedelta(days=1)
# Rows of each table that one `prune_playback` removes at most, so that its transaction is short.
PRUNED_AT_ONCE = 10_000

# One entry, always, and the id says whose: ours when it is new, otherwise the earlier batch's. DO
# NOTHING would return nothing, and a second look could come after the entry was forgotten.
NAME_THE_BATCH = """
INSERT INTO playback_reports AS r
  (id, tenant_id, reporter, reporter_id, key, digest, recorded, skipped, received_at)
VALUES (%s, %s, %s, %s, %s, %s, 0, 0, %s)
ON CONFLICT (tenant_id, reporter, reporter_id, key) DO UPDATE SET key = r.key
RETURNING id, digest, recorded, skipped
"""
# One statement, so that nobody waits for the round trips of another while a row is locked. Each
# part reads the one before, which is what makes them happen in this order: the assets are locked
# by key, then counted, and the days of an asset are written by whoever holds the asset.
COUNT = """
WITH reported AS (
  SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::date[], %s::bigint[], %s::bigint[],
    %s::timestamptz[]) AS r (id, asset_id, day, plays, seconds, last_played_at)
), locked AS MATERIALIZED (
  SELECT id FROM assets WHERE tenant_id = %s AND id = ANY(%s::uuid[])
  ORDER BY id FOR NO KEY UPDATE
), counted AS (
  UPDATE assets AS a
  SET view_count = a.view_count + s.plays, last_viewed = GREATEST(a.last_viewed, s.last_played_at)
  FROM locked JOIN (
    SELECT asset_id, sum(plays)::bigint AS plays, max(last_played_at) AS last_played_at
    FROM reported GROUP BY asset_id
  ) AS s ON s.asset_id = locked.id
  WHERE a.tenant_id = %s AND a.id = locked.id
  RETURNING a.id
), days AS (
  INSERT INTO playback_days AS d
    (id, tenant_id, day, asset_id, reporter, reporter_id, plays, seconds, last_played_at)
  SELECT r.id, %s, r.day, r.asset_id, %s, %s, r.plays, r.seconds, r.last_played_at
  FROM reported r JOIN counted ON counted.id = r.asset_id ORDER BY r.asset_id, r.day
  ON CONFLICT (tenant_id, asset_id, day, reporter, reporter_id) DO UPDATE
  SET plays = d.plays + EXCLUDED.plays, seconds = d.seconds + EXCLUDED.seconds,
    last_played_at = GREATEST(d.last_played_at, EXCLUDED.last_played_at)
)
SELECT id FROM counted
"""
# The rows are chosen first, oldest first, so that what is left for the next time is the newest. As
# an array: a subquery may be run again for each row, and each time skips what it has locked.
PRUNE_REPORTS = """
DELETE FROM playback_reports WHERE tenant_id = %s AND id = ANY (ARRAY(
  SELECT id FROM playback_reports WHERE tenant_id = %s AND received_at < %s
  ORDER BY received_at LIMIT %s FOR UPDATE SKIP LOCKED
))
"""
PRUNE_DAYS = """
DELETE FROM playback_days WHERE tenant_id = %s AND id = ANY (ARRAY(
  SELECT id FROM playback_days WHERE tenant_id = %s AND day < %s
  ORDER BY day, id LIMIT %s FOR UPDATE SKIP LOCKED
))
"""


@dataclass(frozen=True, slots=True)
class Play:
    """That one asset was shown `count` times, for `seconds` in all, the last time at `at`.

    `asset` is its key or, as text, the id that Anthias knows it by; None is the asset of an id
    that can be no asset's.
    """

    asset: UUID | str | None
    count: int
    seconds: int
    at: datetime

    @property
    def place(self) -> str:
        """What the field is called that the asset came in."""
        return "asset_id" if isinstance(self.asset, str) else "id"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch: how many of its plays were counted, and how many left out.

    `repeated` says that the batch was counted before, and that this is what was answered then.
    """

    recorded: int
    skipped: int
    repeated: bool = False


@dataclass(slots=True)
class _Day:
    """The plays of one asset on one day, in UTC, of one batch."""

    last_played_at: datetime
    plays: int = 0
    seconds: int = 0
    id: UUID = field(default_factory=uuid7)


def reporter_of(actor: Actor) -> tuple[Reporter, UUID]:
    """Return in whose name `actor` reports; raises PermissionDenied for who shows nothing."""
    if actor.kind is ActorKind.MEMBER and actor.user_id is not None:
        return Reporter.MEMBER, actor.user_id
    if actor.kind is ActorKind.DEVICE and actor.device_id is not None:
        return Reporter.DEVICE, actor.device_id
    if actor.kind is ActorKind.TOKEN and actor.token_id is not None:
        return Reporter.TOKEN, actor.token_id
    raise PermissionDenied("Only members, tokens and players can report that assets were shown.")


@transaction.atomic
def record_playback(
    *, actor: Actor, plays: Sequence[Play], key: str = "", skip_unknown: bool = False
) -> Recorded:
    """Count a batch of plays once, all of it or nothing; `updated_at` of the assets stays.

    With a `key`, the reporter's own name for the batch, the same batch sent again within 32 days
    is not counted again. With `skip_unknown` plays of assets that the tenant has none of (deleted
    meanwhile, say) are left out, and the others counted. An instant up to 24 hours ahead is now.

    Raises PermissionDenied without assets.report, Invalid with every bad value (instants more than
    31 days back or 24 hours ahead among them), NotFound at the first unknown asset, Conflict
    for a key that named another batch.
    """
    tenant_id = actor.require("assets.report")
    reporter = reporter_of(actor)
    now = timezone.now()
    _check(plays, key, now)
    report = uuid7()
    if key:
        digest = _digest(plays, skip_unknown=skip_unknown)
        with connection.cursor() as cursor:
            cursor.execute(
                NAME_THE_BATCH, [report, tenant_id, *reporter, clean_text(key), digest, now]
            )
            known, digest_then, recorded, skipped = cursor.fetchone()
        if digest_then != digest:
            raise Conflict(
                "This key named another batch; give each batch a key of its own.", field=("key",)
            )
        if known != report:
            return Recorded(recorded, skipped, repeated=True)
    keys = _keys(tenant_id, plays)
    counted = _count(tenant_id, reporter, plays, keys, now)
    unknown = [at for at, asset in enumerate(keys) if asset not in counted]
    if unknown and not skip_unknown:
        at = unknown[0]
        raise NotFound("There is no asset with this id.", field=("plays", str(at), plays[at].place))
    done = Recorded(len(plays) - len(unknown), len(unknown))
    if key:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE playback_reports SET recorded = %s, skipped = %s "
                "WHERE tenant_id = %s AND id = %s",
                [done.recorded, done.skipped, tenant_id, report],
            )
    publish(Event.ASSETS_PLAYED, sorted(counted), actor=actor)
    return done


def record_view(*, actor: Actor, asset: UUID | str) -> None:
    """Count that one asset was shown once, just now; raises what `record_playback` raises."""
    record_playback(actor=actor, plays=[Play(asset, 1, 0, timezone.now())])


@transaction.atomic
def prune_playback(*, actor: Actor, now: datetime) -> tuple[int, int]:
    """Forget old batches and old days of proof of play; return how many of each went.

    Batches are kept for 32 days, days for `settings.PLAYBACK_DAYS`. Removes 10,000 of each at most:
    call it again, in a transaction of its own, while it removes as many. The assets' own counts
    stay. Raises PermissionDenied for whoever is neither the worker nor an operator.
    """
    tenant_id = actor.entered()
    if actor.kind not in {ActorKind.WORKER, ActorKind.OPERATOR}:
        raise PermissionDenied("Proof of play is pruned by the worker only.")
    first_day = now.astimezone(UTC).date() - timedelta(days=settings.PLAYBACK_DAYS)
    with connection.cursor() as cursor:
        cursor.execute(PRUNE_REPORTS, [tenant_id, tenant_id, now - REPORTS_KEPT, PRUNED_AT_ONCE])
        reports = cursor.rowcount
        cursor.execute(PRUNE_DAYS, [tenant_id, tenant_id, first_day, PRUNED_AT_ONCE])
        return reports, cursor.rowcount


def _check(plays: Sequence[Play], key: str, now: datetime) -> None:
    """Raise Invalid with everything that is wrong with a batch."""
    errors = []
    try:
        if len(clean_text(key)) > MAX_KEY:
            raise InvalidInput(f"A key has {MAX_KEY} characters at most.")
    except InvalidInput as error:
        errors.append(InvalidInput(error.message, field=("key",)))
    if not 1 <= len(plays) <= MAX_PLAYS:
        message = f"Report 1 to {MAX_PLAYS} plays at once."
        raise Invalid([*errors, InvalidInput(message, field=("plays",))])
    for place, play in enumerate(plays):
        errors += [
            InvalidInput(message, field=("plays", str(place), name))
            for name, message in _faults(play, now).items()
        ]
    if errors:
        raise Invalid(errors)


def _faults(play: Play, now: datetime) -> Mapping[str, str]:
    faults = {}
    if not 1 <= play.count <= MAX_COUNT:
        faults["count"] = f"A count is between 1 and {MAX_COUNT}."
    if not 0 <= play.seconds <= MAX_SECONDS:
        faults["seconds"] = f"Seconds are between 0 and {MAX_SECONDS}."
    if play.at.tzinfo is None:
        faults["at"] = "An instant needs an offset from UTC, such as Z or +02:00."
    elif play.at < now - OLDEST:
        faults["at"] = "That is more than 31 days ago, too long to be counted; leave it out."
    elif play.at > now + AHEAD:
        faults["at"] = "That is more than 24 hours ahead; set the player's clock."
    return faults


def _digest(plays: Sequence[Play], *, skip_unknown: bool) -> str:
    """Return what tells two batches apart."""
    parts = [
        f"{play.place} {play.asset!r} {play.count} {play.seconds} {play.at.astimezone(UTC)}"
        for play in plays
    ]
    return hashlib.sha256("\n".join([str(skip_unknown), *parts]).encode()).hexdigest()


def _keys(tenant_id: UUID, plays: Sequence[Play]) -> list[UUID | None]:
    """Return the key of the asset of each play; None where there is none of that legacy id."""
    texts = {p.asset for p in plays if isinstance(p.asset, str)}
    # What no database can hold names nothing.
    texts = {text for text in texts if is_storable(text) and "\x00" not in text}
    found: dict[str, UUID] = {}
    if texts:
        rows = Asset.objects.filter(tenant_id=tenant_id, asset_id__in=texts)
        found = dict(rows.values_list("asset_id", "pk"))
    return [found.get(p.asset) if isinstance(p.asset, str) else p.asset for p in plays]


def _count(
    tenant_id: UUID,
    reporter: tuple[Reporter, UUID],
    plays: Sequence[Play],
    keys: Sequence[UUID | None],
    now: datetime,
) -> set[UUID]:
    """Add the plays to their assets and days; return the keys of the assets that there are."""
    days: dict[tuple[UUID, date], _Day] = {}
    for asset, play in zip(keys, plays, strict=True):
        if asset is not None:
            at = min(play.at.astimezone(UTC), now)
            day = days.setdefault((asset, at.date()), _Day(at))
            day.plays += play.count
            day.seconds += play.seconds
            day.last_played_at = max(day.last_played_at, at)
    if not days:
        return set()
    assets = [asset for asset, _ in days]
    with connection.cursor() as cursor:
        cursor.execute(
            COUNT,
            [
                [day.id for day in days.values()],
                assets,
                [date for _, date in days],
                [day.plays for day in days.values()],
                [day.seconds for day in days.values()],
                [day.last_played_at for day in days.values()],
                tenant_id,
                list(dict.fromkeys(assets)),
                tenant_id,
                tenant_id,
                *reporter,
            ],
        )
        return {key for (key,) in cursor.fetchall()}
