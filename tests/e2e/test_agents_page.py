"""The application and the page of docs/agents.md, in three browsers: one from the start, one late, one slow."""

import shutil
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.documentation.pages import ROOT, example
from tests.documentation.shell import Shell, application
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = " ".join(f"word{number}" for number in range(60))


async def opened(
    browser: Browser, theirs: RunningGateway, *, rate: int | None = None
) -> tuple[Page, list[str | bytes]]:
    """The page, live, and the frames that its socket receives."""
    frames: list[str | bytes] = []
    page = await browser.new_page()
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
    if rate is not None:
        token = theirs.token(rate=rate)
        await page.route("**/my/gateway-token", lambda route: route.fulfill(body=token))
    await page.goto(theirs.url)
    await expect(page).to_have_title("Agents: live")
    return page, frames


async def test_all_end_with_the_same_text(browser: Browser, tmp_path: Path) -> None:
    """The late one gets the text so far, and the slow one larger pieces: both miss none of it."""
    async with running() as gate:
        shell = Shell(gate, tmp_path)
        (tmp_path / "agents.py").write_text(example("agents.py"))
        (tmp_path / "agents.html").write_text(example("agents.html"))
        shutil.copy(ROOT / "gateway/web/js/client.js", tmp_path)
        command = example("quick start").replace("app:app", "agents:app").partition("\n")[2]  # its secret is the tests'
        async with application(shell, command) as theirs:
            slow, few = await opened(browser, theirs, rate=2)
            ask = example("ask").replace("http://127.0.0.1:9000", theirs.url)
            await shell.run(ask.replace("who+goes+first", QUESTION.replace(" ", "+")))
            late, _ = await opened(browser, theirs)
            await expect(late.locator("#run")).to_have_text("running")
            for page in (slow, late):
                await expect(page.locator("#run")).to_have_text("finished", timeout=PATIENCE * 1_000)
                await expect(page.locator("#messages")).to_have_text(f"You ask: {QUESTION} ")
                await page.close()
            pieces = len(QUESTION.split())
            assert 0 < sum('"agent.message"' in str(frame) for frame in few) < pieces / 2
