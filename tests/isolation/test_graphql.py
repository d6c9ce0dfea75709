"""Every id-taking field of the schema, given another tenant's id, answers as to an id of nobody.

The fields are found by walking the schema; one without its row below fails the build. Each row is
an operation with `$id`. The two answers must be the same to the byte, request id and the id itself
aside, and every row of the other tenant the same down to `updated_at`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.apps import apps
from graphql import (
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_named_type,
)
from psycopg import sql
from strawberry.relay import to_base64

from assets.backup import create_backup
from assets.models import Backup, PlaybackDay, Restore, Upload
from graph.nodes import READERS
from graph.scalars import print_instant
from graph.schema import schema
from rls import acting_as
from rls.declared import declared, is_tenant_owned
from tenancy.models import (
    ApiToken,
    AuditEntry,
    CapabilityKey,
    Device,
    Invitation,
    Membership,
    SecondFactor,
    Tenant,
    TenantSettings,
    UserSession,
)
from tests import databases
from tests.conftest import PLATFORM, Graph, basic
from tests.isolation.probes import GLOBAL_ROWS
from tests.media import PNG
from tests.uploads import begin, put
from tests.world import create_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.db.models import Model
    from django.test import Client
    from graphql import GraphQLInputType
    from pytest_django import Settings

    from tests.world import Inhabited, World

# Arguments that name a row by something other than the scalar ID.
LEGACY_IDS = {"assetId", "assetIds"}
LEGACY = "legacy id"

ASSET = "id assetId name updatedAt"
PAGE = f"totalCount edges {{ node {{ {ASSET} }} }}"
DAYS = f"totalCount edges {{ node {{ day plays asset {{ {ASSET} }} }} }}"
LOG = "totalCount edges { node { action label } }"
RECORDED = "playback { recorded skipped repeated }"
NOW = print_instant(datetime.now(UTC))
FAULTS = "errors { field message code }"
# The argument that takes an id: what ids it takes, and an operation that gives it one.
ROWS: dict[str, tuple[tuple[str, ...], str]] = {
    "Query.apiTokens.filter.userId": (
        ("User",),
        "query($id: ID!) { apiTokens(filter: {userId: $id}) { edges { node { name } } } }",
    ),
    "Mutation.updateApiToken.input.id": (
        ("ApiToken",),
        (
            'mutation($id: ID!) { updateApiToken(input: {id: $id, name: "taken"}) '
            f"{{ apiToken {{ id name }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.revokeApiToken.input.id": (
        ("ApiToken",),
        (
            "mutation($id: ID!) { revokeApiToken(input: {id: $id}) "
            f"{{ apiToken {{ id name }} {FAULTS} }} }}"
        ),
    ),
    "Query.auditLog.filter.userId": (
        ("User",),
        f"query($id: ID!) {{ auditLog(filter: {{userId: $id}}) {{ {LOG} }} }}",
    ),
    "Query.auditLog.filter.subjectId": (
        ("Tenant", "Device", "Capability"),
        f"query($id: ID!) {{ auditLog(filter: {{subjectId: $id}}) {{ {LOG} }} }}",
    ),
    "Query.node.id": (
        tuple(READERS),
        f"query($id: ID!) {{ node(id: $id) {{ __typename id ... on Asset {{ {ASSET} }} }} }}",
    ),
    "Query.nodes.ids": (tuple(READERS), "query($id: ID!) { nodes(ids: [$id]) { __typename id } }"),
    "Query.asset.id": (("Asset",), f"query($id: ID!) {{ asset(id: $id) {{ {ASSET} }} }}"),
    "Query.asset.assetId": (
        (LEGACY,),
        f"query($id: String!) {{ asset(assetId: $id) {{ {ASSET} }} }}",
    ),
    "Query.assets.filter.ids": (
        ("Asset",),
        f"query($id: ID!) {{ assets(filter: {{ids: [$id]}}) {{ {PAGE} }} }}",
    ),
    "Query.assets.filter.assetIds": (
        (LEGACY,),
        f"query($id: String!) {{ assets(filter: {{assetIds: [$id]}}) {{ {PAGE} }} }}",
    ),
    "Tenant.assets.filter.ids": (
        ("Asset",),
        f"query($id: ID!) {{ tenant {{ assets(filter: {{ids: [$id]}}) {{ {PAGE} }} }} }}",
    ),
    "Tenant.assets.filter.assetIds": (
        (LEGACY,),
        f"query($id: String!) {{ tenant {{ assets(filter: {{assetIds: [$id]}}) {{ {PAGE} }} }} }}",
    ),
    "Query.playbackDays.filter.asset": (
        ("Asset",),
        f"query($id: ID!) {{ playbackDays(filter: {{asset: $id}}) {{ {DAYS} }} }}",
    ),
    "Query.playbackDays.filter.assetId": (
        (LEGACY,),
        f"query($id: String!) {{ playbackDays(filter: {{assetId: $id}}) {{ {DAYS} }} }}",
    ),
    "Query.playbackSummary.filter.asset": (
        ("Asset",),
        "query($id: ID!) { playbackSummary(filter: {asset: $id}) { plays seconds assets days } }",
    ),
    "Query.playbackSummary.filter.assetId": (
        (LEGACY,),
        "query($id: String!) { playbackSummary(filter: {assetId: $id}) { plays assets days } }",
    ),
    "Mutation.recordPlayback.input.plays.id": (
        ("Asset",),
        (
            "mutation($id: ID!) { recordPlayback(input: {plays: [{id: $id, at: "
            f'"{NOW}"}}]}}) {{ {RECORDED} {FAULTS} }} }}'
        ),
    ),
    "Mutation.recordPlayback.input.plays.assetId": (
        (LEGACY,),
        (
            "mutation($id: String!) { recordPlayback(input: {skipUnknown: true, plays: "
            f'[{{assetId: $id, at: "{NOW}"}}]}}) {{ {RECORDED} {FAULTS} }} }}'
        ),
    ),
    "Mutation.updateAsset.input.id": (
        ("Asset",),
        (
            'mutation($id: ID!) { updateAsset(input: {id: $id, name: "taken"}) '
            f"{{ asset {{ {ASSET} }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.deleteAssets.input.ids": (
        ("Asset",),
        f"mutation($id: ID!) {{ deleteAssets(input: {{ids: [$id]}}) {{ deletedIds {FAULTS} }} }}",
    ),
    "Mutation.updateMembership.input.id": (
        ("Membership",),
        (
            "mutation($id: ID!) { updateMembership(input: {id: $id, role: OPERATOR}) "
            f"{{ membership {{ id role isActive }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.deactivateMembership.input.id": (
        ("Membership",),
        (
            "mutation($id: ID!) { deactivateMembership(input: {id: $id}) "
            f"{{ membership {{ id role isActive }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.reactivateMembership.input.id": (
        ("Membership",),
        (
            "mutation($id: ID!) { reactivateMembership(input: {id: $id}) "
            f"{{ membership {{ id role isActive }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.removeMember.input.id": (
        ("Membership",),
        (f"mutation($id: ID!) {{ removeMember(input: {{id: $id}}) {{ deletedId {FAULTS} }} }}"),
    ),
    "Mutation.transferOwnership.input.id": (
        ("Membership",),
        (
            "mutation($id: ID!) { transferOwnership(input: {id: $id}) "
            f"{{ membership {{ id role isActive }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.resendInvitation.input.id": (
        ("Invitation",),
        (
            "mutation($id: ID!) { resendInvitation(input: {id: $id}) "
            f"{{ invitation {{ id email }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.revokeInvitation.input.id": (
        ("Invitation",),
        (
            "mutation($id: ID!) { revokeInvitation(input: {id: $id}) "
            f"{{ invitation {{ id email }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.revokeCapability.input.id": (
        ("Capability",),
        (
            "mutation($id: ID!) { revokeCapability(input: {id: $id}) "
            f"{{ capability {{ id name }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.endSession.input.id": (
        ("UserSession",),
        f"mutation($id: ID!) {{ endSession(input: {{id: $id}}) {{ endedId {FAULTS} }} }}",
    ),
    "Mutation.endOtherSessions.input.keep": (
        ("UserSession",),
        f"mutation($id: ID!) {{ endOtherSessions(input: {{keep: $id}}) {{ ended {FAULTS} }} }}",
    ),
    "Query.device.id": (
        ("Device",),
        "query($id: ID!) { device(id: $id) { id name updatedAt isRevoked } }",
    ),
    "Mutation.updateDevice.input.id": (
        ("Device",),
        (
            'mutation($id: ID!) { updateDevice(input: {id: $id, name: "taken"}) '
            f"{{ device {{ id name }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.rotateDeviceSecret.input.id": (
        ("Device",),
        (
            "mutation($id: ID!) { rotateDeviceSecret(input: {id: $id}) "
            f"{{ credential {{ deviceId }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.revokeDevice.input.id": (
        ("Device",),
        (
            "mutation($id: ID!) { revokeDevice(input: {id: $id}) "
            f"{{ device {{ id isRevoked }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.shareAsset.input.id": (
        ("Asset",),
        (
            "mutation($id: ID!) { shareAsset(input: {id: $id}) "
            f"{{ asset {{ {ASSET} share {{ maxViews }} }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.updateShare.input.id": (
        ("Asset",),
        (
            "mutation($id: ID!) { updateShare(input: {id: $id, maxViews: 5}) "
            f"{{ asset {{ {ASSET} share {{ maxViews }} }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.revokeShare.input.id": (
        ("Asset",),
        (
            "mutation($id: ID!) { revokeShare(input: {id: $id}) "
            f"{{ asset {{ {ASSET} }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.updateDeviceSettings.input.id": (
        ("Device",),
        (
            "mutation($id: ID!) { updateDeviceSettings(input: {id: $id, screenRotation: 90}) "
            f"{{ device {{ id ownSettings }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.sendDeviceCommand.input.id": (
        ("Device",),
        (
            "mutation($id: ID!) { sendDeviceCommand(input: {id: $id, command: NEXT}) "
            f"{{ told {FAULTS} }} }}"
        ),
    ),
    "Mutation.sendDeviceCommand.input.assetId": (
        (LEGACY,),
        (
            "mutation($id: String!) { sendDeviceCommand(input: {assetId: $id, command: SHOW}) "
            f"{{ told {FAULTS} }} }}"
        ),
    ),
    "Mutation.deleteBackup.input.id": (
        ("Backup",),
        f"mutation($id: ID!) {{ deleteBackup(input: {{id: $id}}) {{ deletedId {FAULTS} }} }}",
    ),
    "Mutation.restoreBackup.input.backupId": (
        ("Backup",),
        (
            "mutation($id: ID!) { restoreBackup(input: {backupId: $id}) "
            f"{{ restore {{ id }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.undoRestore.input.id": (
        ("Restore",),
        (
            "mutation($id: ID!) { undoRestore(input: {id: $id}) "
            f"{{ restore {{ id undoneAt }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.forgetRestore.input.id": (
        ("Restore",),
        (
            "mutation($id: ID!) { forgetRestore(input: {id: $id}) "
            f"{{ restore {{ id forgottenAt }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.finishUpload.input.id": (
        ("UploadSession",),
        (
            "mutation($id: ID!) { finishUpload(input: {id: $id}) "
            f"{{ asset {{ {ASSET} }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.abandonUpload.input.id": (
        ("UploadSession",),
        f"mutation($id: ID!) {{ abandonUpload(input: {{id: $id}}) {{ abandonedId {FAULTS} }} }}",
    ),
    "Mutation.replaceAssetFile.input.id": (
        ("Asset",),
        (
            "mutation($id: ID!, $upload: ID) { replaceAssetFile(input: {id: $id, "
            f"uploadId: $upload}}) {{ asset {{ {ASSET} }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.replaceAssetFile.input.uploadId": (
        ("UploadSession",),
        (
            "mutation($id: ID!, $asset: ID!) { replaceAssetFile(input: {id: $asset, "
            f"uploadId: $id}}) {{ asset {{ {ASSET} }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.reorderAssets.input.ids": (
        ("Asset",),
        (
            "mutation($id: ID!) { reorderAssets(input: {ids: [$id]}) "
            f"{{ assets {{ {ASSET} }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.tagAssets.input.ids": (
        ("Asset",),
        (
            'mutation($id: ID!) { tagAssets(input: {ids: [$id], add: ["taken"]}) '
            f"{{ assets {{ {ASSET} }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.enableAssets.input.ids": (
        ("Asset",),
        (
            "mutation($id: ID!) { enableAssets(input: {ids: [$id]}) "
            f"{{ assets {{ {ASSET} }} {FAULTS} }} }}"
        ),
    ),
    "Mutation.disableAssets.input.ids": (
        ("Asset",),
        (
            "mutation($id: ID!) { disableAssets(input: {ids: [$id]}) "
            f"{{ assets {{ {ASSET} }} {FAULTS} }} }}"
        ),
    ),
}
# Ids of acme's own that operations may name beside the one they are given.
OWN: dict[str, str] = {}
CASES = [(path, kind) for path, (kinds, _) in ROWS.items() for kind in kinds]
IDS = [f"{path}-{kind}" for path, kind in CASES]
# Reads on both roads, each by itself; writes have one.
ROADS = [
    (path, kind, road)
    for path, kind in CASES
    for road in ("executor", "compiled")
    if road == "executor" or not path.startswith("Mutation.")
]
ON_ROADS = [f"{path}-{kind}-{road}" for path, kind, road in ROADS]
READS = [case for case in CASES if not case[0].startswith("Mutation.")]
# What at least is compiled of them.
COMPILED = {
    "Query.asset.id",
    "Query.asset.assetId",
    "Query.assets.filter.ids",
    "Query.assets.filter.assetIds",
    "Tenant.assets.filter.ids",
    "Tenant.assets.filter.assetIds",
}
# With the wall down these leak; the others name the tenant in their queries as well (which they do
# for the planner's sake), and are a second wall that nobody should rely on.
ONLY_THE_WALL = {
    "Query.node.id-User",
    "Query.nodes.ids-User",
    "Query.node.id-Tenant",
    "Query.nodes.ids-Tenant",
}


def _input_paths(kind: GraphQLInputType, path: str, depth: int = 0) -> Iterator[str]:
    named = get_named_type(kind)
    if isinstance(named, GraphQLInputObjectType):
        assert depth < 6, f"{path} nests without end"
        for name, field in named.fields.items():
            if name in LEGACY_IDS:
                yield f"{path}.{name}"
            yield from _input_paths(field.type, f"{path}.{name}", depth + 1)
    elif named.name == "ID":
        yield path


def id_taking_arguments() -> set[str]:
    """Return `Type.field.argument.path` of every argument in the schema that names a row."""
    found: set[str] = set()
    for type_ in schema._schema.type_map.values():
        if not isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)):
            continue
        if type_.name.startswith("__"):
            continue
        for field_name, field in type_.fields.items():
            for name, argument in field.args.items():
                path = f"{type_.name}.{field_name}.{name}"
                if name in LEGACY_IDS:
                    found.add(path)
                found.update(_input_paths(argument.type, path))
    return found


def foreign_id(kind: str, place: Inhabited) -> str:
    """Return the id of something of `place`."""
    if kind == LEGACY:
        return place.assets[2].asset_id
    if kind == "Asset":
        return to_base64(kind, place.assets[0].pk)
    if kind == "Tenant":
        return to_base64(kind, place.tenant.pk)
    if kind in {"User", "Viewer"}:
        return to_base64(kind, place.viewer.user_id)
    if kind == "UserSession":
        with acting_as(place.owner):
            return to_base64(kind, UserSession.objects.latest("pk").pk)
    models_: dict[str, type[Model]] = {
        "ApiToken": ApiToken,
        "AuditEntry": AuditEntry,
        "Capability": CapabilityKey,
        "Backup": Backup,
        "Device": Device,
        "Invitation": Invitation,
        "Membership": Membership,
        "PlaybackDay": PlaybackDay,
        "Restore": Restore,
        "TenantSettings": TenantSettings,
        "UploadSession": Upload,
    }
    model = models_[kind]
    with acting_as(place.owner):
        newest = model._default_manager.filter(tenant=place.tenant.pk).latest("pk")
        return to_base64(kind, newest.pk)


def nobodys_id(kind: str) -> str:
    """Return an id of the same form that nothing has."""
    return f"only-{uuid4().hex[:6]}" if kind == LEGACY else to_base64(kind, uuid4())


def rows_of(place: Inhabited) -> dict[str, list[dict[str, Any]]]:
    """Return every tenant-owned row of `place` and its tenant's, read through its own door."""
    models: list[type[Model]] = [*filter(is_tenant_owned, apps.get_models()), Tenant]
    models += [UserSession, SecondFactor]
    with acting_as(place.owner):
        return {
            model.__name__: list(model._default_manager.order_by("pk").values()) for model in models
        }


