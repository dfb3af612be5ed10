"""The Python client over a network and gateways that fail at random: nothing is missing without a gap, nothing comes
twice, and what was published is in the log once."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import gathering_client.sync
from gathering_client import Client, Cursor, Event, Gap, Snapshot, connect
from tests.support.pauses import until
from tests.support.process import GatewayProcess
from tests.support.proxy import Proxy, proxied
from tests.support.tokens import token

PATIENCE = 60.0


class Witness:
    """The items of one subscription: runs of numbers, a new one after each gap or snapshot."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = [[]]
        self.gaps = 0

    def take(self, item: Event[Any] | Gap | Snapshot[Any]) -> None:
        if isinstance(item, Event):
            self.runs[-1].append(item.data["n"])
        else:
            self.gaps += isinstance(item, Gap)
            self.runs.append([])

    @property
    def last(self) -> int:
        return self.runs[-1][-1] if self.runs[-1] else -1

    def assert_whole(self) -> None:
        """The publisher counts, so each run is consecutive, and none begins before the end of the one before."""
        for run in self.runs:
            assert run == list(range(run[0], run[0] + len(run))) if run else True, run
        ends = [number for run in self.runs if run for number in (run[0], run[-1])]
        assert ends == sorted(ends)


async def load(cursor: Cursor) -> str:
    return "state"


async def follow(client: Client, witness: Witness, loads: bool, pause: float) -> None:
    """Read for as long as it lasts; a slow reader is behind most of the time."""
    if loads:
        async for loaded in client.subscribe("circle:1", load=load):
            witness.take(loaded)
    else:
        async for item in client.subscribe("circle:1"):
            witness.take(item)
            await asyncio.sleep(pause)


@asynccontextmanager
async def following(url: str) -> AsyncIterator[list[Witness]]:
    """Four clients: plain, slow, with a loader, and without asyncio."""
    witnesses = [Witness() for _ in range(4)]
    plain = gathering_client.sync.connect(url, token=token)
    subscription = plain.subscribe("circle:1")

    def read() -> None:
        for item in subscription:
            witnesses[3].take(item)

    thread = threading.Thread(target=read)
    async with connect(url, token=token) as client:
        thread.start()
        kinds = ((False, 0.0), (False, 0.01), (True, 0.0))
        tasks = [
            asyncio.create_task(follow(client, witness, loads, pause))
            for witness, (loads, pause) in zip(witnesses, kinds, strict=False)
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


async def trouble(network: Proxy, gate: GatewayProcess, chance: random.Random) -> None:
    """Faults without end: mostly of the network, now and then a restart or a crash of the gateway."""
    while True:
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        match chance.choices(("reset", "partition", "strand", "restart", "crash"), (6, 3, 1, 1, 1))[0]:
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


async def soak(folder: Path, seconds: float, seed: int) -> None:
    chance = random.Random(seed)
    async with (
        GatewayProcess(folder, log_max_events=200, ping_interval=1, mark_interval=1) as gate,
        proxied(gate.port) as network,
    ):
        url = f"http://127.0.0.1:{network.port}"
        async with following(url) as witnesses, connect(gate.url, token=token("publisher")) as publisher:
            await until(lambda: all(witness.runs for witness in witnesses), PATIENCE)
            troubling = asyncio.create_task(trouble(network, gate, chance))
            ends = asyncio.get_running_loop().time() + seconds
            n = 0
            while asyncio.get_running_loop().time() < ends:
                await publisher.publish("a.b", {"n": n}, circle_id=1, patience=60.0)
                n += 1
                await asyncio.sleep(chance.uniform(0.0, 0.02))
            troubling.cancel()
            with suppress(asyncio.CancelledError):
                await troubling
            network.heal()
            if gate.status is not None:
                await gate.start()

            async def all_have_the_newest() -> bool:
                nonlocal n
                await publisher.publish("a.b", {"n": n}, circle_id=1, patience=60.0)
                n += 1
                await asyncio.sleep(0.2)
                return all(witness.last >= n - 1 for witness in witnesses)

            await until(all_have_the_newest, PATIENCE)
            for witness in witnesses:
                witness.assert_whole()
            assert sum(len(run) for run in witnesses[0].runs) > n / 3, "hardly anything came"
            print(f"{n} events; gaps: {[w.gaps for w in witnesses]}, runs: {[len(w.runs) for w in witnesses]}")


async def test_a_short_soak(tmp_path: Path) -> None:
    await soak(tmp_path / "gateway", 12.0, 1)


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
async def test_a_long_soak(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    await soak(tmp_path / "gateway", 600.0, seed)
