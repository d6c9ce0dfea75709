"""Inviting and answering through GraphQL."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from rls import acting_as
from tenancy import invitations
from tenancy.invitations import token_of
from tenancy.models import Invitation
from tenancy.people import create_user
from tests.conftest import PLATFORM
from tests.graph.conftest import statements
from tests.world import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Graph
    from tests.world import Inhabited

SHOWN = "email role permissions status sentAt endedAt invitedBy { username }"
ERRORS = "errors { field message code }"
INVITE = f"mutation($input: InviteMemberInput!) {{ done: inviteMember(input: $input) {{ invitation {{ id {SHOWN} }} {ERRORS} }} }}"
LIST = f"query($filter: InvitationFilter, $order: InvitationOrder) {{ invitations(filter: $filter, order: $order) {{ totalCount edges {{ node {{ {SHOWN} }} }} }} }}"
OFFER = "query($token: String!) { invitationOffer(token: $token) { tenantName inviter email role permissions } }"
ACCEPT = f"mutation($token: String!) {{ done: acceptInvitation(input: {{token: $token}}) {{ membership {{ role tenant {{ slug }} user {{ username }} }} {ERRORS} }} }}"
DECLINE = f"mutation($token: String!) {{ done: declineInvitation(input: {{token: $token}}) {{ offer {{ email }} {ERRORS} }} }}"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations.per_tenant, "_local", {})


def token_for(place: Inhabited, email: str) -> str:
    with acting_as(place.owner):
        return token_of(Invitation.objects.get(email=email))


def invite(graph: Graph, **values: Any) -> Any:
    return graph.data(INVITE, input={"email": "ada@new.example", **values})["done"]


def test_an_admin_invites_and_the_token_is_told_nobody(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    graph = gql("acme-admin")
    done = invite(graph, role="MANAGER", permissions=["devices.*"])
    made = done["invitation"]
    id_ = made.pop("id")
    assert done == {
        "invitation": {
            "email": "ada@new.example",
            "role": "MANAGER",
            "permissions": ["devices.*"],
            "status": "PENDING",
            "sentAt": None,
            "endedAt": None,
            "invitedBy": {"username": "acme-admin"},
        },
        "errors": [],
    }
    token = token_for(acme, "ada@new.example")
    text = graph.post(LIST).content.decode()
    assert "ada@new.example" in text
    assert token not in text
    resent = graph.data(
        "mutation($id: ID!) { done: resendInvitation(input: {id: $id}) { invitation { status } "
        "errors { code } } }",
        id=id_,
    )["done"]
    assert resent == {"invitation": {"status": "PENDING"}, "errors": []}
    assert token_for(acme, "ada@new.example") != token
    revoked = graph.data(
        "mutation($id: ID!) { done: revokeInvitation(input: {id: $id}) { invitation { status } "
        "errors { code } } }",
        id=id_,
    )["done"]
    assert revoked == {"invitation": {"status": "REVOKED"}, "errors": []}


@pytest.mark.parametrize(
    ("who", "values", "code", "field"),
    [
        ("viewer", {}, "FORBIDDEN", None),
        ("manager", {"role": "VIEWER"}, "FORBIDDEN", None),
        ("admin", {"role": "OWNER"}, "FORBIDDEN", ["role"]),
        ("admin", {"permissions": ["content.*"]}, "FORBIDDEN", ["permissions"]),
        ("owner", {"permissions": ["nothing"]}, "INVALID", ["permissions"]),
        ("owner", {"email": "ada"}, "INVALID", ["email"]),
        ("owner", {"email": "viewer@acme.example"}, "CONFLICT", ["email"]),
        ("owner", {"email": "acme-mark@invited.example"}, "CONFLICT", ["email"]),
    ],
)
def test_refusals_change_nothing(
    acme: Inhabited, gql: Callable[..., Graph], who: str, values: Any, code: str, field: Any
) -> None:
    done = invite(gql(f"acme-{who}"), **values)
    assert done["invitation"] is None
    assert [(error["code"], error["field"]) for error in done["errors"]] == [(code, field)]
    with acting_as(acme.owner):
        assert Invitation.objects.count() == 1


@pytest.mark.usefixtures("executor")
def test_invitations_are_listed_to_who_may_see_members(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    graph = gql("acme-admin")
    for name in ("late", "gone"):
        invite(graph, email=f"{name}@new.example")
    with acting_as(acme.owner):
        Invitation.objects.filter(email="late@new.example").update(
            expires_at=timezone.now() - timedelta(seconds=1)
        )
        Invitation.objects.filter(email="gone@new.example").update(state="declined")
    with statements(3):  # the page, its people, the count
        found = graph.data(LIST)["invitations"]
    assert [(edge["node"]["email"], edge["node"]["status"]) for edge in found["edges"]] == [
        ("acme-mark@invited.example", "PENDING"),
        ("late@new.example", "EXPIRED"),
        ("gone@new.example", "DECLINED"),
    ]
    for filter_, emails in (
        ({"status": ["PENDING"]}, ["acme-mark@invited.example"]),
        ({"status": ["EXPIRED", "DECLINED"]}, ["gone@new.example", "late@new.example"]),
        ({"status": []}, []),
    ):
        order = {"field": "CREATED_AT", "direction": "DESC"}
        found = graph.data(LIST, filter=filter_, order=order)["invitations"]
        assert [edge["node"]["email"] for edge in found["edges"]] == emails
        assert found["totalCount"] == len(emails)
    for role in ("manager", "operator", "viewer"):
        [error] = gql(f"acme-{role}")(LIST)["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"


def test_an_invitation_is_answered_on_the_platforms_host(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    invite(gql())
    token = token_for(acme, "ada@new.example")
    create_user("ada", PASSWORD, email="ada@new.example")
    create_user("eve", PASSWORD, email="eve@new.example")
    ada, eve = (gql(name, host=PLATFORM) for name in ("ada", "eve"))
    offer = {
        "tenantName": "Acme ACME-MARK",
        "inviter": "acme-owner",
        "email": "ada@new.example",
        "role": "VIEWER",
        "permissions": [],
    }
    assert ada.data(OFFER, token=token)["invitationOffer"] == offer
    refused = eve.data(ACCEPT, token=token)["done"]
    assert refused["membership"] is None
    assert [error["code"] for error in refused["errors"]] == ["FORBIDDEN"]
    assert ada.data(ACCEPT, token=token)["done"] == {
        "membership": {"role": "VIEWER", "tenant": {"slug": "acme"}, "user": {"username": "ada"}},
        "errors": [],
    }
    assert gql("ada", host=f"acme.{PLATFORM}").data("{ tenant { slug } }")["tenant"] == {
        "slug": "acme"
    }
    assert ada.data(OFFER, token=token)["invitationOffer"] is None
    for document in (ACCEPT, DECLINE):
        again = ada.data(document, token=token)["done"]
        assert [error["code"] for error in again["errors"]] == ["NOT_FOUND"]


def test_a_member_of_one_tenant_answers_from_within_it(
    acme: Inhabited, globex: Inhabited, gql: Callable[..., Graph]
) -> None:
    for email in ("viewer@globex.example", "operator@globex.example"):
        invite(gql(), email=email)
    viewer = gql("globex-viewer")
    data = viewer.data(
        "mutation($token: String!) { done: acceptInvitation(input: {token: $token}) "
        "{ membership { tenant { slug } } errors { code } } "
        'other: acceptInvitation(input: {token: "sgi_x"}) { errors { code } } }',
        token=token_for(acme, "viewer@globex.example"),
    )
    assert data["done"] == {"membership": {"tenant": {"slug": "acme"}}, "errors": []}
    assert data["other"]["errors"] == [{"code": "NOT_FOUND"}]
    assert viewer.data("{ tenant { slug } }")["tenant"] == {"slug": globex.tenant.slug}
    declined = gql("globex-operator").data(
        DECLINE, token=token_for(acme, "operator@globex.example")
    )["done"]
    assert declined == {"offer": {"email": "operator@globex.example"}, "errors": []}


def test_without_signing_in_nothing_is_told(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    token = token_for(acme, "acme-mark@invited.example")
    for document in (OFFER, ACCEPT, DECLINE):
        response = gql("", host=PLATFORM).post(document, {"token": token})
        assert response.status_code == 401
        assert b"ACME" not in response.content