def answer(graph: Graph, document: str, id_: str) -> tuple[int, str]:
    """Return status and body, with the id itself blotted out."""
    response = graph.post(document, {**OWN, "id": id_})
    return response.status_code, response.content.decode().replace(id_, "ID")


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, settings: Settings, request: pytest.FixtureRequest) -> None:
    """Where a row is tried, give both tenants an upload of which every byte is there."""
    settings.UPLOAD_DIR, settings.MEDIA_ROOT = tmp_path / "uploads", tmp_path / "media"
    OWN.clear()
    if "kind" not in getattr(getattr(request.node, "callspec", None), "params", ()):
        return
    world = request.getfixturevalue("world")
    whole = [put(place, begin(place, len(PNG)), PNG) for place in (world.globex, world.acme)]
    for place in (world.globex, world.acme):
        create_backup(actor=place.owner)
    OWN["asset"] = to_base64("Asset", world.acme.assets[0].pk)
    OWN["upload"] = to_base64("UploadSession", whole[1].pk)


def test_every_id_taking_argument_has_its_row() -> None:
    assert id_taking_arguments() == ROWS.keys()


@pytest.mark.one_road
@pytest.mark.parametrize(("path", "kind", "road"), ROADS, ids=ON_ROADS)
def test_another_tenants_id_is_nobodys_id(
    world: World, gql: Callable[..., Graph], settings: Settings, path: str, kind: str, road: str
) -> None:
    settings.COMPILED_READS = road == "compiled"
    document = ROWS[path][1]
    graph = gql("acme-owner")
    # The probe works: the same operation with an id of one's own says something else.
    before = rows_of(world.globex)
    foreign = answer(graph, document, foreign_id(kind, world.globex))
    assert foreign == answer(graph, document, nobodys_id(kind))
    assert foreign[0] == 200
    assert world.globex.marker not in foreign[1]
    assert rows_of(world.globex) == before


