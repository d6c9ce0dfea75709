"""The short way in front of Django: the same answers, and nobody is let in by what was."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
from django.core.wsgi import get_wsgi_application
from django.db import connection
from strawberry.relay import to_base64

from assets.models import Asset
from graph import shortcut
from project.front import Front
from rls import acting_as, fetch_judged, hang_up, reading
from tenancy import entrances
from tenancy.actors import operator, person
from tenancy.members import add_member, deactivate_membership, update_membership
from tenancy.operators import suspend_tenant
from tenancy.people import create_user, set_password
from tenancy.permissions import Role
from tenancy.tenants import create_tenant, update_settings, update_tenant
from tenancy.tokens import create_token, revoke_token
from tests import databases
from tests.conftest import PLATFORM, basic
from tests.graph.test_compiled import WORKLOADS
from tests.world import PASSWORD, actor_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from uuid import UUID

    from pytest_django import Settings

    from tenancy.actors import Actor
    from tenancy.models import ApiToken
    from tests.world import World

NAMES = "{ assets { edges { node { name } } } }"


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        answer = json.loads(self.body)
        assert "errors" not in answer, answer
        return answer["data"]


class Server:
    """The application as a server calls it, which counts what goes Django's way."""

    def __init__(self) -> None:
        self.django = get_wsgi_application()
        self.front = Front(self._count)
        self.long = 0

    def _count(self, environ: Any, start_response: Any) -> Any:
        self.long += 1
        return self.django(environ, start_response)

    def post(
        self,
        headers: Mapping[str, str],
        query: str = NAMES,
        *,
        host: str = f"acme.{PLATFORM}",
        application: Any = None,
        environ: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Response:
        body = json.dumps({"query": query, **more}).encode()
        sent = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        given: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/graphql",
            "QUERY_STRING": "",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": host,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **sent,
            **(environ or {}),
        }
        started: list[Any] = []

        def start_response(*args: Any) -> Any:
            started.append(args[:2])

        parts: Any = (application or self.front)(given, start_response)
        try:
            answered = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        [(status, got)] = started
        assert len({name.lower() for name, _ in got}) == len(got)
        return Response(int(status[:3]), {name.lower(): value for name, value in got}, answered)

    def get(self, headers: Mapping[str, str], path: str, **more: Any) -> Response:
        to = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "CONTENT_TYPE": "", "CONTENT_LENGTH": ""}
        environ = {**to, **more.pop("environ", {}), "wsgi.input": io.BytesIO()}
        return self.post(headers, environ=environ, **more)

    def by_django(self, headers: Mapping[str, str], query: str = NAMES, **more: Any) -> Response:
        return self.post(headers, query, application=self.django, **more)

    def is_short(self, headers: Mapping[str, str], query: str = NAMES, **more: Any) -> bool:
        """Return whether a request is answered without Django."""
        before = self.long
        self.post(headers, query, **more)
        return self.long == before


@pytest.fixture
def server(committed: World) -> Iterator[Server]:
    del committed
    yield Server()
    hang_up()
    connection.close()


class Place(NamedTuple):
    """A tenant of a test's own: its owner, and a manager by password and by token."""

    owner: Actor
    manager: Actor
    slug: str
    token: ApiToken
    headers: Mapping[str, Mapping[str, str]]

    @property
    def host(self) -> str:
        return f"{self.slug}.{PLATFORM}"


@pytest.fixture
def place(server: Server) -> Place:
    del server
    slug = f"t{uuid4().hex[:12]}"
    owner, manager = (
        person(create_user(f"{slug}-{role}", PASSWORD).pk) for role in ("owner", "manager")
    )
    tenant = create_tenant(actor=owner, name=slug, slug=slug)
    with acting_as(operator(tenant.pk)) as actor:
        add_member(actor=actor, user_id=manager.oneself(), role=Role.MANAGER)
    owner, manager = actor_in(tenant, owner), actor_in(tenant, manager)
    values = {"name": "reader", "permissions": ("assets.view", "assets.edit")}
    with acting_as(manager):
        token, secret = create_token(actor=manager, values=values)
        Asset.objects.create(tenant=tenant, asset_id=uuid4().hex, name=f"of {slug}", uri="x:y")
    headers = {
        "basic": basic(f"{slug}-manager"),
        "token": {"Authorization": f"Bearer {secret}"},
    }
    return Place(owner, manager, slug, token, headers)


