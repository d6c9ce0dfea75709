"""Subscriptions: the protocol, who is told what, and when a socket ends."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, transaction
from django.test import Client
from django_redis import get_redis_connection
from strawberry.relay import to_base64

from assets.importing import import_library, rollback_import
from assets.library import create_asset, delete_assets, update_asset
from assets.models import Asset
from assets.player_settings import update_device_settings
from graph import live
from graph import socket as graph_socket
from rls import acting_as
from tenancy import sockets
from tenancy.actors import operator
from tenancy.events import MOST_IDS, Event, hub_channel, publish
from tenancy.members import add_member, remove_member, update_membership
from tenancy.models import Device, Membership, Tenant
from tenancy.people import create_user
from tenancy.permissions import Role
from tenancy.tenants import update_settings
from tenancy.tokens import create_token, revoke_token
from tests.assets.anthias_libraries import CURRENT
from tests.conftest import PLATFORM, basic
from tests.players import add_player
from tests.sockets import Ended, House, Line, act, play
from tests.world import PASSWORD, Inhabited, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

P = "graphql-transport-ws"
ASSETS = "subscription { assetsChanged { kind all ids } }"
pytestmark = pytest.mark.usefixtures("room")


@pytest.fixture(scope="module")
def room(committed: World) -> None:
    for place in (committed.acme, committed.globex):
        with acting_as(operator(place.tenant.pk)):
            Tenant.objects.filter(pk=place.tenant.pk).update(max_devices=1000, max_users=1000)


@pytest.fixture
def acme(committed: World) -> Inhabited:
    return committed.acme


@pytest.fixture
def globex(committed: World) -> Inhabited:
    return committed.globex


class Talk:
    """One line in the protocol."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def say(self, kind: str, **values: Any) -> None:
        self.line.say(json.dumps({"type": kind, **values}))

    async def hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(await self.line.hear())
        return heard

    async def init(self, payload: Any = None) -> None:
        self.say("connection_init", **({} if payload is None else {"payload": payload}))
        assert await self.hear() == {"type": "connection_ack"}

    def subscribe(self, query: str, id_: str = "1", **variables: Any) -> None:
        self.say("subscribe", id=id_, payload={"query": query, "variables": variables})

    async def begin(self, query: str, id_: str = "1", **variables: Any) -> None:
        """Subscribe, and return once that is so: what comes after it is answered."""
        self.subscribe(query, id_, **variables)
        self.say("subscribe", id=f"{id_}?", payload={"query": "{ __typename }"})
        while (heard := await self.hear())["type"] != "complete":
            assert heard["type"] == "next", heard
        del heard

    async def told(self, id_: str = "1") -> dict[str, Any]:
        """Return the data of the next message of a subscription."""
        heard = await self.hear()
        assert (heard["type"], heard["id"]) == ("next", id_), heard
        assert "errors" not in heard["payload"], heard
        data: dict[str, Any] = heard["payload"]["data"]
        return data

    async def refused(self) -> list[tuple[str, str]]:
        """Return message and code of each error of an operation."""
        heard = await self.hear()
        assert heard["type"] == "error", heard
        return [(one["message"], one["extensions"]["code"]) for one in heard["payload"]]


@asynccontextmanager
async def talking(
    house: House, slug: str = "acme", *, init: bool = True, payload: Any = None, **options: Any
) -> AsyncIterator[Talk]:
    options.setdefault("headers", {} if payload else basic(f"{slug}-owner"))
    async with house.open(slug, "/graphql", subprotocols=[P], **options) as line:
        assert line.subprotocol == P
        talk = Talk(line)
        if init:
            await talk.init(payload)
        yield talk


def asset_id(row: Asset) -> str:
    return to_base64("Asset", row.pk)


def lengthen(place: Inhabited, row: Asset | None = None, seconds: list[int] = [100]) -> Asset:  # noqa: B006 -- counts
    """Change an asset of a tenant, each time to something else."""
    seconds[0] += 1
    row = row or place.assets[0]
    with acting_as(place.owner) as actor:
        update_asset(actor=actor, asset=row.pk, changes={"duration": seconds[0]})
    return row


# --- what is told ---------------------------------------------------------------------------------


