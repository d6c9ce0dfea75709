"""What there is beside assets and members has the same bytes on both roads, row by odd row."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.test import Client
from strawberry.relay import to_base64

from assets.models import Backup, PlaybackDay, Reporter, Restore, ShareLink, Upload
from assets.player_settings import update_device_defaults, update_device_settings
from rls import acting_as
from tenancy.devices import register_device, revoke_device
from tenancy.models import (
    ApiToken,
    AuditEntry,
    Device,
    Invitation,
    InvitationStatus,
    SecondFactor,
    Tenant,
    UserSession,
)
from tenancy.tokens import create_token
from tests.conftest import PLATFORM, Graph
from tests.graph.conftest import statements
from tests.graph.test_compiled import INFO
from tests.graph.test_nodes import own_ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.graph.roads import Roads
    from tests.world import Inhabited, World

NOW = datetime.now(UTC)
AGENTS = (
    "",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) CriOS/140.0 Safari/604.1",
    "curl/8.5 on \U0001f5a5\ufe0f " + "x" * 80,
    "only Linux",
    "only OPR",
)
SETTINGS = """{ playerName audioOutput defaultDuration defaultStreamingDuration dateFormat timezone
  showSplash defaultAssets shufflePlaylist use24HourClock debugLogging preferDarkMode verifySsl
  screenRotation displayPowerScheduleEnabled displayPowerOnTime displayPowerOffTime
  displayPowerDays }"""
DEVICE = (
    """id name tags onlyTagged isRevoked isOnline createdAt updatedAt lastSeenAt address version
  playing telemetry ownSettings settings %s createdBy { username email }"""
    % SETTINGS
)
TOKEN = "id name permissions createdAt expiresAt lastUsedAt revokedAt isLive user { username }"
INVITATION = """id email role permissions status createdAt expiresAt sentAt endedAt
  invitedBy { username }"""
ENTRY = """id at action subject subjectId label requestId before after reason
  actor { kind user { username } userId deviceId keyId credential address }"""
UPLOAD = """id fileName size mimetype md5 createdAt updatedAt expiresAt isFinished received uploadUrl
  createdBy { username }"""
BACKUP = "id name size assets files missing createdAt expiresAt downloadUrl createdBy { username }"
RESTORE = """id source assets replaced keptBytes notes createdAt expiresAt undoneAt forgottenAt
  canBeUndone createdBy { username }"""
CAPABILITY = "id name permissions createdAt revokedAt createdBy { username }"
DAY = """id day reporter reporterId plays seconds lastPlayedAt
  asset { id name isActive createdBy { username } }"""
SESSION = "id createdAt lastSeenAt expiresAt userAgent network browser isCurrent"
ME = """{ me { __typename id username email permissions can(permission: "assets.edit")
  no: can(permission: "nothing") membership { id role permissions isActive joinedAt lastAccess
  tenant { name } user { username } } memberships { id role permissions isActive joinedAt lastAccess
  tenant { id name url settings { timezone } } user { id username email } }
  secondFactor { isEnabled enabledAt recoveryCodesLeft isRequired }
  sessions { totalCount edges { cursor node { %s } } %s } } }""" % (SESSION, INFO)
SHARE = """isOpen expiresAt maxViews accessCount lastAccessedAt hasPassword createdAt
  createdBy { username }"""
TENANT = (
    """{ tenant { id usage { assets maxAssets bytes maxBytes devices maxDevices members maxMembers }
  viewerPermissions domainChallenge { domain recordName recordValue isVerified }
  settings { webhookUrl allowedDomains integrations deviceSettings %s } } viewerPermissions }"""
    % SETTINGS
)
OF_ASSETS = """query($f: AssetPlaybackFilter) { assets { edges { node {
  playbackDays(filter: $f, last: 1) { totalCount edges { node { day } } } } } } }"""
LISTS = {
    "devices": DEVICE,
    "apiTokens": TOKEN,
    "invitations": INVITATION,
    "auditLog": ENTRY,
    "uploads": UPLOAD,
    "backups": BACKUP,
    "restores": RESTORE,
    "capabilities": CAPABILITY,
    "playbackDays": DAY,
}


def odd_devices(place: Inhabited) -> list[str]:
    """Register players in every state; return their ids."""
    owner = place.owner
    Tenant.objects.filter(pk=place.tenant.pk).update(max_devices=50)
    made = [register_device(actor=owner, values={"name": f"d{n}"})[0] for n in range(5)]
    update_device_defaults(
        actor=owner,
        changes={"player_name": 'all "of" them\n', "screen_rotation": 90, "default_duration": 17},
    )
    update_device_settings(
        actor=owner,
        device=made[0].pk,
        changes={"timezone": "Asia/Tokyo", "show_splash": False, "default_duration": 3},
    )
    update_device_settings(actor=owner, device=made[1].pk, changes={"player_name": "\u2028 ü"})
    revoke_device(actor=owner, device=made[2].pk)
    with acting_as(owner):
        Device.objects.filter(pk=made[3].pk).update(
            last_seen_at=NOW,
            address="203.0.113.7",
            telemetry={"load": 0.10, "disk": [1, None], "a\x01": "\x02"},
            created_by_id=None,
            tags=["lobby", ""],
        )
        Device.objects.filter(pk=made[4].pk).update(last_seen_at=NOW - timedelta(days=1))
    return [to_base64("Device", one.pk) for one in made]


def odd_rows(place: Inhabited) -> None:
    """Add rows at the edges to every other table of a tenant."""
    owner, tenant = place.owner, place.tenant
    oneself = owner.oneself()
    later = NOW + timedelta(days=9)
    for number in range(2):
        create_token(actor=owner, values={"name": f"t{number}", "permissions": ["assets.view"]})
    with acting_as(owner):
        ApiToken.objects.filter(name="t0").update(revoked_at=NOW, last_used_at=NOW)
        ApiToken.objects.filter(name="t1").update(expires_at=NOW - timedelta(days=1))
        for number, state in enumerate(InvitationStatus):
            Invitation.objects.create(
                tenant=tenant,
                email=f"{number}@example.com",
                role="viewer",
                token_digest=f"{place.marker} {number}",
                state="pending" if state == "expired" else state,
                ended_at=None if state in {"expired", "pending"} else NOW,
                expires_at=NOW - timedelta(days=1) if state == "expired" else later,
            )
        for received in ([], [[0, 10], [20, 30]], [[5, 7]], [[0, 2**40]]):
            Upload.objects.create(
                tenant=tenant,
                handle=uuid4().hex,
                file_name='"file"\n',
                size=1000,
                received=received,
                expires_at=later,
                created_by_id=owner.user_id,
            )
        for missing in ([], ["a", 'b"\x01'], ["ü" * 50]):
            Backup.objects.create(
                tenant=tenant, name=f"b-{len(missing)}.tar.gz", size=1, missing=missing,
                expires_at=later, created_by_id=owner.user_id,
            )  # fmt: skip
        Restore.objects.update(notes=["one\u2028", "two"], created_by_id=owner.user_id)
        links: list[dict[str, Any]] = [
            {"max_views": 1, "access_count": 1},
            {"password": "x"},
            {"revoked_at": NOW},
        ]
        for number, values in enumerate(links):
            ShareLink.objects.create(
                tenant=tenant,
                asset=place.assets[1 + number % 2],
                token_digest=f"{place.marker} {number}",
                expires_at=later,
                created_by_id=owner.user_id,
                **values,
            )
        for number in range(8):
            PlaybackDay.objects.create(
                tenant=tenant,
                asset=place.assets[number % 3],
                day=date(2026, 1, 1 + number // 3),
                reporter=Reporter.DEVICE,
                reporter_id=uuid4(),
                plays=2**40,
                seconds=number,
                last_played_at=NOW,
            )
        entries: list[dict[str, Any]] = [
            {"subject": "Asset", "subject_id": str(uuid4()), "user_id": owner.user_id},
            {"subject": "Thing", "subject_id": "no key", "actor_kind": "worker", "credential": ""},
            {"subject_id": str(uuid4()).upper(), "credential": "session", "label": '"\n'},
            {"actor_kind": "token", "token_id": uuid4(), "device_id": uuid4()},
            {"before": {"é": [1.50, None]}, "after": {}, "token_id": uuid4(), "reason": "\u2028"},
        ]
        for entry in entries:
            AuditEntry.objects.create(
                tenant=tenant, action="thing.done", **{"actor_kind": "member", **entry}
            )
        for number, agent in enumerate(AGENTS):
            UserSession.objects.create(
                user_id=oneself,
                credential_version=1 + (number == 5),
                expires_at=later,
                last_seen_at=NOW - timedelta(minutes=number // 2),
                user_agent=agent,
            )
        SecondFactor.objects.filter(user_id=oneself).update(recovery_digests=["a", "b"])
        Tenant.objects.filter(pk=tenant.pk).update(
            requested_domain=f"{tenant.slug}.example.com",
            domain_token="token",
            storage_quota_gb=2**31 - 1,
        )


@pytest.fixture
def asking(
    world: World, client_of: Callable[..., Client]
) -> tuple[dict[str, Client], dict[str, list[str]]]:
    """Whoever asks in these tests, and the ids of acme's and globex's devices."""
    devices = {}
    for place in (world.acme, world.globex):
        with acting_as(place.owner):
            devices[place.tenant.slug] = odd_devices(place)
            odd_rows(place)
    with acting_as(world.acme.owner):
        _, secret = register_device(actor=world.acme.owner, values={"name": "asks"})
        values = {"name": "asks", "permissions": ["assets.view", "users.view"]}
        _, token = create_token(actor=world.acme.owner, values=values)
    host = f"acme.{PLATFORM}"
    return {
        "owner": client_of("acme-owner"),
        "viewer": client_of("acme-viewer"),
        "device": Client(headers={"Authorization": f"Bearer {secret}"}, HTTP_HOST=host),
        "token": Client(headers={"Authorization": f"Bearer {token}"}, HTTP_HOST=host),
        "other tenant": client_of("globex-owner"),
        "nowhere": client_of("both", host=PLATFORM),
    }, devices


WHO = ["owner", "viewer", "device", "token", "other tenant", "nowhere"]


@pytest.mark.parametrize("who", WHO)
def test_lists_have_the_same_bytes(
    asking: tuple[dict[str, Client], dict[str, list[str]]],
    acme: Inhabited,
    roads: Roads,
    who: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clients, devices = asking
    client = clients[who]
    asset, reporter = to_base64("Asset", acme.assets[0].pk), str(acme.owner.user_id)
    person = to_base64("User", acme.owner.user_id)
    filters: dict[str, list[dict[str, Any]]] = {
        "devices": [{"isRevoked": True}, {"isOnline": True}, {"isOnline": False}, {"tag": "lobby"}],
        "apiTokens": [{"isLive": True}, {"isLive": False}, {"userId": person}, {"userId": asset}],
        "invitations": [{"status": ["EXPIRED", "DECLINED"]}, {"status": []}],
        "auditLog": [
            {"userId": person, "actions": ["thing.done"]},
            {"actionPrefix": "thing.", "labelPrefix": '"'},
            {"subjectId": devices["acme"][0], "subjects": ["Device"]},
            {"credentials": ["SESSION"], "from": "2020-01-01T00:00:00Z"},
            {"userId": asset},
        ],
        "playbackDays": [
            {"asset": asset, "from": "2026-01-01"},
            {"reporterId": reporter},
            {"asset": person},
        ],
    }
    compiled = set()
    for name, fields in LISTS.items():
        page = "{ totalCount edges { cursor node { %s } } %s }" % (fields, INFO)
        asked: list[tuple[str, Any]] = [
            ("{ %s %s }" % (name, page), None),
            ("{ %s(first: 2) %s }" % (name, page), None),
            ("{ %s(last: 2) { edges { node { id } } pageInfo { hasPreviousPage } } }" % name, None),
            ("{ %s(first: 0) { pageInfo { hasNextPage } } }" % name, None),
            ("{ %s { pageInfo { hasPreviousPage } } }" % name, None),
        ]
        if name in filters:
            kind = {"apiTokens": "ApiToken", "auditLog": "Audit"}.get(name, name[:-1].title())
            kind = "PlaybackDay" if name == "playbackDays" else kind
            query = "query($f: %sFilter) { %s(filter: $f) %s }" % (kind, name, page)
            asked += [(query, {"f": given}) for given in [None, {}, *filters[name]]]
        compiled |= {name for one in asked if roads.agree(client, *one)}
    expected = {
        "owner": set(LISTS),
        "other tenant": set(LISTS),
        "token": {"apiTokens", "invitations", "playbackDays"},
        "viewer": {"apiTokens", "playbackDays"},
        "device": {"apiTokens", "playbackDays"},
        "nowhere": set(),
    }
    assert compiled == expected[who]
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize("who", WHO)
def test_oneself_and_ones_tenant_have_the_same_bytes(
    asking: tuple[dict[str, Client], dict[str, list[str]]],
    acme: Inhabited,
    roads: Roads,
    who: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clients, _ = asking
    asset = to_base64("Asset", acme.assets[1].pk)
    asked: list[tuple[str, Any]] = [
        (ME, None),
        ("{ me { id username email membership { role } memberships { role } } }", None),
        ("query($p: String!) { me { can(permission: $p) } }", {"p": "assets.view"}),
        ("query($p: String!) { me { can(permission: $p) } }", {"p": "'\\\x01"}),
        (TENANT, None),
        ("{ tenant { usage { maxBytes } deletesAt } viewerPermissions }", None),
        ("{ tenants { edges { node { viewerPermissions } } } }", None),
        ("{ tenants { edges { node { usage { assets } } } } }", None),
        ("{ assets { edges { node { share { %s } } } } }" % SHARE, None),
        ("query($a: ID!) { asset(id: $a) { share { %s } } }" % SHARE, {"a": asset}),
        ("{ assets { edges { node { name playbackDays(first: 2) { totalCount edges { cursor "
         "node { %s } } %s } } } } }" % (DAY, INFO), None),
        (OF_ASSETS, {"f": {"to": "2026-01-02"}}),
        ("{ playbackSummary { plays seconds assets days __typename } }", None),
        ("query($f: PlaybackDayFilter) { playbackSummary(filter: $f) { plays seconds assets days } }",
         {"f": {"asset": asset, "from": "2026-01-02"}}),
        ("query($f: PlaybackDayFilter) { playbackSummary(filter: $f) { plays } }", {"f": {"asset": "AAAA"}}),
        ("query($f: PlaybackDayFilter) { playbackSummary(filter: $f) { __typename } }",
         {"f": {"asset": "garbage"}}),
        ('{ playbackSummary(filter: {from: "2099-01-01"}) { plays seconds assets days } }', None),
    ]  # fmt: skip
    compiled = [roads.agree(clients[who], *one) for one in asked]
    if who == "owner":
        assert [one for one, found in zip(asked, compiled, strict=True) if not found] == asked[
            -3:-1
        ]
    else:
        assert any(compiled)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize("who", WHO)
def test_nodes_have_the_same_bytes(
    asking: tuple[dict[str, Client], dict[str, list[str]]],
    world: World,
    roads: Roads,
    who: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clients, devices = asking
    client = clients[who]
    own = own_ids(Graph(clients["owner"])) | {"Device": devices["acme"][0]}
    foreign = own_ids(Graph(clients["other tenant"]))
    node = "query($id: ID!) { node(id: $id) { __typename id ... on %s { %s } ... on Node { same: id } } }"
    fields = {
        "ApiToken": TOKEN,
        "Asset": "name tenant { name } createdBy { username }",
        "AuditEntry": ENTRY,
        "Backup": BACKUP,
        "Capability": CAPABILITY,
        "Device": DEVICE,
        "Invitation": INVITATION,
        "Membership": "role user { username } tenant { name }",
        "PlaybackDay": DAY,
        "Restore": RESTORE,
        "Tenant": "name url",
        "TenantSettings": "timezone",
        "UploadSession": UPLOAD,
        "User": "username email",
        "UserSession": SESSION,
        "Viewer": "username permissions",
    }
    assert fields.keys() == own.keys()
    compiled: set[str] = set()
    for name, selected in fields.items():
        query = node % (name, selected)
        for ids in (own, foreign):
            if roads.agree(client, query, {"id": ids[name]}):
                compiled.add(name)
            roads.agree(client, '{ node(id: "%s") { ...F } } fragment F on %s { %s }'
                        % (ids[name], name, selected))  # fmt: skip
        roads.agree(client, query, {"id": to_base64(name, uuid4())})
        # Of one type, and what is selected of another.
        roads.agree(client, query, {"id": own["Asset"]})
    if who in {"owner", "other tenant"}:
        assert compiled == fields.keys()
    assert "User" in compiled
    nodes = """query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Asset { name } ...U } }
      fragment U on User { username }"""
    strange = [
        to_base64("Asset", 9),
        to_base64("Nothing", uuid4()),
        to_base64("User", uuid4()),
        to_base64("AssetConnection", uuid4()),
    ]
    assets = [to_base64("Asset", one.pk) for one in (*world.acme.assets, *world.globex.assets)]
    asked = [
        [],
        strange,
        assets,
        [*reversed(assets), own["User"], own["Tenant"], *strange, assets[0]],
        [own["Viewer"], own["User"], own["Device"], own["UserSession"]],
        [*own.values()],
        [*foreign.values()],
    ]
    found = [roads.agree(client, nodes, {"ids": ids}) for ids in asked]
    if who == "owner":
        assert all(found)
    for text in ("Zm9v", "", "!", "\x00"):
        assert not roads.agree(client, nodes, {"ids": [own["User"], text]})
        assert not roads.agree(client, node % ("Asset", "name"), {"id": text})
    assert not roads.agree(client, nodes, {"ids": [own["User"]] * 101})
    assert roads.agree(client, nodes, {"ids": [own["User"]] * 100})
    mixed = 'query($a: ID!, $b: ID!) { nodes(ids: [$a, "%s", $b]) { id __typename } }' % own["User"]
    assert roads.agree(client, mixed, {"a": own["Tenant"], "b": own["Viewer"]})
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_what_an_id_names_is_looked_at_each_time(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    """A plan is of the types that ids name: one of another type has another."""
    graph = gql()
    query = "query($id: ID!) { node(id: $id) { __typename ... on Asset { name } ... on User { username } } }"
    person = {"__typename": "User", "username": "acme-owner"}
    for _ in range(2):
        assert graph.data(query, id=to_base64("User", acme.owner.user_id))["node"] == person
        assert graph.data(query, id=to_base64("User", "x"))["node"] is None
        assert graph.data(query, id=to_base64("Asset", acme.assets[0].pk))["node"] == {
            "__typename": "Asset",
            "name": acme.assets[0].name,
        }
        [error] = graph(query, id="garbage")["errors"]
        assert error["extensions"]["code"] == "INVALID"


@pytest.mark.parametrize(
    "query",
    [ME, TENANT, *("{ %s { totalCount edges { node { %s } } } }" % one for one in LISTS.items())],
)
def test_each_is_one_statement(acme: Inhabited, gql: Callable[..., Graph], query: str) -> None:
    del acme
    graph = gql()
    graph.data(query)
    with statements(1):
        graph.data(query)


def test_many_nodes_are_one_statement(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    graph = gql()
    ids = [
        *(to_base64("Asset", asset.pk) for asset in acme.assets),
        *(to_base64("User", actor.user_id) for actor in acme.actors.values()),
    ]
    with statements(1):
        assert all(graph.data("query($i: [ID!]!) { nodes(ids: $i) { id } }", i=ids)["nodes"])
