"""The first minute: both tenants fill, neither sees the other's, and a refusal says why."""

import re

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.e2e.demo import tenants
from tests.e2e.visit import visiting
from tests.support.pauses import until
from tests.support.process import GatewayProcess
from tests.support.recording_client import recording_client

pytestmark = pytest.mark.asyncio(loop_scope="session")

TENANTS = ("acme", "globex")

_ROWS = "(feed) => [...feed.children].map((row) => [row.dataset.eventId, row.querySelector('.in').textContent])"
_PICTURE = "(canvas) => canvas.toDataURL()"
_COLOUR = "(element) => getComputedStyle(element).color.match(/\\d+/g).map(Number)"


async def picture(chart: Locator) -> str:
    drawn: str = await chart.evaluate(_PICTURE)
    return drawn


async def test_panes_fill_with_their_own_tenants_events(browser: Browser, demo: GatewayProcess) -> None:
    """Every event of a pane is one that its tenant has, and its rows name its own rooms."""
    given = await tenants(demo)
    assert set(given) == set(TENANTS)
    acme, globex = (given[tenant] for tenant in TENANTS)
    async with (
        recording_client(demo, acme["token"], acme["rooms"]) as of_acme,
        recording_client(demo, globex["token"], globex["rooms"]) as of_globex,
        visiting(browser, f"{demo.url}/") as visit,
    ):
        await visit.is_live(*TENANTS)
        for tenant, own, other in (("acme", of_acme, of_globex), ("globex", of_globex, of_acme)):
            feed = visit.pane(tenant).get_by_test_id("feed")
            await expect(feed.get_by_test_id("feed-row").nth(7)).to_be_attached()
            rows: list[list[str]] = await feed.evaluate(_ROWS)
            assert {room for _, rooms in rows for room in rooms.split()} <= set(given[tenant]["rooms"])
            received = await visit.received(tenant)
            assert {event_id for event_id, _ in rows} <= set(received)
            await own.until(received[-1])
            assert received == own.part(received)
            assert not set(received) & set(other.ids)
            shown = int(await visit.pane(tenant).get_by_test_id("count-received").inner_text())
            assert shown >= len(rows)
            await expect(visit.pane(tenant).get_by_test_id("count-duplicates")).to_have_text("0")
            await expect(visit.pane(tenant).get_by_test_id("count-gaps")).to_have_text("0")


async def test_the_charts_move(browser: Browser, demo: GatewayProcess) -> None:
    async with visiting(browser, f"{demo.url}/") as visit:
        for tenant in TENANTS:
            chart = visit.pane(tenant).locator("canvas")
            before = await picture(chart)

            async def moved(chart: Locator = chart, before: str = before) -> bool:
                return await picture(chart) != before

            await until(moved)


async def test_the_other_tenants_room_is_refused_in_red_with_the_reason(browser: Browser, demo: GatewayProcess) -> None:
    """At a click and not before; the connection goes on."""
    given = await tenants(demo)
    async with visiting(browser, f"{demo.url}/") as visit:
        await visit.is_live(*TENANTS)
        await expect(visit.pane("globex").get_by_test_id("feed-row").nth(3)).to_be_attached()
        await expect(visit.page.locator('[data-tone="bad"]')).to_have_count(0)
        for tenant in TENANTS:
            foreign = given[tenant]["foreign_room"]
            assert foreign not in given[tenant]["rooms"]
            refused = re.compile(rf"Refused, room_forbidden: .+asked {foreign}$")
            await visit.pane(tenant).get_by_test_id("try-foreign").click()
            await visit.says(tenant, "refusal", refused, "bad")
            red, green, blue = (await visit.pane(tenant).get_by_test_id("refusal").evaluate(_COLOUR))[:3]
            assert red > 2 * max(green, blue)
            assert foreign not in await visit.pane(tenant).locator(".chip").all_inner_texts()
        await visit.is_live(*TENANTS)


async def test_a_pane_says_as_of_when_it_is_complete(browser: Browser, demo: GatewayProcess) -> None:
    """The age of the newest event while there are events, and it grows while there is no connection."""
    async with visiting(browser, f"{demo.url}/") as visit:
        as_of = visit.pane("acme").get_by_test_id("as-of")
        await expect(as_of).to_have_text(re.compile(r"^complete as of \d\d:\d\d:\d\d, [0-2] s ago$"))
        await visit.page.evaluate("__gateway.panes.acme.client.cut(60_000)")
        await expect(as_of).to_have_text(re.compile(r", [3-9] s ago$"))
        await visit.pane("acme").get_by_test_id("cut").click()
        await expect(as_of).to_have_text(re.compile(r", [0-2] s ago$"))


async def test_tokens_are_renewed_without_a_reload(browser: Browser, demo: GatewayProcess) -> None:
    """Ahead of their end, on the connections that are open; meanwhile nothing turns red."""
    async with visiting(browser, f"{demo.url}/") as visit:
        frames: list[str | bytes] = []
        visit.page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
        await visit.page.clock.install()
        await visit.page.reload()
        await visit.is_live(*TENANTS)
        await expect(visit.page.locator("#console-link")).to_be_visible()
        before = len(visit.requested)
        await visit.page.clock.fast_forward(3_600_000 - 5_000)
        await until(lambda: sum('"authenticated"' in str(frame) for frame in frames) == 2)
        await visit.is_live(*TENANTS)
        assert {asked.rpartition("/")[2] for asked in visit.requested[before:]} == {"session"}
        await expect(visit.page.locator('[data-tone="bad"]')).to_have_count(0)