@pytest.mark.one_road
@pytest.mark.parametrize(("path", "kind", "road"), ROADS, ids=ON_ROADS)
def test_the_same_operation_finds_ones_own(
    world: World, gql: Callable[..., Graph], settings: Settings, path: str, kind: str, road: str
) -> None:
    """Without this, an operation that never finds anything would pass for a safe one."""
    settings.COMPILED_READS = road == "compiled"
    document = ROWS[path][1]
    graph = gql("acme-viewer" if kind == "Viewer" else "acme-owner")
    own = answer(graph, document, foreign_id(kind, world.acme))
    assert own != answer(graph, document, nobodys_id(kind))
    assert own[0] == 200
    assert '"errors":[{' not in own[1]


@pytest.mark.one_road
@pytest.mark.parametrize(("path", "kind"), READS, ids=[f"{p}-{k}" for p, k in READS])
def test_the_executor_says_the_same_as_compiled_reads(
    world: World, gql: Callable[..., Graph], settings: Settings, path: str, kind: str
) -> None:
    """So the rows above are the same rows, whichever road they took."""
    document, graph = ROWS[path][1], gql("acme-owner")
    ids = [foreign_id(kind, place) for place in (world.globex, world.acme)]
    compiled = [answer(graph, document, id_) for id_ in ids]
    settings.COMPILED_READS = False
    assert [answer(graph, document, id_) for id_ in ids] == compiled


