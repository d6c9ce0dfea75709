"""The pages of share links in a browser: wide and narrow, light and dark, without a complaint."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from PIL import Image, ImageDraw

from assets.models import Asset
from rls import acting_as
from tenancy.actors import operator
from tenancy.models import Tenant
from tenancy.tenants import find_tenant
from tests.browser.conftest import resize
from tests.media import add_media
from tests.shares import link_of, share
from tests.world import MARKERS, Inhabited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import Settings

    from tests.browser.conftest import Browser

pytestmark = pytest.mark.browser

SIZES = {"smallest": (320, 640), "narrow": (360, 780), "wide": (1440, 900)}
PASSWORD = "correct horse"
LONG = "Frühlingsmenü-und-Öffnungszeiten-" * 6 + "🌷 قائمة الربيع"
# Two seconds of blue, 160 by 90 pixels, VP8; made for these tests.
VIDEO = (Path(__file__).parent / "blue.webm").read_bytes()
RED, INK = (233, 79, 55), (11, 57, 84)


def picture() -> bytes:
    """Return a PNG with a large red disc in its middle."""
    image = Image.new("RGB", (1600, 900), INK)
    ImageDraw.Draw(image).ellipse((500, 150, 1100, 750), fill=RED)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def acme(port: int, tmp_path: Path, settings: Settings) -> Iterator[Inhabited]:
    """The tenant acme of the served world, with a folder of media of the test's own."""
    del port
    settings.MEDIA_ROOT = tmp_path / "media"
    tenant_id = find_tenant("acme")
    assert tenant_id is not None
    owner = operator(tenant_id)
    with acting_as(owner):
        tenant = Tenant.objects.get(pk=tenant_id)
    yield Inhabited(tenant, MARKERS["acme"], {"owner": owner})
    connection.close()


@pytest.fixture(autouse=True)
def _light_again(browser: Browser) -> Iterator[None]:
    yield
    dress(browser, "light")


def dress(browser: Browser, scheme: str) -> None:
    """Make the system light or dark."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def run(browser: Browser, script: str) -> Any:
    return browser.driver.execute_script(script)


def looked_at(browser: Browser, folder: Path, name: str) -> dict[str, Image.Image]:
    """Return screenshots in every size and dress; fail where something sticks out sideways."""
    shots = {}
    for size, pixels in SIZES.items():
        resize(browser.driver, pixels)
        for scheme in ("light", "dark"):
            dress(browser, scheme)
            wide = run(browser, "return document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} is {wide} pixels too wide at {pixels[0]}"
            file = folder / f"{name}-{size}-{scheme}.png"
            assert browser.driver.save_screenshot(str(file))
            with Image.open(file) as shot:
                assert shot.size == pixels
                shots[f"{size}-{scheme}"] = shot.convert("RGB")
    return shots


def brightness(shot: Image.Image) -> float:
    """Return how bright the page's ground is, 0 to 255."""
    return sum(shot.getpixel((3, shot.height - 3))) / 3  # type: ignore[arg-type]


def test_a_picture_is_shown_large_in_every_size(
    browser: Browser, acme: Inhabited, tmp_path: Path
) -> None:
    row = add_media(
        acme,
        picture(),
        name="Spring menu",
        description="New dishes from Monday on.\n\nAsk for the wine that goes with them.",
    )
    asset, path = share(acme, row)
    browser.open(path)
    assert run(browser, "return document.querySelector('.stage img').naturalWidth") == 1600
    assert browser.find("h1").text == "Spring menu"
    assert browser.driver.title.startswith("Spring menu · Acme")
    assert "Available until " in browser.find(".until").text
    for name, shot in looked_at(browser, tmp_path, "picture").items():
        colors = shot.getcolors(maxcolors=shot.width * shot.height) or []
        share_of_red = sum(count for count, color in colors if color == RED)
        assert share_of_red > shot.width * shot.height * 0.02, name
        assert (brightness(shot) > 200) is name.endswith("light")
    assert link_of(acme, asset).access_count == 1
    loaded = run(browser, "return performance.getEntriesByType('resource').map(r => r.name)")
    assert {name.split("/")[2] for name in loaded} == {f"acme.localhost:{browser.port}"}
    assert run(browser, "return [document.cookie, document.scripts.length]") == ["", 0]


