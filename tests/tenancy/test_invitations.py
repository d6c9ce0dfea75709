"""Invitations: for one address, used once, ended in time, and never more than one may give."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.core import mail
from django.db import connection
from django.utils import timezone

from rls import acting_as
from tenancy import invitations
from tenancy.actors import ANONYMOUS, Actor, ActorKind, operator, person, worker
from tenancy.errors import (
    Conflict,
    DomainError,
    InvalidInput,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
)
from tenancy.invitations import (
    accept_invitation,
    decline_invitation,
    find_invitation,
    invite_member,
    resend_invitation,
    revoke_invitation,
    send_invitation,
    token_of,
)
from tenancy.logs import logged_path
from tenancy.members import add_member, deactivate_membership
from tenancy.models import AuditEntry, Invitation, Membership, Tenant, User
from tenancy.people import create_user
from tenancy.permissions import Role
from tenancy.tenants import update_settings
from tests.jobs import queued
from tests.tenancy.conftest import id_of, nothing_changed
from tests.world import PASSWORD, actor_in, create_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from pytest_django import DjangoDbBlocker, Settings

    from tests.world import Inhabited, World

RANKS = list(Role)
ADDRESS = "ada@new.example"
# Before the transaction that the test runs in.
LONG_AGO = timezone.now() - timedelta(minutes=1)
OVER = "This invitation is over, or there is none: ask for a new one."


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations.per_tenant, "_local", {})


def invite(
    place: Inhabited, email: str = ADDRESS, role: Role = Role.VIEWER, **also: Any
) -> Invitation:
    with acting_as(place.owner):
        return invite_member(actor=place.owner, email=email, role=role, **also)


def newcomer(email: str = ADDRESS, name: str = "ada") -> UUID:
    return create_user(name, PASSWORD, email=email).pk


def accept(token: str, user_id: UUID) -> Membership:
    return accept_invitation(actor=person(user_id), token=token)


def decline(token: str) -> invitations.Offer:
    return decline_invitation(actor=ANONYMOUS, token=token)


def stored(place: Inhabited, row: Invitation) -> Invitation:
    with acting_as(place.owner):
        return Invitation.objects.get(pk=row.pk)


def deliver(place: Inhabited) -> list[str]:
    """Run the jobs that wait, and return the mails' texts."""
    actor = worker(place.tenant.pk)
    for name, arguments in queued(actor):
        assert name == "tenancy.mail_invitation"
        send_invitation(actor=actor, invitation=arguments["invitation"], serial=arguments["serial"])
    return [str(message.body) for message in mail.outbox]


# --- inviting -----------------------------------------------------------------------------------


def test_an_invitation_is_mailed_and_its_token_kept_nowhere(
    acme: Inhabited, settings: Settings
) -> None:
    settings.SITE_SCHEME, settings.SITE_PORT = "https", ""
    row = invite(acme, " Ada@New.Example ", Role.OPERATOR, permissions=["assets.edit"])
    left = row.expires_at - timezone.now()
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    assert (row.email, row.role, row.permissions) == (ADDRESS, "operator", ["assets.edit"])
    # The job that mails it names the invitation, and no secret.
    assert queued(worker(acme.tenant.pk)) == [
        ("tenancy.mail_invitation", {"invitation": str(row.pk), "serial": 1})
    ]
    [text] = deliver(acme)
    [message] = mail.outbox
    assert (message.to, message.subject) == ([ADDRESS], "Invitation to Acme ACME-MARK")
    assert "acme-owner invites you to join Acme ACME-MARK as operator." in text
    [token] = re.findall(r"https://signage\.test/invitations/(\S+)\n", text)
    assert token == token_of(row)
    kept = stored(acme, row)
    assert kept.sent_at is not None
    assert token[4:] not in str(Invitation.objects.filter(pk=row.pk).values())
    assert logged_path(f"/invitations/{token}") == "/invitations/-"
    # A job that runs twice mails once.
    assert len(deliver(acme)) == 1


@pytest.mark.parametrize("role", Role)
def test_nobody_invites_to_more_than_they_may_give(
    acme: Inhabited, world: World, role: Role
) -> None:
    actor = acme.actors[role.value]
    for wanted in Role:
        allowed = actor.can("users.invite") and RANKS.index(wanted) >= RANKS.index(role)
        if allowed:
            with acting_as(actor):
                invite_member(actor=actor, email=f"{wanted}@new.example", role=wanted)
        else:
            with nothing_changed(world), acting_as(actor), pytest.raises(PermissionDenied):
                invite_member(actor=actor, email=f"{wanted}@new.example", role=wanted)
    with acting_as(acme.owner):
        made = Invitation.objects.filter(invited_by_id=actor.user_id, email__endswith="new.example")
        assert made.count() == (len(RANKS) - RANKS.index(role) if actor.can("users.invite") else 0)
    with acting_as(acme.admin), pytest.raises(PermissionDenied):
        invite_member(actor=acme.admin, email="x@x.example", role=Role.VIEWER, permissions=["*"])


