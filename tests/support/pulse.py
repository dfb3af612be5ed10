"""A healthy client beside those that a test lets misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection

from tests.support.pauses import PATIENCE, ran
from tests.support.process import GatewayProcess


class Pulse:
    """A healthy client that publishes an event every 20 ms and expects each of them back: once, in order, soon."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._sent: list[float] = []
        self.delays: list[float] = []

    async def publish(self) -> None:
        while True:
            event = {"type": "task.completed", "data": {"number": len(self._sent)}, "circle_id": "pulse"}
            self._sent.append(ran())
            await self._websocket.send(json.dumps({"type": "publish", "event": event}))
            await asyncio.sleep(0.02)

    async def read(self) -> None:
        async for message in self._websocket:
            frame = json.loads(message)
            if frame["type"] == "task.completed":
                number = frame["data"]["number"]
                assert number == len(self.delays), "lost, doubled or out of order"
                self.delays.append(ran() - self._sent[number])

    async def catch_up(self) -> None:
        """Return once all that was published by now has come."""
        published = len(self._sent)
        async with asyncio.timeout(PATIENCE):
            while len(self.delays) < published:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)


@asynccontextmanager
async def healthy(served: GatewayProcess, within: float = 0.25) -> AsyncIterator[Pulse]:
    """While this lasts a healthy client gets every event, 9 of 10 `within` so many seconds and 99 of 100 within four
    times as many: the machine, too, may hold one up."""
    async with served.client("&rooms=circle:pulse") as websocket:
        pulse = Pulse(websocket)
        tasks = [asyncio.create_task(pulse.read()), asyncio.create_task(pulse.publish())]
        try:
            yield pulse
            await pulse.catch_up()
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
    delays = sorted(pulse.delays)
    assert delays, "nothing was measured"
    p90, p99 = (delays[int(len(delays) * share)] for share in (0.9, 0.99))
    assert p90 < within, f"the tenth took {p90:.3f} s"
    assert p99 < 4 * within, f"the hundredth took {p99:.3f} s"
