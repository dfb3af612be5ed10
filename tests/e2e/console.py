"""The console in the browser: signing in, and its views."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from playwright.async_api import Browser, Locator, expect

from tests.e2e.visit import Visit, visiting_as
from tests.support.process import GatewayProcess
from tests.support.tokens import token

ADMIN: Final = "subscribe publish admin"
PLATFORM: Final = "subscribe publish admin platform"

HOSTILE: Final = '<img src=x onerror="window.hacked=1"><b>&amp;'
"""A name that would be markup if it were inserted as HTML."""

UNNAMED: Final = "status of 4"
"""The browser's own line about a request that was refused."""


def administrator(scope: str = ADMIN, **more: Any) -> str:
    return token("root", scope=scope, expires_in=3_000, **more)


class ConsoleVisit(Visit):
    """The console, after signing in."""

    def view(self, name: str) -> Locator:
        return self.page.get_by_test_id(f"view-{name}")

    async def open(self, name: str) -> Locator:
        """Follow the link of the navigation."""
        await self.page.locator(f'#views a[href="#{name}"]').click()
        view = self.view(name)
        await expect(view).to_be_visible()
        await expect(self.page.locator("#views [aria-current]")).to_have_attribute("href", f"#{name}")
        return view

    async def sign_in(self, bearer: str) -> None:
        await self.page.get_by_test_id("token").fill(bearer)
        await self.page.get_by_test_id("sign-in-submit").click()
        await expect(self.page.locator("#views")).to_be_visible()


@asynccontextmanager
async def console(
    browser: Browser,
    gateway: GatewayProcess,
    bearer: str | None = None,
    view: str = "",
    expected: str | None = None,
    sign_in: bool = True,
    **context: Any,
) -> AsyncIterator[ConsoleVisit]:
    """The console with this token, by default of an administrator of acme, at a view."""
    url = f"{gateway.url}/console{view and f'#{view}'}"
    async with visiting_as(ConsoleVisit, browser, url, expected=expected, **context) as visit:
        if sign_in:
            await visit.sign_in(bearer or administrator())
        yield visit
        assert await visit.page.evaluate("window.hacked") is None