CREDENTIALS = ("basic", "token")


def equal(one: Response, other: Response) -> None:
    """Check that two answers differ in nothing but what belongs to each request."""
    own = {"x-request-id"}
    assert one.status == other.status
    assert one.body == other.body
    assert {k: v for k, v in one.headers.items() if k not in own} == {
        k: v for k, v in other.headers.items() if k not in own
    }


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_the_second_request_is_answered_in_front_of_django(
    server: Server, place: Place, credential: str
) -> None:
    headers, host = place.headers[credential], place.host
    first = server.post(headers, host=host)
    assert server.long == 1
    second = server.post(headers, host=host)
    assert server.long == 1
    assert second.data["assets"]["edges"] == [{"node": {"name": f"of {place.slug}"}}]
    equal(first, second)
    equal(second, server.by_django(headers, host=host))
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    mine = server.post({**headers, "X-Request-ID": "mine-12345"}, host=host)
    assert (mine.headers["x-request-id"], server.long) == ("mine-12345", 1)


@pytest.mark.parametrize("name", WORKLOADS)
def test_it_answers_as_django_does(server: Server, place: Place, name: str) -> None:
    with acting_as(place.owner):
        asset = to_base64("Asset", Asset.objects.get().pk)
    for actor in ("owner", "manager"):
        headers = basic(f"{place.slug}-{actor}")
        server.post(headers, host=place.host)
        more: dict[str, Any] = {"host": place.host, "variables": {"id": asset}}
        before = server.long
        answered = server.post(headers, WORKLOADS[name], **more)
        equal(answered, server.by_django(headers, WORKLOADS[name], **more))
        # A manager sees no members: what is refused is not for the short way to say.
        assert (server.long == before) == (actor == "owner" or name != "c")


