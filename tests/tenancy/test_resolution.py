"""Hosts, headers and parameters, in every spelling: pure, no request and no database."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.credentials import MembershipState
from tenancy.errors import TenantRefused
from tenancy.models import SLUG_PATTERN
from tenancy.resolution import Host, HostKind, MalformedHost, choose, parse_host

PLATFORM = "signage.test"
LABEL = "a" * 63


@pytest.mark.parametrize(
    "raw",
    [
        "signage.test",
        "SIGNAGE.Test",
        "signage.test.",
        "signage.test:8000",
        "signage.test.:8000",
        "www.signage.test",
        "api.signage.test",
        "app.signage.test:443",
        "ADMIN.signage.test.",
        "127.0.0.1",
        "127.0.0.1.",
        "127.0.0.1:65535",
        "10.1.2.3:00080",
        "[::1]",
        "[::1]:8000",
        "[2001:DB8::1]",
        "[::ffff:127.0.0.1]:80",
    ],
)
def test_the_platforms_own_hosts(raw: str) -> None:
    assert parse_host(raw, PLATFORM).kind is HostKind.PLATFORM


@pytest.mark.parametrize(
    ("raw", "slug"),
    [
        ("acme.signage.test", "acme"),
        ("ACME.Signage.TEST", "acme"),
        ("acme.signage.test.", "acme"),
        ("acme.signage.test:8000", "acme"),
        ("acme.signage.test.:1", "acme"),
        ("a.signage.test", "a"),
        (f"{LABEL}.signage.test", LABEL),
        ("www2.signage.test", "www2"),
        ("xn--acm-dma.signage.test", "xn--acm-dma"),
        ("127.signage.test", "127"),
    ],
)
def test_one_label_under_the_platform_is_a_slug(raw: str, slug: str) -> None:
    host = parse_host(raw, PLATFORM)
    assert host == Host(HostKind.SUBDOMAIN, f"{slug}.signage.test", slug)


@pytest.mark.parametrize(
    "raw",
    [
        "x.acme.signage.test",
        "acme.www.signage.test",
        "www.acme.signage.test",
        "www.www.signage.test",
        "acme.signage.test.signage.test",
    ],
)
def test_several_labels_under_the_platform_are_nobodys(raw: str) -> None:
    """Not a slug, and not a custom domain either, even if somebody had verified one there."""
    host = parse_host(raw, PLATFORM)
    assert host.kind is HostKind.SUBDOMAIN
    assert "." in host.slug
    with pytest.raises(TenantRefused):
        choose(host, [ACME, replace(ACME, domain=host.name), replace(ACME, domain=raw)])


@pytest.mark.parametrize(
    "raw",
    [
        "evilsignage.test",
        "acme.evilsignage.test",
        "acme.signage.test.evil.example",
        "signage.test.evil.example",
        "acme-signage.test",
        "signage.tes",
        "signage.testt",
        "test",
        "localhost",
        "www.example.com",
        "acme.com",
        "0x7f.1",
        "xn--sgnage-4va.test",
    ],
)
def test_look_alikes_are_custom_domains_of_nobody(raw: str) -> None:
    host = parse_host(raw, PLATFORM)
    assert host == Host(HostKind.CUSTOM_DOMAIN, raw)
    with pytest.raises(TenantRefused):
        choose(host, [ACME, GLOBEX])


@pytest.mark.parametrize(
    "raw",
    [
        "",
        " ",
        ".",
        "..",
        ":",
        ":80",
        "acme.signage.test:",
        "acme.signage.test:0",
        "acme.signage.test:65536",
        "acme.signage.test:123456",
        "acme.signage.test:-1",
        "acme.signage.test:80:80",
        "acme.signage.test:\uff18\uff10",
        "acme.signage.test:\u0668\u0660",
        "acme.signage.test:http",
        "acme.signage.test..",
        ".acme.signage.test",
        "acme..signage.test",
        "-acme.signage.test",
        "acme-.signage.test",
        "a_b.signage.test",
        "acme.signage.test/",
        "acme.signage.test/path",
        "http://acme.signage.test",
        "user@acme.signage.test",
        "acme.signage.test,globex.signage.test",
        "acme.signage.test globex.signage.test",
        " acme.signage.test",
        "acme.signage.test ",
        "acme.signage.test\t",
        "acme.signage.test\n",
        "acme.signage.test\r\nX: y",
        "acme.signage.test\x00",
        "\x00",
        "acme%2esignage.test",
        "acmé.signage.test",
        "acme.signage。test",
        "\uff41cme.signage.test",
        # The Kelvin sign, and the dotted capital I, are ASCII letters once in lower case.
        "kno\u212a.signage.test",
        "s\u0130gnage.test",
        f"{LABEL}a.signage.test",
        ".".join([LABEL] * 4) + ".signage.test",
        "a" * 100_000,
        "1.2.3",
        "1.2.3.4.5",
        "256.0.0.1",
        "127.1",
        "2130706433",
        "01.02.03.04",
        "[::1",
        "::1",
        "[::1]x",
        "[::1].",
        "[::1]:x",
        "[]",
        "[127.0.0.1]",
        "[::1%25eth0]",
        "[fe80::1%<script>]",
        "[acme.signage.test]",
        "*.signage.test",
    ],
)
def test_what_is_no_host_is_malformed(raw: str) -> None:
    with pytest.raises(MalformedHost):
        parse_host(raw, PLATFORM)


@given(
    st.one_of(
        st.text(),
        st.text(alphabet="abAZ019.-:[]%_ \x00\u212a/@,"),
        st.text(alphabet="acme.signtABC:0189").map(lambda text: f"{text}.signage.test"),
    )
)
def test_a_host_is_understood_or_malformed_and_nothing_else(raw: str) -> None:
    try:
        host = parse_host(raw, PLATFORM)
    except MalformedHost:
        return
    assert host.name == host.name.lower()
    assert host.name.isascii()
    assert host == parse_host(host.name, PLATFORM)
    assert (host.slug != "") is (host.kind is HostKind.SUBDOMAIN)


@given(st.from_regex(SLUG_PATTERN.removesuffix("$") + r"\Z"), st.integers(1, 65535))
def test_every_slug_has_its_host(slug: str, port: int) -> None:
    host = parse_host(f"{slug.upper()}.signage.test:{port}", PLATFORM)
    reserved = slug in {"www", "api", "app", "admin"}
    assert host.kind is (HostKind.PLATFORM if reserved else HostKind.SUBDOMAIN)
    assert host.slug == ("" if reserved else slug)


def membership(number: int, slug: str, *, active: bool = True) -> MembershipState:
    return MembershipState(
        id=UUID(int=number),
        tenant_id=UUID(int=number << 64),
        slug=slug,
        domain=None,
        tenant_is_active=active,
        role="viewer",
        permissions=(),
    )


ACME, GLOBEX = membership(1, "acme"), membership(2, "globex")
INITECH = membership(3, "initech", active=False)
HOME = Host(HostKind.PLATFORM, PLATFORM)


def test_a_subdomain_chooses_before_everything_else() -> None:
    host = parse_host("acme.signage.test", PLATFORM)
    assert choose(host, [GLOBEX, ACME], header="globex", parameter="globex") == (ACME, "subdomain")


def test_a_custom_domain_chooses_before_the_header() -> None:
    state = replace(ACME, domain="signs.acme.example")
    host = parse_host("Signs.ACME.example.:443", PLATFORM)
    assert choose(host, [GLOBEX, state], header="globex") == (state, "custom domain")


def test_an_unverified_custom_domain_chooses_nothing() -> None:
    """The look-up gives no domain for it; None and the empty text are no host's name."""
    host = parse_host("signs.acme.example", PLATFORM)
    for domain in (None, "", "acme.example", "x.signs.acme.example"):
        with pytest.raises(TenantRefused):
            choose(host, [replace(ACME, domain=domain)])


