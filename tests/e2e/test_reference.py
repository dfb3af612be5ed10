"""`/docs` shows all of HTTP and of the WebSocket, without resources from other hosts."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.e2e.visit import visiting
from tests.support.clients import http_client
from tests.support.contracts import write_contract
from tests.support.inprocess import running
from tests.support.process import GatewayProcess
from tests.support.settings import settings_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

METHODS = {"get", "post", "put", "patch", "delete"}
_SHOWN = """(all) => all.map((one) => [
  one.querySelector('.method').textContent, one.querySelector('summary code').textContent,
  [...one.querySelectorAll('.answer')].map((answer) => answer.firstChild.textContent),
  [...one.querySelectorAll('dt code')].map((field) => field.textContent)])"""


async def fetch(url: str) -> httpx.Response:
    async with http_client() as client:
        return await client.get(url)


async def test_every_operation_is_shown_with_its_answers(browser: Browser, demo: GatewayProcess) -> None:
    description: dict[str, Any] = (await fetch(f"{demo.url}/openapi.json")).json()
    described = {
        (method.upper(), path): set(operation["responses"])
        for path, item in description["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }
    assert {("POST", "/events"), ("POST", "/admin/tokens"), ("GET", "/readyz")} <= described.keys()
    async with visiting(browser, f"{demo.url}/docs") as visit:
        operations = visit.page.locator("#operations details")
        await expect(operations).to_have_count(len(described))
        shown = {
            (method, path): (set(answers), set(fields))
            for method, path, answers, fields in await operations.evaluate_all(_SHOWN)
        }
        assert {operation: answers for operation, (answers, _) in shown.items()} == described
        _, fields = shown["POST", "/events"]
        assert {"type", "data", "circle_id", "project_id", "user_id", "idempotency_key", "event_id"} <= fields
        await expect(visit.page.locator("#notice")).to_be_hidden()
        for text in ("undefined", "[object", "`"):
            await expect(visit.page.locator("main")).not_to_contain_text(text)

        first = operations.first
        await expect(first.locator("dl").first).to_be_hidden()
        await first.locator("summary").click()
        await expect(first.locator("dl").first).to_be_visible()


async def test_every_command_frame_and_code_is_shown(browser: Browser, demo: GatewayProcess) -> None:
    """With its example, and a reply for each command."""
    description: dict[str, Any] = (await fetch(f"{demo.url}/asyncapi.json")).json()
    messages, channel = description["components"]["messages"], description["channels"]["socket"]
    async with visiting(browser, f"{demo.url}/docs") as visit:
        await expect(visit.page.locator("#operations details").first).to_be_attached()
        shown = [
            await visit.page.locator(f"{part} details").evaluate_all("(all) => all.map((one) => one.dataset.message)")
            for part in ("#commands", "#notices", "#event-types")
        ]
        commands = [messages[key]["name"] for key in messages if key.startswith("command.")]
        assert shown[0] == commands
        assert {"connection.established", "stream.gap", "stream.mark", "error"} <= set(shown[1])
        assert shown[2] == ["event"]
        for name in commands:
            card = visit.page.locator(f'#commands [data-message="{name}"]')
            await expect(card.locator("pre")).to_have_count(2)
        for part, codes in (("close", channel["x-close-codes"]), ("error", channel["x-error-codes"])):
            cells = visit.page.locator(f"#{part}-codes td:first-child")
            assert await cells.all_text_contents() == list(codes)


async def test_event_is_published_from_the_page_and_comes_live(browser: Browser, demo: GatewayProcess) -> None:
    """In development mode the page has a token; what the gateway refuses is shown with its code."""
    async with visiting(browser, f"{demo.url}/docs") as visit:
        page = visit.page
        await expect(page.get_by_test_id("trial-token")).not_to_have_value("")
        await page.get_by_test_id("trial-follow").click()
        await expect(page.get_by_test_id("trial-state")).to_have_text("live")
        await page.get_by_test_id("trial-type").fill("docs.tried")
        await page.get_by_test_id("trial-data").fill('{"title": "<b>from</b> the page"}')
        await page.get_by_test_id("trial-submit").click()
        await expect(page.get_by_test_id("trial-result")).to_contain_text("202: evt_")
        row = page.get_by_test_id("trial-tail").locator('[data-type="docs.tried"]')
        await expect(row).to_contain_text("<b>from</b> the page")
        await page.get_by_test_id("trial-data").fill("{")
        await page.get_by_test_id("trial-submit").click()
        await expect(page.get_by_test_id("trial-result")).to_contain_text("data must be a JSON object")
        await page.get_by_test_id("trial-data").fill("{}")
        await page.get_by_test_id("trial-room").fill("circle")  # would be the tenant's, without an id
        await page.get_by_test_id("trial-submit").click()
        await expect(page.get_by_test_id("trial-result")).to_contain_text("write a kind, a colon and an id")


async def test_types_of_the_contract_are_offered_with_data_to_begin_with(browser: Browser, tmp_path: Path) -> None:
    """Their schemas are shown once there is a token; an event that violates one is refused on the page."""
    contract = write_contract(tmp_path / "contract")
    async with running(settings_for(contract=contract)) as gate:
        violation = "the server responded with a status of"  # 404 of /dev/session, 422
        async with visiting(browser, f"{gate.url}/docs", expected=violation) as visit:
            page = visit.page
            card = page.locator('#event-types [data-message="task.completed"]')
            await expect(page.locator('#event-types [data-message="event"]')).to_be_attached()
            await expect(card).to_have_count(0)
            await page.get_by_test_id("trial-token").fill(gate.token(rooms=["tenant"], scope="subscribe publish"))
            await page.get_by_test_id("trial-token").press("Tab")
            await expect(card.locator("dt code")).to_have_text(["task_id", "result", "note"])
            await expect(page.get_by_test_id("trial-type")).to_have_value("task.completed")
            await page.get_by_test_id("trial-submit").click()
            await expect(page.get_by_test_id("trial-result")).to_contain_text("202: evt_")
            await page.get_by_test_id("trial-data").fill('{"task_id": "7", "result": "ok"}')
            await page.get_by_test_id("trial-submit").click()
            await expect(page.get_by_test_id("trial-result")).to_contain_text("422 contract_violation")


@pytest.mark.parametrize("path", ["/", "/docs", "/console"])
async def test_every_link_leads_somewhere(browser: Browser, demo: GatewayProcess, path: str) -> None:
    async with visiting(browser, f"{demo.url}{path}") as visit:
        links = await visit.page.locator("a[href]").evaluate_all("(all) => all.map((link) => link.href)")
    assert links
    for link in links:
        assert link.startswith(demo.url), link
        assert (await fetch(link)).status_code == 200, link