@pytest.mark.parametrize("path", sorted(COMPILED))
def test_rows_of_the_matrix_are_compiled(
    world: World, gql: Callable[..., Graph], settings: Settings, path: str
) -> None:
    """Without this, both roads might be the same one."""
    settings.DEBUG = True
    [kind], document = ROWS[path]
    for place in (world.acme, world.globex):
        told = gql("acme-owner")(document, id=foreign_id(kind, place))["extensions"]
        assert told["road"] == "compiled"


def test_one_foreign_id_among_ones_own_undoes_all_of_it(
    world: World, gql: Callable[..., Graph]
) -> None:
    graph = gql("acme-owner")
    own = [to_base64("Asset", asset.pk) for asset in world.acme.assets]
    before = rows_of(world.acme), rows_of(world.globex)
    for mutation, also, field in (
        ("deleteAssets", "", "deletedIds"),
        ("reorderAssets", "", "assets { id }"),
        ("tagAssets", ', add: ["taken"]', "assets { id }"),
        ("enableAssets", "", "assets { id }"),
        ("disableAssets", "", "assets { id }"),
    ):
        answers = []
        for stranger in (foreign_id("Asset", world.globex), nobodys_id("Asset")):
            data = graph.data(
                f"mutation($ids: [ID!]!) {{ {mutation}(input: {{ids: $ids{also}}}) "
                f"{{ {field} {FAULTS} }} }}",
                ids=[own[0], stranger, own[1]],
            )
            answers.append(data)
            assert [e["code"] for e in data[mutation]["errors"]] == ["NOT_FOUND"]
        assert answers[0] == answers[1]
    assert (rows_of(world.acme), rows_of(world.globex)) == before