@pytest.mark.parametrize(
    "email",
    ["", "ada", "ada@", "@x.example", "a@b", "a b@x.example", "a@x.example,b@x.example",
     "a@x.example\nBcc: b@x.example", "\u212aim@x.example", "ad\u00e4@x.example", "\ud800@x.example",
     "a\x00@x.example", "a" * 250 + "@x.example"],
)  # fmt: skip
def test_what_is_no_address_is_refused(acme: Inhabited, email: str) -> None:
    with acting_as(acme.owner), pytest.raises(InvalidInput) as refused:
        invite_member(actor=acme.owner, email=email, role=Role.VIEWER)
    assert refused.value.field == ("email",)
    assert queued(worker(acme.tenant.pk)) == []


def test_an_address_is_invited_once_at_a_time_and_no_member(
    acme: Inhabited, globex: Inhabited
) -> None:
    row = invite(acme)
    for email in (ADDRESS, ADDRESS.upper()):
        with pytest.raises(Conflict, match="invited already"):
            invite(acme, email)
    with pytest.raises(Conflict, match="member already"):
        invite(acme, "Viewer@ACME.example")
    with acting_as(acme.owner):
        deactivate_membership(actor=acme.owner, membership=acme.viewer.membership_id)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="member already"):
        invite(acme, "viewer@acme.example")
    # Another tenant invites whom it likes, and hears nothing of this one.
    invite(globex)
    invite(globex, "viewer@acme.example")
    # One that has run out makes way.
    with acting_as(acme.owner):
        Invitation.objects.filter(pk=row.pk).update(expires_at=LONG_AGO)
    invite(acme)
    assert stored(acme, row).state == "revoked"


def test_a_tenant_sends_so_many_an_hour(
    acme: Inhabited, globex: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations.per_tenant, "limit", 2)
    row = invite(acme)
    invite(acme, "b@new.example")
    with acting_as(acme.owner):
        with pytest.raises(RateLimited, match="Too many invitations"):
            invite_member(actor=acme.owner, email="c@new.example", role=Role.VIEWER)
        with pytest.raises(RateLimited, match="Too many invitations"):
            resend_invitation(actor=acme.owner, invitation=row.pk)
    invite(globex)


# --- answering ----------------------------------------------------------------------------------


def test_whoever_is_invited_joins_as_what_they_were_invited_to(acme: Inhabited) -> None:
    row = invite(acme, role=Role.OPERATOR, permissions=["assets.edit"])
    token = token_of(row)
    offer = find_invitation(token)
    assert offer is not None
    assert (offer.tenant_name, offer.inviter, offer.email) == (
        "Acme ACME-MARK",
        "acme-owner",
        ADDRESS,
    )
    assert (offer.role, offer.permissions, offer.expires_at) == (
        Role.OPERATOR,
        ("assets.edit",),
        row.expires_at,
    )
    ada = newcomer("Ada@New.Example")
    membership = accept(token, ada)
    joined = actor_in(acme.tenant, person(ada))
    assert (joined.membership_id, joined.role, joined.can("assets.edit")) == (
        membership.pk,
        Role.OPERATOR,
        True,
    )
    kept = stored(acme, row)
    assert kept.state == "accepted"
    assert kept.ended_at is not None
    assert find_invitation(token) is None
    with pytest.raises(NotFound, match=OVER):
        accept(token, ada)


def test_an_invitation_is_for_its_address_only(acme: Inhabited, world: World) -> None:
    token = token_of(invite(acme))
    others = [
        newcomer(email, f"other-{number}")
        for number, email in enumerate(["", "ada@other.example", "ada@new.example.evil.example"])
    ]
    with nothing_changed(world):
        for user_id in (*others, id_of(world.outsider), uuid4()):
            with pytest.raises(PermissionDenied, match="another e-mail address"):
                accept(token, user_id)
    assert accept(token, newcomer()).role == "viewer"


def test_a_deactivated_person_joins_nothing(acme: Inhabited) -> None:
    token = token_of(invite(acme))
    ada = newcomer()
    with acting_as(person(ada)):
        User.objects.filter(pk=ada).update(is_active=False)
    with pytest.raises(PermissionDenied):
        accept(token, ada)


