"""The console's views of what is going on: now, find, live; and acting on it."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, Route, expect
from websockets.asyncio.client import connect

from tests.e2e.console import ADMIN, HOSTILE, PLATFORM, UNNAMED, administrator, console
from tests.support.pauses import PATIENCE, until
from tests.support.process import GatewayProcess
from tests.support.tokens import issue, token

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    async with GatewayProcess(tmp_path_factory.mktemp("operation")) as served:
        yield served


# ---- now


async def test_an_operator_sees_the_node_and_its_rates(browser: Browser, served: GatewayProcess) -> None:
    async with served.client("&rooms=circle:1"), console(browser, served, administrator(PLATFORM), "now") as visit:
        node = visit.view("now").get_by_test_id("node")
        await expect(node.get_by_test_id("node-state")).to_have_text("ready")
        await expect(node.get_by_test_id("now-connections")).to_have_text("1")
        await expect(node.get_by_test_id("now-loop-lag")).to_have_text(re.compile("ms|s$"))
        async with served.api() as api:
            await api.get("/rooms/circle:1/presence", headers={"Authorization": "Bearer not.a.token"})
        await expect(node.get_by_test_id("refusals")).to_contain_text("token_invalid")

        async def publish() -> None:
            while True:
                await served.publish([{}] * 200, circle_id=1)
                await asyncio.sleep(0.7)

        publishing = asyncio.create_task(publish())
        try:
            await expect(node.get_by_test_id("now-deliveries")).to_have_text(re.compile("^[1-9]"))
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
        await expect(visit.page.get_by_test_id("now-tenant-connections")).to_have_text("1")
        busy = visit.view("now").get_by_test_id("busy-tenant").filter(has_text="acme")
        await expect(busy.get_by_role("cell").nth(0)).to_have_text("1")
        await expect(busy.get_by_role("cell").nth(2)).to_have_text(re.compile(r"^[\d.,]+$"))
        await busy.get_by_role("link", name="acme").click()
        found = visit.view("find").get_by_test_id("found-tenant")
        await expect(found).to_contain_text("Tenant acme")
        await found.get_by_role("link", name="circle:1").click()
        await expect(visit.page.get_by_test_id("found-room")).to_contain_text("circle:1")


async def test_an_administrator_sees_its_own_tenant(browser: Browser, served: GatewayProcess) -> None:
    async with served.client("&rooms=circle:1"), console(browser, served, view="now") as visit:
        await expect(visit.page.get_by_test_id("now-tenant-users")).to_have_text("1")
        await expect(visit.page.get_by_test_id("node-state")).to_have_text("ready")
        await expect(visit.page.get_by_test_id("now-connections")).to_have_count(0)
        await expect(visit.page.get_by_test_id("busiest-now")).to_be_hidden()
        await expect(visit.page.get_by_test_id("now-tenant-messages")).to_have_text(re.compile(r"^[\d.,]+$"))


async def test_a_gateway_that_is_late_or_hangs_or_is_gone_is_reported_and_found_again(
    browser: Browser, chromium: Path, tmp_path: Path
) -> None:
    async with (
        GatewayProcess(tmp_path / "gone") as gone,
        console(browser, gone, view="now", expected="ERR_|Failed to load") as visit,
    ):
        line, state = visit.page.get_by_test_id("now-result"), visit.page.get_by_test_id("now-state")
        node = visit.page.get_by_test_id("node-state")
        held: asyncio.Queue[Route] = asyncio.Queue()
        await expect(line).to_contain_text("is ready")
        await visit.page.route("**/admin/nodes", held.put)
        for _ in range(5):  # the page gives an answer up after 10 seconds, which a slow machine may need
            late = await held.get()
            await expect(state).to_contain_text("no answer for")
            await expect(node).to_have_text("was ready")
            with suppress(Error):
                await late.continue_()
            with suppress(AssertionError):
                await expect(state).to_contain_text("as of", timeout=5_000)
                break
        else:
            pytest.fail("a late answer was not shown")
        await visit.page.unroute_all(behavior="ignoreErrors")
        await expect(node).to_have_text("ready")
        gone.send_signal(signal.SIGSTOP)  # it accepts connections, and hangs
        await expect(state).to_contain_text("no answer for")
        await expect(node).to_have_text("was ready")
        gone.send_signal(signal.SIGCONT)
        await expect(state).to_contain_text("as of")
        gone.stop()
        await expect(line).to_contain_text("does not answer")
        await gone.start()
        await expect(line).to_contain_text("is ready")


# ---- find


async def test_everything_that_is_found_links_to_the_rest(browser: Browser, served: GatewayProcess) -> None:
    """From a user to a connection, to its room, and back by the browser."""
    issued = issue("carol", rooms=("circle:77",))
    url = f"{served.ws_url}?token={issued.access_token}&rooms=circle:77&client_id=tablet"
    async with connect(url), console(browser, served, view="find") as visit:
        view = visit.view("find")
        await view.get_by_test_id("find-box").fill("carol")
        await view.get_by_test_id("find-box").press("Enter")
        await expect(view.get_by_test_id("found-user")).to_contain_text("connections")
        row = view.get_by_test_id("connection")
        await expect(row).to_contain_text("“tablet”")
        await row.get_by_role("link", name="circle:77").click()
        await expect(view.get_by_test_id("found-room")).to_contain_text("Room circle:77")
        await row.get_by_role("link", name=re.compile("^con_")).click()
        await expect(view.get_by_test_id("find-box")).to_have_value(re.compile("^con_"))
        await expect(row).to_contain_text("carol")
        await visit.page.go_back()
        await expect(view.get_by_test_id("find-box")).to_have_value("circle:77")
        await view.get_by_test_id("find-box").fill(issued.token_id)
        await view.get_by_test_id("find-submit").click()
        await expect(view.get_by_test_id("found-token")).to_contain_text("not revoked")
        await view.get_by_test_id("find-box").fill("no-such-user")
        await view.get_by_test_id("find-submit").click()
        await expect(view.get_by_test_id("find-result")).to_contain_text("Nothing is known of no-such-user")


async def test_an_event_is_found_without_its_payload(browser: Browser, served: GatewayProcess) -> None:
    (id,) = await served.publish([{"title": "a payload"}], circle_id=5)
    async with console(browser, served, view=f"find?q={id}") as visit:
        event = visit.view("find").get_by_test_id("found-event")
        await expect(event).to_contain_text("task.completed")
        await expect(event.get_by_role("link", name="circle:5")).to_be_visible()
        await expect(visit.page.locator("main")).not_to_contain_text("a payload")


async def test_hostile_names_are_text(browser: Browser, served: GatewayProcess) -> None:
    """A client's label, and a name in the box."""
    async with connect(f"{served.ws_url}?token={token('mallory')}&client_id=%3Cimg%20src%3Dx%3E") as _:
        async with console(browser, served, view="find?q=mallory") as visit:
            view = visit.view("find")
            await expect(view.get_by_test_id("connection")).to_contain_text("“<img src=x>”")
            await view.get_by_test_id("find-box").fill(HOSTILE)
            await view.get_by_test_id("find-submit").click()
            await expect(view.get_by_test_id("find-result")).to_contain_text("<img src=x onerror")
            await expect(visit.page.locator("main img")).to_have_count(0)