def test_a_video_plays(browser: Browser, acme: Inhabited, tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.new("RGB", (320, 180), RED).save(buffer, "WEBP")
    row = add_media(acme, VIDEO, thumbnail=buffer.getvalue(), name="Welcome", mimetype="video")
    asset, path = share(acme, row)
    browser.open(path)
    script = "return Math.round(document.querySelector('video').duration)"
    browser.until(lambda: run(browser, script) == 2, "the video does not load")
    shots = looked_at(browser, tmp_path, "video")
    assert len(shots) == 6
    run(browser, "const v = document.querySelector('video'); v.muted = true; v.play()")
    browser.until(
        lambda: run(browser, "return document.querySelector('video').ended"), "it does not end"
    )
    assert link_of(acme, asset).access_count == 1


def test_a_web_page_is_a_link_that_tells_nobody_where_it_stood(
    browser: Browser, acme: Inhabited, tmp_path: Path, port: int
) -> None:
    with acting_as(acme.owner):
        asset = Asset.objects.filter(uri="https://acme.example/1").get()
        Asset.objects.filter(pk=asset.pk).update(
            uri=f"http://globex.localhost:{port}/login/", name="Opening hours"
        )
    _, path = share(acme, asset)
    browser.open(path)
    looked_at(browser, tmp_path, "webpage")
    assert browser.find(".where").text == "globex.localhost"
    before = browser.driver.current_window_handle
    browser.find("a.button").click()
    browser.until(lambda: len(browser.driver.window_handles) == 2, "nothing opens")
    [other] = set(browser.driver.window_handles) - {before}
    browser.driver.switch_to.window(other)
    browser.at("/login/")
    assert run(browser, "return [document.referrer, window.opener]") == ["", None]
    browser.driver.close()
    browser.driver.switch_to.window(before)


def test_a_name_of_any_length_and_script_stays_inside(
    browser: Browser, acme: Inhabited, tmp_path: Path
) -> None:
    row = add_media(acme, b"%PDF-1.7 and more", name=LONG, description="x" * 500)
    _, path = share(acme, row)
    browser.open(path)
    looked_at(browser, tmp_path, "long")
    with acting_as(acme.owner):
        Asset.objects.filter(pk=row.pk).update(name="قائمة الربيع 🌷", description="مرحبا بكم")
    browser.open(path)
    looked_at(browser, tmp_path, "arabic")
    assert run(browser, "return getComputedStyle(document.querySelector('h1')).direction") == "rtl"


def test_a_password_is_asked_for_then_the_picture_shown(
    browser: Browser, acme: Inhabited, tmp_path: Path
) -> None:
    browser.expected = ["the server responded with a status of 403"]
    asset, path = share(acme, add_media(acme, picture(), name="Secret menu"), password=PASSWORD)
    browser.open(path)
    assert "Secret menu" not in browser.driver.page_source
    looked_at(browser, tmp_path, "password")
    browser.find("#password").send_keys("wrong horse")
    browser.find("button").click()
    assert browser.find("[role=alert]").text == "The password is wrong."
    looked_at(browser, tmp_path, "wrong")
    assert link_of(acme, asset).access_count == 0
    browser.find("#password").send_keys(PASSWORD)
    browser.find("button").click()
    browser.find(".stage img")
    assert browser.path == path
    assert browser.find("h1").text == "Secret menu"
    assert link_of(acme, asset).access_count == 1


def test_a_link_that_ended_says_so_and_no_more(
    browser: Browser, acme: Inhabited, tmp_path: Path
) -> None:
    browser.expected = ["the server responded with a status of 404"]
    _, path = share(acme, add_media(acme, picture(), name="Old menu"), max_views=1)
    browser.open(path)
    assert browser.find("h1").text == "Old menu"
    browser.open(path)
    assert browser.find("h1").text == "There is nothing at this address"
    looked_at(browser, tmp_path, "gone")
    source = browser.driver.page_source
    assert "Old menu" not in source
    assert acme.marker not in source
