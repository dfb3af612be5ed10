"""A visit to the page with a fresh profile, and all that it asked for and complained of meanwhile."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.support.pauses import PATIENCE, until

expect.set_options(timeout=PATIENCE * 1000)

PHONE: Final[dict[str, Any]] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
FINGER: Final = 40
"""Pixels: what is lower is hard to hit with a finger."""

_TELL_VIOLATIONS: Final = """
addEventListener('securitypolicyviolation', (event) =>
  console.error(`violates its policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


class Visit:
    """The page, what it requested, what it logged and what went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requested: list[str] = []
        self.logged: list[str] = []
        self.problems: list[str] = []
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("websocket", lambda websocket: self.requested.append(websocket.url))
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")
        else:
            self.logged.append(message.text)

    def pane(self, tenant: str) -> Locator:
        return self.page.get_by_test_id(f"pane-{tenant}")

    async def received(self, tenant: str) -> list[str]:
        """The event ids that the tenant's pane got, in their order."""
        ids: list[str] = await self.page.evaluate("(tenant) => [...__gateway.panes[tenant].received]", tenant)
        return ids

    async def receives(self, tenant: str, event_id: str) -> None:
        """Wait until the tenant's pane has the event."""

        async def came() -> bool:
            return event_id in await self.received(tenant)

        await until(came)

    async def is_live(self, *tenants: str) -> None:
        for tenant in tenants:
            await expect(self.pane(tenant).get_by_test_id("state")).to_have_text("live")

    async def says(self, tenant: str, part: str, text: str | re.Pattern[str], tone: str) -> None:
        """Wait until this part of the tenant's pane tells `text` in the colour of `tone`."""
        shown = self.pane(tenant).get_by_test_id(part)
        await expect(shown).to_contain_text(text)
        await expect(shown).to_have_attribute("data-tone", tone)

    async def publish(self, tenant: str, **fields: str) -> None:
        """Fill in the form and submit it: `type`, `circle`, `project`, `data`."""
        await self.page.get_by_test_id("publish-tenant").select_option(tenant)
        for name, value in fields.items():
            await self.page.get_by_test_id(f"publish-{name}").fill(value)
        await self.page.get_by_test_id("publish-submit").click()


@asynccontextmanager
async def visiting(
    browser: Browser, url: str, *, expected: str | None = None, script: str = "", **context: Any
) -> AsyncIterator[Visit]:
    """A visit as `visiting_as` makes it."""
    async with visiting_as(Visit, browser, url, expected=expected, script=script, **context) as visit:
        yield visit


V = TypeVar("V", bound=Visit)


@asynccontextmanager
async def visiting_as(
    visit: type[V], browser: Browser, url: str, *, expected: str | None = None, script: str = "", **context: Any
) -> AsyncIterator[V]:
    """Open `url`; in the end nothing may have been asked of another origin, and no problem be but `expected` ones."""
    profile = await browser.new_context(**context)
    try:
        await profile.add_init_script(_TELL_VIOLATIONS + script)
        visited = visit(await profile.new_page())
        await visited.page.goto(url)
        yield visited
    finally:
        await profile.close()
    origin = urlsplit(url).netloc
    assert visited.requested
    foreign = [asked for asked in visited.requested if urlsplit(asked).netloc != origin]
    assert not foreign, f"asked elsewhere: {foreign}"
    unexpected = [problem for problem in visited.problems if expected is None or not re.search(expected, problem)]
    assert not unexpected, unexpected
