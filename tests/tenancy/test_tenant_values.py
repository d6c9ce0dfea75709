"""Every value a tenant or its settings may have, and every one that is refused with its reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from rls import acting_as
from tenancy.errors import Invalid, InvalidInput
from tenancy.models import RESERVED_SLUGS, Tenant, TenantSettings
from tenancy.tenants import (
    SETTINGS_CLEANERS,
    TENANT_CLEANERS,
    clean_all,
    clean_domains,
    clean_object,
    timezones,
    update_settings,
    update_tenant,
)
from tests.tenancy.conftest import nothing_changed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.world import Inhabited, World

SURROGATE = "half \ud800"
NUL = "nul \x00"


def nested(levels: int) -> dict[str, Any]:
    value: Any = "leaf"
    for _ in range(levels - 1):
        value = {"a": value}
    return {"a": value} if not isinstance(value, dict) else value


# fmt: off -- a table is read by its rows
GOOD: list[tuple[str, Any, Any]] = [
    ("name", "Acme", "Acme"),
    ("name", "  Acme  GmbH \t", "Acme  GmbH"),
    ("name", "x" * 255, "x" * 255),
    ("name", "Ünïcödé 漢字 🏢", "Ünïcödé 漢字 🏢"),
    ("name", "👩\u200d💻", "👩\u200d💻"),
    *(
        ("slug", good, good)
        for good in ("a", "9", "a-b", "a--b", "x" * 63, "my-xn--thing", "admins")
    ),
    ("default_asset_duration", 1, 1),
    ("default_asset_duration", 31_536_000, 31_536_000),
    *(
        ("timezone", good, good)
        for good in ("UTC", "Europe/Berlin", "America/Argentina/ComodRivadavia", "Etc/GMT+12")
    ),
    ("logo_url", "", ""),
    ("logo_url", "   ", ""),
    ("logo_url", "https://example.com/l.png?x=%20&y=ü#f", "https://example.com/l.png?x=%20&y=ü#f"),
    ("webhook_url", " HTTP://user:pw@[2001:db8::1]:8080/x ", "HTTP://user:pw@[2001:db8::1]:8080/x"),
    ("webhook_url", "http://h/" + "x" * 2039, "http://h/" + "x" * 2039),
    ("primary_color", "#007bff", "#007bff"),
    ("secondary_color", "#ABCDEF", "#abcdef"),
    ("email_notifications", False, False),
    ("require_2fa", True, True),
    ("allowed_domains", [], []),
    (
        "allowed_domains",
        [" Example.COM ", "example.com", "a-b.example.co.uk", "xn--e1afmkfd.xn--p1ai"],
        ["example.com", "a-b.example.co.uk", "xn--e1afmkfd.xn--p1ai"],
    ),
    ("integrations", {}, {}),
    (
        "integrations",
        {"slack": {"on": True, "n": [1, 2.5, None, "ü"]}, "": ""},
        {"slack": {"on": True, "n": [1, 2.5, None, "ü"]}, "": ""},
    ),
    # A backslash, a u and four noughts are no NUL.
    ("integrations", {"a": "\\u0000"}, {"a": "\\u0000"}),
    ("integrations", {"a": 10**300}, {"a": 10**300}),
    ("integrations", nested(31), nested(31)),
]

BAD_NAMES = [
    "",
    " ",
    "\t",
    "\u3000",
    "x" * 256,
    NUL,
    SURROGATE,
    "a\nb",
    "a\x1b[2J",
    "a\x85b",
    "\u200b",
    "\u202e",
    "\u2060\u200d",
]
BAD_SLUGS = [
    "",
    "-",
    "-x",
    "x-",
    "Admin",
    "ADMIN",
    "a_b",
    "a.b",
    "a b",
    "ä",
    "acme\n",
    "\nacme",
    " acme",
    "x" * 64,
    "x" * 100,
    "xn--acme",
    "a\x00",
    "\ud800",
    "\uff11\uff12",
    "acme/",
    "\u017f",
    *sorted(RESERVED_SLUGS),
]
BAD_ZONES = [
    "",
    " ",
    "utc",
    "Europe/Nowhere",
    "europe/berlin",
    "../etc/passwd",
    "../UTC",
    "/UTC",
    "UTC ",
    "UTC\x00",
    "localtime",
    "posixrules",
    "Factory",
    "posix/UTC",
    "right/UTC",
    "Europe",
    "tzdata.zi",
    "\ud800",
    "x" * 1_000_000,
    "GMT+25",
    "+02:00",
    "CEST",
]
BAD_URLS = [
    "example.com",
    "/logo.png",
    "//example.com/x",
    "ftp://example.com",
    "http://",
    "http:",
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "file:///etc/x",
    "http://[::1",
    "http://[",
    "http://x:99999/",
    "http://x:0/",
    "http://x:y/",
    "http://@/",
    "http://exa mple.com/",
    "http://x/\r\nSet-Cookie: a=b",
    "ht\ntp://x/",
    "http://x/\ty",
    'http://x/"><script>',
    "http://x\\@evil.example/",
    "http://x/{a}",
    "http://x/a|b",
    "http://x/\x85y",
    "http://x/\u2028y",
    "http://h/" + "x" * 2040,
    "http://x/" + NUL,
    "http://x/" + SURROGATE,
    "http://?",
    "https:example.com",
    "http:///x",
]
BAD_COLORS = [
    "",
    "007bff",
    "#007bf",
    "#007bfff",
    "#00gbff",
    "#007bff\n",
    " #007bff",
    "blue",
    "#fff",
    "\uff03007bff",
    "#\uff10\uff107bff",
    "#007bff;x",
    "\ud800",
]
BAD_DOMAINS = [
    "",
    " ",
    "example",
    ".com",
    "example.",
    "-a.com",
    "a-.com",
    "a_b.com",
    "a..com",
    "@a.com",
    "https://a.com",
    "a.com/x",
    "*.com",
    "a.c",
    "a.123",
    "127.0.0.1",
    "é.com",
    "a.com\n.b",
    "\u212aingdom.com",
    "a\x00.com",
    "\ud800.com",
    "x" * 64 + ".com",
    "a." * 130 + "com",
    "a.xn--",
    "a.xn--a-",
]
BAD_OBJECTS: list[object] = [
    [],
    "x",
    1,
    True,
    [{}],
    {"a": NUL},
    {NUL: 1},
    {"a": [{"b": NUL}]},
    {"a": SURROGATE},
    {SURROGATE: 1},
    {"a": float("nan")},
    {"a": float("inf")},
    {"a": -float("inf")},
    {"a": object()},
    {"a": b"x"},
    {"a": {1, 2}},
    {(1, 2): 3},
    {"a": 10**5000},
    {"a": "x" * 65_536},
    nested(33),
    nested(5000),
    {"a": [[[[[]]]]] * 20_000},
]
BAD: list[tuple[str, object]] = [
    *(("name", bad) for bad in BAD_NAMES),
    *(("slug", bad) for bad in BAD_SLUGS),
    *(("default_asset_duration", bad) for bad in (0, -1, 31_536_001, 2**31, 2**63, -(2**63))),
    *(("timezone", bad) for bad in BAD_ZONES),
    *((name, bad) for name in ("logo_url", "webhook_url") for bad in BAD_URLS),
    *((name, bad) for name in ("primary_color", "secondary_color") for bad in BAD_COLORS),
    *(("allowed_domains", [bad]) for bad in BAD_DOMAINS),
    ("allowed_domains", ["good.example", "bad"]),
    ("allowed_domains", [f"d{number}.example" for number in range(101)]),
    *(("integrations", bad) for bad in BAD_OBJECTS),
    *((name, None) for name in (*TENANT_CLEANERS, *SETTINGS_CLEANERS)),
]
# fmt: on
TEXTS = ("name", "slug", "timezone", "logo_url", "webhook_url", "primary_color", "secondary_color")


def cleaners_of(name: str) -> Mapping[str, Callable[[Any], Any]]:
    return TENANT_CLEANERS if name in TENANT_CLEANERS else SETTINGS_CLEANERS


@pytest.mark.parametrize(("name", "value", "expected"), GOOD)
def test_good_values_are_stored_in_one_spelling(
    acme: Inhabited, name: str, value: Any, expected: Any
) -> None:
    with acting_as(acme.owner):
        row: Any
        if name in TENANT_CLEANERS:
            row = update_tenant(actor=acme.owner, changes={name: value})
            read: Any = Tenant.objects.get(pk=acme.tenant.id)
        else:
            row = update_settings(actor=acme.owner, changes={name: value})
            read = TenantSettings.objects.get()
        assert getattr(row, name) == getattr(read, name) == expected
        assert type(getattr(row, name)) is type(expected)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        clean_all({name: value}, cleaners_of(name))
    (error,) = refused.value.errors
    assert error.field == (name,)
    assert error.message.endswith(".")
    # A refusal never sends a megabyte back, and can be written as JSON in UTF-8.
    assert len(error.message) < 300
    error.message.encode()


@given(st.sampled_from(TEXTS), st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_any_text_is_storable_or_refused(name: str, value: str) -> None:
    try:
        cleaned = clean_all({name: value}, cleaners_of(name))[name]
    except Invalid:
        return
    assert "\x00" not in cleaned
    cleaned.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet="a\x00\ud800\\u0ü"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="a\x00\ud800"), inner),
)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_any_json_is_storable_or_refused(value: dict[str, Any]) -> None:
    try:
        cleaned = clean_object(value)
    except InvalidInput:
        return
    text = json.dumps(cleaned, allow_nan=False, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text.replace("\\\\", "")


@given(st.lists(st.text(alphabet="ab.-@ \nAü\u212a", max_size=8), max_size=3))
def test_any_domains_are_plain_ones_or_refused(value: list[str]) -> None:
    try:
        cleaned = clean_domains(value)
    except InvalidInput:
        return
    assert all(item.isascii() and item == item.lower() and "." in item for item in cleaned)


def test_every_time_zone_is_one_for_python_and_for_postgresql(world: World) -> None:
    """The schedule is decided in both: a name that only one of them knows would fail later."""
    del world
    assert {"UTC", "Europe/Berlin", "Asia/Kathmandu"} < timezones()
    assert len(timezones()) > 400
    assert max(map(len, timezones())) <= 64
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_timezone_names")
        known = {name for (name,) in cursor.fetchall()}
    assert sorted(timezones() - known) == []
    for name in timezones():
        ZoneInfo(name)


def test_all_errors_come_at_once(acme: Inhabited, world: World) -> None:
    bad = {
        "logo_url": "x",
        "timezone": "x",
        "primary_color": "x",
        "default_asset_duration": 0,
        "integrations": [],
        "secondary_color": "#ffffff",
        "webhook_url": None,
    }
    with (
        nothing_changed(world),
        acting_as(acme.owner),
        pytest.raises(Invalid) as refused,
    ):
        update_settings(actor=acme.owner, changes=bad)
    assert [error.field for error in refused.value.errors] == [
        ("logo_url",),
        ("timezone",),
        ("primary_color",),
        ("default_asset_duration",),
        ("integrations",),
        ("webhook_url",),
    ]
    assert (refused.value.field, refused.value.message) == (
        ("logo_url",),
        "Give an http:// or https:// address, or nothing.",
    )
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(Invalid) as refused:
        update_tenant(actor=acme.owner, changes={"name": "", "slug": "-"})
    assert [error.field for error in refused.value.errors] == [("name",), ("slug",)]


def test_a_field_nobody_declared_is_a_programming_error(acme: Inhabited, world: World) -> None:
    for change in ("is_active", "max_assets", "subscription_tier", "domain", "id", "database_name"):
        with nothing_changed(world), acting_as(acme.owner), pytest.raises(KeyError):
            update_tenant(actor=acme.owner, changes={change: "x"})
    with nothing_changed(world), acting_as(acme.owner), pytest.raises(KeyError):
        update_settings(actor=acme.owner, changes={"tenant_id": str(uuid4())})