def _expire(place: Inhabited, row: Invitation) -> None:
    with acting_as(place.owner):
        Invitation.objects.filter(pk=row.pk).update(expires_at=LONG_AGO)


def _revoke(place: Inhabited, row: Invitation) -> None:
    with acting_as(place.owner):
        revoke_invitation(actor=place.owner, invitation=row.pk)


def _resend(place: Inhabited, row: Invitation) -> None:
    with acting_as(place.owner):
        resend_invitation(actor=place.owner, invitation=row.pk)


def _suspend(place: Inhabited, row: Invitation) -> None:
    del row
    with acting_as(place.owner):
        Tenant.objects.filter(pk=place.tenant.pk).update(is_active=False)


@pytest.mark.parametrize(
    "end",
    [
        _expire,
        _revoke,
        _resend,
        _suspend,
        lambda _, row: decline(token_of(row)),
        lambda _, row: accept(token_of(row), newcomer(name="first")),
    ],
)
def test_what_is_over_opens_nothing_whatever_the_reason(
    acme: Inhabited, world: World, end: Callable[[Inhabited, Invitation], object]
) -> None:
    row = invite(acme)
    token = token_of(row)
    end(acme, row)
    ada = newcomer()
    with nothing_changed(world):
        for wrong in (token, token[:-1] + "A", "sgi_" + "x" * 43, "", "x" * 10_000, "\x00"):
            assert find_invitation(wrong) is None
            for call in (
                lambda wrong=wrong: accept(wrong, ada),
                lambda wrong=wrong: decline(wrong),
            ):
                with pytest.raises(NotFound) as refused:
                    call()
                assert refused.value.message == OVER


def test_a_resent_invitation_begins_anew(acme: Inhabited) -> None:
    row = invite(acme)
    _expire(acme, row)
    _resend(acme, row)
    kept = stored(acme, row)
    assert kept.expires_at > timezone.now() + timedelta(days=6)
    assert kept.sent_at is None
    # Of the two jobs the older one finds nothing to do.
    [text] = deliver(acme)
    assert token_of(kept) in text
    assert token_of(row) not in text
    assert accept(token_of(kept), newcomer()).role == "viewer"
    with acting_as(acme.owner):
        for call in (resend_invitation, revoke_invitation):
            with pytest.raises(Conflict, match="accepted already"):
                call(actor=acme.owner, invitation=row.pk)


def test_a_mail_is_not_sent_of_what_has_ended(acme: Inhabited) -> None:
    _revoke(acme, invite(acme))
    assert deliver(acme) == []


def test_under_another_key_a_link_is_not_made_up(acme: Inhabited, settings: Settings) -> None:
    row = invite(acme)
    token = token_of(row)
    settings.SECRET_KEY = "another"
    assert deliver(acme) == []
    # What was mailed before still opens.
    assert accept(token, newcomer()).role == "viewer"


def test_declining_ends_it(acme: Inhabited, world: World) -> None:
    row = invite(acme)
    with nothing_changed(world):
        assert decline(token_of(row)).email == ADDRESS
    assert stored(acme, row).state == "declined"


def test_allowed_domains_hold_at_both_ends(acme: Inhabited, world: World) -> None:
    token = token_of(invite(acme))
    ada = newcomer()
    with acting_as(acme.owner):
        update_settings(actor=acme.owner, changes={"allowed_domains": ["acme.example"]})
    for email in (ADDRESS, "a@sub.acme.example", "a@acme.example.evil.example"):
        with pytest.raises(InvalidInput, match="does not admit") as refused:
            invite(acme, email)
        assert refused.value.field == ("email",)
    with nothing_changed(world), pytest.raises(PermissionDenied, match="does not admit"):
        accept(token, ada)
    invite(acme, "new@ACME.example")
    with acting_as(acme.owner):
        update_settings(actor=acme.owner, changes={"allowed_domains": []})
    assert accept(token, ada).role == "viewer"


