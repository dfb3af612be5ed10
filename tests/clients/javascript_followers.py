"""The followers of a soak that are pages with the JavaScript client."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from tests.clients.pages import Page, page_at
from tests.clients.soak import Witness
from tests.support.tokens import token


class PageWitness(Witness):
    """The events of a page, as far as it has reported them."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page
        self._taken = 0

    @property
    def last(self) -> int:
        calls = self._page.calls
        while self._taken < len(calls):
            kind, value = calls[self._taken]
            self._taken += 1
            if kind == "event":
                self.event(value[1])
            elif kind == "gap":
                self.begin(gap=True)
        return super().last


@asynccontextmanager
async def following(url: str) -> AsyncIterator[list[PageWitness]]:
    """Three pages: one that is never behind, one with a limit below what comes, and one without WebSockets."""
    port = urlsplit(url).port
    assert port is not None
    async with AsyncExitStack() as stack:
        witnesses = []
        for limit, blocked in (None, False), (40, False), (None, True):
            granted = token(expires_in=3_600, rate=limit)
            page = page_at(port, token=granted, rooms=["circle:1"], blocked=blocked, jitter=True)
            witnesses.append(PageWitness(await stack.enter_async_context(page)))
        yield witnesses
