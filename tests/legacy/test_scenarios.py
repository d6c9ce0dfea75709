"""Every recorded conversation with Anthias, sent to this service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.legacy.replayer import scenarios

if TYPE_CHECKING:
    from tests.legacy.replayer import Replayer

PLAYERS = "waits for the slice of players: devices, settings, commands, telemetry"
# Each with why; docs/anthias-compatibility.md has those that stay.
DIFFERENT: dict[str, str] = {
    **dict.fromkeys(
        (
            *("act_days", "act_days_and_time", "act_overnight_0300", "act_timezone_change"),
            *("v1_put_dates_in_timezone", "v1_2_put_dates_in_timezone"),
            *("v1_auth_bad_get", "v1_auth_none_get", "v1_reboot_shutdown", "v2_reboot_shutdown"),
            *("v1_viewer_current_some", "v2_auth_internal_endpoints", "v2_display", "v2_recheck"),
            *("v2_import_unknown", "v2_integrations", "v2_integrations_screenly"),
            *("v2_playlist_expired_only", "v2_playlist_future_first", "v2_playlist_processing"),
            *("v2_playlist_shape", "v2_playlist_window_outside_dates", "v2_viewer_forbidden"),
            *("v2_settings_default_assets", "v2_settings_default_duration_used"),
            *("v2_settings_patch_bad_2", "v2_settings_patch_ok_1", "v2_settings_patch_ok_2"),
            *("v2_settings_patch_ok_3", "v2_settings_timezone_info"),
            *("v1_auth_bad_write", "v2_auth_bad_write", "v1_backup_named"),
            *("v1_recover_roundtrip", "v2_recover_roundtrip"),
        ),
        PLAYERS,
    ),
    "v2_auth_docs": "the pages of Anthias's own web interface",
    "v2_auth_off_ignores_header": "there is no service without authentication",
    "v2_settings_auth_enable_errors": "passwords are those of people, not of a device",
}


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda one: one["name"])
def test_answers_are_those_of_anthias(scenario: dict[str, Any], replayer: Replayer) -> None:
    differences = replayer.differences(scenario)
    reason = DIFFERENT.get(scenario["name"])
    if reason is None:
        assert differences == []
    else:
        assert differences, f"passes now, so it is to leave the list: {reason}"