def test_assets_as_they_come_change_and_go(acme: Inhabited, globex: Inhabited) -> None:
    query = "subscription { assetsChanged { kind all ids assets { name duration tags } } }"

    def add() -> Asset:
        with acting_as(acme.owner) as actor:
            return create_asset(
                actor=actor, values={"name": "ACME-MARK new", "uri": "https://a.example/x"}
            )

    def delete(row: Asset) -> None:
        with acting_as(acme.owner) as actor:
            delete_assets(actor=actor, ids=[row.pk])

    def undone() -> None:
        with pytest.raises(RuntimeError), acting_as(acme.owner) as actor, transaction.atomic():
            update_asset(actor=actor, asset=acme.assets[0].pk, changes={"duration": 99})
            raise RuntimeError

    async def scene(house: House) -> None:
        async with talking(house) as talk, talking(house, "globex") as other:
            await talk.begin(query)
            await other.begin(ASSETS)
            row = await act(add)
            told = await talk.told()
            assert told["assetsChanged"] == {
                "kind": "CREATED",
                "all": False,
                "ids": [asset_id(row)],
                "assets": [{"name": "ACME-MARK new", "duration": row.duration, "tags": []}],
            }
            await act(undone)
            await act(lambda: lengthen(globex))
            assert (await other.told())["assetsChanged"]["ids"] == [asset_id(globex.assets[0])]
            await act(lambda: delete(row))
            told = await talk.told()
            assert told["assetsChanged"] == {
                "kind": "DELETED",
                "all": False,
                "ids": [asset_id(row)],
                "assets": [],
            }
            await other.line.silence()

    play(scene)


def test_every_road_is_told_of(acme: Inhabited) -> None:
    """GraphQL, the legacy API, a command, and what a restore does."""

    def graphql() -> None:
        query = 'mutation($id: ID!) { updateAsset(input: {id: $id, name: "by GraphQL"}) { errors { code } } }'
        client = Client(HTTP_HOST=f"acme.{PLATFORM}", headers=basic("acme-owner"))
        body = {"query": query, "variables": {"id": asset_id(acme.assets[0])}}
        answer = client.post("/graphql", json.dumps(body), content_type="application/json")
        assert answer.json()["data"]["updateAsset"]["errors"] == []

    def shim() -> None:
        client = Client(HTTP_HOST=f"acme.{PLATFORM}", headers=basic("acme-owner"))
        answer = client.patch(
            f"/api/v2/assets/{acme.assets[0].asset_id}",
            json.dumps({"name": "by the shim"}),
            content_type="application/json",
        )
        assert answer.status_code == 200

    def worker() -> None:
        with acting_as(operator(acme.tenant.pk)) as actor:
            publish(Event.ASSETS_CHANGED, [acme.assets[0].pk] * (MOST_IDS + 1), actor=actor)

    async def scene(house: House) -> list[Any]:
        async with talking(house) as talk:
            await talk.begin("subscription { assetsChanged { all assets { name } } }")
            told = []
            for do in (graphql, shim, worker):
                await act(do)
                told.append((await talk.told())["assetsChanged"])
            return told

    assert play(scene) == [
        {"all": False, "assets": [{"name": "by GraphQL"}]},
        {"all": False, "assets": [{"name": "by the shim"}]},
        {"all": True, "assets": []},
    ]


def test_an_import_as_it_goes(acme: Inhabited) -> None:
    run: list[Any] = []

    def bring() -> None:
        report = import_library(CURRENT, actor=acme.owner, batch_size=10)
        run.append(report)

    async def scene(house: House) -> None:
        async with talking(house) as talk:
            await talk.begin(
                "subscription { importProgress { run status source done total failed } }"
            )
            await talk.begin(ASSETS, "a")
            await act(bring)
            seen: list[dict[str, Any]] = []
            assets: list[dict[str, Any]] = []
            while not seen or seen[-1]["status"] != "FINISHED" or not assets:
                heard = await talk.hear()
                data = heard["payload"]["data"]
                (seen if heard["id"] == "1" else assets).extend(data.values())
            total = run[0].total
            assert {one["run"] for one in seen} == {str(run[0].run)}
            assert {one["total"] for one in seen} == {total}
            assert seen[-1]["done"] == total
            assert [one["done"] for one in seen] == sorted(one["done"] for one in seen)
            assert assets == [{"kind": "CREATED", "all": True, "ids": []}]
            await act(lambda: rollback_import(run[0].run, actor=acme.owner))
            assert (await talk.told("a"))["assetsChanged"]["kind"] == "DELETED"

    play(scene)


