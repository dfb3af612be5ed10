"""A bus whose events a gateway delivers."""

from typing import Any

from tests.support.clients import until_fence
from tests.support.inprocess import RunningGateway


async def received(gate: RunningGateway, bus: Any, events: list[Any], room: str = "tenant") -> list[dict[str, Any]]:
    """The frames of a client of `acme` in `room` when the bus publishes these events one after the other."""
    async with gate.client() as client:
        await client.ask(type="subscribe", rooms=[room])
        for event in events:
            await bus.publish(event)
        return await until_fence(client)
