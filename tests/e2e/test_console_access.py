"""The console for everybody: axe-core finds nothing, at any width, in light and dark; keyboard, phone."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.console import PLATFORM, ConsoleVisit, administrator, console
from tests.e2e.visit import FINGER, PHONE
from tests.support.nodejs import PACKAGE, needs_npm
from tests.support.process import GatewayProcess
from tests.support.tokens import token

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE: Final = PACKAGE / "node_modules/axe-core/axe.min.js"
VIEWS: Final = ("now", "find?tenant=acme", "find?q=ada", "live", "explain", "act", "tokens", "configuration", "audit")

_WIDER: Final = """() => [...document.querySelectorAll('body *')].filter((element) => {
  const { left, right, width } = element.getBoundingClientRect();
  return width > 1 && !element.closest('.skip, .sr-only') && (left < -0.5 || right > innerWidth + 0.5);
}).map((element) => element.outerHTML.slice(0, 120))"""

_CUT_OFF: Final = """() => [...document.querySelectorAll('input[type=text], input[type=search], #views a')].filter(
  (element) => element.checkVisibility() && element.scrollWidth > element.clientWidth,
).map((element) => element.outerHTML.slice(0, 120))"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    async with GatewayProcess(tmp_path_factory.mktemp("access")) as served:
        yield served


async def filled(visit: ConsoleVisit, served: GatewayProcess, view: str) -> None:
    """Bring a view to show all that it can."""
    name = view.partition("?")[0]
    shown = visit.view(name)
    if name == "now":
        await expect(shown.get_by_test_id("now-connections").first).to_be_visible()
        await expect(shown.get_by_test_id("busy-tenant").filter(has_text="acme")).to_be_visible()
    elif view.endswith("tenant=acme"):
        await expect(shown.get_by_test_id("found-tenant").get_by_role("link", name="circle:1")).to_be_visible()
    elif name == "find":
        await expect(shown.get_by_test_id("connection").first).to_be_visible()
    elif name == "live":
        await expect(shown.get_by_test_id("live-event").first).to_be_visible()
    elif name == "explain":
        (id,) = await served.publish([{}], circle_id=2)
        await shown.get_by_test_id("explain-who").fill("ada")
        await shown.get_by_test_id("explain-what").fill(id)
        await shown.get_by_test_id("explain-submit").click()
        await expect(shown.get_by_test_id("rule").first).to_be_visible()
    elif name == "act":
        for summary in await shown.locator("summary").all():
            await summary.click()
        await shown.get_by_test_id("act-close").fill("con_x")
        await shown.get_by_test_id("act-close-submit").click()
        await expect(shown.get_by_test_id("act-close-cancel")).to_be_visible()
    elif name == "tokens":
        await shown.get_by_test_id("inspect-token").fill(token())
        await shown.get_by_test_id("inspect-submit").click()
        await expect(shown.get_by_test_id("rights")).to_be_visible()
    elif name == "configuration":
        await expect(shown.get_by_test_id("setting").first).to_be_visible()
    else:
        await expect(shown.get_by_test_id("act").first).to_be_visible()


async def findings(visit: ConsoleVisit) -> list[Any]:
    """The violations that axe-core finds, with the elements."""
    # Evaluated by the debugger, which the page's policy does not bind.
    await visit.page.evaluate(AXE.read_text())
    found: dict[str, Any] = await visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [(violation["id"], [node["html"][:160] for node in violation["nodes"]]) for violation in found["violations"]]


@needs_npm
@pytest.mark.parametrize(
    ("scheme", "options"),
    [("light", {"viewport": {"width": 1440, "height": 900}}), ("dark", PHONE)],
    ids=["light", "dark on a phone"],
)
async def test_axe_finds_nothing(browser: Browser, served: GatewayProcess, scheme: str, options: Any) -> None:
    await served.publish([{}], circle_id=1)
    async with served.api(administrator()) as api:
        await api.post("/admin/tokens/revoke", json={"user_id": "mallory"})
    await served.publish([{}] * 500, administrator(PLATFORM, tenant="t" * 64))
    async with (
        served.client("&rooms=circle:1"),
        console(browser, served, administrator(PLATFORM), color_scheme=scheme, **options) as visit,
    ):
        for view in VIEWS:
            await visit.page.evaluate(f"location.hash = {json.dumps(view)}")
            await filled(visit, served, view)
            assert await findings(visit) == [], view
            assert await visit.page.evaluate(_WIDER) == [], view
            assert await visit.page.evaluate(_CUT_OFF) == [], view


@needs_npm
async def test_axe_finds_nothing_before_the_sign_in(browser: Browser, served: GatewayProcess) -> None:
    async with console(browser, served, sign_in=False) as visit:
        assert await findings(visit) == []


async def test_every_control_is_within_reach_of_a_finger(browser: Browser, served: GatewayProcess) -> None:
    async with console(browser, served, administrator(PLATFORM), **PHONE) as visit:
        for view in ("live", "explain", "act", "tokens"):
            await visit.page.evaluate(f"location.hash = {json.dumps(view)}")
            await expect(visit.view(view)).to_be_visible()
            controls = visit.page.locator("button, input:not([type=checkbox]), textarea, .check, #views a, summary")
            for control in await controls.filter(visible=True).all():
                box = await control.bounding_box()
                assert box
                assert box["height"] >= FINGER, await control.evaluate("(element) => element.outerHTML")


async def test_the_skip_link_leads_to_the_content(browser: Browser, served: GatewayProcess) -> None:
    async with console(browser, served) as visit:
        await visit.page.locator("#skip").focus()
        await visit.page.keyboard.press("Enter")
        await expect(visit.page.locator("#content")).to_be_focused()