def test_playlists(acme: Inhabited) -> None:
    player, other = add_player(acme), add_player(acme)
    query = "subscription { playlistChanged { reason playlist { assets { name } } } }"

    def shuffle() -> None:
        with acting_as(acme.owner) as actor:
            changes = {"shuffle_playlist": True}
            update_device_settings(actor=actor, device=player.key, changes=changes)

    def move() -> None:
        with acting_as(acme.owner) as actor:
            update_settings(actor=actor, changes={"timezone": "Asia/Tokyo"})

    def token(secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    async def scene(house: House) -> list[Any]:
        async with (
            talking(house, payload=token(player.secret)) as mine,
            talking(house, payload=token(other.secret)) as theirs,
        ):
            await mine.begin(query)
            await theirs.begin(query)
            reasons = []
            await act(shuffle)
            reasons.append((await mine.told())["playlistChanged"]["reason"])
            await act(move)
            reasons.append((await mine.told())["playlistChanged"]["reason"])
            # That of another player is no reason.
            reasons.append((await theirs.told())["playlistChanged"]["reason"])
            await act(lambda: lengthen(acme))
            reasons.append((await theirs.told())["playlistChanged"]["reason"])
            return reasons

    assert play(scene) == ["DEVICES", "SETTINGS", "SETTINGS", "ASSETS"]


def new_member(place: Inhabited, name: str, role: Role = Role.ADMIN) -> Membership:
    user = create_user(name, PASSWORD)
    with acting_as(operator(place.tenant.pk)) as actor:
        return add_member(actor=actor, user_id=user.pk, role=role)


def test_memberships_and_the_end_of_ones_own(acme: Inhabited) -> None:
    query = "subscription { membershipsChanged { all ids memberships { role user { username } } } }"
    row = new_member(acme, "live-admin")

    def change(**changes: Any) -> None:
        with acting_as(acme.owner) as actor:
            update_membership(actor=actor, membership=row.pk, changes=changes)

    def remove() -> None:
        with acting_as(acme.owner) as actor:
            remove_member(actor=actor, membership=row.pk)

    async def scene(house: House) -> Ended:
        async with (
            talking(house) as owner,
            talking(house, headers=basic("live-admin")) as admin,
        ):
            await owner.begin(query)
            await admin.begin(query)
            await act(lambda: change(role=Role.VIEWER))
            told = (await owner.told())["membershipsChanged"]
            assert told == {
                "all": False,
                "ids": [to_base64("Membership", row.pk)],
                "memberships": [{"role": "VIEWER", "user": {"username": "live-admin"}}],
            }
            # Who may no longer see members is told that, and nothing more; the socket stays.
            assert await admin.refused() == [
                ("You need the permission users.view in this tenant.", "FORBIDDEN")
            ]
            await admin.begin(ASSETS, "2")
            await act(remove)
            told = (await owner.told())["membershipsChanged"]
            assert (told["ids"], told["memberships"]) == ([to_base64("Membership", row.pk)], [])
            return await admin.line.end()

    assert play(scene).code == 4403


# --- who gets in ----------------------------------------------------------------------------------


def cookie_of(username: str) -> dict[str, str]:
    client = Client(HTTP_HOST=f"acme.{PLATFORM}")
    assert client.post("/login/", {"username": username, "password": PASSWORD}).status_code == 302
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


def test_who_is_let_in(acme: Inhabited, globex: Inhabited) -> None:
    mine, foreign = add_player(acme), add_player(globex)
    own, elsewhere = {"Origin": f"http://acme.{PLATFORM}"}, {"Origin": "https://evil.example"}

    def bearer(secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    async def scene(house: House) -> list[int]:
        cookie = await act(lambda: cookie_of("acme-owner"))
        codes = []
        for headers, payload in (
            ({}, None),
            ({}, {"Authorization": "nonsense"}),
            ({}, bearer("sgd_nonsense")),
            ({}, basic("acme-owner", "wrong")),
            # A credential of its own that is wrong is not made up for by what the browser adds.
            ({**cookie, **own}, bearer("sgd_nonsense")),
            ({**cookie, **elsewhere}, {"authorization": ""}),
            ({**cookie, **elsewhere}, None),
            (cookie, None),
            ({**basic("acme-owner"), **elsewhere}, None),
            ({}, bearer(foreign.secret)),
            ({}, basic("globex-owner")),
            (basic("acme-owner"), {"Authorization": 7}),
        ):
            async with talking(house, init=False, headers=headers) as talk:
                talk.say("connection_init", **({} if payload is None else {"payload": payload}))
                codes.append((await talk.line.end()).code)
        for headers, payload in (
            ({**cookie, **own}, None),
            (basic("acme-owner"), {}),
            (elsewhere, {"authorization": basic("acme-viewer")["Authorization"]}),
            ({**cookie, **elsewhere}, bearer(mine.secret)),
        ):
            async with talking(house, headers=headers, payload=payload) as talk:
                await talk.begin(ASSETS)
        return codes

    assert play(scene) == [4401] * 6 + [4403] * 5 + [4400]


def test_the_tenant_can_be_named_in_the_payload() -> None:
    async def scene(house: House) -> list[Any]:
        payload = {**basic("both"), "X-Tenant-ID": "globex"}
        async with talking(house, payload=payload, host=PLATFORM, headers={}) as talk:
            talk.subscribe("{ tenant { slug } }")
            found: list[Any] = [await talk.told()]
        async with talking(house, payload=basic("both"), host=PLATFORM, headers={}) as talk:
            talk.subscribe("{ tenant { slug } }")
            found.append((await talk.hear())["payload"]["errors"][0]["extensions"]["code"])
            await talk.hear()
            talk.subscribe(ASSETS, "2")
            found += await talk.refused()
        return found

    [named, code, refused] = play(scene)
    assert named == {"tenant": {"slug": "globex"}}
    assert (code, refused[1]) == ("TENANT_REQUIRED", "TENANT_REQUIRED")


# --- the protocol ---------------------------------------------------------------------------------

Deed = "Callable[[Talk], Coroutine[Any, Any, None]]"


async def _late(talk: Talk) -> None:
    del talk


async def _twice(talk: Talk) -> None:
    await talk.init()
    talk.say("connection_init")


async def _early(talk: Talk) -> None:
    talk.subscribe(ASSETS)


async def _duplicate(talk: Talk) -> None:
    await talk.init()
    talk.subscribe(ASSETS)
    talk.subscribe(ASSETS)


async def _giant(talk: Talk) -> None:
    talk.line.say('{"type": "ping", "payload": {"a": "' + "x" * 70_000 + '"}}')


async def _crowd(talk: Talk) -> None:
    await talk.init()
    for number in range(3):
        talk.subscribe(ASSETS, str(number))


@pytest.mark.parametrize(
    ("do", "code"),
    [
        (_late, 4408),
        (_twice, 4429),
        (_early, 4401),
        (_duplicate, 4409),
        (_giant, 1009),
        (_crowd, 4429),
    ],
)
def test_how_a_socket_ends(
    monkeypatch: pytest.MonkeyPatch, settings: Any, do: Any, code: int
) -> None:
    assert graph_socket.INIT_SECONDS == 10
    if do is _late:
        monkeypatch.setattr(graph_socket, "INIT_SECONDS", 0.05)
    settings.GRAPHQL_SUBSCRIPTIONS_PER_SOCKET = 2

    async def scene(house: House) -> int:
        async with talking(house, init=False) as talk:
            await do(talk)
            return (await talk.line.end()).code

    assert play(scene) == code


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "",
        "[]",
        "7",
        "null",
        "{}",
        '{"type": "start"}',
        '{"type": ["ping"]}',
        '{"type": "ping", "payload": 7}',
        '{"type": "connection_init", "payload": []}',
        '{"type": "complete"}',
        '{"type": "complete", "id": ""}',
        '{"type": "ping", "payload": {"a": NaN}}',
        '{"type": "ping", "payload": {"a": "\\u0000"}}',
        '{"type": "ping", "payload": ' + "[" * 50_000,
    ],
)
def test_what_is_no_message(text: str) -> None:
    async def scene(house: House) -> int:
        async with talking(house, init=False) as talk:
            talk.line.say(text)
            return (await talk.line.end()).code

    assert play(scene) == 4400


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"id": "1"},
        {"id": 1, "payload": {"query": ASSETS}},
        {"id": "x" * 129, "payload": {"query": ASSETS}},
        {"id": "1", "payload": {"query": 7}},
        {"id": "1", "payload": {"query": ASSETS, "variables": []}},
        {"id": "1", "payload": {"query": ASSETS, "operationName": {}}},
    ],
)
def test_what_is_no_subscription(values: dict[str, Any]) -> None:
    async def scene(house: House) -> int:
        async with talking(house) as talk:
            talk.say("subscribe", **values)
            return (await talk.line.end()).code

    assert play(scene) == 4400


