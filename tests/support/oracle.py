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
from tests.support.item_traffic import change_of, data_of, items_of, same_item, shown_items, superseded
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
    """Publishes 1, 2, 3 and on at each gateway in turn, each until it is acknowledged, with a key of its own. Every
    second one changes an item, unless all are `plain`."""

    def __init__(self, gates: Sequence[RunningGateway], pause: float = 0.005, *, plain: bool = False) -> None:
        self.acked: dict[int, str] = {}
        self.begun: dict[int, float] = {}
        """When each was published for the first time."""
        self.refused = 0
        self.longest = 0.0
        self._gates = gates
        self._pause = pause
        self.plain = plain
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
            item, op = (not self.plain and change_of(n)) or (None, None)
            receipt = await gateway.publish(TENANT, "task.created", data_of(n), key=f"n{n}", item_key=item, op=op)
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
        """Wait until every reader has the last acknowledged event, then hold what it got against the promise, and what
        a new client gets."""
        await publisher.stop()
        last = publisher.acked[max(publisher.acked)]
        await self.everywhere(lambda reader: last in reader.ids[-1:], seconds)
        for reader in self.readers:
            hold(publisher.acked, reader, gaps=gaps, plain=publisher.plain)
        for gate in () if publisher.plain else self.gates:
            _hold_items(publisher.acked, await _state(gate), set(publisher.acked) if gaps else set())
        for canary in self._canaries:
            assert canary.ids == []
        assert publisher.longest < 2.2, publisher.longest


def hold(acked: dict[int, str], reader: Reader, *, gaps: bool, plain: bool = False) -> None:
    """No duplicate, no event out of order, no two ids for one event, and none missing without a gap before any later
    event; but a keyed one may be missing whose item came with a later change. The items are as they were left."""
    ids = reader.ids
    assert len(ids) == len(set(ids)), "an event came twice"
    by_id = {id: n for n, id in acked.items()}
    events = [
        (by_id.get(frame["event_id"], frame["data"]["n"]), frame) for frame in reader.frames if "event_id" in frame
    ]
    seen = {n for n, _ in events}
    for n, frame in events:
        value = frame["data"]["n"]
        assert value == n or (value > n and same_item(value, n)), "one event under two ids"
    if not gaps:
        assert reader.of(*GAPS) == []
        assert [n for n, _ in events] == sorted(seen), "out of order"
        assert set(ids) <= by_id.keys(), "an event that was not acknowledged"
    high, pardoned, at_gap = 0, set[int](), 0
    dispensable = set() if plain else superseded(acked, seen)
    for frame in reader.frames:
        if frame["type"] in GAPS:
            # What was acknowledged up to here and did not come may be what was lost.
            pardoned |= acked.keys() - seen
            at_gap = high
        elif "event_id" in frame:
            n = by_id.get(frame["event_id"], frame["data"]["n"])
            skipped = {m for m in range(high + 1, n) if m in acked and m not in seen} - pardoned - dispensable
            assert not skipped, f"silent gap: {sorted(skipped)[:5]} before {n}"
            high = max(high, n)
    assert not {m for m in acked if m > high} - pardoned, "silent gap at the end"
    if not plain:
        _hold_items(acked, reader.frames, {*range(at_gap + 1), *pardoned})


def _hold_items(acked: dict[int, str], frames: Sequence[dict[str, Any]], lost: set[int]) -> None:
    """The items that a client shows are as they were left, but for what was `lost`, by number, before a gap."""
    shown, left = shown_items(frames, GAPS), items_of(acked)
    assert shown.keys() <= left.keys(), "an item that has ended"
    for key, (n, text) in left.items():
        if key in shown:
            whole = text.endswith(shown[key][1]) if lost - {0} else text == shown[key][1]
            assert (shown[key][0], whole) == (n, True), f"an old value of {key}"
        else:
            assert n in lost, f"{key} is missing"


async def _state(gate: RunningGateway) -> list[dict[str, Any]]:
    """The items that a new client gets."""
    items: int | None = None
    frames: list[dict[str, Any]] = []
    async with gate.client(gate.token(tenant=TENANT), "&rooms=tenant&state=1") as client:
        while items is None or len(frames) < items:
            frame = await client.next()
            if frame["type"] == "subscribed":
                items = frame["data"]["items"]
            elif "key" in frame:
                frames.append(frame)
    return frames


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
