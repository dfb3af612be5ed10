"""`/docs` shows the whole API, without resources from other hosts."""

from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.e2e.visit import visiting
from tests.support.process import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

METHODS = {"get", "post", "put", "patch", "delete"}
_SHOWN = """(all) => all.map((one) => [
  one.querySelector('.method').textContent, one.querySelector('summary code').textContent,
  [...one.querySelectorAll('.answer')].map((answer) => answer.firstChild.textContent),
  [...one.querySelectorAll('dt code')].map((field) => field.textContent)])"""


async def fetch(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP; spares the certificates
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


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_every_link_leads_somewhere(browser: Browser, demo: GatewayProcess, path: str) -> None:
    async with visiting(browser, f"{demo.url}{path}") as visit:
        links = await visit.page.locator("a[href]").evaluate_all("(all) => all.map((link) => link.href)")
    assert links
    for link in links:
        assert link.startswith(demo.url), link
        assert (await fetch(link)).status_code == 200, link
