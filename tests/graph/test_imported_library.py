"""The main job, end to end: an Anthias database goes in, GraphQL answers what Anthias shows for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from strawberry.utils.str_converters import to_camel_case

from assets.importing import import_library
from graph import context

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Graph
    from tests.world import Inhabited

ROOT = Path(settings.BASE_DIR)
SAMPLE = ROOT / "assets/samples/anthias-current"
EXPECTED: list[dict[str, Any]] = json.loads(
    (ROOT / "tests/data/anthias/expected_v2_assets.json").read_text("utf-8")
)
# When Anthias was asked: `is_active` depends on it.
ASKED = datetime(2026, 11, 23, 4, 39, tzinfo=UTC)
FIELDS = {name: to_camel_case(name) for name in EXPECTED[0]}
QUERY = f"""query($after: String) {{
  assets(first: 50, after: $after) {{
    totalCount edges {{ node {{ {" ".join(FIELDS.values())} tags }} }}
  }} }}"""


class Stopped(datetime):
    """A clock that stands at the moment Anthias was asked."""

    @classmethod
    def now(cls, tz: Any = None) -> Stopped:
        return cls.fromtimestamp(ASKED.timestamp(), tz)


@pytest.fixture
def imported(acme: Inhabited, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Inhabited:
    """The tenant acme with the sample library imported into it."""
    monkeypatch.setattr(settings, "MEDIA_ROOT", tmp_path)
    monkeypatch.setattr(context, "datetime", Stopped)
    report = import_library(
        SAMPLE / "anthias.db",
        actor=acme.owner,
        assets_dir=SAMPLE / "anthias_assets",
        preserve_ids=True,
    )
    assert (report.total, report.migrated) == (43, 43)
    return acme


def test_every_field_of_every_asset_is_what_anthias_shows(
    imported: Inhabited, gql: Callable[..., Graph]
) -> None:
    assert imported.tenant.slug == "acme"
    page = gql("acme-owner").data(QUERY)["assets"]
    # Three assets were there before.
    assert page["totalCount"] == 46
    shown = [edge["node"] for edge in page["edges"]][3:]
    assert [node["assetId"] for node in shown] == [row["asset_id"] for row in EXPECTED]
    for node, row in zip(shown, EXPECTED, strict=True):
        ours = {name: node[FIELDS[name]] for name in FIELDS}
        added = {"migrated_from_sqlite": True, "original_asset_id": row["asset_id"]}
        assert ours == {**row, "metadata": {**row["metadata"], **added}}, row["name"]
        assert node["tags"] == ["migrated", "legacy"]


def test_the_other_tenant_sees_not_one_of_them(
    imported: Inhabited, gql: Callable[..., Graph]
) -> None:
    del imported
    ids = [row["asset_id"] for row in EXPECTED]
    data = gql("globex-owner").data(
        "query($ids: [String!]!) { assets(filter: {assetIds: $ids}) { totalCount } "
        "assets2: assets { totalCount } }",
        ids=ids,
    )
    assert data == {"assets": {"totalCount": 0}, "assets2": {"totalCount": 3}}
