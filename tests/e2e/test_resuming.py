"""Connections end, by hand, by the network and with the server: what the page has then, and what it says."""

import asyncio
import re
import signal
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.demo import publish, tenants
from tests.e2e.network import network
from tests.e2e.visit import visiting
from tests.support.process import GatewayProcess
from tests.support.recording_client import recording_client

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOST_IN_CONSOLE = r"WebSocket connection to .* failed"
IMPATIENT = "Math.random = () => 0;"  # the shortest pause before every attempt to come back
RESUMED = re.compile(r"^Resumed after \d+\.\d s: ([1-9]\d*) events replayed, nothing missing\.$")


async def test_a_cut_connection_resumes_with_nothing_missing_and_nothing_twice(
    browser: Browser, demo: GatewayProcess
) -> None:
    """The button cuts one pane's connection; the other one does not notice."""
    acme = (await tenants(demo))["acme"]
    async with (
        recording_client(demo, acme["token"], acme["rooms"]) as seen,
        visiting(browser, f"{demo.url}/") as visit,
    ):
        await visit.is_live("acme", "globex")
        (before,) = await publish(demo, acme["token"], circle_id=1)
        await visit.receives("acme", before)

        cut = visit.pane("acme").get_by_test_id("cut")
        state = visit.pane("acme").get_by_test_id("state")
        await cut.click()
        await expect(state).to_have_text(re.compile("^reconnecting in [1-4] s$"))
        await visit.says("acme", "resume", "Not connected: cut by hand", "")
        missed = await publish(demo, acme["token"], 20, circle_id=2, project_id=5)
        assert not set(missed) & set(await visit.received("acme"))
        await visit.is_live("globex")
        await expect(cut).to_have_text("Reconnect now")
        await cut.click()

        await visit.says("acme", "resume", RESUMED, "good")
        (after,) = await publish(demo, acme["token"], project_id=6)
        await visit.receives("acme", after)
        await seen.until(after)
        received = await visit.received("acme")
        assert set(missed) < set(received)
        assert received == seen.part(received)
        for tenant in ("acme", "globex"):
            await expect(visit.pane(tenant).get_by_test_id("count-duplicates")).to_have_text("0")
            await expect(visit.pane(tenant).get_by_test_id("count-gaps")).to_have_text("0")


async def test_missed_events_count_at_their_own_time(browser: Browser, demo: GatewayProcess) -> None:
    """Two hundred events of a while ago, replayed at once, are no rate of now."""
    acme = (await tenants(demo))["acme"]
    async with visiting(browser, f"{demo.url}/") as visit:
        await visit.is_live("acme")
        await visit.page.evaluate("__gateway.panes.acme.client.cut(60_000)")
        missed = await publish(demo, acme["token"], 200, circle_id=1)
        await asyncio.sleep(15.0)  # the page learns the gateway's clock from a frame that may come late
        await visit.pane("acme").get_by_test_id("cut").click()
        await visit.receives("acme", missed[-1])
        await asyncio.sleep(1.5)  # until the second of the replay counts
        assert float(await visit.pane("acme").locator('[data-part="rate"]').inner_text()) < 20


async def test_a_network_that_fails_for_two_seconds_costs_nothing(browser: Browser, demo: GatewayProcess) -> None:
    """All connections break and new ones are refused while events go on; the page comes back by itself."""
    given = await tenants(demo)
    acme, globex = given["acme"], given["globex"]
    async with (
        network(demo) as between,
        recording_client(demo, acme["token"], acme["rooms"]) as of_acme,
        recording_client(demo, globex["token"], globex["rooms"]) as of_globex,
        visiting(browser, f"{between.url}/", expected=LOST_IN_CONSOLE, script=IMPATIENT) as visit,
    ):
        await visit.is_live("acme", "globex")
        for tenant in ("acme", "globex"):
            (before,) = await publish(demo, given[tenant]["token"])
            await visit.receives(tenant, before)

        await between.cut()
        for tenant in ("acme", "globex"):
            await expect(visit.pane(tenant).get_by_test_id("state")).to_have_attribute("data-state", "reconnecting")
        missed: dict[str, list[str]] = {"acme": [], "globex": []}
        for _ in range(10):
            for tenant, circle in (("acme", 1), ("globex", 9)):
                missed[tenant] += await publish(demo, given[tenant]["token"], circle_id=circle)
            await asyncio.sleep(0.2)  # so long is it away: two seconds in all
        for tenant in ("acme", "globex"):
            assert not set(missed[tenant]) & set(await visit.received(tenant))
        await between.mend()

        for tenant, seen in (("acme", of_acme), ("globex", of_globex)):
            await visit.says(tenant, "resume", RESUMED, "good")
            (after,) = await publish(demo, given[tenant]["token"])
            await visit.receives(tenant, after)
            await seen.until(after)
            received = await visit.received(tenant)
            assert set(missed[tenant]) < set(received)
            assert received == seen.part(received)
            await expect(visit.pane(tenant).get_by_test_id("count-duplicates")).to_have_text("0")
            await expect(visit.pane(tenant).get_by_test_id("count-gaps")).to_have_text("0")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
async def test_a_restarted_server_is_found_again_and_its_empty_log_reported(
    browser: Browser, tmp_path: Path, how: signal.Signals
) -> None:
    """On the same port with the same key the page comes back by itself, says that events are missing, and can resume
    from then on."""
    async with GatewayProcess(tmp_path, "--dev", "--demo", jwt_secret=None) as served:
        async with visiting(browser, f"{served.url}/", expected=LOST_IN_CONSOLE, script=IMPATIENT) as visit:
            await visit.is_live("acme", "globex")
            key = (tmp_path / ".gateway-dev/secret").read_text()
            for tenant in ("acme", "globex"):
                await expect(visit.pane(tenant).get_by_test_id("feed-row").first).to_be_attached()

            await asyncio.to_thread(served.stop, how)
            for tenant in ("acme", "globex"):
                await expect(visit.pane(tenant).get_by_test_id("state")).to_have_attribute("data-state", "reconnecting")
                await visit.says(tenant, "resume", "Not connected: ", "")
            loaded = [asked for asked in visit.requested if not asked.startswith("ws:")]
            await served.start()
            assert (tmp_path / ".gateway-dev/secret").read_text() == key

            await visit.is_live("acme", "globex")
            for tenant in ("acme", "globex"):
                await visit.says(tenant, "resume", re.compile(r"^Back after \d+\.\d s.*events are missing"), "bad")
                await expect(visit.pane(tenant).get_by_test_id("feed-gap")).to_have_count(1)
                await expect(visit.pane(tenant).get_by_test_id("count-gaps")).to_have_text("1")
            acme = (await tenants(served))["acme"]
            async with recording_client(served, acme["token"], acme["rooms"]) as seen:
                (after,) = await publish(served, acme["token"], circle_id=1)
                await visit.receives("acme", after)
                await visit.pane("acme").get_by_test_id("cut").click()
                missed = await publish(served, acme["token"], 3, circle_id=1)
                await visit.pane("acme").get_by_test_id("cut").click()
                await visit.says("acme", "resume", RESUMED, "good")
                await visit.receives("acme", missed[-1])
                await seen.until(missed[-1])
                received = await visit.received("acme")
                received = received[received.index(after) :]
                assert received == seen.part(received)
            await expect(visit.pane("acme").get_by_test_id("count-duplicates")).to_have_text("0")
            await expect(visit.pane("acme").get_by_test_id("count-gaps")).to_have_text("1")
            # # The page was not reloaded, and its tokens were still valid.
            assert [asked for asked in visit.requested if not asked.startswith("ws:")] == loaded
