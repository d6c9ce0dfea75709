"""Every recorded conversation with Anthias, sent to this service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.legacy.replayer import scenarios

if TYPE_CHECKING:
    from tests.legacy.replayer import Replayer

BACKUP = "waits for the slice of backups"
# Each with why; docs/anthias-compatibility.md has those that stay.
DIFFERENT: dict[str, str] = {
    **dict.fromkeys(
        (
            *("v1_auth_bad_write", "v2_auth_bad_write", "v1_backup_named"),
            *("v1_recover_errors", "v2_recover_errors"),
            *("v1_recover_roundtrip", "v2_recover_roundtrip"),
        ),
        BACKUP,
    ),
    "v2_auth_docs": "the pages of Anthias's own web interface",
    "v2_auth_off_ignores_header": "there is no service without authentication",
    "v2_auth_internal_endpoints": "whose addresses they are is not known without a credential",
}


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda one: one["name"])
def test_answers_are_those_of_anthias(scenario: dict[str, Any], replayer: Replayer) -> None:
    differences = replayer.differences(scenario)
    reason = DIFFERENT.get(scenario["name"])
    if reason is None:
        assert differences == []
    else:
        assert differences, f"passes now, so it is to leave the list: {reason}"
