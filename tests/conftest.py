"""Fixtures: the database as the application role sees it, two inhabited tenants, a client.

There is no switch that turns the wall off. What a test needs to see from outside it reads through
`owner_cursor`, explicitly.
"""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.core.cache import caches
from django.db import connections
from django.test import Client
from redis.client import Pipeline, Redis
from redis.exceptions import ConnectionError as RedisAway

from tests import databases
from tests.world import PASSWORD, Inhabited, World, create_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import DjangoDbBlocker

# Leave out tests of what is not installed here, a browser and ffmpeg, and say so; ask every query
# on both roads.
pytest_plugins = ["tests.browser.presence", "tests.assets.presence", "tests.both_roads"]

FUZZ_EXAMPLES = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how long fuzzing is: the suite's own is short, and the same each time."""
    parser.addoption(
        "--fuzz-examples",
        type=int,
        default=FUZZ_EXAMPLES,
        help="how many requests fuzzing makes of each operation; any other number is random",
    )


PLATFORM = "signage.test"


@pytest.fixture(scope="session", autouse=True)
def _settings() -> None:
    """One platform domain, cache keys that no other run shares, and hashes that cost little."""
    Argon2PasswordHasher.time_cost = 1
    Argon2PasswordHasher.memory_cost = 1024
    Argon2PasswordHasher.parallelism = 1
    django_settings.PLATFORM_DOMAIN = PLATFORM
    # What is left of one would make answers differ that are to be the same, byte by byte.
    django_settings.GRAPHQL_BUDGET = 0
    django_settings.CACHES["default"]["KEY_PREFIX"] = f"test:{uuid4().hex}"
    caches["default"].key_prefix = django_settings.CACHES["default"]["KEY_PREFIX"]
    # What a request writes besides what it is asked to is left to the tests of that.
    django_settings.LAST_ACCESS_SECONDS = 0
    # One connection per thread: a pool would keep the test database open.
    connections["default"].settings_dict["OPTIONS"].pop("pool", None)


@pytest.fixture(scope="session")
def template_database(_settings: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    with django_db_blocker.unblock(), databases.migrated_template() as name:
        yield name


@pytest.fixture(scope="session")
def django_db_setup(
    template_database: str, django_db_blocker: DjangoDbBlocker, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Point both aliases at a copy of the template that holds the world (pytest-django's hook)."""
    with (
        django_db_blocker.unblock(),
        databases.copy_of(template_database) as name,
        databases.pointed_at(name),
    ):
        request.config.stash[WORLD] = create_world()
        connections["default"].close()
        yield
        connections.close_all()


WORLD = pytest.StashKey[World]()


@pytest.fixture
def world(db: None, request: pytest.FixtureRequest) -> World:
    """Everybody, in a transaction that is rolled back after the test."""
    del db
    return request.config.stash[WORLD]


@pytest.fixture
def acme(world: World) -> Inhabited:
    """The tenant acme: `.tenant`, `.owner`, `.admin`, `.manager`, `.operator`, `.viewer`."""
    return world.acme


@pytest.fixture
def globex(world: World) -> Inhabited:
    """The other tenant."""
    return world.globex


@pytest.fixture
def owner_cursor(django_db_setup: None) -> Iterator[psycopg.Cursor[Any]]:
    """A cursor of the maintenance role: sees committed rows of every tenant; rolled back."""
    del django_db_setup
    name = connections["default"].settings_dict["NAME"]
    with psycopg.connect(databases.owner_conninfo(name)) as connection:
        yield connection.cursor()
        connection.rollback()


@pytest.fixture
def scratch_database(
    template_database: str, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """A database of the test's own, with a world of its own; both aliases point at it."""
    del django_db_setup
    with (
        django_db_blocker.unblock(),
        databases.copy_of(template_database) as name,
        databases.pointed_at(name),
    ):
        yield name
        connections.close_all()


@pytest.fixture
def redis_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command reaches Redis."""

    def lost(*_args: Any, **_kwargs: Any) -> None:
        raise RedisAway

    monkeypatch.setattr(Redis, "execute_command", lost)
    monkeypatch.setattr(Pipeline, "execute", lost)


@pytest.fixture(scope="module")
def committed(
    template_database: str, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[World]:
    """A world in a database of the module's own, for what works in several threads.

    Nothing is rolled back: a test that changes more than its own rows makes its own tenant.
    """
    del django_db_setup
    with (
        django_db_blocker.unblock(),
        databases.copy_of(template_database) as name,
        databases.pointed_at(name),
    ):
        world = create_world()
        connections["default"].close()
        yield world
        connections.close_all()


def basic(username: str, password: str = PASSWORD) -> dict[str, str]:
    """Return the headers of a Basic credential."""
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


@pytest.fixture
def client_of(world: World) -> Callable[..., Client]:
    """Make a client: `client_of("acme-owner")` speaks to its tenant's host with Basic."""
    del world

    def make(
        username: str = "", *, host: str = "", headers: dict[str, str] | None = None
    ) -> Client:
        slug = username.partition("-")[0]
        return Client(
            headers={**(basic(username) if username else {}), **(headers or {})},
            HTTP_HOST=host or (f"{slug}.{PLATFORM}" if slug in {"acme", "globex"} else PLATFORM),
            raise_request_exception=False,
        )

    return make


class Graph:
    """A GraphQL client: call it with a document, get the decoded answer."""

    def __init__(self, client: Client) -> None:
        """Speak through `client`."""
        self.client = client

    def post(self, query: str, variables: dict[str, Any] | None = None) -> Any:
        """Return the raw response to one operation."""
        return self.client.post(
            "/graphql",
            json.dumps({"query": query, "variables": variables or {}}),
            content_type="application/json",
        )

    def __call__(self, query: str, /, **variables: Any) -> dict[str, Any]:
        """Return the whole answer, errors included."""
        answer: dict[str, Any] = json.loads(self.post(query, variables).content)
        return answer

    def data(self, query: str, /, **variables: Any) -> dict[str, Any]:
        """Return `data`; fail with the errors when there are any."""
        answer = self(query, **variables)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data


@pytest.fixture
def gql(client_of: Callable[..., Client]) -> Callable[..., Graph]:
    """Make a GraphQL client: `gql("acme-owner").data("{ me { username } }")`."""
    return lambda username="acme-owner", **kwargs: Graph(client_of(username, **kwargs))


@contextmanager
def unchanged(cursor: psycopg.Cursor[Any], *tables: str) -> Iterator[None]:
    """Fail when the committed rows of `tables` are not the same afterwards."""

    def state() -> list[Any]:
        rows = []
        for table in tables:
            cursor.execute(f"SELECT t.*::text FROM {table} t ORDER BY 1")
            rows.append(cursor.fetchall())
        return rows

    before = state()
    yield
    assert state() == before
