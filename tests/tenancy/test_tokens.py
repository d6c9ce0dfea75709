"""API tokens: what one opens, where, for how long, and what it never opens."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rls import acting_as
from tenancy.actors import operator, token, worker
from tenancy.credentials import identify
from tenancy.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenancy.models import ApiToken, AuditEntry, Membership, Tenant, User
from tenancy.permissions import Role
from tenancy.tokens import create_token, rename_token, revoke_token
from tests.conftest import PLATFORM
from tests.tenancy.conftest import id_of
from tests.world import actor_in

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from django.test import Client

    from tenancy.actors import Actor
    from tests.world import Inhabited, World

VIEW = ["assets.view"]
ME = '{"query": "{ viewerPermissions }"}'


def made(actor: Actor, permissions: list[str] | None = None, **values: Any) -> tuple[ApiToken, str]:
    with acting_as(actor):
        return create_token(
            actor=actor,
            values={"name": "robot", "permissions": VIEW if permissions is None else permissions}
            | values,
        )


@pytest.fixture
def ask(client_of: Callable[..., Client]) -> Callable[..., tuple[int, Any]]:
    """Ask both faces with a token: the status of each, which agree, and what it may do."""

    def ask(secret: str, host: str = f"acme.{PLATFORM}", **headers: str) -> tuple[int, Any]:
        client = client_of(host=host, headers={"Authorization": f"Bearer {secret}", **headers})
        graph = client.post("/graphql", ME, content_type="application/json")
        rest = client.get("/api/v2/assets")
        if graph.status_code == 200:
            data = graph.json()["data"]
            return rest.status_code, data["viewerPermissions"]
        assert rest.status_code == graph.status_code
        return graph.status_code, graph.json()["code"]

    return ask


def test_it_opens_its_tenant_and_no_other(acme: Inhabited, globex: Inhabited, ask: Any) -> None:
    _, secret = made(acme.owner)
    opened = (200, VIEW)
    assert ask(secret) == opened
    assert ask(secret, PLATFORM) == opened
    for own in ("acme", str(acme.tenant.pk)):
        assert ask(secret, PLATFORM, **{"X-Tenant-ID": own}) == opened
    refused = (403, "TENANT_ERROR")
    for other in ("globex", str(globex.tenant.pk), "nobody", "initech"):
        assert ask(secret, PLATFORM, **{"X-Tenant-ID": other}) == refused
    for host in ("globex", "initech", "nobody"):
        assert ask(secret, f"{host}.{PLATFORM}") == refused


def test_the_right_tenants_rows_come_and_no_others(
    acme: Inhabited, globex: Inhabited, client_of: Callable[..., Client]
) -> None:
    _, secret = made(acme.owner)
    client = client_of(host=PLATFORM, headers={"Authorization": f"Bearer {secret}"})
    text = client.get("/api/v2/assets").content.decode()
    assert acme.marker in text
    assert globex.marker not in text


def test_it_is_not_its_owners_account(world: World, client_of: Callable[..., Client]) -> None:
    """The person is in two tenants; the token is in one, and changes nothing of the person."""
    both = actor_in(world.globex.tenant, world.both)
    _, secret = made(both)
    client = client_of(host=PLATFORM, headers={"Authorization": f"Bearer {secret}"})

    def data(query: str) -> Any:
        return client.post("/graphql", {"query": query}, content_type="application/json").json()

    answer = data(
        "{ me { username memberships { tenant { slug } } } tenants { edges { node { slug } } } }"
    )
    assert "acme" not in str(answer)
    assert answer["data"]["me"]["username"] == "both"
    for mutation in (
        'createTenant(input: {name: "Mine", slug: "mine"}) { errors { code } }',
        'createApiToken(input: {name: "x", permissions: ["assets.view"]}) { errors { code } }',
    ):
        [payload] = data(f"mutation {{ {mutation} }}")["data"].values()
        assert [error["code"] for error in payload["errors"]] == ["FORBIDDEN"]
    with acting_as(worker(world.globex.tenant.pk)):
        row = ApiToken.objects.get(name="robot")
        assert ApiToken.objects.filter(user_id=id_of(both)).count() == 1
    found = row_actor(row)
    with acting_as(found):
        assert User.objects.filter(pk=id_of(both)).update(first_name="Mallory") == 0
        assert Tenant.objects.count() == 1


def row_actor(row: ApiToken) -> Actor:
    identity = identify(row.user_id)
    assert identity is not None
    [membership] = [m for m in identity.memberships if m.tenant_id == row.tenant_id]
    return token(row.pk, row.permissions, row.user_id, membership)


def test_it_does_what_it_was_made_for_and_is_written_down(
    acme: Inhabited, client_of: Callable[..., Client], ask: Any
) -> None:
    row, secret = made(acme.manager, ["assets.view", "assets.edit"])
    client = client_of(host=PLATFORM, headers={"Authorization": f"Bearer {secret}"})
    path = f"/api/v2/assets/{acme.assets[0].asset_id}"
    answer = client.patch(path, {"name": "by the robot"}, content_type="application/json")
    assert answer.status_code == 200
    assert client.delete(path).status_code == 403
    with acting_as(acme.owner):
        entry = AuditEntry.objects.filter(action="asset.updated").latest("at")
    assert (entry.actor_kind, entry.credential) == ("token", "token")
    assert (entry.token_id, entry.user_id) == (row.pk, acme.manager.user_id)
    assert ask(secret) == (200, ["assets.edit", "assets.view"])


def test_it_never_opens_more_than_its_owner_may_now(acme: Inhabited, ask: Any) -> None:
    row, secret = made(acme.manager, ["assets.view", "assets.edit"])
    assert acme.manager.membership_id is not None
    mine = Membership.objects.filter(pk=acme.manager.membership_id)
    with acting_as(operator(acme.tenant.pk)):
        mine.update(role=Role.VIEWER)
    assert ask(secret) == (200, VIEW)
    with acting_as(operator(acme.tenant.pk)):
        mine.update(permissions=["assets.*"])
    assert ask(secret) == (200, ["assets.edit", "assets.view"])
    with acting_as(operator(acme.tenant.pk)):
        mine.update(is_active=False)
    assert ask(secret) == (401, "UNAUTHENTICATED")
    with acting_as(operator(acme.tenant.pk)):
        mine.update(is_active=True)
    assert ask(secret)[0] == 200
    with acting_as(operator(acme.tenant.pk)):
        mine.delete()
        # Whoever joins again begins anew.
        assert not ApiToken.objects.filter(pk=row.pk).exists()
    assert ask(secret) == (401, "UNAUTHENTICATED")


def test_a_suspended_tenant_opens_to_nobody(acme: Inhabited, ask: Any) -> None:
    _, secret = made(acme.owner)
    with acting_as(operator(acme.tenant.pk)):
        Tenant.objects.filter(pk=acme.tenant.pk).update(is_active=False)
    assert ask(secret) == (403, "TENANT_ERROR")


def test_a_person_who_is_deactivated_has_no_tokens(acme: Inhabited, ask: Any) -> None:
    _, secret = made(acme.admin)
    with acting_as(acme.admin):
        User.objects.filter(pk=id_of(acme.admin)).update(is_active=False)
    assert ask(secret) == (401, "UNAUTHENTICATED")


def test_what_opens_nothing_costs_one_statement_and_no_hash(
    acme: Inhabited, client_of: Callable[..., Client], hashes: Counter[str], lines: list[str]
) -> None:
    row, right = made(acme.owner)
    revoked, revoked_secret = made(acme.owner)
    expired, expired_secret = made(acme.owner)
    with acting_as(acme.owner):
        revoke_token(actor=acme.owner, token=revoked.pk)
        past = datetime.now(UTC) - timedelta(days=1)
        ApiToken.objects.filter(pk=expired.pk).update(expires_at=past)
    hashes.clear()
    prefix = right[:14]
    wrong = {
        "another secret": prefix + "_" + "x" * 43,
        "nobody's": "sgt_aaaaaaaaaa_" + "x" * 43,
        "revoked": revoked_secret,
        "expired": expired_secret,
    }
    assert prefix == f"sgt_{row.prefix}"
    costs = set()
    for name, secret in wrong.items():
        client = client_of(host=f"acme.{PLATFORM}", headers={"Authorization": f"Bearer {secret}"})
        with CaptureQueriesContext(connection) as captured:
            answer = client.post("/graphql", ME, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED"), name
        costs.add(len(captured))
        assert secret not in "".join(lines)
    assert costs == {1}
    # Never as a password: those are kept in other places than tokens are.
    for pair in (f"acme-owner:{right}", f":{right}", f"token:{right}"):
        header = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        answer = client_of(host=f"acme.{PLATFORM}", headers=header).get("/api/v2/assets")
        assert answer.status_code == 401
    assert not hashes
    assert right not in "".join(lines)


def test_its_use_is_written_down_once_a_minute(
    acme: Inhabited, client_of: Callable[..., Client]
) -> None:
    row, secret = made(acme.owner)
    client = client_of(host=PLATFORM, headers={"Authorization": f"Bearer {secret}"})

    def use() -> tuple[datetime | None, int]:
        with CaptureQueriesContext(connection) as captured:
            assert client.post("/graphql", ME, content_type="application/json").status_code == 200
        written = sum("UPDATE api_tokens" in query["sql"] for query in captured)
        with acting_as(acme.owner):
            return ApiToken.objects.get(pk=row.pk).last_used_at, written

    first, written = use()
    assert first is not None
    assert written == 1
    assert use() == (first, 0)
    with acting_as(acme.owner):
        old = datetime.now(UTC) - timedelta(minutes=2)
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=old)
    again, written = use()
    assert again is not None
    assert again > old + timedelta(minutes=1)
    assert written == 1


def test_what_is_kept_opens_nothing(acme: Inhabited) -> None:
    row, secret = made(acme.owner)
    with acting_as(acme.owner):
        [stored] = ApiToken.objects.filter(pk=row.pk).values()
        entry = AuditEntry.objects.get(action="token.created", subject_id=str(row.pk))
    for kept in (stored, entry.__dict__):
        assert secret.rpartition("_")[2] not in str(kept)
        assert secret[15:] not in str(kept)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": " "}, "name"),
        ({"permissions": []}, "permissions"),
        ({"permissions": ["assets.*"]}, "permissions"),
        ({"permissions": ["assets.fly"]}, "permissions"),
        ({"expires_at": datetime.now(UTC) - timedelta(days=1)}, "expires_at"),
        ({"expires_at": datetime.now(UTC) + timedelta(days=367)}, "expires_at"),
    ],
)
def test_bad_values_are_refused(acme: Inhabited, values: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        made(acme.owner, **values)
    assert [error.field for error in caught.value.errors] == [(field,)]
    with acting_as(acme.owner):
        assert not ApiToken.objects.filter(name="robot").exists()


def test_who_makes_one(acme: Inhabited) -> None:
    with pytest.raises(PermissionDenied):
        made(acme.viewer, ["assets.edit"])
    with pytest.raises(PermissionDenied):
        made(operator(acme.tenant.pk))
    row, _ = made(acme.owner)
    with pytest.raises(PermissionDenied):
        made(row_actor(row))
    made(acme.viewer, ["assets.view"])


def test_there_is_an_end_to_how_many(acme: Inhabited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenancy.tokens.MOST_TOKENS", 3)
    row, _ = made(acme.viewer)
    made(acme.viewer)
    with pytest.raises(Conflict):
        made(acme.viewer)
    with acting_as(acme.viewer):
        revoke_token(actor=acme.viewer, token=row.pk)
    made(acme.viewer)


def test_who_renames_and_revokes(acme: Inhabited, globex: Inhabited, ask: Any) -> None:
    row, secret = made(acme.manager)
    for other in (acme.viewer, acme.operator, globex.owner):
        with pytest.raises(NotFound), acting_as(other):
            revoke_token(actor=other, token=row.pk)
        with pytest.raises(NotFound), acting_as(other):
            rename_token(actor=other, token=row.pk, name="taken")
    with pytest.raises(NotFound), acting_as(acme.owner):
        rename_token(actor=acme.owner, token=row.pk, name="taken")
    with acting_as(acme.manager):
        assert rename_token(actor=acme.manager, token=row.pk, name="kept").name == "kept"
    assert ask(secret) == (200, VIEW)
    with acting_as(acme.admin):
        first = revoke_token(actor=acme.admin, token=row.pk).revoked_at
        assert revoke_token(actor=acme.admin, token=row.pk).revoked_at == first
    assert ask(secret) == (401, "UNAUTHENTICATED")
    with acting_as(acme.owner):
        log = AuditEntry.objects.filter(subject_id=str(row.pk)).order_by("at", "id")
        assert list(log.values_list("action", flat=True)) == [
            "token.created",
            "token.renamed",
            "token.revoked",
        ]
