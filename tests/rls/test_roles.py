"""The roles command: idempotent, and it takes back what a role should never have had."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connections

from rls.guard import role_faults
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
        # No table is read whole: there are rows of others in it.
        cursor.execute("SELECT current_setting('enable_seqscan'), current_setting('jit')")
        assert cursor.fetchone() == ("off", "off")
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


@pytest.mark.parametrize(
    ("attributes", "faults"),
    [
        ("LOGIN", []),
        ("LOGIN CREATEROLE", ["planted has CREATEROLE or REPLICATION"]),
        ("LOGIN REPLICATION", ["planted has CREATEROLE or REPLICATION"]),
        ("LOGIN NOINHERIT IN ROLE signage_lookup", ["planted may become signage_lookup"]),
        ("LOGIN IN ROLE pg_read_server_files", ["planted may become pg_read_server_files"]),
    ],
)
def test_a_role_that_reaches_further_is_found(
    django_db_setup: None, attributes: str, faults: list[str]
) -> None:
    del django_db_setup
    name = connections["default"].settings_dict["NAME"]
    with psycopg.connect(django_settings.DATABASE_SUPERUSER_URL, dbname=name) as superuser:
        cursor = superuser.cursor()
        cursor.execute(f"CREATE ROLE planted {attributes}")
        assert role_faults(cursor, "planted") == faults
        superuser.rollback()


def test_who_logged_in_as_more_is_found_whatever_they_became() -> None:
    with psycopg.connect(
        django_settings.DATABASE_SUPERUSER_URL, options="-c role=signage_app"
    ) as connection:
        faults = role_faults(connection.cursor())
    assert faults[0].endswith("is a superuser")


@pytest.mark.parametrize("setting", ["app.current_tenant_id", "app.current_user_id"])
def test_a_session_that_starts_inside_a_tenant_is_refused_every_time(
    scratch_database: str, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    del scratch_database
    connection = connections["default"]
    value = "00000000-0000-7000-8000-000000000000"
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", f"-c {setting}={value}")
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match=f"{setting} is set before anybody acts"):
            connection.ensure_connection()
