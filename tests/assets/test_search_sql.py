"""The search in SQL finds what a plain search in Python does, row for row, whatever the text."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assets.models import Asset, new_asset_id
from assets.search import FIELDS, Needles, among_found, clean_words, tagged_with_any
from rls import acting_as
from tenancy.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.world import Inhabited

WORDS = [
    "Lobby", "lobbyist", "LOB", "spring", "Springtime", "a", "ab", "abc", "ABCABC", "100%", "50%_off",
    "foo-bar", "foo_bar", "foo.bar", "foo bar", "(regex)*", "^a.c$", "[a-z]+", "back\\slash", "\\d",
    "quote'quote", '"x"', "{1,2}", "a|b", "***=x", "***:x", "(?i)a", "ÄÖÜ", "straße", "STRASSE", "É",
    "e\u0301", "İstanbul", "ΣΊΣΥΦΟΣ", "日本語", "日本", "🎉", "👩‍👩‍👧", "x\u00a0y", "x\u2013y", "--", "-",
    "__", "%", "%%%", "a\tb", "a\nb", "a\x01b", "a\x02b", "=lob", "  lob", "ﬃ", "\U0010ffff", "ab" * 60,
]  # fmt: skip
# As the migration has them, said once more.
SEPARATORS = {
    chr(code)
    for start, end in [
        (0x01, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7F), (0xA0, 0xA0), (0x2000, 0x206F),
        (0x3000, 0x303F),
    ]
    for code in range(start, end + 1)
}  # fmt: skip


@pytest.fixture
def texts(acme: Inhabited) -> dict[UUID, dict[str, list[str]]]:
    """Fill acme with 300 assets; return their texts by key and field, in PostgreSQL's lower case."""
    chance = random.Random(20330101)  # noqa: S311 -- the same rows each time

    def some(most: int) -> list[str]:
        return chance.choices(WORDS, k=chance.randint(0, most))

    with acting_as(acme.owner):
        Asset.objects.all().delete()
        Asset.objects.bulk_create(
            Asset(
                tenant=acme.tenant,
                asset_id=new_asset_id(),
                name=chance.choice([None, " ".join(some(3)), "".join(some(3))]),
                description=chance.choice(["", ", ".join(some(6))]),
                tags=list(dict.fromkeys(tag.strip() for tag in some(4))),
            )
            for _ in range(300)
        )
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, lower(name), lower(description), ARRAY(SELECT lower(t) FROM "
                "unnest(tags) t) FROM assets"
            )
            return {
                key: {"name": [name or ""], "description": [description], "tags": tags}
                for key, name, description, tags in cursor.fetchall()
            }


def lowered(words: Sequence[str]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ARRAY(SELECT lower(w) FROM unnest(%s::text[]) w)", [list(words)])
        return list(cursor.fetchone()[0])


def begins(word: str, text: str) -> bool:
    starts = [0, *(place + 1 for place, letter in enumerate(text) if letter in SEPARATORS)]
    return any(text.startswith(word, start) for start in starts)


words = st.lists(
    st.sampled_from(WORDS).flatmap(
        lambda word: st.tuples(st.integers(0, len(word)), st.integers(0, len(word))).map(
            lambda ends: word[min(ends) : max(ends)]
        )
    )
    | st.text(max_size=3),
    max_size=2,
).map(" ".join)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(contains=words, prefix=words, fields=st.sets(st.sampled_from(FIELDS), min_size=1))
@example(contains="***=x", prefix="", fields={"name", "description", "tags"})
@example(contains="", prefix="***=", fields={"name", "description", "tags"})
@example(contains="%%%", prefix="_", fields={"name", "description", "tags"})
@example(contains="obb", prefix="lob", fields={"tags"})
def test_sql_finds_what_python_finds(
    acme: Inhabited,
    texts: dict[UUID, dict[str, list[str]]],
    contains: str,
    prefix: str,
    fields: set[str],
) -> None:
    try:
        containing, beginning = clean_words(contains), clean_words(prefix)
    except InvalidInput:
        return
    containing = [word for word in containing if len(word) >= 3]
    with acting_as(acme.owner, read_only=True):
        needles = Needles(containing=containing, beginning=beginning, fields=sorted(fields))
        found = set(
            Asset.objects.filter(needles.condition(among_found)).values_list("pk", flat=True)
        )
        inner, front = lowered(containing), lowered(beginning)
    expected = {
        key
        for key, row in texts.items()
        if all(any(word in text for field in fields for text in row[field]) for word in inner)
        and all(
            any(begins(word, text) for field in fields for text in row[field]) for word in front
        )
    }
    assert found == expected


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tags=st.lists(st.sampled_from([*WORDS, "", "lobby", "no such tag"]), min_size=1, max_size=3))
def test_tags_are_found_as_they_are_spelt(
    acme: Inhabited, texts: dict[UUID, dict[str, list[str]]], tags: list[str]
) -> None:
    del texts
    with acting_as(acme.owner, read_only=True):
        stored = dict(Asset.objects.values_list("pk", "tags"))
        all_ = set(
            Asset.objects.filter(Needles(tagged=tags).condition(among_found)).values_list(
                "pk", flat=True
            )
        )
        any_ = set(
            Asset.objects.filter(tagged_with_any(tags, among_found)).values_list("pk", flat=True)
        )
    assert all_ == {key for key, has in stored.items() if set(tags) <= set(has)}
    assert any_ == {key for key, has in stored.items() if set(tags) & set(has)}


def test_an_index_entry_is_not_too_long_for_any_text(acme: Inhabited) -> None:
    with acting_as(acme.owner):
        row = Asset.objects.create(
            tenant=acme.tenant,
            asset_id="long",
            name="x" * 100_000 + " needle",
            description="🎉" * 10_000,
            tags=["🎉" * 100, *(f"tag {number}" for number in range(99))],
            mimetype="y" * 100_000,
        )
        for needles in (
            Needles(containing=["needle"]),
            Needles(beginning=["needle"]),
            Needles(containing=["🎉" * 200]),
            Needles(tagged=["🎉" * 100, "tag 98"]),
        ):
            assert list(Asset.objects.filter(needles.condition(among_found))) == [row]


def test_functions_answer_for_the_entered_tenant_only(acme: Inhabited, globex: Inhabited) -> None:
    """Called as they are, without the list that judges under the wall."""
    calls = [
        ("SELECT search_assets('{mark}', '{}', '{}')", []),
        ("SELECT search_assets('{}', '{m}', '{}')", []),
        ("SELECT search_assets('{}', '{}', '{}')", []),
        ("SELECT tagged_assets(%s)", [["ACME-MARK", "GLOBEX-MARK"]]),
    ]
    with connection.cursor() as cursor:
        for place in (acme, globex):
            with acting_as(place.owner, read_only=True):
                for call, parameters in calls:
                    cursor.execute(call, parameters)
                    assert set(cursor.fetchone()[0]) == {asset.pk for asset in place.assets}
        for call, parameters in calls:
            cursor.execute(call, parameters)
            assert cursor.fetchone()[0] == []
