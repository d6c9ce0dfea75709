"""Every mutation of the schema leaves an entry in the audit log when it is done, none when refused.

Those that take an id are tried with the operations of the isolation matrix, which name one's own
there; the others have their row below. A mutation without one fails the build.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from strawberry.relay import to_base64

from assets.backup import create_backup
from graph.schema import schema
from rls import acting_as
from tenancy.actors import person, worker
from tenancy.invitations import invite_member, token_of
from tenancy.models import AuditEntry, User
from tenancy.pairing import start_pairing
from tenancy.permissions import Role
from tests.conftest import PLATFORM
from tests.isolation.test_graphql import OWN, ROWS, foreign_id
from tests.media import PNG
from tests.uploads import begin, put
from tests.world import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import Client
    from pytest_django import Settings

    from tests.conftest import Graph
    from tests.world import Inhabited, World

ERRORS = "errors { code message }"
# What leaves none, and why.
UNRECORDED = {
    "recordPlayback": "thousands an hour, each of them kept as proof of play",
    "beginSecondFactor": "there is none before it is confirmed",
    "beginUpload": "nothing is there yet: finishing it or giving it up is what is written down",
}
# As the matrix has them they change nothing: what they ask for is so already.
CHANGED = {
    "reactivateMembership": (
        "mutation($id: ID!) { deactivateMembership(input: {id: $id}) { errors { code } } "
        "reactivateMembership(input: {id: $id}) { errors { code } } }"
    ),
    "enableAssets": "mutation($id: ID!) { disableAssets(input: {ids: [$id]}) { errors { code } } "
    "enableAssets(input: {ids: [$id]}) { errors { code } } }",
    "reorderAssets": "mutation($id: ID!, $other: ID!) { reorderAssets(input: {ids: [$other, $id]}) "
    "{ errors { code } } }",
}
WITH_IDS = {
    path.split(".")[1]: (kinds[0], document)
    for path, (kinds, document) in ROWS.items()
    if path.startswith("Mutation.")
}
OTHERS = {
    "createApiToken": '(input: {name: "x", permissions: ["assets.view"]})',
    "createTenant": '(input: {name: "Another", slug: "another"})',
    "updateTenant": '(input: {name: "ACME-MARK anew"})',
    "updateTenantSettings": '(input: {timezone: "Europe/Berlin"})',
    "leaveTenant": '(input: {slug: "acme"})',
    "inviteMember": '(input: {email: "ada@example.com"})',
    "createAsset": '(input: {name: "x", uri: "https://example.com/"})',
    "createBackup": "(input: {})",
    "createCapability": '(input: {name: "x"})',
    "registerDevice": '(input: {name: "x"})',
    "updateDeviceDefaults": "(input: {shufflePlaylist: true})",
}
# Each has a test of its own: below, in test_tenant_life's neighbours tests.tenancy.test_domains and
# test_deletion, and in test_accounts.
APART = {
    *("acceptInvitation", "declineInvitation", "pairDevice", "uploadAsset"),
    *("requestTenantDomain", "verifyTenantDomain", "removeTenantDomain"),
    *("requestTenantDeletion", "cancelTenantDeletion"),
    *("confirmSecondFactor", "disableSecondFactor", "regenerateRecoveryCodes"),
}
# What somebody does to their own account while they are in a tenant.
ACCOUNTS = {
    "changePassword": 'newPassword: "another long phrase of words"',
    "changeEmail": 'email: "new@example.com"',
}


def logged(place: Inhabited) -> int:
    with acting_as(worker(place.tenant.pk)):
        return AuditEntry.objects.count()


def actions(tenant: UUID) -> list[str]:
    """Return what was done in a tenant, the latest first."""
    with acting_as(worker(tenant)):
        return list(AuditEntry.objects.order_by("-at", "-id").values_list("action", flat=True))


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, settings: Settings) -> None:
    settings.UPLOAD_DIR, settings.MEDIA_ROOT = tmp_path / "uploads", tmp_path / "media"


def test_every_mutation_has_its_row() -> None:
    kind = schema._schema.mutation_type
    assert kind is not None
    assert {*UNRECORDED, *WITH_IDS, *OTHERS, *APART, *ACCOUNTS} == kind.fields.keys()
    assert not (OTHERS.keys() | APART) & WITH_IDS.keys()


@pytest.mark.parametrize("name", sorted(WITH_IDS.keys() - UNRECORDED.keys()))
def test_what_is_done_to_something_is_written_down(
    world: World, gql: Callable[..., Graph], name: str
) -> None:
    acme = world.acme
    OWN.clear()
    OWN["asset"] = to_base64("Asset", acme.assets[0].pk)
    OWN["upload"] = to_base64("UploadSession", put(acme, begin(acme, len(PNG)), PNG).pk)
    create_backup(actor=acme.owner)
    kind, document = WITH_IDS[name]
    document = CHANGED.get(name, document)
    variables = {**OWN, "id": foreign_id(kind, acme)}
    variables["other"] = to_base64("Asset", acme.assets[1].pk)
    if name == "endOtherSessions":
        gql("").client.post("/login/", {"username": "acme-owner", "password": PASSWORD})
        gql("").client.post("/login/", {"username": "acme-owner", "password": PASSWORD})
    before = logged(acme)
    # Refused: nothing of it is there. Whoever has no permission, and an id of nobody.
    for graph, key in (
        (gql("acme-viewer"), variables["id"]),
        (gql("acme-owner"), to_base64("Asset", UUID(int=1))),
    ):
        answer = graph(document, **{**variables, "id": key})
        assert "code" in json.dumps(answer)
        assert logged(acme) == before, answer
    answer = gql("acme-owner")(document, **variables)
    assert '"code"' not in json.dumps(answer), answer
    assert logged(acme) > before


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_what_is_done_is_written_down(world: World, gql: Callable[..., Graph], name: str) -> None:
    acme = world.acme
    document = f"mutation {{ {name}{OTHERS[name]} {{ {ERRORS} }} }}"
    before = logged(acme)
    for refused in (gql("", host=f"acme.{PLATFORM}"), gql("acme-viewer")):
        if (
            name in {"createTenant", "createApiToken", "leaveTenant"}
            and refused.client.defaults["HTTP_HOST"]
        ):
            continue
        assert '"code"' in json.dumps(refused(document))
        assert logged(acme) == before
    username = "acme-viewer" if name == "leaveTenant" else "acme-owner"
    [payload] = gql(username).data(document).values()
    assert payload["errors"] == []
    if name == "createTenant":
        graph = gql("acme-owner", host=PLATFORM, headers={"X-Tenant-ID": "another"})
        found = graph.data("{ auditLog { edges { node { action actor { kind } } } } }")
        assert found["auditLog"]["edges"] == [
            {"node": {"action": "tenant.created", "actor": {"kind": "MEMBER"}}}
        ]
        return
    assert logged(acme) > before


@pytest.mark.parametrize("name", ACCOUNTS)
def test_what_is_done_to_an_account_is_written_down(
    acme: Inhabited, gql: Callable[..., Graph], name: str
) -> None:
    document = (
        f"mutation($p: String!) {{ {name}(input: {{currentPassword: $p, {ACCOUNTS[name]}}}) "
        f"{{ {ERRORS} }} }}"
    )
    before = logged(acme)
    assert gql("acme-owner").data(document, p="wrong")[name]["errors"] != []
    assert logged(acme) == before
    assert gql("acme-owner").data(document, p=PASSWORD)[name]["errors"] == []
    assert logged(acme) == before + 1


@pytest.mark.parametrize("name", ["acceptInvitation", "declineInvitation"])
def test_an_answered_invitation_is_written_down(
    world: World, gql: Callable[..., Graph], name: str
) -> None:
    acme = world.acme
    assert world.outsider.user_id is not None
    with acting_as(person(world.outsider.user_id)):
        User.objects.filter(pk=world.outsider.user_id).update(email="out@example.com")
    with acting_as(acme.owner):
        row = invite_member(actor=acme.owner, email="out@example.com", role=Role.VIEWER)
        token = token_of(row)
    document = f"mutation($token: String!) {{ {name}(input: {{token: $token}}) {{ {ERRORS} }} }}"
    before = logged(acme)
    graph = gql("outsider", host=PLATFORM)
    assert graph.data(document, token="sgi_" + "x" * 40)[name]["errors"] != []
    assert logged(acme) == before
    assert graph.data(document, token=token)[name]["errors"] == []
    assert logged(acme) > before


def test_a_paired_device_is_written_down(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    pairing = start_pairing(address="192.0.2.1")
    document = f"""mutation($code: String!) {{
      pairDevice(input: {{code: $code, name: "lobby"}}) {{ {ERRORS} }} }}"""
    before = logged(acme)
    assert gql("acme-owner").data(document, code="AAAAAA")["pairDevice"]["errors"] != []
    assert gql("acme-viewer").data(document, code=pairing.code)["pairDevice"]["errors"] != []
    assert logged(acme) == before
    assert gql("acme-owner").data(document, code=pairing.code)["pairDevice"]["errors"] == []
    assert actions(acme.tenant.pk)[0] == "device.registered"
    assert logged(acme) == before + 1


def test_an_uploaded_asset_is_written_down(
    acme: Inhabited, client_of: Callable[..., Client]
) -> None:
    def send(username: str) -> list[Any]:
        operations = {
            "query": f"mutation($file: Upload!) {{ uploadAsset(input: {{file: $file}}) "
            f"{{ {ERRORS} }} }}",
            "variables": {"file": None},
        }
        answer = client_of(username).post(
            "/graphql",
            {
                "operations": json.dumps(operations),
                "map": json.dumps({"0": ["variables.file"]}),
                "0": SimpleUploadedFile("x.png", PNG, "image/png"),
            },
            headers={"GraphQL-Preflight": "1"},
        )
        found = answer.json()
        return [*found.get("errors", []), *(found.get("data") or {}).values()]

    before = logged(acme)
    assert "FORBIDDEN" in json.dumps(send("acme-viewer"))
    assert logged(acme) == before
    assert send("acme-owner") == [{"errors": []}]
    assert actions(acme.tenant.pk)[0] == "asset.created"
    assert logged(acme) == before + 1
