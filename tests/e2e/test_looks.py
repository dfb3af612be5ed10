"""The page on a phone, and readable in the light and in the dark."""

from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.visit import FINGER, PHONE, Visit, visiting
from tests.support.process import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

_OVERFLOWING: Final = """() => [...document.querySelectorAll('body *')].filter((element) => {
  const { left, right, width } = element.getBoundingClientRect();
  return width > 1 && !element.closest('.skip, .feed li') && (left < -0.5 || right > innerWidth + 0.5);
}).map((element) => element.outerHTML.slice(0, 120))"""

# WCAG 2.2's ratio of each element's text to what is behind it. Rows that are just fading in are passed over.
_FAINT: Final = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb(colour).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgb(colour)[3] === 255) return colour;
    }
    return 'white';
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility() || element.closest('template, .new, script, noscript, datalist')) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)}: ${element.outerHTML.slice(0, 120)}`);
  }
  return found;
}"""


async def filled(visit: Visit) -> None:
    """Bring the page to show all that it can: rows, and the refusals in red."""
    for tenant in ("acme", "globex"):
        await expect(visit.pane(tenant).get_by_test_id("feed-row").nth(3)).to_be_attached()
        await visit.pane(tenant).get_by_test_id("try-foreign").click()
        await visit.says(tenant, "refusal", "Refused", "bad")


async def test_on_a_phone_panes_are_stacked_and_every_control_is_within_reach(
    browser: Browser, demo: GatewayProcess, tmp_path: Path
) -> None:
    async with visiting(browser, f"{demo.url}/", **PHONE) as visit:
        await filled(visit)
        assert await visit.page.evaluate("[innerWidth, document.scrollingElement.scrollWidth]") == [390, 390]
        assert await visit.page.evaluate(_OVERFLOWING) == []
        title = visit.page.get_by_role("heading", level=1)
        assert await title.evaluate("(element) => element.scrollWidth <= element.clientWidth")  # clear of the links
        first, second = [await visit.pane(tenant).bounding_box() for tenant in ("acme", "globex")]
        assert first
        assert second
        assert first["x"] == second["x"]
        assert second["y"] >= first["y"] + first["height"]
        controls = await visit.page.locator("button, input, select, textarea, nav a").filter(visible=True).all()
        rooms = await visit.page.locator(".chip").count()
        assert len(controls) == rooms + 2 * 8 + 5 + 1 + 3 + 2
        for control in controls:
            await control.click(trial=True)  # scrolls to it; fails where something else is on top
            box = await control.bounding_box()
            assert box
            if await control.evaluate("(element) => element.localName !== 'a'"):
                assert box["height"] >= FINGER, await control.evaluate("(element) => element.outerHTML")
        await visit.page.screenshot(path=tmp_path / "phone.png")


async def test_on_a_phone_published_events_are_in_view(browser: Browser, demo: GatewayProcess) -> None:
    async with visiting(browser, f"{demo.url}/", **PHONE) as visit:
        await visit.is_live("acme")
        await visit.publish("acme", circle="1", data='{"title": "from a phone"}')
        await expect(visit.page.get_by_test_id("publish-arrival")).to_contain_text("Arrived in acme")
        row = visit.page.get_by_test_id("published").get_by_test_id("feed-row")
        await expect(row.locator(".about")).to_have_text("from a phone")
        button = visit.page.get_by_test_id("publish-submit")
        await button.scroll_into_view_if_needed()  # what the page shows above it may have come since
        await expect(row).to_be_in_viewport(ratio=0.9)
        await expect(button).to_be_in_viewport(ratio=1)


async def test_the_feeds_are_above_the_fold_of_a_laptop(browser: Browser, demo: GatewayProcess) -> None:
    """Their new rows fade in, but not for readers who asked for no motion."""
    async with visiting(browser, f"{demo.url}/", viewport={"width": 1440, "height": 900}) as visit:
        for tenant in ("acme", "globex"):
            await expect(visit.pane(tenant).get_by_test_id("feed-row").nth(6)).to_be_in_viewport(ratio=1)
        new = visit.page.locator(".feed .new").last
        await expect(new).to_have_css("animation-name", "arrive")
        await visit.page.emulate_media(reduced_motion="reduce")
        await expect(new).to_have_css("animation-name", "none")


async def test_panes_are_side_by_side_on_a_small_screen(browser: Browser, demo: GatewayProcess) -> None:
    async with visiting(browser, f"{demo.url}/", viewport={"width": 1024, "height": 768}) as visit:
        await visit.is_live("acme", "globex")
        first, second = [await visit.pane(tenant).bounding_box() for tenant in ("acme", "globex")]
        assert first
        assert second
        assert first["y"] == second["y"]
        assert second["x"] >= first["x"] + first["width"]
        assert await visit.page.evaluate("document.scrollingElement.scrollWidth") == 1024
        assert await visit.page.evaluate(_OVERFLOWING) == []


async def test_the_reference_fits_on_a_phone(browser: Browser, demo: GatewayProcess) -> None:
    async with visiting(browser, f"{demo.url}/docs", **PHONE) as visit:
        await expect(visit.page.locator("details")).not_to_have_count(0)
        await visit.page.locator(".skip").press("Enter")
        await expect(visit.page.locator("#content")).to_be_focused()
        await expect(visit.page.locator("#console-link")).to_be_visible()
        await visit.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        assert await visit.page.evaluate("[innerWidth, document.scrollingElement.scrollWidth]") == [390, 390]
        assert await visit.page.evaluate(_OVERFLOWING) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_can_be_read_in_the_readers_scheme(
    browser: Browser, demo: GatewayProcess, tmp_path: Path, scheme: str
) -> None:
    """Dark is dark, light is light, and every text has a contrast of at least 4.5 to 1."""
    async with visiting(browser, f"{demo.url}/", color_scheme=scheme) as visit:
        await filled(visit)
        page = await visit.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert max(page) < 64 if scheme == "dark" else min(page) > 192
        assert await visit.page.evaluate(_FAINT) == []
        await visit.page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
        await visit.page.goto(f"{demo.url}/docs")
        await expect(visit.page.locator("details")).not_to_have_count(0)
        await visit.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        assert await visit.page.evaluate(_FAINT) == []
