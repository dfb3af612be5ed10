"""The judge of all faults: what was acknowledged to publishers against what each client received."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed

from gateway.core.errors import LogUnavailable
from gateway.logs.redis import RedisLog
from tests.support.clients import Client
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import PATIENCE, ran, until
from tests.support.settings import settings_for

GAPS = ("stream.gap",)
TENANT = "acme"
CANARY = "canary"


class Reader:
    """A client that is there all the time: every frame it got, in order."""

    def __init__(self, client: Client) -> None:
        self.frames: list[dict[str, Any]] = []
        self._client = client
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self._client.websocket:
                self.frames.append({**json.loads(text), "_at": ran()})

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def numbers(self) -> list[int]:
        return [frame["data"]["n"] for frame in self.frames if "event_id" in frame]

    @property
    def ids(self) -> list[str]:
        return [frame["event_id"] for frame in self.frames if "event_id" in frame]

    def taken(self, begun: dict[int, float]) -> list[float]:
        """The delivery delay of each event, by number, in seconds from `begun`."""
        return [frame["_at"] - begun[frame["data"]["n"]] for frame in self.frames if "event_id" in frame]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] in kinds]


class Publisher:
    """Publishes 1, 2, 3 and on at each gateway in turn, each until it is acknowledged, with a key of its own."""

    def __init__(self, gates: Sequence[RunningGateway], pause: float = 0.005, tenant: str = TENANT) -> None:
        self.acked: dict[int, str] = {}
        self.begun: dict[int, float] = {}
        """When each was published for the first time."""
        self.refused = 0
        self.longest = 0.0
        self._gates = gates
        self._pause = pause
        self._tenant = tenant
        self._ended = False
        self._task = asyncio.create_task(self._publish_forever())

    async def _publish_forever(self) -> None:
        n = 0
        while not self._ended:
            n += 1
            self.begun[n] = ran()
            while not await self._publish(n):  # noqa: ASYNC110 - a publisher that tries again
                await asyncio.sleep(0.05)
            await asyncio.sleep(self._pause)

    async def _publish(self, n: int) -> bool:
        gateway = self._gates[n % len(self._gates)].service.gateway
        begun = ran()
        try:
            receipt = await gateway.publish(self._tenant, "task.created", {"n": n}, key=f"n{n}")
        except LogUnavailable:
            self.refused += 1
            return False
        finally:
            self.longest = max(self.longest, ran() - begun)
        self.acked[n] = receipt.event_id
        return True

    async def more(self, count: int, seconds: float = PATIENCE) -> None:
        """Until `count` more have been acknowledged."""
        goal = len(self.acked) + count
        await until(lambda: len(self.acked) >= goal or self._task.done(), seconds)
        assert not self._task.done(), self._task

    async def cancel(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self, seconds: float = PATIENCE) -> None:
        """End with the event that is under way."""
        self._ended = True
        async with asyncio.timeout(seconds):
            await self._task


class Stage:
    """Gateways on one Redis, a reader at each, and one of another tenant that must never get anything."""

    def __init__(self, gates: list[RunningGateway], readers: list[Reader], canaries: list[Reader]) -> None:
        self.gates = gates
        self.readers = readers
        self._canaries = canaries

    @property
    def logs(self) -> list[RedisLog]:
        logs = [gate.service.gateway.log for gate in self.gates]
        return [log for log in logs if isinstance(log, RedisLog)]

    def ready(self) -> bool:
        return all(gate.service.gateway.ready for gate in self.gates)

    async def everywhere(self, condition: Callable[[Reader], bool], seconds: float = PATIENCE) -> None:
        await until(lambda: all(condition(reader) for reader in self.readers), seconds)

    async def judge(self, publisher: Publisher, *, gaps: bool = False, seconds: float = PATIENCE) -> None:
        """Wait until every reader has the last acknowledged event, then hold what it got against the promise."""
        await publisher.stop()
        last = max(publisher.acked)
        await self.everywhere(lambda reader: last in reader.numbers[-1:] or (gaps and bool(reader.of(*GAPS))), seconds)
        for reader in self.readers:
            hold(publisher.acked, reader, gaps=gaps)
        for canary in self._canaries:
            assert canary.ids == []
        assert publisher.longest < 2.2, publisher.longest


def hold(acked: dict[int, str], reader: Reader, *, gaps: bool) -> None:
    """No duplicate, no event out of order, no two ids for one event, and none missing without a gap before any later
    event."""
    numbers, ids = reader.numbers, reader.ids
    assert len(ids) == len(set(ids)), "an event came twice"
    reported = reader.of(*GAPS)
    if not gaps:
        assert reported == []
        assert numbers == sorted(set(numbers)), "out of order, or one event under two ids"
        missing = sorted(acked.keys() - set(numbers))
        assert missing == []
        assert {n: id for n, id in zip(numbers, ids, strict=True) if n in acked} == acked
        return
    high, pardoned = 0, set[int]()
    seen = set(numbers)
    for frame in reader.frames:
        if frame["type"] in GAPS:
            # What was acknowledged up to here and did not come may be what was lost.
            pardoned |= acked.keys() - seen
        elif "event_id" in frame:
            n = frame["data"]["n"]
            skipped = {m for m in range(high + 1, n) if m in acked and m not in seen} - pardoned
            assert not skipped, f"silent gap: {sorted(skipped)[:5]} before {n}"
            high = max(high, n)
    assert not {m for m in acked if m > high} - pardoned, "silent gap at the end"


def share(delays: Iterable[float], part: float) -> float:
    """The delay that this part of all stays within."""
    ordered = sorted(delays)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


@asynccontextmanager
async def stage(*urls: str, prefix: str, **settings: Any) -> AsyncIterator[Stage]:
    """A gateway for each of `urls`, which lead to one Redis."""
    async with AsyncExitStack() as stack:
        gates: list[RunningGateway] = []
        readers: list[Reader] = []
        canaries: list[Reader] = []
        for url in urls:
            values = {"log_url": url, "redis_prefix": prefix, "events_per_second": 0, **settings}
            gate = await stack.enter_async_context(running(settings_for(**values)))
            gates.append(gate)
            for tenant, to in ((TENANT, readers), (CANARY, canaries)):
                client = await stack.enter_async_context(gate.client(gate.token(tenant=tenant), "&rooms=tenant"))
                await client.next("subscribed")
                reader = Reader(client)
                stack.push_async_callback(reader.stop)
                to.append(reader)
        yield Stage(gates, readers, canaries)