# ---- live


async def test_the_tail_is_filtered_and_masked(browser: Browser, served: GatewayProcess) -> None:
    """Payloads come where they are asked for, which is in the audit list."""
    async with console(browser, served, view="live?room=circle:21&type=task.*") as visit:
        view = visit.view("live")
        await expect(view.get_by_test_id("live-state")).to_have_text("live")
        await served.publish([{"title": HOSTILE}], circle_id=21)
        await served.publish([{"title": "other room"}], circle_id=22)
        await served.publish([{"title": "other type"}], type="memory.created", circle_id=21)
        events = view.get_by_test_id("live-event")
        await expect(events).to_have_count(1)
        await expect(events).to_contain_text("task.completed")
        await expect(events).not_to_contain_text("<img")
        await expect(view.get_by_test_id("live-result")).to_contain_text("as of")
        await view.get_by_test_id("live-payload").check()
        await expect(events.locator("pre")).to_contain_text("<img src=x")
        await expect(view.locator("img")).to_have_count(0)
        await visit.open("audit")
        await expect(visit.page.get_by_test_id("act").first).to_contain_text("events.unmasked")
        await expect(visit.page.get_by_test_id("act").first).to_contain_text("circle:21")


async def test_under_load_the_tail_says_that_it_is_a_sample(browser: Browser, served: GatewayProcess) -> None:
    async with console(browser, served, view="live") as visit:
        view = visit.view("live")
        await expect(view.get_by_test_id("live-state")).to_have_text("live")
        for _ in range(3):
            await served.publish([{}] * 500, circle_id=30)
        await expect(view.get_by_test_id("live-result")).to_contain_text(
            re.compile("a sample: [\\d,]+ events not shown")
        )

        async with served.api(administrator()) as api:
            event = (await api.get("/admin/tail")).json()["events"][0]
        given = 0

        async def large(route: Route) -> None:
            """A page of more events than the gateway gives."""
            nonlocal given
            page = await (await route.fetch()).json()
            page["events"] = [event | {"event_id": f"evt_{given + number}"} for number in range(150)]
            await route.fulfill(json=page)
            given += 150

        await visit.page.route("**/admin/tail*", large)
        await until(lambda: given >= 450)
        await expect(view.get_by_test_id("live-event")).to_have_count(200)


