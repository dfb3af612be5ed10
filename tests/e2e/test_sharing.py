"""Tabs of Chromium that share one connection: what each gets, and what becomes of it when a tab comes or goes."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page

from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until, until_equal
from tests.support.proxy import proxied
from tests.support.redis import redis_server
from tests.support.settings import settings_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

FOLLOW = """async ([token, rooms]) => {
  const { connect, share } = await import('/web/js/client.js');
  window.seen = {};
  window.sockets = 0;
  class Counted extends WebSocket {
    constructor(...given) { super(...given); sockets += 1; this.addEventListener('close', () => { sockets -= 1; }); }
  }
  window.client = connect({ url: '/ws/dashboard', token, WebSocket: share(Counted) });
  window.follow = (name, options = {}) => {
    seen[name] = [];
    return client.room(name, {
      onEvent: ({ data }) => seen[name].push(data.n), onGap: ({ reason }) => seen[name].push(reason), ...options,
    });
  };
  for (const name of rooms) follow(name);
}"""


class Tab:
    """A page with a client, and what its rooms got."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def seen(self, room: str = "circle:1") -> list[Any]:
        found: list[Any] = await self.page.evaluate(f"seen['{room}']")
        return found

    async def gets(self, expected: list[Any], room: str = "circle:1") -> None:
        """Wait until this is all that the room got."""
        await until_equal(lambda: self.seen(room), expected, 30.0)

    async def until(self, expression: str) -> None:
        await until(lambda: self.page.evaluate(expression))

    async def complete(self, published: list[int]) -> None:
        """Wait until the last event has come; it has all from the first one on, each once."""
        await self.until(f"seen['circle:1'].at(-1) === {published[-1]}")
        seen = await self.seen()
        assert seen == published[published.index(seen[0]) :]
        assert await self.page.evaluate("client.duplicates") == 0

    async def shares(self) -> bool:
        """Whether it is live without a connection of its own."""
        return bool(await self.page.evaluate("sockets === 0 && client.state === 'live'"))


class Browsing:
    """The tabs of one profile at one gateway."""

    def __init__(self, context: BrowserContext, *gates: RunningGateway, url: str = "") -> None:
        self.context = context
        self.gate = gates[0]
        self.tabs: list[Tab] = []
        self._gates = gates
        self._url = url or self.gate.url

    def connections(self) -> int:
        return sum(1 for gate in self._gates for _ in gate.service.gateway.manager.connections())

    async def open(self, *rooms: str, user: str = "ada") -> Tab:
        page = await self.context.new_page()
        await page.goto(f"{self._url}/healthz")
        await page.evaluate(FOLLOW, [self.gate.token(user), rooms or ["circle:1"]])
        tab = Tab(page)
        self.tabs.append(tab)
        return tab

    async def settled(self, connections: int = 1) -> None:
        """Wait until the tabs share so many connections."""

        async def met() -> bool:
            own = [tab for tab in self.tabs if not await tab.shares()]
            return len(own) == self.connections() == connections

        await until(met, 40.0)

    async def leader(self) -> Tab:
        (tab,) = [tab for tab in self.tabs if not await tab.shares()]
        return tab

    async def publish(self, *numbers: int, circle: int = 1, **fields: Any) -> None:
        for n in numbers:
            await self.gate.publish(data={"n": n}, circle_id=circle, **fields)

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[list[int]]:
        """Meanwhile publish events, some 100 a second; yields their numbers."""
        published: list[int] = []
        stop = asyncio.Event()

        async def publish() -> None:
            while not stop.is_set():
                published.append(len(published))
                await self.publish(published[-1])
                await asyncio.sleep(random.random() * 0.02)

        task = asyncio.create_task(publish())
        try:
            yield published
        finally:
            stop.set()
            await task


@asynccontextmanager
async def browsing(browser: Browser, **settings: Any) -> AsyncIterator[Browsing]:
    async with running(settings_for(**settings)) as gate:
        context = await browser.new_context()
        try:
            yield Browsing(context, gate)
        finally:
            await context.close()


async def test_tabs_share_a_connection_and_have_rooms_of_their_own(browser: Browser) -> None:
    """Also a room that a tab opens later; a tab gets nothing of the rooms of another one."""
    async with browsing(browser) as tabs:
        one, two = await tabs.open("circle:1"), await tabs.open("circle:1", "circle:2")
        await tabs.settled()
        await tabs.publish(1, 2)
        await tabs.publish(3, circle=2)
        await one.gets([1, 2])
        await two.gets([1, 2])
        await two.gets([3], "circle:2")
        for number, tab in enumerate((one, two), 3):
            await tab.page.evaluate(f"window.late = follow('circle:{number}')")
            await tab.until("late.state === 'live'")
            await tabs.publish(9, circle=number)
            await tab.gets([9], f"circle:{number}")
            await tab.page.evaluate("late.close()")
        await until(lambda: not tabs.gate.service.gateway.manager.of("acme").rooms.get("circle:4"))
        reply = await two.page.evaluate("client.publish({ type: 'a.b', data: { n: 4 }, circle_id: 1 })")
        assert reply["duplicate"] is False
        await one.gets([1, 2, 4])
        await two.gets([1, 2, 4])
        assert tabs.connections() == 1


