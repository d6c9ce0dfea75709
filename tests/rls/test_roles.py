"""The roles command: idempotent, and it takes back what a role should never have had."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from rls.roles import LOGINS

if TYPE_CHECKING:
    from pytest_django import Settings as SettingsWrapper


@pytest.mark.django_db(databases=["default", "owner"])
def test_the_roles_are_what_the_design_says() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT rolname, rolsuper, rolcanlogin, rolcreaterole, rolbypassrls FROM pg_roles "
            "WHERE rolname LIKE 'signage%' ORDER BY rolname"
        )
        rows = {name: tuple(rest) for name, *rest in cursor.fetchall()}
        cursor.execute("SELECT current_user, session_user")
        assert cursor.fetchone() == ("signage_app", "signage_app")
    assert rows["signage_app"] == (False, True, False, False)
    assert rows["signage_owner"] == (False, False, False, False)
    assert rows["signage_lookup"] == (False, False, False, False)
    assert rows["signage_maintenance"][:3] == (False, True, False)
    assert set(LOGINS) < rows.keys()


def test_the_command_names_what_it_lacks(settings: SettingsWrapper) -> None:
    settings.DATABASE_SUPERUSER_URL = ""
    with pytest.raises(CommandError, match="DATABASE_SUPERUSER_URL"):
        call_command("create_roles")
    settings.DATABASE_SUPERUSER_URL = "postgresql://nobody@/nowhere?host=/nonexistent"
    with pytest.raises(CommandError, match="could not create the roles"):
        call_command("create_roles")


def test_the_command_refuses_logins_that_are_not_ours(
    settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATABASE_SUPERUSER_URL = "postgresql://nobody@/nowhere?host=/nonexistent"
    monkeypatch.setitem(settings.DATABASES["default"], "USER", "postgres")
    with pytest.raises(CommandError, match="DATABASE_URL must log in as signage_app"):
        call_command("create_roles")


def test_it_can_be_run_again(settings: SettingsWrapper) -> None:
    assert settings.DATABASE_SUPERUSER_URL, "tests of the roles need DATABASE_SUPERUSER_URL"
    out = StringIO()
    call_command("create_roles", "--createdb", stdout=out)
    assert "are there" in out.getvalue()