async def test_the_tail_is_paused(browser: Browser, served: GatewayProcess) -> None:
    async with console(browser, served, view="live?room=circle:40") as visit:
        view = visit.view("live")
        await expect(view.get_by_test_id("live-state")).to_have_text("live")
        await view.get_by_test_id("live-pause").click()
        await served.publish([{}], circle_id=40)
        await expect(view.get_by_test_id("live-result")).to_contain_text("1 waiting")
        await expect(view.get_by_test_id("live-event")).to_have_count(0)
        await view.get_by_test_id("live-pause").click()
        await expect(view.get_by_test_id("live-event")).to_have_count(1)


async def test_nothing_is_read_where_the_view_was_left(browser: Browser, served: GatewayProcess) -> None:
    async with console(browser, served, view="live") as visit:
        await expect(visit.view("live").get_by_test_id("live-state")).to_have_text("live")
        await visit.open("tokens")
        await asyncio.sleep(0.3)
        before = len(visit.requested)
        await asyncio.sleep(2.5)
        assert len(visit.requested) == before


# ---- act


async def test_a_test_event_is_published(browser: Browser, served: GatewayProcess) -> None:
    async with (
        served.client("&rooms=circle:50") as client,
        console(browser, served, view="act?room=circle:50") as visit,
    ):
        form = visit.view("act").get_by_test_id("act-publish-form")
        await form.get_by_test_id("act-type").fill("task.created")
        await form.get_by_test_id("act-publish-curl").locator("summary").click()
        curl = await form.get_by_test_id("act-publish-curl-text").inner_text()
        assert "/admin/events" in curl
        assert '"circle_id":50' in curl
        await form.get_by_test_id("act-publish-submit").click()
        await expect(form.get_by_test_id("act-publish-result")).to_contain_text("In the log as evt_")
        async with asyncio.timeout(PATIENCE):
            while '"task.created"' not in str(await client.recv()):
                pass
        await form.get_by_test_id("act-data").fill("[]")
        await form.get_by_test_id("act-publish-submit").click()
        await expect(form.get_by_test_id("act-publish-result")).to_contain_text("must be a JSON object")


async def test_a_connection_is_closed_after_a_second_click(browser: Browser, served: GatewayProcess) -> None:
    async with connect(f"{served.ws_url}?token={token('dave')}") as client:
        async with console(browser, served, view="find?q=dave") as visit:
            await visit.page.get_by_test_id("connection").get_by_role("link", name="Close …").click()
            form = visit.view("act").get_by_test_id("act-close-form")
            await expect(form.get_by_test_id("act-close")).to_have_value(re.compile("^con_"))
            await form.get_by_test_id("act-close-submit").click()
            await expect(form.get_by_test_id("act-close-submit")).to_contain_text("Yes: Close con_")
            await form.get_by_test_id("act-close-cancel").click()
            await expect(form.get_by_test_id("act-close-result")).to_have_text("Not done.")
            await form.get_by_test_id("act-close-submit").click()
            await form.get_by_test_id("act-close-submit").click()
            await expect(form.get_by_test_id("act-close-result")).to_have_text("Closed.")
            await visit.page.evaluate("() => { location.hash = 'find?q=dave&again'; }")
            await expect(visit.page.get_by_test_id("ended-connection")).to_contain_text("4403")
        await client.wait_closed()
        assert client.close_code == 4403


