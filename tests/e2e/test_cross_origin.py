"""A page of another origin, in a browser: it gets a ticket where its origin is allowed, and connects with it."""

import pytest
from playwright.async_api import Browser

from tests.support.inprocess import running
from tests.support.settings import settings_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK = """async ([url, token]) => {
  try {
    const answer = await fetch(`${url}/tickets`, { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
    if (answer.status === 429) return `429 ${answer.headers.get('Retry-After')}`;
    const { ticket } = await answer.json();
    const socket = new WebSocket(`${url.replace('http', 'ws')}/ws/dashboard?ticket=${ticket}`);
    return await new Promise((resolve) => {
      socket.onmessage = ({ data }) => resolve(JSON.parse(data).type);
      socket.onerror = () => resolve('refused');
    });
  } catch (error) { return error.name; }
}"""


async def test_a_page_of_an_allowed_origin_gets_a_ticket_and_connects(browser: Browser) -> None:
    """The page also reads the `retry_after` of a refusal; a page of another origin reads nothing."""
    async with running() as pages, running() as strangers:
        origin = f"http://127.0.0.1:{pages.port}"
        async with running(settings_for(allowed_origins=(origin,), tickets_per_minute=1)) as gate:
            context = await browser.new_context()
            try:
                page = await context.new_page()
                await page.goto(f"{pages.url}/healthz")
                assert await page.evaluate(ASK, [gate.url, gate.token()]) == "connection.established"
                assert (await page.evaluate(ASK, [gate.url, gate.token()])).startswith("429 ")
                assert await page.evaluate(ASK, [gate.url, gate.token()]) != "429 null"
                await page.goto(f"{strangers.url}/healthz")
                assert await page.evaluate(ASK, [gate.url, gate.token("bob")]) == "TypeError"
            finally:
                await context.close()
