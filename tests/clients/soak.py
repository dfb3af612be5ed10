"""A soak of a client over a network and gateways that fail at random, with the oracle of its events."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from gathering_client import connect
from tests.support.pauses import until
from tests.support.process import GatewayProcess
from tests.support.proxy import Proxy, proxied
from tests.support.tokens import token

PATIENCE: Final = 60.0

STORM: Final = 20
CALM: Final = 12.0
"""After so many faults, so many seconds without: connections that last reset the backoff of their clients, which would
be away most of the time."""


class Witness:
    """The events of one subscription: runs of numbers, a new one after each gap or snapshot."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = [[]]
        self.gaps = 0

    def event(self, number: int) -> None:
        self.runs[-1].append(number)

    def begin(self, gap: bool) -> None:
        """A new run, after a gap or a snapshot."""
        self.gaps += gap
        self.runs.append([])

    @property
    def last(self) -> int:
        return self.runs[-1][-1] if self.runs[-1] else -1

    @property
    def count(self) -> int:
        return sum(map(len, self.runs))

    def assert_whole(self) -> None:
        """The publisher counts, so each run is consecutive, and none begins before the end of the one before."""
        for run in self.runs:
            assert run == list(range(run[0], run[0] + len(run))) if run else True, run
        ends = [number for run in self.runs if run for number in (run[0], run[-1])]
        assert ends == sorted(ends)


Following = Callable[[str], AbstractAsyncContextManager[Sequence[Witness]]]
"""Clients that follow `circle:1` of the gateway at this URL, and their witnesses."""


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
    async with GatewayProcess(folder, **bounds) as gate, proxied(gate.port) as network:
        url = f"http://127.0.0.1:{network.port}"
        async with following(url) as witnesses, connect(gate.url, token=lambda: token("publisher")) as publisher:
            numbers = iter(range(1 << 30))
            published = 0

            async def publish() -> None:
                nonlocal published
                await publisher.publish("a.b", {"n": next(numbers)}, circle_id=1, patience=PATIENCE)
                published += 1

            async def all_have_the_newest() -> bool:
                await publish()
                await asyncio.sleep(0.2)
                return all(witness.last >= published - 1 for witness in witnesses)

            await until(all_have_the_newest, PATIENCE)
            ends = asyncio.get_running_loop().time() + seconds
            async with asyncio.TaskGroup() as group:
                troubling = group.create_task(trouble(network, gate, chance, ends))
                while not troubling.done():
                    await publish()
                    await asyncio.sleep(chance.uniform(0.0, 0.02))
            faults = troubling.result()
            await until(all_have_the_newest, PATIENCE)
            for witness in witnesses:
                witness.assert_whole()
            counts = [witness.count for witness in witnesses]
            gaps = [witness.gaps for witness in witnesses]
            print(f"{published} events; faults: {dict(faults)}; received: {counts}; gaps: {gaps}")
            assert max(counts) > published / 3, "hardly anything came"
