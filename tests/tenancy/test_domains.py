"""Domains of tenants' own: proved before they open anything, and kept while they are proved."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.resolver
import pytest
from django.utils import timezone

from rls import acting_as
from tenancy import domains
from tenancy.actors import worker
from tenancy.dns import Resolver, Unanswered
from tenancy.domains import (
    challenge_of,
    recheck_domain,
    remove_domain,
    request_domain,
    verify_domain,
)
from tenancy.errors import Conflict, InvalidInput, PermissionDenied, RateLimited
from tenancy.models import AuditEntry, Tenant
from tests import dns as fake
from tests.tenancy.conftest import nothing_changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import Client
    from pytest_django import Settings

    from tests.world import Inhabited, World

SCREENS = "screens.acme-company.com"


@pytest.fixture(autouse=True)
def _servers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.DOMAIN_RESOLVER = "tests.dns.FakeResolver"
    monkeypatch.setattr(domains.checks_per_tenant, "_local", {})
    yield
    for kept in (fake.RECORDS, fake.SILENT, fake.ASKED):
        kept.clear()


def tenant_of(place: Inhabited) -> Tenant:
    with acting_as(place.owner):
        return Tenant.objects.get(pk=place.tenant.pk)


def want(place: Inhabited, domain: str = SCREENS) -> Tenant:
    with acting_as(place.owner):
        return request_domain(actor=place.owner, domain=domain)


def verify(place: Inhabited, domain: str = SCREENS) -> Tenant:
    with acting_as(place.owner):
        return verify_domain(actor=place.owner, domain=domain)


def prove(place: Inhabited) -> None:
    challenge = challenge_of(tenant_of(place))
    assert challenge is not None
    fake.RECORDS.setdefault(challenge.name, []).append(challenge.value)


def have(place: Inhabited, domain: str = SCREENS) -> None:
    want(place, domain)
    prove(place)
    verify(place, domain)


def status(client_of: Callable[..., Client], host: str, who: str = "acme-owner") -> int:
    return client_of(who, host=host).get("/who").status_code


@pytest.mark.urls("tests.tenancy.face")
def test_a_domain_opens_once_its_record_is_there(
    acme: Inhabited, client_of: Callable[..., Client]
) -> None:
    tenant = want(acme, f" {SCREENS.upper()}. ")
    assert (tenant.requested_domain, tenant.domain) == (SCREENS, None)
    assert status(client_of, SCREENS) == 403
    for records in ([], ["signate=", "v=spf1 -all"], [f"signate={'x' * 32}"]):
        fake.RECORDS[f"_signate-challenge.{SCREENS}"] = records
        with pytest.raises(InvalidInput, match="no TXT record _signate-challenge"):
            verify(acme)
        assert status(client_of, SCREENS) == 403
    prove(acme)
    tenant = verify(acme)
    assert (tenant.domain, tenant.requested_domain) == (SCREENS, "")
    assert tenant.domain_verified_at is not None
    assert [status(client_of, host) for host in (SCREENS, f"{SCREENS.upper()}.:8080")] == [200, 200]
    # To members of this tenant only.
    assert status(client_of, SCREENS, "globex-owner") == 403
    # Wanting another one takes nothing away.
    want(acme, "other.acme-company.com")
    assert status(client_of, SCREENS) == 200
    assert status(client_of, "other.acme-company.com") == 403
    with acting_as(acme.owner):
        remove_domain(actor=acme.owner, domain=SCREENS)
    assert status(client_of, SCREENS) == 403
    assert tenant_of(acme).requested_domain == "other.acme-company.com"


@pytest.mark.parametrize(
    "domain",
    [
        *(
            "",
            "com",
            "-a.com",
            "a..com",
            "a.com/x",
            "a.com:80",
            "https://a.com",
            "127.0.0.1",
            "[::1]",
        ),
        *("a b.com", "\u212aim.com", "x" * 64 + ".com", ".".join(["abc"] * 80) + ".com"),
        *("signage.test", "acme.signage.test", "www.signage.test", "signage.test.evil.com"),
        *("a.signage.test.com", "box.local", "router.lan", "x.onion", "1.0.0.127.in-addr.arpa"),
        *("localhost", "a.localhost", "screens.acme.example", "a.internal"),
    ],
)
def test_what_nobody_can_have_is_refused(acme: Inhabited, world: World, domain: str) -> None:
    with nothing_changed(world), pytest.raises(InvalidInput) as refused:
        want(acme, domain)
    assert refused.value.field == ("domain",)


@pytest.mark.parametrize(
    "domain",
    [
        *("s1gnage.app", "slgnage.app", "signage-.app.com", "SIGNAGE.APP", "sign-age.app"),
        *("x.signage.app", "signage.app.phish.com", "\u0455ign\u0430ge.app"),
        *("s\u0456gnage.app", "s\u00ed\u0261nage.app", "\u017fignage.app", "signage.\u0430pp"),
    ],
)
def test_what_looks_like_the_platform_is_refused(
    acme: Inhabited, world: World, settings: Settings, domain: str
) -> None:
    settings.PLATFORM_DOMAIN = "signage.app"
    ascii_ = ".".join(
        one if one.isascii() else f"xn--{one.encode('punycode').decode()}"
        for one in domain.split(".")
    )
    with nothing_changed(world), pytest.raises(InvalidInput):
        want(acme, ascii_)
    assert want(acme, "signage-acme.com").requested_domain == "signage-acme.com"
    assert want(acme, "xn--mnchen-3ya.de").requested_domain == "xn--mnchen-3ya.de"


def test_wanting_keeps_nobody_away_and_who_has_verified_first_has_it(
    acme: Inhabited, globex: Inhabited, world: World
) -> None:
    want(globex)
    have(acme)
    # Who has it is not told to whoever only wants it.
    with pytest.raises(InvalidInput, match="no TXT record"):
        verify(globex)
    prove(globex)
    with nothing_changed(world), pytest.raises(Conflict, match="Another tenant has this domain"):
        verify(globex)
    with acting_as(acme.owner):
        remove_domain(actor=acme.owner, domain=SCREENS)
    assert verify(globex).domain == SCREENS


def test_tokens_are_each_tenants_own_and_stay(acme: Inhabited, globex: Inhabited) -> None:
    mine, others = want(acme).domain_token, want(globex).domain_token
    assert len(mine) == 32
    assert mine != others
    fake.RECORDS[f"_signate-challenge.{SCREENS}"] = [f"signate={others}"]
    with pytest.raises(InvalidInput):
        verify(acme)
    assert want(acme, "other.acme-company.com").domain_token == mine


def test_who_may_do_it(acme: Inhabited, world: World) -> None:
    want(acme)
    with nothing_changed(world):
        for actor in (acme.manager, acme.operator, acme.viewer):
            for call in (request_domain, verify_domain, remove_domain):
                with acting_as(actor), pytest.raises(PermissionDenied, match=r"tenant\.edit"):
                    call(actor=actor, domain=SCREENS)
    assert fake.ASKED == []


def test_what_was_not_asked_for_is_not_verified(acme: Inhabited, world: World) -> None:
    with nothing_changed(world):
        for domain in (SCREENS, ""):
            with pytest.raises(InvalidInput, match="Request this domain first"):
                verify(acme, domain)
            with acting_as(acme.owner), pytest.raises(InvalidInput, match="no such domain"):
                remove_domain(actor=acme.owner, domain=domain)
    have(acme)
    with pytest.raises(Conflict, match="already"):
        want(acme)
    with pytest.raises(InvalidInput, match="Request this domain first"):
        verify(acme)


def test_silent_servers_and_too_many_questions(
    acme: Inhabited, globex: Inhabited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domains.checks_per_tenant, "limit", 2)
    want(acme)
    fake.SILENT.add(f"_signate-challenge.{SCREENS}")
    for _ in range(2):
        with pytest.raises(Conflict, match="do not answer"):
            verify(acme)
    with pytest.raises(RateLimited):
        verify(acme)
    assert len(fake.ASKED) == 2
    want(globex, "globex-company.com")
    with pytest.raises(InvalidInput):
        verify(globex, "globex-company.com")


def test_a_domain_whose_record_is_gone_for_a_week_is_given_up(acme: Inhabited) -> None:
    have(acme)
    actor = worker(acme.tenant.pk)
    name = f"_signate-challenge.{SCREENS}"
    proof = fake.RECORDS.pop(name)
    recheck_domain(actor=actor)
    failing = tenant_of(acme).domain_failing_since
    assert failing is not None
    # It comes back, and all is well.
    fake.RECORDS[name] = proof
    recheck_domain(actor=actor)
    assert tenant_of(acme).domain_failing_since is None
    del fake.RECORDS[name]

    def age(days: float) -> None:
        with acting_as(acme.owner):
            since = timezone.now() - timedelta(days=days)
            Tenant.objects.filter(pk=acme.tenant.pk).update(domain_failing_since=since)

    age(6.9)
    recheck_domain(actor=actor)
    assert tenant_of(acme).domain == SCREENS
    age(7.1)
    # That nobody answers says nothing.
    fake.SILENT.add(name)
    recheck_domain(actor=actor)
    assert tenant_of(acme).domain == SCREENS
    fake.SILENT.clear()
    recheck_domain(actor=actor)
    tenant = tenant_of(acme)
    assert (tenant.domain, tenant.domain_verified_at) == (None, None)
    assert tenant.requested_domain == SCREENS
    with acting_as(acme.owner):
        told = AuditEntry.objects.filter(action__startswith="tenant.domain").order_by("at", "id")
        assert [entry.action for entry in told] == [
            "tenant.domain_requested",
            "tenant.domain_verified",
            "tenant.domain_lost",
        ]
        assert told[2].actor_kind == "worker"
    asked = len(fake.ASKED)
    recheck_domain(actor=actor)
    assert len(fake.ASKED) == asked


class Record:
    def __init__(self, *strings: bytes) -> None:
        self.strings = strings


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ([Record(b"signate=", b"abc"), Record(b"\xff")], ["signate=abc", "\ufffd"]),
        (dns.resolver.NXDOMAIN(), []),
        (dns.resolver.NoNameservers(), None),
        (dns.exception.Timeout(), None),
        (OSError("no network"), None),
    ],
)
def test_the_machines_own_name_servers(
    monkeypatch: pytest.MonkeyPatch, answer: Any, texts: list[str] | None
) -> None:
    asked: list[Any] = []

    def resolve(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(dns.resolver, "resolve", resolve)
    if texts is None:
        with pytest.raises(Unanswered):
            Resolver().texts("_x.example.com")
    else:
        assert Resolver().texts("_x.example.com") == texts
    [(args, options)] = asked
    assert args == ("_x.example.com", "TXT")
    assert options["lifetime"] == 3.0
