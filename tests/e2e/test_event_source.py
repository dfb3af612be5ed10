"""Chromium's own `EventSource` on `GET /events/stream`: what it dispatches, and what it sends when it reconnects."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.documentation.pages import example
from tests.support.clients import http
from tests.support.inprocess import running
from tests.support.pauses import until
from tests.support.process import GatewayProcess
from tests.support.redis import redis_server
from tests.support.settings import settings_for
from tests.support.tokens import token

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLOSED = 2

FOLLOW = """(url) => {
  window.seen = [];
  window.source = new EventSource(url);
  const note = ({ type, data, lastEventId }) =>
    seen.push({ name: type, id: lastEventId, frame: data === undefined ? null : JSON.parse(data) });
  const own = ['connection.established', 'subscribed', 'stream.gap', 'stream.mark', 'server.draining'];
  for (const name of ['message', 'error', ...own]) source.addEventListener(name, note);
}"""


class Follower:
    """A page with an `EventSource`, and all that it dispatched."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))

    async def seen(self, name: str) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = await self.page.evaluate("seen")
        return [each for each in seen if each["name"] == name]

    async def dispatched(self, name: str, count: int, seconds: float = 20.0) -> list[dict[str, Any]]:
        """Wait until so many events of a name were dispatched."""

        async def enough() -> list[dict[str, Any]] | None:
            seen = await self.seen(name)
            return seen if len(seen) >= count else None

        found: list[dict[str, Any]] = await until(enough, seconds)
        return found

    async def ids(self) -> list[str]:
        return [each["frame"]["event_id"] for each in await self.seen("message")]

    async def state(self) -> int:
        state: int = await self.page.evaluate("source.readyState")
        return state