async def test_tokens_are_revoked_and_users_barred(browser: Browser, served: GatewayProcess) -> None:
    """Each is in the audit list afterwards."""
    issued = issue("erin", rooms=("circle:60",))
    async with connect(f"{served.ws_url}?token={issued.access_token}&rooms=circle:60") as client:
        async with console(browser, served, view="act?user=erin&room=circle:60") as visit:
            view = visit.view("act")
            bar = view.get_by_test_id("act-bar-form")
            for room in ("tenant", "user:erin", "circle"):  # these bar no user
                await bar.get_by_test_id("act-bar-room").fill(room)
                await bar.get_by_test_id("act-bar-submit").click()
                await expect(bar.get_by_test_id("act-bar-result")).to_contain_text("Name a room with members")
                await bar.get_by_test_id("act-bar-room").fill("")
                await expect(bar.get_by_test_id("act-bar-submit")).to_have_text("Bar a user from a room")
            assert not [asked for asked in visit.requested if asked.endswith("/admin/events")]
            await bar.get_by_test_id("act-bar-room").fill("circle:60")
            await bar.get_by_test_id("act-bar-submit").click()
            await bar.get_by_test_id("act-bar-submit").click()
            await expect(bar.get_by_test_id("act-bar-result")).to_contain_text("Barred")
            async with asyncio.timeout(PATIENCE):
                while "subscription.revoked" not in str(await client.recv()):
                    pass
            revoke = view.get_by_test_id("act-revoke-form")
            jti, user = revoke.get_by_test_id("act-jti"), revoke.get_by_test_id("act-user")
            for link, names in (("revoke=another", ("another", "")), ("user=frank", ("", "frank"))):
                await visit.page.evaluate("(link) => { location.hash = `act?${link}`; }", link)
                await expect(jti).to_have_value(names[0])  # what an earlier link filled in is not meant
                await expect(user).to_have_value(names[1])
            await visit.page.evaluate("(jti) => { location.hash = `act?revoke=${jti}`; }", issued.token_id)
            await expect(jti).to_have_value(issued.token_id)
            await revoke.get_by_test_id("act-revoke-submit").click()
            await revoke.get_by_test_id("act-revoke-submit").click()
            await expect(revoke.get_by_test_id("act-revoke-result")).to_contain_text("1 connection closed")
            await visit.open("audit")
            acts = visit.page.get_by_test_id("act")
            await expect(acts.nth(0)).to_contain_text("token.revoked")
            await expect(acts.nth(1)).to_contain_text("circle.member.removed")
        await client.wait_closed()
        assert client.close_code == 4401


async def test_an_act_that_is_refused_says_why(browser: Browser, served: GatewayProcess) -> None:
    async with console(browser, served, administrator(ADMIN), "act?close=con_none", expected=UNNAMED) as visit:
        form = visit.view("act").get_by_test_id("act-close-form")
        await form.get_by_test_id("act-close-submit").click()
        await form.get_by_test_id("act-close-submit").click()
        await expect(form.get_by_test_id("act-close-result")).to_contain_text("not_found")
        await expect(visit.page.get_by_test_id("act-drain-form")).to_have_count(0)  # for operators of all tenants


# ---- explain


async def test_a_missing_delivery_is_explained_rule_by_rule(browser: Browser, served: GatewayProcess) -> None:
    """From the event that was found, to the rule that does not hold."""
    (id,) = await served.publish([{}], circle_id=70)
    async with connect(f"{served.ws_url}?token={token('frank')}&rooms=circle:71"):
        async with console(browser, served, view=f"find?q={id}") as visit:
            await visit.page.get_by_test_id("found-event").get_by_role("link", name="Explain").click()
            view = visit.view("explain")
            await expect(view.get_by_test_id("explain-what")).to_have_value(id)
            await view.get_by_test_id("explain-who").fill("frank")
            await view.get_by_test_id("explain-submit").click()
            await expect(view.get_by_test_id("verdict")).to_contain_text("Not delivered: not subscribed")
            rules = view.get_by_test_id("rule")
            await expect(rules.filter(has_text="granted")).to_contain_text("✓")
            await expect(rules.filter(has_text="subscribed")).to_contain_text("✗")
            await expect(view.get_by_test_id("explain-curl-text")).to_contain_text("user_id=frank")
