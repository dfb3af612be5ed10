"""Chromium, driven by Playwright."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, async_playwright

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


def executable() -> Path:
    """The browser's path; skips where it is missing, and fails where it is required."""
    if not CHROMIUM.exists():
        reason = f"needs Chromium at {CHROMIUM} (Debian: apt-get install chromium)"
        if os.environ.get("TESTS_REQUIRE_BROWSER") == "1":
            pytest.fail(f"TESTS_REQUIRE_BROWSER=1: {reason}")
        pytest.skip(reason)
    return CHROMIUM


@asynccontextmanager
async def launched(path: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield started
        finally:
            await started.close()