def test_the_header_chooses_before_the_parameter() -> None:
    both = [ACME, GLOBEX]
    assert choose(HOME, both, header="acme", parameter="globex") == (ACME, "header")
    assert choose(HOME, both, parameter="globex") == (GLOBEX, "parameter")
    with pytest.raises(TenantRefused):
        choose(HOME, both, header="nobody", parameter="globex")


@pytest.mark.parametrize(
    "header", ["acme", "ACME", " acme ", str(ACME.tenant_id), str(ACME.tenant_id).upper()]
)
def test_the_header_is_a_slug_or_an_id(header: str) -> None:
    assert choose(HOME, [GLOBEX, ACME], header=header) == (ACME, "header")


@pytest.mark.parametrize(
    "header",
    [
        "initech",
        str(INITECH.tenant_id),
        "nobody",
        str(UUID(int=99)),
        "acme,globex",
        "acme.signage.test",
        "*",
        "%",
        "' OR 1=1 --",
        "\x00",
        "acme\x00",
        " ",
        ACME.tenant_id.hex,
        f"{{{ACME.tenant_id}}}",
        str(ACME.id),
        "x" * 100_000,
        "\ud800",
    ],
)
def test_a_header_never_widens(header: str) -> None:
    for memberships in ([ACME, GLOBEX, INITECH], [ACME], []):
        with pytest.raises(TenantRefused):
            choose(HOME, memberships, header=header)
        with pytest.raises(TenantRefused):
            choose(HOME, memberships, parameter=header)


def test_a_slug_spelt_like_another_tenants_id_takes_nothing_over() -> None:
    thief = membership(9, str(ACME.tenant_id))
    assert choose(HOME, [thief, ACME], header=str(ACME.tenant_id)) == (ACME, "header")
    assert choose(HOME, [thief], header=str(ACME.tenant_id)) == (thief, "header")


@pytest.mark.parametrize("raw", ["initech.signage.test", "nobody.signage.test", "signage.example"])
def test_unknown_foreign_and_suspended_hosts_are_refused_alike(raw: str) -> None:
    host = parse_host(raw, PLATFORM)
    for memberships in ([ACME, GLOBEX, INITECH], []):
        with pytest.raises(TenantRefused) as refused:
            choose(host, memberships, header="acme", parameter="acme")
        assert refused.value.message == TenantRefused().message


def test_on_the_platform_the_only_membership_is_implied() -> None:
    assert choose(HOME, [ACME]) == (ACME, "only membership")
    assert choose(HOME, [ACME, INITECH]) == (ACME, "only membership")
    assert choose(HOME, [ACME, GLOBEX]) == (None, "")
    assert choose(HOME, [INITECH]) == (None, "")
    assert choose(HOME, []) == (None, "")