@pytest.mark.one_road
@pytest.mark.parametrize("road", ["executor", "compiled"])
def test_lists_and_counts_show_ones_own_rows_only(
    world: World, gql: Callable[..., Graph], settings: Settings, road: str
) -> None:
    settings.COMPILED_READS = road == "compiled"
    settings.DEBUG = True
    for mine, other in ((world.acme, world.globex), (world.globex, world.acme)):
        graph = gql(f"{mine.tenant.slug}-owner")
        data: dict[str, Any] = {}
        roads = []
        for document in (
            (
                "{ tenant { name settings { logoUrl } memberships { totalCount edges { node { role "
                "user { username email } tenant { name } } } } } memberships { totalCount } "
                f"assets {{ {PAGE} }} tenants {{ totalCount }} }}"
            ),
            (
                "{ tags { totalCount edges { node { name } } } "
                f'found: assets(filter: {{search: {{prefix: "mark asset"}}}}) {{ {PAGE} }} '
                f'both: assets(filter: {{tags: {{any: ["ACME-MARK", "GLOBEX-MARK"]}}}}) {{ {PAGE} }} '
                "playlist { assets { name } } me { memberships { tenant { name } } } }"
            ),
        ):
            response = graph.post(document)
            assert other.marker not in response.content.decode()
            told = json.loads(response.content)
            data |= told["data"]
            roads.append(told["extensions"]["road"])
        assert (roads[0] == "compiled") is (road == "compiled")
        for listed in ("assets", "found", "both"):
            assert data[listed]["totalCount"] == 3
        assert data["tags"] == {"totalCount": 1, "edges": [{"node": {"name": mine.marker}}]}
        assert data["tenants"]["totalCount"] == 1
        # Five roles, and the person who is in both.
        assert data["memberships"]["totalCount"] == 6


