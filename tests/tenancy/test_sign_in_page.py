"""The sign-in page refuses whoever could do nothing on its host, and outdated forms kindly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from tests.conftest import PLATFORM
from tests.world import PASSWORD

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.world import World


def sign_in(username: str, host: str) -> Any:
    return Client(HTTP_HOST=host).post("/login/", {"username": username, "password": PASSWORD})


@pytest.mark.parametrize(
    ("username", "host"),
    [
        ("acme-owner", f"globex.{PLATFORM}"),
        ("outsider", f"acme.{PLATFORM}"),
        ("initech-owner", f"initech.{PLATFORM}"),
        ("acme-owner", f"nobody.{PLATFORM}"),
        ("acme-owner", "signage.example.com"),
    ],
    ids=["foreign", "of no tenant", "suspended", "unknown", "unknown domain"],
)
def test_strangers_get_no_session_and_learn_nothing(world: World, username: str, host: str) -> None:
    del world
    response = sign_in(username, host)
    assert response.status_code == 403
    assert "There is no such tenant, or you are not a member of it." in response.content.decode()
    assert "sessionid" not in response.cookies
    assert not Session.objects.exists()


@pytest.mark.parametrize(
    ("username", "host"),
    [
        ("acme-viewer", f"acme.{PLATFORM}"),
        ("both", f"globex.{PLATFORM}"),
        ("outsider", PLATFORM),
        ("initech-owner", PLATFORM),
    ],
    ids=["member", "member of two", "of no tenant", "of a suspended one"],
)
def test_members_and_anybody_on_the_platforms_host_get_one(
    world: World, username: str, host: str
) -> None:
    del world
    response = sign_in(username, host)
    assert response.status_code == 302
    assert response["Location"] == "/graphql"
    assert response.cookies["sessionid"].value


def test_an_outdated_form_is_refused_with_a_way_back(world: World, settings: Settings) -> None:
    del world
    settings.CSRF_FAILURE_VIEW = "tenancy.views.stale_form"
    client = Client(HTTP_HOST=f"acme.{PLATFORM}", enforce_csrf_checks=True)
    response = client.post("/login/", {"username": "acme-owner", "password": PASSWORD})
    assert response.status_code == 403
    assert "This page is out of date" in response.content.decode()
    assert 'href="/login/"' in response.content.decode()
    assert "script-src" not in response["Content-Security-Policy"]
    assert "sessionid" not in response.cookies
