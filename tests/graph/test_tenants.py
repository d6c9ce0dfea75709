"""The tenant entered, the tenants one may enter, and the mutations on both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings

from rls import acting_as
from tenancy.models import Tenant, TenantSettings
from tests.conftest import PLATFORM
from tests.graph.conftest import statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Graph
    from tests.world import Inhabited, World

CREATE = """
mutation($input: CreateTenantInput!) {
  createTenant(input: $input) {
    tenant { name slug url subscriptionTier maxDevices maxUsers storageQuotaGb maxAssets features }
    errors { field code }
  }
}
"""
UPDATE = """
mutation($input: UpdateTenantInput!) {
  updateTenant(input: $input) { tenant { name slug url } errors { field code message } }
}
"""
SETTINGS = (
    "defaultAssetDuration timezone logoUrl primaryColor secondaryColor emailNotifications "
    "webhookUrl require2fa allowedDomains integrations"
)
UPDATE_SETTINGS = f"""
mutation($input: UpdateTenantSettingsInput!) {{
  updateTenantSettings(input: $input) {{ settings {{ {SETTINGS} }} errors {{ field code }} }}
}}
"""
DEFAULTS = {
    "defaultAssetDuration": 10,
    "timezone": "UTC",
    "logoUrl": "https://acme.example/ACME-MARK.png",
    "primaryColor": "#007bff",
    "secondaryColor": "#6c757d",
    "emailNotifications": True,
    "webhookUrl": "",
    "require2fa": False,
    "allowedDomains": [],
    "integrations": {},
}


def stored(place: Inhabited) -> tuple[dict[str, Any], dict[str, Any]]:
    with acting_as(place.owner):
        tenant = Tenant.objects.filter(pk=place.tenant.pk).values().get()
        return dict(tenant), dict(TenantSettings.objects.values().get())


# --- reads ----------------------------------------------------------------------------------------


def test_the_tenant_entered(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    data = gql("acme-viewer").data(
        "{ tenant { uuid name slug domain url isActive createdAt updatedAt subscriptionTier "
        "maxDevices maxUsers storageQuotaGb maxAssets features assets { totalCount } } }"
    )["tenant"]
    assert data.pop("createdAt").endswith("Z")
    assert data.pop("updatedAt").endswith("Z")
    assert data == {
        "uuid": str(acme.tenant.pk),
        "name": "Acme ACME-MARK",
        "slug": "acme",
        "domain": None,
        "url": acme.tenant.url,
        "isActive": True,
        "subscriptionTier": "BASIC",
        "maxDevices": 5,
        "maxUsers": 1_000_000,
        "storageQuotaGb": 2_000_000_000,
        "maxAssets": 1_000_000,
        "features": [],
        "assets": {"totalCount": 3},
    }


def test_its_settings(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    del acme
    data = gql().data(f"{{ tenant {{ settings {{ {SETTINGS} updatedAt }} }} }}")
    found = data["tenant"]["settings"]
    assert found.pop("updatedAt").endswith("Z")
    assert found == DEFAULTS


def test_what_is_configured_is_shown_to_who_may_configure_it(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    answer = gql("acme-manager")(
        "{ tenant { settings { timezone webhookUrl allowedDomains integrations } } }"
    )
    assert answer["data"]["tenant"]["settings"] == {
        "timezone": "UTC",
        "webhookUrl": None,
        "allowedDomains": None,
        "integrations": None,
    }
    assert [error["path"][-1] for error in answer["errors"]] == [
        "webhookUrl",
        "allowedDomains",
        "integrations",
    ]
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}


@pytest.mark.parametrize(
    ("username", "slugs"),
    [("acme-owner", ["acme"]), ("both", ["acme", "globex"]), ("outsider", [])],
)
def test_the_tenants_one_may_enter(
    world: World, gql: Callable[..., Graph], username: str, slugs: list[str]
) -> None:
    del world
    found = gql(username, host=PLATFORM).data("{ tenants { totalCount edges { node { slug } } } }")[
        "tenants"
    ]
    assert found["totalCount"] == len(slugs)
    assert [edge["node"]["slug"] for edge in found["edges"]] == slugs


def test_what_belongs_to_another_tenant_is_refused_and_never_shown_empty(
    world: World, gql: Callable[..., Graph]
) -> None:
    del world
    graph = gql("both", host=PLATFORM, headers={"X-Tenant-ID": "acme"})
    answer = graph(
        "{ tenants { edges { node { slug settings { timezone } assets { totalCount } "
        "memberships { totalCount } } } } }"
    )
    acme, globex = (edge["node"] for edge in answer["data"]["tenants"]["edges"])
    assert acme == {
        "slug": "acme",
        "settings": {"timezone": "UTC"},
        "assets": {"totalCount": 3},
        "memberships": None,  # a viewer there
    }
    assert globex == {"slug": "globex", "settings": None, "assets": None, "memberships": None}
    assert [(error["path"][2:], error["extensions"]["code"]) for error in answer["errors"]] == [
        ([0, "node", "memberships"], "FORBIDDEN"),
        ([1, "node", "settings"], "FORBIDDEN"),
        ([1, "node", "assets"], "FORBIDDEN"),
        ([1, "node", "memberships"], "FORBIDDEN"),
    ]


def test_the_tenant_and_its_settings_are_read_once(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    graph = gql()
    document = (
        "{ tenant { name settings { timezone } } again: tenant { slug settings { logoUrl } } "
        "assets { edges { node { isActive nextChangeAt tenant { name } } } } }"
    )
    with statements(3):  # the tenant, its settings, the assets
        graph.data(document)


# --- createTenant ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [PLATFORM, f"acme.{PLATFORM}"])
def test_who_creates_a_tenant_owns_it(world: World, gql: Callable[..., Graph], host: str) -> None:
    del world
    graph = gql("acme-viewer", host=host)
    created = graph.data(CREATE, input={"name": "  New place ", "slug": "new-place"})
    assert created["createTenant"] == {
        "tenant": {
            "name": "New place",
            "slug": "new-place",
            "url": f"{settings.SITE_SCHEME}://new-place.{PLATFORM}",
            "subscriptionTier": "BASIC",
            "maxDevices": 5,
            "maxUsers": 10,
            "storageQuotaGb": 10,
            "maxAssets": 100,
            "features": [],
        },
        "errors": [],
    }
    inside = gql("acme-viewer", host=f"new-place.{PLATFORM}").data(
        "{ me { membership { role } memberships { role tenant { slug } } } "
        "tenant { settings { timezone integrations } } assets { totalCount } }"
    )
    assert inside == {
        "me": {
            "membership": {"role": "OWNER"},
            "memberships": [
                {"role": "VIEWER", "tenant": {"slug": "acme"}},
                {"role": "OWNER", "tenant": {"slug": "new-place"}},
            ],
        },
        "tenant": {"settings": {"timezone": "UTC", "integrations": {}}},
        "assets": {"totalCount": 0},
    }


def test_inside_another_tenant_one_goes_on_as_before(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    answer = gql()(
        'mutation { createTenant(input: {name: "N", slug: "n"}) { tenant { name assets '
        "{ totalCount } } } "
        'createAsset(input: {name: "still acme", uri: "https://x.example"}) '
        "{ asset { tenant { slug } } } }"
    )
    assert answer["data"]["createTenant"] == {"tenant": {"name": "N", "assets": None}}
    assert answer["data"]["createAsset"] == {"asset": {"tenant": {"slug": "acme"}}}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"name": "N", "slug": "Admin"}, [(["slug"], "INVALID")]),
        ({"name": "N", "slug": "admin"}, [(["slug"], "INVALID")]),
        ({"name": "N", "slug": "www"}, [(["slug"], "INVALID")]),
        ({"name": "N", "slug": "-x"}, [(["slug"], "INVALID")]),
        ({"name": "N", "slug": "x-"}, [(["slug"], "INVALID")]),
        ({"name": "N", "slug": ""}, [(["slug"], "INVALID")]),
        ({"name": "N", "slug": "a.b"}, [(["slug"], "INVALID")]),
        ({"name": "N", "slug": "ä"}, [(["slug"], "INVALID")]),
        ({"name": "N", "slug": "xn--abc"}, [(["slug"], "INVALID")]),
        ({"name": "N", "slug": "x" * 64}, [(["slug"], "INVALID")]),
        ({"name": "N", "slug": "x\n"}, [(["slug"], "INVALID")]),
        ({"name": " ", "slug": "fine"}, [(["name"], "INVALID")]),
        ({"name": "x" * 256, "slug": "fine"}, [(["name"], "INVALID")]),
        ({"name": "", "slug": "-x"}, [(["name"], "INVALID"), (["slug"], "INVALID")]),
        ({"name": "N", "slug": "globex"}, [(["slug"], "CONFLICT")]),
        ({"name": "N", "slug": "initech"}, [(["slug"], "CONFLICT")]),
    ],
)
def test_a_tenant_that_cannot_be_is_refused(
    world: World, gql: Callable[..., Graph], values: dict[str, str], errors: list[Any]
) -> None:
    del world
    graph = gql("outsider", host=PLATFORM)
    payload = graph.data(CREATE, input=values)["createTenant"]
    assert payload["tenant"] is None
    assert [(error["field"], error["code"]) for error in payload["errors"]] == errors
    assert graph.data("{ tenants { totalCount } }") == {"tenants": {"totalCount": 0}}


# --- updateTenant ---------------------------------------------------------------------------------


def test_a_tenant_is_renamed_and_moves_to_its_new_address(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    payload = gql("acme-admin").data(UPDATE, input={"name": "Acme & Sons", "slug": "acme-sons"})
    assert payload["updateTenant"] == {
        "tenant": {
            "name": "Acme & Sons",
            "slug": "acme-sons",
            "url": f"{settings.SITE_SCHEME}://acme-sons.{PLATFORM}",
        },
        "errors": [],
    }
    moved = gql("acme-admin", host=f"acme-sons.{PLATFORM}")
    assert moved.data("{ tenant { slug } }") == {"tenant": {"slug": "acme-sons"}}


def test_what_is_left_out_of_a_tenant_stays(acme: Inhabited, gql: Callable[..., Graph]) -> None:
    before = stored(acme)
    assert gql().data(UPDATE, input={})["updateTenant"]["tenant"]["slug"] == "acme"
    assert stored(acme) == before


@pytest.mark.parametrize(
    ("username", "values", "errors"),
    [
        ("acme-manager", {"name": "x"}, [(None, "FORBIDDEN")]),
        ("acme-viewer", {"name": ""}, [(None, "FORBIDDEN")]),
        ("acme-owner", {"name": None}, [(["name"], "INVALID")]),
        (
            "acme-owner",
            {"name": "", "slug": "Admin"},
            [(["name"], "INVALID"), (["slug"], "INVALID")],
        ),
        ("acme-owner", {"name": "ok", "slug": "globex"}, [(["slug"], "CONFLICT")]),
    ],
)
def test_a_change_of_a_tenant_that_cannot_be_changes_nothing(
    acme: Inhabited, gql: Callable[..., Graph], username: str, values: Any, errors: list[Any]
) -> None:
    before = stored(acme)
    payload = gql(username).data(UPDATE, input=values)["updateTenant"]
    assert payload["tenant"] is None
    assert [(error["field"], error["code"]) for error in payload["errors"]] == errors
    assert stored(acme) == before


# --- updateTenantSettings -------------------------------------------------------------------------


def test_settings_change_and_are_felt_in_the_same_request(
    acme: Inhabited, gql: Callable[..., Graph]
) -> None:
    del acme
    values = {
        "defaultAssetDuration": 25,
        "timezone": "Pacific/Auckland",
        "logoUrl": "",
        "primaryColor": "#ABCDEF",
        "secondaryColor": "#000000",
        "emailNotifications": False,
        "webhookUrl": "https://hooks.example/x",
        "require2fa": False,
        "allowedDomains": ["Example.COM", "example.com"],
        "integrations": {"slack": {"channel": "#signs"}},
    }
    data = gql("acme-admin").data(UPDATE_SETTINGS, input=values)["updateTenantSettings"]
    expected = {**values, "primaryColor": "#abcdef", "allowedDomains": ["example.com"]}
    assert data == {"settings": expected, "errors": []}
    felt = gql().data(
        "mutation { updateTenantSettings(input: {defaultAssetDuration: 7}) { errors { code } } "
        'createAsset(input: {name: "a", uri: "https://b.example"}) '
        "{ asset { duration tenant { settings { defaultAssetDuration } } } } }"
    )
    assert felt["createAsset"]["asset"] == {
        "duration": 7,
        "tenant": {"settings": {"defaultAssetDuration": 7}},
    }


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"x": "v"}, {"a": "v", "b": [1, "v", {"c": "v"}]}),
        ({"x": None}, {"a": None, "b": [1, None, {"c": None}]}),
        ({}, {"b": [1, None, {}]}),
    ],
)
def test_json_in_a_document_may_hold_variables(
    acme: Inhabited, gql: Callable[..., Graph], given: dict[str, Any], stored: dict[str, Any]
) -> None:
    del acme
    data = gql().data(
        "mutation($x: String) { updateTenantSettings(input: {integrations: "
        "{a: $x, b: [1, $x, {c: $x}]}}) { settings { integrations } errors { message } } }",
        **given,
    )
    assert data["updateTenantSettings"] == {"settings": {"integrations": stored}, "errors": []}


@pytest.mark.parametrize(
    ("username", "values", "errors"),
    [
        ("acme-manager", {"timezone": "UTC"}, [(None, "FORBIDDEN")]),
        ("acme-owner", {"timezone": "Mars/Olympus"}, [(["timezone"], "INVALID")]),
        ("acme-owner", {"timezone": ""}, [(["timezone"], "INVALID")]),
        ("acme-owner", {"timezone": "../../etc/passwd"}, [(["timezone"], "INVALID")]),
        ("acme-owner", {"timezone": None}, [(["timezone"], "INVALID")]),
        ("acme-owner", {"primaryColor": "blue"}, [(["primaryColor"], "INVALID")]),
        ("acme-owner", {"secondaryColor": "#12345"}, [(["secondaryColor"], "INVALID")]),
        ("acme-owner", {"logoUrl": "javascript:alert(1)"}, [(["logoUrl"], "INVALID")]),
        ("acme-owner", {"webhookUrl": "ftp://x"}, [(["webhookUrl"], "INVALID")]),
        ("acme-owner", {"defaultAssetDuration": 0}, [(["defaultAssetDuration"], "INVALID")]),
        ("acme-owner", {"defaultAssetDuration": -1}, [(["defaultAssetDuration"], "INVALID")]),
        ("acme-owner", {"allowedDomains": ["nope"]}, [(["allowedDomains"], "INVALID")]),
        ("acme-owner", {"integrations": []}, [(["integrations"], "INVALID")]),
        ("acme-owner", {"integrations": "text"}, [(["integrations"], "INVALID")]),
        (
            "acme-owner",
            {"emailNotifications": False, "timezone": "x", "logoUrl": "y"},
            [(["timezone"], "INVALID"), (["logoUrl"], "INVALID")],
        ),
    ],
)
def test_settings_that_cannot_be_change_nothing(
    acme: Inhabited, gql: Callable[..., Graph], username: str, values: Any, errors: list[Any]
) -> None:
    before = stored(acme)
    payload = gql(username).data(UPDATE_SETTINGS, input=values)["updateTenantSettings"]
    assert payload["settings"] is None
    assert [(error["field"], error["code"]) for error in payload["errors"]] == errors
    assert stored(acme) == before
