"""The application and the page of docs/quick-start.md, opened in a browser."""

import shutil
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.documentation.pages import ROOT, example
from tests.documentation.shell import Shell, application
from tests.support.inprocess import running

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_page_shows_what_the_application_publishes(browser: Browser, tmp_path: Path) -> None:
    """The page's steps: install, write two files, run, post."""
    async with running() as gate:
        shell = Shell(gate, tmp_path)
        (tmp_path / "app.py").write_text(example("app.py"))
        (tmp_path / "page.html").write_text(example("page.html"))
        shutil.copy(ROOT / "gateway/web/js/client.js", tmp_path)
        async with application(shell, example("quick start")) as theirs:
            page = await browser.new_page()
            await page.goto(theirs.url)
            events = page.locator("#events")
            await expect(events).to_contain_text("connection: live")
            await shell.run(example("task done").replace("http://127.0.0.1:9000", theirs.url))
            await expect(events).to_contain_text('task.completed {"task":81}')
            await page.close()
