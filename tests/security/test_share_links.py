"""Share links: exact limits under parallel opens, one answer to everything else, no token told."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from assets import share_views, sharing
from assets.models import Asset, ShareLink
from rls import acting_as
from tenancy.actors import operator
from tenancy.logs import LineFormatter, logged_path
from tenancy.models import Tenant
from tests import databases
from tests.conftest import PLATFORM, basic
from tests.media import PNG, add_media, body
from tests.shares import change, link_of, shape, share, visit
from tests.world import create_world

if TYPE_CHECKING:
    from pathlib import Path

    from django.http import HttpResponse
    from pytest_django import Settings

    from tests.world import Inhabited, World

NEVER = "/share/" + "x" * 43


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Settings) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def suspend(place: Inhabited) -> None:
    with acting_as(operator(place.tenant.id)):
        Tenant.objects.filter(pk=place.tenant.pk).update(is_active=False)


def refused(path: str, *, host: str = f"acme.{PLATFORM}") -> None:
    """Fail unless the answers are, to the byte, those of a link there has never been."""
    for how in (
        {},
        {"html": True},
        {"method": "HEAD"},
        {"method": "POST", "data": {"password": "correct horse"}},
        {"method": "POST", "html": True, "data": {"password": "correct horse"}},
        {"headers": {"Range": "bytes=0-5", "If-None-Match": "*"}},
        {"headers": basic("", "correct horse")},
    ):
        nothing = visit(NEVER, **how)
        assert nothing.status_code == 404
        assert nothing["Cache-Control"] == "no-store"
        assert nothing["Referrer-Policy"] == "no-referrer"
        assert nothing["X-Robots-Tag"] == "noindex, nofollow"
        answer = visit(path, host=host, **how)
        assert shape(answer) == shape(nothing), (path, how)


# --- limits ---------------------------------------------------------------------------------------


def _opens_at_once(count: int, path: str) -> list[int]:
    together, statuses = threading.Barrier(count), []

    def opening() -> None:
        try:
            together.wait(30)
            statuses.append(visit(path).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=opening) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return sorted(statuses)


@pytest.mark.usefixtures("scratch_database")
def test_of_50_opens_at_once_with_3_views_left_exactly_3_open() -> None:
    world = create_world()
    with acting_as(world.acme.owner):
        Asset.objects.filter(pk=world.acme.assets[1].pk).update(uri="https://example.com")
    asset, path = share(world.acme, world.acme.assets[1], max_views=5)
    for _ in range(2):
        assert visit(path).status_code == 302
    assert _opens_at_once(50, path) == [302] * 3 + [404] * 47
    assert link_of(world.acme, asset).access_count == 5


@pytest.mark.usefixtures("scratch_database")
def test_no_view_is_lost_and_none_comes_after_the_end() -> None:
    world = create_world()
    asset, path = share(world.acme, world.acme.assets[1])
    assert _opens_at_once(20, path) == [302] * 20
    assert link_of(world.acme, asset).access_count == 20
    # Somebody ends it while others wait for the row.
    opened: list[int] = []

    def opening() -> None:
        try:
            opened.append(visit(path).status_code)
        finally:
            connection.close()

    with acting_as(world.acme.owner) as actor:
        sharing.revoke_share(actor=actor, asset=asset.pk)
        threads = [threading.Thread(target=opening) for _ in range(3)]
        for thread in threads:
            thread.start()
        # The first waits for the transaction and holds the row's tuple, for which the others wait.
        waiting = (
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE locktype = 'tuple' AND datname = current_database()"
        )
        with databases.maintenance(connection.settings_dict["NAME"]) as watching:
            deadline = datetime.now(UTC) + timedelta(seconds=30)
            while watching.execute(waiting).fetchone() != (3,):
                assert datetime.now(UTC) < deadline
    for thread in threads:
        thread.join(30)
    assert opened == [404] * 3
    assert link_of(world.acme, asset).access_count == 20


# --- one answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "x" * 42,
        "x" * 44,
        "x" * 5000,
        "x" * 42 + "%3D",
        "x" * 43 + "/",
        "x" * 43 + "%0A",
        "x" * 20 + "/" + "x" * 22,
        "%00" * 43,
        "%C3%A9" * 43,
        "%ED%A0%80" * 43,
        "..%2f..%2fetc%2fpasswd",
        "%D9%A9" * 43,
        "' OR 1=1 --",
    ],
)
def test_what_is_no_token_opens_nothing(world: World, token: str) -> None:
    del world
    refused(f"/share/{token}")


def test_a_token_that_is_not_quite_it_opens_nothing(acme: Inhabited) -> None:
    asset, path = share(acme)
    for other in (
        path[:-1],
        path + "A",
        path + "/",
        path + "%20",
        path[:-1] + ("A" if path[-1] != "A" else "B"),
        path.swapcase().replace("/SHARE/", "/share/"),
        f"/share/{link_of(acme, asset).token_digest}",
        f"/share/{link_of(acme, asset).pk}",
        f"/share/{asset.pk}",
    ):
        refused(other)
    assert link_of(acme, asset).access_count == 0


@pytest.mark.parametrize(
    "values",
    [
        {"revoked_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"expires_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"max_views": 7, "access_count": 7},
        {"max_views": 7, "access_count": 8},
        {"token_digest": "0" * 64},
    ],
    ids=["revoked", "expired", "used up", "more than used up", "changed"],
)
@pytest.mark.parametrize("password", [None, "correct horse"])
def test_a_link_that_is_not_open_was_never_there(
    acme: Inhabited, values: dict[str, Any], password: str | None
) -> None:
    asset, path = share(acme, password=password)
    change(acme, asset, **values)
    before = link_of(acme, asset).access_count
    refused(path)
    assert link_of(acme, asset).access_count == before


def test_a_link_of_a_suspended_tenant_of_a_deleted_asset_and_elsewhere(
    acme: Inhabited, world: World
) -> None:
    asset, path = share(acme)
    for host in (f"globex.{PLATFORM}", f"initech.{PLATFORM}", "screens.example"):
        refused(path, host=host)
    _, deleted = share(acme)
    with acting_as(acme.owner):
        Asset.objects.exclude(pk=asset.pk).delete()
    refused(deleted)
    _, foreign = share(world.globex)
    refused(foreign)
    _, suspended = share(world.initech)
    for host in (f"initech.{PLATFORM}", PLATFORM):
        refused(suspended, host=host)
    assert body(visit(path)) == PNG
    suspend(acme)
    refused(path)
    assert link_of(acme, asset).access_count == 1


def test_the_clock_is_the_databases(acme: Inhabited, monkeypatch: pytest.MonkeyPatch) -> None:
    asset, path = share(acme)
    change(acme, asset, expires_at=datetime.now(UTC) - timedelta(minutes=1))
    monkeypatch.setattr(timezone, "now", lambda: datetime.now(UTC) - timedelta(days=1))
    refused(path)


def test_other_methods_are_refused_alike_and_count_nothing(acme: Inhabited) -> None:
    asset, path = share(acme)
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        answer, nothing = (visit(one, method=method) for one in (path, NEVER))
        assert answer.status_code == 405
        assert shape(answer) == shape(nothing)
    assert link_of(acme, asset).access_count == 0


def test_a_link_opens_its_asset_and_no_more(acme: Inhabited) -> None:
    other = add_media(acme)
    _, path = share(acme)
    text = visit(path, html=True).content.decode()
    assert str(other.pk) not in text
    for elsewhere in ("/graphql", f"/media/{acme.tenant.id}/{other.pk}/original"):
        token = path.rsplit("/", 1)[1]
        for headers in ({"Authorization": f"Bearer {token}"}, basic("", token)):
            assert visit(elsewhere, headers=headers).status_code in {401, 404}


@pytest.mark.parametrize(
    "headers",
    [
        basic("acme-owner"),
        basic("acme-owner", "wrong"),
        {"Authorization": "Basic rubbish"},
        {"Cookie": "sessionid=" + "x" * 32},
        {"X-Tenant-ID": "globex"},
        {"Accept": "text/html; q*=x''y"},
        {"Accept": "text/html; q=nan, ,;"},
    ],
)
def test_a_link_looks_at_nothing_else_that_is_sent(
    acme: Inhabited, headers: dict[str, str]
) -> None:
    _, path = share(acme)
    with CaptureQueriesContext(connection) as captured:
        assert visit(path, headers=headers).status_code == 200
    sent = " ".join(query["sql"] for query in captured.captured_queries)
    for word in ("sign_in_lookup", "identity_of", "django_session", "user_credentials"):
        assert word not in sent
    assert sent.count("UPDATE") == 1


# --- what is kept and told ------------------------------------------------------------------------


def test_a_dump_holds_nothing_that_opens(acme: Inhabited) -> None:
    asset, path = share(acme, password="correct horse")
    token = path.rsplit("/", 1)[1]
    with acting_as(acme.owner), connection.cursor() as cursor:
        cursor.execute(
            "SELECT s::text, a::text FROM share_links s JOIN assets a ON a.id = s.asset_id"
        )
        rows = str(cursor.fetchall())
    assert str(asset.pk) in rows
    assert token not in rows
    assert "correct horse" not in rows
    assert link_of(acme, asset).password.startswith("argon2$argon2id$")


def test_the_application_finds_a_link_of_another_tenant_by_its_digest_only(
    acme: Inhabited, globex: Inhabited
) -> None:
    asset, path = share(globex)
    token = path.rsplit("/", 1)[1]
    assert sharing.find_share(token) == (link_of(globex, asset).pk, globex.tenant.pk)
    for wrong in ("", "%", "x" * 43, token[:-1]):
        assert sharing.find_share(wrong) is None
    with acting_as(acme.owner):
        assert not ShareLink.objects.filter(asset_id=asset.pk).exists()


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [LineFormatter().format(record) for record in caplog.records]


def test_no_line_of_the_log_has_a_token(
    acme: Inhabited, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    asset, path = share(acme)
    locked, locked_path = share(acme, password="correct horse")
    tokens = [one.rsplit("/", 1)[1] for one in (path, locked_path)]
    visit(path)
    visit(path, html=True)
    visit(path, host="bad host")
    visit(path + "/")
    visit(f"/share/x/{tokens[0]}")
    visit(f"/Share/{tokens[0]}")
    visit(f"/elsewhere/share/{tokens[0]}?x={tokens[0]}")
    visit(path, method="PUT")
    visit(path, host=f"globex.{PLATFORM}")
    visit(locked_path, method="POST", data={"password": "wrong horse"})
    visit(locked_path, method="POST", data={"password": "x" * 2_000_000})
    visit(locked_path, headers=basic("", "correct horse"))
    for error in (OperationalError("gone"), RuntimeError(f"GET {path} failed")):

        def failing(*_args: Any, error: Exception = error) -> HttpResponse:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(share_views, "count_view", failing)
            expected = 503 if isinstance(error, OperationalError) else 500
            assert visit(path).status_code == expected
    change(acme, asset, expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    visit(path)
    lines = _lines(caplog)
    told = "\n".join(lines)
    for secret in (*tokens, "wrong horse", "correct horse"):
        assert secret not in told
    assert any(" GET /share/- 200 " in line for line in lines)
    assert any(" GET /share/- 404 " in line for line in lines)
    assert any(" GET /share/- 500 " in line for line in lines)
    assert any("Internal Server Error: /share/[secret]" in line for line in lines)
    assert any(f"wrong password of share link {link_of(acme, locked).pk}" in line for line in lines)
    # Not even before the formatter has looked.
    ours = [record.getMessage() for record in caplog.records if record.name == "signate.request"]
    assert not any(token in line for token in tokens for line in ours)


def test_a_path_is_logged_without_what_opens() -> None:
    for path, logged in (
        ("/share/abc", "/share/-"),
        ("/share/abc/def\nghi", "/share/-"),
        ("/Share/abc", "/Share/-"),
        ("//share/abc", "//share/-"),
        ("/share/", "/share/"),
        ("/shared/abc", "/shared/abc"),
        ("/graphql", "/graphql"),
    ):
        assert logged_path(path) == logged


def test_nothing_of_another_tenant_is_told(acme: Inhabited, globex: Inhabited) -> None:
    _, path = share(acme, password="correct horse")
    sent = {"method": "POST", "data": {"password": "correct horse"}}
    ways: list[dict[str, Any]] = [{}, {"html": True}, sent, {"html": True, **sent}]
    for how in ways:
        answer = visit(path, **how)
        told = body(answer) + repr(dict(answer.items())).encode()
        assert globex.marker.encode() not in told
