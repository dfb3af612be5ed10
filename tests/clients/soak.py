"""A soak of a client over a network and gateways that fail at random, with the oracle of its events."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, Final

from gathering_client import Client, connect
from tests.support.pauses import until
from tests.support.process import GatewayProcess
from tests.support.proxy import Proxy, proxied
from tests.support.tokens import token

PATIENCE: Final = 60.0

STORM: Final = 20
CALM: Final = 12.0
"""After so many faults, so many seconds without: connections that last reset the backoff of their clients, which would
be away most of the time."""


ITEMS: Final = 5


class Application:
    """A publisher of numbers in `circle:1`, each stored before, and of values of items in `circle:2`."""

    def __init__(self, publisher: Client) -> None:
        self.newest = -1
        self.items: dict[str, int] = {}
        self._publisher = publisher

    async def publish(self, item: int | None = None) -> None:
        self.newest += 1
        await self._publisher.publish("a.b", {"n": self.newest}, circle_id=1, patience=PATIENCE)
        if item is not None:
            key = f"item:{item % ITEMS}"
            self.items[key] = self.newest
            await self._publisher.publish("a.b", {"n": self.newest}, circle_id=2, key=key, patience=PATIENCE)


class Witness:
    """The events of one subscription: runs of numbers, a new one after each gap or snapshot."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = [[]]
        self.gaps = 0
        self._snapshots: dict[int, int] = {}
        """By the index of the run behind it, the newest number of a snapshot."""

    def event(self, number: int) -> None:
        self.runs[-1].append(number)

    def gap(self) -> None:
        self.gaps += 1
        self.runs.append([])

    def snapshot(self, newest: int) -> None:
        self._snapshots[len(self.runs)] = newest
        self.runs.append([])

    @property
    def last(self) -> int:
        return self.runs[-1][-1] if self.runs[-1] else -1

    @property
    def count(self) -> int:
        return sum(map(len, self.runs))

    def assert_whole(self, application: Application) -> None:
        """The publisher counts, so each run is consecutive, and none begins before the end of the one before. One after
        a snapshot begins at the latest with the number behind its newest."""
        for index, run in enumerate(self.runs):
            if run:
                assert run == list(range(run[0], run[0] + len(run))), run
                assert run[0] <= self._snapshots.get(index, run[0]) + 1
        ends = [number for run in self.runs if run for number in (run[0], run[-1])]
        assert ends == sorted(ends)


Following = Callable[[str, Application], AbstractAsyncContextManager[Sequence[Witness]]]
"""Clients that follow the application by the gateway at this URL, and their witnesses."""


async def trouble(network: Proxy, gate: GatewayProcess, chance: random.Random, ends: float) -> Counter[str]:
    """Faults until then, each mended again: mostly of the network, now and then a restart or a crash of the gateway.
    Returns how many there were of each."""
    faults: Counter[str] = Counter()
    while asyncio.get_running_loop().time() < ends:
        await asyncio.sleep(CALM if faults.total() % STORM == STORM - 1 else chance.uniform(0.2, 1.5))
        (fault,) = chance.choices(("reset", "partition", "strand", "restart", "crash"), (6, 3, 1, 1, 1))
        faults[fault] += 1
        match fault:
            case "reset":
                network.reset()
            case "partition":
                network.partition()
                await asyncio.sleep(chance.uniform(0.1, 1.0))
                network.heal()
            case "strand":
                network.strand()
            case "restart":
                await asyncio.to_thread(gate.stop)
                await gate.start()
            case _:
                gate.kill()
                await gate.start()
    return faults


async def soak(following: Following, folder: Path, seconds: float, seed: int, **settings: Any) -> None:
    """Follow with all clients for so long; then each has the newest event, and everything since its last gap once."""
    chance = random.Random(seed)
    bounds = {"log_max_events": 200, "ping_interval": 1, "mark_interval": 1, **settings}
    async with AsyncExitStack() as stack:
        gate = await stack.enter_async_context(GatewayProcess(folder, **bounds))
        network = await stack.enter_async_context(proxied(gate.port))
        publisher = await stack.enter_async_context(connect(gate.url, token=lambda: token("publisher")))
        application = Application(publisher)
        witnesses = await stack.enter_async_context(following(f"http://127.0.0.1:{network.port}", application))
        turns = iter(range(1 << 30))

        async def all_have_the_newest() -> bool:
            await application.publish(item=next(turns))
            await asyncio.sleep(0.2)
            return all(witness.last >= application.newest for witness in witnesses)

        await until(all_have_the_newest, PATIENCE)
        ends = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as group:
            troubling = group.create_task(trouble(network, gate, chance, ends))
            while not troubling.done():
                turn = next(turns)
                await application.publish(item=turn if turn % 4 == 0 else None)
                await asyncio.sleep(chance.uniform(0.0, 0.02))
        faults = troubling.result()
        for item in range(ITEMS):
            await application.publish(item)
        await until(all_have_the_newest, PATIENCE)
        for witness in witnesses:
            witness.assert_whole(application)
        counts = [witness.count for witness in witnesses]
        gaps = [witness.gaps for witness in witnesses]
        published = application.newest + 1
        print(f"{published} events; faults: {dict(faults)}; received: {counts}; gaps: {gaps}")
        assert max(counts) > published / 3, "hardly anything came"
