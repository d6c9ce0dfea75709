"""The whole loop: a library, a player that follows it, and what its people see of that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db.models import Sum
from strawberry.relay import to_base64

from assets.library import delete_assets, update_asset
from assets.models import Asset, PlaybackDay, new_asset_id
from assets.player_settings import update_device_settings
from assets.reference_player import Player, Reply, ServerAway
from assets.storage import media_key, store_file
from rls import acting_as
from tenancy.commands import send_command
from tests.graph.conftest import add_assets
from tests.listeners import listening, reply
from tests.players import Player as Registered
from tests.players import add_player

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from django.test import Client
    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tests.conftest import Graph
    from tests.world import Inhabited

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)


@dataclass
class Line:
    """The way to the server, which can be cut."""

    client: Client
    is_cut: bool = False

    def ask(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        if self.is_cut:
            raise ServerAway("the line is cut")
        response: Any = self.client.generic(
            method,
            path,
            "" if body is None else self.client._encode_json(body, "application/json"),  # type: ignore[attr-defined]
            content_type="application/json",
            headers=dict(headers or {}),
        )
        content = response.streaming_content if response.streaming else [response.content]
        return Reply(response.status_code, {k.lower(): v for k, v in response.items()}, content)


@dataclass
class Scene:
    """A player in acme with three assets: a picture of its own, and two pages."""

    place: Inhabited
    registered: Registered
    line: Line
    folder: Path
    assets: list[Asset]
    start: datetime
    player: Player

    def at(self, seconds: float) -> str:
        """Let the player live at that second of the scene; return the name of what it shows."""
        self.player.tick(self.start + timedelta(seconds=seconds))
        return next((a.name or "" for a in self.assets if a.asset_id == self.player.playing), "")

    def media(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "media").iterdir())


@pytest.fixture
def scene(acme: Inhabited, settings: Any, tmp_path: Path) -> Scene:
    settings.MEDIA_ROOT = tmp_path / "server"
    asset_id = new_asset_id()
    assets = [
        *add_assets(acme, 1, name="A", asset_id=asset_id, duration=10, play_order=0),
        *add_assets(acme, 1, name="B", duration=5, play_order=1),
        *add_assets(acme, 1, name="C", duration=5, play_order=2),
    ]
    with acting_as(acme.owner):
        key = media_key(acme.tenant.pk, assets[0].pk, "original.png")
        Asset.objects.filter(pk=assets[0].pk).update(
            uri=f"/data/anthias_assets/{asset_id}.png",
            media_path=store_file(key, ContentFile(PICTURE).open()),
        )
    registered = add_player(acme)
    line = Line(registered.bearer)
    folder = tmp_path / "player"
    # In the past, so that nothing it reports has yet to happen.
    start = datetime.now(UTC) - timedelta(minutes=10)
    return Scene(acme, registered, line, folder, assets, start, Player(folder, line))


def test_it_plays_in_turn_and_has_its_files(scene: Scene) -> None:
    shown = [scene.at(second) for second in (0, 5, 10, 14, 15, 20)]
    assert shown == ["A", "A", "B", "B", "C", "A"]
    [name] = scene.media()
    assert name == f"{scene.assets[0].asset_id}.png"
    assert (scene.folder / "media" / name).read_bytes() == PICTURE


def test_its_people_see_what_it_shows_and_showed(scene: Scene, gql: Callable[..., Graph]) -> None:
    for second in range(0, 130, 5):
        scene.at(second)
    key = to_base64("Device", scene.registered.key)
    found = gql().data(
        "query($id: ID!, $reporter: UUID!) { device(id: $id) { isOnline version playing } "
        "playbackDays(filter: {reporterId: $reporter}) { edges { node { plays seconds "
        "asset { name } } } } }",
        id=key,
        reporter=str(scene.registered.key),
    )
    assert found["device"]["isOnline"] is True
    assert found["device"]["version"] == "signate-player 1"
    assert found["device"]["playing"] in {asset.asset_id for asset in scene.assets}
    days = [edge["node"] for edge in found["playbackDays"]["edges"]]
    counted: dict[str, tuple[int, int]] = {}
    for day in days:
        plays, seconds = counted.get(day["asset"]["name"], (0, 0))
        counted[day["asset"]["name"]] = (plays + day["plays"], seconds + day["seconds"])
    # What it had shown at its last report, after two minutes: six rounds of 20 seconds, but for
    # what was on the screen just then.
    assert counted == {"A": (6, 60), "B": (6, 30), "C": (5, 25)}


def test_it_obeys(
    scene: Scene, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    def tell(command: str, parameter: str = "") -> None:
        with (
            django_capture_on_commit_callbacks(execute=True),
            acting_as(scene.place.operator) as actor,
        ):
            send_command(
                actor=actor, command=command, parameter=parameter, device=scene.registered.key
            )

    assert scene.at(0) == "A"
    tell("asset", scene.assets[2].asset_id)
    # Heard with the next heartbeat.
    assert [scene.at(9), scene.at(10)] == ["A", "C"]
    tell("previous")
    assert scene.at(20) == "B"
    tell("nonsense", "x")
    tell("stop")
    assert scene.at(30) == ""
    tell("play")
    assert scene.at(40) == "A"
    tell("reboot")
    scene.at(50)
    assert scene.player.wants_to_end == "reboot"


def test_it_shows_what_was_just_added_when_it_is_told_to_and_says_so(
    scene: Scene, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    assert scene.at(0) == "A"
    scene.assets += add_assets(scene.place, 1, name="", duration=5, play_order=3)
    with (
        django_capture_on_commit_callbacks(execute=True),
        acting_as(scene.place.owner) as actor,
    ):
        scene.assets[3] = update_asset(actor=actor, asset=scene.assets[3].pk, changes={"name": "D"})
    scene.player.hear("viewer asset&nothing-here", scene.start + timedelta(seconds=1))
    assert scene.at(1) == "A"
    scene.player.hear(
        f"viewer asset&{scene.assets[3].asset_id}", scene.start + timedelta(seconds=2)
    )
    assert scene.at(2) == "D"
    assert scene.registered.row.playing == scene.assets[3].asset_id


def test_it_follows_changes_and_keeps_no_file_too_many(
    scene: Scene, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    assert scene.at(0) == "A"
    with (
        django_capture_on_commit_callbacks(execute=True),
        acting_as(scene.place.owner) as actor,
    ):
        delete_assets(actor=actor, ids=[scene.assets[0].pk])
        update_asset(actor=actor, asset=scene.assets[1].pk, changes={"duration": 100})
    assert scene.at(10) == "B"
    assert scene.media() == []
    assert scene.at(60) == "B"
    with (
        django_capture_on_commit_callbacks(execute=True),
        acting_as(scene.place.owner) as actor,
    ):
        update_device_settings(
            actor=actor, device=scene.registered.key, changes={"shuffle_playlist": True}
        )
    scene.at(70)
    assert {item.seconds for item in scene.player.items} == {5, 100}


def test_it_goes_on_without_the_server(scene: Scene) -> None:
    ends = scene.start + timedelta(seconds=47)
    with acting_as(scene.place.owner):
        Asset.objects.filter(pk=scene.assets[1].pk).update(play_order=9)
    # As the server told it before that end was near.
    assert scene.at(0) == "A"
    for asset in scene.player._state["assets"]:
        if asset["name"] == "C":
            asset["end_date"] = ends.isoformat()
    scene.player._keep()
    scene.line.is_cut = True
    assert [scene.at(second) for second in (10, 15, 20, 30)] == ["C", "B", "A", "C"]
    # Switched off and on again, with the line still cut.
    scene.player = Player(scene.folder, scene.line)
    assert [scene.at(second) for second in (40, 50, 55, 65)] == ["A", "B", "A", "B"]
    assert len(scene.media()) == 1
    scene.line.is_cut = False
    scene.at(66)
    scene.at(130)
    assert scene.registered.row.last_seen_at is not None
    # What it showed while it could not say so too, but for what was on the screen when it was
    # switched off, and is now.
    with acting_as(scene.place.owner):
        days = PlaybackDay.objects.filter(reporter_id=scene.registered.key)
        counted = dict(days.values_list("asset__name").annotate(Sum("plays")))
    assert counted == {"A": 4, "B": 2, "C": 1}


def test_a_file_that_is_not_there_yet_is_asked_for_again(scene: Scene) -> None:
    with acting_as(scene.place.owner):
        row = Asset.objects.get(pk=scene.assets[0].pk)
        Asset.objects.filter(pk=row.pk).update(media_path="")
    assert scene.at(0) == "B"
    with acting_as(scene.place.owner):
        Asset.objects.filter(pk=row.pk).update(media_path=row.media_path)
    scene.at(10)
    assert len(scene.media()) == 1
    assert "A" in {scene.at(second) for second in (10, 15, 20)}


def test_the_command_shows_its_code_and_keeps_its_secret(tmp_path: Path) -> None:
    answers = iter(
        [
            reply(b'{"code": "ABC234", "secret": "mine", "interval": 0}', status="201 Created"),
            reply(b'{"status": "waiting", "code": "ABC234"}', status="202 Accepted"),
            reply(b'{"status": "paired", "secret": "sgd_x"}'),
        ]
    )
    away = reply(b"{}", status="503 Service Unavailable")
    output = StringIO()
    with listening(lambda connection, _: connection.sendall(next(answers, away))) as server:
        for _ in range(2):
            call_command("player", url=server.url, folder=tmp_path, seconds=0.2, stdout=output)
    assert output.getvalue() == "Type this code in pairDevice: ABC234\n"
    kept = tmp_path / "secret"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("sgd_x", 0o600)
    asked = [request.split(b" ", 2)[1].decode() for request in server.requests]
    assert asked[:3] == ["/api/v2/pair"] * 3
    assert set(asked[3:]) == {"/api/v2/device/heartbeat", "/api/v2/viewer/playlist", "/ws"}
    assert all(b"Authorization: Bearer sgd_x" in request for request in server.requests[3:])


def test_the_command_says_why_it_cannot(tmp_path: Path) -> None:
    for url, message in (("ftp://x", "--url is"), ("http://127.0.0.1:1", "The server is away")):
        with pytest.raises(CommandError, match=message):
            call_command("player", url=url, folder=tmp_path, seconds=1)
    assert [path.name for path in tmp_path.iterdir()] == []
