"""`/ws`: what players and pages are told there, who may listen, and when they may no longer."""

from __future__ import annotations

import base64
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connections
from django.test import Client
from django_redis import get_redis_connection

from assets.library import update_asset
from assets.player_settings import update_device_settings
from assets.reference_player import Player as ReferencePlayer
from rls import acting_as
from tenancy import sockets
from tenancy.actors import operator
from tenancy.commands import send_command, take_waiting
from tenancy.devices import revoke_device, rotate_device_secret
from tenancy.events import hub_channel
from tenancy.models import Membership, Tenant
from tenancy.people import create_user, set_password
from tests import databases
from tests.conftest import PLATFORM, basic
from tests.graph.conftest import add_assets
from tests.legacy.test_reference_player import Line as HttpLine
from tests.players import Player, add_player
from tests.sockets import Ended, House, act, play
from tests.world import PASSWORD, Inhabited, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("room")
RELOAD = "viewer reload"


@pytest.fixture(scope="module")
def room(committed: World) -> None:
    """Let the tenants have as many players as there are tests."""
    for place in (committed.acme, committed.globex):
        with acting_as(operator(place.tenant.pk)):
            Tenant.objects.filter(pk=place.tenant.pk).update(max_devices=1000)


@pytest.fixture
def acme(committed: World) -> Inhabited:
    return committed.acme


@pytest.fixture
def globex(committed: World) -> Inhabited:
    return committed.globex


@pytest.fixture
def player(acme: Inhabited) -> Player:
    return add_player(acme)


def credentials(player: Player) -> dict[str, dict[str, str]]:
    """Return every way in which a player comes in."""
    text = base64.b64encode(f"{player.key}:{player.secret}".encode()).decode()
    return {
        "internal": {"X-Anthias-Internal-Token": player.secret},
        "bearer": {"Authorization": f"Bearer {player.secret}"},
        "basic": {"Authorization": f"Basic {text}"},
    }


def bearer(player: Player) -> dict[str, str]:
    return credentials(player)["bearer"]


def change(place: Inhabited) -> None:
    """Change something of what a tenant plays."""
    with acting_as(place.owner) as actor:
        row = place.assets[0]
        update_asset(actor=actor, asset=row.pk, changes={"duration": change.seconds})  # type: ignore[attr-defined]
        change.seconds += 1  # type: ignore[attr-defined]


change.seconds = 100  # type: ignore[attr-defined]


def tell(place: Inhabited, command: str, player: Player) -> None:
    with acting_as(place.owner) as actor:
        send_command(actor=actor, command=command, device=player.key)


@pytest.mark.parametrize("way", ["internal", "bearer", "basic"])
def test_a_player_is_told_of_what_its_own_tenant_changes(
    acme: Inhabited, globex: Inhabited, player: Player, way: str
) -> None:
    async def scene(house: House) -> None:
        async with house.open(headers=credentials(player)[way]) as line:
            # What it has missed before it came.
            assert await line.hear() == RELOAD
            await act(lambda: change(globex))
            await line.silence()
            await act(lambda: change(acme))
            assert await line.hear() == RELOAD
            await line.silence()

    play(scene)


def test_settings_are_told_to_the_player_they_are_of(acme: Inhabited, player: Player) -> None:
    other = add_player(acme)

    def settle() -> None:
        with acting_as(acme.owner) as actor:
            changes = {"shuffle_playlist": True}
            update_device_settings(actor=actor, device=player.key, changes=changes)

    async def scene(house: House) -> None:
        async with (
            house.open(headers=bearer(player)) as mine,
            house.open(headers=bearer(other)) as theirs,
        ):
            assert [await mine.hear(), await theirs.hear()] == [RELOAD, RELOAD]
            await act(settle)
            assert await mine.hear() == RELOAD
            await theirs.silence()

    play(scene)


def test_commands_arrive_at_once_or_wait(acme: Inhabited, player: Player) -> None:
    other = add_player(acme)

    async def scene(house: House) -> None:
        await act(lambda: tell(acme, "next", player))
        await act(lambda: tell(acme, "asset&abc", player))
        async with (
            house.open(headers=bearer(player)) as line,
            house.open(headers=bearer(player)) as again,
            house.open(headers=bearer(other)) as theirs,
        ):
            assert [await line.hear() for _ in range(3)] == [
                "viewer next",
                "viewer asset&abc",
                RELOAD,
            ]
            # Once, though it came twice.
            assert [await again.hear(), await theirs.hear()] == [RELOAD, RELOAD]
            await act(lambda: tell(acme, "previous", player))
            assert [await line.hear(), await again.hear()] == ["viewer previous"] * 2
            await theirs.silence()
        # Nobody is there any more; what was told waits for nobody.
        assert await act(lambda: take_waiting(acme.tenant.pk, player.key)) == []
        await act(lambda: tell(acme, "stop", player))
        assert await act(lambda: take_waiting(acme.tenant.pk, player.key)) == ["viewer stop"]

    play(scene)


