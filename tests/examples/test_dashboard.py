"""The dashboard: built, served by its FastAPI application, and opened in a browser."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.documentation.pages import example
from tests.documentation.shell import Shell, application
from tests.e2e.visit import visiting
from tests.examples.programs import copy_example
from tests.support.inprocess import running
from tests.support.nodejs import needs_npm

pytestmark = [needs_npm, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_jobs_are_shown(browser: Browser, npm_package: Path, tmp_path: Path) -> None:
    """In a page that is there from the beginning, and in one that is opened later."""
    copy_example("dashboard", tmp_path, npm_package)
    build, *serve = example("dashboard").splitlines()
    async with running() as gate:
        shell = Shell(gate, tmp_path)
        await shell.run(build)
        async with (
            application(shell, "\n".join(serve)) as theirs,
            visiting(browser, f"{theirs.url}/") as first,
        ):
            page = first.page
            await expect(page.get_by_role("status")).to_have_text("live ")
            await page.get_by_role("button", name="Start").click()
            bar = page.get_by_role("listitem").filter(has_text="report").locator("progress")
            await expect(bar).to_have_attribute("value", "100")
            await expect(page.get_by_text("Finished:")).to_have_text("Finished: report ")
            async with visiting(browser, f"{theirs.url}/") as second:
                await expect(second.page.locator("progress")).to_have_attribute("value", "100")
                await expect(second.page.get_by_text("Finished:")).to_have_text("Finished:  ")