LISTED = (
    "devices { totalCount edges { node { name createdBy { username } } } }",
    "apiTokens { totalCount edges { node { name user { username email } } } }",
    "capabilities { totalCount edges { node { name } } }",
    "invitations { totalCount edges { node { email invitedBy { username } } } }",
    "auditLog(first: 500) { totalCount edges { node { label before after actor { user { email } } } } }",
    "uploads { totalCount edges { node { fileName } } }",
    "backups { totalCount edges { node { name } } }",
    "restores { totalCount edges { node { source } } }",
    "playbackDays { totalCount edges { node { asset { name } } } }",
    "me { memberships { tenant { name } } sessions { totalCount edges { node { userAgent } } } }",
    "assets { edges { node { name share { createdBy { email } } playbackDays { totalCount } } } }",
    'assets(filter: {search: {contains: "mark"}}) { totalCount edges { node { name } } }',
    'assets(filter: {tags: {any: ["ACME-MARK", "GLOBEX-MARK"]}}) { edges { node { name } } }',
    'memberships(filter: {search: "e"}) { totalCount edges { node { user { email } } } }',
    "tenant { name usage { assets bytes devices members } settings { logoUrl } }",
)


@pytest.mark.one_road
@pytest.mark.parametrize("is_compiled", [True, False])
def test_every_list_shows_ones_own_rows_only_on_either_road(
    world: World, gql: Callable[..., Graph], settings: Settings, *, is_compiled: bool
) -> None:
    settings.COMPILED_READS = is_compiled
    settings.DEBUG = True
    for mine, other in ((world.acme, world.globex), (world.globex, world.acme)):
        graph = gql(f"{mine.tenant.slug}-owner")
        for selected in LISTED:
            response = graph.post(f"{{ {selected} }}")
            body = response.json()
            assert (body["extensions"]["road"] == "compiled") is is_compiled, selected
            text = json.dumps(body["data"]).lower()
            assert "errors" not in body, selected
            assert mine.tenant.slug in text, selected
            assert other.marker.lower() not in text, selected
            assert f"{other.tenant.slug}.example" not in text, selected


