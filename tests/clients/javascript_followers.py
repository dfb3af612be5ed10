"""The followers of a soak that are pages with the JavaScript client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.clients.pages import Page, page_at
from tests.clients.soak import Application, Witness
from tests.support.tokens import token

SCRIPT: Final = Path(__file__).with_name("soak_pages.mjs")


class ItemsWitness(Witness):
    """The items of a room, as a page shows them."""

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._older: list[str] = []

    def show(self, items: dict[str, int]) -> None:
        self._items = items
        self._older += [key for key, number in items.items() if number < self._newest.get(key, -1)]
        self._newest |= items

    @property
    def last(self) -> int:
        return max(self._items.values(), default=-1)

    def assert_whole(self, application: Application) -> None:
        """All items have their newest values, and none had an older value after a newer one."""
        assert self._items == application.items
        assert self._older == []


async def report(pages: Page, witnesses: dict[str, Witness], application: Application) -> None:
    """Tell the witnesses what the pages report, and answer loaders with the newest number that is stored."""
    taken = 0
    while True:
        calls, taken = pages.calls[taken:], len(pages.calls)
        for name, (kind, value) in calls:
            _take(pages, witnesses[name], kind, value, application)
        await asyncio.sleep(0.05)


def _take(pages: Page, witness: Witness, kind: str, value: Any, application: Application) -> None:
    match kind:
        case "event":
            witness.event(value)
        case "gap":
            witness.gap()
        case "load":
            pages.call("loaded", value, application.newest)
        case "loaded":
            witness.snapshot(value)
        case "items":
            assert isinstance(witness, ItemsWitness)
            witness.show(dict(value))


@asynccontextmanager
async def following(url: str, application: Application) -> AsyncIterator[list[Witness]]:
    """Pages of one process: one that is never behind, one with a limit below what comes, one without WebSockets, one
    with a loader, one with items, and three tabs that share a connection."""
    port = urlsplit(url).port
    assert port is not None
    names = ("plain", "slow", "blocked", "load", "items", "tab 1", "tab 2", "tab 3")
    tokens = {name: token(expires_in=3_600, rate=40 if name == "slow" else None) for name in names}
    witnesses = {name: ItemsWitness() if name == "items" else Witness() for name in names}
    async with page_at(port, SCRIPT, tokens=tokens) as pages, asyncio.TaskGroup() as group:
        reporting = group.create_task(report(pages, witnesses, application))
        yield list(witnesses.values())
        reporting.cancel()
