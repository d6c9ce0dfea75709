"""A small player without a screen: what a player of this service has to do, in one file.

It keeps its playlist and media in a folder, follows assets.schedule, obeys what it is told, reports
what it showed, and goes on from what it has while the server is away. Speaks HTTP, and is told at
once what comes over `/ws` where somebody listens there for it; no Django, no database. Run by
`manage.py player`, and a model for players of one's own.
"""

from __future__ import annotations

import json
import logging
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote
from uuid import uuid4
from zoneinfo import ZoneInfo

from assets.schedule import is_active

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = logging.getLogger("signate.player")

VERSION = "signate-player 1"
POLL_SECONDS = 10
# While somebody listens for it: for what a connection that broke without a word did not say.
LISTENING_POLL_SECONDS = 60
BEAT_SECONDS = 10
REPORT_SECONDS = 60
MOST_PLAYS = 500  # in one report, and a day or so of them on disk
KEPT_PLAYS = 10_000
RECORD = (
    "mutation($input: RecordPlaybackInput!) { recordPlayback(input: $input) "
    "{ playback { recorded } errors { code } } }"
)


class ServerAway(Exception):
    """The server cannot be reached, or fails: go on with what there is."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterable[bytes]

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks)

    def json(self) -> Any:
        """Return the body decoded; raises ServerAway for what is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise ServerAway("an answer that is no JSON") from None