def test_it_is_one_round_trip_and_one_line_in_the_log(
    server: Server,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    headers = place.headers["token"]
    server.post(headers, host=place.host)
    server.post(headers, host=place.host)
    waited = []
    wait = psycopg.Connection.wait

    def count(*args: Any) -> Any:
        waited.append(1)
        return wait(*args)

    monkeypatch.setattr(psycopg.Connection, "wait", count)
    caplog.clear()
    with caplog.at_level("INFO", "signate.request"):
        server.post({**headers, "X-Request-ID": "mine-12345"}, host=place.host)
    assert len(waited) == 1
    [record] = caplog.records
    assert record.getMessage().startswith("POST /graphql 200 via=subdomain ")


def lowered(place: Place) -> None:
    with acting_as(place.owner):
        changes = {"role": Role.OPERATOR}
        update_membership(
            actor=place.owner, membership=membership_of(place.manager), changes=changes
        )


def membership_of(actor: Actor) -> UUID:
    assert actor.membership_id is not None
    return actor.membership_id


def revoked(place: Place) -> None:
    with acting_as(place.manager):
        revoke_token(actor=place.manager, token=place.token.pk)


def expired(place: Place) -> None:
    with databases.maintenance(connection.settings_dict["NAME"]) as owner:
        owner.execute("UPDATE api_tokens SET expires_at = now() WHERE id = %s", [place.token.pk])


def deactivated(place: Place) -> None:
    with acting_as(place.owner):
        deactivate_membership(actor=place.owner, membership=membership_of(place.manager))


def suspended(place: Place) -> None:
    with acting_as(operator(place.owner.entered())) as actor:
        suspend_tenant(actor=actor, reason="unpaid")


def renamed(place: Place) -> None:
    with acting_as(place.owner):
        update_tenant(actor=place.owner, changes={"slug": f"{place.slug}-2"})


def asked_for_a_second_factor(place: Place) -> None:
    with acting_as(place.owner):
        update_settings(actor=place.owner, changes={"require_2fa": True})


def another_password(place: Place) -> None:
    set_password(place.manager.oneself(), "another horse battery staple")


def closed(place: Place) -> None:
    with databases.maintenance(connection.settings_dict["NAME"]) as owner:
        owner.execute("UPDATE users SET is_active = false WHERE id = %s", [place.manager.oneself()])


BOTH, BASIC, TOKEN = ("basic", "token"), ("basic",), ("token",)
ENDS: dict[Callable[[Place], None], tuple[tuple[str, ...], int]] = {
    revoked: (TOKEN, 401),
    expired: (TOKEN, 401),
    deactivated: (BOTH, 0),
    suspended: (BOTH, 403),
    renamed: (BOTH, 403),
    asked_for_a_second_factor: (BOTH, 403),
    another_password: (BASIC, 401),
    closed: (BOTH, 401),
}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_what_ends_a_credential_ends_it_at_once(
    server: Server, place: Place, end: Callable[[Place], None]
) -> None:
    credentials, status = ENDS[end]
    for credential in credentials:
        server.post(place.headers[credential], host=place.host)
        assert server.is_short(place.headers[credential], host=place.host)
    end(place)
    for credential in credentials:
        refused = server.post(place.headers[credential], host=place.host)
        assert refused.status in ({status} if status else {401, 403})
        assert place.slug.encode() not in refused.body
        equal(refused, server.by_django(place.headers[credential], host=place.host))
        assert not server.is_short(place.headers[credential], host=place.host)


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_less_may_be_seen_at_once(server: Server, place: Place, credential: str) -> None:
    edit = 'mutation($id: ID!) { updateAsset(input: {id: $id, name: "x"}) { errors { code } } }'
    can = "{ me { permissions } }"
    headers, host = place.headers[credential], place.host
    server.post(headers, host=host)
    assert server.is_short(headers, host=host)
    lowered(place)
    # An operator may see assets too, but no plan of a manager's is theirs.
    before = server.long
    server.post(headers, host=host)
    assert server.long == before + 1
    told = server.post(headers, can, host=host)
    equal(told, server.by_django(headers, can, host=host))
    with acting_as(place.owner):
        row = Asset.objects.get()
    variables = {"id": to_base64("Asset", row.pk)}
    refused = server.post(headers, edit, host=host, variables=variables).data
    assert refused["updateAsset"]["errors"][0]["code"] == "FORBIDDEN"
    with acting_as(place.owner):
        assert Asset.objects.get().name == row.name


def test_a_credential_is_remembered_for_one_host_and_one_tenant(
    server: Server, place: Place
) -> None:
    headers = place.headers["token"]
    for _ in range(2):
        server.post(headers, host=place.host)
    for elsewhere in (f"acme.{PLATFORM}", "globex.example", "a..b"):
        refused = server.post(headers, host=elsewhere)
        assert refused.status in {400, 403}
        equal(refused, server.by_django(headers, host=elsewhere))
    named = {**headers, "X-Tenant-ID": place.slug}
    for _ in range(2):
        assert server.post(named, host=PLATFORM).status == 200
    other = server.post({**headers, "X-Tenant-ID": "globex"}, host=PLATFORM)
    assert other.status == 403
    wrong = {"Authorization": headers["Authorization"][:-1] + "x"}
    assert server.post(wrong, host=place.host).status == 401


@pytest.mark.parametrize(
    "unusual",
    [
        {"HTTP_COOKIE": "a=b"},
        {"HTTP_ORIGIN": "https://elsewhere.example"},
        {"HTTP_CONTENT_ENCODING": "gzip"},
        {"QUERY_STRING": "a=b"},
        {"CONTENT_TYPE": "text/plain"},
        {"CONTENT_TYPE": "application/json; charset=latin-1"},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "1000000"},
        {"CONTENT_LENGTH": "5"},
        {"REQUEST_METHOD": "GET"},
        {"REQUEST_METHOD": "PUT"},
        {"HTTP_ACCEPT": "application/graphql-response+json"},
    ],
    ids=lambda unusual: "-".join(unusual.values()),
)
def test_what_is_unusual_is_djangos(server: Server, place: Place, unusual: dict[str, str]) -> None:
    headers, host = place.headers["basic"], place.host
    server.post(headers, host=host)
    before = server.long
    answered = server.post(headers, host=host, environ=unusual)
    assert server.long == before + 1
    equal(answered, server.by_django(headers, host=host, environ=unusual))


