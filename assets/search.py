"""How assets are found by their text and tags through an index, under the wall.

Called by graph.asset_filters and graph.tags. PostgreSQL uses no index for text or arrays under a
policy, so candidates come from definer functions that apply the tenant's condition themselves and
give ids away, nothing else; the list then judges the candidates' own text, under the wall. Where
candidates are many, the list judges whatever it meets in its order instead, until its page is full.
docs/decisions/search.md has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from django.contrib.postgres.fields import ArrayField
from django.db import connection
from django.db.models import BooleanField, F, Func, Q, TextField, UUIDField, Value

from tenancy.errors import InvalidInput
from tenancy.tenants import clean_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

MAX_NEEDLE = 200
# A gram has three characters: of less there is none to look up, but at the beginning of a word.
MIN_CONTAINED = 3

# What a word begins behind: ASCII that is neither letter nor digit, and Unicode's spaces, dashes
# and quotation marks. Listed here, and no class of PostgreSQL's: an index is built on it.
_SEPARATORS = r"[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f\u00a0\u2000-\u206f\u3000-\u303f]"
_TEXTS = {
    "name": "name",
    "description": "description",
    "tags": r"array_to_string(tags, E'\n')",
}
FIELDS = tuple(_TEXTS)


class AssetGrams(Func):
    """What the index of the search is built on (assets/migrations/0004_search.py)."""

    function = "asset_grams"
    arity = 4
    output_field = ArrayField(TextField())


class _IsAmong(Func):
    """Whether a key is one of an array's.

    The array is in a sub-SELECT, where PostgreSQL takes it for a short one and looks its keys up.
    Knowing how long it is, it may walk the list's order instead and ask of each row whether it is
    among them, which is all of them where those that are come last.
    """

    template = "(%(expressions)s)::uuid[]))"
    arg_joiner = " = ANY((SELECT "
    arity = 2
    output_field = BooleanField()


class _Occurs(Func):
    """Whether a word is part of a text, whatever the case of letters."""

    template = r"(strpos(lower(concat_ws(E'\n', %(text)s)), lower(%(expressions)s)) > 0)"
    arity = 1
    output_field = BooleanField()


class _Begins(Func):
    """Whether a word of a text begins with another one, given as a regular expression."""

    template = (
        r"(lower(concat_ws(E'\n', %(text)s)) ~ ('(^|%(separators)s)' || lower(%(expressions)s)))"
    )
    arity = 1
    output_field = BooleanField()


# What makes a condition of a look-up and what it looks for: it may leave out rows that the other
# conditions would leave out as well, and no others.
Among = Callable[..., Q]


class Needles(NamedTuple):
    """What to find: words that occur, words that others begin with, and whole tags. All of them."""

    containing: Sequence[str] = ()
    beginning: Sequence[str] = ()
    tagged: Sequence[str] = ()
    fields: Sequence[str] = FIELDS

    def condition(self, among: Among) -> Q:
        """Return the condition on assets; none when there is nothing to find."""
        if not (self.containing or self.beginning or self.tagged):
            return Q()
        condition = among("search_assets", self.containing, self.beginning, self.tagged)
        text = ", ".join(_TEXTS[field] for field in self.fields) or "''"
        for word in self.containing:
            condition &= Q(_Occurs(Value(word), text=text))
        for word in self.beginning:
            condition &= Q(_Begins(Value(_as_expression(word)), text=text, separators=_SEPARATORS))
        return condition & Q(tags__contains=self.tagged) if self.tagged else condition


def tagged_with_any(tags: Sequence[str], among: Among) -> Q:
    """Return the condition "has one of these tags at least"."""
    return among("tagged_assets", tags) & Q(tags__overlap=list(tags))


def candidates(function: str, *needles: Sequence[str]) -> list[UUID] | None:
    """Return the ids of the entered tenant's assets that a look-up finds; None for too many."""
    places = ", ".join(["%s::text[]"] * len(needles))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}({places})", [list(texts) for texts in needles])
        found: list[UUID] | None = cursor.fetchone()[0]
        return found


def among_found(function: str, *needles: Sequence[str]) -> Q:
    """Return the condition "is one of the few that a look-up finds".

    Asks the index at once, so call it inside the door that the list is read in.

    None when they are not few: then a list in any order meets enough of them on its way, and need
    not know the others.
    """
    found = candidates(function, *needles)
    if found is None:
        return Q()
    return Q(_IsAmong(F("id"), Value(found, output_field=ArrayField(UUIDField()))))


def clean_words(value: str, *, shortest: int = 1) -> list[str]:
    """Return the words of a search, each once; raises InvalidInput."""
    if len(value) > MAX_NEEDLE:
        raise InvalidInput(f"A search can have {MAX_NEEDLE} characters at most.")
    words = list(dict.fromkeys(clean_text(value).split()))
    for word in words:
        if len(word) < shortest:
            raise InvalidInput(
                f"{word!r} is too short: each word needs {shortest} characters at least. Type "
                "more of it, or use `prefix`, which finds words by how they begin."
            )
    return words


def _as_expression(word: str) -> str:
    """Return a word as a regular expression of PostgreSQL's in which no character is special."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", word)
