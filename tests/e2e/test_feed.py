"""The feed and the rooms of a pane: paused, filtered, opened as JSON; joined and left."""

import json
import re

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.demo import publish, tenants
from tests.e2e.visit import visiting
from tests.support.process import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_event_opens_as_its_json(browser: Browser, demo: GatewayProcess) -> None:
    """By click and by key; and a click closes it."""
    acme = (await tenants(demo))["acme"]
    async with visiting(browser, f"{demo.url}/") as visit:
        await visit.is_live("acme")
        pane = visit.pane("acme")
        (event_id,) = await publish(demo, acme["token"], circle_id=1, type="memory.shared")
        row = pane.locator(f'[data-event-id="{event_id}"]')
        await expect(row).to_be_attached()
        await pane.get_by_test_id("feed-pause").click()
        await row.locator("summary").click()
        shown = json.loads(await row.get_by_test_id("feed-json").inner_text())
        assert shown["event_id"] == event_id
        assert shown["data"] == {"title": "from the test", "number": 0}
        await row.locator("summary").press("Enter")
        await expect(row.get_by_test_id("feed-json")).to_be_hidden()
        await row.locator("summary").press("Enter")
        await expect(row.get_by_test_id("feed-json")).to_have_count(1)


async def test_a_paused_feed_stands_and_loses_nothing(browser: Browser, demo: GatewayProcess) -> None:
    acme = (await tenants(demo))["acme"]
    async with visiting(browser, f"{demo.url}/") as visit:
        pane = visit.pane("acme")
        await expect(pane.get_by_test_id("feed-row").nth(3)).to_be_attached()
        pause = pane.get_by_test_id("feed-pause")
        await pause.click()
        await expect(pause).to_have_attribute("aria-pressed", "true")
        first = await pane.get_by_test_id("feed-row").first.get_attribute("data-event-id")
        came = await publish(demo, acme["token"], 3, circle_id=1)
        await visit.receives("acme", came[-1])
        await expect(pause).to_have_text(re.compile(r"^Continue \(\d+ new\)$"))
        assert await pane.get_by_test_id("feed-row").first.get_attribute("data-event-id") == first
        await pause.click()
        await expect(pause).to_have_text("Pause")
        await expect(pane.locator(f'[data-event-id="{came[-1]}"]')).to_be_attached()
        feed = "(feed) => [...feed.children].map((row) => row.dataset.eventId).reverse()"
        rows: list[str] = await pane.get_by_test_id("feed").evaluate(feed)
        received = await visit.received("acme")
        assert rows == received[received.index(rows[0]) : received.index(rows[-1]) + 1]


async def test_earlier_events_are_loaded_below_the_others(browser: Browser, demo: GatewayProcess) -> None:
    """The history from before the page's connection, newest first, until its end."""
    acme = (await tenants(demo))["acme"]
    before = await publish(demo, acme["token"], 20, circle_id=1)
    async with visiting(browser, f"{demo.url}/") as visit:
        pane = visit.pane("acme")
        await expect(pane.get_by_test_id("feed-row").nth(1)).to_be_attached()
        assert not set(before) & set(await visit.received("acme"))
        await pane.get_by_test_id("feed-earlier").click()
        await visit.receives("acme", before[-1])
        await expect(pane.locator(f'[data-event-id="{before[0]}"]')).to_be_attached()
        rows = "(feed) => [...feed.children].map((row) => [row.dataset.eventId, row.dataset.at])"
        shown: list[list[str]] = await pane.get_by_test_id("feed").evaluate(rows)
        assert [at for _, at in shown] == sorted((at for _, at in shown), reverse=True)
        ids = [event_id for event_id, _ in shown]
        assert ids[ids.index(before[-1]) :][:20] == before[::-1]
        await expect(pane.get_by_test_id("count-duplicates")).to_have_text("0")


async def test_a_filtered_feed_shows_what_has_the_text(browser: Browser, demo: GatewayProcess) -> None:
    """In its type, its rooms or its summary; those that come later too, and all again without a filter."""
    acme = (await tenants(demo))["acme"]
    async with visiting(browser, f"{demo.url}/") as visit:
        pane = visit.pane("acme")
        await expect(pane.get_by_test_id("feed-row").nth(5)).to_be_attached()
        await pane.get_by_test_id("feed-filter").fill("MEMORY.Shared")
        (wanted,) = await publish(demo, acme["token"], circle_id=1, type="memory.shared")
        (other,) = await publish(demo, acme["token"], circle_id=1, type="task.created")
        await expect(pane.locator(f'[data-event-id="{wanted}"]')).to_be_visible()
        await expect(pane.locator(f'[data-event-id="{other}"]')).to_be_hidden()
        shown = await pane.get_by_test_id("feed-row").filter(visible=True).all()
        assert {await row.get_attribute("data-type") for row in shown} == {"memory.shared"}
        await pane.get_by_test_id("feed-filter").fill("")
        await expect(pane.locator(f'[data-event-id="{other}"]')).to_be_visible()


async def test_rooms_are_left_and_joined_again(browser: Browser, demo: GatewayProcess) -> None:
    """A room that was left brings no events, also after a reconnect; a refused room shows the reason."""
    acme = (await tenants(demo))["acme"]
    async with visiting(browser, f"{demo.url}/") as visit:
        await visit.is_live("acme")
        pane = visit.pane("acme")
        for room in acme["rooms"]:
            if room != "circle:2":
                chip = pane.get_by_role("button", name=room, exact=True)
                await chip.click()
                await expect(chip).to_have_attribute("aria-pressed", "false")
        await pane.get_by_test_id("cut").click()
        await pane.get_by_test_id("cut").click()
        await visit.is_live("acme")
        await expect(pane.locator(".chip.on")).to_have_text(["circle:2"])
        (unheard,) = await publish(demo, acme["token"], circle_id=1)
        (event_id,) = await publish(demo, acme["token"], circle_id=2)
        await visit.receives("acme", event_id)
        assert unheard not in await visit.received("acme")

        await visit.publish("acme", circle="1", project="")
        await expect(visit.page.get_by_test_id("publish-arrival")).to_contain_text("in none of its rooms: circle:1")
        await pane.get_by_test_id("join-room").fill("circle:1")
        await pane.get_by_test_id("join-submit").click()
        await expect(pane.get_by_role("button", name="circle:1", exact=True)).to_have_attribute("aria-pressed", "true")
        await expect(pane.get_by_test_id("join-room")).to_have_value("")
        (again,) = await publish(demo, acme["token"], circle_id=1)
        await visit.receives("acme", again)
        await pane.get_by_test_id("join-room").fill("circle:77")
        await pane.get_by_test_id("join-submit").click()
        await visit.says("acme", "refusal", re.compile("^room_forbidden: .*circle:77"), "bad")
