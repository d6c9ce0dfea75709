"""What breaks clients of the released schema is noticed, and can be meant."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from graphql import build_schema

from graph.changes import allowed, breaking
from graph.management.commands import schema_changes

if TYPE_CHECKING:
    from pathlib import Path

OLD = """
enum Kind { PAGE, FILM @deprecated(reason: "Use PAGE.") }
type Query { a(x: Int): String, b: Int @deprecated(reason: "Use a."), kind: Kind }
"""


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (OLD, []),
        (OLD.replace("a(x: Int)", "c: Int a(x: Int y: Int)"), []),
        (OLD.replace('b: Int @deprecated(reason: "Use a."),', ""), []),
        (OLD.replace(', FILM @deprecated(reason: "Use PAGE.")', ""), []),
        (OLD.replace("a(x: Int): String,", ""), ["Field Query.a was removed."]),
        (OLD.replace("PAGE,", ""), ["Enum value Kind.PAGE was removed."]),
        (OLD.replace("(x: Int)", ""), ["Argument Query.a(x:) was removed."]),
        (
            OLD.replace("x: Int", "x: Int!"),
            ["Argument Query.a(x:) has changed type from Int to Int!."],
        ),
        (
            OLD.replace("x: Int", "x: Int z: Int!"),
            ["A required argument Query.a(z:) was added."],
        ),
        (OLD.replace("): String", "): Int"), ["Field Query.a changed type from String to Int."]),
    ],
)
def test_what_breaks_is_named_and_what_was_deprecated_may_go(new: str, found: list[str]) -> None:
    assert list(breaking(build_schema(OLD), build_schema(new))) == found


def test_what_is_allowed_has_a_reason() -> None:
    text = (
        "* `A.b was removed.` it never worked\n* `A.c was removed.`\n\n    * `A.d was removed.` x"
    )
    assert allowed(text) == ["A.b was removed."]


def test_the_committed_schema_breaks_nothing() -> None:
    out = StringIO()
    call_command("schema_changes", stdout=out)
    assert "Nothing breaks" in out.getvalue()


def test_the_gate_fails_until_a_break_is_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    released, meant = tmp_path / "released.graphql", tmp_path / "changes.md"
    text = schema_changes.RELEASED.read_text(encoding="utf-8")
    released.write_text(text + "\nextend type Query { colour: String }\n")
    meant.write_text("Nothing.\n")
    monkeypatch.setattr(schema_changes, "RELEASED", released)
    monkeypatch.setattr(schema_changes, "ALLOWED", meant)
    with pytest.raises(CommandError, match=r"Query\.colour was removed"):
        call_command("schema_changes")
    meant.write_text("* `Field Query.colour was removed.` it was never filled\n")
    call_command("schema_changes", stdout=StringIO())
    call_command("schema_changes", "--release", stdout=StringIO())
    with pytest.raises(CommandError, match="allows what does not break"):
        call_command("schema_changes")
