"""docs/graphql-http.md says what there is: every code, every limit, every setting."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from graph.errors import INTERNAL
from graph.measuring import LIST_LENGTH, MUTATION_COST
from tenancy.errors import ErrorCode

ROOT = Path(settings.BASE_DIR)
TEXT = (ROOT / "docs" / "graphql-http.md").read_text("utf-8")
OF_THE_WIRE = {
    INTERNAL,
    "UNAVAILABLE",
    "PERSISTED_QUERY_NOT_FOUND",
    "PERSISTED_QUERY_NOT_SUPPORTED",
    "PERSISTED_QUERY_NOT_IN_LIST",
}


def configured(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    """Return the settings that an environment makes."""
    for name, value in environment.items():
        monkeypatch.setenv(f"SIGNATE_{name}", value)
    return runpy.run_path(str(ROOT / "project" / "settings.py"))


def test_every_code_is_explained() -> None:
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", TEXT, re.MULTILINE)) == (
        {code.value for code in ErrorCode} | OF_THE_WIRE
    )


def test_every_limit_is_told() -> None:
    limits = settings.GRAPHQL_LIMITS
    for number in (limits["tokens"], limits["cost"], settings.GRAPHQL_MAX_BODY_BYTES):
        assert f"{number:,}" in TEXT
    for name in ("fields", "variable_values", "document", "literal", "directives"):
        assert f"{limits[name]:,}" in TEXT
    assert f"counts as {LIST_LENGTH} of them" in TEXT
    assert f"a mutation counts {MUTATION_COST} more" in TEXT


def test_every_setting_is_listed() -> None:
    source = (ROOT / "project" / "settings.py").read_text("utf-8")
    listed = (ROOT / "docs" / "settings.md").read_text("utf-8")
    names = set(re.findall(r"SIGNATE_(?:GRAPHQL|CORS|TRUSTED)_[A-Z_]+", source))
    assert len(names) >= 12
    for name in names:
        short = name.replace("SIGNATE_GRAPHQL_MAX_", "…_")
        assert f"`{name}`" in listed or f"`{short}`" in listed, name


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    found = configured(monkeypatch, GRAPHQL_MAX_DEPTH="7", GRAPHQL_BUDGET="0")
    assert (found["GRAPHQL_LIMITS"]["depth"], found["GRAPHQL_BUDGET"]) == (7, 0)


def test_other_origins_are_off_and_cookies_go_to_named_ones_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = configured(monkeypatch)
    assert (found["CORS_ALLOWED_ORIGINS"], found["CORS_ALLOW_ALL_ORIGINS"]) == ([], False)
    assert (found["CORS_ALLOW_CREDENTIALS"], found["CSRF_TRUSTED_ORIGINS"]) == (False, [])
    found = configured(monkeypatch, CORS_ORIGINS="*")
    assert found["CORS_ALLOW_ALL_ORIGINS"] is True
    with pytest.raises(ImproperlyConfigured, match="by name"):
        configured(monkeypatch, CORS_CREDENTIALS="1")
    named = ["https://a.example", "https://b.example"]
    found = configured(monkeypatch, CORS_ORIGINS=",".join(named))
    assert found["CORS_ALLOWED_ORIGINS"] == found["CSRF_TRUSTED_ORIGINS"] == named


def test_trust_is_one_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch)["TRUSTED_DOCUMENTS"] == "off"
    assert configured(monkeypatch, TRUSTED_DOCUMENTS="only")["TRUSTED_DOCUMENTS"] == "only"
    with pytest.raises(ImproperlyConfigured, match="off, on, only"):
        configured(monkeypatch, TRUSTED_DOCUMENTS="yes")