@pytest.mark.one_road
@pytest.mark.parametrize("road", ["executor", "compiled"])
def test_a_person_in_two_tenants_sees_one_at_a_time(
    world: World, client_of: Callable[..., Client], settings: Settings, road: str
) -> None:
    settings.COMPILED_READS = road == "compiled"
    for mine, other in ((world.acme, world.globex), (world.globex, world.acme)):
        graph = Graph(client_of("both", headers={"X-Tenant-ID": mine.tenant.slug}))
        names = [
            edge["node"]["name"]
            for edge in graph.data(f"{{ assets {{ {PAGE} }} }}")["assets"]["edges"]
        ]
        assert len(names) == 3
        assert all(mine.marker in name for name in names)
        response = graph.post(f"{{ assets {{ {PAGE} }} tenant {{ name settings {{ logoUrl }} }} }}")
        assert other.marker not in response.content.decode()


@pytest.mark.one_road
@pytest.mark.parametrize("road", ["executor", "compiled"])
def test_with_the_wall_down_the_matrix_is_red(
    scratch_database: str, settings: Settings, road: str
) -> None:
    """The tenant is named in queries as well, but where only the wall stands, it must show."""
    from django.test import Client as DjangoClient

    settings.COMPILED_READS = road == "compiled"
    world = create_world()
    with databases.maintenance(scratch_database) as connection:
        for table in (*declared().walls, *GLOBAL_ROWS):
            connection.execute(
                sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(sql.Identifier(table))
            )
    graph = Graph(DjangoClient(headers=basic("acme-owner"), HTTP_HOST=f"acme.{PLATFORM}"))
    red = {
        f"{path}-{kind}"
        for path, kind, on in ROADS
        if on == road
        if answer(graph, ROWS[path][1], foreign_id(kind, world.globex))
        != answer(graph, ROWS[path][1], nobodys_id(kind))
    }
    assert red >= ONLY_THE_WALL
