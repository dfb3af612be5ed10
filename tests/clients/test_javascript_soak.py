"""The JavaScript client over a network and gateways that fail at random: nothing is missing without a gap, and nothing
comes twice."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients.pages import Page, page_at
from tests.clients.soak import Witness, soak
from tests.support.nodejs import needs_websocket
from tests.support.redis import RedisServer
from tests.support.tokens import token

pytestmark = needs_websocket


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


@pytest.mark.timeout(240)
async def test_a_short_soak(tmp_path: Path) -> None:
    await soak(following, tmp_path / "gateway", 12.0, 1)


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
async def test_a_long_soak(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    await soak(following, tmp_path / "gateway", 600.0, seed)


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
async def test_a_long_soak_on_redis(server: RedisServer, prefix: str, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    await soak(following, tmp_path / "gateway", 600.0, seed, log_url=server.url, redis_prefix=prefix)
