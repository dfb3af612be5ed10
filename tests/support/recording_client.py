"""Clients that read to the end of their connections."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.pauses import PATIENCE, Instant, now, until
from tests.support.process import GatewayProcess
from tests.support.tokens import token


class RecordingClient:
    """A client that reads to the end: its frames, and the code, the reason and the time of the close."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.draining_at: Instant | None = None
        self.closed_at: Instant | None = None
        self.code: int | None = None
        self.reason: str | None = None
        self.established = asyncio.Event()
        self.draining = asyncio.Event()

    async def run(self, node: GatewayProcess, query: str = "&rooms=circle:x", bearer: str | None = None) -> None:
        url = f"{node.ws_url}?token={bearer or token()}{query}"
        async with connect(url, compression=None, max_size=None, proxy=None) as websocket:
            with suppress(ConnectionClosed):
                async for text in websocket:
                    frame = json.loads(text)
                    self.frames.append(frame)
                    if frame["type"] in ("subscribed", "error"):
                        self.established.set()
                    elif frame["type"] == "server.draining":
                        self.draining_at = now()
                        self.draining.set()
            self.closed_at = now()
            self.code, self.reason = websocket.close_code, websocket.close_reason

    @property
    def slot(self) -> int:
        (frame,) = self.of("server.draining")
        return int(frame["data"]["reconnect_after_ms"])

    @property
    def numbers(self) -> list[int]:
        return [frame["data"]["n"] for frame in self.of("task.completed")]

    @property
    def ids(self) -> list[str]:
        """The ids of all events without a key, in order. Changes of an item may come together."""
        return [frame["event_id"] for frame in self.frames if "event_id" in frame and "key" not in frame]

    async def until(self, event_id: str) -> None:
        await until(lambda: event_id in self.ids)

    def part(self, ids: Sequence[str]) -> list[str]:
        """The ids of the events from the first of `ids` to the last."""
        return self.ids[self.ids.index(ids[0]) : self.ids.index(ids[-1]) + 1]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == kind]


@asynccontextmanager
async def recording_clients(node: GatewayProcess, count: int, **options: Any) -> AsyncIterator[list[RecordingClient]]:
    """So many, subscribed; the block may go on to wait for their ends with `all_closed`."""
    found = [RecordingClient() for _ in range(count)]
    tasks = [asyncio.create_task(client.run(node, **options)) for client in found]
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(client.established.wait() for client in found))
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def recording_client(node: GatewayProcess, bearer: str, rooms: Sequence[str]) -> AsyncIterator[RecordingClient]:
    async with recording_clients(node, 1, query=f"&rooms={','.join(rooms)}", bearer=bearer) as (client,):
        yield client


async def all_closed(found: list[RecordingClient]) -> None:
    await until(lambda: all(client.closed_at for client in found))


async def publish(node: GatewayProcess, number: int) -> httpx.Response:
    """The answer to an event with this number in the clients' room."""
    event = {"type": "task.completed", "data": {"n": number}, "circle_id": "x", "idempotency_key": f"n{number}"}
    async with node.api() as api:
        return await api.post("/events", json=event)
