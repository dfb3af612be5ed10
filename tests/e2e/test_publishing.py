"""Publishing from the form and from what its buttons copy."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from contextlib import suppress

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.demo import run
from tests.e2e.visit import Visit, visiting
from tests.support.pauses import PATIENCE, until
from tests.support.process import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTED = re.compile(r"^202 accepted: (evt_\S+)$")
CLIPBOARD = ["clipboard-read", "clipboard-write"]
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', { value: undefined });"
REFUSED_IN_CONSOLE = r"status of 403"


async def accepted(visit: Visit) -> str:
    """The id of the event that the form tells to be accepted."""
    result = visit.page.get_by_test_id("publish-result")
    await expect(result).to_have_text(ACCEPTED)
    found = ACCEPTED.search(await result.inner_text())
    assert found
    return found[1]


async def next_accepted(visit: Visit, before: str) -> str:
    await expect(visit.page.get_by_test_id("publish-result")).not_to_contain_text(before)
    return await accepted(visit)


async def copied(visit: Visit, what: str) -> str:
    """The text that the button puts on the clipboard."""
    field = visit.page.get_by_test_id("publish-data")
    before = await field.input_value()
    await field.fill("what another test left there")
    await field.press("Control+a")
    await field.press("Control+c")
    await field.fill(before)
    await visit.page.get_by_test_id(f"copy-{what}").click()
    result = visit.page.locator("#copy-result")
    await expect(result).to_have_text("Copied.")
    await expect(result).to_have_attribute("data-tone", "good")
    await field.fill("")
    await field.press("Control+v")
    text = await field.input_value()
    await field.fill(before)
    return text


async def test_an_event_of_the_form_comes_to_its_own_tenants_pane_only(browser: Browser, demo: GatewayProcess) -> None:
    async with visiting(browser, f"{demo.url}/") as visit:
        await visit.is_live("acme", "globex")
        title = "<b>Hällo</b> from the form"
        await visit.publish("globex", type="memory.shared", circle="10", project="", data=json.dumps({"title": title}))
        first = await accepted(visit)
        row = visit.pane("globex").locator(f'[data-event-id="{first}"]')
        await expect(row.locator(".about")).to_have_text(title)
        await expect(row.locator(".type")).to_have_text("memory.shared")
        await expect(row.locator(".in")).to_have_text("circle:10")
        await expect(row).to_have_class(re.compile(r"\bown\b"))

        # What comes later in both panes shows that the first one is not merely late in the other.
        await visit.publish("acme", circle="2")
        second = await next_accepted(visit, first)
        await visit.receives("acme", second)
        await visit.publish("globex", circle="9")
        await visit.receives("globex", await next_accepted(visit, second))
        acme, globex = await visit.received("acme"), await visit.received("globex")
        assert (acme.count(first), globex.count(first)) == (0, 1)
        assert (acme.count(second), globex.count(second)) == (1, 0)
        await expect(visit.pane("acme").locator(f'[data-event-id="{first}"]')).to_have_count(0)


async def test_a_refused_event_shows_its_code(browser: Browser, demo: GatewayProcess) -> None:
    """Text that is not an event is not sent at all."""
    async with visiting(browser, f"{demo.url}/", expected=REFUSED_IN_CONSOLE) as visit:
        result = visit.page.get_by_test_id("publish-result")
        await visit.publish("acme", circle="9", project="")
        await expect(result).to_have_text(re.compile(r"^403 room_forbidden: .*circle:9"))
        await expect(result).to_have_attribute("data-tone", "bad")
        await visit.publish("acme", circle="1", data="[1]")
        await expect(result).to_contain_text("data must be a JSON object")
        await visit.publish("acme", data="{}")
        assert await accepted(visit)
        await expect(result).to_have_attribute("data-tone", "good")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("clipboard", [True, False], ids=["clipboard", "without a clipboard"])
async def test_the_copied_curl_publishes(browser: Browser, demo: GatewayProcess, clipboard: bool) -> None:
    """In `sh`, whatever quotes the event has. Shown is `$TOKEN`; the token is only in what is copied."""
    options = {"permissions": CLIPBOARD} if clipboard else {"script": NO_CLIPBOARD}
    async with visiting(browser, f"{demo.url}/", **options) as visit:
        await visit.is_live("globex")
        await visit.page.get_by_test_id("publish-tenant").select_option("globex")
        await visit.page.get_by_test_id("publish-data").fill(json.dumps({"title": 'it\'s $HOME "here" `id`'}))
        command = await copied(visit, "curl")
        token = re.search(r"Bearer (eyJ[\w.-]+)", command)
        assert token
        shown = await visit.page.locator("#snippet").inner_text()
        assert shown.strip() == re.sub(r"'Authorization: .*'", '"Authorization: Bearer $TOKEN"', command).strip()
        assert "eyJ" not in await visit.page.content()

        for text, variables in ((command, {}), (shown, {"TOKEN": token[1]})):
            answer = json.loads(await run(demo, "sh", "-c", text, variables=variables))
            assert answer["rooms"] == ["circle:9", "project:30", "tenant"]
            await visit.receives("globex", answer["event_id"])
            row = visit.pane("globex").locator(f'[data-event-id="{answer["event_id"]}"]')
            await expect(row.locator(".about")).to_have_text('it\'s $HOME "here" `id`')


async def test_the_copied_javascript_follows_the_tenant(browser: Browser, demo: GatewayProcess) -> None:
    """In the console of the page, as the text says."""
    async with visiting(browser, f"{demo.url}/", permissions=CLIPBOARD) as visit:
        await visit.page.get_by_test_id("publish-tenant").select_option("acme")
        script = await copied(visit, "js")
        assert not visit.logged
        await visit.page.evaluate(f"async () => {{ {script} }}")

        async def arrived() -> bool:
            return any(re.match(r"(task|agent|conversation|memory)\.", line) for line in visit.logged)

        await until(arrived)


async def test_the_copied_python_follows_the_tenant(browser: Browser, demo: GatewayProcess) -> None:
    async with visiting(browser, f"{demo.url}/", permissions=CLIPBOARD) as visit:
        await visit.page.get_by_test_id("publish-tenant").select_option("globex")
        program = await copied(visit, "python")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-c", program, stdout=subprocess.PIPE, cwd=demo.folder, env=demo.environment
    )
    assert process.stdout is not None
    printed = b""
    try:
        async with asyncio.timeout(PATIENCE):
            while b"'event_id'" not in printed:
                line = await process.stdout.readline()
                assert line, printed
                printed += line
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
    assert b"'circle_id': 9" in printed or b"'circle_id': 10" in printed
