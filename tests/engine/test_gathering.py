"""Under load, where fan-outs take long, the events of several turns of the loop leave in one write."""

import asyncio
import json

from gateway.core.connection import Connection
from gateway.core.frame import Batch
from gateway.core.log import Draft
from gateway.core.manager import ConnectionManager
from gateway.delivery import GATHER, Delivery
from gateway.logs.memory import MemoryLog
from tests.core.entries import connection, unbroken

ROOM = "circle:1"


class Desk:
    """A delivery with one client, to whom a write takes `cost` seconds of a clock that nothing else moves."""

    def __init__(self, cost: float) -> None:
        self.cost = cost
        self.now = 100.0
        self.writes: list[list[int]] = []
        manager = ConnectionManager()
        self.log = MemoryLog((b"k" * 32,))
        self.delivery = Delivery(
            manager, self.log, lambda: self.now, self.unused, self.unused, lambda *_: None, unbroken
        )
        client, _ = connection(manager, {ROOM: 0})
        client.transport = self

    descriptor = None

    def write(self, batch: Batch) -> bool:
        self.now += self.cost
        self.writes.append([json.loads(frame.payload)["n"] for frame in batch.frames])
        return True

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...

    def unused(self, connection: Connection) -> None:
        raise AssertionError("nobody is behind")

    async def publish(self, number: int, size: int = 0) -> None:
        body = b'{"n":%d,"pad":"%b"}' % (number, b"x" * size)
        await self.log.append("acme", Draft((ROOM, "tenant"), body, "2026-01-01T00:00:00.000Z"))

    async def first(self) -> None:
        """One event, after which it is known what a fan-out takes."""
        await self.publish(0)
        await asyncio.sleep(0)
        assert self.writes.pop() == [0]


async def test_cheap_fan_outs_wait_for_nothing() -> None:
    """What came in a turn leaves at its end."""
    desk = Desk(0.000_1)
    await desk.first()
    for number in range(1, 6):
        await desk.publish(number)
        await asyncio.sleep(0)
        assert desk.writes.pop() == [number]


async def test_dear_ones_gather_for_as_long_as_each_turn_brings_more() -> None:
    """Five turns with an event each, and then one without: one write, in order."""
    desk = Desk(0.002)
    await desk.first()
    for number in range(1, 6):
        await desk.publish(number)
        await asyncio.sleep(0)
        assert desk.writes == []
    await asyncio.sleep(0)
    assert desk.writes == [[1, 2, 3, 4, 5]]


async def test_a_lone_event_waits_for_one_turn() -> None:
    """However dear: by no timer, for nothing else came."""
    desk = Desk(1.0)
    await desk.first()
    await desk.publish(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert desk.writes == [[1]]


async def test_nobody_waits_for_longer_than_the_fan_out_before_took() -> None:
    """Where every turn brings more, without an end, it is this that ends it; and 5 ms, where that is less."""
    for cost, longest in ((0.002, 0.002), (0.1, GATHER)):
        desk = Desk(cost)
        await desk.first()
        since = desk.now
        number = 0
        while not desk.writes:
            number += 1
            await desk.publish(number)
            await asyncio.sleep(0)
            desk.now += 0.000_6
            assert number < 12
        assert desk.writes == [list(range(1, number + 1))]
        assert longest <= desk.now - cost - since <= longest + 0.001_2


async def test_much_is_not_gathered() -> None:
    """64 KiB leave as they come."""
    desk = Desk(0.004)
    await desk.first()
    for number in range(1, 6):
        await desk.publish(number, 30_000)
        await asyncio.sleep(0)
    assert desk.writes == [[1, 2, 3]]


async def test_who_comes_or_goes_meanwhile_gets_what_is_theirs() -> None:
    """A change of the index ends the gathering: who was there gets what came before it."""
    desk = Desk(0.002)
    await desk.first()
    await desk.publish(1)
    await asyncio.sleep(0)
    desk.delivery.flush()
    assert desk.writes == [[1]]
    await desk.publish(2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert desk.writes == [[1], [2]]