@pytest.mark.parametrize(
    "query",
    [
        "{ nothing }",
        "{",
        "mutation { noSuchThing }",
        "subscription { assetChanged { kind } }",
        "{ __schema { queryType { name } } }",
        '{ asset(id: "not an id") { name } }',
    ],
)
def test_what_is_no_plain_success_is_djangos(server: Server, place: Place, query: str) -> None:
    headers, host = place.headers["token"], place.host
    server.post(headers, host=host)
    assert not server.is_short(headers, query, host=host)
    shown = [
        json.loads(one.body)
        for one in (
            server.post(headers, query, host=host),
            server.by_django(headers, query, host=host),
        )
    ]
    for answer in shown:
        for error in answer.get("errors", ()):
            error.get("extensions", {}).pop("requestId", None)
    assert shown[0] == shown[1]


def test_a_write_goes_djangos_way_with_its_body(server: Server, place: Place) -> None:
    headers, host = place.headers["token"], place.host
    server.post(headers, host=host)
    with acting_as(place.owner):
        asset = to_base64("Asset", Asset.objects.get().pk)
    write = "mutation($id: ID!, $n: String!) { updateAsset(input: {id: $id, name: $n}) { asset { name } } }"
    done = server.post(headers, write, host=host, variables={"id": asset, "n": "new"})
    assert done.data == {"updateAsset": {"asset": {"name": "new"}}}
    assert server.post(headers, host=host).data["assets"]["edges"] == [{"node": {"name": "new"}}]


def test_a_lost_connection_is_replaced(server: Server, place: Place) -> None:
    headers, host = place.headers["token"], place.host
    for _ in range(2):
        server.post(headers, host=host)
    kept = reading._own.connection
    assert kept is not None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [kept.info.backend_pid])
    before = server.long
    assert server.post(headers, host=host).status == 200
    assert server.long == before + 1
    assert server.is_short(headers, host=host)
    assert reading._own.connection is not kept