def test_bytes_are_no_message() -> None:
    async def scene(house: House) -> int:
        async with talking(house) as talk:
            talk.line.say_bytes(b'{"type": "ping"}')
            return (await talk.line.end()).code

    assert play(scene) == 4400


@pytest.mark.parametrize("offered", [[], ["graphql-ws"], ["bogus", "x"]])
def test_other_protocols_are_told_so(offered: list[str]) -> None:
    async def scene(house: House) -> int:
        headers = basic("acme-owner")
        async with house.open("acme", "/graphql", headers=headers, subprotocols=offered) as line:
            return (await line.end()).code

    assert play(scene) == 4406


def test_queries_are_answered_and_the_rest_refused(acme: Inhabited) -> None:
    before = acme.assets[0].name
    fragments = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }} " for n in range(40))

    async def scene(house: House) -> list[Any]:
        async with talking(house) as talk:
            found: list[Any] = []
            talk.say("ping")
            found.append(await talk.hear())
            talk.subscribe("query A { __typename } query B { tenant { slug } }", "q")
            found += await talk.refused()
            talk.say(
                "subscribe",
                id="q",
                payload={
                    "query": "query A { __typename } query B { tenant { slug } }",
                    "operationName": "B",
                },
            )
            found += [await talk.told("q"), await talk.hear()]
            for query in (
                "{ nope }",
                "{",
                "subscription { assetsChanged { kind } playlistChanged { reason } }",
                "subscription { __typename }",
                f'mutation {{ deleteAssets(input: {{ids: ["{asset_id(acme.assets[0])}"]}}) {{ errors {{ code }} }} }}',
                f"{{ ...f0 }} {fragments} fragment f40 on Query {{ __typename }}",
                "subscription($n: Int!) { assetsChanged { assets { name @include(if: true) } } }",
                "subscription($o: Boolean!) { assetsChanged { kind @include(if: $o) } }",
            ):
                talk.subscribe(query, "r")
                found.append((await talk.refused())[0][1])
            # Its id is free again, and the socket is as it was.
            await talk.begin(ASSETS, "r")
            return found

    pong, ambiguous, told, complete, *refused = play(scene)
    assert pong == {"type": "pong"}
    assert ambiguous == ("Say which operation to run: `operationName`.", "INVALID")
    assert told == {"tenant": {"slug": "acme"}}
    assert complete == {"type": "complete", "id": "q"}
    assert refused == [
        *["INVALID"] * 5,
        "LIMIT_EXCEEDED",
        *["INVALID"] * 2,
    ]
    with acting_as(acme.owner):
        assert Asset.objects.filter(pk=acme.assets[0].pk).exists()
    assert before


