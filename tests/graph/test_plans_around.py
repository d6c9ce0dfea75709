"""The lists around assets: devices, proof of play, the log, keys and what else a tenant has."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from tests.graph.crowd import crowded
from tests.graph.listings import (
    ASSETS,
    BESIDES,
    LISTINGS,
    MEMBERSHIPS,
    TENANTS,
    check_filters,
    check_pages,
    connections,
    key,
    tell,
)
from tests.graph.plans import Explainer

if TYPE_CHECKING:
    import pytest
    from pytest_django import Settings

TABLES = (
    *("assets", "tenant_users", "devices", "uploads", "import_runs", "backups", "restores"),
    *("playback_days", "audit_entries", "api_tokens", "invitations", "capability_keys"),
    "user_sessions",
)
HERE = [one for one in LISTINGS if one not in {ASSETS, MEMBERSHIPS, TENANTS}]
# The same lists, reached from something they belong to.
INSIDE = {("Tenant", "assets"), ("Tenant", "memberships"), ("Asset", "playbackDays")}
# Tags are no rows: they are counted in one pass over the assets that have them.
COUNTED = {("Query", "tags")}


def test_every_list_and_filter_of_the_schema_is_looked_at() -> None:
    looked_at = {(one.inside, one.field) for one in LISTINGS}
    assert set(connections()) == looked_at | INSIDE | COUNTED
    for listing in LISTINGS:
        texts = (*listing.narrow, *listing.broad)
        named = {name for name in listing.inputs("filter") if any(f"{name}:" in t for t in texts)}
        assert named | set(listing.elsewhere) == set(listing.inputs("filter")), listing.field


def test_every_listing_reads_its_own_tenant_by_an_index(
    scratch_database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = crowded(scratch_database, TABLES)
    explainer = Explainer(settings, monkeypatch)
    read: dict[str, dict[str, list[int]]] = {}
    for listing in HERE:
        check_pages(explainer, crowd, listing)
        read |= check_filters(explainer, crowd, listing)
    tell(read)

    # Proof of play is added up over what is asked for.
    for place, is_compiled in product(crowd, (True, False)):
        for told, most in (
            ("", place.rows + BESIDES),
            (f'(filter: {{reporterId: "{key("p0")}"}})', place.rows // 500 + 2),
        ):
            document = f"{{ playbackSummary{told} {{ plays seconds assets days }} }}"
            loosely = place.rows + BESIDES
            explainer.check(place, document, most, loosely=loosely, is_compiled=is_compiled)
