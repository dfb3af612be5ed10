"""The newest values of a pane: there on connect, growing, and conflated for a slow client."""

import re

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.visit import Visit, visiting
from tests.support.pauses import until
from tests.support.process import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEGINNING = "I looked at three sources, and two of them agree."
CONFLATED = re.compile(r"^At 5 events a second: (\d+) changes of texts came in (\d+) events\.$")


async def test_newest_values_are_there_on_connect(browser: Browser, demo: GatewayProcess) -> None:
    """Also of agents that change nothing for as long as the page is open."""
    async with visiting(browser, f"{demo.url}/") as visit:
        for tenant, agents in (("acme", 4), ("globex", 3)):
            chips = visit.pane(tenant).get_by_test_id("item-chips").locator("li")
            await expect(chips).to_have_count(agents)
            assert all(re.fullmatch(r"\w+: (idle|writing)", text) for text in await chips.all_inner_texts())
            await expect(visit.pane(tenant).get_by_test_id("item-text")).to_contain_text(BEGINNING[:10])


async def length(visit: Visit) -> int:
    """Characters of acme's answer."""
    return len(await visit.pane("acme").get_by_test_id("item-text").inner_text())


async def test_an_answer_grows(browser: Browser, demo: GatewayProcess) -> None:
    async with visiting(browser, f"{demo.url}/") as visit:
        await visit.is_live("acme")
        before = await length(visit)

        async def grew() -> bool:
            nonlocal before
            now = await length(visit)
            grown, before = before < now, now
            return grown and now < len(BEGINNING)

        await until(grew)
        text = visit.pane("acme").get_by_test_id("item-text")
        await expect(text).to_contain_text(BEGINNING)
        assert (await text.inner_text()).startswith(BEGINNING)


async def test_a_slow_client_gets_several_changes_in_one_event(browser: Browser, demo: GatewayProcess) -> None:
    """The page never gets a piece of a text; fast again it has lost nothing."""
    async with visiting(browser, f"{demo.url}/") as visit:
        pane = visit.pane("acme")
        await visit.is_live("acme")
        slow, notice = pane.get_by_test_id("slow"), pane.get_by_test_id("slowness")
        await slow.click()
        await visit.is_live("acme")

        async def conflated() -> bool:
            found = CONFLATED.match(await notice.inner_text())
            return found is not None and int(found[1]) > int(found[2]) + 5

        await until(conflated)
        text = (await pane.get_by_test_id("item-text").inner_text()).strip()
        assert text.startswith(BEGINNING) or BEGINNING.startswith(text)
        await slow.click()
        await expect(notice).to_be_hidden()
        await expect(slow).to_have_attribute("aria-pressed", "false")
        await visit.is_live("acme", "globex")
        for count in ("count-duplicates", "count-gaps"):
            await expect(pane.get_by_test_id(count)).to_have_text("0")
