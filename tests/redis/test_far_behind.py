"""Reading a tenant's stream in many pages, while items change and end and pub/sub goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.core.window import Bounds
from gateway.logs.redis import RedisLog, page_reader
from gateway.logs.redis.page_reader import Page
from gateway.testing import LogUnderTest, draft
from gateway.testing.log_items_contract import kept_of, keyed_draft
from tests.support.pauses import until
from tests.support.redis import RedisServer
from tests.support.redis_logs import have_patience, redis_log

BOUNDS = Bounds(max_events=8, max_items=400)
ITEMS = 150
PAGE_BYTES = 8 * 1024
PAGES = 25
"""A few more than the state of so many items, of 1,000 bytes each."""


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_reader, "PAGE_BYTES", PAGE_BYTES)
    have_patience(monkeypatch)


def log_of(subject: LogUnderTest) -> RedisLog:
    assert isinstance(subject.log, RedisLog)
    return subject.log


class Publisher:
    """Publishes on another node. The numbers of items go round: each is set, and ended later."""

    def __init__(self, subject: LogUnderTest) -> None:
        self._log = subject.log
        self._ended = 0
        self._made = 0

    async def fill(self) -> None:
        for _ in range(0, ITEMS, 50):
            await asyncio.gather(*(self.set() for _ in range(50)))

    def set(self) -> Awaitable[Any]:
        self._made += 1
        return self._log.append("acme", keyed_draft(f"k{self._made}", "set", {"text": "x" * 800}))

    def end(self) -> Awaitable[Any]:
        self._ended += 1
        return self._log.append("acme", keyed_draft(f"k{self._ended}", "delete"))

    async def turn_over(self) -> None:
        """End two items, one of those that were made first and the last one, change another, and push what ended out of
        the window."""
        await self.end()
        await self._log.append("acme", keyed_draft(f"k{self._made}", "delete"))
        await self._log.append("acme", keyed_draft(f"k{self._ended + 7}", "append", {"text": "y"}))
        await self.set()
        await asyncio.gather(*(self._log.append("acme", draft(n)) for n in range(10)))


@contextmanager
def at_each_page(log: RedisLog, begin: asyncio.Event, do: Callable[[], Awaitable[None]]) -> Iterator[list[int]]:
    """Read no page before `begin`, and have something happen between the reading of each and its use. Yields the heads
    of the window then."""
    heads: list[int] = []
    read = log.follower.pages.read

    async def read_and_do(tenants: Any) -> list[Page | Exception]:
        await begin.wait()
        pages = await read(tenants)
        await do()
        if not isinstance(pages[0], Exception):
            heads.append(log.window("acme").head)
        return pages

    log.follower.pages.read = read_and_do  # type: ignore[method-assign]
    try:
        yield heads
    finally:
        log.follower.pages.read = read  # type: ignore[method-assign]


async def require_alike(one: LogUnderTest, other: LogUnderTest) -> None:
    """Wait until both have the whole log, and compare what they have of it."""
    here, there = log_of(one), log_of(other)
    await until(lambda: here.window("acme").head == there.window("acme").head)
    await until(lambda: not here.follower.followed["acme"].stale)
    assert kept_of(here.window("acme")) == kept_of(there.window("acme"))


async def test_reading_ends_however_many_items_end_meanwhile(server: RedisServer, prefix: str) -> None:
    """Each page is read once: of the state of a log of many pages, by a node that begins to follow it, and of what a
    node has missed. What it has then is what the others have."""
    async with (
        redis_log(server.url, BOUNDS, prefix=prefix) as there,
        redis_log(server.url, BOUNDS, prefix=prefix) as here,
    ):
        publisher, log = Publisher(there), log_of(here)
        await there.follow("acme")
        await publisher.fill()
        for missed in (0, 40):
            log.follower.channels.on_message = lambda channel, data: None
            begin = asyncio.Event()
            with at_each_page(log, begin, publisher.turn_over) as heads:
                for _ in range(missed):
                    await publisher.turn_over()
                head = there.log.window("acme").head
                log.follow("acme", there.log.window("acme").cursor)
                begin.set()
                await until(lambda: log.window("acme").head >= head or len(heads) > 2 * PAGES)  # noqa: B023 - awaited here
                assert len(heads) <= PAGES
            await require_alike(here, there)


async def test_pages_never_take_a_window_back(server: RedisServer, prefix: str) -> None:
    """A node reads that items have ended, and pub/sub, which was late, overtakes the pages: each event is delivered
    once, in order, the head only advances, and a text is appended to the right one."""
    async with (
        redis_log(server.url, BOUNDS, prefix=prefix) as there,
        redis_log(server.url, BOUNDS, prefix=prefix) as here,
    ):
        publisher, log = Publisher(there), log_of(here)
        channels = log.follower.channels
        await there.follow("acme")
        await here.follow("acme")  # while it is empty
        await publisher.fill()
        await until(lambda: log.window("acme").head == ITEMS)
        late: list[tuple[str, bytes]] = []
        received: list[tuple[str, bytes]] = []
        hears, channels.on_message = channels.on_message, lambda *message: late.append(message)

        def hear(channel: str, data: bytes) -> None:
            received.append((channel, data))
            hears(channel, data)

        async def overtake() -> None:
            if 0 < len(heads) < 2 * PAGES:
                channels.on_message = hear
                for message in late if len(heads) == 1 else ():
                    hears(*message)
                await there.append("acme", 3)
                await until(lambda: len(received) == 3 * len(heads))

        begin = asyncio.Event()
        with at_each_page(log, begin, overtake) as heads:
            await there.log.append("acme", keyed_draft("k90", "set", {"text": "new"}))
            for _ in range(10):
                await publisher.turn_over()
            await there.log.append("acme", keyed_draft("k90", "append", {"text": "er"}))
            await until(lambda: len(late) == there.log.window("acme").head - ITEMS)
            log.follower.mark_stale("acme", log.follower.followed["acme"])
            begin.set()
            await until(lambda: len(heads) > 1 and not log.follower.followed["acme"].stale)
        await require_alike(here, there)
        assert heads == sorted(heads)
        offsets = [entry.offset for entry in here.delivered_to("acme")]
        assert offsets == sorted(set(offsets))


async def test_items_that_another_program_trims_are_gone(server: RedisServer, prefix: str) -> None:
    """The part of a stream that another program has trimmed is gone, for a node that was behind as for a new one."""
    async with (
        redis_log(server.url, BOUNDS, prefix=prefix) as there,
        redis_log(server.url, BOUNDS, prefix=prefix) as behind,
        redis_log(server.url, BOUNDS, prefix=prefix) as new,
    ):
        publisher = Publisher(there)
        await behind.follow("acme")
        await publisher.fill()
        await until(lambda: behind.log.window("acme").head == ITEMS)
        log_of(behind).follower.channels.on_message = lambda channel, data: None
        await publisher.turn_over()
        await server.ask("XTRIM", f"{prefix}:{{acme}}:log", "MAXLEN", "50")
        await there.append("acme", 1)
        await new.follow("acme")
        await until(lambda: behind.log.window("acme").head == new.log.window("acme").head)
        await require_alike(behind, new)
        assert len(kept_of(new.log.window("acme"))) <= 51


async def test_items_that_were_evicted_are_reported_once(server: RedisServer, prefix: str) -> None:
    """The first page of many has what the bounds of state have cost."""
    bounds = Bounds(max_events=8, max_items=100)
    async with redis_log(server.url, bounds, prefix=prefix) as there, redis_log(server.url, prefix=prefix) as here:
        await Publisher(there).fill()
        log = log_of(here)
        reported: list[list[bytes]] = []
        read = log.follower.pages.read

        async def note(tenants: Any) -> list[Page | Exception]:
            pages = await read(tenants)
            reported.extend(page.evicted_rooms for page in pages if isinstance(page, Page))
            return pages

        log.follower.pages.read = note  # type: ignore[method-assign]
        await here.follow("acme")
        assert reported[0]
        assert not any(reported[1:])
        assert len(reported) > 5
