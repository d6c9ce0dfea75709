"""Who may use what: every root field and every kind of actor, driven by the declared table."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import transaction
from strawberry.relay import to_base64

from graph.permissions import holding, needs_of, roots, table
from graph.schema import schema
from graph.subscriptions import FEEDS
from rls import acting_as
from tenancy.actors import ANONYMOUS, Actor, ActorKind, device, person
from tenancy.members import deactivate_membership
from tenancy.tokens import create_token
from tests.conftest import Graph
from tests.isolation.test_graphql import ROWS, nobodys_id
from tests.players import add_player

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.world import Inhabited, World

REFUSED = {"UNAUTHENTICATED", "TENANT_REQUIRED", "FORBIDDEN"}
FAULTS = "errors { code }"
# What root fields without an id are asked with; the others are those of the isolation matrix.
OPERATIONS = {
    "Query.me": "{ me { username } }",
    "Query.memberships": "{ memberships(first: 1) { totalCount } }",
    "Query.invitations": "{ invitations(first: 1) { totalCount } }",
    "Query.invitationOffer": '{ invitationOffer(token: "sgi_none") { tenantName } }',
    "Query.tenant": "{ tenant { name } }",
    "Query.tenants": "{ tenants(first: 1) { totalCount } }",
    "Query.assets": "{ assets(first: 1) { totalCount } }",
    "Query.playlist": "{ playlist { now } }",
    "Query.tags": "{ tags(first: 1) { totalCount } }",
    "Query.capabilities": "{ capabilities(first: 1) { totalCount } }",
    "Query.devices": "{ devices(first: 1) { totalCount } }",
    "Query.uploads": "{ uploads(first: 1) { totalCount } }",
    "Query.backups": "{ backups(first: 1) { totalCount } }",
    "Query.restores": "{ restores(first: 1) { totalCount } }",
    "Query.playbackDays": "{ playbackDays(first: 1) { totalCount } }",
    "Query.playbackSummary": "{ playbackSummary { plays } }",
    "Mutation.createTenant": f'mutation {{ x: createTenant(input: {{name: "N", slug: "new-one"}}) {{ {FAULTS} }} }}',
    "Mutation.updateTenant": f'mutation {{ x: updateTenant(input: {{name: "N"}}) {{ {FAULTS} }} }}',
    "Mutation.updateTenantSettings": f"mutation {{ x: updateTenantSettings(input: {{defaultAssetDuration: 9}}) {{ {FAULTS} }} }}",
    "Mutation.leaveTenant": f'mutation {{ x: leaveTenant(input: {{slug: "another"}}) {{ {FAULTS} }} }}',
    "Mutation.inviteMember": f'mutation {{ x: inviteMember(input: {{email: "new@example.com", role: VIEWER}}) {{ {FAULTS} }} }}',
    "Mutation.acceptInvitation": f'mutation {{ x: acceptInvitation(input: {{token: "sgi_none"}}) {{ {FAULTS} }} }}',
    "Mutation.declineInvitation": f'mutation {{ x: declineInvitation(input: {{token: "sgi_none"}}) {{ {FAULTS} }} }}',
    "Mutation.createAsset": f'mutation {{ x: createAsset(input: {{name: "N", uri: "https://example.com/n"}}) {{ {FAULTS} }} }}',
    "Mutation.beginUpload": f'mutation {{ x: beginUpload(input: {{fileName: "n.png", size: 9}}) {{ {FAULTS} }} }}',
    "Mutation.createBackup": f"mutation {{ x: createBackup(input: {{}}) {{ {FAULTS} }} }}",
    "Mutation.createCapability": f'mutation {{ x: createCapability(input: {{name: "N", permissions: ["assets.view"]}}) {{ {FAULTS} }} }}',
    "Mutation.registerDevice": f'mutation {{ x: registerDevice(input: {{name: "N"}}) {{ {FAULTS} }} }}',
    "Mutation.pairDevice": f'mutation {{ x: pairDevice(input: {{code: "ABCDEF", name: "N"}}) {{ {FAULTS} }} }}',
    "Mutation.updateDeviceDefaults": f"mutation {{ x: updateDeviceDefaults(input: {{showSplash: false}}) {{ {FAULTS} }} }}",
    "Mutation.changePassword": (
        f'mutation {{ x: changePassword(input: {{currentPassword: "x", newPassword: "y"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.changeEmail": (
        f'mutation {{ x: changeEmail(input: {{currentPassword: "x", email: "new@example.com"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.beginSecondFactor": (
        f'mutation {{ x: beginSecondFactor(input: {{currentPassword: "x"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.confirmSecondFactor": (
        f'mutation {{ x: confirmSecondFactor(input: {{code: "000000"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.disableSecondFactor": (
        f'mutation {{ x: disableSecondFactor(input: {{currentPassword: "x", code: "000000"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.regenerateRecoveryCodes": (
        f'mutation {{ x: regenerateRecoveryCodes(input: {{currentPassword: "x", code: "000000"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.requestTenantDomain": (
        f'mutation {{ x: requestTenantDomain(input: {{domain: "signs.example.com"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.verifyTenantDomain": (
        f'mutation {{ x: verifyTenantDomain(input: {{domain: "signs.example.com"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.removeTenantDomain": (
        f'mutation {{ x: removeTenantDomain(input: {{domain: "signs.example.com"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.requestTenantDeletion": (
        f'mutation {{ x: requestTenantDeletion(input: {{slug: "another"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.cancelTenantDeletion": (
        f'mutation {{ x: cancelTenantDeletion(input: {{slug: "another"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.createApiToken": (
        f'mutation {{ x: createApiToken(input: {{name: "N", permissions: ["assets.view"]}}) {{ {FAULTS} }} }}'
    ),
    "Query.auditLog": "{ auditLog(first: 1) { totalCount } }",
    "Query.apiTokens": "{ apiTokens(first: 1) { totalCount } }",
    "Query.viewerPermissions": "{ viewerPermissions }",
    "Mutation.replaceAssetFile": (
        f'mutation {{ x: replaceAssetFile(input: {{id: "{to_base64("Asset", uuid4())}", '
        f'uploadId: "{to_base64("UploadSession", uuid4())}"}}) {{ {FAULTS} }} }}'
    ),
    "Mutation.sendDeviceCommand": f"mutation {{ x: sendDeviceCommand(input: {{command: NEXT}}) {{ {FAULTS} }} }}",
}
# What is asked for as a file, and by whom, is in test_uploads.
FILES = {"Mutation.uploadAsset"}

ASKED = [
    name
    for name, _ in roots(schema._schema)
    if name not in FILES and not name.startswith("Subscription.")
]


@dataclass(frozen=True)
class Caller:
    """Somebody: as the table has them, and how they ask."""

    actor: Actor
    graph: Graph


@pytest.fixture
def callers(
    world: World, acme: Inhabited, gql: Callable[..., Graph], client_of: Callable[..., Client]
) -> dict[str, Caller]:
    player = add_player(acme)
    with acting_as(acme.owner):
        held, secret = create_token(
            actor=acme.owner, values={"name": "N", "permissions": ["assets.view", "assets.edit"]}
        )
    script = replace(
        acme.owner,
        kind=ActorKind.TOKEN,
        permissions=frozenset(held.permissions),
        role=None,
        membership_id=None,
        token_id=held.pk,
    )
    bearer = {"Authorization": f"Bearer {secret}"}
    found = {role: Caller(actor, gql(f"acme-{role}")) for role, actor in acme.actors.items()}
    return {
        **found,
        "anonymous": Caller(ANONYMOUS, Graph(client_of(host="acme.signage.test"))),
        "elsewhere": Caller(person(world.outsider.user_id or uuid4()), gql("outsider")),
        "device": Caller(device(player.key, acme.tenant.pk), Graph(player.basic)),
        "token": Caller(script, Graph(client_of(host="acme.signage.test", headers=bearer))),
    }


def codes(answered: Any) -> set[str]:
    """Return every code of an answer: of the whole, of a field, of a payload."""
    found = {answered["code"]} if "code" in answered else set()
    found |= {one["extensions"]["code"] for one in answered.get("errors", [])}
    for payload in (answered.get("data") or {}).values():
        if isinstance(payload, dict):
            found |= {one["code"] for one in payload.get("errors") or []}
    return found


def operation(name: str) -> tuple[str, dict[str, str]]:
    """Return a document that asks for a root field, and its variables."""
    if name in OPERATIONS:
        return OPERATIONS[name], {}
    path = next(path for path in ROWS if path.startswith(f"{name}."))
    kinds, document = ROWS[path]
    return document, {"id": nobodys_id(kinds[0])}


def test_every_root_field_says_what_it_needs() -> None:
    declared = {name: needs_of(field) for name, field in roots(schema._schema)}
    assert [name for name, needs in declared.items() if needs is None] == []
    for name, field in roots(schema._schema):
        for permission in declared[name].permissions:  # type: ignore[union-attr]
            assert permission in (field.description or ""), name


@pytest.mark.parametrize("name", ASKED)
def test_the_table_is_what_happens(callers: dict[str, Caller], name: str) -> None:
    needs = table(schema._schema)[name]
    assert needs is not None
    document, variables = operation(name)
    for kind, caller in callers.items():
        expected = needs.refusal(caller.actor)
        with transaction.atomic():
            answered = caller.graph(document, **variables)
            transaction.set_rollback(True)
        found = codes(answered)
        assert not found & {"INTERNAL"}, (kind, answered)
        if expected is None:
            # What is said in words besides is of other tests; an id of nobody does not come so far.
            assert not found & REFUSED, (kind, answered)
        else:
            assert expected.value in found, (kind, answered)


def test_feeds_ask_for_what_their_fields_declare() -> None:
    """Whether they do is in test_subscriptions."""
    declared = {name: needs for name, needs in table(schema._schema).items() if "Subscr" in name}
    assert len(declared) == len(FEEDS)
    for name, feed in FEEDS.items():
        assert declared[f"Subscription.{name}"] == holding(feed.needs)


def test_who_is_shut_out_gets_nothing(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    with acting_as(acme.owner):
        deactivate_membership(actor=acme.owner, membership=acme.viewer.membership_id)  # type: ignore[arg-type]
    for document in OPERATIONS.values():
        response = gql("acme-viewer").post(document)
        assert response.status_code == 403
        assert json.loads(response.content)["code"] == "TENANT_ERROR"


# Fields of types that need something: how to come to them.
FIELDS = {
    "TenantSettings.webhookUrl": "{ tenant { settings { webhookUrl } } }",
    "TenantSettings.allowedDomains": "{ tenant { settings { allowedDomains } } }",
    "TenantSettings.integrations": "{ tenant { settings { integrations } } }",
    "Tenant.memberships": "{ tenant { memberships { totalCount } } }",
    "Tenant.assets": "{ tenant { assets { totalCount } } }",
    "Tenant.domainChallenge": "{ tenant { domainChallenge { domain } } }",
    "Asset.shareUrl": '{ node(id: "%s") { ... on Asset { shareUrl } } }',
    "Asset.share": '{ node(id: "%s") { ... on Asset { share { url } } } }',
    "User.email": '{ node(id: "%s") { ... on Asset { createdBy { username email } } } }',
}


def test_every_field_that_needs_something_is_here() -> None:
    names = {name for name, _ in roots(schema._schema)}
    assert table(schema._schema).keys() - names == FIELDS.keys()


@pytest.mark.parametrize("name", FIELDS)
def test_fields_that_need_something_ask_for_it(
    acme: Inhabited, callers: dict[str, Caller], name: str
) -> None:
    needs = table(schema._schema)[name]
    assert needs is not None
    document = FIELDS[name].replace("%s", to_base64("Asset", acme.assets[0].pk))
    for kind in (*acme.actors, "device", "token"):
        caller = callers[kind]
        answered = caller.graph(document)
        if needs.refusal(caller.actor) is None:
            assert "errors" not in answered, (kind, answered)
        elif needs.hides:
            # The owner's, who made it: their own token is told, as they are.
            told = answered["data"]["node"]["createdBy"]["email"]
            assert (told is None) is (caller.actor.user_id != acme.owner.user_id), (kind, answered)
        else:
            assert codes(answered) == {"FORBIDDEN"}, (kind, answered)


def test_a_frontend_can_ask_what_its_person_may_do(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    asked = (
        '{ me { edit: can(permission: "assets.edit") none: can(permission: "no.such") permissions } '
        "tenant { viewerPermissions } tenants { edges { node { slug viewerPermissions } } } }"
    )
    for role, actor in acme.actors.items():
        data = gql(f"acme-{role}").data(asked)
        assert data["me"]["edit"] is actor.can("assets.edit")
        assert data["me"]["none"] is False
        assert data["me"]["permissions"] == sorted(actor.permissions)
        assert data["tenant"]["viewerPermissions"] == sorted(actor.permissions)
    both = gql("both", headers={"X-Tenant-ID": "acme"}).data(asked)["tenants"]["edges"]
    found = {one["node"]["slug"]: set(one["node"]["viewerPermissions"]) for one in both}
    assert found["acme"] != found["globex"]
    assert all(found.values())


def test_the_command_prints_the_whole_of_it() -> None:
    out = StringIO()
    call_command("permissions", stdout=out)
    lines = out.getvalue().splitlines()
    assert "NOT DECLARED" not in out.getvalue()
    for name in table(schema._schema):
        assert any(line.startswith(f"{name} ") for line in lines), name
    [line] = [line for line in lines if line.startswith("Mutation.createAsset ")]
    # anonymous, elsewhere, viewer, operator, manager, admin, owner, device, token, capability
    assert line.split()[2:] == ["-", "-", "-", "-", "yes", "yes", "yes", "-", "-", "-"]
    [line] = [line for line in lines if line.startswith("POST /api/v2/assets ")]
    assert line.split()[3:] == ["-", "-", "-", "-", "yes", "yes", "yes", "-", "-", "yes"]
    marked = StringIO()
    call_command("permissions", "--markdown", stdout=marked)
    assert marked.getvalue().count("\n") == len(lines) + 1
