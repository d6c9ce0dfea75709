"""Signing in with a second factor, and the account's pages, in a browser: wide, narrow, dark."""

from __future__ import annotations

from io import BytesIO
from time import time
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from PIL import Image

from rls import acting_as
from tenancy.actors import operator
from tenancy.models import TenantSettings
from tenancy.tenants import find_tenant
from tests.accounts import App
from tests.browser.conftest import resize
from tests.browser.test_share_page import dress, run
from tests.world import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.browser.conftest import Browser

pytestmark = pytest.mark.browser

SIZES = {"smallest": (320, 640), "wide": (1280, 900)}


@pytest.fixture(autouse=True)
def _tenant_asks(browser: Browser) -> Iterator[None]:
    """Let acme ask its members for a second factor meanwhile."""
    tenant_id = find_tenant("acme")
    assert tenant_id is not None
    with acting_as(operator(tenant_id)):
        TenantSettings.objects.update(require_2fa=True)
    yield
    with acting_as(operator(tenant_id)):
        TenantSettings.objects.update(require_2fa=False)
    connection.close()
    dress(browser, "light")


def look(browser: Browser, name: str, folder: Path) -> None:
    """Look at the page in every size and dress; fail where something sticks out sideways."""
    for size, pixels in SIZES.items():
        resize(browser.driver, pixels)
        for scheme in ("light", "dark"):
            dress(browser, scheme)
            wide = run(browser, "return document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} is {wide} pixels too wide at {pixels[0]}"
            shot = folder / f"{name}-{size}-{scheme}.png"
            assert browser.driver.save_screenshot(str(shot))
    unnamed = run(
        browser,
        "return [...document.querySelectorAll('input:not([type=hidden])')]"
        ".filter(field => !field.labels.length).map(field => field.outerHTML)",
    )
    assert unnamed == []
    dress(browser, "light")
    resize(browser.driver, SIZES["wide"])


def dark_squares(shot: bytes) -> float:
    """Return how much of a picture is black: of a QR code about half."""
    with Image.open(BytesIO(shot)) as picture:
        counts = picture.convert("L").histogram()
    return sum(counts[:64]) / sum(counts)


def submit(browser: Browser, selector: str, text: str) -> None:
    """Type into a field and send its form."""
    browser.find(selector).send_keys(text)
    browser.find("button[type=submit]").click()


def set_one_up(browser: Browser, folder: Path) -> tuple[App, list[str], float]:
    """Set a second factor up on the page that is shown; return app, codes and when that was."""
    look(browser, "set-up", folder)
    submit(browser, "#password", PASSWORD)
    code = browser.find(".qr svg")
    assert 0.2 < dark_squares(code.screenshot_as_png) < 0.7
    assert code.size["width"] >= 180
    look(browser, "qr", folder)
    app = App(str(browser.find("a[href^=otpauth]").get_attribute("href")))
    assert browser.find("code.key").text == app.parameters["secret"]
    submit(browser, "#code", "000000")
    assert "not right" in browser.find("[role=alert]").text
    now = time()
    submit(browser, "#code", app.code(now))
    browser.find(".codes")
    look(browser, "recovery", folder)
    return app, browser.texts(".codes code"), now


def test_signing_in_with_a_second_factor(browser: Browser, tmp_path: Path) -> None:
    browser.expected = ["the server responded with a status of 40"]
    browser.open("/account/")
    look(browser, "login", tmp_path)
    browser.sign_in("acme-manager")
    # acme asks for a second factor: setting one up is all there is.
    browser.at("/account/second-factor/?next=/account/")
    app, codes, now = set_one_up(browser, tmp_path)
    assert len(codes) == 10
    browser.find("a.button").click()
    browser.at("/account/")
    assert browser.texts(".badge") == ["this browser"]
    for path in ("", "password/", "email/", "second-factor/"):
        browser.open(f"/account/{path}")
        look(browser, f"account-{path.strip('/')}", tmp_path)
    browser.driver.delete_all_cookies()
    browser.open("/account/")
    browser.sign_in("acme-manager")
    field = browser.find("#code")
    assert browser.driver.switch_to.active_element == field
    look(browser, "code", tmp_path)
    submit(browser, "#code", "123456")
    assert "not right" in browser.find("[role=alert]").text
    # The next one: that of before was used.
    submit(browser, "#code", app.code(now + 30))
    browser.at("/account/")
    browser.driver.delete_all_cookies()
    browser.open("/account/")
    browser.sign_in("acme-manager")
    submit(browser, "#code", codes[0])
    browser.at("/account/")
    assert run(browser, "return document.scripts.length") == 0
    browser.open("/reset/")
    look(browser, "reset", tmp_path)
