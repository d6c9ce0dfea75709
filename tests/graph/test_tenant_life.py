"""A tenant's domain and its end, through GraphQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rls import acting_as
from tenancy import domains
from tenancy.models import Tenant
from tests import dns as fake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import Settings

    from tests.conftest import Graph
    from tests.world import Inhabited

CHALLENGE = "domainChallenge { domain recordName recordValue isVerified }"
SHOWN = f"tenant {{ domain deletesAt {CHALLENGE} }} errors {{ field message code }}"
SCREENS = "screens.acme-company.com"


@pytest.fixture(autouse=True)
def _servers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.DOMAIN_RESOLVER = "tests.dns.FakeResolver"
    monkeypatch.setattr(domains.checks_per_tenant, "_local", {})
    yield
    fake.RECORDS.clear()


def mutation(name: str, shown: str = SHOWN) -> str:
    kind = name[0].upper() + name[1:] + "Input"
    return f"mutation($input: {kind}!) {{ done: {name}(input: $input) {{ {shown} }} }}"


def row(place: Inhabited) -> dict[str, Any]:
    with acting_as(place.owner):
        return dict(Tenant.objects.values().get(pk=place.tenant.pk))


def test_a_domain_is_wanted_proved_and_given_up(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    graph = gql("acme-admin")
    wanted = {"domain": SCREENS}
    done = graph.data(mutation("requestTenantDomain"), input=wanted)["done"]
    challenge = done["tenant"]["domainChallenge"]
    value = challenge.pop("recordValue")
    assert challenge == {
        "domain": SCREENS,
        "recordName": f"_signate-challenge.{SCREENS}",
        "isVerified": False,
    }
    assert (done["tenant"]["domain"], done["errors"]) == (None, [])
    refused = graph.data(mutation("verifyTenantDomain"), input=wanted)["done"]
    assert refused["tenant"] is None
    assert [(error["code"], error["field"]) for error in refused["errors"]] == [
        ("INVALID", ["domain"])
    ]
    fake.RECORDS[challenge["recordName"]] = [value]
    done = graph.data(mutation("verifyTenantDomain"), input=wanted)["done"]
    assert (done["tenant"]["domain"], done["errors"]) == (SCREENS, [])
    assert done["tenant"]["domainChallenge"]["isVerified"] is True
    assert gql("acme-viewer", host=SCREENS).data("{ tenant { slug } }")["tenant"]["slug"] == "acme"
    done = graph.data(mutation("removeTenantDomain"), input=wanted)["done"]
    assert done["tenant"] == {"domain": None, "deletesAt": None, "domainChallenge": None}
    assert row(acme)["domain"] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("requestTenantDomain", {"domain": SCREENS}),
        ("verifyTenantDomain", {"domain": SCREENS}),
        ("removeTenantDomain", {"domain": SCREENS}),
        ("requestTenantDeletion", {"slug": "acme"}),
        ("cancelTenantDeletion", {"slug": "acme"}),
    ],
)
@pytest.mark.parametrize("role", ["manager", "operator", "viewer"])
def test_others_are_refused(
    acme: Inhabited, gql: Callable[..., Graph], name: str, value: Any, role: str
) -> None:
    before = row(acme)
    shown = "tenant { domain } errors { code }"
    done = gql(f"acme-{role}").data(mutation(name, shown), input=value)["done"]
    assert done == {"tenant": None, "errors": [{"code": "FORBIDDEN"}]}
    assert row(acme) == before
    assert "errors" in gql(f"acme-{role}")(f"{{ tenant {{ {CHALLENGE} }} }}")


def test_the_end_is_asked_for_by_an_owner_who_names_the_tenant(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    shown = "tenant { deletesAt } errors { field code }"
    ask, cancel = mutation("requestTenantDeletion", shown), mutation("cancelTenantDeletion", shown)
    owner = gql()
    for graph, slug, error in (
        (gql("acme-admin"), "acme", {"field": None, "code": "FORBIDDEN"}),
        (owner, "globex", {"field": ["slug"], "code": "INVALID"}),
    ):
        assert graph.data(ask, input={"slug": slug})["done"] == {"tenant": None, "errors": [error]}
    assert row(acme)["deletes_at"] is None
    done = owner.data(ask, input={"slug": "acme"})["done"]
    assert done["errors"] == []
    assert done["tenant"]["deletesAt"].endswith("Z")
    shown_to_all = gql("acme-viewer").data("{ tenant { deletesAt } }")["tenant"]
    assert shown_to_all == done["tenant"]
    done = owner.data(cancel, input={"slug": "acme"})["done"]
    assert done == {"tenant": {"deletesAt": None}, "errors": []}


CREATE = 'mutation { createTenant(input: {name: "One more", slug: "one-more-%d"}) { tenant { slug } errors { code } } }'


def test_one_person_owns_so_many(
    gql: Callable[..., Graph], settings: Settings, acme: Inhabited
) -> None:
    del acme
    settings.TENANTS_PER_PERSON = 2
    graph = gql()
    codes = [graph.data(CREATE % number)["createTenant"]["errors"] for number in range(2)]
    # The one they own already counts.
    assert codes == [[], [{"code": "QUOTA_EXCEEDED"}]]
    assert gql("outsider").data(CREATE % 5)["createTenant"]["errors"] == []


def test_only_operators_make_tenants_where_that_is_so(
    gql: Callable[..., Graph], settings: Settings
) -> None:
    settings.TENANT_CREATION = "operators"
    done = gql().data(CREATE % 1)["createTenant"]
    assert done == {"tenant": None, "errors": [{"code": "FORBIDDEN"}]}