async def test_another_user_has_another_connection(browser: Browser) -> None:
    async with browsing(browser) as tabs:
        for user in ("ada", "ada", "bob"):
            await tabs.open(user=user)
        await tabs.settled(connections=2)


async def test_a_tab_that_is_closed_is_succeeded(browser: Browser) -> None:
    """The leading one; and events that come meanwhile are not lost."""
    async with browsing(browser) as tabs:
        for _ in range(3):
            await tabs.open()
        await tabs.settled()
        await tabs.publish(1)
        for round_ in range(2):
            leader = await tabs.leader()
            tabs.tabs.remove(leader)
            await leader.page.close()
            await tabs.publish(*range(2 + round_ * 10, 12 + round_ * 10))
            for tab in tabs.tabs:
                await tab.gets(list(range(1, 12 + round_ * 10)))
            await tabs.settled()


async def test_a_tab_that_is_frozen_is_succeeded(browser: Browser) -> None:
    """By the others; once it goes on, it has everything too, and follows."""
    async with browsing(browser) as tabs:
        for _ in range(2):
            await tabs.open()
        await tabs.settled()
        leader = await tabs.leader()
        (other,) = [tab for tab in tabs.tabs if tab is not leader]
        session = await tabs.context.new_cdp_session(leader.page)
        await session.send("Debugger.enable")
        await leader.page.evaluate("setTimeout(() => { debugger; }, 0)")
        frozen = await _holder(other)
        await tabs.publish(1, 2)
        await other.page.evaluate("dispatchEvent(new Event('online'))")  # the client asks whether it is connected
        await other.gets([1, 2])

        async def replaced() -> bool:
            return await _holder(other) != frozen

        await until(replaced, 40.0)
        await session.send("Debugger.disable")
        await leader.gets([1, 2])
        await tabs.settled()
        assert await tabs.leader() is other


async def test_tabs_at_different_nodes(browser: Browser, tmp_path: Path, prefix: str) -> None:
    """Behind one address. A tab that follows misses nothing, though its own node is 0.3 s behind that of the leader."""
    async with redis_server(tmp_path) as server, AsyncExitStack() as stack:
        slow = await stack.enter_async_context(proxied(server.port))
        slow.latency = 0.15
        gates = [
            await stack.enter_async_context(running(settings_for(log_url=url, redis_prefix=prefix)))
            for url in (server.url, slow.url)
        ]
        address = await stack.enter_async_context(proxied(gates[0].port))
        context = await browser.new_context()
        stack.push_async_callback(context.close)
        tabs = Browsing(context, *gates, url=f"http://127.0.0.1:{address.port}")
        await tabs.open()
        await tabs.settled()
        address.target = gates[1].port
        async with tabs.publishing() as published:
            for _ in range(3):
                await tabs.open()
                await tabs.settled()
        for tab in tabs.tabs:
            await tab.complete(published)


async def _holder(tab: Tab) -> str:
    """The browser's name for the page that leads."""
    held = await tab.page.evaluate("navigator.locks.query().then(({ held }) => held)")
    (holder,) = [lock["clientId"] for lock in held if lock["name"].startswith("gathering ")]
    return str(holder)


async def test_items_and_replays_take_a_connection_of_their_own(browser: Browser) -> None:
    """For as long as they take: a room with state, opened by a tab that follows and by the one that leads."""
    async with browsing(browser) as tabs:
        for _ in range(2):
            await tabs.open()
        await tabs.settled()
        await tabs.gate.publish(data={"n": 1}, circle_id=5, item_key="a")
        for tab in list(tabs.tabs):
            await tab.page.evaluate("window.stateful = follow('circle:5', { state: true })")
            await tab.until("stateful.state === 'live'")
            await tabs.settled()
        await tabs.gate.publish(data={"n": 2}, circle_id=5, item_key="a")
        for tab in tabs.tabs:
            await tab.until("[...stateful.items.values()].map(({ data }) => data.n).join() === '2'")
            assert (await tab.seen("circle:5"))[-1] == 2
        assert tabs.connections() == 1


async def test_nothing_is_missing_and_nothing_comes_twice(browser: Browser) -> None:
    """While events are published all the time, tabs come and go, and connections are cut."""
    chance = random.Random(7)
    async with browsing(browser) as tabs:
        async with tabs.publishing() as published:
            for _ in range(2):
                await tabs.open()
            for _ in range(12):
                deed = chance.random()
                if len(tabs.tabs) < 2 or (deed < 0.3 and len(tabs.tabs) < 4):
                    await tabs.open()
                elif deed < 0.5:
                    await tabs.tabs.pop(chance.randrange(len(tabs.tabs))).page.close()
                elif deed < 0.7:
                    await chance.choice(tabs.tabs).page.evaluate("client.cut()")
                await asyncio.sleep(chance.random() * 2)
            await tabs.settled()
        for tab in tabs.tabs:
            await tab.complete(published)
