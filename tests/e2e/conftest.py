"""One Chromium and one demo gateway for all browser tests of a worker; each test has a profile of its own."""

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.support.process import GatewayProcess

CHROMIUM: Final = Path("/usr/bin/chromium")
ARGUMENTS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's path; skips where there is none, and fails where there has to be one."""
    if not CHROMIUM.exists():
        reason = f"needs Chromium at {CHROMIUM} (Debian: apt-get install chromium)"
        if os.environ.get("TESTS_REQUIRE_BROWSER") == "1":
            pytest.fail(f"TESTS_REQUIRE_BROWSER=1: {reason}")
        pytest.skip(reason)
    return CHROMIUM


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        try:
            yield started
        finally:
            await started.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    """`gateway serve --dev --demo`, for tests that leave it running. All of them connect from one address."""
    home = tmp_path_factory.mktemp("demo")
    async with GatewayProcess(home, "--dev", "--demo", jwt_secret=None) as served:
        yield served


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """All tests here need the browser, whose connection lives on one event loop."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