def test_a_member_is_told_that_something_changed(acme: Inhabited, globex: Inhabited) -> None:
    async def scene(house: House) -> None:
        async with house.open(headers=basic("acme-viewer")) as line:
            await act(lambda: change(globex))
            await line.silence()
            await act(lambda: change(acme))
            await act(lambda: change(acme))
            # As Anthias tells its pages; once for what comes at once.
            assert await line.hear() == "*"

    play(scene)


def signed_in(username: str = "acme-owner") -> tuple[Client, dict[str, str]]:
    """Return a browser in which somebody has signed in, and what it sends with a socket."""
    client = Client(HTTP_HOST=f"acme.{PLATFORM}")
    answer = client.post("/login/", {"username": username, "password": PASSWORD})
    assert answer.status_code == 302
    return client, {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


def test_who_gets_no_socket(globex: Inhabited, player: Player) -> None:
    stranger = add_player(globex)
    own, foreign = f"http://acme.{PLATFORM}", "https://evil.example"

    async def scene(house: House) -> list[tuple[int, str]]:
        _, cookie = await act(signed_in)
        refused = [
            await house.refusal(),
            await house.refusal(headers={"Authorization": "Bearer nonsense"}),
            await house.refusal(headers=basic("acme-owner", "wrong")),
            await house.refusal(headers={"X-Anthias-Internal-Token": "sgd_nonsense"}),
            await house.refusal(headers=bearer(stranger)),
            await house.refusal(headers=credentials(stranger)["internal"]),
            await house.refusal(headers=basic("globex-owner")),
            await house.refusal("initech", headers=basic("initech-owner")),
            await house.refusal("nobody", headers=basic("acme-owner")),
            await house.refusal(host="a..b", headers=basic("acme-owner")),
            await house.refusal(headers=cookie),
            await house.refusal(headers={**cookie, "Origin": foreign}),
            await house.refusal(headers={**cookie, "Origin": "null"}),
            await house.refusal(headers={**cookie, "Origin": f"https://acme.{PLATFORM}"}),
            await house.refusal(headers={**basic("acme-owner"), "Origin": foreign}),
            await house.refusal(path="/ws/", headers=basic("acme-owner")),
        ]
        async with AsyncExitStack() as lines:
            # What is let in with the same means.
            for headers in (
                {**cookie, "Origin": own},
                {**basic("acme-owner"), "Origin": own},
                {**bearer(player), "Origin": foreign},
            ):
                await lines.enter_async_context(house.open(headers=headers))
        bodies = [json.loads(one.body or b"{}").get("code", "") for one in refused]
        return list(zip((one.status for one in refused), bodies, strict=True))

    unauthenticated, tenant, forbidden = (
        (401, "UNAUTHENTICATED"),
        (403, "TENANT_ERROR"),
        (403, "FORBIDDEN"),
    )
    assert play(scene) == [
        *[unauthenticated] * 4,
        tenant,
        # Without a credential of its own, a token that is not this host's is none.
        unauthenticated,
        *[tenant] * 3,
        (400, "INVALID"),
        *[forbidden] * 5,
        (404, ""),
    ]


def revoke(place: Inhabited, player: Player) -> None:
    with acting_as(place.owner) as actor:
        revoke_device(actor=actor, device=player.key)


def rotate(place: Inhabited, player: Player) -> None:
    with acting_as(place.owner) as actor:
        rotate_device_secret(actor=actor, device=player.key)


@pytest.mark.parametrize("do", [revoke, rotate])
def test_a_secret_that_is_void_ends_its_socket_at_once(
    acme: Inhabited, player: Player, do: Callable[[Inhabited, Player], None]
) -> None:
    other = add_player(acme)

    async def scene(house: House) -> Ended:
        async with (
            house.open(headers=bearer(player)) as line,
            house.open(headers=bearer(other)) as theirs,
        ):
            assert [await line.hear(), await theirs.hear()] == [RELOAD, RELOAD]
            await act(lambda: do(acme, player))
            ended = await line.end()
            await act(lambda: change(acme))
            assert await theirs.hear() == RELOAD
            return ended

    assert play(scene).code == 4401


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge everybody again all the time; that it is within 60 seconds otherwise, below."""
    monkeypatch.setattr(sockets, "JUDGED_SECONDS", 0.05)
    monkeypatch.setattr(sockets, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(sockets, "FRESH_SECONDS", 0.0)


def test_the_times_keep_the_promise() -> None:
    assert sockets.JUDGED_SECONDS + sockets.SWEEP_SECONDS < sockets.UNSURE_SECONDS < 60


@pytest.mark.usefixtures("impatient")
def test_whoever_may_no_longer_listen_is_sent_away(acme: Inhabited) -> None:
    """Without an event that says so: whatever ends a credential does."""
    tenant = acme.tenant.pk
    keys = {name: create_user(f"ws-{name}", PASSWORD).pk for name in ("gone", "changed")}
    with acting_as(operator(tenant)):
        for key in keys.values():
            Membership.objects.create(tenant_id=tenant, user_id=key, role="viewer")

    def remove() -> None:
        with acting_as(operator(tenant)):
            Membership.objects.filter(user_id=keys["gone"]).delete()

    async def scene(house: House) -> list[int]:
        client, cookie = await act(signed_in)
        cookie["Origin"] = f"http://acme.{PLATFORM}"
        async with (
            house.open(headers=basic("ws-gone")) as gone,
            house.open(headers=basic("ws-changed")) as changed,
            house.open(headers=cookie) as session,
            house.open(headers=basic("acme-owner")) as stays,
        ):
            await act(remove)
            codes = [(await gone.end()).code]
            await act(lambda: set_password(keys["changed"], "another battery staple"))
            codes.append((await changed.end()).code)
            await act(lambda: client.post("/logout/"))
            codes.append((await session.end()).code)
            await act(lambda: change(acme))
            assert await stays.hear() == "*"
            return codes

    assert play(scene) == [4403, 4401, 4401]


@pytest.mark.usefixtures("impatient")
def test_a_suspended_tenant_has_no_sockets(
    globex: Inhabited, committed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = add_player(globex)

    def suspend(*, is_active: bool) -> None:
        with acting_as(operator(globex.tenant.pk)):
            Tenant.objects.filter(pk=globex.tenant.pk).update(is_active=is_active)

    async def scene(house: House) -> list[int]:
        async with (
            house.open("globex", headers=basic("globex-owner")) as page,
            house.open("globex", headers=bearer(player)) as line,
            house.open("acme", headers=basic("acme-owner")) as other,
        ):
            await act(lambda: suspend(is_active=False))
            codes = [(await page.end()).code, (await line.end()).code]
            await act(lambda: change(committed.acme))
            assert await other.hear() == "*"
            return codes

    try:
        assert play(scene) == [4403, 4403]
    finally:
        monkeypatch.undo()
        suspend(is_active=True)


@pytest.mark.usefixtures("impatient")
def test_whoever_cannot_be_judged_is_sent_away_in_the_end(
    player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_key: Any) -> None:
        raise OperationalError

    async def scene(house: House) -> Ended:
        async with house.open(headers=bearer(player)) as line:
            assert await line.hear() == RELOAD
            monkeypatch.setattr("tenancy.middleware.find_device", away)
            # It may be back in a moment.
            await line.silence()
            monkeypatch.setattr(sockets, "UNSURE_SECONDS", 0.0)
            assert (await house.refusal(headers=bearer(player))).status == 503
            return await line.end()

    assert play(scene).code == 1013


def test_large_and_odd_messages(acme: Inhabited, player: Player) -> None:
    async def scene(house: House) -> list[int]:
        async with (
            house.open(headers=bearer(player)) as line,
            house.open(headers=basic("acme-owner")) as page,
        ):
            assert await line.hear() == RELOAD
            for text in ("", "ping", "[]", "{", '"x"', '{"a": 1}', "[" * 60_000, '{"version": 7}'):
                line.say(text)
                page.say(text)
            line.say_bytes(b"\xff\x00")
            await act(lambda: change(acme))
            assert [await line.hear(), await page.hear()] == [RELOAD, "*"]
            line.say("x" * 70_001)
            page.say_bytes(b"x" * 70_001)
            return [(await line.end()).code, (await page.end()).code]

    assert play(scene) == [1009, 1009]


def test_what_a_player_says_is_a_heartbeat(player: Player) -> None:
    async def scene(house: House) -> None:
        async with house.open(headers=bearer(player)) as line:
            # As Anthias's viewer answers, and as a heartbeat goes.
            line.say('{"current_asset_id": "abc", "version": "v2026.08.2", "name": "mine now"}')
            async with house.open(headers=basic("acme-owner")) as page:
                page.say('{"version": "of a person"}')
            row = await act(lambda: player.row)
            while not row.playing:
                row = await act(lambda: player.row)
        assert (row.playing, row.version, row.address) == ("abc", "v2026.08.2", "192.0.2.7")
        assert row.last_seen_at is not None
        assert row.name == "ACME-MARK player"

    play(scene)


def test_there_is_an_end_to_how_many(player: Player, acme: Inhabited, settings: Any) -> None:
    other = add_player(acme)
    settings.SOCKETS_PER_ACTOR, settings.SOCKETS = 2, 3

    async def scene(house: House) -> None:
        async with (
            house.open(headers=bearer(player)),
            house.open(headers=credentials(player)["basic"]),
        ):
            refused = await house.refusal(headers=bearer(player))
            assert (refused.status, refused.headers["retry-after"]) == (429, "60")
            async with house.open(headers=bearer(other)):
                assert (await house.refusal(headers=bearer(other))).status == 503
        async with house.open(headers=bearer(player)):
            pass

    play(scene)


def test_an_idle_socket_holds_no_database_connection(player: Player) -> None:
    database = connections["default"].settings_dict["NAME"]

    def connected() -> int:
        with databases.maintenance(database) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND usename = %s",
                [database, "signage_app"],
            ).fetchone()
            assert row is not None
            return int(row[0])

    async def scene(house: House) -> int:
        async with AsyncExitStack() as lines:
            for headers in (bearer(player), basic("acme-owner"), basic("acme-viewer")):
                await lines.enter_async_context(house.open(headers=headers))
            return await act(connected)

    connections["default"].close()
    assert play(scene) == 0


def test_redis_may_go_and_come_back(player: Player, acme: Inhabited) -> None:
    def cut() -> int:
        """Cut the one connection that listens for all sockets."""
        client = get_redis_connection("default")
        mine = [one for one in client.client_list() if one["name"] == hub_channel()]
        for one in mine:
            client.client_kill_filter(_id=one["id"])
        tell(acme, "next", player)
        return len(mine)

    async def scene(house: House) -> list[str]:
        async with (
            house.open(headers=bearer(player)) as line,
            house.open(headers=bearer(player)) as again,
            house.open(headers=basic("acme-owner")) as page,
        ):
            assert [await line.hear(), await again.hear()] == [RELOAD, RELOAD]
            assert await act(cut) == 1
            # Something may have been missed; what waited meanwhile is told to one of them.
            assert await page.hear() == "*"
            heard = [await line.hear(), await again.hear()]
            heard.append(await (line if heard[0] != RELOAD else again).hear())
            await act(lambda: change(acme))
            assert [await line.hear(), await again.hear(), await page.hear()] == [
                RELOAD,
                RELOAD,
                "*",
            ]
            return sorted(heard)

    assert play(scene) == ["viewer next", RELOAD, RELOAD]


def test_without_redis_there_are_sockets_all_the_same(player: Player, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    async def scene(house: House) -> str:
        async with house.open(headers=bearer(player)) as line:
            return await line.hear()

    assert play(scene) == RELOAD


def test_the_reference_player_has_a_change_before_it_would_ask(
    acme: Inhabited, player: Player, tmp_path: Path
) -> None:
    """The whole loop: it polls once in a minute while it listens, and is told."""
    start = datetime.now(UTC)
    loop = ReferencePlayer(tmp_path, HttpLine(player.bearer))
    [row] = add_assets(acme, 1, name="before", duration=100)

    def rename(name: str) -> None:
        with acting_as(acme.owner) as actor:
            update_asset(actor=actor, asset=row.pk, changes={"name": name})

    def names() -> set[str]:
        return {asset["name"] for asset in loop._state["assets"]}

    async def scene(house: House) -> None:
        async with house.open(headers=bearer(player)) as line:
            loop.hear(await line.hear(), start)
            await act(lambda: loop.tick(start))
            await act(lambda: rename("told"))
            # Without a word it would go on as it is.
            await act(lambda: loop.tick(start + timedelta(seconds=11)))
            assert "told" not in names()
            loop.hear(await line.hear(), start + timedelta(seconds=12))
            await act(lambda: loop.tick(start + timedelta(seconds=12)))
            assert "told" in names()
        # And polls as before when nobody tells it any more.
        loop.hear(None, start + timedelta(seconds=13))
        await act(lambda: loop.tick(start + timedelta(seconds=13)))
        await act(lambda: rename("asked"))
        await act(lambda: loop.tick(start + timedelta(seconds=24)))
        assert "asked" in names()

    play(scene)
