"""Under load, where fan-outs take long, the events of several turns of the loop leave in one write."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from auth.tokens import TokenVerifier
from gateway.core.admission import Limits
from gateway.core.connection import Connection
from gateway.core.frame import Batch
from gateway.core.log import Draft
from gateway.core.revocations import Revocations
from gateway.core.slices import RECIPIENT_COST
from gateway.core.transport import Kind
from gateway.core.window import Entry
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from gateway.engine.fair_share import AHEAD, BUDGET
from gateway.engine.pending_entries import MAX_COALESCE
from gateway.logs.memory import MemoryLog
from gateway.testing import RecordingListener
from tests.support.entries import connection
from tests.support.lab import GatewayLab
from tests.support.transports import FakeTransport

ROOM = "circle:1"


class DeliveryUnderTest(RecordingListener):
    """A delivery with one client, to whom a write takes `cost` seconds of a clock that nothing else moves."""

    def __init__(self, cost: float) -> None:
        super().__init__()
        self.cost = cost
        self.now = 100.0
        self.writes: list[list[int]] = []
        connections = self.connections = Connections(
            TokenVerifier([], "", 0, 0), Revocations(), Limits(), time.time, lambda: self.now
        )
        self.log = MemoryLog((b"k" * 32,))
        self.delivery = Delivery(connections, self.log)
        self.delivery.on_caught_up = self.unused
        self.log.attach(self)
        client, _ = connection(connections.manager, {ROOM: 0})
        client.transport = self

    def on_entry(self, tenant: str, entry: Entry) -> None:
        self.delivery.on_entry(tenant, entry)

    fd = None
    kind: Kind = "websocket"
    pings = True
    unacknowledged = 0

    def write(self, batch: Batch) -> bool:
        self.now += self.cost
        self.writes.append([json.loads(frame.payload)["n"] for frame in batch.frames])
        return True

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...

    def unused(self, connection: Connection) -> None:
        raise AssertionError("nobody is behind")

    async def publish(self, number: int, size: int = 0, tenant: str = "acme") -> None:
        body = b'{"n":%d,"pad":"%b"}' % (number, b"x" * size)
        await self.log.append(tenant, Draft((ROOM, "tenant"), body, "2026-01-01T00:00:00.000Z"))

    async def first(self) -> None:
        """One event, after which it is known what a fan-out takes."""
        await self.publish(0)
        await asyncio.sleep(0)
        assert self.writes.pop() == [0]


async def test_cheap_fan_outs_wait_for_nothing() -> None:
    """The events of an iteration leave at its end."""
    subject = DeliveryUnderTest(0.000_1)
    await subject.first()
    for number in range(1, 6):
        await subject.publish(number)
        await asyncio.sleep(0)
        assert subject.writes.pop() == [number]


async def test_dear_ones_gather_for_as_long_as_each_turn_brings_more() -> None:
    """Five turns with an event each, and then one without: one write, in order."""
    subject = DeliveryUnderTest(0.002)
    await subject.first()
    for number in range(1, 6):
        await subject.publish(number)
        await asyncio.sleep(0)
        assert subject.writes == []
    await asyncio.sleep(0)
    assert subject.writes == [[1, 2, 3, 4, 5]]


async def test_a_lone_event_waits_for_one_turn() -> None:
    """However dear: by no timer, for nothing else came."""
    subject = DeliveryUnderTest(1.0)
    await subject.first()
    await subject.publish(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert subject.writes == [[1]]


async def test_coalescing_waits_no_longer_than_the_last_fan_out_took() -> None:
    """Where every turn brings more, without an end, it is this that ends it; and 5 ms, where that is less."""
    for cost, longest in ((0.002, 0.002), (0.1, MAX_COALESCE)):
        subject = DeliveryUnderTest(cost)
        await subject.first()
        since = subject.now
        number = 0
        while not subject.writes:
            number += 1
            await subject.publish(number)
            await asyncio.sleep(0)
            subject.now += 0.000_6
            assert number < 12
        assert subject.writes == [list(range(1, number + 1))]
        assert longest <= subject.now - cost - since <= longest + 0.001_2


async def test_much_is_not_gathered() -> None:
    """64 KiB leave as they come."""
    subject = DeliveryUnderTest(0.004)
    await subject.first()
    for number in range(1, 6):
        await subject.publish(number, 30_000)
        await asyncio.sleep(0)
    assert subject.writes == [[1, 2, 3]]


async def test_it_gathers_again_after_a_flush() -> None:
    """An event that could not wait leaves at once, and later ones are coalesced as before."""
    for size in (0, 70_000):  # # flushed by a caller, or by itself
        subject = DeliveryUnderTest(0.002)
        await subject.first()
        await subject.publish(1, size)
        subject.delivery.flush()
        for number in range(2, 7):
            await subject.publish(number)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert subject.writes == [[1], [2, 3, 4, 5, 6]]


async def test_a_small_room_does_not_make_it_forget_a_large_one() -> None:
    """Several cheap fan-outs after a dear one, and the next dear one is still known for what it is."""
    subject = DeliveryUnderTest(0.004)
    await subject.first()
    subject.cost = 0.000_01
    for number in (1, 2):
        await subject.publish(number)
        subject.delivery.flush()
    subject.writes.clear()
    await subject.publish(3)
    await asyncio.sleep(0)
    await subject.publish(4)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert subject.writes == [[3, 4]]


async def test_slow_fan_outs_of_one_tenant_do_not_delay_those_of_another() -> None:
    subject = DeliveryUnderTest(0.004)
    await subject.first()
    _, quiet = connection(subject.connections.manager, {ROOM: 0}, tenant="bolt")
    await subject.publish(1)
    await subject.publish(1, tenant="bolt")
    await asyncio.sleep(0)
    assert (len(quiet.frames), subject.writes) == (1, [])
    await asyncio.sleep(0)
    assert subject.writes == [[1]]


async def test_an_event_goes_ahead_of_the_work_of_other_tenants() -> None:
    """Where others have waiting work, an event to a few clients does not wait for an iteration of it; but not for
    long, and not an event of a tenant that waits itself."""
    subject = DeliveryUnderTest(0.000_01)
    _, quiet = connection(subject.connections.manager, {ROOM: 0}, tenant="bolt")
    shares = subject.connections.shares
    for tenant in ("other", "acme"):
        for _ in range(3):
            shares.submit(tenant, lambda: None, BUDGET)
    await subject.publish(1)
    for number in range(1, AHEAD):
        await subject.publish(number, tenant="bolt")
    assert subject.writes == []
    assert 10 < len(quiet.frames) <= AHEAD // RECIPIENT_COST
    await asyncio.sleep(0)
    assert len(quiet.frames) == AHEAD - 1
    for _ in range(20):
        await asyncio.sleep(0)
    assert shares.idle
    await subject.publish(1, tenant="bolt")
    assert len(quiet.frames) == AHEAD - 1
    await asyncio.sleep(0)
    assert len(quiet.frames) == AHEAD


# ---- who comes, goes or changes rooms in the middle of it


@pytest.fixture
async def busy() -> AsyncIterator[GatewayLab]:
    """A gateway whose fan-outs are dear, and whose time stands: it gathers whatever comes."""
    lab = GatewayLab(lambda: 100.0, events_per_second=0)
    lab.gateway.manager.of("acme").fan_out_seconds = 10.0
    yield lab
    await lab.settle()
    lab.nothing_left()


async def numbered(lab: GatewayLab, number: int) -> None:
    """One event in circle 7, and a turn after which it still waits."""
    await lab.gateway.publish("acme", "a.b", {"n": number}, circle_id=7)
    await asyncio.sleep(0)
    assert lab.gateway.delivery.pending.bytes


def seen(tape: FakeTransport) -> list[Any]:
    """The numbers of the events, and the kinds of what else came."""
    return [frame["data"]["n"] if "event_id" in frame else frame["type"] for frame in tape.frames]


async def test_a_new_subscriber_gets_later_events(busy: GatewayLab) -> None:
    """Pending events are not sent to it; earlier members get all of them, once."""
    _, there = busy.join(rooms="circle:7")
    late, tape = busy.join(busy.token("bob"))
    await numbered(busy, 1)
    busy.say(late, type="subscribe", rooms=["circle:7"])
    await numbered(busy, 2)
    _, newcomer = busy.join(busy.token("eve"), rooms="circle:7")
    await numbered(busy, 3)
    await busy.settle()
    assert seen(there) == ["connection.established", "subscribed", 1, 2, 3]
    assert seen(tape) == ["connection.established", "subscribed", 2, 3]
    assert seen(newcomer) == ["connection.established", "subscribed", 3]


async def test_a_resumed_client_gets_pending_events_once(busy: GatewayLab) -> None:
    """The pending events are a part of the replay, and do not come a second time."""
    receipt = await busy.gateway.publish("acme", "a.b", {"n": 0}, circle_id=7)
    busy.join(rooms="circle:7")
    await numbered(busy, 1)
    connection, tape = busy.join(busy.token("bob"), rooms="circle:7", since=receipt.event_id)
    await numbered(busy, 2)
    busy.say(connection, type="subscribe", rooms=["project:1"], history=5)
    await numbered(busy, 3)
    await busy.settle()
    assert seen(tape) == ["connection.established", "subscribed", 1, 2, "subscribed", 3]


async def test_a_client_that_leaves_gets_earlier_events(busy: GatewayLab) -> None:
    """Before the reply that says so: by `unsubscribe`, by `auth` with fewer rooms, and by what another node tells."""
    for how in ("unsubscribe", "auth", "notice"):
        connection, tape = busy.join(rooms="circle:7")
        await numbered(busy, 1)
        if how == "unsubscribe":
            busy.say(connection, type="unsubscribe", rooms=["circle:7"])
        elif how == "auth":
            busy.say(connection, type="auth", token=busy.token(rooms=["circle:8"]))
        else:
            revocation = busy.gateway.revocation
            revocation.apply(revocation.cutoff("room_revoked", "acme", "ada", "circle:7"))
        await busy.gateway.publish("acme", "a.b", {"n": 2}, circle_id=7)
        await busy.settle()
        assert seen(tape)[2] == 1
        assert seen(tape)[3] in ("unsubscribed", "authenticated", "subscription.revoked")
        assert len(seen(tape)) == 4
        busy.gateway.on_transport_closed(connection)


async def test_a_removed_member_gets_nothing_after_the_removal(busy: GatewayLab) -> None:
    """The event that says it is the last one, however much is pending with it."""
    _, tape = busy.join(rooms="circle:7")
    await numbered(busy, 1)
    await busy.gateway.publish("acme", "circle.member.removed", {"n": 2, "user_id": "ada"}, circle_id=7)
    await busy.gateway.publish("acme", "a.b", {"n": 3}, circle_id=7)
    await busy.settle()
    assert seen(tape) == ["connection.established", "subscribed", 1, 2, "subscription.revoked"]