def test_subscriptions_do_not_go_by_http(client_of: Callable[..., Client]) -> None:
    client = client_of("acme-owner")
    answer = client.post("/graphql", {"query": ASSETS}, content_type="application/json")
    assert answer.status_code == 400
    assert "WebSocket" in answer.json()["errors"][0]["message"]


def test_a_stream_ends_and_the_socket_stays(acme: Inhabited) -> None:
    async def scene(house: House) -> None:
        async with talking(house) as talk:
            await talk.begin(ASSETS, "a")
            await talk.begin(ASSETS, "b")
            talk.say("complete", id="a")
            talk.say("complete", id="unknown")
            await talk.begin(ASSETS, "c")
            await act(lambda: lengthen(acme))
            ids = {(await talk.hear())["id"], (await talk.hear())["id"]}
            assert ids == {"b", "c"}
            await talk.line.silence()

    play(scene)


def test_whoever_is_gone_without_a_word_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_socket, "PING_SECONDS", 0.5)

    async def scene(house: House) -> int:
        async with talking(house) as talk:
            assert await talk.hear() == {"type": "ping"}
            talk.say("pong")
            assert await talk.hear() == {"type": "ping"}
            return (await talk.line.end()).code

    assert play(scene) == 4408


def test_there_is_an_end_to_how_many(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.GRAPHQL_SUBSCRIPTIONS_PER_ACTOR = 2
    monkeypatch.setattr(sockets, "STRANGERS_PER_ADDRESS", 2)

    async def scene(house: House) -> list[int]:
        options = {"subprotocols": [P], "path": "/graphql"}
        async with talking(house, init=False), talking(house, init=False):
            codes = [(await house.refusal(**options)).status]
        async with talking(house) as one, talking(house) as two:
            one.subscribe(ASSETS)
            two.subscribe(ASSETS)
            await two.line.silence()
            one.subscribe(ASSETS, "2")
            codes.append((await one.line.end()).code)
            # What that had is free again; a third still is one too many.
            two.subscribe(ASSETS, "2")
            await two.line.silence()
            two.subscribe(ASSETS, "3")
            codes.append((await two.line.end()).code)
        return codes

    assert play(scene) == [429, 4429, 4429]


# --- faults ---------------------------------------------------------------------------------------


def test_redis_may_go_and_come_back(acme: Inhabited) -> None:
    def cut() -> None:
        client = get_redis_connection("default")
        for one in client.client_list():
            if one["name"] == hub_channel():
                client.client_kill_filter(_id=one["id"])

    async def scene(house: House) -> list[Any]:
        async with talking(house) as talk:
            await talk.begin(ASSETS)
            await act(cut)
            told = [(await talk.told())["assetsChanged"]]
            await act(lambda: lengthen(acme))
            told.append((await talk.told())["assetsChanged"])
            return told

    assert play(scene) == [
        {"kind": "UNKNOWN", "all": True, "ids": []},
        {"kind": "CHANGED", "all": False, "ids": [asset_id(acme.assets[0])]},
    ]


def test_the_database_may_go_and_come_back(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_socket, "RETRY_SECONDS", 0.05)
    left = [3]

    def away(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OperationalError
        return acting_as(*args, **kwargs)

    async def scene(house: House) -> Any:
        async with talking(house) as talk:
            await talk.begin("subscription { assetsChanged { assets { name } } }")
            monkeypatch.setattr(live, "acting_as", away)
            talk.subscribe("{ tenant { slug } }", "q")
            assert (await talk.refused())[0][1] == "UNAVAILABLE"
            await act(lambda: lengthen(acme))
            told = (await talk.told())["assetsChanged"]["assets"]
            assert left == [0]
            return len(told)

    assert play(scene) == 1


def test_what_fails_inside_says_nothing_of_it(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        message = "ACME-MARK secret"
        raise RuntimeError(message)

    async def scene(house: House) -> dict[str, Any]:
        async with talking(house) as talk:
            await talk.begin("subscription { assetsChanged { assets { name } } }")
            monkeypatch.setattr("graph.assets.by_keys", broken)
            await act(lambda: lengthen(acme))
            return await talk.hear()

    heard = play(scene)
    [error] = heard["payload"]["errors"]
    assert (error["message"], error["extensions"]["code"]) == ("Internal error", "INTERNAL")
    assert "ACME-MARK" not in json.dumps(heard)


def test_a_token_ends_at_once_when_it_is_revoked(acme: Inhabited) -> None:
    with acting_as(acme.owner) as actor:
        values = {"name": "ACME-MARK live", "permissions": ["assets.view"]}
        row, secret = create_token(actor=actor, values=values)
    bearer = {"Authorization": f"Bearer {secret}"}

    def revoke() -> None:
        with acting_as(acme.owner) as actor:
            revoke_token(actor=actor, token=row.pk)

    async def scene(house: House) -> list[int]:
        async with (
            talking(house, payload=bearer) as talk,
            house.open(headers=bearer) as line,
            talking(house) as other,
        ):
            await talk.begin(ASSETS)
            await other.begin(ASSETS)
            talk.subscribe("subscription { membershipsChanged { ids } }", "m")
            assert (await talk.refused())[0][1] == "FORBIDDEN"
            await act(revoke)
            codes = [(await talk.line.end()).code, (await line.end()).code]
            await act(lambda: lengthen(acme))
            await other.told()
            return codes

    assert play(scene) == [4401, 4401]


def test_a_credential_in_a_payload_is_judged_again(
    acme: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a secret that is void a socket hears at once; of what no event says within a minute."""
    monkeypatch.setattr(sockets, "JUDGED_SECONDS", 0.05)
    monkeypatch.setattr(sockets, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(sockets, "FRESH_SECONDS", 0.0)
    player = add_player(acme)
    text = base64.b64encode(f"{player.key}:{player.secret}".encode()).decode()

    def forget() -> None:
        with acting_as(acme.owner):
            Device.objects.filter(pk=player.key).delete()

    async def scene(house: House) -> int:
        async with talking(house, payload={"Authorization": f"Basic {text}"}) as talk:
            await talk.begin(ASSETS)
            await act(forget)
            return (await talk.line.end()).code

    assert play(scene) == 4401