def test_pending_ones_do_not_count_and_accepting_is_held_to_the_limit(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        Tenant.objects.filter(pk=acme.tenant.pk).update(max_users=7)
    rows = [invite(acme, f"{name}@new.example") for name in "abc"]
    tokens = [token_of(row) for row in rows]
    accept(tokens[0], newcomer("a@new.example", "a"))
    with pytest.raises(QuotaExceeded):
        accept(tokens[1], newcomer("b@new.example", "b"))
    assert stored(acme, rows[1]).state == "pending"


def test_a_member_has_nothing_to_accept(acme: Inhabited, world: World) -> None:
    ada = newcomer()
    token = token_of(invite(acme))
    with acting_as(operator(acme.tenant.pk)) as actor:
        add_member(actor=actor, user_id=ada, role=Role.VIEWER)
    with nothing_changed(world), pytest.raises(Conflict, match="already a member"):
        accept(token, ada)


def test_it_is_accepted_inside_another_tenants_door(acme: Inhabited, globex: Inhabited) -> None:
    """On the platform's host a person is in their only tenant when they answer."""
    token = token_of(invite(acme, "viewer@globex.example"))
    with acting_as(globex.viewer):
        accept(token, id_of(globex.viewer))
        assert {row.tenant_id for row in Membership.objects.all()} == {globex.tenant.pk}
    assert actor_in(acme.tenant, globex.viewer).role is Role.VIEWER


def test_one_use_is_one_use_however_many_try_at_once(
    scratch_database: str, django_db_blocker: DjangoDbBlocker
) -> None:
    del scratch_database
    with django_db_blocker.unblock():
        acme = create_world().acme
        token = token_of(invite(acme))
        people = [newcomer(name=f"ada-{number}") for number in range(4)]
        barrier = threading.Barrier(len(people))
        results: list[str] = []

        def race(user_id: UUID) -> None:
            try:
                barrier.wait(10)
                accept(token, user_id)
                results.append("joined")
            except DomainError as error:
                results.append(error.message)
            finally:
                connection.close()

        threads = [threading.Thread(target=race, args=[user_id]) for user_id in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(results) == [OVER] * 3 + ["joined"]
        with acting_as(operator(acme.tenant.pk)):
            assert Membership.objects.filter(user_id__in=people).count() == 1


def test_the_log_says_who_invited_and_who_answered(acme: Inhabited) -> None:
    row = invite(acme)
    _resend(acme, row)
    ada = newcomer()
    membership = accept(token_of(stored(acme, row)), ada)
    other = invite(acme, "b@new.example")
    decline(token_of(other))
    _revoke(acme, invite(acme, "c@new.example"))
    with acting_as(acme.owner):
        told = [
            (entry.action, entry.label, entry.actor_kind, entry.user_id)
            for entry in AuditEntry.objects.filter(
                action__regex="^(invitation|membership)"
            ).order_by("-at", "-id")[:8]
        ]
        joined = AuditEntry.objects.get(subject_id=str(membership.pk))
    owner = acme.owner.user_id
    assert told[::-1] == [
        ("invitation.made", ADDRESS, "member", owner),
        ("invitation.resent", ADDRESS, "member", owner),
        ("membership.added", "ada", "member", ada),
        ("invitation.accepted", ADDRESS, "member", ada),
        ("invitation.made", "b@new.example", "member", owner),
        ("invitation.declined", "b@new.example", "link", None),
        ("invitation.made", "c@new.example", "member", owner),
        ("invitation.revoked", "c@new.example", "member", owner),
    ]
    assert joined.after == {"user": str(ada), "role": "viewer", "permissions": []}


# --- taking back --------------------------------------------------------------------------------


def test_who_may_take_back_and_resend(acme: Inhabited, globex: Inhabited) -> None:
    owners = invite(acme, role=Role.OWNER)
    for actor in (acme.admin, acme.viewer):
        for call in (resend_invitation, revoke_invitation):
            with acting_as(actor), pytest.raises(PermissionDenied):
                call(actor=actor, invitation=owners.pk)
    foreign = invite(globex)
    for call in (resend_invitation, revoke_invitation):
        told = set()
        for key in (uuid4(), foreign.pk):
            with acting_as(acme.owner), pytest.raises(NotFound) as refused:
                call(actor=acme.owner, invitation=key)
            told.add(refused.value.message)
        assert told == {"There is no invitation with this id."}
    assert stored(globex, foreign).serial == 1
    _revoke(acme, owners)
    _revoke(acme, owners)
    assert stored(acme, owners).state == "revoked"
    with acting_as(acme.owner), pytest.raises(Conflict, match="revoked already"):
        resend_invitation(actor=acme.owner, invitation=owners.pk)


def test_a_token_gives_a_role_only_when_it_holds_all_of_it(acme: Inhabited) -> None:
    from tenancy.permissions import granted

    token = Actor(
        ActorKind.CAPABILITY,
        acme.tenant.pk,
        None,
        granted(Role.VIEWER, ["users.invite", "devices.view"]),
    )
    with acting_as(token):
        invite_member(actor=token, email=ADDRESS, role=Role.VIEWER, permissions=["devices.view"])
        for role, extra in ((Role.OPERATOR, []), (Role.ADMIN, []), (Role.VIEWER, ["users.edit"])):
            with pytest.raises(PermissionDenied):
                invite_member(actor=token, email="b@new.example", role=role, permissions=extra)