def test_what_was_taken_from_the_pool_goes_back(
    server: Server, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, host, answer = place.headers["token"], place.host, shortcut.answer
    server.post(headers, host=host)

    def asking(*args: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return answer(*args)

    monkeypatch.setattr(shortcut, "answer", asking)
    assert server.is_short(headers, host=host)
    assert connection.connection is None


def test_a_statement_that_was_cancelled_is_not_tried_again(
    server: Server, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, host = place.headers["token"], place.host
    for _ in range(2):
        server.post(headers, host=host)
    kept = reading._own.connection
    assert kept is not None
    kept.execute("SET statement_timeout = 200")
    query = "{ assets { edges { node { name uri } } } }"
    sent = []

    def slow(actor: Any, statement: bytes, parameters: Any, **more: Any) -> Any:
        sent.append(statement)
        return fetch_judged(
            actor, b"SELECT pg_sleep(5)::text, " + statement[7:], parameters, **more
        )

    monkeypatch.setattr(shortcut, "fetch_judged", slow)
    answered = json.loads(server.post(headers, query, host=host).body)
    assert answered["data"] == {"assets": None}
    [error] = answered["errors"]
    assert (error["message"], error["path"]) == ("Internal error", ["assets"])
    assert len(sent) == 1
    monkeypatch.undo()
    kept.execute("RESET statement_timeout")
    assert server.is_short(headers, query, host=host)


def test_it_costs_what_it_costs(server: Server, place: Place, settings: Settings) -> None:
    headers, host = place.headers["token"], place.host
    for _ in range(2):
        server.post(headers, host=host)
    settings.GRAPHQL_BUDGET = 1
    refused = server.post(headers, host=host)
    assert (refused.status, "retry-after" in refused.headers) == (429, True)


@pytest.mark.parametrize("setting", [{"COMPILED_READS": False}, {"DEBUG": True}])
def test_it_can_be_switched_off(
    server: Server, place: Place, settings: Settings, setting: dict[str, bool]
) -> None:
    for name, value in setting.items():
        setattr(settings, name, value)
    headers, host = place.headers["token"], place.host
    server.post(headers, host=host)
    assert not server.is_short(headers, host=host)


def test_nobody_is_remembered_for_long(
    server: Server, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, host = place.headers["token"], place.host
    server.post(headers, host=host)
    assert server.is_short(headers, host=host)
    later = time.monotonic() + entrances.REMEMBERED_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not server.is_short(headers, host=host)
    assert server.is_short(headers, host=host)


def test_what_is_remembered_is_bounded_and_holds_no_secret(
    server: Server, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrances, "MAX_REMEMBERED", 3)
    headers, host = place.headers["token"], place.host
    for number in range(5):
        server.post({**headers, "Accept": f"text/{number}"}, host=host)
    known = server.front._entrances._known
    assert len(known) == 3
    secret = headers["Authorization"].removeprefix("Bearer ")
    assert secret not in repr(known)


# --- the old API's lists --------------------------------------------------------------------------


def check_list(server: Server, headers: Mapping[str, str], path: str, host: str) -> Response:
    """Check that a list is answered in front of Django, as Django does; return it."""
    server.get(headers, path, host=host)
    before = server.long
    answered = server.get(headers, path, host=host)
    assert server.long == before
    equal(answered, server.get(headers, path, host=host, application=server.django))
    return answered


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("version", ["v1", "v1.1", "v1.2", "v2"])
def test_lists_of_the_old_api_are_answered_too(
    server: Server, place: Place, version: str, credential: str
) -> None:
    headers, host, path = place.headers[credential], place.host, f"/api/{version}/assets"
    [shown] = json.loads(check_list(server, headers, path, host).body)
    assert shown["name"] == f"of {place.slug}"
    # A zone that nobody has guessed yet, and then another.
    for zone in ("Asia/Kathmandu", "America/New_York"):
        with acting_as(place.owner):
            update_settings(actor=place.owner, changes={"timezone": zone})
            Asset.objects.update(start_date="2026-01-02T03:04:05Z")
        [shown] = json.loads(check_list(server, headers, path, host).body)
        assert shown["start_date"].startswith("2026-01-0")
    with acting_as(place.owner):
        Asset.objects.all().delete()
    assert check_list(server, headers, path, host).body == b"[]"


def test_a_list_ends_with_its_credential(server: Server, place: Place) -> None:
    path = "/api/v2/assets"
    for credential in CREDENTIALS:
        check_list(server, place.headers[credential], path, place.host)
    suspended(place)
    for credential in CREDENTIALS:
        refused = server.get(place.headers[credential], path, host=place.host)
        assert refused.status == 403
        assert place.slug.encode() not in refused.body


@pytest.mark.parametrize(
    ("unusual", "status"),
    [
        ({"HTTP_IF_NONE_MATCH": '"x"'}, 200),
        ({"HTTP_ACCEPT": "text/html"}, 200),
        ({"HTTP_ACCEPT": "image/png"}, 406),
        ({"QUERY_STRING": "format=api"}, 200),
        ({"REQUEST_METHOD": "HEAD"}, 200),
        ({"REQUEST_METHOD": "OPTIONS"}, 200),
        ({"PATH_INFO": "/api/v2/info"}, 200),
    ],
)
def test_an_unusual_list_is_djangos(
    server: Server, place: Place, unusual: dict[str, str], status: int
) -> None:
    headers, host, path = place.headers["basic"], place.host, "/api/v2/assets"
    check_list(server, headers, path, host)
    for _ in range(2):
        before = server.long
        answered = server.get(headers, path, host=host, environ=unusual)
        assert (server.long, answered.status) == (before + 1, status)


def test_who_may_see_no_assets_is_told_so_by_django(server: Server, place: Place) -> None:
    with acting_as(place.owner):
        values = {"name": "none", "permissions": ("devices.view",)}
        _row, secret = create_token(actor=place.owner, values=values)
    headers, path = {"Authorization": f"Bearer {secret}"}, "/api/v2/assets"
    server.post(headers, host=place.host)
    for _ in range(2):
        before = server.long
        assert server.get(headers, path, host=place.host).status == 403
        assert server.long == before + 1
