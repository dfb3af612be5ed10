"""The followers of a soak that are Python clients."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import gathering_client.sync
from gathering_client import Client, Cursor, Event, Gap, Snapshot, connect
from tests.clients.soak import PATIENCE, Application, Witness
from tests.support.tokens import token


def take(witness: Witness, item: Event[Any] | Gap | Snapshot[Any]) -> None:
    if isinstance(item, Event):
        witness.event(item.data["n"])
    elif isinstance(item, Gap):
        witness.gap()
    else:
        witness.snapshot(item.value)


Load = Callable[[Cursor], Awaitable[int]]


async def follow(client: Client, witness: Witness, load: Load | None, pause: float) -> None:
    """Read for as long as it lasts; a slow reader is behind most of the time."""
    if load:
        async for loaded in client.subscribe("circle:1", load=load):
            take(witness, loaded)
    else:
        async for item in client.subscribe("circle:1"):
            take(witness, item)
            await asyncio.sleep(pause)


@asynccontextmanager
async def following(url: str, application: Application) -> AsyncIterator[list[Witness]]:
    """Four clients: plain, slow, with a loader, and without asyncio."""

    async def newest(cursor: Cursor) -> int:
        return application.newest

    witnesses = [Witness() for _ in range(4)]
    plain = gathering_client.sync.connect(url, token=token)
    subscription = plain.subscribe("circle:1")

    def read() -> None:
        for item in subscription:
            take(witnesses[3], item)

    thread = threading.Thread(target=read)
    async with connect(url, token=token) as client:
        thread.start()
        kinds: tuple[tuple[Load | None, float], ...] = ((None, 0.0), (None, 0.01), (newest, 0.0))
        tasks = [
            asyncio.create_task(follow(client, witness, load, pause))
            for witness, (load, pause) in zip(witnesses, kinds, strict=False)
        ]
        try:
            yield witnesses
            assert not any(task.done() for task in tasks), tasks
            assert thread.is_alive()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(plain.close)
            await asyncio.to_thread(thread.join, PATIENCE)
