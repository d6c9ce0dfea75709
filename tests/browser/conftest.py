"""A real browser in front of a real server: a database of its own, and no network beyond it.

The server runs in this process as the application role; every test finds an empty browser. What
the browser complains about fails the test that made it complain.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote
from urllib.request import Request, urlopen

import pytest
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import override_settings
from granian.constants import Interfaces
from granian.server.embed import Server
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from assets.importing import import_library
from graph.graphiql import EXAMPLES
from project.application import Application
from tests import databases
from tests.browser.presence import chromedriver, chromium
from tests.conftest import basic
from tests.world import PASSWORD, create_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import DjangoDbBlocker
    from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")
# Long enough for a loaded machine; a test that passes waits for none of it.
PATIENCE_SECONDS = 20
SAMPLE = Path(settings.BASE_DIR) / "assets" / "samples" / "anthias-current" / "anthias.db"
WIDE, NARROW = (1280, 800), (390, 844)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No network: every name but this machine's own is unknown.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost",
)


@contextmanager
def listening() -> Iterator[int]:
    """Serve the project, sockets too, on a free port of 127.0.0.1 as the demo does; yield it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    server = Server(
        Application(WSGIHandler()),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        log_enabled=False,
    )
    loop = asyncio.new_event_loop()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(server.serve())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def port(template_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[int]:
    """The port of a server: the world of tests/world.py, and in acme the sample library too."""
    with (
        django_db_blocker.unblock(),
        databases.copy_of(template_database) as name,
        databases.pointed_at(name),
        override_settings(
            # A name that browsers take for this machine, without TLS and yet trustworthy.
            PLATFORM_DOMAIN="localhost",
            SESSION_COOKIE_SECURE=False,
            CSRF_COOKIE_SECURE=False,
        ),
    ):
        world = create_world()
        import_library(SAMPLE, actor=world.acme.owner, preserve_ids=True)
        connections.close_all()
        with listening() as number:
            yield number
        connections.close_all()


class Browser:
    """A person's browser: where it is, what it shows, what it complained about."""

    def __init__(self, driver: Chrome, port: int) -> None:
        """Drive `driver` against the server on `port`."""
        self.driver = driver
        self.port = port
        self.expected: list[str] = []

    def open(self, path: str, *, tenant: str = "acme") -> None:
        """Go to `path` on a tenant's host, or on the platform's with tenant=""."""
        host = f"{tenant}.localhost" if tenant else "localhost"
        self.driver.get(f"http://{host}:{self.port}{path}")

    def until(self, true: Callable[[], T], what: str) -> T:
        """Return what `true` returns as soon as that is something; fail saying `what` was not."""
        return WebDriverWait(self.driver, PATIENCE_SECONDS, 0.05).until(lambda _: true(), what)

    def find(self, selector: str) -> WebElement:
        """Return the element, as soon as it is there."""
        found = self.until(
            lambda: self.driver.find_elements(By.CSS_SELECTOR, selector), f"no {selector}"
        )
        return found[0]

    def has(self, selector: str) -> bool:
        """Return whether the element is there now."""
        return bool(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def at(self, path: str) -> None:
        """Wait until the address is `path`."""
        self.until(lambda: self.path == path, f"not at {path}")

    @property
    def path(self) -> str:
        """The address without scheme and host."""
        return "/" + unquote(self.driver.current_url.split("/", 3)[3])

    def sign_in(self, username: str, password: str = PASSWORD) -> None:
        """Fill in the form that is shown, and send it."""
        self.find("#username").clear()
        self.find("#username").send_keys(username)
        self.find("#password").send_keys(password)
        self.find("button[type=submit]").click()

    def texts(self, selector: str) -> list[str]:
        """Return the text of every such element."""
        return [found.text for found in self.driver.find_elements(By.CSS_SELECTOR, selector)]

    def choose(self, selector: str, text: str) -> None:
        """Choose the entry of that text from a menu."""
        Select(self.find(selector)).select_by_visible_text(text)

    def example(self, title: str) -> None:
        """Choose an example from the page's menu and wait until it can be run."""
        wanted = next(example for example in EXAMPLES if example.title == title)
        self.find("#examples:enabled")
        self.choose("#examples", title)
        self.until(lambda: self.query() == wanted.query, f"{title} does not open")

    def query(self) -> str:
        """Return what stands in GraphiQL's query editor."""
        self.find(".graphiql-query-editor .CodeMirror")
        text: str = self.driver.execute_script(
            "return document.querySelector('.graphiql-query-editor .CodeMirror')"
            ".CodeMirror.getValue()"
        )
        return text

    def write(self, query: str) -> None:
        """Replace what stands there."""
        self.driver.execute_script(
            "document.querySelector('.graphiql-query-editor .CodeMirror')"
            ".CodeMirror.setValue(arguments[0])",
            query,
        )

    def complete(self, *, after: int, typed: str) -> None:
        """Type into the first line, after so many characters, and wait for what is proposed."""
        editor = self.find(".graphiql-query-editor .CodeMirror")
        self.driver.execute_script(
            "const editor = arguments[0].CodeMirror; editor.focus();"
            "editor.setCursor(0, arguments[1])",
            editor,
            after,
        )
        ActionChains(self.driver).send_keys(typed).perform()
        self.find(".CodeMirror-hint")

    def stored(self) -> dict[str, str]:
        """Return what the page keeps in this browser."""
        kept: dict[str, str] = self.driver.execute_script("return {...localStorage}")
        return kept

    def run(self) -> dict[str, Any]:
        """Run the query in GraphiQL's editor; return the answer as it is shown."""
        self.until(self.is_read, "GraphiQL does not read the query")
        self.find(".graphiql-execute-button").click()
        return self.until(self.answer, "no answer")

    def is_read(self) -> bool:
        """Return whether GraphiQL knows which operation stands there; it looks a moment later."""
        name = self.driver.execute_script(
            "return document.querySelector('.graphiql-query-editor .CodeMirror')"
            ".CodeMirror.operationName"
        )
        return not name or f" {name} " in self.query()

    def answer(self) -> dict[str, Any]:
        """Return the answer that GraphiQL shows; nothing while there is none."""
        script = "return document.querySelector('.result-window .CodeMirror').CodeMirror.getValue()"
        text = self.driver.execute_script(script)
        answer: dict[str, Any] = json.loads(text) if text else {}
        return answer

    def elsewhere(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return what acme's manager is answered, who has another client."""
        request = Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json", **basic("acme-manager")},
        )
        with urlopen(request, timeout=PATIENCE_SECONDS) as response:  # noqa: S310
            data: dict[str, Any] = json.load(response)["data"]
        return data

    def complaints(self) -> list[str]:
        """Return what the console holds beyond what was expected, and empty it.

        Errors, loads that failed (every one from another machine does), policy violations.
        """
        messages = [
            str(entry["message"])
            for entry in console(self.driver)
            if entry["level"] in {"SEVERE", "WARNING"}
        ]
        return [m for m in messages if not any(part in m for part in self.expected)]

    def overflow(self) -> list[str]:
        """Return what sticks out of the window sideways."""
        found: list[str] = self.driver.execute_script(
            "return [...document.body.querySelectorAll('body > *, .bar > *, .card > *')]"
            ".filter(e => { const r = e.getBoundingClientRect();"
            " return r.width && (r.left < 0 || r.right > innerWidth) })"
            ".map(e => e.outerHTML.slice(0, 80))"
        )
        return found


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    """A running browser with an empty profile."""
    options = ChromeOptions()
    options.binary_location = chromium() or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with (
        tempfile.TemporaryDirectory(prefix="signate-browser-", ignore_cleanup_errors=True) as home,
        pytest.MonkeyPatch.context() as patched,
    ):
        # The driver is on this machine, whatever proxy the machine has.
        patched.setenv("no_proxy", "localhost,127.0.0.1")
        for flag in (*FLAGS, f"--user-data-dir={home}/profile"):
            options.add_argument(flag)
        service = ChromeService(chromedriver(), env={**os.environ, "HOME": home})
        running = Chrome(options=options, service=service)
        try:
            yield running
        finally:
            running.quit()


@pytest.fixture
def browser(driver: Chrome, port: int) -> Iterator[Browser]:
    """A browser that nobody has used; the test fails for what it complained about."""
    forget(driver, port)
    resize(driver, WIDE)
    browser = Browser(driver, port)
    yield browser
    assert browser.complaints() == []


def console(driver: Chrome) -> list[dict[str, Any]]:
    """Return what the console holds, and empty it."""
    found: list[dict[str, Any]] = driver.get_log("browser")  # type: ignore[no-untyped-call]
    return found


def forget(driver: Chrome, port: int) -> None:
    """Leave nothing of what was before: cookies, storage, tabs, the console."""
    before = driver.current_window_handle
    driver.switch_to.new_window("tab")
    after = driver.current_window_handle
    driver.switch_to.window(before)
    driver.close()
    driver.switch_to.window(after)
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    for host in ("localhost", "acme.localhost", "globex.localhost"):
        driver.execute_cdp_cmd(
            "Storage.clearDataForOrigin", {"origin": f"http://{host}:{port}", "storageTypes": "all"}
        )
    console(driver)


def resize(driver: Chrome, size: tuple[int, int]) -> None:
    """Make the page `size` (CSS pixels) large."""
    width, height = size
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


@pytest.fixture
def copies() -> None:
    """GraphiQL is what is seen after signing in, and there has to be a copy of it here."""


@pytest.fixture
def graphiql(browser: Browser) -> Browser:
    """GraphiQL as acme's owner finds it after signing in."""
    browser.open("/graphql")
    browser.sign_in("acme-owner")
    browser.find(".graphiql-execute-button")
    return browser
