"""Snapshots of the JavaScript client at a real gateway: whatever breaks, the page ends up with what the application
has, and never shows an old snapshot over a newer event."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.clients.pages import BOTH, Page, named, page, page_at, publish
from tests.support.inprocess import RunningGateway, running
from tests.support.nodejs import needs_websocket
from tests.support.process import GatewayProcess
from tests.support.proxy import Proxy, proxied
from tests.support.settings import settings_for
from tests.support.tokens import token

pytestmark = needs_websocket


class Application:
    """The state that a page follows: for each room its numbers, stored before they are published; and snapshots of
    them, which take up to `slowness` seconds and fail at random."""

    def __init__(self, gate: RunningGateway, client: Page, chance: random.Random, slowness: float) -> None:
        self.rooms: defaultdict[str, list[str]] = defaultdict(list)
        self._gate = gate
        self._client = client
        self._chance = chance
        self._slowness = slowness
        self._answered = 0

    async def publish(self, circle: int, number: str) -> None:
        self.rooms[f"circle:{circle}"].append(number)
        await publish(self._gate, [number], circle_id=circle)

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as answers:
            while True:
                room, index, _ = await self._client.nth("load", self._answered)
                self._answered += 1
                answers.create_task(self._answer(room, index))

    async def _answer(self, room: str, index: int) -> None:
        await asyncio.sleep(self._chance.uniform(0, self._slowness))
        if self._chance.random() < 0.2:
            return self._client.call("failed", index)
        snapshot = list(self.rooms[room])
        await asyncio.sleep(self._chance.uniform(0, self._slowness))
        self._client.call("loaded", index, snapshot)

    def shown(self, room: str) -> list[str]:
        """The state of a room that the page shows in the end."""
        return next((numbers for name, numbers in reversed(self._client.of("numbers")) if name == room), [])

    def assert_no_step_back(self) -> None:
        """A snapshot has everything that was shown before."""
        for room in self.rooms:
            before: set[str] = set()
            for numbers in [numbers for name, numbers in self._client.of("numbers") if name == room]:
                assert len(numbers) == len(set(numbers))
                assert before <= {*numbers}
                before = {*numbers}


@asynccontextmanager
async def application(
    gate: RunningGateway, client: Page, chance: random.Random, slowness: float = 0.3
) -> AsyncIterator[Application]:
    made = Application(gate, client, chance, slowness)
    serving = asyncio.create_task(made.serve())
    try:
        yield made
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def test_a_page_shows_what_the_application_has(gate: RunningGateway) -> None:
    """The snapshot first, then the events behind it; no gap."""
    async with page(gate) as client, application(gate, client, random.Random(0)) as theirs:
        for n in named("old", 5):
            await theirs.publish(1, n)
        client.call("open", "circle:1", {"load": True})
        await client.until(lambda: client.of("load") != [])
        for n in named("new", 20):
            await theirs.publish(1, n)
            await asyncio.sleep(0.02)
        await client.live("circle:1")
        await client.until(lambda: theirs.shown("circle:1") == theirs.rooms["circle:1"])
        assert client.of("gap") == []


@BOTH
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm_with_gaps(seed: int, blocked: bool) -> None:
    """The network breaks again and again, the log keeps little, snapshots are slow and fail: at the end the page shows
    all, and on the way it never went back."""
    chance = random.Random(seed)
    async with running(settings_for(log_max_events=40, log_min_seconds=1)) as gate:
        async with (
            proxied(gate.port) as network,
            page(gate, network.port, token=gate.token(rate=100), blocked=blocked) as client,
        ):
            async with application(gate, client, chance) as theirs:
                for circle in range(3):
                    client.call("open", f"circle:{circle}", {"load": True})
                await client.subscribed("circle:2")
                breaking = asyncio.create_task(_break(network, chance))
                for i in range(300):
                    if i == 100:
                        client.call("cut", 2_000)  # for longer than the log keeps anything
                    await theirs.publish(chance.randrange(3), f"n{i}")
                    await asyncio.sleep(0.01)
                breaking.cancel()
                await client.until(lambda: all(theirs.shown(room) == numbers for room, numbers in theirs.rooms.items()))
                theirs.assert_no_step_back()
                assert client.of("room gap") != [], "the log kept too much for this test to say anything"


async def test_state_is_loaded_again_after_a_lost_log(tmp_path: Path) -> None:
    """A gateway restarted with an empty log: the page gets a gap, and requests a snapshot."""
    async with GatewayProcess(tmp_path) as served, page_at(served.port, token=token()) as client:
        client.call("open", "circle:1", {"load": True})
        room, first, _ = await client.nth("load", 0)
        client.call("loaded", first, ["a"])
        await client.live(room)
        served.kill()
        await served.start()
        _, again, _ = await client.nth("load", 1)
        client.call("loaded", again, ["a", "b"])
        await client.until(lambda: client.of("room")[-1] == [room, "live", None])
        await served.publish([{"n": "c"}], circle_id=1)
        await client.until(lambda: client.of("numbers")[-1:] == [[room, ["a", "b", "c"]]])
        assert client.of("room gap") == [[room, "not_recovered"]]


async def _break(network: Proxy, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.uniform(0.05, 0.6))
        network.reset()