@asynccontextmanager
async def following(browser: Browser, url: str, query: str) -> AsyncIterator[Follower]:
    """A page of the gateway's own origin that follows a stream, once that is open."""
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"{url}/healthz")
        follower = Follower(page)
        await page.evaluate(FOLLOW, f"/events/stream?{query}")
        await follower.dispatched("connection.established", 1)
        yield follower
    finally:
        await context.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients reconnect soon."""
    monkeypatch.setattr("gateway.transports.asgi_event_stream.RETRY_MILLISECONDS", (50, 100))


async def test_the_page_of_the_documents(browser: Browser) -> None:
    """The page gets the events of its rooms, and a notice of a gap."""
    async with running() as gate:
        context = await browser.new_context()
        try:
            page = await context.new_page()
            await page.goto(f"{gate.url}/healthz")
            await page.evaluate(
                """async ([code, token]) => {
                  const { follow } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
                  window.seen = [];
                  follow(token, (event) => seen.push(event.event_id), () => seen.push('loss'));
                }""",
                [example("stream.js"), gate.token()],
            )
            await until(lambda: gate.service.gateway.manager.of("acme").rooms.get("project:5"))
            ids = [await gate.publish(circle_id=7), await gate.publish(project_id=5)]

            async def seen() -> list[str]:
                found: list[str] = await page.evaluate("seen")
                return found

            async def both() -> bool:
                return await seen() == ids

            await until(both)
            gate.service.gateway.log_status.on_reset("acme")

            async def notified() -> bool:
                return await seen() == [*ids, "loss"]

            await until(notified)
        finally:
            await context.close()


async def test_it_resumes_from_a_mark_that_no_script_saw(browser: Browser, quick: None) -> None:
    """The header of the reconnect goes before `since` of the URL, which is still the first one. Nothing is missing and
    nothing comes twice."""
    async with running(settings_for(mark_interval=1)) as gate:
        start = await gate.publish(circle_id=1)
        first = await gate.publish(circle_id=1)
        query = f"rooms=circle:1&since={start}&token={gate.token()}"
        async with following(browser, gate.url, query) as page:
            assert (await page.dispatched("message", 1))[0]["id"] == first
            (established,) = await page.seen("connection.established")
            assert established["id"] == start
            head = await gate.publish(circle_id=2)
            cuts = 0

            def cut() -> None:
                nonlocal cuts
                cuts += 1
                (connection,) = gate.service.gateway.manager.connections()
                connection.transport.abort()

            async def came_back_with() -> str:
                return str((await page.dispatched("connection.established", 1 + cuts))[-1]["id"])

            async def marked() -> bool:
                await asyncio.sleep(1.5)  # a mark comes, which nothing shows but the place that it comes back with
                cut()
                return await came_back_with() == head

            await until(marked)
            assert await page.seen("stream.mark") == []
            assert await page.ids() == [first]

            cut()
            missed = [await gate.publish(circle_id=1) for _ in range(3)]
            assert await came_back_with() == head
            await page.dispatched("message", 4)
            assert (await page.seen("subscribed"))[-1]["frame"]["data"]["replayed"] == 3
            live = await gate.publish(circle_id=1)
            await page.dispatched("message", 5)
            assert await page.ids() == [first, *missed, live]
            streams = {url for url in page.requests if "/events/stream" in url}
            assert len(streams) == 1


async def test_it_survives_a_restart_with_nothing_missing(browser: Browser, tmp_path: Path) -> None:
    """The stream gets its slot, is served until then, and reconnects once the node is back."""
    async with (
        redis_server(tmp_path / "redis") as redis,
        GatewayProcess(
            tmp_path / "node", log_url=redis.url, drain_seconds=1, shutdown_delay_seconds=0, mark_interval=15
        ) as node,
    ):
        (start,) = await node.publish([{}], circle_id=1)
        async with following(browser, node.url, f"rooms=circle:1&since={start}&token={token()}") as page:
            ids = await node.publish([{"n": 1}], circle_id=1)
            await page.dispatched("message", 1)
            node.send_signal(signal.SIGTERM)
            (draining,) = await page.dispatched("server.draining", 1)
            assert 1_000 <= draining["frame"]["data"]["reconnect_after_ms"] <= 2_000
            assert (await node.ended())[0] == 0
            await node.start()
            ids += await node.publish([{"n": n} for n in range(2, 12)], circle_id=1)
            await page.dispatched("message", 11)
            assert await page.ids() == ids
            assert all(each["frame"]["data"]["recovered"] for each in await page.seen("subscribed"))
            assert await page.state() != CLOSED


async def test_a_lost_log_is_reported(browser: Browser, tmp_path: Path) -> None:
    """By `recovered: false` where the cursor can be read; else the stream begins with a gap."""
    async with GatewayProcess(tmp_path / "node", shutdown_delay_seconds=0) as node:
        async with following(browser, node.url, f"rooms=circle:1&token={token()}") as page:
            await node.publish([{"n": 1}], circle_id=1)
            await page.dispatched("message", 1)
            node.send_signal(signal.SIGTERM)
            await node.ended()
            await node.start()
            again = (await page.dispatched("subscribed", 2))[-1]
            assert again["frame"]["data"]["recovered"] is False
        async with following(browser, node.url, f"rooms=circle:1&since=rubbish&token={token()}") as page:
            (gap,) = await page.dispatched("stream.gap", 1)
            assert gap["id"] == gap["frame"]["data"]["cursor"]
            (event,) = await node.publish([{"n": 2}], circle_id=1)
            await page.dispatched("message", 1)
            assert await page.ids() == [event]


async def test_a_revoked_client_does_not_come_back(browser: Browser, quick: None) -> None:
    """Its stream ends, and 204 to its reconnect is the last word."""
    async with running() as gate:
        async with (
            following(browser, gate.url, f"rooms=circle:1&token={gate.token()}") as page,
            http(gate, gate.token("root", scope="admin")) as api,
        ):
            assert (await api.post("/admin/tokens/revoke", json={"user_id": "ada"})).status_code == 200

            async def closed() -> bool:
                return await page.state() == CLOSED

            await until(closed)
            asked = [url for url in page.requests if "/events/stream" in url]
            assert len(asked) == 2
            await asyncio.sleep(0.5)
            assert [url for url in page.requests if "/events/stream" in url] == asked