class Server(Protocol):
    """Sends one request as the device."""

    def ask(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Return the answer; `body` goes as JSON. Raises ServerAway."""


@dataclass(frozen=True, slots=True)
class Item:
    """One asset of the playlist, as its schedule needs it."""

    asset_id: str
    uri: str
    seconds: int
    is_enabled: bool
    start_date: datetime | None
    end_date: datetime | None
    play_days: frozenset[int]
    play_time_from: time | None
    play_time_to: time | None

    @classmethod
    def of(cls, asset: Mapping[str, Any], default_seconds: int) -> Item:
        """Read an asset of v2/viewer/playlist."""

        def moment(name: str) -> datetime | None:
            return datetime.fromisoformat(asset[name]) if asset[name] else None

        def clock(name: str) -> time | None:
            return time.fromisoformat(asset[name]) if asset[name] else None

        return cls(
            asset_id=asset["asset_id"],
            uri=asset["uri"] or "",
            seconds=asset["duration"] or default_seconds,
            is_enabled=asset["is_enabled"],
            start_date=moment("start_date"),
            end_date=moment("end_date"),
            play_days=frozenset(asset["play_days"]),
            play_time_from=clock("play_time_from"),
            play_time_to=clock("play_time_to"),
        )

    @property
    def file(self) -> str:
        """The name of its media file; empty for what is played from the web."""
        name = PurePosixPath(self.uri).name if self.uri.startswith("/") else ""
        return "" if name in {".", ".."} else name


@dataclass(slots=True)
class Player:
    """One player; `tick` is its whole life, called again after the seconds it returns."""

    folder: Path
    server: Server
    playing: str = ""
    since: datetime | None = None
    is_stopped: bool = False
    wants_to_end: str = ""
    is_listening: bool = False
    _due: dict[str, datetime] = field(default_factory=dict)
    _state: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start from what was kept."""
        (self.folder / "media").mkdir(parents=True, exist_ok=True)
        self._state = {"etag": "", "assets": [], "settings": {}, "files": {}}
        self._state |= {"plays": [], "batch": {}}
        try:
            self._state |= json.loads((self.folder / "state.json").read_text())
        except (OSError, ValueError):
            logger.info("nothing kept: starting empty")

    # --- what there is to play --------------------------------------------------------------------

    @property
    def items(self) -> list[Item]:
        """The playlist as it was last heard."""
        seconds = self._state["settings"].get("default_duration", 10)
        return [Item.of(asset, seconds) for asset in self._state["assets"]]

    def playable(self, now: datetime) -> list[Item]:
        """Return what plays now, in order: scheduled, and its file here."""
        zone = ZoneInfo(self._state["settings"].get("timezone") or "UTC")
        return [
            item
            for item in self.items
            if is_active(item, now, zone)
            and (not item.file or (self.folder / "media" / item.file).is_file())
        ]

    # --- its life ---------------------------------------------------------------------------------

    def hear(self, text: str | None, now: datetime) -> None:
        """Do what a line on `/ws` says; None says that nobody listens there any more."""
        self.is_listening = text is not None
        if text is None:
            self._due.pop("poll", None)
        elif text.startswith("viewer "):
            self.obey(text, now)

    def tick(self, now: datetime) -> float:
        """Do what is due at `now`; return the seconds until something is."""
        for name, every, do in (
            ("beat", BEAT_SECONDS, self.beat),
            ("poll", POLL_SECONDS, self.sync),
            ("report", REPORT_SECONDS, self.report),
        ):
            if self._due.get(name, now) <= now:
                self._due[name] = now + timedelta(seconds=every)
                try:
                    do(now)
                except ServerAway as error:
                    logger.warning("the server is away: %s", error)
        self.show(now)
        until = min([*self._due.values(), *self._ends()])
        return max(0.1, (until - now).total_seconds())

    def _ends(self) -> list[datetime]:
        found = next((one for one in self.items if one.asset_id == self.playing), None)
        if found is None or self.since is None:
            return []
        return [self.since + timedelta(seconds=found.seconds)]

    def show(self, now: datetime) -> None:
        """Go on to the next asset when the one on the screen has had its time, or may not play."""
        playable = self.playable(now)
        names = [item.asset_id for item in playable]
        has_time = all(now < moment for moment in self._ends())
        if self.is_stopped or not names:
            self._switch("", now)
        elif self.playing not in names or not has_time:
            self._step(1, now)

    def _step(self, by: int, now: datetime) -> None:
        names = [item.asset_id for item in self.playable(now)]
        if not names:
            self._switch("", now)
            return
        place = names.index(self.playing) + by if self.playing in names else 0
        self._switch(names[place % len(names)], now)

    def _switch(self, asset_id: str, now: datetime) -> None:
        if self.playing and self.since is not None:
            seconds = max(0, round((now - self.since).total_seconds()))
            play = {"assetId": self.playing, "at": self.since.isoformat(), "seconds": seconds}
            self._state["plays"] = [*self._state["plays"], play][-KEPT_PLAYS:]
            self._keep()
        if asset_id != self.playing:
            logger.info("showing %s", asset_id or "nothing")
        self.playing, self.since = asset_id, now if asset_id else None

    # --- with the server --------------------------------------------------------------------------

    def sync(self, now: datetime) -> None:
        """Fetch the playlist when it is another, and the files of it; raises ServerAway."""
        headers = {"If-None-Match": self._state["etag"]} if self._state["etag"] else {}
        reply = self.server.ask("GET", "/api/v2/viewer/playlist", headers=headers)
        if reply.status == 200:
            assets = reply.json()["assets"]
            settings = self._ok(self.server.ask("GET", "/api/v2/device_settings")).json()
            if settings["shuffle_playlist"]:
                random.shuffle(assets)
            self._state |= {"assets": assets, "settings": settings}
            etag = reply.headers.get("etag", "")
        else:
            etag = self._state["etag"]
            self._ok(reply, 304)
        # Until every file is here the playlist counts as unheard, and is fetched again.
        self._state["etag"] = ""
        self._keep()
        # All of them, whichever are missing.
        are_here = [self._fetch(item.file) for item in self.items if item.file]
        if all(are_here):
            self._state["etag"] = etag
        if self.is_listening and self._state["etag"]:
            self._due["poll"] = now + timedelta(seconds=LISTENING_POLL_SECONDS)
        self._sweep()
        self._keep()

    def _fetch(self, name: str) -> bool:
        """Have a file here as the server has it; False where it has none (yet)."""
        path = self.folder / "media" / name
        known = self._state["files"].get(name, "") if path.is_file() else ""
        headers = {"If-None-Match": known} if known else {}
        reply = self.server.ask("GET", f"/anthias_assets/{quote(name)}", headers=headers)
        if reply.status == 304:
            return True
        if reply.status == 404:
            return False
        part = path.with_name(f".{name}.part")
        with part.open("wb") as file:
            for chunk in self._ok(reply).chunks:
                file.write(chunk)
        part.replace(path)
        self._state["files"][name] = reply.headers.get("etag", "")
        return True

    def _sweep(self) -> None:
        """Remove the files of what is no longer in the playlist."""
        wanted = {item.file for item in self.items}
        for path in (self.folder / "media").iterdir():
            if path.name not in wanted:
                path.unlink()
                self._state["files"].pop(path.name, None)

    def beat(self, now: datetime) -> None:
        """Say how it is, and do what it is told; raises ServerAway."""
        said = {
            "version": VERSION,
            "playing": self.playing,
            "telemetry": {"cec_available": False, "up_to_date": True},
        }
        answer = self._ok(self.server.ask("POST", "/api/v2/device/heartbeat", body=said)).json()
        for text in answer["commands"]:
            self.obey(text, now)

    def obey(self, text: str, now: datetime) -> None:
        """Do what one line says; what it does not know it leaves alone."""
        command, _, parameter = text.removeprefix("viewer ").partition("&")
        match command:
            case "next":
                self._step(1, now)
            case "previous":
                self._step(-1, now)
            case "asset" if self._has(parameter, now):
                self._switch(parameter, now)
            case "reload":
                self._due.pop("poll", None)
            case "stop" | "play":
                self.is_stopped = command == "stop"
            case "reboot" | "shutdown":
                self.wants_to_end = command
            case _:
                logger.info("left alone: %s", text)
        if command in {"next", "previous", "asset"}:
            # Whoever told it wants to know what is on the screen now.
            self._due.pop("beat", None)

    def _has(self, asset_id: str, now: datetime) -> bool:
        """Return whether an asset may be shown; one that is not known may have just been added."""
        if asset_id not in {item.asset_id for item in self.items}:
            try:
                self.sync(now)
            except ServerAway as error:
                logger.warning("the server is away: %s", error)
        return asset_id in {item.asset_id for item in self.playable(now)}

    def report(self, now: datetime) -> None:
        """Tell what was shown, each play once however often it is sent; raises ServerAway."""
        del now
        while batch := self._batch():
            body = {"query": RECORD, "variables": {"input": {**batch, "skipUnknown": True}}}
            answer = self._ok(self.server.ask("POST", "/graphql", body=body)).json()
            if answer.get("errors"):
                raise ServerAway("it could not count what was shown")
            if refused := answer["data"]["recordPlayback"]["errors"]:
                # It will say so every time: what it does not want is not kept for it.
                logger.warning("a report was refused: %s", refused)
            self._state["batch"] = {}
            self._keep()

    def _batch(self) -> dict[str, Any]:
        """Return what is to be reported under one key, the same until it was; empty for nothing."""
        plays = self._state["plays"]
        if not self._state["batch"] and plays:
            self._state["batch"] = {"key": uuid4().hex, "plays": plays[:MOST_PLAYS]}
            self._state["plays"] = plays[MOST_PLAYS:]
            self._keep()
        batch: dict[str, Any] = self._state["batch"]
        return batch

    @staticmethod
    def _ok(reply: Reply, *also: int) -> Reply:
        if reply.status not in {200, *also}:
            raise ServerAway(f"it answered {reply.status}")
        return reply

    def _keep(self) -> None:
        part = self.folder / "state.json.part"
        part.write_text(json.dumps(self._state))
        part.replace(self.folder / "state.json")


def now_utc() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)
