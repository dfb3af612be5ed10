"""Clients that fall behind, and the events that bring them there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.core.connection import Connection
from gateway.transports.uvicorn.protocol import WebSocketTransport
from tests.support.inprocess import RunningGateway, running
from tests.support.raw_client import RawClient, opened
from tests.support.settings import settings_for

BIG = {"x": "y" * 2_000}


@asynccontextmanager
async def unlimited(**settings: Any) -> AsyncIterator[RunningGateway]:
    """A gateway of this process without limits on commands and events."""
    async with running(settings_for(**{"events_per_second": 0, "commands_per_second": 0, **settings})) as gate:
        yield gate


async def publish(gate: RunningGateway, count: int, data: dict[str, Any] = BIG, **rooms: Any) -> list[str]:
    """So many events, ten to a turn of the loop; their ids."""
    ids = []
    for number in range(count):
        receipt = await gate.service.gateway.publish("acme", "task.completed", data, **(rooms or {"circle_id": 1}))
        ids.append(receipt.event_id)
        if number % 10 == 9:
            await asyncio.sleep(0)
    return ids


def connection_of(gate: RunningGateway, user_id: str = "ada") -> Connection:
    (connection,) = gate.service.gateway.manager.of("acme").users[user_id]
    return connection


def unsent(connection: Connection) -> int:
    """Bytes that wait for the client in the gateway."""
    assert isinstance(connection.transport, WebSocketTransport)
    return connection.transport.buffered


@asynccontextmanager
async def slow(gate: RunningGateway, query: str = "&rooms=circle:1", **more: Any) -> AsyncIterator[RawClient]:
    """A client that reads only when the test does, and so falls behind soon."""
    async with opened(gate.port, gate.token(**more), query, receive_buffer=4_096) as client:
        yield client


async def fall_behind(gate: RunningGateway, **rooms: Any) -> list[str]:
    """Publish until the one connection of ada is behind with nothing more to come from its transport."""
    connection, ids = connection_of(gate), []
    while connection.live:
        ids += await publish(gate, 10, **rooms)
    return ids + await publish(gate, 50, **rooms)


async def events(client: RawClient, count: int) -> list[str]:
    """The ids of the next events; what else comes is passed over."""
    ids: list[str] = []
    while len(ids) < count:
        message = await client.message()
        if "event_id" in message and message["type"] == "task.completed":
            ids.append(message["event_id"])
    return ids


async def until_reply(client: RawClient, id: str) -> tuple[list[str], dict[str, Any]]:
    """The ids of the events before a reply, and the reply."""
    ids: list[str] = []
    while (message := await client.message()).get("id") != id:
        if "event_id" in message:
            ids.append(message["event_id"])
    return ids, message
